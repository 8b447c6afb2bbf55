"""How often something new begins at one server, however many want to at the same time.

A server that comes back finds all that were connected to it at its door; they go in one after the
other (docs/fleet.md, "Limits").
"""

from math import inf


class Pace:
    """Gives out instants, ``per_second`` of them, in the order in which they are asked for. The
    rate may be changed."""

    def __init__(self, per_second: float) -> None:
        self.per_second = per_second
        self._last = -inf

    def turn(self, now: float) -> float:
        """When whoever asks may begin: now, or later. It counts as begun then."""
        self._last = max(now, self._last + 1 / self.per_second)
        return self._last
