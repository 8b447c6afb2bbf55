"""One poll: find mail that asks for something, triage the senders found, and file new mail.

Its dependent round trips: (1) states, new mail and labelled mail; (2) the senders' mail, and at the
same time their contacts; (3) contacts; (4) groups, and at the same time the senders' other mail;
(5) the labelled mail itself, label off, and the new mail, then (1) once more. If there is only new
mail: (1), the facts about it if they have to be asked for, and (5). If there is nothing: (1) alone.

A triage converges: every step starts from what it finds, so the process may be killed at any point,
and the next poll does what is missing. The label comes off last, and only if everything else has
succeeded for the sender.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from functools import partial

from mailroom.engine.journal import Log
from mailroom.engine.loop import Loop, both, give_way
from mailroom.errors import Crowded, MailroomError, Missing, SenderFailed, TransientError
from mailroom.rules.configuration.config import Config
from mailroom.rules.polling.schedule import Trigger
from mailroom.rules.triage.drags import asked_by, is_moved, leaving, tidied
from mailroom.rules.triage.job import Job, with_mail
from mailroom.rules.triage.orders import Order
from mailroom.rules.triage.places import Places
from mailroom.rules.triage.verdicts import Label, MailPatch, marked
from mailroom.rules.triage.whole import marks_of
from mailroom.wire.jmap import Mail, MethodError
from mailroom.work.contacts.contacts import Contacts, Failures
from mailroom.work.mail.mail import MailClient
from mailroom.work.mail.reading import Reading
from mailroom.work.mail.subjects import subjects_of
from mailroom.work.polling.orders import Orders, labelled
from mailroom.work.polling.outcome import PollOutcome, Triaged, contested, known, looks
from mailroom.work.polling.poll_log import PollLog, is_new
from mailroom.work.polling.progress import Filing, Progress, Work
from mailroom.work.polling.survey import Survey
from mailroom.work.polling.surveyor import Surveyor
from mailroom.work.polling.undone import Undone
from mailroom.work.screening.door import Door
from mailroom.work.screening.wholes import WholeOutcome

# From this failure of a sender on the log says ERROR: the first ones may mend themselves.
_LOUD_ATTEMPTS = 3
# Nobody has told of a change; after a reconnection there may have been one, as at any time.
_UNTOLD = (Trigger.SCHEDULED, Trigger.FALLBACK, Trigger.RECONNECT)
# The stream has been open since the last poll. Of other triggers, one may stand for a reconnection.
_LISTENING = (Trigger.SCHEDULED, Trigger.PUSH)


class Poller:
    """Polls of one account."""

    def __init__(
        self, loop: Loop, config: Config, mail: MailClient, contacts: Contacts, log: Log
    ) -> None:
        self.door = Door(loop, config, mail, contacts, log)
        self.surveyor = Surveyor(loop, config, mail, contacts, self.door)
        self.orders = Orders()
        self._undone = Undone(mail)
        self._loop = loop
        self._may_warn = config.mailroom.warnings_enabled
        self._mail = mail
        self._contacts = contacts
        self._log = log
        self._told = PollLog(loop, log)

    async def poll(self, trigger: Trigger | None = None) -> PollOutcome:
        """Poll once; ``trigger`` is the reason. Raises TransientError, CredentialsRefused,
        Forbidden, ProtocolError, MethodError and LastingTrouble. The next poll does what was not
        done by then, except orders for senders without mail."""
        orders = self.orders.take()
        try:
            outcome = await self._poll(orders, trigger)
        except MailroomError as error:
            self.orders.end(error)
            self.surveyor.doubts_groups |= isinstance(error, Missing)
            raise
        self.orders.end()
        return outcome

    async def _poll(self, orders: Sequence[Order], trigger: Trigger | None) -> PollOutcome:
        if trigger not in _LISTENING:
            self._contacts.missed()
        was_undone = await self._undone.restore()
        may_be_idle = trigger in _UNTOLD and not orders and not was_undone
        if may_be_idle and (reading := await self.surveyor.glance()):
            return PollOutcome(reading.sent_at, known(reading), looks(reading), is_unchanged=True)
        survey = await self.surveyor.survey(orders)
        self.orders.refuse(survey.orders_refused)
        if orders:
            survey = await labelled(survey, self.surveyor, self._mail)
        self._told.unreadable(self._mail.take_unreadable())
        marks = _merged(
            survey.keywords,
            marked(survey.verdicts, survey.places),
            marks_of(survey.refused, survey.places),
        )
        work = Work(survey, _without_swept(marks, survey.jobs), trigger)
        work.progress.errors |= {tap.sender: error for tap, error in survey.put_off}
        if work.is_quiet:
            return self._untouched(survey)
        further = await self._triage(survey, work.progress) if survey.jobs else {}
        work.done = work.progress.going(survey.jobs)
        await self._decide_for_many(work)
        going = [further.get(job.sender, job) for job in work.done]
        work.filing |= self._filing(going, survey, work.progress)
        subjects = await subjects_of(self._mail, survey.verdicts.unusable)
        patches = work.patches()
        mails = {key: mail for each in work.decided for key, mail in each.mails.items()}
        written, closing = await self._mail.update_and_read(
            patches,
            await self.surveyor.filters(survey.places),
            survey.visit.state if survey.visit else None,
            leaving(patches, survey.places),
            partial(self._undone.note, {**survey.mails, **mails}, survey.places, patches),
        )
        self.door.wrote(patches, written.refused, survey.places)
        for mail in survey.verdicts.unusable:
            subject = subjects.get(mail.id, "(it could not be read)")
            self._log.warning("sender_unusable", mail=mail.id, subject=subject)
        return await self._conclude(work, written.refused, closing)

    async def _decide_for_many(self, work: Work) -> None:
        """Carry out the decisions for whole domains and lists, their mail first. The labelled mail
        joins the filing, since its labels come off last."""
        survey, progress = work.survey, work.progress
        for whole in survey.wholes:
            done = await self.surveyor.wholes.prepare(whole, survey.places, survey.own)
            filing = {key: (patch, whole.name) for key, patch in done.patches.items()}
            labelled = {
                mail.id: filing.pop(mail.id) for mail in done.whole.mails if mail.id in filing
            }
            if not done.error:
                await self._file(survey.places, done.mails, filing, progress)
                if whole.name not in progress.errors:
                    await self.surveyor.wholes.keep(done)
            if error := done.error or progress.errors.get(whole.name):
                progress.errors[whole.name] = error
                is_labelled = bool(done.whole.mails)
                self.orders.failed([whole.name], error, is_labelled=is_labelled)
            else:
                work.decided.append(done)
                work.filing |= labelled
                progress.filed[whole.name] += len(labelled)

    async def _conclude(
        self, work: Work, refused: Mapping[str, MethodError], closing: Reading
    ) -> PollOutcome:
        """Report the outcome to the log, to clients that wait, and to the next poll."""
        survey, progress = work.survey, work.progress
        owners = {key: sender for key, (_, sender) in work.filing.items()}
        progress.note_refusals(refused, owners)
        _note_labels_left(closing.found[0] or (), work, progress)
        self._told.marks(work)
        trouble = self._note_failures(work.efforts, progress)
        triaged = (
            *(self._report(job, work) for job in progress.going(survey.jobs)),
            *(self._report_whole(each, work) for each in work.decided_well),
        )
        self._answer_failures(work)
        self.door.refused({key: refused[key] for key in work.letting_in if key in refused})
        ended = await self._look_back(survey, closing, work.dealt_with - refused.keys())
        admitted = [each for key, each in work.letting_in.items() if key not in refused]
        await self._told.admissions(admitted)
        is_again = bool(ended) or work.has_postponed
        newcomers = len(survey.newcomers.keys() - refused.keys())
        return PollOutcome(
            read_at=closing.sent_at,
            known=known(survey.reading, closing),
            looks=looks(survey.reading, closing),
            again=is_again or self._has_news(closing, survey, work.patches()),
            echo=closing.states if closing.has_written else None,
            triaged=triaged,
            filed=sum(each.filed for each in triaged) + newcomers,
            conflicts=sum(is_new(each, work.marks) for each in survey.verdicts.conflicts),
            contested=contested(survey),
            failed=len(work.efforts) - len(triaged),
            trouble=ended if isinstance(ended, TransientError) else trouble,
            admissions=tuple(admitted),
            crowd=survey.crowd,
        )

    def _untouched(self, survey: Survey) -> PollOutcome:
        """The outcome of a poll that writes nothing."""
        has_more = False
        if survey.visit:
            self.door.finished(survey.visit, {each.arrival.id for each in survey.admissions})
            has_more = survey.visit.is_cut
        return PollOutcome(
            survey.reading.sent_at,
            known(survey.reading),
            looks(survey.reading),
            again=has_more,
            contested=contested(survey),
            admissions=tuple(survey.admissions),
            crowd=survey.crowd,
        )

    async def _look_back(
        self, survey: Survey, closing: Reading, done: Set[str]
    ) -> bool | MailroomError:
        """Finish the door's visit, and restore moves that our patches have undone. Returns whether
        another poll is due at once, or what failed: what was done has to be told all the same, and
        the next poll does the rest."""
        try:
            has_arrivals = await self._close_door(survey, closing, done)
            return await self._undone.restore() or has_arrivals
        except MailroomError as error:
            return error

    async def _close_door(self, survey: Survey, closing: Reading, done: Set[str]) -> bool:
        """Finish the door's visit; returns whether there is more new mail. ``done`` are the mails
        that were dealt with."""
        visit = survey.visit
        if visit is None:
            return False
        self.door.finished(visit, done)
        ours = {*done, *survey.keywords}
        is_news = visit.has_more or await self.door.closed(closing, survey.places, ours)
        return is_news or visit.has_backlog

    async def _triage(self, survey: Survey, progress: Progress) -> dict[str, Job]:
        """Do everything except the labelled mail. Returns, by sender, the jobs with the further
        mail found meanwhile, under addresses that were not known before the contact was read."""
        further: dict[str, Job] = {}
        sweep = await self._sweep(survey)

        async def look_further() -> None:
            if survey.unsearched:
                mails = await self.surveyor.find_mail(survey.unsearched, survey.places)
                further.update({job.sender: with_mail(job, mails) for job in survey.jobs})

        async def file_others(failed: Failures) -> None:
            progress.errors |= failed
            file = self._file(survey.places, survey.mails, sweep, progress)
            await both(self._loop, file, look_further())

        progress.errors |= await self._contacts.apply(survey.plan, file_others)
        return further

    async def _sweep(self, survey: Survey) -> Filing:
        """The patches that file the senders' other mail. They are made before anything is written:
        it takes long and gives way to other tasks, and with JMAP contacts the patches must go out
        in the same turn as the contacts."""
        sweep: Filing = {}
        for job in survey.jobs:
            for mail in job.waiting:
                await give_way(self._loop)
                if patch := job.patch(mail, survey.places, may_warn=self._may_warn):
                    sweep[mail.id] = patch, job.sender
        return sweep

    async def _file(
        self, places: Places, mails: Mapping[str, Mail], sweep: Filing, progress: Progress
    ) -> None:
        """File the mail of senders for whom nothing has failed; ``mails`` as they were read."""
        owners = {key: who for key, (_, who) in sweep.items() if who not in progress.errors}
        progress.filed.update(owners.values())
        if owners:
            patches = {mail_id: sweep[mail_id][0] for mail_id in owners}
            note = partial(self._undone.note, mails, places, patches)
            written = await self._mail.update(patches, leaving(patches, places), note)
            progress.moved |= patches.keys() - written.refused.keys()
            progress.note_refusals(written.refused, owners)
            self.door.wrote(patches, written.refused, places)
            await self._undone.restore()

    def _filing(self, jobs: Iterable[Job], survey: Survey, progress: Progress) -> Filing:
        """The patches that file the labelled mail, label off, and mail that was found late."""
        swept = {mail.id for job in survey.jobs for mail in job.waiting}
        filing: Filing = {}
        for job in jobs:
            late = [mail for mail in job.waiting if mail.id not in swept]
            for mail in (*job.tap.mails, *late):
                if patch := job.patch(mail, survey.places, may_warn=self._may_warn):
                    filing[mail.id] = patch, job.sender
                    progress.filed[job.sender] += 1
        return filing

    def _note_failures(
        self, efforts: Iterable[tuple[str, frozenset[Label]]], progress: Progress
    ) -> TransientError | None:
        """Note and log the senders that failed. Passing trouble is returned instead, which repeats
        the poll soon, unless it keeps hitting the same sender. An order without labelled mail is
        not tried again: its client is told."""
        failures = self.surveyor.failures
        passing: TransientError | None = None
        for sender, labels in efforts:
            error = progress.errors.get(sender)
            if error is None:
                failures.succeeded(sender)
            elif not labels:
                self._log.warning("sender_failed", sender=sender, error=str(error), attempts=1)
            elif isinstance(error, Crowded) or (
                isinstance(error, TransientError) and failures.is_passing(sender)
            ):
                passing = error
            else:
                reason = str(error)
                failure = failures.failed(sender, labels, reason, self._loop.now())
                is_loud = failure.attempts >= _LOUD_ATTEMPTS
                report = self._log.error if is_loud else self._log.warning
                report("sender_failed", sender=sender, error=reason, attempts=failure.attempts)
        return passing

    def _has_news(self, closing: Reading, survey: Survey, patches: Mapping[str, MailPatch]) -> bool:
        """Whether the closing query shows a label or a move that this poll did not leave there on
        purpose."""
        seen = closing.found[0]
        if seen is None or tidied(seen, survey.places).keys() - patches.keys():
            return True
        return bool(_labels(seen, survey.places) - self._left(survey))

    def _left(self, survey: Survey) -> set[Label]:
        """The labels that this poll leaves on purpose, including those of senders whose mail the
        server refused to file; and those that it took off mail that cannot be triaged: if they
        still show, the next poll is soon enough."""
        verdicts = survey.verdicts
        failing = {sender for sender, _ in self.surveyor.failures.items()}
        taps = [tap.mails for tap in verdicts.taps if tap.sender in failing]
        conflicts = [conflict.mails for conflict in verdicts.conflicts]
        wholes = [each.mails for each in (*survey.wholes, *survey.held) if each.name in failing]
        refused = [each.mails for each in survey.refused]
        parts = (*taps, *wholes, *conflicts, *refused, verdicts.unusable, verdicts.own)
        left = [mail for mails in parts for mail in mails]
        if survey.crowd:
            asking = survey.reading.found[0] or ()
            left += [mail for mail in asking if is_moved(mail, survey.places)]
        return _labels(left, survey.places)

    def _answer_failures(self, work: Work) -> None:
        """Answer the clients whose orders could not be carried out."""
        errors = work.progress.errors
        for job in work.survey.jobs:
            if error := errors.get(job.sender):
                self.orders.failed(job.addresses, error, is_labelled=bool(job.tap.mails))
        for tap, error in work.survey.put_off:
            self.orders.failed([tap.sender], error, is_labelled=bool(tap.mails))
        for done in work.decided:
            if error := errors.get(done.whole.name):
                is_labelled = bool(done.whole.mails)
                self.orders.failed([done.whole.name], error, is_labelled=is_labelled)

    def _report(self, job: Job, work: Work) -> Triaged:
        self.surveyor.remember(job)
        filed, by = work.progress.filed[job.sender], self.orders.by(job.addresses)
        triaged = self._told.triaged(job, filed, by, work.trigger)
        self.orders.done(job.addresses, triaged)
        return triaged

    def _report_whole(self, done: WholeOutcome, work: Work) -> Triaged:
        name = done.whole.name
        filed, by = work.progress.filed[name], self.orders.by([name])
        triaged = self._told.decided(done, filed, by, work.trigger)
        self.orders.done([name], triaged)
        return triaged


def _merged(*parts: Mapping[str, MailPatch]) -> dict[str, MailPatch]:
    """The patches joined, by mail; no two of them set the same property."""
    joined: dict[str, MailPatch] = {}
    for part in parts:
        for mail_id, patch in part.items():
            joined[mail_id] = {**joined.get(mail_id, {}), **patch}
    return joined


def _without_swept(marks: Mapping[str, MailPatch], jobs: Iterable[Job]) -> dict[str, MailPatch]:
    """The marks except those on mail of the sweep, which takes error labels off as well; a mark
    computed before would undo its filing."""
    swept = {mail.id for job in jobs for mail in job.waiting}
    return {mail_id: patch for mail_id, patch in marks.items() if mail_id not in swept}


def _labels(mails: Iterable[Mail], places: Places) -> set[Label]:
    return {(mail.id, label_id) for mail in mails for label_id in asked_by(mail, places)}


def _note_labels_left(seen: Iterable[Mail], work: Work, progress: Progress) -> None:
    """Fail the senders, domains and lists whose labels the server says it took off but still shows:
    otherwise each poll would cause the next."""
    left = _labels(seen, work.survey.places)
    done = {job.sender: job.tap.labels for job in work.done}
    done |= {each.whole.name: each.whole.labels for each in work.decided}
    for name, labels in done.items():
        if not labels.isdisjoint(left):
            progress.errors[name] = SenderFailed(
                "the server says that it took the label off, but still shows it"
            )
