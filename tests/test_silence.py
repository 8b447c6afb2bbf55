"""A server is silent when it answers nobody; one request without an answer proves nothing."""

import pytest

from mailroom.rules.polling.silence import Silence


@pytest.mark.parametrize(
    ("answered_at", "sent_at", "is_on"),
    [(None, 5.0, True), (4.0, 5.0, True), (6.0, 5.0, False), (5.0, 5.0, False)],
    ids=["never an answer", "none since", "others had one meanwhile", "one at that instant"],
)
def test_silence_is_no_answer_to_anybody_since_the_request_was_sent(
    answered_at: float | None, sent_at: float, is_on: bool
) -> None:
    silence = Silence()
    if answered_at is not None:
        silence.answered(answered_at)
    silence.timed_out(sent_at)
    assert silence.is_on is is_on


def test_the_first_answer_ends_it_and_a_late_time_out_does_not_begin_it_anew() -> None:
    silence = Silence()
    silence.timed_out(5.0)
    silence.answered(20.0)
    assert not silence.is_on
    silence.timed_out(15.0)
    assert not silence.is_on
    silence.timed_out(21.0)
    assert silence.is_on
