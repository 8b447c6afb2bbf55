"""What has happened in one account since the process started: for its status, and for undo."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from mailroom.rules.polling.schedule import Trigger
from mailroom.rules.status import health
from mailroom.rules.status.health import PollView, Totals, Trouble
from mailroom.work.polling.outcome import Contested, PollOutcome, Triaged


@dataclass(slots=True)
class History:
    """A reload hands it on to the new account. ``started_at`` is in Unix seconds, as every ``at``
    is; ``started`` and ``last_poll_ended`` are instants of the loop."""

    started_at: float
    started: float
    totals: Totals = field(default_factory=Totals)
    recent: deque[health.TriageView] = field(
        default_factory=lambda: deque(maxlen=health.KEPT_LIMIT)
    )
    last_poll: PollView | None = None
    last_poll_ended: float | None = None
    last_active_poll: PollView | None = None
    trouble: Trouble | None = None
    last_error: Trouble | None = None
    conflicts: tuple[health.ConflictView, ...] = ()
    moved_at_once: int = 0

    def note(self, outcome: PollOutcome, at: float) -> None:
        """Note what a poll has done, except for the triages."""
        self.totals.mails_filed += outcome.filed
        self.totals.conflicts += outcome.conflicts
        if outcome.admissions:
            self.totals.arrivals += outcome.admitted
        self.moved_at_once = outcome.crowd
        if outcome.contested or self.conflicts:
            self._note_conflicts(outcome.contested, at)

    def note_triage(self, triaged: Triaged, trigger: Trigger, at: float) -> health.TriageView:
        """Note a sender that a poll has triaged; returns it in the form that the status shows."""
        category = triaged.category or "Screener"
        self.totals.triaged[category] += 1
        done = health.TriageView(
            number=self.totals.triaged.total(),
            at=at,
            sender=triaged.sender,
            category=category,
            previous=triaged.previous,
            filed=triaged.filed,
            trigger=trigger,
            by=triaged.by,
            is_repeated=triaged.is_repeated,
        )
        self.recent.append(done)
        return done

    def note_failure(self, trigger: Trigger, kind: str) -> None:
        """Note a failed poll."""
        self.totals.polls[trigger] += 1
        self.totals.polls_failed += 1
        self.totals.errors[kind] += 1

    def _note_conflicts(self, contested: Iterable[Contested], at: float) -> None:
        """Keep the conflicts of the last poll, each with the time of the poll that saw it first."""
        since = {(each.sender, each.categories): each.since for each in self.conflicts}
        self.conflicts = tuple(
            health.ConflictView(
                each.sender, each.categories, since.get((each.sender, each.categories), at)
            )
            for each in contested
        )
