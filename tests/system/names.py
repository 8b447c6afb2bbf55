"""A name server of a test host: it knows one address, or it never says a word."""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator

from tests.system.host import Host

_PORT = 53
# RFC 1035 §3.2: an address record, class Internet.
_A_IN = b"\0\1\0\1"


@contextlib.contextmanager
def name_server(host: Host, *, silent: bool = False) -> Iterator[None]:
    """The host asks it from now on; it answers that every name is 127.0.0.1, unless `silent`."""
    with host.network():
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", _PORT))
    host.write("/etc/resolv.conf", "nameserver 127.0.0.1\n")
    # Debian's installer makes every machine know itself. On one that does not, loading libcurl may
    # take 10 s, because it brings libldap, which asks for the machine's name at once.
    host.write("/etc/hosts", f"127.0.1.1 {host.read('/proc/sys/kernel/hostname')}")
    answering = threading.Thread(target=_answer_all, args=[server])
    if not silent:
        answering.start()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # it is not connected; yet this ends the thread's wait
            server.shutdown(socket.SHUT_RDWR)
        if not silent:
            answering.join()
        server.close()


def _answer_all(server: socket.socket) -> None:
    while True:
        question, asker = server.recvfrom(512)
        if not question:
            return
        server.sendto(_answer(question), asker)


def _answer(question: bytes) -> bytes:
    """RFC 1035 §4.1: the question again, and an address record where one is asked for."""
    end = question.index(b"\0", 12) + 5
    query = question[12:end]
    is_address = query.endswith(_A_IN)
    header = question[:2] + b"\x81\x80" + struct.pack("!4H", 1, is_address, 0, 0)
    record = struct.pack("!H4sIH4B", 0xC00C, _A_IN, 60, 4, 127, 0, 0, 1)
    return header + query + (record if is_address else b"")
