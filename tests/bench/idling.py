"""Doing nothing, on Debian 13 against Cyrus behind a name and TLS: memory, CPU, wake-ups."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.bench import trixie
from tests.bench.effort import Effort
from tests.bench.figures import Figure, worst
from tests.bench.stage import Memory, numbers
from tests.system.host import Host
from tests.system.names import name_server
from tests.system.scene import Scene, quiet, set_up
from tests.system.unit import CONFIG

_NAME = "mail.example.test"
_SECONDS = 600.0
_PINGS_PER_MINUTE = 2  # Mailroom asks for one every 30 s


@dataclass(frozen=True, slots=True)
class Usage:
    """What the kernel has counted so far: CPU milliseconds, sleeps that ended, threads."""

    at: float
    cpu_ms: float
    wakeups: int
    threads: int

    @classmethod
    def of(cls, process: Path) -> Self:
        status = numbers((process / "status").read_text())
        nanoseconds = int((process / "schedstat").read_text().split()[0])
        threads = len(list((process / "task").iterdir()))
        return cls(time.monotonic(), nanoseconds / 1e6, status["voluntary_ctxt_switches"], threads)


def on_trixie(effort: Effort) -> Iterator[Figure]:
    """Wake-ups are the sleeps of the process that ended: every select() that had to wait."""
    with trixie.booted() as host, name_server(host):
        scene = set_up(host, push=True, poll_interval=60, name=_NAME)
        memory = _at_rest(scene)
        process = _proc(host) / scene.unit.show("MainPID")
        before = Usage.of(process)
        time.sleep(effort.seconds(_SECONDS))
        after = Usage.of(process)
        text = host.read(CONFIG).replace("tls:\n", "tls:\n  system_authorities: false\n")
        scene.unit.configure(text)
        scene.unit.systemctl("restart")
        one_authority = _at_rest(scene)
    yield worst("idle, trixie, TLS: RSS", "MiB", "<=", 28, [memory.rss])
    yield worst("idle, trixie, TLS: PSS", "MiB", "<=", 28, [memory.pss])
    alone = "idle, trixie, TLS, tls.ca_file alone"
    yield worst(f"{alone}: RSS", "MiB", "<=", 28, [one_authority.rss])
    yield worst(f"{alone}: PSS", "MiB", "<=", 28, [one_authority.pss])
    seconds = after.at - before.at
    name = f"idle with push, measured for {seconds:.0f} s"
    cpu = (after.cpu_ms - before.cpu_ms) * _SECONDS / seconds
    yield worst(f"{name}: CPU", "ms/10 min", "<=", 35, [cpu])
    wakeups = (after.wakeups - before.wakeups) * 60 / seconds
    yield worst(f"{name}: wake-ups", "per minute", "<=", _PINGS_PER_MINUTE + 6, [wakeups])
    yield worst(f"{name}: threads", "threads", "<=", 1, [after.threads])


def _at_rest(scene: Scene) -> Memory:
    scene.unit.await_status(lambda status: status["eventsource"]["connected"])
    quiet(scene)
    return Memory.of(int(scene.unit.show("MainPID")), _proc(scene.unit.host))


def _proc(host: Host) -> Path:
    """The host's own /proc, seen from here."""
    return Path(f"/proc/{host.leader}/root/proc")
