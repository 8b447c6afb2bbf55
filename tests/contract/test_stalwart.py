"""Where Stalwart is otherwise than Cyrus: JMAP for mail and contacts, CardDAV, push.

Run on Stalwart 0.15.5. ``STALWART=PROGRAM`` starts the one at that path. What it does only under
load (four requests at once) or after long use (2,000 cards, 1,000 requests a minute) is tried on
the sandbox alone, in ``tests/test_sandbox_stalwart.py``.
"""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.contract.peers import Client, EventStream, eventually, servers, unique
from tests.contract.test_carddav import Book
from tests.contract.test_carddav import card as vcard

pytestmark = pytest.mark.parametrize(
    "server", servers("sandbox stalwart", "STALWART"), indirect=True
)


class Contacts:
    """An account's cards by JMAP, in its default address book."""

    def __init__(self, client: Client) -> None:
        self.client = client
        books = client.call("AddressBook/get", ids=None)["list"]
        [self.book] = [book["id"] for book in books if book["isDefault"]]

    def card(self, **properties: Any) -> dict[str, Any]:
        whole = {"@type": "Card", "version": "1.0", "name": {"full": "Bob"}}
        return whole | {"addressBookIds": {self.book: True}} | properties

    def set_(self, **arguments: Any) -> Any:
        return self.client.call("ContactCard/set", **arguments)

    def new(self, **properties: Any) -> str:
        answer = self.set_(create={"new": self.card(**properties)})
        return str(answer["created"]["new"]["id"])

    def get(self, id_: str, *properties: str) -> Any:
        [card] = self.client.call("ContactCard/get", ids=[id_], properties=properties or None)[
            "list"
        ]
        return card

    def of_uid(self, uid: str) -> str:
        """Return a card's id; the index runs behind."""

        def found() -> str | None:
            ids = self.client.call("ContactCard/query", filter={"uid": uid})["ids"]
            return next(iter(ids), None)

        return eventually(found)


@pytest.fixture
def contacts(client: Client) -> Contacts:
    return Contacts(client)


@pytest.fixture
def book(client: Client) -> Book:
    return Book(client)


# Requests


@pytest.mark.parametrize(
    ("method", "arguments"),
    [("Email/get", {"ids": ["a"] * 0}), ("ContactCard/get", {"ids": []})],
)
def test_the_limits_are_those_of_the_session(
    client: Client, method: str, arguments: dict[str, Any]
) -> None:
    core = client.session["capabilities"]["urn:ietf:params:jmap:core"]
    limits = {name: core[name] for name in core if name.startswith("maxObjects")}
    assert limits == {"maxObjectsInGet": 500, "maxObjectsInSet": 500}
    assert (core["maxCallsInRequest"], core["maxConcurrentRequests"]) == (16, 4)
    assert core["maxSizeRequest"] == 10_000_000
    assert client.call(method, **arguments)["list"] == []
    ids = [f"x{number}" for number in range(501)]
    assert client.error(method, ids=ids)["type"] == "requestTooLarge"


def test_a_mail_may_be_in_any_number_of_mailboxes(client: Client) -> None:
    account = client.session["accounts"][client.account_id]["accountCapabilities"]
    assert account["urn:ietf:params:jmap:mail"]["maxMailboxesPerEmail"] is None


# Mail


def test_a_mailbox_that_is_not_there_has_nothing_in_it(client: Client) -> None:
    assert client.query({"inMailbox": "zz"}) == []


def test_a_set_says_nothing_of_what_there_was_none_of(client: Client) -> None:
    mail_id, feed = client.mail(), client.new_mailbox()
    answer = client.relabel(mail_id, {feed: True})
    assert answer.keys() == {"accountId", "oldState", "newState", "updated"}


def test_a_mail_is_never_in_no_mailbox(client: Client) -> None:
    feed = client.new_mailbox()
    mail_id = client.mail()
    client.relabel(mail_id, {feed: True, client.inbox(): False})
    assert client.mailboxes_of(mail_id) == {feed}
    refused = client.relabel(mail_id, {feed: None})
    assert refused["notUpdated"][mail_id]["type"] == "invalidProperties"
    assert client.mailboxes_of(mail_id) == {feed}


@pytest.mark.parametrize(
    ("header", "shown"),
    [
        ("Jörg (ö) <jörg@exämple.org>", ("Jörg (ö)", "jörg@exämple.org")),
        ("Bob <bob @ example . net>", ("Bob", "bob @ example . net")),
        ("bob @ example.net", (None, "bob @ example.net")),
        ("=?utf-8?q?N=00UL?= <nul@example.org>", ("N\0UL", "nul@example.org")),
        ('"quoted local"@example.org', ("quoted local", "@example.org")),
        ("Bob Smith", ("Bob Smith", "")),
        ("bob@", (None, "bob@")),
    ],
)
def test_from_is_shown_as_it_is_written(
    client: Client, header: str, shown: tuple[str | None, str]
) -> None:
    mail_id = client.mail(header)
    [mail] = client.call("Email/get", ids=[mail_id], properties=["from"])["list"]
    assert [(each["name"], each["email"]) for each in mail["from"]] == [shown]


