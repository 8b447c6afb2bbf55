"""A mail and a mailbox as values that the store keeps (RFC 8621 §2, §4)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from tests.sandbox.addresses import Address

Addresses = tuple[Address, ...]

#: Headers that a mail keeps as addresses → the field.
ADDRESS_FIELDS: Final = {"from": "senders", "to": "to", "cc": "cc", "bcc": "bcc"}


@dataclass(slots=True)
class Mailbox:
    """A mailbox (RFC 8621 §2); ``parent_id`` None is the top level."""

    id: str
    name: str
    parent_id: str | None = None
    role: str | None = None
    sort_order: int = 10


@dataclass(slots=True)
class Mail:
    """A mail (RFC 8621 §4): instants are seconds of the sandbox's clock."""

    id: str
    mailbox_ids: set[str]
    received_at: float
    senders: Addresses | None
    subject: str
    text: str = ""
    #: The same as HTML, where it has both.
    html: str = ""
    keywords: set[str] = field(default_factory=set)
    to: Addresses | None = None
    cc: Addresses | None = None
    bcc: Addresses | None = None
    #: What else stands in the head: name → value as it is written there.
    headers: Mapping[str, str] = field(default_factory=dict)
    #: Without angle brackets, as are the two after it; by default one of the mail's own.
    message_id: str = ""
    in_reply_to: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    #: Given by the store, as are the states at which it came and was last changed.
    thread_id: str = ""
    created_at: int = 0
    changed_at: int = 0
    #: Whether it has ever been taken out of a mailbox.
    has_left: bool = False
    #: From when on a search by words finds it.
    found_from: float = 0.0

    def __post_init__(self) -> None:
        self.message_id = self.message_id or f"{self.id}@sandbox.invalid"

    def addresses(self, name: str) -> Addresses:
        """Return the addresses of ``from``, ``to``, ``cc`` or ``bcc``."""
        found: Addresses | None = getattr(self, ADDRESS_FIELDS[name])
        return found or ()

    def header(self, name: str) -> str | None:
        """Return a header's value as it is written, None where it is absent."""
        wanted = name.lower()
        for each, value in self.headers.items():
            if each.lower() == wanted:
                return value
        return _OWN_FIELDS[wanted](self) if wanted in _OWN_FIELDS else None


def _listed(name: str) -> Callable[[Mail], str | None]:
    return lambda mail: ", ".join(map(str, mail.addresses(name))) or None


def _in_brackets(ids: tuple[str, ...]) -> str | None:
    return " ".join(f"<{id_}>" for id_ in ids) or None


#: Headers that are fields of a mail → how they are written.
_OWN_FIELDS: Final[Mapping[str, Callable[[Mail], str | None]]] = {
    **{name: _listed(name) for name in ADDRESS_FIELDS},
    "subject": lambda mail: mail.subject,
    "message-id": lambda mail: f"<{mail.message_id}>",
    "in-reply-to": lambda mail: _in_brackets(mail.in_reply_to),
    "references": lambda mail: _in_brackets(mail.references),
}


@dataclass(frozen=True, slots=True)
class Filing:
    """Where a mail goes: mailbox id → its keywords there. Without any the mail is discarded."""

    places: dict[str, set[str]]

    @property
    def keywords(self) -> set[str]:
        """The keywords that the mail shows: those of all its places."""
        return set().union(*self.places.values())
