"""What a client sees of each server's ways: the switches that the profiles are made of."""

import json
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.sandbox import (
    CYRUS_3_10,
    FASTMAIL,
    LATE_PUSH,
    LOST_TOKEN,
    SABRE,
    SHORT_PAGES,
    STALWART,
    TRUNCATED_SYNC,
    Limits,
    Request,
    Response,
    Sandbox,
    without_stamp,
)
from tests.test_sandbox_account import SYNC
from tests.test_sandbox_server import api, make, run

BOB = "Bob Ross <bob@example.org>"
D = "{DAV:}"
BOOK = "/dav/addressbooks/user/alice/Default/"


def get(sandbox: Sandbox, path: str, query: str = "", **headers: str) -> Response:
    named = {"Authorization": sandbox.authorization, **headers}
    return sandbox.handle(Request("GET", path, query, named))


def test_the_api_may_be_at_another_host_than_the_session() -> None:
    sandbox, _ = make(FASTMAIL)
    session = get(sandbox, "/jmap/", Host="127.0.0.1:8080").json()
    assert session["apiUrl"] == "http://127.0.0.2:8080/jmap/"
    assert session["eventSourceUrl"] == "http://127.0.0.1:8080/jmap/eventsource/"
    assert get(sandbox, "/jmap/").json()["apiUrl"] == "http://127.0.0.2/jmap/"


def test_a_request_that_fails_may_be_told_so_in_plain_text() -> None:
    sandbox, _ = make(FASTMAIL)
    content = {"using": ["urn:example:more"], "methodCalls": []}
    request = replace(api(sandbox), body=json.dumps(content).encode())
    response = sandbox.handle(request)
    assert response.status == 400
    assert response.headers["Content-Type"].startswith("text/plain")
    assert response.body == b"unknown: urn:example:more"
    assert get(sandbox, "/jmap/", Authorization="Bearer other").body == b""


def test_too_much_within_a_minute_is_refused_until_it_is_over() -> None:
    limits = Limits(max_requests_per_minute=2)
    sandbox, clock = make(replace(CYRUS_3_10, limits=limits))
    request = Request("PROPFIND", "/dav/", "", {"Authorization": sandbox.dav_authorization})
    assert [sandbox.handle(request).status for _ in range(2)] == [207, 207]
    clock.now += 17.5
    for refused in (sandbox.handle(request), get(sandbox, "/jmap/")):
        assert (refused.status, refused.headers["Retry-After"]) == (429, "43")
    clock.now += 42.5
    assert sandbox.handle(request).status == 207


# Push


def test_a_greeting_server_tells_the_states_first() -> None:
    sandbox, _ = make(FASTMAIL)
    feed = sandbox.subscribe()
    states = sandbox.states()
    first = json.loads(feed.take().decode().split("data: ")[1])
    assert first == {"changed": {"alice": states}, "type": "connect"}
    sandbox.deliver(BOB)
    then = json.loads(feed.take().decode().split("data: ")[1])
    email = {"Email": sandbox.states()["Email"]}
    assert then == {"changed": {"alice": email}, "type": "change"}


def test_without_pings_a_silent_stream_has_no_deadline() -> None:
    sandbox, _ = make(FASTMAIL)
    assert sandbox.subscribe(ping=30).deadline is None


def test_late_push_tells_the_changes_of_a_second_together() -> None:
    sandbox, clock = make(LATE_PUSH)
    feed = sandbox.subscribe()
    sandbox.deliver(BOB)
    sandbox.create_mailbox("New")
    assert feed.deadline == clock.now + 1.0
    clock.now += 0.9
    feed.tick()
    assert feed.take() == b""
    clock.now += 0.1
    feed.tick()
    event = json.loads(feed.take().decode().split("data: ")[1])
    assert event["changed"]["alice"] == sandbox.states()
    assert feed.deadline == clock.now + 1.0
    clock.now += 5.5
    feed.tick()
    assert feed.take() == b""
    assert feed.deadline == clock.now + 0.5


