"""Who waits: each mail once, each sender once, and since when; in little memory."""

import gc
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from mailroom.rules.screening.waiting import Summary, Waiting, WaitingMail

MAILS = [
    WaitingMail(f"M{n}", f"s{n % 4}@example.org" if n % 4 else "", float(n * 7 % 10))
    for n in range(10)
]
STEPS = st.lists(st.tuples(st.booleans(), st.lists(st.sampled_from(MAILS))))


def test_nobody_waits_at_first() -> None:
    assert Waiting().summary() == Summary(0, 0, None)


@given(STEPS)
def test_what_was_seen_and_has_not_left_is_counted(
    steps: list[tuple[bool, list[WaitingMail]]],
) -> None:
    waiting = Waiting()
    there: dict[str, WaitingMail] = {}
    for has_come, mails in steps:
        if has_come:
            waiting.seen(mails)
            there |= {mail.id: mail for mail in mails}
        else:
            waiting.left(mail.id for mail in mails)
            there = {key: mail for key, mail in there.items() if mail not in mails}
        oldest = min((mail.received_at for mail in there.values()), default=None)
        senders = {mail.sender for mail in there.values() if mail.sender}
        assert waiting.summary() == Summary(len(senders), len(there), oldest)
        assert {mail.id for mail in MAILS if mail.id in waiting} == there.keys()


def test_a_mail_that_is_read_again_counts_as_what_it_is_now() -> None:
    waiting = Waiting()
    waiting.seen([WaitingMail("M1", "", 5.0), WaitingMail("M1", "bob@example.org", 4.0)])
    assert waiting.summary() == Summary(1, 1, 4.0)


def test_mail_without_a_usable_sender_counts_as_mail_only() -> None:
    waiting = Waiting()
    waiting.seen([WaitingMail("M1", "", 5.0), WaitingMail("M2", "", 4.0)])
    assert waiting.summary() == Summary(0, 2, 4.0)
    waiting.seen([WaitingMail("M3", "bob@example.org", 6.0)])
    assert waiting.summary() == Summary(1, 3, 4.0)


def test_ten_thousand_mails_take_less_than_two_mebibytes() -> None:
    waiting = Waiting()
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        waiting.seen(
            WaitingMail(f"M{n:024x}", f"sender{n}@example.org", 1.7e9 + n) for n in range(10_000)
        )
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert waiting.summary() == Summary(10_000, 10_000, 1.7e9)
    assert after - before < 2 * 1024 * 1024
