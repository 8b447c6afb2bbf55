"""Event streams, as the WHATWG HTML standard ("Server-sent events", 9.2) reads them.

Bytes in, frozen events out. The parser's memory is bounded whatever the peer sends, and it looks at
every byte a fixed number of times, however the stream is cut into reads.
"""

import re
from dataclasses import dataclass

from mailroom.errors import ProtocolError

# A StateChange has some hundred bytes. A peer that needs more than this does not speak JMAP.
MAX_LINE_BYTES = 1 << 20
MAX_DATA_BYTES = 1 << 20
# Long reads are taken in pieces, so that an endless line is refused before it is copied.
_PIECE_BYTES = 65536

_LINE_END = re.compile(rb"\r\n|\r|\n")
_BOM = b"\xef\xbb\xbf"


class StreamError(ProtocolError):
    """The stream cannot be read any further; the caller has to end the connection."""


@dataclass(frozen=True, slots=True)
class Event:
    """One dispatched event. ``id`` is the last id that the stream had named by then, or empty."""

    type: str
    data: str
    id: str


class Parser:
    """Reads one stream, chunk by chunk. Comments and unfinished events leave no trace.

    ``last_event_id`` is what a reconnection sends as ``Last-Event-ID`` (empty: nothing); it starts
    as the previous connection's. ``retry_seconds`` is the reconnection time that the server last
    asked for, unlimited, or None.
    """

    def __init__(self, last_event_id: str = "") -> None:
        self.last_event_id = last_event_id
        self.retry_seconds: float | None = None
        self._line = bytearray()
        self._data = bytearray()
        self._type = ""
        self._id = last_event_id
        self._at_start = True
        self._after_cr = False

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that ``chunk`` completes.

        Raises StreamError when a line or an event's data outgrows its bound.
        """
        pieces = (chunk[at : at + _PIECE_BYTES] for at in range(0, len(chunk), _PIECE_BYTES))
        return [event for piece in pieces for event in self._read(piece)]

    def _read(self, chunk: bytes) -> list[Event]:
        # A CR ends its line at once; the LF that may belong to it can be in the next read.
        if self._after_cr:
            chunk = chunk.removeprefix(b"\n")
        self._after_cr = chunk.endswith(b"\r")
        *ends, rest = _LINE_END.split(chunk)
        events = []
        for end in ends:
            self._extend(end)
            event = self._finish_line()
            if event is not None:
                events.append(event)
        self._extend(rest)
        return events

    def _extend(self, piece: bytes) -> None:
        if len(self._line) + len(piece) > MAX_LINE_BYTES:
            raise StreamError(f"the event stream has a line of more than {MAX_LINE_BYTES} bytes")
        self._line += piece

    def _finish_line(self) -> Event | None:
        line = bytes(self._line)
        self._line.clear()
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BOM)
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        self._set_field(name, value.removeprefix(b" "))
        return None

    def _set_field(self, name: bytes, value: bytes) -> None:
        match name:
            case b"data":
                self._add_data(value)
            case b"event":
                self._type = _text(value)
            case b"id" if b"\0" not in value:
                self._id = _text(value)
            case b"retry" if value.isdigit():
                # float(), because int() refuses more than 4300 digits; milliseconds.
                self.retry_seconds = float(value) / 1000

    def _add_data(self, value: bytes) -> None:
        if len(self._data) + len(value) + 1 > MAX_DATA_BYTES:
            raise StreamError(f"the event stream has an event of more than {MAX_DATA_BYTES} bytes")
        self._data += value
        self._data += b"\n"

    def _dispatch(self) -> Event | None:
        data, kind = _text(self._data), self._type
        self._data.clear()
        self._type = ""
        self.last_event_id = self._id
        if not data:
            return None
        return Event(kind or "message", data[:-1], self._id)


def _text(value: bytes | bytearray) -> str:
    return value.decode("utf-8", "replace")
