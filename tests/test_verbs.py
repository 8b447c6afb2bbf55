"""The commands of a person, as they are typed: what is asked of the service, and what is shown."""

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailroom.cli import main
from tests.process import environment
from tests.schemas import validate
from tests.scripted import HangUp, Scripted

CATEGORIES = {
    "categories": [
        {"name": "Imbox", "label": "@ToImbox", "parent": None},
        {"name": "Feed", "label": "@ToFeed", "parent": None},
        {"name": "Paper Trail", "label": "@ToPaperTrail", "parent": None},
        {"name": "Truck", "label": "@ToTruck", "parent": "Paper Trail"},
    ],
    "screener": "Screener",
}
BOB = {
    "address": "bob@x.example",
    "name": "Bob \x1b[31m the Tool",
    "mails": 3,
    "newest": {"id": "M1", "subject": "Sa\tle\n!", "received_at": "2026-11-21T09:00:00.000Z"},
    "since": "2026-11-20T09:00:00.000Z",
}
NOBODY = {
    "address": "",
    "name": "",
    "mails": 1,
    "newest": {"id": "M2", "subject": "", "received_at": "2026-11-19T09:00:00.000Z"},
    "since": "2026-11-19T09:00:00.000Z",
}
WAITING = {
    "senders": 1,
    "mails": 4,
    "oldest": "2026-11-19T09:00:00.000Z",
    "waiting": [BOB, NOBODY],
}
SENDERS = {
    "senders": [
        {"address": "bob@x.example", "addresses": ["bob@x.example", "bob@y.example"],
         "name": "Bob", "category": "Feed", "since": "2026-11-21", "is_ours": True},
        {"address": "carol@x.example", "addresses": ["carol@x.example"],
         "name": "Carol", "category": "Truck", "since": None, "is_ours": False},
    ],
    "domains": [{"domain": "shop.example", "category": "Truck", "since": "2026-11-22"}],
    "lists": [{"list": "news.x.example", "category": "Feed", "since": None}],
}  # fmt: skip


def done(_target: str, document: Any) -> tuple[int, Any]:
    return 200, {"category": None, **document, "previous": "Imbox", "filed": 2, "by": "anna"}


