"""What a poll reads, and what follows from it; nothing is written here.

Its dependent round trips: (1) states, new mail, and the mail that asks for something; (2) at the
same time the senders' mail, their contacts, and the facts about new mail. If there is nothing new:
(1) alone.
"""

from collections.abc import Collection, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from mailroom.engine.loop import Loop, Promise, both, give_way
from mailroom.errors import (
    LastingTrouble,
    ProtocolError,
    SentUnsearched,
    TransientError,
)
from mailroom.rules.configuration.config import Config
from mailroom.rules.contacts.roster import Found, Plan
from mailroom.rules.screening.own import OwnAddresses
from mailroom.rules.triage import queries
from mailroom.rules.triage.drags import placed, tidied, untapped
from mailroom.rules.triage.failures import Failures
from mailroom.rules.triage.job import Job, job_for, with_mail
from mailroom.rules.triage.orders import (
    Order,
    in_conflict,
    with_taps,
    with_wholes,
    without_contested,
)
from mailroom.rules.triage.places import Places, find_places, require_groups
from mailroom.rules.triage.verdicts import (
    MailPatch,
    Tap,
    Verdicts,
    by_contact,
    filed,
    sender_of,
    sort_out,
    without_crowd,
)
from mailroom.rules.triage.whole import Whole, parted
from mailroom.wire.filters import Filter
from mailroom.wire.jmap import Mail, Mailbox, MethodError
from mailroom.work.contacts.contacts import Contacts
from mailroom.work.mail.mail import MailClient
from mailroom.work.mail.reading import Reading
from mailroom.work.mail.unindexed import unindexed
from mailroom.work.polling.glance import Glance
from mailroom.work.polling.survey import Survey
from mailroom.work.screening.door import Door
from mailroom.work.screening.wholes import Wholes

T = TypeVar("T")

# How long polls search Screener for mail that came while its sender was being triaged.
_NEWCOMER_SECONDS = 120.0
# How often a poll reads again because the mailboxes have changed.
_LOOKS = 3


