"""The status socket: answers small HTTP/1.1 requests from the loop.

One client costs nobody else anything: each has five seconds to send a request and five to take the
answer, gets one request served per turn of the loop, and is not read from while it owes us the
taking of an answer. Over 64 clients the one that has kept us waiting longest has to go.
"""

import contextlib
import dataclasses
import errno
import selectors
import socket
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus

from mailroom.engine.loop import Loop
from mailroom.wire.http1 import Answer, BadRequest, Request, RequestReader, json_answer, render

Answerer = Callable[[Request], Answer]

CLIENT_LIMIT = 64
PATIENCE_SECONDS = 5.0

# New clients per turn, so that a flood of them leaves room for those who are there.
_ACCEPTS_PER_TURN = 16
# How long nobody is let in when there is no file descriptor or memory left for it (accept(2)).
_SHORT_SECONDS = 1.0
_SHORT_OF = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_READ_BYTES = 8192


def routes(table: Mapping[str, Mapping[str, Callable[[], Answer]]]) -> Answerer:
    """Answers by path and method. HEAD is answered where GET is; the rest is 404 or 405."""

    def answer(request: Request) -> Answer:
        methods = table.get(request.path)
        if methods is None:
            return _error(HTTPStatus.NOT_FOUND, f"there is {', '.join(table)}")
        method = "GET" if request.method == "HEAD" else request.method
        if method in methods:
            return methods[method]()
        allowed = ", ".join(["GET", "HEAD"] if "GET" in methods else methods)
        return _error(HTTPStatus.METHOD_NOT_ALLOWED, f"only {allowed}", ("Allow", allowed))

    return answer


class Endpoint:
    """Serves the clients of ``listener`` from now on; ``answer`` says what."""

    def __init__(self, loop: Loop, listener: socket.socket, answer: Answerer) -> None:
        self._loop = loop
        self._listener = listener
        self._answer = answer
        # In the order of their deadlines, for every phase of a client is given the same time.
        self._clients: dict[int, _Client] = {}
        self._reaper_is_set = False
        self._is_draining = False
        listener.setblocking(False)
        self._listen()

    def drain(self, seconds: float = 0.02) -> None:
        """Stop: let nobody in, answer what was asked, close everything, the listener too.

        Answers on their way, and clients that were let in but not heard yet, are waited for, at
        most ``seconds`` of real time: a request may be a moment behind its connection.
        """
        self._is_draining = True
        self._loop.unwatch(self._listener.fileno())
        self._listener.close()
        until = time.monotonic() + seconds
        for client in list(self._clients.values()):
            self._serve(client)
        while (left := until - time.monotonic()) > 0 and (owed := self._owed()):
            with selectors.PollSelector() as selector:
                for client in owed:
                    selector.register(client.connection, client.awaits, client)
                for key, _events in selector.select(left):
                    self._serve(key.data)
        for client in list(self._clients.values()):
            self._close(client)

    def _owed(self) -> "list[_Client]":
        return [client for client in self._clients.values() if client.is_owed]

    def _listen(self) -> None:
        if not self._is_draining:
            self._loop.watch(self._listener.fileno(), selectors.EVENT_READ, self._accept)

    def _accept(self, _events: int) -> None:
        for _ in range(_ACCEPTS_PER_TURN):
            try:
                connection, _address = self._listener.accept()
            except OSError as error:
                if error.errno in _SHORT_OF:
                    # The listener would stay ready, and the loop turn for nothing.
                    self._loop.unwatch(self._listener.fileno())
                    self._loop.call_at(self._loop.now() + _SHORT_SECONDS, self._listen)
                return
            if len(self._clients) >= CLIENT_LIMIT:
                self._close(min(self._clients.values(), key=lambda client: client.is_busy))
            connection.setblocking(False)
            client = _Client(connection, self._respond)
            self._give_time(client)
            self._serve(client)

    def _serve(self, client: "_Client") -> None:
        """Take the client one step further, and wait for what it needs next."""
        milestones = client.milestones
        try:
            goes_on = client.step()
        except OSError:
            goes_on = False
        if not goes_on:
            self._close(client)
            return
        if client.milestones != milestones:
            self._give_time(client)
        self._loop.watch(client.fd, client.awaits, lambda _events: self._serve(client))

    def _respond(self, request: Request | BadRequest) -> tuple[bytes, bool]:
        """The answer in bytes, and whether it is the last on its connection."""
        if isinstance(request, BadRequest):
            answer, keep_alive, with_body = _error(request.status, str(request)), False, True
        else:
            answer, with_body = self._answer(request), request.method != "HEAD"
            keep_alive = request.keep_alive and not self._is_draining
        date = self._loop.clock.wall()
        rendered = render(answer, date=date, keep_alive=keep_alive, with_body=with_body)
        return rendered, not keep_alive

    def _give_time(self, client: "_Client") -> None:
        client.deadline = self._loop.now() + PATIENCE_SECONDS
        self._clients.pop(client.fd, None)
        self._clients[client.fd] = client
        self._set_reaper()

    def _set_reaper(self) -> None:
        if self._clients and not self._reaper_is_set:
            self._reaper_is_set = True
            self._loop.call_at(next(iter(self._clients.values())).deadline, self._reap)

    def _reap(self) -> None:
        """Close the clients whose time is up; the others stand behind them."""
        self._reaper_is_set = False
        for client in list(self._clients.values()):
            if client.deadline > self._loop.now():
                break
            self._close(client)
        self._set_reaper()

    def _close(self, client: "_Client") -> None:
        del self._clients[client.fd]
        self._loop.unwatch(client.fd)
        client.connection.close()


