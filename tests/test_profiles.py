"""The main job on every kind of server; what each is like: tests/test_sandbox_ways.py."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.sandbox import (
    CYRUS_3_10,
    FASTMAIL,
    LATE_PUSH,
    PROFILES,
    SMALL_LIMITS,
    STALWART,
    TRUNCATED_SYNC,
    Fault,
    Limits,
    Profile,
    Request,
    Response,
)
from tests.world import World

BOB = "Bob Ross <bob@example.org>"
OUTAGE = Fault(path="/jmap/eventsource/", answer=Response(503))

OWN_CARD = (
    "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:bob\r\nFN:Bob Ross\r\nN:;;;;\r\n"
    "EMAIL;TYPE=HOME:Bob@Example.org\r\nNOTE:mine\r\nEND:VCARD\r\n"
)


@pytest.fixture(params=list(PROFILES))
def profile(request: pytest.FixtureRequest) -> Profile:
    return PROFILES[request.param]


@pytest.fixture
def world(profile: Profile) -> World:
    """A service at rest, right after a poll."""
    world = World(profile).start()
    world.settle()
    act(world, world.account.poll_now)
    return world


def act(world: World, action: Callable[[], object]) -> None:
    """Let the user do something, and the service see it: by push, or at its next look."""
    polls = world.polls
    action()
    world.run_until(lambda: world.polls > polls)


def tap(world: World, mail_id: str, label: str) -> None:
    act(world, lambda: world.tap(mail_id, label))


def contact(world: World) -> str:
    """The unfolded card of the one contact that is no group."""
    cards = [text for text in world.sandbox.cards().values() if "group" not in text]
    assert len(cards) == 1, cards
    return cards[0].replace("\r\n ", "")


def has_contact(world: World) -> bool:
    return any("bob@example.org" in text.lower() for text in world.sandbox.cards().values())


def members(world: World, *groups: str) -> list[int]:
    return [len(world.sandbox.group_members(group)) for group in groups]


def assert_quiet(world: World) -> None:
    """Nothing went wrong, and nothing is left to do."""
    assert world.healthz[1]["status"] == "ok"
    assert world.named("poll_failed") == world.named("sender_failed") == []
    assert world.named("eventsource_deaf") == []
    number = world.request_count
    act(world, world.account.poll_now)
    # Mailboxes that do not fit into one answer are listed anew, here on three pages.
    most = 5 if world.sandbox.profile is SMALL_LIMITS else 2
    assert len(world.requests_since(number)) <= most


# The main job


def test_a_first_triage_files_all_of_the_senders_waiting_mail(world: World) -> None:
    sandbox = world.sandbox
    mails = [*world.deliver(BOB, count=3), *(sandbox.deliver(BOB) for _ in range(3))]
    other = sandbox.deliver("Carol <carol@example.org>")
    tap(world, mails[2], "@ToFeed")
    assert sandbox.mails_in("Feed") == set(mails)
    assert sandbox.mails_in("Screener") == {other}
    assert sandbox.mails_in("@ToFeed") == set()
    assert members(world, "Feed", "Imbox", "Mailroom") == [1, 0, 1]
    assert "NOTE:— Mailroom —\\nCreated by Mailroom\\nTriaged to Feed on " in contact(world)
    assert_quiet(world)


def test_another_label_changes_what_was_decided(world: World) -> None:
    sandbox = world.sandbox
    mails = [sandbox.deliver(BOB) for _ in range(3)]
    tap(world, mails[0], "@ToFeed")
    tap(world, mails[1], "@ToTruck")
    assert sandbox.mails_in("Feed") == set()
    assert sandbox.mails_in("Truck") == sandbox.mails_in("Paper Trail") == set(mails)
    assert members(world, "Feed", "Truck", "Paper Trail", "Mailroom") == [0, 1, 1, 1]
    assert "\\nRe-triaged to Truck on " in contact(world)
    assert_quiet(world)


def test_a_contact_that_is_there_is_adopted_and_not_written(world: World) -> None:
    sandbox = world.sandbox
    sandbox.put_card(OWN_CARD)
    before = contact(world)
    mail_id = sandbox.deliver(BOB)
    tap(world, mail_id, "@ToFeed")
    assert sandbox.mailboxes_of(mail_id) == {"Feed"}
    assert contact(world) == before
    assert sandbox.group_members("Feed") == sandbox.group_members("Mailroom") == {"bob"}
    assert_quiet(world)


def test_a_sender_is_taken_back_and_leaves_nothing_behind(world: World) -> None:
    sandbox = world.sandbox
    mails = [sandbox.deliver(BOB) for _ in range(3)]
    tap(world, mails[0], "@ToFeed")
    tap(world, mails[0], "@ToScreener")
    assert sandbox.mails_in("Screener") == set(mails)
    assert sandbox.mails_in("Feed") == sandbox.mails_in("@ToScreener") == set()
    assert not has_contact(world)
    assert members(world, "Feed", "Mailroom") == [0, 0]
    assert_quiet(world)


def test_a_contact_of_the_users_own_outlives_being_taken_back(world: World) -> None:
    sandbox = world.sandbox
    sandbox.put_card(OWN_CARD)
    mail_id = sandbox.deliver(BOB)
    tap(world, mail_id, "@ToFeed")
    tap(world, mail_id, "@ToScreener")
    assert sandbox.mailboxes_of(mail_id) == {"Screener"}
    assert "NOTE:mine\r\n" in contact(world)
    assert members(world, "Feed", "Mailroom", "Mailroom screened") == [0, 1, 1]
    assert_quiet(world)


def test_a_conflict_waits_for_the_user(world: World) -> None:
    sandbox = world.sandbox
    one, two = sandbox.deliver(BOB), sandbox.deliver(BOB)
    sandbox.label(one, "@ToFeed")
    tap(world, two, "@ToJail")
    world.settle()
    assert sandbox.mailboxes_of(one) == {"Screener", "@ToFeed", "@MailroomError"}
    assert sandbox.mailboxes_of(two) == {"Screener", "@ToJail", "@MailroomError"}
    act(world, lambda: sandbox.unlabel(two, "@ToJail"))
    assert sandbox.mailboxes_of(one) == sandbox.mailboxes_of(two) == {"Feed"}
    assert_quiet(world)


def test_a_tap_costs_one_poll_and_its_echoes_none(world: World, profile: Profile) -> None:
    mail_id = world.sandbox.deliver(BOB)
    world.settle()
    tapped_at = world.clock.now()
    tap(world, mail_id, "@ToFeed")
    assert world.sandbox.mailboxes_of(mail_id) == {"Feed"}
    assert world.clock.now() - tapped_at < (2.0 if profile.push == "available" else 61.0)
    polls = world.polls
    world.run_for(50.0)
    assert world.polls == polls


def test_push_is_connected_where_there_is_any(world: World, profile: Profile) -> None:
    status = world.healthz[1]["eventsource"]["status"]
    assert status == ("connected" if profile.push == "available" else "unavailable")


@pytest.mark.parametrize(
    ("profile", "seconds"),
    [(CYRUS_3_10, 75.0), (LATE_PUSH, 75.0), (STALWART, 75.0), (FASTMAIL, 1800.0)],
    ids=["cyrus-3.10", "late-push", "stalwart", "fastmail"],
)
def test_a_dead_path_is_noticed_by_the_pings_that_do_not_come(world: World, seconds: float) -> None:
    world.run_for(60.0)
    world.sandbox.deliver(BOB)
    world.run_for(2.0)
    world.sandbox.cut_off_feeds()
    world.run_for(seconds - 5.0)
    assert world.healthz[1]["eventsource"]["reconnect_count"] == 0
    world.run_for(10.0)
    assert world.healthz[1]["eventsource"]["reconnect_count"] == 1


def test_a_tap_during_an_outage_of_push_is_seen_within_a_minute(world: World) -> None:
    sandbox = world.sandbox
    sandbox.faults.add(OUTAGE)
    sandbox.close_feeds()
    world.settle()
    one, two = sandbox.deliver(BOB), sandbox.deliver("Carol <carol@example.org>")
    world.tap(one, "@ToFeed")
    world.run_for(61.0)
    assert sandbox.mailboxes_of(one) == {"Feed"}
    sandbox.faults.clear()
    world.run_for(75.0)
    tap(world, two, "@ToJail")
    assert sandbox.mailboxes_of(two) == {"Jail"}
    assert_quiet(world)


def test_the_limits_are_kept_when_answers_take_their_time(world: World) -> None:
    sandbox = world.sandbox
    mails = [sandbox.deliver(f"s{number}@example.org") for number in range(12)]
    sandbox.controls.delay_seconds = 0.05
    number = world.request_count
    for mail_id in mails[1:]:
        sandbox.label(mail_id, "@ToFeed")
    tap(world, mails[0], "@ToFeed")
    assert sandbox.mails_in("Feed") == set(mails)
    assert members(world, "Feed") == [12]
    # What a challenge or a lock is answered with, where the server has them.
    expected = {200, 201, 204, 207, 401, 403, 423}
    assert {entry.status for entry in world.requests_since(number)} <= expected
    assert_quiet(world)


def test_a_server_that_has_had_enough_is_left_alone_for_as_long_as_it_says() -> None:
    world = World(replace(STALWART, limits=Limits(max_requests_per_minute=25))).start()
    world.settle()
    sandbox = world.sandbox
    mails = [sandbox.deliver(f"s{number}@example.org") for number in range(12)]
    for mail_id in mails:
        sandbox.label(mail_id, "@ToFeed")
    world.run_for(300.0)
    assert sandbox.mails_in("Feed") == set(mails)
    assert members(world, "Feed") == [12]
    refused_at = {entry.started for entry in sandbox.log.entries if entry.status == 429}
    assert 1 <= len(refused_at) <= 3
    assert world.healthz[1]["status"] == "ok"


@pytest.mark.parametrize("own_card", [None, OWN_CARD])
def test_a_card_refused_with_412_fails_its_sender_alone(own_card: str | None) -> None:
    world = World(STALWART).start()
    sandbox = world.sandbox
    if own_card:
        sandbox.put_card(own_card)
    href = "/dav/addressbooks/user/alice/Default/bad.vcf"
    headers = {"Authorization": sandbox.dav_authorization}
    refusal = sandbox.handle(Request("PUT", href, "", headers, b"no card"))
    assert refusal.status == 412
    mail_id = sandbox.deliver(BOB)
    sandbox.faults.add(Fault(method="PUT", answer=refusal, times=1))
    tap(world, mail_id, "@ToFeed")
    [failed] = world.named("sender_failed")
    assert "412, supported-address-data" in str(failed["error"])
    assert sandbox.mailboxes_of(mail_id) == {"Screener", "@ToFeed"}
    world.run_for(125.0)
    assert sandbox.mailboxes_of(mail_id) == {"Feed"}


@pytest.mark.parametrize("profile", [CYRUS_3_10, LATE_PUSH, STALWART], ids=lambda p: p.name)
def test_the_states_in_the_middle_of_a_large_sweep_cost_one_poll_at_most(
    profile: Profile,
) -> None:
    world = World(replace(profile, push_batch=50)).start()
    mails = world.deliver(BOB, count=300)
    world.settle()
    tap(world, mails[0], "@ToFeed")
    assert world.sandbox.mails_in("Feed") == set(mails)
    polls = world.polls
    world.run_for(50.0)
    assert world.polls == polls


@pytest.mark.parametrize("form", ["weak", "unquoted"])
def test_the_main_job_is_done_with_any_etags(form: Any) -> None:
    world = World(replace(CYRUS_3_10, etag_form=form)).start()
    world.sandbox.put_card(OWN_CARD)
    mail_id = world.sandbox.deliver(BOB)
    tap(world, mail_id, "@ToFeed")
    tap(world, mail_id, "@ToJail")
    assert members(world, "Feed", "Jail") == [0, 1]
    assert_quiet(world)


def test_a_book_is_synced_whole_though_its_token_is_lost_between_two_pages() -> None:
    profile = replace(TRUNCATED_SYNC, sync_page=5, sync_token_uses=4)
    world = World(profile).start()
    for number in range(6):
        mail_id = world.sandbox.deliver(f"s{number}@example.org")
        world.tap(mail_id, "@ToFeed")
        world.run_for(30.0)
    assert members(world, "Feed", "Mailroom") == [6, 6]
