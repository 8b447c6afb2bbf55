"""The running service as the screen asks it: on the loop, with a coroutine for each request. Its
results are harmless to show."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from mailroom.engine.transfer import Http
from mailroom.errors import MailroomError, TransientError
from mailroom.terminal import answers
from mailroom.terminal.harmless import harmless, harmless_lines
from mailroom.terminal.remote import Refused, is_about, prefix
from mailroom.terminal.screening.values import (
    DecisionResult,
    Preview,
    Sender,
    WaitingChange,
    WaitingList,
)
from mailroom.wire.http import Request, Response
from mailroom.wire.sse import Event, Parser

# The mail server may take half a minute for each of several requests.
_READING_SECONDS = 120.0
_DECIDING_SECONDS = 600.0

# A subject may have megabytes; no screen shows more than this.
_LONGEST_LINE = 500


class Away(MailroomError):
    """Nobody answers at the socket, or the answer breaks off."""


class ServiceClient:
    """The service that listens at ``socket``; ``account``: one of many."""

    def __init__(self, http: Http, socket: Path, account: str | None = None) -> None:
        self._http = http
        self._socket = socket
        self._account = account

    async def categories(self) -> tuple[str, ...]:
        """The names of the categories, in the configuration's order."""
        answer: answers.CategoriesDocument = await self._ask("GET", "/categories")
        return tuple(each["name"] for each in answer["categories"])

    async def waiting(self) -> WaitingList:
        answer: answers.WaitingDocument = await self._ask("GET", "/waiting")
        return WaitingList(tuple(map(_sender, answer["waiting"])))

    async def mail(self, mail: str) -> Preview:
        """The text of a waiting mail."""
        answer: answers.MailDocument = await self._ask("GET", f"/mail?{urlencode({'id': mail})}")
        return Preview(
            sender=", ".join(map(_named, answer["from"])),
            subject=_line(answer["subject"]),
            received_at=_instant(answer["received_at"]),
            lines=tuple(harmless_lines(answer["text"])),
            attachments=tuple(map(harmless, answer["attachments"])),
            is_truncated=answer["is_truncated"],
        )

    async def triage(self, address: str, category: str | None) -> DecisionResult:
        """Decide about a sender; returns when the decision is carried out."""
        body = json.dumps({"address": address, "category": category}).encode()
        answer: answers.DecidedDocument = await self._ask(
            "POST", "/triage", body, _DECIDING_SECONDS
        )
        return DecisionResult(answer["category"], answer["previous"], answer["filed"])

    async def follow(self, on_event: Callable[[str, WaitingChange | None], None]) -> None:
        """Call ``on_event`` with the kind of each event until the stream ends, first with ``open``.
        With ``waiting`` it also gets what has changed, unless that was too much. Raises
        :class:`Refused` if the service has no such stream."""
        headers = {"Accept": "text/event-stream"}
        stream = self._http.stream(self._request("GET", "/events", headers, None))
        parser = Parser()
        try:
            head = await stream.head
            if head.status != HTTPStatus.OK:
                raise Refused(head.status, {})
            on_event("open", None)
            while chunk := await stream.read():
                for event in parser.feed(chunk):
                    if is_about(event, self._account):
                        on_event(event.type, _change(event))
        except TransientError as error:
            raise Away(str(error)) from error
        finally:
            stream.close()

    async def _ask(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        patience: float = _READING_SECONDS,
    ) -> Any:
        headers = {} if body is None else {"Content-Type": "application/json"}
        target = prefix(self._account) + target
        try:
            answer = await self._http.send(self._request(method, target, headers, body, patience))
        except TransientError as error:
            raise Away(f"the service does not answer at {self._socket}") from error
        return _read(answer)

    def _request(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
        patience: float = _READING_SECONDS,
    ) -> Request:
        return Request(
            method,
            f"http://mailroom{target}",
            headers,
            body,
            patience_seconds=patience,
            unix_socket=str(self._socket),
        )


def _read(answer: Response) -> Any:
    """The document of a successful answer. Raises :class:`Refused` or MailroomError."""
    try:
        document = json.loads(answer.body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise MailroomError("what answers there is not a mailroom service")
    if answer.status != HTTPStatus.OK:
        raise Refused(answer.status, document)
    return document


def _change(event: Event) -> WaitingChange | None:
    if event.type != "waiting":
        return None
    document = json.loads(event.data)
    if not document.get("is_complete"):
        return None
    return WaitingChange(tuple(map(_sender, document["changed"])), tuple(document["gone"]))


def _sender(each: answers.WaiterDocument) -> Sender:
    newest = each["newest"]
    return Sender(
        address=each["address"],
        name=_line(each["name"]),
        mails=each["mails"],
        mail=newest["id"],
        subject=_line(newest["subject"]),
        received_at=_instant(newest["received_at"]),
        since=_instant(each["since"]),
    )


def _named(person: answers.PersonDocument) -> str:
    return _line(f"{person['name']} <{person['email']}>")


def _line(text: str) -> str:
    return harmless(text[:_LONGEST_LINE]).strip()


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)
