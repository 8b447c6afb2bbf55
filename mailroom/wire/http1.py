"""The server's half of HTTP/1.1 (RFC 9112): bytes in, requests out; answers in, bytes out.

Only what a local socket needs: no transfer codings. The head of a request may have 8 KiB, and so
may its body.
"""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit

HEAD_LIMIT_BYTES = 8192
BODY_LIMIT_BYTES = 8192

# RFC 9110 section 5.6.2: a token; section 5.5: a field value has no control characters.
_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE = re.compile(rf"({_TOKEN}) ([!-~]+) HTTP/([0-9])\.([0-9])")
_FIELD_LINE = re.compile(rf"({_TOKEN}):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
# The end of the head. A single LF ends a line too (RFC 9112 section 2.2), for people with netcat.
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_CONTENT_LENGTH = re.compile(r"[0-9]{1,4}")


class BadRequest(Exception):
    """The request cannot be understood or accepted; the connection ends with ``status``."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """A request that was read to its end. ``path`` is as it was sent, ``query`` is decoded: "+" and
    "%20" are spaces, as forms and URLSearchParams write them. ``last_event_id`` is the last event
    that the reader of an event stream received."""

    method: str
    path: str
    keep_alive: bool
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    last_event_id: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back; ``headers`` are further ones, beside those of :func:`render`."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


def json_answer(status: int, document: Mapping[str, object]) -> Answer:
    return Answer(status, json.dumps(document).encode("ascii") + b"\n")


def render(answer: Answer, *, date: float, keep_alive: bool, with_body: bool) -> bytes:
    """The answer on the wire.

    ``date`` is in seconds since the epoch; without body it is the answer to a HEAD request, whose
    Content-Length is that of the GET (RFC 9110 section 9.3.2).
    """
    lines = [
        f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}",
        _date_field(date),
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(answer.body)}",
        "Cache-Control: no-store",
        f"Connection: {'keep-alive' if keep_alive else 'close'}",
        *(f"{name}: {value}" for name, value in answer.headers),
    ]
    head = "\r\n".join(lines).encode("ascii") + b"\r\n\r\n"
    return head + answer.body if with_body else head


def stream_head(date: float) -> bytes:
    """The head of an event stream: its body ends with the connection."""
    lines = [
        "HTTP/1.1 200 OK",
        _date_field(date),
        "Content-Type: text/event-stream",
        "Cache-Control: no-store",
        "Connection: close",
    ]
    return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n"


def _date_field(date: float) -> str:
    return time.strftime("Date: %a, %d %b %Y %H:%M:%S GMT", time.gmtime(date))


class RequestReader:
    """Takes what a client sends, in any pieces, and returns its requests one by one."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def has_more(self) -> bool:
        """Whether bytes were received that are not part of a returned request."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next_request(self) -> ReceivedRequest | None:
        """The next whole request; None if more bytes are needed. Raises :class:`BadRequest`."""
        self._skip_empty_lines()
        end = _END_OF_HEAD.search(self._buffer)
        if end is None or end.start() > HEAD_LIMIT_BYTES:
            if len(self._buffer) > HEAD_LIMIT_BYTES:
                raise BadRequest(
                    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                    f"the head of a request may have {HEAD_LIMIT_BYTES} bytes",
                )
            return None
        request, body_bytes = _parse_head(bytes(self._buffer[: end.start()]))
        size = end.end() + body_bytes
        if len(self._buffer) < size:
            return None
        body = bytes(self._buffer[end.end() : size])
        del self._buffer[:size]
        return replace(request, body=body) if body else request

    def _skip_empty_lines(self) -> None:
        """RFC 9112 section 2.2: ignore empty lines before a request line."""
        start = 0
        while self._buffer.startswith((b"\n", b"\r\n"), start):
            start = self._buffer.index(b"\n", start) + 1
        del self._buffer[:start]


def _parse_head(head: bytes) -> tuple[ReceivedRequest, int]:
    """The request without its body, and the length of the body in bytes."""
    first, *others = [line.removesuffix("\r") for line in head.decode("latin-1").split("\n")]
    start = _REQUEST_LINE.fullmatch(first)
    if start is None:
        raise _malformed("not a request line")
    method, target, major, minor = start.groups()
    if major != "1":
        raise BadRequest(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "only HTTP/1.1 is spoken here")
    fields = _parse_fields(others)
    is_1_0 = minor == "0"
    if len(fields.get("host", ())) != 1 and not (is_1_0 and "host" not in fields):
        raise _malformed("exactly one Host is needed")  # RFC 9112 section 3.2
    options = {
        option.strip().lower()
        for value in fields.get("connection", ())
        for option in value.split(",")
    }
    keep_alive = "keep-alive" in options if is_1_0 else True
    path, query = _path_and_query(target)
    request = ReceivedRequest(
        method,
        path,
        keep_alive and "close" not in options,
        query,
        last_event_id=fields.get("last-event-id", [""])[-1],
    )
    return request, _content_length(fields)


def _parse_fields(lines: list[str]) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    for line in lines:
        field = _FIELD_LINE.fullmatch(line)
        if field is None:
            raise _malformed("not a header field")
        fields.setdefault(field[1].lower(), []).append(field[2].rstrip(" \t"))
    return fields


def _content_length(fields: Mapping[str, list[str]]) -> int:
    if "transfer-encoding" in fields:
        raise BadRequest(HTTPStatus.NOT_IMPLEMENTED, "transfer codings are not supported")
    if "expect" in fields:
        # Clients that expect "100 Continue" repeat the request without (RFC 9110 section 10.1.1).
        raise BadRequest(HTTPStatus.EXPECTATION_FAILED, "expectations are not supported")
    match fields.get("content-length", ["0"]):
        case [value] if _CONTENT_LENGTH.fullmatch(value) and int(value) <= BODY_LIMIT_BYTES:
            return int(value)
        case [value] if value.isascii() and value.isdigit():
            raise _too_large()
        case _:
            raise _malformed("not a Content-Length")


def _path_and_query(target: str) -> tuple[str, dict[str, str]]:
    """Of an origin-form or absolute-form target (RFC 9112 section 3.2)."""
    if target.startswith("/"):
        path, _, query = target.partition("?")
        return path, _parse_query(query)
    try:
        url = urlsplit(target)
    except ValueError as error:
        raise _malformed("not a target") from error
    if url.scheme != "http":
        raise _malformed("not a target")
    return url.path or "/", _parse_query(url.query)


def _parse_query(text: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError as error:
        raise _malformed("the query is not UTF-8") from error
    query = dict(pairs)
    if len(query) < len(pairs):
        raise _malformed("the query names one key more than once")
    return query


def _malformed(message: str) -> BadRequest:
    return BadRequest(HTTPStatus.BAD_REQUEST, message)


def _too_large() -> BadRequest:
    return BadRequest(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"the body of a request may have {BODY_LIMIT_BYTES} bytes",
    )
