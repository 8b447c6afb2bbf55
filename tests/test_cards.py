"""The conversation about contacts: finding the book, keeping the index, writing cards."""

import re
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from mailroom.errors import (
    CredentialsRefused,
    Forbidden,
    LastingTrouble,
    MailroomError,
    NoAddressBooks,
    ProtocolError,
    SenderFailed,
    TransientError,
)
from mailroom.wire.vcard import Card, UnsafeCard
from mailroom.work.contacts.cards import StoredCard, usable
from tests.sandbox import Entry, Fault
from tests.sandbox import Request as Asked
from tests.sandbox import Response as Answer
from tests.virtual_clients import ORIGIN, VirtualClients

BOOK = "/dav/addressbooks/user/alice/Default/"
BOB = BOOK + "bob.vcf"


def vcard(uid: str, *lines: str, fn: str = "Bob") -> str:
    head = ("BEGIN:VCARD", "VERSION:3.0", f"UID:{uid}", f"FN:{fn}", "N:;;;;")
    return "".join(f"{line}\r\n" for line in (*head, *lines, "END:VCARD"))


def noted(card: Card, text: str = "hello") -> Card:
    """A change that is there once."""
    has_it = any(line.value == text for line in card.all("NOTE"))
    return card if has_it else card.with_lines([("NOTE", text)])


NEW = Card.parse(vcard("new", "EMAIL:new@example.org").encode())


@pytest.fixture
def clients() -> VirtualClients:
    clients = VirtualClients()
    clients.sandbox.put_card(vcard("bob", "EMAIL:bob@example.org", "X-KEEP:a\\,b"), "bob.vcf")
    return clients


def synced(clients: VirtualClients) -> VirtualClients:
    clients.run(clients.contacts.sync())
    return clients


def people(clients: VirtualClients) -> set[str]:
    """Which of the contacts that the tests ever make are in the index."""
    names = ("bob.vcf", "eve.vcf", "old.vcf", "bad.vcf")
    return {name for name in names if clients.contacts.book.get(BOOK + name)}


def multistatus(*responses: str, token: str = "") -> Answer:
    text = (
        '<multistatus xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav">'
        f"{''.join(responses)}{token}</multistatus>"
    )
    return Answer(207, {"Content-Type": "application/xml"}, text.encode())


def resource(href: str, prop: str) -> str:
    status = "<status>HTTP/1.1 200 OK</status>"
    return (
        f"<response><href>{href}</href><propstat><prop>{prop}</prop>{status}</propstat></response>"
    )


def refusal(status: int, precondition: str = "", namespace: str = "DAV:") -> Answer:
    element = f'<{precondition} xmlns="{namespace}"/>' if precondition else ""
    body = f'<D:error xmlns:D="DAV:">{element}</D:error>' if precondition else ""
    return Answer(status, {"Content-Type": "application/xml"}, body.encode())


def rewriting(change: Callable[[str], str], method: str, times: int | None = None) -> Fault:
    """The server's answers to a method with their text changed."""

    def rewrite(answer: Answer) -> Answer:
        return replace(answer, body=change(answer.body.decode()).encode())

    return Fault(method=method, times=times, rewrite=rewrite)


def without_header(name: str, method: str) -> Fault:
    def rewrite(answer: Answer) -> Answer:
        kept = {key: value for key, value in answer.headers.items() if key.lower() != name}
        return replace(answer, headers=kept)

    return Fault(method=method, rewrite=rewrite)


def conditions(clients: VirtualClients) -> list[tuple[str, str]]:
    """The condition of every write from now on."""
    seen: list[tuple[str, str]] = []

    def note(_: Entry, request: Asked) -> None:
        for name in ("If-Match", "If-None-Match"):
            if request.method in ("PUT", "DELETE") and (value := request.header(name)) is not None:
                seen.append((name, value))

    clients.sandbox.before(note)
    return seen


def before_each(
    clients: VirtualClients, method: str, act: Callable[[int], object], times: int = 1
) -> None:
    """Somebody does something before each of the first requests of a method."""
    count = [0]

    def hook(entry: Entry, _: Asked) -> None:
        if entry.method == method and count[0] < times:
            count[0] += 1
            act(count[0])

    clients.sandbox.before(hook)


