"""An account over hours of trouble: what it says, when it tries again, and how it recovers."""

import json
from collections.abc import Callable
from importlib.resources import files
from itertools import pairwise
from typing import Any

import jsonschema
import pytest

from mailroom.engine.journal import Level
from mailroom.errors import CredentialsRefused
from mailroom.rules.contacts.contact import summarise
from mailroom.wire.vcard import Card
from tests.sandbox import (
    CYRUS_3_6,
    CYRUS_WITHOUT_PUSH,
    Delivery,
    Fault,
    Profile,
    Response,
)
from tests.virtual import NothingToWaitFor
from tests.world import World, failure_of

BOB = "Bob <bob@example.org>"
API = "/jmap/"

_VALIDATORS = {
    name: jsonschema.Draft202012Validator(
        json.loads(files("mailroom.schema").joinpath(f"{name}.schema.json").read_text())
    )
    for name in ("healthz", "status")
}


def answer(status: int, **headers: str) -> Response:
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()})


def health(world: World) -> Any:
    """The status and the document of /healthz; both documents keep to their schemas."""
    _VALIDATORS["healthz"].validate(world.healthz[1])
    _VALIDATORS["status"].validate(world.status)
    return world.healthz


def lines(world: World, *events: str) -> list[tuple[Level, str]]:
    return [(level, event) for level, event, _ in world.events if event in events]


def polls(world: World) -> dict[str, int]:
    return {str(trigger): count for trigger, count in world.history.totals.polls.items()}


# The phases


def test_every_phase_keeps_to_the_schemas() -> None:
    world = World()
    phases = [world.status["phase"]]
    health(world)
    world.start()
    phases.append(world.status["phase"])
    mail = world.deliver(BOB)[0]
    world.settle()
    world.sandbox.controls.delay_seconds = 0.05
    world.tap(mail, "@ToFeed")
    world.run_until(lambda: world.status["phase"] == "polling")
    phases.append("polling")
    health(world)
    world.settle()
    world.sandbox.faults.add(Fault(path=API, answer=answer(500)))
    world.account.poll_now()
    world.run_for(0.5)
    phases.append(world.status["phase"])
    health(world)
    world.account.close()
    phases.append(world.status["phase"])
    health(world)
    assert phases == ["starting", "idle", "polling", "backing-off", "stopping"]


def _fetching(_world: World) -> None:
    pass


def _idle(world: World) -> None:
    world.settle()


def _polling(world: World) -> None:
    world.settle()
    world.account.poll_now()
    world.run_until(lambda: world.status["phase"] == "polling")


@pytest.mark.parametrize("reach", [_fetching, _idle, _polling])
def test_a_closed_account_asks_nothing_more_and_leaves_nothing_to_wait_for(
    reach: Callable[[World], object],
) -> None:
    world = World()
    world.sandbox.controls.delay_seconds = 0.05
    world.account.start()
    world.loop.turn()
    world.loop.turn()
    reach(world)
    world.account.close()
    asked = world.request_count
    with pytest.raises(NothingToWaitFor):
        world.loop.run()
    assert world.request_count == asked


def test_hours_without_anything_are_a_poll_a_minute_and_one_connection() -> None:
    world = World().start()
    world.run_for(4 * 3600.0)
    assert polls(world) == {"startup": 1, "scheduled": 240}
    assert len([entry for entry in world.sandbox.log.entries if entry.is_stream]) == 1
    assert health(world)[0] == 200
    assert {level for level, _, _ in world.events if level < Level.DEBUG} == {Level.INFO}
    assert [event for level, event, _ in world.events if level < Level.DEBUG] == [
        "eventsource_connected",
        "poll_completed",
    ]


def test_what_a_poll_has_cost_is_told_with_it() -> None:
    world = World()
    mail = world.deliver(BOB)[0]
    world.start().settle()
    number = world.request_count
    world.tap(mail, "@ToFeed")
    world.settle()
    world.account.poll_now()
    world.settle()
    *_, triage, idle = [int(str(fields["requests"])) for fields in world.named("poll_completed")]
    assert (triage + idle, idle) == (len(world.requests_since(number)), 1)


