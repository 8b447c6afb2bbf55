"""Readers of the event streams: quick ones, slow ones, those that come back, and too many."""

import fcntl
import json
import socket
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailroom.engine.broadcast import PING_SECONDS, READER_LIMIT, Broadcast
from mailroom.engine.endpoint import CLIENT_LIMIT, PATIENCE_SECONDS
from mailroom.rules.status.events import EventKind, ServiceEvent
from mailroom.wire import sse
from tests.schemas import validate
from tests.test_routes import House


class Reader:
    """Reads ``/events`` by Mailroom's own parser, between the turns of the loop."""

    def __init__(self, house: House, path: Path, target: str = "/events", last: str = "") -> None:
        self._house = house
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._socket.setblocking(False)
        header = f"Last-Event-ID: {last}\r\n" if last else ""
        self._socket.send(f"GET {target} HTTP/1.1\r\nHost: m\r\n{header}\r\n".encode())
        self.parser = sse.Parser(last)
        self.head = b""
        self.raw = b""
        self.events: list[sse.Event] = []
        self.is_closed = False

    def turn(self) -> "Reader":
        """Let the service do what there is to do now, and take what has come."""
        before = -1
        while before < len(self.head) + len(self.raw):
            before = len(self.head) + len(self.raw)
            self._house.idle()
            self.take()
        return self

    def take(self) -> None:
        try:
            while piece := self._socket.recv(65536):
                self._hear(piece)
            self.is_closed = True
        except BlockingIOError:
            pass

    def _hear(self, piece: bytes) -> None:
        if b"\r\n\r\n" not in self.head:
            self.head += piece
            end = self.head.find(b"\r\n\r\n") + 4
            if end < 4:
                return
            self.head, piece = self.head[:end], self.head[end:]
        self.raw += piece
        self.events += self.parser.feed(piece)

    @property
    def status(self) -> int:
        return int(self.head.split()[1])

    @property
    def told(self) -> list[tuple[str, Any]]:
        return [(each.type, json.loads(each.data)) for each in self.events]

    @property
    def waiting_bytes(self) -> int:
        """What the kernel holds for it."""
        return int.from_bytes(fcntl.ioctl(self._socket, termios.FIONREAD, bytes(4)), sys.byteorder)

    def finish(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    def say(self, data: bytes) -> None:
        self._socket.send(data)

    def hang_up(self) -> None:
        self._socket.close()


class Hall:
    """A house and its readers."""

    def __init__(self, folder: Path) -> None:
        self.house = House(folder)
        self.broadcast: Broadcast = self.house.broadcast
        self._folder = folder
        self.readers: list[Reader] = []

    def reader(self, on: str = "control", target: str = "/events", last: str = "") -> Reader:
        reader = Reader(self.house, self._folder / on, target, last)
        self.readers.append(reader)
        return reader.turn()

    def close(self) -> None:
        for reader in self.readers:
            reader.hang_up()
        self.broadcast.close()
        self.house.close()

    def tell(self, number: int, more: dict[str, Any] | None = None, size: int = 0) -> None:
        document = {"number": number, "padding": "x" * size}
        self.broadcast.publish(ServiceEvent(EventKind.RELOAD, document, more))


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    made = Hall(tmp_path)
    yield made
    made.close()


def numbers(reader: Reader) -> list[Any]:
    return [
        ("lost", document["count"]) if kind == "lost" else document["number"]
        for kind, document in reader.told
    ]


def test_readers_hear_what_happens_from_then_on(hall: Hall) -> None:
    hall.tell(1)
    quick = hall.reader()
    assert quick.status == 200
    assert b"\r\nContent-Type: text/event-stream\r\n" in quick.head
    assert quick.parser.retry_seconds == 1.0
    hall.tell(2)
    hall.tell(3)
    assert numbers(quick.turn()) == [2, 3]
    assert [each.id for each in quick.events] == ["e-2", "e-3"]


def test_names_are_for_the_control_socket_alone(hall: Hall) -> None:
    status, control = hall.reader("status"), hall.reader("control")
    hall.tell(1, {"name": "Bob"})
    assert status.turn().told == [("reload", {"number": 1, "padding": ""})]
    assert control.turn().told == [("reload", {"number": 1, "padding": "", "name": "Bob"})]


@pytest.mark.parametrize("by", ["header", "query"])
def test_who_was_cut_off_goes_on_where_it_was(hall: Hall, by: str) -> None:
    first = hall.reader()
    hall.tell(1)
    first.turn().hang_up()
    hall.tell(2)
    hall.tell(3)
    last = first.parser.last_event_id
    back = (
        hall.reader(last=last)
        if by == "header"
        else hall.reader(target=f"/events?last_event_id={last}")
    )
    assert numbers(back) == [2, 3]


def test_a_reader_has_no_deadline_and_is_pinged(hall: Hall) -> None:
    reader = hall.reader()
    begin = hall.house.loop.now()
    while hall.house.loop.now() < begin + 20 * PATIENCE_SECONDS:
        hall.house.loop.turn()
    reader.take()
    assert reader.raw.count(b": ping\n\n") == int(20 * PATIENCE_SECONDS / PING_SECONDS)
    assert reader.events == []
    hall.tell(1)
    assert numbers(reader.turn()) == [1]


def test_a_slow_reader_loses_the_oldest_is_told_how_many_and_holds_up_nobody(hall: Hall) -> None:
    slow, quick = hall.reader(), hall.reader()
    for number in range(1, 1001):
        hall.tell(number, size=1000)
        hall.house.idle()
        quick.take()
    assert numbers(quick) == list(range(1, 1001))
    heard = numbers(slow.turn())
    [lost] = [each for each in heard if isinstance(each, tuple)]
    validate("event-lost", {"count": lost[1]})
    at = heard.index(lost)
    assert heard[:at] == list(range(1, at + 1))
    assert heard[at + 1 :] == list(range(at + lost[1] + 1, 1001))
    # What it has missed is what neither its socket nor the ring had room for.
    assert 600 < lost[1] < 800


def test_what_waits_for_a_slow_reader_is_bounded(hall: Hall) -> None:
    slow = hall.reader()
    for number in range(1000):
        hall.tell(number, size=1000)
        hall.house.idle()
    [reader] = hall.broadcast.control._readers.values()
    assert 0 < len(reader.unsent) <= 16_384
    assert slow.told == []
    # In the kernel, which by itself would take 200 KiB (Linux 6.1).
    assert 0 < slow.waiting_bytes <= 65_536


@pytest.mark.parametrize("on", ["status", "control"])
def test_readers_are_counted_apart_from_clients_and_a_further_one_is_told(
    hall: Hall, on: str
) -> None:
    readers = [hall.reader(on) for _ in range(READER_LIMIT)]
    for _ in range(CLIENT_LIMIT + 10):
        assert hall.house.told("GET", "/status", on=on)[0] == 200
    assert hall.house.refusal("GET", "/events", on=on)[0] == 503
    hall.tell(1)
    assert [numbers(reader.turn()) for reader in readers] == [[1]] * READER_LIMIT
    other = "control" if on == "status" else "status"
    assert hall.reader(other).status == 200
    readers[0].hang_up()
    hall.house.idle()
    assert hall.reader(on).status == 200


def test_who_is_gone_is_forgotten_and_who_only_has_said_all_is_not(hall: Hall) -> None:
    gone, silent, chatty = hall.reader(), hall.reader(), hall.reader()
    gone.hang_up()
    silent.finish()
    chatty.say(b"GET /status HTTP/1.1\r\n\r\n" * 100)
    turns = hall.house.loop.turns
    hall.house.idle()
    assert hall.house.loop.turns - turns < 50
    assert len(hall.broadcast.control._readers) == 2
    hall.tell(1)
    assert numbers(silent.turn()) == numbers(chatty.turn()) == [1]


def test_somebody_is_told_when_watching_begins_at_the_control_socket(hall: Hall) -> None:
    hall.reader("status")
    assert hall.house.watchers == 0
    one, other = hall.reader(), hall.reader()
    assert (hall.house.watchers, hall.broadcast.control.has_readers) == (1, True)
    one.hang_up()
    other.hang_up()
    hall.house.idle()
    assert not hall.broadcast.control.has_readers
    hall.reader()
    assert hall.house.watchers == 2


def test_a_stop_hangs_up(hall: Hall) -> None:
    reader = hall.reader()
    hall.broadcast.close()
    assert reader.turn().is_closed
    assert hall.house.refusal("GET", "/events")[0] == 503


def test_head_tells_what_there_would_be(hall: Hall) -> None:
    status, headers, body = hall.house.ask("HEAD", "/events")
    assert (status, headers["Content-Type"], body) == (200, "text/event-stream", b"")
    assert not hall.broadcast.control.has_readers
