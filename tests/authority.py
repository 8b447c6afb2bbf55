"""A certificate authority of the tests' own, and a front with TLS for a server without it."""

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest


def issue(folder: Path) -> None:
    """Put there ca.pem, an authority's certificate, here.pem (with here.key) that it issued to
    127.0.0.1, and else.pem that it issued to another host."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command")
    signed = ["-CA", f"{folder}/ca.pem", "-CAkey", f"{folder}/ca.key"]
    for name, subject, extensions in (
        ("ca", "/CN=Test Authority", []),
        ("here", "/CN=here", ["-addext", "subjectAltName=IP:127.0.0.1", *signed]),
        ("else", "/CN=else", ["-addext", "subjectAltName=DNS:else.example", *signed]),
    ):
        files = ["-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.pem"]
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        command = ["openssl", "req", "-x509", *curve, "-subj", subject, *files, *extensions]
        subprocess.run(command, check=True, capture_output=True)


def presenting(folder: Path, certificate: str) -> ssl.SSLContext:
    """What a server needs that shows this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / f"{certificate}.pem", folder / f"{certificate}.key")
    return context


class Front:
    """https before a server on a port of the loopback. Closing it ends every connection."""

    def __init__(self, folder: Path, port: int) -> None:
        self._context = presenting(folder, "here")
        self._behind = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                accepted = self._listener.accept()[0]
                threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, accepted: socket.socket) -> None:
        """Hand on what comes, both ways; the client may not like what it sees, or go."""
        with (
            accepted,
            contextlib.suppress(OSError),
            self._context.wrap_socket(accepted, server_side=True) as near,
            socket.create_connection(self._behind) as far,
        ):
            back = threading.Thread(target=_copy, args=(far, near), daemon=True)
            back.start()
            _copy(near, far)
            back.join()


def _copy(source: socket.socket, to: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            # The server behind does not know how it is spoken to.
            to.sendall(data.replace(b"Location: http:", b"Location: https:"))
    with contextlib.suppress(OSError):
        to.shutdown(socket.SHUT_RDWR)
