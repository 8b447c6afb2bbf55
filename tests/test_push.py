"""When to connect, when to give up: the rules one by one, then any course of events."""

import math
from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mailroom.rules.polling.push import (
    ANSWER_SECONDS,
    BLOCKING,
    DEAF,
    MAX_EVENT_ID_CHARACTERS,
    MAX_SILENCE_SECONDS,
    STABLE_SECONDS,
    STALLED,
    Push,
    PushStatus,
    ReadState,
)


def no_jitter() -> float:
    return 0.0


def fresh() -> Push:
    return Push(0.0, no_jitter)


def connecting(push: Push | None = None) -> Push:
    push = push or fresh()
    assert push.next_attempt_at is not None
    push.attempt_started(push.next_attempt_at)
    return push


def connected(now: float = 0.0, push: Push | None = None) -> Push:
    push = connecting(push)
    push.opened(now)
    return push


def unavailable() -> Push:
    push = connecting()
    push.refused(0.0, 204)
    return push


def waits(course: Callable[[Push, float], None], attempts: int = 8) -> list[float]:
    """How long the stream waits after each of ``attempts`` that go by ``course``."""
    push, delays = fresh(), []
    for _ in range(attempts):
        begin = push.next_attempt_at
        assert begin is not None
        push.attempt_started(begin)
        course(push, begin)
        assert push.next_attempt_at is not None
        delays.append(round(push.next_attempt_at - begin, 3))
    return delays


def opens_and_closes(push: Push, now: float) -> None:
    push.opened(now)
    push.ended(now, None)


def advises_and_closes(retry_seconds: float) -> Callable[[Push, float], None]:
    def course(push: Push, now: float) -> None:
        push.opened(now)
        push.heard(now, retry_seconds=retry_seconds)
        push.ended(now, None)

    return course


def refuses(status: int, retry_after: float | None = None) -> Callable[[Push, float], None]:
    return lambda push, now: push.refused(now, status, retry_after)


MINUTES = [60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 3600.0, 3600.0]
DOUBLING = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


@pytest.mark.parametrize(
    ("rule_", "course", "delays"),
    [
        ("no connection", lambda push, now: push.ended(now, "connection refused"), DOUBLING),
        ("an error of the server", refuses(500), DOUBLING),
        ("a wrong address", refuses(404), DOUBLING),
        ("a clean end counts as an attempt", opens_and_closes, DOUBLING),
        ("too many requests", refuses(429, 7), [7.0, 7, 7, 8, 16, 32, 60, 60]),
        ("unavailable for longer than a minute", refuses(503, 300), [300.0] * 8),
        ("Retry-After 0 is no licence to hammer", refuses(503, 0), DOUBLING),
        ("credentials refused: by the minute", refuses(401), MINUTES),
        ("forbidden: by the minute", refuses(403), MINUTES),
        ("no push here: hourly", refuses(204), [3600.0] * 8),
        ("retry is the base", advises_and_closes(5), [5.0, 10, 20, 40, 60, 60, 60, 60]),
        ("retry 0 means a second", advises_and_closes(0), DOUBLING),
        ("retry means a minute at most", advises_and_closes(math.inf), [60.0] * 8),
    ],
)
def test_how_long_to_wait_after(
    rule_: str, course: Callable[[Push, float], None], delays: list[float]
) -> None:
    assert waits(course) == delays, rule_


@pytest.mark.parametrize(
    ("lived", "delay"), [(0.0, 8.0), (STABLE_SECONDS - 0.1, 8.0), (STABLE_SECONDS, 1.0)]
)
@pytest.mark.parametrize("error", [None, "connection reset"])
def test_the_backoff_resets_only_after_a_connection_has_lived(
    lived: float, delay: float, error: str | None
) -> None:
    push = fresh()
    for _ in range(3):
        now = push.next_attempt_at
        assert now is not None
        push.attempt_started(now)
        push.ended(now, "connection refused")
    begin = push.next_attempt_at
    assert begin is not None
    connected(begin, push)
    push.ended(begin + lived, error)
    assert push.next_attempt_at == begin + lived + delay


def test_credentials_that_are_accepted_again_are_not_held_against_later() -> None:
    push = connecting()
    push.refused(0.0, 401)
    connecting(push).refused(60.0, 401)
    assert push.next_attempt_at == 180.0
    connected(180.0, push).ended(300.0, None)
    connecting(push).refused(301.0, 401)
    assert push.next_attempt_at == 361.0


def test_chance_shortens_the_wait() -> None:
    push = Push(0.0, lambda: 0.5)
    connecting(push).ended(0.0, "connection refused")
    assert push.next_attempt_at == 0.9


