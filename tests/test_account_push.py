"""An account whose event stream is open and of no use: what it notices, says and does."""

from dataclasses import replace

import pytest

from mailroom.engine.journal import Level
from mailroom.rules.polling.push import BLOCKING, DEAF, STALLED, UNTOLD
from mailroom.rules.status.statusline import status_line
from tests.sandbox import CYRUS_3_10, CYRUS_3_13_BLOCKING, FASTMAIL, LATE_PUSH, STALWART, Profile
from tests.world import World

BOB = "Bob <bob@example.org>"


def tap_every(world: World, seconds: float, times: int) -> None:
    """Each time another sender."""
    for number in range(times):
        [mail] = world.deliver(f"s{world.clock.now()}-{number}@example.org")
        world.tap(mail, "@ToFeed")
        world.run_for(seconds)


def eventsource(world: World) -> tuple[str, str | None]:
    document = world.healthz[1]["eventsource"]
    return document["status"], document["error"]


def warnings(world: World, event: str) -> list[object]:
    return [
        fields["error"]
        for level, name, fields in world.events
        if name == event and level is Level.WARNING
    ]


def test_a_stream_that_is_buffered_on_its_way_is_found_out() -> None:
    world = World()
    world.sandbox.controls.buffers_push = True
    world.start()
    tap_every(world, 300.0, 4)
    assert eventsource(world) == ("unavailable", DEAF)
    assert DEAF in status_line(world.account.snapshot())
    assert warnings(world, "eventsource_deaf") == [
        UNTOLD,
        DEAF,
    ]
    fallbacks = world.history.totals.polls["fallback"]
    tap_every(world, 60.0, 2)
    assert world.history.totals.polls["fallback"] >= fallbacks + 2
    assert len(world.sandbox.mails_in("Feed")) == 6
    assert world.healthz[1]["status"] == "ok"


def test_it_is_asked_again_hourly_and_believed_when_it_tells() -> None:
    world = World()
    world.sandbox.controls.buffers_push = True
    world.start()
    tap_every(world, 300.0, 4)
    reconnects = world.healthz[1]["eventsource"]["reconnect_count"]
    tap_every(world, 300.0, 14)
    assert eventsource(world)[0] == "unavailable"
    assert world.healthz[1]["eventsource"]["reconnect_count"] == reconnects + 1
    assert len(warnings(world, "eventsource_deaf")) == 2
    world.sandbox.controls.buffers_push = False
    world.run_for(3700.0)
    assert eventsource(world) == ("connected", None)
    pushed = world.history.totals.polls["push"]
    tap_every(world, 10.0, 1)
    assert world.history.totals.polls["push"] == pushed + 1


def test_a_stream_that_dies_before_its_first_ping_is_opened_anew_once_a_poll_shows_it() -> None:
    world = World().start()
    world.settle()
    world.sandbox.cut_off_feeds()
    [one, two] = world.deliver(BOB), world.deliver("Carol <carol@example.org>")
    world.tap(one[0], "@ToFeed")
    world.run_for(70.0)
    assert world.sandbox.mailboxes_of(one[0]) == {"Feed"}
    assert world.healthz[1]["eventsource"]["reconnect_count"] == 1
    world.tap(two[0], "@ToJail")
    world.run_for(1.0)
    assert world.sandbox.mailboxes_of(two[0]) == {"Jail"}
    assert eventsource(world) == ("connected", None)


@pytest.mark.parametrize(
    "profile",
    [
        CYRUS_3_10,
        LATE_PUSH,
        STALWART,
        FASTMAIL,
        replace(CYRUS_3_10, name="4.5 s late", push_look_seconds=4.5),
        replace(CYRUS_3_10, name="ends every five minutes", stream_seconds=300.0),
    ],
    ids=lambda profile: profile.name,
)
@pytest.mark.parametrize("seconds", [0.9, 7.3, 59.9, 61.0])
def test_a_server_that_tells_is_never_taken_for_deaf(profile: Profile, seconds: float) -> None:
    world = World(profile).start()
    tap_every(world, seconds, 30)
    world.run_for(130.0)
    assert world.named("eventsource_deaf") == []
    assert len(world.sandbox.mails_in("Feed")) == 30


def test_a_server_that_looks_once_a_minute_keeps_its_stream() -> None:
    """Cyrus does with the default of jmap_pushpoll."""
    world = World(replace(CYRUS_3_10, push_look_seconds=60.0)).start()
    tap_every(world, 97.0, 60)
    assert eventsource(world) == ("connected", None)
    assert len(world.named("eventsource_deaf")) <= 2


def test_a_stream_that_blocks_all_else_is_left_closed_and_said_so() -> None:
    world = World(CYRUS_3_13_BLOCKING).start()
    world.run_for(100.0)
    assert eventsource(world) == ("unavailable", BLOCKING)
    assert BLOCKING in status_line(world.account.snapshot())
    assert world.healthz[1]["status"] == "ok"
    assert warnings(world, "eventsource_disconnected") == [STALLED]
    assert warnings(world, "eventsource_blocking") == [BLOCKING]
    tap_every(world, 61.0, 1)
    assert len(world.sandbox.mails_in("Feed")) == 1


def test_it_is_tried_hourly_and_kept_once_it_does_no_harm() -> None:
    world = World(CYRUS_3_13_BLOCKING).start()
    world.run_for(100.0)
    failed = world.history.totals.polls_failed
    world.run_for(3600.0)
    assert world.history.totals.polls_failed == failed + 1
    assert eventsource(world) == ("unavailable", BLOCKING)
    world.sandbox.profile = replace(CYRUS_3_13_BLOCKING, open_stream_blocks=False)
    world.run_for(3700.0)
    assert eventsource(world) == ("connected", None)
    assert warnings(world, "eventsource_blocking") == [BLOCKING]


def test_an_outage_is_not_blamed_on_the_stream() -> None:
    world = World().start()
    world.settle()
    world.sandbox.controls.delay_seconds = 100.0
    world.run_for(600.0)
    world.sandbox.controls.delay_seconds = 0.0
    world.run_for(200.0)
    assert eventsource(world) == ("connected", None)
    assert warnings(world, "eventsource_blocking") == []
