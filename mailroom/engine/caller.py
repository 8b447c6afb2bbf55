"""One client of a socket of ours: requests in, answers out in their order.

A request is read and answered, at once or after work that takes time; the answer is sent; then the
next request is read. Nothing is read from a client that waits for an answer or has not taken it
yet.
"""

import contextlib
import selectors
import socket
import struct
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from select import POLLHUP, poll
from typing import Any

from mailroom.engine.tasks import Cancelled, Promise, Task
from mailroom.wire.http1 import (
    Answer,
    BadRequest,
    ReceivedRequest,
    RequestReader,
    json_answer,
    render,
)

# What a client sends beyond the request being served is kept: at most this much of each.
_READ_BYTES = 4096
_UCRED = struct.Struct("iII")  # unix(7), SO_PEERCRED: process, user, group


@dataclass(frozen=True, slots=True)
class LateAnswer:
    """An answer that takes time. The coroutine is started, or closed if there is no room for it.

    With ``goes_on`` it continues when the client hangs up; otherwise it is cancelled.
    """

    answer: Coroutine[Promise[Any], None, Answer]
    goes_on: bool = False


@dataclass(frozen=True, slots=True)
class Takeover:
    """No answer: ``adopt`` serves the client from now on."""

    adopt: Callable[[socket.socket], None]


Reply = Answer | LateAnswer | Takeover
# Called with a request and the user id of the client.
Answerer = Callable[[ReceivedRequest, int], Reply]
# Starts the work, or returns an Answer that says why not.
Beginner = Callable[[LateAnswer], Task[Answer] | Answer]


class Caller:
    """A client. ``wall`` tells the time of day, for the answers' Date; ``wake`` is called when the
    work that it waits for is done.

    ======= ========================= ==================== ===========================
    phase   a request comes           the answer is ready  the answer is sent
    ======= ========================= ==================== ===========================
    reading answered at once: sending
            takes time: waiting
            Takeover: given away
    waiting is left unread            sending
    sending is left unread                                 reading; if leaving, closed
    ======= ========================= ==================== ===========================

    ``milestones`` counts its progress: answers begun and answers taken. With ``is_leaving`` its
    next answer is its last.
    """

    def __init__(
        self,
        connection: socket.socket,
        answer: Answerer,
        begin: Beginner,
        wall: Callable[[], float],
        wake: Callable[["Caller"], None],
    ) -> None:
        self.connection = connection
        self.fd = connection.fileno()
        self.deadline = 0.0
        self.milestones = 0
        self.awaits = selectors.EVENT_READ
        self.is_leaving = False
        self.takeover: Takeover | None = None  # who serves it from now on
        self._uid = _peer_uid(connection)
        self._answer = answer
        self._begin = begin
        self._wall = wall
        self._wake = wake
        self._task: Task[Answer] | None = None  # what it waits for
        self._on_done: Callable[[], None] | None = None  # what the task calls at its end
        self._goes_on = False  # whether the task outlives the client
        self._reader = RequestReader()
        self._with_body = True
        self._unsent = b""

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for work."""
        return self._task is not None

    @property
    def is_busy(self) -> bool:
        """Whether an answer is being sent."""
        return bool(self._unsent)

    @property
    def is_owed(self) -> bool:
        """Whether it would be impolite to hang up now."""
        return self.is_busy or self._reader.has_more or self.milestones == 0

    def step(self) -> bool:
        """Go on until there is something to wait for, by one answer at most.

        Returns False if the conversation is over, or taken over (``takeover``). Raises OSError if
        the client is gone.
        """
        if self._task is not None and not self._task.done:
            return self._is_still_there()
        if self._task is None and not self._unsent:
            request = self._next_request()
            if request is None:
                if not self._receive():
                    return False
                request = self._next_request()
            self.awaits = selectors.EVENT_READ
            if request is None:
                return True
            self._take_up(request)
        if self.takeover is not None:
            return False
        if self._task is not None:
            if not self._task.done:
                return True
            self._start_sending(_result(self._task))
        return self._send()

    def close(self) -> None:
        """Hang up. Its work is cancelled, unless it ``goes_on``."""
        if self.takeover is None:
            self.connection.close()
        task = self._let_go()
        if task is not None and not self._goes_on:
            task.cancel()

    def _take_up(self, request: ReceivedRequest | BadRequest) -> None:
        if isinstance(request, BadRequest):
            self._with_body, self.is_leaving = True, True
            self._start_sending(json_answer(request.status, {"error": str(request)}))
            return
        self._with_body = request.method != "HEAD"
        self.is_leaving = self.is_leaving or not request.keep_alive
        reply = self._answer(request, self._uid)
        if isinstance(reply, Takeover):
            self.takeover = reply
            return
        if isinstance(reply, LateAnswer):
            self._goes_on = reply.goes_on
            begun = self._begin(reply)
            if isinstance(begun, Task):
                self._task = begun
                self._on_done = partial(self._wake, self)
                begun.on_done(self._on_done)
                return
            reply = begun
        self._start_sending(reply)

    def _start_sending(self, answer: Answer) -> None:
        self._let_go()
        self.milestones += 1
        self._unsent = render(
            answer,
            date=self._wall(),
            keep_alive=not self.is_leaving,
            with_body=self._with_body,
        )

    def _let_go(self) -> Task[Answer] | None:
        """Drop the work; an error that nobody takes goes to its owner (:class:`Task`)."""
        task, self._task = self._task, None
        on_done, self._on_done = self._on_done, None  # it refers to us: leave no cycle
        if task is not None and on_done is not None:
            task.forget(on_done)
        return task

    def _is_still_there(self) -> bool:
        """A waiting client has sent its next request, or hung up.

        Either keeps the socket ready, so from now on only the answer is awaited. A client that has
        only closed its sending side does not count as gone.
        """
        self.awaits = 0
        return not has_hung_up(self.fd)

    def _next_request(self) -> ReceivedRequest | BadRequest | None:
        try:
            return self._reader.next_request()
        except BadRequest as error:
            return error

    def _receive(self) -> bool:
        """Returns False once the client has closed its sending side."""
        try:
            data = self.connection.recv(_READ_BYTES)
        except BlockingIOError:
            return True
        self._reader.feed(data)
        return bool(data)

    def _send(self) -> bool:
        with contextlib.suppress(BlockingIOError):
            self._unsent = self._unsent[self.connection.send(self._unsent) :]
        # A request that came together with this one is served in the next turn: a writable socket
        # is ready at once.
        more = self._unsent or self._reader.has_more
        self.awaits = selectors.EVENT_WRITE if more else selectors.EVENT_READ
        if self._unsent:
            return True
        self.milestones += 1
        return not self.is_leaving


def has_hung_up(fd: int) -> bool:
    """Whether the client is gone, and has not only closed its sending side."""
    looker = poll()
    looker.register(fd, 0)
    return any(events & POLLHUP for _, events in looker.poll(0))


def error_answer(status: HTTPStatus, message: str, *headers: tuple[str, str]) -> Answer:
    return replace(json_answer(status, {"error": message}), headers=headers)


def _result(task: Task[Answer]) -> Answer:
    """Work is cancelled when the service stops, and when a reload replaces its account."""
    try:
        return task.result()
    except Cancelled:
        return error_answer(
            HTTPStatus.SERVICE_UNAVAILABLE, "the service is stopping, or was reloaded; repeat"
        )


def _peer_uid(connection: socket.socket) -> int:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    _pid, uid, _gid = _UCRED.unpack(credentials)
    return int(uid)
