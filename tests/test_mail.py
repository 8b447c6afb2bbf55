"""The conversation about mail: limits kept, whole searches, updates that are checked."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from mailroom.engine.credentials import Basic
from mailroom.engine.loop import Loop, Promise
from mailroom.errors import (
    CredentialsRefused,
    Crowded,
    LastingTrouble,
    ProtocolError,
    TransientError,
)
from mailroom.wire.filters import all_of, any_of, in_any
from mailroom.wire.http import Request, Response
from mailroom.wire.jmap import Call, Mail, MethodError
from mailroom.work.mail.mail import MailClient
from mailroom.work.mail.reading import Written
from mailroom.work.session.web import Web
from tests.direct import DirectHttp
from tests.sandbox import (
    CYRUS_3_10,
    SMALL_LIMITS,
    STALWART,
    Entry,
    Fault,
    Profile,
    json_response,
)
from tests.sandbox import Request as Asked
from tests.sandbox import Response as Answer
from tests.sandbox import Sandbox as Server
from tests.virtual_clients import ORIGIN, VirtualClients

BOB = "Bob <bob@example.org>"
API = "/jmap/"


def named(clients: VirtualClients, *names: str) -> dict[str, Any]:
    return dict(in_any(clients.sandbox.mailbox_id(name) for name in names))


def rewriting(change: Callable[[dict[str, Any]], None], **which: Any) -> Fault:
    """The server's answer with something changed in it."""

    def rewrite(answer: Answer) -> Answer:
        content = json.loads(answer.body)
        change(content)
        return json_response(content)

    return Fault(path=API, rewrite=rewrite, **which)


def every(
    method: str, change: Callable[[dict[str, Any]], None]
) -> Callable[[dict[str, Any]], None]:
    """A change to the arguments of all answers of a method."""

    def apply(content: dict[str, Any]) -> None:
        for name, arguments, _ in content["methodResponses"]:
            if name == method:
                change(arguments)

    return apply


def ids(found: tuple[Mail, ...] | MethodError | None) -> list[str]:
    assert isinstance(found, tuple)
    return [mail.id for mail in found]


def search(clients: VirtualClients, *names: str) -> list[str]:
    (found,) = clients.run(clients.mail.search([named(clients, *names)]))
    return ids(found)


# The session


def test_the_session_is_fetched_once_however_many_ask() -> None:
    clients = VirtualClients()
    tasks = [clients.loop.spawn(clients.mail.session(), "test") for _ in range(3)]
    while not all(task.done for task in tasks):
        clients.loop.turn()
    assert clients.requests == ["GET /.well-known/jmap", "GET /jmap"]
    assert len({task.result().account_id for task in tasks}) == 1


def test_one_who_asks_for_the_session_may_go_and_the_others_get_it() -> None:
    clients = VirtualClients()
    clients.sandbox.controls.delay_seconds = 1.0
    first, second = (clients.loop.spawn(clients.mail.session(), "test") for _ in range(2))
    clients.loop.call_at(clients.loop.now() + 0.5, first.cancel)
    while not second.done:
        clients.loop.turn()
    assert second.result().account_id
    assert clients.requests == ["GET /.well-known/jmap", "GET /jmap"]


def test_a_session_that_nobody_asks_for_any_more_is_not_fetched_and_can_be_asked_for_again() -> (
    None
):
    clients = VirtualClients()
    clients.sandbox.controls.delay_seconds = 1.0
    asking = clients.loop.spawn(clients.mail.session(), "test")
    clients.loop.call_at(clients.loop.now() + 0.5, asking.cancel)
    clients.run(_at(clients, 5.0))
    assert clients.requests == ["GET /.well-known/jmap"]
    assert clients.run(clients.mail.session()).account_id


async def _at(clients: VirtualClients, seconds: float) -> None:
    await clients.loop.sleep_until(clients.loop.now() + seconds)


def test_the_session_is_fetched_again_when_it_has_changed() -> None:
    clients = VirtualClients()
    first = clients.run(clients.mail.session())
    clients.sandbox.renew_session()
    clients.run(clients.mail.take_reading(()))
    assert clients.run(clients.mail.session()).state != first.state
    fetched = clients.requests.count("GET /jmap")
    clients.run(clients.mail.take_reading(()))
    clients.run(clients.mail.take_reading(()))
    assert clients.requests.count("GET /jmap") == fetched


