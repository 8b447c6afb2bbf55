"""From SIGTERM to the end of the process, whatever it was doing."""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator

from tests.bench import trixie
from tests.bench.effort import Effort
from tests.bench.figures import Figure, worst
from tests.bench.stage import DELAY, Stage
from tests.sandbox import Entry, Request
from tests.system.names import name_server
from tests.system.unit import Unit

_LIMIT_MS = 50
_MOMENTS = 40
_CLOSED = "http://127.0.0.1:9"
_UNKNOWN = "https://mail.example.test"


def moments(effort: Effort) -> Iterator[Figure]:
    """Some 200 in all: 40 of each of four conditions, and each request of several polls."""
    each = effort.times(_MOMENTS)
    yield _figure("in every request of a poll", list(_in_every_request(effort)))
    yield _figure("idle", [_when_idle() for _ in range(each)])
    with trixie.booted() as host:
        Unit(host)
        backing_off = trixie.probe(host, "stops", each, _config(_CLOSED))
        yield _figure("backing off, trixie", backing_off)
        with host.network(), _full_backlog() as port:
            connecting = trixie.probe(host, "stops", each, _config(f"http://127.0.0.1:{port}"))
        yield _figure("connecting, trixie", connecting)
        with name_server(host, silent=True):
            resolving = trixie.probe(host, "stops", each, _config(_UNKNOWN))
        yield _figure("silent name server, trixie", resolving)


def _figure(name: str, seconds: list[float]) -> Figure:
    return worst(f"TERM to exit: {name}", "ms", "<=", _LIMIT_MS, [s * 1000 for s in seconds])


def _config(url: str) -> str:
    return f"jmap:\n  url: {url}\n  username: alice\ncarddav:\n  url: {url}\n"


def _when_idle() -> float:
    with Stage.open() as stage:
        begun = time.monotonic()
        stage.process.send(signal.SIGTERM)
        stage.process.child.wait()
        return time.monotonic() - begun


def _in_every_request(effort: Effort) -> Iterator[float]:
    """A new sender's poll has nine requests; stopped before each of them is answered."""
    for _ in range(effort.times(5)):
        for number in range(1, 10):
            with Stage.open() as stage:
                yield _stopped_in(stage, number)


def _stopped_in(stage: Stage, number: int) -> float:
    mails = stage.deliver("Bob <bob@example.org>", 20)
    stage.settle()
    stage.sandbox.controls.delay_seconds = DELAY
    begun = stage.sandbox.log.entries[-1].number
    told: list[float] = []
    is_told = threading.Event()

    def stop(entry: Entry, _request: Request) -> None:
        if entry.number - begun == number:
            told.append(time.monotonic())
            os.kill(stage.pid, signal.SIGTERM)
            is_told.set()

    stage.sandbox.before(stop)
    with stage.sandbox.lock:
        stage.sandbox.label(mails[0], "@ToFeed")
    stage.process.child.wait()  # with a timeout it would look only every 50 ms
    ended = time.monotonic()
    is_told.wait(1)
    return ended - told[0]


class _full_backlog:  # noqa: N801
    """A port of 127.0.0.1 whose connections are never made: its queue is full."""

    def __enter__(self) -> int:
        self._server = socket.create_server(("127.0.0.1", 0), backlog=0)
        port: int = self._server.getsockname()[1]
        self._waiting = [socket.socket() for _ in range(4)]
        for client in self._waiting:
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
        return port

    def __exit__(self, *_: object) -> None:
        for each in (self._server, *self._waiting):
            each.close()
