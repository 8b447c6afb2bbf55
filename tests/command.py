"""A place where commands run against one sandbox, on a virtual clock, and can be killed."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mailroom.cli import main
from mailroom.engine.credentials import Basic, Bearer, Logins
from mailroom.engine.loop import Loop
from mailroom.rules.configuration.config import from_data
from mailroom.rules.status.health import Totals
from mailroom.terminal.context import Context
from mailroom.work.account.clients import build_clients
from tests.direct import DirectHttp
from tests.sandbox import CYRUS_3_10, Profile, Sandbox
from tests.sandbox.account import ROLES
from tests.virtual import VirtualClock

URL = "http://127.0.0.1"


class Killed(BaseException):
    """What kill -9 is to a process."""


class Site:
    """One account as its provider hands it out: Inbox and its like, an empty address book.

    ``loop`` is that of the newest process.
    """

    def __init__(
        self,
        profile: Profile = CYRUS_3_10,
        configuration: dict[str, Any] | None = None,
        sandbox: type[Sandbox] = Sandbox,
    ) -> None:
        self.clock = VirtualClock()
        self.sandbox = sandbox(profile, clock=self.clock.wall)
        for name, role in ROLES.items():
            self.sandbox.create_mailbox(name, role)
        servers = {"jmap": {"url": URL, "username": "alice"}, "carddav": {"url": URL}}
        self.config = from_data(servers | (configuration or {}))
        self.loop = Loop(self.clock)
        self._kill_at: tuple[int, bool] | None = None
        self._asked = self._answered = 0
        self.sandbox.before(lambda *_: self._before())
        self.sandbox.after(lambda *_: self._after())

    def context(self) -> Context:
        """A new process, which knows nothing."""
        self.loop.close()
        self.loop = loop = Loop(self.clock)
        password = Basic("alice", "secret")
        is_bearer = self.sandbox.profile.jmap_authentication == "Bearer"
        who = Logins(Bearer("alice-token") if is_bearer else password, password)
        clients = build_clients(
            loop.root, DirectHttp(loop, self.sandbox), self.config, who, Totals()
        )
        return Context(loop, self.config, clients)

    def kill_at(self, request: int, *, is_handled: bool) -> None:
        """Kill what runs at its request of that number (from 1): before it takes effect, or
        before its answer arrives."""
        self._kill_at = (request, is_handled)
        self._asked = self._answered = 0

    def _before(self) -> None:
        self._asked += 1
        if self._kill_at == (self._asked, False):
            raise Killed

    def _after(self) -> None:
        self._answered += 1
        if self._kill_at == (self._answered, True):
            raise Killed


def killed_anywhere(
    prepare: Callable[[], Site], work: Callable[[Site], object]
) -> Iterator[tuple[Site, str]]:
    """The account and its name for people, after the work was killed at a request, and done again:
    at every request, in turn before and after its effect. `make chaos` does both at each."""
    undisturbed = prepare()
    before = len(undisturbed.sandbox.log.entries)
    work(undisturbed)
    count = len(undisturbed.sandbox.log.entries) - before
    assert count
    for number in range(1, count + 1):
        is_handled = number % 2 == 0
        site = prepare()
        site.kill_at(number, is_handled=is_handled)
        with pytest.raises(Killed):
            work(site)
        work(site)
        moment = "after" if is_handled else "before"
        yield site, f"killed {moment} request {number} of {count}"


class Answering:
    """A status socket at ``path`` where a service answers for ``account``."""

    def __init__(self, path: Path, account: str) -> None:
        self._path = path
        self._answer = json.dumps({"account": account}).encode()

    def __enter__(self) -> "Answering":
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(self._answer)}\r\n\r\n".encode()
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(head + self._answer)


class Shell:
    """The commands themselves, run in this process against a sandbox on the loopback."""

    def __init__(self, site: Site, url: str, directory: Path) -> None:
        self.site = site
        self.socket = directory / "status.sock"
        self._config = directory / "mailroom.yaml"
        self._config.write_text(
            f"jmap: {{url: '{url}', username: alice}}\ncarddav: {{url: '{url}'}}\n"
        )

    def run(self, command: str, *arguments: str) -> int:
        return main([command, "--config", str(self._config), *arguments])
