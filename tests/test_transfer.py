"""HTTP as it really comes: answers that are cut, late, long or wrong, on real sockets."""

import contextlib
import gc
import gzip
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pycurl
import pytest

from mailroom.engine.authorities import Authorities
from mailroom.engine.clock import BoottimeClock
from mailroom.engine.exchange import Exchange
from mailroom.engine.loop import Loop, Promise
from mailroom.engine.transfer import Stream, Transfer
from mailroom.errors import (
    MailroomError,
    NoAnswer,
    ProtocolError,
    TimedOut,
    TooLarge,
    TransientError,
    Untrusted,
)
from mailroom.rules.configuration.config import Tls
from mailroom.wire.http import Request, Response
from tests.authority import issue, presenting
from tests.peer import Asked, End, Peer, Script, Step, Wait, always, answer, chunk, head
from tests.sandbox.digest import Digest
from tests.virtual import VirtualClock

SECRET = "Basic YWxpY2U6c2VjcmV0"
MIB = 1 << 20


class Wire:
    """A loop, a transfer on it, and peers that answer."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.loop = Loop(self.clock)
        self.transfer = Transfer(self.loop, "Mailroom/test")
        self.peers: list[Peer] = []

    def peer(self, script: Script, reads_bytes: float = float("inf")) -> Peer:
        self.peers.append(Peer(self.loop, script, reads_bytes))
        return self.peers[-1]

    def until(self, reached: Callable[[], object]) -> None:
        for _ in range(100_000):
            if reached():
                return
            self.loop.turn()
        raise AssertionError("it never came to that")

    def outcome(self, promise: Promise[Any]) -> Any:
        """The result, or the error as a value."""
        self.until(lambda: promise.done)
        try:
            return promise.result()
        except MailroomError as error:
            return error

    def ask(self, script: Script, request: Request | None = None) -> Any:
        """What comes of one request to a peer of its own."""
        peer = self.peer(script)
        path = "/path?query=hidden"
        asked = request or Request("GET", peer.url + path, {"Authorization": SECRET})
        return self.outcome(self.transfer.send(asked))

    def get(self, peer: Peer) -> Any:
        return self.outcome(self.transfer.send(Request("GET", peer.url + "/")))

    def stream(self, peer: Peer) -> Stream:
        return self.transfer.stream(Request("GET", peer.url + "/events?query=hidden"))

    def last_of(self, stream: Stream) -> Any:
        """What a stream ends with: empty bytes, or an error."""
        got = self.outcome(stream.head)
        while got and not isinstance(got, MailroomError):
            got = self.outcome(stream.read())
        return got

    def settle(self, seconds: float = 0.1) -> None:
        """Let everything happen that is not far off."""
        over: list[bool] = []
        self.loop.call_at(self.loop.now() + seconds, lambda: over.append(True))
        self.until(lambda: over)

    def close(self) -> None:
        self.transfer.close()
        for peer in self.peers:
            peer.__exit__(None, None, None)
        self.loop.close()


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire()
    yield made
    made.close()


# What is sent


PASSWORD = 's:é"cret'


def guarded(user: str = "al:ice") -> Script:
    """A server that wants Digest, and says which method and how much has come."""
    guard = Digest(user, PASSWORD)

    def script(asked: Asked) -> Iterable[Step]:
        if guard.accepts(asked.headers.get("authorization"), asked.method):
            yield answer(f"{asked.method} {len(asked.body)}".encode())
        else:
            challenge = f"WWW-Authenticate: {guard.challenge}"
            yield answer(b"who?", "401 Unauthorized", challenge)

    return script


@pytest.mark.parametrize("method", ["GET", "PUT", "PROPFIND", "DELETE"])
def test_a_challenge_is_answered_by_digest(wire: Wire, method: str) -> None:
    body = None if method in ("GET", "DELETE") else b"x" * 1000
    peer = wire.peer(guarded())
    request = Request(method, f"{peer.url}/a?b=c", {}, body, ("al:ice", PASSWORD))
    got = wire.outcome(wire.transfer.send(request))
    assert got.body.decode() == f"{method} {len(body or b'')}"
    assert len(peer.requests) == 2
    assert PASSWORD not in repr(request)
    assert not any(PASSWORD in value for each in peer.requests for value in each.headers.values())


def test_a_wrong_password_is_401_by_digest_as_well(wire: Wire) -> None:
    peer = wire.peer(guarded())
    wrong = Request("GET", peer.url, {}, None, ("al:ice", "wrong"))
    got = wire.outcome(wire.transfer.send(wrong))
    assert (got.status, got.body) == (401, b"who?")
    assert wire.outcome(wire.transfer.stream(wrong).head).status == 401


def test_a_stream_that_is_opened_by_digest_has_one_head(wire: Wire) -> None:
    stream = wire.transfer.stream(
        Request("GET", wire.peer(guarded()).url, {}, None, ("al:ice", PASSWORD))
    )
    assert wire.outcome(stream.head).status == 200
    assert wire.outcome(stream.read()) == b"GET 0"


def test_a_request_arrives_as_it_was_meant(wire: Wire) -> None:
    peer = wire.peer(always(answer()))
    body = bytes(range(256)) * 8192  # 2 MiB
    request = Request("PUT", f"{peer.url}/a%20b?c=d", {"If-Match": '"é"', "X": "y"}, body)
    assert wire.outcome(wire.transfer.send(request)).status == 200
    (asked,) = peer.requests
    assert (asked.method, asked.target) == ("PUT", "/a%20b?c=d")
    assert asked.body == body
    assert asked.headers["if-match"].encode("latin-1").decode() == '"é"'
    assert asked.headers["x"] == "y"
    assert asked.headers["user-agent"] == "Mailroom/test"
    assert "expect" not in asked.headers  # it would cost a round trip


@pytest.mark.parametrize(
    ("method", "body", "length"),
    [
        ("GET", None, None),
        ("DELETE", None, None),
        ("POST", b"", "0"),
        ("POST", None, "0"),
        ("POST", b"{}", "2"),
        ("REPORT", b"<a/>", "4"),
        ("PROPFIND", b"<a/>", "4"),
        ("MKCOL", None, None),
    ],
)
def test_every_method_is_sent_with_its_body(
    wire: Wire, method: str, body: bytes | None, length: str | None
) -> None:
    peer = wire.peer(always(answer()))
    wire.outcome(wire.transfer.send(Request(method, peer.url, body=body)))
    (asked,) = peer.requests
    assert (asked.method, asked.body) == (method, body or b"")
    assert asked.headers.get("content-length") == length


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/relative",
        "http://[bad/",
        "http://127.0.0.1:99999/",
        "http://exa mple/",
        "http://127.0.0.1/ü",
        "http://127.0.0.1/\r\nX: y",
        "http://127.0.0.1/\0",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
    ],
)
def test_a_url_that_is_none_is_the_servers_fault_and_not_the_end(wire: Wire, url: str) -> None:
    assert isinstance(wire.outcome(wire.transfer.send(Request("GET", url))), MailroomError)
    assert isinstance(wire.outcome(wire.transfer.stream(Request("GET", url)).head), MailroomError)


@pytest.mark.parametrize("value", ["a\r\nX-Injected: b", "a\nb", "a\rb", "a\0b"])
def test_no_header_can_smuggle_in_another(wire: Wire, value: str) -> None:
    """ETags and event ids come from the server."""
    peer = wire.peer(always(answer()))
    request = Request("GET", peer.url, {"If-Match": value})
    assert isinstance(wire.outcome(wire.transfer.send(request)), ProtocolError)
    assert isinstance(wire.outcome(wire.transfer.stream(request).head), ProtocolError)
    assert peer.requests == []


def test_a_proxy_of_the_environment_sees_nothing_of_what_is_for_this_machine(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = wire.peer(always(answer(b"proxy")))
    for name in ("http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.url)
    assert wire.ask(always(answer(b"peer"))).body == b"peer"
    assert proxy.connections == []


def test_what_a_proxy_says_is_not_taken_for_the_answer(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = wire.peer(always(head(status="200 Connection established"), Wait(1), End.CLOSE))
    monkeypatch.setenv("https_proxy", proxy.url)
    request = Request("GET", "https://mail.invalid/")
    assert isinstance(wire.outcome(wire.transfer.stream(request).head), TransientError)
    assert isinstance(wire.outcome(wire.transfer.send(request)), TransientError)
    assert [asked.method for asked in proxy.requests] == ["CONNECT", "CONNECT"]


# What comes back


def test_an_answer_arrives_as_it_was_sent(wire: Wire) -> None:
    body = bytes(range(256)) * 1000
    response = wire.ask(always(answer(body, "207 Multi-Status", "X-Odd:  Two  words ", "ETag: x")))
    assert (response.status, response.body) == (207, body)
    assert response.headers["x-odd"] == "Two  words"
    assert response.headers["etag"] == "x"
    assert response.url.endswith("/path?query=hidden")


def test_header_names_are_lower_case_and_repeated_ones_are_joined(wire: Wire) -> None:
    response = wire.ask(always(answer(b"", "200 OK", "DAV: 1", "dav: 2, 3", "Dav:addressbook")))
    assert response.headers["dav"] == "1, 2, 3, addressbook"


@pytest.mark.parametrize(
    ("sent", "status", "body"),
    [
        (head(status="204 No Content"), 204, b""),
        (head("ETag: x", status="304 Not Modified"), 304, b""),
        (head(status="100 Continue") + answer(b"then"), 200, b"then"),
        (head("Link: x", status="103 Early Hints") + answer(b"then"), 200, b"then"),
        (head("Location: /elsewhere", "Content-Length: 0", status="301 Moved"), 301, b""),
        (answer(b"no", "401 Unauthorized", "WWW-Authenticate: Basic"), 401, b"no"),
        (answer(b"down", "503 Service Unavailable", "Retry-After: 7"), 503, b"down"),
        (answer(b"", "200"), 200, b""),
        (answer(b"odd", "299 \xff\xfe"), 299, b"odd"),
        (
            head("Transfer-Encoding: chunked") + chunk(b"ab") + chunk(b"c") + chunk(b""),
            200,
            b"abc",
        ),
        (
            head("Transfer-Encoding: chunked", "Trailer: etag")
            + chunk(b"ab")
            + b"0\r\nETag: late\r\n\r\n",
            200,
            b"ab",
        ),
    ],
)
def test_every_kind_of_answer_is_understood(
    wire: Wire, sent: bytes, status: int, body: bytes
) -> None:
    """Redirects and refusals are for the conversation to decide."""
    response = wire.ask(always(sent))
    assert (response.status, response.body) == (status, body)
    assert "link" not in response.headers
    assert response.headers.get("etag") in (None, "x")


def test_every_kind_of_answer_is_understood_byte_by_byte(wire: Wire) -> None:
    sent = head(status="100 Continue") + answer(b"body", "207 Multi-Status", "ETag: x")
    peer = wire.peer(always())
    promise = wire.transfer.send(Request("GET", peer.url))
    wire.until(lambda: peer.requests)
    for byte in sent:
        assert not promise.done
        peer.latest.do(bytes([byte]))
        wire.settle(0.01)
    assert (promise.result().status, promise.result().body) == (207, b"body")


def test_a_unix_socket_is_asked_like_a_host(wire: Wire, tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    request = Request("POST", "http://mailroom/triage", body=b"{}", unix_socket=str(path))
    assert str(wire.outcome(wire.transfer.send(request))).startswith(
        "POST http://mailroom/triage: nobody answers there"
    )
    peer = Peer(wire.loop, always(answer(b"done")), path=path)
    wire.peers.append(peer)
    assert wire.outcome(wire.transfer.send(request)).body == b"done"
    assert (peer.requests[0].target, peer.requests[0].body) == ("/triage", b"{}")


def test_an_answer_without_length_ends_with_the_connection(wire: Wire) -> None:
    assert wire.ask(always(head("Connection: close"), b"all of it", End.CLOSE)).body == b"all of it"


def test_what_comes_after_the_announced_length_is_nobodys(wire: Wire) -> None:
    peer = wire.peer(always(head("Content-Length: 3"), b"onemore"))
    assert [wire.get(peer).body, wire.get(peer).body] == [b"one", b"one"]


def test_a_compressed_answer_is_unpacked(wire: Wire) -> None:
    packed = gzip.compress(b"many " * 10_000)
    response = wire.ask(always(answer(packed, "200 OK", "Content-Encoding: gzip")))
    assert response.body == b"many " * 10_000


def test_the_only_compression_asked_for_costs_the_server_little(wire: Wire) -> None:
    """Whatever else this libcurl knows: Cyrus would take Brotli."""
    peer = wire.peer(always(answer(b"body")))
    wire.get(peer)
    assert peer.requests[0].headers["accept-encoding"] == "gzip"


@pytest.mark.parametrize("body", [None, b"x" * 300, b"x" * 2_000_000])
def test_the_bytes_that_are_counted_are_those_of_the_wire(wire: Wire, body: bytes | None) -> None:
    packed = gzip.compress(os.urandom(20_000))
    sent = answer(packed, "200 OK", "Content-Encoding: gzip")
    peer = wire.peer(always(sent))
    method = "GET" if body is None else "PUT"
    response = wire.outcome(wire.transfer.send(Request(method, peer.url, body=body)))
    assert response.sent_bytes == peer.requests[0].size
    assert response.received_bytes == len(sent)


def test_a_body_that_grows_too_large_is_refused_while_it_comes(wire: Wire) -> None:
    """Packed as well: 64 KiB on the wire are 65 MiB here."""
    bomb = gzip.compress(b"\0" * (65 * MIB), 1)
    error = wire.ask(always(answer(bomb, "200 OK", "Content-Encoding: gzip")))
    assert isinstance(error, ProtocolError)
    assert str(error).endswith("/path: the answer is larger than 64 MiB")


def test_a_request_may_allow_less(wire: Wire) -> None:
    for size, kind in ((MIB, Response), (MIB + 1, TooLarge)):
        peer = wire.peer(always(answer(b"x" * size)))
        outcome = wire.outcome(
            wire.transfer.send(Request("GET", f"{peer.url}/path", limit_bytes=MIB))
        )
        assert type(outcome) is kind
    assert str(outcome).endswith("/path: the answer is larger than 1 MiB")


def test_an_endless_body_is_refused_as_well(wire: Wire) -> None:
    sent: list[int] = []

    def endless(_: Asked) -> Iterable[Step]:
        yield head()
        while True:
            sent.append(MIB)
            yield b"\0" * MIB

    assert isinstance(wire.ask(endless), ProtocolError)
    assert sum(sent) < 80 * MIB


# What goes wrong


@pytest.mark.parametrize("how", End)
@pytest.mark.parametrize(
    "sent",
    [
        answer(b"body", "200 OK", "ETag: x"),
        head("Transfer-Encoding: chunked") + chunk(b"body") + chunk(b"more") + chunk(b""),
        head(status="100 Continue") + answer(b"", "201 Created"),
        head(status="204 No Content"),
    ],
    ids=["length", "chunked", "continued", "empty"],
)
def test_an_answer_that_breaks_off_at_any_byte_is_no_answer(
    wire: Wire, sent: bytes, how: End
) -> None:
    """libcurl itself takes a head that was cut at the end of a line for an answer."""
    for length in range(len(sent) - 1):  # the last LF of a chunked body libcurl can do without
        error = wire.ask(always(sent[:length], how))
        assert isinstance(error, TransientError), (length, error)
        assert "/path: " in str(error)
        assert isinstance(wire.last_of(wire.stream(wire.peers[-1])), TransientError), length
    assert isinstance(wire.ask(always(sent, End.CLOSE)), Response)


def test_nobody_there(wire: Wire) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        error = wire.outcome(wire.transfer.send(Request("GET", url)))
    assert isinstance(error, TransientError)
    assert f"GET {url}: nobody answers there (" in str(error)
    assert str(error).endswith("): check host and port, and whether the server runs")
    assert wire.clock.now() < 1001


def test_a_connection_closed_without_an_answer_may_be_a_ban(wire: Wire) -> None:
    error = wire.ask(always(End.CLOSE))
    assert isinstance(error, TransientError)
    assert "closed the connection without an answer (" in str(error)
    assert str(error).endswith("): if it does so every time, it may have banned this address")


@pytest.mark.parametrize("nonsense", [b"220 mail ESMTP\r\n", b"\0\0\0\0", b"HTTP/1.1 abc\r\n\r\n"])
def test_what_is_not_http_is_no_answer(wire: Wire, nonsense: bytes) -> None:
    assert isinstance(wire.ask(always(nonsense, End.CLOSE)), MailroomError)


@pytest.mark.parametrize("line", ["HTTP/x: y", "HTTP/: ", "HTTP/1.1: 500", "HTTP/2 : 404 x"])
@pytest.mark.parametrize("where", ["in the head", "as a trailer"])
def test_a_header_that_looks_like_a_status_line_is_none(
    wire: Wire, line: str, where: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """What is raised in a callback of libcurl comes out on stderr, and ends the exchange."""
    if where == "in the head":
        sent = head("A: b", line, "Content-Length: 2") + b"ok"
    else:
        sent = head("A: b", "Transfer-Encoding: chunked") + chunk(b"ok")
        sent += b"0\r\n%b\r\n\r\n" % line.encode()
    response = wire.ask(always(sent))
    assert (response.status, response.headers["a"], response.body) == (200, "b", b"ok")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("body", [None, b"x", b"x" * MIB])
def test_a_server_that_never_answers_is_given_up_after_30_seconds(
    wire: Wire, body: bytes | None
) -> None:
    start = wire.clock.now()
    peer = wire.peer(always())
    error = wire.outcome(wire.transfer.send(Request("PUT", peer.url, body=body)))
    assert isinstance(error, TransientError)
    assert "the server has sent nothing for 30 s" in str(error)
    assert 30 <= wire.clock.now() - start < 31
    wire.settle()
    assert peer.latest.is_closed_by_client


def test_a_request_may_have_more_patience(wire: Wire) -> None:
    peer = wire.peer(always(Wait(299), answer(b"late")))
    late = wire.transfer.send(Request("GET", peer.url, patience_seconds=300.0))
    assert wire.outcome(late).body == b"late"
    never = wire.transfer.send(Request("GET", wire.peer(always()).url, patience_seconds=300.0))
    assert "nothing for 300 s" in str(wire.outcome(never))


@pytest.mark.parametrize(
    "sent", [head("Content-Length: 9"), answer(b"x" * 9)[:-1], head("Connection: close") + b"x"]
)
def test_an_answer_that_stalls_is_given_up_30_seconds_after_its_last_byte(
    wire: Wire, sent: bytes
) -> None:
    start = wire.clock.now()
    assert isinstance(wire.ask(always(Wait(25), sent)), TransientError)
    assert 55 <= wire.clock.now() - start < 56


def test_an_answer_that_drips_is_waited_for(wire: Wire) -> None:
    """Of a head libcurl tells each line when the next one begins."""
    lines = head("Content-Length: 9", "ETag: x").splitlines(keepends=True)
    steps: list[Step] = [step for line in lines for step in (line, Wait(14))]
    steps += [step for byte in b"slow body" for step in (Wait(14), bytes([byte]), Wait(15))]
    assert wire.ask(always(*steps)).body == b"slow body"
    assert wire.clock.now() > 1000 + 14 * len(lines) + 29 * 9 - 16


def test_a_body_that_is_taken_slowly_is_sent_to_its_end(wire: Wire) -> None:
    peer = wire.peer(always(answer()), reads_bytes=0)
    # What the kernel holds (up to 6 MiB) has been sent for libcurl: 18 s of silence at the end.
    promise = wire.transfer.send(Request("PUT", peer.url, body=b"x" * (32 * MIB)))
    while not promise.done:
        wire.settle(6)
        peer.reads_bytes += 2 * MIB
        peer.latest.read_on()
    assert wire.outcome(promise).status == 200
    assert wire.clock.now() > 1090


def test_a_body_that_nobody_takes_is_given_up(wire: Wire) -> None:
    start = wire.clock.now()
    peer = wire.peer(always(answer()), reads_bytes=MIB)
    promise = wire.transfer.send(Request("PUT", peer.url, body=b"x" * (16 * MIB)))
    assert isinstance(wire.outcome(promise), TransientError)
    assert 30 <= wire.clock.now() - start < 32


def test_a_connection_that_is_not_made_is_given_up_after_10_seconds(wire: Wire) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(3)]  # from then on the kernel drops the SYN
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        start = wire.clock.now()
        url = f"http://127.0.0.1:{full.getsockname()[1]}/"
        error = wire.outcome(wire.transfer.send(Request("GET", url)))
        for one in waiting:
            one.close()
    assert type(error) is TimedOut
    assert str(error).endswith(": no connection within 10 s")
    assert 10 <= wire.clock.now() - start < 11


@pytest.mark.parametrize(
    "script",
    [
        always(End.CLOSE),
        always(End.RESET),
        always(),
        always(head("Content-Length: 5"), b"abc", End.CLOSE),
        always(b"nonsense\r\n\r\n", End.CLOSE),
        always(answer(gzip.compress(b"\0" * (65 * MIB), 1), "200 OK", "Content-Encoding: gzip")),
    ],
)
def test_no_error_tells_who_asked_or_what_the_query_was(wire: Wire, script: Script) -> None:
    peer = wire.peer(script)
    url = f"http://alice:secret@127.0.0.1:{peer.port}/path?query=hidden"
    error = wire.outcome(wire.transfer.send(Request("GET", url, {"Authorization": SECRET})))
    assert isinstance(error, MailroomError)
    assert f"GET http://127.0.0.1:{peer.port}/path: " in str(error)
    cause: BaseException | None = error
    while cause is not None:
        for word in (SECRET, SECRET.split()[1], "alice", "secret", "hidden"):
            assert word not in repr(cause)
        cause = cause.__cause__


def test_a_header_that_cannot_be_sent_is_not_told_either(wire: Wire) -> None:
    error = wire.ask(always(), Request("GET", "http://127.0.0.1/", {"Authorization": "secret\n"}))
    assert isinstance(error, ProtocolError)
    assert "secret" not in repr(error) + repr(error.__cause__)


# Connections


def test_serial_requests_share_one_connection(wire: Wire) -> None:
    peer = wire.peer(lambda asked: [answer(asked.target.encode())])
    for number in range(5):
        request = Request("GET", f"{peer.url}/{number}")
        assert wire.outcome(wire.transfer.send(request)).body == f"/{number}".encode()
    assert len(peer.connections) == 1


def test_a_connection_that_the_server_closed_meanwhile_is_replaced(wire: Wire) -> None:
    peer = wire.peer(always(answer(b"here")))
    for _ in range(3):
        assert wire.get(peer).body == b"here"
        peer.latest.end(End.CLOSE)
        wire.settle()
    peer.latest.end(End.RESET)
    assert wire.get(peer).body == b"here"
    assert len(peer.connections) == 4


def test_a_connection_that_breaks_as_the_request_comes_is_replaced_once(wire: Wire) -> None:
    """RFC 9110 §9.2.2 allows that much: on a kept connection nothing had come back."""
    scripts: Iterator[list[Step]] = iter([[answer(b"1")], [End.CLOSE], [answer(b"2")]])
    peer = wire.peer(lambda _: next(scripts))
    assert [wire.get(peer).body, wire.get(peer).body] == [b"1", b"2"]
    assert (len(peer.connections), len(peer.requests)) == (2, 3)


def test_no_request_is_repeated_on_a_new_connection(wire: Wire) -> None:
    peer = wire.peer(always(End.CLOSE))
    request = Request("POST", peer.url, body=b"once")
    assert isinstance(wire.outcome(wire.transfer.send(request)), TransientError)
    assert len(peer.requests) == 1


def test_many_exchanges_go_on_at_once_beside_a_stream(wire: Wire) -> None:
    peer = wire.peer(
        lambda asked: (
            [head("Transfer-Encoding: chunked"), chunk(b"first")]
            if asked.target.startswith("/events")
            else [Wait(10 - int(asked.target[1:])), answer(asked.target.encode())]
        )
    )
    start = wire.clock.now()
    stream = wire.stream(peer)
    assert wire.outcome(stream.read()) == b"first"
    promises = [wire.transfer.send(Request("GET", f"{peer.url}/{n}")) for n in range(10)]
    wire.settle(4.5)
    assert [promise.done for promise in promises] == [False] * 6 + [True] * 4
    peer.connections[0].do(chunk(b"second"))
    assert wire.outcome(stream.read()) == b"second"
    bodies = [wire.outcome(promise).body for promise in promises]
    assert bodies == [f"/{n}".encode() for n in range(10)]
    assert wire.clock.now() - start < 11
    assert not peer.connections[0].is_closed_by_client


def test_a_failing_exchange_leaves_the_others_alone(wire: Wire) -> None:
    scripts: dict[str, list[Step]] = {"/0": [End.RESET], "/1": [Wait(40), answer(b"x")]}
    peer = wire.peer(lambda asked: scripts.get(asked.target, [Wait(1), answer(b"fine")]))
    promises = [wire.transfer.send(Request("GET", f"{peer.url}/{n}")) for n in range(4)]
    kinds = [type(wire.outcome(promise)) for promise in promises]
    assert kinds == [TransientError, NoAnswer, Response, Response]


def test_connections_are_kept_alive_by_the_kernel(wire: Wire) -> None:
    peer = wire.peer(always(answer()))
    promise = wire.transfer.send(Request("GET", peer.url))
    wire.until(lambda: peer.requests)
    ours = [_keepalive(int(fd), peer.port) for fd in os.listdir("/proc/self/fd")]
    wire.outcome(promise)
    assert [found for found in ours if found] == [(1, 60, 15, 4)]


# Streams


def test_a_stream_tells_its_head_first_and_then_its_bytes_as_they_come(wire: Wire) -> None:
    peer = wire.peer(always(head("Content-Type: text/event-stream", "Transfer-Encoding: chunked")))
    stream = wire.stream(peer)
    response = wire.outcome(stream.head)
    assert (response.status, response.headers["content-type"]) == (200, "text/event-stream")
    assert peer.requests[0].headers["accept-encoding"] == "identity"
    reading = stream.read()
    for text in (b"a", b"bb", b"c" * 100_000):
        wire.settle()
        assert not reading.done
        peer.latest.do(chunk(text))
        received = b""
        while len(received) < len(text):
            received += wire.outcome(reading)
            reading = stream.read()
        assert received == text


def test_nothing_but_its_pings_wakes_the_loop_up_while_a_stream_is_open(wire: Wire) -> None:
    pings = [step for _ in range(10) for step in (Wait(31.0), chunk(b": ping\n\n"))]
    stream = wire.stream(wire.peer(always(head("Transfer-Encoding: chunked"), *pings)))
    wire.outcome(stream.head)
    began, instants = wire.clock.now(), set[float]()
    wire.loop.on_idle(lambda: instants.add(wire.clock.now() - began))
    for _ in range(10):
        wire.outcome(stream.read())
    assert instants == {number * 31.0 for number in range(11)}


def test_libcurl_is_called_once_a_minute_where_no_socket_stirs(wire: Wire) -> None:
    wire.outcome(wire.stream(wire.peer(always(head("Transfer-Encoding: chunked")))).head)
    began, instants = wire.clock.now(), set[float]()
    wire.loop.on_idle(lambda: instants.add(wire.clock.now() - began))
    wire.settle(150.0)
    assert instants == {0.0, 60.0, 120.0}


def test_a_stream_may_be_silent_for_longer_than_an_exchange(wire: Wire) -> None:
    """How long is too long is decided by what the server says of its pings."""
    peer = wire.peer(always(head("Transfer-Encoding: chunked"), Wait(1800), chunk(b"still here")))
    assert wire.outcome(wire.stream(peer).read()) == b"still here"


def test_a_stream_without_a_head_is_given_up_as_every_exchange(wire: Wire) -> None:
    error = wire.outcome(wire.stream(wire.peer(always())).head)
    assert isinstance(error, TransientError)
    assert 1030 <= wire.clock.now() < 1031


def test_bytes_wait_for_their_reader_and_a_clean_end_is_empty(wire: Wire) -> None:
    peer = wire.peer(
        always(head("Transfer-Encoding: chunked"), chunk(b"a"), chunk(b"b"), chunk(b""))
    )
    stream = wire.stream(peer)
    wire.outcome(stream.head)
    wire.settle()
    assert [wire.outcome(stream.read()) for _ in range(3)] == [b"ab", b"", b""]


def test_bytes_that_came_before_an_error_are_read_before_it(wire: Wire) -> None:
    peer = wire.peer(always(head("Transfer-Encoding: chunked"), chunk(b"a"), Wait(1), End.RESET))
    stream = wire.stream(peer)
    wire.settle(5)
    assert wire.outcome(stream.head).status == 200
    assert wire.outcome(stream.read()) == b"a"
    for _ in range(2):
        assert isinstance(wire.outcome(stream.read()), TransientError)


def test_a_head_that_came_together_with_an_error_is_told_before_it(wire: Wire) -> None:
    sent = head("Transfer-Encoding: chunked") + chunk(b"a") + b"this is no chunk\r\n"
    stream = wire.stream(wire.peer(always(sent)))
    assert wire.outcome(stream.head).status == 200
    assert wire.outcome(stream.read()) == b"a"
    assert isinstance(wire.outcome(stream.read()), TransientError)


def test_204_means_a_head_and_an_end(wire: Wire) -> None:
    stream = wire.stream(wire.peer(always(head(status="204 No Content"))))
    assert wire.outcome(stream.head).status == 204
    assert wire.outcome(stream.read()) == b""


def test_a_stream_that_is_packed_unasked_is_unpacked(wire: Wire) -> None:
    packed = gzip.compress(b"data: x\n\n")
    sent = head("Content-Encoding: gzip", "Transfer-Encoding: chunked") + chunk(packed)
    assert wire.outcome(wire.stream(wire.peer(always(sent))).read()) == b"data: x\n\n"


def test_closing_ends_the_connection_and_the_reading(wire: Wire) -> None:
    peer = wire.peer(always(head("Transfer-Encoding: chunked"), chunk(b"a")))
    stream = wire.stream(peer)
    assert wire.outcome(stream.read()) == b"a"
    reading = stream.read()
    stream.close()
    stream.close()
    assert wire.outcome(reading) == b""
    wire.settle()
    assert peer.latest.is_closed_by_client


@pytest.mark.parametrize("turns", range(6))
def test_a_stream_can_be_closed_at_any_moment(wire: Wire, turns: int) -> None:
    """Before libcurl has begun it, while it connects, with half a head, with a head untold."""
    peer = wire.peer(always(head("Transfer-Encoding: chunked"), chunk(b"a"), Wait(5), chunk(b"b")))
    stream = wire.stream(peer)
    for _ in range(turns):
        wire.loop.turn()
    stream.close()
    wire.settle(10)
    for connection in peer.connections:  # unused, it may be kept for another request
        assert connection.is_closed_by_client or connection.received_bytes == 0
    assert wire.get(wire.peer(always(answer(b"alive")))).body == b"alive"


def test_a_stream_that_came_to_no_connection_can_be_closed(wire: Wire) -> None:
    """As it comes when the name does not resolve."""
    stream = wire.transfer.stream(Request("GET", "no-such-protocol://localhost"))
    assert isinstance(wire.outcome(stream.head), ProtocolError)
    stream.close()


def test_a_stream_has_a_connection_of_its_own(wire: Wire) -> None:
    peer = wire.peer(
        lambda asked: [answer(b"x")] if asked.target == "/" else [head(status="204 None")]
    )
    wire.get(peer)
    stream = wire.stream(peer)
    wire.outcome(stream.head)
    assert len(peer.connections) == 2


# What is left behind


def test_nothing_is_left_of_an_exchange_that_is_over(wire: Wire) -> None:
    """Not even its timeout: that held the body for 30 s, up to 64 MiB of it."""
    peer = wire.peer(always(answer(b"x" * MIB)))
    for _ in range(3):
        wire.get(peer)
    stream = wire.stream(peer)
    wire.outcome(stream.head)
    stream.close()
    del stream
    wire.settle()
    gc.collect()
    assert [thing for thing in gc.get_objects() if isinstance(thing, Exchange)] == []


def test_close_gives_every_connection_back() -> None:
    before = os.listdir("/proc/self/fd")
    made = Wire()
    peer = made.peer(always(answer()))
    silent = made.peer(always())
    made.get(peer)  # its connection is kept
    made.transfer.send(Request("GET", silent.url))
    stream = made.stream(silent)
    made.settle()
    made.close()
    assert not stream.head.done or isinstance(made.outcome(stream.head), MailroomError)
    assert os.listdir("/proc/self/fd") == before


def test_an_exchange_that_nobody_waits_for_any_more_is_given_up(wire: Wire) -> None:
    peer = wire.peer(always())
    one, other = (Request("GET", f"{peer.url}/{name}") for name in ("one", "other"))

    async def ask(request: Request) -> Response:
        return await wire.transfer.send(request)

    tasks = [wire.loop.spawn(ask(request), "asking") for request in (one, other)]
    wire.until(lambda: len(peer.requests) == 2)
    tasks[0].cancel()
    wire.settle()
    closed = {
        asked.target: connection.is_closed_by_client
        for asked, connection in zip(peer.requests, peer.connections, strict=True)
    }
    assert closed == {"/one": True, "/other": False}


@pytest.mark.parametrize("turns", range(5))
def test_an_exchange_can_be_given_up_at_any_moment(wire: Wire, turns: int) -> None:
    """Before libcurl has begun it, while it connects, with half an answer."""
    peer = wire.peer(always(head("Content-Length: 8") + b"half"))

    async def ask() -> Response:
        return await wire.transfer.send(Request("GET", peer.url))

    task = wire.loop.spawn(ask(), "asking")
    for _ in range(turns):
        wire.loop.turn()
    task.cancel()
    wire.settle(10)
    for connection in peer.connections:
        assert connection.is_closed_by_client or connection.received_bytes == 0
    gc.collect()
    assert [thing for thing in gc.get_objects() if isinstance(thing, Exchange)] == []


def test_whoever_waits_for_a_transfer_that_is_closed_hears_of_it(wire: Wire) -> None:
    another = Transfer(wire.loop, "Mailroom/test")
    peer = wire.peer(always(head("Transfer-Encoding: chunked")))
    answering = another.send(Request("GET", peer.url + "/?query=hidden"))
    stream = another.stream(Request("GET", peer.url))
    wire.outcome(stream.head)
    reading = stream.read()
    another.close()
    assert str(wire.outcome(answering)) == f"GET {peer.url}/: given up, because HTTP was closed"
    assert isinstance(wire.outcome(reading), TransientError)


def test_whoever_sends_by_a_transfer_that_is_closed_hears_of_it(wire: Wire) -> None:
    another = Transfer(wire.loop, "Mailroom/test")
    another.close()
    another.close()  # as often as one likes
    peer = wire.peer(always(answer()))

    sent = another.send(Request("GET", peer.url))
    stream = another.stream(Request("GET", peer.url))
    for promise in (sent, stream.head, stream.read()):
        assert str(wire.outcome(promise)).endswith("given up, because HTTP was closed")
    sent.abandon()
    stream.close()
    assert not peer.requests


def test_a_closed_transfer_leaves_nothing_to_the_garbage_collector() -> None:
    """Of pycurl before 7.46 the collector would not find it: each reload would leave a handle."""
    gc.collect()
    gc.disable()
    try:
        made = Wire()
        made.get(made.peer(always(answer())))
        made.close()
        assert not [found for found in gc.get_objects() if type(found) is pycurl.CurlMulti]
    finally:
        gc.enable()


def test_what_libcurl_had_not_begun_with_is_not_sent_after_close(wire: Wire) -> None:
    another = Transfer(wire.loop, "Mailroom/test")
    peer = wire.peer(always(answer()))
    wire.outcome(another.send(Request("GET", peer.url)))  # its connection is there to be taken
    another.send(Request("PUT", peer.url, body=b"late"))
    another.close()
    wire.settle()
    assert [asked.method for asked in peer.requests] == ["GET"]


@pytest.mark.parametrize("connections", [0, 2])
def test_a_closed_transfer_lets_the_loop_go_on(wire: Wire, connections: int) -> None:
    """Before libcurl has begun with anything, and while it waits for answers."""
    another = Transfer(wire.loop, "Mailroom/test")
    peer = wire.peer(always(head("Content-Length: 8") + b"half"))
    another.send(Request("GET", peer.url))
    another.stream(Request("GET", peer.url))
    wire.until(lambda: len(peer.connections) == connections)
    another.close()
    wire.settle(100)
    assert all(connection.is_closed_by_client for connection in peer.connections)
    assert wire.get(wire.peer(always(answer(b"alive")))).body == b"alive"


# Names


def _may_have_namespaces() -> bool:
    probe = ["unshare", "--net", "--mount", "true"]
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    return subprocess.run(probe, check=False).returncode == 0


@pytest.mark.skipif(not _may_have_namespaces(), reason="needs root and namespaces")
@pytest.mark.sandbox  # it waits for seconds, as others of that layer do, not for the processor
@pytest.mark.parametrize("name_server", ["silent", "late"])
def test_a_name_server_that_does_not_answer_holds_up_nobody_else(name_server: str) -> None:
    command = ["unshare", "--net", "--mount", sys.executable, "-W", "error", "-m"]
    child = subprocess.run(
        [*command, "tests.silent_names", name_server], capture_output=True, text=True, check=False
    )
    assert (child.returncode, child.stderr) == (0, "")
    told = json.loads(child.stdout)
    assert told["meanwhile"][0] == told["after"][0] == told["later"][0] == "200"
    reason, seconds = told["given_up"]
    assert reason.endswith("/lost: the name was not resolved within 10 s")
    assert seconds >= 10
    assert told["gap"] < 1.5  # to wait for the resolver takes two attempts of a second
    assert told["asked"] == ["/", "/", "/"]  # nothing was sent for those who had gone


# TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority's certificate and one that it issued to 127.0.0.1."""
    folder = tmp_path_factory.mktemp("authority")
    issue(folder)
    return folder


