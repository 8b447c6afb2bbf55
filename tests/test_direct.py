"""The sandbox in process and the sandbox over loopback tell their client the same.

Most tests ask the sandbox without a socket; what they show is true of the network only because
of this contract.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mailroom.engine.clock import BoottimeClock
from mailroom.engine.loop import Loop, Promise
from mailroom.engine.transfer import Http, Stream, Transfer
from mailroom.errors import MailroomError
from mailroom.wire.http import Request, Response
from tests.direct import DirectHttp
from tests.sandbox import CYRUS_3_6, CYRUS_3_10, Delivery, Fault, Profile, Sandbox, serve
from tests.sandbox import Response as SandboxResponse
from tests.virtual import VirtualClock

pytestmark = pytest.mark.sandbox

START = 1_795_000_000.0
# What only a network has to say.
FRAMING = {"connection", "content-length", "date", "server", "transfer-encoding"}
EVENTS = "/jmap/eventsource/?types=*&closeafter=no&ping=0"
CARD = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:x\r\nFN:X\r\nN:;;;;\r\nEND:VCARD\r\n"


class Side:
    """One sandbox and one way to ask it."""

    def __init__(self, loop: Loop, http: Http, sandbox: Sandbox, url: str) -> None:
        self.loop = loop
        self.http = http
        self.sandbox = sandbox
        self.url = url
        sandbox.standard_account()

    def request(self, method: str, target: str, body: bytes | None, **more: str) -> Request:
        authorization = (
            self.sandbox.dav_authorization
            if target.startswith("/dav")
            else self.sandbox.authorization
        )
        headers = {"Authorization": authorization, "Content-Type": "application/json"}
        named = {name.replace("_", "-"): value for name, value in more.items()}
        return Request(method, self.url + target, headers | named, body)

    def ask(self, method: str, target: str, body: bytes | None = None, **headers: str) -> Any:
        return self.told(self.http.send(self.request(method, target, body, **headers)))

    def stream(self, target: str = EVENTS, **headers: str) -> Stream:
        return self.http.stream(self.request("GET", target, None, **headers))

    def told(self, promise: Promise[Any]) -> Any:
        """What the client makes of it: without the network's own words, errors by their kind."""
        while not promise.done:
            self.loop.turn()
        try:
            result = promise.result()
        except MailroomError as error:
            return type(error)
        if not isinstance(result, Response):
            return result
        # In process there is no Host, and so the sandbox's Location is relative.
        headers = {
            name: text.removeprefix(self.url)
            for name, text in result.headers.items()
            if name not in FRAMING
        }
        return result.status, headers, result.body.replace(self.url.encode(), b"URL")


Sides = tuple[Side, Side]
Scene = Callable[[Side], Any]


def _sides(profile: Profile) -> Iterator[Sides]:
    virtual = Loop(VirtualClock())
    inside = Sandbox(profile, clock=lambda: START)
    outside = Sandbox(profile, clock=lambda: START)
    real = Loop(clock := BoottimeClock())
    transfer = Transfer(real, "Mailroom/test")
    with serve(outside) as running:
        yield (
            Side(virtual, DirectHttp(virtual, inside), inside, "http://127.0.0.1"),
            Side(real, transfer, outside, running.url),
        )
        transfer.close()
    for loop in (virtual, real):
        loop.close()
    clock.close()


@pytest.fixture
def sides() -> Iterator[Sides]:
    yield from _sides(CYRUS_3_10)


@pytest.fixture
def sides_without_push() -> Iterator[Sides]:
    yield from _sides(CYRUS_3_6)


def same(sides: Sides, scene: Scene) -> Any:
    """Play it on both sides; the outcome, which is one and the same."""
    direct, loopback = (scene(side) for side in sides)
    assert direct == loopback
    return direct


def calls(*invocations: Any) -> bytes:
    using = ["urn:ietf:params:jmap:core", "urn:ietf:params:jmap:mail"]
    return json.dumps({"using": using, "methodCalls": invocations}).encode()


@pytest.mark.parametrize(
    ("status", "arguments"),
    [
        (301, ("GET", "/.well-known/jmap")),
        (200, ("GET", "/jmap/")),
        (200, ("POST", "/jmap/", calls(["Mailbox/get", {"accountId": "alice"}, "0"]))),
        (400, ("POST", "/jmap/", b"{")),
        (404, ("GET", "/nowhere?query=x")),
        (301, ("PROPFIND", "/.well-known/carddav", b"")),
        (207, ("PROPFIND", "/dav/addressbooks/user/alice/", b"")),
        (404, ("GET", "/dav/addressbooks/user/alice/Default/none.vcf")),
    ],
)
def test_an_answer_is_the_same(sides: Sides, status: int, arguments: tuple[Any, ...]) -> None:
    assert same(sides, lambda side: side.ask(*arguments))[0] == status


