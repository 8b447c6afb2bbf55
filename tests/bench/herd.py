"""The schedule machines of many accounts, alone and on a virtual clock: what a mail server is asked
in every second, from the start of all processes through outages and storms.

Real are the rules (``rules/polling``) and the limits of a process; the server, its answers and the
way to it are three numbers. Of an account's work only the count of requests is left, which
``tests/test_herd.py`` holds to those of a whole account.
"""

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from mailroom.engine.exchange import CONNECT_SECONDS
from mailroom.rules.configuration.config import Limits
from mailroom.rules.polling.backoff import Jitter
from mailroom.rules.polling.pace import Pace
from mailroom.rules.polling.push import PINGS_MISSED, Push, PushStatus
from mailroom.rules.polling.schedule import Schedule, Timing
from mailroom.rules.polling.silence import Silence
from mailroom.wire.http import SILENCE_SECONDS

# What an account with JMAP contacts asks: the session (redirected once), its first poll with all
# that follows from it, a poll that finds nothing, one that finds a mail, and one that finds a tap.
# A stream comes on top.
SESSION, FIRST_POLL, IDLE_POLL, ARRIVAL, TAP = 2, 9, 1, 3, 4
# How long the account waits for its stream before it polls without.
_STREAM_FIRST_SECONDS = 2.0
ANSWER_SECONDS = 0.05
_REFUSED_SECONDS = 0.001
_PING_SECONDS = 30.0
# Herds are judged over this time, from the start and from each return of the server.
JUDGED_SECONDS = 300

Outcome = Literal["answered", "failed", "silent"]
Then = Callable[[Outcome], None]


@dataclass(frozen=True, slots=True)
class Outage:
    """The server is away: connections are refused, or (``is_silent``) nothing answers at all."""

    begins: float
    ends: float
    is_silent: bool = False


@dataclass(frozen=True, slots=True)
class Scenario:
    """All processes start at 0. ``mails``: when everybody gets one, at some instant between."""

    name: str
    seconds: int
    outages: tuple[Outage, ...] = ()
    mails: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Fleet:
    """So many accounts, and how many of them a process has."""

    accounts: int
    each: int = 1_000
    limits: Limits = field(default_factory=Limits)

    def processes(self) -> list[int]:
        whole, rest = divmod(self.accounts, self.each)
        return [self.each] * whole + [rest] * bool(rest)


@dataclass(frozen=True, slots=True)
class Counted:
    """By second: the requests that were sent, and the streams that were opened."""

    asked: list[int]
    connected: list[int]

    def herd(self, since: int, seconds: int = JUDGED_SECONDS) -> float:
        """How many times the mean of the time from then on its worst second is."""
        judged = self.asked[since : since + seconds]
        return max(judged) * len(judged) / sum(judged)

    def all_connected_after(self, since: int) -> int:
        """Seconds until the last stream was opened."""
        return max(second for second, opened in enumerate(self.connected) if opened) - since


def count(fleet: Fleet, scenario: Scenario, workers: int = 1) -> Counted:
    """What the server of all processes sees of the scenario. They have nothing else in common, so
    one after the other lives through it."""
    sizes = fleet.processes()
    run = partial(_run, scenario, fleet.limits)
    if workers == 1:
        return _summed([run(size, seed) for seed, size in enumerate(sizes)])
    with ProcessPoolExecutor(workers) as pool:
        return _summed([*pool.map(run, sizes, range(len(sizes)))])


def _run(scenario: Scenario, limits: Limits, accounts: int, seed: int) -> Counted:
    process = Process(scenario, limits, accounts, random.Random(seed))
    process.run()
    return process.counted


def _summed(processes: Sequence[Counted]) -> Counted:
    return Counted(
        [sum(second) for second in zip(*(each.asked for each in processes), strict=True)],
        [sum(second) for second in zip(*(each.connected for each in processes), strict=True)],
    )


