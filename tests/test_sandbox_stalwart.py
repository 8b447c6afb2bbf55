"""The profile ``stalwart``: what Stalwart 0.15.5 was seen to do, and 0.16 by its source."""

import re
from typing import Any

import pytest

from tests.sandbox import STALWART, Request, Response, Sandbox
from tests.sandbox.sieve import SieveSandbox
from tests.test_sandbox_contacts import BOOK, a_card, ask, id_of, vcard
from tests.test_sandbox_server import api, make, run

BOB = "Bob <bob@example.org>"


def dav(sandbox: Sandbox, method: str, path: str, body: str = "", **headers: str) -> Response:
    named = {"Authorization": sandbox.dav_authorization} | headers
    return sandbox.handle(Request(method, path, "", named, body.encode()))


def sync(sandbox: Sandbox, token: str = "", data: str = "") -> str:
    report = (
        '<sync-collection xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav">'
        f"<sync-token>{token}</sync-token><sync-level>1</sync-level>"
        f"<prop><getetag/>{data}</prop></sync-collection>"
    )
    return dav(sandbox, "REPORT", BOOK, report, Depth="1").body.decode()


def token_in(answer: str) -> str:
    found = re.search(r"sync-token>([^<]+)<", answer)
    return found[1] if found else ""


# Requests


def test_jmap_and_carddav_together_are_four_at_once() -> None:
    sandbox, clock = make(STALWART)
    sandbox.controls.delay_seconds = 1.0
    request = api(sandbox, ("Core/echo", {}))
    assert [sandbox.handle(request).status for _ in range(3)] == [200] * 3
    assert dav(sandbox, "PROPFIND", BOOK).status == 207
    for refused in (dav(sandbox, "PROPFIND", BOOK), sandbox.handle(request)):
        assert refused.status == 400
        assert refused.json()["limit"] == "maxConcurrentRequests"
        assert "Retry-After" not in refused.headers
    clock.now += 1.0
    assert dav(sandbox, "PROPFIND", BOOK).status == 207


def test_a_minute_has_a_thousand_requests() -> None:
    sandbox, _ = make(STALWART)
    request = api(sandbox, ("Core/echo", {}))
    assert {sandbox.handle(request).status for _ in range(1000)} == {200}
    refused = sandbox.handle(request)
    assert (refused.status, refused.headers["Retry-After"]) == (429, "60")


@pytest.mark.parametrize(
    "call", [("Email/get", {"ids": ["x"] * 501}), ("Email/set", {"destroy": ["x"] * 501})]
)
def test_too_many_objects_fail_the_call(call: tuple[str, dict[str, Any]]) -> None:
    assert run(make(STALWART)[0], call) == [["error", {"type": "requestTooLarge"}]]


def test_a_get_of_all_is_cut_without_a_word() -> None:
    sandbox, _ = make(STALWART)
    for number in range(500):
        sandbox.create_mailbox(f"Box {number}")
    [[_, boxes]] = run(sandbox, ("Mailbox/get", {"ids": None, "properties": ["id"]}))
    assert len(boxes["list"]) == 500


def test_a_set_says_nothing_of_what_there_was_none_of() -> None:
    sandbox, _ = make(STALWART)
    mail_id = sandbox.deliver(BOB)
    patch = {f"mailboxIds/{sandbox.mailbox_id('Feed')}": True}
    [[_, answer]] = run(sandbox, ("Email/set", {"update": {mail_id: patch}}))
    assert answer.keys() == {"accountId", "oldState", "newState", "updated"}


# Push


def test_a_stream_has_one_event_a_second() -> None:
    sandbox, clock = make(STALWART)
    feed = sandbox.subscribe("Email")
    sandbox.deliver(BOB)
    assert feed.take().count(b"event: state") == 1
    for _ in range(2):
        sandbox.deliver(BOB)
    assert feed.take() == b""
    assert feed.deadline == clock.now + 1.0
    clock.now += 1.0
    feed.tick()
    event = feed.take().decode()
    assert event.count("event: state") == 1
    assert sandbox.states()["Email"] in event
    clock.now += 5.0
    feed.tick()
    assert feed.take() == b""


def test_pings_come_every_thirty_seconds_at_most() -> None:
    sandbox, clock = make(STALWART)
    feed = sandbox.subscribe(ping=5)
    assert feed.deadline == clock.now + 30.0


# Mail


def test_a_fresh_mail_is_found_by_its_mailbox_alone() -> None:
    sandbox, clock = make(STALWART)
    mail_id = sandbox.deliver(BOB)
    filters = (
        {"from": "bob@example.org"},
        {"after": "1970-01-01T00:00:00Z"},
        {"inMailbox": sandbox.mailbox_id("Screener")},
    )

    def found() -> list[list[str]]:
        answers = run(sandbox, *(("Email/query", {"filter": filter_}) for filter_ in filters))
        return [answer["ids"] for _, answer in answers]

    assert found() == [[], [], [mail_id]]
    clock.now += 0.5
    assert found() == [[mail_id]] * 3


