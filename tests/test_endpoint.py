"""The status socket under polite, slow, silent, rude and many clients."""

import errno
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailroom.engine.caller import LateAnswer, Reply
from mailroom.engine.endpoint import (
    CLIENT_LIMIT,
    PATIENCE_SECONDS,
    WAITING_LIMIT,
    Endpoint,
)
from mailroom.engine.loop import Loop, Promise
from mailroom.engine.sockets import listen
from mailroom.engine.tasks import Cancelled
from mailroom.wire.http1 import Answer, ReceivedRequest, json_answer
from tests.virtual import VirtualClock

GET = b"GET /healthz HTTP/1.1\r\nHost: mailroom\r\n\r\n"
BIG = 4 << 20  # more than any socket buffer takes at once


class Client:
    """A client of the status socket, driven by hand between the turns of the loop."""

    def __init__(self, service: "Service") -> None:
        self._service = service
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(service.path))
        self._socket.setblocking(False)
        self.is_closed = False
        self._received = bytearray()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def finish(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    def hang_up(self) -> None:
        self._socket.close()

    def take(self) -> None:
        """Receive what is there."""
        try:
            while not self.is_closed:
                data = self._socket.recv(1 << 16)
                self._received += data
                self.is_closed = not data
        except BlockingIOError:
            pass
        except ConnectionResetError:
            self.is_closed = True

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """The next answer, taken while the loop turns: status, headers and body."""
        while (end := self._received.find(b"\r\n\r\n")) < 0:
            self._turn()
        lines = bytes(self._received[:end]).decode("ascii").split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:])
        size = end + 4 + int(headers["Content-Length"])
        while len(self._received) < size:
            self._turn()
        body = bytes(self._received[end + 4 : size])
        del self._received[:size]
        return int(lines[0].split()[1]), headers, body

    @property
    def received(self) -> bytes:
        """What was taken, and is no answer yet that anybody has looked at."""
        return bytes(self._received)

    def head(self) -> bytes:
        """The next answer, to the end of its head."""
        while b"\r\n\r\n" not in self._received:
            self._turn()
        head, _, rest = bytes(self._received).partition(b"\r\n\r\n")
        self._received[:] = rest
        return head

    def wait_for_the_end(self) -> bytes:
        """What comes until the service closes the connection."""
        self.take()
        while not self.is_closed:
            self._service.loop.turn()
            self.take()
        return bytes(self._received)

    def _turn(self) -> None:
        """Make room first: with nothing to do the virtual clock would jump."""
        before = len(self._received)
        self.take()
        if len(self._received) == before and not self.is_closed:
            self._service.loop.turn()
            self.take()
        assert len(self._received) > before or not self.is_closed


def client_count(endpoint: Endpoint) -> int:
    """How many the service has let in: from outside, no one client can tell."""
    return len(endpoint._clients) + len(endpoint._waiting)


async def _for_ever() -> Answer:
    return await Promise[Answer]()


