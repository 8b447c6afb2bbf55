"""Contacts by CardDAV (RFC 6352), found in the index of the address book.

To find a contact costs no more than the sync: the index has addresses, names and groups.
:mod:`mailroom.work.contacts.dav_plan` carries out plans.
"""

from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from typing import Any

from mailroom.engine.loop import Loop, both
from mailroom.errors import SenderFailed
from mailroom.rules.addresses import is_pattern
from mailroom.rules.configuration.config import Config
from mailroom.rules.contacts.addressbook import Indexed
from mailroom.rules.contacts.contact import (
    Entry,
    is_unedited,
    summarise,
)
from mailroom.rules.contacts.groups import (
    Version,
    group_uid,
    new_group,
    record_in,
    with_members,
    with_record,
)
from mailroom.rules.contacts.kept import merged
from mailroom.rules.contacts.note import read_section
from mailroom.rules.contacts.record import Amendment, Record
from mailroom.rules.contacts.roster import (
    Acquaintance,
    Found,
    Group,
    Plan,
    Provenance,
    managed_groups,
)
from mailroom.rules.screening.wide import Decisions
from mailroom.rules.words import count
from mailroom.wire.jmap import CONTACTS
from mailroom.wire.jmap_session import Session
from mailroom.work.contacts.cards import CardDavClient, StoredCard
from mailroom.work.contacts.contacts import NEWS_SECONDS, Failures, Intention, Meanwhile, local_day
from mailroom.work.contacts.dav_kept import DavKept
from mailroom.work.contacts.dav_plan import MOST_UIDS, TRIES, DavPlanWriter