def test_an_answer_is_waited_for_only_so_long() -> None:
    push = connecting()
    assert push.deadline == ANSWER_SECONDS
    push.expired(ANSWER_SECONDS)
    assert push.status is PushStatus.DISCONNECTED
    assert push.error == "no answer to the event stream for 45 s"
    assert push.next_attempt_at == ANSWER_SECONDS + 1


def test_a_server_that_never_pinged_may_be_silent_for_half_an_hour() -> None:
    push = connected(5.0)
    assert push.deadline == 5.0 + MAX_SILENCE_SECONDS
    push.heard(100.0)
    assert push.deadline == 100.0 + MAX_SILENCE_SECONDS


@pytest.mark.parametrize(
    ("interval", "silence"),
    [(30.0, 75.0), (3.0, 7.5), (0.001, 2.5), (700.0, 1750.0), (9999.0, MAX_SILENCE_SECONDS)],
)
def test_a_server_that_pings_may_miss_two_and_a_half(interval: float, silence: float) -> None:
    push = connected()
    push.heard(10.0)
    push.pinged(10.0, interval)
    assert push.deadline == 10.0 + silence
    push.heard(11.0)
    assert push.deadline == 11.0 + silence


def test_a_ping_on_any_connection_counts_for_all_later_ones() -> None:
    push = connected()
    push.pinged(10.0, 30.0)
    push.ended(20.0, None)
    connected(21.0, push)
    assert push.deadline == 21.0 + 75.0
    push.expired(96.0)
    assert push.error == "no byte on the event stream for 75 s"
    assert push.status is PushStatus.DISCONNECTED


def test_the_newest_interval_counts() -> None:
    push = connected()
    push.pinged(10.0, 3.0)
    push.pinged(11.0, 30.0)
    assert push.deadline == 11.0 + 75.0


def test_what_the_health_view_tells() -> None:
    push = fresh()

    def view() -> tuple[str, float | None, float | None, int, str | None]:
        return (
            push.status.value,
            push.connected_since,
            push.last_event_at,
            push.reconnect_count,
            push.error,
        )

    assert view() == ("disconnected", None, None, 0, None)
    push.attempt_started(0.0)
    assert view() == ("connecting", None, None, 0, None)
    push.opened(0.5)
    assert view() == ("connected", 0.5, None, 0, None)
    push.changed(3.0, {"Email": "1"})
    assert view() == ("connected", 0.5, 3.0, 0, None)
    push.ended(4.0, "connection reset")
    assert view() == ("disconnected", None, 3.0, 0, "connection reset")
    push.attempt_started(5.0)
    assert view() == ("connecting", None, 3.0, 0, "connection reset")
    push.opened(5.5)
    assert view() == ("connected", 5.5, 3.0, 1, None)
    push.ended(6.0, None)
    assert view() == ("disconnected", None, 3.0, 1, None)
    push.attempt_started(8.0)
    push.refused(8.1, 503)
    refused = "the server answered with HTTP 503 instead of an event stream"
    assert view() == ("disconnected", None, 3.0, 1, refused)
    push.attempt_started(99.0)
    push.refused(99.1, 204)
    assert view() == ("unavailable", None, 3.0, 1, "the server offers no push")


def test_it_is_told_since_when_push_is_down() -> None:
    push = fresh()
    told = [push.down_since]
    connected(push=push)
    told.append(push.down_since)
    push.ended(90.0, "gone")
    told.append(push.down_since)
    connecting(push).ended(95.0, "refused")
    told.append(push.down_since)
    assert told == [0.0, None, 90.0, 90.0]  # an attempt that fails changes nothing
    assert unavailable().down_since is None  # what is not there is not down


def test_the_last_event_id_survives_a_lost_connection() -> None:
    push = connected()
    push.heard(1.0, "41")
    push.ended(2.0, "connection reset")
    assert push.last_event_id == "41"


@pytest.mark.parametrize("status", [204, 400, 503])
def test_a_refusal_takes_the_last_event_id_away(status: int) -> None:
    push = connected()
    push.heard(1.0, "41")
    push.ended(2.0, None)
    connecting(push).refused(3.0, status)
    assert push.last_event_id == ""


def test_an_id_too_long_for_a_header_is_not_sent() -> None:
    push = connected()
    push.heard(1.0, "4" * MAX_EVENT_ID_CHARACTERS)
    assert len(push.last_event_id) == MAX_EVENT_ID_CHARACTERS
    push.heard(1.0, "4" * (MAX_EVENT_ID_CHARACTERS + 1))
    assert push.last_event_id == ""


