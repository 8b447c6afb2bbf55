"""Lines of a screen: pieces of text with a style each, as wide as a terminal shows them."""

from collections.abc import Iterator, Sequence

from urwid import calc_width

# A style's name and the text. The styles are those of ``display``.
Piece = tuple[str, str]
Line = list[Piece]

_ELLIPSIS = "…"
# Some characters are as wide as this.
_LEAST_COLUMNS = 2


def width(text: str) -> int:
    """The columns that a terminal needs for it: Chinese takes two for a character, accents none."""
    return len(text) if text.isascii() else calc_width(text, 0, len(text))


def fit(text: str, columns: int) -> str:
    """Exactly so many columns: filled up, or cut off with an ellipsis."""
    shown = cut(text, columns)
    if len(shown) < len(text) and columns > 0:
        shown = cut(text, columns - 1) + _ELLIPSIS
    return shown + " " * (columns - width(shown))


def cut(text: str, columns: int) -> str:
    """As many whole characters from the start as these columns hold. Of a text without end no
    more is looked at."""
    if text[: columns + 1].isascii():
        return text[: max(0, columns)]
    used = 0
    for number, character in enumerate(text):
        used += width(character)
        if used > columns:
            return text[:number]
    return text


def wrap(text: str, columns: int) -> Iterator[str]:
    """Its lines where it goes on below: broken at spaces, a word that is too long anywhere."""
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
    """The items one after the other, in as many lines as they need."""
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
    """All of the line, to its full width, in one style."""
    return [(style, fit("".join(text for _, text in line), columns))]
