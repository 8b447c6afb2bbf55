"""What a command is given by its caller, over one socket: arguments, terminal, files."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path

import pytest

from mailroom.engine.handover import Giver, Opening, Taker
from mailroom.engine.newfile import NewFile
from mailroom.errors import MailroomError
from mailroom.terminal.secrets import EXPORT, EXPORTED, handed_file

ARGUMENTS = ["reset", "--to", "two words", "$HOME", "ä"]


@contextmanager
def both(
    files: dict[str, Opening], stdin: int
) -> Iterator[tuple[Taker, Future[bool], subprocess.Popen[bytes]]]:
    """The taker, and what the giver's serving will answer once its child has ended."""
    giver, theirs = Giver.pair(files)
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    with ThreadPoolExecutor(1) as pool, child:
        giver.give(ARGUMENTS, stdin)
        serving = pool.submit(giver.serve, child.pid)
        yield Taker(theirs), serving, child
        theirs.close()
        end(child)
    giver.close()


def end(child: subprocess.Popen[bytes]) -> None:
    assert child.stdin is not None
    child.stdin.close()


def test_arguments_and_standard_input_arrive_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "input").write_text("typed")
    with (
        (tmp_path / "input").open("rb") as file,
        both({}, file.fileno()) as (taker, serving, child),
    ):
        assert taker.arguments == ARGUMENTS
        assert os.read(taker.stdin, 10) == b"typed"
        os.close(taker.stdin)
        end(child)
        assert serving.result(10)


def test_files_are_opened_by_the_caller_when_they_are_wanted(tmp_path: Path) -> None:
    new, old = tmp_path / "new", tmp_path / "old"
    old.write_text("says ä\n")
    files = {
        "config": lambda: os.open(old, os.O_RDONLY),
        "export": lambda: os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600),
    }
    with both(files, 0) as (taker, _, _):
        assert taker.files == ["config", "export"]
        assert not new.exists()
        assert taker.read("config") == "says ä\n"
        with taker.writer("export") as file:
            file.write("ü\n")
        with pytest.raises(FileExistsError, match="File exists"):
            taker.writer("export")
        os.close(taker.stdin)
    assert new.read_text() == "ü\n"


@pytest.mark.parametrize("character", ["ü", "\ud800"])
def test_an_export_stays_only_if_all_of_it_could_be_written(tmp_path: Path, character: str) -> None:
    path, is_whole = tmp_path / "new", character.isprintable()
    expected = nullcontext() if is_whole else pytest.raises(UnicodeEncodeError)
    with closing(NewFile(path)) as new:
        files: dict[str, Opening] = {EXPORT: new.open, EXPORTED: new.keep}
        with both(files, 0) as (taker, _, _), expected, handed_file(taker) as file:
            os.close(taker.stdin)
            file.write("ü\n")
            file.flush()
            file.write(character)
    assert path.exists() is is_whole


def test_a_file_that_nobody_has_named_is_not_opened() -> None:
    giver, theirs = Giver.pair({"config": lambda: os.open("/etc/hostname", os.O_RDONLY)})
    giver.give(ARGUMENTS, 0)
    os.close(Taker(theirs).stdin)
    theirs.send(b"/etc/shadow")
    with pytest.raises(MailroomError, match="nobody has named: '/etc/shadow'"):
        giver.serve(os.getpid())
    giver.close()
    theirs.close()


def test_what_never_began_is_told_apart() -> None:
    giver, theirs = Giver.pair({})
    child = subprocess.Popen(["true"])
    giver.give(ARGUMENTS, 0)
    assert not giver.serve(child.pid)  # though the other end is still held
    assert child.wait() == 0
    theirs.close()
    giver.close()


def test_another_version_is_refused() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    message = json.dumps({"version": "0.0", "arguments": [], "files": []}).encode()
    socket.send_fds(ours, [message], [0])
    with (
        ours,
        theirs,
        pytest.raises(MailroomError, match=r"this is mailroom 0\.0, and the unit runs"),
    ):
        Taker(theirs)


def test_a_command_line_that_is_too_long_is_refused() -> None:
    giver, theirs = Giver.pair({})
    with pytest.raises(MailroomError, match="too long"):
        giver.give(["x" * 70_000], 0)
    giver.close()
    theirs.close()


@pytest.mark.parametrize("stdin", ["/dev/null", None])
def test_the_word_typed_by_hand_does_nothing(stdin: str | None) -> None:
    command = [sys.executable, "-m", "mailroom", "as-unit"]
    with open(stdin or "/dev/zero") as file:
        told = subprocess.run(
            command, stdin=file, capture_output=True, text=True, check=False, timeout=60
        )
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr == "mailroom: this command is only for mailroom itself\n"
