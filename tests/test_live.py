"""The live check: what it says of the service, and that it leaves no trace, whatever happens."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from mailroom.engine.credentials import Basic, Logins
from mailroom.rules.status.health import Totals
from mailroom.rules.triage.drags import PLACED, WAITING
from mailroom.work.account.clients import build_clients
from mailroom.work.setup.check import Finding
from mailroom.work.setup.live import Live
from tests.direct import DirectHttp
from tests.sandbox import (
    CYRUS_3_6,
    CYRUS_3_10,
    LATE_PUSH,
    Entry,
    Fault,
    Profile,
    Request,
    Response,
    json_response,
)
from tests.world import World

STEPS = ["service", "test mail", "label", "triage", "mail", "contact", "traces"]
ADA = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:ada\r\nFN:Ada\r\nEMAIL:ada@example.org\r\nEND:VCARD\r\n"


def lived_in(profile: Profile = CYRUS_3_10, configuration: dict[str, Any] | None = None) -> World:
    """An account with mail and contacts of its own, and the service at work."""
    world = World(profile, configuration)
    world.sandbox.put_card(ADA)
    for name in ("Screener", "Feed", "Inbox", "Archive"):
        world.sandbox.deliver("ada@example.org", mailbox=name)
    world.start().settle()
    return world


def live(world: World, ask: Callable[[], Any] | None = None) -> Live:
    login = Basic("alice", "secret")
    http = DirectHttp(world.loop, world.sandbox)
    clients = build_clients(world.loop.root, http, world.config, Logins(login, login), Totals())
    return Live(world.loop, world.config, clients, ask or (lambda: world.status), lambda: 0.0)


def run(world: World, test: Live, within: float | None = None) -> list[Finding]:
    told: list[Finding] = []
    task = world.loop.spawn(test.run(within, told.append), "live")
    world.run_until(lambda: task.done)
    assert told == task.result()
    return told


def everything(world: World) -> tuple[Any, ...]:
    """Every mail with its mailboxes and keywords, every card byte for byte."""
    sandbox = world.sandbox
    mails = {
        mail_id: (sandbox.mailboxes_of(mail_id), sandbox.keywords_of(mail_id))
        for mail_id in sandbox._store.mails
    }
    return mails, sandbox.cards()


def test_every_step_is_told_and_no_trace_is_left() -> None:
    world = lived_in()
    before = everything(world)
    test = live(world)
    findings = run(world, test, within=2)
    assert [each.what for each in findings] == STEPS
    assert [each.error for each in findings] == [None] * len(STEPS)
    details = {each.what: each.detail for each in findings}
    assert details["triage"] == "by push, 0.25 s from the label to done"
    assert details["mail"] == "in Feed, label off"
    assert details["contact"] == "made, in the group Feed"
    assert everything(world) == before
    world.settle()
    assert everything(world) == before


def test_the_test_mail_announces_itself_to_nobody() -> None:
    world = lived_in()
    keywords: list[set[str]] = []

    def look(_entry: Entry, _request: object, _response: object) -> None:
        own = [each for each in world.sandbox._store.mails.values() if "checks" in each.subject]
        keywords.extend(each.keywords for each in own)
        assert not any("Inbox" in world.sandbox.mailboxes_of(each.id) for each in own)

    world.sandbox.after(look)
    run(world, live(world))
    assert all("$seen" in each for each in keywords)


def test_whoever_opens_the_test_mail_reads_what_it_is() -> None:
    world = lived_in()
    texts: set[str] = set()

    def look(_entry: Entry, _request: object, _response: object) -> None:
        mails = world.sandbox._store.mails.values()
        texts.update(each.text for each in mails if "checks" in each.subject)

    world.sandbox.after(look)
    run(world, live(world))
    assert texts == {"mailroom check --live made this mail, and will remove it."}


@pytest.mark.parametrize(
    ("by", "marks"),
    [("server", {WAITING, PLACED}), ("mailroom", {WAITING, PLACED}), ("off", set())],
)
def test_the_door_takes_the_test_mail_for_nobodys(by: str, marks: set[str]) -> None:
    world = lived_in(configuration={"screening": {"by": by}})
    before, arrivals = everything(world), dict(world.history.totals.arrivals)
    bore: set[str] = set()

    def look(entry: Entry, _request: object, _response: object) -> None:
        for mail in world.sandbox._store.mails.values():
            bore.update(mail.keywords if "checks" in mail.subject else ())

    world.sandbox.after(look)
    findings = run(world, live(world), within=2)
    assert [each.error for each in findings] == [None] * len(STEPS)
    assert bore == {"$seen", *marks}
    assert everything(world) == before
    assert world.history.totals.arrivals == arrivals


def test_a_keyword_that_is_left_is_told() -> None:
    world = lived_in()

    def put_back(_entry: Entry, _request: object, _response: object) -> None:
        for mail in world.sandbox._store.mails.values():
            if "checks" in mail.subject and "Feed" in world.sandbox.mailboxes_of(mail.id):
                mail.keywords.add(PLACED)

    world.sandbox.after(put_back)
    findings = run(world, live(world))
    assert findings[-2].detail == "the mail still has mailroom-placed"
    assert findings[-1].detail == "all removed"


def test_the_fallback_is_told_from_push() -> None:
    world = World(CYRUS_3_10)
    world.sandbox.faults.add(Fault(path="/jmap/eventsource", answer=Response(503)))
    world.start().settle()
    before = everything(world)
    findings = {each.what: each for each in run(world, live(world))}
    assert findings["triage"].detail.startswith("by fallback, ")
    assert findings["triage"].error is not None
    assert "was not told by push" in str(findings["triage"].error)
    assert everything(world) == before


def test_where_the_server_has_no_push_the_fallback_is_all_that_can_be_asked_for() -> None:
    world = lived_in(CYRUS_3_6)
    before = everything(world)
    findings = {each.what: each for each in run(world, live(world))}
    assert findings["triage"].detail.startswith("by fallback, ")
    assert findings["label"].detail == (
        "@ToFeed, which is seen within 60 s: the server offers no push"
    )
    assert [each.error for each in findings.values()] == [None] * len(STEPS)
    assert everything(world) == before


def test_a_service_that_has_just_been_started_is_waited_for() -> None:
    world = World(CYRUS_3_10)
    world.start()
    findings = {each.what: each for each in run(world, live(world))}
    assert findings["service"].detail.endswith("push connected")
    assert findings["triage"].detail.startswith("by push, ")


@pytest.mark.parametrize(("within", "is_in_time"), [(0.2, False), (5, True), (None, True)])
def test_a_tap_that_takes_too_long_is_a_fault(within: float | None, is_in_time: bool) -> None:
    world = lived_in(LATE_PUSH)
    before = everything(world)
    findings = {each.what: each for each in run(world, live(world), within)}
    assert (findings["triage"].error is None) is is_in_time
    assert ("more than 0.2 s" in findings["triage"].detail) is not is_in_time
    assert everything(world) == before


def test_a_service_of_another_account_is_not_tested() -> None:
    world = lived_in()
    before = len(world.sandbox.log.entries)
    findings = run(world, live(world, lambda: world.status | {"account": "bob"}))
    assert [each.detail for each in findings] == [
        "the service that was asked works for bob, not for alice: name the socket of the right one "
        "with --socket"
    ]
    assert world.requests_since(before) == []


def test_a_service_that_does_nothing_is_waited_for_and_then_told() -> None:
    world = lived_in()
    before = everything(world)
    world.account.close()
    findings = run(world, live(world))
    assert findings[-2].detail == "the service has not triaged it within 150 s"
    assert findings[-1] == Finding("traces", "all removed")
    assert everything(world) == before


def test_a_service_that_fails_says_why() -> None:
    world = lived_in()
    before = everything(world)
    world.sandbox.faults.add(Fault(method="PUT", answer=_forbidden(), times=1))
    findings = run(world, live(world))
    assert findings[-2].detail.startswith("the service could not triage it: the server refuses")
    assert everything(world) == before


def _forbidden() -> Response:
    body = (
        b'<D:error xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav">'
        b"<C:valid-address-data/></D:error>"
    )
    return Response(403, {"Content-Type": "application/xml"}, body)


def test_the_label_gets_a_poll_of_its_own() -> None:
    world = lived_in()
    polls: list[int] = []

    def look(entry: Entry, _request: object) -> None:
        if entry.calls == ("Email/set",):
            polls.append(world.polls)

    world.sandbox.before(look)
    run(world, live(world))
    made_at, labelled_at = polls[:2]
    assert labelled_at == made_at + 1


def test_what_a_poll_in_progress_may_write_is_waited_for() -> None:
    """A service that polls for ever, and whose push never opens: nothing waits for ever."""
    world = lived_in()
    world.account.close()
    status = world.status
    push = status["eventsource"] | {"status": "connecting"}
    instants: list[float] = []

    def look(entry: Entry, _request: object) -> None:
        if entry.calls == ("Email/set",) or entry.method == "REPORT":
            instants.append(world.clock.now())

    world.sandbox.before(look)
    test = live(world, lambda: status | {"phase": "polling", "eventsource": push})
    began = world.clock.now()
    findings = run(world, test)
    assert findings[-1].detail == "all removed"
    made_at, labelled_at, destroyed_at, *looked_at = instants
    assert made_at - began == pytest.approx(5.0, abs=0.1)
    assert labelled_at - made_at == pytest.approx(3.0, abs=0.1)
    assert destroyed_at - labelled_at == pytest.approx(150.0, abs=0.1)
    assert looked_at[0] - destroyed_at == pytest.approx(30.0, abs=0.1)


def test_an_interruption_is_told_and_waits_for_nothing_more() -> None:
    world = lived_in()
    before, began = everything(world), world.clock.now()
    world.account.close()

    def interrupt(entry: Entry, _request: object) -> None:
        if entry.calls == ("Email/set",):
            test.interrupt()

    test = live(world)
    world.sandbox.after(lambda entry, request, _response: interrupt(entry, request))
    findings = run(world, test)
    assert [each.what for each in findings] == ["service", "test mail", "test", "traces"]
    assert findings[-2].detail == "interrupted"
    assert world.clock.now() - began < 1.0
    assert everything(world) == before


@pytest.mark.parametrize(
    ("loses", "told"),
    [("contact", "there is no contact"), ("group", "the contact is not in the group Feed")],
)
def test_a_contact_that_is_not_there_or_not_in_its_group_is_told(loses: str, told: str) -> None:
    world = lived_in()
    before = everything(world)
    sandbox = world.sandbox

    def undo(entry: Entry, _request: object) -> None:
        if entry.calls != ("Email/get",):
            return
        for href, text in sandbox.cards().items():
            if loses == "contact" and test.sender in text:
                sandbox.delete_card(href)
            if loses == "group" and "FN:Feed\r" in text:
                sandbox.put_card(dict(before[1])[href], href.rpartition("/")[2])

    test = live(world)
    sandbox.before(undo)
    findings = run(world, test)
    assert findings[-2].detail == told
    assert findings[-1].detail == "all removed"


def count_requests() -> int:
    world = lived_in()
    before = len(world.sandbox.log.entries)
    run(world, live(world))
    return len(world.requests_since(before))


COUNT = 40


@pytest.mark.parametrize("number", range(1, COUNT))
def test_interrupted_anywhere_no_trace_is_left(number: int) -> None:
    world = lived_in()
    before, first = everything(world), len(world.sandbox.log.entries)
    test = live(world)

    def interrupt(entry: Entry, _request: object) -> None:
        if entry.number == first + number:
            test.interrupt()

    world.sandbox.before(interrupt)
    findings = run(world, test)
    # Interrupted before anything was made, or all of it removed.
    assert findings[-1].detail in ("interrupted", "all removed")
    world.settle()
    assert everything(world) == before


@pytest.mark.parametrize("number", range(1, COUNT))
@pytest.mark.parametrize("breaks", ["before", "after"])
def test_a_connection_that_breaks_anywhere_leaves_no_trace(number: int, breaks: Any) -> None:
    world = lived_in()
    before, first = everything(world), len(world.sandbox.log.entries)

    def arm(entry: Entry, _request: object) -> None:
        if entry.number == first + number:
            world.sandbox.faults.add(Fault(breaks=breaks, times=1))

    world.sandbox.before(arm)
    run(world, live(world))
    world.settle()
    assert everything(world) == before


def test_the_disturbances_above_reach_every_request() -> None:
    assert count_requests() < COUNT


def test_what_cannot_be_removed_is_named() -> None:
    world = lived_in()
    world.sandbox.faults.add(Fault(method="DELETE", breaks="before"))
    test = live(world)
    traces = run(world, test)[-1]
    assert traces.error is not None
    assert f"mail and contact of {test.sender} may be left" in traces.detail


def test_a_mail_that_the_server_will_not_delete_is_named() -> None:
    world = lived_in()

    def refuse(entry: Entry, request: Request) -> None:
        if entry.calls != ("Email/set",):
            return
        [[name, arguments, call_id]] = json.loads(request.body)["methodCalls"]
        if ids := arguments.get("destroy"):
            refused = {each: {"type": "forbidden"} for each in ids}
            answer = [name, {"accountId": "alice", "notDestroyed": refused}, call_id]
            body = {"methodResponses": [answer], "sessionState": "0"}
            world.sandbox.faults.add(Fault(answer=json_response(body), times=1))

    world.sandbox.before(refuse)
    test = live(world)
    traces = run(world, test)[-1]
    assert traces.error is not None
    assert traces.detail.startswith(f"mail and contact of {test.sender} may be left: ")
    assert traces.detail.endswith("forbidden")