# Discovery

BOOK_TYPE = "<resourcetype><collection/><C:addressbook/></resourcetype>"
HOME_PROP = "<C:addressbook-home-set><href>{}</href></C:addressbook-home-set>"
PRINCIPAL_PROP = "<current-user-principal><href>{}</href></current-user-principal>"


def test_the_book_is_found_from_the_host_alone(clients: VirtualClients) -> None:
    assert clients.run(clients.contacts.url()) == ORIGIN + BOOK
    asked = len(clients.requests)
    assert clients.run(clients.contacts.url()) == ORIGIN + BOOK
    assert len(clients.requests) == asked


@pytest.mark.parametrize(
    "answer",
    [
        *map(Answer, (404, 405, 410, 403, 406, 415, 501)),
        Answer(403, {"Content-Type": "text/html"}, b"<h1>Forbidden</h1> mod_security"),
        Answer(200, {"Content-Type": "text/html"}, b"<h1>Welcome</h1>"),
    ],
)
def test_without_a_well_known_address_discovery_starts_at_the_root(
    clients: VirtualClients, answer: Answer
) -> None:
    """RFC 6764 §6."""
    clients.answers(answer, path="/.well-known/carddav")
    start = Answer(301, {"Location": "/dav/addressbooks"})
    clients.sandbox.faults.add(Fault(method="PROPFIND", nth=2, answer=start))
    assert clients.run(clients.contacts.url()) == ORIGIN + BOOK
    assert clients.requests[:3] == [
        "PROPFIND /.well-known/carddav", "PROPFIND /", "PROPFIND /dav/addressbooks",
    ]  # fmt: skip


def test_where_there_is_nothing_at_the_root_either_that_is_told(clients: VirtualClients) -> None:
    clients.answers(Answer(404), method="PROPFIND", times=None)
    said = clients.fails(NoAddressBooks, clients.contacts.url())
    assert said == (
        f"no CardDAV at {ORIGIN} (404): name the server that has your contacts as carddav.url"
    )


def test_what_tells_more_than_that_there_is_nothing_is_told(clients: VirtualClients) -> None:
    clients.answers(Answer(403), path="/.well-known/carddav")
    clients.answers(Answer(404), path="/")
    said = clients.fails(Forbidden, clients.contacts.url())
    assert said.startswith(f"PROPFIND {ORIGIN}/.well-known/carddav: the server answered 403")


@pytest.mark.parametrize(
    "path", ["/dav/addressbooks/", "/dav/addressbooks/user/alice/", BOOK, BOOK.rstrip("/")]
)
def test_the_book_is_found_from_wherever_the_user_points(path: str) -> None:
    clients = VirtualClients(carddav=ORIGIN + path)
    assert clients.run(clients.contacts.url()) == ORIGIN + BOOK


def books(*names: tuple[str, str]) -> Answer:
    home = resource("/h/", "<resourcetype><collection/></resourcetype>")
    found = [
        resource(href, f"{BOOK_TYPE}<displayname>{name}</displayname>") for href, name in names
    ]
    return multistatus(home, *found)


def discovering(book_name: str | None, listing: Answer) -> VirtualClients:
    clients = VirtualClients(book_name=book_name, carddav=f"{ORIGIN}/dav/")
    clients.answers(multistatus(resource("/dav/", HOME_PROP.format("/h/"))), "PROPFIND", "/dav/")
    clients.answers(listing, "PROPFIND", "/h/")
    return clients


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (None, "/h/Default/"),
        ("Private", "/h/b%20c/"),
        ("b c", "/h/b%20c/"),
        ("/h/b%20c/", "/h/b%20c/"),
        ("a", "/h/a/"),
        ("Personal", "/h/Default/"),
    ],
)
def test_of_several_books_the_named_one_or_the_default_is_chosen(
    name: str | None, found: str
) -> None:
    listing = books(("/h/b%20c/", "Private"), ("/h/a", "Shared"), ("/h/Default/", "Personal"))
    clients = discovering(name, listing)
    assert clients.run(clients.contacts.url()) == ORIGIN + found


