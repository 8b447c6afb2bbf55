"""When to poll, and why: "the next poll is due at T because TRIGGER" (docs/behaviour.md).

A pure state machine: it is told events and times (seconds of CLOCK_BOOTTIME) and does nothing. Its
promise: a poll soon sees every change that the stream reports, with a closing query that was sent
after the event was received; and the events of our own writes cause no poll.

A poll is due at the earliest of its reasons; of the reasons that have come by then, the first in
Trigger names it. None is due while one is running. The reasons change so:

    told                    the reasons for a poll from then on
    started, connected      STARTUP, RECONNECT: now
    asked                   MANUAL: now; COMMAND for a decision: GATHER_SECONDS after it and after
                            the last poll; no backoff delays them
    event, states known     none: a poll has seen its change, and those reported before it
    event, others           PUSH: quiet_seconds after the newest, at most debounce_seconds after the
                            first; ECHO_SECONDS instead of quiet_seconds while the echo is awaited
    disconnected            SCHEDULED no sooner than RETURN_SECONDS later, and called FALLBACK from
                            then on; the others as before
    poll_started            only those that come during the poll
    poll_finished           SCHEDULED: poll_interval later (after the first poll and after failures
                            sooner, by a random part of up to nine tenths); PUSH for unknown events
                            since the closing request, or at once if that showed another label
    poll_failed             that of the poll again, when the backoff is over and it is the account's
                            turn at the server; only MANUAL and COMMAND are due before
    turn_given, connected   as before, the turn is given (connected: the stream has had one)

A state is known if it was read before a label query whose result was acted on: that query has seen
whatever an event with this state reports. Our own writes leave two kinds of states on the way. Some
are named by an answer: they were read before the closing query, and are known. Others are named by
none: the server reported them while it carried out the closing request. Such an event comes before
that request's answer or right after it, and then comes the echo, with the state that the closing
request read. So after an unknown state in this moment, the schedule waits for ECHO_SECONDS. If the
echo comes, the closing query has seen everything; if not, there is a poll. A foreign change is
never taken for an echo; at worst it waits.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf

from mailroom.rules.polling.backoff import Backoff, Jitter

# A poll reads two states of a type; no server sends one that is older than thirty polls.
MAX_KNOWN_STATES = 64
# A server that reports changes once a second (Cyrus 3.10 with jmap_pushpoll: 1s; Stalwart by its
# source) may do so in the middle of our closing request, and report its end a second later.
ECHO_SECONDS = 1.5
# A program that makes many decisions sends the next ones when the last are answered. This wait lets
# one poll carry out all of them; no person notices it.
GATHER_SECONDS = 0.03
# A stream that has ended is usually open again by then, and the poll after that does instead of the
# regular one. Cyrus ends it every five minutes, just when the fifth poll since is due.
RETURN_SECONDS = 2.0
# How long after the closing answer an event may arrive that the server sent before it.
_EVENT_LATE_SECONDS = 0.25
# Polls that fail late send many requests for nothing. This is how many they may send in a row
# before the server is spared, and the pause for each further one, also if a poll succeeds in
# between: no minute sees more than one a second.
_FREE_REQUESTS = 10
_SECONDS_PER_REQUEST = 3.0
_LONGEST_PAUSE_SECONDS = 60.0
# The share of the interval that jitter may take off when many accounts may have begun together, so
# that the server does not see all of them in the same second of every minute.
_FIRST_SPREAD = 0.9


class Trigger(StrEnum):
    """Why a poll runs. When several reasons have come, the first of these names the poll."""

    STARTUP = "startup"
    MANUAL = "manual"
    COMMAND = "command"
    RECONNECT = "reconnect"
    PUSH = "push"
    SCHEDULED = "scheduled"
    FALLBACK = "fallback"


_IN_ORDER = tuple(Trigger)
_BY_HAND = (Trigger.MANUAL, Trigger.COMMAND)


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds: between polls; after the newest event; after the first event of a burst, at most."""

    poll_interval: float = 60.0
    quiet_seconds: float = 0.25
    debounce_seconds: float = 3.0


@dataclass(frozen=True, slots=True)
class DuePoll:
    """The next poll. An ``at`` that has passed means now."""

    at: float
    trigger: Trigger


