"""The running service, as a command sees it: a method for each request.

There are two sockets: the status socket for those who may only look, and the control socket for
everything else. A failed request raises a :class:`MailroomError` of one line. It has the service's
own words, or, if nobody listens or the socket may not be opened, what can be done about it.

A request to a service with many accounts is about one of them. An account's owners may ask
everything about it at the status socket.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self, cast
from urllib.parse import quote, urlencode

from mailroom.engine.client import NobodyAnswers, NotAllowed, ServiceRequest, ask, ask_all, follow
from mailroom.engine.unit import Installation
from mailroom.errors import MailroomError, UsageError
from mailroom.rules.triage.subject import SubjectKind
from mailroom.rules.words import count
from mailroom.terminal.answers import (
    CategoriesDocument,
    DecidedDocument,
    MailDocument,
    PlannedDocument,
    SenderDocument,
    SendersDocument,
    StatusDocument,
    WaitingDocument,
)
from mailroom.terminal.harmless import harmless
from mailroom.wire.sse import Event, Parser

# The service knows its own status.
_AT_ONCE_SECONDS = 5.0
# The mail server may be silent for thirty seconds in each request. A read takes several requests,
# and a decision about a sender with 10,000 mails takes many.
_READING_SECONDS = 120.0
_DECIDING_SECONDS = 600.0
# Half of what the service works on at once: each of a poll's requests carries many, and there is
# room for two such commands.
AT_ONCE = 128
# How many of many accounts a message of one line names.
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Whom:
    """An address, a domain or a mailing list, as it was typed."""

    kind: SubjectKind
    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Decision:
    """``category`` None takes the sender back to Screener."""

    whom: Whom
    category: str | None


class Refused(MailroomError):
    """The service has understood the request, but not done it. ``status`` is HTTP's, ``document``
    the whole answer; the message is the service's."""

    def __init__(self, status: int, document: Mapping[str, Any]) -> None:
        super().__init__(harmless(document.get("error", f"the answer is {status}")))
        self.status = status
        self.document = document

    @property
    def is_passing(self) -> bool:
        """Whether the request can simply be repeated: the service was stopping."""
        return self.status == HTTPStatus.SERVICE_UNAVAILABLE

    @property
    def is_unknown(self) -> bool:
        """Whether the service does not know what an undo would restore."""
        return self.document.get("is_unknown") is True


