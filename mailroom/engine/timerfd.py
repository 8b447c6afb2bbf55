"""The two timerfd calls that Python has in ``os`` since 3.13, taken from glibc (timerfd_create(2)).

Only for older versions: ctypes costs half a MiB.
"""

import ctypes
import os
import struct
from collections.abc import Callable

_libc = ctypes.CDLL(None, use_errno=True)


def timerfd_create(clock_id: int, /, *, flags: int) -> int:
    """A new timer as an fd; raises OSError."""
    return _checked(_libc.timerfd_create, clock_id, flags)


def timerfd_settime_ns(fd: int, /, *, flags: int, initial: int) -> None:
    """Arm ``fd`` for ``initial`` nanoseconds; zero disarms it. Raises OSError."""
    itimerspec = struct.pack("@llll", 0, 0, *divmod(initial, 1_000_000_000))
    _checked(_libc.timerfd_settime, fd, flags, itimerspec, None)


def _checked(function: Callable[..., int], *arguments: object) -> int:
    result = function(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