def test_without_a_default_the_first_by_href_is_chosen() -> None:
    clients = discovering(None, books(("/h/z/", "A"), ("/h/b/", "B")))
    assert clients.run(clients.contacts.url()) == f"{ORIGIN}/h/b/"


@pytest.mark.parametrize(
    ("name", "listing", "says"),
    [
        ("Work", books(("/h/a/", "A"), ("/h/b%20c/", "B")), "there: a, b c"),
        ("Work", books(("/h/a/", "A")), "carddav.addressbook"),
        (None, books(), "create one there"),
    ],
)
def test_a_book_that_is_not_there_is_trouble_for_the_user(
    name: str | None, listing: Answer, says: str
) -> None:
    clients = discovering(name, listing)
    assert says in clients.fails(LastingTrouble, clients.contacts.url())


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        (Answer(404), ProtocolError, "404, which makes no sense here: check carddav.url"),
        (Answer(405), ProtocolError, "check carddav.url"),
        (Answer(200, {}, b"<html>"), ProtocolError, "check carddav.url"),
        (Answer(207, {}, b"<html>"), ProtocolError, "not the XML that WebDAV promises"),
        (multistatus(), ProtocolError, "an empty answer: check carddav.url"),
        (multistatus(resource("/dav/", "")), ProtocolError, "names no principal"),
        (
            multistatus(resource("/dav/", PRINCIPAL_PROP.format("https://[bad"))),
            ProtocolError,
            "something that is not a URL",
        ),
        (
            multistatus(resource("/dav/", PRINCIPAL_PROP.format("https://evil.example/"))),
            ProtocolError,
            "may not have the credentials",
        ),
        (
            multistatus(resource("/dav/", HOME_PROP.format("http://mail.example.org/h/"))),
            ProtocolError,
            "may not have the credentials",
        ),
        (Answer(401), CredentialsRefused, "carddav-password"),
        (Answer(403), Forbidden, "a temporary ban"),
        (Answer(503), TransientError, "503"),
    ],
)
def test_discovery_that_fails_says_where_and_what_to_do(
    answer: Answer, error: type[MailroomError], says: str
) -> None:
    clients = VirtualClients(carddav=f"{ORIGIN}/dav/")
    clients.answers(answer, "PROPFIND")
    assert says in clients.fails(error, clients.contacts.url())
    assert clients.run(clients.contacts.url()) == ORIGIN + BOOK


def test_a_principal_without_home_is_trouble_for_the_user() -> None:
    clients = VirtualClients(carddav=f"{ORIGIN}/dav/")
    principal = multistatus(resource("/dav/", PRINCIPAL_PROP.format("/p/")))
    clients.answers(principal, "PROPFIND", "/dav/")
    clients.answers(multistatus(resource("/p/", "")), "PROPFIND", "/p/")
    said = clients.fails(LastingTrouble, clients.contacts.url())
    assert f"{ORIGIN}/p/ has no address books" in said


# The index


def test_the_first_sync_is_every_card_and_the_next_what_has_changed(
    clients: VirtualClients,
) -> None:
    synced(clients)
    assert people(clients) == {"bob.vcf"}
    received = clients.totals.bytes_received
    clients.sandbox.put_card(vcard("eve", "EMAIL:eve@example.org"), "eve.vcf")
    clients.sandbox.delete_card(BOB)
    synced(clients)
    assert people(clients) == {"eve.vcf"}
    assert clients.totals.bytes_received - received < 3000
    assert clients.contacts.book.contact("bob@example.org", []) is None


def test_a_sync_reads_what_the_index_needs_and_no_photos(clients: VirtualClients) -> None:
    clients.sandbox.put_card(
        vcard("eve", "EMAIL:eve@example.org", "PHOTO:" + "x" * 9999), "eve.vcf"
    )
    synced(clients)
    assert clients.totals.bytes_received < 9000
    assert clients.contacts.book.contact("eve@example.org", []) is not None