class CardDavContacts:
    """The contacts of one address book. ``session`` gives the account id, from which the UIDs of
    new cards are made."""

    def __init__(
        self,
        loop: Loop,
        config: Config,
        cards: CardDavClient,
        session: Callable[[], Coroutine[Any, Any, Session]],
    ) -> None:
        self.cards = cards
        self._loop = loop
        self._config = config
        self._managed = managed_groups(config)
        self._provenance_group = config.mailroom.provenance_group
        self._session = session
        self._categories = [each.name for each in config.triage.categories]
        self._kept = DavKept(cards, session)
        self._is_asked_always = config.screening.by != "off"
        self._plans = DavPlanWriter(loop, config, cards, session, self._contact)

    async def refresh(self) -> None:
        await self.cards.sync()

    def pushed(self, state: str) -> None:
        """Ignored: the address book is synced before it is needed."""

    def missed(self) -> None:
        """Ignored, for the same reason."""

    @property
    def has_news(self) -> bool:
        """Push does not tell of CardDAV changes, except on Cyrus 3.13: some time after the last
        sync there may be some."""
        is_old = self._loop.now() - self.cards.index.synced_at >= NEWS_SECONDS
        return self._is_asked_always and is_old

    async def has_apple_groups(self) -> bool:
        """Whether a managed group is a vCard 3. Cyrus 3.13.7 shows vCard 4 groups in that form as
        well, but with the kind in capitals (seen)."""
        await self.cards.sync()
        book = self.cards.book
        groups = {group.href for name in self._managed if (group := book.group(name))}
        cards = (await self.cards.fetch(groups)).values()
        kinds = (
            card.card.first("X-ADDRESSBOOKSERVER-KIND")
            for card in cards
            if isinstance(card, StoredCard)
        )
        return any(kind is not None and kind.value.strip() != "GROUP" for kind in kinds)

    async def groups(self) -> tuple[Group, ...]:
        if not self.cards.is_synced:
            await self.cards.sync()
        return tuple(map(_group, self.cards.book.groups()))

    def addresses_of(self, address: str) -> tuple[str, ...]:
        found = self._found([address]).get(address)
        return found.addresses if found else ()

    @property
    def keeps_decisions(self) -> bool:
        return bool(self.cards.book.keeping())

    async def decide(self, key: str, category: str | None, *, is_list: bool) -> None:
        await self._kept.decide((is_list, key), category, local_day(self._loop.clock.wall()))

    async def forget_decisions(self) -> None:
        await self._kept.forget()

    async def find(
        self, addresses: Collection[str], intend: Intention = lambda _: Plan()
    ) -> Mapping[str, Found]:
        """The cards that the plan will need, by the index as it is, are fetched during the sync;
        only what the sync has changed is fetched afterwards."""
        self._plans.begin()
        with self._plans.using():
            if self.cards.is_synced:
                plan = intend(self._found(addresses))
                await both(self._loop, self._plans.fetch_for(plan), self.cards.sync())
            else:
                await self.cards.sync()
            await self._plans.fetch_for(intend(self._found(addresses)))
            return self._found(addresses)

    @property
    def is_indexed(self) -> bool:
        return self.cards.is_synced

    async def acquainted(self, addresses: Collection[str]) -> Mapping[str, Acquaintance]:
        """From the index, as of the last sync."""
        if not self.cards.is_synced:
            await self.cards.sync()
        return self.cards.book.acquainted(addresses)

    @property
    def decisions(self) -> Decisions:
        every = (card.entry.kept for card in self.cards.book.keeping())
        return merged(filter(None, every), self._categories)

    async def ours(self) -> tuple[Found, ...]:
        await self.cards.sync()
        group = self.cards.book.group(self._provenance_group)
        ours = [
            card
            for card in self.cards.book
            if not card.entry.is_group
            and (
                card.entry.provenance is not Provenance.NONE
                or (group is not None and group.entry.names(card.entry))
            )
        ]
        told = (each for each in ours if each.entry.provenance is not Provenance.NONE)
        with self._plans.using():
            await self._plans.fetch([card.href for card in told])
            memberships = self.cards.book.memberships()
            return tuple(self._contact(card, memberships) for card in ours)

    async def obstacles(self, plan: Plan) -> Failures:
        return await self._plans.obstacles(plan)

    async def apply(self, plan: Plan, meanwhile: Meanwhile | None = None) -> Failures:
        return await self._plans.apply(plan, meanwhile)

    async def create_group(
        self, name: str, members: Collection[str] = (), record: Record | None = None
    ) -> bool:
        account_id = (await self._session()).account_id
        for counter in range(MOST_UIDS):
            if self.cards.book.group(name):
                return False
            uid = group_uid(account_id, name, counter)
            empty = new_group(uid, name, await self._group_version())
            card = with_members(empty, add=members, remove=())
            card = with_record(card, record) if record else card
            if await self.cards.create(await self.cards.href_of(uid), card):
                return True
            await self.cards.sync()
        raise SenderFailed(f"{MOST_UIDS} other cards have the UIDs meant for the group {name}")

    async def _group_version(self) -> Version:
        """Stalwart's JMAP shows only vCard 4 groups as groups (0.15.5, seen). Cyrus shows both, and
        Apple devices show those in vCard 3."""
        session = await self._session()
        is_seen_by_jmap = CONTACTS in session.account_capabilities
        return "4.0" if is_seen_by_jmap and not session.is_cyrus else "3.0"

    async def remove_group(self, name: str) -> bool:
        for _ in range(TRIES):
            await self.cards.sync()
            group = self.cards.book.group(name)
            if group is None or group.entry.members:
                return False
            stored = await self.cards.read(group.href)
            if not summarise(stored.card).members and await self.cards.delete(stored):
                return True
        raise SenderFailed(f"the group {name} was changed {TRIES} times while it was being deleted")

    async def record(self) -> Record | None:
        await self.cards.sync()
        group = self.cards.book.group(self._provenance_group)
        return record_in((await self.cards.read(group.href)).card) if group else None

    async def amend_record(self, amend: Amendment) -> None:
        stored = await self.cards.read(self._plans.group_href(self._provenance_group))
        await self.cards.edit(stored, lambda card: with_record(card, amend(record_in(card))))

    async def describe(self) -> str:
        await self.cards.sync()
        return f"{await self.cards.url()}, {count(len(self.cards.book), 'card')}"

    # Finding

    def _found(self, addresses: Iterable[str]) -> dict[str, Found]:
        book, memberships = self.cards.book, self.cards.book.memberships()
        managed = [group for name in self._managed if (group := book.group(name))]
        found = ((address, book.contact(address, managed)) for address in addresses)
        return {address: self._contact(card, memberships) for address, card in found if card}

    def _contact(self, card: Indexed, groups: Iterable[tuple[str, Entry]]) -> Found:
        entry, whole = card.entry, self._plans.whole(card.href)
        told = read_section(whole.card).history if whole else ()
        return Found(
            reference=card.href,
            uid=entry.uid,
            addresses=tuple(each for each in entry.addresses if not is_pattern(each)),
            name=entry.fn,
            groups=frozenset(name for name, group in groups if group.names(entry)),
            provenance=entry.provenance,
            noted=entry.category,
            noted_on=told[-1][1] if told else None,
            history=told,
            is_edited=None if whole is None else not is_unedited(whole.card),
            patterns=tuple(filter(is_pattern, entry.addresses)),
            misspelled=frozenset(name for name, group in groups if group.misspells(entry)),
        )


def _group(card: Indexed) -> Group:
    return Group(card.href, card.entry.uid, card.entry.fn, card.entry.members)
