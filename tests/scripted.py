"""A service whose answers are written down, on a real Unix socket."""

import json
import socketserver
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any

Document = dict[str, Any]
# What is answered to one request: its target and its document, if there is one, are given.
Reply = tuple[int, Any]
Script = Callable[[str, Any], Reply]


class Scripted:
    """Answers at ``path``; ``answers`` by ``"GET /waiting"``, without the query."""

    def __init__(self, path: Path, answers: Mapping[str, Reply | Script]) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.connections = 0
        self._server = _Server(str(path), _handler(self, answers))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> "Scripted":
        self._thread.start()
        return self

    def __exit__(
        self,
        type_: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 128


class HangUp(Exception):
    """Raised by a script: the service ends without an answer."""


def _handler(service: Scripted, answers: Mapping[str, Reply | Script]) -> type:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            service.connections += 1

        def parse_request(self) -> bool:
            if not super().parse_request():
                return False
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            document = json.loads(body) if body else None
            service.asked.append((f"{self.command} {self.path}", document))
            reply = answers.get(f"{self.command} {self.path.partition('?')[0]}")
            if reply is None:
                reply = 404, {"error": f"nothing is at {self.path}"}
            try:
                self._answer(*(reply(self.path, document) if callable(reply) else reply))
            except HangUp:
                self.close_connection = True
            return False  # answered: no method is to be looked for

        def _answer(self, code: int, document: Any) -> None:
            body = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
