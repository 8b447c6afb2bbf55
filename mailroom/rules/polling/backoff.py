"""How long to wait before trying again: doubling, capped, and never sooner than asked."""

from collections.abc import Callable

# Gives 0 <= x < 1, evenly spread. Passed in, so that tests control it.
Jitter = Callable[[], float]

# The share of a delay that jitter may take off. It adds nothing: the cap is a promise.
_SPREAD = 0.2
# The longest wait that a server can ask for: a wrong header must not stop the service.
MAX_RETRY_AFTER_SECONDS = 3600.0
# 2 ** 30 seconds is beyond every cap; without a bound the power would overflow some day.
_MAX_DOUBLINGS = 30


class Backoff:
    """Counts failures in a row and says how long to wait after each.

    ``base`` and ``cap`` are seconds: base, 2 base, 4 base … cap. ``base`` may be changed.
    """

    def __init__(self, jitter: Jitter, base: float = 1.0, cap: float = 60.0) -> None:
        self.base = base
        self.failures = 0
        self._cap = cap
        self._jitter = jitter

    def fail(self, retry_after: float | None = None) -> float:
        """Count one more failure and return the seconds to wait until the next attempt.

        ``retry_after`` is what the server asks for, in seconds. The longer wait counts: a server
        that always asks for 0 seconds causes no busy loop.
        """
        delay = min(self._cap, self.base * 2.0 ** min(self.failures, _MAX_DOUBLINGS))
        delay *= 1 - _SPREAD * self._jitter()
        self.failures += 1
        return max(delay, min(retry_after or 0.0, MAX_RETRY_AFTER_SECONDS))

    def reset(self) -> None:
        """Something succeeded: the next failure is the first."""
        self.failures = 0
