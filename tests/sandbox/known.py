"""What a server's rules see of the address book: whose address is in a card, and in which groups.

Seen on Cyrus 3.10.2 and 3.13.7. An address in a card is a pattern in which ``*`` stands for
anything, without regard to case. A member of a group is named by ``urn:uuid:`` and the UID exactly
as the card has it, so that one whose UID itself begins so has to be named with it twice. To 3.13.7
that is so where the group is a vCard 3; one of vCard 4 names the UID exactly as it is, no more.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

from tests.sandbox.cards import URN, is_group, property_of

_UNFOLD: Final = re.compile(r"\r?\n[ \t]")
_EMAIL: Final = re.compile(r"^(?:[\w-]+\.)?EMAIL(?:;[^:\r\n]*)?:(.*?)\r?$", re.M | re.I)
_MEMBER: Final = re.compile(r"^(X-ADDRESSBOOKSERVER-)?MEMBER(?:;[^:\r\n]*)?:(.*?)\r?$", re.M | re.I)


class KnownPeople:
    """The people in some cards, as they are at one moment.

    ``takes_exact``: a group of vCard 4 names its members' UIDs as they are.
    """

    def __init__(self, cards: Iterable[str], *, takes_exact: bool) -> None:
        self._takes_exact = takes_exact
        #: Address in lower case → UIDs of its cards.
        self._exact: defaultdict[str, set[str]] = defaultdict(set)
        self._patterns: list[tuple[re.Pattern[str], str]] = []
        #: UID of a group → UIDs of its members.
        self._groups: defaultdict[str, set[str]] = defaultdict(set)
        for card in cards:
            self._read(_UNFOLD.sub("", card))

    def is_contact(self, address: str) -> bool:
        """Say whether an address is in any card."""
        return next(self._uids(address), None) is not None

    def is_member(self, address: str, group_uid: str) -> bool:
        """Say whether an address is in the card of a group's member."""
        members = self._groups.get(group_uid, set())
        return any(uid in members for uid in self._uids(address))

    def _uids(self, address: str) -> Iterator[str]:
        address = address.lower()
        yield from self._exact.get(address, ())
        yield from (uid for pattern, uid in self._patterns if pattern.fullmatch(address))

    def _read(self, card: str) -> None:
        uid = property_of(card, "UID") or ""
        if is_group(card):
            self._groups[uid].update(self._members(card))
        for address in map(str.lower, _EMAIL.findall(card)):
            if "*" in address:
                parts = map(re.escape, address.strip().split("*"))
                self._patterns.append((re.compile(".*".join(parts), re.DOTALL), uid))
            else:
                self._exact[address.strip()].add(uid)

    def _members(self, card: str) -> Iterator[str]:
        for apples, member in _MEMBER.findall(card):
            if self._takes_exact and not apples:
                yield member
            elif member.startswith(URN):
                yield member.removeprefix(URN)
