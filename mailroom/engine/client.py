"""How commands ask a running service, through one of its sockets. Synchronous."""

import contextlib
import http.client
import json
import os
import selectors
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar

from mailroom.engine.unit import behind
from mailroom.errors import MailroomError
from mailroom.wire.sse import Event, Parser

# sysusers.d: which group may open which socket.
_GROUPS = {"control.sock": "mailroom-control"}
_JSON = {"Content-Type": "application/json"}
_NOT_OURS = "what answers at {} is not a mailroom service: name the right socket with --socket"

# Two pings were missed: one comes every 25 s (engine/broadcast.py).
_SILENT_SECONDS = 60.0
_PIECE_BYTES = 65536

K = TypeVar("K")


class NobodyAnswers(MailroomError):
    """No service listens there."""


class NotAllowed(MailroomError):
    """The user may not open the socket."""


@dataclass(frozen=True, slots=True)
class ServiceRequest:
    """A request; ``body`` is JSON."""

    method: str
    target: str
    body: bytes = b""


def ask(
    path: Path, method: str, target: str, timeout_seconds: float = 5.0, body: bytes = b""
) -> tuple[int, bytes]:
    """Send one request to the service at ``path``; returns the status and body of its answer.

    Raises :class:`MailroomError` if there is no answer, with what the user can do about it.
    """
    connection = _UnixConnection(path, timeout_seconds)
    with contextlib.closing(connection), _explained(path, timeout_seconds):
        connection.send_question(ServiceRequest(method, target, body))
        return connection.take_answer()


def ask_all(
    path: Path, questions: Iterable[tuple[K, ServiceRequest]], at_once: int, timeout_seconds: float
) -> Iterator[tuple[K, int, bytes]]:
    """Ask every question, ``at_once`` at a time on as many connections; yields each question's key
    with status and body, in the order in which the answers come.

    A question is taken from ``questions`` when a connection is free. It may be asked twice, if the
    service has closed a connection that was kept open. Raises as :func:`ask` does at the first
    question without an answer; the service may have received the others.
    """
    waiting = iter(questions)
    idle = [_UnixConnection(path, timeout_seconds) for _ in range(at_once)]
    with contextlib.ExitStack() as at_end, _explained(path, timeout_seconds):
        for connection in idle:
            at_end.callback(connection.close)
        selector = at_end.enter_context(selectors.DefaultSelector())
        while True:
            while idle and (upcoming := next(waiting, None)) is not None:
                key, question = upcoming
                connection = idle.pop()
                connection.send_question(question)
                selector.register(connection.sock, selectors.EVENT_READ, (key, connection))
            if not selector.get_map():
                return
            ready = selector.select(timeout_seconds)
            if not ready:
                raise TimeoutError
            for registered, _events in ready:
                key, connection = registered.data
                selector.unregister(registered.fileobj)
                answer = connection.take_answer_or_repeat()
                if answer is None:
                    selector.register(connection.sock, selectors.EVENT_READ, registered.data)
                else:
                    idle.append(connection)
                    yield (key, *answer)


def follow(path: Path, parser: Parser) -> Iterator[list[Event]]:
    """The events of the service at ``path`` as they come, from the parser's last event on. Yields
    an empty list first, once the stream is open, and ends when the service hangs up.

    Raises as :func:`ask` does, also if the service is silent for :data:`_SILENT_SECONDS`.
    """
    connection = _UnixConnection(path, _SILENT_SECONDS)
    last = {"Last-Event-ID": parser.last_event_id} if parser.last_event_id else {}
    with contextlib.closing(connection), _explained(path, _SILENT_SECONDS):
        connection.request("GET", "/events", headers=last)
        response = connection.getresponse()
        if response.status != HTTPStatus.OK:
            raise MailroomError(_refusal(path, response.read()))
        yield []
        while piece := response.read1(_PIECE_BYTES):
            if events := parser.feed(piece):
                yield events


def _refusal(path: Path, body: bytes) -> str:
    try:
        return f"the service at {path}: {json.loads(body)['error']}"
    except (ValueError, TypeError, KeyError):
        return _NOT_OURS.format(path)


class _UnixConnection(http.client.HTTPConnection):
    """Kept open from one question to the next, if the service keeps it open."""

    def __init__(self, path: Path, timeout_seconds: float) -> None:
        super().__init__("mailroom", timeout=timeout_seconds)
        self._path = path
        self._question = ServiceRequest("", "")
        self._is_used = False

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(os.fspath(self._path))
        self._is_used = False

    def send_question(self, question: ServiceRequest) -> None:
        self._question = question
        try:
            self._send()
        except ConnectionError:
            if not self._is_used:
                raise
            self.close()
            self._send()

    def take_answer(self) -> tuple[int, bytes]:
        response = self.getresponse()
        self._is_used = True
        return response.status, response.read()

    def take_answer_or_repeat(self) -> tuple[int, bytes] | None:
        """None if the question had to be sent again: the service closes idle connections, and all
        when it stops."""
        try:
            return self.take_answer()
        except ConnectionError:
            if not self._is_used:
                raise
            self.close()
            self._send()
            return None

    def _send(self) -> None:
        asked = self._question
        self.request(asked.method, asked.target, asked.body or None, _JSON if asked.body else {})


def who_may(path: Path) -> str:
    """Who may open a socket, in words. Groups are for the system's services alone."""
    asked = behind(path)
    if not (asked.is_system and asked.unit):
        return "ask as root, or as the user whose service it is"
    group = _GROUPS.get(path.name, "mailroom-status")
    return f"ask as root, or join the group {group} (sudo adduser YOU {group}) and log in again"


@contextlib.contextmanager
def _explained(path: Path, timeout_seconds: float) -> Iterator[None]:
    """Turns what goes wrong at ``path`` into words, with what can be done about it."""
    asked = behind(path)
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError) as error:
        if asked.shard:
            raise NobodyAnswers(
                f"nobody answers at {path}: shard {asked.shard} does not run on this host, look for"
                f" it on another ({asked.look_up()} for what it did here)"
            ) from error
        start = f"; {asked.start_command()} starts it" if asked.unit else ""
        raise NobodyAnswers(
            f"nobody answers at {path}: is the service running ({asked.look_up()}{start}), "
            "and is this its socket (--socket names another)?"
        ) from error
    except PermissionError as error:
        raise NotAllowed(f"no permission to ask at {path}: {who_may(path)}") from error
    except (TimeoutError, BlockingIOError) as error:  # the latter if its backlog is full
        raise MailroomError(
            f"the service at {path} did not answer within {timeout_seconds:g} s: {asked.look_up()}"
        ) from error
    except (ConnectionError, http.client.IncompleteRead) as error:
        # A socket unit accepts for a service that then fails to start (seen: systemd 257).
        raise MailroomError(
            f"the socket {path} is there, but the service behind it ended without an answer; "
            f"it may be unable to start: {asked.look_up()}"
        ) from error
    except http.client.HTTPException as error:
        raise MailroomError(_NOT_OURS.format(path)) from error
    except OSError as error:
        raise MailroomError(f"cannot ask at {path}: {error.strerror or error}") from error
