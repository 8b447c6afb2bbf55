"""What a request of a poll saw, and the outcome of one that wrote."""

from collections.abc import Mapping
from dataclasses import dataclass

from mailroom.wire.arrivals import Changes
from mailroom.wire.jmap import Mail, Mailbox, MethodError

States = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Reading:
    """What one request saw: first the states, then the labelled mail.

    ``sent_at`` is the instant of the request. ``found`` has the mail that each filter matches, in
    their order; None if the query was refused because a mailbox no longer exists. ``earlier`` are
    the Email states after updates since the last reading, all answered before this request.
    ``has_written`` says that the request itself updated mail. ``tells_by_email`` says that for a
    change of mail the stream also names Mailbox, with the state of Email, not the one read.
    ``changes`` is what has changed since the state asked about; None if none was, or the server
    cannot tell.
    """

    sent_at: float
    states: States
    found: tuple[tuple[Mail, ...] | None, ...]
    mailboxes: tuple[Mailbox, ...] = ()
    earlier: frozenset[str] = frozenset()
    has_written: bool = False
    tells_by_email: bool = False
    changes: Changes | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """The outcome of an update: why mails were ``refused``, by id. ``after`` are the watched mails
    that are in other mailboxes too, as they were right after it, without senders."""

    refused: Mapping[str, MethodError]
    after: tuple[Mail, ...] = ()
