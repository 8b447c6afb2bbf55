"""The commands: help, wrong use, what a user did wrong in one line, and what is printed where."""

import json
import os
import pty
import re
import subprocess
import sys
from argparse import ArgumentParser, _SubParsersAction
from collections.abc import Iterator
from copy import deepcopy
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from mailroom.arguments import parse, parser
from mailroom.cli import guarded, main
from mailroom.terminal.status import news
from tests.process import SECRET, Process, configuration, environment, mailroom
from tests.sandbox import Sandbox, serve
from tests.world import World

# Whatever is no number or instant is refused in the same words.
_NUMBERS = ("--within", "--since")


def _commands() -> dict[str, ArgumentParser]:
    found = next(each for each in parser()._actions if isinstance(each, _SubParsersAction))
    return dict(found.choices)


COMMANDS = tuple(_commands())


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith(("MAILROOM_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "nothing"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest.fixture
def url() -> Iterator[str]:
    sandbox = Sandbox(password=SECRET)
    sandbox.standard_account()
    with serve(sandbox) as running:
        yield running.url


# Help and wrong use


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"usage: mailroom {command}" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--help"], []])
def test_the_help_names_every_command(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    shown = "".join(capsys.readouterr())
    assert [each for each in COMMANDS if not re.search(rf"\n +{each}\s", shown)] == []


def test_the_version_is_told_by_either_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert main(["version"]) == 0
    assert capsys.readouterr().out == shown


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["status", "--socket", ""],
        ["status", "--socket", "."],
        ["config", "--config", ""],
        ["run", "--config", ""],
        ["metrics", "--into", ""],
        ["run", "--nonsense"],
        ["triage"],
        ["poll", "now"],
        ["status", "--json", "--watch"],
        ["check", "--within", "3"],
        ["check", "--live", "--within", "nan"],
        ["check", "--live", "--within", "soon"],
    ],
)
def test_wrong_use_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: mailroom" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["triage"], "name addresses"),
        (["triage", "bob@x.example"], "name addresses"),
        (["triage", "--dry-run", "bob@x.example"], "takes no address"),
        (["check", "--within", "3"], "--within is for check --live"),
        (["poll", "now"], "unrecognized arguments: now"),
        (["waiting", "--nonsense"], "unrecognized arguments: --nonsense"),
        (["sender", ""], "argument ADDRESS: must not be empty"),
    ],
)
def test_wrong_use_shows_the_usage_of_the_command(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    shown = capsys.readouterr().err
    assert shown.startswith(f"usage: mailroom {arguments[0]} ")
    assert f"\nmailroom {arguments[0]}: error: " in shown
    assert told in shown


def _with_values() -> Iterator[tuple[str, str]]:
    """Every command with each of its arguments that takes a value; "" for a positional one."""
    for name, command in _commands().items():
        for action in command._actions:
            if action.nargs != 0:
                yield name, next(iter(action.option_strings), "")


@pytest.mark.parametrize("empty", ["", " "])
@pytest.mark.parametrize(("command", "option"), list(_with_values()))
def test_no_argument_may_be_empty(
    command: str, option: str, empty: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse([command, f"{option}={empty}" if option else empty])
    assert ended.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"mailroom {command}: error: argument ")
    if option not in _NUMBERS:
        assert last.endswith(": must not be empty")


# What a user did wrong


@pytest.mark.parametrize("command", [["config"], ["check"], ["setup"], ["triage", "--dry-run"]])
def test_without_a_configuration_the_places_are_named(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--config", "/nowhere/mailroom.yaml"]) == 78
    shown = capsys.readouterr()
    assert shown.err.startswith("mailroom: ")
    assert "/nowhere/mailroom.yaml" in shown.err
    assert len(shown.err.splitlines()) == 1


def test_a_configuration_that_cannot_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", "--config", str(tmp_path)]) == 78
    assert str(tmp_path) in capsys.readouterr().err


def test_every_problem_of_a_configuration_is_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mailroom.yaml"
    path.write_text("polling: {poll_interval: soon}\nnonsense: 1\n")
    assert main(["config", "--config", str(path)]) == 78
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"mailroom: {path}:") for line in lines)


def test_without_a_secret_it_is_said_how_to_provide_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = configuration(tmp_path, "http://127.0.0.1:1")
    assert main(["check", "--config", str(path)]) == 78
    assert "MAILROOM_JMAP_PASSWORD" in capsys.readouterr().err


