"""The time that the loop lives by: instants of CLOCK_BOOTTIME, waited for in a timerfd.

CLOCK_BOOTTIME goes on while a laptop sleeps, so a deadline that passed in the meantime is due
the moment the machine resumes. A clock is handed to the loop; the tests hand it a virtual one.
"""

import ctypes
import os
import selectors
import struct
import time
from collections.abc import Callable
from typing import Protocol

Ready = list[tuple[selectors.SelectorKey, int]]


class Clock(Protocol):
    """What the loop asks of a clock."""

    def now(self) -> float:
        """Seconds of CLOCK_BOOTTIME."""
        ...

    def wall(self) -> float:
        """Seconds since the epoch, for people."""
        ...

    def wait(self, selector: selectors.BaseSelector, until: float | None) -> Ready:
        """Wait for a registered fd or the instant ``until`` (None: for ever)."""
        ...


class BoottimeClock:
    """The kernel's clock: one timerfd, kept in the selector, armed with the next deadline."""

    def __init__(self) -> None:
        self._timerfd = _timerfd_create()
        self._armed: float | None = None
        self._selector: selectors.BaseSelector | None = None

    def now(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def wall(self) -> float:
        return time.time()

    def close(self) -> None:
        """Give the timerfd back. A loop's clock outlives the loop."""
        os.close(self._timerfd)

    def wait(self, selector: selectors.BaseSelector, until: float | None) -> Ready:
        if self._selector is not selector:
            selector.register(self._timerfd, selectors.EVENT_READ)
            self._selector = selector
        if until is not None and until <= self.now():
            return self._without_timer(selector.select(0))
        if until != self._armed:
            _timerfd_settime(self._timerfd, until)
            self._armed = until
        return self._without_timer(selector.select())

    def _without_timer(self, ready: Ready) -> Ready:
        others = [item for item in ready if item[0].fd != self._timerfd]
        if len(others) < len(ready):
            os.read(self._timerfd, 8)
            self._armed = None
        return others


# Python 3.13 has timerfd in os; before it, the same two calls of glibc (timerfd_create(2)).
_TFD_NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC
_TFD_TIMER_ABSTIME = 1
_FOREVER_SECONDS = 1e9  # no machine is up for 31 years, and the kernel counts no further than 292
_libc = ctypes.CDLL(None, use_errno=True)


def _timerfd_create() -> int:
    return _checked(_libc.timerfd_create, time.CLOCK_BOOTTIME, _TFD_NONBLOCK_CLOEXEC)


def _timerfd_settime(fd: int, when: float | None) -> None:
    """Arm ``fd`` for the instant ``when``; None disarms it. Zero would disarm, so 1 ns is least."""
    nanoseconds = 0 if when is None else max(1, int(min(when, _FOREVER_SECONDS) * 1e9) + 1)
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    itimerspec = struct.pack("@llll", 0, 0, seconds, rest)
    _checked(_libc.timerfd_settime, fd, _TFD_TIMER_ABSTIME, itimerspec, None)


def _checked(function: Callable[..., int], *arguments: object) -> int:
    result = function(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