class Surveyor:
    """Reads one account for its polls; keeps what one poll leaves to the next. ``doubts_groups``:
    something was missing in the account, so the next poll reads the groups again."""

    def __init__(
        self,
        loop: Loop,
        config: Config,
        mail: MailClient,
        contacts: Contacts,
        door: Door,
    ) -> None:
        self.failures = Failures()
        self.doubts_groups = False
        self._door = door
        self.wholes = Wholes(loop, config, mail, contacts, door)
        self._loop = loop
        self._config = config
        self._mail = mail
        self._contacts = contacts
        self._known: tuple[Sequence[Mailbox], Places] | None = None
        self._has_groups = False
        self._identities: frozenset[str] = frozenset()
        # Senders being taken back who would not wait without a decision.
        self._acquainted: frozenset[str] = frozenset()
        # Why the last poll could not find that out.
        self._unacquainted: SentUnsearched | None = None
        self._recent: dict[str, tuple[Tap, float]] = {}
        self._glance = Glance(loop, mail)

    @property
    def places(self) -> Places | None:
        """The mailboxes, as the last poll found them; None before the first."""
        return self._known[1] if self._known else None

    async def glance(self) -> Reading | None:
        """What one cheap request has read, if nothing has changed since there was nothing to do;
        else None."""
        reading = await self._glance.look(self.places) if self.places else None
        if reading and (self.doubts_groups or self._contacts.has_news):
            await self._check_groups()
        return reading

    async def survey(self, orders: Sequence[Order] = ()) -> Survey:
        """Read all that a poll needs. Raises LastingTrouble if something is missing in the
        account."""
        reading, places = await self._begin()
        own = await self.own_addresses()
        asking, for_many = parted(reading.found[0] or (), places)
        verdicts, crowd = without_crowd(sort_out(asking, places, own), places)
        wholes, refused = await self.wholes.read(for_many, places) if for_many else ((), ())
        if orders:
            self.failures.succeeded(*(order.name for order in orders))  # tried now
            verdicts, no_taps = with_taps(verdicts, orders, places, own)
            wholes, no_wholes = with_wholes(wholes, orders, places)
            orders_refused = {**no_taps, **no_wholes}
        else:
            orders_refused = {}
        names = {tap.sender for tap in verdicts.taps} | {each.name for each in wholes}
        self.failures.keep_only(names)
        due = tuple(each for each in wholes if self._is_due(each))
        survey = Survey(
            *(reading, places, verdicts, (), {}),
            crowd=crowd,
            own=own,
            wholes=due,
            held=tuple(each for each in wholes if each not in due),
            refused=refused,
            orders=tuple(orders),
            orders_refused=orders_refused,
        )
        if self._door.is_open:
            triaged, admitted = await both(
                self._loop, self._with_jobs(survey), self._at_door(survey, own)
            )
            survey = replace(
                admitted,
                verdicts=triaged.verdicts,
                jobs=triaged.jobs,
                put_off=triaged.put_off,
                unsearched=triaged.unsearched,
                orders_refused=triaged.orders_refused,
            )
            self._glance.empty_at = reading.states if survey.is_empty else None
            return survey
        survey = await self._with_jobs(survey)
        return replace(survey, newcomers=self._newcomers(reading, survey.verdicts, places))

    async def _with_jobs(self, survey: Survey) -> Survey:
        """The survey with the jobs for the taps that are due."""
        verdicts, places = survey.verdicts, survey.places
        if not any(self._is_due(tap) for tap in verdicts.taps):
            return survey
        searched = frozenset(
            address
            for tap in verdicts.taps
            for address in (tap.sender, *self._contacts.addresses_of(tap.sender))
        )
        mails, (found, self._acquainted) = await both(
            self._loop,
            self.find_mail(searched, places),
            both(
                self._loop,
                self._find_contacts(verdicts.taps),
                self._find_acquainted(verdicts.taps, places, survey.own),
            ),
        )
        ordered = [found[each.name] for each in survey.orders if each.name in found]
        self.failures.succeeded(*(address for each in ordered for address in each.addresses))
        verdicts, contested = without_contested(verdicts, survey.orders, found, places)
        verdicts = by_contact(verdicts, found, places)
        contested = {**contested, **in_conflict(verdicts, survey.orders, places)}
        every = [tap for tap in verdicts.taps if self._is_due(tap)]
        error = self._unacquainted
        put_off = tuple((tap, error) for tap in every if error and tap.category is None)
        due = [tap for tap in every if not error or tap.category is not None]
        apart = {mail.id for whole in survey.wholes for mail in whole.mails}
        jobs = tuple(with_mail(job, mails, apart) for job in self._jobs(due, found))
        unsearched = frozenset().union(*(job.addresses for job in jobs)) - searched
        return replace(
            survey,
            verdicts=verdicts,
            jobs=jobs,
            put_off=put_off,
            unsearched=unsearched,
            orders_refused={**survey.orders_refused, **contested},
        )

    async def _at_door(self, survey: Survey, own: OwnAddresses) -> Survey:
        """The survey with the new mail, and the patches for the keywords of moved mail."""
        reading, places = survey.reading, survey.places
        visit = await self._door.visit(reading, places)
        asking = reading.found[0] or ()
        looked_at = {mail.id for mail in asking} | {each.id for each in visit.arrivals}
        by_hand, admissions = await both(
            self._loop,
            self._door.put_by_hand(visit.updated - looked_at, places),
            self._door.judge.decide(visit.arrivals, places, own),
        )
        senderless = [mail for mail in asking if (who := sender_of(mail)) is None or who in own]
        keywords = {
            **placed(by_hand),
            **tidied(asking, places),
            **untapped(senderless, places),
        }
        return replace(survey, visit=visit, admissions=tuple(admissions), keywords=keywords)

    def with_label(self, job: Job, mail: Mail) -> Job:
        """The job of an order, now that this mail of the sender has been given the label."""
        labelled = replace(mail, mailbox_ids=mail.mailbox_ids | {job.tap.label_id})
        found = {job.sender: job.contact} if job.contact else {}
        [again] = self._jobs([replace(job.tap, mails=(labelled,))], found)
        return replace(again, waiting=tuple(each for each in job.waiting if each.id != mail.id))

    def remember(self, job: Job) -> None:
        """Note a finished job: mail from the sender that came meanwhile still has to be filed."""
        for address in job.addresses:
            self._recent.pop(address, None)
            if job.category is not None:
                self._recent[address] = (job.tap, self._loop.now() + _NEWCOMER_SECONDS)

    async def find_mail(self, addresses: Collection[str], places: Places) -> dict[str, list[Mail]]:
        """The mail from these addresses in Screener, in destinations, and with a warning label."""
        try:
            late = await self._unindexed(places)
            sweeps = queries.sweeps(places, addresses, self._loop.clock.wall())
            found = [*map(_found, await self._mail.search(sweeps)), late]
        except MethodError:
            found = [_found(each) for each in await self._mail.search([queries.everything(places)])]
        mails = {mail.id: mail for each in found for mail in each}
        by_address: dict[str, list[Mail]] = {}
        for mail in mails.values():
            await give_way(self._loop)
            if sender := sender_of(mail):
                by_address.setdefault(sender, []).append(mail)
        return by_address

    async def _unindexed(self, places: Places) -> tuple[Mail, ...]:
        """All senders' mail that no search finds yet; on Cyrus the sweeps include the mail of the
        last hour instead."""
        if (await self._mail.session()).is_cyrus:
            return ()
        return await unindexed(self._loop, self._mail, queries.everything(places))

    async def _begin(self) -> tuple[Reading, Places]:
        if self._has_groups and not self.doubts_groups:
            found = await self._look()
            if self._contacts.has_news:  # after the look: if that fails, this is not asked
                await self._check_groups()
            return found
        looked, checked = await both(
            self._loop, _or_trouble(self._look()), _or_trouble(self._check_groups())
        )
        if isinstance(looked, LastingTrouble) or isinstance(checked, LastingTrouble):
            troubles = [each for each in (looked, checked) if isinstance(each, LastingTrouble)]
            raise type(troubles[0])("; ".join(map(str, troubles)))
        return looked

    async def _check_groups(self) -> None:
        """Check that the groups exist; the first time, also learn the user's own addresses."""
        try:
            await self._contacts.refresh()
        except TransientError:
            if not self._has_groups or self.doubts_groups:
                raise
            return  # what is known will do; a triage reads again, and reports the failure
        require_groups(self._config, await self._contacts.groups())
        if not self._has_groups:
            self._identities = await self._mail.identities()
            await self._door.begin()
        self._has_groups, self.doubts_groups = True, False

    async def _look(self) -> tuple[Reading, Places]:
        """States and labelled mail; read again if the mailboxes turn out to have changed."""
        known = self._known
        places = known[1] if known else self._resolve((await self._mail.take_reading(())).mailboxes)
        for _ in range(_LOOKS):
            was_split = await self._mail.is_split()
            try:
                reading = await self._mail.take_reading(
                    await self.filters(places), self._door.state
                )
            except MethodError:
                if was_split or not await self._mail.is_split():
                    raise
                continue  # the server takes only one mailbox per query: ask again for less
            found = self._resolve(reading.mailboxes)
            if found == places and None not in reading.found:
                return reading, places
            places = found
        raise ProtocolError("the mailboxes that the server lists cannot be searched")

    def _resolve(self, mailboxes: Sequence[Mailbox]) -> Places:
        """The managed mailboxes among these; mostly they are unchanged since the last poll."""
        if self._known is None or self._known[0] != mailboxes:
            former = self._known[0] if self._known else ()
            self._known = mailboxes, find_places(self._config, mailboxes, former)
        return self._known[1]

    async def filters(self, places: Places) -> list[Filter]:
        """What a poll searches for: first the mail that asks for something."""
        if self._door.is_open and not await self._mail.is_split():
            return [queries.asking(places)]
        now = self._loop.now()
        self._recent = {who: entry for who, entry in self._recent.items() if entry[1] > now}
        filters = [queries.labelled(places)]
        if self._recent and not self._door.is_open:
            now = self._loop.clock.wall()
            is_dated = (await self._mail.session()).is_cyrus
            filters.append(queries.newcomers(places, now, is_dated=is_dated))
        return filters

    async def own_addresses(self) -> OwnAddresses:
        """The user's own addresses; the identities' are among them once a poll has read these."""
        username = (await self._mail.session()).username
        return OwnAddresses((*self._identities, *self._config.triage.own_addresses, username))

    def _is_due(self, tap: Tap | Whole) -> bool:
        is_ordered = not tap.labels
        return is_ordered or not self.failures.is_held_back(tap.labels, self._loop.now())

    async def _find_contacts(self, taps: Iterable[Tap]) -> Mapping[str, Found]:
        """The senders' contacts. Raises Missing, which names every missing group."""
        senders = {tap.sender: tap for tap in taps}

        def intend(found: Mapping[str, Found]) -> Plan:
            return Plan(tuple(job.change for job in self._jobs(senders.values(), found)))

        found = await self._contacts.find(senders, intend)
        require_groups(self._config, await self._contacts.groups())
        return found

    async def _find_acquainted(
        self, taps: Iterable[Tap], places: Places, own: OwnAddresses
    ) -> frozenset[str]:
        """Those senders being taken back who would not wait without a decision."""
        self._unacquainted = None
        back = [tap for tap in taps if tap.category is None and self._is_due(tap)]
        if not back or not self._door.is_open:
            return frozenset()
        mails = [mail for tap in back for mail in tap.mails]
        ordered = [tap.sender for tap in back if not tap.mails]
        try:
            by_mail, by_address = await both(
                self._loop,
                self._door.judge.acquainted(mails, places, own),
                self._door.judge.expected(ordered, places, own, apart_from_groups=True),
            )
        except SentUnsearched as error:
            self._unacquainted = error
            return frozenset()
        others = (who for who, each in by_address.items() if each.is_known or each.category)
        return by_mail.union(others)

    def _jobs(self, taps: Iterable[Tap], found: Mapping[str, Found]) -> list[Job]:
        today = datetime.fromtimestamp(self._loop.clock.wall(), UTC).astimezone().date()
        return [
            job_for(
                tap,
                found.get(tap.sender),
                self._config,
                today,
                is_known=tap.sender in self._acquainted,
            )
            for tap in taps
        ]

    def _newcomers(
        self, reading: Reading, verdicts: Verdicts, places: Places
    ) -> dict[str, MailPatch]:
        """The patches for mail that came while its sender was being triaged."""
        tapped = {tap.sender for tap in verdicts.taps}
        tapped |= {conflict.sender for conflict in verdicts.conflicts}
        patches = {}
        for mail in (reading.found[1] or ()) if len(reading.found) > 1 else ():
            sender = sender_of(mail)
            if sender in self._recent and sender not in tapped:
                patches[mail.id] = filed(mail, self._recent[sender][0], places)
        return {mail_id: patch for mail_id, patch in patches.items() if patch}


async def _or_trouble(work: Coroutine[Promise[Any], None, T]) -> T | LastingTrouble:
    """The result, or the trouble that only the user can mend, so that all of it is reported
    together."""
    try:
        return await work
    except LastingTrouble as trouble:
        return trouble


def _found(result: tuple[Mail, ...] | MethodError) -> tuple[Mail, ...]:
    if isinstance(result, MethodError):
        raise result
    return result
