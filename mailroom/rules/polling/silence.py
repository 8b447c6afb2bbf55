"""Whether a server answers nobody at all. One unanswered request does not prove that: the server
may have been slow for one account.

While a server is silent, no request waits in line for it (``work/session/gate.py``). An outage of a
minute would make a line of a thousand polls, which would all reach the server within seconds of its
return (docs/fleet.md, "On paper").
"""

from math import inf


class Silence:
    """One server's silence, as all its accounts see it. Times are seconds of one clock."""

    def __init__(self) -> None:
        self.is_on = False
        self._answered_at = -inf

    def answered(self, now: float) -> None:
        """The server answered, whatever it said."""
        self.is_on = False
        self._answered_at = now

    def timed_out(self, sent_at: float) -> None:
        """A request that was sent at ``sent_at`` has been given up."""
        self.is_on |= self._answered_at < sent_at