@pytest.mark.parametrize(
    ("course", "most"),
    [
        ("elsewhere elsewhere elsewhere elsewhere elsewhere", 2),
        ("one other one other one other", 2),
        ("1 2 3 4 5 6 7 8 9 10 11 12", 2),
    ],
)
def test_answers_that_name_another_session_for_ever_are_not_heeded_for_ever(
    course: str, most: int
) -> None:
    clients = VirtualClients()
    states = iter(course.split())
    clients.sandbox.faults.add(rewriting(lambda content: content.update(sessionState=next(states))))
    for _ in course.split():
        clients.run(clients.mail.take_reading(()))
    assert clients.requests.count("GET /jmap") == most


def test_after_a_minute_a_new_session_state_is_heeded_again() -> None:
    clients = VirtualClients()
    for _ in range(3):
        clients.sandbox.renew_session()
        clients.run(clients.mail.take_reading(()))
        clients.run(clients.mail.session())
        clients.clock.advance(60.0)
    assert clients.requests.count("GET /jmap") == 3


def test_a_failed_request_asks_for_the_session_again() -> None:
    clients = VirtualClients()
    clients.run(clients.mail.take_reading(()))
    clients.sandbox.faults.add(Fault(path=API, breaks="before", times=1))
    clients.fails(TransientError, clients.mail.take_reading(()))
    clients.run(clients.mail.take_reading(()))
    assert clients.requests.count("GET /jmap") == 2


def test_credentials_that_are_refused_are_named() -> None:
    clients = VirtualClients()
    clients.sandbox.authorization = "Basic other"
    assert "jmap-password" in clients.fails(CredentialsRefused, clients.mail.session())


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        (Answer(404), ProtocolError, "check jmap.url"),
        (Answer(200, {}, b"<html>Sign in"), ProtocolError, "check jmap.url"),
        (json_response({"capabilities": {}, "accounts": {}}), LastingTrouble, "offers no mail"),
    ],
)
def test_a_wrong_url_says_what_to_do(answer: Answer, error: type[Exception], says: str) -> None:
    clients = VirtualClients()
    clients.answers(answer, path="/jmap")
    assert issubclass(error, ProtocolError | LastingTrouble)
    assert says in clients.fails(error, clients.mail.session())


def test_an_api_on_another_host_that_the_session_names_gets_the_credentials() -> None:
    clients = VirtualClients()
    api = "https://api.eu.example.org/jmap/"

    def move(answer: Answer) -> Answer:
        return json_response(json.loads(answer.body) | {"apiUrl": api})

    clients.sandbox.faults.add(Fault(method="GET", path="/jmap", rewrite=move))
    assert clients.run(clients.mail.session()).api_url == api
    assert clients.run(clients.mail.take_reading(())).mailboxes


@pytest.mark.parametrize(
    ("name", "path"),
    [("uploadUrl", "jmap/upload/{accountId}/"), ("downloadUrl", "jmap/d/{accountId}/{blobId}/")],
)
def test_a_place_for_files_on_another_host_gets_them_too(name: str, path: str) -> None:
    clients = VirtualClients()
    place = f"https://files.eu.example.org/{path}"

    def move(answer: Answer) -> Answer:
        return json_response(json.loads(answer.body) | {name: place})

    clients.sandbox.faults.add(Fault(method="GET", path="/jmap", rewrite=move, times=1))
    clients.answers(Answer(200, {}, b'{"blobId": "B1"}'), path="/jmap/upload")
    clients.answers(Answer(200, {}, b"keep;"), path="/jmap/d/")
    if name == "uploadUrl":
        assert clients.run(clients.mail.upload(b"keep;", "application/sieve")) == "B1"
    else:
        assert clients.run(clients.mail.download("B1", "application/sieve")) == b"keep;"


def test_an_api_without_tls_does_not_get_them() -> None:
    clients = VirtualClients()

    def move(answer: Answer) -> Answer:
        return json_response(json.loads(answer.body) | {"apiUrl": "http://mail.example.org/"})

    clients.sandbox.faults.add(Fault(method="GET", path="/jmap", rewrite=move))
    said = clients.fails(LastingTrouble, clients.mail.session())
    assert "http://mail.example.org/, which would send the credentials in the clear" in said
    assert "make the server announce https" in said


