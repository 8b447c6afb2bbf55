"""Mail that the index does not know yet is found by its mailbox, and nothing else is read."""

from dataclasses import replace

import pytest

from mailroom.wire.filters import in_any
from mailroom.wire.jmap import MethodError
from mailroom.work.mail.unindexed import unindexed
from tests.sandbox import JAMES, STALWART, Fault, Profile
from tests.virtual_clients import VirtualClients

LAG = STALWART.search_lag_seconds


def late(clients: VirtualClients) -> set[str]:
    query = in_any(clients.sandbox.mailbox_id(name) for name in ("Screener", "Feed"))
    return {mail.id for mail in clients.run(unindexed(clients.loop, clients.mail, query))}


def waiting(clients: VirtualClients, count: int) -> list[str]:
    return [clients.sandbox.deliver(f"s{number}@example.org") for number in range(count)]


@pytest.mark.parametrize("most_ids", [5000, 7])
def test_a_mail_is_late_until_the_index_has_it(most_ids: int) -> None:
    clients = VirtualClients(
        replace(STALWART, limits=replace(STALWART.limits, max_ids_in_query=most_ids))
    )
    waiting(clients, 30)
    clients.clock.advance(LAG)
    fresh = waiting(clients, 16)
    assert late(clients) == set(fresh)
    clients.clock.advance(LAG)
    assert late(clients) == set()


def test_of_many_mails_that_wait_nothing_is_read() -> None:
    clients = VirtualClients(STALWART)
    waiting(clients, 1200)
    clients.clock.advance(LAG)
    clients.run(clients.mail.session())
    number = len(clients.sandbox.log.entries)
    assert late(clients) == set()
    entries = clients.sandbox.log.entries[number:]
    assert [entry.calls for entry in entries] == [("Email/query",) * 2]


def test_mailboxes_are_asked_one_by_one_where_they_must_be() -> None:
    lagging: Profile = replace(JAMES, search_lag_seconds=0.5, dates_are_indexed=True)
    clients = VirtualClients(lagging)
    waiting(clients, 3)
    clients.clock.advance(0.5)
    [fresh] = waiting(clients, 1)
    query = in_any(clients.sandbox.mailbox_id(name) for name in ("Screener", "Feed"))
    clients.run(clients.mail.search([query]))  # the server refuses, and is known for it
    assert late(clients) == {fresh}


def test_a_server_that_cannot_tell_says_so() -> None:
    clients = VirtualClients(STALWART)
    clients.sandbox.faults.add(Fault(call="Email/query", method_error="serverFail"))
    clients.fails(MethodError, unindexed(clients.loop, clients.mail, in_any(["x", "y"])))
