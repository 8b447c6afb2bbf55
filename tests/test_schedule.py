"""When to poll, and why: timelines, then a machine that knows what a server would know."""

import heapq
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import inf

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mailroom.rules.polling.schedule import (
    GATHER_SECONDS,
    MAX_KNOWN_STATES,
    DuePoll,
    Schedule,
    Timing,
    Trigger,
)

TIMING = Timing()


def no_jitter() -> float:
    return 0.0


@dataclass(frozen=True, slots=True)
class Told:
    """Something the schedule is told at an instant; a mapping is the states of an event."""

    at: float
    what: str | Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Poll:
    """How a poll goes: it takes ``seconds``, and its closing request is sent ``read`` into it."""

    seconds: float = 0.2
    read: float = 0.1
    known: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    again: bool = False
    echo: Mapping[str, str] | None = None
    fails: bool = False
    retry_after: float | None = None


def email(state: int) -> dict[str, str]:
    return {"Email": str(state)}


def tell(schedule: Schedule, told: Told) -> None:
    match told.what:
        case "connected":
            schedule.connected(told.at)
        case "disconnected":
            schedule.disconnected(told.at)
        case "asked":
            schedule.asked(told.at)
        case str():
            raise AssertionError(told.what)
        case states:
            schedule.event(told.at, states)


def end(schedule: Schedule, poll: Poll, begin: float) -> None:
    now = begin + poll.seconds
    if poll.fails:
        schedule.poll_failed(now, poll.retry_after)
    else:
        schedule.poll_finished(now, begin + poll.read, poll.known, poll.again, poll.echo)


def polls_of(timeline: list[Told], polls: list[Poll], until: float) -> list[tuple[float, str]]:
    """Run the schedule from 0 to ``until``; when which polls began. ``polls`` say how they go,
    the last of them for all further ones. What is told at an instant comes before what is due."""
    schedule = Schedule(TIMING, no_jitter)
    schedule.started(0.0)
    begun: list[tuple[float, str]] = []
    running: tuple[float, Poll] | None = None
    waiting = list(timeline)
    now = 0.0
    while True:
        due = schedule.due()
        ends = running[0] + running[1].seconds if running else float("inf")
        starts = max(due.at, now) if due else float("inf")
        told = waiting[0].at if waiting else float("inf")
        now = min(ends, starts, told)
        if now > until:
            return begun
        if told == now:
            tell(schedule, waiting.pop(0))
        elif running and ends == now:
            end(schedule, running[1], running[0])
            running = None
        else:
            trigger = schedule.poll_started(now)
            running = now, polls[min(len(begun), len(polls) - 1)]
            begun.append((round(now, 3), trigger.value))


C0 = Told(0.0, "connected")
INSTANT = Poll(seconds=0, read=0)

