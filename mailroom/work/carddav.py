"""Contacts by CardDAV: a plan becomes cards, PUT and DELETEd (RFC 6352).

Finding costs nothing but the sync: the index knows addresses, names and groups. However many
senders a plan has, each group that changes is written once. Cards that the user made are not
written, groups aside, and so need not be fit to be edited.
"""

from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from functools import partial
from typing import Any

from mailroom.engine.loop import Loop, both, together
from mailroom.errors import MailroomError, SenderFailed, TransientError
from mailroom.rules.addresses import is_pattern
from mailroom.rules.configuration.config import Config
from mailroom.rules.contacts.addressbook import Indexed
from mailroom.rules.contacts.contact import (
    Entry,
    addresses,
    contact_uid,
    is_unedited,
    new_contact,
    noted,
    summarise,
    without_section,
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
    Change,
    Filing,
    Found,
    Group,
    Membership,
    Plan,
    Provenance,
    managed_groups,
)
from mailroom.rules.screening.wide import Decisions
from mailroom.rules.words import count
from mailroom.wire.jmap import CONTACTS, Session
from mailroom.wire.vcard import Card, UnsafeCard
from mailroom.work.cards import CardDavClient, StoredCard, usable
from mailroom.work.contacts import Failures, Intention, Meanwhile, local_day
from mailroom.work.dav_kept import DavKept

# What one sender's write can meet without stopping the work on the others.
_PER_SENDER = (SenderFailed, UnsafeCard, TransientError)
_PARALLEL = 8
_MOST_UIDS = 20
# How old what the door knows of the book may be.
_NEWS_SECONDS = 300.0
_TRIES = 5