class Process:
    """One process: its accounts, its clock, its limits at the server (``work/session/gate.py``)."""

    def __init__(
        self, scenario: Scenario, limits: Limits, accounts: int, chance: random.Random
    ) -> None:
        self.now = 0.0
        self.counted = Counted([0] * scenario.seconds, [0] * scenario.seconds)
        self.pace = Pace(limits.starts_per_second)
        self._most = limits.connections_per_server
        self._scenario = scenario
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._inside = 0
        self._line: deque[Then] = deque()
        self._silence = Silence()
        self._kept = 0  # connections that are open and idle
        self.members = [Member(self, chance.random) for _ in range(accounts)]
        for member in self.members:
            member.start()
            if scenario.mails:
                self.at(chance.uniform(*scenario.mails), member.mail_comes)
        for outage in scenario.outages:
            self.at(outage.begins, partial(self._begin, outage))

    def at(self, when: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (when, next(self._order), what))

    def run(self) -> None:
        while self._heap and self._heap[0][0] < self._scenario.seconds:
            self.now, _, what = heapq.heappop(self._heap)
            what()

    def ask(self, then: Then) -> None:
        """A request, when there is room among those of the process."""
        if self._inside < self._most:
            self._send(then)
        elif self._silence.is_on:
            self.at(self.now, partial(then, "failed"))
        else:
            self._line.append(then)

    def ask_stream(self, then: Then) -> None:
        """A request for a stream: it has a connection of its own, and no line."""
        seconds, outcome = self._fate(is_kept=False)
        self.at(self.now + seconds, partial(then, outcome))

    def _send(self, then: Then) -> None:
        self._inside += 1
        is_kept = self._kept > 0
        self._kept -= is_kept
        seconds, outcome = self._fate(is_kept=is_kept)
        self.at(self.now + seconds, partial(self._end, then, self.now, outcome))

    def _end(self, then: Then, sent_at: float, outcome: Outcome) -> None:
        self._inside -= 1
        self._kept += outcome == "answered"
        if outcome == "answered":
            self._silence.answered(self.now)
        elif self.now - sent_at >= CONNECT_SECONDS:
            self._silence.timed_out(sent_at)
        while self._line and self._silence.is_on:
            self.at(self.now, partial(self._line.popleft(), "failed"))
        if self._line:
            self._send(self._line.popleft())
        then(outcome)

    def _fate(self, *, is_kept: bool) -> tuple[float, Outcome]:
        """What becomes of a request that is sent now, and after how long."""
        self.counted.asked[int(self.now)] += 1
        for outage in self._scenario.outages:
            if outage.begins - ANSWER_SECONDS <= self.now < outage.ends:
                if not outage.is_silent:
                    return max(_REFUSED_SECONDS, outage.begins - self.now), "failed"
                if is_kept or self.now < outage.begins:
                    return SILENCE_SECONDS, "silent"
                return CONNECT_SECONDS, "failed"
        return ANSWER_SECONDS, "answered"

    def _begin(self, outage: Outage) -> None:
        if not outage.is_silent:
            self._kept = 0
        for member in self.members:
            member.server_goes(outage)


