"""What the trouble of a poll is called: in the status, in metrics and in the journal."""

from mailroom.errors import (
    CredentialsRefused,
    Forbidden,
    LastingTrouble,
    MailroomError,
    Missing,
    ProtocolError,
    TransientError,
)
from mailroom.wire.jmap import MethodError

# The first that fits counts: some of these are special cases of later ones.
_KINDS: tuple[tuple[type[MailroomError], str], ...] = (
    (CredentialsRefused, "credentials"),
    (Forbidden, "forbidden"),
    (Missing, "missing"),
    (LastingTrouble, "account"),
    (TransientError, "network"),
    (ProtocolError, "protocol"),
    (MethodError, "method"),
)
# Poll failures that the user has to mend have their own event names and catalog entries.
EVENTS = {"credentials": "credentials_refused", "missing": "mailboxes_missing"}


def kind_of(error: MailroomError) -> str:
    """The kind of an error that ended a poll."""
    return next((kind for branch, kind in _KINDS if isinstance(error, branch)), "other")


def event_of(kind: str) -> str:
    """The name of the journal's event for that kind."""
    return EVENTS.get(kind, "poll_failed")
