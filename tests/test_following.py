"""``mailroom watch``: events in words, as JSON, and given to a command; over restarts."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailroom.errors import MailroomError
from mailroom.terminal.following import as_document, following, lines, run
from mailroom.terminal.remote import Remote
from mailroom.terminal.times import clock_face
from mailroom.wire.sse import Event
from tests.scripted import Scripted

AT = "2026-11-20T08:15:00.000Z"
BOB: dict[str, Any] = {
    "id": "M1",
    "address": "bob@example.org",
    "name": "Bob\x1b[2J",
    "subject": "Hi\u202e",
    "outcome": "unknown",
    "category": None,
    "waits": True,
}
TOLD: dict[str, tuple[dict[str, Any], list[str]]] = {
    "poll": ({"event": "poll", "trigger": "push", "error": None}, ["poll (push)"]),
    "failed poll": (
        {"event": "poll", "trigger": "push", "error": "gone"},
        ["poll (push) failed: gone"],
    ),
    "triage": (
        {
            "event": "triage",
            "sender": "bob@example.org",
            "category": "Jail",
            "previous": "Feed",
            "filed": 2,
            "trigger": "command",
            "by": "anna",
        },
        ["bob@example.org → Jail (was Feed), 2 mails (command, by anna)"],
    ),
    "arrivals by name": (
        {
            "event": "arrival",
            "count": 4,
            "mails": [
                BOB,
                {**BOB, "name": "", "subject": None, "waits": False, "category": "Feed"},
                {**BOB, "address": "", "name": "", "waits": False, "outcome": "own"},
            ],
        },
        [
            "new from bob@example.org (Bob�[2J), waits: Hi�",
            "new from bob@example.org, Feed",
            "new from nobody, own: Hi�",
            "1 further new mail",
        ],
    ),
    "arrivals by number": ({"event": "arrival", "count": 2}, ["2 new mails"]),
    "nobody waits": (
        {"event": "waiting", "senders": 0, "mails": 0, "oldest": None},
        ["nobody waits"],
    ),
    "only mail without a usable sender": (
        {"event": "waiting", "senders": 0, "mails": 2, "oldest": "2026-11-21T09:00:00.000Z"},
        [
            "2 mails without a usable sender waiting, the oldest since "
            + clock_face("2026-11-21T09:00:00.000Z")
        ],
    ),
    "push": (
        {"event": "push", "status": "disconnected", "error": "no byte for 75 s"},
        ["push disconnected: no byte for 75 s"],
    ),
    "trouble": (
        {"event": "trouble", "trouble": {"reason": "nobody answers there"}},
        ["trouble: nobody answers there"],
    ),
    "trouble is over": ({"event": "trouble", "trouble": None}, ["trouble is over"]),
    "reload": ({"event": "reload", "problems": []}, ["configuration reloaded"]),
    "refused reload": (
        {"event": "reload", "problems": ["a", "b"]},
        ["reload refused: a", "reload refused: b"],
    ),
    "lost": ({"event": "lost", "count": 7}, ["7 events missed"]),
    "lost by a restart": (
        {"event": "lost", "count": None},
        ["the service was restarted: what happened meanwhile is unknown"],
    ),
    "of a later version": ({"event": "weather", "sun": True}, ["weather"]),
}


@pytest.mark.parametrize("name", TOLD)
def test_an_event_in_words(name: str) -> None:
    document, expected = TOLD[name]
    assert list(lines(document)) == expected


def test_an_event_is_one_document() -> None:
    assert as_document(Event("lost", '{"count": 3}', "e-1")) == {
        "event": "lost",
        "id": "e-1",
        "count": 3,
    }
    with pytest.raises(MailroomError, match="not JSON: lost"):
        as_document(Event("lost", "{", "e-1"))


DOCUMENT = {"event": "lost", "id": "e-1", "name": "é"}


def test_a_command_gets_the_event_on_its_stdin(tmp_path: Path) -> None:
    run(f"cat >{tmp_path}/got; echo $MAILROOM_EVENT >>{tmp_path}/got", DOCUMENT, 20)
    document, kind = (tmp_path / "got").read_text().splitlines()
    assert (json.loads(document), kind) == (DOCUMENT, "lost")


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("exit 3", "mailroom: the command failed for lost e-1: exit code 3\n"),
        ("exec <&-; exit 0", ""),
        ("true", ""),
    ],
)
def test_of_a_command_that_fails_there_is_a_word(
    capfd: pytest.CaptureFixture[str], command: str, told: str
) -> None:
    run(command, DOCUMENT, 20)
    assert capfd.readouterr().err == told


def test_a_command_that_hangs_is_ended_with_its_children(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    begun = time.monotonic()
    run(f"sleep 600 & echo $! >{tmp_path}/child; wait", DOCUMENT, 2)
    assert time.monotonic() - begun < 60
    assert capfd.readouterr().err == (
        "mailroom: the command took longer than 2 s for lost e-1: it was ended\n"
    )
    child = int((tmp_path / "child").read_text())
    state = Path(f"/proc/{child}/stat")
    while state.exists() and state.read_text().rpartition(") ")[2][0] != "Z":
        assert time.monotonic() - begun < 60  # it has been killed, and ends when it gets its turn


def stream(*numbers: int) -> bytes:
    return b"".join(b'id: e-%d\nevent: lost\ndata: {"count": %d}\n\n' % (n, n) for n in numbers)


class Streams:
    """Connections to ``/events``, each with its own piece of the stream, then hung up."""

    def __init__(self, *streams: bytes) -> None:
        self._left = list(streams)

    def events(self, parser: Any, *, with_names: bool) -> Iterator[list[Event]]:
        if not self._left:
            raise MailroomError("nobody answers")
        piece = self._left.pop(0)
        if not piece:
            raise MailroomError("nobody answers")
        yield []
        yield parser.feed(piece)


class End(Exception):
    """Enough was heard."""


def heard(streams: Streams, pauses: int) -> tuple[list[list[str]], list[str]]:
    """The ids of all events and what was told besides, over so many pauses."""
    told: list[str] = []
    found: list[list[str]] = []
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == pauses:
            raise End

    remote: Any = streams
    try:
        for events in following(remote, told.append, sleep, with_names=True):
            found.append([each.id for each in events])
    except End:
        pass
    return found, told


def test_a_service_that_is_restarted_is_waited_for_and_complained_of_once() -> None:
    found, told = heard(Streams(stream(1, 2), b"", b"", stream(3)), 4)
    assert found == [[], ["e-1", "e-2"], [], ["e-3"]]
    assert told == ["the service has hung up; waiting for it"] * 2


def test_a_service_that_was_never_there_is_no_reason_to_wait() -> None:
    with pytest.raises(MailroomError, match="nobody answers"):
        heard(Streams(), 1)


def test_whoever_may_not_open_the_control_socket_hears_at_the_status_socket(
    tmp_path: Path,
) -> None:
    with Scripted(tmp_path / "status.sock", {"GET /events": (503, {"error": "32 read already"})}):
        remote = Remote(tmp_path / "status.sock", tmp_path / "control.sock")
        with pytest.raises(MailroomError, match=r"status\.sock: 32 read already"):
            next(following(remote, print, with_names=True))


# As in a terminal, however this process was started; and the command may have begun long before its
# parent hears of it.
INTERRUPTED = """\
import signal, subprocess, time
signal.signal(signal.SIGINT, signal.default_int_handler)

