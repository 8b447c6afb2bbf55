"""Makes text from elsewhere harmless for a terminal: nothing in it steers, reverses or hides.

A mail may contain anything: escape sequences, characters that reverse the direction of the text
(so people read something else than what is there), piles of accents that cover other lines. All
text that a command shows from mail, from the server or from a file goes through here.
"""

import unicodedata

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# No alphabet needs more marks on one letter; more would cover the lines above and below.
_MOST_MARKS = 3
_MARKS = ("Mn", "Me")
_SPACES = ("Zs", "Zl", "Zp")
_WHITE_CONTROLS = "\t\n\v\f\r\x85"
# They may give a character another width than the terminal expects.
_VARIATION_SELECTORS = frozenset(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
_TURNS = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


def harmless(text: object) -> str:
    """One line of text: white space becomes a space, control characters become �, invisible
    characters are left out."""
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
    if category == "Cf":  # joiners, soft hyphens, tags: invisible; but show changes of direction
        return _REPLACEMENT if unicodedata.bidirectional(character) in _TURNS else ""
    return _REPLACEMENT if category.startswith("C") else character
