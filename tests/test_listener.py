"""The stream over hours: how it is asked for, when it is given up, how often it is tried again."""

import dataclasses
import json
from collections.abc import Callable
from itertools import pairwise

import pytest

from mailroom.engine.journal import Level
from tests.sandbox import (
    CYRUS_3_10,
    Entry,
    Fault,
    Feed,
    Request,
    Response,
    Sandbox,
    json_response,
)
from tests.world import World

STREAM = "/jmap/eventsource"
QUERY = "?types={types}&closeafter={closeafter}&ping={ping}"
# The pauses of three minutes.
DOUBLING = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


class Streams:
    """Every request for the stream, with the instant of it."""

    def __init__(self, world: World) -> None:
        self.requests: list[Request] = []
        self.instants: list[float] = []
        self._world = world
        world.sandbox.before(self._note)

    def _note(self, entry: Entry, request: Request) -> None:
        if entry.path.startswith(STREAM):
            self.requests.append(request)
            self.instants.append(self._world.clock.now())

    @property
    def gaps(self) -> list[float]:
        return [round(later - sooner, 3) for sooner, later in pairwise(self.instants)]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def streams(world: World) -> Streams:
    return Streams(world)


def feeds_of(world: World) -> list[Feed]:
    """Every stream that the sandbox opens from now on."""
    feeds: list[Feed] = []

    def keep(_entry: Entry, _request: Request, response: Response) -> None:
        if response.feed is not None:
            feeds.append(response.feed)

    world.sandbox.after(keep)
    return feeds


def change(account: str, state: str) -> bytes:
    """An event as Cyrus writes it."""
    changed = json.dumps({"@type": "StateChange", "changed": {account: {"Email": state}}})
    return f"event: state\ndata: {changed}".encode()


def test_the_stream_is_asked_for_mail_and_mailboxes_with_pings(
    world: World, streams: Streams
) -> None:
    world.start()
    (request,) = streams.requests
    assert request.query.replace("%2C", ",") == "types=Email,Mailbox&closeafter=no&ping=30"
    assert request.header("Accept") == "text/event-stream"
    assert request.header("Last-Event-ID") is None


def test_a_reconnect_names_the_last_event(world: World, streams: Streams) -> None:
    world.start()
    world.sandbox.deliver("Bob <bob@example.org>")
    world.settle()
    world.sandbox.close_feeds()
    world.settle()
    _, request = streams.requests
    assert request.header("Last-Event-ID") == str(world.sandbox.states()["Email"])
    assert world.status["eventsource"]["reconnect_count"] == 1


def test_a_peer_that_has_pinged_and_falls_silent_is_noticed_within_75_seconds(
    world: World, streams: Streams
) -> None:
    world.start()
    world.run_for(100.0)  # the last ping came at 90 s
    world.sandbox.cut_off_feeds()
    world.run_for(100.0)
    assert streams.gaps == [pytest.approx(90.0 + 75.0 + 1.0, abs=0.1)]
    assert [fields["error"] for fields in world.named("eventsource_disconnected")] == [
        "no byte on the event stream for 75 s"
    ]
    assert world.status["eventsource"]["connected"] is True


def test_a_peer_that_never_pinged_is_cut_after_half_an_hour() -> None:
    world = World(dataclasses.replace(CYRUS_3_10, ping_unit=None))
    streams = Streams(world)
    world.start()
    world.run_for(2 * 3600.0)
    assert streams.gaps == [1801.0] * 3


def test_a_server_that_closes_at_once_is_asked_ever_more_rarely(
    world: World, streams: Streams
) -> None:
    def close(_entry: Entry, _request: Request, response: Response) -> None:
        if response.feed is not None:
            response.feed.close()

    world.sandbox.after(close)
    world.start()
    world.run_for(300.0)
    assert streams.gaps == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]


def test_the_backoff_is_forgotten_when_the_stream_has_lived_a_minute(
    world: World, streams: Streams
) -> None:
    world.start()
    for _ in range(3):
        world.run_for(70.0)
        world.sandbox.close_feeds()
    world.settle()
    assert all(gap == pytest.approx(71.0, abs=2.0) for gap in streams.gaps), streams.gaps


@pytest.mark.parametrize(
    ("answer", "gaps"),
    [
        (Response(503, {"Retry-After": "40"}), [40.0] * 4),
        (Response(503), DOUBLING),
        (Response(401), [60.0, 120.0]),
        (Response(204), []),
        (Response(200, {"Content-Type": "text/html"}, b"<p>Hello"), DOUBLING),
    ],
    ids=["503, wait", "503", "401", "204", "no stream"],
)
def test_an_answer_that_is_no_stream(
    answer: Response, gaps: list[float], world: World, streams: Streams
) -> None:
    world.sandbox.faults.add(Fault(path=STREAM, answer=answer))
    world.start()
    world.run_for(190.0)
    assert streams.gaps == gaps
    assert world.healthz[0] == 200
    assert world.history.totals.polls["fallback"] >= 2