class Schedule:
    """The polls of one account.

    ``polling`` says whether one is running. An event that cannot happen in the present phase is
    a bug of the caller: RuntimeError.
    """

    def __init__(self, timing: Timing, jitter: Jitter) -> None:
        self.polling = False
        self._timing = timing
        self._jitter = jitter
        # Retries are never rarer than polls: a server that is back is found as soon.
        self._backoff = Backoff(jitter, cap=min(60.0, timing.poll_interval))
        self._connected = False
        self._known = _KnownStates()
        self._news = _News()
        # Reasons and when they are due. SCHEDULED stands for FALLBACK too, until it is due.
        self._reasons: dict[Trigger, float] = {}
        # The end of the last poll, or of the backoff that followed it.
        self._not_before = -inf
        # When it is this account's turn at the server; None: it has to ask for one.
        self._turn: float | None = -inf
        self._trigger = Trigger.STARTUP
        self._poll_started_at = -inf
        self._ended_at = -inf
        # When the requests of failed polls would have ended with that pause after each of them.
        self._spent_until = -inf

    @property
    def failures(self) -> int:
        """How many polls failed in a row."""
        return self._backoff.failures

    @property
    def backing_off(self) -> bool:
        """Whether the last poll failed and none is running."""
        return self.failures > 0 and not self.polling

    def due(self) -> DuePoll | None:
        """The next poll; None while one is running and before anything asked for one."""
        wishes = self._wishes()
        if self.polling or not wishes:
            return None
        at = min(wishes.values())
        return DuePoll(at, self._name_poll(wishes, at))

    def needs_turn(self, now: float) -> bool:
        """Whether the due poll must wait for its turn at the server: so after a failure, lest all
        accounts ask a server at once when it comes back. A poll that a person asked for does not
        wait."""
        by_hand = (self._reasons.get(trigger, inf) for trigger in _BY_HAND)
        return self._turn is None and min(by_hand) > now

    def turn_given(self, at: float) -> None:
        """The account has its turn at the server ``at`` this instant."""
        self._turn = at

    def started(self, now: float) -> None:
        """The service can poll from now on."""
        self._reasons[Trigger.STARTUP] = now

    def asked(self, now: float, trigger: Trigger = Trigger.MANUAL) -> None:
        """A person wants a poll that begins after now; no backoff delays it."""
        self._reasons[trigger] = min(now, self._reasons.get(trigger, inf))

    def connected(self, now: float) -> None:
        """The stream was opened; a poll has to look for what happened before."""
        self._connected = True
        if self._turn is None:  # the stream has just had one
            self._turn = now
        self._reasons[Trigger.RECONNECT] = now

    def disconnected(self, now: float) -> None:
        """The stream is gone, or could not be opened."""
        if self._connected and (at := self._reasons.get(Trigger.SCHEDULED)) is not None:
            self._reasons[Trigger.SCHEDULED] = max(at, now + RETURN_SECONDS)
        self._connected = False

    def event(self, now: float, states: Mapping[str, str]) -> None:
        """The stream reported new ``states`` of this account, by type."""
        if states:
            self._news.add(now, states)
            self._drop_echoes()

    def poll_started(self, now: float) -> Trigger:
        """The due poll begins; returns why. It covers all events received so far."""
        wishes = self._wishes()
        if self.polling or not wishes or now < min(wishes.values()):
            raise RuntimeError(f"schedule: poll_started at {now}, but due is {self.due()}")
        self._trigger = self._name_poll(wishes, now)
        self.polling = True
        self._poll_started_at = now
        self._reasons.clear()
        self._news.clear()
        return self._trigger

    def poll_finished(
        self,
        now: float,
        read_at: float,
        known: Mapping[str, Iterable[str]],
        again: bool = False,
        echo: Mapping[str, str] | None = None,
    ) -> None:
        """The poll has succeeded.

        ``read_at`` is when its closing request (states, then label query) was sent; ``known``
        are the states, by type, that it read before label queries whose results it acted on;
        ``again`` says that the closing query showed a label that was not left on purpose;
        ``echo`` are the states that the closing request read after writing in it: until the stream
        has reported one of them, an unknown state may be from the middle of that writing.
        """
        self._end_poll("poll_finished", now)
        if not self._poll_started_at <= read_at <= now:
            raise RuntimeError(
                f"schedule: a poll from {self._poll_started_at} to {now} cannot read at {read_at}"
            )
        wait = self._timing.poll_interval
        if self._trigger is Trigger.STARTUP or self.failures:
            wait *= 1 - _FIRST_SPREAD * self._jitter()
        self._backoff.reset()
        self._not_before, self._turn = now, -inf
        self._known.remember(known)
        self._news.drop_before(read_at)
        if echo:
            self._news.await_echo(echo, now)
        self._drop_echoes()
        if self._reasons.get(Trigger.RECONNECT, inf) < read_at:
            del self._reasons[Trigger.RECONNECT]
        self._reasons[Trigger.SCHEDULED] = now + wait
        if again and self._connected:
            self._news.begin(read_at)
        elif again:
            self._reasons[Trigger.SCHEDULED] = now

    def poll_failed(self, now: float, retry_after: float | None = None, requests: int = 0) -> None:
        """The poll has failed after this many requests; ``retry_after`` is what the server asks
        for, in seconds.

        It is tried again for the same reason, unless a higher one joins.
        """
        self._end_poll("poll_failed", now)
        free = _SECONDS_PER_REQUEST * _FREE_REQUESTS
        begun_at = max(self._spent_until, self._poll_started_at)
        spent_until = begun_at + _SECONDS_PER_REQUEST * requests
        # Or a poll that failed after hundreds would still delay those of an hour later.
        self._spent_until = min(spent_until, now + free + _LONGEST_PAUSE_SECONDS)
        pause = self._spent_until - free - now
        self._not_before = now + max(self._backoff.fail(retry_after), pause)
        self._turn = None
        trigger = Trigger.SCHEDULED if self._trigger is Trigger.FALLBACK else self._trigger
        self._reasons.setdefault(trigger, self._not_before)

    def _end_poll(self, event: str, now: float) -> None:
        if not self.polling:
            raise RuntimeError(f"schedule: {event} cannot happen while no poll is running")
        self.polling = False
        self._ended_at = now

    def _drop_echoes(self) -> None:
        """Known states need no poll: ours, or foreign ones that a poll has seen."""
        if self._known.cover(self._news.newest) and not self._news.certain:
            self._news.clear()

    def _wishes(self) -> dict[Trigger, float]:
        not_before = max(self._not_before, -inf if self._turn is None else self._turn)
        wishes = {
            trigger: at if trigger in _BY_HAND else max(at, not_before)
            for trigger, at in self._reasons.items()
        }
        if (asked_at := wishes.get(Trigger.COMMAND)) is not None:
            wishes[Trigger.COMMAND] = max(asked_at, self._ended_at) + GATHER_SECONDS
        burst_at = self._news.due_at(self._timing)
        if burst_at is not None:
            wishes[Trigger.PUSH] = min(wishes.get(Trigger.PUSH, inf), max(burst_at, not_before))
        return wishes

    def _name_poll(self, wishes: Mapping[Trigger, float], at: float) -> Trigger:
        trigger = next(trigger for trigger in _IN_ORDER if wishes.get(trigger, inf) <= at)
        if trigger is Trigger.SCHEDULED and not self._connected:
            return Trigger.FALLBACK
        return trigger


