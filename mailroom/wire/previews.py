"""Mail as a person sees it (RFC 8621 §4.1): a line in a list, or its text.

All of it is hostile: names, subjects and texts are shortened, and cleaned of what moves a cursor or
changes the direction of writing; HTML becomes plain text (:mod:`mailroom.wire.htmltext`).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mailroom.wire.jmap import (
    Address,
    Arguments,
    Call,
    Mail,
    Sifted,
    as_text,
    read_addresses,
    read_mail,
    sifted,
)

LINE_PROPERTIES = ("id", "from", "mailboxIds", "subject", "receivedAt")
_TEXT_PROPERTIES = (*LINE_PROPERTIES, "to", "textBody", "bodyValues", "attachments")
_BODY_PROPERTIES = ("partId", "type", "name")
_LONGEST_SUBJECT = 500
#: How much of a mail's text is shown, in characters; more bytes are asked for, as HTML needs them.
LONGEST_TEXT = 65_536
_ASKED_BYTES = 4 * LONGEST_TEXT

# Control characters except tab and line feed; what changes the direction of writing; surrogates.
_REFUSED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


@dataclass(frozen=True, slots=True)
class MailLine:
    """A mail in a list. ``received_at`` is as the server writes it (UTC)."""

    mail: Mail
    subject: str
    received_at: str

    @property
    def sender(self) -> Address | None:
        return self.mail.senders[0] if self.mail.senders else None


@dataclass(frozen=True, slots=True)
class MailText:
    """A mail to read: its plain text, and whether there is more of it."""

    line: MailLine
    recipients: tuple[Address, ...]
    text: str
    is_truncated: bool
    attachments: tuple[str, ...]


def line_call(mail_ids: Sequence[str], tag: str) -> Call:
    return Call("Email/get", {"ids": list(mail_ids), "properties": LINE_PROPERTIES}, tag)


def text_call(mail_id: str, tag: str) -> Call:
    arguments = {
        "ids": [mail_id],
        "properties": _TEXT_PROPERTIES,
        "bodyProperties": _BODY_PROPERTIES,
        "fetchTextBodyValues": True,
        "maxBodyValueBytes": _ASKED_BYTES,
    }
    return Call("Email/get", arguments, tag)


def read_lines(answer: Arguments) -> Sifted[MailLine]:
    """The list of an ``Email/get`` of :func:`line_call`."""
    return sifted(answer, "mail", _line)


def read_text(answer: Arguments) -> MailText | None:
    """The mail of an ``Email/get`` of :func:`text_call`; None if the mail does not exist."""
    return next(iter(sifted(answer, "mail", _text).entries), None)


def plain(text: str) -> str:
    """A text without characters that a terminal or a page would obey."""
    return _REFUSED.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def one_line(text: str, most: int = _LONGEST_SUBJECT) -> str:
    """The same on one line, of at most ``most`` characters."""
    line = " ".join(plain(text[: 2 * most]).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _line(mail: Mapping[str, Any]) -> MailLine:
    subject, received_at = mail.get("subject"), as_text(mail["receivedAt"])
    datetime.fromisoformat(received_at)  # raises ValueError: others compute with it
    shown = one_line(subject if isinstance(subject, str) else "")
    return MailLine(read_mail(mail), shown, received_at)


def _text(mail: Mapping[str, Any]) -> MailText:
    # It brings html.entities, 0.3 MiB: a mail's text is read at a person's request only.
    from mailroom.wire.htmltext import text_of_html  # noqa: PLC0415

    values = mail.get("bodyValues") or {}
    parts, is_truncated = [], False
    for part in mail.get("textBody") or ():
        value = values.get(part.get("partId"))
        if value is None:
            continue
        is_truncated |= value.get("isTruncated") is True
        text = str(value["value"])
        parts.append(text_of_html(text) if part.get("type") == "text/html" else text)
    whole = plain("\n\n".join(parts)).strip()
    names = (each.get("name") for each in mail.get("attachments") or ())
    return MailText(
        _line(mail),
        read_addresses(mail.get("to")),
        whole[:LONGEST_TEXT],
        is_truncated or len(whole) > LONGEST_TEXT,
        tuple(one_line(name) if isinstance(name, str) and name else "(no name)" for name in names),
    )