def test_a_mailbox_that_is_not_there_has_nothing_in_it() -> None:
    sandbox, _ = make(STALWART)
    [[_, answer]] = run(sandbox, ("Email/query", {"filter": {"inMailbox": "none"}}))
    assert answer["ids"] == []


def test_false_takes_a_mailbox_away_like_null_but_not_the_last() -> None:
    sandbox, _ = make(STALWART)
    mail_id = sandbox.deliver(BOB, mailbox=["Feed", "Screener"])
    screener, feed = (f"mailboxIds/{sandbox.mailbox_id(name)}" for name in ("Screener", "Feed"))
    run(sandbox, ("Email/set", {"update": {mail_id: {screener: False}}}))
    assert sandbox.mailboxes_of(mail_id) == {"Feed"}
    [[_, answer]] = run(sandbox, ("Email/set", {"update": {mail_id: {feed: False}}}))
    assert answer["notUpdated"][mail_id]["type"] == "invalidProperties"


def test_a_whole_set_may_fail_by_another_change() -> None:
    sandbox, _ = make(STALWART)
    mails = [sandbox.deliver(BOB) for _ in range(2)]
    patch = {f"mailboxIds/{sandbox.mailbox_id('Feed')}": True}
    update = ("Email/set", {"update": dict.fromkeys(mails, patch)})
    sandbox.controls.conflicts = 1
    [[_, refused]], [[_, done]] = run(sandbox, update), run(sandbox, update)
    assert {error["type"] for error in refused["notUpdated"].values()} == {"forbidden"}
    assert refused["newState"] == refused["oldState"]
    assert set(done["updated"]) == set(mails)


def test_a_mailbox_is_there_already_in_any_case() -> None:
    sandbox, _ = make(STALWART)
    [[_, answer]] = run(sandbox, ("Mailbox/set", {"create": {"a": {"name": "FEED"}}}))
    there = {"type": "alreadyExists", "existingId": sandbox.mailbox_id("Feed")}
    assert answer["notCreated"] == {"a": there}


# CardDAV


def test_a_card_is_spelt_anew_and_its_etag_stays_valid() -> None:
    sandbox, _ = make(STALWART)
    text = vcard("UID:bob", "FN:Bob", 'TEL;TYPE="cell,voice":1', "item1.EMAIL;TYPE=home:b@x.org")
    etag = dav(sandbox, "PUT", f"{BOOK}bob.vcf", text).headers["ETag"]
    shown = dav(sandbox, "GET", f"{BOOK}bob.vcf")
    assert shown.headers["ETag"] == etag
    assert shown.body.decode().splitlines()[4:6] == [
        "TEL;TYPE=CELL,VOICE:1",
        "item1.EMAIL;TYPE=HOME:b@x.org",
    ]


def test_a_card_needs_neither_uid_nor_name() -> None:
    sandbox, _ = make(STALWART)
    assert dav(sandbox, "PUT", f"{BOOK}a.vcf", vcard("NOTE:x")).status == 201
    assert dav(sandbox, "PUT", f"{BOOK}a.vcf", vcard("NOTE:y")).status == 204
    assert "NOTE:y" in sandbox.cards()[f"{BOOK}a.vcf"]


@pytest.mark.parametrize("name", ["twin.vcf", "bob.vcf"])
def test_a_uid_is_one_cards_and_stays_it(name: str) -> None:
    sandbox, _ = make(STALWART)
    sandbox.put_card(vcard("UID:bob", "FN:Bob"))
    uid = {"twin.vcf": "bob", "bob.vcf": "other"}[name]
    answer = dav(sandbox, "PUT", f"{BOOK}{name}", vcard(f"UID:{uid}", "FN:Bob"))
    assert answer.status == 412
    assert b"no-uid-conflict" in answer.body


def test_an_href_is_found_in_the_servers_spelling_only() -> None:
    sandbox, _ = make(STALWART)
    sandbox.put_card(vcard("UID:bob", "FN:Bob"), "bob.vcf")
    assert dav(sandbox, "GET", f"{BOOK}bob.vcf").status == 200
    assert dav(sandbox, "GET", f"{BOOK}b%6Fb.vcf").status == 404


def test_partial_data_is_without_grouped_properties() -> None:
    sandbox, _ = make(STALWART)
    sandbox.put_card(vcard("UID:bob", "FN:Bob", "item1.EMAIL:a@x.org", "EMAIL:b@x.org"))
    data = '<C:address-data><C:prop name="EMAIL"/></C:address-data>'
    shown = sync(sandbox, data=data)
    assert "EMAIL:b@x.org" in shown
    assert "a@x.org" not in shown


def test_another_users_book_stands_in_the_home() -> None:
    sandbox, _ = make(STALWART)
    home = dav(sandbox, "PROPFIND", "/dav/addressbooks/user/alice/", Depth="1")
    text = home.body.decode()
    assert text.index("/dav/addressbooks/user/zoe/Default/") < text.index(BOOK)


