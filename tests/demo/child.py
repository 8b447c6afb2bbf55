"""The real service as a child process: its log line by line, its status, its end."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, cast

from mailroom.engine.client import ask

_PACKAGE_PARENT = Path(__file__).parents[2]
_STOP_SECONDS = 5.0
_FOREIGN = ("MAILROOM_", "CREDENTIALS_", "LISTEN_", "NOTIFY_", "WATCHDOG_")

_CONFIGURATION = """\
jmap:
  url: {url}
  username: {user}
polling:
  poll_interval: {poll_interval:g}  # seconds; so that nobody waits a minute for the fallback
"""


class Child:
    """``mailroom run`` in a folder of its own; the end of the context is its end."""

    def __init__(
        self, folder: Path, url: str, user: str, password: str, poll_interval_seconds: float
    ) -> None:
        self.socket = folder / "status.sock"
        self.config = folder / "mailroom.yaml"
        self.config.write_text(
            _CONFIGURATION.format(url=url, user=user, poll_interval=poll_interval_seconds)
        )
        self._environ = _clean_environ() | {"MAILROOM_JMAP_PASSWORD": password}
        self._process = subprocess.Popen(
            self.command("run", "--config", str(self.config)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=self._environ,
            process_group=0,  # Ctrl+C is for the demo, which then ends the service in good order
        )
        self.log = cast("BinaryIO", self._process.stderr)
        os.set_blocking(self.log.fileno(), False)
        self._unfinished = b""

    def command(self, name: str, *arguments: str) -> list[str]:
        """Return how to run a command of Mailroom for this service."""
        launch = [sys.executable, "-P", "-m", "mailroom"]
        return [*launch, name, "--socket", str(self.socket), *arguments]

    def read_lines(self) -> list[str]:
        """Return the lines of the log that have come since the last time, without waiting."""
        data = self.log.read() or b""
        *whole, self._unfinished = (self._unfinished + data).split(b"\n")
        return [line.decode("utf-8", "replace") for line in whole]

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    @property
    def is_listening(self) -> bool:
        """Whether somebody answers at the status socket; it is there a moment before."""
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    def status(self) -> Any:
        """Return the answer of /status."""
        _, body = ask(self.socket, "GET", "/status")
        return json.loads(body)

    def run(self, name: str, environ: dict[str, str]) -> str:
        """Run a command as the user would; return what it prints."""
        done = subprocess.run(
            self.command(name),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._environ | environ,
            process_group=0,
            timeout=30,
            check=False,
        )
        return done.stdout

    def stop(self) -> float:
        """Have the service end, by SIGTERM; return the seconds that it took."""
        began = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        return time.monotonic() - began

    def __enter__(self) -> "Child":
        return self

    def __exit__(
        self,
        type_: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        self.log.close()


def _clean_environ() -> dict[str, str]:
    """Our environment without what is meant for another service, and no proxy on the way."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    path = os.pathsep.join(filter(None, [str(_PACKAGE_PARENT), ours.get("PYTHONPATH")]))
    return ours | {"PYTHONPATH": path, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
