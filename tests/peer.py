"""A scripted HTTP server on a real socket, turned by the very loop that is under test.

No thread and no sleep: what the peer does is a script of steps, and when it waits, it waits on
the loop's clock. With a virtual clock hours of silence pass for free, and nothing races.
"""

import selectors
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from types import TracebackType

from mailroom.engine.loop import Loop

_CHUNK_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it came; header names lower-case, ``size`` all of its bytes."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    size: int


class End(Enum):
    """How a peer leaves."""

    CLOSE = auto()
    RESET = auto()


@dataclass(frozen=True, slots=True)
class Wait:
    """A pause of so many seconds."""

    seconds: float


Step = bytes | End | Wait
Script = Callable[[Asked], Iterable[Step]]


class Peer:
    """Answers every request with the steps of ``script``; the connection stays open after them.

    ``reads_bytes`` holds back: of each connection no more than that is read until it is raised.
    ``asking`` is the connection that the newest request came on. With ``path`` it listens on a Unix
    socket there.
    """

    def __init__(
        self,
        loop: Loop,
        script: Script,
        reads_bytes: float = float("inf"),
        path: Path | None = None,
    ) -> None:
        self.requests: list[Asked] = []
        self.connections: list[Connection] = []
        self.asking: Connection | None = None
        self.reads_bytes = reads_bytes
        self._loop = loop
        self.script = script
        self._listener = _listen(path)
        self._listener.setblocking(False)
        self.port = 0 if path else self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        loop.watch(self._listener.fileno(), selectors.EVENT_READ, self._accept)

    def __enter__(self) -> "Peer":
        return self

    def __exit__(
        self,
        type_: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.unwatch(self._listener.fileno())
        self._listener.close()
        for connection in self.connections:
            connection.end(End.CLOSE)

    @property
    def latest(self) -> "Connection":
        return self.connections[-1]

    def forget(self) -> None:
        """What was asked, and connections that either side has closed."""
        self.requests.clear()
        for connection in self.connections:
            if connection.is_closed_by_client:
                connection.end(End.CLOSE)
        self.connections[:] = [each for each in self.connections if each.is_open]

    def _accept(self, _events: int) -> None:
        accepted, _ = self._listener.accept()
        self.connections.append(Connection(self._loop, self, accepted))


class Connection:
    """One accepted connection; its tests may add steps by hand."""

    def __init__(self, loop: Loop, peer: Peer, accepted: socket.socket) -> None:
        self.is_closed_by_client = False
        self.received_bytes = 0
        self._loop = loop
        self._peer = peer
        self._socket = accepted
        self._socket.setblocking(False)
        self._request = bytearray()
        self._unsent = b""
        self._steps: Iterator[Step] = iter(())
        self._is_waiting = False
        self._watch()

    @property
    def is_open(self) -> bool:
        """At the peer's end."""
        return self._socket.fileno() >= 0

    def do(self, *steps: Step) -> None:
        """Take these steps now."""
        self._steps = iter(steps)
        self._advance()

    def read_on(self) -> None:
        """Go on reading after ``reads_bytes`` was raised."""
        self._watch()

    def end(self, how: End) -> None:
        if not self.is_open:
            return
        self._loop.unwatch(self._socket.fileno())
        if how is End.RESET:  # lingering for no time sends RST instead of FIN (socket(7))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def _watch(self) -> None:
        if not self.is_open:
            return
        events = 0
        if self.received_bytes < self._peer.reads_bytes and not self.is_closed_by_client:
            events |= selectors.EVENT_READ
        if self._unsent:
            events |= selectors.EVENT_WRITE
        if events:
            self._loop.watch(self._socket.fileno(), events, self._on_ready)
        else:
            self._loop.unwatch(self._socket.fileno())

    def _on_ready(self, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._advance()
        if events & selectors.EVENT_READ and self.is_open:
            self._read()
        self._watch()

    def _read(self) -> None:
        try:
            data = self._socket.recv(_CHUNK_BYTES)
        except ConnectionResetError:
            data = b""
        self.is_closed_by_client = not data
        self.received_bytes += len(data)
        self._request += data
        asked = _parse(self._request)
        if asked is not None:
            del self._request[: asked.size]
            self._peer.requests.append(asked)
            self._peer.asking = self
            self._steps = iter(self._peer.script(asked))
            self._advance()

    def _advance(self) -> None:
        """Take steps until one has to wait."""
        while not self._is_waiting and self.is_open:
            if self._unsent:
                if not self._send():
                    break
                continue
            step = next(self._steps, None)
            if step is None:
                break
            self._take(step)
        self._watch()

    def _take(self, step: Step) -> None:
        match step:
            case End():
                self.end(step)
            case Wait():
                self._is_waiting = True
                self._loop.call_at(self._loop.now() + step.seconds, self._go_on)
            case bytes():
                self._unsent = step

    def _go_on(self) -> None:
        self._is_waiting = False
        self._advance()

    def _send(self) -> bool:
        try:
            sent = self._socket.send(self._unsent)
        except BlockingIOError:
            return False
        except (BrokenPipeError, ConnectionResetError):
            self.is_closed_by_client = True
            self.end(End.CLOSE)
            return False
        self._unsent = self._unsent[sent:]
        return True


def _listen(path: Path | None) -> socket.socket:
    if path is None:
        return socket.create_server(("127.0.0.1", 0))
    return socket.create_server(str(path), family=socket.AF_UNIX, backlog=128)


def answer(body: bytes = b"", status: str = "200 OK", *headers: str) -> bytes:
    """A whole answer with its Content-Length."""
    return head(f"Content-Length: {len(body)}", *headers, status=status) + body


def head(*headers: str, status: str = "200 OK") -> bytes:
    return "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", *headers, "")).encode("latin-1")


def chunk(data: bytes) -> bytes:
    """One piece of a body in the chunked coding; the empty one is the last."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def always(*steps: Step) -> Script:
    """The same steps for every request."""
    return lambda _: steps


def _parse(data: bytearray) -> Asked | None:
    """The request, if it is all there; asked again with every piece of it that comes."""
    edge = data.find(b"\r\n\r\n")
    if edge < 0:
        return None
    first, *lines = data[:edge].decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    fields = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in fields}
    begin = edge + 4
    end = begin + int(headers.get("content-length", "0"))
    return Asked(method, target, headers, bytes(data[begin:end]), end) if len(data) >= end else None
