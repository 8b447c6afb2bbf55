"""The sandbox on a socket: what only a real connection can show."""

import http.client
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest

from tests.sandbox import FASTMAIL, Delivery, Fault, Sandbox, longest_chain, serve, serve_users

pytestmark = pytest.mark.sandbox

DELAY_SECONDS = 0.1


@dataclass
class House:
    sandbox: Sandbox
    url: str
    connections: list[http.client.HTTPConnection] = field(default_factory=list)
    responses: list[http.client.HTTPResponse] = field(default_factory=list)

    def connect(self) -> http.client.HTTPConnection:
        address = urlsplit(self.url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=10)
        self.connections.append(connection)
        return connection

    def close(self) -> None:
        for response in self.responses:
            response.close()
        for connection in self.connections:
            connection.close()

    def get(
        self, connection: http.client.HTTPConnection, path: str = "/jmap/"
    ) -> http.client.HTTPResponse:
        connection.request("GET", path, headers={"Authorization": self.sandbox.authorization})
        self.responses.append(connection.getresponse())
        return self.responses[-1]


@pytest.fixture
def house() -> Iterator[House]:
    sandbox = Sandbox()
    sandbox.standard_account()
    with serve(sandbox) as running:
        house = House(sandbox, running.url)
        yield house
        house.close()


def test_a_connection_is_kept_alive(house: House) -> None:
    connection = house.connect()
    for _ in range(3):
        assert len(house.get(connection).read()) > 100
    assert len({entry.connection for entry in house.sandbox.log.entries}) == 1


def test_the_api_is_served_at_a_host_of_its_own() -> None:
    sandbox = Sandbox(FASTMAIL)
    with serve(sandbox) as running:
        house = House(sandbox, running.url)
        session = json.loads(house.get(house.connect()).read())
        api = House(sandbox, session["apiUrl"])
        assert urlsplit(api.url).hostname == "127.0.0.2"
        assert json.loads(api.get(api.connect()).read()) != {}
        house.close()
        api.close()


def test_a_delay_passes_for_several_requests_at_once(house: House) -> None:
    house.sandbox.controls.delay_seconds = DELAY_SECONDS

    def ask() -> None:
        connection = house.connect()
        for _ in range(3):
            house.get(connection).read()

    threads = [threading.Thread(target=ask) for _ in range(5)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - started >= 3 * DELAY_SECONDS
    assert len(house.sandbox.log.entries) == 15
    assert len(longest_chain(house.sandbox.log.entries)) == 3


def test_a_body_is_cut_short(house: House) -> None:
    house.sandbox.faults.add(Fault(delivery=Delivery(cut_after=10)))
    response = house.get(house.connect())
    with pytest.raises(http.client.IncompleteRead) as cut:
        response.read()
    assert len(cut.value.partial) == 10


def test_a_body_drips(house: House) -> None:
    connection = house.connect()
    whole = house.get(connection).read()
    drip = Delivery(chunk_bytes=100, pause_seconds=0.001)
    house.sandbox.faults.add(Fault(delivery=drip))
    assert house.get(connection).read() == whole


@pytest.mark.parametrize("breaks", ["before", "after"])
def test_a_connection_breaks_without_an_answer(house: House, breaks: str) -> None:
    house.sandbox.faults.add(Fault(breaks="before" if breaks == "before" else "after"))
    with pytest.raises(http.client.RemoteDisconnected):
        house.get(house.connect())


def test_a_stalled_answer_ends_only_with_the_server() -> None:
    sandbox = Sandbox()
    sandbox.faults.add(Fault(delivery=Delivery(delay_seconds=float("inf"))))
    running = serve(sandbox)
    house = House(sandbox, running.url)
    connection = house.connect()
    connection.request("GET", "/jmap/", headers={"Authorization": sandbox.authorization})
    closing = threading.Thread(target=running.close)
    closing.start()
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        connection.getresponse()
    closing.join()
    house.close()


def test_the_stream_carries_what_happens_and_its_end(house: House) -> None:
    connection = house.connect()
    stream = house.get(connection, "/jmap/eventsource/?types=*&closeafter=no&ping=0")
    assert stream.status == 200
    house.sandbox.deliver("Bob <bob@example.org>")
    state = house.sandbox.states()["Email"]
    assert stream.readline() == f"id: {state}\n".encode()
    house.sandbox.close_feeds()
    assert stream.read().endswith(b"\n\n")


def test_a_client_that_goes_away_leaves_no_feed_open(house: House) -> None:
    connection = house.connect()
    stream = house.get(connection, "/jmap/eventsource/?types=*&closeafter=no&ping=0")
    before = threading.active_count()
    stream.close()
    connection.close()
    deadline = time.monotonic() + 10
    while threading.active_count() >= before:
        assert time.monotonic() < deadline, "the thread of the stream is still there"


def test_closing_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    sandbox = Sandbox()
    with serve(sandbox) as running:
        house = House(sandbox, running.url)
        for _ in range(3):
            house.get(house.connect()).read()
        house.get(house.connect(), "/jmap/eventsource/?types=*&closeafter=no&ping=0")
    deadline = time.monotonic() + 10
    while threading.active_count() > before:
        assert time.monotonic() < deadline, "a thread is still there"
    house.close()


def test_several_users_share_a_port_and_nobody_else_gets_in() -> None:
    users = [Sandbox(user=name, password=f"secret-of-{name}") for name in ("anna", "otto")]
    with serve_users(users) as running:
        told = [_session(running.url, each.authorization) for each in users]
        assert [(status, session["username"]) for status, session in told] == [
            (200, "anna"),
            (200, "otto"),
        ]
        assert _session(running.url, "Basic bm9ib2R5Ong=")[0] == 401


def _session(url: str, authorization: str) -> tuple[int, dict[str, str]]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc)
    try:
        connection.request("GET", "/jmap/", headers={"Authorization": authorization})
        response = connection.getresponse()
        return response.status, json.loads(response.read() or b"{}")
    finally:
        connection.close()
