"""What is packaged says what the program does: its manual, completions, catalog and units."""

import argparse
import ast
import functools
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailroom import arguments
from mailroom.engine.journal import MESSAGE_IDS, Fields, Level, text_line
from mailroom.work.polling.troublekind import EVENTS

PROJECT = Path(__file__).resolve().parents[1]
PACKAGING = PROJECT / "packaging"
UNITS = PROJECT / "systemd"

# Command -> its options, without their dashes; every command has --help.
Options = dict[str, set[str]]


def commands() -> dict[str, argparse.ArgumentParser]:
    [subparsers] = [
        action
        for action in arguments.parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    ]
    return dict(subparsers.choices)


def options() -> Options:
    return {
        name: {
            option.removeprefix("--")
            for action in parser._actions
            for option in action.option_strings
            if option not in {"-h", "--help"}
        }
        for name, parser in commands().items()
    }


def blocks(text: str, heading: str) -> dict[str, str]:
    """What follows each line that matches ``heading``, by the heading's group."""
    _, *parts = re.split(heading, text, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def manual(page: str) -> str:
    return (PACKAGING / "man" / page).read_text()


def test_the_manual_has_exactly_the_commands_and_options_that_there_are() -> None:
    _, text = manual("mailroom.1").split("\n.Sh COMMANDS\n")
    listed, common = text.split("\nOptions that several commands have:\n")
    documented = {
        name: set(re.findall(r"Fl -([a-z-]+)", block))
        for name, block in blocks(listed, r"^\.It Cm (\S+)").items()
    }
    assert documented == options()
    explained = set(re.findall(r"^\.It Fl -([a-z-]+)", listed + common, re.MULTILINE))
    assert explained == set.union(*options().values())


@pytest.mark.parametrize("command", options())
def test_bash_completes_the_options_of_each_command(command: str) -> None:
    assert bash_offers("mailroom", command, "") == {
        f"--{option}" for option in {*options()[command], "help"}
    }


def test_bash_completes_the_commands() -> None:
    assert bash_offers("mailroom", "") == {*options(), "--help", "--version"}
    assert bash_offers("mailroom", "st") == {"status"}


# A service as the completion sees it: what it is asked is kept beside it.
ANSWERING = """\
#!/bin/sh
echo "$@" >>"$(dirname "$0")/asked"
case $1 in
    waiting) printf 'bob@x.example\\t3\\tBob\\ncarol@x.example\\t1\\t\\n' ;;
    senders) printf 'dave@y.example\\tFeed\\n@shop.example\\tFeed\\n' ;;
    categories) printf 'Feed\\t@ToFeed\\t\\nPaper Trail\\t@ToPaperTrail\\t\\n' ;;
esac
"""


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("triage b", {"bob@x.example"}),
        ("triage bob@", {"@x.example"}),  # bash goes on from the @
        ("triage bob@x.example ", {"bob@x.example", "carol@x.example", "Feed", "PaperTrail",
                                   "screener"}),
        ("triage bob@x.example pa", {"PaperTrail"}),
        ("undo d", {"dave@y.example"}),
        ("undo @", {"@shop.example"}),
        ("sender c", {"carol@x.example"}),
        ("sender d", {"dave@y.example"}),
        ("log d", {"dave@y.example"}),
        ("senders F", {"Feed"}),
        ("import --category s", {"screener"}),
        ("triage --d", {"--domain", "--dry-run"}),
    ],
)  # fmt: skip
def test_bash_completes_addresses_and_categories_by_the_running_service(
    typed: str, offered: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "mailroom"
    program.write_text(ANSWERING)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    line = f"mailroom {typed}"
    # As bash breaks the line: its COMP_WORDBREAKS has an @.
    words = re.findall(r"[^\s@]+|@", line) + ([""] if line.endswith(" ") else [])
    given = bash_offers(*words, line=line)
    assert {word for word in given if word[0] != "-" or typed[-1] != " "} == offered


def test_bash_asks_the_service_that_the_line_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "mailroom"
    program.write_text(ANSWERING)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    bash_offers("mailroom", "undo", "--account", "alice", "d")
    assert (tmp_path / "asked").read_text() == "senders --account alice\n"


def test_bash_says_nothing_where_no_service_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "mailroom"
    program.write_text("#!/bin/sh\necho 'mailroom: nobody answers' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert bash_offers("mailroom", "triage", "b") == set()


def bash_offers(*words: str, line: str = "") -> set[str]:
    script = 'source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _mailroom; '
    printed = 'printf "%s\\n" "${COMPREPLY[@]}"'
    completion = str(PACKAGING / "completion/bash/mailroom")
    result = subprocess.run(
        ["bash", "-c", script + printed, completion, *words],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | ({"COMP_LINE": line, "COMP_POINT": str(len(line))} if line else {}),
    )
    assert result.stderr == ""
    return set(result.stdout.split())


def test_zsh_completes_commands_and_options_in_the_words_of_the_help() -> None:
    text = (PACKAGING / "completion/zsh/_mailroom").read_text()
    listed = dict(re.findall(r"^    '([a-z]+):(.*)'$", text, re.MULTILINE))
    assert listed == {name: parser.description for name, parser in commands().items()}
    variables = dict(re.findall(r"^local (\w+)='(?:\(.*\))?--([a-z-]+)\[", text, re.MULTILINE))
    branches = re.findall(r"^ +([a-z]+)\) _arguments (.*) ;;$", text, re.MULTILINE)
    offered = {
        name: {variables[variable] for variable in re.findall(r"\$(\w+)", arguments)} - {"help"}
        for name, arguments in branches
    }
    assert offered == options()


def test_the_catalog_explains_exactly_the_message_ids() -> None:
    assert set(catalog()) == set(MESSAGE_IDS.values())


def test_whatever_warns_has_an_id_and_so_an_entry() -> None:
    assert warnings() - set(MESSAGE_IDS) == set()
    assert {"digest_failed", "bug", "sender_failed"} <= warnings()


@pytest.mark.parametrize("event", MESSAGE_IDS)
def test_an_entry_of_the_catalog_has_a_subject_and_only_fields_that_are_logged(event: str) -> None:
    entry = catalog()[MESSAGE_IDS[event]]
    head, _, text = entry.strip().partition("\n\n")
    assert head.startswith("Subject: ")
    assert "\nDefined-By: Mailroom" in head
    assert text
    used = set(re.findall(r"@([A-Z_]+)@", entry))
    assert used <= {f"MAILROOM_{field.upper()}" for field in logged_fields()}
    assert not re.findall(r"^.{77,}$", text, re.MULTILINE)  # journalctl puts three more before it


def catalog() -> dict[str, str]:
    return blocks((PACKAGING / "mailroom.catalog").read_text(), r"^-- ([0-9a-f]{32})$")


def log_calls() -> Iterator[ast.Call]:
    """Every call in the program that may log: by the name of a level, or through ``report``."""
    for path in (PROJECT / "mailroom").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args and _is_event(node.args[0]):
                yield node


def _is_event(argument: ast.expr) -> bool:
    match argument:
        case ast.Constant(value=str(text)):
            return re.fullmatch(r"[a-z]+_[a-z_]+", text) is not None
        case ast.Name(id=name):
            return name == "event"
        case _:
            return False


def warnings() -> set[str]:
    """The events that are told as warnings or errors: by these names of a log, by ``report``, which
    is one of a log's, or by ``_refuse``. (A parser's ``error`` has a sentence.)"""
    found: set[str] = set()
    for path in (PROJECT / "mailroom").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and _name_of(node.func) in _WARNING:
                words = [each.value for each in node.args[:2] if isinstance(each, ast.Constant)]
                found |= {str(each) for each in words if re.fullmatch(r"[a-z_]+", str(each))}
    return found | set(EVENTS.values()) | {"log_lines_lost"}


_WARNING = ("warning", "error", "report", "_refuse")


def _name_of(function: ast.expr) -> str:
    match function:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
        case _:
            return ""


@functools.cache
def logged_fields() -> set[str]:
    plain = {keyword.arg for call in log_calls() for keyword in call.keywords if keyword.arg}
    # poll.py hands the first two on as **names, the third is the log's own.
    return plain | {"name", "contact_name", "count"}


def test_logcheck_keeps_quiet_about_what_is_only_information() -> None:
    informed = {
        call.args[0].value
        for call in log_calls()
        if isinstance(call.func, ast.Attribute)
        and call.func.attr == "info"
        and isinstance(call.args[0], ast.Constant)
    }
    assert "service_started" in informed
    told = {event for event in informed if is_ignored(Level.INFO, str(event))}
    assert told == informed
    loud = set(MESSAGE_IDS) - informed - {"eventsource_unavailable"}
    assert not {event for event in loud if is_ignored(Level.WARNING, event)}


def test_logcheck_tells_of_push_that_is_lost_and_not_of_a_stream_that_is_over() -> None:
    fields = {"error": "the server ended the stream"}
    for told in (fields, {"account": "anna@x.org", **fields}):
        assert is_ignored(Level.INFO, "eventsource_disconnected", told)
        assert not is_ignored(Level.WARNING, "eventsource_disconnected", told)


def is_ignored(level: Level, event: str, fields: Fields | None = None) -> bool:
    text = text_line(level, event, fields or {"sender": "a@b.c"})
    line = f"Nov  9 07:00:00 host mailroom[1]: {text}"
    rules = str(PACKAGING / "debian/mailroom.logcheck.ignore.server")
    result = subprocess.run(["grep", "-qE", "-f", rules], input=line, text=True, check=False)
    return result.returncode == 0


def schema_keys() -> set[str]:
    schema = json.loads((PROJECT / "mailroom/schema/config.schema.json").read_text())
    sections = {**schema["properties"], "Categories": schema["$defs"]["category"]}
    return {
        f"{name}.{key}"
        for name, section in sections.items()
        for key in section.get("properties", ())
    }


def test_the_manual_of_the_file_has_exactly_the_keys_of_the_schema() -> None:
    sections = blocks(manual("mailroom.yaml.5"), r"^\.Ss (\S+)$")
    assert schema_keys() == {
        f"{section}.{key}"
        for section, text in sections.items()
        for key in re.findall(r"^\.It Va (\w+)$", text, re.MULTILINE)
    }


def test_the_documentation_of_the_file_has_exactly_the_keys_of_the_schema() -> None:
    text = (PROJECT / "docs/configuration.md").read_text()
    _, keys = text.split("\n## Keys\n")
    keys, *_ = keys.split("\n## ")
    keys = keys.replace("A category is a name, or a mapping of:", "### `Categories`")
    assert schema_keys() == {
        f"{section}.{key}"
        for section, part in blocks(keys, r"^### `(\w+)`$").items()
        for key in re.findall(r"^\| `(\w+)` \|", part, re.MULTILINE)
    }


def directives(unit: str) -> list[str]:
    lines = (UNITS / unit).read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


# What an instance has of its own. All else it has in common, hardening above all.
OF_AN_INSTANCE = (
    ("screener", "screener for %i"),
    ("status socket", "status socket for %i"),
    ("control socket", "control socket for %i"),
    ("mailroom.socket", "mailroom@%i.socket"),
    ("mailroom-control.socket", "mailroom-control@%i.socket"),
    ("Service=mailroom.service", "Service=mailroom@%i.service"),
    ("/etc/mailroom/mailroom.yaml", "/etc/mailroom/%i.yaml"),
    ("/usr/bin/mailroom run", "/usr/bin/mailroom run --config /etc/mailroom/%i.yaml"),
    ("token:mailroom.", "token:mailroom.%i."),
    ("password:mailroom.", "password:mailroom.%i."),
    ("encrypted:mailroom.", "encrypted:mailroom.%i."),
    ("/run/mailroom/", "/run/mailroom/%i/"),
    ("DynamicUser=yes", "DynamicUser=yes\nUser=mailroom-%i"),
)

# An instance has one.
OF_MANY_ACCOUNTS = re.compile("account-secrets|^LimitNOFILE=")


@pytest.mark.parametrize("unit", ["mailroom.service", "mailroom.socket", "mailroom-control.socket"])
def test_an_instance_is_the_service_but_for_what_is_its_own(unit: str) -> None:
    common = [line for line in directives(unit) if not OF_MANY_ACCOUNTS.search(line)]
    expected = "\n".join(common)
    for plain, own in OF_AN_INSTANCE:
        expected = expected.replace(plain, own)
    assert directives(unit.replace(".", "@.")) == expected.split("\n")


# What a shard has of its own: it makes its sockets, and gives them to their groups.
OF_A_SHARD = {
    "Description=Mailroom mail screener, shard %I",
    "ExecStart=/usr/bin/mailroom run --shard %I",
    "User=mailroom_shard-%i",
    "SupplementaryGroups=mailroom-status mailroom-control",
    "RuntimeDirectory=mailroom-shard/%i",
    "SystemCallFilter=@chown",
    "RestartPreventExitStatus=2 77 78 243",
}
NOT_OF_A_SHARD = re.compile(
    r"Description=|ConditionPathExists=|Requires=|Wants=|After=mailroom|ExecStart=|ExecStopPost="
    r"|PrivateUsers=yes|RestartPrevent|Also="
)


def test_a_shard_is_the_service_but_for_what_is_its_own() -> None:
    common = [line for line in directives("mailroom.service") if not NOT_OF_A_SHARD.match(line)]
    found = directives("mailroom-shard@.service")
    assert [line for line in found if line not in OF_A_SHARD] == common
    assert set(found) >= OF_A_SHARD


def test_the_control_socket_is_the_status_socket_but_for_its_name_and_group() -> None:
    expected = "\n".join(directives("mailroom.socket")).replace("status", "control")
    own = ["PartOf=mailroom.socket", "Service=mailroom.service"]
    assert [
        line for line in directives("mailroom-control.socket") if line not in own
    ] == expected.split("\n")


def test_the_user_unit_says_nothing_that_the_service_does_not() -> None:
    of_a_user = {
        "ConditionPathExists=%E/mailroom/mailroom.yaml",
        "ExecStart=/usr/bin/mailroom run --config %E/mailroom/mailroom.yaml",
        "Environment=CREDENTIALS_DIRECTORY=%E/mailroom",
        "WantedBy=default.target",
    }
    assert set(directives("user/mailroom.service")) - set(directives("mailroom.service")) == (
        of_a_user
    )


@pytest.mark.parametrize(
    "unit",
    ["mailroom.service", "mailroom@.service", "mailroom-shard@.service", "user/mailroom.service"],
)
def test_what_the_units_say_is_understood_without_argparse(unit: str) -> None:
    [said] = [line for line in directives(unit) if line.startswith("ExecStart=")]
    arguments = said.split()[1:]
    code = (
        "import sys; from mailroom.cli import _parse\n"
        f"options = _parse({arguments})\n"
        "print('argparse' in sys.modules)\n"
        "from mailroom.arguments import parse\n"
        f"print(vars(options) == vars(parse({arguments})))\n"
    )
    child = [sys.executable, "-c", code]
    told = subprocess.run(child, capture_output=True, text=True, check=True, cwd=PROJECT).stdout
    assert told == "False\nTrue\n"


def test_the_user_unit_has_all_sandboxing_that_takes_no_root() -> None:
    without_root = re.compile(
        r"UMask|LimitCORE|NoNewPriv|RestrictSUID|RestrictNamesp|RestrictReal|LockPers|RestrictAddr"
        r"|MemoryDeny|SystemCall"
    )
    walls = [line for line in directives("mailroom.service") if without_root.match(line)]
    assert [line for line in directives("user/mailroom.service") if line in walls] == walls


@pytest.mark.parametrize("unit", ["mailroom.socket", "mailroom-control.socket"])
def test_the_group_of_a_socket_is_made_and_is_not_named_like_a_service(unit: str) -> None:
    [group] = re.findall(r"^SocketGroup=(.*)$", "\n".join(directives(unit)), re.M)
    sysusers = (PACKAGING / "sysusers.d/mailroom.conf").read_text()
    assert f"\ng {group} -" in sysusers
    assert group != "mailroom"  # systemd refuses DynamicUser= where there is a group of its name


def test_every_folder_of_the_program_is_installed() -> None:
    setuptools = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = (path.parent for path in (PROJECT / "mailroom").rglob("*.py"))
    packages = {".".join(folder.relative_to(PROJECT).parts) for folder in folders}
    assert set(setuptools["packages"]) == packages


def test_only_the_service_is_installed() -> None:
    """Neither the sandbox nor the demo, which are for whoever has the source."""
    names = {path.stem for path in (PROJECT / "mailroom").rglob("*")}
    assert names.isdisjoint({"sandbox", "demo", "tests"})


PAGES = ("README.md", "docs/*.md", "packaging/man/*", "packaging/mailroom.yaml")


def test_no_page_shows_a_secret_or_leaves_it_in_the_history() -> None:
    """The shell keeps what is assigned, and a terminal shows what is typed to a program."""
    texts = [path.read_text() for pattern in PAGES for path in PROJECT.glob(pattern)]
    commands = [line for text in texts for line in _joined(text).splitlines()]
    assert not [line for line in commands if re.search(r"MAILROOM_\w+(TOKEN|PASSWORD)=", line)]
    fed = [line for line in commands if "/dev/stdin" in line or "systemd-creds encrypt" in line]
    assert not [line for line in fed if "| " not in line]
    stored = [line for line in commands if re.search(r"\| (sudo )?mailroom login", line)]
    assert stored
    assert not [line for line in stored if re.search(r"\b(echo|printf)\b", line)]


def _joined(text: str) -> str:
    """Commands that go on in the next line, in one."""
    return re.sub(r"(\|) *\n +|(?:\\e|\\)\n +", r"\1 ", text)
