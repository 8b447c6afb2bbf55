"""One poll: look for labelled mail, and bring every sender found to where the label says.

In dependent round trips: (1) states and labelled mail; (2) the senders' mail, the index and the
cards, at once; (3) contacts; (4) groups and the senders' other mail, at once; (5) the labelled
mail itself, label off, then states and labels once more. Nothing labelled: (1) is all.

A triage is a convergence: whatever has been done already is found done, so any point is a safe
point to be killed at. The label comes off last, and only from senders of whom all has succeeded.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from mailroom.engine.journal import Log
from mailroom.engine.loop import Loop, both
from mailroom.errors import ProtocolError, SenderFailed, TransientError
from mailroom.rules.config import Config
from mailroom.rules.failures import Failures
from mailroom.rules.places import Places, find_places
from mailroom.rules.triage import Patch, Tap, Verdicts, filed, marked, sender_of, sort_out
from mailroom.wire.jmap import Mail, MethodError
from mailroom.work.contacts import ContactsConversation
from mailroom.work.enrol import Enrolment, Job
from mailroom.work.mail import Filter, MailConversation, Reading, all_of, any_of, in_any

# A search may run behind what was delivered (the index), so the last hour is looked through.
_UNINDEXED_SECONDS = 3600.0
# Mail that came while its sender was triaged waits in Screener: it is looked for this long.
_NEWCOMER_SECONDS = 120.0
_SENDERS_PER_QUERY = 50
_LOUD_ATTEMPTS = 3
_LOOKS = 3

Label = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Triaged:
    """One sender that is where the label said; ``category`` None: taken back to Screener."""

    sender: str
    category: str | None
    previous: str | None
    filed: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a poll did, and what the schedule has to know: when it last read the labels, with
    which states, and whether a label has appeared meanwhile."""

    read_at: float
    known: Mapping[str, frozenset[str]]
    again: bool = False
    triaged: tuple[Triaged, ...] = ()
    filed: int = 0
    conflicts: int = 0
    failed: int = 0

    @property
    def is_idle(self) -> bool:
        return not (self.triaged or self.filed or self.conflicts or self.failed)


