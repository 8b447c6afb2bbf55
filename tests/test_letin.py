"""Letting in who is known: what waited before the door was used."""

import gc
import json
from pathlib import Path
from typing import Any

import pytest

from mailroom.engine.journal import Log
from mailroom.rules.triage.drags import PLACED, WAITING
from mailroom.work.screening.door import Door
from mailroom.work.setup.letin import LetIn, WaitingCount
from mailroom.work.setup.setup import Setup
from tests.command import Shell, Site, killed_anywhere
from tests.sandbox import CYRUS_3_10, CYRUS_3_13, SMALL_LIMITS, Fault, Profile, serve

ANN = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:ann\r\nFN:Ann\r\nEMAIL:ann@example.org\r\nEND:VCARD\r\n"


def waiting(profile: Profile = CYRUS_3_10, configuration: dict[str, object] | None = None) -> Site:
    """An account that was set up, where everybody's mail waits."""
    site = Site(profile, configuration)
    context = site.context()
    context.run(Setup(context.loop, context.config, context.clients).apply(lambda _: None))
    site.sandbox.put_card(ANN)
    site.sandbox.send("Bob <bob@example.org>")
    for number in range(3):
        site.sandbox.deliver("Ann <Ann@example.org>", f"ann {number}", keywords=["$seen"])
    site.sandbox.deliver("Bob <bob@example.org>", "bob", keywords=[WAITING])
    site.sandbox.deliver("Eve <eve@example.org>", "eve")
    site.sandbox.deliver("Ann <ann@example.org>", "placed", keywords=[PLACED, WAITING])
    site.sandbox.deliver("Ann <ann@example.org>", "labelled", ["Screener", "@ToFeed"])
    site.sandbox.deliver("Ann <ann@example.org>", "archived", "Archive")
    return site


def let_in(site: Site, *, apply: bool = True) -> WaitingCount:
    context = site.context()
    door = Door(
        context.loop,
        context.config,
        context.clients.mail,
        context.clients.contacts,
        Log(lambda *_: True),
    )
    return context.run(
        LetIn(context.loop, context.config, context.clients, door).known(apply=apply)
    )


def subjects(site: Site, mailbox: str) -> set[str]:
    return {site.sandbox.mail(each).subject for each in site.sandbox.mails_in(mailbox)}


PROFILES = pytest.mark.parametrize(
    "profile", [CYRUS_3_10, CYRUS_3_13, SMALL_LIMITS], ids=lambda profile: profile.name
)


@PROFILES
def test_known_people_are_counted_and_nothing_is_moved(profile: Profile) -> None:
    site = waiting(profile)
    assert let_in(site, apply=False) == WaitingCount(mails=4, senders=2)
    assert subjects(site, "Inbox") == set()


@PROFILES
def test_known_people_are_let_in_and_nobody_else_is(profile: Profile) -> None:
    site = waiting(profile)
    assert let_in(site) == WaitingCount(mails=4, senders=2)
    assert subjects(site, "Inbox") == {"ann 0", "ann 1", "ann 2", "bob"}
    assert subjects(site, "Screener") == {"eve", "placed", "labelled"}
    assert subjects(site, "Archive") == {"archived"}
    [bob] = (each for each in site.sandbox.mails_in("Inbox")
             if site.sandbox.mail(each).subject == "bob")  # fmt: skip
    assert site.sandbox.keywords_of(bob) == set()
    assert let_in(site) == WaitingCount()


def test_who_is_to_wait_all_the_same_is_not_let_in() -> None:
    site = waiting(configuration={"screening": {"known": ["written"]}})
    assert let_in(site) == WaitingCount(mails=1, senders=1)
    assert subjects(site, "Inbox") == {"bob"}


def test_more_than_one_portion_is_let_in() -> None:
    site = waiting()
    for number in range(600):
        site.sandbox.deliver("Ann <ann@example.org>", f"more {number}")
    assert let_in(site) == WaitingCount(mails=604, senders=2)


def test_what_the_server_refuses_is_counted() -> None:
    site = waiting()
    site.sandbox.faults.add(Fault(call="Email/set", rewrite=_refuse))
    assert let_in(site) == WaitingCount(mails=4, senders=2, refused=4)


def _refuse(response: Any) -> Any:
    data = json.loads(response.body)
    for name, answer, _ in data["methodResponses"]:
        if name == "Email/set":
            answer["notUpdated"] = {key: {"type": "forbidden"} for key in answer["updated"]}
            answer["updated"] = {}
    return response.__class__(response.status, response.headers, json.dumps(data).encode())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_killed_anywhere_and_run_again_it_ends_in_the_same_state() -> None:
    for site, when in killed_anywhere(waiting, let_in):
        assert subjects(site, "Inbox") == {"ann 0", "ann 1", "ann 2", "bob"}, when
        assert subjects(site, "Screener") == {"eve", "placed", "labelled"}, when
        gc.collect()


@pytest.mark.sandbox
def test_the_command_tells_who_waits_and_lets_them_in_only_when_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MAILROOM_JMAP_PASSWORD", "secret")
    monkeypatch.setenv("MAILROOM_CARDDAV_PASSWORD", "secret")
    site = waiting()
    told = "4 mails of 2 senders whom you know wait in Screener: mailroom setup --apply --let-known"
    with serve(site.sandbox) as running:
        shell = Shell(site, running.url, tmp_path)
        for words in (["setup"], ["setup", "--apply"], ["setup", "--let-known-in"]):
            assert shell.run(*words) == 0
            assert told in capsys.readouterr().out
        assert subjects(site, "Inbox") == set()
        assert shell.run("setup", "--apply", "--let-known-in") == 0
        assert "4 mails of 2 senders whom you know: let in\n" in capsys.readouterr().out
        assert len(subjects(site, "Inbox")) == 4
        assert shell.run("setup") == 0
        assert "whom you know" not in capsys.readouterr().out


@pytest.mark.sandbox
@pytest.mark.parametrize("words", [[], ["--rules"]])
def test_mail_that_could_not_be_let_in_ends_the_command_with_1(
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MAILROOM_JMAP_PASSWORD", "secret")
    monkeypatch.setenv("MAILROOM_CARDDAV_PASSWORD", "secret")
    site = waiting()
    site.sandbox.faults.add(Fault(call="Email/set", rewrite=_refuse))
    with serve(site.sandbox) as running:
        shell = Shell(site, running.url, tmp_path)
        assert shell.run("setup", "--apply", "--let-known-in", *words) == 1
        assert "of 2 senders whom you know: let in, 4 not\n" in capsys.readouterr().out