def in_pages(clients: VirtualClients, token: Callable[[int], str] = "data:,1-{}".format) -> None:
    """A server that truncates each sync to one card of three (RFC 6578 §3.6)."""
    status = "<status>HTTP/1.1 507 Insufficient Storage</status>"
    truncated = f"<response><href>{BOOK}</href>{status}</response>"

    def answer(_: Entry, request: Asked) -> None:
        clients.sandbox.faults.clear()
        if b"sync-collection" in request.body:
            given = re.search(rb"sync-token>data:,1-(\d)<", request.body)
            number = int(given[1]) + 1 if given else 1
            data = vcard(f"p{number}", f"EMAIL:p{number}@example.org")
            prop = f"<getetag>1</getetag><C:address-data>{data}</C:address-data>"
            card = resource(f"{BOOK}p{number}.vcf", prop)
            name = f"<sync-token>{token(number)}</sync-token>"
            more = truncated if number < 3 else ""
            clients.answers(multistatus(card, more, token=name), "REPORT")

    clients.sandbox.before(answer)


def members(clients: VirtualClients) -> list[int]:
    found = (clients.contacts.book.get(f"{BOOK}p{number}.vcf") for number in (1, 2, 3))
    return [number for number, card in enumerate(found, 1) if card]


def test_a_sync_in_pages_goes_on_to_the_end(clients: VirtualClients) -> None:
    in_pages(clients)
    synced(clients)
    assert members(clients) == [1, 2, 3]
    assert clients.contacts.is_synced
    assert clients.requests.count(f"REPORT {BOOK}") == 3


def test_a_sync_that_is_broken_off_goes_on_where_it_stood(clients: VirtualClients) -> None:
    in_pages(clients)
    broken = Fault(method="REPORT", breaks="before")

    def cut(entry: Entry, request: Asked) -> None:
        if b">data:,1-1<" in request.body and entry.number < 10:
            clients.sandbox.faults.add(broken)

    clients.sandbox.before(cut)
    clients.fails(TransientError, clients.contacts.sync())
    assert (members(clients), clients.contacts.is_synced) == ([1], False)
    while len(clients.requests) < 9:
        clients.fails(TransientError, clients.contacts.sync())
    synced(clients)
    assert (members(clients), clients.contacts.is_synced) == ([1, 2, 3], True)


