"""One account: it holds the session, push, schedule, address book and history; nothing is global.

The account polls when the schedule says so, and records the outcome of each poll in its history.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from mailroom.engine.chance import chance
from mailroom.engine.credentials import Logins
from mailroom.engine.journal import Log
from mailroom.engine.loop import Owner, Timer
from mailroom.engine.transfer import Http
from mailroom.errors import (
    CredentialsRefused,
    Forbidden,
    LastingTrouble,
    MailroomError,
    NoAnswer,
    TransientError,
)
from mailroom.rules.configuration.config import Config
from mailroom.rules.polling.backoff import Backoff, Jitter
from mailroom.rules.polling.push import Push, PushStatus
from mailroom.rules.polling.schedule import Schedule, Timing, Trigger
from mailroom.rules.status import events
from mailroom.rules.status.health import PollView, Snapshot, Trouble, Vitals
from mailroom.wire.jmap_push import CONTACTS_TYPE
from mailroom.wire.urls import origin
from mailroom.work.account.account_view import AccountView
from mailroom.work.account.clients import build_clients
from mailroom.work.account.history import History
from mailroom.work.account.listener import Listener
from mailroom.work.account.reporter import Reporter
from mailroom.work.polling.outcome import PollOutcome
from mailroom.work.polling.poll import Poller
from mailroom.work.polling.troublekind import event_of, kind_of
from mailroom.work.session.gate import Servers

if TYPE_CHECKING:
    from mailroom.work.account.commands import Commands
    from mailroom.work.account.digest import Digester, DigestFacts

# The first poll waits this long for the stream to open, so that one poll serves for both.
_STREAM_FIRST_SECONDS = 2.0
# Nobody needs the count at once. By then a poll has dealt with mail that is just coming in.
_COUNT_SECONDS = 15.0
# Nothing but the time calls for such a poll.
_BY_TIME = (Trigger.SCHEDULED, Trigger.FALLBACK)


@dataclass(frozen=True, slots=True)
class Common:
    """What the accounts of a process share: their limits for each server, and the source of random
    numbers."""

    servers: Servers = field(default_factory=Servers)
    jitter: Jitter = chance


class Account:
    """One account at work. ``on_change`` is called whenever its snapshot may have changed,
    ``on_same`` instead where a poll that only the time called for has found all as it was: of that
    only counts and instants tell.

    All its tasks belong to ``owner``, which gets errors that nobody foresaw, and CredentialsRefused
    if the server has never accepted the credentials.
    """

    def __init__(
        self,
        owner: Owner,
        http: Http,
        config: Config,
        logins: Logins,
        log: Log,
        history: History,
        common: Common | None = None,
    ) -> None:
        common = common or Common()
        jitter = common.jitter
        self.on_change: Callable[[], None] = _nothing
        self.on_same: Callable[[], None] = _nothing
        self._owner = owner
        self._loop = loop = owner.loop
        self._config = config
        self._log = log
        self._history = history
        self._has_started = False
        self._will_count = False
        self._timer: Timer | None = None
        self._pace = common.servers.pace(origin(config.jmap.url))
        clients = build_clients(self._owner, http, config, logins, history.totals, common.servers)
        self._index, self._contacts = clients.index, clients.contacts
        if self._index:
            self._index.on_change = self._on_reading
        self._poller = Poller(loop, config, clients.mail, clients.contacts, log)
        self._mail = clients.mail
        self.reporter = Reporter(
            self._owner, clients.mail, lambda: self.commands.listing, log, self._screener
        )
        is_wanted = config.digest.at is not None
        self._digester = self._build_digester() if is_wanted else None
        polling = config.polling
        self._schedule = Schedule(
            Timing(polling.poll_interval, polling.quiet_seconds, polling.debounce_seconds), jitter
        )
        self._push = Push(loop.now(), jitter)
        self._listener = Listener(
            loop, clients, log, self._push, self._pace, self._on_states, self._on_push_status
        )
        # Refused credentials are tried again after minutes: servers ban clients that insist
        # (Stalwart: 100 failed log-ins a day, by its source).
        self._refusals = Backoff(jitter, base=60.0, cap=3600.0)
        self._view = AccountView(
            loop,
            config,
            history,
            self._poller,
            self._schedule,
            self._push,
            self._listener,
            self._index,
        )

    @cached_property
    def commands(self) -> "Commands":
        """What people can ask of the account."""
        from mailroom.work.account.commands import Commands  # noqa: PLC0415 - most only tap

        return Commands(
            self._owner,
            self._config,
            self._mail,
            self._contacts,
            self._poller,
            ask=lambda: self._ask_for_poll(Trigger.COMMAND),
            recent=lambda: tuple(self._history.recent),
        )

    def _build_digester(self) -> "Digester":
        from mailroom.work.account.digest import Digester  # noqa: PLC0415 - few accounts have one

        listing, facts = self.commands.listing, self._digest_facts
        return Digester(self._owner, self._config, self._mail, listing, self._log, facts)

    def start(self) -> None:
        """Wait for the account's turn, open the stream and poll; then poll whenever one is due."""
        self._owner.call_at(self._pace.turn(self._loop.now()), self._open)

    def _open(self) -> None:
        self._owner.spawn(self._listener.listen(), "listener")
        self._owner.call_at(self._loop.now() + _STREAM_FIRST_SECONDS, self._begin)

    def close(self) -> None:
        """Stop everything at once: any point is a safe point."""
        self._has_started = self._view.is_closed = True
        if self._timer:
            self._timer.cancel()
        self._poller.orders.close()
        self._owner.close()

    def poll_now(self) -> None:
        self._ask_for_poll(Trigger.MANUAL)

    def _ask_for_poll(self, trigger: Trigger) -> None:
        self._schedule.asked(self._loop.now(), trigger)
        self._arm()

    def snapshot(self) -> Snapshot:
        """The account's status now."""
        return self._view.snapshot()

    def vitals(self) -> Vitals:
        """The few values of :meth:`snapshot` that sums over many accounts need."""
        return self._view.vitals()

    def _begin(self) -> None:
        """The first poll is due: the stream is open, or we no longer wait for it."""
        if not self._has_started:
            self._has_started = True
            self._schedule.started(self._loop.now())
            self._arm()

    def _on_states(self, states: Mapping[str, str]) -> None:
        """A change of contacts alone causes no poll: the next poll looks at the groups."""
        if CONTACTS_TYPE in states:
            self._contacts.pushed(states[CONTACTS_TYPE])
        if others := {kind: state for kind, state in states.items() if kind != CONTACTS_TYPE}:
            self._schedule.event(self._loop.now(), others)
            self._arm()

    def _on_reading(self) -> None:
        self.on_change()

    def _on_push_status(self) -> None:
        self._begin()
        if self._push.status is PushStatus.CONNECTED:
            self._schedule.connected(self._loop.now())
        else:
            self._schedule.disconnected(self._loop.now())
        self._arm()
        self._tell(events.push(self._loop.clock.wall(), self._view.push_view()))
        self.on_change()

    def _arm(self) -> None:
        """Set the timer for the next poll; the schedule may have moved it."""
        if self._timer:
            self._timer.cancel()
        due = self._schedule.due()
        if due is not None:
            self._timer = self._owner.call_at(due.at, self._start_poll)

    def _start_poll(self) -> None:
        # Told now, not by the task: when a laptop wakes up, much else is due in this same turn.
        began = self._loop.now()
        if self._schedule.needs_turn(began):
            self._schedule.turn_given(self._pace.turn(began))
            self._arm()
            return
        trigger = self._schedule.poll_started(began)
        self._owner.spawn(self._poll(trigger, began), "poll")

    async def _poll(self, trigger: Trigger, began: float) -> None:
        requests, is_same = self._history.totals.requests, False
        try:
            outcome = await self._poller.poll(trigger)
        except MailroomError as error:
            self._poll_failed(error, trigger, began, requests)
        else:
            is_same = outcome.is_unchanged and trigger in _BY_TIME and not self._history.trouble
            self._note_outcome(outcome, trigger, began, requests)
            if outcome.trouble is None:
                self._poll_succeeded(outcome, trigger, began)
                self._plan_count()
            else:
                self._poll_failed(outcome.trouble, trigger, began, requests)
            self.reporter.polled(outcome)
        self._arm()
        if is_same:
            self.on_same()
        else:
            self._has_changed()

    def _plan_count(self) -> None:
        """Plan the count of who waits. Only after a successful poll: a server in trouble is asked
        for no more than necessary."""
        if self._poller.door.is_behind and not self._will_count:
            self._will_count = True
            wait = 0.0 if self._poller.door.waiting is None else _COUNT_SECONDS
            self._owner.call_at(self._loop.now() + wait, self._start_count)

    def _start_count(self) -> None:
        self._will_count = False
        self._owner.spawn(self._count(), "count")

    async def _count(self) -> None:
        """Count who waits, at the same time as polls: they need not wait for it."""
        await self._poller.door.count()
        self._has_changed()

    def _has_changed(self) -> None:
        self.reporter.counted(self._poller.door.waiting)
        self.on_change()

    def _tell(self, event: events.ServiceEvent) -> None:
        self.reporter.publish(event)

    def _screener(self) -> str | None:
        places = self._poller.surveyor.places
        return places.screener if places else None

    def _digest_facts(self) -> "DigestFacts":
        from mailroom.work.account.digest import DigestFacts  # noqa: PLC0415 - few accounts have one

        snapshot = self.snapshot()
        places, recent = self._poller.surveyor.places, tuple(self._history.recent)
        conflicts, failing = snapshot.conflicts, snapshot.failing
        return DigestFacts(places, snapshot.started_at, recent, conflicts, failing)

    def _poll_succeeded(self, outcome: PollOutcome, trigger: Trigger, began: float) -> None:
        history, now = self._history, self._loop.now()
        if self._digester:
            self._digester.polled()
        self._schedule.poll_finished(
            now, outcome.read_at, outcome.known, outcome.again, outcome.echo
        )
        self._judge_push(outcome, began)
        self._refusals.reset()
        history.totals.polls[trigger] += 1
        self._tell_poll(trigger, began, outcome)
        history.last_poll = PollView(self._loop.clock.wall(), trigger)
        history.last_poll_ended = now
        if not (outcome.is_idle and trigger in _BY_TIME):
            history.last_active_poll = history.last_poll
        if history.trouble:
            self._log.info("poll_recovered", after=history.trouble.kind)
            history.trouble = None
            self._tell(events.trouble(self._loop.clock.wall(), None))

    def _judge_push(self, outcome: PollOutcome, began: float) -> None:
        """Tell push what the poll found: it may prove that the stream is silent about changes, or
        that the stream did not cause the failures before."""
        now = self._loop.now()
        self._push.looked(now, outcome.looks)
        if self._push.worked(now, began):
            self._listener.reconsider()
        if (deaf_at := self._push.deaf_at) is not None:
            self._owner.call_at(deaf_at, self._judge_hearing)

    def _judge_hearing(self) -> None:
        now = self._loop.now()
        if (deaf_at := self._push.deaf_at) is not None and now >= deaf_at:
            self._push.deafened(now)
            self._listener.reconsider()

    def _note_outcome(
        self, outcome: PollOutcome, trigger: Trigger, began: float, requests: int
    ) -> None:
        """Count what the poll did and log it: at DEBUG if it was routine and did nothing."""
        history, now = self._history, self._loop.clock.wall()
        history.note(outcome, now)
        for triaged in outcome.triaged:
            self._tell(events.triage(history.note_triage(triaged, trigger, now)))
        is_routine = trigger is Trigger.SCHEDULED and outcome.is_idle
        (self._log.debug if is_routine else self._log.info)(
            "poll_completed",
            trigger=trigger,
            senders=len(outcome.triaged),
            filed=outcome.filed,
            arrivals=len(outcome.admissions),
            requests=history.totals.requests - requests,
            seconds=self._loop.now() - began,
        )

    def _poll_failed(
        self, error: MailroomError, trigger: Trigger, began: float, requests: int
    ) -> None:
        history, now = self._history, self._loop.now()
        kind = kind_of(error)
        history.note_failure(trigger, kind)
        if isinstance(error, CredentialsRefused | Forbidden):
            if self._is_hopeless(error):
                raise error
            self._schedule.poll_failed(now, self._refusals.fail())
        elif isinstance(error, LastingTrouble):
            # No retry in a hurry: the user has to mend it, and a Mailbox event will say so.
            self._schedule.poll_finished(now, began, {})
        else:
            if isinstance(error, NoAnswer) and self._push.timed_out(now):
                self._listener.reconsider()
            wait = error.retry_after if isinstance(error, TransientError) else None
            self._schedule.poll_failed(now, wait, history.totals.requests - requests)
        self._tell_poll(trigger, began, error=str(error))
        self._note_trouble(error, kind, trigger)

    def _tell_poll(
        self, trigger: Trigger, began: float, outcome: PollOutcome | None = None, error: str = ""
    ) -> None:
        done = events.Polled(
            trigger,
            self._history.totals.poll_count,
            self._loop.now() - began,
            senders=len(outcome.triaged) if outcome else 0,
            filed=outcome.filed if outcome else 0,
            arrivals=len(outcome.admissions) if outcome else 0,
            error=error or None,
        )
        self._tell(events.poll(self._loop.clock.wall(), done))

    def _is_hopeless(self, error: MailroomError) -> bool:
        """Whether the server refuses credentials that it has not accepted since the start."""
        is_refusal = isinstance(error, CredentialsRefused) and not error.was_accepted
        return is_refusal and self._history.last_poll is None

    def _note_trouble(self, error: MailroomError, kind: str, trigger: Trigger) -> None:
        """Keep the trouble for the status, and log it once for as long as it stays the same.

        An outage stays the same, although each attempt may fail at another request. Trouble that
        the user has to mend is new when its reason changes.
        """
        history = self._history
        reason, known = str(error), history.trouble
        is_news = isinstance(error, LastingTrouble) and known is not None and known.reason != reason
        is_new = known is None or known.kind != kind or is_news
        since = self._loop.clock.wall() if known is None else known.since
        is_lasting = isinstance(error, CredentialsRefused | Forbidden | LastingTrouble)
        history.trouble = history.last_error = Trouble(since, kind, reason, is_lasting)
        report = self._log.warning if is_new else self._log.debug
        report(event_of(kind), trigger=trigger, kind=kind, error=reason)
        if is_new:
            self._tell(events.trouble(self._loop.clock.wall(), history.trouble))


def _nothing() -> None:
    pass
