"""What to do about the push stream: when to connect, how long to trust its silence.

A pure state machine (docs/behaviour.md, "Push"): it is told events and times, and answers when to
try next and when to give up. All times are seconds of CLOCK_BOOTTIME.
"""

from enum import StrEnum

from mailroom.rules.backoff import Backoff, Jitter

# A server may hold its answer back until the first ping, which we ask for after 30 s.
ANSWER_SECONDS = 45.0
# What a live stream must survive before the failures that went before it are forgotten.
STABLE_SECONDS = 60.0
# One ping may be late and one lost on the way before the peer counts as dead.
PINGS_MISSED = 2.5
# A server that pings in fractions of a second does not get to see us cut it off as fast.
MIN_PING_SECONDS = 1.0
# A server that never pinged is cut all the same, should TCP keepalive be answered by a proxy.
MAX_SILENCE_SECONDS = 30 * 60.0
# 204: no push here. It may be switched on some day.
UNAVAILABLE_SECONDS = 3600.0
MIN_RETRY_SECONDS, MAX_RETRY_SECONDS = 1.0, 60.0
# A longer id would be refused as a header; the poll after reconnecting does without it.
MAX_EVENT_ID_CHARACTERS = 1024

_NO_CONTENT = 204
_CREDENTIALS_REFUSED = (401, 403)


class Status(StrEnum):
    """The state of the stream, in the words of ``/healthz``."""

    DISCONNECTED = "disconnected"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    UNAVAILABLE = "unavailable"


# Everything that can happen, by event: the status that it can happen in.
_POSSIBLE = {
    "attempt_started": (Status.DISCONNECTED, Status.UNAVAILABLE),
    "opened": (Status.CONNECTING,),
    "refused": (Status.CONNECTING,),
    "heard": (Status.CONNECTED,),
    "pinged": (Status.CONNECTED,),
    "changed": (Status.CONNECTED,),
    "ended": (Status.CONNECTING, Status.CONNECTED),
    "expired": (Status.CONNECTING, Status.CONNECTED),
}


class Push:
    """The stream of one account, over all its connections. The first is due at ``now``.

    status           -- see Status
    next_attempt_at  -- when to connect; None while connecting or connected
    deadline         -- when to give the connection up as dead; None while there is none
    connected_since, last_event_at -- instants, or None
    reconnect_count  -- connections opened after the first
    error            -- why there is no connection, in words, or None
    is_routine       -- the last connection has lived, and the server has closed it in order (Cyrus
                        does so every 5 minutes)
    last_event_id    -- what to send as Last-Event-ID; empty: nothing

    An event that cannot happen in the present status is a bug of the caller: RuntimeError.
    """

    def __init__(self, now: float, jitter: Jitter) -> None:
        self.status = Status.DISCONNECTED
        self.next_attempt_at: float | None = now
        self.deadline: float | None = None
        self.connected_since: float | None = None
        self.last_event_at: float | None = None
        self.last_event_id = ""
        self.error: str | None = None
        self.is_routine = False
        self._connections = 0
        self._silence_seconds = MAX_SILENCE_SECONDS
        self._failures = Backoff(jitter)
        # Refused credentials are asked about in minutes: servers ban who insists (Stalwart).
        self._refusals = Backoff(jitter, base=60.0, cap=3600.0)

    @property
    def reconnect_count(self) -> int:
        return max(0, self._connections - 1)

    def attempt_started(self, now: float) -> None:
        """A request for the stream is on its way; not to be called before ``next_attempt_at``."""
        self._check("attempt_started")
        if self.next_attempt_at is None or now < self.next_attempt_at:
            raise RuntimeError(f"push: attempt_started at {now}, due at {self.next_attempt_at}")
        self._enter(Status.CONNECTING)
        self.deadline = now + ANSWER_SECONDS

    def opened(self, now: float) -> None:
        """The server answered with an event stream."""
        self._check("opened")
        self._enter(Status.CONNECTED)
        self.connected_since = now
        self.deadline = now + self._silence_seconds
        self.error = None
        self._connections += 1
        self._refusals.reset()

    def refused(self, now: float, status: int, retry_after: float | None = None) -> None:
        """The server answered with anything else: HTTP ``status``, Retry-After in seconds."""
        self._check("refused")
        self.is_routine = False
        # Should the id be what the server dislikes, the next attempt is free of it.
        self.last_event_id = ""
        if status == _NO_CONTENT:
            self._wait(now + UNAVAILABLE_SECONDS, Status.UNAVAILABLE, "the server offers no push")
            return
        backoff = self._refusals if status in _CREDENTIALS_REFUSED else self._failures
        self._wait(
            now + backoff.fail(retry_after),
            Status.DISCONNECTED,
            f"the server answered with HTTP {status} instead of an event stream",
        )

    def heard(
        self, now: float, last_event_id: str = "", retry_seconds: float | None = None
    ) -> None:
        """Bytes came, whatever they say; with what the parser holds after reading them."""
        self._check("heard")
        self.deadline = now + self._silence_seconds
        self.last_event_id = last_event_id if len(last_event_id) <= MAX_EVENT_ID_CHARACTERS else ""
        if retry_seconds is not None:
            self._failures.base = _clamp(retry_seconds, MIN_RETRY_SECONDS, MAX_RETRY_SECONDS)

    def pinged(self, now: float, interval_seconds: float) -> None:
        """A ping came: from now on, on every connection, this server's silence means something."""
        self._check("pinged")
        self._silence_seconds = _clamp(
            PINGS_MISSED * interval_seconds, PINGS_MISSED * MIN_PING_SECONDS, MAX_SILENCE_SECONDS
        )
        self.deadline = now + self._silence_seconds

    def changed(self, now: float) -> None:
        """A state event of this account came."""
        self._check("changed")
        self.last_event_at = now

    def ended(self, now: float, error: str | None, retry_after: float | None = None) -> None:
        """The connection is gone: closed by the server (``error`` None) or failed, and why.
        ``retry_after`` is the server's wish in seconds.

        Both count as an attempt: a server that answers and closes at once is not asked again
        and again.
        """
        self._check("ended")
        since = self.connected_since
        is_stable = since is not None and now - since >= STABLE_SECONDS
        if is_stable:
            self._failures.reset()
        self.is_routine = is_stable and error is None
        self._wait(now + self._failures.fail(retry_after), Status.DISCONNECTED, error)

    def expired(self, now: float) -> None:
        """``deadline`` has come: the caller has cut the connection, which counts as failed."""
        self._check("expired")
        if self.deadline is None or now < self.deadline:
            raise RuntimeError(f"push: expired at {now}, but the deadline is {self.deadline}")
        if self.status is Status.CONNECTING:
            self.ended(now, f"no answer to the event stream for {ANSWER_SECONDS:g} s")
        else:
            self.ended(now, f"no byte on the event stream for {self._silence_seconds:g} s")

    def _check(self, event: str) -> None:
        if self.status not in _POSSIBLE[event]:
            raise RuntimeError(f"push: {event} cannot happen while {self.status}")

    def _enter(self, status: Status) -> None:
        self.status = status
        self.next_attempt_at = None
        self.deadline = None
        self.connected_since = None

    def _wait(self, until: float, status: Status, error: str | None) -> None:
        self._enter(status)
        self.next_attempt_at = until
        self.error = error


def _clamp(value: float, least: float, most: float) -> float:
    return min(max(value, least), most)