class Slow(subprocess.Popen):
    def __init__(self, *words, **options):
        super().__init__(*words, **options)
        time.sleep({seconds})

subprocess.Popen = Slow
from mailroom.terminal.following import run
run('echo $$ >{pid}; exec sleep 600', {document!r}, 60)
"""


@pytest.mark.parametrize("seconds", [0.0, 0.5])
def test_ctrl_c_ends_it(tmp_path: Path, seconds: float) -> None:
    """With the command that it runs."""
    code = INTERRUPTED.format(seconds=seconds, pid=tmp_path / "pid", document=DOCUMENT)
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) as watch:
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            assert watch.poll() is None
        watch.send_signal(signal.SIGINT)
        watch.communicate(timeout=30)
    child = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


# Popen.wait has its lock, and has not yet come to where it gives it back.
INTERRUPTED_WITH_THE_LOCK = """\
import subprocess

class Locked(subprocess.Popen):
    def communicate(self, *words, **options):
        self._waitpid_lock.acquire()
        raise KeyboardInterrupt

subprocess.Popen = Locked
from mailroom.terminal.following import run
run('echo $$ >{pid}; exec sleep 600', {document!r}, 60)
"""


def test_ctrl_c_in_the_middle_of_waiting_ends_it(tmp_path: Path) -> None:
    code = INTERRUPTED_WITH_THE_LOCK.format(pid=tmp_path / "pid", document=DOCUMENT)
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, check=False, capture_output=True, timeout=30)
    assert done.stderr.endswith(b"KeyboardInterrupt\n")
