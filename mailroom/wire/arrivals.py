"""New mail as values: the answer to ``Email/changes`` (RFC 8620 §5.2), and mail as it arrives.

An arrival is read with what decides about its sender; mail in Sent, with its recipients.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mailroom.wire.jmap import (
    Arguments,
    Call,
    Mail,
    MethodError,
    Sifted,
    read_addresses,
    read_mail,
    reading,
    sifted,
)

# The raw form, which every server knows: for a parsed form that does not fit the header, Cyrus
# 3.10.2 fails the whole call, and Stalwart 0.15.5 answers some forms with null (both seen).
_HEADER = "header:"
_LIST_ID = f"{_HEADER}List-Id"
_RETURN_PATH = f"{_HEADER}Return-Path"
_CONTENT_TYPE = f"{_HEADER}Content-Type"
_RECIPIENTS = ("to", "cc", "bcc")

_PROPERTIES = (
    *("id", "from", "mailboxIds", "keywords", "receivedAt", "threadId"),
    *(*_RECIPIENTS, _LIST_ID, _RETURN_PATH, _CONTENT_TYPE),
)

# Ids in one answer. Cyrus 3.13 refuses a get by reference of more ids than a get may have.
_MOST_CHANGES = 500
_CHANGES, _CREATED = "changes", "created"


@dataclass(frozen=True, slots=True)
class Arrival:
    """One mail with what decides where it goes. ``received_at`` is an instant in Unix seconds,
    ``list_id`` the List-Id as the header has it, ``recipients`` the addresses of To, Cc and Bcc,
    ``marks`` the values of the further headers that were asked for, by their names in lower case.
    """

    mail: Mail
    received_at: float
    thread_id: str
    list_id: str | None = None
    is_bounce: bool = False
    recipients: tuple[str, ...] = ()
    marks: tuple[tuple[str, str], ...] = ()

    @property
    def id(self) -> str:
        return self.mail.id

    def __hash__(self) -> int:
        """Over the id alone: thousands of arrivals are keys."""
        return hash(self.mail.id)


@dataclass(frozen=True, slots=True)
class Changes:
    """What has changed since a state, up to ``new_state``; ``has_more``: these are not yet all
    changes. ``arrivals`` are the created mails that still exist."""

    new_state: str
    has_more: bool
    arrivals: tuple[Arrival, ...]
    updated: frozenset[str]
    destroyed: frozenset[str]

    @property
    def is_empty(self) -> bool:
        return not (self.has_more or self.arrivals or self.updated or self.destroyed)


@dataclass(frozen=True, slots=True)
class ChangedIds:
    """The same as ids; ``changed`` are the mails that were created or updated."""

    new_state: str
    has_more: bool
    changed: frozenset[str]
    destroyed: frozenset[str]

    @property
    def is_empty(self) -> bool:
        return not (self.has_more or self.changed or self.destroyed)


def changes_calls(
    state: str, limit: int, own: int = 0, headers: Sequence[str] = ()
) -> tuple[Call, ...]:
    """The calls for the changes since ``state`` and the mail that has come, in one request.
    ``limit`` is how many objects a get may have, ``own`` how many of the changes are ours: those
    are no new mail, so the get needs no room for them. ``headers`` names further headers to read.
    """
    arguments = {"sinceState": state, "maxChanges": min(limit, _MOST_CHANGES) + own}
    changes = Call("Email/changes", arguments, _CHANGES)
    get = {"#ids": changes.ref("/created"), "properties": _properties(headers)}
    return changes, Call("Email/get", get, _CREATED)


def read_changes(
    answers: Mapping[str, Arguments] | Any,
) -> tuple[Changes | None, Mapping[str, str]]:
    """The answers to :func:`changes_calls`, and the unreadable mails with the reasons. None if the
    server cannot say what has changed: then everything has to be looked at."""
    try:
        told, created = answers[_CHANGES], answers[_CREATED]
    except MethodError:
        return None, {}
    with reading("a list of changes", told):
        new_state, has_more = str(told["newState"]), told.get("hasMoreChanges") is True
        updated, destroyed = frozenset(told["updated"]), frozenset(told["destroyed"])
    mails = read_arrivals(created)
    changes = Changes(new_state, has_more, mails.entries, updated, destroyed)
    return changes, mails.unreadable


def read_ids(answer: Arguments) -> ChangedIds:
    """The answer to ``Email/changes`` alone."""
    with reading("a list of changes", answer):
        return ChangedIds(
            str(answer["newState"]),
            answer.get("hasMoreChanges") is True,
            frozenset(answer["created"]) | frozenset(answer["updated"]),
            frozenset(answer["destroyed"]),
        )


def read_arrivals(answer: Arguments) -> Sifted[Arrival]:
    """The list of an ``Email/get`` of arrivals."""
    return sifted(answer, "mail", _arrival)


def arrival_calls(mail_ids: Sequence[str], headers: Sequence[str] = ()) -> tuple[Call, ...]:
    """The calls that read mails as arrivals, by their ids."""
    arguments = {"ids": list(mail_ids), "properties": _properties(headers)}
    return (Call("Email/get", arguments, _CREATED),)


def _properties(headers: Sequence[str]) -> tuple[str, ...]:
    return (*_PROPERTIES, *(f"{_HEADER}{name}" for name in headers))


def _arrival(entry: Mapping[str, Any]) -> Arrival:
    list_id = entry.get(_LIST_ID)
    return Arrival(
        mail=read_mail(entry),
        received_at=datetime.fromisoformat(entry["receivedAt"]).timestamp(),
        thread_id=str(entry.get("threadId") or ""),
        list_id=list_id.strip() if isinstance(list_id, str) else None,
        is_bounce=_is_bounce(entry),
        recipients=tuple(_recipients(entry)),
        marks=tuple(_marks(entry)),
    )


def _marks(entry: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for name, value in entry.items():
        if name.startswith(_HEADER) and isinstance(value, str):
            yield name.removeprefix(_HEADER).lower(), value.strip()


def _is_bounce(entry: Mapping[str, Any]) -> bool:
    """Whether it is a report (RFC 6522) without a return path: sent by a mail server, not by a
    person. Not every server keeps the path (Stalwart 0.15.5 by LMTP does not, seen)."""
    content_type = str(entry.get(_CONTENT_TYPE) or "").strip().lower()
    return_path = str(entry.get(_RETURN_PATH) or "").strip()
    return content_type.startswith("multipart/report") and return_path in ("<>", "")


def _recipients(entry: Mapping[str, Any]) -> Iterable[str]:
    for header in _RECIPIENTS:
        yield from (each.email for each in read_addresses(entry.get(header)) if each.email)
