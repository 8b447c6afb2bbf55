"""The documents with which a running service answers, as the commands read them.

``mailroom/schema`` defines their shapes; commands show them without checking.
"""

from typing import Any, NotRequired, TypedDict


class CategoryDocument(TypedDict):
    name: str
    label: str
    parent: str | None


class CategoriesDocument(TypedDict):
    """``screener`` is the mailbox where the mail of unknown senders waits."""

    categories: list[CategoryDocument]
    screener: str


class NewestDocument(TypedDict):
    id: str
    subject: str
    received_at: str


class WaiterDocument(TypedDict):
    """Somebody whose mail waits; the address is empty for mail without a usable sender."""

    address: str
    name: str
    mails: int
    newest: NewestDocument
    since: str


class WaitingDocument(TypedDict):
    """Who waits, the newest mail first; ``senders`` and ``mails`` count all of them."""

    senders: int
    mails: int
    oldest: str | None
    waiting: list[WaiterDocument]


class PersonDocument(TypedDict):
    name: str
    email: str


MailDocument = TypedDict(
    "MailDocument",
    {
        "id": str,
        "from": list[PersonDocument],
        "to": list[PersonDocument],
        "subject": str,
        "received_at": str,
        "text": str,
        "is_truncated": bool,
        "attachments": list[str],
    },
)


class DecidedDocument(TypedDict):
    """What was done, for exactly one of ``address``, ``domain`` and ``list``."""

    address: NotRequired[str]
    domain: NotRequired[str]
    list: NotRequired[str]
    category: str | None
    previous: str | None
    filed: int
    by: str


class TriagedDocument(TypedDict):
    """A sender in a category."""

    address: str
    addresses: list[str]
    name: str
    category: str
    since: str | None
    is_ours: bool


class WholeDomainDocument(TypedDict):
    domain: str
    category: str
    since: str | None


class WholeListDocument(TypedDict):
    list: str
    category: str
    since: str | None


class SendersDocument(TypedDict):
    senders: list[TriagedDocument]
    domains: list[WholeDomainDocument]
    lists: list[WholeListDocument]


class StepDocument(TypedDict):
    """A line of a contact's note."""

    category: str | None
    on: str


class NextDocument(TypedDict):
    """Where the next mail would go, and what decides."""

    outcome: str
    category: str | None
    mailbox: str


class SenderDocument(TypedDict):
    address: str
    addresses: list[str]
    name: str
    category: str | None
    history: list[StepDocument]
    waiting: int
    next: NextDocument | None


class RowDocument(TypedDict):
    mail: str
    sender: str
    labels: list[str]
    action: str
    reason: str


class PlannedDocument(TypedDict):
    """What the next poll would do; ``moved_at_once``: how many senders were moved, if too many."""

    rows: list[RowDocument]
    moved_at_once: int


StatusDocument = dict[str, Any]
