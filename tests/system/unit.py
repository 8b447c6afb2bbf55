"""Mailroom as an administrator installs it on a host: program, units, configuration, secrets."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.system.host import Host

PROJECT = Path(__file__).parents[2]
SOCKET = "/run/mailroom/status.sock"
CONTROL = "/run/mailroom/control.sock"
SERVICE = "mailroom.service"
SOCKETS = ("mailroom.socket", "mailroom-control.socket")

CONFIG = "/etc/mailroom/mailroom.yaml"
_QUESTION = b"GET /healthz HTTP/1.1\r\nHost: mailroom\r\nConnection: close\r\n\r\n"
_ANSWERED = b"HTTP/1.1 "


class Unit:
    """``mailroom.service`` and its sockets on one host, installed and not started."""

    def __init__(self, host: Host) -> None:
        self.host = host
        host.copy(PROJECT / "mailroom", "/usr/lib/mailroom/mailroom")
        host.write("/usr/lib/mailroom/mailroom.py", (PROJECT / "mailroom.py").read_text(), 0o755)
        host.run("python3", "-m", "compileall", "-q", "/usr/lib/mailroom")  # as a package does
        host.run("ln", "--symbolic", "/usr/lib/mailroom/mailroom.py", "/usr/bin/mailroom")
        self.add(SERVICE, *SOCKETS)
        for group in ("mailroom-status", "mailroom-control"):
            host.run("groupadd", "--system", group)

    def add(self, *names: str) -> None:
        """Install these of our units."""
        for name in names:
            path = f"/etc/systemd/system/{name}"
            self.host.write(path, (PROJECT / "systemd" / name).read_text())
        self.host.run("systemctl", "daemon-reload")

    @property
    def release(self) -> str:
        """The host's Debian release, by its code name."""
        said = dict(line.split("=", 1) for line in self.host.read("/etc/os-release").splitlines())
        return said["VERSION_CODENAME"]

    def configure(self, text: str) -> None:
        """Write mailroom.yaml."""
        self.host.write(CONFIG, text)

    def give_secret(self, name: str, secret: str) -> None:
        """Put a secret where the unit loads it from: ``jmap-token``, ``jmap-password`` …"""
        self.host.write(f"/etc/credstore/mailroom.{name}", secret, mode=0o600)

    def override(self, **service: str) -> None:
        """Settings of ``[Service]`` in place of the unit's own."""
        lines = "".join(f"{key}={value}\n" for key, value in service.items())
        self.host.write(f"/etc/systemd/system/{SERVICE}.d/test.conf", f"[Service]\n{lines}")
        self.host.run("systemctl", "daemon-reload")

    def systemctl(self, verb: str, *, check: bool = True) -> float:
        """``systemctl VERB mailroom.service``; returns the seconds it took."""
        # Starts are counted, and a test makes more of them than an administrator does.
        self.host.run("systemctl", "reset-failed", SERVICE, *SOCKETS, check=False)
        begun = time.monotonic()
        self.host.run("systemctl", verb, SERVICE, check=check)
        return time.monotonic() - begun

    def show(self, name: str) -> str:
        """A property of the service: ``show("ActiveState")``."""
        return self.host.property(SERVICE, name)

    def seconds_between(self, one: str, other: str) -> float:
        """From one instant to another, as systemd saw them: ``ActiveExit``, ``ExecMainExit`` …"""
        usec = [int(self.show(f"{name}TimestampMonotonic")) for name in (one, other)]
        return (usec[1] - usec[0]) / 1e6

    def await_property(self, name: str, wanted: str, seconds: float = 20) -> None:
        """Wait until a property of the service is as wanted."""
        deadline = time.monotonic() + seconds
        while (shown := self.show(name)) != wanted:
            if time.monotonic() > deadline:
                raise AssertionError(f"{name} is {shown} after {seconds} s, not {wanted}")

    def ask(self, path: str, *options: str) -> str:
        """The body of what the status socket answers."""
        curl = ("curl", "--silent", "--show-error", "--max-time", "10", "--unix-socket", SOCKET)
        return self.host.run(*curl, *options, f"http://mailroom{path}").stdout

    def status(self) -> dict[str, Any]:
        """``GET /status``."""
        answer: dict[str, Any] = json.loads(self.ask("/status"))
        return answer

    def await_status(
        self, condition: Callable[[dict[str, Any]], bool], seconds: float = 20
    ) -> dict[str, Any]:
        """Ask /status until `condition` holds of it; returns that answer."""
        deadline = time.monotonic() + seconds
        while not condition(answer := self.status()):
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds} s; the last answer: {answer}")
        return answer

    def await_told(self, start: str) -> None:
        """Wait until the status line begins so; systemd gets one every 1.5 s at most."""
        self.await_status(lambda _: self.show("StatusText").startswith(start))

    @contextlib.contextmanager
    def asked_on_and_on(self) -> Iterator[list[bool]]:
        """Meanwhile somebody asks /healthz as often as possible: whether there was an answer."""
        outcomes: list[bool] = []
        done = threading.Event()

        def ask_on() -> None:
            while not done.is_set():
                outcomes.append(self._is_answered())

        with ThreadPoolExecutor(1) as pool:
            asker = pool.submit(ask_on)
            try:
                yield outcomes
            finally:
                done.set()
            asker.result()

    def _is_answered(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
            client.settimeout(10)
            client.connect(f"/proc/{self.host.leader}/root{SOCKET}")
            client.sendall(_QUESTION)
            return client.recv(len(_ANSWERED)) == _ANSWERED
        return False

    def events(self, name: str) -> list[dict[str, Any]]:
        """The journal's entries of one kind: ``events("sender_triaged")``."""
        return [
            entry for entry in self.host.journal(SERVICE) if entry.get("MAILROOM_EVENT") == name
        ]
