"""The index of the address book: what each card says, by href and by address, without the cards.

RFC 6352. Only the href identifies a card, since one UID may stand at two of them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mailroom.rules.addresses import is_pattern
from mailroom.rules.contacts.contact import Entry
from mailroom.rules.contacts.roster import Acquaintance, Provenance
from mailroom.rules.names import normal_name, same_name


@dataclass(frozen=True, slots=True)
class Indexed:
    """One card of the book. ``etag`` is empty if the server has not said the newest one."""

    href: str
    etag: str
    entry: Entry


class AddressBook:
    """All cards of one address book by href, and the contacts by address."""

    def __init__(self) -> None:
        self._cards: dict[str, Indexed] = {}
        self._by_address: dict[str, tuple[str, ...]] = {}  # a set takes four times the memory
        self._groups: set[str] = set()
        self._keeping: set[str] = set()

    def __len__(self) -> int:
        return len(self._cards)

    def __iter__(self) -> Iterator[Indexed]:
        """Every card, by href."""
        return (self._cards[href] for href in sorted(self._cards))

    def get(self, href: str) -> Indexed | None:
        return self._cards.get(href)

    def put(self, indexed: Indexed) -> None:
        self.remove(indexed.href)
        self._cards[indexed.href] = indexed
        if indexed.entry.is_group:
            self._groups.add(indexed.href)
        if indexed.entry.kept is not None:
            self._keeping.add(indexed.href)
        for address in indexed.entry.addresses:
            self._by_address[address] = (*self._by_address.get(address, ()), indexed.href)

    def remove(self, href: str) -> None:
        indexed = self._cards.pop(href, None)
        if indexed is None:
            return
        self._groups.discard(href)
        self._keeping.discard(href)
        for address in indexed.entry.addresses:
            others = tuple(each for each in self._by_address.pop(address) if each != href)
            if others:
                self._by_address[address] = others

    def clear(self) -> None:
        self._cards.clear()
        self._by_address.clear()
        self._groups.clear()
        self._keeping.clear()

    def groups(self) -> Iterator[Indexed]:
        return (self._cards[href] for href in sorted(self._groups))

    def keeping(self) -> list[Indexed]:
        """The cards that keep decisions for whole domains and lists."""
        return [self._cards[href] for href in sorted(self._keeping)]

    def group(self, name: str) -> Indexed | None:
        """The group of this name; of several, one spelled exactly so, else the first by href."""
        called = [group for group in self.groups() if same_name(group.entry.fn, name)]
        return min(called, key=lambda group: group.entry.fn != name, default=None)

    def memberships(self) -> list[tuple[str, Entry]]:
        """The groups by their normal names; of several with one name, the one that :meth:`group`
        takes."""
        names = {normal_name(group.entry.fn) for group in self.groups()}
        groups = ((name, self.group(name)) for name in names)
        return [(name, group.entry) for name, group in groups if group]

    def contacts(self, address: str) -> list[Indexed]:
        """All contacts with ``address`` (canonical), by href."""
        hrefs = sorted(self._by_address.get(address, ()))
        return [card for href in hrefs if not (card := self._cards[href]).entry.is_group]

    def contact(self, address: str, managed: Iterable[Indexed]) -> Indexed | None:
        """The contact with ``address``: of several, one that is in a managed group already, else
        the first by href."""
        found = self.contacts(address)
        groups = [group.entry for group in managed]
        known = (card for card in found if any(group.names(card.entry) for group in groups))
        return next(known, found[0] if found else None)

    def acquainted(self, addresses: Iterable[str]) -> dict[str, Acquaintance]:
        """What all cards with an address say about it, for each of the addresses."""
        memberships = self.memberships()
        return {address: self._acquaintance(address, memberships) for address in addresses}

    def _acquaintance(self, address: str, memberships: Iterable[tuple[str, Entry]]) -> Acquaintance:
        found = [] if is_pattern(address) else self.contacts(address)
        entries = [card.entry for card in found]
        return Acquaintance(
            frozenset(name for name, group in memberships if any(map(group.names, entries))),
            any(each.provenance is not Provenance.CREATED for each in entries),
        )