# The rule; what is told; how the polls go; until when; the polls expected.
TIMELINES: list[tuple[str, list[Told], list[Poll], float, list[tuple[float, str]]]] = [
    (
        "without push, the interval counts from the end of a poll",
        [],
        [Poll(seconds=2)],
        130,
        [(0, "startup"), (62, "fallback"), (124, "fallback")],
    ),
    (
        "with push the regular poll is called scheduled",
        [C0],
        [Poll()],
        125,
        [(0, "startup"), (60.2, "scheduled"), (120.4, "scheduled")],
    ),
    (
        "a stream opened before the startup poll began needs none of its own",
        [C0],
        [Poll()],
        10,
        [(0, "startup")],
    ),
    (
        "nor one opened before its closing request was sent",
        [Told(0.05, "connected")],
        [Poll()],
        10,
        [(0, "startup")],
    ),
    (
        "one opened after that does: what came between is in no answer and no event",
        [Told(0.15, "connected")],
        [Poll()],
        10,
        [(0, "startup"), (0.2, "reconnect")],
    ),
    (
        "one opened between polls is followed by a poll at once",
        [Told(5, "connected")],
        [Poll()],
        10,
        [(0, "startup"), (5, "reconnect")],
    ),
    (
        "every reconnection is",
        [C0, Told(5, "disconnected"), Told(7, "connected"), Told(8, "disconnected")],
        [Poll()],
        70,
        [(0, "startup"), (7, "reconnect"), (67.2, "fallback")],
    ),
    (
        "the poll after it takes the place of a regular one that is due meanwhile",
        [C0, Told(60.1, "disconnected"), Told(61, "connected")],
        [Poll()],
        130,
        [(0, "startup"), (61, "reconnect"), (121.2, "scheduled")],
    ),
    (
        "a stream that does not return at once puts that off once, not with every attempt",
        [C0, Told(60.1, "disconnected"), Told(61, "disconnected"), Told(62, "disconnected")],
        [Poll()],
        100,
        [(0, "startup"), (62.1, "fallback")],
    ),
    (
        "and none that is due later",
        [C0, Told(30, "disconnected"), Told(59, "disconnected")],
        [Poll()],
        100,
        [(0, "startup"), (60.2, "fallback")],
    ),
    (
        "a tap is acted on after the quiet time",
        [C0, Told(5, email(7))],
        [Poll()],
        10,
        [(0, "startup"), (5.25, "push")],
    ),
    (
        "the quiet time counts from the newest event",
        [C0, Told(5, email(7)), Told(5.2, email(8)), Told(5.4, {"Mailbox": "3"})],
        [Poll()],
        10,
        [(0, "startup"), (5.65, "push")],
    ),
    (
        "a burst is waited for three seconds at most",
        [C0, *(Told(5 + i / 5, email(i)) for i in range(21))],
        [Poll(seconds=0.01, read=0)],
        60,
        [(0, "startup"), (8, "push"), (9.25, "push")],
    ),
    (
        "an event of nothing is nothing",
        [C0, Told(3, {}), Told(5, email(7)), Told(5.2, {})],
        [Poll()],
        10,
        [(0, "startup"), (5.25, "push")],
    ),
    (
        "an event before the closing request is covered by it",
        [C0, Told(5, email(7)), Told(5.3, email(8))],
        [Poll()],
        20,
        [(0, "startup"), (5.25, "push")],
    ),
    (
        "an event after it makes the next poll due",
        [C0, Told(5, email(7)), Told(5.4, email(8))],
        [Poll()],
        20,
        [(0, "startup"), (5.25, "push"), (5.65, "push")],
    ),
    (
        "one of the same instant may have come after it",
        [C0, Told(0.5, email(8))],
        [Poll(seconds=1, read=0.5)],
        15,
        [(0, "startup"), (1, "push")],
    ),
    (
        "and so may a stream",
        [Told(0.5, "connected")],
        [Poll(seconds=1, read=0.5)],
        15,
        [(0, "startup"), (1, "reconnect")],
    ),
    (
        "an event early in a long poll is due at its end",
        [C0, Told(1, email(8))],
        [Poll(seconds=9, read=0.5)],
        15,
        [(0, "startup"), (9, "push")],
    ),
    (
        "echoes after the end of the poll cause none",
        [C0, Told(5, email(7)), Told(6.4, email(9)), Told(6.5, {"Mailbox": "4", "Email": "9"})],
        [Poll(), Poll(known={"Email": ("7", "9"), "Mailbox": ("4",)})],
        50,
        [(0, "startup"), (5.25, "push")],
    ),
    (
        "echoes between the closing request and the end cause none",
        [C0, Told(5, email(7)), Told(5.4, email(9))],
        [Poll(), Poll(known={"Email": ("7", "9")})],
        50,
        [(0, "startup"), (5.25, "push")],
    ),
    (
        "states between, that no answer names, are settled by the newest",
        [C0, Told(5, email(7)), Told(5.4, email(50)), Told(5.5, email(60)), Told(5.6, email(90))],
        [Poll(), Poll(known={"Email": ("7", "90")})],
        50,
        [(0, "startup"), (5.25, "push")],
    ),
    (
        "one that is told in the middle of the closing request waits for the echo",
        [C0, Told(5, email(7)), Told(5.4, email(60)), Told(6.4, email(90))],
        [Poll(), Poll(known={"Email": ("7", "90")}, echo=email(90))],
        50,
        [(0, "startup"), (5.25, "push")],
    ),
    (
        "also one that comes right after its answer",
        [C0, Told(5, email(7)), Told(5.69, email(60)), Told(6.69, email(90))],
        [Poll(), Poll(known={"Email": ("7", "90")}, echo=email(90))],
        50,
        [(0, "startup"), (5.25, "push")],
    ),
    (
        "though not for ever: without an echo it is foreign",
        [C0, Told(5, email(7)), Told(5.4, email(91))],
        [Poll(), Poll(known=dict(Email=("7", "90")), echo=email(90)), Poll()],
        50,
        [(0, "startup"), (5.25, "push"), (6.95, "push")],
    ),
    (
        "nor longer than any burst",
        [C0, Told(5, email(7)), Told(6.0, email(91))],
        [
            Poll(),
            Poll(seconds=3, read=0.5, known=dict(Email=("7",)), echo=email(90)),
            Poll(known=dict(Email=("91",))),
        ],
        50,
        [(0, "startup"), (5.25, "push"), (9.0, "push")],
    ),
    (
        "which is counted from the closing request on",
        [C0, Told(5, email(7)), Told(5.3, email(8)), Told(9.2, email(60)), Told(10.2, email(90))],
        [Poll(), Poll(seconds=4, read=3.9, known=dict(Email=("7", "90")), echo=email(90))],
        50,
        [(0, "startup"), (5.25, "push")],
    ),
    (
        "what comes later waits for nothing",
        [C0, Told(5, email(7)), Told(5.4, email(60)), Told(5.71, email(91))],
        [Poll(), Poll(known=dict(Email=("7",)), echo=email(90)), Poll(known=dict(Email=("91",)))],
        50,
        [(0, "startup"), (5.25, "push"), (5.96, "push")],
    ),
    (
        "and after the echo all is news",
        [C0, Told(5, email(7)), Told(5.5, email(90)), Told(5.6, email(91))],
        [Poll(), Poll(known=dict(Email=("7", "90")), echo=email(90)), Poll()],
        50,
        [(0, "startup"), (5.25, "push"), (5.85, "push")],
    ),
    (
        "a label left over waits for no echo",
        [C0, Told(5, email(7)), Told(5.4, email(60))],
        [Poll(), Poll(known=dict(Email=("7",)), again=True, echo=email(90)), Poll()],
        50,
        [(0, "startup"), (5.25, "push"), (5.65, "push")],
    ),
    (
        "one known type does not excuse the other",
        [C0, Told(5, email(7)), Told(6, {"Email": "9", "Mailbox": "5"}), Told(6.1, email(9))],
        [Poll(), Poll(known={"Email": ("7", "9"), "Mailbox": ("4",)})],
        50,
        [(0, "startup"), (5.25, "push"), (6.35, "push")],
    ),
    (
        "a change after the echo is a change",
        [C0, Told(5, email(7)), Told(6, email(9)), Told(6.1, email(10))],
        [Poll(), Poll(known={"Email": ("7", "9")}), Poll(known={"Email": ("10",)})],
        50,
        [(0, "startup"), (5.25, "push"), (6.35, "push")],
    ),
    (
        "a state is known by its type",
        [C0, Told(5, {"Mailbox": "9"})],
        [Poll(known={"Email": ("9",)})],
        50,
        [(0, "startup"), (5.25, "push")],
    ),
    (
        "a state known from an earlier poll stays known",
        [C0, Told(65, email(7))],
        [Poll(known=dict(Email=("7",))), Poll(known=dict(Email=("8",)))],
        70,
        [(0, "startup"), (60.2, "scheduled")],
    ),
    (
        "a label left over is looked at once more, at once",
        [C0, Told(5, email(7))],
        [Poll(), Poll(known={"Email": ("7",)}, again=True, seconds=0.5), Poll()],
        50,
        [(0, "startup"), (5.25, "push"), (5.75, "push")],
    ),
    (
        "no echo takes that back",
        [C0, Told(5, email(7)), Told(5.74, email(7)), Told(5.8, email(7))],
        [Poll(), Poll(known={"Email": ("7",)}, again=True, seconds=0.5), Poll()],
        50,
        [(0, "startup"), (5.25, "push"), (6.05, "push")],
    ),
    (
        "without push it is a fallback poll",
        [],
        [Poll(again=True), Poll()],
        50,
        [(0, "startup"), (0.2, "fallback")],
    ),
    (
        "while events pour in, it waits with the burst",
        [C0, *(Told(5 + i / 20, email(i)) for i in range(100))],
        [Poll(), Poll(again=True), Poll()],
        30,
        [(0, "startup"), (8, "push"), (10.2, "push")],
    ),
    (
        "though not for ever",
        [C0, *(Told(5 + i / 20, email(i)) for i in range(123))],
        [Poll(), Poll(again=True), Poll()],
        11.1,
        [(0, "startup"), (8, "push"), (11.1, "push")],
    ),
    (
        "failed polls back off",
        [],
        [Poll(fails=True, seconds=0)] * 8 + [INSTANT],
        250,
        [(float(t), "startup") for t in (0, 1, 3, 7, 15, 31, 63, 123, 183)] + [(243, "fallback")],
    ),
    (
        "after a success the backoff begins anew",
        [],
        [Poll(fails=True, seconds=0)] * 2 + [INSTANT, Poll(fails=True, seconds=0), Poll()],
        64.5,
        [(0, "startup"), (1, "startup"), (3, "startup"), (63, "fallback"), (64, "fallback")],
    ),
    (
        "Retry-After is honoured",
        [],
        [Poll(fails=True, retry_after=17), Poll()],
        30,
        [(0, "startup"), (17.2, "startup")],
    ),
    (
        "an event does not bypass the backoff, but names the poll",
        [C0, Told(60.5, email(7))],
        [INSTANT, Poll(fails=True, seconds=0, retry_after=5), INSTANT],
        80,
        [(0, "startup"), (60, "scheduled"), (65, "push")],
    ),
    (
        "a reconnection does not either",
        [C0, Told(60.5, "disconnected"), Told(61, "connected")],
        [INSTANT, Poll(fails=True, seconds=0, retry_after=5), INSTANT],
        80,
        [(0, "startup"), (60, "scheduled"), (65, "reconnect")],
    ),
    (
        "the retry of a push poll is a push poll",
        [C0, Told(5, email(7))],
        [Poll(), Poll(fails=True, seconds=0), Poll()],
        20,
        [(0, "startup"), (5.25, "push"), (6.25, "push")],
    ),
    (
        "and an event does not put it off",
        [C0, Told(5, email(7)), Told(6.2, email(8))],
        [Poll(), Poll(fails=True, seconds=0), Poll()],
        20,
        [(0, "startup"), (5.25, "push"), (6.25, "push")],
    ),
    (
        "an event during a poll that fails waits for the retry",
        [C0, Told(5, email(7)), Told(5.3, email(8))],
        [Poll(), Poll(fails=True, retry_after=4), Poll()],
        20,
        [(0, "startup"), (5.25, "push"), (9.45, "push")],
    ),
    (
        "a person is not held up by the backoff, but their failed poll is",
        [Told(5, "asked")],
        [Poll(fails=True, retry_after=30), Poll(fails=True, retry_after=10), Poll()],
        40,
        [(0, "startup"), (5, "manual"), (15.2, "manual")],
    ),
    (
        "who asks during a poll gets one that begins after it",
        [Told(0.05, "asked")],
        [Poll()],
        40,
        [(0, "startup"), (0.2, "manual")],
    ),
    (
        "also when that poll fails",
        [Told(0.05, "asked")],
        [Poll(fails=True, retry_after=30), Poll()],
        40,
        [(0, "startup"), (0.2, "manual")],
    ),
    (
        "even when it was a manual one",
        [Told(5, "asked"), Told(5.1, "asked")],
        [Poll(), Poll(fails=True, retry_after=30), Poll()],
        40,
        [(0, "startup"), (5, "manual"), (5.2, "manual")],
    ),
    (
        "one poll answers all reasons, and is named for the first of the order",
        [C0, Told(5, email(7)), Told(5.2, "connected"), Told(5.2, "asked")],
        [Poll()],
        40,
        [(0, "startup"), (5.2, "manual")],
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("timeline", "polls", "until", "expected"),
    [pytest.param(*case[1:], id=case[0]) for case in TIMELINES],
)
def test_timeline(
    timeline: list[Told], polls: list[Poll], until: float, expected: list[tuple[float, str]]
) -> None:
    assert polls_of(timeline, polls, until) == expected


def test_nothing_is_due_before_anything_asks_for_a_poll_nor_while_one_runs() -> None:
    schedule = Schedule(TIMING, no_jitter)
    assert schedule.due() is None
    schedule.started(7.0)
    assert schedule.due() == DuePoll(7.0, Trigger.STARTUP)
    schedule.poll_started(7.5)
    schedule.event(7.6, email(1))
    schedule.asked(7.6)
    assert schedule.polling
    assert schedule.due() is None


def test_a_late_start_takes_in_what_has_come_up_meanwhile() -> None:
    schedule = Schedule(TIMING, no_jitter)
    schedule.started(0.0)
    schedule.poll_started(0.0)
    schedule.poll_finished(0.0, 0.0, {})
    schedule.connected(5.0)
    schedule.asked(6.0)
    assert schedule.due() == DuePoll(5.0, Trigger.RECONNECT)
    assert schedule.poll_started(6.0) is Trigger.MANUAL
    schedule.poll_finished(6.0, 6.0, {})
    assert schedule.due() == DuePoll(66.0, Trigger.SCHEDULED)


def test_backing_off_lasts_from_a_failure_to_the_next_poll() -> None:
    schedule = Schedule(TIMING, no_jitter)
    schedule.started(0.0)
    schedule.poll_started(0.0)
    schedule.poll_failed(1.0)
    assert (schedule.backing_off, schedule.failures) == (True, 1)
    schedule.poll_started(2.0)
    assert (schedule.backing_off, schedule.failures) == (False, 1)
    schedule.poll_finished(3.0, 2.0, {})
    assert (schedule.backing_off, schedule.failures) == (False, 0)


def test_what_cannot_happen_raises_and_says_what() -> None:
    schedule = Schedule(TIMING, no_jitter)
    with pytest.raises(RuntimeError, match="poll_started at 1"):
        schedule.poll_started(1.0)
    with pytest.raises(RuntimeError, match="poll_finished cannot happen"):
        schedule.poll_finished(1.0, 1.0, {})
    with pytest.raises(RuntimeError, match="poll_failed cannot happen"):
        schedule.poll_failed(1.0)
    schedule.started(5.0)
    with pytest.raises(RuntimeError, match=r"poll_started at 4\.9"):
        schedule.poll_started(4.9)
    schedule.poll_started(5.0)
    with pytest.raises(RuntimeError, match="poll_started"):
        schedule.poll_started(5.0)
    with pytest.raises(RuntimeError, match=r"cannot read at 4\.9"):
        schedule.poll_finished(6.0, 4.9, {})


def test_the_states_known_are_the_newest_few() -> None:
    schedule = Schedule(TIMING, no_jitter)
    schedule.started(0.0)
    schedule.poll_started(0.0)
    states = [str(i) for i in range(MAX_KNOWN_STATES + 1)]
    schedule.poll_finished(0.0, 0.0, {"Email": states})
    regular = schedule.due()
    for state in states[1:]:
        schedule.event(1.0, {"Email": state})
        assert schedule.due() == regular
    schedule.event(1.0, {"Email": states[0]})
    assert schedule.due() == DuePoll(1.25, Trigger.PUSH)


def test_a_state_that_is_read_again_counts_as_new() -> None:
    schedule = Schedule(TIMING, no_jitter)
    schedule.started(0.0)
    schedule.poll_started(0.0)
    states = [str(i) for i in range(MAX_KNOWN_STATES + 1)]
    schedule.poll_finished(0.0, 0.0, {"Email": [*states[:-1], states[0], states[-1]]})
    regular = schedule.due()
    schedule.event(1.0, {"Email": states[0]})
    assert schedule.due() == regular
    schedule.event(1.0, {"Email": states[1]})
    assert schedule.due() == DuePoll(1.25, Trigger.PUSH)


@given(
    gaps=st.lists(st.floats(0.01, 0.24), min_size=1, max_size=8),
    polls=st.lists(st.tuples(st.floats(0, 2), st.floats(0, 1), st.booleans()), min_size=1),
)
def test_a_storm_of_events_costs_one_poll_per_three_seconds(
    gaps: list[float], polls: list[tuple[float, float, bool]]
) -> None:
    timeline, at = [C0], 100.0
    for number, gap in enumerate(itertools.cycle(gaps)):
        timeline.append(Told(at := at + gap, email(number)))
        if at > 115:
            break
    ways = [INSTANT] * 2
    ways += [Poll(seconds=s, read=s * part, again=again) for s, part, again in polls]
    # After the last event there is no storm any more.
    begun = [when for when, _ in polls_of(timeline, ways, at) if when > 100]
    assert len(begun) >= 3
    for earlier, later in itertools.pairwise(begun):
        assert later - earlier > TIMING.debounce_seconds - 0.01


class Account(RuleBasedStateMachine):
    """A server whose only state is a number, changed by others and by our polls; every change
    that others make is a tap that must be seen. What the stream carries is delivered late, in
    order. The states 0 to ``_seen`` were there when a label query ran that we acted on.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.schedule = Schedule(TIMING, no_jitter)
        self.state = 0
        self.stream: list[int] | None = None
        self.foreign: set[int] = set()
        self.told: dict[int, float] = {}
        self.seen = -1
        self.newest_told = -1
        self.opening = -1
        self.written: list[int] = []
        self.known: set[int] = set()
        self.poll_began = 0.0
        self.backoff_until = 0.0
        self.failures = 0
        self.must_poll_since: float | None = None  # a reconnection, a request, a label left over

    @initialize()
    def start(self) -> None:
        self.schedule.started(self.now)
        self.must_poll_since = self.now

    # What others do.

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.1, 0.3, 1.0, 2.9, 10.0, 61.0]))
    def time_passes(self, seconds: float) -> None:
        """As in the service: what is due is not left lying."""
        until = self.now + seconds
        due = self.schedule.due()
        if due is not None:
            until = min(until, max(due.at, self.now))
        self.now = until

    @rule()
    def tap(self) -> None:
        self.state += 1
        self.foreign.add(self.state)
        self._push()

    @precondition(lambda self: self.stream is None)
    @rule()
    def connect(self) -> None:
        self.stream = []
        self.schedule.connected(self.now)
        if self.must_poll_since is None or self.schedule.polling:
            self.must_poll_since = self.now

    @precondition(lambda self: self.stream is not None)
    @rule()
    def disconnect(self) -> None:
        self.stream = None
        self.schedule.disconnected(self.now)

    @precondition(lambda self: self.stream)
    @rule(share=st.floats(0, 1))
    def deliver(self, share: float) -> None:
        """One event with the state as it was some changes later."""
        assert self.stream is not None
        index = int(share * (len(self.stream) - 1))
        state = self.stream[index]
        del self.stream[: index + 1]
        self.schedule.event(self.now, email(state))
        self.newest_told = state
        for change in self.foreign:
            if change <= state:
                self.told.setdefault(change, self.now)

    @rule()
    def ask(self) -> None:
        self.schedule.asked(self.now)

    # What a poll does.

    def _due_now(self) -> bool:
        due = self.schedule.due()
        return due is not None and due.at <= self.now

    @precondition(_due_now)
    @rule()
    def begin_poll(self) -> None:
        trigger = self.schedule.poll_started(self.now)
        assert trigger is Trigger.MANUAL or self.now >= self.backoff_until
        self.poll_began = self.now
        self.opening = self.state
        self.written = []
        self.must_poll_since = None

    @precondition(lambda self: self.schedule.polling)
    @rule()
    def write(self) -> None:
        """The answer names the state."""
        self.state += 1
        self.written.append(self.state)
        self._push()

    @precondition(lambda self: self.schedule.polling)
    @rule(
        tap_between=st.booleans(),
        tap_after=st.booleans(),
        deliveries=st.integers(0, 3),
        answer_takes=st.sampled_from([0.0, 0.1, 1.0]),
        steps=st.integers(0, 3),
    )
    def finish_poll(
        self, tap_between: bool, tap_after: bool, deliveries: int, answer_takes: float, steps: int
    ) -> None:
        """The closing request writes, with states in between, reads the state, then the labels;
        taps come between and after."""
        read_at = self.now
        for _ in range(steps):
            self.state += 1
            self._push()
        closing = self.state
        if tap_between:
            self.tap()
        shown = self.state
        again = any(self.opening < change <= shown for change in self.foreign)
        if tap_after:
            self.tap()
        for _ in range(deliveries):
            if self.stream:
                self.deliver(0.5)
        self.now += answer_takes
        self.known = {self.opening, *self.written, closing}
        self.schedule.poll_finished(
            self.now,
            read_at,
            {"Email": [str(state) for state in sorted(self.known)]},
            again,
            email(closing) if steps else None,
        )
        self.seen = shown
        self.failures = 0
        self.backoff_until = self.now
        if again:
            self.must_poll_since = self.now
        elif self.must_poll_since is not None and self.must_poll_since < read_at:
            self.must_poll_since = None

    @precondition(lambda self: self.schedule.polling)
    @rule(retry_after=st.sampled_from([None, 0.0, 5.0, 90.0]))
    def fail_poll(self, retry_after: float | None) -> None:
        self.schedule.poll_failed(self.now, retry_after)
        self.failures += 1
        delay = max(min(60.0, 2.0 ** (self.failures - 1)), retry_after or 0.0)
        self.backoff_until = self.now + delay
        self.must_poll_since = self.now

    def _push(self) -> None:
        if self.stream is not None:
            self.stream.append(self.state)

    # What must be true.

    def _limit(self, since: float) -> float:
        return max(since + TIMING.debounce_seconds, self.backoff_until)

    @invariant()
    def a_poll_is_due_unless_one_runs(self) -> None:
        due = self.schedule.due()
        assert (due is None) is self.schedule.polling
        if due is not None:
            assert due.at <= max(self.now, self.backoff_until) + TIMING.poll_interval
            fallback = due.trigger is Trigger.FALLBACK
            assert not fallback or self.stream is None

    @invariant()
    def every_tap_that_was_told_of_is_looked_for_in_time(self) -> None:
        due = self.schedule.due()
        for change, told_at in self.told.items():
            if due is not None and change > self.seen:
                assert due.at <= self._limit(told_at)

    @invariant()
    def what_calls_for_a_poll_gets_one(self) -> None:
        due = self.schedule.due()
        if due is not None and self.must_poll_since is not None:
            assert due.at <= self._limit(self.must_poll_since)

    @invariant()
    def our_own_writes_cause_no_poll(self) -> None:
        due = self.schedule.due()
        if due is None or self.must_poll_since is not None or self.failures:
            return
        if due.trigger is Trigger.PUSH:
            assert self.newest_told not in self.known


TestAccount = Account.TestCase
TestAccount.settings = settings(max_examples=40, stateful_step_count=60)


@dataclass(frozen=True, slots=True)
class Pace:
    """How a server and the way to it are. ``look`` is how often it looks for changes to tell, first
    at ``phase`` (0: it tells them at once); ``transit`` is one way, ``lag`` what an event takes
    more than an answer; a step of a writing call takes ``step``. All in seconds, but for ``steps``
    of one call."""

    look: float
    phase: float
    transit: float
    lag: float
    step: float
    steps: int


class Tapped:
    """An account to whose mail others do things, polled as the schedule says, with every request,
    every call in it, every step of a writing call, and every event at its own instant.

    A state is the number of changes so far; what others did is known by the state that it made. A
    ``tap`` is a label or a move; ``friend`` and ``stranger`` are mail that comes, one of which is
    where it belongs, depending on who screens; ``put`` is mail that was put into Screener; and
    ``read`` is a change that asks for nothing.
    """

    def __init__(self, pace: Pace, by: str, done: list[tuple[float, str]]) -> None:
        self.pace = pace
        self.schedule = Schedule(TIMING, no_jitter)
        self.now = 0.0
        self.state = self.told = 0
        self.labels: set[int] = set()
        self.foreign: dict[int, tuple[str, float]] = {}
        self.seen: dict[int, float] = {}
        #: The polls for an event that found nothing: the states that were new to them.
        self.empty_polls: list[set[int]] = []
        self.moved = {"put", "friend" if by == "server" else "stranger"}
        #: Up to where new mail has been dealt with, and what beyond it was, too.
        self.since, self.done = 0, set[int]()
        #: The last state after which all was looked for.
        self.looked = 0
        self._coming: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.schedule.connected(0.0)
        self.schedule.started(0.0)
        for instant, what in done:
            self.at(instant, partial(self._do, what))

    def run(self, until: float) -> None:
        while self.now <= until:
            due = self.schedule.due()
            ahead = self._coming[0][0] if self._coming else inf
            if due is not None and due.at < ahead:
                self.now = max(self.now, due.at)
                self._poll(self.schedule.poll_started(self.now))
            else:
                self.now, _, action = heapq.heappop(self._coming)
                action()

    def at(self, when: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._coming, (when, next(self._order), action))

    def _change(self) -> None:
        """The server looks at the first of its instants that comes."""
        self.state += 1
        if self.told == self.state - 1:
            past = (self.now - self.pace.phase) // self.pace.look + 1 if self.pace.look else 0
            look_at = self.pace.phase + past * self.pace.look if self.pace.look else self.now
            self.at(look_at, self._look)

    def _do(self, what: str) -> None:
        self._change()
        self.foreign[self.state] = what, self.now
        if what == "tap":
            self.labels.add(self.state)

    def _look(self) -> None:
        self.told = self.state
        event = email(self.state)
        arrives = self.now + self.pace.transit + self.pace.lag
        self.at(arrives, lambda: self.schedule.event(self.now, event))

    def new(self, since: int) -> set[int]:
        """What has come, or was put there, and was not dealt with."""
        kinds = {"friend", "stranger", "put"}
        new = {change for change, (what, _) in self.foreign.items() if what in kinds}
        return {change for change in new if since < change <= self.state} - self.done

    def _poll(self, trigger: Trigger) -> None:
        request = _Requests(self, trigger)
        self.at(self.now + self.pace.transit, request.states)

    def note_seen(self, changes: set[int]) -> None:
        for change in changes:
            self.seen.setdefault(change, self.now)

    def write(self, begin: float, then: Callable[[], None]) -> None:
        for number in range(self.pace.steps):
            self.at(begin + number * self.pace.step, self._change)
        self.at(begin + self.pace.steps * self.pace.step, then)


class _Requests:
    """One poll of it: each call is an action that knows the next."""

    def __init__(self, account: Tapped, trigger: Trigger) -> None:
        self._account, self._pace = account, account.pace
        self._is_pushed = trigger is Trigger.PUSH
        self._known: list[int] = []
        self._new: set[int] = set()
        self._found: set[int] = set()
        self._has_further = False
        self._sent_at = account.now
        # When the closing request was sent, and the state that it read.
        self._closing: tuple[float, int] | None = None

    def states(self) -> None:
        self._known.append(self._account.state)
        self._next(self._pace.step, self._changes)

    def _changes(self) -> None:
        account = self._account
        self._known.append(account.state)
        self._new = account.new(account.since)
        self._next(self._pace.step, self._query)

    def _query(self) -> None:
        account = self._account
        self._found = set(account.labels)
        account.note_seen(self._new)
        if self._is_pushed and not (self._found or self._new):
            account.empty_polls.append(set(range(account.looked + 1, account.state + 1)))
        account.looked = account.since = self._known[-1]
        account.done = self._new
        is_moving = any(account.foreign[each][0] in account.moved for each in self._new)
        then = self._sweep if self._found else self._close if is_moving else self._finish
        self._next(self._pace.transit, then)

    def _sweep(self) -> None:
        self._account.write(self._account.now + self._pace.transit, self._swept)

    def _swept(self) -> None:
        self._known.append(self._account.state)
        self._next(self._pace.transit, self._close)

    def _close(self) -> None:
        account = self._account
        sent_at = account.now
        account.write(sent_at + self._pace.transit, lambda: self._states_again(sent_at))

    def _states_again(self, sent_at: float) -> None:
        account = self._account
        self._closing = sent_at, account.state
        self._known.append(account.state)
        account.labels -= self._found
        self._next(self._pace.step, self._changes_again)

    def _changes_again(self) -> None:
        account = self._account
        self._known.append(account.state)
        self._has_further = bool(account.new(account.since))
        if not self._has_further:
            account.since = account.state
        account.looked = account.state
        self._next(self._pace.step, self._query_again)

    def _query_again(self) -> None:
        account = self._account
        account.note_seen(account.labels | self._found)
        self._has_further |= bool(account.labels)
        self._next(self._pace.transit, self._finish)

    def _finish(self) -> None:
        account = self._account
        sent_at, echo = self._sent_at, None
        if self._closing is not None:
            sent_at, echo = self._closing[0], email(self._closing[1])
        states = {"Email": [str(state) for state in self._known]}
        account.schedule.poll_finished(account.now, sent_at, states, self._has_further, echo)

    def _next(self, seconds: float, action: Callable[[], None]) -> None:
        self._account.at(self._account.now + seconds, action)


@given(
    pace=st.builds(
        Pace,
        look=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
        phase=st.floats(0, 1),
        transit=st.sampled_from([0.0, 0.001, 0.025, 0.1]),
        lag=st.floats(0, 0.2),
        step=st.sampled_from([0.0001, 0.001, 0.01, 0.03]),
        steps=st.integers(1, 5),
    ),
    by=st.sampled_from(["server", "mailroom"]),
    done=st.lists(
        st.tuples(
            st.one_of(st.floats(0, 0.05), st.floats(0, 1), st.floats(1, 8)),
            st.sampled_from(["tap", "friend", "stranger", "put", "read"]),
        ),
        min_size=1,
        max_size=6,
    ),
)
@example(  # an event that comes in the middle of a poll that has nothing to write
    pace=Pace(look=0.0, phase=0.0, transit=0.0, lag=0.0, step=0.001, steps=1),
    by="server",
    done=[(0.0, "stranger"), (0.251953125, "friend")],
)
@settings(max_examples=500)
def test_no_echo_costs_a_poll_and_nothing_foreign_is_taken_for_one(
    pace: Pace, by: str, done: list[tuple[float, str]]
) -> None:
    """Whenever the server looks, and whatever others do between any two calls of a request."""
    instants = itertools.accumulate(gap for gap, _ in done)
    whats = (what for _, what in done)
    account = Tapped(pace, by, [(10 + at, what) for at, what in zip(instants, whats, strict=True)])
    account.run(until=59.0)
    for news in account.empty_polls:
        assert news & account.foreign.keys()
    for change, (what, at) in account.foreign.items():
        told_at = at + pace.look + pace.transit + pace.lag
        poll_seconds = 6 * pace.transit + (2 * pace.steps + 6) * pace.step
        # A poll that is under way, then the longest burst, then the poll that sees it.
        limit = told_at + TIMING.debounce_seconds + 2 * poll_seconds + 0.01
        assert what == "read" or account.seen[change] <= limit


def test_polls_that_fail_late_ask_for_no_more_than_one_request_a_second() -> None:
    schedule = Schedule(Timing(), lambda: 0.0)
    schedule.started(0.0)
    asked = []
    while (due := schedule.due()) and due.at < 600.0:
        schedule.poll_started(due.at)
        schedule.poll_failed(due.at, requests=15)
        asked.append(due.at)
    assert asked[1] <= 15.0
    assert max(sum(at <= each < at + 60.0 for each in asked) for at in asked) * 15 <= 60
    assert asked[-1] - asked[-2] == 60.0


def fail(schedule: Schedule, requests: int, seconds: float = 0.0) -> float:
    """The poll that is due fails after so many requests and seconds; the pause after it."""
    due = schedule.due()
    assert due is not None
    schedule.poll_started(due.at)
    ended = due.at + seconds
    schedule.poll_failed(ended, requests=requests)
    due = schedule.due()
    assert due is not None
    return due.at - ended


@pytest.mark.parametrize(
    ("requests", "pauses"),
    [
        ([10], [1]),  # free
        ([11], [3]),  # three seconds for each further one
        ([12], [6]),
        ([30], [60]),
        ([31], [60]),  # a minute is the most
        ([10, 1], [1, 2]),
        ([10, 2], [1, 5]),  # six, less the second that has passed since the first
        ([5, 5, 5], [1, 2, 12]),
        ([0, 0, 0, 0], [1, 2, 4, 8]),
    ],
)
def test_failed_polls_have_ten_requests_in_a_row_free_and_pause_for_the_others(
    requests: list[int], pauses: list[float]
) -> None:
    schedule = Schedule(Timing(), no_jitter)
    schedule.started(0.0)
    assert [fail(schedule, each) for each in requests] == pauses


def test_what_a_failing_poll_takes_counts_towards_its_pause() -> None:
    schedule = Schedule(Timing(), no_jitter)
    schedule.started(0.0)
    assert fail(schedule, 15, seconds=9.0) == 6.0


def test_a_minute_later_requests_are_free_again() -> None:
    schedule = Schedule(Timing(), no_jitter)
    schedule.started(0.0)
    assert fail(schedule, 14) == 12.0
    schedule.poll_started(12.0)
    schedule.poll_finished(12.0, 12.0, {})
    assert fail(schedule, 14) == 12.0


def test_a_poll_that_failed_after_hundreds_of_requests_delays_none_of_later() -> None:
    schedule = Schedule(Timing(), no_jitter)
    schedule.started(0.0)
    assert [fail(schedule, 300) for _ in range(3)] == [60.0, 60.0, 60.0]
    schedule.poll_started(180.0)
    schedule.poll_finished(180.0, 180.0, {})
    assert fail(schedule, 1) == 1.0  # at 240


def test_a_success_in_between_makes_no_request_free() -> None:
    """With a server that fails now and then, an account sent it 61 in a minute (seen)."""
    schedule = Schedule(Timing(), no_jitter)
    schedule.started(0.0)
    assert fail(schedule, 14) == 12.0
    schedule.poll_started(12.0)
    schedule.poll_finished(12.0, 12.0, {})
    schedule.event(12.0, {"Email": "1"})
    assert fail(schedule, 14) == 3 * (14 + 14 - 10) - 12.25


# Decisions by command


def due_after(schedule: Schedule, at: float) -> None:
    due = schedule.due()
    assert due is not None
    assert due.trigger is Trigger.COMMAND
    assert due.at == pytest.approx(at + GATHER_SECONDS)


def test_decisions_that_come_one_after_the_other_are_one_poll() -> None:
    """Each has a connection of its own; and the next ones come when the last are answered."""
    schedule = Schedule(TIMING, no_jitter)
    schedule.asked(5.0, Trigger.COMMAND)
    schedule.asked(5.01, Trigger.COMMAND)
    due_after(schedule, 5.0)  # so nobody is put off for long
    schedule.poll_started(5.0 + GATHER_SECONDS)
    schedule.asked(6.0, Trigger.COMMAND)
    schedule.poll_finished(7.0, 6.9, {})
    due_after(schedule, 7.0)


def test_no_decision_waits_for_a_backoff() -> None:
    schedule = Schedule(TIMING, no_jitter)
    schedule.asked(0.0, Trigger.COMMAND)
    schedule.poll_started(GATHER_SECONDS)
    schedule.poll_failed(1.0, retry_after=50.0)
    schedule.asked(2.0, Trigger.COMMAND)
    due_after(schedule, 2.0)


def interval_after(schedule: Schedule, now: float, *, fails: bool = False) -> float:
    """Of a poll that is due now; from its end to the next."""
    schedule.poll_started(now)
    if fails:
        schedule.poll_failed(now)
        now = due_of(schedule).at
        schedule.poll_started(now)
    schedule.poll_finished(now, now, {})
    return due_of(schedule).at - now


def due_of(schedule: Schedule) -> DuePoll:
    due = schedule.due()
    assert due is not None
    return due


def test_accounts_that_began_at_one_instant_do_not_poll_at_one_for_ever() -> None:
    """After the first poll, and after failures, which come to all at the same time."""
    schedule = Schedule(TIMING, lambda: 0.5)
    schedule.started(0.0)
    assert interval_after(schedule, 0.0) == pytest.approx(33.0)
    assert interval_after(schedule, due_of(schedule).at) == 60.0
    assert interval_after(schedule, due_of(schedule).at, fails=True) == pytest.approx(33.0)
    assert interval_after(schedule, due_of(schedule).at) == 60.0


def failed_at(now: float) -> Schedule:
    """A schedule whose first poll has failed then; the next is due a second later."""
    schedule = Schedule(TIMING, no_jitter)
    schedule.started(now)
    schedule.poll_started(now)
    assert not schedule.needs_turn(now)
    schedule.poll_failed(now)
    return schedule


def test_a_poll_after_a_failure_waits_for_its_turn_at_the_server_once() -> None:
    schedule = failed_at(0.0)
    assert schedule.needs_turn(1.0)
    schedule.turn_given(9.0)
    assert not schedule.needs_turn(1.0)
    assert due_of(schedule) == DuePoll(9.0, Trigger.STARTUP)
    schedule.event(2.0, email(1))
    assert due_of(schedule).at == 9.0
    schedule.poll_started(9.0)
    schedule.poll_failed(9.5)
    assert due_of(schedule).at == 11.5
    assert schedule.needs_turn(11.5)
    schedule.turn_given(11.5)
    schedule.poll_started(11.5)
    schedule.poll_finished(12.0, 12.0, {})
    assert not schedule.needs_turn(12.0)


def test_a_stream_that_was_opened_has_had_its_turn_for_the_poll_as_well() -> None:
    schedule = failed_at(0.0)
    schedule.connected(0.5)
    assert not schedule.needs_turn(1.0)
    assert due_of(schedule).at == 1.0


def test_a_stream_does_not_hurry_a_poll_that_has_been_given_a_later_turn() -> None:
    schedule = failed_at(0.0)
    schedule.turn_given(9.0)
    schedule.connected(2.0)
    assert due_of(schedule).at == 9.0


@pytest.mark.parametrize("trigger", [Trigger.MANUAL, Trigger.COMMAND])
def test_nobody_waits_for_a_turn_with_what_a_person_asks_for(trigger: Trigger) -> None:
    schedule = failed_at(0.0)
    schedule.asked(0.5, trigger)
    assert not schedule.needs_turn(0.5)
    schedule = failed_at(0.0)
    schedule.turn_given(9.0)
    schedule.asked(2.0, trigger)
    assert due_of(schedule).at <= 2.0 + GATHER_SECONDS
