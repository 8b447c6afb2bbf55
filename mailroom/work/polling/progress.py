"""The progress of one poll: its jobs, what has failed, and the patches that it will write."""

from collections import Counter
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field

from mailroom.errors import MailroomError, SenderFailed
from mailroom.rules.triage.job import Job
from mailroom.rules.triage.verdicts import Label, MailPatch
from mailroom.wire.jmap import MethodError
from mailroom.work.polling.survey import Survey
from mailroom.work.screening.judge import Admission
from mailroom.work.screening.wholes import WholeOutcome

#: By mail: the patch that files it, and its sender.
Filing = dict[str, tuple[MailPatch, str]]


@dataclass(slots=True)
class Progress:
    """The outcome of a poll's jobs so far: ``errors`` and mails ``filed`` by sender."""

    errors: dict[str, MailroomError] = field(default_factory=dict)
    filed: Counter[str] = field(default_factory=Counter)
    # Mails that were moved to where their senders belong, whatever has failed since.
    moved: set[str] = field(default_factory=set)

    def going(self, jobs: Iterable[Job]) -> list[Job]:
        """The jobs in which nothing has failed so far."""
        return [job for job in jobs if job.sender not in self.errors]

    def note_refusals(self, refused: Mapping[str, MethodError], owners: Mapping[str, str]) -> None:
        for mail_id, error in refused.items():
            if mail_id in owners:
                message = f"mail {mail_id} could not be filed: {error}"
                self.errors[owners[mail_id]] = SenderFailed(message)


@dataclass(slots=True)
class Work:
    """One poll's work. ``marks`` are the patches for mail that is not triaged, ``done`` the jobs
    whose contacts are written, ``filing`` the patches for labelled mail, ``decided`` the decisions
    for domains and lists that were kept; ``trigger`` is why the poll runs."""

    survey: Survey
    marks: Mapping[str, MailPatch]
    trigger: str | None = None
    progress: Progress = field(default_factory=Progress)
    done: list[Job] = field(default_factory=list)
    filing: Filing = field(default_factory=dict)
    decided: list[WholeOutcome] = field(default_factory=list)

    @property
    def is_quiet(self) -> bool:
        """Whether there is nothing to write."""
        survey = self.survey
        has_work = survey.jobs or survey.put_off or survey.wholes or survey.newcomers or self.marks
        return not has_work and not any(each.patch for each in survey.admissions)

    @property
    def swept(self) -> Set[str]:
        """The mails that go, or went, where their senders belong."""
        mails = (mail for job in self.done for mail in (*job.tap.mails, *job.waiting))
        of_many = (key for each in self.decided for key in each.patches)
        return {*(mail.id for mail in mails), *of_many, *self.filing, *self.progress.moved}

    @property
    def letting_in(self) -> Mapping[str, Admission]:
        """The new mail that is decided about by itself. Mail whose sender, domain or list is
        triaged in this poll is left out: its decision is out of date. If the sweep has not found
        it, the next poll decides again."""
        swept = self.swept
        handled = frozenset(address for job in self.done for address in job.addresses)
        return {
            each.arrival.id: each
            for each in self.survey.admissions
            if each.arrival.id not in swept
            and each.sender not in handled
            and not self._is_of_many(each)
        }

    def _is_of_many(self, admission: Admission) -> bool:
        """Whether a domain or list that this poll has decided about covers the mail."""
        sender, list_header = admission.sender, admission.arrival.list_id
        return any(each.whole.is_about(sender, list_header) for each in self.decided)

    @property
    def dealt_with(self) -> Set[str]:
        return self.letting_in.keys() | self.swept

    @property
    def has_postponed(self) -> bool:
        """Whether new mail is left to the next poll because its sender was triaged meanwhile."""
        dealt_with = self.dealt_with
        return any(each.arrival.id not in dealt_with for each in self.survey.admissions)

    @property
    def efforts(self) -> list[tuple[str, frozenset[Label]]]:
        """The senders, domains and lists that this poll tried to triage, with their labels."""
        jobs = [(job.sender, job.tap.labels) for job in self.survey.jobs]
        put_off = [(tap.sender, tap.labels) for tap, _ in self.survey.put_off]
        return [*jobs, *put_off, *((each.name, each.labels) for each in self.survey.wholes)]

    @property
    def decided_well(self) -> list[WholeOutcome]:
        return [each for each in self.decided if each.whole.name not in self.progress.errors]

    def patches(self) -> dict[str, MailPatch]:
        # A mark takes nothing away from new mail but an error label without a reason.
        letting_in = {
            key: {**self.marks.get(key, {}), **each.patch}
            for key, each in self.letting_in.items()
            if each.patch
        }
        return {
            **self.marks,
            **letting_in,
            **self.survey.newcomers,
            **{key: patch for key, (patch, _) in self.filing.items()},
        }
