"""What the two sockets answer, and to whom, by a service whose account is scripted."""

import json
import os
import socket
from collections.abc import Coroutine, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import jsonschema
import pytest

from mailroom.engine.broadcast import Broadcast
from mailroom.engine.endpoint import Endpoint
from mailroom.engine.loop import Loop, Promise
from mailroom.engine.sockets import listen
from mailroom.errors import OrderRefused, TransientError
from mailroom.fleetroutes import FleetRoutes
from mailroom.routes import UNKNOWN, Commands, Routes, user_name
from mailroom.rules.status.health import Snapshot
from mailroom.rules.status.ring import Ring
from mailroom.wire.http1 import Answer, ReceivedRequest
from tests.sandbox import CYRUS_3_10
from tests.schemas import is_valid, schema, validate
from tests.test_health import SNAPSHOTS
from tests.virtual import VirtualClock
from tests.world import World

Document = dict[str, Any]

AT = "2026-11-20T08:15:00Z"
ANSWERS: Mapping[str, Document] = {
    "categories": {
        "categories": [
            {"name": "Paper Trail", "label": "@ToPaperTrail", "parent": None},
            {"name": "Receipts", "label": "@ToReceipts", "parent": "Paper Trail"},
        ],
        "screener": "Screener",
    },
    "waiting": {
        "senders": 1,
        "mails": 4,
        "oldest": AT,
        "waiting": [
            {
                "address": "bob@example.org",
                "name": "Böb",
                "mails": 3,
                "newest": {"id": "M1", "subject": "\u202eHi", "received_at": AT},
                "since": AT,
            },
        ],
    },
    "mail": {
        "id": "M1",
        "from": [{"name": "Bob", "email": "bob@example.org"}],
        "to": [],
        "subject": "Hi",
        "received_at": "2026-11-20T08:15:00.250Z",
        "text": "Hi",
        "is_truncated": False,
        "attachments": ["a.pdf"],
    },
    "senders": {
        "senders": [
            {
                "address": "bob@example.org",
                "addresses": ["bob@example.org"],
                "name": "Bob",
                "category": "Feed",
                "since": "2026-11-21",
                "is_ours": True,
            }
        ],
        "domains": [{"domain": "shop.example", "category": "Feed", "since": "2026-11-20"}],
        "lists": [{"list": "news.example.org", "category": "Feed", "since": None}],
    },
    "sender": {
        "address": "bob@example.org",
        "addresses": ["bob@example.org"],
        "name": "",
        "category": None,
        "is_ours": False,
        "history": [{"category": None, "on": "2026-11-21"}],
        "waiting": 2,
        "next": {"outcome": "unknown", "category": None, "mailbox": "Screener"},
    },
    "plan": {
        "rows": [
            {
                "mail": "M1",
                "sender": "bob@example.org",
                "labels": ["@ToFeed"],
                "action": "triage to Feed",
                "reason": "",
            }
        ],
        "moved_at_once": 0,
    },
}


