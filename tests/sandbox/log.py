"""The log of every request, and what it proves: how many round trips depended on each other."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(slots=True)
class Entry:
    """One request: ``calls`` are the names of its JMAP methods, instants those of the clock.

    ``ended`` is when the client has the answer; None for as long as it has not, and for a
    request that is never answered. ``status`` 0 means that no answer was sent.
    """

    number: int
    method: str
    path: str
    connection: str
    started: float
    bytes_in: int
    calls: tuple[str, ...] = ()
    ended: float | None = None
    status: int = 0
    bytes_out: int = 0
    is_stream: bool = False


class RequestLog:
    """All requests since the start, the oldest first."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def since(self, number: int) -> list[Entry]:
        """Return the entries after the one with this number; 0 is before the first."""
        return self.entries[number:]


def longest_chain(entries: Iterable[Entry]) -> list[Entry]:
    """Return the longest chain of requests of which each started after the last had ended.

    No request of a client can depend on an answer that it did not have, so a job's dependent
    round trips are at most the length of this chain. Taking always the request that ends first
    finds it. Streams and unanswered requests are left out.
    """
    answered = [e for e in entries if e.ended is not None and not e.is_stream]
    chain: list[Entry] = []
    now = float("-inf")
    for entry in sorted(answered, key=lambda e: (e.ended, e.number)):
        if entry.started >= now and entry.ended is not None:
            chain.append(entry)
            now = entry.ended
    return chain


def most_at_once(entries: Iterable[Entry]) -> int:
    """How many of the requests were under way at the same instant."""
    entries = list(entries)
    starts = [(entry.started, 1) for entry in entries]
    ends = [(entry.ended, -1) for entry in entries if entry.ended is not None]
    running = most = 0
    for _, step in sorted(starts + ends):
        running += step
        most = max(most, running)
    return most
