"""The client for cards by JMAP, against a server in memory."""

import json
from dataclasses import replace

import pytest

from mailroom.wire.jmap import Arguments
from mailroom.work.contacts.cardbook import CardBook, CardWrite
from tests.sandbox import CYRUS_3_13, Fault, Response, json_response
from tests.virtual_clients import VirtualClients

CARD = """BEGIN:VCARD
VERSION:3.0
UID:anna
FN:Anna
N:;Anna;;;
EMAIL:anna@friends.example
END:VCARD
""".replace("\n", "\r\n")


def test_only_what_is_asked_for_of_a_card_is_read() -> None:
    clients = VirtualClients(CYRUS_3_13)
    clients.sandbox.put_card(CARD)
    book = CardBook(clients.loop, clients.mail.session, clients.mail.call)
    [whole] = [each for each in clients.run(book.look([{}])).cards if each.uid == "anna"]
    assert whole.emails == ("anna@friends.example",)
    [part] = clients.run(book.look(ids=[whole.id], properties=("id", "uid"))).cards
    assert (part.id, part.uid, part.emails) == (whole.id, "anna", ())


def test_a_card_that_is_gone_already_need_not_be_deleted() -> None:
    clients = VirtualClients(CYRUS_3_13)
    book = CardBook(clients.loop, clients.mail.session, clients.mail.call)
    written = clients.run(book.set([CardWrite("destroy", "gone")]))
    assert written.refused == {}


@pytest.mark.parametrize(("limit", "requests"), [(500, 1), (None, 2)])
def test_without_a_total_the_limit_that_is_told_shows_which_page_is_the_last(
    limit: int | None, requests: int
) -> None:
    clients = VirtualClients(CYRUS_3_13)
    clients.sandbox.put_card(CARD)
    book = CardBook(clients.loop, clients.mail.session, clients.mail.call)
    clients.run(book.look([{}]))

    def rewrite(response: Response) -> Response:
        document = json.loads(response.body)
        for name, answer, _ in document["methodResponses"]:
            if name == "ContactCard/query":
                del answer["total"]
                answer.update({} if limit is None else {"limit": limit})
        return json_response(document)

    clients.sandbox.faults.add(Fault(call="ContactCard/query", rewrite=rewrite))
    before = len(clients.requests)
    assert "anna" in {each.uid for each in clients.run(book.look([{}])).cards}
    assert len(clients.requests) - before == requests


def test_many_cards_are_written_in_requests_that_the_server_takes() -> None:
    limits = replace(CYRUS_3_13.limits, max_size_request=20_000)
    clients = VirtualClients(replace(CYRUS_3_13, limits=limits))
    book = CardBook(clients.loop, clients.mail.session, clients.mail.call)
    before = len(clients.sandbox.cards())
    orders = [CardWrite("create", uid, new_contact(uid)) for uid in map(str, range(60))]
    assert len(clients.run(book.set(orders)).created) == 60
    assert len(clients.sandbox.cards()) == before + 60
    assert max(entry.bytes_in for entry in clients.sandbox.log.entries) <= 20_000


def new_contact(uid: str) -> Arguments:
    note = {"n": {"note": "x" * 1_000}}
    return {"@type": "Card", "version": "1.0", "uid": uid, "name": {"full": uid}, "notes": note}
