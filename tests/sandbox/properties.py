"""The properties of a mail as Email/get shows them (RFC 8621 §4.1)."""

from collections.abc import Callable, Iterable, Mapping
from email.utils import parsedate_to_datetime
from typing import Final

from tests.sandbox.addresses import Address, decoded, parse_addresses
from tests.sandbox.filters import show_date
from tests.sandbox.mail import ADDRESS_FIELDS, Mail
from tests.sandbox.profile import Profile

Render = Callable[[Mail], object]

_PREVIEW_CHARACTERS: Final = 256


def _shown(addresses: Iterable[Address] | None) -> list[dict[str, str | None]] | None:
    return None if addresses is None else [address.as_json() for address in addresses]


def _parsed(mail: Mail, name: str) -> list[dict[str, str | None]] | None:
    return _shown(parse_addresses(mail.header(name)))


def _part(part_id: str, kind: str, value: str) -> dict[str, object]:
    return {"partId": part_id, "type": kind, "size": len(value)}


#: Property → how it is shown. Bodies are plain text in one part, or that and HTML.
RENDERERS: Final[Mapping[str, Render]] = {
    "id": lambda mail: mail.id,
    "blobId": lambda mail: f"G{mail.id}",
    "threadId": lambda mail: mail.thread_id,
    "mailboxIds": lambda mail: dict.fromkeys(sorted(mail.mailbox_ids), True),
    "keywords": lambda mail: dict.fromkeys(sorted(mail.keywords), True),
    "size": lambda mail: len(mail.text) + len(mail.subject),
    "receivedAt": lambda mail: show_date(mail.received_at),
    "messageId": lambda mail: [mail.message_id],
    "inReplyTo": lambda mail: list(mail.in_reply_to) or None,
    "references": lambda mail: list(mail.references) or None,
    "sender": lambda mail: _parsed(mail, "Sender"),
    "from": lambda mail: _shown(mail.senders),
    "to": lambda mail: _shown(mail.to),
    "cc": lambda mail: _shown(mail.cc),
    "bcc": lambda mail: _shown(mail.bcc),
    "replyTo": lambda mail: _parsed(mail, "Reply-To"),
    "subject": lambda mail: mail.subject,
    "hasAttachment": lambda mail: False,
    "attachments": lambda mail: [],
    "preview": lambda mail: mail.text[:_PREVIEW_CHARACTERS],
    "textBody": lambda mail: [_part("1", "text/plain", mail.text)],
    "htmlBody": lambda mail: [
        _part("2", "text/html", mail.html) if mail.html else _part("1", "text/plain", mail.text)
    ],
    "bodyValues": lambda mail: {
        part: {"value": value, "isEncodingProblem": False, "isTruncated": False}
        for part, value in (("1", mail.text), ("2", mail.html))
        if value or part == "1"
    },
}


def renderers_for(
    properties: list[str] | None, profile: Profile
) -> tuple[Mapping[str, Render], list[str] | None]:
    """Return how these properties are shown, and their names in the answer.

    ``header:NAME:FORM`` has no name of its own (RFC 8621 §4.1.3).
    """
    renderers, names = dict(RENDERERS), []
    for name in properties or ():
        if not name.startswith("header:"):
            names.append(name)
            continue
        found = _header_renderer(name, profile)
        if found is None and profile.takes_any_header_form:
            continue
        shown = name.replace(":asRaw", "") if profile.takes_any_header_form else name
        names.append(shown)
        if found:
            renderers[shown] = found
    return renderers, None if properties is None else names


def _header_renderer(property_: str, profile: Profile) -> Render | None:
    """Return how a header is shown, None where that is no form."""
    _, name, *forms = property_.split(":")
    is_all = forms[-1:] == ["all"]
    form, *rest = forms[: len(forms) - is_all] or ["asRaw"]
    if rest or not name or form not in _FORMS:
        return None
    is_raw = name.lower() in profile.raw_headers
    if form not in (_RAW if is_raw else _ALLOWED_FORMS.get(name.lower(), _FORMS)):
        return (lambda mail: None) if profile.takes_any_header_form else None
    read, known_as = _FORMS[form], ADDRESS_FIELDS.get(name.lower())

    def render(mail: Mail) -> object:
        if form == "asAddresses" and known_as:  # which may be what no header could say
            value: object = _shown(getattr(mail, known_as))
        else:
            text = mail.header(name)
            value = None if text is None else read(text)
        return ([] if value is None else [value]) if is_all else value

    return render


def _message_ids(text: str) -> list[str] | None:
    return [each.strip("<>") for each in text.split()] or None


def _date(text: str) -> str | None:
    try:
        return parsedate_to_datetime(text).isoformat()
    except ValueError:
        return None


def _urls(text: str) -> list[str] | None:
    return [each.strip().strip("<>") for each in text.split(",")] or None


def _addresses(text: str) -> list[dict[str, str | None]]:
    return _shown(parse_addresses(text)) or []


#: Form (§4.1.2) → how a value in it is read.
_FORMS: Final[Mapping[str, Callable[[str], object]]] = {
    "asRaw": lambda text: f" {text}",
    "asText": lambda text: decoded(text.strip()),
    "asAddresses": _addresses,
    "asMessageIds": _message_ids,
    "asDate": _date,
    "asURLs": _urls,
}
_RAW: Final = frozenset({"asRaw"})
#: Header → the forms that there are of it, as Cyrus 3.10.2 has it, seen; of others all.
_ALLOWED_FORMS: Final[Mapping[str, frozenset[str]]] = {
    **dict.fromkeys(
        ("from", "sender", "reply-to", "to", "cc", "bcc"), frozenset({"asRaw", "asAddresses"})
    ),
    **dict.fromkeys(
        ("message-id", "in-reply-to", "references"), frozenset({"asRaw", "asMessageIds"})
    ),
    "subject": frozenset({"asRaw", "asText"}),
    "date": frozenset({"asRaw", "asDate"}),
}