# Requests


def test_one_request_reads_names_states_and_labelled_mail() -> None:
    clients = VirtualClients()
    one = clients.sandbox.deliver(BOB, mailbox=["Screener", "@ToFeed"])
    clients.sandbox.deliver(BOB)
    clients.run(clients.mail.session())
    before = len(clients.requests)
    reading = clients.run(
        clients.mail.take_reading([named(clients, "@ToFeed"), named(clients, "Feed")])
    )
    assert len(clients.requests) == before + 1
    assert [ids(found) for found in reading.found] == [[one], []]
    assert reading.states["Email"] == clients.sandbox.states()["Email"]
    assert {"Screener", "@ToFeed", "Inbox"} <= {box.name for box in reading.mailboxes}


def test_a_mailbox_that_is_no_more_is_told_apart_from_an_empty_one() -> None:
    clients = VirtualClients()
    gone = named(clients, "@ToFeed")
    clients.sandbox.destroy_mailbox("@ToFeed")
    reading = clients.run(clients.mail.take_reading([gone, named(clients, "Feed")]))
    assert reading.found == (None, ())


@pytest.mark.parametrize("calls", [2, 3, 4, 5, 6])
def test_no_request_has_more_calls_than_allowed(calls: int) -> None:
    clients = VirtualClients(
        replace(CYRUS_3_10, limits=replace(CYRUS_3_10.limits, max_calls_in_request=calls))
    )
    one = clients.sandbox.deliver(BOB, mailbox=["Screener", "@ToFeed"])
    reading = clients.run(
        clients.mail.take_reading([named(clients, "@ToFeed"), named(clients, "Feed")])
    )
    assert ids(reading.found[0]) == [one]
    patch = {f"mailboxIds/{clients.sandbox.mailbox_id('Feed')}": True}
    written, closing = clients.run(
        clients.mail.update_and_read({one: patch}, [named(clients, "Feed")])
    )
    assert (written, ids(closing.found[0])) == (Written({}), [one])
    assert all(len(entry.calls) <= calls for entry in clients.sandbox.log.entries)


def watched(clients: VirtualClients) -> list[int]:
    """How many API requests were under way whenever one began; each takes a second."""
    clients.sandbox.controls.delay_seconds = 1.0
    counts: list[int] = []

    def count(entry: Entry, _: Asked) -> None:
        now = clients.clock.wall()
        log = [each for each in clients.sandbox.log.entries if each.method == "POST"]
        counts.append(sum(each.ended is None or each.ended > now for each in log))

    clients.sandbox.before(count)
    return counts


def test_small_limits_are_kept_in_searches_and_updates() -> None:
    clients = VirtualClients(SMALL_LIMITS)
    mails = {clients.sandbox.deliver(f"s{number}@example.org") for number in range(130)}
    counts = watched(clients)
    filters = [named(clients, "Screener", name) for name in ("Feed", "Jail", "Imbox", "Truck")]
    for found in clients.run(clients.mail.search(filters)):
        assert set(ids(found)) == mails
    feed = clients.sandbox.mailbox_id("Feed")
    assert clients.run(
        clients.mail.update({each: {f"mailboxIds/{feed}": True} for each in mails})
    ) == Written({})
    assert clients.sandbox.mails_in("Feed") == mails
    assert max(counts) == SMALL_LIMITS.limits.max_concurrent_requests
    assert all(entry.status in (200, 301) for entry in clients.sandbox.log.entries)


def test_updates_wait_for_one_another() -> None:
    """Cyrus does so itself, and those that wait there would time out."""
    clients = VirtualClients(SMALL_LIMITS)
    mails = [clients.sandbox.deliver(BOB) for _ in range(130)]
    counts = watched(clients)
    patch = {f"mailboxIds/{clients.sandbox.mailbox_id('Feed')}": True}
    clients.run(clients.mail.update(dict.fromkeys(mails, patch)))
    assert len(counts) > 1
    assert max(counts) == 1