def test_an_outage_is_told_once_and_its_end(world: World) -> None:
    world.start()
    world.sandbox.faults.add(Fault(path=STREAM, breaks="before"))
    world.sandbox.close_feeds()
    world.run_for(3600.0)
    world.sandbox.faults.clear()
    world.run_for(61.0)
    told = [
        event
        for level, event, _ in world.events
        if level < Level.DEBUG and event.startswith("eventsource")
    ]
    assert told == [
        "eventsource_connected",
        "eventsource_disconnected",
        "eventsource_disconnected",
        "eventsource_connected",
    ]


@pytest.mark.parametrize(("lived_seconds", "level"), [(300.0, Level.INFO), (30.0, Level.WARNING)])
@pytest.mark.parametrize("end", [Sandbox.close_feeds, Sandbox.break_off_feeds])
def test_a_stream_that_has_lived_may_end_without_alarm(
    world: World, end: Callable[[Sandbox], None], lived_seconds: float, level: Level
) -> None:
    world.start()
    world.run_for(lived_seconds)
    end(world.sandbox)
    world.run_for(10.0)
    assert losses(world) == [level]
    assert world.status["eventsource"]["connected"]


def test_that_it_cannot_be_opened_again_is_alarming(world: World) -> None:
    world.start()
    world.run_for(300.0)
    world.sandbox.faults.add(Fault(path=STREAM, breaks="before"))
    world.sandbox.break_off_feeds()
    world.run_for(3600.0)
    assert losses(world)[:3] == [Level.INFO, Level.WARNING, Level.DEBUG]


def losses(world: World) -> list[Level]:
    return [level for level, event, _ in world.events if event == "eventsource_disconnected"]


def test_a_stream_with_a_line_that_never_ends_is_given_up(world: World, streams: Streams) -> None:
    feeds = feeds_of(world)
    world.start()
    feeds[0].write(b"data: " + b"x" * (2 << 20))
    world.settle()
    assert len(streams.requests) == 2
    assert world.status["eventsource"]["connected"] is True
    assert len(str(world.named("eventsource_disconnected")[0]["error"])) < 300


def test_two_thousand_events_cost_a_poll_every_three_seconds(world: World) -> None:
    feeds = feeds_of(world)
    world.start().settle()
    polls = world.polls
    for number in range(2_000):
        feeds[0].write(change("alice", f"x{number}"))
        world.run_for(0.01)
    world.settle()
    assert 6 <= world.polls - polls <= 8


def test_events_of_other_accounts_cause_no_poll(world: World) -> None:
    feeds = feeds_of(world)
    world.start().settle()
    polls = world.polls
    feeds[0].write(change("mallory", "x"))
    world.settle()
    assert world.polls == polls


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_within_the_origin_is_followed(world: World, status: int) -> None:
    answer = Response(status, {"Location": f"{STREAM}/?types=*&closeafter=no&ping=30"})
    world.sandbox.faults.add(Fault(path=STREAM, times=1, answer=answer))
    (mail,) = world.deliver("Bob <bob@example.org>")
    world.start().settle()
    assert world.healthz[1]["eventsource"]["connected"]
    assert not world.named("eventsource_disconnected")
    world.tap(mail, "@ToFeed")
    world.run_for(1.0)
    assert world.history.last_poll is not None
    assert world.history.last_poll.trigger == "push"


def test_a_redirect_of_the_stream_elsewhere_is_not_followed(world: World, streams: Streams) -> None:
    answer = Response(307, {"Location": "https://elsewhere.example/events"})
    world.sandbox.faults.add(Fault(path=STREAM, answer=answer))
    world.start().run_for(60.0)
    assert {request.path for request in streams.requests} == {STREAM + "/"}
    error = world.healthz[1]["eventsource"]["error"]
    assert "redirected to another origin, https://elsewhere.example/events" in error


def named(url: str) -> Fault:
    """The session names this place for the stream."""

    def move(answer: Response) -> Response:
        if b"eventSourceUrl" not in answer.body:
            return answer
        return json_response(json.loads(answer.body) | {"eventSourceUrl": url})

    return Fault(method="GET", path="/jmap", rewrite=move)


def test_a_stream_on_another_host_that_the_session_names_gets_the_credentials(
    world: World, streams: Streams
) -> None:
    world.sandbox.faults.add(named(f"https://push.example.org{STREAM}/{QUERY}"))
    world.start().settle()
    assert world.healthz[1]["eventsource"]["connected"]
    [request] = streams.requests
    assert request.headers["Authorization"].startswith("Basic ")


def test_a_stream_without_tls_is_not_asked_for(world: World, streams: Streams) -> None:
    world.sandbox.faults.add(named(f"http://mail.example.org{STREAM}/{QUERY}"))
    world.start().run_for(60.0)
    assert not streams.requests
    error = world.healthz[1]["eventsource"]["error"]
    assert "which would send the credentials in the clear" in error
    assert world.healthz[1]["status"] == "ok"
