"""The documents that a running service answers with, as the commands read them.

The shapes are those of ``mailroom/schema``; a command shows what it is told and checks nothing.
"""

from typing import Any, NotRequired, TypedDict


class Category(TypedDict):
    name: str
    label: str
    parent: str | None


class Categories(TypedDict):
    """``screener`` is the mailbox where mail of unknown senders waits."""

    categories: list[Category]
    screener: str


class Newest(TypedDict):
    id: str
    subject: str
    received_at: str


class Waiter(TypedDict):
    """Somebody whose mail waits; an empty address is that of mail without a usable sender."""

    address: str
    name: str
    mails: int
    newest: Newest
    since: str


class Waiting(TypedDict):
    """Who waits, the newest mail first; ``senders`` and ``mails`` count all of them."""

    senders: int
    mails: int
    oldest: str | None
    waiting: list[Waiter]


class Person(TypedDict):
    name: str
    email: str


Mail = TypedDict(
    "Mail",
    {
        "id": str,
        "from": list[Person],
        "to": list[Person],
        "subject": str,
        "received_at": str,
        "text": str,
        "is_truncated": bool,
        "attachments": list[str],
    },
)


class Decided(TypedDict):
    """What was done; exactly one of ``address``, ``domain`` and ``list`` is there."""

    address: NotRequired[str]
    domain: NotRequired[str]
    list: NotRequired[str]
    category: str | None
    previous: str | None
    filed: int
    by: str


class Triaged(TypedDict):
    """A sender in a category."""

    address: str
    addresses: list[str]
    name: str
    category: str
    since: str | None
    is_ours: bool


class WholeDomain(TypedDict):
    domain: str
    category: str
    since: str | None


class WholeList(TypedDict):
    list: str
    category: str
    since: str | None


class Senders(TypedDict):
    senders: list[Triaged]
    domains: list[WholeDomain]
    lists: list[WholeList]


class Step(TypedDict):
    """A line of a contact's note."""

    category: str | None
    on: str


class Next(TypedDict):
    """Where the next mail would go, and what decides."""

    outcome: str
    category: str | None
    mailbox: str


class Sender(TypedDict):
    address: str
    addresses: list[str]
    name: str
    category: str | None
    history: list[Step]
    waiting: int
    next: Next | None


class Row(TypedDict):
    mail: str
    sender: str
    labels: list[str]
    action: str
    reason: str


class Planned(TypedDict):
    """What the next poll would do; ``moved_at_once`` senders were moved, too many to do it."""

    rows: list[Row]
    moved_at_once: int


Status = dict[str, Any]
