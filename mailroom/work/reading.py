"""What a request of a poll saw, and what came of one that wrote."""

from collections.abc import Mapping
from dataclasses import dataclass

from mailroom.wire.arrivals import Changes
from mailroom.wire.jmap import Mail, Mailbox, MethodError

States = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Reading:
    """What one request saw: the states first, then the labelled mail.

    ``sent_at`` is the instant of the request. ``found`` is in the order of the filters asked for;
    None where the query was refused because a mailbox is no more. ``earlier`` are the Email states
    that updates have left since the reading before, all answered before this request was sent;
    ``has_written`` says that it updated mail itself; ``tells_by_email`` that the stream tells a
    change of mail as one of Mailbox as well, by Email's state, which is not the one that was read.
    ``changes`` is what has changed since the state that was asked for; None where nothing was
    asked, and where the server cannot tell.
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
    """What came of an update: the mails ``refused``, and as they were right ``after`` it, without
    senders, those that were to be looked at again and are elsewhere as well."""

    refused: Mapping[str, MethodError]
    after: tuple[Mail, ...] = ()
