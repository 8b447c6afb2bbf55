"""A child that is forked for one piece of work, sends the result through a pipe, and ends.

The memory and modules that the work needs are freed with it.
"""

import contextlib
import gc
import os
import signal
from collections.abc import Callable
from typing import BinaryIO, NoReturn

_STDERR = 2


class Forked:
    """A child that runs ``work``, which writes into the file that it is given; ``pipe`` is our end.
    Raises OSError if no child can be made now."""

    def __init__(self, work: Callable[[BinaryIO], None]) -> None:
        self._has_ended = False
        self.pipe, writer = os.pipe()
        try:
            self._pid = os.fork()
        except OSError:
            os.close(self.pipe)
            os.close(writer)
            raise
        if self._pid == 0:
            os.close(self.pipe)
            _work_and_end(work, writer)
        os.close(writer)

    def rest(self) -> bytes:
        """Waits for all that is still to come, and returns it."""
        with os.fdopen(self.pipe, "rb", closefd=False) as pipe:
            answer = pipe.read()
        self.ended()
        return answer

    def ended(self) -> None:
        """The pipe has ended, so the child has, or will at once."""
        self._has_ended = True
        with contextlib.suppress(ChildProcessError):  # our parent may have set SIGCHLD to SIG_IGN
            os.waitpid(self._pid, 0)

    def close(self) -> None:
        """The answer is not wanted any more."""
        os.close(self.pipe)
        if not self._has_ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            self.ended()


def _work_and_end(work: Callable[[BinaryIO], None], writer: int) -> NoReturn:
    """The child: whatever happens, it never returns into the service's code."""
    try:
        gc.disable()  # the child ends before a collection pays off
        # A connection that the service closes meanwhile must end for its peer, and for epoll(7).
        os.closerange(_STDERR + 1, writer)
        os.closerange(writer + 1, os.sysconf("SC_OPEN_MAX"))
        signal.set_wakeup_fd(-1)  # the parent's self-pipe
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        with os.fdopen(writer, "wb") as pipe:
            work(pipe)
    finally:
        os._exit(0)
