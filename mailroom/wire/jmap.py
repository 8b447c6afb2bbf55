"""JMAP as values: requests and their answers (RFC 8620), mail (RFC 8621).

Whatever the server sends is checked here, so that the callers never see a wrong shape: a broken
answer is a :class:`ProtocolError`, a failed method a :class:`MethodError`.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from mailroom.errors import MailroomError, ProtocolError
from mailroom.wire.problem import quoted

CORE = "urn:ietf:params:jmap:core"
MAIL = "urn:ietf:params:jmap:mail"
SIEVE = "urn:ietf:params:jmap:sieve"
SUBMISSION = "urn:ietf:params:jmap:submission"
CONTACTS = "urn:ietf:params:jmap:contacts"

T = TypeVar("T")

_encode = json.JSONEncoder(separators=(",", ":")).encode

# What reading untyped data can raise.
_MALFORMED = (
    *(LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError),
)
Arguments = Mapping[str, Any]
PatchObject = Mapping[str, Any]


class MethodError(MailroomError):
    """One method call failed (RFC 8620 §3.6.2); ``type`` is the server's."""

    def __init__(self, method: str, error_type: str, description: str) -> None:
        description = quoted(description)
        super().__init__(
            f"{method} failed: {quoted(error_type)}" + (f" ({description})" if description else "")
        )
        self.type = error_type
        self.description = description


@dataclass(frozen=True, slots=True)
class Call:
    """One method call; ``tag`` names its answer within the request, ``capability`` is what it needs
    besides core and mail."""

    method: str
    arguments: Arguments
    tag: str
    capability: str = MAIL

    def ref(self, path: str) -> dict[str, str]:
        """A back-reference into this call's answer (RFC 8620 §3.7)."""
        return {"resultOf": self.tag, "name": self.method, "path": path}


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A mailbox by its names (RFC 8621 §2)."""

    id: str
    name: str
    parent_id: str | None
    role: str | None


@dataclass(frozen=True, slots=True)
class Address:
    """One entry of From; either part may be empty, and the sender chooses both."""

    name: str
    email: str


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail as far as Mailroom reads it: who wrote it, and where it is."""

    id: str
    senders: tuple[Address, ...]
    mailbox_ids: frozenset[str]
    keywords: frozenset[str] = frozenset()


class MethodResponse(dict[str, Any]):
    """The arguments of one answer, and the URL that it came from."""

    def __init__(self, arguments: Arguments, url: str) -> None:
        super().__init__(arguments)
        self.url = url


@contextmanager
def reading(what: str, answer: object = None) -> Iterator[None]:
    """Turn whatever reading untyped data raises into one ProtocolError, which names the URL if the
    answer knows it."""
    if isinstance(answer, MethodResponse):
        what = f"{what} from {answer.url}"
    try:
        yield
    except _MALFORMED as error:
        raise ProtocolError(f"{what} is not what RFC 8620 promises ({_detail(error)})") from error


def _detail(error: Exception) -> str:
    return quoted(f"{type(error).__name__}: {error}".removesuffix(": "))


def encode_request(calls: Sequence[Call], account_id: str) -> bytes:
    """The request body (RFC 8620 §3.3); the account is added to every call."""
    return _encode(
        {
            "using": [CORE, MAIL, *sorted({call.capability for call in calls} - {MAIL})],
            "methodCalls": [
                [call.method, {"accountId": account_id, **call.arguments}, call.tag]
                for call in calls
            ],
        }
    ).encode()


