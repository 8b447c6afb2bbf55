"""An account as seen from outside: its current status."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailroom import __version__
from mailroom.engine.loop import Loop
from mailroom.rules.configuration.config import Config
from mailroom.rules.polling.push import Push
from mailroom.rules.polling.schedule import Schedule
from mailroom.rules.status import health
from mailroom.rules.status.health import Phase, Snapshot
from mailroom.work.account.history import History
from mailroom.work.account.listener import Listener
from mailroom.work.polling.poll import Poller

if TYPE_CHECKING:
    from mailroom.work.contacts.index import IndexKeeper


@dataclass(slots=True)
class AccountView:
    """The parts of an account that its status is made of; ``is_closed`` once it has stopped."""

    loop: Loop
    config: Config
    history: History
    poller: Poller
    schedule: Schedule
    push: Push
    listener: Listener
    index: "IndexKeeper | None"
    is_closed: bool = False

    def snapshot(self) -> Snapshot:
        """The account's status now."""
        history, now = self.history, self.loop.now()
        ended = history.last_poll_ended
        return Snapshot(
            version=__version__,
            pid=os.getpid(),
            account=self.config.account,
            phase=self._phase(),
            started_at=history.started_at,
            uptime_seconds=now - history.started,
            poll_interval=self.config.polling.poll_interval,
            push=self.push_view(),
            totals=history.totals,
            last_poll=history.last_poll,
            last_poll_age_seconds=None if ended is None else now - ended,
            last_active_poll=history.last_active_poll,
            next_poll=self._next_poll(),
            trouble=history.trouble,
            last_error=history.last_error,
            recent=tuple(history.recent)[-health.RECENT_LIMIT :],
            is_reading_book=self.index is not None and self.index.is_reading,
            conflicts=history.conflicts,
            waiting=self.poller.door.waiting,
            moved_at_once=history.moved_at_once,
            rules_failed_at=self.poller.door.rules_failed_at,
            failing=tuple(
                health.FailingSender(
                    sender, failure.reason, failure.attempts, self._wall(failure.next_try)
                )
                for sender, failure in self.poller.surveyor.failures.items()
            ),
        )

    def vitals(self) -> health.Vitals:
        """The few values of :meth:`snapshot` that sums over many accounts need."""
        history, now = self.history, self.loop.now()
        ended = history.last_poll_ended
        return health.Vitals(
            phase=self._phase(),
            push=self.push.status,
            poll_interval=self.config.polling.poll_interval,
            uptime_seconds=now - history.started,
            poll_count=history.totals.poll_count,
            last_poll=history.last_poll,
            last_poll_age_seconds=None if ended is None else now - ended,
            trouble=history.trouble,
            waiting=self.poller.door.waiting,
        )

    def _phase(self) -> Phase:
        if self.is_closed:
            return Phase.STOPPING
        if self.schedule.polling:
            return Phase.POLLING
        if self.schedule.backing_off:
            return Phase.BACKING_OFF
        return Phase.IDLE if self.history.totals.poll_count else Phase.STARTING

    def push_view(self) -> health.PushView:
        """The status of the event stream."""
        push = self.push
        return health.PushView(
            status=push.status,
            connected_since=self._wall(push.connected_since),
            down_since=self._wall(push.down_since),
            last_event=self._wall(push.last_event_at),
            reconnect_count=push.reconnect_count,
            url=self.listener.url,
            error=push.error,
        )

    def _next_poll(self) -> health.NextPoll | None:
        due = self.schedule.due()
        if due is None:
            return None
        wait = max(0.0, due.at - self.loop.now())
        return health.NextPoll(self.loop.clock.wall() + wait, wait, due.trigger)

    def _wall(self, instant: float | None) -> float | None:
        """An instant of the loop's clock as Unix seconds."""
        return None if instant is None else self.loop.clock.wall() + instant - self.loop.now()
