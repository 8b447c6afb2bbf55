"""A child process whose name server does not answer; run by test_transfer in namespaces of its own.

The clock runs ten times as fast as the kernel's, so that what takes 10 s is over in one.
Prints one JSON object: what happened, and when.
"""

import json
import os
import selectors
import socket
import struct
import subprocess
import sys
import tempfile
from datetime import UTC, tzinfo
from fcntl import ioctl
from typing import Any

from mailroom.engine.clock import BoottimeClock, Ready
from mailroom.engine.loop import Loop, Promise
from mailroom.engine.transfer import Transfer
from mailroom.wire.http import Request, Response
from tests.peer import Peer, always, answer

_FACTOR = 10.0
_TICK_SECONDS = 0.05
# One attempt after the other: glibc gives up after 2 s, when the exchange has been given up.
_OPTIONS = "timeout:1 attempts:2 single-request"


class FastClock:
    """The kernel's clock, but faster."""

    def __init__(self) -> None:
        self._inner = BoottimeClock()

    def now(self) -> float:
        return self._inner.now() * _FACTOR

    def zone(self) -> tzinfo:
        return UTC

    def wall(self) -> float:
        return self._inner.wall()

    def wait(self, selector: selectors.BaseSelector, until: float | None) -> Ready:
        return self._inner.wait(selector, None if until is None else until / _FACTOR)


class Scene:
    """What the parent wants to know."""

    def __init__(self) -> None:
        self.clock = FastClock()
        self.loop = Loop(self.clock)
        self.transfer = Transfer(self.loop, "Mailroom/test")
        self.start = self.loop.now()
        self.longest_gap = 0.0
        self._last_tick = self.loop.now()
        self._tick()

    def _tick(self) -> None:
        now = self.loop.now()
        self.longest_gap = max(self.longest_gap, (now - self._last_tick) / _FACTOR)
        self._last_tick = now
        self.loop.call_at(now + _TICK_SECONDS * _FACTOR, self._tick)

    def until(self, promise: Promise[Response]) -> tuple[str, float]:
        while not promise.done:
            self.loop.turn()
        at = self.loop.now() - self.start
        try:
            return str(promise.result().status), at
        except Exception as error:  # noqa: BLE001 - it is what the parent asks for
            return str(error), at

    def run_until(self, seconds: float) -> None:
        while self.loop.now() < self.start + seconds:
            self.loop.turn()


def main() -> None:
    """``silent``: the name server never answers; ``late``: it does when everybody has gone."""
    bring_loopback_up()
    use_name_server_of_ours(_OPTIONS)
    scene = Scene()
    with NameServer(scene.loop) as names, Peer(scene.loop, always(answer(b"alive"))) as peer:
        lost = f"http://mail.example:{peer.port}/lost"
        closed = scene.transfer.stream(Request("GET", lost))
        sent = scene.transfer.send(Request("POST", lost, body=b"{}"))
        scene.run_until(2)
        closed.close()
        told = {"meanwhile": scene.until(scene.transfer.send(Request("GET", peer.url)))}
        told["given_up"] = scene.until(sent)
        told["after"] = scene.until(scene.transfer.send(Request("GET", peer.url)))
        if sys.argv[1] == "late":
            names.answer()
        scene.run_until(30)  # libcurl has ended both look-ups by then
        told["later"] = scene.until(scene.transfer.send(Request("GET", peer.url)))
        scene.transfer.send(Request("GET", "http://another.example/"))
        scene.run_until(32)
        scene.transfer.close()  # in the middle of a look-up, if it is silent
        scene.run_until(33)
        asked = [request.target for request in peer.requests]
    sys.stdout.write(json.dumps(told | {"gap": scene.longest_gap, "asked": asked}))
    sys.stdout.flush()
    os._exit(0)  # as the service: nobody waits for a resolver


class NameServer:
    """Swallows every question until it is told to answer: every name is 127.0.0.1."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._questions: list[tuple[bytes, Any]] = []
        self._is_answering = False
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 53))
        loop.watch(self._socket.fileno(), selectors.EVENT_READ, self._on_question)

    def __enter__(self) -> "NameServer":
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.unwatch(self._socket.fileno())
        self._socket.close()

    def answer(self) -> None:
        self._is_answering = True
        questions, self._questions = self._questions, []
        for question in questions:
            self._reply(*question)

    def _on_question(self, _events: int) -> None:
        question = self._socket.recvfrom(512)
        if self._is_answering:
            self._reply(*question)
        else:
            self._questions.append(question)

    def _reply(self, question: bytes, asker: Any) -> None:
        """RFC 1035 §4.1: the question again, and an address record if it asks for one."""
        query = question[12 : question.index(b"\0", 12) + 5]
        is_a = query[-4:-2] == b"\0\1"
        counts = struct.pack("!4H", 1, is_a, 0, 0)
        record = struct.pack("!3HIH4B", 0xC00C, 1, 1, 60, 4, 127, 0, 0, 1) if is_a else b""
        self._socket.sendto(question[:2] + b"\x81\x80" + counts + query + record, asker)


def bring_loopback_up() -> None:
    siocgifflags, siocsifflags, iff_up = 0x8913, 0x8914, 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh", b"lo", 0)
        (flags,) = struct.unpack("16xh", ioctl(any_socket, siocgifflags, request))
        ioctl(any_socket, siocsifflags, struct.pack("16sh", b"lo", flags | iff_up))


def use_name_server_of_ours(options: str) -> None:
    """With the ``options`` of resolv.conf(5)."""
    with tempfile.NamedTemporaryFile("w") as ours:
        ours.write(f"nameserver 127.0.0.1\noptions {options}\n")
        ours.flush()
        subprocess.run(["mount", "--bind", ours.name, "/etc/resolv.conf"], check=True)


if __name__ == "__main__":
    main()
