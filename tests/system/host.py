"""A disposable Debian host: systemd as PID 1 in a container, booted in a second, gone afterwards.

It needs root and systemd-nspawn, but neither a terminal nor systemd on the machine itself. What the
host writes goes to an overlay in memory, so its root (:mod:`tests.system.root`) can be shared. Its
network is its own: a loopback and nothing else, so that ports never clash; :meth:`Host.network`
takes the caller's sockets there.
"""

import contextlib
import ctypes
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

BOOT_SECONDS = 60.0
STOP_SECONDS = 20.0
RUN_SECONDS = 60.0

_CLONE_NEWNET = 0x40000000
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "SYSTEMD_COLORS": "0",
    "SYSTEMD_PAGER": "",
}
_JOIN_CGROUPS = 'for tree in $0; do echo $$ >"$tree/cgroup.procs"; done; exec "$@"'

_libc = ctypes.CDLL(None, use_errno=True)


class Host:
    """One booted host. Use :meth:`boot`, a context manager; every method works from then on."""

    def __init__(self, name: str, nspawn: subprocess.Popen[bytes]) -> None:
        self.name = name
        self.leader = 0  # the host's PID 1, in this machine's numbers
        self._nspawn = nspawn

    @classmethod
    @contextlib.contextmanager
    def boot(cls, root: Path, read_only: Mapping[Path, str] | None = None) -> Iterator[Self]:
        """Boot `root`, wait until it is up, and at the end shut it down.

        Args:
            root: a tree that :func:`tests.system.root.ensure` made; it is not changed.
            read_only: folders of this machine to be seen in the host, each at the given path.

        Raises:
            RuntimeError: it did not come up; the message has the console's last lines.
        """
        with contextlib.ExitStack() as stack:
            name = f"mailroom-{secrets.token_hex(4)}"
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"{name}-")))
            stack.callback(_remove_cgroups, trees := _make_cgroups(name))
            binds = [f"--bind-ro={path}:{there}" for path, there in (read_only or {}).items()]
            # Closed once it is up: a socket that nobody reads fills up, and then PID 1 blocks.
            with _bound_socket(scratch / "notify") as notifications:
                host = cls(name, _start(trees, _nspawn_command(name, root, binds), scratch))
                stack.callback(host.stop)
                host._await_boot(notifications, scratch / "console")
            yield host

    def run(
        self, *command: str, check: bool = True, stdin: str = "", timeout: float = RUN_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Run `command` as root in the host; with `check` any exit code but 0 is an error.

        It is not confined as a service is: for that, run ``systemd-run`` with it.
        """
        result = subprocess.run(
            [*self._enter(), *command],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=_ENVIRONMENT,
            check=False,
        )
        if check and result.returncode:
            printed = (result.stdout + result.stderr)[-3000:]
            raise RuntimeError(f"{' '.join(command)} exited {result.returncode}:\n{printed}")
        return result

    def command(self, *command: str) -> list[str]:
        """The words by which a command is run in the host that is to have a terminal."""
        return [*self._enter(), *command]

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file of the host, with the folders above it."""
        self.run("install", "-D", f"--mode={mode:o}", "/dev/stdin", path, stdin=text)

    def read(self, path: str) -> str:
        """The text of a file of the host."""
        return self.run("cat", path).stdout

    def copy(self, folder: Path, path: str) -> None:
        """Copy a folder of this machine to `path`, readable by everybody there."""
        there = Path(f"/proc/{self.leader}/root") / path.lstrip("/")
        shutil.copytree(folder, there, ignore=shutil.ignore_patterns("__pycache__"))
        self.run("chmod", "--recursive", "go=rX", path)

    def property(self, unit: str, name: str) -> str:
        """A property of a unit, as ``systemctl show -P`` prints it."""
        return self.run("systemctl", "show", "-P", name, unit).stdout.rstrip("\n")

    def journal(self, unit: str) -> list[dict[str, Any]]:
        """What was logged by and about `unit`, oldest first, with the fields of the journal."""
        self.run("journalctl", "--sync")
        lines = self.run("journalctl", "-u", unit, "-o", "json", "--no-pager").stdout.splitlines()
        return [json.loads(line) for line in lines]

    @contextlib.contextmanager
    def network(self) -> Iterator[None]:
        """Inside this context the calling thread's new sockets are in the host's network.

        A socket stays in the network it was made in, so a connection opened here lives on outside.
        Addresses must be literal (127.0.0.1): a name would still be asked of this machine.
        """
        with (
            open("/proc/thread-self/ns/net", "rb") as ours,
            open(f"/proc/{self.leader}/ns/net", "rb") as hosts,
        ):
            _set_network(hosts.fileno())
            try:
                yield
            finally:
                _set_network(ours.fileno())

    def stop(self) -> None:
        """Shut the host down in order and wait for its end; a host that hangs is killed."""
        self._nspawn.terminate()  # nspawn hands it on as --kill-signal
        # Then the leader, before nspawn: a container whose keeper is killed first lives on.
        for victim in (self.leader, self._nspawn.pid):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._nspawn.wait(STOP_SECONDS)
                return
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim or self._nspawn.pid, signal.SIGKILL)
        self._nspawn.wait(STOP_SECONDS)

    def _enter(self) -> list[str]:
        namespaces = ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd"]
        return ["nsenter", f"--target={self.leader}", *namespaces, "--"]

    def _await_boot(self, notifications: socket.socket, console: Path) -> None:
        """Read what nspawn says by sd_notify(3): first its leader's pid, then READY=1."""
        deadline = time.monotonic() + BOOT_SECONDS
        notifications.settimeout(0.2)
        while time.monotonic() < deadline and self._nspawn.poll() is None:
            with contextlib.suppress(TimeoutError):
                text = notifications.recv(4096).decode()
                said = dict(line.split("=", 1) for line in text.splitlines())
                self.leader = int(said.get("X_NSPAWN_LEADER_PID", self.leader))
                if said.get("READY") == "1":
                    return
        printed = console.read_text(errors="replace")[-3000:]
        raise RuntimeError(f"the test host did not boot in {BOOT_SECONDS:.0f} s:\n{printed}")