def test_no_request_is_larger_than_allowed() -> None:
    limits = replace(CYRUS_3_10.limits, max_size_request=4000)
    clients = VirtualClients(replace(CYRUS_3_10, limits=limits))
    mails = [clients.sandbox.deliver(BOB) for _ in range(200)]
    feed = clients.sandbox.mailbox_id("Feed")
    patches = {each: {f"mailboxIds/{feed}": True} for each in mails}
    written, _ = clients.run(clients.mail.update_and_read(patches, [named(clients, "@ToFeed")]))
    assert written == Written({})
    long = [any_of({"from": f"{'x' * 250}{n}@example.org"} for n in range(7)) for _ in range(3)]
    assert clients.run(clients.mail.search(long)) == [(), (), ()]
    assert len(clients.run(clients.mail.arrivals(mails))) == 200
    assert max(entry.bytes_in for entry in clients.sandbox.log.entries) <= 4000


def test_too_many_requests_at_once_are_passing_trouble() -> None:
    clients = VirtualClients()
    clients.run(clients.mail.session())
    body = b'{"type":"urn:ietf:params:jmap:error:limit","limit":"maxConcurrentRequests"}'
    clients.answers(
        Answer(400, {"Content-Type": "application/problem+json"}, body), path=API, times=None
    )
    clients.fails(Crowded, clients.mail.take_reading(()))


def test_a_request_that_is_refused_says_why() -> None:
    clients = VirtualClients()
    clients.run(clients.mail.session())
    body = b'{"type":"urn:ietf:params:jmap:error:unknownCapability","detail":"no mail for you"}'
    clients.answers(Answer(400, {"Content-Type": "application/json"}, body), path=API)
    said = clients.fails(ProtocolError, clients.mail.take_reading(()))
    assert said == (
        f"POST {ORIGIN}/jmap/: the server answered 400 (unknownCapability, no mail for you)"
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("methodResponses"),
        lambda content: content.update(methodResponses=[]),
        lambda content: content.update(methodResponses=[["Mailbox/get", {}, "boxes"]]),
        lambda content: content.update(methodResponses=[["Core/echo", {}, "boxes"]]),
        every("Mailbox/get", lambda answer: answer.update(list=None)),
        every("Email/get", lambda answer: answer.update(state=None)),
        every("Email/get", lambda answer: answer.update(list={})),
        every("Email/query", lambda answer: answer.update(ids="m")),
    ],
)
def test_an_answer_of_the_wrong_shape_is_an_error_of_the_protocol_that_names_the_url(
    change: Callable[[dict[str, Any]], None],
) -> None:
    clients = VirtualClients()
    clients.sandbox.faults.add(rewriting(change, method="POST"))
    assert f"{ORIGIN}/jmap/" in clients.fails(
        ProtocolError, clients.mail.take_reading([named(clients, "@ToFeed")])
    )


def test_a_search_that_fails_is_told_and_the_others_are_not_lost() -> None:
    clients = VirtualClients(replace(CYRUS_3_10, has_search=False))
    one = clients.sandbox.deliver(BOB)
    scope = named(clients, "Screener")
    by_sender = all_of({"from": "bob@example.org"}, scope)
    failed, found = clients.run(clients.mail.search([by_sender, scope]))
    assert isinstance(failed, MethodError)
    assert failed.type == "serverFail"
    assert ids(found) == [one]


def test_a_search_in_a_mailbox_that_is_no_more_fails() -> None:
    clients = VirtualClients()
    scope = named(clients, "Screener", "Feed")
    clients.sandbox.destroy_mailbox("Feed")
    [failed] = clients.run(clients.mail.search([scope]))
    assert isinstance(failed, MethodError)
    assert failed.type == "invalidArguments"


@pytest.mark.parametrize("status", [200, 201])
def test_a_file_is_given_to_the_server(status: int) -> None:
    clients = VirtualClients()
    clients.answers(Answer(status, {}, b'{"blobId": "B1"}'), path="/jmap/upload")
    assert clients.run(clients.mail.upload(b"keep;", "application/sieve")) == "B1"


# Pages


def many(profile: Profile = SMALL_LIMITS, count: int = 90) -> tuple[VirtualClients, list[str]]:
    clients = VirtualClients(profile)
    start = clients.clock.wall() - 10_000
    return clients, [clients.sandbox.deliver(BOB, received_at=start + n) for n in range(count)]


def test_a_search_finds_more_than_one_page() -> None:
    clients, mails = many()
    assert search(clients, "Screener") == mails


