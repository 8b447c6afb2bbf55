"""A door of TLS before a server of plain HTTP, and the certificates that it can show."""

import contextlib
import select
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

NAME = "mail.example"
_HOST, _PORT = "127.0.0.1", 443
_CHUNK_BYTES = 1 << 16


def certify(folder: Path) -> None:
    """Make ``ca.pem``, and what it has signed: ``good``, ``expired``, for ``another`` host; and
    ``unknown``, which it has not."""
    _openssl("req", "-x509", *_key(folder, "ca"), "-subj", "/CN=Test Authority",
             "-out", f"{folder}/ca.pem")  # fmt: skip
    for name, host, days in (
        ("good", NAME, 30),
        ("expired", NAME, -1),
        ("another", "another.example", 30),
    ):
        request = f"{folder}/{name}.csr"
        subject = ("-subj", "/CN=server", "-addext", f"subjectAltName=DNS:{host}")
        _openssl("req", *_key(folder, name), *subject, "-out", request)
        signed = ("-CA", f"{folder}/ca.pem", "-CAkey", f"{folder}/ca.key", "-CAcreateserial")
        _openssl("x509", "-req", "-in", request, *signed, "-copy_extensions", "copy",
                 "-days", str(days), "-out", f"{folder}/{name}.pem")  # fmt: skip
    _openssl("req", "-x509", *_key(folder, "unknown"), "-subj", "/CN=server",
             "-addext", f"subjectAltName=DNS:{NAME}", "-out", f"{folder}/unknown.pem")  # fmt: skip


class Door:
    """``https://mail.example`` of this network: leads to ``port``, a thread for each connection."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder
        self._port = port
        self._inside: set[socket.socket] = set()
        self.show("good")
        self.open()

    def show(self, certificate: str) -> None:
        """From the next connection on."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        path = self._folder / certificate
        context.load_cert_chain(f"{path}.pem", f"{path}.key")
        self._context = context

    def open(self) -> None:
        self._listener = socket.create_server((_HOST, _PORT))
        threading.Thread(target=self._receive, args=[self._listener], daemon=True).start()

    def reopen(self) -> None:
        """If it is closed."""
        if self._listener.fileno() < 0:
            self.open()

    def close(self) -> None:
        """Who knocks is refused."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def clear(self) -> None:
        """Everybody who is inside has to leave."""
        for connection in list(self._inside):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _receive(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # it has been closed
            while True:
                accepted, _ = listener.accept()
                threading.Thread(target=self._lead, args=[accepted], daemon=True).start()

    def _lead(self, accepted: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),  # the client may not like what it sees
            self._listed(accepted),
            self._context.wrap_socket(accepted, server_side=True) as client,
            self._listed(client),
            socket.create_connection((_HOST, self._port)) as server,
        ):
            self._carry(client, server)

    @contextlib.contextmanager
    def _listed(self, connection: socket.socket) -> Iterator[None]:
        """Inside for as long as the context lasts; then it is closed."""
        self._inside.add(connection)
        try:
            with connection:
                yield
        finally:
            self._inside.discard(connection)

    def _carry(self, client: ssl.SSLSocket, server: socket.socket) -> None:
        """Both ways, until one of them ends."""
        while True:
            ready = [client] if client.pending() else select.select([client, server], [], [])[0]
            for one, other in ((client, server), (server, client)):
                if one in ready:
                    data = one.recv(_CHUNK_BYTES)
                    if not data:
                        return
                    other.sendall(data)


def _key(folder: Path, name: str) -> tuple[str, ...]:
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    return (*curve, "-keyout", f"{folder}/{name}.key")


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
