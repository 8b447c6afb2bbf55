"""What ``mailroom status`` prints, from the documents of real accounts."""

import re
from typing import Any

import pytest

from mailroom.terminal.status import show_status
from tests.sandbox import Fault, Response
from tests.world import World

BOB = "Bob <bob@example.org>"
WITHOUT_UID = (
    "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:B\r\nN:;;;;\r\nEMAIL:bob@example.org\r\nEND:VCARD\r\n"
)


def shown(document: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> tuple[bool, str]:
    """Whether it is healthy; and what is printed, clock faces as T."""
    is_healthy = show_status(document)
    return is_healthy, re.sub(r"([-\d]{10} )?\d\d:\d\d:\d\d", "T", capsys.readouterr().out)


def test_all_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    is_healthy, text = shown(World().start().status, capsys)
    assert is_healthy
    assert [line.partition(" ")[0] for line in text.splitlines()] == [
        "mailroom", "account", "health", "push", "polls", "triaged"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("waiting", "told"),
    [
        ({"senders": 0, "mails": 0, "oldest": None}, "waiting   nobody\n"),
        (
            {"senders": 2, "mails": 5, "oldest": "2026-11-01T12:00:00.000Z"},
            "waiting   2 senders, 5 mails, the oldest since T\n",
        ),
        (
            {"senders": 0, "mails": 1, "oldest": "2026-11-21T09:00:00.000Z"},
            "waiting   1 mail without a usable sender, the oldest since T\n",
        ),
        (
            {"senders": 1, "mails": 1, "oldest": "2026-11-01T12:00:00.000Z"},
            "waiting   1 sender, 1 mail, the oldest since T\n",
        ),
    ],
)
def test_who_waits(waiting: dict[str, Any], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, text = shown({**World().start().status, "waiting": waiting}, capsys)
    assert told in text


def test_what_decided_about_new_mail_most_often_first(capsys: pytest.CaptureFixture[str]) -> None:
    world = World().start()
    world.history.totals.arrivals.update({"contact": 5, "written": 1, "unknown": 5, "[red]": 2})
    _, text = shown(world.status, capsys)
    assert "arrivals  13 new mails: contact 5, unknown 5, [red] 2, written 1\n" in text


def test_a_conflict_and_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    world = World()
    bob, again = world.deliver(BOB, count=2)
    world.start()
    world.tap(bob, "@ToFeed")
    world.tap(again, "@ToJail")
    world.settle()
    is_healthy, text = shown(world.status, capsys)
    assert is_healthy
    assert "conflict  bob@example.org is labelled for Feed and Jail, since T\n" in text
    assert "          take off all labels but one" in text


def test_a_failing_sender_and_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    world = World()
    world.sandbox.put_card(WITHOUT_UID)
    [bob] = world.deliver(BOB)
    world.start()
    world.tap(bob, "@ToFeed")
    world.settle()
    _, text = shown(world.status, capsys)
    assert "failing   bob@example.org: " in text
    assert "          tried 1 time, again at T; the others go on. A new label" in text


def test_missing_mailboxes_and_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    world = World()
    world.sandbox.destroy_mailbox("Screener")
    is_healthy, text = shown(world.start().status, capsys)
    assert not is_healthy
    assert re.search(r"^health +unhealthy: .*mailroom setup.*Screener$", text, re.MULTILINE)


def test_trouble_that_passes_is_shown_before_it_is_unhealthy(
    capsys: pytest.CaptureFixture[str],
) -> None:
    world = World().start()
    world.sandbox.faults.add(Fault(path="/jmap/", answer=Response(500, {})))
    world.account.poll_now()
    world.run_for(0.5)
    is_healthy, text = shown(world.status, capsys)
    assert is_healthy
    assert re.search(r"^trouble +.*500", text, re.MULTILINE)