class Answers:
    """The answers to calls that went out in one request, or in several."""

    def __init__(self) -> None:
        self._answers: dict[str, tuple[str, MethodResponse]] = {}
        self._awaited: dict[str, tuple[str, str]] = {}

    def add(self, body: bytes, calls: Sequence[Call], url: str) -> str:
        """Add the answer to one request; return the session state that it names, or ""."""
        self._awaited |= {call.tag: (call.method, url) for call in calls}
        with reading(f"the answer from {url}"):
            data = json.loads(body)
            for name, arguments, tag in as_list(data["methodResponses"]):
                answer = MethodResponse(_mapping(arguments), url)
                self._answers.setdefault(as_text(tag), (as_text(name), answer))
            return str(data.get("sessionState") or "")

    def part(self, tags: Mapping[str, str]) -> "Answers":
        """Some of the answers under other tags; ``tags`` maps the new to the old ones."""
        part = Answers()
        part._awaited = {new: self._awaited[old] for new, old in tags.items()}
        part._answers = {
            new: self._answers[old] for new, old in tags.items() if old in self._answers
        }
        return part

    def __getitem__(self, tag: str) -> Arguments:
        """The answer to the call with this tag. Raises MethodError if the call failed."""
        method, url = self._awaited[tag]
        if tag not in self._answers:
            raise ProtocolError(f"POST {url}: the server left {method} without an answer")
        name, arguments = self._answers[tag]
        if name == "error":
            error_type, description = arguments.get("type"), arguments.get("description")
            raise MethodError(method, str(error_type or "unknown"), str(description or ""))
        if name != method:
            raise ProtocolError(f"POST {url}: the server answered {method} with {quoted(name)}")
        return arguments


def read_blob_id(body: bytes, url: str) -> str:
    """The id of an uploaded file (RFC 8620 §6.1)."""
    with reading(f"the answer from {url}"):
        return as_text(json.loads(body)["blobId"])


def read_state(answer: Arguments) -> str:
    """The state of a type, from any ``/get``."""
    with reading("a state", answer):
        return as_text(answer["state"])


@dataclass(frozen=True, slots=True)
class Sifted(Generic[T]):
    """The readable entries of a list, and why the others are unreadable, by kind and id."""

    entries: tuple[T, ...]
    unreadable: Mapping[str, str]


def read_mailboxes(answer: Arguments) -> Sifted[Mailbox]:
    """The list of a ``Mailbox/get``."""
    return sifted(answer, "mailbox", _mailbox)


def _mailbox(box: Mapping[str, Any]) -> Mailbox:
    return Mailbox(
        id=as_text(box["id"]),
        name=as_text(box["name"]),
        parent_id=as_text(box.get("parentId") or "") or None,
        role=as_text(box.get("role") or "") or None,
    )


def sifted(answer: Arguments, kind: str, read: Callable[[Any], T]) -> Sifted[T]:
    """The entries of a list, each read alone: a broken one does not hide the others."""
    entries: list[T] = []
    unreadable: dict[str, str] = {}
    with reading(f"a list of {kind} objects", answer):
        for entry in as_list(answer["list"]):
            try:
                entries.append(read(entry))
            except _MALFORMED as error:
                entry_id = entry.get("id") if isinstance(entry, dict) else None
                name = quoted(entry_id) if isinstance(entry_id, str) else "without an id"
                unreadable[f"{kind} {name}"] = _detail(error)
    return Sifted(tuple(entries), unreadable)


def read_counts(answer: Arguments) -> dict[str, int]:
    """The number of mails by mailbox, from a ``Mailbox/get`` of totalEmails."""
    with reading("a list of mailboxes", answer):
        return {as_text(box["id"]): int(box["totalEmails"]) for box in as_list(answer["list"])}


def read_arrivals(answer: Arguments) -> dict[str, str]:
    """When mails were received (UTC), by id, from an ``Email/get`` of receivedAt."""
    with reading("a list of mails", answer):
        return {
            as_text(mail["id"]): as_text(mail["receivedAt"]) for mail in as_list(answer["list"])
        }


@dataclass(frozen=True, slots=True)
class Page:
    """Part of what a query found. ``total`` is None if the server gives no number; ``limit`` is
    None if the server did not lower the limit asked for."""

    ids: tuple[str, ...]
    total: int | None
    query_state: str
    limit: int | None = None


def read_identities(answer: Arguments) -> frozenset[str]:
    """The addresses of an ``Identity/get``, lower-cased; ``*@example.org`` is all of a domain
    (RFC 8621 §6)."""
    with reading("a list of identities", answer):
        emails = (as_text(identity["email"]).lower() for identity in answer["list"])
        return frozenset(email for email in emails if "@" in email)


