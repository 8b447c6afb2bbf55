"""So many a second, however many come; who comes when nobody does need not wait."""

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from mailroom.rules.polling.pace import Pace
from mailroom.wire.urls import origin
from tests.sandbox import Fault
from tests.world import World


@given(
    st.floats(0.1, 100),
    st.lists(st.floats(0, 5), max_size=50),
)
def test_turns_are_so_far_apart_and_no_later_than_that_takes(
    per_second: float, pauses: list[float]
) -> None:
    pace, now, turns = Pace(per_second), 0.0, [-inf]
    for pause in pauses:
        now += pause
        turns.append(pace.turn(now))
        assert turns[-1] == max(now, turns[-2] + 1 / per_second)


def test_without_a_limit_everybody_begins_at_once() -> None:
    pace = Pace(inf)
    assert [pace.turn(1.0) for _ in range(3)] == [1.0] * 3


def test_an_account_starts_and_connects_again_when_its_turn_comes() -> None:
    world = World()
    world.servers.limit(16, 0.1)
    pace = world.servers.pace(origin(world.config.jmap.url))
    assert pace.turn(world.clock.now()) == world.clock.now()  # somebody else starts
    world.account.start()
    world.run_for(9.0)
    assert world.request_count == 0
    world.run_for(5.0)
    assert world.polls == 1
    assert world.healthz[1]["eventsource"]["status"] == "connected"
    world.run_for(60.0)
    pace.turn(world.clock.now())  # and again
    world.sandbox.close_feeds()
    world.run_for(8.0)
    assert world.healthz[1]["eventsource"]["status"] == "disconnected"
    world.run_for(5.0)
    assert world.healthz[1]["eventsource"]["status"] == "connected"


def test_a_poll_that_has_failed_is_tried_again_when_its_turn_comes() -> None:
    world = World().start()
    world.servers.limit(16, 0.1)
    world.settle()
    world.sandbox.faults.add(Fault(path="/jmap/", method="POST", times=1, breaks="before"))
    world.run_until(lambda: world.status["phase"] == "backing-off", 3_000)
    pace, polls = world.servers.pace(origin(world.config.jmap.url)), world.polls
    pace.turn(world.clock.now())  # somebody else's; the backoff is a second
    world.run_for(9.9)
    assert world.polls == polls
    world.run_for(0.2)
    assert world.polls == polls + 1