def test_a_first_answer_that_ends_in_the_middle_is_read_again_whole(
    clients: VirtualClients,
) -> None:
    for n in range(100):
        clients.sandbox.put_card(vcard(f"n{n}", f"NOTE:{'x' * 300}"))
    clients.sandbox.faults.add(rewriting(lambda text: text[: len(text) // 2], "REPORT", times=1))
    clients.fails(ProtocolError, clients.contacts.sync())
    assert (clients.contacts.is_synced, people(clients)) == (False, {"bob.vcf"})
    clients.sandbox.delete_card(BOB)
    assert len(synced(clients).contacts.book) == len(clients.sandbox.cards())
    assert (clients.contacts.is_synced, people(clients)) == (True, set())


def test_where_the_token_stays_the_etags_tell_what_there_is(clients: VirtualClients) -> None:
    in_pages(clients, lambda number: "data:,1-1")
    synced(clients)
    assert (members(clients), people(clients)) == ([], {"bob.vcf"})
    assert clients.requests.count(f"PROPFIND {BOOK}") == 1


@pytest.mark.parametrize(
    "answer",
    [
        None,
        refusal(403, "valid-sync-token"),
        refusal(409, "valid-sync-token"),
        refusal(412),
        refusal(400),
        Answer(
            403,
            {"Content-Type": "application/xml"},
            b'<d:error xmlns:d="DAV:" xmlns:s="s"><s:exception/><d:valid-sync-token/></d:error>',
        ),
    ],
)
def test_a_token_that_the_server_has_forgotten_means_every_card_again(
    clients: VirtualClients, answer: Answer | None
) -> None:
    synced(clients)
    clients.sandbox.delete_card(BOB)
    clients.sandbox.put_card(vcard("eve"), "eve.vcf")
    if answer is None:
        clients.sandbox.forget_sync_tokens()
    else:
        clients.answers(answer, "REPORT")
    synced(clients)
    assert people(clients) == {"eve.vcf"}


def test_a_sync_that_is_refused_without_a_token_is_an_error_and_no_loop(
    clients: VirtualClients,
) -> None:
    clients.answers(refusal(403, "supported-report"), "REPORT", times=None)
    assert "supported-report" in clients.fails(ProtocolError, clients.contacts.sync())
    assert clients.requests.count(f"REPORT {BOOK}") == 2  # of the sync, and of the cards
    assert not clients.contacts.is_synced


def test_a_book_that_is_gone_is_looked_for_again(clients: VirtualClients) -> None:
    synced(clients)
    clients.answers(Answer(404), "REPORT")
    clients.fails(ProtocolError, clients.contacts.sync())
    assert not clients.contacts.is_synced
    searches = clients.requests.count(f"PROPFIND {BOOK.removesuffix('Default/')}")
    synced(clients)
    assert clients.requests.count(f"PROPFIND {BOOK.removesuffix('Default/')}") > searches
    assert people(clients) == {"bob.vcf"}


def test_without_tokens_every_sync_is_every_card(clients: VirtualClients) -> None:
    untold = rewriting(lambda text: re.sub("<[^<]*sync-token>[^<]*</[^<]*>", "", text), "REPORT")
    clients.sandbox.faults.add(untold)
    synced(clients)
    clients.sandbox.delete_card(BOB)
    clients.sandbox.put_card(vcard("eve"), "eve.vcf")
    synced(clients)
    assert people(clients) == {"eve.vcf"}


def without_cards(text: str) -> str:
    """A server that leaves address-data out of a sync."""
    if "sync-token" not in text:
        return text
    return re.sub(r"<(\w+:)?address-data.*?</(\w+:)?address-data>", "", text, flags=re.DOTALL)


def test_a_server_that_gives_no_cards_in_a_sync_is_asked_for_them(clients: VirtualClients) -> None:
    clients.sandbox.put_card(vcard("old", "EMAIL:old@example.org").replace("3.0", "2.1"), "old.vcf")
    clients.sandbox.faults.add(rewriting(without_cards, "REPORT"))
    synced(clients)
    assert people(clients) == {"bob.vcf", "old.vcf"}
    assert clients.contacts.book.contact("old@example.org", []) is not None
    clients.sandbox.delete_card(BOB)
    clients.sandbox.put_card(vcard("eve"), "eve.vcf")
    synced(clients)
    assert people(clients) == {"old.vcf", "eve.vcf"}


def test_a_card_that_is_deleted_before_it_is_fetched_is_not_in_the_index(
    clients: VirtualClients,
) -> None:
    clients.sandbox.faults.add(rewriting(without_cards, "REPORT"))
    synced(clients)
    clients.sandbox.put_card(vcard("bob", "TITLE:x"), "bob.vcf")

    def delete(entry: Entry, request: Asked) -> None:
        if b"multiget" in request.body:
            clients.sandbox.delete_card(BOB)

    clients.sandbox.before(delete)
    synced(clients)
    assert people(clients) == set()


def test_more_cards_than_fit_one_request_are_fetched_in_several(clients: VirtualClients) -> None:
    hrefs = [clients.sandbox.put_card(vcard(f"u{n}"), f"u{n}.vcf") for n in range(120)]
    found = clients.run(clients.contacts.fetch([*hrefs, f"{BOOK}nobody.vcf"]))
    assert set(found) == set(hrefs)
    assert clients.requests.count(f"REPORT {BOOK}") == 3


@pytest.mark.parametrize("written", ["%40b.vcf", "@b.vcf", "%40%62.vcf"])
def test_cards_are_told_apart_by_href_however_it_is_written(
    clients: VirtualClients, written: str
) -> None:
    href = clients.sandbox.put_card(vcard("b@b", "EMAIL:b@example.org"), "b@b.vcf")
    clients.sandbox.faults.add(rewriting(lambda text: text.replace("%40b.vcf", written), "REPORT"))
    synced(clients)
    clients.sandbox.faults.clear()
    absolute = rewriting(lambda text: text.replace(f">{BOOK}b", f">{ORIGIN}{BOOK}b"), "REPORT")
    clients.sandbox.faults.add(absolute)
    assert set(clients.run(clients.contacts.fetch([href]))) == {href}
    card = clients.contacts.book.contact("b@example.org", [])
    assert card is not None
    assert card.href == href


def test_one_card_that_xml_cannot_carry_does_not_cost_the_others(clients: VirtualClients) -> None:
    clients.sandbox.put_card(vcard("bad", "EMAIL:bad@example.org", "NOTE:\x01"), "bad.vcf")
    synced(clients)
    assert people(clients) == {"bob.vcf", "bad.vcf"}
    found = clients.run(clients.contacts.fetch([BOB, f"{BOOK}bad.vcf"]))
    assert isinstance(found[BOB], StoredCard)
    assert isinstance(found[f"{BOOK}bad.vcf"], UnsafeCard)


BROKEN_XML: Iterable[Callable[[str], str]] = [
    lambda text: text[:-30],
    lambda text: '<!DOCTYPE x [<!ENTITY a "b">]>' + text[text.index("<", 5) :],
    lambda text: "<html/>",
    lambda text: "",
]


@pytest.mark.parametrize("change", BROKEN_XML)
def test_an_answer_that_cannot_be_read_leaves_the_index_as_it_was(
    clients: VirtualClients, change: Callable[[str], str]
) -> None:
    synced(clients)
    clients.sandbox.put_card(vcard("eve"), "eve.vcf")
    clients.sandbox.faults.add(rewriting(change, "REPORT", times=1))
    clients.fails(ProtocolError, clients.contacts.sync())
    assert people(clients) == {"bob.vcf"}
    synced(clients)
    assert people(clients) == {"bob.vcf", "eve.vcf"}


# Cards


def read(clients: VirtualClients, href: str = BOB) -> StoredCard:
    return clients.run(clients.contacts.read(href))


def test_a_card_is_changed_in_the_lines_that_the_change_names_alone(
    clients: VirtualClients,
) -> None:
    before = clients.sandbox.cards()[BOB]
    clients.run(clients.contacts.edit(read(clients), noted))
    end = "END:VCARD\r\n"
    assert clients.sandbox.cards()[BOB] == before.replace(end, f"NOTE:hello\r\n{end}")


def test_a_change_that_is_made_already_is_not_written(clients: VirtualClients) -> None:
    stored = clients.run(clients.contacts.edit(read(clients), noted))
    asked = len(clients.requests)
    assert clients.run(clients.contacts.edit(stored, noted)) == stored
    assert len(clients.requests) == asked


def test_the_index_knows_what_was_written(clients: VirtualClients) -> None:
    synced(clients)
    clients.run(
        clients.contacts.edit(
            read(clients), lambda card: card.with_lines([("EMAIL", "b2@example.org")])
        )
    )
    card = clients.contacts.book.contact("b2@example.org", [])
    assert card is not None
    assert card.etag == read(clients).etag


def test_every_write_says_what_it_expects_to_find(clients: VirtualClients) -> None:
    seen = conditions(clients)
    href = clients.run(clients.contacts.href_of("new"))
    created = clients.run(clients.contacts.create(href, NEW))
    assert created is not None
    edited = clients.run(clients.contacts.edit(created, noted))
    assert clients.run(clients.contacts.delete(edited))
    assert seen == [
        ("If-None-Match", "*"),
        ("If-Match", created.etag),
        ("If-Match", edited.etag),
    ]
    assert href not in clients.sandbox.cards()


def test_what_somebody_else_writes_meanwhile_is_kept(clients: VirtualClients) -> None:
    stored = read(clients)

    def meanwhile(number: int) -> None:
        clients.sandbox.put_card(vcard("bob", f"TITLE:{number}"), "bob.vcf")

    before_each(clients, "PUT", meanwhile, times=4)
    clients.run(clients.contacts.edit(stored, noted))
    assert "TITLE:4\r\n" in clients.sandbox.cards()[BOB]
    assert "NOTE:hello\r\n" in clients.sandbox.cards()[BOB]


def test_a_card_that_never_stays_the_same_is_its_senders_failure(clients: VirtualClients) -> None:
    stored = read(clients)

    def meanwhile(number: int) -> None:
        clients.sandbox.put_card(vcard("bob", f"TITLE:{number}"), "bob.vcf")

    before_each(clients, "PUT", meanwhile, times=99)
    said = clients.fails(SenderFailed, clients.contacts.edit(stored, noted))
    assert "bob.vcf 5 times meanwhile" in said
    assert "TITLE:5\r\n" in clients.sandbox.cards()[BOB]


def test_a_card_that_is_deleted_meanwhile_is_its_senders_failure(clients: VirtualClients) -> None:
    stored = read(clients)
    clients.sandbox.delete_card(BOB)
    assert "deleted meanwhile" in clients.fails(SenderFailed, clients.contacts.edit(stored, noted))
    assert "deleted meanwhile" in clients.fails(SenderFailed, clients.contacts.read(BOB))
    assert BOB not in clients.sandbox.cards()


CARDDAV = "urn:ietf:params:xml:ns:carddav"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (refusal(412), "(412)"),
        (refusal(412, "valid-address-data", CARDDAV), "(412, valid-address-data)"),
        (refusal(403, "valid-address-data", CARDDAV), "(403, valid-address-data)"),
        (refusal(403), "(403): does this user have the right to write to the address book?"),
        (refusal(400), "(400)"),
        (Answer(409, {"Content-Type": "text/plain"}, b"no\nway" * 200), "(409, no wayno way"),
        (refusal(413), "(413)"),
        (refusal(415), "(415)"),
        (refusal(422), "(422)"),
        (refusal(404), "deleted meanwhile"),
        (refusal(410), "deleted meanwhile"),
    ],
)
def test_a_card_that_the_server_will_not_have_is_its_senders_failure(
    clients: VirtualClients, answer: Answer, says: str
) -> None:
    stored = read(clients)
    clients.answers(answer, "PUT", times=None)
    said = clients.fails(SenderFailed, clients.contacts.edit(stored, noted))
    assert says in said
    assert BOB in said
    assert len(said) < 400
    assert sum(each.startswith("PUT") for each in clients.requests) == 1


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(401), CredentialsRefused),
        (Answer(429), TransientError),
        (Answer(500), TransientError),
        (Answer(507), TransientError),
    ],
)
def test_what_is_not_about_the_card_is_no_senders_failure(
    clients: VirtualClients, answer: Answer, error: type[MailroomError]
) -> None:
    stored = read(clients)
    clients.answers(answer, "PUT")
    clients.fails(error, clients.contacts.edit(stored, noted))


