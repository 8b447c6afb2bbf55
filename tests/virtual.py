"""A clock for the tests: time passes only when nothing else is left to do."""

import selectors
from datetime import UTC, tzinfo

from mailroom.engine.clock import Ready


class NothingToWaitFor(Exception):
    """The loop would wait for ever: the scenario has come to its end."""


class VirtualClock:
    """Jumps to the next deadline as soon as no registered fd is ready.

    With ``seconds_a_look`` so much time passes whenever somebody looks at it, as if computing took
    any.
    """

    seconds_a_look = 0.0

    def __init__(self, now: float = 1000.0, wall: float = 1_795_000_000.0) -> None:
        self._now = now
        self._epoch = wall - now

    def now(self) -> float:
        self._now += self.seconds_a_look
        return self._now

    def wall(self) -> float:
        return self._epoch + self._now

    def zone(self) -> tzinfo:
        return UTC

    def set_wall(self, seconds: float) -> None:
        """Somebody sets the clock that people read."""
        self._epoch = seconds - self._now

    def advance(self, seconds: float) -> None:
        self._now += seconds

    def wait(self, selector: selectors.BaseSelector, until: float | None) -> Ready:
        ready = selector.select(0)
        if not ready:
            if until is None:
                raise NothingToWaitFor
            self._now = max(self._now, until)
        return ready