class Shell:
    """A person's shell, with a service whose answers are written down."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.answers: dict[str, Any] = {
            "GET /categories": (200, CATEGORIES),
            "GET /waiting": (200, WAITING),
            "GET /senders": (200, SENDERS),
            "POST /triage": done,
            "POST /undo": done,
        }
        self._capsys = capsys
        self._service = Scripted(folder / "control.sock", self.answers)

    @property
    def asked(self) -> list[tuple[str, Any]]:
        """But for the categories, which every decision asks for."""
        return [each for each in self._service.asked if each[0] != "GET /categories"]

    def says(self, *words: str, code: int = 0) -> str:
        """What the command prints, on stdout; nothing is on stderr."""
        out, err = self.types(*words, code=code)
        assert err == ""
        return out

    def complains(self, *words: str, code: int = 1) -> str:
        """What it prints on stderr; nothing is on stdout."""
        out, err = self.types(*words, code=code)
        assert out == ""
        return err

    def types(self, *words: str, code: int = 0) -> tuple[str, str]:
        given = main([*words, "--socket", str(self.folder / "status.sock")])
        shown = self._capsys.readouterr()
        assert given == code, shown
        assert (shown.out + shown.err).replace("\n", "").replace("\t", "").isprintable()
        return shown.out, shown.err

    def __enter__(self) -> "Shell":
        self._service.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._service.__exit__(None, None, None)


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Shell]:
    with Shell(tmp_path, capsys) as ready:
        yield ready


# Who waits


def test_a_line_for_each_who_waits(shell: Shell) -> None:
    assert shell.says("waiting").splitlines() == [
        "bob@x.example\t3\t2026-11-20T09:00:00.000Z\tBob �[31m the Tool\tSa le !",
        "(nobody)\t1\t2026-11-19T09:00:00.000Z\t\t",
    ]


def test_a_bare_number_of_those_who_wait(shell: Shell) -> None:
    assert shell.says("waiting", "--count") == "1\n"
    assert shell.asked == [("GET /waiting?limit=1", None)]


def test_who_waits_for_programs(shell: Shell) -> None:
    assert json.loads(shell.says("waiting", "--json")) == WAITING
    validate("waiting", WAITING)


def test_who_reads_only_the_first_lines_is_not_complained_to(shell: Shell, tmp_path: Path) -> None:
    many = [{**BOB, "address": f"{n}@x.example"} for n in range(20000)]
    shell.answers["GET /waiting"] = 200, {**WAITING, "waiting": many}
    command = f"{sys.executable} -m mailroom waiting --socket {tmp_path}/status.sock | head -n1"
    shown = subprocess.run(
        ["sh", "-c", command],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stderr == ""
    assert shown.stdout.startswith("0@x.example\t3\t")
    assert shown.stdout.count("\n") == 1


# Decisions


def test_one_sender_is_triaged_and_told(shell: Shell) -> None:
    assert shell.says("triage", "bob@x.example", "feed") == (
        "bob@x.example → Feed (was Imbox), 2 mails\n"
    )
    assert shell.asked == [("POST /triage", {"address": "bob@x.example", "category": "Feed"})]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("Feed", "Feed"),
        ("FEED", "Feed"),
        ("papertrail", "Paper Trail"),
        ("Paper Trail", "Paper Trail"),
        ("screener", None),
        ("Screener", None),
    ],
)
def test_a_category_is_typed_in_any_case_and_without_spaces(
    typed: str, meant: str | None, shell: Shell
) -> None:
    shown = shell.says("triage", "bob@x.example", typed)
    assert shown.startswith(f"bob@x.example → {meant or 'Screener'} (was ")
    assert shell.asked == [("POST /triage", {"address": "bob@x.example", "category": meant})]


def test_an_unknown_category_names_those_there_are_and_decides_nothing(shell: Shell) -> None:
    assert shell.complains("triage", "bob@x.example", "fed", code=2) == (
        "mailroom: there is no category 'fed': there are Imbox, Feed, Paper Trail, Truck, and "
        "screener to take a decision back; did you mean Feed?\n"
    )
    assert shell.asked == []


@pytest.mark.parametrize(
    ("words", "whom"),
    [
        (["Bob <bob@x.example>"], [{"address": "bob@x.example"}]),
        (["a@x.example", "b@x.example", "a@x.example"],
         [{"address": "a@x.example"}, {"address": "b@x.example"}]),
        (["@shop.example"], [{"domain": "shop.example"}]),
        (["--domain", "shop.example"], [{"domain": "shop.example"}]),
        (["<news.x.example>"], [{"list": "news.x.example"}]),
        (["--list", "news.x.example"], [{"list": "news.x.example"}]),
    ],
)  # fmt: skip
def test_whom_a_decision_is_about(words: list[str], whom: list[Any], shell: Shell) -> None:
    shell.says("triage", *words, "Feed")
    asked = [{**each, "category": "Feed"} for each in whom]
    assert sorted(json.dumps(document) for _, document in shell.asked) == (
        sorted(map(json.dumps, asked))
    )


@pytest.mark.parametrize("command", [["triage", "-", "feed"], ["undo", "-"]])
def test_the_lines_of_stdin_may_be_those_of_a_list(
    command: list[str], shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = "bob@x.example\t3\tBob\n\n  carol@x.example \n@shop.example\tTruck\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
    assert len(shell.says(*command).splitlines()) == 3
    whom = [{k: v for k, v in document.items() if k != "category"} for _, document in shell.asked]
    assert sorted(map(json.dumps, whom)) == [
        '{"address": "bob@x.example"}',
        '{"address": "carol@x.example"}',
        '{"domain": "shop.example"}',
    ]


def test_what_is_refused_is_told_beside_what_is_done(shell: Shell) -> None:
    def some(target: str, document: Any) -> tuple[int, Any]:
        if document["address"] == "bob@x.example":
            return 409, {"error": "bob@x.example is labelled for Jail", "categories": ["Jail"]}
        return done(target, document)

    shell.answers["POST /triage"] = some
    two = "bob@x.example", "carol@x.example"
    out, err = shell.types("triage", *two, "feed", code=1)
    assert out == "carol@x.example → Feed (was Imbox), 2 mails\n"
    assert err == "mailroom: bob@x.example: bob@x.example is labelled for Jail\n"
    document = json.loads(shell.says("triage", *two, "feed", "--json", code=1))
    validate("decisions", document)
    assert sorted(document["decisions"], key=lambda each: each["address"])[0] == {
        "address": "bob@x.example",
        "error": "bob@x.example is labelled for Jail",
        "categories": ["Jail"],
        "status": 409,
    }


def test_a_service_that_ends_in_the_middle_is_told(shell: Shell) -> None:
    def hang_up(_target: str, _document: Any) -> tuple[int, Any]:
        raise HangUp

    shell.answers["POST /triage"] = hang_up
    assert "ended without an answer" in shell.complains("triage", "bob@x.example", "feed")


@pytest.mark.parametrize(
    "words",
    [
        ["triage"],
        ["triage", "bob@x.example"],
        ["triage", "--dry-run", "bob@x.example", "feed"],
        ["triage", "--domain", "--list", "x.example", "feed"],
        ["undo"],
        ["waiting", "--count", "--json"],
        ["log", "--since", "lately"],
        ["import"],
    ],
)
def test_wrong_use_ends_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "usage: mailroom" in capsys.readouterr().err


def test_without_a_service_it_is_said_how_to_start_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["waiting"], ["triage", "bob@x.example", "feed"], ["undo", "bob@x.example"]):
        assert main([*words, "--socket", str(tmp_path / "status.sock")]) == 1
        shown = capsys.readouterr()
        assert shown.out == ""
        assert "control.sock: is the service running" in shown.err
        assert shown.err.count("\n") == 1


# Back again


def test_undo_goes_back_to_what_the_service_knows(shell: Shell) -> None:
    shell.answers["POST /undo"] = (
        200,
        {"address": "bob@x.example", "category": None, "previous": "Feed", "filed": 0, "by": "a"},
    )
    assert shell.says("undo", "bob@x.example") == "bob@x.example → Screener (was Feed)\n"
    assert shell.asked == [("POST /undo", {"address": "bob@x.example"})]


# Who is where


def test_who_is_where(shell: Shell) -> None:
    assert shell.says("senders").splitlines() == [
        "bob@x.example\tFeed\t2026-11-21\tBob (and 1 more)",
        "carol@x.example\tTruck\t\tCarol",
        "@shop.example\tTruck\t2026-11-22\tthe whole domain",
        "<news.x.example>\tFeed\t\tthe mailing list",
    ]
    assert shell.says("senders", "--count") == "4\n"
    assert json.loads(shell.says("senders", "papertrail", "--json")) == SENDERS
    assert shell.asked[-1] == ("GET /senders?category=Paper+Trail", None)


def test_what_there_is_to_choose(shell: Shell) -> None:
    assert shell.says("categories").splitlines()[2:] == [
        "Paper Trail\t@ToPaperTrail\t",
        "Truck\t@ToTruck\tPaper Trail",
    ]
    assert json.loads(shell.says("categories", "--json")) == CATEGORIES


def test_what_happened_to_bob_and_where_his_next_mail_goes(shell: Shell) -> None:
    bob = {
        "address": "bob@x.example",
        "addresses": ["bob@x.example", "bob@y.example"],
        "name": "Bob",
        "category": "Feed",
        "history": [{"category": "Imbox", "on": "2026-11-20"},
                    {"category": "Feed", "on": "2026-11-21"}],
        "waiting": 0,
        "next": {"outcome": "category", "category": "Feed", "mailbox": "Feed"},
    }  # fmt: skip
    shell.answers["GET /sender"] = 200, bob
    assert shell.says("sender", "bob@x.example").splitlines() == [
        "sender    bob@x.example  Bob",
        "also      bob@y.example",
        "category  Feed",
        "          2026-11-21 Feed",
        "          2026-11-20 Imbox",
        "waiting   nothing",
        "next mail to Feed: was decided about",
    ]
    assert json.loads(shell.says("sender", "bob@x.example", "--json")) == bob
    assert shell.asked[0] == ("GET /sender?address=bob%40x.example", None)
    shell.answers["GET /sender"] = 400, {"error": "'bob' is no address"}
    assert shell.complains("sender", "bob") == "mailroom: 'bob' is no address\n"


# What will happen next


def test_the_service_is_asked_what_the_next_poll_would_do(shell: Shell) -> None:
    row = {"mail": "M1", "sender": "bob@x.example", "labels": ["@ToFeed"],
           "action": "file 3 mails", "reason": "@ToFeed"}  # fmt: skip
    plan = {"rows": [row], "moved_at_once": 0}
    shell.answers["GET /plan"] = 200, plan
    assert "bob@x.example   @ToFeed   file 3 mails" in shell.says("triage", "--dry-run")
    assert json.loads(shell.says("triage", "--dry-run", "--json")) == plan
    shell.answers["GET /plan"] = 200, {"rows": [], "moved_at_once": 60}
    assert shell.says("triage", "--dry-run").startswith("60 senders were moved at once")


# Out and in again


def test_every_decision_is_a_line_of_json(shell: Shell) -> None:
    lines = [json.loads(line) for line in shell.says("export").splitlines()]
    for line in lines:
        validate("export", line)
    assert lines == [
        {"address": "bob@x.example", "category": "Feed", "since": "2026-11-21"},
        {"address": "bob@y.example", "category": "Feed", "since": "2026-11-21"},
        {"address": "carol@x.example", "category": "Truck", "since": None},
        {"domain": "shop.example", "category": "Truck", "since": "2026-11-22"},
        {"list": "news.x.example", "category": "Feed", "since": None},
    ]


def test_what_is_exported_is_so_already(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "decisions").write_text(shell.says("export"))
    shown = shell.says("import", str(tmp_path / "decisions"), "--apply")
    assert shown == "5 already so\n"
    assert {request for request, _ in shell.asked} == {"GET /senders"}


FILE = """\
Name;E-Mail;Category
Bob;bob@x.example;feed
Dave;DAVE@x.example;Feed
Carol;carol@x.example;feed
Erin;erin@x.example;nonsense
Shop;@new.example;truck
"""


def test_an_import_tells_first_what_it_would_do(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "file.csv").write_text(FILE)
    out, err = shell.types("import", str(tmp_path / "file.csv"), code=1)
    assert out.splitlines() == [
        "DAVE@x.example → Feed",
        "carol@x.example → Feed (now Truck)",
        "new.example → Truck",
        "3 to make, 1 already so, 1 not understood; --apply makes them",
    ]
    assert err == "mailroom: line 5: erin@x.example: there is no category 'nonsense'\n"
    assert {request for request, _ in shell.asked} == {"GET /senders"}


def test_an_import_makes_what_is_not_so_and_tells_what_it_could_not(
    shell: Shell, tmp_path: Path
) -> None:
    tries = iter([503])

    def some(target: str, document: Any) -> tuple[int, Any]:
        if document.get("address") == "carol@x.example":
            return 409, {"error": "carol is labelled", "categories": ["Jail"]}
        if document.get("domain") and (code := next(tries, None)):
            return code, {"error": "stopping; repeat"}
        return done(target, document)

    shell.answers["POST /triage"] = some
    (tmp_path / "file.csv").write_text(FILE)
    out, err = shell.types("import", str(tmp_path / "file.csv"), "--apply", code=1)
    assert out == "2 made, 1 failed, 1 already so, 1 not understood\n"
    assert "mailroom: carol@x.example: carol is labelled\n" in err
    shown = shell.says("import", str(tmp_path / "file.csv"), "--apply", "--json", code=1)
    document = json.loads(shown)
    validate("import", document)
    assert [each["outcome"] for each in document["decisions"]] == [
        "already so", "made", "made", "failed"
    ]  # fmt: skip
    assert document["bad_lines"] == [
        {"line": 5, "error": "erin@x.example: there is no category 'nonsense'"}
    ]


def test_a_list_is_brought_in_to_one_category_from_stdin(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("dave@x.example\nerin@x.example\n"))
    assert shell.says("import", "-", "--category", "feed", "--apply") == "2 made\n"


def test_a_file_that_cannot_be_read_is_told(shell: Shell, tmp_path: Path) -> None:
    assert "No such file" in shell.complains("import", str(tmp_path / "nothing"))
    (tmp_path / "latin1").write_bytes(b"z\xf6e@x.example\n")
    assert "it is not UTF-8" in shell.complains("import", str(tmp_path / "latin1"))
    (tmp_path / "text").write_text("hello\n")
    assert "no column of addresses" in shell.complains("import", str(tmp_path / "text"), code=2)
