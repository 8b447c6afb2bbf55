"""Faults on demand: rules that spoil chosen requests."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tests.sandbox.exchange import ConnectionBroken, Delivery, Response
from tests.sandbox.log import Entry


@dataclass(frozen=True, slots=True)
class Fault:
    """Which requests are spoiled, and how.

    Of the conditions all that are given must hold: HTTP ``method``, start of the ``path``, a
    JMAP method ``call`` among the request's. Of the requests that match, ``nth`` (from 1)
    chooses one; or the first ``times`` are struck, without either all of them.

    The outcome: an ``answer`` in place of the server's, nothing takes effect; a connection that
    ``breaks`` before or after handling; an error of type ``method_error`` for the JMAP method
    ``call`` alone; the server's answer passed through ``rewrite``, carried by ``delivery``.
    """

    method: str | None = None
    path: str | None = None
    call: str | None = None
    nth: int | None = None
    times: int | None = None
    answer: Response | None = None
    breaks: Literal["before", "after"] | None = None
    method_error: str | None = None
    rewrite: Callable[[Response], Response] | None = None
    delivery: Delivery | None = None

    def matches(self, entry: Entry) -> bool:
        """Say whether this request is one that may be spoiled."""
        return (
            self.method in (None, entry.method)
            and entry.path.startswith(self.path or "")
            and (self.call is None or self.call in entry.calls)
        )


@dataclass(slots=True)
class _Rule:
    fault: Fault
    matched: int = 0

    def strikes(self, entry: Entry) -> bool:
        """Count the request if it matches, and say whether it is one that is struck."""
        if not self.fault.matches(entry):
            return False
        self.matched += 1
        if self.fault.nth is not None:
            return self.matched == self.fault.nth
        return self.fault.times is None or self.matched <= self.fault.times


class Faults:
    """The rules in force."""

    def __init__(self) -> None:
        self._rules: list[_Rule] = []

    def add(self, fault: Fault) -> None:
        """Put a rule in force; its count starts at nothing."""
        self._rules.append(_Rule(fault))

    def clear(self) -> None:
        """Lift all rules."""
        self._rules.clear()

    def striking(self, entry: Entry) -> list[Fault]:
        """Return the faults that strike this request; every rule that it matches counts it."""
        return [rule.fault for rule in self._rules if rule.strikes(entry)]


def break_connection(faults: list[Fault], when: Literal["before", "after"]) -> None:
    """Raise where a fault breaks the connection at this point."""
    if any(fault.breaks == when for fault in faults):
        raise ConnectionBroken(after_handling=when == "after")
