"""What the two sockets answer: which requests there are, and who may ask what.

The status socket tells the service's status, and names nobody. The control socket answers
everything, including requests about people's mail. Only the form of a request is checked here; the
account judges what it means.
"""

import json
import pwd
import re
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, Protocol

from mailroom.engine.broadcast import READER_LIMIT, Broadcast
from mailroom.engine.caller import Answerer, LateAnswer, Reply, Takeover, error_answer
from mailroom.engine.loop import Promise
from mailroom.errors import MailroomError, OrderRefused
from mailroom.rules.status.health import Snapshot, healthz, status
from mailroom.rules.status.metrics import METRICS_TYPE, metrics
from mailroom.wire.http1 import Answer, ReceivedRequest, json_answer

Document = dict[str, Any]
Answering = Coroutine[Promise[Any], None, Document]

UNKNOWN = "unknown"
# A user namespace sees this uid instead of users that it does not have (user_namespaces(7); the
# service's /proc lacks sys/kernel/overflowuid). It is also the uid of nobody, who decides nothing.
_OVERFLOW_UID = 65534

_LIMIT = re.compile("[0-9]{1,9}")
_ID = re.compile("[A-Za-z0-9_-]{1,255}")  # RFC 8620 section 1.2
_WHOM = frozenset({"address", "domain", "list"})


class Commands(Protocol):
    """What an account does for a person. All may raise OrderRefused, or an error of a server."""

    def categories(self) -> Document: ...
    def waiting(self, limit: int | None) -> Answering: ...
    def mail(self, mail_id: str) -> Answering: ...
    def senders(self, category: str | None) -> Answering: ...
    def sender(self, address: str) -> Answering: ...
    def plan(self) -> Answering: ...
    def triage(self, document: Mapping[str, Any], by: str) -> Answering: ...
    def undo(self, document: Mapping[str, Any], by: str) -> Answering: ...


class ServedAccount(Protocol):
    """What the answers are made from."""

    def snapshot(self) -> Snapshot: ...
    def poll_now(self) -> None: ...
    def commands(self) -> Commands: ...


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request, its sender's user id, and whether it came through the control socket."""

    request: ReceivedRequest
    uid: int
    has_control: bool


@dataclass(frozen=True, slots=True)
class _Route:
    """``takes``: the keys that a query may have; None: any, all ignored. ``is_open``: also on the
    status socket."""

    handler: Callable[[_Asked], Reply]
    takes: frozenset[str] | None = frozenset()
    is_open: bool = False


class Routes:
    """The answers about one service. ``name_of`` gives a user's name by the id."""

    def __init__(
        self,
        service: ServedAccount,
        broadcast: Broadcast,
        name_of: Callable[[int], str] | None = None,
    ) -> None:
        self._service = service
        self._broadcast = broadcast
        self._name_of = name_of or user_name
        self._table: dict[str, dict[str, _Route]] = {
            "/healthz": {"GET": _Route(self._healthz, None, is_open=True)},
            "/status": {"GET": _Route(self._status, None, is_open=True)},
            "/metrics": {"GET": _Route(self._metrics, None, is_open=True)},
            "/poll": {"POST": _Route(self._poll, None, is_open=True)},
            "/events": {"GET": _Route(self._events, frozenset({"last_event_id"}), is_open=True)},
            "/categories": {"GET": _Route(self._categories)},
            "/waiting": {"GET": _Route(self._waiting, frozenset({"limit"}))},
            "/mail": {"GET": _Route(self._mail, frozenset({"id"}))},
            "/senders": {"GET": _Route(self._senders, frozenset({"category"}))},
            "/sender": {"GET": _Route(self._sender, frozenset({"address"}))},
            "/plan": {"GET": _Route(self._plan)},
            "/triage": {"POST": _Route(self._triage)},
            "/undo": {"POST": _Route(self._undo)},
        }

    def answerer(self, *, has_control: bool) -> Answerer:
        """For the control socket, or the status socket."""

        def answer(request: ReceivedRequest, uid: int) -> Reply:
            try:
                asked = _Asked(request, uid, has_control)
                return self._route(request, has_control).handler(asked)
            except OrderRefused as refused:
                return _refusal(refused)

        return answer

    def _route(self, request: ReceivedRequest, has_control: bool) -> _Route:
        methods = self._table.get(request.path)
        if methods is None:
            known = ", ".join(path for path in self._table if has_control or self._is_open(path))
            raise OrderRefused(HTTPStatus.NOT_FOUND, f"there is {known}")
        if not has_control and not self._is_open(request.path):
            raise OrderRefused(
                HTTPStatus.FORBIDDEN,
                f"{request.path} needs the control socket, control.sock beside this one:"
                " group mailroom-control",
            )
        method = "GET" if request.method == "HEAD" else request.method
        if method not in methods:
            allowed = ", ".join(["GET", "HEAD"] if "GET" in methods else methods)
            raise _NotAllowed(allowed)
        route = methods[method]
        if route.takes is not None and (strange := request.query.keys() - route.takes):
            known = f"takes {', '.join(sorted(route.takes))}" if route.takes else "takes no query"
            raise _bad(f"{request.path} {known}: {', '.join(map(repr, sorted(strange)))}")
        return route

    def _is_open(self, path: str) -> bool:
        return all(route.is_open for route in self._table[path].values())

    # Status

    def _healthz(self, _asked: _Asked) -> Answer:
        return json_answer(*healthz(self._service.snapshot()))

    def _status(self, _asked: _Asked) -> Answer:
        return json_answer(HTTPStatus.OK, status(self._service.snapshot()))

    def _metrics(self, _asked: _Asked) -> Answer:
        return Answer(HTTPStatus.OK, metrics(self._service.snapshot()).encode(), METRICS_TYPE)

    def _poll(self, _asked: _Asked) -> Answer:
        self._service.poll_now()
        return json_answer(HTTPStatus.ACCEPTED, {"status": "accepted"})

    def _events(self, asked: _Asked) -> Reply:
        """The last event id is in the header, or in the query for clients that cannot set it."""
        feed = self._broadcast.control if asked.has_control else self._broadcast.status
        if asked.request.method == "HEAD":
            return Answer(HTTPStatus.OK, content_type="text/event-stream")
        if feed.is_full:
            return error_answer(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"{READER_LIMIT} read the events already; repeat later",
                ("Retry-After", "60"),
            )
        last = asked.request.last_event_id or asked.request.query.get("last_event_id", "")
        return Takeover(lambda connection: feed.adopt(connection, last))

    # Lists

    def _categories(self, _asked: _Asked) -> Answer:
        return json_answer(HTTPStatus.OK, self._service.commands().categories())

    def _waiting(self, asked: _Asked) -> LateAnswer:
        limit = asked.request.query.get("limit")
        if limit is not None and not _LIMIT.fullmatch(limit):
            raise _bad(f"limit must be a number, not {limit!r}")
        return _work(
            partial(self._service.commands().waiting, None if limit is None else int(limit))
        )

    def _mail(self, asked: _Asked) -> LateAnswer:
        mail_id = _needed(asked.request, "id")
        if not _ID.fullmatch(mail_id):
            raise _bad(f"{mail_id!r} is not the id of a mail")
        return _work(partial(self._service.commands().mail, mail_id))

    def _senders(self, asked: _Asked) -> LateAnswer:
        return _work(partial(self._service.commands().senders, asked.request.query.get("category")))

    def _sender(self, asked: _Asked) -> LateAnswer:
        return _work(partial(self._service.commands().sender, _needed(asked.request, "address")))

    def _plan(self, _asked: _Asked) -> LateAnswer:
        return _work(self._service.commands().plan)

    # Decisions

    def _triage(self, asked: _Asked) -> LateAnswer:
        document = _document(asked.request, _WHOM | {"category"})
        if "category" not in document:
            raise _bad("category is missing: give a name, or null for back to Screener")
        if not isinstance(document["category"], str | None):
            raise _bad("category must be text or null")
        triage = self._service.commands().triage
        return _work(partial(triage, document, self._name_of(asked.uid)), goes_on=True)

    def _undo(self, asked: _Asked) -> LateAnswer:
        document = _document(asked.request, _WHOM)
        undo = self._service.commands().undo
        return _work(partial(undo, document, self._name_of(asked.uid)), goes_on=True)


