"""Text from elsewhere, made harmless for a terminal: nothing in it steers, reverses or hides.

What a mail says may be anything: escape sequences, characters that turn the direction of the text
around (so that what is read is not what is there), piles of accents over other lines. Everything
that a command shows and that comes from mail, from the server or from a file goes through here.
"""

import unicodedata

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# No alphabet needs more marks on one letter; more would run over the lines above and below.
_MOST_MARKS = 3
_MARKS = ("Mn", "Me")
_SPACES = ("Zs", "Zl", "Zp")
_WHITE_CONTROLS = "\t\n\v\f\r\x85"
# Unicode's own way to give a character another width than the terminal thinks it has.
_VARIATION_SELECTORS = frozenset(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
_TURNS = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


def harmless(text: object) -> str:
    """One line of text: what is white is a space, what steers is shown as �, what only hides is
    left out."""
    given = str(text)
    if given.isascii() and given.isprintable():
        return given
    shown: list[str] = []
    marks = 0
    for character in given:
        category = unicodedata.category(character)
        if category in _MARKS:
            marks += 1
            is_wanted = bool(shown) and marks <= _MOST_MARKS
            if is_wanted and character not in _VARIATION_SELECTORS:
                shown.append(character)
        else:
            marks = 0
            shown.append(_shown(character, category))
    return "".join(shown)


def harmless_lines(text: str) -> list[str]:
    """Its lines, each harmless."""
    return [harmless(line.expandtabs(4)) for line in text.splitlines()]


def _shown(character: str, category: str) -> str:
    if category in _SPACES or character in _WHITE_CONTROLS:
        return " "
    if category == "Cf":  # joiners, soft hyphens, tags: invisible; the turns are to be seen
        return _REPLACEMENT if unicodedata.bidirectional(character) in _TURNS else ""
    return _REPLACEMENT if category.startswith("C") else character