class Account:
    """An account that answers as it is told, or as :data:`ANSWERS` has it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, object]] = []
        self.outcome: Exception | None = None
        self.may_end: Promise[None] = Promise()
        self.may_end.resolve(None)

    async def _answer(self, name: str, given: object) -> Document:
        self.asked.append((name, given))
        await self.may_end
        if self.outcome is not None:
            raise self.outcome
        return ANSWERS[name]

    def categories(self) -> Document:
        return ANSWERS["categories"]

    async def waiting(self, limit: int | None) -> Document:
        return await self._answer("waiting", limit)

    async def mail(self, mail_id: str) -> Document:
        return await self._answer("mail", mail_id)

    async def senders(self, category: str | None) -> Document:
        return await self._answer("senders", category)

    async def sender(self, address: str) -> Document:
        return await self._answer("sender", address)

    async def plan(self) -> Document:
        return await self._answer("plan", None)

    async def triage(self, document: Mapping[str, Any], by: str) -> Document:
        await self._decide("triage", document, by)
        return {**document, "previous": None, "filed": 3, "by": by}

    async def undo(self, document: Mapping[str, Any], by: str) -> Document:
        await self._decide("undo", document, by)
        return {**document, "category": "Jail", "previous": "Feed", "filed": 0, "by": by}

    async def _decide(self, name: str, document: Mapping[str, Any], by: str) -> None:
        self.asked.append((name, (document, by)))
        await self.may_end
        if self.outcome is not None:
            raise self.outcome


class House:
    """Both sockets of a service, and clients of them."""

    def __init__(self, folder: Path) -> None:
        self.loop = Loop(VirtualClock())
        self.account = Account()
        self.polls = 0
        self.users: dict[int, str] = {os.getuid(): "anna"}
        self._folder = folder
        self.watchers = 0
        self.broadcast = Broadcast(self.loop, Ring("e"), self._on_watched)
        routes = Routes(self, self.broadcast, lambda uid: self.users[uid])
        self.endpoints = [
            Endpoint(self.loop, listen(folder / name), routes.answerer(has_control=has_control))
            for name, has_control in (("status", False), ("control", True))
        ]

    def _on_watched(self) -> None:
        self.watchers += 1

    def snapshot(self) -> Snapshot:
        return SNAPSHOTS["busy"]

    def poll_now(self) -> None:
        self.polls += 1

    def commands(self) -> Commands:
        return self.account

    def ask(
        self, method: str, target: str, body: object = None, on: str = "control"
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the answer; bytes are sent as they are, all else as JSON."""
        sent = (
            body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        )
        head = f"{method} {target} HTTP/1.1\r\nHost: m\r\nConnection: close\r\n"
        received = b""
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(self._folder / on))
            client.setblocking(False)
            client.send(f"{head}Content-Length: {len(sent)}\r\n\r\n".encode() + sent)
            while True:
                self.loop.turn()
                try:
                    piece = client.recv(65536)
                except BlockingIOError:
                    continue
                if not piece:
                    break
                received += piece
        head, _, answer = received.decode().partition("\r\n\r\n")
        first, *fields = head.split("\r\n")
        headers = dict(line.split(": ", 1) for line in fields)
        return int(first.split()[1]), headers, answer.encode()

    def idle(self) -> None:
        """Turn until nothing is left to do at this instant."""
        begin, clock = self.loop.now(), self.loop.clock
        assert isinstance(clock, VirtualClock)
        self.loop.call_at(begin + 1e-6, lambda: None)
        while self.loop.now() == begin:
            self.loop.turn()
        clock.advance(begin - self.loop.now())

    def close(self) -> None:
        for endpoint in self.endpoints:
            endpoint.drain(0)
        self.loop.close()

    def told(self, method: str, target: str, body: object = None, on: str = "control") -> Any:
        """The document of the answer, with its status."""
        status, _headers, answer = self.ask(method, target, body, on)
        document = json.loads(answer)
        if status >= 400 and target != "/healthz":
            validate("error", document)
        return status, document

    def refusal(self, method: str, target: str, body: object = None, on: str = "control") -> Any:
        status, document = self.told(method, target, body, on)
        return status, document["error"]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.close()


OPEN = {
    "/healthz": "GET",
    "/status": "GET",
    "/metrics": "GET",
    "/poll": "POST",
    "/events": "GET",
}
CONTROL = {
    "/categories": "GET",
    "/waiting": "GET",
    "/mail?id=M1": "GET",
    "/senders": "GET",
    "/sender?address=bob@example.org": "GET",
    "/plan": "GET",
    "/triage": "POST",
    "/undo": "POST",
}
TRIAGE = {"address": "bob@example.org", "category": "Feed"}


@pytest.mark.parametrize("on", ["status", "control"])
def test_how_the_service_is_both_sockets_tell(house: House, on: str) -> None:
    for name in ("healthz", "status"):
        status, document = house.told("GET", f"/{name}?whatever", on=on)
        assert status == 200
        validate(name, document)
    assert b"mailroom_polls_total" in house.ask("GET", "/metrics", on=on)[2]
    status, document = house.told("POST", "/poll", on=on)
    assert (status, house.polls) == (202, 1)
    validate("poll", document)


@pytest.mark.parametrize("target", CONTROL)
def test_what_is_about_mail_takes_the_control_socket(house: House, target: str) -> None:
    path = target.partition("?")[0]
    for method in ("GET", "POST", "BREW"):
        status, error = house.refusal(method, target, TRIAGE, on="status")
        assert status == 403
        assert error == (
            f"{path} needs the control socket, control.sock beside this one: group mailroom-control"
        )
    assert house.account.asked == []


def test_what_there_is_is_said_for_each_socket(house: House) -> None:
    status, error = house.refusal("GET", "/", on="status")
    assert (status, error) == (404, f"there is {', '.join(OPEN)}")
    status, error = house.refusal("GET", "/waitin")
    known = ", ".join(target.partition("?")[0] for target in (*OPEN, *CONTROL))
    assert (status, error) == (404, f"there is {known}")


@pytest.mark.parametrize("target", [*OPEN, *CONTROL])
def test_methods_are_those_that_there_are(house: House, target: str) -> None:
    other = "GET" if {**OPEN, **CONTROL}[target] == "POST" else "POST"
    status, headers, _body = house.ask(other, target, b"{}")
    assert status == 405
    assert headers["Allow"] == ("POST" if other == "GET" else "GET, HEAD")


