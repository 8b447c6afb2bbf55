"""The reader of requests: RFC 9112 as a table, in pieces, and against garbage."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailroom.wire.http1 import (
    BODY_LIMIT_BYTES,
    HEAD_LIMIT_BYTES,
    Answer,
    BadRequest,
    ReceivedRequest,
    RequestReader,
    json_answer,
    render,
    stream_head,
)

GOOD = {
    "HTTP/1.1": (b"GET /a HTTP/1.1\r\nHost: m\r\n\r\n", ReceivedRequest("GET", "/a", True)),
    "query": (
        b"GET /a?b=/c?d&e=%C3%A9+%2B%26 HTTP/1.1\r\nHost: m\r\n\r\n",
        ReceivedRequest("GET", "/a", True, {"b": "/c?d", "e": "\u00e9 +&"}),
    ),
    "empty query": (b"GET /a? HTTP/1.1\r\nHost: m\r\n\r\n", ReceivedRequest("GET", "/a", True)),
    "empty Host": (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", ReceivedRequest("GET", "/", True)),
    "absolute-form": (
        b"GET http://m/a?b HTTP/1.1\r\nHost: m\r\n\r\n",
        ReceivedRequest("GET", "/a", True, {"b": ""}),
    ),
    "no path": (b"GET http://m HTTP/1.1\r\nHost: m\r\n\r\n", ReceivedRequest("GET", "/", True)),
    "close": (
        b"GET /a HTTP/1.1\r\nHOST: m\r\nConnection: Foo, Close\r\n\r\n",
        ReceivedRequest("GET", "/a", False),
    ),
    "HTTP/1.0": (b"HEAD /a HTTP/1.0\r\n\r\n", ReceivedRequest("HEAD", "/a", False)),
    "HTTP/1.0 kept": (
        b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        ReceivedRequest("GET", "/a", True),
    ),
    "single LF": (b"GET /a HTTP/1.1\nHost: m\n\n", ReceivedRequest("GET", "/a", True)),
    "empty lines before": (
        b"\r\n\n\r\nGET /a HTTP/1.0\r\n\r\n",
        ReceivedRequest("GET", "/a", False),
    ),
    "content": (
        b"POST /poll HTTP/1.1\r\nHost: m\r\nContent-Length: 4\r\n\r\n\r\n\r\n",
        ReceivedRequest("POST", "/poll", True, body=b"\r\n\r\n"),
    ),
    "latin-1 value": (
        b"GET /a HTTP/1.1\r\nHost: m\r\nUser-Agent: \xe9\t\r\n\r\n",
        ReceivedRequest("GET", "/a", True),
    ),
    "last event": (
        b"GET /events HTTP/1.1\r\nHost: m\r\nLast-Event-ID: a-7\r\n\r\n",
        ReceivedRequest("GET", "/events", True, last_event_id="a-7"),
    ),
    "curl": (
        b"GET /healthz HTTP/1.1\r\nHost: mailroom\r\nUser-Agent: curl/8.14\r\nAccept: */*\r\n\r\n",
        ReceivedRequest("GET", "/healthz", True),
    ),
}

BAD = {
    "not HTTP": (b"EHLO example.org\r\n\r\n", 400),
    "HTTP/0.9": (b"GET /\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\n\n", 400),
    "two spaces": (b"GET  / HTTP/1.1\r\nHost: m\r\n\r\n", 400),
    "method not a token": (b"G(T / HTTP/1.1\r\nHost: m\r\n\r\n", 400),
    "target of several words": (b"GET /a b HTTP/1.1\r\nHost: m\r\n\r\n", 400),
    "authority-form": (b"CONNECT mail:443 HTTP/1.1\r\nHost: m\r\n\r\n", 400),
    "asterisk-form": (b"OPTIONS * HTTP/1.1\r\nHost: m\r\n\r\n", 400),
    "not a URL": (b"GET http://[ HTTP/1.1\r\nHost: m\r\n\r\n", 400),
    "key twice": (b"GET /a?b=1&c=2&b=1 HTTP/1.1\r\nHost: m\r\n\r\n", 400),
    "query not UTF-8": (b"GET /a?b=%ff HTTP/1.1\r\nHost: m\r\n\r\n", 400),
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two Hosts": (b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "folded line": (b"GET / HTTP/1.1\r\nHost: m\r\n more\r\n\r\n", 400),
    "space before colon": (b"GET / HTTP/1.1\r\nHost : m\r\n\r\n", 400),
    "bare CR": (b"GET / HTTP/1.1\r\nHost: m\rX: y\r\n\r\n", 400),
    "NUL": (b"GET / HTTP/1.1\r\nHost: m\0\r\n\r\n", 400),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\n", 505),
    "chunked": (b"POST / HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\n\r\n", 501),
    "expectation": (b"POST / HTTP/1.1\r\nHost: m\r\nExpect: 100-continue\r\n\r\n", 417),
    "negative length": (b"POST / HTTP/1.1\r\nHost: m\r\nContent-Length: -1\r\n\r\n", 400),
    "two lengths": (
        b"POST / HTTP/1.1\r\nHost: m\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        400,
    ),
    "superscript length": (
        "POST / HTTP/1.1\r\nHost: m\r\nContent-Length: ²\r\n\r\n".encode("latin-1"),
        400,
    ),
    "long content": (b"POST / HTTP/1.1\r\nHost: m\r\nContent-Length: 8193\r\n\r\n", 413),
    "huge content": (b"POST / HTTP/1.1\r\nHost: m\r\nContent-Length: 99999999999\r\n\r\n", 413),
    "long head": (b"GET / HTTP/1.1\r\nHost: m\r\nX: " + b"x" * 9000 + b"\r\n\r\n", 431),
    "endless line": (b"A" * (HEAD_LIMIT_BYTES + 1), 431),
}


def read_whole(data: bytes) -> list[ReceivedRequest | int]:
    return read_pieces([data])


def read_pieces(pieces: list[bytes]) -> list[ReceivedRequest | int]:
    """All that the reader makes of the pieces; a status code at the end stands for a refusal."""
    reader, found = RequestReader(), list[ReceivedRequest | int]()
    for piece in pieces:
        reader.feed(piece)
        try:
            while request := reader.next_request():
                found.append(request)
        except BadRequest as error:
            return [*found, int(error.status)]
    return found


@pytest.mark.parametrize("name", GOOD)
def test_requests_are_understood_whole_and_byte_by_byte(name: str) -> None:
    data, request = GOOD[name]
    assert read_whole(data) == [request]
    assert read_pieces([bytes([byte]) for byte in data]) == [request]
    assert read_whole(data[:-1]) == []


@pytest.mark.parametrize("name", GOOD)
def test_requests_that_come_together_are_handed_out_one_by_one(name: str) -> None:
    data, request = GOOD[name]
    assert read_whole(data * 3 + b"GET /z HT") == [request] * 3


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_taken_is_refused_by_its_status(name: str) -> None:
    data, refusal = BAD[name]
    assert read_whole(data) == [refusal]
    assert read_whole(GOOD["HTTP/1.1"][0] + data) == [GOOD["HTTP/1.1"][1], refusal]


def test_head_and_body_of_exactly_the_limit_are_taken() -> None:
    head = b"POST / HTTP/1.1\r\nHost: m\r\nContent-Length: %d\r\nX: " % BODY_LIMIT_BYTES
    head += b"x" * (HEAD_LIMIT_BYTES - len(head))
    body = b"y" * BODY_LIMIT_BYTES
    assert read_whole(head + b"\r\n\r\n" + body) == [ReceivedRequest("POST", "/", True, body=body)]
    assert read_whole(head + b"x\r\n\r\n" + body) == [431]
    # also if its end has not arrived yet
    assert read_pieces([head, b"\r\n\r\n", body]) == read_whole(head + b"\r\n\r\n" + body)


FRAGMENTS = st.sampled_from(
    [data for data, _ in (*GOOD.values(), *BAD.values())]
    + [b"\r\n", b"\n", b" ", b"GET / HTTP/1.1", b"Host: m", b"\0", b"\xff", b": "]
)


@given(st.lists(FRAGMENTS | st.binary(max_size=50)), st.data())
def test_garbage_is_refused_and_cutting_it_elsewhere_changes_nothing(
    parts: list[bytes], draw: st.DataObject
) -> None:
    data = b"".join(parts)
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=5)))
    pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    whole, cut = read_whole(data), read_pieces(pieces)
    # Where a long request is cut decides whether its head or its content is seen to be too long.
    too_long = (413, 431)
    assert [found for found in whole if found not in too_long] == [
        found for found in cut if found not in too_long
    ]


def test_an_answer_on_the_wire() -> None:
    answer = Answer(405, b"no\n", "text/plain", (("Allow", "GET, HEAD"),))
    head = (
        b"HTTP/1.1 405 Method Not Allowed\r\n"
        b"Date: Sat, 21 Nov 2026 12:00:00 GMT\r\n"
        b"Content-Type: text/plain\r\n"
        b"Content-Length: 3\r\n"
        b"Cache-Control: no-store\r\n"
        b"Connection: close\r\n"
        b"Allow: GET, HEAD\r\n"
        b"\r\n"
    )
    at = 1_795_262_400.0
    assert render(answer, date=at, keep_alive=False, with_body=True) == head + b"no\n"
    assert render(answer, date=at, keep_alive=False, with_body=False) == head
    kept = render(answer, date=at, keep_alive=True, with_body=False)
    assert b"\r\nConnection: keep-alive\r\n" in kept


def test_a_stream_ends_with_its_connection() -> None:
    head = stream_head(1_795_262_400.0)
    assert head.startswith(b"HTTP/1.1 200 OK\r\nDate: Sat, 21 Nov 2026 12:00:00 GMT\r\n")
    assert b"\r\nContent-Type: text/event-stream\r\n" in head
    assert head.endswith(b"\r\nConnection: close\r\n\r\n")
    assert b"Length" not in head


def test_a_document_is_sent_as_ascii_even_with_half_a_character() -> None:
    assert json_answer(200, {"sender": "\ud800é"}).body == b'{"sender": "\\ud800\\u00e9"}\n'
