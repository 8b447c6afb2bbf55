"""Contacts by JMAP (RFC 9610) in the sandbox, and the cards that CardDAV sees of them.

What Cyrus 3.13 does alike is in ``tests/contract/test_jmap_contacts.py``.
"""

import json
import math
from typing import Any

import pytest

from tests.sandbox import (
    CYRUS_3_10,
    CYRUS_3_13,
    CYRUS_3_13_BLOCKING,
    FASTMAIL,
    STALWART,
    Profile,
    Request,
    Sandbox,
)
from tests.sandbox.jscontact import card_of, vcard_of
from tests.sandbox.requests import CONTACTS, CORE
from tests.test_sandbox_server import api, make

BOOK = "/dav/addressbooks/user/alice/Default/"


def ask(sandbox: Sandbox, *calls: tuple[str, dict[str, Any]]) -> list[Any]:
    content = {
        "using": [CORE, CONTACTS],
        "methodCalls": [
            [name, {"accountId": "alice"} | arguments, str(index)]
            for index, (name, arguments) in enumerate(calls)
        ],
    }
    headers = {"Authorization": sandbox.authorization, "Content-Type": "application/json"}
    answer = sandbox.handle(Request("POST", "/jmap/", "", headers, json.dumps(content).encode()))
    return [arguments for _, arguments, _ in answer.json()["methodResponses"]]


def a_card(**properties: Any) -> dict[str, Any]:
    return {"@type": "Card", "version": "1.0", "name": {"full": "Bob"}} | properties


def vcard(*lines: str, version: str = "3.0") -> str:
    whole = ("BEGIN:VCARD", f"VERSION:{version}", *lines, "END:VCARD")
    return "".join(f"{line}\r\n" for line in whole)


def id_of(sandbox: Sandbox, uid: str) -> str:
    [found] = ask(sandbox, ("ContactCard/query", {"filter": {"uid": uid}}))
    [id_] = found["ids"]
    return str(id_)


@pytest.mark.parametrize(
    ("profile", "has"),
    [(CYRUS_3_10, False), (CYRUS_3_13, True), (FASTMAIL, True), (STALWART, True)],
)
def test_the_session_says_whether_contacts_go_by_jmap(profile: Profile, has: bool) -> None:
    sandbox, _ = make(profile)
    headers = {"Authorization": sandbox.authorization}
    session = sandbox.handle(Request("GET", "/jmap/", "", headers)).json()
    account = session["accounts"]["alice"]["accountCapabilities"]
    assert (CONTACTS in account) is has
    assert (session["primaryAccounts"].get(CONTACTS) == "alice") is has
    assert (CONTACTS in session["capabilities"]) is has


def test_a_server_without_contacts_does_not_know_their_capability() -> None:
    sandbox, _ = make(CYRUS_3_10)
    content = json.dumps({"using": [CONTACTS], "methodCalls": []}).encode()
    headers = {"Authorization": sandbox.authorization, "Content-Type": "application/json"}
    answer = sandbox.handle(Request("POST", "/jmap/", "", headers, content))
    assert answer.json()["type"] == "urn:ietf:params:jmap:error:unknownCapability"
    feed = sandbox.subscribe("ContactCard")
    sandbox.put_card(vcard("UID:bob", "FN:Bob"))
    assert feed.take() == b""


def test_what_cards_were_before_and_what_they_became_are_changes() -> None:
    sandbox, _ = make(CYRUS_3_13)
    [_, before] = ask(sandbox, ("AddressBook/get", {}), ("ContactCard/get", {"ids": []}))
    group = id_of(sandbox, "group-feed")
    href = sandbox.put_card(vcard("UID:bob", "FN:Bob"))
    bob = id_of(sandbox, "bob")
    ask(sandbox, ("ContactCard/set", {"update": {group: {"members/bob": True}}}))
    [now] = ask(sandbox, ("ContactCard/changes", {"sinceState": before["state"]}))
    assert (now["created"], now["updated"], now["destroyed"]) == ([bob], [group], [])
    sandbox.delete_card(href)
    [then] = ask(sandbox, ("ContactCard/changes", {"sinceState": now["newState"]}))
    assert (then["created"], then["updated"], then["destroyed"]) == ([], [], [bob])
    [all_] = ask(sandbox, ("ContactCard/changes", {"sinceState": before["state"]}))
    assert (all_["created"], all_["updated"], all_["destroyed"]) == ([], [group], [])


@pytest.mark.parametrize("profile", [FASTMAIL, CYRUS_3_13, STALWART], ids=lambda p: p.name)
def test_what_was_created_cannot_be_destroyed_by_its_key(profile: Profile) -> None:
    sandbox, _ = make(profile)
    there = set(sandbox.cards())
    new = a_card(addressBookIds={"Default": True})
    ask(sandbox, ("ContactCard/set", {"create": {"new": new}, "destroy": ["#new"]}))
    assert len(sandbox.cards()) == len(there) + 1


@pytest.mark.parametrize(("profile", "kind"), [(CYRUS_3_13, "group"), (STALWART, "individual")])
def test_an_apple_group_is_a_group_where_the_server_knows_it(profile: Profile, kind: str) -> None:
    sandbox, _ = make(profile)
    [got] = ask(sandbox, ("ContactCard/get", {"ids": [id_of(sandbox, "group-feed")]}))
    assert got["list"][0]["kind"] == kind


