"""The log: one line, or one journal entry, per thing that happened.

When stderr is the journal, entries go there by its native protocol, with fields (systemd.io,
"Native Journal Protocol"); else stderr gets ``event key=value ...`` or JSON lines. Addresses and
names come from hostile mail: whatever is not printable is escaped. Logging neither raises nor
blocks; lost lines are counted, and the count is logged when writing works again.
"""

import contextlib
import errno
import json
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Literal

JOURNAL_SOCKET = "/run/systemd/journal/socket"

# The middle of a longer value is cut out, so that an entry fits into a datagram.
_VALUE_LIMIT = 8192
# What a value in a line is quoted for, besides what is not printable.
_QUOTED_FOR = frozenset(' "=\\')
# A pipe that is ready for writing takes this much at once (pipe(7)).
_PIPE_BUF_BYTES = select.PIPE_BUF

# Events that the catalog explains: `journalctl -x` finds them by these ids. An id belongs to its
# event forever.
MESSAGE_IDS: Mapping[str, str] = MappingProxyType(
    {
        "service_started": "31f715afbb064a158b1bea17168ca4c8",
        "service_stopped": "6fcfe96aff3e48ada6bc9bc89a497f03",
        "config_reloaded": "336eaf8f99a244699b751d4a75d6ad03",
        "config_refused": "3c4c7214d1a24bb2acc350b61140430e",
        "account_ignored": "82c4b0c3fbda40a7a96597ab98624d79",
        "credentials_refused": "e059d5cf8e454f13a5ae361a292dac9a",
        "mailboxes_missing": "e04d9de1a8654e529e96dca19576fc40",
        "eventsource_disconnected": "fee99bad765547b982f09ee0d5d6157a",
        "eventsource_unavailable": "9f0699f02eb54bf2b3a51fedd246288e",
        "eventsource_deaf": "8c8780281bd04f958f1beaed16a39b76",
        "eventsource_blocking": "6fcf0afe941f4a949c3cd2dc8d00bb26",
        "poll_failed": "1ccf28729d864384aaa92230d973c002",
        "conflict_detected": "d8f01e34e57047c380a9af78dc1eac05",
        "name_mismatch": "052f446135704cb5b11ca6b7a217e52d",
        "sender_unusable": "69fe223896eb4b429b2fcae3b6ea6e50",
        "sender_failed": "ae206c9ebd44464f9c4e4955f2c075df",
        "object_unreadable": "91448eedc8d44c51a77b4f46efe81545",
        "rules_failed": "3481e917c9714766ab26f8923af06bc6",
        "decision_refused": "242519e8f8a74556bea82051cb98c93f",
        "arrival_given_up": "f8f120fcdcf6461fb363fe9306f38027",
        "digest_failed": "fb529fed5a884815866b1fd0e75e6b66",
        "door_unrecorded": "9c385cdeffb54de795db3400cfb98689",
        "arrival_refused": "5f69a108bad34df6989581905a478742",
        "sent_not_searched": "f3eba6014c6a4978b87b98c3bd0e1763",
        "start_refused": "6ff1f4a381a84c4ab974a16eefea8060",
        "account_failed": "275b338aa0ee4a5fa384458b9afdd4ba",
        "bug": "2666b870127843b68a90922ddc086a18",
        "log_lines_lost": "611448abcd124fea9ad3426f1ac36de8",
    }
)


class Level(IntEnum):
    """The priorities of syslog(3) that are used here."""

    ERROR = 3
    WARNING = 4
    INFO = 6
    DEBUG = 7


Fields = Mapping[str, object]
# Takes an event; returns False if it was lost.
Sink = Callable[[Level, str, Fields], bool]