def test_the_last_poll_that_people_are_told_of_is_not_one_that_only_looked() -> None:
    """Or the line in systemctl status would be another every minute."""

    def told(world: World) -> str:
        poll = world.account.snapshot().last_active_poll
        assert poll is not None
        return poll.trigger

    world = World(CYRUS_3_6)
    mail = world.deliver(BOB)[0]
    world.start()
    world.run_for(130.0)
    assert told(world) == "startup"
    world.tap(mail, "@ToFeed")
    world.run_for(60.0)
    assert told(world) == "fallback"
    world.account.poll_now()
    world.run_for(1.0)
    assert told(world) == "manual"


# Push


def test_the_first_poll_waits_for_the_stream_but_two_seconds_only() -> None:
    world = World()
    silent = Fault(path="/jmap/eventsource", delivery=Delivery(delay_seconds=20.0))
    world.sandbox.faults.add(silent)
    world.account.start()
    world.run_for(1.9)
    assert world.polls == 0
    world.run_for(0.2)
    assert world.polls == 1
    world.run_for(30.0)
    assert world.healthz[1]["eventsource"]["connected"] is True


def test_while_push_is_out_fallback_polls_do_the_work_and_say_so() -> None:
    world = World().start()
    world.settle()
    mail = world.deliver(BOB)[0]
    world.settle()
    world.sandbox.faults.add(Fault(path="/jmap/eventsource", answer=answer(503)))
    world.sandbox.close_feeds()
    world.settle()
    world.tap(mail, "@ToFeed")
    world.run_for(300.0)
    assert world.sandbox.mailboxes_of(mail) == {"Feed"}
    assert world.history.totals.polls["fallback"] >= 4
    status, document = health(world)
    assert status == 200
    assert document["last_poll_trigger"] == "fallback"
    assert document["eventsource"]["connected"] is False
    assert "503" in document["eventsource"]["error"]
    assert (
        lines(world, "eventsource_disconnected").count((Level.WARNING, "eventsource_disconnected"))
        == 2
    )  # that it closed, and that it cannot be had again; then silence
    world.sandbox.faults.clear()
    world.run_for(120.0)
    assert health(world)[1]["eventsource"]["connected"] is True
    assert world.history.totals.polls["reconnect"] == 1
    assert lines(world, "eventsource_connected") == [(Level.INFO, "eventsource_connected")] * 2


def test_what_happened_while_push_was_away_is_found_by_the_reconnect_poll() -> None:
    world = World()
    mail = world.deliver(BOB)[0]
    world.start().settle()
    world.sandbox.close_feeds()
    world.tap(mail, "@ToFeed")
    world.run_for(3.0)
    assert world.sandbox.mailboxes_of(mail) == {"Feed"}
    assert polls(world) == {"startup": 1, "reconnect": 1}


@pytest.mark.parametrize("profile", [CYRUS_3_6, CYRUS_WITHOUT_PUSH], ids=lambda each: each.name)
def test_a_server_without_push_is_asked_hourly_and_polled_every_minute(profile: Profile) -> None:
    world = World(profile)
    world.start()
    world.run_for(3 * 3600.0)
    document = health(world)[1]
    assert document["status"] == "ok"
    assert document["eventsource"]["status"] == "unavailable"
    assert polls(world) == {"startup": 1, "fallback": 180}
    assert len(lines(world, "eventsource_unavailable")) == 4
    assert lines(world, "eventsource_unavailable")[:2] == [
        (Level.INFO, "eventsource_unavailable"),
        (Level.DEBUG, "eventsource_unavailable"),
    ]


# Credentials


def test_credentials_refused_at_the_start_end_the_service() -> None:
    world = World()
    world.sandbox.faults.add(Fault(answer=answer(401)))
    error = failure_of(world)
    assert isinstance(error, CredentialsRefused)
    assert "secret" not in str(error)


@pytest.mark.parametrize(("path", "status"), [("/jmap", 401), ("/jmap", 403), ("/dav/", 401)])
def test_refused_by_one_of_the_servers_is_refused(path: str, status: int) -> None:
    world = World()
    world.sandbox.faults.add(Fault(path=path, method=None, answer=answer(status)))
    assert isinstance(failure_of(world), CredentialsRefused)


