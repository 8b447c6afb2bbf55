"""A local socket: answers small HTTP/1.1 requests from the loop.

No client can hold up the others: each has five seconds to send a request and five to take the
answer, gets one request served per turn of the loop, and is not read from until it has taken its
answer. Beyond 64 clients, the one that has kept us waiting longest is closed.

Clients that wait for our work are not counted among these, have no deadline, and are never closed.
At most 256 such requests are worked on, including those whose clients have hung up; a further one
is told to repeat.
"""

import errno
import selectors
import socket
import time
from http import HTTPStatus

from mailroom.engine.caller import Answerer, Caller, LateAnswer, error_answer
from mailroom.engine.loop import Loop, Owner, Task
from mailroom.engine.tasks import Cancelled
from mailroom.wire.http1 import Answer

CLIENT_LIMIT = 64
# A command with many decisions asks for 128 at once, so that each request of a poll carries many.
# There is room for two such commands.
WAITING_LIMIT = 256
PATIENCE_SECONDS = 5.0

# New clients per turn, so that a flood of them leaves time for those already there.
_ACCEPTS_PER_TURN = 16
# How long to accept nobody when file descriptors or memory run out (accept(2)).
_SHORT_SECONDS = 1.0
_SHORT_OF = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Endpoint:
    """Serves the clients of ``listener`` from now on, with the answers that ``answer`` gives."""

    def __init__(self, loop: Loop, listener: socket.socket, answer: Answerer) -> None:
        self._loop = loop
        self._listener = listener
        self._answer = answer
        # In the order of their deadlines, as every phase of a client gets the same time.
        self._clients: dict[int, Caller] = {}
        self._waiting: dict[int, Caller] = {}  # for work
        self._tasks: list[Task[Answer]] = []  # including those that nobody waits for any more
        self._owner = Owner(loop, self._failed)
        self._reaper_is_set = False
        self._is_draining = False
        listener.setblocking(False)
        self._listen()

    def drain(self, seconds: float) -> None:
        """Stop: accept nobody, answer what was asked, close everything including the listener.

        Work is cancelled, and its clients are told so. For at most ``seconds`` of real time it
        waits for answers being sent and for the first request of each accepted client, which may
        come a moment after its connection.
        """
        self._is_draining = True
        self._loop.unwatch(self._listener.fileno())
        self._listener.close()
        self._owner.close()
        until = time.monotonic() + seconds
        for client in [*self._waiting.values(), *self._clients.values()]:
            client.is_leaving = True
            self._serve(client)
        while (left := until - time.monotonic()) > 0 and (owed := self._owed()):
            with selectors.PollSelector() as selector:
                for client in owed:
                    selector.register(client.connection, client.awaits, client)
                for key, _events in selector.select(left):
                    self._serve(key.data)
        for client in list(self._clients.values()):
            self._close(client)

    def _owed(self) -> list[Caller]:
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
                    # The listener would stay ready, and the loop would spin.
                    self._loop.unwatch(self._listener.fileno())
                    self._loop.call_at(self._loop.now() + _SHORT_SECONDS, self._listen)
                return
            if len(self._clients) >= CLIENT_LIMIT:
                self._close(min(self._clients.values(), key=lambda client: client.is_busy))
            connection.setblocking(False)
            client = Caller(
                connection, self._answer, self._begin, self._loop.clock.wall, self._work_is_done
            )
            self._give_time(client)
            self._serve(client)

    def _serve(self, client: Caller) -> None:
        """Take the client one step further, and wait for what it needs next."""
        milestones = client.milestones
        try:
            goes_on = client.step()
        except OSError:
            goes_on = False
        except Exception:  # a bug; the others still get answers while the process ends
            self._close(client)
            raise
        if not goes_on:
            self._close(client)
            if client.takeover:
                client.takeover.adopt(client.connection)
            return
        if client.is_waiting:
            self._clients.pop(client.fd, None)
            self._waiting[client.fd] = client
        elif client.milestones != milestones:
            self._give_time(client)
        if client.awaits:
            self._loop.watch(client.fd, client.awaits, lambda _events: self._serve(client))
        else:
            self._loop.unwatch(client.fd)

    def _begin(self, work: LateAnswer) -> Task[Answer] | Answer:
        self._tasks = [task for task in self._tasks if not task.done]
        if len(self._tasks) < WAITING_LIMIT:
            task = self._owner.spawn(work.answer, "answer")
            self._tasks.append(task)
            return task
        work.answer.close()
        return error_answer(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"{WAITING_LIMIT} requests are being worked on already; repeat",
            ("Retry-After", "1"),
        )

    def _failed(self, error: Exception) -> None:
        """Work has failed whose client has hung up. Its account may have been closed meanwhile."""
        if not isinstance(error, Cancelled):
            self._loop.fail(error)

    def _work_is_done(self, client: Caller) -> None:
        """Send in a turn of its own, not within the last step of the work."""

        def answer() -> None:
            if self._waiting.get(client.fd) is client:  # it may have hung up meanwhile
                self._serve(client)

        self._loop.call_soon(answer)

    def _give_time(self, client: Caller) -> None:
        client.deadline = self._loop.now() + PATIENCE_SECONDS
        self._waiting.pop(client.fd, None)
        self._clients.pop(client.fd, None)
        self._clients[client.fd] = client
        self._set_reaper()

    def _set_reaper(self) -> None:
        if self._clients and not self._reaper_is_set:
            self._reaper_is_set = True
            self._loop.call_at(next(iter(self._clients.values())).deadline, self._reap)

    def _reap(self) -> None:
        """Close the clients whose time is up; they come first in ``_clients``."""
        self._reaper_is_set = False
        for client in list(self._clients.values()):
            if client.deadline > self._loop.now():
                break
            self._close(client)
        self._set_reaper()

    def _close(self, client: Caller) -> None:
        self._clients.pop(client.fd, None)
        self._waiting.pop(client.fd, None)
        self._loop.unwatch(client.fd)
        client.close()
