"""The whole program in a terminal, with a service by script on a real socket."""

import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from mailroom.engine.clock import BoottimeClock
from mailroom.engine.loop import Loop
from tests.screen.service import ScriptedService
from tests.screen.terminal import ROOT, Terminal

pytestmark = pytest.mark.sandbox

_COLOUR = re.compile(rb"\x1b\[[0-9;]*(3[0-7]|4[0-7]|9[0-7]|10[0-7])[;m]")
# For a key to show on a busy machine; measured is a tenth of it.
_AT_ONCE_SECONDS = 0.25


_TMUX = shutil.which("tmux")


class Room:
    """A service, and the terminals that look at it."""

    def __init__(self, directory: Path) -> None:
        self.loop = Loop(BoottimeClock())
        self.control = directory / "control.sock"
        self.service = ScriptedService(self.loop, self.control)
        self._terminals: list[Terminal] = []

    def open(
        self, size: tuple[int, int] = (100, 30), within: Sequence[str] = (), **environ: str
    ) -> Terminal:
        ours = (sys.executable, "-m", "mailroom", "screen", "--socket", str(self.control))
        command = (*within, *ours)
        base = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        given = {**base, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **environ}
        self._terminals.append(Terminal(self.loop, command, size, given))
        return self._terminals[-1]

    def close(self) -> None:
        for terminal in self._terminals:
            terminal.close()
        self.service.close()
        self.loop.close()


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = Room(tmp_path)
    yield made
    made.close()


@pytest.fixture
def three(room: Room) -> Room:
    room.service.arrive("eve@news.example", "Eve", "The news of the week", minutes=90)
    room.service.arrive("shop@shops.example", "", "Your order", minutes=20)
    room.service.arrive(
        "bob@a.example", "Bob", "Hello", minutes=5, mails=3, text="Dear Anna,\n\nbye"
    )
    return room


@pytest.mark.parametrize("size", [(60, 24), (200, 50)])
def test_who_waits_and_what_they_write(three: Room, size: tuple[int, int]) -> None:
    terminal = three.open(size)
    terminal.shows("3 senders wait", "Bob", "shop@shops.example", "The news of the week", "1 h")
    terminal.shows("bob@a.example", "Dear Anna,", "f Feed", "p Paper Trail", "q quit")
    terminal.press("\x1b[B")
    terminal.shows("The text of Your order.")
    assert max(map(len, terminal.lines)) <= size[0]


def test_a_key_files_the_sender_and_another_undoes_it(three: Room) -> None:
    terminal = three.open()
    terminal.shows("3 senders wait")
    terminal.press("f")
    terminal.shows("Bob → Feed, 3 mails filed", "2 senders wait")
    terminal.press("u")
    terminal.shows("Bob → Screener", "3 senders wait")
    assert three.service.decisions == [("bob@a.example", "Feed"), ("bob@a.example", None)]


def test_a_decision_shows_at_once_and_is_not_done_before_it_is(three: Room) -> None:
    three.service.holds = {"bob@a.example"}
    terminal = three.open()
    terminal.shows("3 senders wait")
    terminal.press("j")
    terminal.shows("Bob → Jail …", "3 senders wait", ">  shop@shops.example")
    assert three.service.decisions == []
    three.service.release()
    terminal.shows("Bob → Jail, 3 mails filed", "2 senders wait")


def test_what_is_refused_comes_back_with_the_reason(three: Room) -> None:
    reason = "its mail has the labels of Feed and Jail: take one off"
    three.service.refused["bob@a.example"] = ("409 Conflict", reason)
    terminal = three.open()
    terminal.shows("3 senders wait")
    terminal.press("f")
    terminal.shows(f"Bob: {reason}", "3 senders wait", "! Bob")


def test_mail_that_arrives_is_there_without_a_key_and_the_cursor_stays(three: Room) -> None:
    three.service.has_events = True
    terminal = three.open()
    terminal.shows(">  Bob")
    three.loop.turn()
    terminal.until(lambda: three.service.listeners)
    three.service.arrive("new@a.example", "Newcomer", "Just now")
    assert terminal.shows("Newcomer", "4 senders wait", ">  Bob") < 1


def test_with_events_nothing_is_asked_for_that_was_told(three: Room) -> None:
    three.service.has_events = True
    terminal = three.open()
    terminal.until(lambda: three.service.listeners)
    terminal.shows("3 senders wait", "Dear Anna")
    three.service.arrive("new@a.example", "Newcomer", "Just now")
    terminal.shows("4 senders wait")
    before = three.service.asked.count("/waiting")
    terminal.press("f")
    terminal.shows("Bob → Feed, 3 mails filed", "3 senders wait")
    terminal.press("u")
    terminal.shows("Bob → Screener", "4 senders wait")
    assert three.service.asked.count("/waiting") - before <= 1