def test_labelled_mail_may_be_more_than_one_page_in_the_first_and_in_the_last_request() -> None:
    clients, mails = many()
    query = named(clients, "Screener")
    assert ids(clients.run(clients.mail.take_reading([query])).found[0]) == mails
    _, closing = clients.run(clients.mail.update_and_read({}, [query]))
    assert ids(closing.found[0]) == mails


def first_only(count: int) -> Callable[[dict[str, Any]], None]:
    """A server that gives at most so many ids at once, whatever was asked."""

    def cap(content: dict[str, Any]) -> None:
        kept: list[str] = []
        for name, arguments, _ in content["methodResponses"]:
            if name == "Email/query":
                arguments["ids"] = kept = arguments["ids"][:count]
            elif name == "Email/get":
                arguments["list"] = [mail for mail in arguments["list"] if mail["id"] in kept]

    return cap


def test_a_server_that_caps_below_what_was_asked_is_read_to_the_end() -> None:
    clients, mails = many(CYRUS_3_10)
    clients.sandbox.faults.add(rewriting(first_only(7), call="Email/query"))
    assert search(clients, "Screener") == mails


@pytest.mark.parametrize("size", [7, 45, 1000])
def test_a_server_that_tells_no_total_is_read_to_the_end(size: int) -> None:
    clients, mails = many(CYRUS_3_10)
    untold = every("Email/query", lambda answer: answer.pop("total", None))
    clients.sandbox.faults.add(rewriting(untold, call="Email/query"))
    clients.sandbox.faults.add(rewriting(first_only(size), call="Email/query"))
    assert search(clients, "Screener") == mails


def test_a_page_that_is_shorter_than_it_should_be_hides_no_mail() -> None:
    clients, mails = many()
    clients.sandbox.faults.add(rewriting(first_only(15), call="Email/query", nth=3))
    assert search(clients, "Screener") == mails


def test_a_server_that_gives_the_first_page_for_ever_is_left_in_the_end() -> None:
    clients, mails = many(CYRUS_3_10, 5)
    untold = every("Email/query", lambda answer: answer.pop("total", None))
    clients.sandbox.faults.add(rewriting(untold, call="Email/query"))

    def same(entry: Entry, request: Asked) -> None:
        assert len(clients.sandbox.log.entries) < 20

    first = clients.run(clients.mail.call([Call("Email/query", {"limit": 3}, "q")]))["q"]["ids"]
    stuck = every("Email/query", lambda answer: answer.update(ids=first))
    clients.sandbox.faults.add(rewriting(stuck, call="Email/query"))
    clients.sandbox.before(same)
    assert set(search(clients, "Screener")) <= set(mails)


def once(clients: VirtualClients, when: Callable[[Entry], bool], act: Callable[[], object]) -> None:
    """Somebody does something just before the first request for which ``when`` holds."""
    done: list[Entry] = []

    def hook(entry: Entry, _: Asked) -> None:
        if not done and when(entry):
            done.append(entry)
            act()

    clients.sandbox.before(hook)


def is_later_page(clients: VirtualClients) -> Callable[[Entry], bool]:
    searches = [0]

    def later(entry: Entry) -> bool:
        searches[0] += "Email/query" in entry.calls
        return searches[0] == 2

    return later


def test_mail_that_leaves_between_two_pages_hides_no_other() -> None:
    clients, mails = many()
    once(clients, is_later_page(clients), lambda: clients.sandbox.move(mails[0], "Trash"))
    assert set(mails[1:]) <= set(search(clients, "Screener"))


def test_mail_that_is_destroyed_between_two_pages_hides_no_other() -> None:
    clients, mails = many()
    once(clients, is_later_page(clients), lambda: clients.sandbox.unlabel(mails[3], "Screener"))
    assert set(mails) - {mails[3]} <= set(search(clients, "Screener"))


def test_mail_that_comes_between_two_pages_is_nothing_twice() -> None:
    clients, mails = many()
    early = clients.clock.wall() - 20_000
    once(clients, is_later_page(clients), lambda: clients.sandbox.deliver(BOB, received_at=early))
    found = search(clients, "Screener")
    assert set(mails) <= set(found)
    assert len(found) == len(set(found))


