"""Where a sender was before: what the note of a contact tells, and what a process remembers."""

from collections.abc import Sequence
from dataclasses import dataclass

from mailroom.rules.health import Triage
from mailroom.rules.roster import Found, Provenance

_SCREENER = "Screener"


@dataclass(frozen=True, slots=True)
class Earlier:
    """Where somebody was: in a category, or (None) in Screener, as strangers are."""

    category: str | None


def before(
    name: str, contact: Found | None, current: str | None, recent: Sequence[Triage]
) -> Earlier | None:
    """Where the sender (or ``@domain``, ``<list>``) called ``name`` was before the ``current``
    category; None where nobody can tell. What was done last is asked first, then the note; whom
    Mailroom made a contact for the first time was a stranger."""
    addresses = {name, *(contact.addresses if contact else ())}
    told = next((each for each in reversed(recent) if each.sender in addresses), None)
    if told is not None and told.category == (current or _SCREENER) and told.previous:
        return Earlier(None if told.previous == _SCREENER else told.previous)
    if contact is None or contact.provenance is not Provenance.CREATED:
        return None
    noted = [category for category, _ in contact.history if category != current]
    if noted:
        return Earlier(noted[-1])
    return Earlier(None) if current is not None else None