def test_a_lock_that_passes_costs_no_more_than_another_try(clients: VirtualClients) -> None:
    stored = read(clients)
    clients.answers(Answer(423), "PUT", times=2)
    clients.run(clients.contacts.edit(stored, noted))
    assert "NOTE:hello" in clients.sandbox.cards()[BOB]


def test_a_lock_that_stays_is_trouble_that_passes(clients: VirtualClients) -> None:
    stored = read(clients)
    clients.answers(Answer(423), times=None, method="PUT")
    assert "locked" in clients.fails(TransientError, clients.contacts.edit(stored, noted))
    assert sum(each.startswith("PUT") for each in clients.requests) == 3


def test_without_an_etag_in_the_answer_the_card_is_read_before_it_is_written_again(
    clients: VirtualClients,
) -> None:
    clients.sandbox.faults.add(without_header("etag", "PUT"))
    seen = conditions(clients)
    href = clients.run(clients.contacts.href_of("new"))
    created = clients.run(clients.contacts.create(href, NEW))
    assert created is not None
    assert created.etag == ""
    edited = clients.run(clients.contacts.edit(created, noted))
    clients.run(clients.contacts.edit(edited, lambda card: noted(card, "again")))
    assert "NOTE:again\r\n" in clients.sandbox.cards()[href]
    assert [name for name, _ in seen] == ["If-None-Match", "If-Match", "If-Match"]
    assert all(value.startswith('"') for name, value in seen if name == "If-Match")
    assert not clients.run(clients.contacts.delete(edited))
    assert href in clients.sandbox.cards()