def test_whatever_jscontact_has_no_word_for_comes_back() -> None:
    lines = (
        "PRODID:-//somebody//EN",
        "UID:bob",
        "KIND:INDIVIDUAL",
        "FN:Bob B.",
        "N:B.;Bob;;;",
        "ORG;PROP-ID=o1:Example\\, Inc.;Sales",
        "EMAIL;PROP-ID=e1;TYPE=work;PREF=1:bob@example.org",
        "NOTE;PROP-ID=n1:one\\ntwo",
        "X-SPAM-LEVEL;X-OF=mail:3",
        "item1.IMPP:xmpp:bob@example.org",
        'JSPROP;JSPTR="example.org:mark":{"a":[1\\,2]}',
    )
    text = vcard(*lines, version="4.0")
    again = vcard_of(card_of(text))
    assert sorted(again.splitlines()) == sorted(
        text.replace("UID:bob", "UID;VALUE=TEXT:bob").splitlines()
    )


def test_a_card_is_written_with_the_words_of_vcard_4() -> None:
    sandbox, _ = make(CYRUS_3_13)
    uid = "0b9a6f4e-5d0b-4c3a-8d8b-0d5f1f9f7a11"
    ask(sandbox, ("ContactCard/set", {"create": {"new": a_card(uid=uid, kind="group")}}))
    lines = sandbox.cards()[f"{BOOK}{uid}.vcf"].splitlines()
    assert {f"UID;VALUE=TEXT:{uid}", "KIND:GROUP", "FN:Bob", "VERSION:4.0"} <= set(lines)


def test_a_card_without_a_name_gets_one() -> None:
    text = vcard_of({"@type": "Card", "version": "1.0", "uid": "x"})
    assert "FN;DERIVED=TRUE:No Name" in text
    assert "name" not in card_of(text)


@pytest.mark.parametrize(
    "bad",
    [
        {"@type": "Person"},
        {"version": "2.0"},
        {"mark": 1},
        {"name": {}},
        {"emails": {"e1": {"number": "1"}}},
        {"members": {"a": False}},
        {"created": "yesterday"},
        {"addressBookIds": {"nowhere": True}},
    ],
)
def test_a_bad_property_refuses_the_card(bad: dict[str, Any]) -> None:
    sandbox, _ = make(CYRUS_3_13)
    there = sandbox.cards()
    [answer] = ask(sandbox, ("ContactCard/set", {"create": {"new": a_card(**bad)}}))
    refusal = {"type": "invalidProperties", "properties": [*bad]}
    assert answer["notCreated"] == {"new": refusal}
    assert sandbox.cards() == there


@pytest.mark.parametrize(
    ("patch", "wrong"),
    [({"uid": "another"}, "uid"), ({"kind": "individual"}, "kind"), ({"id": "x"}, "id")],
)
def test_what_a_card_is_cannot_be_changed(patch: dict[str, Any], wrong: str) -> None:
    sandbox, _ = make(CYRUS_3_13)
    group = id_of(sandbox, "group-feed")
    [answer] = ask(sandbox, ("ContactCard/set", {"update": {group: patch}}))
    refusal = {"type": "invalidProperties", "properties": [wrong]}
    assert answer["notUpdated"] == {group: refusal}


def test_a_filter_that_is_not_offered_is_an_error() -> None:
    sandbox, _ = make(CYRUS_3_13)
    asked = [{"note": "x"}, {"colour": "red"}, {"email": 1}]
    answers = ask(sandbox, *(("ContactCard/query", {"filter": filter_}) for filter_ in asked))
    types = ["unsupportedFilter", "invalidArguments", "invalidArguments"]
    assert [answer["type"] for answer in answers] == types


def test_the_users_own_doings_are_pushed() -> None:
    sandbox, _ = make(CYRUS_3_13)
    feed = sandbox.subscribe("ContactCard")
    href = sandbox.put_card(vcard("UID:bob", "FN:Bob"))
    assert f'"ContactCard":"{sandbox.states()["ContactCard"]}"' in feed.take().decode()
    sandbox.delete_card(href)
    assert f'"ContactCard":"{sandbox.states()["ContactCard"]}"' in feed.take().decode()


def test_a_set_of_several_is_one_event_with_its_last_state() -> None:
    sandbox, _ = make(CYRUS_3_13)
    feed = sandbox.subscribe()
    [answer] = ask(sandbox, ("ContactCard/set", {"create": {"a": a_card(), "b": a_card()}}))
    events = feed.take().decode().split("\n\n")[:-1]
    assert len(events) == 1
    assert f'{{"ContactCard":"{answer["newState"]}"}}' in events[0]


def test_what_carddav_writes_is_an_event() -> None:
    sandbox, _ = make(CYRUS_3_13)
    feed = sandbox.subscribe("ContactCard")
    headers = {"Authorization": sandbox.dav_authorization, "Content-Type": "text/vcard"}
    text = vcard("UID:bob", "FN:Bob", "N:;;;;").encode()
    assert sandbox.handle(Request("PUT", f"{BOOK}bob.vcf", "", headers, text)).status == 201
    assert f'{{"ContactCard":"{sandbox.states()["ContactCard"]}"}}' in feed.take().decode()
    sandbox.handle(Request("GET", f"{BOOK}bob.vcf", "", headers))
    assert feed.take() == b""


def test_an_open_stream_may_block_the_account_until_it_is_closed() -> None:
    sandbox, _ = make(CYRUS_3_13_BLOCKING)
    asked = api(sandbox, ("Email/get", {"ids": []}))
    feed = sandbox.subscribe()
    answer = sandbox.handle(asked)
    assert math.isinf(answer.delivery.delay_seconds)
    put = Request("PUT", f"{BOOK}b.vcf", "", {"Authorization": sandbox.dav_authorization})
    assert math.isinf(sandbox.handle(put).delivery.delay_seconds)
    session = Request("GET", "/jmap/", "", {"Authorization": sandbox.authorization})
    assert sandbox.handle(session).json()["username"] == "alice"
    feed.close()
    assert sandbox.handle(asked).delivery.delay_seconds == 0.0
