"""A terminal that a test can type into and read: a pty, and pyte as what shows its bytes.

It is turned by the test's own loop, together with whatever else is there: no sleep.
"""

import fcntl
import os
import pty
import selectors
import signal
import struct
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyte

from mailroom.engine.loop import Loop

ROOT = Path(__file__).resolve().parent.parent.parent
_PATIENCE_SECONDS = 60.0


class Terminal:
    """A command in a terminal of its own. ``output`` is every byte that it has written."""

    def __init__(
        self,
        loop: Loop,
        command: Sequence[str],
        size: tuple[int, int],
        environ: Mapping[str, str],
    ) -> None:
        columns, rows = size
        self.output = bytearray()
        self.code: int | None = None
        self.last_settings: list[Any] = []
        self._loop = loop
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            os.chdir(ROOT)
            os.execvpe(command[0], list(command), dict(environ))
        self._set_size(columns, rows)
        loop.watch(self._fd, selectors.EVENT_READ, self._read)

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def attributes(self, text: str) -> set[str]:
        """How the line that has this text is shown where it is: bold, reverse, colours."""
        row = next(number for number, line in enumerate(self._screen.display) if text in line)
        at = self._screen.display[row].index(text)
        found = set()
        for column in range(at, at + len(text)):
            cell = self._screen.buffer[row][column]
            found |= {name for name in ("bold", "reverse") if getattr(cell, name)}
            found |= {cell.fg, cell.bg} - {"default"}
        return found

    @property
    def settings(self) -> list[Any]:
        """How the terminal treats what is typed (termios(3))."""
        return termios.tcgetattr(self._fd)

    def press(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def resize(self, columns: int, rows: int) -> None:
        self._screen.resize(rows, columns)
        self._set_size(columns, rows)

    def until(self, reached: Callable[[], object]) -> float:
        """Wait until it looks so; how many seconds it took."""
        began = time.monotonic()
        limit = self._loop.call_at(self._loop.now() + _PATIENCE_SECONDS, self._give_up)
        while not reached():
            self._loop.turn()
        limit.cancel()
        return time.monotonic() - began

    def shows(self, *texts: str) -> float:
        return self.until(lambda: all(text in self.text for text in texts))

    def ends(self) -> int:
        """Its exit code, when it has ended."""
        self.until(lambda: self.code is not None)
        assert self.code is not None
        return self.code

    def signal(self, number: signal.Signals) -> None:
        os.kill(self._pid, number)

    def hang_up(self) -> int:
        """The terminal goes away; the exit code of the command."""
        self._loop.unwatch(self._fd)
        os.close(self._fd)
        self.code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        return self.code

    def close(self) -> None:
        if self.code is None:
            os.kill(self._pid, signal.SIGKILL)
            self._reap()

    def _give_up(self) -> None:
        raise AssertionError(f"it never looked so:\n{self.text}")

    def _set_size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def _read(self, _events: int) -> None:
        try:
            data = os.read(self._fd, 1 << 16)
        except OSError:  # EIO: the other end is closed (pty(7))
            data = b""
        if not data:
            self._reap()
            return
        self.output += data
        self._stream.feed(data)

    def _reap(self) -> None:
        self._loop.unwatch(self._fd)
        self.last_settings = self.settings
        os.close(self._fd)
        _, status = os.waitpid(self._pid, 0)
        self.code = os.waitstatus_to_exitcode(status)