def test_an_interval_in_milliseconds_is_pinged_in_seconds() -> None:
    sandbox, clock = make(STALWART)
    feed = sandbox.subscribe(ping=30)
    clock.now += 30.0
    feed.tick()
    assert feed.take() == b'event: ping\ndata: {"interval":30000}\n\n'


def test_events_may_be_without_ids_and_tell_counts() -> None:
    sandbox, _ = make(STALWART)
    feed = sandbox.subscribe()
    sandbox.deliver(BOB)
    mail = {name: sandbox.states()[name] for name in ("Email", "Mailbox")}
    states = json.dumps(mail, separators=(",", ":"))
    change = f'{{"@type":"StateChange","changed":{{"alice":{states}}}}}'
    assert feed.take().decode() == f"event: state\ndata: {change}\n\n"


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("types=Email%2CMailbox&closeafter=no&ping=30", 200),
        ("types=*&closeafter=state&ping=0", 200),
        ("types=Email,Nonsense&closeafter=no&ping=0", 400),
        ("closeafter=no&ping=0", 400),
        ("types=*&closeafter=never&ping=0", 400),
        ("types=*&closeafter=no&ping=soon", 400),
    ],
)
def test_a_strict_event_source_takes_no_nonsense(query: str, status: int) -> None:
    assert get(make(STALWART)[0], "/jmap/eventsource/", query).status == status


# Mail


def test_a_mailbox_set_given_whole_may_be_ignored() -> None:
    sandbox, _ = make(FASTMAIL)
    mail_id = sandbox.deliver(BOB)
    whole = {"mailboxIds": {sandbox.mailbox_id("Feed"): True}}
    [[_, answer]] = run(sandbox, ("Email/set", {"update": {mail_id: whole}}))
    assert answer["updated"] == {mail_id: None}
    assert sandbox.mailboxes_of(mail_id) == {"Screener"}


def test_a_mailbox_that_is_there_may_be_named_when_its_name_is_taken() -> None:
    sandbox, _ = make(STALWART)
    [[_, answer]] = run(sandbox, ("Mailbox/set", {"create": {"a": {"name": "Feed"}}}))
    there = {"type": "alreadyExists", "existingId": sandbox.mailbox_id("Feed")}
    assert answer["notCreated"] == {"a": there}


def test_a_query_may_show_less_than_was_asked_for() -> None:
    sandbox, _ = make(SHORT_PAGES)
    mails = [sandbox.deliver(BOB) for _ in range(3)]
    [[_, first], [_, rest], [_, few]] = run(
        sandbox,
        ("Email/query", {"limit": 50, "calculateTotal": True}),
        ("Email/query", {"position": 2}),
        ("Email/query", {"limit": 1}),
    )
    assert {*first["ids"], *rest["ids"]} == set(mails)
    assert (len(first["ids"]), first["limit"], first["total"]) == (2, 2, 3)
    assert (len(few["ids"]), few.get("limit")) == (1, None)


# Contacts


def card(*lines: str) -> str:
    whole = ("BEGIN:VCARD", "VERSION:3.0", "UID:bob", "FN:Bob", "N:;;;;", *lines, "END:VCARD")
    return "".join(f"{line}\r\n" for line in whole)


def put(sandbox: Sandbox, href: str, text: str, **headers: str) -> Response:
    named = {"Authorization": sandbox.dav_authorization, "Content-Type": "text/vcard"}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    return sandbox.handle(Request("PUT", href, "", named, text.encode()))


def test_a_bad_card_may_be_412_like_a_condition_that_does_not_hold() -> None:
    sandbox, _ = make(STALWART)
    href = sandbox.put_card(card())
    bad = put(sandbox, href, "no card")
    missed = put(sandbox, href, card(), If_None_Match="*")
    other = put(sandbox, href, card().replace("UID:bob", "UID:rob"))
    assert (bad.status, missed.status, other.status) == (412, 412, 412)
    assert b"supported-address-data" in bad.body
    assert b"address-data" not in missed.body
    assert b"no-uid-conflict" in other.body


def show(sandbox: Sandbox, href: str) -> Response:
    return get(sandbox, href, Authorization=sandbox.dav_authorization)


