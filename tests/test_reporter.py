"""What an account tells of itself as events, each in its promised shape."""

from typing import Any

import pytest

from mailroom.rules.status.events import EventKind, ServiceEvent, encoded, reload
from mailroom.work.account.reporter import Audience
from tests.sandbox import Fault, Response
from tests.schemas import validate
from tests.world import World

BOB = "Bob <bob@example.org>"
EVE = "Eve <eve@example.org>"


class Watched:
    """A world whose events are heard; names are told while ``is_watching``."""

    def __init__(self, configuration: dict[str, Any] | None = None) -> None:
        self.world = World(configuration=configuration)
        self.heard: list[ServiceEvent] = []
        self.is_watching = False
        self.world.account.reporter.audience = Audience(self.heard.append, lambda: self.is_watching)

    def start(self) -> "Watched":
        self.world.start().settle()
        self.heard.clear()
        return self

    def watch(self) -> None:
        self.is_watching = True
        self.world.account.reporter.watched()
        self.world.run_for(1.0)

    def of(self, kind: EventKind) -> list[dict[str, Any]]:
        """The documents of that kind, as those who watch get them; all are checked."""
        for event in self.heard:
            validate(f"event-{event.kind}", event.document)
            validate(f"event-{event.kind}", {**event.document, **(event.more or {})})
        whole = [{**each.document, **(each.more or {})} for each in self.heard if each.kind == kind]
        return [without_instants(each) for each in whole]

    def arrive(self, sender: str, **head: Any) -> str:
        """A mail comes in, and is looked at."""
        mail: str = self.world.sandbox.deliver(sender, **head)
        return mail


def without_instants(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in ("at", "seconds")}


@pytest.fixture
def watched() -> Watched:
    return Watched().start()


def test_a_tap_is_a_poll_and_a_triage(watched: Watched) -> None:
    [mail] = watched.world.deliver(BOB)
    watched.world.settle()
    watched.heard.clear()
    watched.world.tap(mail, "@ToFeed")
    watched.world.settle()
    assert watched.of(EventKind.TRIAGE) == [
        {
            "sender": "bob@example.org",
            "category": "Feed",
            "previous": None,
            "filed": 1,
            "trigger": "push",
            "by": None,
        }
    ]
    [poll, *_] = watched.of(EventKind.POLL)
    assert poll == {
        "trigger": "push",
        "poll_count": watched.world.polls,
        "senders": 1,
        "filed": 1,
        "arrivals": 0,
        "error": None,
    }
    assert [each["mails"] for each in watched.of(EventKind.WAITING)] == [0]


def test_a_poll_that_failed_has_done_nothing(watched: Watched) -> None:
    watched.world.sandbox.faults.add(Fault(path="/jmap", answer=Response(503), times=1))
    watched.world.deliver(BOB)
    watched.world.run_for(5.0)
    [poll, *_] = watched.of(EventKind.POLL)
    assert "503" in poll["error"]
    assert (poll["senders"], poll["filed"], poll["arrivals"]) == (0, 0, 0)


def test_a_long_name_and_subject_are_cut(watched: Watched) -> None:
    watched.watch()
    watched.arrive(f"{'B' * 150} <bob@example.org>", subject="x" * 150)
    watched.world.settle()
    [arrival] = watched.of(EventKind.ARRIVAL)
    [told] = arrival["mails"]
    assert (len(told["name"]), len(told["subject"])) == (100, 100)


def test_without_anybody_who_watches_no_name_and_no_subject_is_read(watched: Watched) -> None:
    watched.arrive(BOB)
    watched.arrive(BOB)
    watched.world.settle()
    [waiting] = watched.of(EventKind.WAITING)
    assert (waiting["senders"], waiting["mails"]) == (1, 2)
    arrivals = watched.of(EventKind.ARRIVAL)
    assert sum(each["count"] for each in arrivals) == 2
    assert not any("mails" in each for each in arrivals)
    assert watched.world.account.commands.listing.lines == {}
    told = b"".join(encoded([each.document, each.more]) for each in watched.heard)
    assert b"bob@example.org" not in told
    assert b"Bob" not in told


