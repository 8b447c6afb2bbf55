"""The commands of a person, on the service as a process of its own and a sandbox."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.process import SECRET, Process, configuration, environment
from tests.sandbox import Sandbox, serve
from tests.schemas import validate

pytestmark = pytest.mark.sandbox


class Shell:
    """A person's, beside the running service; ``bob``'s mail waits."""

    def __init__(self, folder: Path, sandbox: Sandbox, bob: list[str], service: Process) -> None:
        self.sandbox = sandbox
        self.bob = bob
        self.service = service
        self._folder = folder

    def begin(self, line: str) -> subprocess.Popen[str]:
        """Type a line; ``mailroom`` in it is ours."""
        function = (
            f'mailroom() {{ {sys.executable} -m mailroom "$@" --socket {self.service.socket}; }}'
        )
        return subprocess.Popen(
            ["bash", "-o", "pipefail", "-c", f"{function}\n{line}"],
            env=environment(self._folder),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self._folder,
        )

    def types(self, line: str, code: int = 0) -> tuple[str, str]:
        child = self.begin(line)
        out, err = child.communicate(timeout=50)
        assert child.returncode == code, (out, err, self.service.log)
        return out, err

    @property
    def status(self) -> Any:
        return self.service.ask("/status")[1]

    def is_quiet(self) -> bool:
        """Whether the service has counted the mail, and is done with what it does at the start."""
        told = self.status
        return told["phase"] == "idle" and (told["waiting"] or {}).get("mails") == 2

    def begin_slowly(self, line: str) -> subprocess.Popen[str]:
        """Type a line whose poll is under way when this comes back, and will be for a while."""
        self.sandbox.controls.delay_seconds = 2.0
        child = self.begin(line)
        self.service.until(lambda: self.status["phase"] == "polling")
        return child

    def places(self) -> list[set[str]]:
        return [self.sandbox.mailboxes_of(mail_id) for mail_id in self.bob]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    sandbox = Sandbox(password=SECRET)
    sandbox.standard_account()
    bob = [
        sandbox.deliver("Bob \x1b[2J <bob@x.example>", subject="Sale\n!", mailbox="Screener")
        for _ in range(2)
    ]
    own = {"own_addresses": ["alice@example.org"]}
    with (
        serve(sandbox) as running,
        Process(tmp_path, configuration(tmp_path, running.url, triage=own)) as service,
    ):
        service.until_told("STATUS=push connected; last poll ")
        ready = Shell(tmp_path, sandbox, bob, service)
        service.until(ready.is_quiet)
        yield ready


def test_an_evening_at_the_shell(shell: Shell) -> None:
    out, err = shell.types("mailroom waiting")
    assert err == ""
    assert out.split("\t")[:2] == ["bob@x.example", "2"]
    assert out.endswith("[2J\tSale !\n")
    assert "\x1b" not in out
    assert shell.types("mailroom waiting --count")[0] == "1\n"
    validate("waiting", json.loads(shell.types("mailroom waiting --json")[0]))

    out, err = shell.types("mailroom waiting | grep bob | mailroom triage - FEED")
    assert (out, err) == ("bob@x.example → Feed, 2 mails\n", "")
    assert shell.places() == [{"Feed"}] * 2
    out, _ = shell.types("mailroom triage bob@x.example papertrail --json")
    validate("decisions", json.loads(out))
    assert shell.places() == [{"Paper Trail"}] * 2

    assert "category  Paper Trail" in shell.types("mailroom sender bob@x.example")[0]
    assert shell.types("mailroom senders paper\\ trail | cut -f1")[0] == "bob@x.example\n"
    out, err = shell.types("mailroom log bob@x.example")
    assert "the notes of contacts tell categories and days" in err  # it was started by hand
    assert [line.split("\t")[2] for line in out.splitlines()] == ["→ Feed", "→ Paper Trail"]

    assert shell.types("mailroom undo bob@x.example")[0].startswith(
        "bob@x.example → Feed (was Paper Trail)"
    )
    assert shell.places() == [{"Feed"}] * 2
    assert shell.types("mailroom undo bob@x.example")[0].startswith(
        "bob@x.example → Paper Trail (was Feed)"
    )
    assert shell.types("mailroom triage bob@x.example screener")[0].startswith(
        "bob@x.example → Screener (was Paper Trail)"
    )
    assert shell.places() == [{"Screener"}] * 2
    assert shell.types("mailroom senders --count")[0] == "0\n"


def test_decisions_go_out_and_in_again(shell: Shell) -> None:
    shell.types(
        "mailroom triage bob@x.example carol@x.example jail; mailroom triage @y.example feed"
    )
    out, _ = shell.types("mailroom export | tee decisions")
    assert {(each.get("address"), each.get("domain"), each["category"]) for each in map(
        json.loads, out.splitlines()
    )} == {("bob@x.example", None, "Jail"), ("carol@x.example", None, "Jail"),
           (None, "y.example", "Feed")}  # fmt: skip
    shell.types("mailroom triage bob@x.example @y.example screener")
    out, _ = shell.types("mailroom import decisions")
    assert out.splitlines()[-1] == "2 to make, 1 already so; --apply makes them"
    assert shell.places() == [{"Screener"}] * 2
    assert shell.types("mailroom import decisions --apply")[0] == "2 made, 1 already so\n"
    assert shell.places() == [{"Jail"}] * 2
    assert shell.types("mailroom import decisions --apply")[0] == "3 already so\n"


def test_what_cannot_be_decided_is_told(shell: Shell) -> None:
    assert "there is no category 'fed'" in shell.types("mailroom triage bob@x.example fed", 2)[1]
    out, err = shell.types("mailroom triage bob alice@example.org bob@x.example feed", 1)
    assert out == "bob@x.example → Feed, 2 mails\n"
    assert sorted(line.split(": ")[1] for line in err.splitlines()) == ["alice@example.org", "bob"]
    assert "gmail.com" in shell.types("mailroom triage --domain gmail.com feed", 1)[1]
    out, err = shell.types("mailroom undo nobody@x.example", 1)
    assert (out, err.count("\n")) == ("", 1)
    assert "with mailroom triage" in err


def test_labels_of_other_categories_outrank_the_command(shell: Shell) -> None:
    for mail_id, label in zip(shell.bob, ("@ToJail", "@ToImbox"), strict=True):
        shell.sandbox.label(mail_id, label)
    out, err = shell.types("mailroom triage bob@x.example feed", 1)
    assert out == ""
    assert all(name in err for name in ("Jail", "Imbox", "Feed"))
    assert err.count("\n") == 1


def test_a_command_whose_service_stops_is_told_to_repeat(shell: Shell) -> None:
    command = shell.begin_slowly("mailroom triage bob@x.example feed")
    shell.service.send(signal.SIGTERM)
    out, err = command.communicate(timeout=50)
    assert (out, command.returncode) == ("", 1)
    assert "repeat" in err


def test_a_command_whose_service_is_killed_is_told(shell: Shell) -> None:
    command = shell.begin_slowly("mailroom triage bob@x.example feed")
    shell.service.child.kill()
    out, err = command.communicate(timeout=50)
    assert (out, command.returncode) == ("", 1)
    assert "ended without an answer" in err
