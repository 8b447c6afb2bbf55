"""Lists, a line for each item: on a terminal in columns, cut to its width; for other programs
whole, separated by tabs. Everything is made harmless here."""

import os
import sys
import unicodedata
from collections.abc import Iterable, Sequence

from mailroom.terminal.harmless import harmless
from mailroom.terminal.times import clock_face

# A column is as wide as its widest cell, but leaves room for the others: this share of the terminal
# for the last, which is often a subject.
_WIDEST = 40
_LAST_SHARE = 0.2
_GAP = "  "
_ELLIPSIS = "…"


class Time(str):
    """An instant (RFC 3339); a terminal shows it in local time."""

    __slots__ = ()


def show(rows: Iterable[Sequence[object]]) -> None:
    """Print the rows; the last column is cut first."""
    if not sys.stdout.isatty():
        sys.stdout.writelines("\t".join(map(harmless, row)) + "\n" for row in rows)
        return
    lines = [[_seen(cell) for cell in row] for row in rows]
    width = os.get_terminal_size(sys.stdout.fileno()).columns
    sys.stdout.writelines(f"{line}\n" for line in aligned(lines, width))


def _seen(cell: object) -> str:
    return clock_face(cell) if isinstance(cell, Time) and cell else harmless(cell)


def aligned(lines: Sequence[Sequence[str]], width: int) -> list[str]:
    """The lines in columns, each at most ``width`` cells of a terminal wide."""
    widths = [min(_WIDEST, max(map(cells, column))) for column in zip(*lines, strict=True)]
    _make_room(widths, width)
    shown = []
    for line in lines:
        *others, last = line
        padded = [
            _padded(cut(cell, wide), wide) for cell, wide in zip(others, widths, strict=False)
        ]
        shown.append(cut(_GAP.join([*padded, last]).rstrip(), width))
    return shown


def _make_room(widths: list[int], width: int) -> None:
    """Narrow the widest columns until the last has its share."""
    if len(widths) < 2:  # noqa: PLR2004 - the last is the only one
        return
    last = min(widths[-1], int(width * _LAST_SHARE))
    while sum(widths[:-1]) + len(_GAP) * (len(widths) - 1) + last > width:
        widest = max(range(len(widths) - 1), key=widths.__getitem__)
        if widths[widest] <= 1:
            return
        widths[widest] -= 1


def cut(text: str, width: int) -> str:
    """The text, cut to so many cells."""
    if cells(text) <= width:
        return text
    taken = 0
    for index, character in enumerate(text):
        taken += cells(character)
        if taken > width - 1:
            return text[:index] + _ELLIPSIS
    return text


def cells(text: str) -> int:
    """How many cells a terminal needs for it."""
    if text.isascii():
        return len(text)
    return sum(map(_width, text))


def _width(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def _padded(text: str, width: int) -> str:
    return text + " " * (width - cells(text))
