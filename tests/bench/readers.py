"""Thirty-two readers of events at the control socket, with names, while mail comes in: memory."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

from mailroom.engine.broadcast import READER_LIMIT
from mailroom.engine.sockets import control_path
from tests.bench.effort import Effort
from tests.bench.figures import Figure, worst
from tests.bench.stage import Memory, Stage

_SENDERS = 100
# More than the ring holds: a poll is an event of 200 bytes.
_POLLS = 50


def of_events(effort: Effort) -> Iterator[Figure]:
    grown = [_growth() for _ in range(effort.times(3))]
    name = f"{READER_LIMIT} readers of events, {_SENDERS} new senders by name"
    yield worst(f"{name}: RSS over idle", "MiB", "<=", 1.5, grown)


def _growth() -> float:
    with Stage.open() as stage, contextlib.ExitStack() as readers:
        for _ in range(_POLLS):  # what any poll takes is there before
            stage.process.ask("/poll", "POST")
        stage.settle()
        idle = Memory.of(stage.pid).rss
        path = control_path(stage.process.socket)
        heard = [readers.enter_context(_reader(path)) for _ in range(READER_LIMIT)]
        for number in range(_SENDERS):
            with stage.sandbox.lock:
                stage.sandbox.deliver(f"Somebody <{number}@example.org>")
        stage.settle()
        for _ in range(_POLLS):
            stage.process.ask("/poll", "POST")
        stage.settle()
        memory = Memory.of(stage.pid).rss
        stories = {bytes(_taken(each)) for each in heard}
        if not all(b'"subject"' in story for story in stories):
            raise RuntimeError("the readers have not heard it")
        return memory - idle


@contextlib.contextmanager
def _reader(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(b"GET /events HTTP/1.1\r\nHost: mailroom\r\n\r\n")
        yield connection


def _taken(connection: socket.socket) -> bytearray:
    found = bytearray()
    connection.settimeout(0.2)
    with contextlib.suppress(TimeoutError):
        while piece := connection.recv(65536):
            found += piece
    return found
