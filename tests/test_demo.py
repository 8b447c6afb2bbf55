"""The demo as a user runs it: a process of its own, printing into a pipe."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.sandbox

_ROOT = Path(__file__).parents[1]


class Demo:
    """A running demo. Its children are told by the name of their folder, which is its own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._folder = folder
        self.printed = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.demo", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=_ROOT,
            env=os.environ | {"TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"},
        )

    def __enter__(self) -> "Demo":
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        with self.process:
            pass

    def type(self, *lines: str) -> None:
        assert self.process.stdin
        self.process.stdin.write("".join(f"{line}\n" for line in lines))
        self.process.stdin.flush()

    def until(self, text: str) -> None:
        """Read on until a line has this in it."""
        assert self.process.stdout
        for line in self.process.stdout:
            self.printed += line
            if text in line:
                return
        raise AssertionError(f"never printed: {text}\n{self.printed}")

    def end(self) -> int:
        """Read to the end; the exit code."""
        assert self.process.stdout
        self.printed += self.process.stdout.read()
        return self.process.wait()

    def leftovers(self) -> list[str]:
        """Command lines of processes that still work in its folder, and what is left there."""
        lines = [path.read_bytes().decode(errors="replace") for path in _command_lines()]
        return [line for line in lines if str(self._folder) in line] + os.listdir(self._folder)


def _command_lines() -> Iterator[Path]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            (folder / "cmdline").read_bytes()
        except OSError:
            continue
        yield folder / "cmdline"


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One whose name leaves room for a socket's path, however often tests were run."""
    return tmp_path_factory.mktemp("d")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A demo from beginning to end."""
    with Demo(tmp_path_factory.mktemp("w")) as demo:
        demo.end()
        yield demo


def test_all_that_it_shows_happens(whole: Demo) -> None:
    demo = whole
    assert demo.process.returncode == 0, demo.printed
    assert "✗" not in demo.printed
    for trigger in ("startup", "push", "fallback", "reconnect"):
        assert f"poll_completed trigger={trigger} " in demo.printed
    assert re.search(r"the label was off after [0-9]+\.[0-9]{2} s", demo.printed)
    assert "Re-triaged to Billboard on " in demo.printed
    assert "mail_admitted sender=dora@lind.example outcome=written mails=1" in demo.printed
    assert "sender_triaged sender=news@weekly.example category=Feed filed=2" in demo.printed
    assert "service_stopped" in demo.printed
    assert demo.leftovers() == []


def test_printed_into_a_file_it_has_neither_colours_nor_broken_lines(whole: Demo) -> None:
    assert "\x1b" not in whole.printed
    logged = [line for line in whole.printed.splitlines() if " │ " in line]
    assert len(logged) > 10
    assert all(re.match(r" *[0-9]+\.[0-9]{2} s │ [a-z_]+", line) for line in logged), logged


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("1. ", signal.SIGINT),
        ("▸ the service starts", signal.SIGINT),
        ("service_started", signal.SIGTERM),
        ("▸ @ToFeed", signal.SIGINT),
        ("▸ the server cuts", signal.SIGHUP),
    ],
)
def test_a_signal_ends_it_cleanly_at_any_moment(
    folder: Path, moment: str, number: signal.Signals
) -> None:
    with Demo(folder) as demo:
        demo.until(moment)
        demo.process.send_signal(number)
        assert demo.end() == 130
    assert demo.printed.endswith("Stopped.\n")
    assert "Traceback" not in demo.printed
    assert demo.leftovers() == []


def test_stay_obeys_until_it_is_told_to_quit(folder: Path) -> None:
    with Demo(folder, "--stay") as demo:
        demo.type("mail dave", "tap dave @ToFeed", "show", "mail dave", "tap nobody @ToFeed")
        demo.type(
            "tap dave @ToScreener",
            "move nobody Feed",
            "mail gus",
            "move gus Nowhere",
            "move gus Paper Trail",
            "tap dave @ToNowhere",
            "push off",
            "push on",
            "what",
            "status",
            "quit",
        )
        assert demo.end() == 0, demo.printed
    story, _, played = demo.printed.partition("Yours to play with")
    assert "A clean stop" not in story
    for told in (
        "http://mailroom/status",
        "a mail of dave@example.org comes in: Screener",
        "sender_triaged sender=dave@example.org category=Feed filed=1",
        "nothing waits in Screener",
        "a mail of dave@example.org comes in: Feed",
        "sender_unscreened sender=dave@example.org previous=Feed filed=2",
        "no mail of nobody@example.org yet",
        "the labels are @ToImbox, @ToFeed,",
        "no mail of nobody@example.org waits",
        "the mailboxes are Imbox, Feed,",
        'sender_triaged sender=gus@example.org category="Paper Trail" filed=1',
        "dave@example.org → Feed",
    ):
        assert told in played, played
    assert demo.leftovers() == []


def test_stay_ends_in_good_order_on_ctrl_c(folder: Path) -> None:
    with Demo(folder, "--stay") as demo:
        demo.until("http://mailroom/status")
        demo.process.send_signal(signal.SIGINT)
        assert demo.end() == 0, demo.printed
    assert "service_stopped" in demo.printed
    assert demo.leftovers() == []
