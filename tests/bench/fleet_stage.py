"""The stage of many accounts: one sandbox for all of them behind TLS, and one ``mailroom run``, by
Debian 13's Python, pycurl and GnuTLS where its root is there."""

import contextlib
import json
import resource
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.bench.address_book import card
from tests.bench.stage import Memory, numbers
from tests.process import ROOT, SECRET, Process
from tests.sandbox import CYRUS_3_10, CYRUS_3_13, Sandbox, serve_users
from tests.system import root

CARDS = 300
# An account's start is one at a time; this is more than the service asks for by default.
STARTS_PER_SECOND = 50
_PATIENCE_SECONDS = 300.0
_IN_ROOT = (
    "mount --bind {project} {root}/mnt && "
    "for each in /tmp /dev /proc; do mount --rbind $each {root}$each || exit; done; "
    "shift 3; export PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/mnt; "
    'exec chroot {root} /usr/bin/python3 -m tests.bench.turns {turns} "$@"'
)
_HERE = 'program=$1; shift 3; exec "$program" -m tests.bench.turns {turns} "$@"'


@dataclass(frozen=True, slots=True)
class Usage:
    """What the service has used so far, and this process, which is the mail server."""

    at: float
    cpu_ms: float
    wakeups: int
    server_cpu_ms: float


class FleetStage:
    """So many accounts at work, with push connected."""

    def __init__(self, sandboxes: list[Sandbox], process: Process, turns: Path) -> None:
        self.sandboxes = sandboxes
        self.process = process
        self.connected_after = 0.0
        self._turns = turns

    @classmethod
    @contextlib.contextmanager
    def open(cls, count: int, by: str) -> Iterator[Self]:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        sandboxes = [_sandbox(number, by) for number in range(count)]
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mailroom-")))
            running = stack.enter_context(serve_users(sandboxes, _tls(folder)))
            config, turns = _configuration(folder, running.url, count, by), folder / "turns"
            turns.touch()
            began = time.monotonic()
            process = stack.enter_context(Process(folder, config, wrapper=_wrapper(turns)))
            stage = cls(sandboxes, process, turns)
            stage.until(stage.is_connected)
            stage.connected_after = time.monotonic() - began
            stage.until(lambda: stage.healthz()["poll_count"] >= count)
            yield stage

    def healthz(self) -> dict[str, Any]:
        document: dict[str, Any] = self.process.ask("/healthz")[1]
        return document

    def is_connected(self) -> bool:
        if not self.process.socket.exists():
            return False
        try:
            found = self.healthz()["eventsource"]["connected"]
        except AssertionError:
            return False
        return int(found) == len(self.sandboxes)

    def until(self, reached: Callable[[], bool]) -> None:
        give_up_at = time.monotonic() + _PATIENCE_SECONDS
        while not reached():
            if time.monotonic() > give_up_at or self.process.child.poll() is not None:
                raise RuntimeError(f"it never came to that: {self.process.log[-2000:]}")
            self.process.hear(0.2)

    def memory(self) -> Memory:
        return Memory.of(self.process.child.pid)

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.process.child.pid}/fd").iterdir()))

    def usage(self) -> Usage:
        process = Path(f"/proc/{self.process.child.pid}")
        status = numbers((process / "status").read_text())
        cpu_ms = int((process / "schedstat").read_text().split()[0]) / 1e6
        wakeups = status["voluntary_ctxt_switches"]
        return Usage(time.monotonic(), cpu_ms, wakeups, time.process_time() * 1000)

    def forget_turns(self) -> None:
        self._turns.write_text("")

    def long_turns(self) -> list[tuple[float, float]]:
        """Milliseconds of all turns that took long since: by the clock, and of CPU."""
        lines = (line.split() for line in self._turns.read_text().splitlines())
        return [(float(wall), float(cpu)) for wall, cpu in lines]


def _sandbox(number: int, by: str) -> Sandbox:
    profile = CYRUS_3_13 if by == "jmap" else CYRUS_3_10
    sandbox = Sandbox(profile, seed=number, user=f"u{number}", password=SECRET)
    sandbox.standard_account()
    for each in range(CARDS):
        sandbox.put_card(card(each))
    return sandbox


def _configuration(folder: Path, url: str, count: int, by: str) -> Path:
    (folder / "accounts.d").mkdir()
    for number in range(count):
        (folder / "accounts.d" / f"u{number}.yaml").write_text("{}\n")
    path = folder / "mailroom.yaml"
    path.write_text(json.dumps({
        "jmap": {"url": f"{url}/jmap/", "username": "{account}"},
        "carddav": {"url": f"{url}/dav/addressbooks"},
        "contacts": {"by": by},
        "tls": {"ca_file": str(folder / "ca.pem")},
        "limits": {"starts_per_second": STARTS_PER_SECOND},
    }))  # fmt: skip
    return path


def _tls(folder: Path) -> ssl.SSLContext:
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    issued = ["-addext", "subjectAltName=IP:127.0.0.1"]
    issued += ["-CA", f"{folder}/ca.pem", "-CAkey", f"{folder}/ca.key"]
    for name, extensions in (("ca", []), ("here", issued)):
        files = ["-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.pem"]
        command = ["openssl", "req", "-x509", *curve, "-subj", f"/CN={name}", *files, *extensions]
        subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "here.pem", folder / "here.key")
    return context


def is_on_trixie() -> bool:
    return root.TRIXIE.path.is_dir()


def _wrapper(turns: Path) -> list[str]:
    if not is_on_trixie():
        return ["sh", "-c", _HERE.format(turns=turns), "sh"]
    script = _IN_ROOT.format(project=ROOT, root=root.TRIXIE.path, turns=turns)
    return ["unshare", "--mount", "sh", "-c", script, "sh"]