def test_a_bare_403_of_the_address_book_never_ends_the_service() -> None:
    """It may be a web server's, a ban's, or mean that there is no such thing here."""
    world = World()
    number = world.request_count
    world.sandbox.faults.add(Fault(path="/dav/", method=None, answer=answer(403)))
    assert failure_of(world) is None
    world.run_for(200.0)
    status, document = health(world)
    assert (status, world.status["trouble"]["kind"]) == (503, "forbidden")
    assert "a temporary ban" in document["reason"]
    tries = [entry for entry in world.requests_since(number) if entry.path.startswith("/dav/")]
    assert len(tries) == 3  # at once, after a minute, after two more
    world.sandbox.faults.clear()
    world.run_for(300.0)
    assert health(world)[0] == 200


def test_a_ban_is_told_as_such_and_passes() -> None:
    """Stalwart answers 403 to a banned address, to whatever is asked."""
    world = World().start()
    world.settle()
    world.sandbox.faults.add(Fault(answer=answer(403)))
    world.run_for(70.0)
    assert "may be a temporary ban" in health(world)[1]["reason"]
    world.sandbox.faults.clear()
    world.run_for(130.0)
    assert health(world)[0] == 200


def test_what_was_accepted_once_is_no_wrong_secret_later() -> None:
    """One 401 does not prove a dead token (Fastmail has been seen to limit rates so), though
    something is missing and no poll has ever succeeded."""
    world = World()
    world.sandbox.destroy_mailbox("Screener")
    world.start()
    world.sandbox.faults.add(Fault(path=API, answer=answer(401)))
    world.run_for(200.0)
    assert world.status["trouble"]["kind"] == "credentials"


def test_credentials_refused_later_are_trouble_that_is_tried_again_ever_more_rarely() -> None:
    world = World().start()
    world.settle()
    number = world.request_count
    world.sandbox.faults.add(Fault(answer=answer(401)))
    world.run_for(62.0)
    status, document = health(world)
    assert (status, document["status"]) == (503, "unhealthy")
    assert "refuses the credentials" in document["reason"]
    assert world.status["trouble"]["lasting"] is True
    world.run_for(1000.0)
    tries = [entry.started for entry in world.requests_since(number)]
    gaps = [round(later - sooner) for sooner, later in pairwise(tries)]
    assert gaps == [60, 120, 240, 480]
    assert lines(world, "credentials_refused")[:2] == [
        (Level.WARNING, "credentials_refused"),
        (Level.DEBUG, "credentials_refused"),
    ]
    world.sandbox.faults.clear()
    world.run_for(960.0)
    assert health(world)[0] == 200
    assert world.status["trouble"] is None
    assert world.status["last_error"]["kind"] == "credentials"
    assert lines(world, "poll_recovered") == [(Level.INFO, "poll_recovered")]


def test_a_listener_that_is_refused_does_not_insist() -> None:
    """Some servers ban who tries wrong credentials again and again."""
    world = World().start()
    world.settle()
    world.sandbox.faults.add(Fault(answer=answer(401)))
    world.sandbox.close_feeds()
    number = world.request_count
    world.run_for(3600.0)
    assert len(world.sandbox.log.since(number)) <= 2 * 7


def test_credentials_refused_anew_are_asked_about_as_soon_as_the_first_time() -> None:
    world = World().start()
    world.settle()
    for _ in range(2):
        number, began = world.request_count, world.clock.wall()
        world.sandbox.faults.add(Fault(path=API, answer=answer(401)))
        world.run_for(60.0 + 60.0 + 120.0 + 10.0)
        tries = [each.started - began for each in world.requests_since(number) if each.path == API]
        assert [round(later - sooner) for sooner, later in pairwise(tries)] == [60, 120]
        world.sandbox.faults.clear()
        world.run_for(240.0)
        assert health(world)[0] == 200


# What only the user can mend


