"""The contacts of the senders at hand, and their groups: read together, written together.

A contact is in exactly the managed groups of its category's chain. However many senders are
triaged in a poll, each group that changes is written once.
"""

from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import date
from functools import partial

from mailroom.engine.loop import Loop, together
from mailroom.errors import MailroomError, SenderFailed, TransientError
from mailroom.rules.addressbook import Indexed
from mailroom.rules.categories import Category
from mailroom.rules.config import Config
from mailroom.rules.contact import (
    Filing,
    addresses,
    contact_uid,
    file_under,
    is_unedited,
    new_contact,
    summarise,
    without_section,
)
from mailroom.rules.groups import with_members
from mailroom.rules.names import name_mismatch
from mailroom.rules.note import Provenance
from mailroom.rules.places import Places, require_groups
from mailroom.rules.triage import Patch, Tap, filed
from mailroom.wire.jmap import Mail
from mailroom.wire.vcard import Card, UnsafeCard
from mailroom.work.cards import CardConversation, Stored, usable

# What one sender's write can meet without stopping the work on the others.
_PER_SENDER = (SenderFailed, UnsafeCard, TransientError)
_PARALLEL = 8
_MOST_UIDS = 20
_TRIES = 5


@dataclass(slots=True)
class Job:
    """One sender's triage on its way. ``error`` says what has not succeeded."""

    tap: Tap
    waiting: tuple[Mail, ...] = ()
    uid: str = ""
    href: str | None = None
    provenance: Provenance = Provenance.NONE
    previous: str | None = None
    contact_name: str = ""
    filed: int = 0
    error: MailroomError | None = None

    @property
    def category(self) -> Category | None:
        return self.tap.category

    @property
    def has_other_name(self) -> bool:
        """A triage whose mail has another display name than the contact that was there."""
        return self.category is not None and any(
            name_mismatch(name, self.contact_name) for name in self.tap.names
        )

    def patch(self, mail: Mail, places: Places, *, may_warn: bool) -> Patch:
        """What files the mail. A warning is for the mail that was tapped; one that is there stays
        for as long as the name is another."""
        is_marked = mail.id in self.tap.mail_ids or places.warning in mail.mailbox_ids
        warns = may_warn and self.has_other_name and is_marked
        return filed(mail, self.tap, places, warn=warns)


@dataclass(slots=True)
class _GroupChange:
    add: set[str] = field(default_factory=set)
    remove: set[str] = field(default_factory=set)
    jobs: list[Job] = field(default_factory=list)