def test_a_card_is_kept_with_the_servers_stamp_and_no_etag_is_told() -> None:
    sandbox, clock = make(SABRE)
    text = card("EMAIL;TYPE=INTERNET,HOME:bob@example.org", "REV:1")
    href = sandbox.put_card(text)
    clock.now = 1_795_000_000.0
    answer = put(sandbox, href, text)
    assert (answer.status, answer.headers.get("ETag")) == (204, None)
    assert without_stamp(sandbox.cards()[href]) == without_stamp(text)
    assert sandbox.cards()[href].replace("\r\n", "\n") == (
        "BEGIN:VCARD\nVERSION:3.0\nPRODID:-//sandbox//EN\nUID:bob\nFN:Bob\nN:;;;;\n"
        "EMAIL;TYPE=INTERNET,HOME:bob@example.org\nREV:20261118T110640Z\nEND:VCARD\n"
    )


def test_a_card_that_is_kept_as_it_was_put_has_an_etag() -> None:
    sandbox, _ = make(replace(SABRE, card_form="as put"))
    text = card("EMAIL;TYPE=INTERNET,HOME:bob@example.org", f"NOTE:{'long ' * 30}")
    href = sandbox.put_card(text)
    assert put(sandbox, href, text).headers["ETag"]
    assert sandbox.cards()[href] == text


@pytest.mark.parametrize(
    ("form", "shown", "matching", "missing"),
    [
        ("strong", '"{}"', ['"{}"', 'W/"{}"'], ["{}", '"{}x"']),
        ("weak", 'W/"{}"', ['"{}"'], ['W/"{}"', "{}"]),
        ("unquoted", "{}", ["{}"], ['W/"{}"', '"{}"', "{}x"]),
    ],
)
def test_an_etag_is_written_in_the_servers_way(
    form: Any, shown: str, matching: list[str], missing: list[str]
) -> None:
    sandbox, _ = make(replace(STALWART, etag_form=form))
    href = sandbox.put_card(card())
    etag = show(sandbox, href).headers["ETag"]
    plain = etag.removeprefix("W/").strip('"')
    assert etag == shown.format(plain)
    for condition in missing:
        assert put(sandbox, href, card(), If_Match=condition.format(plain)).status == 412
    for condition in matching:
        answer = put(sandbox, href, card(), If_Match=condition.format(plain))
        assert (answer.status, answer.headers["ETag"]) == (204, etag)


def sync(sandbox: Sandbox, token: str) -> tuple[int, dict[str, str], str]:
    """The status, the status of each href, and the new token."""
    headers = {"Authorization": sandbox.dav_authorization}
    answer = sandbox.handle(Request("REPORT", BOOK, "", headers, SYNC.format(token).encode()))
    root = ElementTree.fromstring(answer.body)
    statuses = {
        each.findtext(f"{D}href", ""): each.findtext(f".//{D}status", "").split()[1]
        for each in root.iter(f"{D}response")
    }
    return answer.status, statuses, root.findtext(f"{D}sync-token", "")


def test_a_sync_may_come_in_pages_each_with_its_token() -> None:
    sandbox, _ = make(TRUNCATED_SYNC)
    seen, token, pages = set[str](), "", 0
    while BOOK in (page := sync(sandbox, token))[1]:
        assert page[1].pop(BOOK) == "507"
        assert len(page[1]) == 3
        seen |= page[1].keys()
        token, pages = page[2], pages + 1
    assert pages == 2
    assert seen | page[1].keys() == sandbox.cards().keys()
    hrefs = list(sandbox.cards())
    sandbox.delete_card(hrefs[0])
    sandbox.put_card(sandbox.cards()[hrefs[1]])
    assert sync(sandbox, page[2])[1] == {hrefs[0]: "404", hrefs[1]: "200"}


def test_a_sync_token_may_be_refused_now_and_then() -> None:
    sandbox, _ = make(LOST_TOKEN)
    token = sync(sandbox, "")[2]
    assert [sync(sandbox, token)[0] for _ in range(4)] == [207, 403, 207, 403]
    assert sync(sandbox, "")[0] == 207
