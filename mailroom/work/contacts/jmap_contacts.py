"""Contacts by JMAP (RFC 9610): without an index; everything is read when it is needed.

The request that searches for the senders' mail also finds their contacts, and the request that
files their mail also writes the plan: creations and memberships need no more than that. A note or
a release depends on the card as it was read. It is written only if nobody has changed any card
since (``ifInState`` covers all cards of the account); else the cards are read again.

Only cards that Mailroom made and the members of groups are written: for a patch the server rewrites
the whole card, and Cyrus 3.13.7 loses some properties in doing so (seen).
"""

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence

from mailroom.engine.loop import Loop, both
from mailroom.errors import MailroomError, SenderFailed
from mailroom.rules.addresses import is_pattern, spellings
from mailroom.rules.configuration.config import Config
from mailroom.rules.contacts import contactcard
from mailroom.rules.contacts.cardset import Cards, bare_members, in_order
from mailroom.rules.contacts.contact import contact_uid
from mailroom.rules.contacts.groups import bare_uid, group_uid
from mailroom.rules.contacts.kept import merged
from mailroom.rules.contacts.record import Amendment, Record
from mailroom.rules.contacts.roster import (
    Acquaintance,
    Change,
    Found,
    Group,
    Plan,
    Provenance,
    managed_groups,
)
from mailroom.rules.screening.wide import Decisions
from mailroom.wire.filters import any_of
from mailroom.wire.jmap import CONTACTS, Call, MethodError
from mailroom.wire.jscontact import read_default_book
from mailroom.work.contacts.cardbook import GROUP_PROPERTIES, CardBook, CardWrite, Filter
from mailroom.work.contacts.contacts import NEWS_SECONDS, Failures, Intention, Meanwhile, local_day
from mailroom.work.contacts.jmap_kept import JmapKept
from mailroom.work.contacts.jmap_plan import (
    MOST_UIDS,
    TRIES,
    PlanWriter,
    changed_too_often,
    missing,
)

_ADDRESSES_PER_QUERY = 50
# For more addresses than this the whole book is read: see :meth:`JmapContacts.acquainted`.
_MOST_ASKED_FOR = 2 * _ADDRESSES_PER_QUERY
_INDEX_PROPERTIES = ("id", "kind", "uid", "name", "emails", "notes")
_ACQUAINTANCE_PROPERTIES = (*_INDEX_PROPERTIES, "members")  # for a result that includes groups
_GROUPS: Filter = {"kind": "group"}
_BOOKS = Call("AddressBook/get", {"ids": None}, "books", CONTACTS)


