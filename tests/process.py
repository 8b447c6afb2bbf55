"""The service as a process of its own, and all that it can be heard saying."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mailroom.engine.client import ask
from mailroom.errors import MailroomError

ROOT = Path(__file__).parent.parent
SECRET = "hunter2-sesame"
# Only for a test that fails: before pytest ends it without a word of what there was.
_PATIENCE_SECONDS = 50.0


def configuration(folder: Path, url: str, **sections: Any) -> Path:
    """Write a configuration (JSON is YAML) for a sandbox at ``url``."""
    path = folder / "mailroom.yaml"
    servers = {"jmap": {"url": f"{url}/.well-known/jmap", "username": "alice"},
               "carddav": {"url": url}}  # fmt: skip
    path.write_text(json.dumps(servers | sections))
    return path


def environment(folder: Path, **variables: str) -> dict[str, str]:
    """What a service manager leaves of the environment, and the secret."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "XDG_RUNTIME_DIR": str(folder),
        "MAILROOM_JMAP_PASSWORD": SECRET,
        **variables,
    }


def mailroom(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "mailroom", *arguments],
        env=environment(folder, **variables),
        capture_output=True,
        text=True,
        timeout=_PATIENCE_SECONDS,
        check=False,
        cwd=folder,
    )


class Process:
    """``mailroom run``; stderr goes to a file, sd_notify messages to a socket of ours."""

    def __init__(
        self,
        folder: Path,
        config: Path,
        variables: Mapping[str, str] | None = None,
        *,
        arguments: Sequence[str] = (),
        wrapper: Sequence[str] = (),
        listener: socket.socket | None = None,
        socket_folder: Path | None = None,
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.socket = (socket_folder or folder) / "status.sock"
        self.messages: list[str] = []
        self._log = folder / "stderr"
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(folder / "notify"))
        given = {"NOTIFY_SOCKET": str(folder / "notify"), **(variables or {})}
        command = [sys.executable, "-m", "mailroom", "run", "--config", str(config)]
        with self._log.open("wb") as log:
            self.child = subprocess.Popen(
                [*wrapper, *command, "--socket", str(self.socket), *arguments],
                env=environment(folder, **given),
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=folder,
                pass_fds=() if listener is None else (3,),
                preexec_fn=None if listener is None else lambda: _hand_over(listener),  # noqa: PLW1509
            )

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        self._notify.close()

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def events(self) -> list[str]:
        """The names of the log lines."""
        return [line.partition(" ")[0] for line in self.log.splitlines()]

    def until_told(self, message: str, count: int = 1) -> "Process":
        """Wait for so many notify messages that begin so."""
        self.until(lambda: sum(m.startswith(message) for m in self.messages) >= count, message)
        return self

    def until(
        self,
        reached: Callable[[], bool],
        what: str = "",
        patience_seconds: float = _PATIENCE_SECONDS,
    ) -> None:
        """Wait, hearing what the service tells systemd, until something is so."""
        give_up_at = time.monotonic() + patience_seconds
        while not reached():
            assert time.monotonic() < give_up_at, f"{what}: {self.messages} {self.log}"
            assert self.child.poll() is None or what == "exit", self.log
            self.hear(0.01)

    def hear(self, seconds: float = 0.0) -> None:
        """Take the messages that are there, waiting a moment for the first."""
        while select.select([self._notify], [], [], seconds)[0]:
            self.messages.append(self._notify.recv(65536).decode("ascii"))
            seconds = 0.0

    def ask(self, target: str, method: str = "GET") -> tuple[int, Any]:
        try:
            code, body = ask(self.socket, method, target)
        except MailroomError as error:
            raise AssertionError(f"{error}: {self.child.poll()} {self.log}") from error
        return code, body.decode() if target == "/metrics" else json.loads(body)

    @property
    def processor_seconds(self) -> float:
        """What it has computed since its start: however busy the machine is, it counts no waiting
        for a processor (proc(5))."""
        stat = Path(f"/proc/{self.child.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")

    def send(self, number: signal.Signals) -> None:
        self.child.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """The exit code, and the seconds from the signal to the end."""
        began = time.monotonic()
        self.child.send_signal(number)
        code = self.child.wait(_PATIENCE_SECONDS)
        seconds = time.monotonic() - began
        self.hear()
        return code, seconds

    def end(self) -> int:
        """The exit code of one that ends by itself."""
        code = self.child.wait(_PATIENCE_SECONDS)
        self.hear()
        return code


def _hand_over(listener: socket.socket) -> None:
    os.dup2(listener.fileno(), 3, inheritable=True)