def test_a_from_search_knows_no_spaces(client: Client) -> None:
    word = unique("bob").replace("-", "")
    mail_id = client.mail(f"Bob <{word} @ example . net>")
    eventually(lambda: client.query({"from": f"{word}@example.net"}) == [mail_id] or None)


def test_a_mailboxs_name_is_taken_in_any_case(client: Client) -> None:
    name = unique("Box")
    client.new_mailbox(name=name)
    answer = client.call("Mailbox/set", create={"new": {"name": name.upper()}})
    # 0.15.5 says invalidProperties, 0.16 alreadyExists with the other's id.
    assert answer["notCreated"]["new"]["type"] in ("invalidProperties", "alreadyExists")


# Push


def test_an_event_has_no_id_and_tells_the_state_of_the_set(
    client: Client, contacts: Contacts, listen: Callable[..., EventStream]
) -> None:
    stream = listen("types=ContactCard&closeafter=no&ping=0")
    answer = contacts.set_(create={"a": contacts.card(), "b": contacts.card()})
    event = stream.event()
    assert "id" not in event
    changed = json.loads(event["data"])["changed"][client.account_id]
    assert changed == {"ContactCard": answer["newState"]}


def test_a_change_of_mail_is_told_of_mailbox_by_the_state_of_email(
    client: Client, listen: Callable[..., EventStream]
) -> None:
    mail_id, feed = client.mail(), client.new_mailbox()
    boxes = client.call("Mailbox/get", ids=[])["state"]
    stream = listen("types=Email,Mailbox&closeafter=no&ping=0")
    state = client.relabel(mail_id, {feed: True})["newState"]
    assert stream.changed(client) == {"Email": state, "Mailbox": state}
    assert client.call("Mailbox/get", ids=[])["state"] == boxes != state


def test_a_change_of_a_mailbox_is_none_of_email(
    client: Client, listen: Callable[..., EventStream]
) -> None:
    stream = listen("types=Email,Mailbox&closeafter=no&ping=0")
    client.new_mailbox()
    state = client.call("Mailbox/get", ids=[])["state"]
    assert stream.changed(client) == {"Mailbox": state}


@pytest.mark.parametrize(
    "query",
    [
        "types=Nonsense&closeafter=no&ping=0",
        "types=*&closeafter=maybe&ping=0",
        "types=*&closeafter=no&ping=soon",
    ],
)
def test_nonsense_gets_no_stream(listen: Callable[..., EventStream], query: str) -> None:
    assert listen(query).status == 400


# CardDAV


def test_a_card_is_spelt_anew_and_its_etag_stays_valid(book: Book) -> None:
    uid = unique("card")
    href = f"{book.path}{uid}.vcf"
    lines = ('TEL;TYPE="cell,voice":1', "item1.EMAIL;TYPE=home:b@x.org", "X-foo;x-bar=baz:kept")
    etag = book.put(href, vcard(uid, *lines), If_None_Match="*").headers["ETag"]
    shown = book.get(href)
    assert shown.headers["ETag"] == etag
    assert shown.body.decode().splitlines()[5:8] == [
        "TEL;TYPE=CELL,VOICE:1",
        "item1.EMAIL;TYPE=HOME:b@x.org",
        "X-foo;x-bar=baz:kept",
    ]
    assert book.put(href, vcard(uid), If_Match=etag).status == 204


def test_a_card_needs_neither_uid_nor_name(book: Book) -> None:
    text = "BEGIN:VCARD\r\nVERSION:3.0\r\nNOTE:x\r\nEND:VCARD\r\n"
    assert book.put(f"{book.path}{unique('bare')}.vcf", text).status == 201


def test_a_uid_is_one_cards_and_stays_it(book: Book) -> None:
    uid = unique("card")
    href = f"{book.path}{uid}.vcf"
    book.put(href, vcard(uid))
    for answer in (
        book.put(f"{book.path}{unique('twin')}.vcf", vcard(uid)),
        book.put(href, vcard("other")),
        book.put(href, vcard(f"urn:uuid:{uid}")),
    ):
        assert (answer.status, b"no-uid-conflict" in answer.body) == (412, True)


def test_an_href_is_found_in_the_servers_spelling_only(book: Book) -> None:
    uid = unique("card")
    href = f"{book.path}{uid}.vcf"
    book.put(href, vcard(uid))
    assert book.get(href).status == 200
    assert book.get(href.replace("card-", "c%61rd-")).status == 404


