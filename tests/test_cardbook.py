"""The client for cards by JMAP, against a server in memory."""

from mailroom.work.contacts.cardbook import CardBook, CardWrite
from tests.sandbox import CYRUS_3_13
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
