"""What a process may do: run on a test host, inside the walls of the unit and outside of them.

Prints a JSON object: each attempt, and ``done`` or the errno that it was refused with.
"""

import ctypes
import errno
import json
import mmap
import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

_CLONE_NEWUSER = 0x10000000
_PER_LINUX32 = 0x0008

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    attempts = [(name, ATTEMPTS[name]) for name in sys.argv[1:] or ATTEMPTS]
    sys.stdout.write(json.dumps({name: _outcome(attempt) for name, attempt in attempts}))


def _outcome(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "done"


def _call(function: str, *arguments: object) -> None:
    if _libc[function](*arguments) < 0:
        raise OSError(ctypes.get_errno(), function)


def _write(path: str) -> None:
    with open(path, "w"):
        pass
    os.unlink(path)


def _run_own_program() -> None:
    program = Path("/tmp/program")
    shutil.copy("/usr/bin/true", program)
    program.chmod(0o755)
    subprocess.run([str(program)], check=True)


def _set_user_id_bit() -> None:
    program = Path("/tmp/set-user-id")
    program.touch()
    program.chmod(stat.S_ISUID | 0o700)


def _bind() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))


def _write_and_execute() -> None:
    protection = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    mmap.mmap(-1, mmap.PAGESIZE, prot=protection).close()


ATTEMPTS: dict[str, Callable[[], object]] = {
    "write to /usr": lambda: _write("/usr/lib/probe"),
    "write to /etc": lambda: _write("/etc/probe"),
    "write to /var": lambda: _write("/var/lib/probe"),
    "write to /run": lambda: _write("/run/probe"),
    "write to /tmp": lambda: _write("/tmp/probe"),
    "write to the control groups": lambda: _write("/sys/fs/cgroup/probe"),
    "read a home": lambda: os.listdir("/root"),
    "see what others have in /tmp": lambda: os.stat("/tmp/of-others"),
    "see a device": lambda: os.stat("/dev/net"),
    "see another process": lambda: os.stat("/proc/1"),
    "see the machine": lambda: os.stat("/proc/meminfo"),
    "run a program of its own": _run_own_program,
    "run a program of others": lambda: subprocess.run(["/run/program"], check=True),
    "make a program set-user-id": _set_user_id_bit,
    "make a namespace": lambda: _call("unshare", _CLONE_NEWUSER),
    "write code and run it": _write_and_execute,
    "change its personality": lambda: _call("personality", _PER_LINUX32),
    "change its priority": lambda: os.nice(1),
    "open a netlink socket": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close(),
    "listen": _bind,
}


if __name__ == "__main__":
    main()