class Log:
    """The log. A reload may set ``sink`` and ``threshold``."""

    def __init__(self, sink: Sink, threshold: Level = Level.INFO) -> None:
        self.sink = sink
        self.threshold = threshold
        self._lost_count = 0

    def debug(self, event: str, **fields: object) -> None:
        self._log(Level.DEBUG, event, fields)

    def info(self, event: str, **fields: object) -> None:
        self._log(Level.INFO, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        self._log(Level.WARNING, event, fields)

    def error(self, event: str, **fields: object) -> None:
        self._log(Level.ERROR, event, fields)

    def _log(self, level: Level, event: str, fields: Fields) -> None:
        """Fields that are None are left out."""
        if level > self.threshold:
            return
        lost = {"count": self._lost_count}
        if self._lost_count and self.sink(Level.WARNING, "log_lines_lost", lost):
            self._lost_count = 0
        told = {name: value for name, value in fields.items() if value is not None}
        if not self.sink(level, event, told):
            self._lost_count += 1


class AccountLog(Log):
    """The log of one account of several: the same log, but each line names the account."""

    def __init__(self, log: Log, account: str) -> None:
        super().__init__(log.sink, log.threshold)
        self._whole = log
        self._account = account

    def _log(self, level: Level, event: str, fields: Fields) -> None:
        self._whole._log(level, event, {"account": self._account, **fields})


def choose_sink(
    environ: Mapping[str, str],
    form: Literal["text", "json"] = "text",
    fd: int = 2,
    wall: Callable[[], float] = time.time,
) -> Sink:
    """The journal if ``fd`` is connected to it; else lines to ``fd``, in the given form."""
    if is_journal(environ, fd):
        return JournalSink()
    if form == "text":
        return LineSink(fd, text_line)
    return LineSink(fd, lambda level, event, fields: json_line(level, event, fields, wall()))


def is_journal(environ: Mapping[str, str], fd: int = 2) -> bool:
    """Whether ``fd`` is the stream that systemd connected to the journal (systemd.exec(5)).

    The variable alone proves nothing: a child inherits it even if its stream is redirected.
    """
    device, _, inode = environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        stat = os.fstat(fd)
    except OSError:
        return False
    return (device, inode) == (str(stat.st_dev), str(stat.st_ino))


class JournalSink:
    """Sends each entry to the journal as a datagram."""

    def __init__(self, path: str = JOURNAL_SOCKET) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def __call__(self, level: Level, event: str, fields: Fields) -> bool:
        entry = {
            "MESSAGE": text_line(level, event, fields),
            "PRIORITY": str(int(level)),
            "SYSLOG_IDENTIFIER": "mailroom",
            "MAILROOM_EVENT": event,
        }
        if event in MESSAGE_IDS:
            entry["MESSAGE_ID"] = MESSAGE_IDS[event]
        own = {f"MAILROOM_{name.upper()}": _text(value) for name, value in fields.items()}
        try:
            try:
                self._send(entry | own)
            except OSError as error:
                if error.errno != errno.EMSGSIZE:
                    raise
                # Larger than the socket's buffer: better sent without fields than not at all.
                self._send(entry | {"MESSAGE": _clipped(entry["MESSAGE"])})
        except OSError:
            return False
        return True

    def close(self) -> None:
        self._socket.close()

    def _send(self, entry: Mapping[str, str]) -> None:
        data = b"".join(_journal_field(name, value) for name, value in entry.items())
        self._socket.sendto(data, self._path)


class LineSink:
    """Writes lines to a file descriptor, whether or not anybody reads them."""

    def __init__(self, fd: int, render: Callable[[Level, str, Fields], str]) -> None:
        self._fd = fd
        self._render = render
        self._is_cut = False

    def __call__(self, level: Level, event: str, fields: Fields) -> bool:
        line = self._render(level, event, fields).encode("utf-8") + b"\n"
        data = b"\n" + line if self._is_cut else line
        left = self._write(data)
        if len(left) < len(data):
            self._is_cut = bool(left)
        return not left

    def _write(self, data: bytes) -> bytes:
        """Write as much as there is room for; returns the rest.

        The descriptor may be shared with a shell, so it is polled instead of made non-blocking.
        """
        with contextlib.suppress(OSError), _terminal_opened_anew(self._fd) as fd:
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            while data and poll.poll(0):
                data = data[os.write(fd, data[:_PIPE_BUF_BYTES]) :]
        return data


@contextlib.contextmanager
def _terminal_opened_anew(fd: int) -> Iterator[int]:
    """A terminal counts as ready when it has room for one byte, and blocks for the others. So it is
    opened again, non-blocking. Anything else, or a terminal of somebody else's, stays as it is."""
    try:
        anew = os.open(os.ttyname(fd), os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        yield fd
        return
    try:
        yield anew
    finally:
        os.close(anew)


def text_line(level: Level, event: str, fields: Fields) -> str:
    """``event key=value ...``; from a warning on, with the level."""
    pairs = [f"{name}={_quoted(_text(value))}" for name, value in fields.items()]
    if level <= Level.WARNING:
        pairs.append(f"level={level.name.lower()}")
    return " ".join([event, *pairs])


def json_line(level: Level, event: str, fields: Fields, at: float) -> str:
    """One JSON object; numbers stay numbers. ``at`` is in seconds since the epoch."""
    about = {"time": round(at, 3), "level": level.name.lower(), "event": event}
    return json.dumps(about | {name: _number_or_text(value) for name, value in fields.items()})


def _number_or_text(value: object) -> int | float | str:
    if isinstance(value, float):
        return round(value, 3)
    return value if isinstance(value, int) else _text(value)


def _text(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case float():
            return f"{value:.3f}".rstrip("0").rstrip(".")
        case list() | tuple() | set() | frozenset():
            return _clipped(", ".join(_text(item) for item in value))
        case BaseException():
            return _clipped(str(value) or type(value).__name__)
        case _:
            return _clipped(str(value))


def _clipped(text: str) -> str:
    """The text's beginning and end: the last lines of a traceback say the most."""
    if len(text) <= _VALUE_LIMIT:
        return text
    half = _VALUE_LIMIT // 2
    return f"{text[:half]} ... {text[-half:]}"


def _quoted(text: str) -> str:
    if text and text.isprintable() and _QUOTED_FOR.isdisjoint(text):
        return text
    doubled = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_escaped(doubled)}"'


def _escaped(text: str, keep: str = "") -> str:
    """Without anything that moves the cursor, turns the direction of writing or ends a line."""
    if text.isprintable():
        return text
    return "".join(
        char
        if char.isprintable() or char in keep
        else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def _journal_field(name: str, value: str) -> bytes:
    """One field; a value of several lines is preceded by its length instead of ``=``."""
    data = _escaped(value, keep="\n").encode("utf-8")
    if b"\n" not in data:
        return name.encode("ascii") + b"=" + data + b"\n"
    return name.encode("ascii") + b"\n" + struct.pack("<Q", len(data)) + data + b"\n"
