"""``status --watch``: every poll and every triage is told once."""

from datetime import datetime
from typing import Any

import pytest

from mailroom.terminal.status import news
from tests.sandbox import Fault
from tests.world import World


def told(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """The news without their clock faces."""
    return [line.partition("  ")[2] for line in news(before, after)]


def test_every_poll_and_every_triage_is_told_once() -> None:
    world = World().start()
    mail = world.sandbox.deliver("Bob <bob@example.org>")
    before, lines = world.status, list[str]()
    world.tap(mail, "@ToFeed")
    for _ in range(500):
        world.loop.turn()
        after = world.status
        lines += told(before, after)
        before = after
    assert lines[:2] == ["bob@example.org → Feed, 1 mail (push)", "poll (push)"]
    assert lines[2:] == ["poll (scheduled)"] * (world.polls - 2) != []


def test_a_poll_that_failed_says_why() -> None:
    world = World().start()
    world.settle()
    before, polls = world.status, world.polls
    world.sandbox.faults.add(Fault(call="Email/query", method_error="serverFail", times=1))
    world.account.poll_now()
    world.run_until(lambda: world.polls == polls + 1)
    assert told(before, world.status) == [
        "poll (manual) [red]failed[/]: Email/query failed: serverFail"
    ]


def test_a_conflict_is_told_once_with_its_categories() -> None:
    world = World()
    bob, again = world.deliver("Bob <bob@example.org>", count=2)
    world.start()
    before = world.status
    world.tap(bob, "@ToFeed")
    world.tap(again, "@ToJail")
    world.settle()
    after = world.status
    lines = told(before, after)
    assert lines[0] == "[red]conflict[/]: bob@example.org is labelled for Feed and Jail"
    assert told(after, after) == []
    world.run_for(65.0)
    assert told(after, world.status) == ["poll (scheduled)"]


def test_a_sender_that_fails_is_told_with_each_try() -> None:
    world = World()
    world.sandbox.put_card(
        "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:B\r\nN:;;;;\r\nEMAIL:bob@example.org\r\nEND:VCARD\r\n"
    )
    [bob] = world.deliver("Bob <bob@example.org>")
    world.start()
    tries: list[str] = []
    before = world.status
    world.tap(bob, "@ToFeed")
    for _ in range(10):
        world.run_for(10.0)
        tries += [line for line in told(before, world.status) if "failing" in line]
        before = world.status
    assert len(tries) == 2
    assert tries[0].startswith("[red]failing[/]: bob@example.org: ")


def test_a_first_poll_that_fails_is_told_although_none_ever_succeeded() -> None:
    world = World()
    world.sandbox.destroy_mailbox("Screener")
    before = world.status
    world.start()
    [line] = told(before, world.status)
    assert line.startswith("poll (startup) [red]failed[/]: mailboxes missing on the server, ")


def test_of_another_process_everything_is_news() -> None:
    world = World().start()
    after = world.status
    before = after | {"pid": 1, "totals": after["totals"] | {"polls": {"push": 900}}}
    assert told(before, after) == [f"[bold]started[/], pid {after['pid']}", "poll (startup)"]


@pytest.mark.parametrize(
    ("known", "untold"),
    [(0, "30 more senders"), (10, "20 more senders"), (29, "1 more sender")],
)
def test_triages_that_the_service_no_longer_lists_are_counted(known: int, untold: str) -> None:
    world = World().start()
    at = datetime.fromtimestamp(0).astimezone().isoformat()
    entry = {"at": at, "sender": "a@b.org", "category": "Feed", "previous": None, "filed": 2}

    def listing(*numbers: int) -> dict[str, Any]:
        triages = [entry | {"number": number, "trigger": "push"} for number in numbers]
        return world.status | {"recent_triages": triages}

    before = listing(known) if known else listing()
    assert told(before, listing(31)) == [
        f"{untold} triaged", "a@b.org → Feed, 2 mails (push)"
    ]  # fmt: skip