def test_mail_that_takes_the_place_of_other_between_two_pages_hides_none() -> None:
    """As many mails as announced are found, and yet one has slipped from page to page: only the
    query's state tells (RFC 8620 §5.5)."""
    clients, mails = many()

    def replace_first() -> None:
        clients.sandbox.move(mails[0], "Trash")
        clients.sandbox.deliver(BOB)

    once(clients, is_later_page(clients), replace_first)
    assert set(mails[1:]) <= set(search(clients, "Screener"))


def test_of_mailboxes_that_never_hold_still_what_several_looks_have_seen_is_taken() -> None:
    clients, there = many()

    def deliver(_: Entry, __: Asked) -> None:
        clients.sandbox.deliver(BOB)

    clients.sandbox.before(deliver)
    [found] = clients.run(clients.mail.search([named(clients, "Screener")]))
    assert set(there) <= set(ids(found))


# Updates


def feeding(clients: VirtualClients, *mail_ids: str) -> Mapping[str, Mapping[str, bool | None]]:
    feed, screener = (clients.sandbox.mailbox_id(name) for name in ("Feed", "Screener"))
    patch = {f"mailboxIds/{feed}": True, f"mailboxIds/{screener}": None}
    return dict.fromkeys(mail_ids, patch)


def test_the_last_update_reads_states_and_labels_afterwards_in_the_same_request() -> None:
    clients = VirtualClients()
    one = clients.sandbox.deliver(BOB, mailbox=["Screener", "@ToFeed"])
    query = named(clients, "@ToFeed")
    clients.run(clients.mail.session())
    before = len(clients.requests)
    written, closing = clients.run(clients.mail.update_and_read(feeding(clients, one), [query]))
    assert written == Written({})
    assert len(clients.requests) == before + 1
    assert ids(closing.found[0]) == [one]
    assert closing.states["Email"] == clients.sandbox.states()["Email"]
    assert clients.sandbox.mailboxes_of(one) == {"Feed", "@ToFeed"}


def test_mail_that_is_gone_needs_no_update_any_more() -> None:
    clients = VirtualClients()
    there, gone = clients.sandbox.deliver(BOB), clients.sandbox.deliver(BOB)
    clients.sandbox.unlabel(gone, "Screener")
    assert clients.run(clients.mail.update(feeding(clients, there, gone))) == Written({})
    assert clients.sandbox.mailboxes_of(there) == {"Feed"}


def test_mail_that_is_refused_is_told_and_the_others_are_updated() -> None:
    clients = VirtualClients(SMALL_LIMITS)
    mails = [clients.sandbox.deliver(BOB) for _ in range(25)]
    bad = {mails[12]: {"mailboxIds/nowhere": True}}
    refused = clients.run(clients.mail.update({**feeding(clients, *mails), **bad})).refused
    assert {mail_id: error.type for mail_id, error in refused.items()} == {
        mails[12]: "invalidProperties"
    }
    assert clients.sandbox.mails_in("Feed") == set(mails) - {mails[12]}


def test_mail_that_the_server_says_nothing_of_counts_as_refused() -> None:
    clients = VirtualClients()
    one = clients.sandbox.deliver(BOB)
    silent = every("Email/set", lambda answer: answer.update(updated=None))
    clients.sandbox.faults.add(rewriting(silent, call="Email/set"))
    written, _ = clients.run(
        clients.mail.update_and_read(feeding(clients, one), [named(clients, "@ToFeed")])
    )
    assert set(written.refused) == {one}


def test_an_update_that_fails_as_a_whole_is_an_error() -> None:
    clients = VirtualClients()
    one = clients.sandbox.deliver(BOB)
    clients.sandbox.faults.add(Fault(call="Email/set", method_error="serverUnavailable"))
    assert "serverUnavailable" in clients.fails(
        MethodError, clients.mail.update(feeding(clients, one))
    )


def test_nothing_to_update_is_no_request() -> None:
    clients = VirtualClients()
    assert clients.run(clients.mail.update({})) == Written({})
    assert not any("Email/set" in entry.calls for entry in clients.sandbox.log.entries)


# Whose mail it is


def test_the_users_own_addresses_are_those_of_the_identities() -> None:
    clients = VirtualClients()
    found = [{"email": "Alice@Example.org"}, {"email": ""}, {"email": "*@example.net"}]
    clients.sandbox.faults.add(rewriting(every("Identity/get", lambda got: got.update(list=found))))
    assert clients.run(clients.mail.identities()) == {"alice@example.org", "*@example.net"}


