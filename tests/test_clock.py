"""Instants of CLOCK_BOOTTIME, and a timerfd that is armed with the next of them.

A wait that comes late is the machine's; one for a wrong instant is for an hour, or for ever.
"""

import math
import os
import selectors
import socket
import time
from collections.abc import Iterator

import pytest

from mailroom.engine.clock import BoottimeClock


class Waiting:
    """A clock, a selector and a socket pair to wake it with."""

    def __init__(self) -> None:
        self.clock = BoottimeClock()
        self.selector = selectors.DefaultSelector()
        self.here, self.there = socket.socketpair()
        self.selector.register(self.here, selectors.EVENT_READ)

    def wait(self, seconds: float | None) -> tuple[bool, float]:
        """Whether the socket was ready, and how long it took."""
        start = self.clock.now()
        ready = self.clock.wait(self.selector, None if seconds is None else start + seconds)
        return bool(ready), self.clock.now() - start

    def close(self) -> None:
        self.selector.close()
        self.clock.close()
        self.here.close()
        self.there.close()


@pytest.fixture
def waiting() -> Iterator[Waiting]:
    made = Waiting()
    yield made
    made.close()


def test_now_is_the_time_since_boot_and_wall_the_time_of_day(waiting: Waiting) -> None:
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= waiting.clock.now() <= time.clock_gettime(time.CLOCK_BOOTTIME)
    assert abs(waiting.clock.wall() - time.time()) < 1


def test_a_wait_ends_at_its_instant_and_not_before(waiting: Waiting) -> None:
    for seconds in (0.01, 0.001, 0.02, 0.0001):
        ready, took = waiting.wait(seconds)
        assert not ready
        assert took >= seconds


@pytest.mark.parametrize("seconds", [0.0, -1e-9, -3600.0, -1e9])
def test_an_instant_that_has_passed_only_looks_at_the_sockets(
    waiting: Waiting, seconds: float
) -> None:
    assert waiting.wait(seconds)[0] is False
    waiting.there.send(b"x")
    assert waiting.wait(seconds)[0] is True


@pytest.mark.parametrize("seconds", [None, 3600.0, 1e9, 1e300, math.inf])
def test_a_socket_ends_the_wait_early(waiting: Waiting, seconds: float | None) -> None:
    waiting.there.send(b"x")
    assert waiting.wait(seconds)[0]


@pytest.mark.parametrize("earlier", [None, 0.0001, 0.02, 3600.0])
def test_an_older_deadline_has_no_part_in_the_next_wait(
    waiting: Waiting, earlier: float | None
) -> None:
    waiting.there.send(b"x")
    assert waiting.wait(earlier)[0]  # left before its instant
    waiting.here.recv(1)
    for seconds in (0.002, 0.01):
        ready, took = waiting.wait(seconds)
        assert not ready
        assert took >= seconds


def test_a_deadline_that_went_by_unread_does_not_end_a_later_wait(waiting: Waiting) -> None:
    waiting.there.send(b"x")
    start = waiting.clock.now()
    waiting.clock.wait(waiting.selector, start + 0.001)
    while waiting.clock.now() < start + 0.002:
        pass  # the timer fires meanwhile, and nobody looks
    waiting.here.recv(1)
    ready, took = waiting.wait(0.01)
    assert not ready
    assert took >= 0.01


def test_the_timerfd_itself_is_never_reported_as_ready(waiting: Waiting) -> None:
    waiting.there.send(b"x")
    start = waiting.clock.now()
    waiting.clock.wait(waiting.selector, start + 0.001)
    while waiting.clock.now() < start + 0.002:
        pass
    ready = waiting.clock.wait(waiting.selector, start)
    assert [key.fileobj for key, _ in ready] == [waiting.here]


def test_a_clock_serves_one_loop_after_the_other(waiting: Waiting) -> None:
    waiting.wait(0.001)
    with selectors.DefaultSelector() as another:
        start = waiting.clock.now()
        assert waiting.clock.wait(another, start + 0.005) == []
        assert waiting.clock.now() >= start + 0.005


def test_close_gives_the_timerfd_back() -> None:
    before = os.listdir("/proc/self/fd")
    clock = BoottimeClock()
    assert len(os.listdir("/proc/self/fd")) == len(before) + 1
    clock.close()
    assert os.listdir("/proc/self/fd") == before


def test_the_timerfd_is_not_inherited_by_children(waiting: Waiting) -> None:
    timerfds = [
        fd
        for fd in map(int, os.listdir("/proc/self/fd"))
        if os.path.lexists(f"/proc/self/fd/{fd}")
        and os.readlink(f"/proc/self/fd/{fd}") == "anon_inode:[timerfd]"
    ]
    assert timerfds
    assert not any(os.get_inheritable(fd) for fd in timerfds)
