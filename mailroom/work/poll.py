"""One poll: look for labelled mail, and bring every sender found to where the label says.

In dependent round trips: (1) states and labelled mail; (2) the senders' mail, the index and the
cards, at once; (3) contacts; (4) groups and the senders' other mail, at once; (5) the labelled
mail itself, label off, then states and labels once more. Nothing labelled: (1) is all.

A triage is a convergence: whatever has been done already is found done, so any point is a safe
point to be killed at. The label comes off last, and only from senders of whom all has succeeded.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

from mailroom.engine.journal import Log
from mailroom.engine.loop import Loop, both, give_way
from mailroom.errors import SenderFailed, TransientError
from mailroom.rules.config import Config
from mailroom.rules.places import Places
from mailroom.rules.triage import Conflict, Label, Patch, Verdicts, marked
from mailroom.wire.jmap import Mail, MethodError
from mailroom.work.cards import CardConversation
from mailroom.work.enrol import Job
from mailroom.work.mail import MailConversation, Reading, in_any
from mailroom.work.survey import Survey, Surveyor

_LOUD_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Triaged:
    """One sender that is where the label said; ``category`` None: taken back to Screener."""

    sender: str
    category: str | None
    previous: str | None
    filed: int


@dataclass(frozen=True, slots=True)
class Contested:
    """One sender whose mail has labels of several ``categories``, whether that is new or not."""

    sender: str
    categories: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a poll did, and what the schedule has to know: when it last read the labels, with
    which states, and whether a label has appeared meanwhile.

    ``conflicts`` counts the new ones; ``contested`` has all that the poll has seen. ``trouble`` has
    kept some senders from being done, and passes.
    """

    read_at: float
    known: Mapping[str, frozenset[str]]
    again: bool = False
    triaged: tuple[Triaged, ...] = ()
    filed: int = 0
    conflicts: int = 0
    contested: tuple[Contested, ...] = ()
    failed: int = 0
    trouble: TransientError | None = None

    @property
    def is_idle(self) -> bool:
        return not (self.triaged or self.filed or self.conflicts or self.failed)


