"""A person at a terminal, scripted: a command on a pseudo-terminal, read and typed at."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

_PATIENCE_SECONDS = 60.0
_ROWS, _COLUMNS = 50, 100


class Terminal:
    """Use it as a context manager; what is left running at its end is killed."""

    def __init__(
        self, command: Sequence[str], environ: Mapping[str, str], *, before: Sequence[str] = ()
    ) -> None:
        self.told = ""  # all that was shown
        self._is_interrupted = False
        self._read_up_to = 0
        self._fd, there = pty.openpty()
        fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
        self.child = subprocess.Popen(
            [*before, *command],
            stdin=there,
            stdout=there,
            stderr=there,
            env={"TERM": "dumb", **environ},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - no threads
        )
        os.close(there)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        type_: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
        os.close(self._fd)

    def until(self, pattern: str) -> str:
        """Wait until something new is shown that matches; returns what was shown up to there."""
        end = time.monotonic() + _PATIENCE_SECONDS
        while not (found := re.compile(pattern, re.MULTILINE).search(self.told, self._read_up_to)):
            left = end - time.monotonic()
            assert left > 0, f"{pattern!r} was not shown: {self.told[self._read_up_to :]}"
            assert self._hear(left), f"it ended without {pattern!r}: {self.told}"
        shown = self.told[self._read_up_to : found.end()]
        self._read_up_to = found.end()
        return shown

    def type(self, text: str) -> None:
        """Type a line, and Enter."""
        os.write(self._fd, f"{text}\n".encode())

    def answer(self, prompt: str, text: str = "") -> str:
        """Wait for a question, and answer it; returns all that was shown before it."""
        shown = self.until(rf"^{re.escape(prompt)}.*: \Z")
        self.type(text)
        return shown

    def prompt(self, prompts: Sequence[str]) -> str | None:
        """Wait for one of these questions; None where it ends without another."""
        pattern = re.compile(rf"^({'|'.join(map(re.escape, prompts))})[^\n]*: \Z", re.MULTILINE)
        end = time.monotonic() + _PATIENCE_SECONDS
        while not (found := pattern.search(self.told, self._read_up_to)):
            assert time.monotonic() < end, self.told[self._read_up_to :]
            if not self._hear(end - time.monotonic()):
                return None
        self._read_up_to = found.end()
        return found[1]

    def interrupt(self) -> None:
        """Ctrl+C; :meth:`end` presses it again where a second goes by and nothing comes of it. A
        signal that comes between the prompt of ``input`` and its wait is not heard before the next
        key (readline of CPython 3.11)."""
        os.write(self._fd, b"\x03")
        self._is_interrupted = True

    def hang_up(self) -> None:
        """Ctrl+D."""
        os.write(self._fd, b"\x04")

    def kill(self) -> None:
        self.child.send_signal(signal.SIGKILL)

    def end(self, patience_seconds: float = _PATIENCE_SECONDS) -> int:
        """Wait for its end; the exit code."""
        deadline = time.monotonic() + patience_seconds
        known = ""
        while self._hear(min(1.0, deadline - time.monotonic())):
            assert time.monotonic() < deadline, self.told
            if self._is_interrupted and self.told == known:
                self.interrupt()
            known = self.told
        return self.child.wait(_PATIENCE_SECONDS)

    def _hear(self, seconds: float) -> bool:
        """Take in what is shown; False when nothing more will be."""
        if not select.select([self._fd], [], [], max(0.0, seconds))[0]:
            return True
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # EIO: everybody has closed it (pty(7))
            return False
        self.told += data.decode(errors="replace").replace("\r\n", "\n")
        return bool(data)
