"""The screen beside the running service, and mail that comes and goes on a server in memory."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailroom.engine.clock import BoottimeClock
from mailroom.engine.loop import Loop
from tests.process import SECRET, Process, configuration
from tests.sandbox import Sandbox, serve
from tests.screen.terminal import Terminal

pytestmark = pytest.mark.sandbox

BOB = "Bob <bob@example.org>"


@pytest.fixture
def sandbox() -> Sandbox:
    found = Sandbox(password=SECRET)
    found.standard_account()
    return found


@pytest.fixture
def service(sandbox: Sandbox, tmp_path: Path) -> Iterator[Process]:
    with serve(sandbox) as running:
        config = configuration(tmp_path, running.url, screening={"by": "mailroom"})
        with Process(tmp_path, config) as started:
            yield started.until_told("READY=1").until_told("STATUS=push connected; last poll ")


@pytest.fixture
def terminal(service: Process) -> Iterator[Terminal]:
    loop = Loop(BoottimeClock())
    command = (sys.executable, "-m", "mailroom", "screen", "--socket", str(service.socket))
    environ = {**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
    made = Terminal(loop, command, (100, 30), environ)
    yield made
    made.close()
    loop.close()


def test_mail_that_comes_is_seen_filed_and_taken_back(sandbox: Sandbox, terminal: Terminal) -> None:
    terminal.shows("Nobody waits")
    first = sandbox.deliver(BOB, subject="One", received_at=time.time() - 3600)
    terminal.shows("1 sender waits", ">  Bob", "One")
    second = sandbox.deliver(BOB, subject="Two")
    terminal.shows("1 sender waits", "2 mails", "Two")
    terminal.press("f")
    terminal.shows("Bob → Feed, 2 mails filed", "Nobody waits")
    assert [sandbox.mailboxes_of(mail) for mail in (first, second)] == [{"Feed"}, {"Feed"}]
    terminal.press("u")
    terminal.shows("Bob → Screener", "1 sender waits", ">  Bob")
    assert [sandbox.mailboxes_of(mail) for mail in (first, second)] == [{"Screener"}] * 2
    terminal.press("q")
    assert terminal.ends() == 0


def test_what_somebody_else_decides_is_seen(sandbox: Sandbox, terminal: Terminal) -> None:
    mail = sandbox.deliver(BOB, subject="One")
    terminal.shows(">  Bob")
    sandbox.label(mail, "@ToJail")
    terminal.shows("Nobody waits")