class Poller:
    """Polls of one account; remembers what one poll leaves to the next."""

    def __init__(
        self,
        loop: Loop,
        config: Config,
        mail: MailConversation,
        contacts: ContactsConversation,
        log: Log,
    ) -> None:
        self.failures = Failures()
        self._loop = loop
        self._config = config
        self._mail = mail
        self._contacts = contacts
        self._log = log
        self._places: Places | None = None
        self._has_groups = False
        self._recent: dict[str, tuple[Tap, float]] = {}

    async def poll(self) -> Outcome:
        """Raises TransientError, CredentialsRefused, ProtocolError, MethodError, LastingTrouble;
        whatever was not done by then, the next poll does."""
        reading, places = await self._begin()
        verdicts = sort_out(reading.found[0] or (), places, await self._own_addresses())
        jobs = self._due_jobs(verdicts)
        newcomers = self._newcomers(reading, jobs, places)
        if verdicts.is_nothing and not newcomers:
            self.failures.keep_only(set())
            return Outcome(reading.sent_at, _known(reading))
        done = [job for job in await self._triage(jobs, places) if job.error is None]
        marks = marked(verdicts, places)
        patches = newcomers | self._tap_patches(done, places) | marks
        refused, closing = await self._mail.close(patches, in_any(places.queried))
        self._report_marks(done, verdicts, marks, places)
        _note_refusals(refused, {mail.id: job for job in done for mail in job.tap.mails})
        self._heed_failures(jobs, verdicts)
        return self._outcome(reading, closing, jobs, verdicts, len(newcomers))

    async def _begin(self) -> tuple[Reading, Places]:
        if self._has_groups:
            return await self._look()
        looked, _ = await both(self._loop, self._look(), self._check_groups())
        return looked

    async def _check_groups(self) -> None:
        await (await self._enrolment()).refresh()
        self._has_groups = True

    async def _look(self) -> tuple[Reading, Places]:
        """States and labelled mail; once more when the mailboxes turn out to be others."""
        if self._places is None:
            self._places = find_places(self._config, (await self._mail.open(())).mailboxes)
        for _ in range(_LOOKS):
            reading = await self._mail.open(self._filters(self._places))
            places = find_places(self._config, reading.mailboxes)
            if places == self._places and None not in reading.found:
                return reading, places
            self._places = places
        raise ProtocolError("the mailboxes that the server lists cannot be searched")

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

    async def _own_addresses(self) -> frozenset[str]:
        username = (await self._mail.session()).username.lower()
        own = {address.lower() for address in self._config.triage.own_addresses}
        return frozenset(own | ({username} if "@" in username else set()))

    def _due_jobs(self, verdicts: Verdicts) -> list[Job]:
        self.failures.keep_only({tap.sender for tap in verdicts.taps})
        now = self._loop.now()
        return [
            Job(tap)
            for tap in verdicts.taps
            if not self.failures.is_held_back(tap.sender, _ids(tap.mails), now)
        ]

    def _newcomers(self, reading: Reading, jobs: Iterable[Job], places: Places) -> dict[str, Patch]:
        """Patches for mail that came while its sender was triaged a moment ago."""
        tapped = {job.tap.sender for job in jobs}
        patches = {}
        for mail in (reading.found[1] or ()) if len(reading.found) > 1 else ():
            sender = sender_of(mail)
            if sender in self._recent and sender not in tapped:
                patches[mail.id] = filed(mail, self._recent[sender][0], places)
        return {mail_id: patch for mail_id, patch in patches.items() if patch}

    async def _triage(self, jobs: list[Job], places: Places) -> list[Job]:
        """Everything but the labelled mail; the jobs that were worked on, with their errors."""
        if not jobs:
            return []
        enrolment = await self._enrolment()
        candidates, _ = await both(self._loop, self._find_mail(jobs, places), enrolment.read(jobs))
        jobs = _one_per_contact(jobs)
        for job in jobs:
            found = candidates.get(job.tap.sender, ())
            job.waiting = tuple(mail for mail in found if mail.id not in _ids(job.tap.mails))
        await enrolment.write_contacts(jobs)
        triages = [job for job in jobs if job.category is not None]
        await both(self._loop, enrolment.write_groups(jobs), self._sweep(triages, places))
        taken_back = [job for job in jobs if job.category is None]
        if taken_back:
            await enrolment.release_contacts(taken_back)
            await self._sweep(taken_back, places)
        return jobs

    async def _enrolment(self) -> Enrolment:
        session = await self._mail.session()
        today = datetime.fromtimestamp(self._loop.clock.wall(), UTC).astimezone().date()
        return Enrolment(self._loop, self._config, self._contacts, session.account_id, today)

    async def _find_mail(self, jobs: Sequence[Job], places: Places) -> dict[str, tuple[Mail, ...]]:
        """The senders' mail in Screener and the destinations, by exact address."""
        scope = in_any(sorted(places.scope))
        senders = [job.tap.sender for job in jobs]
        by_sender = [
            all_of(any_of({"from": sender} for sender in batch), scope)
            for start in range(0, len(senders), _SENDERS_PER_QUERY)
            if (batch := senders[start : start + _SENDERS_PER_QUERY])
        ]
        *found, recent = await self._mail.search([*by_sender, all_of(scope, self._last_hour())])
        if any(isinstance(each, MethodError) for each in (*found, recent)):
            found = await self._mail.search([scope])  # the search fails: look at every mail
        mails = {mail.id: mail for each in (*found, recent) for mail in _found(each)}
        by_address: dict[str, tuple[Mail, ...]] = {}
        for mail in mails.values():
            if (sender := sender_of(mail)) and places.scope & mail.mailbox_ids:
                by_address[sender] = (*by_address.get(sender, ()), mail)
        return by_address

    async def _sweep(self, jobs: Iterable[Job], places: Places) -> None:
        """File the senders' other mail."""
        patches: dict[str, Patch] = {}
        owners: dict[str, Job] = {}
        for job in jobs:
            if job.error is None:
                found = {mail.id: filed(mail, job.tap, places) for mail in job.waiting}
                changed = {mail_id: patch for mail_id, patch in found.items() if patch}
                patches |= changed
                owners |= dict.fromkeys(changed, job)
                job.filed += len(changed)
        if patches:
            _note_refusals(await self._mail.update(patches), owners)

    def _tap_patches(self, done: Iterable[Job], places: Places) -> dict[str, Patch]:
        """File the labelled mail itself, label off."""
        patches: dict[str, Patch] = {}
        for job in done:
            warn = job.has_other_name and self._config.mailroom.warnings_enabled
            for mail in job.tap.mails:
                patches[mail.id] = filed(mail, job.tap, places, warn=warn)
            job.filed += len(job.tap.mails)
        return patches

    def _report_marks(
        self, done: Iterable[Job], verdicts: Verdicts, marks: Mapping[str, Patch], places: Places
    ) -> None:
        """Tell what the user has to look at; of a conflict only when its mail gets the label."""
        for job in done:
            if job.has_other_name:
                names = {"name": job.tap.names[0], "contact_name": job.contact_name}
                self._log.warning("name_mismatch", sender=job.tap.sender, **names)
        for mail in verdicts.unusable:
            self._log.warning("sender_unusable", mail=mail.id)
        for conflict in verdicts.conflicts:
            if not marks.keys().isdisjoint(_ids(conflict.mails)):
                categories = sorted(_label_names(conflict.label_ids, places))
                self._log.warning(
                    "conflict_detected", sender=conflict.sender, categories=categories
                )

    def _heed_failures(self, jobs: Iterable[Job], verdicts: Verdicts) -> None:
        """Note and report the senders that failed. Trouble that passes fails the poll instead,
        so that it is tried again at once, unless it clings to this one sender."""
        passing: TransientError | None = None
        for job in jobs:
            sender = job.tap.sender
            if job.error is None:
                self.failures.succeeded(sender)
            elif isinstance(job.error, TransientError) and self.failures.is_passing(sender):
                passing = job.error
            else:
                failure = self.failures.failed(
                    sender, _ids(job.tap.mails), str(job.error), self._loop.now()
                )
                report = (
                    self._log.error if failure.attempts >= _LOUD_ATTEMPTS else self._log.warning
                )
                report("sender_failed", sender=sender, error=failure.reason,
                       attempts=failure.attempts)  # fmt: skip
        if passing is not None:
            raise passing

    def _outcome(
        self,
        reading: Reading,
        closing: Reading,
        jobs: Sequence[Job],
        verdicts: Verdicts,
        newcomers: int,
    ) -> Outcome:
        places = self._places
        assert places is not None
        failing = {sender for sender, _ in self.failures.items()}
        left = _labels(
            (mail for conflict in verdicts.conflicts for mail in conflict.mails), places
        ) | _labels(
            (m for tap in verdicts.taps if tap.sender in failing for m in tap.mails), places
        )
        seen = closing.found[0]
        triaged = tuple(self._report(job) for job in jobs if job.error is None)
        return Outcome(
            read_at=closing.sent_at,
            known=_known(reading, closing),
            again=seen is None or bool(_labels(seen, places) - left),
            triaged=triaged,
            filed=sum(each.filed for each in triaged) + newcomers,
            conflicts=len(verdicts.conflicts),
            failed=sum(job.error is not None for job in jobs),
        )

    def _report(self, job: Job) -> Triaged:
        sender, category = job.tap.sender, job.category
        self._recent.pop(sender, None)
        if category is not None:
            self._recent[sender] = (job.tap, self._loop.now() + _NEWCOMER_SECONDS)
        name = category.name if category else None
        event = "sender_retriaged" if job.previous else "sender_triaged"
        self._log.info(
            event if category else "sender_unscreened",
            sender=sender, category=name, previous=job.previous, filed=job.filed,
        )  # fmt: skip
        return Triaged(sender, name, job.previous, job.filed)


