"""The stage of the figures: a sandbox on the loopback, the service as a process of its own."""

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.process import ROOT, SECRET, Process, configuration
from tests.sandbox import CYRUS_3_10, Entry, Profile, Sandbox, serve

DELAY = 0.05
QUIET = 0.25
_PATIENCE_SECONDS = 300.0
_STEP_SECONDS = 0.005
# Longer than the quiet window and the delay: whatever is to come has begun by then.
_SILENCE_SECONDS = 0.7


@dataclass(frozen=True, slots=True)
class Memory:
    """MiB, as the kernel counts them (proc_pid_smaps(5), proc_pid_status(5))."""

    rss: float
    pss: float
    peak: float

    @classmethod
    def of(cls, pid: int, proc: Path = Path("/proc")) -> Self:
        rollup = numbers((proc / str(pid) / "smaps_rollup").read_text())
        status = numbers((proc / str(pid) / "status").read_text())
        return cls(rollup["Rss"] / 1024, rollup["Pss"] / 1024, status["VmHWM"] / 1024)

    @staticmethod
    def forget_peak(pid: int) -> None:
        Path(f"/proc/{pid}/clear_refs").write_text("5")


def numbers(text: str) -> dict[str, int]:
    """The lines ``Name:   123 kB`` of a file in /proc."""
    fields = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    words = ((name, value.split()) for name, value in fields)
    return {name: int(value[0]) for name, value in words if value and value[0].isdigit()}


class Stage:
    """A standard account and ``mailroom run`` at work for it, push connected."""

    def __init__(self, sandbox: Sandbox, process: Process) -> None:
        self.sandbox = sandbox
        self.process = process

    @classmethod
    @contextlib.contextmanager
    def open(
        cls,
        profile: Profile = CYRUS_3_10,
        furnish: Callable[[Sandbox], None] = lambda sandbox: None,
        **sections: Any,
    ) -> Iterator[Self]:
        """``furnish`` is called before anything runs; ``sections`` are the configuration's."""
        sandbox = Sandbox(profile, password=SECRET)
        sandbox.standard_account()
        furnish(sandbox)
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mailroom-")))
            running = stack.enter_context(serve(sandbox))
            config = configuration(folder, running.url, **sections)
            stage = cls(sandbox, stack.enter_context(Process(folder, config)))
            stage.process.until_told("READY=1")
            stage.until(stage.has_begun)
            stage.settle()
            yield stage

    @property
    def pid(self) -> int:
        return self.process.child.pid

    def status(self) -> dict[str, Any]:
        """``GET /status``."""
        document: dict[str, Any] = self.process.ask("/status")[1]
        return document

    def has_begun(self) -> bool:
        status = self.status()
        return bool(status["eventsource"]["connected"] and status["poll_count"])

    def until(self, reached: Callable[[], bool]) -> None:
        give_up_at = time.monotonic() + _PATIENCE_SECONDS
        while not reached():
            if time.monotonic() > give_up_at:
                raise RuntimeError(f"it never came to that: {self.process.log[-2000:]}")
            time.sleep(_STEP_SECONDS)

    def settle(self) -> None:
        """Wait until nothing is asked any more, and nothing is due but the next scheduled poll."""
        self.until(
            lambda: (
                time.time() - self._last_instant() > _SILENCE_SECONDS
                and self.status()["phase"] == "idle"
            )
        )

    def deliver(self, sender: str, count: int) -> list[str]:
        """Mails that have waited in Screener since yesterday, once they have been heard of; their
        ids."""
        polls = self.status()["poll_count"]
        with self.sandbox.lock:
            mails = [
                self.sandbox.deliver(sender, received_at=time.time() - 86400) for _ in range(count)
            ]
        self.until(lambda: self.status()["poll_count"] > polls)
        self.settle()
        return mails

    def tap(self, label: str, *mails: str) -> "Work":
        """Put the label on the mails, all at the same instant, and wait for the end of it all."""
        number = len(self.sandbox.log.entries)
        polls = self.status()["poll_count"]
        with self.sandbox.lock:
            tapped_at = self.sandbox.clock()
            for mail in mails:
                self.sandbox.label(mail, label)
        self.until(lambda: not self.has_mail_in(label))
        self.settle()
        return Work(tapped_at, self.since(number), self.status()["poll_count"] - polls)

    def since(self, number: int) -> list[Entry]:
        """The requests after ``number``, streams left out."""
        return [entry for entry in self.sandbox.log.since(number) if not entry.is_stream]

    def has_mail_in(self, mailbox: str) -> bool:
        with self.sandbox.lock:
            return bool(self.sandbox.mails_in(mailbox))

    def _last_instant(self) -> float:
        with self.sandbox.lock:
            entries = [entry for entry in self.sandbox.log.entries if not entry.is_stream]
            return max(entry.ended or entry.started for entry in entries[-20:])


@dataclass(frozen=True, slots=True)
class Work:
    """What one tap led to: its instant, the requests, how many polls."""

    tapped_at: float
    entries: list[Entry]
    polls: int

    @property
    def seconds(self) -> float:
        """Until the answer was there that the label is off."""
        ended = [e.ended for e in self.entries if e.ended and "Email/set" in e.calls]
        return max(ended) - self.tapped_at


def asking(path: Path) -> subprocess.Popen[bytes]:
    """Somebody who asks /healthz all the time: see :mod:`tests.bench.asker`."""
    command = [sys.executable, "-m", "tests.bench.asker", str(path)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