def test_all_that_is_missing_is_named_at_once_and_found_again_by_push() -> None:
    world = World()
    world.sandbox.destroy_mailbox("Feed")
    world.sandbox.destroy_mailbox("@ToJail")
    world.sandbox.delete_card("/x/group-imbox.vcf")
    world.start().settle()
    status, document = health(world)
    assert status == 503
    for name in ("Feed", "@ToJail", "Imbox", "mailroom setup"):
        assert name in document["reason"]
    assert [event for event in lines(world, "mailboxes_missing") if event[0] < Level.DEBUG] == [
        (Level.WARNING, "mailboxes_missing")
    ]
    world.sandbox.put_card(
        "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:i\r\nFN:Imbox\r\nN:;;;;\r\n"
        "X-ADDRESSBOOKSERVER-KIND:group\r\nEND:VCARD\r\n"
    )
    world.sandbox.create_mailbox("Feed")
    world.sandbox.create_mailbox("@ToJail")
    world.run_for(1.0)
    assert health(world)[0] == 200
    assert lines(world, "poll_recovered") == [(Level.INFO, "poll_recovered")]


def test_missing_mailboxes_are_looked_for_every_interval_without_push() -> None:
    world = World(CYRUS_3_6)
    world.sandbox.destroy_mailbox("Feed")
    world.start()
    world.run_for(300.0)
    assert health(world)[0] == 503
    assert len([entry for entry in world.requests_since(0) if entry.path == API]) <= 12
    world.sandbox.create_mailbox("Feed")
    world.run_for(61.0)
    assert health(world)[0] == 200


def test_a_group_that_vanishes_while_running_is_named_when_it_is_needed() -> None:
    world = World()
    mail = world.deliver(BOB)[0]
    world.start().settle()
    card = next(text for href, text in world.sandbox.cards().items() if "group-feed" in href)
    world.sandbox.delete_card("/x/group-feed.vcf")
    world.tap(mail, "@ToFeed")
    world.settle()
    status, document = health(world)
    assert status == 503
    assert document["reason"] == "contact groups missing, run mailroom setup --apply: Feed"
    assert "@ToFeed" in world.sandbox.mailboxes_of(mail)
    assert Card.parse(card.encode())
    world.sandbox.put_card(card, "group-feed.vcf")
    world.run_for(61.0)
    assert health(world)[0] == 200
    assert world.sandbox.mailboxes_of(mail) == {"Feed"}


# What passes


@pytest.mark.parametrize(
    ("status", "headers", "gaps"),
    [
        (500, {}, [1, 2, 4, 8, 16, 32, 60, 60]),
        (429, {"Retry_After": "7"}, [7, 7, 7, 8, 16, 32, 60]),
        (503, {"Retry_After": "90"}, [90, 90]),
    ],
)
def test_a_failing_poll_is_tried_again_in_the_servers_time_or_ours(
    status: int, headers: dict[str, str], gaps: list[int]
) -> None:
    world = World().start()
    world.settle()
    number = world.request_count
    world.sandbox.faults.add(Fault(path=API, method="POST", answer=answer(status, **headers)))
    world.run_for(250.0)
    tries = [entry.started for entry in world.requests_since(number) if entry.method == "POST"]
    seen = [round(later - sooner) for sooner, later in pairwise(tries)]
    assert seen[: len(gaps)] == gaps[: len(seen)]
    assert len(seen) >= 2
    assert health(world)[0] == 503
    assert str(status) in world.healthz[1]["reason"]
    world.sandbox.faults.clear()
    world.run_for(100.0)
    assert health(world)[0] == 200
    warnings = [event for event in lines(world, "poll_failed") if event[0] < Level.DEBUG]
    assert warnings == [(Level.WARNING, "poll_failed")]
    assert len(lines(world, "poll_recovered")) == 1


def test_an_outage_that_comes_back_for_the_same_reason_is_told_again() -> None:
    world = World().start()
    world.settle()
    for _ in range(2):
        world.sandbox.faults.add(Fault(path=API, method="POST", answer=answer(500)))
        world.run_for(130.0)
        world.sandbox.faults.clear()
        world.run_for(130.0)
    told = [each for each in lines(world, "poll_failed", "poll_recovered") if each[0] < Level.DEBUG]
    assert told == [(Level.WARNING, "poll_failed"), (Level.INFO, "poll_recovered")] * 2


