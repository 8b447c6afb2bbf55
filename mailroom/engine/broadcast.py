"""Readers of event streams: each gets what is in the ring, as fast as it reads.

A reader costs a position in the ring and at most 16 KiB of unsent data; it has no deadline. The
ring overtakes a reader that does not keep up, and tells it how many events it has missed. Readers
are counted apart from other clients, 32 at each socket; the next one is told to try again later.
"""

import contextlib
import selectors
import socket
from collections.abc import Callable

from mailroom.engine.caller import has_hung_up
from mailroom.engine.loop import Loop, Timer
from mailroom.rules.status.events import ServiceEvent
from mailroom.rules.status.ring import Ring
from mailroom.wire.http1 import stream_head

# At most half a MiB of unsent data at each socket.
READER_LIMIT = 32
# Our own clients give a service up after two missed pings (engine/client.py).
PING_SECONDS = 25.0

_BACKLOG_BYTES = 16 * 1024
_PING = b": ping\n\n"
# How long a reader waits before it reconnects.
_RETRY = b"retry: 1000\n"
_READ_BYTES = 4096


class Feed:
    """The readers at one socket. With ``is_whole`` they get all that the control socket tells.

    ``on_first`` is called when the first reader comes.
    """

    def __init__(
        self, loop: Loop, ring: Ring, *, is_whole: bool, on_first: Callable[[], None]
    ) -> None:
        self._on_first = on_first
        self._loop = loop
        self._ring = ring
        self._is_whole = is_whole
        self._readers: dict[int, _Reader] = {}
        self._pinging: Timer | None = None
        self._is_closed = self._will_send = False

    @property
    def has_readers(self) -> bool:
        return bool(self._readers)

    @property
    def is_full(self) -> bool:
        return self._is_closed or len(self._readers) >= READER_LIMIT

    def adopt(self, connection: socket.socket, last_event_id: str) -> None:
        """Serve this connection from now on; its client has seen the events up to that one."""
        if self.is_full:
            connection.close()
            return
        # Otherwise the kernel would buffer 200 KiB for each that does not read (Linux 6.1).
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BACKLOG_BYTES)
        place = self._ring.enter(last_event_id)
        head = stream_head(self._loop.clock.wall()) + _RETRY + place.greeting
        reader = _Reader(connection, head, place.after)
        is_first = not self._readers
        self._readers[reader.fd] = reader
        self._ping_later()
        self._serve(reader)
        if is_first:
            self._on_first()

    def wake(self) -> None:
        """There is something new in the ring; readers get several new events in one piece."""
        if self._readers and not self._will_send:
            self._will_send = True
            self._loop.call_soon(self._send_all)

    def close(self) -> None:
        """Hang up on everybody."""
        self._is_closed = True
        for reader in list(self._readers.values()):
            self._close(reader)

    def _send_all(self) -> None:
        self._will_send = False
        for reader in list(self._readers.values()):
            if not reader.unsent:
                self._serve(reader)

    def _serve(self, reader: "_Reader") -> None:
        """Send what it has not had yet, then wait until it can take more, or speaks."""
        try:
            is_taking = reader.send()
            while is_taking and reader.after < self._ring.newest:
                reader.unsent, reader.after = self._ring.read(
                    reader.after, _BACKLOG_BYTES, is_whole=self._is_whole
                )
                is_taking = reader.send()
        except OSError:
            self._close(reader)
            return
        self._watch(reader)

    def _watch(self, reader: "_Reader") -> None:
        if reader.unsent:
            self._loop.watch(reader.fd, selectors.EVENT_WRITE, lambda _: self._serve(reader))
        elif reader.may_speak:
            self._loop.watch(reader.fd, selectors.EVENT_READ, lambda _: self._listen(reader))
        else:
            self._loop.unwatch(reader.fd)

    def _listen(self, reader: "_Reader") -> None:
        """It has most likely hung up; whatever it says is ignored."""
        try:
            reader.may_speak = bool(reader.connection.recv(_READ_BYTES))
        except BlockingIOError:
            return
        except OSError:
            self._close(reader)
            return
        if reader.may_speak or not has_hung_up(reader.fd):
            self._watch(reader)
        else:
            self._close(reader)

    def _ping_later(self) -> None:
        if self._pinging is None:
            self._pinging = self._loop.call_at(self._loop.now() + PING_SECONDS, self._ping)

    def _ping(self) -> None:
        """Lets either side notice that the other is gone."""
        self._pinging = None
        for reader in list(self._readers.values()):
            if not reader.unsent:
                reader.unsent = _PING
                self._serve(reader)
        if self._readers:
            self._ping_later()

    def _close(self, reader: "_Reader") -> None:
        del self._readers[reader.fd]
        self._loop.unwatch(reader.fd)
        reader.connection.close()


class Broadcast:
    """All readers of one process. ``on_watched`` is called when the first reader comes to the
    control socket."""

    def __init__(self, loop: Loop, ring: Ring, on_watched: Callable[[], None]) -> None:
        self.status = Feed(loop, ring, is_whole=False, on_first=_nothing)
        self.control = Feed(loop, ring, is_whole=True, on_first=on_watched)
        self._ring = ring

    def publish(self, event: ServiceEvent) -> None:
        self._ring.add(event)
        self.status.wake()
        self.control.wake()

    def close(self) -> None:
        self.status.close()
        self.control.close()


class _Reader:
    """One reader: what is still to be sent, and the number of the last event in it."""

    def __init__(self, connection: socket.socket, unsent: bytes, after: int) -> None:
        self.connection = connection
        self.fd = connection.fileno()
        self.unsent = unsent
        self.after = after
        self.may_speak = True

    def send(self) -> bool:
        """Returns whether it has taken all."""
        if self.unsent:
            with contextlib.suppress(BlockingIOError):
                self.unsent = self.unsent[self.connection.send(self.unsent) :]
        return not self.unsent


def _nothing() -> None:
    pass
