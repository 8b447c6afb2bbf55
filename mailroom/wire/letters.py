"""Whom a mail went to, and which conversation it is part of (RFC 8621 §3.1, §4.1)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mailroom.wire.jmap import Arguments, read_addresses, sifted

#: The properties of a letter, and those that show where a thread's mails are.
PROPERTIES = ("id", "threadId", "to", "cc", "bcc")
PLACE_PROPERTIES = ("id", "threadId", "mailboxIds")


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail by its recipients (To, Cc and Bcc, as written), its thread, and where it is, if that
    was asked for."""

    id: str
    thread_id: str
    recipients: tuple[str, ...]
    mailbox_ids: frozenset[str]


def read_letters(answer: Arguments) -> tuple[Letter, ...]:
    """The list of an ``Email/get``, without unreadable entries: their recipients count as not
    written to."""
    return sifted(answer, "mail", _letter).entries


def _letter(mail: Mapping[str, Any]) -> Letter:
    headers = (read_addresses(mail.get(name)) for name in ("to", "cc", "bcc"))
    return Letter(
        id=str(mail["id"]),
        thread_id=str(mail["threadId"]),
        recipients=tuple(each.email for header in headers for each in header if each.email),
        mailbox_ids=frozenset(key for key, is_in in mail.get("mailboxIds", {}).items() if is_in),
    )
