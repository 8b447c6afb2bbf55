"""Where a sender was before, by a contact's note and by what the process remembers."""

from collections.abc import Sequence

from mailroom.rules.contacts.roster import Found, Provenance
from mailroom.rules.status.health import TriageView
from mailroom.rules.triage.subject import SCREENER, Earlier, Subject, SubjectKind


def before(
    subject: Subject, contact: Found | None, current: str | None, recent: Sequence[TriageView]
) -> Earlier | None:
    """Where somebody was before the ``current`` category; None if unknown. The latest triages count
    first, then the note. A sender whose contact Mailroom created for the first time was a
    stranger."""
    addresses = {subject.name, *(contact.addresses if contact else ())}
    changes = (each for each in reversed(recent) if not each.is_repeated)
    told = next((each for each in changes if each.sender in addresses), None)
    if subject.kind is not SubjectKind.ADDRESS:
        return Earlier(told.previous) if told else None
    if told is not None and told.category == (current or SCREENER) and told.previous:
        return Earlier(told.previous)
    if contact is None or contact.provenance is not Provenance.CREATED:
        return None
    noted = [category for category, _ in contact.history if category != current]
    if noted:
        return Earlier(noted[-1])
    return Earlier(None) if current is not None else None