def test_a_card_whose_etag_is_never_told_is_not_written(clients: VirtualClients) -> None:
    stored = replace(read(clients), etag="")
    untold = rewriting(lambda text: re.sub("getetag>[^<]*</", "getetag></", text), "REPORT")
    clients.sandbox.faults.add(untold)
    assert "names no ETag" in clients.fails(SenderFailed, clients.contacts.edit(stored, noted))
    assert not any(each.startswith("PUT") for each in clients.requests)


@pytest.mark.parametrize("form", ['W/"{}"', "{}", "W/{}", ' "{}" '])
def test_an_etag_is_sent_as_it_is_spelt_without_being_weak_and_then_with_quotes(
    clients: VirtualClients, form: str
) -> None:
    """Here a server that shows what it does not mean; for others see test_carddav_ways.py."""
    seen = conditions(clients)
    etag = read(clients).etag
    odd = form.format(etag.strip('"'))
    replaced = rewriting(lambda text: re.sub("getetag>[^<]*</", f"getetag>{odd}</", text), "REPORT")
    clients.sandbox.faults.add(replaced)
    clients.run(clients.contacts.edit(read(clients), noted))
    bare = [] if '"' in form else [("If-Match", etag.strip('"'))]
    assert seen == [*bare, ("If-Match", etag)]
    assert "NOTE:hello" in clients.sandbox.cards()[BOB]


