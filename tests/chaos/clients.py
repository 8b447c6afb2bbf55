"""Rude clients of both sockets: memory stays bounded, and others are answered."""

import contextlib
import gc
import os
import resource
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from mailroom.engine.endpoint import CLIENT_LIMIT, PATIENCE_SECONDS
from tests.chaos.table import Case
from tests.test_broadcast import Hall
from tests.test_endpoint import GET, Client, Service, request

MIB = 1 << 20
_CROWD = 1000
_POLITE_EVERY = 50

Rudeness = Callable[[Service, int], Client]


def _ask(data: bytes) -> Rudeness:
    return lambda service, _: service.ask(data)


def _noise(service: Service, number: int) -> Client:
    return service.ask(os.urandom(4096) if number % 2 else bytes([number % 256]) * 4096)


def _hang_up(service: Service, _: int) -> Client:
    client = service.ask(GET)
    client.hang_up()
    return client


def _wait_and_hang_up(service: Service, _: int) -> Client:
    client = service.ask(request("GET", "/wait"))
    service.loop.turn()
    client.hang_up()
    return client


def _half_close(service: Service, _: int) -> Client:
    client = service.ask(GET[:20])
    client.finish()
    return client


def _drip(service: Service, number: int) -> Client:
    client = service.connect()
    client.send(GET[: 1 + number % 30])
    return client


def _take_nothing(service: Service, _: int) -> Client:
    """Until the buffers are full."""
    return service.ask(GET * 2000)


RUDENESS: Mapping[str, Rudeness] = {
    "connect and say nothing": lambda service, _: service.connect(),
    "send half a request": _drip,
    "close half of the connection": _half_close,
    "hang up at once": _hang_up,
    "send noise": _noise,
    "send 64 KiB of header": _ask(request("GET", "/healthz", "X: " + "x" * 65536)),
    "send a request line without end": _ask(b"G" * 16384),
    "announce a huge body": _ask(request("POST", "/poll", "Content-Length: 99999999999")),
    "pipeline 500 requests": _ask(GET * 500),
    "do not take their answers": _take_nothing,
    "ask for what takes time and hang up": _wait_and_hang_up,
    "send a body of 8 KiB": _ask(request("POST", "/poll", "Content-Length: 8192") + b"x" * 8192),
    "ask for HTTP/9.9": _ask(b"GET / HTTP/9.9\r\n\r\n"),
    "begin a TLS handshake": _ask(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20),
}


def cases() -> Iterator[Case]:
    for what, rudeness in RUDENESS.items():
        yield Case(f"{_CROWD} clients {what}", partial(crowd, rudeness))
    yield Case(f"{_CROWD} readers of events read nothing", readers)


def readers(count: int = _CROWD) -> float:
    """MiB that readers take who read nothing, with an event for each; of them 32 are let in."""
    allow_files(2 * count + 200)
    with tempfile.TemporaryDirectory() as folder:
        hall = Hall(Path(folder))
        gc.collect()
        tracemalloc.start()
        try:
            for number in range(count):
                hall.reader()
                hall.tell(number, {"name": "Bob"}, size=1000)
                if number % _POLITE_EVERY == 0:
                    assert hall.house.told("GET", "/status")[0] == 200
            grown = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            hall.close()
    return grown / MIB


def crowd(rudeness: Rudeness, count: int = _CROWD) -> float:
    """MiB that the crowd takes; every fiftieth client is polite, and answered."""
    allow_files(2 * count + 200)
    with tempfile.TemporaryDirectory() as folder, _serving(Path(folder)) as service:
        gc.collect()
        fds = open_files()
        tracemalloc.start()
        try:
            for number in range(count):
                with contextlib.suppress(BrokenPipeError, ConnectionResetError, BlockingIOError):
                    rudeness(service, number)
                service.loop.turn()
                if number % _POLITE_EVERY == 0:
                    polite = service.ask(GET)
                    assert polite.answer()[0] == 200
                    polite.hang_up()
                assert service.client_count <= CLIENT_LIMIT
            grown = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        _check_over(service, fds)
        return grown / MIB


def _check_over(service: Service, fds: int) -> None:
    """A moment after the last of them nothing of them is left."""
    end = service.clock.now() + 2 * PATIENCE_SECONDS
    service.loop.call_at(end, lambda: None)
    while service.clock.now() < end:
        service.loop.turn()
    assert service.client_count == 0
    for client in service.clients:
        client.hang_up()
    assert open_files() <= fds
    assert service.ask(GET).answer()[0] == 200


@contextlib.contextmanager
def _serving(folder: Path) -> Iterator[Service]:
    service = Service(folder / "status.sock")
    try:
        yield service
    finally:
        for client in service.clients:
            client.hang_up()
        service.drain(0)
        service.loop.close()


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def allow_files(count: int) -> None:
    """Raise our own limit of open files, where it is lower."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))
