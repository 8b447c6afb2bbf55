"""What was done: as the journal tells it to who may read it, else as the notes do."""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mailroom.engine.journalctl import Journal
from mailroom.rules.triage.subject import Earlier, SubjectKind
from mailroom.terminal.deciding import take_back
from mailroom.terminal.past import Past, show_log
from mailroom.terminal.remote import Remote, Whom
from tests.schemas import validate
from tests.scripted import Scripted
from tests.users import somebody_else

BOB = Whom(SubjectKind.ADDRESS, "bob@x.example")
SECOND = 1_000_000
NOON = 1_763_726_400  # 2025-11-21T12:00:00Z

JOURNALCTL = """\
#!{python}
import json, sys
from pathlib import Path
here = Path(__file__).parent
(here / "asked").write_text(json.dumps(sys.argv[1:]))
entries = json.loads((here / "entries").read_text())
for entry in reversed(entries) if "--reverse" in sys.argv else entries:
    print(json.dumps(entry))
"""


def entry(event: str, seconds: int = 0, **fields: Any) -> dict[str, str]:
    told = {f"MAILROOM_{name.upper()}": value for name, value in fields.items()}
    return {
        "__REALTIME_TIMESTAMP": str((NOON + seconds) * SECOND),
        "MAILROOM_EVENT": event,
        **told,
    }


def triaged(category: str, previous: str | None = None) -> dict[str, str]:
    told: dict[str, Any] = {
        "sender": BOB.name,
        "category": category,
        "filed": "3",
        "trigger": "push",
    }
    if previous:
        return entry("sender_retriaged", previous=previous, **told)
    return entry("sender_triaged", **told)


def unscreened(previous: str | None = None) -> dict[str, str]:
    before: dict[str, Any] = {"previous": previous} if previous else {}
    return entry("sender_unscreened", sender=BOB.name, **before)


