"""Whether a server answers nobody at all, which one request that is left without an answer does not
prove: it may have been slow for one account.

While it does, nobody waits in line there (``work/gate.py``). A line of a thousand polls, which an
outage of a minute makes, would be upon a server within seconds of its return (docs/fleet.md, "On
paper").
"""

from math import inf


class Silence:
    """Of one server, for all who ask it. Times are seconds of one clock."""

    def __init__(self) -> None:
        self.is_on = False
        self._answered_at = -inf

    def answered(self, now: float) -> None:
        """Something came back, whatever it says."""
        self.is_on = False
        self._answered_at = now

    def timed_out(self, sent_at: float) -> None:
        """A request of then has been given up."""
        self.is_on |= self._answered_at < sent_at
