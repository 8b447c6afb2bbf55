"""Senders that fail, each for reasons of its own: when one is tried again, and how loud it is.

After 1, 2, 4 … 60 minutes; a new tap means that the user wants it now.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

_FIRST_DELAY_SECONDS = 60.0
_LONGEST_DELAY_SECONDS = 3600.0
# Beyond the longest delay; after six weeks of failing hourly the power would overflow.
_MOST_DOUBLINGS = 10
# What passes is the poll's matter; what does not pass by then is this sender's.
_STRIKES = 3


@dataclass(frozen=True, slots=True)
class Failure:
    """One failing sender; ``next_try`` is an instant of the loop's clock."""

    reason: str
    attempts: int
    next_try: float
    mail_ids: frozenset[str]


class Failures:
    """All senders of one account that failed and still carry a label."""

    def __init__(self) -> None:
        self._failures: dict[str, Failure] = {}
        self._strikes: dict[str, int] = {}

    def items(self) -> list[tuple[str, Failure]]:
        return sorted(self._failures.items())

    def is_held_back(self, sender: str, mail_ids: AbstractSet[str], now: float) -> bool:
        """Whether the sender waits for its next try; labelled mail not seen before ends that."""
        failure = self._failures.get(sender)
        return failure is not None and now < failure.next_try and mail_ids <= failure.mail_ids

    def failed(self, sender: str, mail_ids: AbstractSet[str], reason: str, now: float) -> Failure:
        """Note a failure; returns it, with the number of attempts so far."""
        known = self._failures.get(sender)
        is_repeated = known is not None and mail_ids <= known.mail_ids
        attempts = known.attempts + 1 if known and is_repeated else 1
        doublings = min(attempts - 1, _MOST_DOUBLINGS)
        delay = min(_LONGEST_DELAY_SECONDS, _FIRST_DELAY_SECONDS * 2**doublings)
        failure = Failure(reason, attempts, now + delay, frozenset(mail_ids))
        self._failures[sender] = failure
        return failure

    def is_passing(self, sender: str) -> bool:
        """Note trouble that usually passes; False once it has come too often in a row."""
        self._strikes[sender] = self._strikes.get(sender, 0) + 1
        return self._strikes[sender] < _STRIKES

    def succeeded(self, sender: str) -> None:
        self._failures.pop(sender, None)
        self._strikes.pop(sender, None)

    def keep_only(self, senders: AbstractSet[str]) -> None:
        """Forget senders whose labels have been taken off."""
        for sender in (self._failures.keys() | self._strikes.keys()) - senders:
            self.succeeded(sender)