def test_who_watches_hears_who_has_written_and_about_what(watched: Watched) -> None:
    watched.world.deliver(EVE)
    watched.world.settle()
    watched.watch()
    watched.heard.clear()
    mail = watched.arrive(BOB, subject="Hi\u202e\x1b[2J")
    watched.world.settle()
    [arrival] = watched.of(EventKind.ARRIVAL)
    assert (arrival["count"], arrival["waiting"], arrival["outcomes"]) == (1, 1, {"unknown": 1})
    assert arrival["mails"] == [
        {
            "id": mail,
            "address": "bob@example.org",
            "name": "Bob",
            "subject": "Hi[2J",
            "outcome": "unknown",
            "category": None,
            "waits": True,
        }
    ]
    [waiting] = watched.of(EventKind.WAITING)
    assert (waiting["senders"], waiting["mails"], waiting["is_complete"]) == (2, 2, True)
    assert [each["address"] for each in waiting["changed"]] == ["bob@example.org"]
    assert waiting["gone"] == []


def test_who_watches_hears_who_waits_no_more(watched: Watched) -> None:
    [mail] = watched.world.deliver(BOB)
    watched.world.deliver(EVE)
    watched.world.settle()
    watched.watch()
    watched.heard.clear()
    watched.world.tap(mail, "@ToFeed")
    watched.world.settle()
    [waiting] = watched.of(EventKind.WAITING)
    assert (waiting["senders"], waiting["changed"], waiting["gone"]) == (1, [], ["bob@example.org"])


def test_subjects_are_read_no_more_when_nobody_watches_any_more(watched: Watched) -> None:
    watched.watch()
    watched.is_watching = False
    watched.arrive(BOB)
    watched.world.settle()
    assert not any("mails" in each for each in watched.of(EventKind.ARRIVAL))
    assert watched.world.account.commands.listing.lines == {}
    assert watched.of(EventKind.WAITING)[-1]["mails"] == 1


def test_a_hundred_new_mails_are_counted_and_told_as_far_as_they_fit(watched: Watched) -> None:
    watched.watch()
    for number in range(100):
        watched.arrive(f"{'é' * 300} <{number}@example.org>")
    watched.world.settle()
    assert sum(each["count"] for each in watched.of(EventKind.ARRIVAL)) == 100
    *_, waiting = watched.of(EventKind.WAITING)
    assert waiting["senders"] == 100
    assert not all(each["is_complete"] for each in watched.of(EventKind.WAITING))
    for event in watched.heard:
        assert len(encoded({**event.document, **(event.more or {})})) < 16_384


def test_what_cannot_be_read_is_to_be_asked_for(watched: Watched) -> None:
    watched.world.deliver(EVE)
    watched.world.settle()
    watched.watch()
    watched.heard.clear()
    listing = watched.world.account.commands.listing
    watched.world.sandbox.faults.add(Fault(call="Email/changes", answer=Response(503), times=3))
    watched.world.account.reporter.watched()
    watched.world.run_for(300.0)
    assert listing.lines
    [waiting] = watched.of(EventKind.WAITING)
    assert (waiting["is_complete"], waiting["senders"], waiting["changed"]) == (False, 1, [])


def test_trouble_is_told_when_it_begins_and_when_it_ends(watched: Watched) -> None:
    watched.world.sandbox.faults.add(Fault(call="Email/query", method_error="serverFail", times=3))
    watched.world.account.poll_now()
    watched.world.settle()
    begun, ended = watched.of(EventKind.TROUBLE)
    assert begun["trouble"]["kind"] == "method"
    assert begun["trouble"]["reason"] == "Email/query failed: serverFail"
    assert ended == {"trouble": None}
    errors = [each["error"] for each in watched.of(EventKind.POLL)]
    assert errors[:3] == ["Email/query failed: serverFail"] * 3
    assert errors[3] is None


def test_push_is_told_when_it_goes_and_comes(watched: Watched) -> None:
    watched.world.sandbox.close_feeds()
    watched.world.settle()
    told = watched.of(EventKind.PUSH)
    assert [each["status"] for each in told][-1] == "connected"
    assert "connected" not in [each["status"] for each in told][:-1] != []


@pytest.mark.parametrize("problems", [(), ("mailroom.yaml:3: jmpa: is not a known key",)])
def test_a_reload_is_told_with_what_is_wrong(problems: tuple[str, ...]) -> None:
    event = reload(1764000000.5, problems)
    validate("event-reload", event.document)
    assert event.document == {"at": "2025-11-24T16:00:00.500Z", "problems": list(problems)}