def test_a_server_that_does_not_tell_them_is_not_asked_for_more() -> None:
    clients = VirtualClients()
    assert clients.run(clients.mail.identities()) == set()  # as Cyrus: one without an address
    clients.sandbox.faults.add(Fault(call="Identity/get", method_error="forbidden"))
    assert clients.run(clients.mail.identities()) == set()
    clients.sandbox.faults.clear()
    clients.sandbox.faults.add(
        Fault(call="Identity/get", answer=Answer(403, {}, b"not your scope"))
    )
    assert clients.run(clients.mail.identities()) == set()


def test_a_server_that_sends_no_mail_is_not_asked_for_them() -> None:
    clients = VirtualClients()

    def without(answer: Answer) -> Answer:
        session = json.loads(answer.body)
        for each in (session["capabilities"], session["accounts"]["alice"]["accountCapabilities"]):
            each.pop("urn:ietf:params:jmap:submission", None)
        return json_response(session)

    clients.sandbox.faults.add(Fault(method="GET", path="/jmap", rewrite=without))
    assert clients.run(clients.mail.identities()) == frozenset()
    assert not any("Identity/get" in entry.calls for entry in clients.sandbox.log.entries)


# More mailboxes than a get may show (RFC 8620 §5.1)


def test_mailboxes_beyond_the_limit_of_a_get_are_listed_page_by_page() -> None:
    clients = VirtualClients(SMALL_LIMITS)
    for number in range(100):
        clients.sandbox.create_mailbox(f"Folder {number}")
    reading = clients.run(clients.mail.take_reading([named(clients, "Screener")]))
    names = [box.name for box in reading.mailboxes]
    assert len(names) == len(set(names)) == 126
    assert {"Screener", "Folder 0", "Folder 99"} <= set(names)
    assert reading.states["Mailbox"] == clients.sandbox.states()["Mailbox"]


def test_they_are_listed_anew_only_when_they_have_changed() -> None:
    clients = VirtualClients(SMALL_LIMITS)
    clients.run(clients.mail.take_reading(()))
    number = len(clients.requests)
    clients.run(clients.mail.take_reading(()))
    assert clients.requests[number:] == ["POST /jmap/"]
    clients.sandbox.rename_mailbox("Feed", "News")
    reading = clients.run(clients.mail.take_reading(()))
    assert {"Feed", "News"} & {box.name for box in reading.mailboxes} == {"News"}


def test_a_list_of_mailboxes_that_stays_too_large_is_an_error() -> None:
    clients = VirtualClients()
    clients.sandbox.faults.add(Fault(call="Mailbox/get", method_error="requestTooLarge"))
    assert "requestTooLarge" in clients.fails(MethodError, clients.mail.take_reading(()))


@pytest.mark.parametrize(
    ("profile", "name"), [(CYRUS_3_10, "mailboxIds/27"), (STALWART, "mailboxIds/\\27")]
)
def test_an_id_of_digits_is_written_so_that_the_server_takes_it_for_one(
    profile: Profile, name: str
) -> None:
    """Stalwart has such ids, and takes a number in a patch for a place in a list."""
    clients = VirtualClients(profile)
    http = Recording(clients.loop, clients.sandbox)

    async def login() -> Basic:
        return Basic("alice", "secret")

    web = Web(clients.loop, http, login, "the credential jmap-password", clients.totals)
    mail = MailClient(clients.loop.root, web, f"{ORIGIN}/.well-known/jmap")
    clients.run(mail.update({"m": {"mailboxIds/27": True, "mailboxIds/a27": None}}))
    [[_, arguments, _]] = json.loads(http.bodies[-1])["methodCalls"]
    assert arguments["update"] == {"m": {name: True, "mailboxIds/a27": None}}


class Recording(DirectHttp):
    """Remembers what was sent."""

    def __init__(self, loop: Loop, sandbox: Server) -> None:
        super().__init__(loop, sandbox)
        self.bodies: list[bytes] = []

    def send(self, request: Request) -> Promise[Response]:
        self.bodies.append(request.body or b"")
        return super().send(request)
