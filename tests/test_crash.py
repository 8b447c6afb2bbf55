"""Killed at any request, the service ends where it would have ended undisturbed."""

import gc
import itertools
import random
from collections.abc import Iterator

import pytest

from tests.chaos import swallowed
from tests.chaos.arrivals import DOOR_SCENARIOS
from tests.chaos.crash import (
    LARGE_SCENARIOS,
    SCENARIOS,
    Moment,
    kill,
    killed,
    undisturbed,
)
from tests.chaos.ordered import ORDER_SCENARIOS
from tests.chaos.rows import ROWS
from tests.chaos.table import run

# A process that is killed tells nobody what it was about to do; a test's process lives on.
pytestmark = pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")


@pytest.fixture(autouse=True, scope="module")
def _bury() -> Iterator[None]:
    """Nothing of the killed is to be heard of in other tests."""
    yield
    gc.collect()


BEGINS = {
    name: scenario.begin
    for table in (SCENARIOS, DOOR_SCENARIOS, ORDER_SCENARIOS)
    for name, scenario in table.items()
}


@pytest.mark.parametrize("name", BEGINS)
def test_a_kill_at_every_third_request_changes_nothing_in_the_end(name: str) -> None:
    begin = BEGINS[name]
    first, last, expected = undisturbed(begin)
    assert last > first
    moments = itertools.cycle(Moment)  # `make chaos` kills every request at all of them
    for number, moment in zip(range(first, last + 1, 3), moments, strict=False):
        assert killed(begin, number, moment) == expected, (number, moment)


def test_a_kill_among_fifty_senders_changes_nothing_in_the_end() -> None:
    begin = LARGE_SCENARIOS["fifty senders"].begin
    first, last, expected = undisturbed(begin)
    chance = random.Random(50)
    for number in chance.sample(range(first, last + 1), 3):
        moment = chance.choice(list(Moment))
        assert killed(begin, number, moment) == expected, (number, moment)


def test_a_service_killed_again_and_again_gets_there() -> None:
    begin = SCENARIOS["six senders"].begin
    _, _, expected = undisturbed(begin)
    job = begin()
    kills = 0
    while kill(job, len(job.sandbox.log.entries) + 10 + kills, Moment.HANDLED):
        kills += 1
    assert kills >= 3
    job.work()
    assert job.state() == expected


@pytest.mark.parametrize(
    ("name", "conflicts"),
    [
        ("a move that the door swallows, without rules, by JMAP", 0),
        # After the move is given back, after its answer, and before the label comes off.
        ("a move that a triage swallows, with rules, by JMAP", 3),
    ],
)
def test_a_move_is_lost_only_by_a_kill_before_it_was_given_back(name: str, conflicts: int) -> None:
    cases = [case for case in swallowed.cases() if case.name.startswith(name)]
    *_, result = run(ROWS["kill"], cases)
    assert result.failures == []
    # After the patch, after its answer, and before what gives the move back.
    counts = {swallowed.KILLS: 3, swallowed.LOST: 3, swallowed.CONFLICTS: conflicts}
    assert result.counts == counts
    assert f"3 {swallowed.LOST}" in str(result)
