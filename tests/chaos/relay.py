"""The way from Mailroom to the mail server on a booted host: it can be cut, and is watched.

Every request and every answer passes here, so this is where a process can be killed before the one,
between the two, or after the other.
"""

import contextlib
import re
import selectors
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType

from tests.chaos.crash import Moment
from tests.system import root
from tests.system.cyrus import HTTP_PORT, LOOPBACK
from tests.system.host import Host
from tests.system.root import Recipe
from tests.system.scene import Scene, set_up

CONFIGURATION = "/etc/mailroom/mailroom.yaml"

_REQUEST = re.compile(rb"[A-Z]+ (\S+) HTTP/1\.1\r\n")
_CHUNK_BYTES = 1 << 18
_RESET = struct.pack("ii", 1, 0)  # lingering for no time sends RST instead of FIN (socket(7))

# Told the number of a request and the moment it has come to; True: let nothing pass any more.
Watch = Callable[[int, Moment], bool]


@dataclass(slots=True, eq=False)
class Link:
    """One connection of Mailroom's, and the one to the server that it leads to."""

    client: socket.socket
    server: socket.socket
    number: int = 0
    is_stream: bool = False
    is_answered: bool = True


class Relay:
    """A port of the host's loopback that leads to ``target``, served by a thread of its own, from
    the address ``source``, and with a ``header`` more in the head of every request.

    ``watch`` sees the requests, numbered from 1 since it was last counted anew; streams have no
    number.
    """

    def __init__(
        self, host: Host, target: int = HTTP_PORT, source: str = LOOPBACK, header: bytes = b""
    ) -> None:
        self.target = target
        self._source = source
        self._header = header
        self.count = self.streams_cut = 0
        self.watch: Watch = lambda *_: False
        self._host = host
        self._links: set[Link] = set()
        self._selector = selectors.DefaultSelector()
        with host.network():
            self._listener = socket.create_server((LOOPBACK, 0))
        self.port: int = self._listener.getsockname()[1]
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._is_open = True
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> "Relay":
        self._thread.start()
        return self

    def __exit__(
        self,
        type_: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # ends the thread's wait
        self._thread.join()
        for link in list(self._links):
            self._drop(link)
        self._listener.close()
        self._selector.close()

    def cut(self, *, streams_only: bool, resets: bool) -> None:
        """End the connections as they are, by RST or by FIN."""
        for link in list(self._links):
            if link.is_stream or not streams_only:
                self.streams_cut += link.is_stream
                # The thread sees the server's end, and closes both.
                with contextlib.suppress(OSError):
                    if resets:
                        link.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    link.server.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        with self._host.network():
            while self._is_open:
                for key, _ in self._selector.select():
                    key.data()

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            self._is_open = False
            return
        try:
            address = (LOOPBACK, self.target)
            server = socket.create_connection(address, source_address=(self._source, 0))
        except OSError:
            client.close()
            return
        link = Link(client, server)
        self._links.add(link)
        for end, carry in ((client, self._ask), (server, self._answer)):
            self._selector.register(end, selectors.EVENT_READ, self._carrier(link, carry))

    def _carrier(self, link: Link, carry: Callable[[Link], bool]) -> Callable[[], None]:
        def run() -> None:
            if link not in self._links:
                return  # its other end was ready as well, and has just closed it
            try:
                goes_on = carry(link)
            except OSError:
                goes_on = False
            if not goes_on:
                self._drop(link)

        return run

    def _drop(self, link: Link) -> None:
        self._links.discard(link)
        for end in (link.client, link.server):
            self._selector.unregister(end)
            end.close()

    def _comes_to(self, link: Link, moment: Moment) -> bool:
        """Whether it goes on after this moment; if not, neither does anything else."""
        is_over = not link.is_stream and self.watch(link.number, moment)
        if is_over:
            for other in self._links - {link}:
                self._drop(other)
        return not is_over

    def _ask(self, link: Link) -> bool:
        data = link.client.recv(_CHUNK_BYTES)
        if begun := _REQUEST.match(data):
            link.is_stream = b"eventsource" in begun[1]
            link.is_answered = link.is_stream
            if not link.is_stream:
                self.count += 1
                link.number = self.count
            if not self._comes_to(link, Moment.BEFORE):
                return False
            data = data[: begun.end()] + self._header + data[begun.end() :]
        link.server.sendall(data)
        return bool(data)

    def _answer(self, link: Link) -> bool:
        data = link.server.recv(_CHUNK_BYTES)
        is_first, link.is_answered = not link.is_answered, True
        if is_first and not self._comes_to(link, Moment.HANDLED):
            return False
        link.client.sendall(data)
        return bool(data) and (not is_first or self._comes_to(link, Moment.ANSWERED))


@contextlib.contextmanager
def staged(
    poll_interval: int, more: str = "", recipe: Recipe = root.TRIXIE
) -> Iterator[tuple[Scene, Relay]]:
    """A booted host with Cyrus, and Mailroom that reaches it through the relay, with ``more`` in
    its configuration."""
    with Host.boot(root.ensure(recipe)) as host, Relay(host) as relay:
        scene = set_up(host, push=True, poll_interval=poll_interval)
        text = host.read(CONFIGURATION)
        scene.unit.configure(text.replace(f":{HTTP_PORT}", f":{relay.port}") + more)
        scene.unit.systemctl("restart")
        scene.unit.await_status(lambda status: status["eventsource"]["connected"])
        yield scene, relay
