"""What the command that a person has typed hands to the one that systemd runs for it.

The latter is confined: it runs as another user, who sees no home and none of the caller's files.
So the caller hands it the arguments, its own standard input, and the files named on the command
line, which only the caller opens. All goes through one socket, the standard input of the confined
command: of what ``systemd-run --pipe`` hands over, only that is not needed for output.
"""

import json
import os
import select
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Self, TextIO

from mailroom import __version__
from mailroom.errors import MailroomError

# The largest message with arguments: the kernel has room for more (net.core.wmem_max).
_LIMIT_BYTES = 64 * 1024
_BEGUN = "begun"


# Opens a named file for reading or writing, as is meant; may raise OSError.
Opening = Callable[[], int]


class Giver:
    """The caller's end. Use :meth:`pair`."""

    def __init__(self, end: socket.socket, files: Mapping[str, Opening]) -> None:
        self._end = end
        self._files = files

    @classmethod
    def pair(cls, files: Mapping[str, Opening]) -> tuple[Self, socket.socket]:
        """This end, and the other's standard input, which the caller of this method closes."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(ours, files), theirs

    def give(self, arguments: Sequence[str], stdin: int) -> None:
        """Say what to run. Raises :class:`MailroomError` if the command line is too long."""
        message = json.dumps(
            {"version": __version__, "arguments": list(arguments), "files": list(self._files)}
        ).encode()
        if len(message) > _LIMIT_BYTES:
            raise MailroomError("cannot run this: the command line is too long")
        socket.send_fds(self._end, [message], [stdin])

    def serve(self, pid: int) -> bool:
        """Open what is asked for until our child ``pid`` has ended; returns whether the other end
        ever started. (systemd may keep that end open for longer.)"""
        has_begun, waits = False, select.poll()
        with open(os.pidfd_open(pid), "rb", buffering=0) as child:
            waits.register(self._end, select.POLLIN)
            waits.register(child, select.POLLIN)
            while True:
                ready = [fd for fd, _ in waits.poll()]
                if self._end.fileno() not in ready:
                    return has_begun
                wanted = self._wanted()
                if wanted == _BEGUN:
                    has_begun = True
                elif wanted:
                    self._open(wanted)
                else:
                    waits.unregister(self._end)

    def _wanted(self) -> str:
        """What the other end asks for; empty once it has gone."""
        try:
            return self._end.recv(_LIMIT_BYTES).decode()
        except ConnectionError:  # it ended without reading our message
            return ""

    def close(self) -> None:
        self._end.close()

    def _open(self, name: str) -> None:
        opening = self._files.get(name)
        if opening is None:
            raise MailroomError(f"the command asks for a file that nobody has named: {name!r}")
        try:
            fd = opening()
        except OSError as error:
            self._end.send(json.dumps({"errno": error.errno}).encode())
            return
        try:
            socket.send_fds(self._end, [b"{}"], [fd])
        finally:
            os.close(fd)


class Taker:
    """The confined command's end: what it has been given, and the way to the files."""

    def __init__(self, end: socket.socket) -> None:
        """Raises :class:`MailroomError` if there is no caller, or one of another version."""
        self._end = end
        try:
            message, fds, *_ = socket.recv_fds(end, _LIMIT_BYTES, 1)
            given = json.loads(message)
        except (OSError, ValueError) as error:
            raise MailroomError("this command is only for mailroom itself") from error
        if given["version"] != __version__:
            raise MailroomError(
                f"this is mailroom {given['version']}, and the unit runs {__version__}: run that"
            )
        self.arguments: list[str] = given["arguments"]
        self.files: list[str] = given["files"]
        [self.stdin] = fds
        end.send(_BEGUN.encode())

    @classmethod
    def from_stdin(cls) -> Self:
        """Take the socket from standard input, and put the caller's standard input in its place."""
        try:
            taker = cls(socket.socket(fileno=os.dup(0)))
        except OSError as error:
            raise MailroomError("this command is only for mailroom itself") from error
        os.dup2(taker.stdin, 0)
        os.close(taker.stdin)
        return taker

    def read(self, name: str) -> str:
        """The file's text. Raises OSError."""
        with os.fdopen(self._open(name), encoding="utf-8") as file:
            return file.read()

    def writer(self, name: str) -> TextIO:
        """The file, to be written. Raises OSError."""
        return os.fdopen(self._open(name), "w", encoding="utf-8")

    def _open(self, name: str) -> int:
        """A descriptor of the file, opened by the caller."""
        self._end.send(name.encode())
        message, fds, *_ = socket.recv_fds(self._end, _LIMIT_BYTES, 1)
        if not fds:
            number = json.loads(message)["errno"]
            raise OSError(number, os.strerror(number))
        return fds[0]
