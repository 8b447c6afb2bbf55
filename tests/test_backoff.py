"""Delays double up to the cap, chance only shortens them, the server's wish is a minimum."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailroom.rules.polling.backoff import MAX_RETRY_AFTER_SECONDS, Backoff


def no_jitter() -> float:
    return 0.0


def test_delays_double_up_to_the_cap() -> None:
    backoff = Backoff(no_jitter)
    assert [backoff.fail() for _ in range(9)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert backoff.failures == 9


@pytest.mark.parametrize(("chance", "delays"), [(0.5, [0.9, 1.8, 3.6]), (1.0, [0.8, 1.6, 3.2])])
def test_chance_takes_off_a_fifth_at_most(chance: float, delays: list[float]) -> None:
    backoff = Backoff(lambda: chance)
    assert [backoff.fail() for _ in delays] == pytest.approx(delays)


def test_minutes_work_as_seconds_do() -> None:
    backoff = Backoff(no_jitter, base=60, cap=3600)
    assert [backoff.fail() / 60 for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]


def test_after_a_success_it_begins_anew() -> None:
    backoff = Backoff(no_jitter)
    backoff.fail()
    backoff.fail()
    backoff.reset()
    assert backoff.failures == 0
    assert backoff.fail() == 1


def test_a_changed_base_counts_from_the_next_failure() -> None:
    backoff = Backoff(no_jitter)
    backoff.fail()
    backoff.base = 5
    assert [backoff.fail() for _ in range(4)] == [10, 20, 40, 60]


@pytest.mark.parametrize(
    ("retry_after", "delay"),
    [
        (None, 1.0),
        (0.0, 1.0),
        (-5.0, 1.0),
        (0.5, 1.0),
        (7.5, 7.5),
        (600.0, 600.0),
        (1e9, MAX_RETRY_AFTER_SECONDS),
        (float("inf"), MAX_RETRY_AFTER_SECONDS),
    ],
)
def test_retry_after_is_a_minimum_up_to_an_hour(retry_after: float | None, delay: float) -> None:
    assert Backoff(no_jitter).fail(retry_after) == delay


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=50))
def test_chance_takes_off_a_fifth_at_most_and_adds_nothing(chances: list[float]) -> None:
    plain = Backoff(no_jitter)
    jittered = Backoff(iter(chances).__next__)
    for _ in chances:
        longest = plain.fail()
        assert longest * 0.8 <= jittered.fail() <= longest


def test_years_of_failures_do_not_overflow() -> None:
    backoff = Backoff(no_jitter)
    backoff.failures = 10_000_000
    assert backoff.fail() == 60
