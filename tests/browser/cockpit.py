"""A host with Cockpit and a browser on it, and people who log in there."""

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.browser import webdriver
from tests.browser.webdriver import Browser
from tests.system import root
from tests.system.host import Host
from tests.system.unit import PROJECT

_MORE = (
    "chromium",
    "chromium-driver",
    "cockpit-bridge",
    "cockpit-system",
    "cockpit-ws",
    "fonts-dejavu-core",
    # what reads the metrics
    "prometheus",
    "prometheus-node-exporter",
)
_NOT_YET = ("cockpit.socket", "prometheus.service", "prometheus-node-exporter.service")
_FINISH = tuple(("systemctl", "disable", unit) for unit in _NOT_YET)
WITH_BROWSER = root.TRIXIE.extended(*_MORE, finish=_FINISH)
# The oldest release that Mailroom works on: Cockpit 287.
ON_BOOKWORM = root.BOOKWORM.extended(*_MORE, finish=_FINISH)

# Width and height of what it is looked at on.
WIDE, NARROW = (1280, 800), (360, 780)
PAGE = "/usr/share/cockpit/mailroom"
# Who may decide, and who may only look.
MAY_DECIDE = ("mailroom-control", "mailroom-status", "systemd-journal")
MAY_LOOK = ("mailroom-status",)

# Without TLS and the form to log in: whoever runs it is logged in.
_COCKPIT = "/usr/lib/cockpit/cockpit-ws --no-tls --address=127.0.0.1 --local-session=cockpit-bridge"
_TRANSLATE = (sys.executable, str(PROJECT / "packaging/translations.py"), "js")
_FIRST_PORT = 19090


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with an account on the host, logged in to Cockpit."""

    name: str
    port: int

    def url(self, place: str = "") -> str:
        """Of the page, as Cockpit's frame shows it; `place` is a view of it: ``/log``."""
        return (
            f"http://127.0.0.1:{self.port}/cockpit/@localhost/mailroom/index.html"
            f"{place and f'#{place}'}"
        )


@dataclass(frozen=True, slots=True)
class Cockpit:
    """The host, with what it takes to look at the page on it."""

    host: Host

    @classmethod
    def start(cls, host: Host) -> Self:
        """Put the page there and start what drives the browser."""
        host.copy(PROJECT / "cockpit", PAGE)
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([*_TRANSLATE, folder], check=True)
            for path in Path(folder).iterdir():
                host.write(f"{PAGE}/{path.name}", path.read_text())
        host.write("/etc/hosts", "127.0.0.1 localhost\n")  # chromedriver asks for it by name
        for group in ("mailroom-control", "mailroom-status"):
            host.run("groupadd", "--force", "--system", group)
        cockpit = cls(host)
        cockpit.spawn("chromedriver", "root", "chromedriver", f"--port={webdriver.PORT}")
        cockpit.await_port(webdriver.PORT)
        return cockpit

    def log_in(self, name: str, *groups: str) -> Person:
        """A new account in these groups, and a Cockpit session of it."""
        port = _FIRST_PORT + self.host.read("/etc/passwd").count("\n")
        more = ("--groups", ",".join(groups)) if groups else ()
        self.host.run("useradd", "--create-home", "--shell", "/bin/bash", *more, name)
        self.spawn(f"cockpit-of-{name}", name, *_COCKPIT.split(), f"--port={port}")
        self.await_port(port)
        return Person(name, port)

    def script(self, seed: dict[str, Any], name: str = "") -> None:
        """Have the scripted service answer, as the account of this name."""
        folder = f"/run/mailroom/{name}".rstrip("/")
        unit = f"scripted-{name or 'main'}"
        self.host.write("/srv/scripted.py", (PROJECT / "tests/browser/scripted.py").read_text())
        self.host.write(f"/srv/{unit}.json", json.dumps(seed))
        self.host.run("systemctl", "stop", unit, check=False)
        self.spawn(unit, "root", "python3", "/srv/scripted.py", folder, f"/srv/{unit}.json")
        ask = f"curl --silent --output /dev/null --unix-socket {folder}/status.sock http://x/status"
        self.host.run("sh", "-c", f"until {ask}; do sleep 0.05; done")

    def spawn(self, unit: str, user: str, *command: str) -> None:
        options = ("--quiet", f"--unit={unit}", f"--uid={user}", "--setenv=LANG=C.UTF-8")
        self.host.run("systemd-run", *options, "--", *command)

    @contextlib.contextmanager
    def browser(self, person: Person, place: str = "") -> Iterator[Browser]:
        """A browser in which this person has the page open."""
        with Browser.open(self.host) as browser:
            browser.shape(*WIDE)
            browser.go(person.url(place))
            yield browser

    def await_port(self, port: int) -> None:
        deadline = time.monotonic() + webdriver.SECONDS
        while f":{port:04X} 00000000:0000 0A" not in self.host.read("/proc/net/tcp"):
            if time.monotonic() > deadline:
                raise AssertionError(f"nothing listens on port {port}")
