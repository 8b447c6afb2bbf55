"""No herd: whatever all accounts begin at one instant is spread before it comes to the server."""

from collections.abc import Callable

import pytest

from tests.bench.herd import (
    ARRIVAL,
    FIRST_POLL,
    IDLE_POLL,
    SESSION,
    TAP,
    Counted,
    Fleet,
    Outage,
    Scenario,
    count,
)
from tests.bench.paper import MOST_TIMES
from tests.sandbox import CYRUS_3_13
from tests.world import World

REFUSING, SILENT = Outage(500, 530), Outage(900, 1_300, is_silent=True)
DAY = Scenario("a small one of all", 1_700, (REFUSING, SILENT), (500, 560))


@pytest.fixture(scope="module")
def counted() -> Counted:
    return count(Fleet(2_000), DAY)


@pytest.mark.parametrize("since", [0, int(REFUSING.ends), int(SILENT.ends)])
def test_no_second_sees_more_than_three_times_the_mean_of_five_minutes(
    counted: Counted, since: int
) -> None:
    """At the start, after an outage with a mail for everybody, and after minutes of silence."""
    assert counted.herd(since) <= MOST_TIMES


def test_everybody_is_connected_again_in_minutes(counted: Counted) -> None:
    assert sum(counted.connected[: int(REFUSING.begins)]) == 2_000
    assert counted.all_connected_after(int(SILENT.ends)) <= 240


def test_processes_that_start_at_one_instant_do_not_poll_at_one_for_ever() -> None:
    """They are too small for their limits to spread anything: chance does."""
    counted = count(Fleet(2_000, each=100), Scenario("a start", 600))
    assert counted.herd(300) <= 2


def test_a_process_has_the_requests_under_way_that_it_may_have() -> None:
    counted = count(Fleet(1_000), Scenario("a mail for everybody at once", 200, mails=(150, 150)))
    asked = counted.asked[150:160]
    assert max(asked) <= 16 / 0.05 + 1
    assert sum(asked) >= 1_000 * ARRIVAL


def test_an_account_asks_what_it_is_reckoned_with() -> None:
    world = World(CYRUS_3_13, {"contacts": {"by": "jmap"}})
    world.start().run_for(30.0)
    assert world.request_count == SESSION + FIRST_POLL + 1
    assert _asked(world, lambda: None, 60.0) == IDLE_POLL
    assert _asked(world, world.sandbox.close_feeds, 5.0) == 1 + IDLE_POLL
    mail = world.sandbox.deliver("Eve <eve@example.net>")
    assert _asked(world, lambda: None, 5.0) == ARRIVAL
    assert _asked(world, lambda: world.tap(mail, "@ToFeed"), 5.0) == TAP


def _asked(world: World, happens: Callable[[], object], seconds: float) -> int:
    """Requests from then on."""
    before = len(world.sandbox.log.entries)
    happens()
    world.run_for(seconds)
    return len(world.sandbox.log.entries) - before