EVENTS: dict[str, Callable[[Push], None]] = {
    "attempt_started": lambda push: push.attempt_started(1e6),
    "opened": lambda push: push.opened(1e6),
    "refused": lambda push: push.refused(1e6, 500),
    "heard": lambda push: push.heard(1e6),
    "pinged": lambda push: push.pinged(1e6, 30.0),
    "changed": lambda push: push.changed(1e6, {"Email": "1"}),
    "ended": lambda push: push.ended(1e6, None),
    "expired": lambda push: push.expired(1e6),
}


@pytest.mark.parametrize(
    ("made", "possible"),
    [
        (fresh, {"attempt_started"}),
        (unavailable, {"attempt_started"}),
        (connecting, {"opened", "refused", "ended", "expired"}),
        (connected, {"heard", "pinged", "changed", "ended", "expired"}),
    ],
)
@pytest.mark.parametrize("event", EVENTS)
def test_what_cannot_happen_raises_and_names_event_and_status(
    made: Callable[[], Push], possible: set[str], event: str
) -> None:
    push = made()
    status = push.status
    if event in possible:
        EVENTS[event](push)
    else:
        with pytest.raises(RuntimeError, match=f"push: {event} cannot happen while {status}"):
            EVENTS[event](push)
        assert push.status is status


def test_nothing_comes_before_its_time() -> None:
    push = connecting()
    with pytest.raises(RuntimeError, match="deadline is 45"):
        push.expired(44.9)
    push.ended(1.0, None)
    with pytest.raises(RuntimeError, match=r"due at 2\.0"):
        push.attempt_started(1.9)


# What polls find of the stream


def at(*looks: tuple[float, str]) -> list[ReadState]:
    return [ReadState(when, state) for when, state in looks]


def deaf(push: Push, now: float) -> float:
    """Let a poll look, another find a change that the stream does not tell; when that is proven."""
    push.looked(now, at((now, f"{now}")))
    push.looked(now + 60.0, at((now + 60.0, f"{now + 60}")))
    assert push.deaf_at is not None
    return push.deaf_at


def test_a_change_that_is_untold_for_five_seconds_proves_the_stream_deaf() -> None:
    push = connected()
    push.looked(1.0, at((1.0, "a")))
    push.looked(61.2, at((61.0, "b")))
    assert push.deaf_at == 66.2
    with pytest.raises(RuntimeError, match=r"deafened at 66\.1"):
        push.deafened(66.1)
    push.deafened(66.2)
    assert (push.status, push.next_attempt_at) == (PushStatus.DISCONNECTED, 66.2)


def test_the_third_time_it_is_said_to_tell_nothing_and_asked_hourly() -> None:
    push, now, patience = connected(), 0.0, []
    for _ in range(4):
        proven = deaf(push, now)
        patience.append(proven - now - 60.0)
        push.deafened(proven)
        waits_for = push.next_attempt_at
        assert waits_for is not None
        if len(patience) < 3:
            assert waits_for == proven
        else:
            assert (push.status, push.error) == (PushStatus.UNAVAILABLE, DEAF)
            assert waits_for == proven + 3600.0
        connected(now := waits_for, push)
    assert patience == [5.0, 30.0, 75.0, 75.0]


@pytest.mark.parametrize(
    ("rule_", "events", "looks"),
    [
        ("nothing has changed", [], [(1.0, "a"), (61.0, "a")]),
        ("the change was told before the poll", [(60.9, "b")], [(1.0, "a"), (61.0, "b")]),
        ("and has moved on since", [(60.9, "b")], [(1.0, "a"), (61.0, "c")]),
        ("it was told by another type", [(60.9, None)], [(1.0, "a"), (61.0, "b")]),
        ("the first poll knows of nothing before", [], [(61.0, "b")]),
        ("the stream was opened in between", [], [(-1.0, "a"), (61.0, "b")]),
    ],
)
def test_a_stream_is_not_deaf_when(
    rule_: str, events: list[tuple[float, str | None]], looks: list[tuple[float, str]]
) -> None:
    push = connected()
    for look in at(*looks):
        for when, state in events:
            if when < look.at:
                push.changed(when, {"Email": state} if state else {"Mailbox": "9"})
        events = [event for event in events if event[0] >= look.at]
        push.looked(look.at, [look])
    assert push.deaf_at is None, rule_


def test_what_the_service_has_written_itself_proves_nothing() -> None:
    push = connected()
    push.looked(1.0, at((1.0, "a")))
    push.changed(60.5, {"Email": "b"})
    push.looked(62.0, at((61.0, "b"), (61.9, "d")))
    push.looked(122.0, at((122.0, "d")))
    assert push.deaf_at is None


