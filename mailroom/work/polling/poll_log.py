"""What a poll has done, as log lines."""

from collections import Counter
from collections.abc import Iterable, Mapping

from mailroom.engine.journal import Log
from mailroom.engine.loop import Loop, give_way
from mailroom.rules.triage.job import Job
from mailroom.rules.triage.verdicts import Conflict, MailPatch, sender_of
from mailroom.work.polling.outcome import Triaged, categories
from mailroom.work.polling.progress import Work
from mailroom.work.screening.judge import Admission
from mailroom.work.screening.wholes import WholeOutcome


class PollLog:
    """The log of one account's polls."""

    def __init__(self, loop: Loop, log: Log) -> None:
        self._loop = loop
        self._log = log
        self._told: set[str] = set()

    async def admissions(self, admissions: Iterable[Admission]) -> None:
        """Log whose new mail was moved and what decided, one line a sender, since many mails may
        come at once. Mail that the server had put where it belongs is not logged."""
        moved = Counter((each.sender, each.standing) for each in admissions if each.patch)
        for (sender, standing), mails in moved.items():
            await give_way(self._loop)
            category = standing.category.name if standing.category else None
            self._log.info(
                "mail_screened" if standing.waits else "mail_admitted",
                sender=sender, outcome=str(standing.who), category=category, mails=mails,
            )  # fmt: skip

    def unreadable(self, found: Mapping[str, str]) -> None:
        """Log the objects that cannot be read as the server describes them, each once."""
        for what in sorted(found.keys() - self._told):
            self._log.warning("object_unreadable", object=what, error=found[what])
        self._told |= set(found)

    def marks(self, work: Work) -> None:
        """Log what the user has to look at; a conflict only when its mail gets the error label."""
        for job in work.done:
            if job.other_name is not None:
                names = {"name": job.other_name, "contact_name": _name_of(job)}
                self._log.warning("name_mismatch", sender=job.tap.sender, **names)
        for conflict in work.survey.verdicts.conflicts:
            if is_new(conflict, work.marks):
                named = list(categories(conflict, work.survey.places))
                self._log.warning("conflict_detected", sender=conflict.sender, categories=named)
        for refusal in work.survey.refused:
            if any(mail.id in work.marks for mail in refusal.mails):
                sender = sender_of(refusal.mails[0]) or "(nobody)"
                self._log.warning("decision_refused", sender=sender, reason=refusal.reason)

    def triaged(self, job: Job, filed: int, by: str | None, trigger: str | None) -> Triaged:
        """Log one triaged sender; ``by`` is the user who ordered it, if any."""
        name = job.category.name if job.category else None
        # The same category again, or the rest of an interrupted poll: no change of mind.
        is_repeated = job.previous is not None and job.previous == job.category
        previous = job.previous.name if job.previous and not is_repeated else None
        event = "sender_retriaged" if previous else "sender_triaged"
        self._log.info(
            event if job.category else "sender_unscreened",
            sender=job.sender, category=name, previous=previous, filed=filed,
            by=by, trigger=trigger,
        )  # fmt: skip
        return Triaged(job.sender, name, previous, filed, by, is_repeated)

    def decided(
        self, done: WholeOutcome, filed: int, by: str | None, trigger: str | None
    ) -> Triaged:
        """Log a decision for a whole domain or list that was carried out."""
        whole = done.whole
        name = whole.category.name if whole.category else None
        is_repeated = done.previous == name
        previous = None if is_repeated else done.previous
        event = "list_triaged" if whole.is_list else "domain_triaged"
        key = {"list": whole.key} if whole.is_list else {"domain": whole.key}
        self._log.info(
            event, **key, category=name or "Screener", previous=previous, filed=filed,
            by=by, trigger=trigger,
        )  # fmt: skip
        return Triaged(whole.name, name, previous, filed, by, is_repeated)


def is_new(conflict: Conflict, marks: Mapping[str, MailPatch]) -> bool:
    """Whether mail of the conflict gets its error label now."""
    return not marks.keys().isdisjoint(conflict.mail_ids)


def _name_of(job: Job) -> str:
    return job.contact.name if job.contact else ""