class _Client:
    """One connection: what was received, what is still to be sent, what it waits for.

    ``milestones`` counts the answers begun and the answers taken; with each of them the client is
    given new time.
    """

    def __init__(
        self,
        connection: socket.socket,
        respond: Callable[[Request | BadRequest], tuple[bytes, bool]],
    ) -> None:
        self.connection = connection
        self.fd = connection.fileno()
        self.deadline = 0.0
        self.milestones = 0
        self.awaits = selectors.EVENT_READ
        self._respond = respond
        self._reader = RequestReader()
        self._unsent = b""
        self._is_last = False

    @property
    def is_busy(self) -> bool:
        """Whether an answer is on its way."""
        return bool(self._unsent)

    @property
    def is_owed(self) -> bool:
        """Whether it would be impolite to hang up now."""
        return self.is_busy or self._reader.has_more or self.milestones == 0

    def step(self) -> bool:
        """Go on until there is something to wait for, at most by one answer.

        False: the conversation is over. Raises OSError when the client is gone.
        """
        if not self._unsent:
            request = self._next_request()
            if request is None:
                if not self._receive():
                    return False
                request = self._next_request()
            if request is None:
                self.awaits = selectors.EVENT_READ
                return True
            self._unsent, self._is_last = self._respond(request)
            self.milestones += 1
        return self._send()

    def _next_request(self) -> Request | BadRequest | None:
        try:
            return self._reader.next_request()
        except BadRequest as error:
            return error

    def _receive(self) -> bool:
        """False at the end of what the client has to say."""
        try:
            data = self.connection.recv(_READ_BYTES)
        except BlockingIOError:
            return True
        self._reader.feed(data)
        return bool(data)

    def _send(self) -> bool:
        with contextlib.suppress(BlockingIOError):
            self._unsent = self._unsent[self.connection.send(self._unsent) :]
        # A request that came together with this one is served when its turn comes: a socket that
        # can be written to is ready at once.
        more = self._unsent or self._reader.has_more
        self.awaits = selectors.EVENT_WRITE if more else selectors.EVENT_READ
        if self._unsent:
            return True
        self.milestones += 1
        return not self._is_last


def _error(status: HTTPStatus, message: str, *headers: tuple[str, str]) -> Answer:
    answer = json_answer(status, {"error": message})
    return dataclasses.replace(answer, headers=headers)