class CardDavContacts:
    """The contacts of one address book. ``account_id`` is for the UIDs of what is created."""

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
        self._refreshed_at = loop.now()
        # Cards that were read for what is going to be done; another ETag makes them worthless.
        self._read: dict[str, StoredCard | UnsafeCard] = {}

    async def refresh(self) -> None:
        self._refreshed_at = self._loop.now()
        await self.cards.sync()

    def pushed(self, state: str) -> None:
        """What JMAP tells of contacts; they are synced before they are needed."""

    @property
    def has_news(self) -> bool:
        """Nobody tells, except Cyrus 3.13: a while after the last look there may be some."""
        looked_at = max(self._refreshed_at, self.cards.index.synced_at)
        return self._is_asked_always and self._loop.now() - looked_at >= _NEWS_SECONDS

    async def has_apple_groups(self) -> bool:
        """Whether a managed group is kept as vCard 3. Cyrus 3.13.7 shows groups of vCard 4 as such,
        but with the kind in capitals (seen)."""
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
        """The cards that the plan will need travel at the same time as the sync, as far as the
        index is right about which they are."""
        self._read.clear()
        if self.cards.is_synced:
            needed = self._needed(intend(self._found(addresses)))
            await both(self._loop, self._fetch(needed), self.cards.sync())
        else:
            await self.cards.sync()
        await self._fetch(self._needed(intend(self._found(addresses))))
        return self._found(addresses)

    @property
    def is_indexed(self) -> bool:
        return self.cards.is_synced

    async def acquainted(self, addresses: Collection[str]) -> Mapping[str, Acquaintance]:
        """From the index, which is up to date as of the last sync."""
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
        await self._fetch([card.href for card in told])
        memberships = self.cards.book.memberships()
        return tuple(self._contact(card, memberships) for card in ours)

    async def obstacles(self, plan: Plan) -> Failures:
        await self._fetch(self._needed(plan))
        return {
            change.sender: error
            for change in plan.changes
            if (error := self._obstacle(change)) is not None
        }

    async def apply(self, plan: Plan, meanwhile: Meanwhile | None = None) -> Failures:
        failed: dict[str, MailroomError] = dict(await self.obstacles(plan))
        plan = plan.without(failed)
        contacts: dict[str, Found] = {}
        creations = [
            self._create(change, contacts, failed) for change in plan.changes if change.creates
        ]
        notes = [self._note(change, failed) for change in plan.changes if change.notes]
        await together(self._loop, [*creations, *notes], _PARALLEL)
        plan = Plan(
            tuple(
                change.with_contact(contacts.get(change.sender, change.contact))
                for change in plan.without(failed).changes
            )
        )
        await both(
            self._loop, self._write_groups(plan, failed), (meanwhile or _nothing)(dict(failed))
        )
        releases = [
            self._release(each, failed) for each in plan.without(failed).changes if each.releases
        ]
        await together(self._loop, releases, _PARALLEL)
        return failed

    async def create_group(
        self, name: str, members: Collection[str] = (), record: Record | None = None
    ) -> bool:
        account_id = (await self._session()).account_id
        for counter in range(_MOST_UIDS):
            if self.cards.book.group(name):
                return False
            uid = group_uid(account_id, name, counter)
            empty = new_group(uid, name, await self._group_version())
            card = with_members(empty, add=members, remove=())
            card = with_record(card, record) if record else card
            if await self.cards.create(await self.cards.href_of(uid), card):
                return True
            await self.cards.sync()
        raise SenderFailed(f"{_MOST_UIDS} other cards stand where the group {name} would")

    async def _group_version(self) -> Version:
        """To contacts by JMAP on Stalwart only groups of vCard 4 are groups (0.15.5, seen). Cyrus
        knows both, and who has an Apple device sees those of vCard 3."""
        session = await self._session()
        is_seen_by_jmap = CONTACTS in session.account_capabilities
        return "4.0" if is_seen_by_jmap and not session.is_cyrus else "3.0"

    async def remove_group(self, name: str) -> bool:
        for _ in range(_TRIES):
            await self.cards.sync()
            group = self.cards.book.group(name)
            if group is None or group.entry.members:
                return False
            stored = await self.cards.read(group.href)
            if not summarise(stored.card).members and await self.cards.delete(stored):
                return True
        raise SenderFailed(f"the group {name} was changed {_TRIES} times as it was deleted")

    async def record(self) -> Record | None:
        await self.cards.sync()
        group = self.cards.book.group(self._provenance_group)
        return record_in((await self.cards.read(group.href)).card) if group else None

    async def amend_record(self, amend: Amendment) -> None:
        stored = await self.cards.read(self._group_href(self._provenance_group))
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
        entry, read = card.entry, self._read.get(card.href)
        whole = read if isinstance(read, StoredCard) and self._is_current(card.href) else None
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

    def _needed(self, plan: Plan) -> set[str]:
        """The cards that the plan changes, as far as they are there."""
        book = self.cards.book
        groups = {group.href for name in plan.memberships if (group := book.group(name))}
        contacts = {
            each.contact.reference
            for each in plan.changes
            if each.contact and (each.notes or each.releases)
        }
        return groups | contacts

    async def _fetch(self, hrefs: Iterable[str]) -> None:
        """Read the cards that have not been read yet as they are now."""
        stale = {href for href in hrefs if not self._is_current(href)}
        if stale:
            self._read |= await self.cards.fetch(stale)

    def _is_current(self, href: str) -> bool:
        card, indexed = self._read.get(href), self.cards.book.get(href)
        return card is not None and (
            isinstance(card, UnsafeCard) or indexed is None or indexed.etag == card.etag
        )

    def _obstacle(self, change: Change) -> MailroomError | None:
        contact = change.contact
        if contact and not contact.uid and (change.joins or change.leaves):
            return SenderFailed(
                f"the contact {contact.name or contact.reference} has no UID, so no group can name "
                "it: change and save it in an address book program, which gives it one"
            )
        try:
            for name in change.joins | change.leaves:
                self._usable(self._group_href(name))
            if contact and (change.notes or change.releases):
                self._usable(contact.reference)
        except SenderFailed as error:
            return error
        return None

    def _usable(self, href: str) -> StoredCard:
        return usable(self._read.get(href), href)

    def _group_href(self, name: str) -> str:
        group = self.cards.book.group(name)
        if group is None:
            raise SenderFailed(
                f"the contact group {name} is missing: run {self._config.command('setup --apply')}"
            )
        return group.href

    # Writing

    async def _create(
        self, change: Change, contacts: dict[str, Found], failed: dict[str, MailroomError]
    ) -> None:
        assert change.filing is not None
        try:
            stored = await self._created(change.sender, change.filing)
        except _PER_SENDER as error:
            failed[change.sender] = error
        else:
            entry = Indexed(stored.href, stored.etag, summarise(stored.card))
            contacts[change.sender] = self._contact(entry, self.cards.book.memberships())

    async def _created(self, sender: str, filing: Filing) -> StoredCard:
        """Create the contact under a UID that is always the same, so that a lost answer cannot
        make a second one. Where the user has made that card somebody else's, the next UID."""
        account_id = (await self._session()).account_id
        for counter in range(_MOST_UIDS):
            uid = contact_uid(account_id, sender, counter)
            href = await self.cards.href_of(uid)
            created = await self.cards.create(href, new_contact(filing, uid))
            if created is not None:
                return created
            there = (await self.cards.fetch([href])).get(href)
            if there is None:
                continue  # a card elsewhere has the UID
            there = usable(there, href)
            if sender in addresses(there.card):
                return await self.cards.edit(there, _noting(filing))
        raise SenderFailed(f"{_MOST_UIDS} cards of other people stand where the contact would")

    async def _note(self, change: Change, failed: dict[str, MailroomError]) -> None:
        assert change.contact is not None
        assert change.filing is not None
        try:
            stored = self._usable(change.contact.reference)
            await self.cards.edit(stored, _noting(change.filing))
        except _PER_SENDER as error:
            failed[change.sender] = error

    async def _write_groups(self, plan: Plan, failed: dict[str, MailroomError]) -> None:
        uids = {each.sender: each.contact.uid for each in plan.changes if each.contact}
        writes = [
            self._write_group(name, membership, uids, failed)
            for name, membership in plan.memberships.items()
        ]
        await together(self._loop, writes, _PARALLEL)

    async def _write_group(
        self,
        name: str,
        membership: Membership,
        uids: Mapping[str, str],
        failed: dict[str, MailroomError],
    ) -> None:
        edit = partial(
            with_members,
            add=[uids[sender] for sender in membership.joins],
            remove=[uids[sender] for sender in membership.leaves],
        )
        try:
            href = self._group_href(name)
            # Not read yet: a contact was found to be there when it should have been created.
            card = self._read.get(href) or await self.cards.read(href)
            await self.cards.edit(usable(card, href), edit)
        except _PER_SENDER as error:
            failed.update(dict.fromkeys(membership.joins | membership.leaves, error))

    async def _release(self, change: Change, failed: dict[str, MailroomError]) -> None:
        """Delete or clean, whichever is right for the card as it stands then."""
        assert change.contact is not None
        href = change.contact.reference
        try:
            stored = self._usable(href)
            for _ in range(_TRIES):
                if not is_unedited(stored.card):
                    await self.cards.edit(stored, without_section)
                    return
                if await self.cards.delete(stored):
                    return
                stored = await self.cards.read(href)
            raise SenderFailed(f"the card {href} was changed {_TRIES} times as it was deleted")
        except _PER_SENDER as error:
            failed[change.sender] = error


def _group(card: Indexed) -> Group:
    return Group(card.href, card.entry.uid, card.entry.fn, card.entry.members)


def _noting(filing: Filing) -> Callable[[Card], Card]:
    name = filing.category.name if filing.category else None
    return partial(noted, category=name, today=filing.today)


async def _nothing(_failed: Failures) -> None:
    pass
