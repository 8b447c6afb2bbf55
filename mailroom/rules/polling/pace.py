"""How often something new may begin at one server, however many accounts want to at the same time.

When a server comes back, all accounts that were connected to it return at once; they are let in one
after the other (docs/fleet.md, "Limits").
"""

from math import inf


class Pace:
    """Hands out instants, ``per_second`` of them, in the order of asking. The rate can be
    changed."""

    def __init__(self, per_second: float) -> None:
        self.per_second = per_second
        self._last = -inf

    def turn(self, now: float) -> float:
        """The instant, now or later, at which the caller may begin; it counts as used."""
        self._last = max(now, self._last + 1 / self.per_second)
        return self._last
