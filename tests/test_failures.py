"""Senders that fail: when they are tried again."""

from hypothesis import given
from hypothesis import strategies as st

from mailroom.rules.triage.failures import Failures

BOB, CAROL = "bob@example.org", "carol@example.org"
MINUTE = 60.0
ONE, TWO = frozenset({("m1", "feed")}), frozenset({("m1", "feed"), ("m2", "feed")})
OTHER = frozenset({("m1", "jail")})


def test_a_sender_is_tried_again_after_1_2_4_and_at_last_60_minutes() -> None:
    failures, now, waits = Failures(), 1000.0, []
    for attempt in range(1, 10):
        failure = failures.failed(BOB, ONE, "no", now)
        assert failure.attempts == attempt
        waits.append((failure.next_try - now) / MINUTE)
        assert failures.is_held_back(ONE, failure.next_try - 0.1)
        assert not failures.is_held_back(ONE, failure.next_try)
        now = failure.next_try
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_failing_for_months_is_nothing_else() -> None:
    failures = Failures()
    waits = {failures.failed(BOB, ONE, "no", 0.0).next_try for _ in range(3000)}
    assert max(waits) == 60 * MINUTE


def test_a_new_tap_is_tried_at_once_and_counts_from_the_start() -> None:
    failures = Failures()
    for _ in range(5):
        failures.failed(BOB, ONE, "no", 0.0)
    assert failures.is_held_back(ONE, 1.0)
    assert not failures.is_held_back(TWO, 1.0)
    assert failures.failed(BOB, TWO, "no", 1.0).attempts == 1
    assert not failures.is_held_back(OTHER, 2.0)
    assert failures.failed(BOB, OTHER, "no", 2.0).attempts == 1


def test_a_label_taken_off_one_of_several_mails_is_no_new_tap() -> None:
    failures = Failures()
    failures.failed(BOB, TWO, "no", 0.0)
    assert failures.is_held_back(ONE, 1.0)
    assert failures.failed(BOB, ONE, "no", 60.0).attempts == 2


def test_senders_fail_each_for_itself() -> None:
    failures = Failures()
    failures.failed(BOB, ONE, "his card", 0.0)
    failures.failed(CAROL, frozenset({("m3", "feed")}), "her card", 5.0)
    assert [(who, each.reason) for who, each in failures.items()] == [
        (BOB, "his card"),
        (CAROL, "her card"),
    ]
    assert failures.is_held_back(ONE, 1.0)
    assert not failures.is_held_back(OTHER, 1.0)


def test_addresses_that_turn_out_to_be_one_sender_fail_as_one() -> None:
    failures = Failures()
    failures.failed(CAROL, ONE, "no", 0.0)
    failures.failed(BOB, TWO, "no", 1.0)
    assert [who for who, _ in failures.items()] == [BOB]
    assert failures.is_held_back(ONE, 2.0)


def test_success_is_forgiving() -> None:
    failures = Failures()
    failures.failed(BOB, ONE, "no", 0.0)
    failures.succeeded(BOB)
    assert failures.items() == []
    assert failures.failed(BOB, ONE, "no", 0.0).attempts == 1
    failures.succeeded(CAROL)


def test_what_passes_becomes_the_senders_own_when_it_does_not_pass() -> None:
    failures = Failures()
    assert [failures.is_passing(BOB) for _ in range(4)] == [True, True, False, False]
    assert failures.is_passing(CAROL)
    failures.succeeded(BOB)
    assert failures.is_passing(BOB)


def test_who_has_no_label_any_more_is_forgotten() -> None:
    failures = Failures()
    failures.failed(BOB, ONE, "no", 0.0)
    failures.failed(CAROL, ONE, "no", 0.0)
    for _ in range(2):
        failures.is_passing(BOB)
    failures.keep_only({CAROL})
    assert [who for who, _ in failures.items()] == [CAROL]
    assert failures.is_passing(BOB)


@given(st.lists(st.floats(0, 1e6), max_size=40))
def test_a_wait_is_a_minute_at_least_and_an_hour_at_most(gaps: list[float]) -> None:
    failures, now = Failures(), 0.0
    for gap in gaps:
        now += gap
        failure = failures.failed(BOB, ONE, "no", now)
        assert now + MINUTE <= failure.next_try <= now + 60 * MINUTE
