"""What a poll reads, and what it makes of it; nothing is written here.

In dependent round trips: (1) states and labelled mail; (2) the senders' mail, the index of the
address book and the cards that will change, at once. Nothing labelled: (1) is all.
"""

from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from mailroom.engine.loop import Loop, Promise, both, give_way
from mailroom.errors import LastingTrouble, ProtocolError
from mailroom.rules.config import Config
from mailroom.rules.failures import Failures
from mailroom.rules.own import OwnAddresses
from mailroom.rules.places import Places, find_places
from mailroom.rules.triage import Patch, Tap, Verdicts, filed, sender_of, sort_out
from mailroom.wire.jmap import Mail, Mailbox, MethodError
from mailroom.work.cards import CardConversation
from mailroom.work.enrol import Enrolment, Job
from mailroom.work.mail import Filter, MailConversation, Reading, all_of, any_of, in_any

T = TypeVar("T")

# A search may run behind what was delivered (the index), so the last hour is looked through.
_UNINDEXED_SECONDS = 3600.0
# Mail that came while its sender was triaged waits in Screener: it is looked for this long.
_NEWCOMER_SECONDS = 120.0
_SENDERS_PER_QUERY = 50
_LOOKS = 3


@dataclass(frozen=True, slots=True)
class Survey:
    """One look at the account: the senders to work on, and the mail that came late.

    Of the verdicts' taps, those that are held back after a failure, and those whose contact is
    another job's, have no job.
    """

    reading: Reading
    places: Places
    verdicts: Verdicts
    jobs: tuple[Job, ...]
    newcomers: Mapping[str, Patch]
    enrolment: Enrolment