def test_partial_data_is_without_grouped_properties(book: Book) -> None:
    uid = unique("card")
    href = f"{book.path}{uid}.vcf"
    book.put(href, vcard(uid, "item1.EMAIL:a@x.org", "EMAIL:b@x.org"))
    data = '<C:address-data><C:prop name="UID"/><C:prop name="EMAIL"/></C:address-data>'
    shown = book.sync(data=data).text(href)
    assert "b@x.org" in shown
    assert "a@x.org" not in shown


def test_a_token_that_is_none_gets_everything(book: Book) -> None:
    uid = unique("card")
    href = f"{book.path}{uid}.vcf"
    book.put(href, vcard(uid))
    gone = f"{book.path}{unique('gone')}.vcf"
    book.put(gone, vcard(unique("gone")))
    book.delete(gone)
    everything = book.sync("garbage")
    assert href in everything.found
    assert everything.gone == set()
    assert everything.token


# Contacts by JMAP


def test_a_card_must_name_its_address_book(contacts: Contacts) -> None:
    card = contacts.card()
    del card["addressBookIds"]
    refusal = contacts.set_(create={"new": card})["notCreated"]["new"]
    assert (refusal["type"], refusal["properties"]) == ("invalidProperties", ["addressBookIds"])


def test_a_second_card_of_a_uid_is_refused(contacts: Contacts) -> None:
    uid = unique("uid")
    contacts.new(uid=uid)
    refusal = contacts.set_(create={"new": contacts.card(uid=uid)})["notCreated"]["new"]
    assert (refusal["type"], refusal["properties"]) == ("invalidProperties", ["uid"])


def test_a_vendors_property_is_taken_within_others_only(contacts: Contacts, book: Book) -> None:
    mark = {"example.org:mark": "x"}
    refusal = contacts.set_(create={"new": contacts.card(**mark)})["notCreated"]["new"]
    assert refusal["properties"] == ["example.org:mark"]
    notes = {"n": {"note": "y"} | mark}
    assert contacts.get(contacts.new(notes=notes), "notes")["notes"] == notes


def test_the_parts_of_a_name_have_an_order(contacts: Contacts, book: Book) -> None:
    parts = [("surname", "Ark"), ("given", "Ann"), ("title", "Dr.")]
    components = [{"kind": kind, "value": value} for kind, value in parts]
    uid = unique("uid")
    name = {"full": "Dr. Ann Ark", "components": components}
    id_ = contacts.new(uid=uid, name=name)
    assert contacts.get(id_)["name"] == name | {"isOrdered": True}
    assert 'N;JSCOMPS=";0;1;3":Ark;Ann;;Dr.;;;' in _text(book, uid).splitlines()


def test_of_a_note_that_is_taken_away_an_empty_one_is_left(contacts: Contacts, book: Book) -> None:
    for patch, left in (({"notes/n": None}, ["NOTE;PROP-ID=n:"]), ({"notes": None}, [])):
        uid = unique("uid")
        id_ = contacts.new(uid=uid, notes={"n": {"note": "y", "example.org:mark": "x"}})
        assert set(contacts.set_(update={id_: patch})["updated"]) == {id_}
        assert "notes" not in contacts.get(id_)
        lines = _text(book, uid).splitlines()
        assert [line for line in lines if line.startswith(("NOTE", "JSPROP"))] == left


def _found(book: Book, uid: str) -> tuple[str, str]:
    """The href and the card of this UID by CardDAV; the one says nothing of the other."""
    hrefs = [href for href in book.sync().found if not href.endswith("/")]
    cards = book.multiget(*hrefs)
    texts = ((href, cards.text(href)) for href in hrefs)
    pattern = re.compile(rf"^UID[^:]*:{uid}\r?$", re.MULTILINE)
    return next(found for found in texts if pattern.search(found[1]))


def _text(book: Book, uid: str) -> str:
    return _found(book, uid)[1]


def test_unmapped_properties_can_be_read_and_written(contacts: Contacts) -> None:
    unmapped = {"properties": [["x-mark", {}, "unknown", "v"]]}
    id_ = contacts.new(vCard=unmapped)
    assert "vCard" not in contacts.get(id_)
    assert contacts.get(id_, "vCard")["vCard"] == unmapped
    contacts.set_(update={id_: {"name/full": "Rob"}})
    assert contacts.get(id_, "vCard")["vCard"] == unmapped


def test_members_are_patched_one_by_one(contacts: Contacts) -> None:
    group = contacts.new(kind="group", members={"a": True, "urn:uuid:b": True})
    patch = {"members/a": None, "members/c": True, "members/nobody": None}
    assert set(contacts.set_(update={group: patch})["updated"]) == {group}
    assert set(contacts.get(group, "members")["members"]) == {"urn:uuid:b", "c"}


