"""The sandbox on a port of the loopback: HTTP/1.1, kept alive, a thread for each connection.

Several can share a port, as the users of one server do; and it may be behind TLS.
"""

import contextlib
import math
import selectors
import socket
import ssl
import threading
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, ClassVar, Final

from tests.sandbox.events import Feed
from tests.sandbox.exchange import ConnectionBroken, Request, Response
from tests.sandbox.server import Sandbox

_HOST: Final = "127.0.0.1"
_METHODS: Final = [
    "DELETE",
    "GET",
    "HEAD",
    "MKCOL",
    "MOVE",
    "OPTIONS",
    "POST",
    "PROPFIND",
    "PROPPATCH",
    "PUT",
    "REPORT",
]


class Running:
    """A sandbox that listens; ``url`` has no slash at its end."""

    def __init__(
        self, sandboxes: Sequence[Sandbox], port: int, tls: ssl.SSLContext | None = None
    ) -> None:
        self._servers = [_Server(sandboxes, _HOST, port, tls)]
        port = self._servers[0].server_address[1]
        api_host = sandboxes[0].profile.api_host
        if api_host is not None:
            self._servers.append(_Server(sandboxes, api_host, port, tls))
        self._threads = [
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
            for server in self._servers
        ]
        for thread in self._threads:
            thread.start()
        self.url = f"{'https' if tls else 'http'}://{_HOST}:{port}"

    def close(self) -> None:
        """Stop listening and cut every connection."""
        for server, thread in zip(self._servers, self._threads, strict=True):
            server.shutdown()
            server.server_close()
            server.cut_connections()
            thread.join()

    def __enter__(self) -> "Running":
        return self

    def __exit__(
        self,
        type_: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def serve(sandbox: Sandbox, port: int = 0) -> Running:
    """Serve a sandbox on 127.0.0.1, on a free port if ``port`` is 0.

    Where its API has a host of its own, it is served there as well, on the same port.
    """
    return Running([sandbox], port)


def serve_users(sandboxes: Sequence[Sandbox], tls: ssl.SSLContext | None = None) -> Running:
    """Serve the sandboxes of several users on one port: who asks is told by the credentials."""
    return Running(sandboxes, 0, tls)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024

    def __init__(
        self, sandboxes: Sequence[Sandbox], host: str, port: int, tls: ssl.SSLContext | None
    ) -> None:
        super().__init__((host, port), _Connection)
        self._any = sandboxes[0]
        self._tls = tls
        self._users = {each.authorization: each for each in sandboxes}
        self._users |= {each.dav_authorization: each for each in sandboxes}
        self.closing = threading.Event()
        self._connections: set[socket.socket] = set()
        self._guard = threading.Lock()

    def get_request(self) -> tuple[Any, Any]:
        """The handshake is left to the connection's own thread."""
        connection, address = super().get_request()
        if self._tls:
            connection = self._tls.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        return connection, address

    def sandbox(self, request: Request) -> Sandbox:
        """Whose request it is; any refuses what is nobody's."""
        return self._users.get(request.header("Authorization") or "", self._any)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._guard:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._guard:
            self._connections.discard(request)
        super().shutdown_request(request)

    def cut_connections(self) -> None:
        """Wake every thread: its connection is over."""
        self.closing.set()
        with self._guard:
            for connection in self._connections:
                with contextlib.suppress(OSError):  # the client was faster
                    connection.shutdown(socket.SHUT_RDWR)


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    server: _Server
    methods: ClassVar = _METHODS

    def __getattr__(self, name: str) -> object:
        """Answer every method alike; the base class looks for ``do_METHOD``."""
        if name.removeprefix("do_") in self.methods and name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the sandbox keeps its own log."""

    def handle(self) -> None:
        """Serve one connection; a client that goes away is nothing to speak of."""
        try:
            if isinstance(self.connection, ssl.SSLSocket):
                self.connection.do_handshake()
            super().handle()
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            self.close_connection = True

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        request = Request.to(
            self.command,
            self.path,
            dict(self.headers.items()),
            self.rfile.read(length),
            connection="{}:{}".format(*self.client_address),
        )
        sandbox = self.server.sandbox(request)
        try:
            response = sandbox.handle(request)
        except ConnectionBroken:
            self.close_connection = True
            return
        if response.feed is not None:
            self._stream(response, response.feed, sandbox)
        else:
            self._send(response)

    def _send(self, response: Response) -> None:
        delivery = response.delivery
        endless = math.isinf(delivery.delay_seconds)
        if self.server.closing.wait(None if endless else delivery.delay_seconds):
            self.close_connection = True
            return
        body = response.body[: delivery.cut_after]
        if len(body) < len(response.body):
            self.close_connection = True
        length = {"Content-Length": str(len(response.body))}
        self._send_head(response, {} if response.status == HTTPStatus.NO_CONTENT else length)
        step = delivery.chunk_bytes or max(1, len(body))
        for start in range(0, len(body), step):
            self.wfile.write(body[start : start + step])
            if delivery.chunk_bytes:
                self.wfile.flush()
                self.server.closing.wait(delivery.pause_seconds)

    def _send_head(self, response: Response, framing: dict[str, str]) -> None:
        self.send_response(response.status)
        for name, value in (dict(response.headers) | framing).items():
            self.send_header(name, value)
        self.end_headers()

    def _stream(self, response: Response, feed: Feed, sandbox: Sandbox) -> None:
        """Carry an event stream until either side ends it."""
        self._send_head(response, {"Transfer-Encoding": "chunked"})
        self.wfile.flush()
        waker, woken = socket.socketpair()
        with waker, woken, selectors.DefaultSelector() as selector:
            waker.setblocking(False)
            selector.register(woken, selectors.EVENT_READ)
            selector.register(self.connection, selectors.EVENT_READ)
            feed.on_data(lambda: _wake(waker))
            try:
                while self._carry(feed, selector, woken, sandbox):
                    pass
            finally:
                with sandbox.lock:
                    feed.on_data(lambda: None)
                    feed.close()
        self.close_connection = True

    def _carry(
        self, feed: Feed, selector: selectors.BaseSelector, woken: socket.socket, sandbox: Sandbox
    ) -> bool:
        """Wait for something to send and send it; False at the end."""
        deadline = feed.deadline
        timeout = None if deadline is None else max(0.0, deadline - sandbox.clock())
        ready = {key.fileobj for key, _ in selector.select(timeout)}
        if woken in ready:
            woken.recv(4096)
        with sandbox.lock:
            feed.tick()
            data, ended = feed.take(), feed.closed
        if data:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        if ended and not feed.is_broken_off:
            self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()
        return not ended and self.connection not in ready


def _wake(waker: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):  # enough wake-ups are waiting already
        waker.send(b"!")