def test_trouble_lasts_since_it_began_whatever_it_turns_into() -> None:
    world = World().start()
    world.settle()
    sinces = []
    for status in (500, 500, 401):
        world.sandbox.faults.clear()
        world.sandbox.faults.add(Fault(path=API, answer=answer(status)))
        world.run_for(130.0)
        sinces.append((world.status["trouble"]["kind"], world.status["trouble"]["since"]))
    assert [kind for kind, _ in sinces] == ["network", "network", "credentials"]
    assert len({since for _, since in sinces}) == 1
    world.sandbox.faults.clear()
    world.run_for(600.0)
    world.sandbox.faults.add(Fault(path=API, answer=answer(500)))
    world.run_for(130.0)
    assert world.status["trouble"]["since"] > sinces[0][1]


def test_events_do_not_bypass_the_backoff_but_a_person_does() -> None:
    world = World()
    mail = world.deliver(BOB)[0]
    world.start().settle()
    world.sandbox.faults.add(Fault(path=API, method="POST", answer=answer(500)))
    world.run_for(120.0)
    number = world.request_count
    world.tap(mail, "@ToFeed")
    world.run_for(5.0)
    assert not world.requests_since(number)
    world.account.poll_now()
    world.run_for(0.5)
    assert "POST" in {entry.method for entry in world.requests_since(number)}


def test_a_server_that_is_away_at_the_start_is_waited_for() -> None:
    world = World()
    mail = world.deliver(BOB)[0]
    world.tap(mail, "@ToFeed")
    world.sandbox.faults.add(Fault(breaks="before"))
    world.start()
    world.run_for(600.0)
    assert health(world)[0] == 503
    assert "no successful poll since the start" in world.healthz[1]["reason"]
    world.sandbox.faults.clear()
    world.run_for(61.0)
    assert health(world)[0] == 200
    assert world.sandbox.mailboxes_of(mail) == {"Feed"}


def test_trouble_with_one_sender_that_passes_hides_nothing_of_the_others() -> None:
    world = World()
    bob, carol = world.deliver(BOB)[0], world.deliver("Carol <carol@example.org>")[0]
    world.start().settle()
    world.sandbox.faults.add(Fault(method="PUT", times=1, answer=answer(503)))
    world.tap(bob, "@ToFeed")
    world.tap(carol, "@ToFeed")
    world.settle()
    assert sorted(str(fields["sender"]) for fields in world.named("sender_triaged")) == [
        "bob@example.org",
        "carol@example.org",
    ]
    assert world.history.totals.triaged["Feed"] == 2


# Senders that fail


def _members(world: World, group: str) -> set[str]:
    """The addresses of the contacts that are in the group."""
    cards = [Card.parse(text.encode()) for text in world.sandbox.cards().values()]
    entries = [summarise(card) for card in cards]
    (members,) = [each.members for each in entries if each.fn == group]
    return {address for each in entries if each.uid in members for address in each.addresses}


@pytest.mark.parametrize("status", [403, 412, 507, 503])
def test_a_sender_whom_the_group_does_not_get_keeps_the_label_until_it_does(status: int) -> None:
    world = World()
    bob, waiting = world.deliver(BOB, count=2)
    (carol,) = world.deliver("Carol <carol@example.org>")
    world.start().settle()
    (feed,) = [href for href in world.sandbox.cards() if href.endswith("group-feed.vcf")]
    world.sandbox.faults.add(Fault(method="PUT", path=feed, answer=answer(status)))
    world.tap(bob, "@ToFeed")
    world.tap(carol, "@ToJail")
    world.settle()
    assert "@ToFeed" in world.sandbox.mailboxes_of(bob)
    assert _members(world, "Feed") == set()
    assert {str(fields["sender"]) for fields in world.named("sender_triaged")} == {
        "carol@example.org"
    }
    assert world.sandbox.mailboxes_of(carol) == {"Jail"}
    assert _members(world, "Jail") == {"carol@example.org"}
    world.sandbox.faults.clear()
    world.run_for(300.0)
    assert world.sandbox.mails_in("Feed") == {bob, waiting}
    assert _members(world, "Feed") == {"bob@example.org"}


