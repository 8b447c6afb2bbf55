"""The loop's time: instants of CLOCK_BOOTTIME, awaited with a timerfd.

CLOCK_BOOTTIME goes on while a laptop sleeps, so a deadline that passed meanwhile is due as soon as
the machine resumes. The loop is given its clock; tests give it a virtual one.
"""

import os
import selectors
import sys
import time
from datetime import tzinfo
from typing import Protocol

if sys.version_info >= (3, 13):
    from os import timerfd_create, timerfd_settime_ns
else:
    from mailroom.engine.timerfd import timerfd_create, timerfd_settime_ns

Ready = list[tuple[selectors.SelectorKey, int]]


class Clock(Protocol):
    """What the loop needs of a clock."""

    def now(self) -> float:
        """Seconds of CLOCK_BOOTTIME."""
        ...

    def wall(self) -> float:
        """Seconds since the epoch, for people."""
        ...

    def zone(self) -> tzinfo:
        """The time zone of the people here."""
        ...

    def wait(self, selector: selectors.BaseSelector, until: float | None) -> Ready:
        """Wait for a registered fd or the instant ``until`` (None: forever)."""
        ...


class BoottimeClock:
    """The kernel's clock: one timerfd, kept in the selector, armed with the next deadline."""

    def __init__(self) -> None:
        self._timerfd = timerfd_create(time.CLOCK_BOOTTIME, flags=_TFD_NONBLOCK_CLOEXEC)
        self._armed: float | None = None
        self._selector: selectors.BaseSelector | None = None

    def now(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def wall(self) -> float:
        return time.time()

    def zone(self) -> tzinfo:
        from mailroom.engine.zone import host_zone  # noqa: PLC0415 - half a MiB, for few

        return host_zone(os.environ)

    def close(self) -> None:
        """Close the timerfd. A clock outlives its loop."""
        os.close(self._timerfd)

    def wait(self, selector: selectors.BaseSelector, until: float | None) -> Ready:
        if self._selector is not selector:
            selector.register(self._timerfd, selectors.EVENT_READ)
            self._selector = selector
        if until is not None and until <= self.now():
            return self._without_timer(selector.select(0))
        if until != self._armed:
            timerfd_settime_ns(self._timerfd, flags=_TFD_TIMER_ABSTIME, initial=_nanoseconds(until))
            self._armed = until
        return self._without_timer(selector.select())

    def _without_timer(self, ready: Ready) -> Ready:
        others = [item for item in ready if item[0].fd != self._timerfd]
        if len(others) < len(ready):
            os.read(self._timerfd, 8)
            self._armed = None
        return others


_TFD_NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC
_TFD_TIMER_ABSTIME = 1
_FOREVER_SECONDS = 1e9  # 31 years: no machine is up as long, and the kernel counts up to 292


def _nanoseconds(when: float | None) -> int:
    """The instant for the timer: None disarms it. Zero would too, so the minimum is 1 ns."""
    return 0 if when is None else max(1, int(min(when, _FOREVER_SECONDS) * 1e9) + 1)
