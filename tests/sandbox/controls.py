"""What can be turned while the sandbox runs, beside its faults."""

from dataclasses import dataclass


@dataclass(slots=True)
class Controls:
    """What can be turned while the sandbox runs.

    ``delay_seconds`` is the time from request to answer, of every request alike and of several
    at once, as a network has it. ``buffers_push``: something on the way keeps what event streams
    tell, of all that are opened from now on.
    """

    delay_seconds: float = 0.0
    buffers_push: bool = False
    #: So many of the next Email/set meet another change and fail, every mail of them (Stalwart).
    conflicts: int = 0

    def meets_conflict(self) -> bool:
        """Say whether an Email/set meets another change, and count it."""
        is_met = self.conflicts > 0
        self.conflicts -= is_met
        return is_met