class JmapContacts:
    """The contacts of one account whose session offers JMAP contacts."""

    def __init__(self, loop: Loop, config: Config, book: CardBook) -> None:
        self._loop = loop
        self._book = book
        self._provenance_group = config.mailroom.provenance_group
        # Accounts that were set up by a version without a door lack the screened group.
        self._cards = Cards(managed_groups(config), optional={config.triage.screened_group})
        self._writer = PlanWriter(book, self._cards)
        self._categories = [each.name for each in config.triage.categories]
        self._kept = JmapKept(book, self._categories)
        self._pushed = ""
        self._has_missed = False
        self._refreshed_at = loop.now()

    async def refresh(self) -> None:
        """Read the groups, the decisions for domains and lists, and the default address book."""
        told, self._refreshed_at, self._has_missed = self._pushed, self._loop.now(), False
        filters = [_GROUPS, *await self._kept.filters()]
        look = await self._book.look(filters, properties=GROUP_PROPERTIES, others=[_BOOKS])
        cards = look.cards
        if not any(card.is_group for card in cards):  # Stalwart 0.15.5 finds nothing by kind (seen)
            cards = (await self._book.look([{}], properties=GROUP_PROPERTIES)).cards
        self._cards.set_groups(cards, look.state)
        self._kept.seen(cards)
        if self._pushed == told:  # nothing further has been told meanwhile
            self._pushed = ""
        try:
            self._book.default_id = read_default_book(look.answers[_BOOKS.tag])
        except MethodError:
            self._book.default_id = None  # no address books, so none need be named

    async def groups(self) -> tuple[Group, ...]:
        await self._known_groups()
        return self._cards.all_groups()

    def addresses_of(self, address: str) -> tuple[str, ...]:
        return ()

    def pushed(self, state: str) -> None:
        self._pushed = state

    def missed(self) -> None:
        self._has_missed = True

    @property
    def has_news(self) -> bool:
        """Push tells of our own writes too; those have states that we got in answers."""
        is_old = self._loop.now() - self._refreshed_at >= NEWS_SECONDS
        return (self._has_missed and is_old) or self._pushed not in ("", *self._book.states)

    @property
    def is_indexed(self) -> bool:
        return False

    async def acquainted(self, addresses: Collection[str]) -> Mapping[str, Acquaintance]:
        """In one request, if limits allow. For many addresses the whole book is read: a query looks
        through all cards as well (Cyrus 3.13.7 with 2,000 cards: 0.2 s for a query of fifty
        addresses, and 0.2 s for all cards; seen)."""
        wanted = sorted(each for each in addresses if not is_pattern(each))
        is_for_few = len(wanted) <= _MOST_ASKED_FOR
        filters = _filters(map(_by_email, wanted)) if is_for_few else [{}]
        groups = self._cards.managed()
        look = await self._book.look(
            filters, properties=_ACQUAINTANCE_PROPERTIES, group_ids=[group.id for group in groups]
        )
        if not self._cards.set_members(groups, look.cards):
            await self.refresh()
        return self._cards.acquainted(addresses, look.cards)

    @property
    def decisions(self) -> Decisions:
        return merged(self._kept.kept, self._categories)

    @property
    def keeps_decisions(self) -> bool:
        return bool(self._kept.cards)

    async def decide(self, key: str, category: str | None, *, is_list: bool) -> None:
        await self._kept.decide((is_list, key), category, local_day(self._loop.clock.wall()))

    async def forget_decisions(self) -> None:
        await self._kept.forget()

    async def find(
        self, addresses: Collection[str], intend: Intention = lambda _: Plan()
    ) -> Mapping[str, Found]:
        account_id = (await self._book.session()).account_id
        filters = _filters(
            # the contact, and the card with the UID that a new one would get
            [*_by_email(address), {"uid": contact_uid(account_id, address, 0)}]
            for address in sorted(addresses)
        )
        groups = self._cards.managed()
        look = await self._book.look(filters, group_ids=[group.id for group in groups])
        self._cards.set_contacts(look.cards, look.state)
        if not self._cards.set_members(groups, look.cards):
            await self.refresh()
        return self._cards.found(addresses)

    async def ours(self) -> tuple[Found, ...]:
        await self.refresh()
        look = await self._book.look([{}], properties=_INDEX_PROPERTIES)
        self._kept.seen(look.cards)
        group = self._cards.group(self._provenance_group)
        listed = bare_members(group) if group else frozenset()
        ours = [
            card
            for card in in_order(look.cards)
            if not card.is_group
            and (
                contactcard.provenance(card) is not Provenance.NONE or bare_uid(card.uid) in listed
            )
        ]
        whole = await self._book.look(ids=[card.id for card in ours])
        self._cards.set_contacts(whole.cards, whole.state)
        memberships = self._cards.memberships()
        return tuple(
            contactcard.found_in(self._cards.contacts[card.id], memberships)
            for card in ours
            if card.id in self._cards.contacts
        )

    async def obstacles(self, plan: Plan) -> Failures:
        names = plan.memberships
        if self._cards.groups is None or any(self._cards.group(name) is None for name in names):
            await self.refresh()  # somebody may have created them since
        return {
            change.sender: error
            for change in plan.changes
            if (error := self._obstacle(change)) is not None
        }

    async def apply(self, plan: Plan, meanwhile: Meanwhile | None = None) -> Failures:
        failed: dict[str, MailroomError] = dict(await self.obstacles(plan))
        plan = plan.without(failed)
        # In this order: in the shared request the contacts come before what depends on them.
        await both(
            self._loop, self._writer.write(plan, failed), (meanwhile or _nothing)(dict(failed))
        )
        return failed

    async def create_group(
        self, name: str, members: Collection[str] = (), record: Record | None = None
    ) -> bool:
        account_id = (await self._book.session()).account_id
        for counter in range(MOST_UIDS):
            await self.refresh()
            if self._cards.group(name):
                return False
            uid = group_uid(account_id, name, counter)
            card = contactcard.new_group(uid, name, members, record)
            outcome = await self._book.set([CardWrite("create", name, card)])
            if outcome.created:
                await self.refresh()
                return True
            if not (await self._book.look([{"uid": uid}])).cards:
                raise SenderFailed(
                    f"the server refuses the contact group {name}: {outcome.refused[name]}"
                )
        raise SenderFailed(f"{MOST_UIDS} other cards have the UIDs meant for the group {name}")

    async def remove_group(self, name: str) -> bool:
        for _ in range(TRIES):
            await self.refresh()
            group = self._cards.group(name)
            if group is None or group.members:
                return False
            if await self._set_if_unchanged(CardWrite("destroy", group.id), name):
                await self.refresh()
                return True
        raise changed_too_often()

    async def record(self) -> Record | None:
        await self.refresh()
        group = self._cards.group(self._provenance_group)
        return contactcard.record_of(group) if group else None

    async def amend_record(self, amend: Amendment) -> None:
        name = self._provenance_group
        for _ in range(TRIES):
            await self.refresh()
            group = self._cards.group(name)
            if group is None:
                raise missing(name)
            record = contactcard.record_of(group)
            if (amended := amend(record)) == record:
                return
            order = CardWrite("update", group.id, contactcard.record_patch(group, amended))
            if await self._set_if_unchanged(order, name):
                return
        raise changed_too_often()

    async def describe(self) -> str:
        session, count = await self._book.session(), await self._book.count()
        await self.refresh()
        many = "" if count is None else f", {count} cards"
        return f"by JMAP at {session.api_url}{many}"

    async def _known_groups(self) -> None:
        if self._cards.groups is None:
            await self.refresh()

    async def _set_if_unchanged(self, order: CardWrite, name: str) -> bool:
        """Write to a group if no card has changed since the groups were read; returns whether it
        was done. Raises SenderFailed if the server refuses it."""
        outcome = await self._book.set([order], self._cards.groups_state)
        if error := outcome.refused.get(order.key):
            raise SenderFailed(f"the contact group {name} cannot be changed: {error}")
        return not outcome.is_stale

    def _obstacle(self, change: Change) -> MailroomError | None:
        contact = change.contact
        if contact and not contact.uid and (change.joins or change.leaves):
            return SenderFailed(
                f"the contact {contact.name or contact.reference} has no UID, so no group can name "
                "it: change and save it in an address book program, which gives it one"
            )
        for name in sorted(change.joins | change.leaves):
            if self._cards.group(name) is None:
                return missing(name)
        return None


def _filters(conditions: Iterable[Sequence[Filter]]) -> list[Filter]:
    """The conditions of each address, joined into queries for up to fifty addresses each."""
    every = list(conditions)
    return [
        any_of(itertools.chain(*every[start : start + _ADDRESSES_PER_QUERY]))
        for start in range(0, len(every), _ADDRESSES_PER_QUERY)
    ]


def _by_email(address: str) -> list[Filter]:
    """The conditions that find cards with an address. The server compares words, so the caller
    checks which of the cards have it."""
    return [{"email": spelling} for spelling in spellings(address)]


async def _nothing(_failed: Failures) -> None:
    pass