def test_a_refusal_is_the_same(sides: Sides) -> None:
    told = same(sides, lambda side: side.ask("GET", "/jmap/", Authorization="Basic bm9ib2R5"))
    assert told[0] == 401


def test_writing_and_reading_back_is_the_same(sides: Sides) -> None:
    path = "/dav/addressbooks/user/alice/Default/x.vcf"

    def scene(side: Side) -> list[Any]:
        def put(text: str, **condition: str) -> Any:
            return side.ask("PUT", path, text.encode(), Content_Type="text/vcard", **condition)

        made = put(CARD, If_None_Match="*")
        etag = side.ask("GET", path)[1]["etag"]
        return [
            made,
            put(CARD, If_None_Match="*"),
            put(CARD.replace("FN:X", "FN:Ü"), If_Match=etag),
            put(CARD, If_Match='"another"'),
            side.ask("GET", path)[2],
            side.ask("DELETE", path),
            side.ask("DELETE", path),
        ]

    made, again, changed, stale, text, gone, never = same(sides, scene)
    assert [made[0], again[0], stale[0], never[0]] == [201, 412, 412, 404]
    assert changed[0] == gone[0] == 204
    assert "FN:Ü".encode() in text


@pytest.mark.parametrize(
    "fault",
    [
        Fault(breaks="before"),
        Fault(breaks="after"),
        Fault(delivery=Delivery(cut_after=0)),
        Fault(delivery=Delivery(cut_after=7)),
        Fault(delivery=Delivery(delay_seconds=0.03)),
        Fault(delivery=Delivery(chunk_bytes=1000, pause_seconds=0.001)),
        Fault(answer=SandboxResponse(503, {"Retry-After": "7"}, b"down")),
        Fault(answer=SandboxResponse(200, {"Content-Type": "text/html"}, b"<html>")),
        Fault(answer=SandboxResponse(204, {}, b"")),
        Fault(call="Mailbox/get", method_error="serverFail"),
    ],
    ids=lambda fault: str(fault.breaks or fault.delivery or fault.answer or fault.method_error),
)
def test_a_fault_is_the_same_and_so_is_what_comes_after_it(sides: Sides, fault: Fault) -> None:
    def scene(side: Side) -> list[Any]:
        side.sandbox.faults.add(fault)
        body = calls(["Mailbox/get", {"accountId": "alice"}, "0"])
        told = [side.ask("POST", "/jmap/", body), side.ask("POST", "/jmap/", body)]
        side.sandbox.faults.clear()
        return [*told, side.ask("POST", "/jmap/", body)]

    first, second, after = same(sides, scene)
    assert first == second != after or fault.delivery is not None
    assert after[0] == 200


def test_a_stream_is_the_same_from_head_to_end(sides: Sides) -> None:
    def scene(side: Side) -> list[Any]:
        stream = side.stream()
        told = [side.told(stream.head)]
        text = b""
        for subject in ("one", "two"):
            side.sandbox.deliver("Bob <bob@example.org>", subject)
            while text.count(b"\n\n") < 1:
                text += side.told(stream.read())
            told.append(text)
            text = b""
        side.sandbox.close_feeds()
        while chunk := side.told(stream.read()):
            told.append(chunk)
        told.append(chunk)
        stream.close()
        return told

    (status, headers, _), *events, end = same(sides, scene)
    assert (status, headers["content-type"].partition(";")[0]) == (200, "text/event-stream")
    assert all(b"event: state" in event for event in events)
    assert end == b""


def test_a_stream_that_is_refused_tells_its_head(sides: Sides) -> None:
    def scene(side: Side) -> Any:
        stream = side.stream(Authorization="Basic bm9ib2R5")
        head = side.told(stream.head)
        stream.close()
        return head[0]

    assert same(sides, scene) == 401


def test_without_push_there_is_a_head_and_no_content(sides_without_push: Sides) -> None:
    def scene(side: Side) -> Any:
        stream = side.stream()
        head = side.told(stream.head)
        stream.close()
        return head[0]

    assert same(sides_without_push, scene) == 204


@pytest.mark.parametrize("breaks", ["before", "after"])
def test_a_stream_that_breaks_has_no_head(sides: Sides, breaks: Any) -> None:
    def scene(side: Side) -> Any:
        side.sandbox.faults.add(Fault(path="/jmap/eventsource", breaks=breaks))
        return side.told(side.stream().head)

    assert issubclass(same(sides, scene), MailroomError)


def test_a_stream_that_the_client_closes_is_closed_at_the_server(sides: Sides) -> None:
    def scene(side: Side) -> int:
        stream = side.stream()
        side.told(stream.head)
        stream.close()
        side.ask("GET", "/jmap/")
        return side.told(side.stream().head)[0]  # type: ignore[no-any-return]

    assert same(sides, scene) == 200