def test_the_echo_of_that_does_not_tell_of_the_change_after_it() -> None:
    push = connected()
    push.looked(2.0, at((1.0, "b"), (1.9, "d")))
    push.changed(2.5, {"Email": "d"})
    push.looked(62.0, at((62.0, "e")))
    assert push.deaf_at == 67.0


def test_a_late_event_is_waited_for_and_so_is_the_next() -> None:
    push = connected()
    assert deaf(push, 1.0) == 66.0
    push.changed(65.0, {"Email": "b"})
    assert push.deaf_at is None
    assert deaf(push, 101.0) == 161.0 + 2 * 4.0


def test_a_server_that_looks_once_a_minute_is_not_taken_for_deaf() -> None:
    """It is, twice, before it has shown how late it is."""
    push, now = connected(), 0.0
    for _ in range(2):
        push.deafened(proven := deaf(push, now))
        connected(now := proven, push)
    assert deaf(push, now) > now + 120.0
    push.changed(now + 120.0, {"Email": "late"})
    for _ in range(10):
        now += 1000.0
        assert deaf(push, now) >= now + 60.0 + 75.0
        push.changed(now + 119.0, {"Email": f"late {now}"})


def test_a_stream_that_tells_a_change_in_time_is_trusted_as_at_first() -> None:
    push = connected()
    push.deafened(proven := deaf(push, 0.0))
    connected(proven, push)
    was_suspect = push.is_suspect
    push.changed(proven + 100.0, {"Email": "b"})
    assert (was_suspect, push.is_suspect) == (True, False)
    assert deaf(push, proven + 200.0) == proven + 260.0 + 5.0


def test_what_it_tells_right_at_the_beginning_proves_no_hearing() -> None:
    """A server that greets with its states, and tells no more."""
    push, now = connected(), 0.0
    for _ in range(3):
        push.changed(now + 0.1, {"Email": f"{now}"})
        push.looked(now + 1.0, at((now + 1.0, f"{now}")))
        push.looked(now + 61.0, at((now + 61.0, f"{now + 61}")))
        assert push.deaf_at is not None
        push.looked(now + 62.0, at((now + 62.0, f"{now + 200}")))
        push.deafened(now := push.deaf_at)
        if push.status is PushStatus.DISCONNECTED:
            connected(now, push)
            push.looked(now, at((now, f"{now}")))
    assert push.error == DEAF


def test_a_server_that_never_tells_of_mail_is_not_held_to_it() -> None:
    push = connected()
    push.changed(1.0, {"Mailbox": "1"})
    push.looked(2.0, at((2.0, "a")))
    push.looked(62.0, at((62.0, "b")))
    assert push.deaf_at is None


def test_a_stream_beside_which_polls_time_out_twice_is_left_closed() -> None:
    push = connected()
    assert push.timed_out(30.0)
    assert (push.status, push.error) == (PushStatus.DISCONNECTED, STALLED)
    push.worked(32.0, 31.0)
    assert push.next_attempt_at == 33.0
    connected(33.0, push)
    assert push.timed_out(62.0)
    push.worked(64.0, 63.0)
    assert (push.status, push.error) == (PushStatus.UNAVAILABLE, BLOCKING)
    assert push.next_attempt_at == 64.0 + 3600.0
    connected(push.next_attempt_at, push)
    assert push.timed_out(3700.0)
    push.worked(3702.0, 3701.0)
    assert (push.status, push.error) == (PushStatus.UNAVAILABLE, BLOCKING), "once is enough then"


def test_of_the_polls_that_work_without_the_stream_only_the_first_counts_against_it() -> None:
    push = connected()
    push.timed_out(30.0)
    assert push.worked(32.0, 31.0)
    assert not push.worked(32.5, 32.2)
    assert (push.status, push.next_attempt_at) == (PushStatus.DISCONNECTED, 33.0)


def test_a_server_that_is_silent_without_a_stream_as_well_is_an_outage() -> None:
    push = connected()
    assert push.timed_out(30.0)
    push.worked(32.0, 31.0)
    connected(33.0, push)
    assert push.timed_out(63.0)
    assert push.timed_out(94.0), "the next attempt is another"
    assert not push.timed_out(94.0)
    assert push.next_attempt_at == 96.0
    push.worked(94.5, 94.2)
    connected(96.0, push)
    assert push.timed_out(126.0)
    push.worked(128.0, 127.0)
    assert push.status is PushStatus.DISCONNECTED, "this counts as the first time"