def ask_over_tls(
    folder: Path, certificate: str, ca_file: str | None, *, system_authorities: bool = True
) -> Any:
    """What comes of one request to a server with that certificate."""
    context = presenting(folder, certificate)
    loop = Loop(clock := BoottimeClock())
    transfer = Transfer(loop, "Mailroom/test", Tls(ca_file, system_authorities))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=_serve_tls, args=(listener, context))
        server.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/path"
        promise = transfer.send(Request("GET", url))
        while not promise.done:
            loop.turn()
        transfer.close()
        server.join()
    loop.close()
    clock.close()
    try:
        return promise.result()
    except MailroomError as error:
        return error


def _serve_tls(listener: socket.socket, context: ssl.SSLContext) -> None:
    accepted = listener.accept()[0]
    with accepted, contextlib.suppress(OSError):  # the client may not like what it sees
        connection = context.wrap_socket(accepted, server_side=True)
        with connection:
            connection.recv(4096)
            connection.sendall(answer(b"confidential"))
            connection.recv(4096)


def test_an_authority_of_the_users_own_is_trusted(authority: Path) -> None:
    assert ask_over_tls(authority, "here", str(authority / "ca.pem")).body == b"confidential"


def test_the_users_authority_may_be_the_only_one(authority: Path) -> None:
    found = ask_over_tls(authority, "here", str(authority / "ca.pem"), system_authorities=False)
    assert found.body == b"confidential"
    error = ask_over_tls(authority, "here", str(authority / "else.pem"), system_authorities=False)
    assert isinstance(error, Untrusted)


