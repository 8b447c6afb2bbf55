"""Which key stands for which category: one of its own letters, where one is free."""

import unicodedata
from collections.abc import Iterable, Sequence
from string import ascii_uppercase, digits

# Keys that do something else on the screen; all others of those are no letters and no digits.
QUIT, UNDO = "q", "u"
# No letter, and so no category's.
TAKE_BACK = "-"
_TAKEN = (QUIT, UNDO)


def keys_of(names: Sequence[str]) -> dict[str, str]:
    """Each name's key: the first letter of its first word that is free, of another word, any other
    letter, a digit, a capital. Whoever comes first in the configuration chooses first, and a first
    letter goes before another's second. More names than keys: the last ones have none."""
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
    """Its words in lower case without accents, of letters and digits alone."""
    plain = (
        character
        for character in unicodedata.normalize("NFKD", name.casefold())
        if not unicodedata.combining(character)
    )
    return "".join(c if c.isalnum() else " " for c in plain).split()
