"""What a command that systemd runs is given by the one that a person has typed.

The one that runs is confined: another user, who sees no home and no file of the caller's. So the
caller hands it the arguments, its own standard input, and the files that were named on the command
line, which the caller alone opens. One socket does it all; it is the standard input of what runs,
the one thing that ``systemd-run --pipe`` hands over which is not needed to show anything.
"""

import json
import os
import select
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Self, TextIO

from mailroom import __version__
from mailroom.errors import MailroomError

# The message that carries the arguments: the kernel has room for more (net.core.wmem_max).
_LIMIT_BYTES = 64 * 1024
_BEGUN = "begun"


# Opens a file that was named, as it is meant to be opened; may raise OSError.
Opening = Callable[[], int]


class Giver:
    """The caller's end. Use :meth:`pair`."""

    def __init__(self, end: socket.socket, files: Mapping[str, Opening]) -> None:
        self._end = end
        self._files = files

    @classmethod
    def pair(cls, files: Mapping[str, Opening]) -> tuple[Self, socket.socket]:
        """This end, and the one that becomes the other's standard input; closed by the caller."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(ours, files), theirs

    def give(self, arguments: Sequence[str], stdin: int) -> None:
        """Say what is to be run. Raises :class:`MailroomError` where that is too long."""
        message = json.dumps(
            {"version": __version__, "arguments": list(arguments), "files": list(self._files)}
        ).encode()
        if len(message) > _LIMIT_BYTES:
            raise MailroomError("cannot run this: the command line is too long")
        socket.send_fds(self._end, [message], [stdin])

    def serve(self, pid: int) -> bool:
        """Open what is asked for, until our child ``pid`` has ended; whether the other has ever
        begun. (systemd may hold the other end for longer.)"""
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
        """What the other asks for; nothing once it has gone."""
        try:
            return self._end.recv(_LIMIT_BYTES).decode()
        except ConnectionError:  # it never took what it was given
            return ""

    def close(self) -> None:
        self._end.close()

    def _open(self, name: str) -> None:
        opening = self._files.get(name)
        if opening is None:
            raise MailroomError(f"what runs asks for a file that nobody has named: {name!r}")
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
    """The end of what runs: what it has been given, and the way to the files."""

    def __init__(self, end: socket.socket) -> None:
        """Raises :class:`MailroomError` where there is no caller, or one of another version."""
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
        """What is standard input becomes the caller's standard input."""
        try:
            taker = cls(socket.socket(fileno=os.dup(0)))
        except OSError as error:
            raise MailroomError("this command is only for mailroom itself") from error
        os.dup2(taker.stdin, 0)
        os.close(taker.stdin)
        return taker

    def read(self, name: str) -> str:
        """What the file says. Raises OSError."""
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
