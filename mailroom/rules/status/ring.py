"""The latest events, as they are sent (WHATWG HTML, "Server-sent events"), up to a number of bytes.

Every event has a number, and a reader is somewhere between two of them. A reader who is too far
behind is told how many events were lost. An id also names the process: nobody knows how many events
of an earlier process were lost.
"""

import re
from collections import deque
from dataclasses import dataclass

from mailroom.rules.status.events import ServiceEvent, encoded

# All that events cost, however slow the readers are: each of them is only a place in the ring.
RING_BYTES = 256 * 1024
#: An id that makes sense; a reader may send anything.
_ID = re.compile(r"([0-9a-z]{1,20})-([0-9]{1,15})")


@dataclass(frozen=True, slots=True)
class _Entry:
    """One event as the status socket sends it, and as the control socket sends it."""

    open: bytes
    whole: bytes

    @property
    def size(self) -> int:
        return len(self.open) + (len(self.whole) if self.whole is not self.open else 0)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a reader is: behind the event with this number. ``greeting`` is sent first."""

    after: int
    greeting: bytes


class Ring:
    """The events of one process. ``epoch`` is a word that no other process has: [0-9a-z]+."""

    def __init__(self, epoch: str, most_bytes: int = RING_BYTES) -> None:
        self._epoch = epoch
        self._most_bytes = most_bytes
        self._bytes = 0
        self._entries: deque[_Entry] = deque()
        self._newest = 0

    @property
    def newest(self) -> int:
        """The number of the last event; 0 before the first."""
        return self._newest

    @property
    def size_bytes(self) -> int:
        return self._bytes

    def add(self, event: ServiceEvent) -> None:
        """Add an event; the oldest make room for it."""
        self._newest += 1
        head = f"id: {self._epoch}-{self._newest}\nevent: {event.kind}\ndata: ".encode()
        told = head + encoded(event.document) + b"\n\n"
        whole = told
        if event.more is not None:
            whole = head + encoded({**event.document, **event.more}) + b"\n\n"
        entry = _Entry(told, whole)
        self._entries.append(entry)
        self._bytes += entry.size
        while self._bytes > self._most_bytes:
            self._bytes -= self._entries.popleft().size

    def enter(self, last_event_id: str) -> Place:
        """Where a reader begins whose last event was this one; without one, at the next event."""
        if not last_event_id:
            # No event, but an id, for a reader who is cut off before the first event.
            return Place(self._newest, f"id: {self._epoch}-{self._newest}\n\n".encode())
        known = _ID.fullmatch(last_event_id)
        if known and known[1] == self._epoch and int(known[2]) <= self._newest:
            return Place(int(known[2]), b"")
        oldest = self._newest - len(self._entries)
        return Place(oldest, self._lost(oldest, None))

    def read(self, after: int, most_bytes: int, *, is_whole: bool) -> tuple[bytes, int]:
        """The events after that number, at most ``most_bytes`` but at least one event; and the
        number of the last one."""
        oldest = self._newest - len(self._entries)
        pieces, left = [], most_bytes
        if after < oldest:
            pieces.append(self._lost(oldest, oldest - after))
            after = oldest
        for number in range(after - oldest, len(self._entries)):
            entry = self._entries[number]
            piece = entry.whole if is_whole else entry.open
            left -= len(piece)
            if left < 0 and pieces:
                break
            pieces.append(piece)
            after += 1
        return b"".join(pieces), after

    def _lost(self, number: int, count: int | None) -> bytes:
        data = encoded({"count": count})
        return f"id: {self._epoch}-{number}\nevent: lost\ndata: ".encode() + data + b"\n\n"
