"""A name server for tests: it knows one address, gives an error, or never says a word."""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from tests.system.host import Host

LOOPBACK = "127.0.0.1"
_PORT = 53
# RFC 1035 §3.2: an address record, class Internet.
_A_IN = b"\0\1\0\1"


class NameServer:
    """Answers at ``127.0.0.1`` that every name is ``address``, by a thread of its own.

    An ``error`` is told instead (RCODE, RFC 1035 §4.1.1: 2 is SERVFAIL, 3 NXDOMAIN). All three may
    be changed at any time.
    """

    def __init__(self, server: socket.socket, *, silent: bool = False) -> None:
        self.is_silent = silent
        self.error = 0
        self.address = LOOPBACK
        self._socket = server
        self._socket.bind((LOOPBACK, _PORT))
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        type_: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):  # it is not connected; yet this ends the thread's wait
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            question, asker = self._socket.recvfrom(512)
            if not question:
                return
            if not self.is_silent:
                self._socket.sendto(self._answer(question), asker)

    def _answer(self, question: bytes) -> bytes:
        """RFC 1035 §4.1: the question again, and an address record where one is asked for."""
        query = question[12 : question.index(b"\0", 12) + 5]
        has_answer = query.endswith(_A_IN) and not self.error
        flags = bytes([0x81, 0x80 | self.error])
        header = question[:2] + flags + struct.pack("!4H", 1, has_answer, 0, 0)
        record = struct.pack("!H4sIH", 0xC00C, _A_IN, 60, 4) + socket.inet_aton(self.address)
        return header + query + (record if has_answer else b"")


def udp_socket() -> socket.socket:
    """For a name server, in the network that the thread is in."""
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


@contextlib.contextmanager
def name_server(host: Host, *, silent: bool = False) -> Iterator[None]:
    """The host asks it from now on; it answers that every name is 127.0.0.1, unless `silent`."""
    with host.network():
        server = udp_socket()
    host.write("/etc/resolv.conf", f"nameserver {LOOPBACK}\n")
    # Debian's installer makes every machine know itself. On one that does not, loading libcurl may
    # take 10 s, because it brings libldap, which asks for the machine's name at once.
    host.write("/etc/hosts", f"127.0.1.1 {host.read('/proc/sys/kernel/hostname')}")
    with NameServer(server, silent=silent):
        yield