class Poller:
    """Polls of one account."""

    def __init__(
        self,
        loop: Loop,
        config: Config,
        mail: MailConversation,
        contacts: CardConversation,
        log: Log,
    ) -> None:
        self.surveyor = Surveyor(loop, config, mail, contacts)
        self._loop = loop
        self._may_warn = config.mailroom.warnings_enabled
        self._mail = mail
        self._log = log

    async def poll(self) -> Outcome:
        """Raises TransientError, CredentialsRefused, ProtocolError, MethodError, LastingTrouble;
        whatever was not done by then, the next poll does."""
        survey = await self.surveyor.survey()
        verdicts, places = survey.verdicts, survey.places
        contested = tuple(
            Contested(each.sender, _categories(each, places)) for each in verdicts.conflicts
        )
        marks = _without_swept(marked(verdicts, places), survey.jobs)
        if not (survey.jobs or survey.newcomers or marks):
            return Outcome(survey.reading.sent_at, _known(survey.reading), contested=contested)
        await self._triage(survey)
        done = [job for job in survey.jobs if job.error is None]
        patches = {**survey.newcomers, **self._tap_patches(done, places), **marks}
        refused, closing = await self._mail.close(patches, in_any(places.queried))
        _note_refusals(refused, {mail.id: job for job in done for mail in job.tap.mails})
        _note_labels_left(closing.found[0] or (), done)
        self._report_marks(done, verdicts, marks, places)
        trouble = self._heed_failures(survey.jobs)
        triaged = tuple(self._report(job) for job in survey.jobs if job.error is None)
        return Outcome(
            read_at=closing.sent_at,
            known=_known(survey.reading, closing),
            again=self._has_news(closing, refused, survey),
            triaged=triaged,
            filed=sum(each.filed for each in triaged)
            + len(survey.newcomers.keys() - refused.keys()),
            conflicts=sum(_is_new(conflict, marks) for conflict in verdicts.conflicts),
            contested=contested,
            failed=len(survey.jobs) - len(triaged),
            trouble=trouble,
        )

    async def _triage(self, survey: Survey) -> None:
        """Everything but the labelled mail; what fails is noted in the jobs."""
        enrolment, places = survey.enrolment, survey.places
        triages = [job for job in survey.jobs if job.category is not None]
        await enrolment.write_contacts(triages)
        await both(self._loop, enrolment.write_groups(survey.jobs), self._sweep(triages, places))
        taken_back = [job for job in survey.jobs if job.category is None]
        if taken_back:
            await enrolment.release_contacts(taken_back)
            await self._sweep(taken_back, places)

    async def _sweep(self, jobs: Iterable[Job], places: Places) -> None:
        """File the senders' other mail."""
        patches: dict[str, Patch] = {}
        owners: dict[str, Job] = {}
        for job in jobs:
            for mail in job.waiting if job.error is None else ():
                await give_way(self._loop)
                if patch := job.patch(mail, places, may_warn=self._may_warn):
                    patches[mail.id], owners[mail.id] = patch, job
                    job.filed += 1
        if patches:
            _note_refusals(await self._mail.update(patches), owners)

    def _tap_patches(self, done: Iterable[Job], places: Places) -> dict[str, Patch]:
        """File the labelled mail itself, label off."""
        patches: dict[str, Patch] = {}
        for job in done:
            for mail in job.tap.mails:
                patches[mail.id] = job.patch(mail, places, may_warn=self._may_warn)
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
            if _is_new(conflict, marks):
                categories = list(_categories(conflict, places))
                self._log.warning(
                    "conflict_detected", sender=conflict.sender, categories=categories
                )

    def _heed_failures(self, jobs: Iterable[Job]) -> TransientError | None:
        """Note and report the senders that failed. Trouble that passes is returned instead, so
        that the poll is tried again at once, unless it clings to this one sender."""
        failures = self.surveyor.failures
        passing: TransientError | None = None
        for job in jobs:
            sender = job.tap.sender
            if job.error is None:
                failures.succeeded(sender)
            elif isinstance(job.error, TransientError) and failures.is_passing(sender):
                passing = job.error
            else:
                reason = str(job.error)
                failure = failures.failed(sender, job.tap.labels, reason, self._loop.now())
                is_loud = failure.attempts >= _LOUD_ATTEMPTS
                report = self._log.error if is_loud else self._log.warning
                report("sender_failed", sender=sender, error=reason, attempts=failure.attempts)
        return passing

    def _has_news(self, closing: Reading, refused: Container[str], survey: Survey) -> bool:
        """Whether the closing query shows a label that this poll did not leave, by its own will
        or by the server's."""
        if closing.found[0] is None:
            return True
        seen = [mail for mail in closing.found[0] if mail.id not in refused]
        return bool(_labels(seen, survey.places) - self._left(survey))

    def _left(self, survey: Survey) -> set[Label]:
        """The labels that this poll leaves on purpose; and those that it has taken off mail
        without a sender: where they still show, the next poll is soon enough."""
        verdicts = survey.verdicts
        failing = {sender for sender, _ in self.surveyor.failures.items()}
        taps = [tap.mails for tap in verdicts.taps if tap.sender in failing]
        conflicts = [conflict.mails for conflict in verdicts.conflicts]
        parts = (*taps, *conflicts, verdicts.unusable, verdicts.own)
        return _labels([mail for mails in parts for mail in mails], survey.places)

    def _report(self, job: Job) -> Triaged:
        sender, category = job.tap.sender, job.category
        self.surveyor.remember(job.tap)
        name = category.name if category else None
        # The same category again, or a poll that was broken off: that is no change of mind.
        previous = None if job.previous == name else job.previous
        event = "sender_retriaged" if previous else "sender_triaged"
        self._log.info(
            event if category else "sender_unscreened",
            sender=sender, category=name, previous=previous, filed=job.filed,
        )  # fmt: skip
        return Triaged(sender, name, previous, job.filed)


def _known(*readings: Reading) -> dict[str, frozenset[str]]:
    """The states whose labels were acted on."""
    return {
        kind: frozenset(reading.states[kind] for reading in readings) for kind in readings[0].states
    }


def _without_swept(marks: Mapping[str, Patch], jobs: Iterable[Job]) -> dict[str, Patch]:
    """The sweep takes error labels off as well; a patch from before it would undo its filing."""
    swept = {mail.id for job in jobs for mail in job.waiting}
    return {mail_id: patch for mail_id, patch in marks.items() if mail_id not in swept}


def _is_new(conflict: Conflict, marks: Mapping[str, Patch]) -> bool:
    """Whether mail of the conflict gets its error label only now."""
    return not marks.keys().isdisjoint(conflict.mail_ids)


def _labels(mails: Iterable[Mail], places: Places) -> set[Label]:
    return {
        (mail.id, label_id)
        for mail in mails
        for label_id in places.labels.keys() & mail.mailbox_ids
    }


def _categories(conflict: Conflict, places: Places) -> tuple[str, ...]:
    """What the sender is labelled for, by name."""
    labelled = (places.labels[label_id] for label_id in conflict.label_ids)
    return tuple(sorted(category.name if category else "Screener" for category in labelled))


def _note_labels_left(seen: Iterable[Mail], done: Iterable[Job]) -> None:
    """A label that the server says it took off and shows all the same: that sender waits for
    its next try, or the polls would chase each other."""
    boxes = {mail.id: mail.mailbox_ids for mail in seen}
    for job in done:
        if any(label_id in boxes.get(mail_id, ()) for mail_id, label_id in job.tap.labels):
            job.error = SenderFailed("the server says that the label is off, and still shows it")


def _note_refusals(refused: Mapping[str, MethodError], owners: Mapping[str, Job]) -> None:
    for mail_id, error in refused.items():
        if mail_id in owners:
            owners[mail_id].error = SenderFailed(f"mail {mail_id} could not be filed: {error}")
