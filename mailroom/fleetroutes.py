"""What the sockets of a process with many accounts answer: each account's own answers under
``/accounts/NAME``, and above them the sums of all. A single account's paths have no prefix.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Protocol
from urllib.parse import unquote

from mailroom.engine.broadcast import Broadcast
from mailroom.engine.caller import Answerer, Reply, error_answer
from mailroom.routes import UNKNOWN, Routes, ServedAccount, user_name
from mailroom.rules.status.fleethealth import Fleet, Sum, accounts, healthz, status
from mailroom.rules.status.health import Snapshot
from mailroom.rules.status.metrics import METRICS_TYPE, metrics_of_all
from mailroom.rules.words import count
from mailroom.wire.http1 import Answer, ReceivedRequest, json_answer

_PREFIX = "/accounts/"
_OF_ALL = ("/poll", "/events")
# How many accounts an error names; /accounts lists all.
_NAMED = 10


class Owned(ServedAccount, Protocol):
    """One account of several; ``owners`` may see it and decide for it."""

    @property
    def owners(self) -> tuple[str, ...]: ...


class Process(ServedAccount, Protocol):
    """The process: a single account, or many."""

    @property
    def is_fleet(self) -> bool: ...
    def fleet(self) -> Fleet: ...
    def sum(self) -> Sum: ...
    def names(self) -> list[str]: ...
    def snapshots(self) -> Mapping[str, Snapshot]: ...
    def account(self, name: str) -> Owned | None: ...


class FleetRoutes:
    """The answers about all accounts of a process. ``name_of`` gives a user's name by the id."""

    def __init__(
        self,
        process: Process,
        broadcast: Broadcast,
        name_of: Callable[[int], str] = user_name,
    ) -> None:
        self._process = process
        self._broadcast = broadcast
        self._name_of = name_of
        self._single = Routes(process, broadcast, name_of)
        self._sums: Mapping[str, Callable[[], Answer]] = {
            "/healthz": lambda: json_answer(*healthz(process.sum())),
            "/status": lambda: json_answer(HTTPStatus.OK, status(process.fleet())),
            "/accounts": lambda: json_answer(HTTPStatus.OK, accounts(process.fleet().members)),
            "/metrics": self._metrics,
        }

    def answerer(self, *, has_control: bool) -> Answerer:
        """For the control socket, or the status socket."""
        of_all = self._single.answerer(has_control=has_control)

        def answer(request: ReceivedRequest, uid: int) -> Reply:
            if not self._process.is_fleet or request.path in _OF_ALL:
                return of_all(request, uid)
            if request.path.startswith(_PREFIX):
                return self._of_one(request, uid, has_control)
            return self._sum(request)

        return answer

    def _of_one(self, request: ReceivedRequest, uid: int, has_control: bool) -> Reply:
        quoted, _, rest = request.path.removeprefix(_PREFIX).partition("/")
        name = unquote(quoted)
        account = self._process.account(name)
        if account is None:
            return _which(self._process.names(), f"there is no account {name}")
        if rest == "events":
            told = "/events has the events of all accounts, each with its account"
            return error_answer(HTTPStatus.NOT_FOUND, told)
        user = self._name_of(uid)
        may_control = has_control or (user != UNKNOWN and user in account.owners)
        routes = Routes(account, self._broadcast, self._name_of)
        return routes.answerer(has_control=may_control)(replace(request, path=f"/{rest}"), uid)

    def _sum(self, request: ReceivedRequest) -> Answer:
        answer = self._sums.get(request.path)
        if answer is None:
            names = self._process.names()
            several = f"there are {count(len(names), 'account')} here"
            return _which(names, f"{several}: ask for /accounts/NAME{request.path}")
        if request.method not in ("GET", "HEAD"):
            allowed = ("Allow", "GET, HEAD")
            return error_answer(HTTPStatus.METHOD_NOT_ALLOWED, "only GET, HEAD", allowed)
        return answer()

    def _metrics(self) -> Answer:
        text = metrics_of_all(self._process.snapshots())
        return Answer(HTTPStatus.OK, text.encode(), METRICS_TYPE)


def _which(names: list[str], told: str) -> Answer:
    """No account was named, or one that does not exist: name the first few."""
    document = {"error": told, "accounts": names[:_NAMED], "account_count": len(names)}
    return json_answer(HTTPStatus.NOT_FOUND, document)
