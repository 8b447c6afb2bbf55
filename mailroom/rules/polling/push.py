"""What to do about the push stream: when to connect, how long to trust its silence.

A pure state machine (docs/behaviour.md, "Push"): it is told events and times, and says when to try
next and when to give up. All times are seconds of CLOCK_BOOTTIME.

    in                          told                         then
    disconnected, unavailable   attempt_started              connecting
    connecting                  opened                       connected
    connecting                  refused: 204                 unavailable, for an hour
    connecting                  refused: any other status    disconnected, backing off
    connected                   heard, pinged, changed       connected
    connecting, connected       ended, expired               disconnected, backing off
    connected                   deafened, up to twice        disconnected, tried again at once if
                                                             it was stable, else backing off
    connected                   deafened, from then on       unavailable, for an hour
    connected                   timed_out (a poll has)       disconnected, until a poll tells
    disconnected by timed_out   worked (a poll has)          disconnected, backing off; the second
                                                             time unavailable, for an hour
    disconnected by timed_out   timed_out                    disconnected, backing off
    any                         looked; timed_out or worked  as it was
                                otherwise

Nothing else can be told: RuntimeError.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from math import inf

from mailroom.rules.polling.backoff import Backoff, Jitter

# A server may hold its answer back until the first ping, which we ask for after 30 s.
ANSWER_SECONDS = 45.0
# How long a stream must live before the failures before it are forgotten.
STABLE_SECONDS = 60.0
# One ping may be late and one lost before the peer counts as dead.
PINGS_MISSED = 2.5
# However often a server pings, it is not cut off sooner than if it pinged this often.
MIN_PING_SECONDS = 1.0
# A server that never pinged is cut off, too: a proxy may answer TCP keepalive in its place.
MAX_SILENCE_SECONDS = 30 * 60.0
# How long a stream may be silent about a change that a poll has found: the first time, the second,
# and from the third on. Some servers look for changes only once a minute (Cyrus: jmap_pushpoll is
# 60 s by default), so only the longest is proof.
PATIENCE_SECONDS = (5.0, 30.0, 75.0)
# A server that sends its states on connecting (Fastmail does) has not reported a change by that.
_GREETING_SECONDS = 5.0
# How often polls must time out with the stream open, and work without it, before it is given up.
_BLOCKADES = 2
# After 204, no push here: it may be switched on some day.
UNAVAILABLE_SECONDS = 3600.0
MIN_RETRY_SECONDS, MAX_RETRY_SECONDS = 1.0, 60.0
# A longer id would be refused as a header; the poll after reconnecting does not need it.
MAX_EVENT_ID_CHARACTERS = 1024

# Why there is no push for an hour, for people.
NO_PUSH = "the server offers no push"
DEAF = "push is open but reports nothing (does a proxy buffer it?)"
BLOCKING = "requests time out while the event stream is open, and work when it is closed"

# Why it is opened anew.
UNTOLD = "the event stream has not reported a change that a poll has found"
STALLED = "a request has timed out while the event stream was open"

_CREDENTIALS_REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


class PushStatus(StrEnum):
    """The stream's status, in the words of ``/healthz``. ``UNAVAILABLE``: not tried for an hour,
    since the server has none (HTTP 204) or the stream proved useless."""

    DISCONNECTED = "disconnected"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    UNAVAILABLE = "unavailable"


# Every event, and the statuses in which it can happen.
_POSSIBLE = {
    "attempt_started": (PushStatus.DISCONNECTED, PushStatus.UNAVAILABLE),
    "opened": (PushStatus.CONNECTING,),
    "refused": (PushStatus.CONNECTING,),
    "heard": (PushStatus.CONNECTED,),
    "pinged": (PushStatus.CONNECTED,),
    "changed": (PushStatus.CONNECTED,),
    "ended": (PushStatus.CONNECTING, PushStatus.CONNECTED),
    "expired": (PushStatus.CONNECTING, PushStatus.CONNECTED),
    "deafened": (PushStatus.CONNECTED,),
}


@dataclass(frozen=True, slots=True)
class ReadState:
    """The Email state that a poll has read, and when it asked."""

    at: float
    state: str


class Push:
    """The stream of one account, over all its connections. The first is due at ``now``.

    status           -- see PushStatus
    next_attempt_at  -- when to connect; None while connecting or connected
    deadline         -- when to give the connection up as dead; None while there is none
    deaf_at          -- when the stream is proven deaf; None: it owes no report of a change
    connected_since, last_event_at -- instants, or None
    down_since       -- since when there is no connection; None while there is one, and while push
                        is unavailable
    reconnect_count  -- connections opened after the first
    error            -- why there is no connection, in words, or None
    is_routine       -- the last connection was stable, and the server closed it, or may have
    last_event_id    -- what to send as Last-Event-ID; empty: nothing

    An event that cannot happen in the present status is a bug of the caller: RuntimeError.
    """

    def __init__(self, now: float, jitter: Jitter) -> None:
        self.status = PushStatus.DISCONNECTED
        self.next_attempt_at: float | None = now
        self.deadline: float | None = None
        self.connected_since: float | None = None
        self.down_since: float | None = now
        self.last_event_at: float | None = None
        self.last_event_id = ""
        self.error: str | None = None
        self.is_routine = False
        self._connections = 0
        self._silence_seconds = MAX_SILENCE_SECONDS
        self._failures = Backoff(jitter)
        # Refused credentials are retried in minutes: servers ban clients that insist (Stalwart by
        # its source, after 100 failed log-ins a day).
        self._refusals = Backoff(jitter, base=60.0, cap=3600.0)
        self._hearing = _Hearing()
        self._blockades = 0
        self._is_aside = False  # closed to see whether polls work without it

    @property
    def deaf_at(self) -> float | None:
        return self._hearing.deaf_at if self.status is PushStatus.CONNECTED else None

    @property
    def is_suspect(self) -> bool:
        """Whether the last connection was given up although it was open."""
        return self._hearing.deafened > 0 or self._blockades > 0

    @property
    def reconnect_count(self) -> int:
        return max(0, self._connections - 1)

    def attempt_started(self, now: float) -> None:
        """A request for the stream is on its way; not to be called before ``next_attempt_at``."""
        self._check("attempt_started")
        if self.next_attempt_at is None or now < self.next_attempt_at:
            raise RuntimeError(f"push: attempt_started at {now}, due at {self.next_attempt_at}")
        self._enter(PushStatus.CONNECTING)
        self.deadline = now + ANSWER_SECONDS
        self._is_aside = False

    def opened(self, now: float) -> None:
        """The server answered with an event stream."""
        self._check("opened")
        self._enter(PushStatus.CONNECTED)
        self.connected_since = now
        self.down_since = None
        self.deadline = now + self._silence_seconds
        self.error = None
        self._connections += 1
        self._refusals.reset()
        self._hearing.begin(now)

    def refused(self, now: float, status: int, retry_after: float | None = None) -> None:
        """The server answered with anything else: HTTP ``status``, Retry-After in seconds."""
        self._check("refused")
        self.is_routine = False
        # If the server dislikes the id, the next attempt is free of it.
        self.last_event_id = ""
        if status == HTTPStatus.NO_CONTENT:
            self._wait(now, UNAVAILABLE_SECONDS, PushStatus.UNAVAILABLE, NO_PUSH)
            return
        backoff = self._refusals if status in _CREDENTIALS_REFUSED else self._failures
        self._wait(
            now,
            backoff.fail(retry_after),
            PushStatus.DISCONNECTED,
            f"the server answered with HTTP {status} instead of an event stream",
        )

    def heard(
        self, now: float, last_event_id: str = "", retry_seconds: float | None = None
    ) -> None:
        """Bytes came, of any kind; the arguments are what the parser holds after reading them."""
        self._check("heard")
        self.deadline = now + self._silence_seconds
        self.last_event_id = last_event_id if len(last_event_id) <= MAX_EVENT_ID_CHARACTERS else ""
        if retry_seconds is not None:
            self._failures.base = _clamp(retry_seconds, MIN_RETRY_SECONDS, MAX_RETRY_SECONDS)

    def pinged(self, now: float, interval_seconds: float) -> None:
        """A ping came: from now on this server's silence counts, on every connection."""
        self._check("pinged")
        self._silence_seconds = _clamp(
            PINGS_MISSED * interval_seconds, PINGS_MISSED * MIN_PING_SECONDS, MAX_SILENCE_SECONDS
        )
        self.deadline = now + self._silence_seconds

    def changed(self, now: float, states: Mapping[str, str]) -> None:
        """A state event of this account came: states by type."""
        self._check("changed")
        self.last_event_at = now
        self._hearing.tell(now, states)

    def looked(self, now: float, looks: Sequence[ReadState]) -> None:
        """A poll has succeeded; ``looks`` are what it read first and what it read after writing."""
        self._hearing.look(now, looks[0], is_open=self.status is PushStatus.CONNECTED)
        self._hearing.last = looks[-1]

    def deafened(self, now: float) -> None:
        """``deaf_at`` has come: the caller has cut the connection."""
        self._check("deafened")
        if self.deaf_at is None or now < self.deaf_at:
            raise RuntimeError(f"push: deafened at {now}, but that is due at {self.deaf_at}")
        self._hearing.deafened += 1
        self.is_routine = False
        if self._hearing.deafened < len(PATIENCE_SECONDS):
            at_once = self._has_lived(now)
            self._wait(
                now, 0.0 if at_once else self._failures.fail(), PushStatus.DISCONNECTED, UNTOLD
            )
        else:
            self._wait(now, UNAVAILABLE_SECONDS, PushStatus.UNAVAILABLE, DEAF)

    def timed_out(self, now: float) -> bool:
        """The server did not answer a poll's request. With some servers an open stream is the cause
        (seen: Cyrus 3.13.5 to 3.13.7). Returns whether the next step has changed; the caller then
        closes the stream if it is open."""
        if self.status is PushStatus.CONNECTED:
            self._is_aside = True
            self.is_routine = False
            error = STALLED if self._blockades < _BLOCKADES else BLOCKING
            self._wait(now, MAX_RETRY_SECONDS, PushStatus.DISCONNECTED, error)
            return True
        if self._is_aside:  # not the cause: polls time out without it too
            self._is_aside, self._blockades = False, 0
            self._wait(now, self._failures.fail(), PushStatus.DISCONNECTED, self.error)
            return True
        return False

    def worked(self, now: float, began: float) -> bool:
        """A poll that began at ``began`` got all its answers; returns the same as
        :meth:`timed_out`."""
        if self._is_aside and self.status is PushStatus.DISCONNECTED:
            self._is_aside = False
            self._blockades += 1
            if self._blockades < _BLOCKADES:
                self._wait(now, self._failures.fail(), PushStatus.DISCONNECTED, self.error)
            else:
                self._wait(now, UNAVAILABLE_SECONDS, PushStatus.UNAVAILABLE, BLOCKING)
            return True
        if self.connected_since is not None and self.connected_since <= began:
            self._blockades = 0
        return False

    def ended(
        self,
        now: float,
        error: str | None,
        retry_after: float | None = None,
        *,
        is_broken_off: bool = False,
    ) -> None:
        """The connection is gone: the server closed it (``error`` None), or it failed for that
        reason. ``retry_after`` is what the server asks for, in seconds.

        ``is_broken_off`` says that the connection itself has failed. In the middle of a stream that
        looks like a server's way to close it: Cyrus 3.10.2, after five minutes, ends TLS without a
        word (seen).

        All of it counts as an attempt: a server that answers and closes at once is not asked in a
        busy loop.
        """
        self._check("ended")
        is_stable = self._has_lived(now)
        if is_stable:
            self._failures.reset()
        self.is_routine = is_stable and (error is None or is_broken_off)
        self._wait(now, self._failures.fail(retry_after), PushStatus.DISCONNECTED, error)

    def expired(self, now: float) -> None:
        """``deadline`` has come: the caller has cut the connection, which counts as failed."""
        self._check("expired")
        if self.deadline is None or now < self.deadline:
            raise RuntimeError(f"push: expired at {now}, but the deadline is {self.deadline}")
        if self.status is PushStatus.CONNECTING:
            self.ended(now, f"no answer to the event stream for {ANSWER_SECONDS:g} s")
        else:
            self.ended(now, f"no byte on the event stream for {self._silence_seconds:g} s")

    def _has_lived(self, now: float) -> bool:
        since = self.connected_since
        return since is not None and now - since >= STABLE_SECONDS

    def _check(self, event: str) -> None:
        if self.status not in _POSSIBLE[event]:
            raise RuntimeError(f"push: {event} cannot happen while {self.status}")

    def _enter(self, status: PushStatus) -> None:
        self.status = status
        self.next_attempt_at = None
        self.deadline = None
        self.connected_since = None

    def _wait(self, now: float, seconds: float, status: PushStatus, error: str | None) -> None:
        self._enter(status)
        self.next_attempt_at = now + seconds
        self.error = error
        if status is PushStatus.UNAVAILABLE:
            self.down_since = None
        elif self.down_since is None:
            self.down_since = now