@pytest.mark.parametrize("target", [target for target in CONTROL if CONTROL[target] == "GET"])
def test_what_the_account_tells_is_handed_on_in_the_promised_shape(
    house: House, target: str
) -> None:
    status, document = house.told("GET", target)
    name = target.strip("/").partition("?")[0]
    assert (status, document) == (200, ANSWERS[name])
    validate(name, document)
    head, headers, body = house.ask("HEAD", target)
    assert (head, body) == (200, b"")
    assert int(headers["Content-Length"]) > 2


@pytest.mark.parametrize(
    ("target", "asked"),
    [
        ("/waiting", ("waiting", None)),
        ("/waiting?limit=0", ("waiting", 0)),
        ("/waiting?limit=50", ("waiting", 50)),
        ("/mail?id=M-1_", ("mail", "M-1_")),
        ("/senders", ("senders", None)),
        ("/senders?category=Paper+Trail", ("senders", "Paper Trail")),
        ("/sender?" + urlencode({"address": "a+b@example.org"}), ("sender", "a+b@example.org")),
        ("/plan", ("plan", None)),
    ],
)
def test_the_account_is_asked_for_what_the_query_says(
    house: House, target: str, asked: tuple[str, object]
) -> None:
    assert house.told("GET", target)[0] == 200
    assert house.account.asked == [asked]


@pytest.mark.parametrize(
    ("target", "error"),
    [
        ("/waiting?limit=many", "limit must be a number, not 'many'"),
        ("/waiting?limit=-1", "limit must be a number, not '-1'"),
        ("/waiting?limit=", "limit must be a number, not ''"),
        ("/waiting?limit=" + "9" * 5000, "limit must be a number, not '999"),
        ("/waiting?lmit=5", "/waiting takes limit: 'lmit'"),
        ("/waiting?limit=5&limit=6", "the query names one key more than once"),
        ("/plan?for=bob", "/plan takes no query: 'for'"),
        ("/mail", "/mail needs id, as in /mail?id=…"),
        ("/mail?id=", "/mail needs id, as in /mail?id=…"),
        ("/mail?id=M1%00", "'M1\\x00' is not the id of a mail"),
        ("/sender", "/sender needs address, as in /sender?address=…"),
    ],
)
def test_a_bad_query_is_told_what_is_wrong_with_it(house: House, target: str, error: str) -> None:
    status, said = house.refusal("GET", target)
    assert (status, said[: len(error)]) == (400, error)
    assert house.account.asked == []


@pytest.mark.parametrize(
    "body",
    [
        TRIAGE,
        {"domain": "shop.example", "category": None},
        {"list": "news.example.org", "category": "Feed"},
    ],
)
def test_a_decision_is_carried_out_in_the_name_of_who_asks(
    house: House, body: dict[str, Any]
) -> None:
    assert is_valid("triage-request", body)
    status, document = house.told("POST", "/triage", body)
    assert (status, document) == (200, {**body, "previous": None, "filed": 3, "by": "anna"})
    validate("decision", document)
    assert house.account.asked == [("triage", (body, "anna"))]

    whom = {key: value for key, value in body.items() if key != "category"}
    assert is_valid("undo-request", whom)
    status, document = house.told("POST", "/undo", whom)
    assert (status, document["category"]) == (200, "Jail")
    validate("decision", document)
    assert house.account.asked[1:] == [("undo", (whom, "anna"))]