def test_a_long_first_sync_is_cut_and_the_rest_never_comes() -> None:
    sandbox, _ = make(STALWART)
    for number in range(2000):
        sandbox.put_card(vcard(f"UID:{number}", "FN:x"), f"{number}.vcf")
    first = sync(sandbox)
    assert len(re.findall(r"getetag>\"", first)) == 2000
    assert "507" in first
    assert token_in(first)
    assert "getetag" not in sync(sandbox, token_in(first))


def test_a_token_that_is_none_gets_everything_and_no_removals() -> None:
    sandbox, _ = make(STALWART)
    href = sandbox.put_card(vcard("UID:bob", "FN:Bob"), "bob.vcf")
    sandbox.delete_card(href)
    answer = sync(sandbox, "urn:garbage")
    assert "group-feed.vcf" in answer
    assert "bob.vcf" not in answer
    assert token_in(answer) == token_in(sync(sandbox))


# Contacts by JMAP


IN_BOOK = {"addressBookIds": {"Default": True}}


def test_a_card_must_name_its_address_book() -> None:
    sandbox, _ = make(STALWART)
    [answer] = ask(
        sandbox, ("ContactCard/set", {"create": {"a": a_card(), "b": a_card(**IN_BOOK)}})
    )
    refusal = {"type": "invalidProperties", "properties": ["addressBookIds"]}
    assert answer["notCreated"] == {"a": refusal}
    assert set(answer["created"]) == {"b"}


def test_a_vendors_property_is_taken_within_others_only() -> None:
    sandbox, _ = make(STALWART)
    mark = {"example.org:mark": "x"}
    bare, nested = a_card(**IN_BOOK, **mark), a_card(**IN_BOOK, notes={"n": {"note": "y"} | mark})
    [answer] = ask(sandbox, ("ContactCard/set", {"create": {"bare": bare, "nested": nested}}))
    assert answer["notCreated"]["bare"]["properties"] == ["example.org:mark"]
    id_ = answer["created"]["nested"]["id"]
    [got] = ask(sandbox, ("ContactCard/get", {"ids": [id_]}))
    assert got["list"][0]["notes"] == {"n": {"note": "y"} | mark}


def test_unmapped_properties_can_be_read_and_written() -> None:
    sandbox, _ = make(STALWART)
    unmapped = {"properties": [["x-mark", {}, "unknown", "v"]]}
    new = a_card(uid="0b9a6f4e-5d0b-4c3a", vCard=unmapped, **IN_BOOK)
    [answer] = ask(sandbox, ("ContactCard/set", {"create": {"a": new}}))
    id_ = answer["created"]["a"]["id"]
    assert "X-MARK:v" in sandbox.cards()[f"{BOOK}0b9a6f4e-5d0b-4c3a.vcf"]
    [whole, named] = ask(
        sandbox,
        ("ContactCard/get", {"ids": [id_]}),
        ("ContactCard/get", {"ids": [id_], "properties": ["vCard"]}),
    )
    assert "vCard" not in whole["list"][0]
    assert named["list"][0]["vCard"] == unmapped


def test_the_first_member_comes_with_the_whole_set() -> None:
    sandbox, _ = make(STALWART)
    sandbox.put_card(vcard("UID:g", "FN:G", "KIND:group", version="4.0"))
    group = id_of(sandbox, "g")
    [got] = ask(sandbox, ("ContactCard/get", {"ids": [group]}))
    assert "members" not in got["list"][0]
    [refused] = ask(sandbox, ("ContactCard/set", {"update": {group: {"members/a": True}}}))
    refusal = {"type": "invalidProperties", "properties": ["members/a"]}
    assert refused["notUpdated"] == {group: refusal}
    [done] = ask(sandbox, ("ContactCard/set", {"update": {group: {"members": {"a": True}}}}))
    assert set(done["updated"]) == {group}


def test_a_set_cannot_be_made_to_depend_on_another() -> None:
    sandbox, _ = make(STALWART)
    reference = {"resultOf": "0", "name": "ContactCard/set", "path": "/notCreated"}
    [_, second] = ask(
        sandbox,
        ("ContactCard/set", {"create": {"bad": a_card()}}),
        ("ContactCard/set", {"#ifInState": reference, "create": {"new": a_card(**IN_BOOK)}}),
    )
    assert set(second["created"]) == {"new"}


# Sieve


def test_whatever_a_script_requires_is_valid_but_the_session_says_what_there_is() -> None:
    sandbox = SieveSandbox(STALWART)
    script = sandbox.keep(b'require ["vnd.cyrus.jmapquery"]; keep;')
    broken = sandbox.keep(b"if true {")
    [[_, whole], [_, bad]] = run(
        sandbox,
        ("SieveScript/validate", {"blobId": script}),
        ("SieveScript/validate", {"blobId": broken}),
    )
    assert (whole["error"], bad["error"]["type"]) == (None, "invalidScript")
    request = Request("GET", "/jmap/", "", {"Authorization": sandbox.authorization})
    account = sandbox.handle(request).json()["accounts"]["alice"]["accountCapabilities"]
    extensions = account["urn:ietf:params:jmap:sieve"]["sieveExtensions"]
    assert "mailboxid" in extensions
    assert "vnd.cyrus.jmapquery" not in extensions
