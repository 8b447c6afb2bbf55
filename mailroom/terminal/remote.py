"""The running service, as a command sees it: a method for each request.

Two sockets: who may only look asks at the status socket, all else is the control socket's. A
request that is not answered as it should be is a :class:`MailroomError` of one line: where nobody
listens or the socket may not be opened, what can be done about it; else the service's own words.

Of a service with many accounts it is one that is asked about. Its owners may ask all of it at the
status socket.
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

# How it is, the service knows.
_AT_ONCE_SECONDS = 5.0
# What is asked of the mail server takes as long as that does: it has thirty seconds to say a byte,
# of which a read takes several and a decision about a sender with 10,000 mails many.
_READING_SECONDS = 120.0
_DECIDING_SECONDS = 600.0
# As many as the service works on at once, so that a poll always has some for its requests; there is
# room for two who do so.
AT_ONCE = 128
# Of many accounts, in a message of one line.
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
    """``category`` None takes it back: to Screener."""

    whom: Whom
    category: str | None


class Refused(MailroomError):
    """The service has understood what was asked, and has not done it. ``status`` is HTTP's,
    ``document`` its whole answer; the message is what it says."""

    def __init__(self, status: int, document: Mapping[str, Any]) -> None:
        super().__init__(harmless(document.get("error", f"the answer is {status}")))
        self.status = status
        self.document = document

    @property
    def is_passing(self) -> bool:
        """Whether it may be repeated as it is: the service was stopping."""
        return self.status == HTTPStatus.SERVICE_UNAVAILABLE

    @property
    def is_unknown(self) -> bool:
        """Whether the service cannot tell what was before (an undo)."""
        return self.document.get("is_unknown") is True


class Remote:
    """The service whose sockets are at these paths; one ``account`` of many."""

    def __init__(self, status: Path, control: Path, account: str | None = None) -> None:
        self._status = status
        self._control = control
        self._account = account

    @classmethod
    def of(cls, installation: Installation) -> Self:
        return cls(installation.status_socket, installation.control_socket, installation.member)

    # How it is

    def status(self) -> StatusDocument:
        """Of a service with many accounts of which none is asked about, their sum."""
        return cast("StatusDocument", self._look("GET", "/status"))

    def poll(self) -> None:
        """Have it poll now."""
        self._look("POST", "/poll")

    def metrics(self) -> str:
        """The numbers, as Prometheus reads them."""
        code, body = self._looked("GET", "/metrics")
        if code != HTTPStatus.OK:
            self._read(self._status, code, body)
        return body.decode()

    def events(self, parser: Parser, *, with_names: bool) -> Iterator[list[Event]]:
        """What happens, until the service hangs up (:func:`follow`); with names and subjects for
        who wants them and may open the control socket."""
        first, other = self._status, self._control
        if with_names:
            first, other = other, first
        try:
            yield from self._of_account(follow(first, parser))
        except (NotAllowed, NobodyAnswers):
            yield from self._of_account(follow(other, parser))

    def _of_account(self, told: Iterable[list[Event]]) -> Iterator[list[Event]]:
        """Events are told of all accounts together."""
        for events in told:
            ours = [event for event in events if is_about(event, self._account)]
            if ours or not events:
                yield ours

    # What there is to see

    def categories(self) -> CategoriesDocument:
        return cast("CategoriesDocument", self._ask("GET", "/categories", _READING_SECONDS))

    def waiting(self, limit: int | None = None) -> WaitingDocument:
        """Who waits; at most ``limit`` of them are listed."""
        query = {} if limit is None else {"limit": limit}
        return cast(
            "WaitingDocument", self._ask("GET", _target("/waiting", query), _READING_SECONDS)
        )

    def mail(self, mail_id: str) -> MailDocument:
        """The text of a mail that waits."""
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
        """Comes back when it is done."""
        question = _triage(decision)
        answer = self._ask(question.method, question.target, _DECIDING_SECONDS, question.body)
        return cast("DecidedDocument", answer)

    def undo(self, whom: Whom) -> DecidedDocument:
        """Back to the category before; :attr:`Refused.is_unknown` where nothing tells which."""
        body = json.dumps({whom.kind: whom.name}).encode()
        return cast("DecidedDocument", self._ask("POST", "/undo", _DECIDING_SECONDS, body))

    def triage_all(
        self, decisions: Iterable[Decision], at_once: int = AT_ONCE
    ) -> Iterator[tuple[Decision, DecidedDocument | Refused]]:
        """Many decisions, so many on their way at once: what became of each, as it is done."""
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
        """What either socket answers: who may open one of them may ask it."""
        target = prefix(self._account) + target
        try:
            return ask(self._status, method, target, _AT_ONCE_SECONDS)
        except NotAllowed as refused:
            try:
                return ask(self._control, method, target, _AT_ONCE_SECONDS)
            except NotAllowed:
                raise refused from None  # less is needed there

    def _ask(self, method: str, target: str, timeout_seconds: float, body: bytes = b"") -> Any:
        path = self._deciding
        target = prefix(self._account) + target
        return self._read(path, *ask(path, method, target, timeout_seconds, body))

    def _read(self, path: Path, code: int, body: bytes) -> Any:
        """The document of an answer. Raises :class:`Refused` where it is another one than asked
        for, and UsageError where it is to be said which account is meant."""
        document = _document(body)
        if document is None:
            raise MailroomError(
                f"what answers at {path} is no mailroom service: name the right socket by --socket"
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
    """What the paths of requests about one account of many begin with."""
    return "" if account is None else f"/accounts/{quote(account, safe='')}"


def deciding_socket(status: Path, control: Path, account: str | None) -> Path:
    """Where decisions are to be asked for: an account's owners need not be let into the control
    socket, and are known at the other."""
    is_closed = os.path.exists(control) and not os.access(control, os.W_OK, effective_ids=True)
    return status if account is not None and is_closed else control


def is_about(event: Event, account: str | None) -> bool:
    """Whether the event is one of this account's, or the whole service's."""
    if account is None:
        return True
    try:
        return bool(json.loads(event.data).get("account", account) == account)
    except (ValueError, AttributeError):
        return True  # whoever reads it says what is wrong with it


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
    """What to say where one of so many accounts is to be named, or was, and is not there; ``names``
    are the first few."""
    shown = ", ".join(map(harmless, names[:_NAMED]))
    left = number - min(len(names), _NAMED)
    which = shown + (f" and {left} more: mailroom status --all shows them" if left else "")
    if not number:
        named = f" {harmless(account)}, nor any other" if account else ""
        return UsageError(f"there is no account{named} here")
    if account is None:
        return UsageError(
            f"there are {count(number, 'account')} here: name one by --account: {which}"
        )
    return UsageError(f"there is no account {harmless(account)}: there are {which}")