@pytest.mark.parametrize(("command", "method"), [("status", "GET"), ("poll", "POST")])
def test_without_a_service_status_and_poll_say_so(
    command: str, method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "nobody.sock"
    assert main([command, "--socket", str(path)]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith(f"mailroom: nobody answers at {path}: is the service running"), method
    assert shown.count("\n") == 1


# check


@pytest.mark.sandbox
def test_check_ticks_everything(url: str, tmp_path: Path) -> None:
    shown = mailroom(tmp_path, "check", "--config", str(configuration(tmp_path, url)))
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.count("✓") >= 6
    assert "✗" not in shown.stdout
    assert SECRET not in shown.stdout


@pytest.mark.sandbox
def test_a_terminal_without_ticks_still_gets_the_words(url: str, tmp_path: Path) -> None:
    config = str(configuration(tmp_path, url))
    shown = mailroom(tmp_path, "check", "--config", config, PYTHONIOENCODING="latin-1")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith("? configuration: ")


@pytest.mark.sandbox
def test_check_with_refused_credentials_ends_with_77(url: str, tmp_path: Path) -> None:
    config = str(configuration(tmp_path, url))
    shown = mailroom(tmp_path, "check", "--config", config, MAILROOM_JMAP_PASSWORD="wrong-sesame")
    assert shown.returncode == 77
    assert "✗" in shown.stdout
    assert shown.stderr == ""
    assert "wrong-sesame" not in shown.stdout + shown.stderr
    assert "Traceback" not in shown.stderr


@pytest.mark.sandbox
def test_check_names_what_is_missing(url: str, tmp_path: Path) -> None:
    triage = {"categories": ["Feed", "Nonsense"]}
    config = configuration(tmp_path, url, triage=triage)
    shown = mailroom(tmp_path, "check", "--config", str(config))
    assert shown.returncode == 1
    assert "@ToNonsense" in shown.stdout
    assert "run mailroom setup --apply" in shown.stdout
    assert shown.stderr == ""  # once is enough


@pytest.mark.sandbox
def test_check_is_content_only_when_the_test_mail_is_done_as_well(url: str, tmp_path: Path) -> None:
    config, socket = str(configuration(tmp_path, url)), str(tmp_path / "nobody.sock")
    shown = mailroom(tmp_path, "check", "--live", "--config", config, "--socket", socket)
    assert shown.returncode == 1
    assert "All is well" not in shown.stdout
    assert "✗ test: nobody answers at" in shown.stdout
    assert (shown.stdout + shown.stderr).count(f"nobody answers at {socket}: ") == 1


def test_check_of_a_server_that_is_away(tmp_path: Path) -> None:
    config = configuration(tmp_path, "http://127.0.0.1:1")
    shown = mailroom(tmp_path, "check", "--config", str(config))
    assert shown.returncode == 1
    assert "✗ mail server: " in shown.stdout
    assert shown.stdout.count("✗") == 1  # the address book is on the same server
    assert "127.0.0.1:1" in shown.stdout
    assert shown.stderr == ""
    assert "Traceback" not in shown.stderr


# status


@pytest.mark.sandbox
def test_status_of_a_running_service(url: str, tmp_path: Path) -> None:
    with Process(tmp_path, configuration(tmp_path, url)) as service:
        service.until_told("STATUS=push connected; last poll ")
        where = ["--socket", str(service.socket)]
        shown = mailroom(tmp_path, "status", *where)
        assert (shown.returncode, shown.stderr) == (0, "")
        assert "\x1b" not in shown.stdout
        assert "(startup)" in shown.stdout
        document = json.loads(mailroom(tmp_path, "status", "--json", *where).stdout)
        schema = files("mailroom.schema").joinpath("status.schema.json").read_text()
        jsonschema.Draft202012Validator(json.loads(schema)).validate(document)
        polled = mailroom(tmp_path, "poll", *where)
        assert (polled.returncode, polled.stdout, polled.stderr) == (0, "", "")
        service.until(lambda: service.ask("/healthz")[1]["last_poll_trigger"] == "manual")
        assert "\x1b[" in _on_a_terminal(tmp_path, "status", *where)


def _on_a_terminal(folder: Path, *arguments: str) -> str:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "mailroom", *arguments],
        env=environment(folder, TERM="xterm-256color"),
        stdout=theirs,
        cwd=folder,
    ):
        os.close(theirs)
        shown = b""
        try:
            while chunk := os.read(ours, 65536):
                shown += chunk
        except OSError:
            pass  # that is how the end of a terminal reads
    os.close(ours)
    return shown.decode()