# New cards


def test_a_place_that_is_taken_is_told(clients: VirtualClients) -> None:
    before = clients.sandbox.cards()
    assert clients.run(clients.contacts.create(BOB, NEW)) is None
    assert clients.sandbox.cards() == before


def test_an_answer_that_is_lost_makes_no_second_card(clients: VirtualClients) -> None:
    href = clients.run(clients.contacts.href_of("new"))
    clients.sandbox.faults.add(Fault(method="PUT", breaks="after", times=1))
    clients.fails(TransientError, clients.contacts.create(href, NEW))
    assert clients.run(clients.contacts.create(href, NEW)) is None
    assert clients.sandbox.cards()[href].encode() == bytes(NEW)
    assert len(clients.sandbox.cards()) == len(VirtualClients().sandbox.cards()) + 2


def test_a_uid_that_is_taken_elsewhere_is_told(clients: VirtualClients) -> None:
    clients.answers(refusal(409, "no-uid-conflict", CARDDAV), "PUT")
    assert clients.run(clients.contacts.create(f"{BOOK}new.vcf", NEW)) is None


def test_412_for_a_place_that_is_free_means_a_bad_card(clients: VirtualClients) -> None:
    clients.answers(refusal(412, "valid-address-data", CARDDAV), "PUT")
    said = clients.fails(SenderFailed, clients.contacts.create(f"{BOOK}new.vcf", NEW))
    assert "refuses the card" in said
    assert "valid-address-data" in said


# Deleting


def test_a_card_that_has_changed_is_not_deleted(clients: VirtualClients) -> None:
    stored = read(clients)
    clients.sandbox.put_card(vcard("bob", "TITLE:x"), "bob.vcf")
    assert not clients.run(clients.contacts.delete(stored))
    assert BOB in clients.sandbox.cards()


def test_a_card_that_is_gone_is_deleted(clients: VirtualClients) -> None:
    stored = read(synced(clients))
    clients.sandbox.delete_card(BOB)
    clients.answers(Answer(404), "DELETE")
    assert clients.run(clients.contacts.delete(stored))
    assert clients.contacts.book.get(BOB) is None


def test_a_card_that_may_not_be_deleted_is_its_senders_failure(clients: VirtualClients) -> None:
    stored = read(clients)
    clients.answers(Answer(403), "DELETE")
    assert "(403)" in clients.fails(SenderFailed, clients.contacts.delete(stored))


@pytest.mark.parametrize(
    ("card", "says"),
    [(None, "has been deleted"), (UnsafeCard("it is vCard 2.1"), "is left alone: it is vCard 2.1")],
)
def test_a_card_that_cannot_be_worked_with_is_its_senders_failure(
    card: UnsafeCard | None, says: str
) -> None:
    with pytest.raises(SenderFailed, match=says):
        usable(card, BOB)