@dataclass(slots=True)
class _News:
    """What the stream has reported since the last poll looked: the current burst of events.

    Only the newest state of a type counts, so a storm takes no more room than one event.
    """

    newest: dict[str, str] = field(default_factory=dict)
    certain: bool = False  # something is known to wait, whatever the states say
    _received: dict[str, float] = field(default_factory=dict)
    _first: float | None = None
    _last: float = -inf  # outlives the burst: it tells whether events are pouring in
    # The states, not yet reported, of the last poll's closing writes; and when those ended.
    _echo: Mapping[str, str] = field(default_factory=dict)
    _written: float = -inf

    def add(self, now: float, states: Mapping[str, str]) -> None:
        self.newest.update(states)
        self._received.update(dict.fromkeys(states, now))
        self._last = now
        if self._first is None:
            self._first = now
        self._hear_echo()

    def begin(self, now: float) -> None:
        """A burst has begun at ``now`` that no state can show to be an echo."""
        self.certain = True
        self._first = now

    def await_echo(self, echo: Mapping[str, str], written: float) -> None:
        self._echo, self._written = echo, written
        self._hear_echo()

    def drop_before(self, read_at: float) -> None:
        """Forget what a query that was sent at ``read_at`` has seen."""
        for kind in [kind for kind, at in self._received.items() if at < read_at]:
            del self.newest[kind], self._received[kind]
        if self._first is not None:
            self._first = max(self._first, read_at)

    def clear(self) -> None:
        self.newest.clear()
        self._received.clear()
        self.certain = False
        self._first = None

    def due_at(self, timing: Timing) -> float | None:
        if self._first is None:
            return None
        at_last = self._first + timing.debounce_seconds
        if self._is_doubtful():
            return min(max(self._last, self._written) + ECHO_SECONDS, at_last)
        return min(self._last + timing.quiet_seconds, at_last)

    def _hear_echo(self) -> None:
        """What comes after the echo is not from the middle of our writing."""
        if self._echo.items() & self.newest.items():
            self._echo = {}

    def _is_doubtful(self) -> bool:
        """Whether these events may come from the middle of our writing."""
        is_in_time = self._last <= self._written + _EVENT_LATE_SECONDS
        return bool(self._echo) and is_in_time and not self.certain


class _KnownStates:
    """The states, by type, whose changes some poll has seen; the newest few of them."""

    def __init__(self) -> None:
        self._states: dict[str, dict[str, None]] = {}

    def remember(self, known: Mapping[str, Iterable[str]]) -> None:
        for kind, states in known.items():
            remembered = self._states.setdefault(kind, {})
            for state in states:
                remembered.pop(state, None)
                remembered[state] = None
            while len(remembered) > MAX_KNOWN_STATES:
                del remembered[next(iter(remembered))]

    def cover(self, states: Mapping[str, str]) -> bool:
        return all(state in self._states.get(kind, ()) for kind, state in states.items())