class Member:
    """One account: when it polls and opens its stream, and what it asks then."""

    def __init__(self, process: Process, jitter: Jitter) -> None:
        self._process = process
        self._schedule = Schedule(Timing(), jitter)
        self._push = Push(0.0, jitter)
        self._has_session = self._has_polled = self._has_begun = False
        self._mails = self._seen = 0
        self._poll_timer = self._push_timer = 0  # the latest of each; former ones are void
        self._pinged_from = 0.0

    def start(self) -> None:
        self._process.at(self._process.pace.turn(0.0), self._open)

    def mail_comes(self) -> None:
        self._mails += 1
        if self._push.status is PushStatus.CONNECTED:
            self._schedule.event(self._process.now, {"Email": str(self._mails)})
            self._arm()

    def server_goes(self, outage: Outage) -> None:
        if self._push.status is not PushStatus.CONNECTED:
            return
        if not outage.is_silent:
            self._lose()
            return
        pings = (outage.begins - self._pinged_from) // _PING_SECONDS
        last = self._pinged_from + pings * _PING_SECONDS
        expires = last + PINGS_MISSED * _PING_SECONDS
        if expires < outage.ends:
            self._push_timer += 1
            self._process.at(expires, partial(self._expire, self._push_timer, last))

    def _open(self) -> None:
        self._connect()
        self._process.at(self._process.now + _STREAM_FIRST_SECONDS, self._begin)

    def _begin(self) -> None:
        if not self._has_begun:
            self._has_begun = True
            self._schedule.started(self._process.now)
            self._arm()

    # the stream

    def _connect(self) -> None:
        self._push.attempt_started(self._process.now)
        if self._has_session:
            self._ask_stream("answered")
        else:
            self._ask_all(SESSION, self._ask_stream)

    def _ask_stream(self, outcome: Outcome) -> None:
        self._has_session |= outcome == "answered"
        if outcome == "answered":
            self._process.ask_stream(self._hear)
        else:
            self._hear(outcome)

    def _hear(self, outcome: Outcome) -> None:
        now = self._process.now
        if outcome != "answered":
            self._lose()
            return
        self._push.opened(now)
        self._process.counted.connected[int(now)] += 1
        self._push.pinged(now, _PING_SECONDS)
        self._pinged_from = now
        self._begin()
        self._schedule.connected(now)
        self._arm()

    def _expire(self, timer: int, last_ping: float) -> None:
        if timer == self._push_timer and self._push.status is PushStatus.CONNECTED:
            self._push.pinged(last_ping, _PING_SECONDS)
            self._push.expired(self._process.now)
            self._without()

    def _lose(self) -> None:
        self._push.ended(self._process.now, "the connection is gone")
        self._without()

    def _without(self) -> None:
        self._begin()
        self._schedule.disconnected(self._process.now)
        self._arm()
        self._await_turn()

    def _await_turn(self) -> None:
        self._push_timer += 1
        at = self._push.next_attempt_at
        assert at is not None
        self._process.at(at, partial(self._take_turn, self._push_timer))

    def _take_turn(self, timer: int) -> None:
        if timer == self._push_timer:
            turn = self._process.pace.turn(self._process.now)
            self._process.at(turn, partial(self._connect_again, timer))

    def _connect_again(self, timer: int) -> None:
        at = self._push.next_attempt_at
        if timer == self._push_timer and at is not None:
            if at <= self._process.now:
                self._connect()
            else:
                self._await_turn()

    # polls

    def _arm(self) -> None:
        self._poll_timer += 1
        if (due := self._schedule.due()) is not None:
            at = max(due.at, self._process.now)
            self._process.at(at, partial(self._poll, self._poll_timer))

    def _poll(self, timer: int) -> None:
        if timer != self._poll_timer:
            return
        began, mails = self._process.now, self._mails
        if self._schedule.needs_turn(began):
            self._schedule.turn_given(self._process.pace.turn(began))
            self._arm()
            return
        self._schedule.poll_started(began)
        count = ARRIVAL if mails > self._seen else IDLE_POLL if self._has_polled else FIRST_POLL
        self._ask_all(count, partial(self._end_poll, began, mails))

    def _end_poll(self, began: float, mails: int, outcome: Outcome) -> None:
        now = self._process.now
        if outcome == "answered":
            self._has_polled, self._seen = True, mails
            self._schedule.poll_finished(now, began, {"Email": [str(mails)]})
            if self._push.worked(now, began):
                self._await_turn()
        else:
            if outcome == "silent" and self._push.timed_out(now):
                self._schedule.disconnected(now)
                self._await_turn()
            self._schedule.poll_failed(now, requests=1)
        self._arm()

    def _ask_all(self, count: int, then: Then) -> None:
        """So many requests one after the other; the first that fails is the last."""

        def next_one(outcome: Outcome) -> None:
            if outcome == "answered" and count > 1:
                self._ask_all(count - 1, then)
            else:
                then(outcome)

        self._process.ask(next_one)