def test_a_poll_that_works_beside_the_stream_acquits_it() -> None:
    push = connected()
    push.timed_out(30.0)
    push.worked(32.0, 31.0)
    connected(33.0, push)
    push.worked(34.0, 33.5)
    push.timed_out(90.0)
    push.worked(92.0, 91.0)
    assert push.status is PushStatus.DISCONNECTED


class Connections(RuleBasedStateMachine):
    """Any course of connections: there is always exactly one thing to wait for, it lies ahead,
    and whatever the server does it is not asked more than a few times a minute."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.push = fresh()
        self.attempts: list[float] = []
        self.opened = 0

    @rule(seconds=st.integers(0, 400).map(lambda quarters: quarters / 4))
    def time_passes(self, seconds: float) -> None:
        """Up to the next deadline, which is kept as the loop would keep it."""
        self.now += seconds
        if self.push.deadline is not None and self.push.deadline <= self.now:
            self.now = self.push.deadline
            self.push.expired(self.now)

    @precondition(lambda self: self.push.next_attempt_at is not None)
    @rule()
    def attempt(self) -> None:
        self.now = max(self.now, self.push.next_attempt_at or 0.0)
        self.push.attempt_started(self.now)
        self.attempts.append(self.now)

    @precondition(lambda self: self.push.status is PushStatus.CONNECTING)
    @rule()
    def open(self) -> None:
        self.push.opened(self.now)
        self.opened += 1

    @precondition(lambda self: self.push.status is PushStatus.CONNECTING)
    @rule(
        status=st.sampled_from([204, 301, 400, 401, 403, 429, 500, 503]),
        retry_after=st.none() | st.integers(-10, 10_000),
    )
    def refuse(self, status: int, retry_after: int | None) -> None:
        self.push.refused(self.now, status, retry_after)
        assert self.push.next_attempt_at is not None
        assert self.push.next_attempt_at >= self.now + min(retry_after or 0, 3600)

    @precondition(lambda self: self.push.status in (PushStatus.CONNECTING, PushStatus.CONNECTED))
    @rule(error=st.none() | st.just("connection reset"))
    def end(self, error: str | None) -> None:
        self.push.ended(self.now, error)

    @precondition(lambda self: self.push.status is PushStatus.CONNECTED)
    @rule(
        identity=st.text(max_size=3), retry=st.none() | st.sampled_from([0.0, 2.5, 60.0, math.inf])
    )
    def hear(self, identity: str, retry: float | None) -> None:
        self.push.heard(self.now, identity, retry)

    @rule(first=st.integers(0, 3), then=st.integers(0, 3))
    def poll_works(self, first: int, then: int) -> None:
        self.push.looked(
            self.now, [ReadState(self.now, str(first)), ReadState(self.now, str(then))]
        )
        self.push.worked(self.now, self.now)

    @rule()
    def poll_times_out(self) -> None:
        was_open = self.push.status is PushStatus.CONNECTED
        assert self.push.timed_out(self.now) or not was_open

    @precondition(lambda self: self.push.deaf_at is not None)
    @rule()
    def judge(self) -> None:
        self.now = max(self.now, self.push.deaf_at or 0.0)
        self.push.deafened(self.now)

    @precondition(lambda self: self.push.status is PushStatus.CONNECTED)
    @rule(state=st.integers(0, 3))
    def tell(self, state: int) -> None:
        self.push.changed(self.now, {"Email": str(state)})

    @precondition(lambda self: self.push.status is PushStatus.CONNECTED)
    @rule(interval=st.integers(1, 86_400))
    def ping(self, interval: int) -> None:
        self.push.pinged(self.now, interval)

    @invariant()
    def there_is_one_thing_to_wait_for_and_it_comes(self) -> None:
        attempt, deadline = self.push.next_attempt_at, self.push.deadline
        assert (attempt is None) is not (deadline is None)
        if attempt is not None:
            assert attempt - self.now <= 3600.0
        if deadline is not None:
            assert self.now <= deadline <= self.now + MAX_SILENCE_SECONDS

    @invariant()
    def the_view_agrees_with_the_status(self) -> None:
        push = self.push
        assert (push.connected_since is not None) is (push.status is PushStatus.CONNECTED)
        assert (push.deadline is not None) is (
            push.status in (PushStatus.CONNECTED, PushStatus.CONNECTING)
        )
        assert push.reconnect_count == max(0, self.opened - 1)

    @invariant()
    def a_minute_sees_few_attempts(self) -> None:
        """At 0, 1, 3, 7, 15 and 31 s: six."""
        recent = [at for at in self.attempts if at > self.now - 60]
        assert len(recent) <= 6


TestConnections = Connections.TestCase
TestConnections.settings = settings(max_examples=40, stateful_step_count=60)