def user_name(uid: int) -> str:
    """The user's name on this host, for the journal, if it can be known.

    A service in its own user namespace sees only those users of the host that the namespace has
    (PrivateUsers=identity, systemd 257: those below 65536).
    """
    if uid == _OVERFLOW_UID:
        return UNKNOWN
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return UNKNOWN


class _NotAllowed(OrderRefused):
    """The path exists, but for other methods."""

    def __init__(self, allowed: str) -> None:
        super().__init__(HTTPStatus.METHOD_NOT_ALLOWED, f"only {allowed}")
        self.allowed = allowed


def _work(command: Callable[[], Answering], *, goes_on: bool = False) -> LateAnswer:
    return LateAnswer(_answer(command), goes_on)


async def _answer(command: Callable[[], Answering]) -> Answer:
    try:
        return json_answer(HTTPStatus.OK, await command())
    except OrderRefused as refused:
        return _refusal(refused)
    except MailroomError as error:
        return error_answer(HTTPStatus.BAD_GATEWAY, str(error))


def _refusal(refused: OrderRefused) -> Answer:
    if isinstance(refused, _NotAllowed):
        return error_answer(HTTPStatus.METHOD_NOT_ALLOWED, str(refused), ("Allow", refused.allowed))
    return json_answer(refused.status, {"error": str(refused), **refused.further})


def _needed(request: ReceivedRequest, key: str) -> str:
    value = request.query.get(key)
    if not value:
        raise _bad(f"{request.path} needs {key}, as in {request.path}?{key}=…")
    return value


def _document(request: ReceivedRequest, keys: frozenset[str]) -> Document:
    """The body, which must be about exactly one address, domain or list."""
    try:
        document = json.loads(request.body)
    except (ValueError, RecursionError) as error:
        raise _bad(f"the body of POST {request.path} is not JSON") from error
    if not isinstance(document, dict):
        raise _bad(f"the body of POST {request.path} must be a JSON object")
    if strange := document.keys() - keys:
        known = ", ".join(sorted(keys))
        raise _bad(f"{', '.join(map(repr, sorted(strange)))}: POST {request.path} takes {known}")
    whom = document.keys() & _WHOM
    if len(whom) != 1:
        raise _bad("exactly one of address, domain and list is needed")
    if not all(isinstance(document[key], str) for key in whom):
        raise _bad(f"{', '.join(whom)} must be text")
    return document


def _bad(message: str) -> OrderRefused:
    return OrderRefused(HTTPStatus.BAD_REQUEST, message)
