"""Which configuration file is taken, and how it is read without keeping what reading costs."""

import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailroom.engine.clock import BoottimeClock
from mailroom.engine.configfile import PendingConfig, load
from mailroom.engine.loop import Loop
from mailroom.errors import ConfigurationError
from mailroom.rules.configuration.config import Config

ROOT = Path(__file__).parent.parent
_SECONDS_OF_WORK = "triage: {categories: [" + "A, " * 20_000 + "]}"


@pytest.fixture
def loop() -> Iterator[Loop]:
    clock = BoottimeClock()
    made = Loop(clock)
    yield made
    made.close()
    clock.close()


def test_a_file_is_loaded_without_its_libraries_staying(tmp_path: Path) -> None:
    file = tmp_path / "mailroom.yaml"
    file.write_text("\ufefftriage: {categories: [{name: Ä, add_to_inbox: yes}]}", "utf-8")
    code = (
        "import sys, pathlib, mailroom.engine.configfile as c\n"
        f"config = c.load(pathlib.Path({str(file)!r}))\n"
        "print(ascii(config.triage.categories[0].name), config.triage.categories[0].add_to_inbox)\n"
        "print([m for m in ('yaml', 'jsonschema') if m in sys.modules])\n"
    )
    assert _run(code) == "'\\xc4' True\n[]\n"


def test_a_child_that_is_killed_costs_memory_but_no_answer(tmp_path: Path) -> None:
    file = tmp_path / "mailroom.yaml"
    file.write_text("jmap: {username: me}")
    code = (
        "import os, pathlib, mailroom.engine.configfile as c\n"
        "os.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), 9))\n"
        f"print(c.load(pathlib.Path({str(file)!r})).jmap.username)\n"
    )
    assert _run(code) == "me\n"


def _run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"tls:\n  ca: \xff", ":2: is not UTF-8; save it as UTF-8"),
        (b"#" * 262_145, ": is larger than 256 KiB; is it the right file?"),
        (b"tlss:\n", ":1: tlss: is not a known key; did you mean tls?"),
        (
            None,
            ": cannot be read: No such file or directory; "
            "check that it is there and who may read it",
        ),
    ],
)
def test_a_file_that_cannot_be_loaded_is_told_by_name(
    tmp_path: Path, content: bytes | None, told: str
) -> None:
    file = tmp_path / "mailroom.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        load(file)
    assert caught.value.problems == (f"{file}{told}",)


def test_loading_leaves_no_child_and_no_descriptor(tmp_path: Path) -> None:
    file = tmp_path / "mailroom.yaml"
    file.touch()
    before = os.listdir("/proc/self/fd")
    assert load(file) == Config()
    assert os.listdir("/proc/self/fd") == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_file_is_read_in_the_loop(tmp_path: Path, loop: Loop) -> None:
    file = tmp_path / "mailroom.yaml"
    file.write_text("jmap: {username: me}")
    loop.call_soon(lambda: None)
    loop.turn()  # the clock has its timer in the selector from now on
    before = os.listdir("/proc/self/fd")
    reading = loop.spawn(PendingConfig(str(file), {}).result(loop), "reading")
    while not reading.done:
        loop.turn()
    assert reading.result().jmap.username == "me"
    assert os.listdir("/proc/self/fd") == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_what_is_wrong_is_told_when_the_result_is_wanted(tmp_path: Path, loop: Loop) -> None:
    file = tmp_path / "mailroom.yaml"
    reading = PendingConfig(None, {"MAILROOM_CONFIG": str(file)})
    file.touch()
    loop.spawn(reading.result(loop), "reading")
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        loop.run()


def test_a_file_is_read_when_reading_begins(tmp_path: Path, loop: Loop) -> None:
    file = tmp_path / "mailroom.yaml"
    file.write_text("jmap: {username: me}")
    reading = PendingConfig(str(file), {})
    file.unlink()
    config = loop.spawn(reading.result(loop), "reading")
    while not config.done:
        loop.turn()
    assert config.result().jmap.username == "me"


def test_what_is_wrong_with_it_comes_out_of_the_loop(tmp_path: Path, loop: Loop) -> None:
    file = tmp_path / "mailroom.yaml"
    file.write_text("tlss:")
    loop.spawn(PendingConfig(str(file), {}).result(loop), "reading")
    with pytest.raises(ConfigurationError, match="did you mean tls"):
        loop.run()


def test_the_loop_turns_meanwhile_and_a_reading_that_is_given_up_ends_its_child(
    tmp_path: Path, loop: Loop
) -> None:
    file = tmp_path / "mailroom.yaml"
    file.write_text(_SECONDS_OF_WORK)
    loop.call_soon(lambda: None)
    loop.turn()
    before = os.listdir("/proc/self/fd")
    reading = loop.spawn(PendingConfig(str(file), {}).result(loop), "reading")
    done_then: list[bool] = []
    loop.call_at(loop.now() + 0.001, lambda: done_then.append(reading.done))
    while not done_then:
        loop.turn()
    assert done_then == [False]
    spent = _processor_seconds_of_children()
    reading.cancel()
    assert _processor_seconds_of_children() - spent < 1.0  # of seconds of work
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    assert os.listdir("/proc/self/fd") == before


def _processor_seconds_of_children() -> float:
    """Of those that have ended. However busy the machine is, they are what the work takes."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_what_the_service_closes_is_closed_although_a_child_reads(
    tmp_path: Path, loop: Loop
) -> None:
    file = tmp_path / "mailroom.yaml"
    file.write_text(_SECONDS_OF_WORK)
    ours, theirs = socket.socketpair()
    reading = loop.spawn(PendingConfig(str(file), {}).result(loop), "reading")
    loop.turn()
    ours.close()
    assert theirs.recv(1) == b""
    assert os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None  # it still reads
    theirs.close()
    reading.cancel()
