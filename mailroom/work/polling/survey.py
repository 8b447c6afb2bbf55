"""What a poll has read, and what follows from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mailroom.errors import MailroomError
from mailroom.rules.contacts.roster import Plan
from mailroom.rules.screening.own import OwnAddresses
from mailroom.rules.triage.job import Job
from mailroom.rules.triage.orders import (
    Order,
    Refused,
)
from mailroom.rules.triage.places import Places
from mailroom.rules.triage.verdicts import (
    MailPatch,
    Tap,
    Verdicts,
)
from mailroom.rules.triage.whole import Refusal, Whole
from mailroom.wire.jmap import Mail
from mailroom.work.mail.reading import Reading
from mailroom.work.screening.door import Visit
from mailroom.work.screening.judge import Admission


@dataclass(frozen=True, slots=True)
class Survey:
    """One look at the account: the senders to triage, and the new mail.

    Each tap in ``verdicts`` has a job, except taps held back after a failure and those ``put_off``
    because a fact is missing. ``newcomers`` are the patches for mail that came while its sender was
    being triaged. ``unsearched`` are addresses of the jobs' contacts whose mail has not been
    searched for yet. ``visit`` is the new mail, and ``admissions`` the decisions about it;
    ``keywords`` are the patches for mail that the user moved without asking for anything.
    ``crowd`` is how many senders were moved at once, too many to be decisions. ``own`` are the
    user's addresses. ``wholes`` are decisions for whole domains and lists, ``held`` those held back
    after a failure, ``refused`` the labelled mail from which none can be made. ``orders`` are the
    decisions by command; those in ``orders_refused`` have no job.
    """

    reading: Reading
    places: Places
    verdicts: Verdicts
    jobs: tuple[Job, ...]
    newcomers: Mapping[str, MailPatch]
    unsearched: frozenset[str] = frozenset()
    visit: Visit | None = None
    admissions: tuple[Admission, ...] = ()
    keywords: Mapping[str, MailPatch] = field(default_factory=dict)
    crowd: int = 0
    own: OwnAddresses = field(default_factory=OwnAddresses)
    wholes: tuple[Whole, ...] = ()
    held: tuple[Whole, ...] = ()
    refused: tuple[Refusal, ...] = ()
    put_off: tuple[tuple[Tap, MailroomError], ...] = ()
    orders: tuple[Order, ...] = ()
    orders_refused: Refused = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether there was nothing to do and nothing was put off. Then there is nothing to do
        until something changes."""
        visit = self.visit
        if visit is None or visit.state is None or visit.arrivals or visit.is_cut:
            return False
        found = (self.keywords, self.crowd, self.wholes, self.held, self.refused, self.orders)
        return self.verdicts == Verdicts() and not any(found)

    @property
    def mails(self) -> Mapping[str, Mail]:
        """All mail that the poll may move, as it was read."""
        jobs = (mail for job in self.jobs for mail in (*job.tap.mails, *job.waiting))
        return {
            **{each.id: each.mail for each in (self.visit.arrivals if self.visit else ())},
            **{mail.id: mail for mail in jobs},
        }

    @property
    def plan(self) -> Plan:
        """The changes to contacts and groups."""
        return Plan(tuple(job.change for job in self.jobs))
