"""What a poll has read, and what it has made of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mailroom.errors import (
    MailroomError,
)
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
from mailroom.work.door import Visit
from mailroom.work.judge import Admission
from mailroom.work.reading import Reading


@dataclass(frozen=True, slots=True)
class Survey:
    """One look at the account: the senders to work on, and the mail that has come.

    Of the verdicts' taps, those that are held back after a failure have no job; nor have those
    ``put_off``, of which something is not known that has to be. ``unsearched`` are
    addresses of the jobs' contacts whose mail has not been looked for yet. ``visit`` is the new
    mail, and ``admissions`` what becomes of it; ``keywords`` are the patches for mail that the user
    has moved and that asks for nothing. ``crowd`` is how many senders were moved at once, too many
    for decisions about each. ``wholes`` are decisions for whole domains and lists, ``held`` those
    that are held back after a failure, ``refused`` the labelled mail of which none can be made.
    ``orders`` are the decisions by command; those that are ``orders_refused`` have no job.
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
        """Whether there was nothing, and nothing was put off: as long as nothing changes, there is
        nothing."""
        visit = self.visit
        if visit is None or visit.state is None or visit.arrivals or visit.is_cut:
            return False
        found = (self.keywords, self.crowd, self.wholes, self.held, self.refused, self.orders)
        return self.verdicts == Verdicts() and not any(found)

    @property
    def mails(self) -> Mapping[str, Mail]:
        """All mail that may be moved, as it was read."""
        jobs = (mail for job in self.jobs for mail in (*job.tap.mails, *job.waiting))
        return {
            **{each.id: each.mail for each in (self.visit.arrivals if self.visit else ())},
            **{mail.id: mail for mail in jobs},
        }

    @property
    def plan(self) -> Plan:
        """What has to become of the contacts."""
        return Plan(tuple(job.change for job in self.jobs))