class Enrolment:
    """Contacts and groups in one poll."""

    def __init__(
        self,
        loop: Loop,
        config: Config,
        contacts: CardConversation,
        account_id: str,
        today: date,
    ) -> None:
        self._loop = loop
        self._config = config
        self._contacts = contacts
        self._account_id = account_id
        self._today = today
        self._cards: dict[str, Stored | UnsafeCard] = {}

    async def refresh(self) -> None:
        """Sync the index. Raises Missing, which names every group that is."""
        await self._contacts.sync()
        require_groups(self._config, self._contacts.book)

    async def read(self, jobs: Sequence[Job]) -> None:
        """Find each sender's contact and read the cards that will change; the index first, as
        far as it is known, so that the cards and the sync travel at the same time."""
        if not self._contacts.is_synced:
            await self.refresh()
        self._identify(jobs)
        await together(self._loop, [self._fetch(self._hrefs(jobs)), self.refresh()])
        self._identify(jobs)
        await self._fetch({href for href in self._hrefs(jobs) if not self._is_current(href)})
        for job in jobs:
            self._refuse_unsafe(job)

    def group_changes(self, job: Job) -> tuple[list[str], list[str]]:
        """The names of the groups that the job's contact has to join, and to leave."""
        changes: dict[str, _GroupChange] = {}
        self._demand(job, changes)
        names = {group.href: group.entry.fn for group in self._contacts.book.groups()}
        joins = [names[href] for href, change in changes.items() if change.add]
        return joins, [names[href] for href, change in changes.items() if change.remove]

    async def write_contacts(self, jobs: Iterable[Job]) -> None:
        """Create or update the contacts."""
        writes = [self._write_contact(job) for job in jobs if job.error is None]
        await together(self._loop, writes, _PARALLEL)

    async def write_groups(self, jobs: Iterable[Job]) -> None:
        """Bring all groups to what the jobs demand, each in one write."""
        changes: dict[str, _GroupChange] = {}
        for job in jobs:
            if job.error is None:
                self._demand(job, changes)
        writes = [self._write_group(href, change) for href, change in changes.items()]
        await together(self._loop, writes, _PARALLEL)

    async def release_contacts(self, jobs: Iterable[Job]) -> None:
        """For senders that are taken back: delete the contact, or take our section out of it."""
        releases = [
            self._release(job, job.href)
            for job in jobs
            if job.category is None and job.href and not job.error
        ]
        await together(self._loop, releases, _PARALLEL)

    def _identify(self, jobs: Iterable[Job]) -> None:
        managed = [group for group, _ in self._managed_groups(())]
        for job in jobs:
            indexed = self._contacts.book.contact(job.tap.sender, managed)
            if indexed is None:
                job.href, job.contact_name, job.previous = None, "", None
                job.uid = contact_uid(self._account_id, job.tap.sender, 0) if job.category else ""
                job.provenance = Provenance.CREATED if job.category else Provenance.NONE
            else:
                self._know(job, indexed)

    def _know(self, job: Job, indexed: Indexed) -> None:
        entry = indexed.entry
        job.href, job.provenance = indexed.href, entry.provenance
        # A contact without a UID is given one: no group can name it otherwise.
        job.uid = entry.uid or contact_uid(self._account_id, job.tap.sender, 0)
        job.previous, job.contact_name = entry.category, entry.fn

    def _refuse_unsafe(self, job: Job) -> None:
        """Where the contact or a group of it cannot be written, nothing of the sender is."""
        try:
            for href in self._hrefs([job]):
                usable(self._cards.get(href), href)
        except SenderFailed as error:
            job.error = error

    def _hrefs(self, jobs: Iterable[Job]) -> set[str]:
        changes: dict[str, _GroupChange] = {}
        for job in jobs:
            self._demand(job, changes)
        return set(changes) | {job.href for job in jobs if job.href}

    async def _fetch(self, hrefs: AbstractSet[str]) -> None:
        if hrefs:
            self._cards |= await self._contacts.fetch(hrefs)

    def _is_current(self, href: str) -> bool:
        card, indexed = self._cards.get(href), self._contacts.book.get(href)
        return card is not None and (
            isinstance(card, UnsafeCard) or indexed is None or indexed.etag == card.etag
        )

    def _managed_groups(self, wanted: Iterable[str]) -> list[tuple[Indexed, bool]]:
        """The managed groups, each with whether it is among the wanted names."""
        names = set(wanted)
        found = ((self._contacts.book.group(name), name) for name in self._config.triage.groups)
        return [(group, name in names) for group, name in found if group is not None]

    def _demand(self, job: Job, changes: dict[str, _GroupChange]) -> None:
        """Note what the job changes in which group."""
        chain = self._config.triage.chain(job.category) if job.category else ()
        demands = self._managed_groups(each.contact_group for each in chain)
        provenance = self._contacts.book.group(self._config.mailroom.provenance_group)
        if provenance:
            is_wanted = job.category is not None and job.provenance is Provenance.CREATED
            demands.append((provenance, is_wanted))
        for group, is_wanted in demands:
            if job.uid and (job.uid in group.entry.members) is not is_wanted:
                change = changes.setdefault(group.href, _GroupChange())
                (change.add if is_wanted else change.remove).add(job.uid)
                change.jobs.append(job)

    async def _write_contact(self, job: Job) -> None:
        try:
            if job.href is None:
                stored = await self._create(job)
            else:
                card = usable(self._cards.get(job.href), job.href)
                stored = await self._contacts.edit(card, self._filed(job, job.uid))
        except _PER_SENDER as error:
            job.error = error
        else:
            entry = summarise(stored.card)
            job.href, job.uid, job.provenance = stored.href, entry.uid, entry.provenance

    async def _create(self, job: Job) -> Stored:
        """Create the contact under a UID that is always the same, so that a lost answer cannot
        make a second one. Where the user has made that card somebody else's, the next UID."""
        for counter in range(_MOST_UIDS):
            uid = contact_uid(self._account_id, job.tap.sender, counter)
            href = await self._contacts.href_of(uid)
            created = await self._contacts.create(href, new_contact(self._filing(job, uid)))
            if created is not None:
                return created
            there = (await self._contacts.fetch([href])).get(href)
            if there is None:
                continue  # a card elsewhere has the UID
            there = usable(there, href)
            if job.tap.sender in addresses(there.card):
                return await self._contacts.edit(there, self._filed(job, uid))
        raise SenderFailed(f"{_MOST_UIDS} cards of other people stand where the contact would")

    def _filed(self, job: Job, uid: str) -> Callable[[Card], Card]:
        return partial(file_under, filing=self._filing(job, uid))

    def _filing(self, job: Job, uid: str) -> Filing:
        assert job.category is not None
        name = next((name for name in job.tap.names if name.strip()), "")
        return Filing(uid, job.tap.sender, name, job.category, self._today)

    async def _write_group(self, href: str, change: _GroupChange) -> None:
        try:
            # The card was not read when a new contact got another UID than foreseen.
            card = self._cards.get(href) or await self._contacts.read(href)
            edit = partial(with_members, add=change.add, remove=change.remove)
            await self._contacts.edit(usable(card, href), edit)
        except _PER_SENDER as error:
            for job in change.jobs:
                job.error = error

    async def _release(self, job: Job, href: str) -> None:
        try:
            stored = usable(self._cards.get(href), href)
            for _ in range(_TRIES):
                if not is_unedited(stored.card):
                    await self._contacts.edit(stored, without_section)
                    return
                if await self._contacts.delete(stored):
                    return
                stored = await self._contacts.read(href)
            raise SenderFailed(f"the card {href} was changed {_TRIES} times as it was deleted")
        except _PER_SENDER as error:
            job.error = error