def read_page(answer: Arguments) -> Page:
    """One page of an ``Email/query`` (RFC 8620 §5.5)."""
    with reading("a query's answer", answer):
        total, limit = answer.get("total"), answer.get("limit")
        return Page(
            ids=tuple(each for each in as_list(answer["ids"]) if isinstance(each, str)),
            total=total if isinstance(total, int) and total >= 0 else None,
            query_state=str(answer.get("queryState") or ""),
            limit=limit if isinstance(limit, int) and limit > 0 else None,
        )


def read_mails(answer: Arguments) -> Sifted[Mail]:
    """The list of an ``Email/get`` of id, from, mailboxIds, keywords."""
    return sifted(answer, "mail", read_mail)


def read_mail(mail: Mapping[str, Any]) -> Mail:
    """One entry of it. Raises whatever reading untyped data raises."""
    return Mail(
        id=as_text(mail["id"]),
        senders=read_addresses(mail.get("from")),
        mailbox_ids=_set(mail["mailboxIds"]),
        keywords=frozenset(each.lower() for each in _set(mail.get("keywords") or {})),
    )


def read_addresses(header: object) -> tuple[Address, ...]:
    """A header with addresses (RFC 8621 §4.1.2.3); null if the mail has none."""
    return tuple(
        Address(as_text(entry.get("name") or ""), as_text(entry.get("email") or ""))
        for entry in as_list(header or [])
    )


def _set(value: object) -> frozenset[str]:
    """The set that an object stands for: the keys whose value is true."""
    return frozenset(key for key, is_in in _mapping(value).items() if is_in)


def read_subjects(answer: Arguments) -> dict[str, str]:
    """The subjects of an ``Email/get`` of id, subject; empty if a mail has none."""
    with reading("a list of subjects"):
        return {
            as_text(mail["id"]): as_text(mail.get("subject") or "")
            for mail in as_list(answer["list"])
        }


@dataclass(frozen=True, slots=True)
class Created:
    """The result of the creations of one ``/set`` (RFC 8620 §5.3): ids and errors by key."""

    ids: Mapping[str, str]
    refused: Mapping[str, MethodError]


def read_created(answer: Arguments, method: str, keys: Iterable[str]) -> Created:
    """The ids of the creations ``keys`` that succeeded, and why the others did not."""
    with reading("the answer to a creation", answer):
        created = (answer.get("created") or {}).items()
        ids = {key: as_text(made["id"]) for key, made in created if "id" in _mapping(made)}
        refused = _set_errors(answer.get("notCreated"), method)
    error = MethodError(method, "serverPartialFail", "neither created nor refused")
    silent = [key for key in keys if key not in ids and key not in refused]
    return Created(ids, refused | dict.fromkeys(silent, error))


def read_refusals(
    answer: Arguments, ids: Iterable[str], method: str = "Email/set"
) -> dict[str, MethodError]:
    """The objects that a ``/set`` did not update, and why (RFC 8620 §5.3)."""
    with reading("the answer to an update", answer):
        refused = _set_errors(answer.get("notUpdated"), method)
        updated = answer.get("updated") or {}
        silent = [each for each in ids if each not in refused and each not in updated]
    error = MethodError(method, "serverPartialFail", "neither updated nor refused")
    return refused | dict.fromkeys(silent, error)


def read_new_state(answer: Arguments) -> str | None:
    """The state after a ``/set`` (RFC 8620 §5.3); None if the server does not name it."""
    state = answer.get("newState")
    return state if isinstance(state, str) else None


def read_undestroyed(answer: Arguments, method: str = "Email/set") -> dict[str, MethodError]:
    """The objects that a ``/set`` did not destroy, and why (RFC 8620 §5.3)."""
    with reading("the answer to a deletion", answer):
        return _set_errors(answer.get("notDestroyed"), method)


def _set_errors(errors: Any, method: str) -> dict[str, MethodError]:
    """The errors of one kind of a ``/set`` (RFC 8620 §5.3); null if there are none."""
    return {
        as_text(key): MethodError(
            method, str(error.get("type") or "unknown"), str(error.get("description") or "")
        )
        for key, error in (errors or {}).items()
    }


def as_text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a string")
    return value


def as_list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is not a list")
    return value


def _mapping(value: object) -> Arguments:
    if not isinstance(value, dict):
        raise TypeError(f"{value!r} is not an object")
    return value