BAD_BODIES: Mapping[str, tuple[object, str]] = {
    "none": (None, "the body of POST /triage is not JSON"),
    "no JSON": (b"address=bob", "the body of POST /triage is not JSON"),
    "no UTF-8": (b'{"address": "\xff"}', "the body of POST /triage is not JSON"),
    "too deep": (b"[" * 8000, "the body of POST /triage is not JSON"),
    "a list": ([TRIAGE], "the body of POST /triage must be a JSON object"),
    "nobody": ({"category": "Feed"}, "exactly one of address, domain and list is needed"),
    "two": (
        {**TRIAGE, "domain": "example.org"},
        "exactly one of address, domain and list is needed",
    ),
    "no text": ({"address": 7, "category": "Feed"}, "address must be text"),
    "no category": (
        {"address": "bob@example.org"},
        "category is missing: give a name",
    ),
    "a strange category": ({"address": "bob@example.org", "category": 1}, "category must be text"),
    "a strange key": ({**TRIAGE, "dryrun": True}, "'dryrun': POST /triage takes address, category"),
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_bad_body_is_told_what_is_wrong_with_it(house: House, name: str) -> None:
    body, error = BAD_BODIES[name]
    status, said = house.refusal("POST", "/triage", body)
    assert (status, said[: len(error)]) == (400, error)
    assert isinstance(body, bytes) or not is_valid("triage-request", body)
    assert house.account.asked == []


@pytest.mark.parametrize("body", [TRIAGE, {}, {"address": None}, {"address": "a@b", "list": "c"}])
def test_an_undo_names_one_and_no_category(house: House, body: Document) -> None:
    assert house.refusal("POST", "/undo", body)[0] == 400
    assert not is_valid("undo-request", body)


def test_what_the_account_refuses_is_told_with_all_that_it_says(house: House) -> None:
    house.account.outcome = OrderRefused(409, "two labels", categories=["Feed", "Jail"])
    assert house.told("POST", "/triage", TRIAGE) == (
        409,
        {"error": "two labels", "categories": ["Feed", "Jail"]},
    )
    house.account.outcome = OrderRefused(404, "nothing is known", is_unknown=True)
    assert house.told("POST", "/undo", {"list": "a.b"}) == (
        404,
        {"error": "nothing is known", "is_unknown": True},
    )
    house.account.outcome = TransientError("GET https://mail.example: nobody answers there")
    assert house.told("GET", "/waiting") == (
        502,
        {"error": "GET https://mail.example: nobody answers there"},
    )


def test_of_who_hangs_up_a_decision_goes_on_and_a_look_does_not(
    house: House, tmp_path: Path
) -> None:
    house.account.may_end = Promise()
    given_up: list[bool] = []
    house.account.may_end.abandon = lambda: given_up.append(True)
    for begun, request in enumerate((b"GET /plan", b"POST /triage")):
        body = json.dumps(TRIAGE).encode() if begun else b""
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "control"))
            length = b"Content-Length: %d" % len(body)
            client.send(request + b" HTTP/1.1\r\nHost: m\r\n" + length + b"\r\n\r\n" + body)
            while len(house.account.asked) <= begun:
                house.loop.turn()
        while house.endpoints[1]._waiting:
            house.loop.turn()
    assert given_up == [True]  # of the plan


@pytest.mark.parametrize("name", sorted({"error", "poll", "decision", *ANSWERS}))
def test_the_schemas_are_schemas_and_closed(name: str) -> None:
    document = schema(name)
    jsonschema.Draft202012Validator.check_schema(document)
    assert document["additionalProperties"] is False
    assert not is_valid(name, {**ANSWERS.get(name, {}), "surprise": 1})


def test_a_user_has_the_name_that_the_host_gives() -> None:
    assert user_name(0) == "root"


@pytest.mark.parametrize("uid", [65534, 4_000_000_000])
def test_whom_the_host_or_the_namespace_does_not_know_is_unknown(uid: int) -> None:
    assert user_name(uid) == UNKNOWN


def test_a_real_account_answers_in_the_promised_shapes() -> None:
    world = World(CYRUS_3_10)
    mail = world.deliver("Bob <bob@example.org>")[0]
    world.deliver("Anna <anna@example.org>", count=2)
    world.start().settle()
    commands = world.account.commands

    def told(name: str, work: Coroutine[Any, Any, Document]) -> Document:
        task = world.loop.spawn(work, name)
        world.run_until(lambda: task.done)
        validate(name, task.result())
        return task.result()

    validate("categories", commands.categories())
    assert told("waiting", commands.waiting(1))["mails"] == 3
    assert told("mail", commands.mail(mail))["id"] == mail
    decided = told("decision", commands.triage(TRIAGE, "anna"))
    assert (decided["category"], decided["filed"], decided["by"]) == ("Feed", 1, "anna")
    told("decision", commands.triage({"domain": "shop.example", "category": "Feed"}, "anna"))
    told("decision", commands.triage({"list": "news.example.org", "category": "Feed"}, "anna"))
    everybody = told("senders", commands.senders(None))
    assert [len(everybody[kind]) for kind in ("senders", "domains", "lists")] == [1, 1, 1]
    assert told("sender", commands.sender("bob@example.org"))["category"] == "Feed"
    assert told("sender", commands.sender("eve@example.org"))["category"] is None
    assert told("decision", commands.undo({"address": "bob@example.org"}, "anna"))["filed"] == 1
    world.sandbox.label(world.deliver("Eve <eve@example.org>")[0], "@ToFeed")
    assert told("plan", commands.plan())["rows"]


def test_a_user_who_cannot_be_named_owns_no_account() -> None:
    """Not even that of an owner who is called so."""
    account: Any = SimpleNamespace(owners=("anna", UNKNOWN), commands=Account)
    process: Any = SimpleNamespace(is_fleet=True, account=lambda _name: account)
    broadcast = Broadcast(Loop(VirtualClock()), Ring("e"), lambda: None)
    routes = FleetRoutes(process, broadcast, lambda uid: {1000: "anna"}.get(uid, UNKNOWN))
    answer = routes.answerer(has_control=False)
    request = ReceivedRequest("GET", "/accounts/anna/categories", keep_alive=True)
    replies = [answer(request, uid) for uid in (1000, 65534)]
    assert [reply.status for reply in replies if isinstance(reply, Answer)] == [200, 403]