class Surveyor:
    """Looks at one account; remembers what one poll leaves to the next."""

    def __init__(
        self, loop: Loop, config: Config, mail: MailConversation, contacts: CardConversation
    ) -> None:
        self.failures = Failures()
        self._loop = loop
        self._config = config
        self._mail = mail
        self._contacts = contacts
        self._known: tuple[Sequence[Mailbox], Places] | None = None
        self._has_groups = False
        self._identities: frozenset[str] = frozenset()
        self._recent: dict[str, tuple[Tap, float]] = {}

    async def survey(self) -> Survey:
        """Read all that a poll needs. Raises LastingTrouble where something is missing."""
        reading, places = await self._begin()
        verdicts = sort_out(reading.found[0] or (), places, await self._own_addresses())
        jobs = self._due_jobs(verdicts)
        enrolment = await self._enrolment()
        if jobs:
            found, _ = await both(self._loop, self._find_mail(jobs, places), enrolment.read(jobs))
            jobs = _one_per_contact(jobs)
            for job in jobs:
                job.waiting = _others(found.get(job.tap.sender, ()), job.tap)
        newcomers = self._newcomers(reading, verdicts, places)
        return Survey(reading, places, verdicts, tuple(jobs), newcomers, enrolment)

    def remember(self, tap: Tap) -> None:
        """The tap has been carried out: mail that came meanwhile is still to be filed."""
        self._recent.pop(tap.sender, None)
        if tap.category is not None:
            self._recent[tap.sender] = (tap, self._loop.now() + _NEWCOMER_SECONDS)

    async def _begin(self) -> tuple[Reading, Places]:
        if self._has_groups:
            return await self._look()
        looked, checked = await both(
            self._loop, _or_trouble(self._look()), _or_trouble(self._check_groups())
        )
        if isinstance(looked, LastingTrouble) or isinstance(checked, LastingTrouble):
            troubles = [each for each in (looked, checked) if isinstance(each, LastingTrouble)]
            raise type(troubles[0])("; ".join(map(str, troubles)))
        return looked

    async def _check_groups(self) -> None:
        """What is looked at once: the groups, and which addresses are the user's own."""
        await (await self._enrolment()).refresh()
        self._identities = await self._mail.identities()
        self._has_groups = True

    async def _look(self) -> tuple[Reading, Places]:
        """States and labelled mail; once more when the mailboxes turn out to be others."""
        known = self._known
        places = known[1] if known else self._resolve((await self._mail.open(())).mailboxes)
        for _ in range(_LOOKS):
            reading = await self._mail.open(self._filters(places))
            found = self._resolve(reading.mailboxes)
            if found == places and None not in reading.found:
                return reading, places
            places = found
        raise ProtocolError("the mailboxes that the server lists cannot be searched")

    def _resolve(self, mailboxes: Sequence[Mailbox]) -> Places:
        """The managed ones among them; most of the time they are those of the last poll."""
        if self._known is None or self._known[0] != mailboxes:
            self._known = mailboxes, find_places(self._config, mailboxes)
        return self._known[1]

    def _filters(self, places: Places) -> list[Filter]:
        now = self._loop.now()
        self._recent = {who: entry for who, entry in self._recent.items() if entry[1] > now}
        filters = [in_any(places.queried)]
        if self._recent:
            filters.append(all_of({"inMailbox": places.screener}, self._last_hour()))
        return filters

    def _last_hour(self) -> Filter:
        since = datetime.fromtimestamp(self._loop.clock.wall() - _UNINDEXED_SECONDS, UTC)
        return {"after": since.strftime("%Y-%m-%dT%H:%M:%SZ")}

    async def _own_addresses(self) -> OwnAddresses:
        username = (await self._mail.session()).username
        return OwnAddresses((*self._identities, *self._config.triage.own_addresses, username))

    def _due_jobs(self, verdicts: Verdicts) -> list[Job]:
        self.failures.keep_only({tap.sender for tap in verdicts.taps})
        now = self._loop.now()
        return [
            Job(tap)
            for tap in verdicts.taps
            if not self.failures.is_held_back(tap.sender, tap.labels, now)
        ]

    def _newcomers(self, reading: Reading, verdicts: Verdicts, places: Places) -> dict[str, Patch]:
        """Patches for mail that came while its sender was triaged a moment ago."""
        tapped = {tap.sender for tap in verdicts.taps}
        tapped |= {conflict.sender for conflict in verdicts.conflicts}
        patches = {}
        for mail in (reading.found[1] or ()) if len(reading.found) > 1 else ():
            sender = sender_of(mail)
            if sender in self._recent and sender not in tapped:
                patches[mail.id] = filed(mail, self._recent[sender][0], places)
        return {mail_id: patch for mail_id, patch in patches.items() if patch}

    async def _enrolment(self) -> Enrolment:
        session = await self._mail.session()
        today = datetime.fromtimestamp(self._loop.clock.wall(), UTC).astimezone().date()
        return Enrolment(self._loop, self._config, self._contacts, session.account_id, today)

    async def _find_mail(self, jobs: Sequence[Job], places: Places) -> dict[str, list[Mail]]:
        """The senders' mail in Screener, the destinations and under a warning, by exact address."""
        searched = in_any(sorted(places.searched))
        senders = [job.tap.sender for job in jobs]
        by_sender = [
            all_of(any_of({"from": sender} for sender in batch), searched)
            for start in range(0, len(senders), _SENDERS_PER_QUERY)
            if (batch := senders[start : start + _SENDERS_PER_QUERY])
        ]
        found = await self._mail.search([*by_sender, all_of(searched, self._last_hour())])
        if any(isinstance(each, MethodError) for each in found):
            found = await self._mail.search([searched])  # the search fails: look at every mail
        mails = {mail.id: mail for each in found for mail in _found(each)}
        by_address: dict[str, list[Mail]] = {}
        for mail in mails.values():
            await give_way(self._loop)
            if (sender := sender_of(mail)) and places.searched & mail.mailbox_ids:
                by_address.setdefault(sender, []).append(mail)
        return by_address


async def _or_trouble(work: Coroutine[Promise[Any], None, T]) -> T | LastingTrouble:
    """The result, or what only the user can mend: all of that is told together."""
    try:
        return await work
    except LastingTrouble as trouble:
        return trouble


def _others(mails: Iterable[Mail], tap: Tap) -> tuple[Mail, ...]:
    tapped = {mail.id for mail in tap.mails}
    return tuple(mail for mail in mails if mail.id not in tapped)


def _found(result: tuple[Mail, ...] | MethodError) -> tuple[Mail, ...]:
    if isinstance(result, MethodError):
        raise result
    return result


def _one_per_contact(jobs: Iterable[Job]) -> list[Job]:
    """Two addresses of one contact, tapped at the same time, take turns: one poll each."""
    first: dict[str, Job] = {}
    for job in jobs:
        first.setdefault(job.href or job.uid or job.tap.sender, job)
    return list(first.values())