def test_a_failing_sender_is_listed_tried_again_and_louder_the_third_time() -> None:
    world = World()
    world.sandbox.put_card(
        "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:B\r\nN:;;;;\r\nEMAIL:bob@example.org\r\nEND:VCARD\r\n"
    )
    bob, again = world.deliver(BOB, count=2)
    world.start().settle()
    world.tap(bob, "@ToFeed")
    world.run_for(8 * 60.0)
    (failing,) = world.status["failing_senders"]
    assert failing["sender"] == "bob@example.org"
    assert "has no UID" in failing["reason"]
    assert [level for level, _ in lines(world, "sender_failed")] == [
        Level.WARNING,
        Level.WARNING,
        Level.ERROR,
        Level.ERROR,
    ]
    assert health(world)[0] == 200
    failures = len(lines(world, "sender_failed"))
    world.tap(again, "@ToFeed")
    world.run_for(2.0)
    assert len(lines(world, "sender_failed")) == failures + 1
    assert world.named("sender_failed")[-1]["attempts"] == 1
    world.sandbox.unlabel(bob, "@ToFeed")
    world.sandbox.unlabel(again, "@ToFeed")
    world.settle()
    assert world.status["failing_senders"] == []


def test_a_conflict_is_in_the_status_until_the_user_has_solved_it() -> None:
    world = World()
    bob, again = world.deliver(BOB, count=2)
    world.start().settle()
    world.tap(bob, "@ToFeed")
    world.tap(again, "@ToJail")
    world.settle()
    (conflict,) = world.status["conflicts"]
    assert (conflict["sender"], conflict["categories"]) == ("bob@example.org", ["Feed", "Jail"])
    health(world)
    world.run_for(300.0)
    assert world.status["conflicts"] == [conflict]  # as old as it is, however many polls see it
    assert world.history.totals.conflicts == 1
    world.sandbox.faults.add(Fault(path=API, answer=answer(500), times=1))
    world.account.poll_now()
    world.run_for(0.5)
    assert world.status["conflicts"] == [conflict]  # a poll that failed has not looked
    world.sandbox.unlabel(again, "@ToJail")
    world.settle()
    assert world.status["conflicts"] == []


def test_a_conflict_changes_with_its_labels() -> None:
    world = World()
    bob, again = world.deliver(BOB, count=2)
    world.start().settle()
    world.tap(bob, "@ToFeed")
    world.tap(again, "@ToJail")
    world.run_for(100.0)
    (before,) = world.status["conflicts"]
    world.tap(bob, "@ToScreener")
    world.settle()
    (after,) = world.status["conflicts"]
    assert after["categories"] == ["Feed", "Jail", "Screener"]
    assert after["since"] > before["since"]


def test_the_same_category_again_is_no_change_of_mind() -> None:
    world = World()
    bob, again = world.deliver(BOB, count=2)
    world.start().settle()
    for mail in (bob, again):
        world.tap(mail, "@ToFeed")
        world.settle()
    assert [each["previous"] for each in world.status["recent_triages"]] == [None, None]
    assert len(world.named("sender_triaged")) == 2
    assert "previous" not in world.named("sender_triaged")[1]


def test_a_laptop_that_wakes_up_polls_once_though_everything_is_due_at_once() -> None:
    world = World().start()
    world.settle()
    [mail] = world.deliver(BOB)
    world.sandbox.cut_off_feeds()
    world.tap(mail, "@ToFeed")
    polls = world.polls
    world.clock.advance(3600.0)  # asleep: the poll and the stream's deadline have passed
    world.settle()
    assert polls < world.polls <= polls + 2  # one more where the new stream is opened after it
    assert world.sandbox.mailboxes_of(mail) == {"Feed"}


def test_every_request_but_that_for_the_stream_is_counted_once() -> None:
    world = World().start()
    world.settle()
    asked = [entry for entry in world.requests_since(0) if not entry.is_stream]
    assert world.status["totals"]["requests"] == len(asked)