class Remote:
    """The service whose sockets are at these paths; ``account``: one of many."""

    def __init__(self, status: Path, control: Path, account: str | None = None) -> None:
        self._status = status
        self._control = control
        self._account = account

    @classmethod
    def of(cls, installation: Installation) -> Self:
        return cls(installation.status_socket, installation.control_socket, installation.member)

    # Its status

    def status(self) -> StatusDocument:
        """The status; of a service with many accounts, if none is named, their sum."""
        return cast("StatusDocument", self._look("GET", "/status"))

    def poll(self) -> None:
        """Have it poll now."""
        self._look("POST", "/poll")

    def metrics(self) -> str:
        """The metrics in Prometheus' text format."""
        code, body = self._looked("GET", "/metrics")
        if code != HTTPStatus.OK:
            self._read(self._status, code, body)
        return body.decode()

    def events(self, parser: Parser, *, with_names: bool) -> Iterator[list[Event]]:
        """The events, until the service hangs up (:func:`follow`). ``with_names``: with names and
        subjects, if the control socket may be opened."""
        first, other = self._status, self._control
        if with_names:
            first, other = other, first
        try:
            yield from self._of_account(follow(first, parser))
        except (NotAllowed, NobodyAnswers):
            yield from self._of_account(follow(other, parser))

    def _of_account(self, told: Iterable[list[Event]]) -> Iterator[list[Event]]:
        """The account's own events: a stream has those of all accounts."""
        for events in told:
            ours = [event for event in events if is_about(event, self._account)]
            if ours or not events:
                yield ours

    # Lists

    def categories(self) -> CategoriesDocument:
        return cast("CategoriesDocument", self._ask("GET", "/categories", _READING_SECONDS))

    def waiting(self, limit: int | None = None) -> WaitingDocument:
        """Who waits; at most ``limit`` of them are listed."""
        query = {} if limit is None else {"limit": limit}
        return cast(
            "WaitingDocument", self._ask("GET", _target("/waiting", query), _READING_SECONDS)
        )

    def mail(self, mail_id: str) -> MailDocument:
        """The text of a waiting mail."""
        return cast(
            "MailDocument", self._ask("GET", _target("/mail", {"id": mail_id}), _READING_SECONDS)
        )

    def senders(self, category: str | None = None) -> SendersDocument:
        query = {} if category is None else {"category": category}
        return cast(
            "SendersDocument", self._ask("GET", _target("/senders", query), _READING_SECONDS)
        )

    def sender(self, address: str) -> SenderDocument:
        target = _target("/sender", {"address": address})
        return cast("SenderDocument", self._ask("GET", target, _READING_SECONDS))

    def plan(self) -> PlannedDocument:
        """What the next poll would do."""
        return cast("PlannedDocument", self._ask("GET", "/plan", _READING_SECONDS))

    # Decisions

    def triage(self, decision: Decision) -> DecidedDocument:
        """Returns when the decision is carried out."""
        question = _triage(decision)
        answer = self._ask(question.method, question.target, _DECIDING_SECONDS, question.body)
        return cast("DecidedDocument", answer)

    def undo(self, whom: Whom) -> DecidedDocument:
        """Back to the former category; :attr:`Refused.is_unknown` if nothing tells which it was."""
        body = json.dumps({whom.kind: whom.name}).encode()
        return cast("DecidedDocument", self._ask("POST", "/undo", _DECIDING_SECONDS, body))

    def triage_all(
        self, decisions: Iterable[Decision], at_once: int = AT_ONCE
    ) -> Iterator[tuple[Decision, DecidedDocument | Refused]]:
        """Send many decisions, so many at a time; yields the result of each as it comes."""
        questions = ((decision, self._about(_triage(decision))) for decision in decisions)
        answers = ask_all(self._deciding, questions, at_once, _DECIDING_SECONDS)
        for decision, code, body in answers:
            try:
                yield decision, cast("DecidedDocument", self._read(self._deciding, code, body))
            except Refused as refused:
                yield decision, refused

    def _look(self, method: str, target: str) -> Any:
        return self._read(self._status, *self._looked(method, target))

    def _looked(self, method: str, target: str) -> tuple[int, bytes]:
        """The answer of the status socket, or of the other if only that may be opened."""
        target = prefix(self._account) + target
        try:
            return ask(self._status, method, target, _AT_ONCE_SECONDS)
        except NotAllowed as refused:
            try:
                return ask(self._control, method, target, _AT_ONCE_SECONDS)
            except NotAllowed:
                raise refused from None  # the status socket needs fewer rights

    def _ask(self, method: str, target: str, timeout_seconds: float, body: bytes = b"") -> Any:
        path = self._deciding
        target = prefix(self._account) + target
        return self._read(path, *ask(path, method, target, timeout_seconds, body))

    def _read(self, path: Path, code: int, body: bytes) -> Any:
        """The document of an answer. Raises :class:`Refused` if the service has refused, and
        UsageError if it needs to know which account is meant."""
        document = _document(body)
        if document is None:
            raise MailroomError(
                f"what answers at {path} is not a mailroom service: name the right socket with "
                "--socket"
            )
        if code in (HTTPStatus.OK, HTTPStatus.ACCEPTED):
            return document
        if "accounts" in document:
            raise which_account(self._account, document["accounts"], document["account_count"])
        raise Refused(code, document)

    def _about(self, question: ServiceRequest) -> ServiceRequest:
        return replace(question, target=prefix(self._account) + question.target)

    @property
    def _deciding(self) -> Path:
        return deciding_socket(self._status, self._control, self._account)


def prefix(account: str | None) -> str:
    """The beginning of the paths for requests about one account of many."""
    return "" if account is None else f"/accounts/{quote(account, safe='')}"


def deciding_socket(status: Path, control: Path, account: str | None) -> Path:
    """The socket for decisions: an account's owners need no access to the control socket, as the
    status socket knows them."""
    is_closed = os.path.exists(control) and not os.access(control, os.W_OK, effective_ids=True)
    return status if account is not None and is_closed else control


def is_about(event: Event, account: str | None) -> bool:
    """Whether the event is about this account or the whole service."""
    if account is None:
        return True
    try:
        return bool(json.loads(event.data).get("account", account) == account)
    except (ValueError, AttributeError):
        return True  # its reader will report what is wrong with it


def _triage(decision: Decision) -> ServiceRequest:
    document = {decision.whom.kind: decision.whom.name, "category": decision.category}
    return ServiceRequest("POST", "/triage", json.dumps(document).encode())


def _target(path: str, query: Mapping[str, object]) -> str:
    return f"{path}?{urlencode(query)}" if query else path


def _document(body: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(body)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def which_account(account: str | None, names: Sequence[str], number: int) -> UsageError:
    """The error if one of so many accounts has to be named, or if the named one does not exist;
    ``names`` are the first few."""
    shown = ", ".join(map(harmless, names[:_NAMED]))
    left = number - min(len(names), _NAMED)
    which = shown + (f" and {left} more: mailroom status --all shows them" if left else "")
    if not number:
        named = f" {harmless(account)}, nor any other" if account else ""
        return UsageError(f"there is no account{named} here")
    if account is None:
        return UsageError(
            f"there are {count(number, 'account')} here: name one with --account: {which}"
        )
    return UsageError(f"there is no account {harmless(account)}: there are {which}")