@pytest.mark.parametrize("command", ["config", "setup", "--help", "metrics"])
@pytest.mark.parametrize(
    ("closing", "code", "error"),
    [
        # What the shell takes its status from, and whether the command is it.
        (" 2>err | true", 0, ""),
        (" >/dev/full 2>err", 1, "mailroom: the output cannot be written"),
        (" >&- 2>err", 0, ""),
        (" >&- 2>&- <&-", 0, ""),
        (" <&- 2>err >/dev/null", 0, ""),
    ],
)
def test_output_that_nobody_takes(
    command: str, closing: str, code: int, error: str, url: str, tmp_path: Path
) -> None:
    config = configuration(tmp_path, url)
    (tmp_path / "err").write_text("")
    options = {"metrics": f"--socket {tmp_path}/status.sock", "--help": ""}
    told = options.get(command, f"--config {config}")
    script = f"set -o pipefail; {sys.executable} -m mailroom {command} {told} {closing}"
    with Process(tmp_path, config) as service:
        service.until_told("READY=1")
        done = subprocess.run(
            ["bash", "-c", script], env=environment(tmp_path), cwd=tmp_path, check=False
        )
    assert (tmp_path / "err").read_text().startswith(error)
    assert "Traceback" not in (tmp_path / "err").read_text()
    assert "Exception ignored" not in (tmp_path / "err").read_text()
    assert done.returncode == code


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ("triage - feed", 0, ""),
        ("import -", 2, "no column of addresses"),
        ("login --config CONFIG", 1, "no secret was given"),
        ("init --config CONFIG --password-file -", 2, "empty"),
        ("reset --apply --config CONFIG", 1, "a service answers"),
    ],
)
def test_a_closed_stdin_is_an_empty_one(
    arguments: str, code: int, told: str, url: str, tmp_path: Path
) -> None:
    config = tmp_path / "mailroom/mailroom.yaml"
    config.parent.mkdir()
    configuration(tmp_path, url).rename(config)
    command = f"{sys.executable} -m mailroom {arguments.replace('CONFIG', str(config))} <&-"
    with Process(tmp_path, config, socket_folder=config.parent) as service:
        service.until_told("READY=1")
        done = subprocess.run(
            ["sh", "-c", command],
            env=environment(tmp_path, XDG_CONFIG_HOME=str(tmp_path), HOME=str(tmp_path)),
            capture_output=True,
            text=True,
            check=False,
        )
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == (1 if told else 0)
    assert done.returncode == code


def test_a_user_who_runs_it_by_hand_has_the_secrets_that_login_stores(
    url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "home/mailroom"
    folder.mkdir(parents=True)
    config = configuration(folder, url)
    (folder / "jmap-password").write_text(SECRET)
    nothing_else = {"XDG_CONFIG_HOME": str(folder.parent), "MAILROOM_JMAP_PASSWORD": ""}
    with Process(tmp_path, config, nothing_else) as service:
        service.until_told("STATUS=push connected")


def test_a_bug_ends_a_command_with_70_and_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(lambda: 1 // 0) == 70
    *traceback, last = capsys.readouterr().err.splitlines()
    assert "ZeroDivisionError" in traceback[-1]
    assert last.startswith("mailroom: this is a bug")


# status --watch


def told(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """The news without their times of day."""
    return [line.partition("  ")[2] for line in news(before, now)]


def test_the_watch_tells_every_poll_and_every_triage_once() -> None:
    world = World()
    bob, carol = world.deliver("Bob <bob@example.org>", count=2)[0], world.deliver("c@example.org")
    world.start()
    documents = [deepcopy(world.status)]
    for mail, label in ((bob, "@ToFeed"), (bob, "@ToJail"), (carol[0], "@ToFeed")):
        world.tap(mail, label)
        world.settle()
        documents.append(deepcopy(world.status))
    world.account.poll_now()
    world.settle()
    documents.append(deepcopy(world.status))
    steps = [told(*pair) for pair in pairwise(documents)]
    assert steps == [
        ["bob@example.org → Feed, 2 mails (push)", "poll (push)"],
        ["bob@example.org → Jail (was Feed), 2 mails (push)", "poll (push)"],
        ["c@example.org → Feed, 1 mail (push)", "poll (push)"],
        ["poll (manual)"],
    ]
    assert told(documents[0], documents[-1]) == [
        "bob@example.org → Feed, 2 mails (push)",
        "bob@example.org → Jail (was Feed), 2 mails (push)",
        "c@example.org → Feed, 1 mail (push)",
        *["poll (push)"] * 3,
        "poll (manual)",
    ]
    for document in documents:
        assert told(document, document) == []


def test_the_watch_of_a_service_that_has_not_polled_yet() -> None:
    world = World()
    assert told(world.status, world.status) == []
