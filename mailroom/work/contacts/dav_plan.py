"""Carrying out a plan for contacts by CardDAV: cards are PUT and DELETEd (RFC 6352).

However many senders a plan has, each group that changes is written once. Apart from groups, cards
that the user made are never written, so it does not matter whether they can be edited safely.
"""

from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from mailroom.engine.loop import Loop, both, together
from mailroom.errors import MailroomError, SenderFailed, TransientError
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
from mailroom.rules.contacts.groups import with_members
from mailroom.rules.contacts.roster import (
    Change,
    Filing,
    Found,
    Membership,
    Plan,
)
from mailroom.wire.jmap_session import Session
from mailroom.wire.vcard import Card, UnsafeCard
from mailroom.work.contacts.cards import CardDavClient, StoredCard, usable
from mailroom.work.contacts.contacts import Failures, Meanwhile

# Errors of one sender's write, which do not stop the work on the others.
_PER_SENDER = (SenderFailed, UnsafeCard, TransientError)
# As many as :mod:`mailroom.work.contacts.cards` writes at once.
_PARALLEL = 8
# A UID is taken if the user has turned our card into somebody else's: rarely, and hardly twice.
MOST_UIDS = 20
# Nobody edits a card this often within a few round trips: a program does, and will go on.
TRIES = 5


class DavPlanWriter:
    """Carries out plans in one address book. ``found`` makes a contact of an indexed card and the
    memberships in groups."""

    def __init__(
        self,
        loop: Loop,
        config: Config,
        cards: CardDavClient,
        session: Callable[[], Coroutine[Any, Any, Session]],
        found: Callable[[Indexed, Iterable[tuple[str, Entry]]], Found],
    ) -> None:
        self._loop = loop
        self._config = config
        self._cards = cards
        self._session = session
        self._found = found
        # Cards that were read for the coming writes; they count only while their ETag is current.
        self._read: dict[str, StoredCard | UnsafeCard] = {}
        self._users = 0

    @contextmanager
    def using(self) -> Iterator[None]:
        """Keep all cards that are read until the end of this. Polls and commands may be at work at
        the same time."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1

    async def obstacles(self, plan: Plan) -> Failures:
        await self.fetch_for(plan)
        return {
            change.sender: error
            for change in plan.changes
            if (error := self._obstacle(change)) is not None
        }

    async def apply(self, plan: Plan, meanwhile: Meanwhile | None = None) -> Failures:
        with self.using():
            return await self._apply(plan, meanwhile)

    async def _apply(self, plan: Plan, meanwhile: Meanwhile | None) -> Failures:
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

    def _needed(self, plan: Plan) -> set[str]:
        """The hrefs of the existing cards that the plan changes."""
        book = self._cards.book
        groups = {group.href for name in plan.memberships if (group := book.group(name))}
        contacts = {
            each.contact.reference
            for each in plan.changes
            if each.contact and (each.notes or each.releases)
        }
        return groups | contacts

    async def fetch_for(self, plan: Plan) -> None:
        """Read the cards that the plan changes."""
        await self.fetch(self._needed(plan))

    def begin(self) -> None:
        """Forget what was read for the plan before, unless somebody uses it: a new one is to
        come."""
        if not self._users:
            self._read.clear()

    def whole(self, href: str) -> StoredCard | None:
        """The card, if it was read and has not changed since."""
        card = self._read.get(href)
        return card if isinstance(card, StoredCard) and self._is_current(href) else None

    async def fetch(self, hrefs: Iterable[str]) -> None:
        """Read those of the cards that have not been read in their current version."""
        stale = {href for href in hrefs if not self._is_current(href)}
        if stale:
            self._read |= await self._cards.fetch(stale)

    def _is_current(self, href: str) -> bool:
        card, indexed = self._read.get(href), self._cards.book.get(href)
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
                self._usable(self.group_href(name))
            if contact and (change.notes or change.releases):
                self._usable(contact.reference)
        except SenderFailed as error:
            return error
        return None

    def _usable(self, href: str) -> StoredCard:
        return usable(self._read.get(href), href)

    def group_href(self, name: str) -> str:
        group = self._cards.book.group(name)
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
            contacts[change.sender] = self._found(entry, self._cards.book.memberships())

    async def _created(self, sender: str, filing: Filing) -> StoredCard:
        """Create the contact under a UID that is always the same, so that a lost answer cannot
        lead to a second contact. If the user has turned that card into somebody else's, the next
        UID is used."""
        account_id = (await self._session()).account_id
        for counter in range(MOST_UIDS):
            uid = contact_uid(account_id, sender, counter)
            href = await self._cards.href_of(uid)
            created = await self._cards.create(href, new_contact(filing, uid))
            if created is not None:
                return created
            there = (await self._cards.fetch([href])).get(href)
            if there is None:
                continue  # a card at another href has the UID
            there = usable(there, href)
            if sender in addresses(there.card):
                return await self._cards.edit(there, _noting(filing))
        raise SenderFailed(f"{MOST_UIDS} cards of other people have the UIDs meant for the contact")

    async def _note(self, change: Change, failed: dict[str, MailroomError]) -> None:
        assert change.contact is not None
        assert change.filing is not None
        try:
            stored = self._usable(change.contact.reference)
            await self._cards.edit(stored, _noting(change.filing))
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
            href = self.group_href(name)
            # Not read yet if the contact turned out to exist when it should have been created.
            card = self._read.get(href) or await self._cards.read(href)
            await self._cards.edit(usable(card, href), edit)
        except _PER_SENDER as error:
            failed.update(dict.fromkeys(membership.joins | membership.leaves, error))

    async def _release(self, change: Change, failed: dict[str, MailroomError]) -> None:
        """Delete the card if nobody has edited it, else take Mailroom's note out of it."""
        assert change.contact is not None
        href = change.contact.reference
        try:
            stored = self._usable(href)
            for _ in range(TRIES):
                if not is_unedited(stored.card):
                    await self._cards.edit(stored, without_section)
                    return
                if await self._cards.delete(stored):
                    return
                stored = await self._cards.read(href)
            raise SenderFailed(f"the card {href} was changed {TRIES} times while being deleted")
        except _PER_SENDER as error:
            failed[change.sender] = error


def _noting(filing: Filing) -> Callable[[Card], Card]:
    name = filing.category.name if filing.category else None
    return partial(noted, category=name, today=filing.today)


async def _nothing(_failed: Failures) -> None:
    pass
