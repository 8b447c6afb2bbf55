"""Which key stands for which category: one of its own letters, if one is free."""

import unicodedata
from collections.abc import Iterable, Sequence
from string import ascii_uppercase, digits

# The only letters and digits that do something else on the screen.
QUIT, UNDO = "q", "u"
# Not a letter, so never a category's.
TAKE_BACK = "-"
_TAKEN = (QUIT, UNDO)


def keys_of(names: Sequence[str]) -> dict[str, str]:
    """Each name's key: the first free one of the first letters of its words, its other letters, the
    digits and the capitals. Earlier names in the configuration choose first, but a first letter of
    one name goes before a second letter of another. If keys run out, the last names have none."""
    found: dict[str, str] = {}
    taken = set(_TAKEN)

    def give(name: str, wishes: Iterable[str]) -> None:
        for wish in wishes:
            if name not in found and wish not in taken:
                found[name] = wish
                taken.add(wish)

    for name in names:
        give(name, [word[0] for word in _words(name)])
    for name in names:
        give(name, "".join(_words(name)))
    for name in names:
        give(name, digits[1:] + ascii_uppercase)
    return {name: found[name] for name in names if name in found}


def _words(name: str) -> list[str]:
    """Its words in lower case, without accents, with only letters and digits."""
    plain = (
        character
        for character in unicodedata.normalize("NFKD", name.casefold())
        if not unicodedata.combining(character)
    )
    return "".join(c if c.isalnum() else " " for c in plain).split()
