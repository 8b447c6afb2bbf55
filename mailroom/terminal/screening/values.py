"""The screen's values. All text is harmless to show, except addresses and ids, which are as the
service sends them."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Choice:
    """A category to decide for. ``key`` is empty if there are more categories than keys."""

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class Sender:
    """Somebody who waits; the address is empty for mail that names no sender. ``mail`` (its id),
    ``subject`` and ``received_at`` are those of the newest mail."""

    address: str
    name: str
    mails: int
    mail: str
    subject: str
    received_at: datetime
    since: datetime


@dataclass(frozen=True, slots=True)
class WaitingList:
    """Who waits, newest mail first."""

    senders: tuple[Sender, ...] = ()


@dataclass(frozen=True, slots=True)
class WaitingChange:
    """Senders who are new or whose mail has changed, and addresses that no longer wait."""

    changed: tuple[Sender, ...]
    gone: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Preview:
    """A mail as plain text, perhaps cut off."""

    sender: str
    subject: str
    received_at: datetime
    lines: tuple[str, ...]
    attachments: tuple[str, ...] = ()
    is_truncated: bool = False


@dataclass(frozen=True, slots=True)
class DecisionResult:
    """How the service has carried out a decision. Category None: back to Screener."""

    category: str | None
    previous: str | None
    filed: int


@dataclass(frozen=True, slots=True)
class DoneDecision:
    """A decision that has been carried out and can be undone."""

    address: str
    name: str
    category: str | None
    previous: str | None
    filed: int
    step: int


@dataclass(frozen=True, slots=True)
class Move:
    """A decision under way. Decisions by the same key press share a ``step``."""

    address: str
    name: str
    category: str | None
    step: int
    undoes: DoneDecision | None = None
