"""``mailroom triage --dry-run``: what the next poll would do with labelled and new mail, and why.

It is made from a survey, which only reads.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mailroom.rules.configuration.config import Config
from mailroom.rules.screening.standing import Standing, Who
from mailroom.rules.triage.job import Job
from mailroom.rules.triage.places import Places
from mailroom.rules.triage.verdicts import MailPatch, Tap, marked
from mailroom.rules.triage.whole import Whole, marks_of
from mailroom.rules.words import count
from mailroom.wire.jmap import Mail
from mailroom.work.contacts.contacts import Failures
from mailroom.work.polling.survey import Survey
from mailroom.work.screening.judge import Admission

_PUT_OFF = "nothing; the label stays"


@dataclass(frozen=True, slots=True)
class Row:
    """One mail: who wrote it, which labels it has, what would be done, and why."""

    mail_id: str
    sender: str
    labels: tuple[str, ...]
    action: str
    reason: str


def as_document(rows: Iterable[Row], crowd: int) -> dict[str, Any]:
    """The rows as a document (``schema/plan``); ``crowd`` is how many senders were moved at once,
    too many to act on."""
    return {
        "rows": [
            {
                "mail": row.mail_id,
                "sender": row.sender,
                "labels": list(row.labels),
                "action": row.action,
                "reason": row.reason,
            }
            for row in rows
        ],
        "moved_at_once": crowd,
    }


def preview(
    survey: Survey, config: Config, obstacles: Failures, failing: Mapping[str, str]
) -> list[Row]:
    """A row for each mail that has a label or an error label, or is new and would be moved.

    ``obstacles`` are the foreseeable failures of the survey's plan; ``failing`` are the senders
    that the running service holds back, with the reasons.
    """
    # This survey holds nobody back: its surveyor is new.
    return list(_Preview(survey, config, obstacles, failing).rows())


class _Preview:
    def __init__(
        self, survey: Survey, config: Config, obstacles: Failures, failing: Mapping[str, str]
    ) -> None:
        self._survey = survey
        self._config = config
        self._obstacles = obstacles
        self._failing = failing
        self._names = _label_names(config, survey.places)
        self._mailboxes = _mailbox_names(config, survey.places)
        places = survey.places
        self._marks = {**marked(survey.verdicts, places), **marks_of(survey.refused, places)}

    def rows(self) -> Iterator[Row]:
        verdicts = self._survey.verdicts
        jobs = {job.tap.sender: job for job in self._survey.jobs}
        for tap in verdicts.taps:
            if tap.sender in jobs:
                yield from self._rows(tap.mails, *self._plan(tap, jobs[tap.sender]))
        for tap, error in self._survey.put_off:
            yield from self._rows(tap.mails, _PUT_OFF, str(error))
        for conflict in verdicts.conflicts:
            labels = " and ".join(sorted(map(self._asking, conflict.label_ids)))
            is_moved = not conflict.label_ids.isdisjoint(self._survey.places.drops)
            advice = "move one of them back" if is_moved else "take one of them off"
            reason = f"one sender with {labels}: {advice}"
            yield from self._marked(conflict.mails, reason)
        yield from self._marked(verdicts.unusable, "From has no address that a contact could carry")
        yield from self._marked(verdicts.own, "your own mail is not triaged")
        yield from self._marked(verdicts.resolved, "the reason for the error label is gone")
        for whole in self._survey.wholes:
            yield from self._rows(whole.mails, *self._for_many(whole))
        for refusal in self._survey.refused:
            yield from self._marked(refusal.mails, refusal.reason)
        yield from self._new_mail()

    def _for_many(self, whole: Whole) -> tuple[str, str]:
        """Action and reason for a decision for many. How many mails it moves is not known before it
        is carried out."""
        marks, screener = self._config.mailroom, self._config.triage.screener_mailbox
        kind = "list" if whole.is_list else "domain"
        scope = marks.label_list if whole.is_list else marks.label_domain
        asks = f"{self._names[whole.label_id]} with {scope}"
        if whole.category is None:
            action = f"stop deciding for the {kind} {whole.key}; move its mail back to {screener}"
            return action, f"{asks} takes the decision back"
        chain = self._config.triage.chain(whole.category)
        places = _listed(each.destination_mailbox for each in chain)
        action = f"decide for the {kind} {whole.key}; file its mail into {places}"
        return action, f"{asks} asks for {whole.category.name}"

    def _new_mail(self) -> Iterator[Row]:
        """Rows for new mail that would be moved, or that cannot be decided about now. Senders
        triaged in that poll have their rows already."""
        jobs = [job for job in self._survey.jobs if job.tap.sender not in self._obstacles]
        swept = {mail.id for job in jobs for mail in (*job.tap.mails, *job.waiting)}
        handled = frozenset(address for job in jobs for address in job.addresses)
        admissions = {each.arrival.id: each for each in self._survey.admissions}
        for arrival in self._survey.visit.arrivals if self._survey.visit else ():
            admission = admissions.get(arrival.id)
            if admission is None:
                yield from self._rows([arrival.mail], "nothing", "the server cannot search Sent")
            elif arrival.id in swept or admission.sender in handled:
                continue
            elif action := self._admission_step(admission):
                yield from self._rows([arrival.mail], action, _reason_of(admission.standing))

    def _admission_step(self, admission: Admission) -> str:
        """Where new mail would be moved; empty if it would not."""
        there = admission.arrival.mail.mailbox_ids
        added = [
            name
            for mailbox_id, name in self._mailboxes.items()
            if mailbox_id not in there and admission.patch.get(f"mailboxIds/{mailbox_id}")
        ]
        warning = self._config.mailroom.label_warning
        if added == [warning]:
            return f"{warning} on"
        return f"move it to {_listed(added)}" if added else ""

    def _marked(self, mails: Iterable[Mail], reason: str) -> Iterator[Row]:
        """Rows for mail that is not triaged, but only gets or loses labels."""
        for mail in mails:
            patch = self._marks.get(mail.id, {})
            changes = [
                f"{name} {'on' if patch[path] else 'off'}"
                for label_id, name in self._names.items()
                if (path := f"mailboxIds/{label_id}") in patch
                and bool(patch[path]) is not (label_id in mail.mailbox_ids)
            ]
            yield from self._rows([mail], "; ".join(changes) or "nothing", reason)

    def _plan(self, tap: Tap, job: Job) -> tuple[str, str]:
        if tap.sender in self._obstacles:
            return _PUT_OFF, str(self._obstacles[tap.sender])
        places, marks = self._survey.places, self._config.mailroom
        mails = (*tap.mails, *job.waiting)
        found = (job.patch(mail, places, may_warn=marks.warnings_enabled) for mail in mails)
        parts = [*self._contact_steps(job), self._mail_step(tap, [each for each in found if each])]
        if job.other_name is not None and marks.warnings_enabled:
            parts.append(f"{marks.label_warning} on")
        reason = self._reason(tap, job)
        if tap.sender in self._failing:
            reason += f"; the service holds this sender back: {self._failing[tap.sender]}"
        return "; ".join(parts), reason

    def _contact_steps(self, job: Job) -> Iterator[str]:
        change, name = job.change, job.contact.name if job.contact else ""
        if change.creates:
            yield "create the contact"
        elif change.notes:
            yield f"note it in the contact {name}"
        if change.joins:
            yield f"into the group {_listed(sorted(change.joins))}"
        if change.leaves:
            yield f"out of the group {_listed(sorted(change.leaves))}"
        if change.releases:
            yield "delete the contact"

    def _mail_step(self, tap: Tap, patches: Sequence[MailPatch]) -> str:
        mails = count(len(patches), "mail")
        if tap.category is None:
            return f"{mails} back to {self._config.triage.screener_mailbox}"
        chain = self._config.triage.chain(tap.category)
        new = sum(f"mailboxIds/{self._survey.places.inbox}" in patch for patch in patches)
        and_inbox = f", {new} of them into Inbox too" if new else ""
        return f"file {mails} into {_listed(each.destination_mailbox for each in chain)}{and_inbox}"

    def _reason(self, tap: Tap, job: Job) -> str:
        label = self._asking(tap.label_id)
        if tap.category is None:
            return f"{label} takes the sender back"
        previous = job.previous if job.previous != tap.category else None
        was = f", was {previous.name}" if previous else ""
        is_other = job.other_name is not None and job.contact
        other = f"; the contact is called {job.contact.name}" if is_other and job.contact else ""
        return f"{label} asks for {tap.category.name}{was}{other}"

    def _asking(self, mailbox_id: str) -> str:
        """The name of what asks for something: a label, or a mailbox that the mail was moved to."""
        is_label = mailbox_id in self._names
        return self._names[mailbox_id] if is_label else f"the move to {self._mailboxes[mailbox_id]}"

    def _rows(self, mails: Iterable[Mail], action: str, reason: str) -> Iterator[Row]:
        for mail in mails:
            labels = sorted(name for key, name in self._names.items() if key in mail.mailbox_ids)
            sender = mail.senders[0].email if mail.senders else "(nobody)"
            yield Row(mail.id, sender, tuple(labels), action, reason)


def _mailbox_names(config: Config, places: Places) -> dict[str | None, str]:
    """The names of the mailboxes to which mail is moved, and of the warning label, by id."""
    names = {
        places.screener: config.triage.screener_mailbox,
        places.warning: config.mailroom.label_warning,
        places.inbox: "Inbox",
        places.junk: "Junk",
    }
    for category in config.triage.categories:
        destinations = (each.destination_mailbox for each in config.triage.chain(category))
        names |= dict(zip(places.chains[category.name], destinations, strict=True))
    return names


def _reason_of(standing: Standing) -> str:
    category = standing.category.name if standing.category else ""
    return {
        Who.OWN: "it is your own",
        Who.BOUNCE: "it is a mail server's report",
        Who.SPAM: "the server marks it as spam",
        Who.SCREENED: "its sender is screened",
        Who.CATEGORY: f"its sender is in {category}",
        Who.DISPUTED: "its sender is in groups of several categories: take it out of one",
        Who.LIST: f"its mailing list is in {category}",
        Who.CONTACT: "its sender is in your address book",
        Who.DOMAIN: f"its sender's domain is in {category}",
        Who.WRITTEN: "you have written to its sender",
        Who.CONVERSATION: "you have written in its conversation",
        Who.UNKNOWN: "its sender is unknown",
    }[standing.who]


def _label_names(config: Config, places: Places) -> dict[str, str]:
    names = {
        label_id: category.label if category else config.mailroom.label_unscreen
        for label_id, category in places.labels.items()
    }
    marks = config.mailroom
    scopes = {places.domain_label: marks.label_domain, places.list_label: marks.label_list}
    there = {key: name for key, name in scopes.items() if key}
    return {**names, **there, places.error: marks.label_error}


def _listed(names: Iterable[str]) -> str:
    return " and ".join(names)