def test_an_unknown_authority_is_refused_with_advice(authority: Path) -> None:
    error = ask_over_tls(authority, "here", None)
    assert isinstance(error, Untrusted)
    assert "/path: its certificate is not trusted (if it is signed by an authority" in str(error)
    assert "tls.ca_file" in str(error)


def test_a_certificate_of_another_host_is_refused_as_such(authority: Path) -> None:
    error = ask_over_tls(authority, "else", str(authority / "ca.pem"))
    assert type(error) is TransientError
    assert "/path: its certificate is that of another host" in str(error)


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_a_ca_file_that_cannot_be_used_is_told_and_nothing_trusted(
    authority: Path, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    error = ask_over_tls(authority, "here", str(path))
    assert isinstance(error, TransientError)
    assert "tls.ca_file" in str(error)


def test_the_users_authority_is_trusted_besides_the_systems(authority: Path) -> None:
    """In one file: with a folder of certificates each connection costs 3.9 MiB on Debian."""
    system, own = authority / "else.pem", authority / "ca.pem"
    together = Authorities(Tls(str(own)), system)
    context = ssl.create_default_context(cafile=together.path)
    names = [dict(entry[0] for entry in ca["subject"])["commonName"] for ca in _cas(context)]
    assert sorted(names) == ["Test Authority", "else"]
    together.close()
    together.close()
    assert Authorities(Tls(), system).path == str(system)
    assert Authorities(Tls(str(own)), authority / "none").path == str(own)
    assert Authorities(Tls(str(own), system_authorities=False), system).path == str(own)
    assert Authorities(Tls(), authority / "none").path == ""


def _cas(context: ssl.SSLContext) -> list[Any]:
    return list(context.get_ca_certs())


# In real time


def test_it_all_works_on_the_real_clock() -> None:
    clock = BoottimeClock()
    loop = Loop(clock)
    transfer = Transfer(loop, "Mailroom/test")
    with Peer(loop, always(Wait(0.01), answer(b"real"))) as peer:
        promises = [transfer.send(Request("GET", peer.url)) for _ in range(3)]
        while not all(promise.done for promise in promises):
            loop.turn()
    assert [promise.result().body for promise in promises] == [b"real"] * 3
    assert loop.turns < 100
    transfer.close()
    loop.close()
    clock.close()


def _keepalive(fd: int, port: int) -> tuple[int, ...] | None:
    """The settings of ``fd`` if it is connected to that port."""
    options = (
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
    )
    try:
        with socket.socket(fileno=os.dup(fd)) as copy:
            if copy.family == socket.AF_INET and copy.getpeername()[1] == port:
                return tuple(copy.getsockopt(*option) for option in options)
    except OSError:
        pass  # another kind of file, or a socket that listens
    return None
