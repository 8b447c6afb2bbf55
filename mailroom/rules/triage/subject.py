"""Whom a decision is about, and where they were before it."""

from dataclasses import dataclass
from enum import StrEnum

# What is shown instead of a category if there is none.
SCREENER = "Screener"


class SubjectKind(StrEnum):
    """What a decision is about."""

    ADDRESS = "address"
    DOMAIN = "domain"
    LIST = "list"


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a decision is about: the canonical address, domain or list id ``key``."""

    kind: SubjectKind
    key: str

    @property
    def name(self) -> str:
        """Its name among those of senders."""
        match self.kind:
            case SubjectKind.ADDRESS:
                return self.key
            case SubjectKind.DOMAIN:
                return f"@{self.key}"
            case SubjectKind.LIST:
                return f"<{self.key}>"


@dataclass(frozen=True, slots=True)
class Earlier:
    """Where somebody was: in a category, or (None) in Screener, like strangers."""

    category: str | None
