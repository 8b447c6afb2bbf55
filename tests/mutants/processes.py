"""Children that leave nothing behind, however they end and whatever they have started."""

import ctypes
import os
import resource
import select
import signal
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

_LIBC = ctypes.CDLL(None, use_errno=True)
# <sys/prctl.h>
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
# Of a mutant that hoards: more than any test takes.
_MEMORY_BYTES = 4 * 1024**3
_PIECE = 65536


def die_with_parent() -> None:
    """Whoever started this process takes it along."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> None:
    """What a child has started comes to this process when the child ends, and can be ended."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def in_child(work: Callable[[], str], cpu_seconds: float, wall_seconds: float) -> str | None:
    """What ``work`` says, in a forked child that ends with it; None if it takes too long, or
    takes its process down."""
    others = _children()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        _be_child(work, writing, cpu_seconds)
    os.close(writing)
    try:
        said = _read(reading, time.monotonic() + wall_seconds)
    finally:
        os.close(reading)
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        while left := _children() - others:  # the child, then what comes to us from it
            _end_all(left)
    return said or None


def _be_child(work: Callable[[], str], writing: int, cpu_seconds: float) -> None:
    """Never returns: what the parent would do next is not to be done twice."""
    try:
        os.setsid()
        die_with_parent()
        limit = int(cpu_seconds) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
        telling = os.dup(2)
        null = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(null, number)
        try:
            os.write(writing, work().encode()[: select.PIPE_BUF])
        except Exception:  # noqa: BLE001 - nobody else would hear of it
            os.write(telling, traceback.format_exc().encode())
    finally:
        os._exit(0)


def _read(reading: int, until: float) -> str:
    """Everything up to the end; nothing if that does not come in time."""
    said = b""
    while (left := until - time.monotonic()) > 0:
        if not select.select([reading], [], [], left)[0]:
            break
        piece = os.read(reading, _PIECE)
        said += piece
        if not piece or said.endswith(b"\n"):
            return said.decode(errors="replace").rstrip("\n")
    return ""


def _children() -> set[int]:
    return set(map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()))


def _end_all(children: set[int]) -> None:
    for child in children:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _prctl(option: int, value: Any) -> None:
    if _LIBC.prctl(option, ctypes.c_ulong(value), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