def test_the_first_member_comes_with_the_whole_set(contacts: Contacts) -> None:
    group = contacts.new(kind="group")
    assert "members" not in contacts.get(group)
    refused = contacts.set_(update={group: {"members/a": True}})["notUpdated"][group]
    assert (refused["type"], refused["properties"]) == ("invalidProperties", ["members/a"])
    assert set(contacts.set_(update={group: {"members": {"a": True}}})["updated"]) == {group}


def test_a_group_may_be_said_to_be_empty(contacts: Contacts) -> None:
    group = contacts.new(kind="group", members={})
    assert contacts.get(group)["members"] == {}
    assert set(contacts.set_(update={group: {"members/a": True}})["updated"]) == {group}
    contacts.set_(update={group: {"members/a": None}})
    assert contacts.get(group)["members"] == {}
    assert set(contacts.set_(update={group: {"members/b": True}})["updated"]) == {group}


def test_a_group_that_was_emptied_believes_so_whatever_carddav_puts_there(
    contacts: Contacts, book: Book
) -> None:
    uid = unique("group")
    group = contacts.new(uid=uid, kind="group", members={"a": True})
    contacts.set_(update={group: {"members/a": None}})
    href, text = _found(book, uid)
    assert "JSPROP;JSPTR=members:{}" in text.splitlines()
    filled = text.replace("\r", "").replace("END:VCARD", "MEMBER:b\nEND:VCARD")
    book.put(href, filled.replace("\n", "\r\n"))
    assert contacts.get(group)["members"] == {}
    emptied = filled.replace("JSPROP;JSPTR=members:{}\n", "")
    book.put(href, emptied.replace("\n", "\r\n"))
    assert contacts.get(group)["members"] == {"b": True}


def test_apples_groups_are_none(contacts: Contacts, book: Book) -> None:
    uid = unique("group")
    lines = ("X-ADDRESSBOOKSERVER-KIND:group", "X-ADDRESSBOOKSERVER-MEMBER:urn:uuid:u-1")
    book.put(f"{book.path}{uid}.vcf", vcard(uid, *lines))
    got = contacts.get(contacts.of_uid(uid))
    assert got.get("kind", "individual") == "individual"
    assert "members" not in got


def test_groups_of_vcard_4_are(contacts: Contacts, book: Book) -> None:
    uid = unique("group")
    lines = ("KIND:group", "MEMBER:urn:uuid:u-1", "MEMBER:u-2")
    text = vcard(uid, *lines, version="4.0", name="")
    assert book.put(f"{book.path}{uid}.vcf", text).status == 201
    got = contacts.get(contacts.of_uid(uid))
    assert (got["kind"], set(got["members"])) == ("group", {"urn:uuid:u-1", "u-2"})


def test_a_set_cannot_be_made_to_depend_on_another(client: Client, contacts: Contacts) -> None:
    reference = {"resultOf": "0", "name": "ContactCard/set", "path": "/notCreated"}
    (_, refused), (_, done) = client.calls(
        ("ContactCard/set", {"create": {"bad": {"nonsense": True}}}),
        ("ContactCard/set", {"#ifInState": reference, "create": {"new": contacts.card()}}),
    )
    assert set(refused["notCreated"]) == {"bad"}
    assert set(done["created"]) == {"new"}


def test_what_was_just_created_is_no_word_for_what_to_destroy(contacts: Contacts) -> None:
    answer = contacts.set_(create={"new": contacts.card()}, destroy=["#new"])
    assert contacts.get(answer["created"]["new"]["id"], "uid")


def test_changes_tell_what_came_changed_and_went(contacts: Contacts, client: Client) -> None:
    changed, gone = contacts.new(), contacts.new()
    since = client.call("ContactCard/get", ids=[])["state"]
    new = contacts.new()
    contacts.set_(destroy=[gone], update={changed: {"name/full": "Rob"}})
    changes = client.call("ContactCard/changes", sinceState=since)
    found = [set(changes[name]) for name in ("created", "updated", "destroyed")]
    assert found == [{new}, {changed}, {gone}]


def test_an_email_filter_finds_words(contacts: Contacts, client: Client) -> None:
    word = unique("bob").replace("-", "")
    id_ = contacts.new(emails={"e": {"address": f"{word}@example.org"}})
    for text, ids in ((f"{word}@EXAMPLE.org", [id_]), (word, [id_]), (f"x{word}@example.org", [])):

        def found(text: str = text, ids: list[str] = ids) -> bool | None:
            answer = client.call("ContactCard/query", filter={"email": text})
            return True if answer["ids"] == ids else None

        assert eventually(found)


def test_the_books_of_the_home_are_found(client: Client) -> None:
    home = client.server.book_path.rstrip("/").rpartition("/")[0] + "/"
    answer = client.request("PROPFIND", home, Depth="1")
    assert client.server.book_path in re.findall(r"href>([^<]+)<", answer.body.decode())
