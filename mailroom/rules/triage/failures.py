"""Senders that fail, each for its own reasons: when one is tried again, and how loudly it is
reported.

It is tried again after 1, 2, 4 … 60 minutes, or at once after a new tap: the user wants it now.

    a sender    told                          then
    unknown     is_passing, up to twice       unknown; the whole poll is tried again
    unknown     failed                        failing, held back for a minute
    failing     failed, with known labels     failing, held back twice as long, an hour at most
    failing     failed, with a new label      failing, held back for a minute
    any         succeeded (or an order), or   unknown
                keep_only without it (labels
                gone)
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from mailroom.rules.triage.verdicts import Label

_FIRST_DELAY_SECONDS = 60.0
_LONGEST_DELAY_SECONDS = 3600.0
# Beyond the longest delay; after six weeks of failing hourly the power would overflow.
_MOST_DOUBLINGS = 10
# Passing trouble fails the poll; if it comes this often in a row, it is the sender's own.
_STRIKES = 3


@dataclass(frozen=True, slots=True)
class Failure:
    """One failing sender; ``next_try`` is an instant of the loop's clock."""

    reason: str
    attempts: int
    next_try: float
    labels: frozenset[Label]


class Failures:
    """All senders of one account that failed and still carry a label."""

    def __init__(self) -> None:
        self._failures: dict[str, Failure] = {}
        self._strikes: dict[str, int] = {}

    def items(self) -> list[tuple[str, Failure]]:
        return sorted(self._failures.items())

    def is_held_back(self, labels: AbstractSet[Label], now: float) -> bool:
        """Whether these labels wait for their next try; a label not seen before ends the wait.

        It goes by labels, since several addresses may turn out to be one sender's.
        """
        failures = self._failures.values()
        return any(now < each.next_try and labels <= each.labels for each in failures)

    def failed(self, sender: str, labels: AbstractSet[Label], reason: str, now: float) -> Failure:
        """Note a failure and return it, with the number of attempts so far."""
        known = self._failures.get(sender)
        is_repeated = known is not None and labels <= known.labels
        attempts = known.attempts + 1 if known and is_repeated else 1
        doublings = min(attempts - 1, _MOST_DOUBLINGS)
        delay = min(_LONGEST_DELAY_SECONDS, _FIRST_DELAY_SECONDS * 2**doublings)
        failure = Failure(reason, attempts, now + delay, frozenset(labels))
        # Another address of this contact may have failed before this one was tapped as well.
        for other in [who for who, each in self._failures.items() if each.labels <= labels]:
            del self._failures[other]
        self._failures[sender] = failure
        return failure

    def is_passing(self, sender: str) -> bool:
        """Note trouble that usually passes; False if it has come too often in a row."""
        self._strikes[sender] = self._strikes.get(sender, 0) + 1
        return self._strikes[sender] < _STRIKES

    def succeeded(self, *senders: str) -> None:
        for sender in senders:
            self._failures.pop(sender, None)
            self._strikes.pop(sender, None)

    def keep_only(self, senders: AbstractSet[str]) -> None:
        """Forget senders whose labels have been taken off."""
        self.succeeded(*((self._failures.keys() | self._strikes.keys()) - senders))