class _Hearing:
    """Whether an open stream reports changes.

    If a poll finds that the Email state changed between two looks, both made while the stream was
    open, the stream owes a report: some state event, whatever it says, must come after the earlier
    look and not too long after the later one. Changes of other types prove nothing, because not
    every server pushes them. Nor do our own writes: they come before the earlier look.
    """

    def __init__(self) -> None:
        self.last: ReadState | None = None
        self.deafened = 0  # connections in a row
        self._opened_at = inf
        self._told_at = -inf
        self._told_state: str | None = None
        self._types: set[str] = set()
        self._untold_since: float | None = None
        # Twice the longest delay that a late server has shown.
        self._lateness_seconds = 0.0

    @property
    def deaf_at(self) -> float | None:
        if self._untold_since is None:
            return None
        patience = PATIENCE_SECONDS[min(self.deafened, len(PATIENCE_SECONDS) - 1)]
        return self._untold_since + max(patience, self._lateness_seconds)

    def begin(self, now: float) -> None:
        self._opened_at = now
        self._untold_since = None

    def tell(self, now: float, states: Mapping[str, str]) -> None:
        is_known = self.last is not None and states.get("Email") in (None, self.last.state)
        is_greeting = is_known and now - self._opened_at < _GREETING_SECONDS
        self._types.update(states)
        self._told_at, self._told_state = now, states.get("Email")
        if self._untold_since is not None:
            lateness = now - self._untold_since
            self._lateness_seconds = min(
                max(self._lateness_seconds, 2 * lateness), PATIENCE_SECONDS[-1]
            )
            self._untold_since = None
        elif is_greeting:
            return
        self.deafened = 0

    def look(self, now: float, look: ReadState, *, is_open: bool) -> None:
        last = self.last
        tells_of_mail = not self._types or "Email" in self._types
        if not is_open or last is None or look.state == last.state or not tells_of_mail:
            return
        # The echo, an event with the last look's own state, says nothing about a later change.
        is_told = self._told_at >= last.at and self._told_state != last.state
        if self._opened_at <= last.at and not is_told and self._untold_since is None:
            self._untold_since = now


def _clamp(value: float, least: float, most: float) -> float:
    return min(max(value, least), most)
