"""The sandbox's log, hooks, faults and controls."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from tests.sandbox import (
    CYRUS_3_10,
    ConnectionBroken,
    Delivery,
    Entry,
    Fault,
    Profile,
    Request,
    Response,
    Sandbox,
    longest_chain,
)

CORE = "urn:ietf:params:jmap:core"
MAIL = "urn:ietf:params:jmap:mail"


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def make(profile: Profile = CYRUS_3_10) -> tuple[Sandbox, Clock]:
    clock = Clock()
    sandbox = Sandbox(profile, clock=clock)
    sandbox.standard_account()
    return sandbox, clock


def api(sandbox: Sandbox, *calls: tuple[str, dict[str, Any]]) -> Request:
    content = {
        "using": [CORE, MAIL],
        "methodCalls": [
            [name, {"accountId": sandbox.user} | arguments, str(index)]
            for index, (name, arguments) in enumerate(calls)
        ],
    }
    headers = {"Authorization": sandbox.authorization, "Content-Type": "application/json"}
    return Request("POST", "/jmap/", "", headers, json.dumps(content).encode(), "me")


def run(sandbox: Sandbox, *calls: tuple[str, dict[str, Any]]) -> list[Any]:
    response = sandbox.handle(api(sandbox, *calls))
    return [[name, answer] for name, answer, _ in response.json()["methodResponses"]]


def label_off(sandbox: Sandbox, mail_id: str) -> Request:
    patch = {f"mailboxIds/{sandbox.mailbox_id('@ToFeed')}": None}
    return api(sandbox, ("Email/set", {"update": {mail_id: patch}}))


# Log


def test_the_log_says_what_was_asked_when_and_how_much() -> None:
    sandbox, clock = make()
    sandbox.controls.delay_seconds = 0.05
    request = api(sandbox, ("Email/get", {"ids": []}), ("Mailbox/get", {"ids": []}))
    response = sandbox.handle(request)
    assert sandbox.log.entries == [
        Entry(
            number=1,
            method="POST",
            path="/jmap/",
            connection="me",
            started=clock.now,
            bytes_in=len(request.body),
            calls=("Email/get", "Mailbox/get"),
            ended=clock.now + 0.05,
            status=200,
            bytes_out=len(response.body),
        )
    ]
    assert sandbox.log.since(1) == []


def spans(*pairs: tuple[float, float | None]) -> list[Entry]:
    return [
        Entry(number, "GET", "/", "", start, 0, ended=end)
        for number, (start, end) in enumerate(pairs, 1)
    ]


@pytest.mark.parametrize(
    ("entries", "numbers"),
    [
        (spans(), []),
        (spans((0, 1), (1, 2), (2, 3)), [1, 2, 3]),
        (spans((0, 1), (0, 1), (1, 2)), [1, 3]),
        (spans((0, 9), (0, 1), (1, 2), (2, 3)), [2, 3, 4]),
        (spans((0, 1), (1, None), (1, 2)), [1, 3]),
        (spans((0, 2), (1, 3), (2, 4), (3, 5)), [1, 3]),
    ],
)
def test_only_requests_that_follow_each_other_are_a_chain(
    entries: list[Entry], numbers: list[int]
) -> None:
    assert [entry.number for entry in longest_chain(entries)] == numbers


def test_a_stream_is_no_link_of_a_chain() -> None:
    sandbox, _ = make()
    sandbox.subscribe()
    sandbox.handle(api(sandbox))
    assert [entry.number for entry in longest_chain(sandbox.log.entries)] == [2]


# Hooks


def test_a_hook_acts_between_two_requests() -> None:
    sandbox, _ = make()
    seen: list[tuple[str, ...]] = []

    def deliver(entry: Entry, request: Request) -> None:
        seen.append(entry.calls)
        sandbox.deliver("Bob <bob@example.org>")

    sandbox.before(deliver)
    [[_, answer]] = run(sandbox, ("Email/query", {}))
    assert len(answer["ids"]) == 1
    assert seen == [("Email/query",)]


def test_a_hook_that_raises_before_keeps_the_request_from_taking_effect() -> None:
    class Killed(Exception):
        pass

    def kill(entry: Entry, request: Request) -> None:
        raise Killed

    sandbox, _ = make()
    mail_id = sandbox.deliver("Bob <bob@example.org>", mailbox=["Screener", "@ToFeed"])
    sandbox.before(kill)
    with pytest.raises(Killed):
        sandbox.handle(label_off(sandbox, mail_id))
    assert sandbox.mailboxes_of(mail_id) == {"Screener", "@ToFeed"}


def test_a_hook_that_raises_after_leaves_the_effect() -> None:
    class Killed(Exception):
        pass

    def kill(entry: Entry, request: Request, response: Response) -> None:
        assert response.status == entry.status == 200
        raise Killed

    sandbox, _ = make()
    mail_id = sandbox.deliver("Bob <bob@example.org>", mailbox=["Screener", "@ToFeed"])
    sandbox.after(kill)
    with pytest.raises(Killed):
        sandbox.handle(label_off(sandbox, mail_id))
    assert sandbox.mailboxes_of(mail_id) == {"Screener"}


# Faults


@pytest.mark.parametrize(
    ("fault", "statuses"),
    [
        (Fault(), [503, 503, 503, 503]),
        (Fault(times=2), [503, 503, 200, 200]),
        (Fault(nth=3), [200, 200, 503, 200]),
        (Fault(path="/dav/"), [200, 200, 200, 200]),
        (Fault(method="POST", path="/jmap/"), [503, 503, 503, 503]),
        (Fault(call="Email/get"), [503, 503, 503, 503]),
        (Fault(call="Email/set"), [200, 200, 200, 200]),
    ],
)
def test_a_fault_strikes_the_requests_that_it_describes(fault: Fault, statuses: list[int]) -> None:
    sandbox, _ = make()
    sandbox.faults.add(replace(fault, answer=Response(503)))
    request = api(sandbox, ("Email/get", {"ids": []}))
    assert [sandbox.handle(request).status for _ in statuses] == statuses


@pytest.mark.parametrize(("breaks", "left"), [("before", {"Feed", "@ToFeed"}), ("after", {"Feed"})])
def test_a_connection_breaks_before_or_after_the_request_took_effect(
    breaks: Any, left: set[str]
) -> None:
    sandbox, _ = make()
    mail_id = sandbox.deliver("Bob <bob@example.org>", mailbox=["Feed", "@ToFeed"])
    sandbox.faults.add(Fault(call="Email/set", breaks=breaks))
    with pytest.raises(ConnectionBroken) as broken:
        sandbox.handle(label_off(sandbox, mail_id))
    assert broken.value.after_handling is (breaks == "after")
    assert sandbox.mailboxes_of(mail_id) == left
    assert sandbox.log.entries[-1].ended is None


def test_one_method_of_a_request_fails_and_the_others_do_not() -> None:
    sandbox, _ = make()
    sandbox.faults.add(Fault(call="Email/query", method_error="serverFail", times=1))
    calls: list[tuple[str, Any]] = [("Email/query", {}), ("Email/get", {"ids": []})]
    assert [name for name, _ in run(sandbox, *calls)] == ["error", "Email/get"]
    assert [name for name, _ in run(sandbox, *calls)] == ["Email/query", "Email/get"]


def test_an_answer_is_rewritten_and_badly_carried() -> None:
    sandbox, clock = make()
    carried = Delivery(cut_after=3)
    sandbox.faults.add(Fault(rewrite=lambda r: Response(r.status, r.headers, b"[]"), times=1))
    sandbox.faults.add(Fault(delivery=carried, nth=2))
    sandbox.faults.add(Fault(delivery=Delivery(delay_seconds=math.inf), nth=3))
    request = api(sandbox)
    assert sandbox.handle(request).body == b"[]"
    assert sandbox.handle(request).delivery == carried
    assert sandbox.handle(request).delivery.delay_seconds == math.inf
    assert [entry.ended for entry in sandbox.log.entries] == [clock.now, clock.now, None]
    sandbox.faults.clear()
    assert sandbox.handle(request).delivery == Delivery()


# Session


def test_a_renewed_session_shows_in_every_answer() -> None:
    sandbox, _ = make()
    before = sandbox.handle(api(sandbox)).json()["sessionState"]
    sandbox.renew_session()
    assert sandbox.handle(api(sandbox)).json()["sessionState"] != before


@pytest.mark.parametrize("path", ["/", "/jmap/nothing", "/robots.txt"])
def test_other_paths_are_not_there(path: str) -> None:
    assert make()[0].handle(Request("GET", path)).status == 404


def test_other_methods_are_not_allowed() -> None:
    sandbox, _ = make()
    headers = {"Authorization": sandbox.authorization}
    assert sandbox.handle(Request("DELETE", "/jmap/", "", headers)).status == 405
