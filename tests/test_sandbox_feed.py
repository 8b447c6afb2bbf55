"""The sandbox's event stream in process, on a clock that is moved by hand."""

from dataclasses import replace

import pytest

from tests.sandbox import CYRUS_3_6, CYRUS_3_10, CYRUS_WITHOUT_PUSH, Profile, Request, Sandbox
from tests.test_sandbox_server import Clock, api

PING = b'event: ping\ndata: {"interval":30}\n\n'


def make(profile: Profile = CYRUS_3_10) -> tuple[Sandbox, Clock]:
    clock = Clock()
    sandbox = Sandbox(profile, clock=clock)
    sandbox.standard_account()
    return sandbox, clock


def test_a_change_calls_whoever_listens_and_is_taken_once() -> None:
    sandbox, _ = make()
    feed = sandbox.subscribe("Email")
    calls: list[bytes] = []
    feed.on_data(lambda: calls.append(feed.take()))
    assert calls == []
    sandbox.deliver("Bob <bob@example.org>")
    state = sandbox.states()["Email"]
    data = f'{{"@type":"StateChange","changed":{{"alice":{{"Email":"{state}"}}}}}}'
    assert calls == [f"id: {state}\nevent: state\ndata: {data}\n\n".encode()]
    assert feed.take() == b""


def test_what_came_before_anybody_listened_is_not_lost() -> None:
    sandbox, _ = make()
    feed = sandbox.subscribe(last_event_id="3")
    calls: list[bytes] = []
    feed.on_data(lambda: calls.append(feed.take()))
    assert len(calls) == 1


def test_pings_come_an_interval_after_the_last_byte() -> None:
    sandbox, clock = make()
    feed = sandbox.subscribe(ping=30)
    start = clock.now
    assert feed.deadline == start + 30
    clock.now = start + 20
    feed.tick()
    assert feed.take() == b""
    sandbox.deliver("Bob <bob@example.org>")
    feed.take()
    assert feed.deadline == start + 50
    clock.now = start + 50
    feed.tick()
    assert feed.take() == PING
    assert feed.deadline == start + 80


def test_without_pings_there_is_no_deadline() -> None:
    assert make()[0].subscribe().deadline is None


def test_a_stream_ends_when_its_time_has_come() -> None:
    sandbox, clock = make(replace(CYRUS_3_10, stream_seconds=300.0))
    feed = sandbox.subscribe()
    ended: list[bool] = []
    feed.on_data(lambda: ended.append(feed.closed))
    assert feed.deadline == clock.now + 300
    clock.now += 300
    feed.tick()
    assert ended == [True]
    assert feed.deadline is None


def test_a_closed_feed_hears_nothing_more() -> None:
    sandbox, _ = make()
    feed = sandbox.subscribe()
    sandbox.close_feeds()
    sandbox.deliver("Bob <bob@example.org>")
    assert feed.closed
    assert feed.take() == b""


def test_a_large_set_shows_states_that_no_answer_names() -> None:
    sandbox, _ = make(replace(CYRUS_3_10, push_batch=10))
    mails = [sandbox.deliver("Bob <bob@example.org>") for _ in range(25)]
    feed = sandbox.subscribe()
    patch = {f"mailboxIds/{sandbox.mailbox_id('Feed')}": True}
    answer = sandbox.handle(api(sandbox, ("Email/set", {"update": dict.fromkeys(mails, patch)})))
    new_state = answer.json()["methodResponses"][0][1]["newState"]
    ids = [line for line in feed.take().decode().splitlines() if line.startswith("id: ")]
    assert len(ids) == 3
    assert ids[-1] == f"id: {new_state}"


def test_a_server_may_push_counts_as_changes_of_mailboxes() -> None:
    sandbox, _ = make(replace(CYRUS_3_10, pushes_counts=True))
    feed = sandbox.subscribe("Mailbox")
    sandbox.deliver("Bob <bob@example.org>")
    assert b'"Mailbox"' in feed.take()


@pytest.mark.parametrize(
    ("profile", "status", "is_named"), [(CYRUS_3_6, 204, True), (CYRUS_WITHOUT_PUSH, 404, False)]
)
def test_a_server_without_push_says_so(profile: Profile, status: int, is_named: bool) -> None:
    sandbox, _ = make(profile)
    headers = {"Authorization": sandbox.authorization}
    query = "types=*&closeafter=no&ping=0"
    assert sandbox.handle(Request("GET", "/jmap/eventsource/", query, headers)).status == status
    session = sandbox.handle(Request("GET", "/jmap/", "", headers)).json()
    assert ("eventSourceUrl" in session) is is_named
    with pytest.raises(ValueError, match=str(status)):
        sandbox.subscribe()
