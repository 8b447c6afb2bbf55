"""The cards that were read by JMAP: the account's groups, and the contacts that are worked on."""

from collections.abc import Collection, Iterable, Sequence

from mailroom.rules.addresses import is_pattern
from mailroom.rules.contacts import contactcard
from mailroom.rules.contacts.groups import bare_uid
from mailroom.rules.contacts.roster import Acquaintance, Found, Group, Provenance
from mailroom.rules.names import normal_name
from mailroom.wire.jscontact import JsCard


class Cards:
    """``groups`` are all groups of the account by id, None before they are read; ``contacts`` are
    whole cards, those that were last asked for. ``groups_state`` and ``state`` are the states in
    which the two were read. ``managed`` names groups; those among them that may be missing are
    ``optional``."""

    def __init__(self, managed: Collection[str], optional: Collection[str] = ()) -> None:
        self.groups: dict[str, JsCard] | None = None
        self.groups_state = ""
        self.contacts: dict[str, JsCard] = {}
        self.state = ""
        self._names: dict[str, str] = {}  # normal names of the groups, by id
        self._managed = sorted(managed)
        self._required = [name for name in self._managed if name not in optional]

    def set_groups(self, cards: Iterable[JsCard], state: str) -> None:
        self.groups = {card.id: card for card in in_order(cards) if card.is_group}
        self._names = {key: normal_name(group.name) for key, group in self.groups.items()}
        self.groups_state = state

    def set_contacts(self, cards: Iterable[JsCard], state: str) -> None:
        """They replace all that were known before."""
        self.contacts = {card.id: card for card in cards if not card.is_group}
        self.state = state

    def set_members(self, asked: Iterable[JsCard], seen: Iterable[JsCard]) -> bool:
        """Whether the managed groups, which were ``asked`` for, are still the ones that we know. If
        so, their members are updated."""
        now = {card.id: card for card in seen if card.is_group}
        if self.groups is None or any(self.group(name) is None for name in self._required):
            return False
        if any(each.id not in now or now[each.id].name != each.name for each in asked):
            return False
        self.groups |= {each.id: now[each.id] for each in asked}
        return True

    def all_groups(self) -> tuple[Group, ...]:
        groups = (self.groups or {}).values()
        return tuple(Group(card.id, card.uid, card.name, bare_members(card)) for card in groups)

    def managed(self) -> list[JsCard]:
        """The managed groups that exist."""
        return [group for name in self._managed if (group := self.group(name))]

    def group(self, name: str) -> JsCard | None:
        """Of several with this name, one spelled exactly so, else the first."""
        wanted, groups = normal_name(name), (self.groups or {}).values()
        called = [group for group in groups if self._names[group.id] == wanted]
        return min(called, key=lambda group: group.name != name, default=None)

    def memberships(self) -> list[tuple[str, frozenset[str]]]:
        """Normal names of the groups, and the UIDs in each as the group spells them."""
        names = {self._names[key] for key in self.groups or {}}
        groups = ((name, self.group(name)) for name in names)
        return [(name, group.members or frozenset()) for name, group in groups if group]

    def found(self, addresses: Iterable[str]) -> dict[str, Found]:
        """The contacts with these addresses: of several, one in a managed group, else the first."""
        by_address = _by_address(self.contacts.values())
        memberships = self.memberships()
        members = {uid for group in self.managed() for uid in bare_members(group)}
        found = {}
        for address in addresses:
            if cards := by_address.get(address):
                known = (card for card in cards if bare_uid(card.uid) in members)
                found[address] = contactcard.found_in(next(known, cards[0]), memberships)
        return found

    def acquainted(
        self, addresses: Iterable[str], cards: Iterable[JsCard]
    ) -> dict[str, Acquaintance]:
        """What these cards and the groups say about each of the addresses."""
        by_address = _by_address(cards)
        memberships = [
            (name, frozenset(map(bare_uid, members))) for name, members in self.memberships()
        ]
        return {
            address: _acquaintance(
                () if is_pattern(address) else by_address.get(address, ()), memberships
            )
            for address in addresses
        }


def in_order(cards: Iterable[JsCard]) -> list[JsCard]:
    """In an order that never changes, and that is nearly the one by href."""
    return sorted(cards, key=lambda card: (card.uid, card.id))


def bare_members(group: JsCard) -> frozenset[str]:
    return frozenset(map(bare_uid, group.members or ()))


def _by_address(cards: Iterable[JsCard]) -> dict[str, list[JsCard]]:
    """Contacts, each under all of its addresses."""
    by_address: dict[str, list[JsCard]] = {}
    for card in in_order(card for card in cards if not card.is_group):
        for address in contactcard.addresses_of(card):
            by_address.setdefault(address, []).append(card)
    return by_address


def _acquaintance(
    cards: Sequence[JsCard], memberships: Iterable[tuple[str, frozenset[str]]]
) -> Acquaintance:
    uids = {bare_uid(card.uid) for card in cards if card.uid}
    return Acquaintance(
        frozenset(name for name, members in memberships if not uids.isdisjoint(members)),
        any(contactcard.provenance(card) is not Provenance.CREATED for card in cards),
    )