def test_without_events_mail_is_looked_for_every_few_seconds(three: Room) -> None:
    terminal = three.open()
    terminal.shows("3 senders wait")
    three.service.arrive("new@a.example", "Newcomer", "Just now")
    assert terminal.shows("Newcomer", ">  Bob") < 5


def test_a_service_that_goes_away_is_told_of_and_found_again(three: Room) -> None:
    terminal = three.open()
    terminal.shows("3 senders wait")
    three.service.stop()
    terminal.shows("the service does not answer", "Bob")
    terminal.press("f")
    terminal.shows("Bob: the service went away", "! Bob")
    three.service.arrive("new@a.example", "Newcomer", "Meanwhile")
    three.service.start()
    terminal.shows("4 senders wait", "Newcomer")
    terminal.until(lambda: "does not answer" not in terminal.text)
    terminal.press("\x1b[Af")
    terminal.shows("Bob → Feed, 3 mails filed")


def test_many_are_chosen_found_and_filed_with_one_key(three: Room) -> None:
    terminal = three.open()
    terminal.shows("3 senders wait")
    terminal.press("/s.example\r*")
    terminal.shows("3 senders wait · 2 chosen · 2 with “s.example”")
    terminal.press("t")
    terminal.shows("2 senders → Truck", "1 sender waits · 0 with “s.example”")
    terminal.press("\t")
    terminal.shows("Decided here: 2 senders", "→ Truck")
    terminal.press("-")
    terminal.shows("→ Screener, 1 mail filed", "→ Screener  before: Truck")
    terminal.press("\t\x1b")
    terminal.shows("2 senders wait", "Bob")


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "vt100"}])
def test_without_colour_the_cursor_is_seen_nevertheless(
    three: Room, environ: dict[str, str]
) -> None:
    terminal = three.open((60, 24), **environ)
    terminal.shows("3 senders wait", "Dear Anna,")
    assert not _COLOUR.search(terminal.output)
    assert terminal.attributes(">  Bob") == {"reverse"}


def test_with_colour_it_is_used(three: Room) -> None:
    terminal = three.open()
    terminal.shows("3 senders wait", "Dear Anna,")
    assert _COLOUR.search(terminal.output)


def test_another_size_is_another_picture(three: Room) -> None:
    terminal = three.open((60, 24))
    terminal.shows("───", "Dear Anna,")
    terminal.resize(160, 40)
    terminal.until(lambda: "│ Bob" in terminal.text and "───" not in terminal.text)
    terminal.resize(60, 20)
    terminal.until(lambda: "───" in terminal.text and "│" not in terminal.text)


HOSTILE = "\x1b]0;pwned\x07\x1b[2J\x1b[31mred\u202egnp.exe\u2066\x9b5m" + "x" * 10_000


def test_nothing_that_mail_says_steers_the_terminal(room: Room) -> None:
    room.service.arrive("bob@a.example", HOSTILE, HOSTILE, text=f"{HOSTILE}\n{HOSTILE}")
    room.service.arrive("\x1b[2Jeve@a.example", "", "")
    terminal = room.open((60, 24))
    terminal.shows("2 senders wait", "�]0;pwned��[2J")
    terminal.press("\x1b[B\r")
    terminal.shows("esc back", "�[31mred�gnp.exe�")
    terminal.press("\x1bf")
    terminal.press("q")
    terminal.ends()
    for harmful in (b"\x1b]", b"\x07", b"[31mred", "\x9b".encode(), "\u202e".encode()):
        found = [at for at in re.finditer(re.escape(harmful), terminal.output)]
        before = {bytes(terminal.output[at.start() - 3 : at.start()]) for at in found}
        assert before <= {"�".encode()}, harmful


@pytest.mark.skipif(_TMUX is None, reason="tmux is not installed")
@pytest.mark.parametrize(("size", "sign"), [((60, 24), "───"), ((200, 50), "│ Bob")])
def test_in_tmux_it_is_the_same(three: Room, size: tuple[int, int], sign: str) -> None:
    session = ("tmux", "-S", str(three.control.with_name("tmux")), "-f", "/dev/null", "new-session")
    terminal = three.open(size, session)
    terminal.shows("3 senders wait", ">  Bob", "Dear Anna,", sign)
    terminal.press("f")
    terminal.shows("Bob → Feed, 3 mails filed")
    terminal.press("?")
    terminal.shows("Any key goes back", "take the sender back")
    terminal.press("xq")
    assert terminal.ends() == 0