class Service:
    """An endpoint on a loop with a virtual clock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = VirtualClock()
        self.loop = Loop(self.clock)
        self.polls = 0
        self.is_drained = False
        self.clients: list[Client] = []
        self.endpoint = Endpoint(
            self.loop,
            listen(path),
            self.answer,
        )

    def answer(self, asked: ReceivedRequest, _uid: int) -> Reply:
        match asked.path:
            case "/wait":
                return LateAnswer(_for_ever())
            case "/healthz":
                return json_answer(200, {"status": "ok"})
            case "/big":
                return Answer(200, b"x" * BIG, "text/plain")
            case "/poll":
                return self.poll()
            case path:
                return json_answer(404, {"error": path})

    @property
    def client_count(self) -> int:
        return client_count(self.endpoint)

    def poll(self) -> Answer:
        self.polls += 1
        return json_answer(202, {"status": "accepted"})

    def connect(self) -> Client:
        self.clients.append(Client(self))
        return self.clients[-1]

    def drain(self, seconds: float = 0.02) -> None:
        self.is_drained = True
        self.endpoint.drain(seconds)

    def ask(self, data: bytes) -> Client:
        client = self.connect()
        client.send(data)
        return client


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    served = Service(tmp_path / "status.sock")
    yield served
    for client in served.clients:
        client.hang_up()
    if not served.is_drained:
        served.drain(0)
    served.loop.close()


def request(method: str, target: str, *fields: str) -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: m", *fields, "", ""]).encode()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (request("GET", "/healthz"), 200),
        (request("POST", "/poll", "Content-Length: 2") + b"{}", 202),
        (request("GET", "/"), 404),
        (b"hello\r\n\r\n", 400),
        (request("GET", "/", "X: " + "x" * 9000), 431),
        (request("POST", "/poll", "Content-Length: 9000"), 413),
    ],
)
def test_requests_are_answered_by_whom_they_are_for(
    service: Service, data: bytes, status: int
) -> None:
    answered, headers, body = service.ask(data).answer()
    assert (answered, headers["Content-Type"]) == (status, "application/json")
    assert ("error" in json.loads(body)) == (status >= 400)
    assert service.polls == (status == 202)


def test_head_is_answered_like_get_without_the_body(service: Service) -> None:
    client = service.ask(request("HEAD", "/healthz") + GET)
    head = client.head()
    status, headers, body = client.answer()
    assert status == 200
    assert f"Content-Length: {len(body)}".encode() in head
    assert headers["Connection"] == "keep-alive"


def test_the_date_is_the_loops(service: Service) -> None:
    service.clock.advance(-service.clock.wall())
    headers = service.ask(GET).answer()[1]
    assert headers["Date"] == "Thu, 01 Jan 1970 00:00:00 GMT"


@pytest.mark.parametrize(
    "data", [b"GET /healthz HTTP/1.0\r\n\r\n", request("GET", "/healthz", "Connection: close")]
)
def test_the_connection_is_closed_when_the_client_wants_it(service: Service, data: bytes) -> None:
    client = service.ask(data)
    assert client.answer()[1]["Connection"] == "close"
    client.wait_for_the_end()
    assert service.client_count == 0


def test_the_connection_is_closed_after_a_request_that_cannot_be_understood(
    service: Service,
) -> None:
    client = service.ask(b"\0\0\0\n\n" + GET)
    assert client.answer()[0] == 400
    assert client.wait_for_the_end() == b""


def test_one_connection_serves_many_requests(service: Service) -> None:
    client = service.connect()
    for _ in range(10):
        client.send(GET)
        assert client.answer()[0] == 200
    assert service.client_count == 1


def test_pipelined_requests_are_answered_in_their_order(service: Service) -> None:
    client = service.ask((GET + request("GET", "/nowhere") + request("POST", "/poll")) * 40)
    assert [client.answer()[0] for _ in range(120)] == [200, 404, 202] * 40


def test_a_client_that_pipelines_is_served_once_a_turn(service: Service) -> None:
    greedy = service.ask(request("POST", "/poll") * 100)
    service.loop.turn()
    before = service.polls
    service.loop.turn()
    assert service.polls == before + 1
    modest = service.ask(GET)
    assert modest.answer()[0] == 200
    assert service.polls < 10
    assert greedy.answer()[0] == 202


def test_a_client_that_has_said_all_is_answered_all_the_same(service: Service) -> None:
    client = service.ask(GET * 2)
    client.finish()
    assert [client.answer()[0] for _ in range(2)] == [200, 200]
    assert client.wait_for_the_end() == b""


@pytest.mark.parametrize("sent", [b"", GET[:-1], GET + GET[:-2]])
def test_a_request_has_five_seconds_to_be_complete(service: Service, sent: bytes) -> None:
    begin = service.clock.now()
    client = service.ask(sent)
    service.loop.turn()
    if sent.startswith(GET):
        client.answer()
    assert client.wait_for_the_end() == b""
    assert service.clock.now() == begin + PATIENCE_SECONDS


def test_dripping_bytes_does_not_buy_time(service: Service) -> None:
    begin = service.clock.now()
    client = service.connect()
    for byte in GET:
        if client.is_closed:
            break
        client.send(bytes([byte]))
        service.loop.turn()
        service.clock.advance(1)
        service.loop.turn()
        client.take()
    assert client.is_closed
    assert service.clock.now() <= begin + PATIENCE_SECONDS + 1


def test_a_kept_connection_is_closed_after_five_idle_seconds(service: Service) -> None:
    client = service.connect()
    for _ in range(3):
        client.send(GET)
        assert client.answer()[0] == 200
        service.clock.advance(PATIENCE_SECONDS - 1)
    begin = service.clock.now() - (PATIENCE_SECONDS - 1)
    assert client.wait_for_the_end() == b""
    assert service.clock.now() == begin + PATIENCE_SECONDS


def test_the_idle_seconds_count_from_the_moment_when_an_answer_is_taken(service: Service) -> None:
    client = service.ask(request("GET", "/big"))
    service.loop.turn()
    service.clock.advance(PATIENCE_SECONDS - 1)
    assert client.answer()[2] == b"x" * BIG
    taken = service.clock.now()
    assert client.wait_for_the_end() == b""
    assert service.clock.now() == taken + PATIENCE_SECONDS


def test_an_answer_that_nobody_takes_is_dropped_after_five_seconds(service: Service) -> None:
    begin = service.clock.now()
    lazy = service.ask(request("GET", "/big"))
    while service.clock.now() < begin + PATIENCE_SECONDS:
        service.loop.turn()
    assert service.client_count == 0
    assert len(lazy.wait_for_the_end()) < BIG


def test_an_answer_larger_than_the_sockets_buffer_arrives_whole(service: Service) -> None:
    client = service.ask(request("GET", "/big"))
    assert client.answer()[2] == b"x" * BIG


def test_others_are_served_while_one_does_not_take_its_answer(service: Service) -> None:
    lazy = service.ask(request("GET", "/big") + GET)
    service.loop.turn()
    for _ in range(5):
        assert service.ask(GET).answer()[0] == 200
    assert lazy.answer()[2] == b"x" * BIG
    assert lazy.answer()[0] == 200


@pytest.mark.parametrize(
    "data", [b"", GET[:9], GET, request("GET", "/big"), GET * 20 + request("GET", "/big")]
)
def test_a_client_that_is_gone_is_forgotten(service: Service, data: bytes) -> None:
    begin = service.clock.now()
    service.ask(data).hang_up()
    noticed = service.ask(data)
    service.loop.turn()
    noticed.hang_up()
    assert service.ask(GET).answer()[0] == 200
    while service.client_count > 1:
        service.loop.turn()
    assert service.clock.now() == begin


def test_of_too_many_clients_the_one_that_kept_us_waiting_longest_has_to_go(
    service: Service,
) -> None:
    taking = service.ask(request("GET", "/big"))
    service.loop.turn()
    silent = [service.connect() for _ in range(CLIENT_LIMIT - 1)]
    while service.client_count < CLIENT_LIMIT:
        service.loop.turn()
    assert service.ask(GET).answer()[0] == 200
    for client in silent:
        client.take()
    assert [client.is_closed for client in silent] == [True] + [False] * (CLIENT_LIMIT - 2)
    assert taking.answer()[2] == b"x" * BIG


def test_a_thousand_silent_clients_keep_nobody_from_an_answer(service: Service) -> None:
    begin = service.clock.now()
    for _ in range(1000 // 50):
        crowd = [service.connect() for _ in range(50)]
        assert service.ask(GET).answer()[0] == 200
        assert service.client_count <= CLIENT_LIMIT
        for client in crowd:
            client.take()
    assert service.clock.now() == begin


class Exhausted:
    """A listener that is always ready and cannot accept, until it is told that it can."""

    def __init__(self, listener: socket.socket, error: int) -> None:
        self._listener = listener
        self._error = error
        self.attempts = 0
        self.is_exhausted = True

    def accept(self) -> tuple[socket.socket, object]:
        self.attempts += 1
        if self.is_exhausted:
            raise OSError(self._error, os.strerror(self._error))
        return self._listener.accept()

    def __getattr__(self, name: str) -> object:
        return getattr(self._listener, name)


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_what_cannot_be_let_in_does_not_make_the_loop_spin(error: int, tmp_path: Path) -> None:
    clock = VirtualClock()
    loop = Loop(clock)
    listener = Exhausted(listen(tmp_path / "s"), error)
    endpoint = Endpoint(
        loop,
        listener,  # type: ignore[arg-type]
        lambda _request, _uid: Answer(200),
    )
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "s"))
        begin = clock.now()
        while clock.now() < begin + 10:
            loop.turn()
        assert listener.attempts <= 11
        listener.is_exhausted = False
        while not client_count(endpoint):
            loop.turn()
    endpoint.drain(0)
    loop.close()


def answered(clients: list[Client]) -> list[bool]:
    for client in clients:
        client.take()
        assert client.is_closed
    return [client.wait_for_the_end().startswith(b"HTTP/1.1 200 ") for client in clients]


def test_drain_answers_what_was_asked_and_drops_the_rest(service: Service) -> None:
    half = service.ask(GET[:20])
    kept = service.ask(GET)
    kept.answer()
    asked = [service.connect() for _ in range(5)]
    while service.client_count < 7:
        service.loop.turn()
    kept.send(GET)
    for client in asked:
        client.send(GET)
    service.drain()
    assert answered([half, kept, *asked]) == [False, True, *[True] * 5]
    assert service.client_count == 0


def test_drain_says_that_the_connection_ends(service: Service) -> None:
    client = service.connect()
    service.loop.turn()
    client.send(GET)
    service.drain()
    assert b"\r\nConnection: close\r\n" in client.wait_for_the_end()


def test_drain_lets_nobody_in_any_more(service: Service) -> None:
    service.drain()
    with socket.socket(socket.AF_UNIX) as late, pytest.raises(ConnectionRefusedError):
        late.connect(str(service.path))


@pytest.mark.parametrize("data", [b"", GET[:20], request("GET", "/big")])
def test_drain_waits_for_nobody_longer_than_it_was_given(service: Service, data: bytes) -> None:
    """One that waits for ever would not come back."""
    service.ask(data)
    service.loop.turn()
    begin = time.monotonic()
    service.drain(0.02)
    assert time.monotonic() - begin > 0.015
    assert service.client_count == 0


def test_drain_of_nobody_waits_for_nobody(service: Service) -> None:
    service.drain(3600)


def test_the_answerer_is_asked_with_what_was_read(tmp_path: Path) -> None:
    seen: list[ReceivedRequest] = []

    def answer(asked: ReceivedRequest, _uid: int) -> Answer:
        seen.append(asked)
        return Answer(200)

    loop = Loop(VirtualClock())
    endpoint = Endpoint(loop, listen(tmp_path / "s"), answer)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "s"))
        client.sendall(request("PUT", "/a?b"))
        while not seen:
            loop.turn()
    endpoint.drain(0)
    loop.close()
    assert seen == [ReceivedRequest("PUT", "/a", True, {"b": ""})]


class Worker:
    """What takes time on the service: ``/read`` and ``/decide`` end when the test says so."""

    def __init__(self) -> None:
        self.begun: list[Promise[str]] = []
        self.ended: list[str] = []

    async def answer(self, name: str) -> Answer:
        promise: Promise[str] = Promise()
        self.begun.append(promise)
        try:
            said = await promise
        except Exception:
            self.ended.append(f"{name} failed")
            raise
        except BaseException:
            self.ended.append(f"{name} broken off")
            raise
        self.ended.append(name)
        return json_answer(200, {"said": said})

    def finish(self, said: str = "done") -> None:
        for promise in self.begun:
            promise.resolve(said)


DECIDE, READ = request("POST", "/decide"), request("GET", "/read")


@pytest.fixture
def worker(service: Service) -> Worker:
    worker = Worker()
    others = service.endpoint._answer

    def answer(asked: ReceivedRequest, uid: int) -> Reply:
        match asked.path:
            case "/read":
                return LateAnswer(worker.answer("reading"))
            case "/decide":
                return LateAnswer(worker.answer("decision"), goes_on=True)
        return others(asked, uid)

    service.endpoint._answer = answer
    return worker


def begin(service: Service, worker: Worker, data: bytes, number: int = 1) -> list[Client]:
    """So many clients for whom the service works."""
    wanted = len(worker.begun) + number
    clients = []
    for _ in range(number):
        clients.append(service.ask(data))
        service.loop.turn()  # no listener keeps so many
    while len(worker.begun) < wanted:
        service.loop.turn()
    return clients


def test_who_waits_for_work_has_no_deadline(service: Service, worker: Worker) -> None:
    [client] = begin(service, worker, READ)
    service.clock.advance(3600)
    assert service.ask(GET).answer()[0] == 200
    worker.finish("an hour later")
    status, headers, body = client.answer()
    assert (status, headers["Connection"]) == (200, "keep-alive")
    assert json.loads(body) == {"said": "an hour later"}
    asked = service.clock.now()
    assert client.wait_for_the_end() == b""
    assert service.clock.now() == asked + PATIENCE_SECONDS


def test_who_waits_for_work_costs_others_nothing(service: Service, worker: Worker) -> None:
    waiting = begin(service, worker, DECIDE, CLIENT_LIMIT)
    for _ in range(3 * CLIENT_LIMIT // 16):
        for silent in [service.connect() for _ in range(16)]:
            silent.take()
        assert service.ask(GET).answer()[0] == 200
    turns = service.loop.turns
    assert service.ask(GET).answer()[0] == 200
    assert service.loop.turns - turns < 10
    worker.finish()
    assert [client.answer()[0] for client in waiting] == [200] * CLIENT_LIMIT


def test_work_of_too_many_is_not_begun(service: Service, worker: Worker) -> None:
    waiting = begin(service, worker, DECIDE, WAITING_LIMIT)
    late = service.ask(DECIDE)
    status, headers, body = late.answer()
    assert (status, headers["Retry-After"]) == (503, "1")
    assert json.loads(body)["error"].endswith("; repeat")
    assert len(worker.begun) == WAITING_LIMIT
    worker.finish()
    assert [client.answer()[0] for client in waiting] == [200] * WAITING_LIMIT
    late.send(DECIDE)
    while len(worker.begun) == WAITING_LIMIT:
        service.loop.turn()
    worker.finish()
    assert late.answer()[0] == 200


def test_decisions_of_those_who_have_hung_up_count(service: Service, worker: Worker) -> None:
    for client in begin(service, worker, DECIDE, WAITING_LIMIT):
        client.hang_up()
    while service.client_count:
        service.loop.turn()
    assert service.ask(DECIDE).answer()[0] == 503
    worker.finish()
    assert service.ask(GET).answer()[0] == 200
    while len(worker.ended) < WAITING_LIMIT:
        service.loop.turn()
    begin(service, worker, DECIDE)


def test_what_is_asked_behind_work_is_answered_after_it(service: Service, worker: Worker) -> None:
    [client] = begin(service, worker, DECIDE + GET + READ + GET)
    assert service.ask(GET).answer()[0] == 200
    client.take()
    assert client.received == b""
    worker.finish("first")
    assert json.loads(client.answer()[2]) == {"said": "first"}
    assert json.loads(client.answer()[2]) == {"status": "ok"}
    while len(worker.begun) < 2:
        service.loop.turn()
    worker.finish("second")
    assert json.loads(client.answer()[2]) == {"said": "second"}
    assert json.loads(client.answer()[2]) == {"status": "ok"}


def test_a_client_that_said_all_and_waits_gets_its_answer(service: Service, worker: Worker) -> None:
    [client] = begin(service, worker, READ)
    client.finish()
    turns = service.loop.turns
    assert service.ask(GET).answer()[0] == 200
    assert service.loop.turns - turns < 10  # its end stays readable, and must not turn the loop
    worker.finish()
    assert client.answer()[0] == 200
    assert client.wait_for_the_end() == b""


@pytest.mark.parametrize(
    ("data", "ended"), [(READ, ["reading broken off"]), (DECIDE, ["decision"])]
)
def test_of_a_client_that_hangs_up_reading_ends_and_a_decision_goes_on(
    service: Service, worker: Worker, data: bytes, ended: list[str]
) -> None:
    [client] = begin(service, worker, data)
    client.hang_up()
    while service.client_count:
        service.loop.turn()
    worker.finish()
    assert service.ask(GET).answer()[0] == 200
    assert worker.ended == ended


@pytest.mark.parametrize("hangs_up", [False, True])
def test_a_bug_in_the_work_comes_out_of_the_loop(
    service: Service, worker: Worker, hangs_up: bool
) -> None:
    [client] = begin(service, worker, DECIDE)
    if hangs_up:
        client.hang_up()
        while service.client_count:
            service.loop.turn()
    worker.begun[0].reject(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        service.loop.run()
    assert service.ask(GET).answer()[0] == 200


def test_drain_breaks_work_off_and_says_so(service: Service, worker: Worker) -> None:
    waiting = [*begin(service, worker, READ), *begin(service, worker, DECIDE + GET)]
    service.drain()
    for client in waiting:
        head, _, body = client.wait_for_the_end().partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"Connection: close" in head
        assert json.loads(body)["error"] == "the service is stopping, or was reloaded; repeat"
    assert worker.ended == ["reading broken off", "decision broken off"]
    assert service.client_count == 0


def test_work_that_a_reload_breaks_off_is_to_be_repeated(service: Service, worker: Worker) -> None:
    gone, client = begin(service, worker, DECIDE, 2)
    gone.hang_up()
    while service.client_count > 1:
        service.loop.turn()
    for begun in worker.begun:
        begun.reject(Cancelled("the account is another one"))
    status, headers, _body = client.answer()
    assert (status, headers["Connection"]) == (503, "keep-alive")


def test_the_answerer_knows_whose_process_asks(service: Service) -> None:
    seen: list[int] = []

    def answer(_asked: ReceivedRequest, uid: int) -> Answer:
        seen.append(uid)
        return Answer(200)

    service.endpoint._answer = answer
    service.ask(GET).answer()
    assert seen == [os.getuid()]