def _known(*readings: Reading) -> dict[str, frozenset[str]]:
    """The states whose labels were acted on."""
    return {
        kind: frozenset(reading.states[kind] for reading in readings) for kind in readings[0].states
    }


def _labels(mails: Iterable[Mail], places: Places) -> set[Label]:
    return {
        (mail.id, label_id)
        for mail in mails
        for label_id in places.labels.keys() & mail.mailbox_ids
    }


def _label_names(label_ids: Iterable[str], places: Places) -> list[str]:
    return [category.name if (category := places.labels[i]) else "Screener" for i in label_ids]


def _ids(mails: Iterable[Mail]) -> frozenset[str]:
    return frozenset(mail.id for mail in mails)


def _found(result: tuple[Mail, ...] | MethodError) -> tuple[Mail, ...]:
    return () if isinstance(result, MethodError) else result


def _one_per_contact(jobs: Iterable[Job]) -> list[Job]:
    """Two addresses of one contact, tapped at the same time, take turns: one poll each."""
    first: dict[str, Job] = {}
    for job in jobs:
        first.setdefault(job.href or job.uid or job.tap.sender, job)
    return list(first.values())


def _note_refusals(refused: Mapping[str, MethodError], owners: Mapping[str, Job]) -> None:
    for mail_id, error in refused.items():
        if mail_id in owners:
            owners[mail_id].error = SenderFailed(f"mail {mail_id} could not be filed: {error}")
