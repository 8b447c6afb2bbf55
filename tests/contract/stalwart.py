"""A Stalwart by the path of its program, with a configuration of the tests' own on loopback.

The tests are told the path and nothing else. They start it, make the accounts by its management
API, and stop it by its process id; nothing is written but in a folder that is removed.
"""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.contract.folder import free_port
from tests.contract.peers import NO_HEADERS, SENDER, message, send

_LOOPBACK = "127.0.0.1"
_START_SECONDS = 30.0
_ADMIN = "admin"
_DOMAIN = "example.org"

# SQLite keeps all of it in one file. Mail comes by LMTP without a password, as from a relay. What
# would be fetched from elsewhere at the start (spam rules, the web interface) is not there.
_CONFIG = """\
[server]
hostname = "localhost"
[server.listener.http]
bind = ["{http}"]
protocol = "http"
[server.listener.lmtp]
bind = ["{lmtp}"]
protocol = "lmtp"
[http]
url = "'{url}'"
# Its thousand of an account in a minute are less than a suite takes.
rate-limit.account = "100000/1m"
[storage]
data = "sqlite"
fts = "sqlite"
blob = "sqlite"
lookup = "sqlite"
directory = "internal"
[store.sqlite]
type = "sqlite"
path = "{home}/data.sqlite3"
[directory.internal]
type = "internal"
store = "sqlite"
[session]
auth.require = false
data.limits.messages = 100000
# Where it has these rules it does not fetch them, and sets no limits to the mail that comes in.
[version]
spam-filter = "none"
[spam-filter]
enable = false
[config]
local-keys = ["authentication.fallback-admin.*", "config.*", "directory.*", "http.*", "server.*",
  "!server.blocked-ip.*", "session.*", "spam-filter.*", "storage.*", "store.*", "tracer.*",
  "version.*"]
[tracer.log]
type = "stdout"
level = "info"
ansi = false
enable = true
[authentication.fallback-admin]
user = "{admin}"
secret = "{password}"
"""


Network = Callable[[], contextlib.AbstractContextManager[None]]


class StalwartProgram:
    """A Stalwart, running, with one user.

    Args:
        program: the path.
        network: a context in which sockets, and programs, are in the network that it is to be in.
        known_as: the URL that its session names instead of its own.
        more: sections more of its configuration.
    """

    kind = "stalwart"
    queues = True
    user = "alice"
    password = "secret"
    session_path = "/jmap/session"
    book_path = f"/dav/card/{user}/default/"

    def __init__(
        self,
        program: Path,
        network: Network = contextlib.nullcontext,
        known_as: str | None = None,
        more: str = "",
    ) -> None:
        told = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
        self.version = f"Stalwart {told.stdout.split()[-1]}"
        self._home = Path(tempfile.mkdtemp(prefix="stalwart-"))
        self.network = network
        with network():
            self.port, lmtp = free_port(), free_port()
        self._lmtp = f"{_LOOPBACK}:{lmtp}"
        self.url = f"http://{_LOOPBACK}:{self.port}"
        config = self._home / "config.toml"
        http = self.url.removeprefix("http://")
        places = {"home": self._home, "http": http, "lmtp": self._lmtp}
        places["url"] = known_as or self.url
        names = {"admin": _ADMIN, "password": self.password}
        config.write_text(_CONFIG.format_map(places | names) + more, encoding="utf-8")
        with (self._home / "log").open("wb") as log, network():
            self._process = subprocess.Popen(
                [str(program), "--config", str(config)],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | {"STALWART_PATH": str(self._home)},
            )
        try:
            self._create({"type": "domain", "name": _DOMAIN})
            self.create_account(self.user)
        except BaseException:
            self.close()
            raise

    def authorization(self, name: str) -> str:
        return f"Basic {base64.b64encode(f'{name}:{self.password}'.encode()).decode()}"

    def create_account(self, name: str, *second_factors: str) -> None:
        """A further user, with the same password; ``second_factors`` are otpauth: URIs."""
        account = {"type": "individual", "name": name, "emails": [f"{name}@{_DOMAIN}"]}
        secrets = [self.password, *second_factors]
        self._create(account | {"secrets": secrets, "roles": ["user"]})

    def deliver(
        self,
        from_header: str | None,
        subject: str,
        sender: str = SENDER,
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> None:
        self._send(self.user, sender, message(from_header, subject, headers))

    def drag(self, subject: str, source: str, destination: str) -> Iterator[str]:
        """It offers no IMAP here."""
        raise NotImplementedError

    def receive(self, user: str, *messages: bytes) -> None:
        """Have mails arrive in a user's Inbox."""
        for content in messages:
            self._send(user, SENDER, content)

    def _send(self, user: str, sender: str, content: bytes) -> None:
        with self.network():
            send(self._lmtp, f"{user}@{_DOMAIN}", sender, content)

    def lift_ban(self, address: str) -> None:
        """Let an address in again that has tried too many passwords."""
        keys = [f"server.blocked-ip.{address}"]
        self._manage("settings", [{"type": "delete", "keys": keys}])
        self._manage("reload/server.blocked-ip")

    def close(self) -> None:
        """Stop it."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._home, ignore_errors=True)

    def _create(self, principal: Mapping[str, object]) -> None:
        """Create a principal, once the server answers."""
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                content = self._manage("principal", principal)
                break
            except urllib.error.URLError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise
        if "data" not in content:
            raise RuntimeError(f"Stalwart does not create {principal['name']}: {content}")

    def _manage(self, what: str, content: object = None) -> Any:
        """Ask something of the management API, or tell it."""
        request = urllib.request.Request(
            f"{self.url}/api/{what}",
            None if content is None else json.dumps(content).encode(),
            {"Authorization": self.authorization(_ADMIN), "Content-Type": "application/json"},
        )
        with self.network(), urllib.request.urlopen(request, timeout=_START_SECONDS) as answer:
            return json.load(answer)