@pytest.mark.parametrize("keys", ["q", "\x03"])
def test_the_terminal_is_given_back_as_it_was(three: Room, keys: str) -> None:
    terminal = three.open()
    before = terminal.settings
    terminal.shows("3 senders wait")
    assert terminal.settings != before
    terminal.press(keys)
    assert terminal.ends() == 0
    assert terminal.last_settings == before
    assert terminal.output.rstrip().endswith(b"\x1b[?1049l\x1b[?25h")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_it_in_order(three: Room, number: signal.Signals) -> None:
    terminal = three.open()
    terminal.shows("3 senders wait")
    terminal.signal(number)
    assert terminal.ends() == 0
    assert terminal.output.rstrip().endswith(b"\x1b[?1049l\x1b[?25h")


def test_who_quits_waits_for_what_is_under_way_or_does_not(three: Room) -> None:
    three.service.holds = {"bob@a.example"}
    terminal = three.open()
    terminal.shows("3 senders wait")
    terminal.press("fq")
    terminal.shows("1 decision under way; q again leaves at once")
    three.service.release()
    assert terminal.ends() == 0
    assert three.service.decisions == [("bob@a.example", "Feed")]


def test_five_thousand_who_wait_are_as_quick_as_five(room: Room) -> None:
    figures = {}
    for many in (5, 5000):
        room.service.waiting.clear()
        for number in range(many):
            address = f"person{number}@example{number % 50}.example"
            room.service.arrive(address, f"Person {number}", f"About {number}", minutes=number)
        terminal = room.open((200, 50))
        terminal.shows(f"{many} senders wait", f">  Person {many - 1} ")
        took = []
        for number in range(many - 2, many - 5, -1):
            terminal.press("\x1b[B")
            took.append(terminal.shows(f">  Person {number} "))
        for end, number in (("\x1b[F", 0), ("\x1b[H", many - 1)) * 3:
            terminal.press(end)
            took.append(terminal.shows(f">  Person {number} "))
        figures[many] = statistics.median(took)
        terminal.press("q")
        terminal.ends()
    sys.stdout.write(f"a key to the changed screen, median seconds: {figures}\n")
    assert figures[5000] < _AT_ONCE_SECONDS
    assert figures[5000] < figures[5] * 3 + 0.02


# What needs no terminal


def run(*arguments: str, **environ: str) -> tuple[int, str]:
    process = subprocess.run(
        [sys.executable, "-m", "mailroom", "screen", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environ},
        check=False,
    )
    return process.returncode, process.stderr


def test_where_there_is_no_terminal_it_says_what_needs_none() -> None:
    code, told = run()
    assert code == 1
    assert told == (
        "mailroom: the screen needs a terminal that it can draw on; `mailroom waiting` and"
        " `mailroom triage` work without\n"
    )


def test_without_a_service_the_terminal_is_not_taken_over(room: Room) -> None:
    room.service.stop()
    terminal = room.open()
    assert terminal.ends() == 1
    terminal.shows("nobody answers at")
    assert b"\x1b[?1049h" not in terminal.output


def test_on_a_terminal_that_cannot_be_drawn_on_it_says_so(three: Room) -> None:
    terminal = three.open(TERM="dumb")
    assert terminal.ends() == 1
    terminal.shows("needs a terminal that it can draw on")


@pytest.mark.parametrize("hears_of_it", [True, False])
def test_when_the_terminal_goes_away_it_ends(three: Room, hears_of_it: bool) -> None:
    within = () if hears_of_it else ("sh", "-c", 'trap "" HUP; exec "$@"', "sh")
    terminal = three.open(within=within)
    terminal.shows("3 senders wait")
    assert terminal.hang_up() == 0


@pytest.mark.parametrize(("command", "code"), [("version", 0), ("config", 78)])
def test_a_terminal_that_is_gone_changes_no_exit_code(
    room: Room, tmp_path: Path, command: str, code: int
) -> None:
    (tmp_path / "mailroom.yaml").write_text("nonsense: true\n")
    given = {**os.environ, "MAILROOM_CONFIG": str(tmp_path / "mailroom.yaml")}
    script = 'trap "" HUP; echo ready; read _; exec "$@"'
    late = ("sh", "-c", script, "sh", sys.executable, "-m", "mailroom", command)
    terminal = Terminal(room.loop, late, (80, 24), given)
    terminal.shows("ready")
    assert terminal.hang_up() == code


def test_what_cannot_be_read_is_told_on_a_terminal_that_is_there(room: Room) -> None:
    """Not taken for a terminal that is gone, although the error is the same."""
    code = (
        "import errno, sys; from mailroom.cli import guarded\n"
        "def work(): raise OSError(errno.EIO, 'Input/output error')\n"
        "sys.exit(guarded(work))"
    )
    terminal = Terminal(room.loop, (sys.executable, "-c", code), (80, 24), os.environ)
    assert terminal.ends() == 1
    terminal.shows("Input/output error")
