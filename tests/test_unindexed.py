"""Mail that the index does not know yet is found by its mailbox, and nothing else is read."""

from dataclasses import replace

import pytest

from mailroom.sandbox import JAMES, STALWART, Fault, Profile
from mailroom.wire.filters import in_any
from mailroom.wire.jmap import MethodError
from mailroom.work.unindexed import unindexed
from tests.talk import Talk

LAG = STALWART.search_lag_seconds


def late(talk: Talk) -> set[str]:
    query = in_any(talk.sandbox.mailbox_id(name) for name in ("Screener", "Feed"))
    return {mail.id for mail in talk.run(unindexed(talk.loop, talk.mail, query))}


def waiting(talk: Talk, count: int) -> list[str]:
    return [talk.sandbox.deliver(f"s{number}@example.org") for number in range(count)]


@pytest.mark.parametrize("most_ids", [5000, 7])
def test_a_mail_is_late_until_the_index_has_it(most_ids: int) -> None:
    talk = Talk(replace(STALWART, limits=replace(STALWART.limits, max_ids_in_query=most_ids)))
    waiting(talk, 30)
    talk.clock.advance(LAG)
    fresh = waiting(talk, 16)
    assert late(talk) == set(fresh)
    talk.clock.advance(LAG)
    assert late(talk) == set()


def test_of_many_mails_that_wait_nothing_is_read() -> None:
    talk = Talk(STALWART)
    waiting(talk, 1200)
    talk.clock.advance(LAG)
    talk.run(talk.mail.session())
    number = len(talk.sandbox.log.entries)
    assert late(talk) == set()
    entries = talk.sandbox.log.entries[number:]
    assert [entry.calls for entry in entries] == [("Email/query",) * 2]


def test_mailboxes_are_asked_one_by_one_where_they_must_be() -> None:
    lagging: Profile = replace(JAMES, search_lag_seconds=0.5, dates_are_indexed=True)
    talk = Talk(lagging)
    waiting(talk, 3)
    talk.clock.advance(0.5)
    [fresh] = waiting(talk, 1)
    query = in_any(talk.sandbox.mailbox_id(name) for name in ("Screener", "Feed"))
    talk.run(talk.mail.search([query]))  # the server refuses, and is known for it
    assert late(talk) == {fresh}


def test_a_server_that_cannot_tell_says_so() -> None:
    talk = Talk(STALWART)
    talk.sandbox.faults.add(Fault(call="Email/query", method_error="serverFail"))
    talk.fails(MethodError, unindexed(talk.loop, talk.mail, in_any(["x", "y"])))
