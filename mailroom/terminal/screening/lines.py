"""Lines of a screen: pieces of text, each with a style, measured as a terminal shows them."""

from collections.abc import Iterator, Sequence

from urwid import calc_width

# A style's name and the text. The styles are those of ``display``.
Piece = tuple[str, str]
Line = list[Piece]

_ELLIPSIS = "…"
# The widest characters need so many.
_LEAST_COLUMNS = 2


def width(text: str) -> int:
    """The columns that a terminal needs for it: two for a Chinese character, none for an accent."""
    return len(text) if text.isascii() else calc_width(text, 0, len(text))


def fit(text: str, columns: int) -> str:
    """The text in exactly so many columns: padded, or cut off with an ellipsis."""
    shown = cut(text, columns)
    if len(shown) < len(text) and columns > 0:
        shown = cut(text, columns - 1) + _ELLIPSIS
    return shown + " " * (columns - width(shown))


def cut(text: str, columns: int) -> str:
    """As many whole characters from the start as fit. The rest of the text is not looked at, as it
    may be very long."""
    if text[: columns + 1].isascii():
        return text[: max(0, columns)]
    used = 0
    for number, character in enumerate(text):
        used += width(character)
        if used > columns:
            return text[:number]
    return text


def wrap(text: str, columns: int) -> Iterator[str]:
    """The text broken into lines, at spaces, or within a word that is too long."""
    rest, columns = text.rstrip(), max(_LEAST_COLUMNS, columns)
    while len(line := cut(rest, columns)) < len(rest):
        head, space, _ = line.rpartition(" ")
        if space and head.strip() and rest[len(line)] != " ":
            line = head
        yield line.rstrip()
        rest = rest[len(line) :].lstrip(" ")
    yield rest


def clip(line: Line, columns: int) -> Line:
    """The line, or as much of it as there is room for."""
    clipped: Line = []
    for style, text in line:
        clipped.append((style, cut(text, columns)))
        columns -= width(clipped[-1][1])
    return clipped


def flow(items: Sequence[Line], columns: int, gap: int = 2) -> list[Line]:
    """The items in a row, in as many lines as they need."""
    lines: list[Line] = [[]]
    used = 0
    for item in items:
        wide = sum(width(text) for _, text in item)
        if lines[-1] and used + gap + wide > columns:
            lines.append([])
        if lines[-1]:
            lines[-1].append(("", " " * gap))
            used += gap
        else:
            used = 0
        lines[-1] += item
        used += wide
    return lines


def restyled(line: Line, style: str, columns: int) -> Line:
    """The whole line, padded to the full width, in one style."""
    return [(style, fit("".join(text for _, text in line), columns))]