def _nspawn_command(name: str, root: Path, options: list[str]) -> list[str]:
    return [
        # If we are killed, the host is asked to shut down.
        *("setpriv", "--pdeathsig", "TERM", "systemd-nspawn"),
        *("--quiet", "--register=no", "--keep-unit", "--link-journal=no", "--console=pipe"),
        *("--kill-signal=SIGRTMIN+3", "--notify-ready=yes", "--private-network"),
        # What SocketBindDeny= and the like are made of.
        *("--capability=CAP_BPF,CAP_NET_ADMIN,CAP_PERFMON", "--system-call-filter=bpf"),
        # Read-only concerns the tree: its lock is shared, so several hosts may boot it.
        *("--read-only", "--volatile=overlay", f"--machine={name}", f"--directory={root}"),
        *options,
        "--boot",
    ]


def _start(trees: list[Path], command: list[str], scratch: Path) -> subprocess.Popen[bytes]:
    environment = os.environ | {
        "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",  # pure v2 inside, whatever is outside
        "NOTIFY_SOCKET": str(scratch / "notify"),
    }
    with (scratch / "console").open("wb") as console:
        return subprocess.Popen(
            ["sh", "-c", _JOIN_CGROUPS, " ".join(map(str, trees)), *command],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,  # a ^C is for the tests; they stop the host in order
        )


@contextlib.contextmanager
def _bound_socket(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(path))
        yield bound


def _make_cgroups(name: str) -> list[Path]:
    """A cgroup of its own in each tree that systemd uses: one on pure v2, two on a hybrid machine.

    With ``--keep-unit`` all containers started from one cgroup would share its ``payload``, and two
    systemds in one tree destroy each other's units.
    """
    top = Path("/sys/fs/cgroup")
    pure = (top / "cgroup.controllers").exists()
    trees = [base / name for base in ([top] if pure else [top / "unified", top / "systemd"])]
    for tree in trees:
        tree.mkdir()
    return trees


def _remove_cgroups(trees: list[Path]) -> None:
    for tree in trees:
        for folder, _, _ in os.walk(tree, topdown=False):
            with contextlib.suppress(OSError):  # a leftover empty cgroup harms nobody
                os.rmdir(folder)


def _set_network(namespace: int) -> None:
    """setns(2): Python has it from 3.12 only."""
    if _libc.setns(namespace, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "entering a network namespace")
