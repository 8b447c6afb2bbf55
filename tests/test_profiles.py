"""The main job on every kind of server, and what a client sees of each one's ways."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest

from mailroom.sandbox import (
    CYRUS_3_10,
    FASTMAIL,
    LAGGING_SEARCH,
    LATE_PUSH,
    LOST_TOKEN,
    NO_SEARCH,
    PROFILES,
    SABRE,
    SHORT_PAGES,
    STALWART,
    TRUNCATED_SYNC,
    Fault,
    Limits,
    Profile,
    Request,
    Response,
    Sandbox,
)
from tests.test_sandbox_server import api, make, run
from tests.world import World

BOB = "Bob Ross <bob@example.org>"
D = "{DAV:}"
EVENTS = "/jmap/eventsource/"
OUTAGE = Fault(path=EVENTS, answer=Response(503))

CARD = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:bob\r\nFN:{}\r\nN:;;;;\r\n{}END:VCARD\r\n"
OWN_CARD = CARD.format("Bob Ross", "EMAIL;TYPE=HOME:Bob@Example.org\r\nNOTE:mine\r\n")


@pytest.fixture(params=list(PROFILES))
def profile(request: pytest.FixtureRequest) -> Profile:
    return PROFILES[request.param]


@pytest.fixture
def world(profile: Profile) -> World:
    """A service at rest, right after a poll."""
    world = World(profile).start()
    world.settle()
    act(world, world.account.poll_now)
    return world


def act(world: World, action: Callable[[], object]) -> None:
    """Let the user do something, and the service see it: by push, or at its next look."""
    polls = world.polls
    action()
    world.run_until(lambda: world.polls > polls)


def tap(world: World, mail_id: str, label: str) -> None:
    act(world, lambda: world.tap(mail_id, label))


def contact(world: World) -> str:
    """The unfolded card of the one contact that is no group."""
    cards = [text for text in world.sandbox.cards().values() if "group" not in text]
    assert len(cards) == 1, cards
    return cards[0].replace("\r\n ", "")


def has_contact(world: World) -> bool:
    return any("bob@example.org" in text.lower() for text in world.sandbox.cards().values())


def members(world: World, *groups: str) -> list[int]:
    return [len(world.sandbox.group_members(group)) for group in groups]


def assert_quiet(world: World) -> None:
    """Nothing went wrong, and nothing is left to do."""
    assert world.healthz[1]["status"] == "ok"
    assert world.named("poll_failed") == world.named("sender_failed") == []
    number = world.request_count
    act(world, world.account.poll_now)
    assert len(world.requests_since(number)) <= 2


# The main job


def test_a_first_triage_files_all_of_the_senders_waiting_mail(world: World) -> None:
    sandbox = world.sandbox
    mails = [*world.deliver(BOB, count=3), *(sandbox.deliver(BOB) for _ in range(3))]
    other = sandbox.deliver("Carol <carol@example.org>")
    tap(world, mails[2], "@ToFeed")
    assert sandbox.mails_in("Feed") == set(mails)
    assert sandbox.mails_in("Screener") == {other}
    assert sandbox.mails_in("@ToFeed") == set()
    assert members(world, "Feed", "Imbox", "Mailroom") == [1, 0, 1]
    assert "NOTE:— Mailroom —\\nCreated by Mailroom\\nTriaged to Feed on " in contact(world)
    assert_quiet(world)


def test_another_label_changes_what_was_decided(world: World) -> None:
    sandbox = world.sandbox
    mails = [sandbox.deliver(BOB) for _ in range(3)]
    tap(world, mails[0], "@ToFeed")
    tap(world, mails[1], "@ToTruck")
    assert sandbox.mails_in("Feed") == set()
    assert sandbox.mails_in("Truck") == sandbox.mails_in("Paper Trail") == set(mails)
    assert members(world, "Feed", "Truck", "Paper Trail", "Mailroom") == [0, 1, 1, 1]
    assert "\\nRe-triaged to Truck on " in contact(world)
    assert_quiet(world)


def test_a_contact_that_is_there_is_adopted(world: World) -> None:
    sandbox = world.sandbox
    sandbox.put_card(OWN_CARD)
    mail_id = sandbox.deliver(BOB)
    tap(world, mail_id, "@ToFeed")
    assert sandbox.mailboxes_of(mail_id) == {"Feed"}
    assert "NOTE:mine\\n" in contact(world)
    assert "\\nAdopted by Mailroom\\n" in contact(world)
    assert sandbox.group_members("Feed") == {"bob"}
    assert sandbox.group_members("Mailroom") == set()
    assert_quiet(world)


def test_a_sender_is_taken_back_and_leaves_nothing_behind(world: World) -> None:
    sandbox = world.sandbox
    mails = [sandbox.deliver(BOB) for _ in range(3)]
    tap(world, mails[0], "@ToFeed")
    tap(world, mails[0], "@ToScreener")
    assert sandbox.mails_in("Screener") == set(mails)
    assert sandbox.mails_in("Feed") == sandbox.mails_in("@ToScreener") == set()
    assert not has_contact(world)
    assert members(world, "Feed", "Mailroom") == [0, 0]
    assert_quiet(world)


def test_a_contact_of_the_users_own_outlives_being_taken_back(world: World) -> None:
    sandbox = world.sandbox
    sandbox.put_card(OWN_CARD)
    mail_id = sandbox.deliver(BOB)
    tap(world, mail_id, "@ToFeed")
    tap(world, mail_id, "@ToScreener")
    assert sandbox.mailboxes_of(mail_id) == {"Screener"}
    assert "NOTE:mine\r\n" in contact(world)
    assert members(world, "Feed", "Mailroom") == [0, 0]
    assert_quiet(world)


def test_a_conflict_waits_for_the_user(world: World) -> None:
    sandbox = world.sandbox
    one, two = sandbox.deliver(BOB), sandbox.deliver(BOB)
    sandbox.label(one, "@ToFeed")
    tap(world, two, "@ToJail")
    world.settle()
    assert sandbox.mailboxes_of(one) == {"Screener", "@ToFeed", "@MailroomError"}
    assert sandbox.mailboxes_of(two) == {"Screener", "@ToJail", "@MailroomError"}
    act(world, lambda: sandbox.unlabel(two, "@ToJail"))
    assert sandbox.mailboxes_of(one) == sandbox.mailboxes_of(two) == {"Feed"}
    assert_quiet(world)


def test_a_tap_costs_one_poll_and_its_echoes_none(world: World, profile: Profile) -> None:
    mail_id = world.sandbox.deliver(BOB)
    world.settle()
    tapped_at = world.clock.now()
    tap(world, mail_id, "@ToFeed")
    assert world.sandbox.mailboxes_of(mail_id) == {"Feed"}
    assert world.clock.now() - tapped_at < (2.0 if profile.push == "available" else 61.0)
    polls = world.polls
    world.run_for(50.0)
    assert world.polls == polls


def test_push_is_connected_where_there_is_any(world: World, profile: Profile) -> None:
    status = world.healthz[1]["eventsource"]["status"]
    assert status == ("connected" if profile.push == "available" else "unavailable")


@pytest.mark.parametrize(
    ("profile", "seconds"),
    [(CYRUS_3_10, 75.0), (LATE_PUSH, 75.0), (STALWART, 75.0), (FASTMAIL, 1800.0)],
    ids=["cyrus-3.10", "late-push", "stalwart", "fastmail"],
)
def test_a_dead_path_is_noticed_by_the_pings_that_do_not_come(world: World, seconds: float) -> None:
    world.run_for(60.0)
    world.sandbox.deliver(BOB)
    world.run_for(2.0)
    world.sandbox.cut_off_feeds()
    world.run_for(seconds - 5.0)
    assert world.healthz[1]["eventsource"]["reconnect_count"] == 0
    world.run_for(10.0)
    assert world.healthz[1]["eventsource"]["reconnect_count"] == 1


def test_a_tap_during_an_outage_of_push_is_seen_within_a_minute(world: World) -> None:
    sandbox = world.sandbox
    sandbox.faults.add(OUTAGE)
    sandbox.close_feeds()
    world.settle()
    one, two = sandbox.deliver(BOB), sandbox.deliver("Carol <carol@example.org>")
    world.tap(one, "@ToFeed")
    world.run_for(61.0)
    assert sandbox.mailboxes_of(one) == {"Feed"}
    sandbox.faults.clear()
    world.run_for(75.0)
    tap(world, two, "@ToJail")
    assert sandbox.mailboxes_of(two) == {"Jail"}
    assert_quiet(world)


def test_the_limits_are_kept_when_answers_take_their_time(world: World) -> None:
    sandbox = world.sandbox
    mails = [sandbox.deliver(f"s{number}@example.org") for number in range(12)]
    sandbox.controls.delay_seconds = 0.05
    number = world.request_count
    for mail_id in mails[1:]:
        sandbox.label(mail_id, "@ToFeed")
    tap(world, mails[0], "@ToFeed")
    assert sandbox.mails_in("Feed") == set(mails)
    assert members(world, "Feed") == [12]
    assert {entry.status for entry in world.requests_since(number)} <= {200, 201, 204, 207, 403}
    assert_quiet(world)


def test_a_server_that_has_had_enough_is_left_alone_for_as_long_as_it_says() -> None:
    world = World(replace(STALWART, limits=Limits(max_requests_per_minute=20))).start()
    world.settle()
    sandbox = world.sandbox
    mails = [sandbox.deliver(f"s{number}@example.org") for number in range(12)]
    for mail_id in mails:
        sandbox.label(mail_id, "@ToFeed")
    world.run_for(300.0)
    assert sandbox.mails_in("Feed") == set(mails)
    assert members(world, "Feed") == [12]
    refused_at = {entry.started for entry in sandbox.log.entries if entry.status == 429}
    assert 1 <= len(refused_at) <= 3
    assert world.healthz[1]["status"] == "ok"


# What a client sees: the session


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


def test_too_much_at_once_may_be_429_with_a_time_to_wait() -> None:
    limits = Limits(max_concurrent_requests=2)
    sandbox, clock = make(replace(CYRUS_3_10, crowded_status=429, limits=limits))
    sandbox.controls.delay_seconds = 1.0
    request = api(sandbox, ("Core/echo", {}))
    answers = [sandbox.handle(request) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert answers[2].headers["Retry-After"] == "1"
    clock.now += 1.0
    assert sandbox.handle(request).status == 200


def test_too_much_within_a_minute_is_refused_until_it_is_over() -> None:
    limits = Limits(max_requests_per_minute=2)
    sandbox, clock = make(replace(CYRUS_3_10, crowded_status=429, limits=limits))
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
    states = sandbox.mail_states()
    first = json.loads(feed.take().decode().split("data: ")[1])
    assert first == {"changed": {"alice": states}, "type": "connect"}
    sandbox.deliver(BOB)
    then = json.loads(feed.take().decode().split("data: ")[1])
    email = {"Email": sandbox.mail_states()["Email"]}
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
    assert event["changed"]["alice"] == sandbox.mail_states()
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
    states = json.dumps(sandbox.mail_states(), separators=(",", ":"))
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
    assert get(make(STALWART)[0], EVENTS, query).status == status


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


def found(sandbox: Sandbox) -> Any:
    [[_, answer]] = run(sandbox, ("Email/query", {"filter": {"from": "bob@example.org"}}))
    return answer.get("ids", answer.get("type"))


def test_a_search_may_fail_or_run_behind_what_has_arrived() -> None:
    assert found(make(NO_SEARCH)[0]) == "serverFail"
    sandbox, clock = make(LAGGING_SEARCH)
    old = sandbox.deliver(BOB, received_at=clock.now - 600)
    new = sandbox.deliver(BOB)
    assert found(sandbox) == [old]
    clock.now += 600
    assert set(found(sandbox)) == {old, new}


# Contacts


def put(sandbox: Sandbox, href: str, text: str, **headers: str) -> Response:
    named = {"Authorization": sandbox.dav_authorization, "Content-Type": "text/vcard"}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    return sandbox.handle(Request("PUT", href, "", named, text.encode()))


def test_a_bad_card_may_be_412_like_a_condition_that_does_not_hold() -> None:
    sandbox, _ = make(STALWART)
    href = sandbox.put_card(OWN_CARD)
    bad = put(sandbox, href, OWN_CARD.replace("FN:", "X-FN:"))
    missed = put(sandbox, href, OWN_CARD, If_None_Match="*")
    assert (bad.status, missed.status) == (412, 412)
    assert b"valid-address-data" in bad.body
    assert b"valid-address-data" not in missed.body


def card(*lines: str) -> str:
    return CARD.format("Bob", "".join(f"{line}\r\n" for line in lines))


def show(sandbox: Sandbox, href: str) -> Response:
    return get(sandbox, href, Authorization=sandbox.dav_authorization)


def test_a_card_is_kept_with_the_servers_stamp_and_no_etag_is_told() -> None:
    sandbox, clock = make(SABRE)
    text = card("EMAIL;TYPE=INTERNET,HOME:bob@example.org", "REV:1")
    href = sandbox.put_card(text)
    clock.now = 1_795_000_000.0
    answer = put(sandbox, href, text)
    assert (answer.status, answer.headers.get("ETag")) == (204, None)
    assert sandbox.cards()[href].replace("\r\n", "\n") == (
        "BEGIN:VCARD\nVERSION:3.0\nPRODID:-//sandbox//EN\nUID:bob\nFN:Bob\nN:;;;;\n"
        "EMAIL;TYPE=INTERNET,HOME:bob@example.org\nREV:20261118T110640Z\nEND:VCARD\n"
    )


@pytest.mark.parametrize("profile", [replace(SABRE, card_form="as put"), STALWART])
def test_a_card_that_is_kept_as_it_was_put_has_an_etag(profile: Profile) -> None:
    sandbox, _ = make(profile)
    text = card("EMAIL;TYPE=INTERNET,HOME:bob@example.org", f"NOTE:{'long ' * 30}")
    href = sandbox.put_card(text)
    assert put(sandbox, href, text).headers["ETag"]
    assert sandbox.cards()[href] == text


@pytest.mark.parametrize(
    ("form", "shown", "matching", "missing"),
    [
        ("strong", '"{}"', ['"{}"', 'W/"{}"'], ["{}", '"{}x"']),
        ("weak", 'W/"{}"', ['"{}"'], ['W/"{}"', "{}"]),
        ("unquoted", "{}", ['"{}"'], ['W/"{}"', '"{}x"', "{}"]),
    ],
)
def test_an_etag_is_written_in_the_servers_way(
    form: Any, shown: str, matching: list[str], missing: list[str]
) -> None:
    sandbox, _ = make(replace(STALWART, etag_form=form))
    href = sandbox.put_card(OWN_CARD)
    etag = show(sandbox, href).headers["ETag"]
    plain = etag.removeprefix("W/").strip('"')
    assert etag == shown.format(plain)
    for condition in missing:
        assert put(sandbox, href, OWN_CARD, If_Match=condition.format(plain)).status == 412
    for condition in matching:
        answer = put(sandbox, href, OWN_CARD, If_Match=condition.format(plain))
        assert (answer.status, answer.headers["ETag"]) == (204, etag)


@pytest.mark.parametrize("form", ["weak", "unquoted"])
def test_the_main_job_is_done_with_any_etags(form: Any) -> None:
    world = World(replace(CYRUS_3_10, etag_form=form)).start()
    world.sandbox.put_card(OWN_CARD)
    mail_id = world.sandbox.deliver(BOB)
    tap(world, mail_id, "@ToFeed")
    tap(world, mail_id, "@ToJail")
    assert members(world, "Feed", "Jail") == [0, 1]
    assert_quiet(world)


SYNC = (
    '<sync-collection xmlns="DAV:"><sync-token>{}</sync-token><sync-level>1</sync-level>'
    "<prop><getetag/></prop></sync-collection>"
)


def sync(sandbox: Sandbox, token: str) -> tuple[int, dict[str, str], str]:
    """The status, the status of each href, and the new token."""
    headers = {"Authorization": sandbox.dav_authorization}
    path = "/dav/addressbooks/user/alice/Default/"
    answer = sandbox.handle(Request("REPORT", path, "", headers, SYNC.format(token).encode()))
    root = ElementTree.fromstring(answer.body)
    statuses = {
        each.findtext(f"{D}href", ""): each.findtext(f".//{D}status", "").split()[1]
        for each in root.iter(f"{D}response")
    }
    return answer.status, statuses, root.findtext(f"{D}sync-token", "")


def test_a_sync_may_come_in_pages_each_with_its_token() -> None:
    sandbox, _ = make(TRUNCATED_SYNC)
    book, seen, token, pages = "/dav/addressbooks/user/alice/Default/", set[str](), "", 0
    while book in (page := sync(sandbox, token))[1]:
        assert page[1].pop(book) == "507"
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


def test_a_book_is_synced_whole_though_its_token_is_lost_between_two_pages() -> None:
    profile = replace(TRUNCATED_SYNC, sync_page=5, sync_token_uses=4)
    world = World(profile).start()
    for number in range(6):
        mail_id = world.sandbox.deliver(f"s{number}@example.org")
        world.tap(mail_id, "@ToFeed")
        world.run_for(30.0)
    assert members(world, "Feed", "Mailroom") == [6, 6]
