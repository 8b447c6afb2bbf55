"""Which addresses are the user's own: whole ones, and patterns for a domain.

An asterisk stands for any characters, as in the address books of real servers: ``*@example.org`` is
a domain, ``*@*.example.org`` are its subdomains, ``alice+*@example.org`` has a part that varies. It
never matches across the ``@`` that ends the local part.
"""

import re
from collections.abc import Iterable

from mailroom.rules.addresses import canonical

#: The sender of Mailroom's daily mail, which is never screened or triaged. (RFC 2606: nobody else
#: has it.)
DIGEST_SENDER = "mailroom@digest.invalid"

_LETTERS = re.compile(r"[^*@.\s]")


class OwnAddresses:
    """The user's addresses; ``address in own`` tells whether a sender is the user."""

    def __init__(self, entries: Iterable[str] = ()) -> None:
        self._entries = tuple(sorted({canonical(each) for each in entries if is_meaningful(each)}))
        self._whole = frozenset(each for each in self._entries if "*" not in each)
        self._patterns = tuple(each for each in self._entries if "*" in each)

    def __contains__(self, address: object) -> bool:
        if not isinstance(address, str):
            return False
        compared = canonical(address)
        if compared == DIGEST_SENDER:
            return True
        return compared in self._whole or any(_fits(compared, each) for each in self._patterns)

    def __bool__(self) -> bool:
        return bool(self._entries)

    @property
    def entries(self) -> tuple[str, ...]:
        """Whole addresses and patterns, canonical and in order."""
        return self._entries

    def __str__(self) -> str:
        return ", ".join(self._entries)


def is_meaningful(entry: str) -> bool:
    """Whether the entry distinguishes anybody: by ``*@*`` everybody would be the user."""
    local, at, domain = entry.rpartition("@")
    return bool(at and local and domain) and _LETTERS.search(domain) is not None


def _fits(address: str, pattern: str) -> bool:
    local, _, domain = address.rpartition("@")
    wanted_local, _, wanted_domain = pattern.rpartition("@")
    return _is_like(local, wanted_local) and _is_like(domain, wanted_domain)


def _is_like(text: str, pattern: str) -> bool:
    """Match each part between asterisks as early as possible, which leaves the most room."""
    first, *others = pattern.split("*")
    if not others:
        return text == first
    *middle, last = others
    end = len(text) - len(last)
    if not text.startswith(first) or not text.endswith(last) or end < len(first):
        return False
    position = len(first)
    for part in middle:
        position = text.find(part, position, end)
        if position < 0:
            return False
        position += len(part)
    return True
