"""Contacts by JMAP (RFC 9610) as Cyrus 3.13 has them, and what CardDAV sees of them.

Run on Cyrus 3.13.7. ``CYRUS313=FOLDER`` starts the Cyrus that was built into that folder. What is
pushed is tried on the sandbox alone: while a stream is open, Cyrus 3.13.7 answers nothing else.
"""

from typing import Any

import pytest

from tests.contract.peers import CONTACTS, Client, servers, unique
from tests.contract.test_carddav import Book
from tests.contract.test_carddav import card as vcard

pytestmark = pytest.mark.parametrize(
    "server",
    servers("sandbox cyrus-3.13", "CYRUS313"),
    indirect=True,
)

#: In the spelling that Cyrus keeps, so that an Apple group can be told from a vCard 4 one.
APPLE_GROUP = ("X-ADDRESSBOOKSERVER-KIND:group", "X-ADDRESSBOOKSERVER-MEMBER:urn:uuid:u-1")


class Contacts:
    """An account's cards by JMAP."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def set_(self, **arguments: Any) -> Any:
        return self.client.call("ContactCard/set", **arguments)

    def new(self, **properties: Any) -> str:
        """Create a card and return its id."""
        answer = self.set_(create={"new": a_card(**properties)})
        assert answer["notCreated"] is None, answer
        return str(answer["created"]["new"]["id"])

    def refusal(self, properties: dict[str, Any]) -> Any:
        """Create a card that must be refused, and return why."""
        answer = self.set_(create={"new": properties})
        assert answer["created"] is None, answer
        return answer["notCreated"]["new"]

    def patch(self, id_: str, patch: dict[str, Any]) -> Any:
        """Patch a card and return why that was refused, None if it was not."""
        answer = self.set_(update={id_: patch})
        return (answer["notUpdated"] or {}).get(id_)

    def get(self, id_: str, *properties: str) -> Any:
        """Return a card, all of it where no property is named."""
        answer = self.client.call("ContactCard/get", ids=[id_], properties=properties or None)
        [card] = answer["list"]
        return card

    def members(self, id_: str) -> set[str]:
        return set(self.get(id_, "members")["members"])

    def query(self, **condition: Any) -> list[str]:
        ids: list[str] = self.client.call("ContactCard/query", filter=condition)["ids"]
        return ids

    def of_uid(self, uid: str) -> str:
        [id_] = self.query(uid=uid)
        return id_

    def state(self) -> str:
        state: str = self.client.call("ContactCard/get", ids=[])["state"]
        return state


def a_card(**properties: Any) -> dict[str, Any]:
    return {"@type": "Card", "version": "1.0", "name": {"full": "Bob"}} | properties


def mails(*addresses: str) -> dict[str, Any]:
    return {f"e{number}": {"address": address} for number, address in enumerate(addresses)}


@pytest.fixture
def contacts(client: Client) -> Contacts:
    return Contacts(client)


@pytest.fixture
def book(client: Client) -> Book:
    return Book(client)


# The session


def test_the_account_has_contacts(client: Client) -> None:
    account = client.session["accounts"][client.account_id]["accountCapabilities"]
    assert CONTACTS in account
    assert client.session["primaryAccounts"][CONTACTS] == client.account_id


def test_there_is_a_default_address_book(client: Client) -> None:
    books = client.call("AddressBook/get", ids=None)["list"]
    assert [(book["isDefault"], book["myRights"]["mayWrite"]) for book in books] == [(True, True)]


# Creating


def test_a_card_keeps_the_uid_that_it_is_given(contacts: Contacts) -> None:
    uid = unique("uid")
    assert contacts.get(contacts.new(uid=uid), "uid")["uid"] == uid


@pytest.mark.parametrize("left_out", ["@type", "version"])
def test_a_card_must_say_what_it_is(contacts: Contacts, left_out: str) -> None:
    properties = {name: value for name, value in a_card().items() if name != left_out}
    assert contacts.refusal(properties) == {"type": "invalidProperties", "properties": [left_out]}


def test_a_second_card_of_a_uid_is_refused_without_the_first_ones_id(contacts: Contacts) -> None:
    uid = unique("uid")
    first = contacts.new(uid=uid)
    refusal = contacts.refusal(a_card(uid=uid))
    assert refusal == {"type": "invalidProperties", "properties": ["uid"]}
    assert contacts.query(uid=uid) == [first]


def test_a_property_of_nobodys_is_refused(contacts: Contacts) -> None:
    refusal = contacts.refusal(a_card(mark=1))
    assert refusal == {"type": "invalidProperties", "properties": ["mark"]}


def test_a_group_may_name_members_that_are_not_there_yet(contacts: Contacts) -> None:
    uid = unique("member")
    group = a_card(kind="group", members={uid: True})
    answer = contacts.set_(create={"group": group, "card": a_card(uid=uid)})
    assert answer["notCreated"] is None
    assert contacts.members(answer["created"]["group"]["id"]) == {uid}


# Reading


def test_a_vendors_property_is_shown_to_whom_names_it(contacts: Contacts) -> None:
    mark = {"values": '0a1b,;\\\n"é"', "since": [1, 2]}
    id_ = contacts.new(**{"example.org:mark": mark})
    assert "example.org:mark" not in contacts.get(id_)
    assert contacts.get(id_, "example.org:mark")["example.org:mark"] == mark


def test_a_property_that_there_cannot_be_is_an_error(client: Client) -> None:
    error = client.error("ContactCard/get", ids=[], properties=["uid", "nonsense"])
    assert error["type"] == "invalidArguments"


def test_what_cannot_be_found_is_named(client: Client) -> None:
    assert client.call("ContactCard/get", ids=["Dnone"])["notFound"] == ["Dnone"]


def test_everything_a_card_of_mailrooms_has_comes_back(contacts: Contacts) -> None:
    whole = a_card(
        kind="individual",
        name={"full": "Bob, Jr.; né B"},
        emails={"e1": {"address": "bob@example.org"}, "e2": {"address": "b@example.net"}},
        organizations={"o1": {"name": "Example, Inc."}},
        notes={"n1": {"note": "one\ntwo, three; four\\"}},
    )
    got = contacts.get(contacts.new(**whole), *whole)
    assert {name: got[name] for name in whole} == whole


# Finding


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ("{0}@example.org", True),
        ("{0}@EXAMPLE.org", True),
        ("{0}", True),
        ("example.org {0}", True),
        ("x{0}@example.org", False),
        ("{0}@example.or", False),
    ],
)
def test_an_email_filter_finds_words(contacts: Contacts, text: str, is_found: bool) -> None:
    word = unique("bob").replace("-", "")
    id_ = contacts.new(emails=mails(f"{word}@example.org"))
    assert (contacts.query(email=text.format(word)) == [id_]) is is_found


def test_a_filter_may_ask_for_one_of_several(contacts: Contacts, client: Client) -> None:
    words = [unique("bob").replace("-", "") for _ in range(3)]
    ids = {contacts.new(emails=mails(f"{word}@example.org")) for word in words}
    conditions = [{"email": f"{word}@example.org"} for word in words]
    answer = client.call("ContactCard/query", filter={"operator": "OR", "conditions": conditions})
    assert set(answer["ids"]) == ids


def test_a_uid_is_compared_whole(contacts: Contacts) -> None:
    uid = unique("uid")
    id_ = contacts.new(uid=uid)
    assert contacts.query(uid=uid) == [id_]
    assert contacts.query(uid=uid.upper()) == []
    assert contacts.query(uid=uid[:-1]) == []


def test_a_member_is_found_by_its_words(contacts: Contacts) -> None:
    word = unique("m").replace("-", "")
    group = contacts.new(kind="group", members={f"{word}-4000-1": True})
    assert contacts.query(hasMember=f"{word}-4000-1") == [group]
    assert contacts.query(hasMember=word) == [group]
    assert contacts.query(hasMember=word[:-1]) == []


# Patching


def test_members_are_patched_one_by_one(contacts: Contacts, client: Client) -> None:
    group = contacts.new(kind="group", members={"gone": True, "stays": True})
    new = [unique("member") for _ in range(30)]
    updates = [({"update": {group: {f"members/{uid}": True}}}) for uid in new]
    answers = client.calls(*(("ContactCard/set", update) for update in updates))
    assert all(answer["notUpdated"] is None for _, answer in answers)
    assert contacts.patch(group, {"members/gone": None}) is None
    assert contacts.members(group) == {"stays", *new}


def test_a_member_that_is_none_can_be_taken_out(contacts: Contacts) -> None:
    group = contacts.new(kind="group", members={"a": True})
    assert contacts.patch(group, {"members/b": None}) is None
    assert contacts.members(group) == {"a"}


def test_the_last_member_can_leave_and_another_join(contacts: Contacts) -> None:
    group = contacts.new(kind="group", members={"a": True})
    assert contacts.patch(group, {"members/a": None}) is None
    assert contacts.members(group) == set()
    assert contacts.patch(group, {"members/b": True}) is None
    assert contacts.members(group) == {"b"}


def test_a_patch_within_what_is_not_there_is_invalid(contacts: Contacts) -> None:
    id_ = contacts.new()
    assert contacts.patch(id_, {"notes/n": {"note": "x"}}) == {"type": "invalidPatch"}
    assert contacts.patch(id_, {"members/x": True}) == {"type": "invalidPatch"}
    assert contacts.patch(id_, {"notes": {"n": {"note": "x"}}}) is None
    assert contacts.patch(id_, {"notes/m": {"note": "y"}}) is None
    assert contacts.get(id_, "notes")["notes"] == {"n": {"note": "x"}, "m": {"note": "y"}}


@pytest.mark.parametrize(("name", "value"), [("uid", "x"), ("kind", "group"), ("id", "x")])
def test_what_a_card_is_stays(contacts: Contacts, name: str, value: str) -> None:
    refusal = contacts.patch(contacts.new(), {name: value})
    assert refusal == {"type": "invalidProperties", "properties": [name]}


def test_a_patch_that_changes_nothing_raises_the_state(contacts: Contacts) -> None:
    id_ = contacts.new()
    before = contacts.state()
    assert contacts.patch(id_, {"name/full": "Bob"}) is None
    assert contacts.state() != before


def test_a_vendors_property_can_be_patched_and_taken_away(contacts: Contacts) -> None:
    id_ = contacts.new(**{"example.org:mark": "old"})
    assert contacts.patch(id_, {"example.org:mark": "new"}) is None
    assert contacts.get(id_, "example.org:mark")["example.org:mark"] == "new"
    assert contacts.patch(id_, {"example.org:mark": None}) is None
    assert "example.org:mark" not in contacts.get(id_, "example.org:mark")


def test_a_vendors_property_survives_another_patch(contacts: Contacts) -> None:
    id_ = contacts.new(**{"example.org:mark": {"a": 1}})
    assert contacts.patch(id_, {"notes": {"n": {"note": "x"}}}) is None
    assert contacts.get(id_, "example.org:mark")["example.org:mark"] == {"a": 1}


def test_a_vendors_property_may_be_within_a_note(contacts: Contacts, book: Book) -> None:
    uid = unique("0b9a6f4e-5d0b")
    mark = {"example.org:mark": {"a": "x,y"}}
    id_ = contacts.new(uid=uid, notes={"n": {"note": "one"} | mark})
    assert contacts.get(id_, "notes")["notes"] == {"n": {"note": "one"} | mark}
    assert contacts.patch(id_, {"notes/n/note": "two", "name/full": "Rob"}) is None
    assert contacts.get(id_)["notes"] == {"n": {"note": "two"} | mark}
    assert contacts.patch(id_, {"notes/n/example.org:mark": None}) is None
    assert contacts.get(id_)["notes"] == {"n": {"note": "two"}}
    assert not any("JSPROP" in line for line in lines_of(book, f"{book.path}{uid}.vcf"))


def test_a_card_may_name_its_address_book_and_a_group_that_it_is_empty(
    contacts: Contacts, client: Client
) -> None:
    [book] = client.call("AddressBook/get", ids=None)["list"]
    group = contacts.new(kind="group", members={}, addressBookIds={book["id"]: True})
    assert contacts.members(group) == set()
    assert contacts.patch(group, {"members/a": True}) is None
    assert contacts.members(group) == {"a"}


def test_what_was_just_created_is_no_word_for_another_call_to_destroy(contacts: Contacts) -> None:
    answer = contacts.set_(create={"new": a_card()}, destroy=["#new"])
    assert answer["notDestroyed"] == {"#new": {"type": "notFound"}}
    assert contacts.get(answer["created"]["new"]["id"], "uid")


# States


def test_one_state_is_for_all_cards(contacts: Contacts, client: Client) -> None:
    one, two = contacts.new(), contacts.new()
    read = contacts.state()
    assert contacts.patch(one, {"name/full": "Rob"}) is None
    error = client.error("ContactCard/set", ifInState=read, destroy=[two])
    assert error == {"type": "stateMismatch"}
    answer = contacts.set_(ifInState=contacts.state(), destroy=[two])
    assert answer["destroyed"] == [two]


def test_a_set_of_mail_can_be_made_to_depend_on_one_of_cards(client: Client) -> None:
    def brake(create: dict[str, Any], path: str) -> str:
        reference = {"resultOf": "0", "name": "ContactCard/set", "path": path}
        (_, _), (name, answer) = client.calls(
            ("ContactCard/set", {"create": create}),
            ("Email/set", {"#ifInState": reference, "update": {}}),
        )
        return str(answer["type"]) if name == "error" else name

    assert brake({"good": a_card()}, "/notCreated") == "Email/set"
    assert brake({"good": a_card()}, "/notUpdated") == "Email/set"
    assert brake({"bad": {}}, "/notCreated") == "invalidArguments"


def test_changes_tell_what_came_changed_and_went(contacts: Contacts, client: Client) -> None:
    changed, gone = contacts.new(), contacts.new()
    since = contacts.state()
    new, fleeting = contacts.new(), contacts.new()
    contacts.set_(destroy=[gone, fleeting])
    contacts.patch(changed, {"name/full": "Rob"})
    changes = client.call("ContactCard/changes", sinceState=since)
    found = [set(changes[name]) for name in ("created", "updated", "destroyed")]
    assert found == [{new}, {changed}, {gone}]
    assert (changes["oldState"], changes["newState"]) == (since, contacts.state())
    assert changes["hasMoreChanges"] is False


def test_changes_come_in_pages(contacts: Contacts, client: Client) -> None:
    since = contacts.state()
    new = {contacts.new() for _ in range(3)}
    first = client.call("ContactCard/changes", sinceState=since, maxChanges=2)
    assert first["hasMoreChanges"] is True
    rest = client.call("ContactCard/changes", sinceState=first["newState"], maxChanges=2)
    assert rest["hasMoreChanges"] is False
    assert {*first["created"], *rest["created"]} == new


def test_since_a_state_to_come_nothing_has_changed(contacts: Contacts, client: Client) -> None:
    contacts.new()
    changes = client.call("ContactCard/changes", sinceState="99999999")
    assert [changes[name] for name in ("created", "updated", "destroyed")] == [[], [], []]
    assert changes["newState"] == contacts.state()


def test_a_state_that_is_none_is_an_error(client: Client) -> None:
    assert client.error("ContactCard/changes", sinceState="x")["type"] == "cannotCalculateChanges"


# Beside CardDAV


def test_a_card_of_carddav_is_read(contacts: Contacts, book: Book) -> None:
    href, _ = book.new("EMAIL:bob@example.org", "ORG:Example", "NOTE:one\\ntwo", "X-MARK:1")
    got = contacts.get(contacts.of_uid(uid_in(href)))
    assert got["kind"] == "individual"
    assert got["name"]["full"] == "Bob"
    assert [email["address"] for email in got["emails"].values()] == ["bob@example.org"]
    assert [org["name"] for org in got["organizations"].values()] == ["Example"]
    assert [note["note"] for note in got["notes"].values()] == ["one\ntwo"]
    assert "X-MARK" not in str(got)


def test_a_patch_writes_the_whole_card_anew(contacts: Contacts, book: Book) -> None:
    href, etag = book.new("X-MARK;X-OF=mail:1", "NICKNAME:one,two", "EMAIL:bob@example.org")
    assert contacts.patch(contacts.of_uid(uid_in(href)), {"name/full": "Rob"}) is None
    kept = lines_of(book, href)
    assert "VERSION:4.0" in kept
    assert "FN:Rob" in kept
    assert "X-MARK;X-OF=mail:1" in kept
    assert not any("one" in line for line in kept if line.startswith("NICKNAME"))
    assert book.get(href).headers["ETag"] != etag


def test_a_card_of_jmaps_is_read_by_carddav_and_written_back(
    contacts: Contacts, book: Book
) -> None:
    uid = unique("0b9a6f4e-5d0b")
    id_ = contacts.new(uid=uid, emails=mails("bob@example.org"), **{"example.org:mark": {"a": 1}})
    href = f"{book.path}{uid}.vcf"
    shown = book.get(href)
    lines = shown.body.decode().replace("\r\n ", "").splitlines()
    assert {"VERSION:3.0", f"UID:{uid}", "FN:Bob"} <= set(lines)
    assert "EMAIL;PROP-ID=e0:bob@example.org" in lines
    assert 'JSPROP;JSPTR="example.org:mark":{"a":1}' in lines
    text = shown.body.decode().replace("FN:Bob", "FN:Rob")
    assert book.put(href, text, If_Match=shown.headers["ETag"]).status == 204
    got = contacts.get(id_, "name", "example.org:mark")
    assert (got["name"]["full"], got["example.org:mark"]) == ("Rob", {"a": 1})


def test_an_organization_and_a_patched_kind_as_carddav_shows_them(
    contacts: Contacts, book: Book
) -> None:
    uid = unique("0b9a6f4e-5d0b")
    id_ = contacts.new(uid=uid, organizations={"o1": {"name": "Acme"}})
    lines = book.get(f"{book.path}{uid}.vcf").body.decode().splitlines()
    assert "o1.ORG;PROP-ID=o1:Acme" in lines
    assert not [line for line in lines if line.startswith("X-ADDRESSBOOKSERVER")]
    contacts.patch(id_, {"name/full": "Rob"})
    lines = book.get(f"{book.path}{uid}.vcf").body.decode().splitlines()
    assert "X-ADDRESSBOOKSERVER-KIND:INDIVIDUAL" in lines


def test_a_card_deleted_by_carddav_is_gone(contacts: Contacts, book: Book, client: Client) -> None:
    href, _ = book.new()
    id_ = contacts.of_uid(uid_in(href))
    book.delete(href)
    assert client.call("ContactCard/get", ids=[id_])["notFound"] == [id_]


def test_an_apple_groups_members_have_no_prefix(contacts: Contacts, book: Book) -> None:
    href, _ = book.new(*APPLE_GROUP, 'X-ADDRESSBOOKSERVER-MEMBER:urn:uuid:"urn:uuid:u-2"')
    group = contacts.of_uid(uid_in(href))
    assert contacts.get(group, "kind")["kind"] == "group"
    assert contacts.members(group) == {"u-1", "urn:uuid:u-2"}


def test_members_in_vcard_4_are_as_written(contacts: Contacts, book: Book) -> None:
    group = contacts.of_uid(uid_in(new_group_4(book, "urn:uuid:u-1", "u-2")))
    assert contacts.members(group) == {"urn:uuid:u-1", "u-2"}


def test_a_member_goes_by_the_spelling_that_is_shown(contacts: Contacts, book: Book) -> None:
    group = contacts.of_uid(uid_in(new_group_4(book, "urn:uuid:u-1", "u-2")))
    assert contacts.patch(group, {"members/u-1": None, "members/urn:uuid:u-2": None}) is None
    assert contacts.members(group) == {"urn:uuid:u-1", "u-2"}
    assert contacts.patch(group, {"members/urn:uuid:u-1": None, "members/u-2": None}) is None
    assert contacts.members(group) == set()


def test_a_bare_member_comes_out_right_on_the_other_side(contacts: Contacts, book: Book) -> None:
    href, _ = book.new(*APPLE_GROUP)
    assert contacts.patch(contacts.of_uid(uid_in(href)), {"members/u-2": True}) is None
    shown = book.get(href).body.decode().replace("\r\n ", "").splitlines()
    found = {line for line in shown if "MEMBER" in line}
    assert found == {f"X-ADDRESSBOOKSERVER-MEMBER:urn:uuid:u-{number}" for number in (1, 2)}
    assert {"MEMBER:u-1", "MEMBER:u-2"} <= set(lines_of(book, href))


def test_a_member_with_a_prefix_comes_out_in_quotes(contacts: Contacts, book: Book) -> None:
    href = new_group_4(book, "urn:uuid:u-1")
    shown = book.get(href).body.decode().replace("\r\n ", "")
    assert 'X-ADDRESSBOOKSERVER-MEMBER:urn:uuid:"urn:uuid:u-1"' in shown


def test_a_uid_is_one_cards_alone(book: Book) -> None:
    href, _ = book.new()
    twin = book.put(f"{book.path}{unique('twin')}.vcf", vcard(uid_in(href)))
    assert (twin.status, b"no-uid-conflict" in twin.body) == (403, True)
    other = book.put(href, vcard(f"urn:uuid:{uid_in(href)}"))
    assert (other.status, b"no-uid-conflict" in other.body) == (403, True)


def test_too_many_objects_fail_the_call_alone(client: Client) -> None:
    most = client.session["capabilities"]["urn:ietf:params:jmap:core"]["maxObjectsInGet"]
    ids = [f"D{number}" for number in range(most + 1)]
    assert client.error("ContactCard/get", ids=ids)["type"] == "requestTooLarge"
    assert client.error("ContactCard/set", destroy=ids)["type"] == "requestTooLarge"


def uid_in(href: str) -> str:
    return href.rpartition("/")[2].removesuffix(".vcf")


def new_group_4(book: Book, *members: str) -> str:
    uid = unique("group")
    lines = ("KIND:group", *(f"MEMBER:{member}" for member in members))
    href = f"{book.path}{uid}.vcf"
    assert book.put(href, vcard(uid, *lines, version="4.0", name="")).status == 201
    return href


def lines_of(book: Book, href: str) -> list[str]:
    """The lines of a card in vCard 4, unfolded."""
    kept = book.client.request("GET", href, Accept="text/vcard;version=4.0")
    return kept.body.decode().replace("\r\n ", "").splitlines()