class Host:
    """A host with a journal, and a service whose answers are written down."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        program = folder / "journalctl"
        program.write_text(JOURNALCTL.format(python=sys.executable))
        program.chmod(0o755)
        (folder / "log/id").mkdir(parents=True)
        self.file = folder / "log/id/system.journal"
        self.file.touch()
        self.bob: dict[str, Any] = {
            "address": BOB.name,
            "addresses": [BOB.name, "bob@y.example"],
            "name": "Bob",
            "category": "Feed",
            "history": [],
            "waiting": 0,
            "next": None,
        }
        self.answers: dict[str, Any] = {
            "GET /sender": lambda *_: (200, self.bob),
            "GET /senders": (
                200,
                {
                    "senders": [],
                    "domains": [{"domain": "shop.example", "category": "Jail", "since": None}],
                    "lists": [],
                },
            ),
        }  # fmt: skip
        self.service = Scripted(folder / "control.sock", self.answers)
        self.past = Past(
            Remote(folder / "status.sock", folder / "control.sock"),
            Journal("mailroom", is_system=True, folders=[folder / "log"]),
        )

    def logged(self, *entries: dict[str, str]) -> None:
        (self.folder / "entries").write_text(json.dumps(entries))

    @property
    def asked(self) -> list[str]:
        told: list[str] = json.loads((self.folder / "asked").read_text())
        return told


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    ready = Host(tmp_path)
    with ready.service:
        yield ready


# log


def test_a_line_for_each_thing_that_was_done(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    host.logged(
        triaged("Feed"),
        entry("sender_retriaged", 1, sender="eve@x.example", category="Jail", previous="Feed",
              filed="1", by="anna", trigger="command"),
        entry("sender_unscreened", 2, sender="eve@x.example", previous="Jail", filed="0",
              by="anna", trigger="command"),
        entry("domain_triaged", 3, domain="shop.example", category="Screener", filed="2",
              trigger="push"),
        entry("list_triaged", 4, list="news.x.example", category="Feed", filed="2", trigger="push"),
        entry("conflict_detected", 5, sender="c@x.example", categories="Feed, Jail"),
        entry("sender_failed", 6, sender="d@x.example", error="no", attempts="3"),
        entry("decision_refused", 7, sender="(nobody)", reason="no list"),
    )  # fmt: skip
    assert show_log(host.past, None, None, as_json=False) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert [line.partition("\t")[2] for line in shown.out.splitlines()] == [
        "bob@x.example\t→ Feed\t3 mails\t\tpush",
        "eve@x.example\t→ Jail (was Feed)\t1 mail\tanna\tcommand",
        "eve@x.example\t→ Screener (was Jail)\t0 mails\tanna\tcommand",
        "@shop.example\t→ Screener\t2 mails\t\tpush",
        "<news.x.example>\t→ Feed\t2 mails\t\tpush",
        "c@x.example\tconflict: Feed, Jail\t\t\t",
        "d@x.example\tfailed: no\t\t\t",
        "(nobody)\trefused: no list\t\t\t",
    ]
    assert shown.out.startswith("2025-11-21T12:00:00.000Z\t")


def test_of_many_accounts_the_log_says_whose_it_is(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    host.logged(entry("sender_triaged", sender="a@x.org", category="Feed", account="anna"))
    assert show_log(host.past, None, None, as_json=False) == 0
    assert capsys.readouterr().out.split("\t")[1:4] == ["anna", "a@x.org", "→ Feed"]
    assert not [each for each in host.asked if "MAILROOM_ACCOUNT" in each]
    assert show_log(host.past, None, None, as_json=True) == 0
    document = json.loads(capsys.readouterr().out)
    validate("log", document)
    assert document["entries"][0]["account"] == "anna"


def test_of_one_account_its_own_entries_are_looked_for(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    host.logged(entry("sender_triaged", sender="a@x.org", category="Feed", account="anna"))
    past = replace(host.past, account="anna")
    assert show_log(past, None, None, as_json=False) == 0
    assert "MAILROOM_ACCOUNT=anna" in host.asked
    assert capsys.readouterr().out.split("\t")[1:3] == ["a@x.org", "→ Feed"]


def test_the_log_for_programs(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.logged(triaged("Jail", "Feed"))
    assert show_log(host.past, BOB, 1000.5, as_json=True) == 0
    document = json.loads(capsys.readouterr().out)
    validate("log", document)
    assert document == {
        "source": "journal",
        "entries": [
            {"at": "2025-11-21T12:00:00.000Z", "event": "sender_retriaged",
             "address": "bob@x.example", "category": "Jail", "previous": "Feed", "filed": 3,
             "by": None, "trigger": "push", "reason": None}
        ],
    }  # fmt: skip


def test_of_one_sender_all_addresses_are_looked_for_in_the_unit_s_own_entries(host: Host) -> None:
    host.logged()
    list(host.past.events([BOB], 1000.0))
    assert {"--unit=mailroom.service", "--since=@1000", "--output=json"} <= set(host.asked)
    assert "MAILROOM_SENDER=bob@x.example" in host.asked
    show_log(host.past, BOB, None, as_json=False)
    assert "MAILROOM_SENDER=bob@y.example" in host.asked
    assert not any(word.startswith("--since") for word in host.asked)
    journal = Journal("mailroom", is_system=False, folders=[host.folder / "log"])
    list(journal.entries([]))
    assert "--user-unit=mailroom.service" in host.asked


def test_the_log_needs_no_service_where_there_is_a_journal(
    tmp_path: Path, host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    host.logged(triaged("Feed"))
    alone = Past(Remote(tmp_path / "nobody", tmp_path / "nobody"), host.past.journal)
    assert show_log(alone, Whom(SubjectKind.ADDRESS, "Bob@X.example"), None, as_json=False) == 0
    assert "→ Feed" in capsys.readouterr().out
    assert "MAILROOM_SENDER=bob@x.example" in host.asked


@pytest.mark.parametrize("why", ["no journal", "by hand"])
def test_where_no_journal_can_be_read_the_notes_tell_and_it_is_said(
    why: str, host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    host.bob["history"] = [
        {"category": "Jail", "on": "2026-11-20"},
        {"category": "Feed", "on": "2026-11-21"},
    ]
    past, reason = host.past, "there is no journal here"
    if why == "by hand":
        past, reason = Past(past.remote, None), "was not started by a unit"
    else:
        host.file.unlink()
    assert show_log(past, BOB, None, as_json=False) == 0
    shown = capsys.readouterr()
    assert reason in shown.err
    assert "the notes of contacts tell categories and days" in shown.err
    assert shown.out.splitlines() == [
        "2026-11-20\tbob@x.example\t→ Jail\t\t\t",
        "2026-11-21\tbob@x.example\t→ Feed\t\t\t",
    ]
    show_log(past, BOB, NOON + 365 * 86400, as_json=True)
    document = json.loads(capsys.readouterr().out)
    validate("log", document)
    assert document["source"] == "notes"
    assert [each["at"] for each in document["entries"]] == ["2026-11-21"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_who_may_not_read_the_journal_is_told_of_the_group(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    host.file.chmod(0o600)
    (host.folder / "control.sock").chmod(0o666)
    with somebody_else(host.folder):
        assert show_log(host.past, BOB, None, as_json=True) == 0
    shown = capsys.readouterr()
    assert "the journal is not yours to read: ask as root, or join the group adm " in shown.err
    assert json.loads(shown.out) == {"source": "notes", "entries": []}


def test_a_journal_that_cannot_be_read_after_all_is_told(host: Host) -> None:
    (host.folder / "journalctl").write_text("#!/bin/sh\necho 'Failed to open' >&2\nexit 1\n")
    with pytest.raises(Exception, match="journalctl: Failed to open"):
        list(host.past.events([], None))


# undo


@pytest.mark.parametrize(
    ("entries", "current", "before"),
    [
        ([triaged("Feed", "Jail")], "Feed", Earlier("Jail")),
        ([triaged("Feed", "Jail"), triaged("Feed")], "Feed", Earlier("Jail")),
        ([triaged("Feed"), triaged("Jail", "Feed")], "Jail", Earlier("Feed")),
        # and once more it is back again
        ([triaged("Jail", "Feed"), triaged("Feed", "Jail")], "Feed", Earlier("Jail")),
        ([triaged("Feed", "Jail"), unscreened(), triaged("Feed")], "Feed", Earlier(None)),
        ([unscreened("Jail")], None, Earlier("Jail")),
        # nobody knows
        ([], "Feed", None),
        ([unscreened()], None, None),
        # it may have been a contact of the user's own, who never waited
        ([triaged("Feed")], "Feed", None),
        ([triaged("Jail"), triaged("Feed")], "Feed", None),
        # somebody has changed the groups by hand since then
        ([triaged("Feed", "Jail")], "Imbox", None),
        ([triaged("Feed", "Jail")], None, None),
    ],
)
def test_where_somebody_was_before(
    entries: list[dict[str, str]], current: str | None, before: Earlier | None, host: Host
) -> None:
    host.logged(*entries)
    host.bob["category"] = current
    assert host.past.before(BOB) == before


def test_where_a_whole_domain_was_before(host: Host) -> None:
    told: dict[str, Any] = {"domain": "shop.example", "category": "Jail"}
    shop = Whom(SubjectKind.DOMAIN, "Shop.example")
    host.logged(entry("domain_triaged", previous="Feed", **told))
    assert host.past.before(shop) == Earlier("Feed")
    assert "MAILROOM_DOMAIN=shop.example" in host.asked
    host.logged(entry("domain_triaged", **told))
    assert host.past.before(shop) == Earlier(None)


def test_undo_asks_the_journal_where_the_service_does_not_know(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    unknown = {"error": "nothing tells where bob was", "is_unknown": True}
    host.answers["POST /undo"] = 404, unknown
    host.answers["POST /triage"] = lambda _target, document: (
        200, {**document, "previous": "Feed", "filed": 1, "by": "a"}
    )  # fmt: skip
    host.logged(triaged("Feed", "Jail"))
    assert take_back(host.past.remote, [BOB], host.past, as_json=False) == 0
    assert capsys.readouterr().out == "bob@x.example → Jail (was Feed), 1 mail\n"
    asked = [document for request, document in host.service.asked if request == "POST /triage"]
    assert asked == [{"address": "bob@x.example", "category": "Jail"}]


def test_where_nobody_knows_undo_refuses_and_says_what_to_type(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    told = "nothing tells where bob@x.example was before: choose with mailroom triage"
    host.answers["POST /undo"] = 404, {"error": told, "is_unknown": True}
    host.logged()
    assert take_back(host.past.remote, [BOB], host.past, as_json=False) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == f"mailroom: bob@x.example: {told}\n"
    assert not any(request == "POST /triage" for request, _ in host.service.asked)


def test_an_undo_that_is_refused_for_another_reason_is_told(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    host.answers["POST /undo"] = 409, {"error": "bob@x.example is labelled for Jail"}
    assert take_back(host.past.remote, [BOB], host.past, as_json=False) == 1
    assert "is labelled for Jail" in capsys.readouterr().err
