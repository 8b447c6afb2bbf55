"""Cutting what is asked or written into as few requests as a server's limits allow."""

import json
from collections.abc import Callable, Iterable, Iterator
from math import inf
from typing import TypeVar

T = TypeVar("T")


def json_bytes(item: object) -> int:
    """How many bytes an item takes in a request."""
    return len(json.dumps(item))


def portions(
    items: Iterable[T], most: int, most_bytes: float = inf, size_of: Callable[[T], int] = json_bytes
) -> Iterator[list[T]]:
    """Portions of at most ``most`` items and ``most_bytes`` bytes; an item that is larger is a
    portion of its own."""
    portion: list[T] = []
    used = 0
    for item in items:
        size = size_of(item)
        if portion and (len(portion) == most or used + size > most_bytes):
            yield portion
            portion, used = [], 0
        portion.append(item)
        used += size
    if portion:
        yield portion
