"""The ways in which a server, or the network before it, can fail a request."""

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from email.utils import formatdate
from typing import Any

from tests.chaos.wire import Meeting, Spoil, rendered
from tests.peer import Asked, End, Step, Wait
from tests.sandbox import Response

_API = "/jmap/"
_DRIP_BYTES, _DRIP_SECONDS = 256, 5.0
_LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a0 "ha">'
    + "".join(f'<!ENTITY a{n + 1} "{f"&a{n};" * 10}">' for n in range(9))
    + ']><multistatus xmlns="DAV:"><response><href>&a9;</href></response></multistatus>'
).encode()
_BAD_CARD = (
    b'<error xmlns="DAV:"><valid-address-data xmlns="urn:ietf:params:xml:ns:carddav"/></error>'
)
_HTML = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
_MAILS, _CARDS = "Email/set", "ContactCard/set"
# What a set can be asked for, and where its answer says what was refused (RFC 8620 §5.3).
_REFUSALS = {"create": "notCreated", "update": "notUpdated", "destroy": "notDestroyed"}


@dataclass(frozen=True, slots=True)
class Fault:
    """One way. ``strikes`` says which requests it can happen to."""

    name: str
    steps: Spoil
    strikes: Callable[[Asked], bool] = lambda _: True


def is_api(asked: Asked) -> bool:
    return asked.method == "POST" and asked.target.startswith(_API)


def writes(method: str) -> Callable[[Asked], bool]:
    """Whether a request has such a call."""
    return lambda asked: is_api(asked) and method.encode() in asked.body


def is_xml(asked: Asked) -> bool:
    return asked.method in ("PROPFIND", "REPORT") and ".well-known" not in asked.target


def has_body(asked: Asked) -> bool:
    """Whether the answer has one."""
    return is_api(asked) or is_xml(asked)


def is_whole(asked: Asked) -> bool:
    """Whether the answer has an end."""
    return "eventsource" not in asked.target


def is_put(asked: Asked) -> bool:
    return asked.method == "PUT"


# The network


def _hang_up(_: Meeting) -> Iterable[Step]:
    return [End.RESET]


def _lose_answer(meeting: Meeting) -> Iterable[Step]:
    meeting.handled()
    return [End.RESET]


def _stall(_: Meeting) -> Iterable[Step]:
    return []


def _cut_head(meeting: Meeting) -> Iterable[Step]:
    return [rendered(meeting.handled())[:25], End.RESET]


def _cut_body(how: End) -> Spoil:
    def steps(meeting: Meeting) -> Iterable[Step]:
        response = meeting.handled()
        whole = rendered(response)
        return [whole[: len(whole) - len(response.body) // 2 - 1], how]

    return steps


def _drip(meeting: Meeting) -> Iterator[Step]:
    whole = rendered(meeting.handled())
    yield whole[:_DRIP_BYTES]
    for start in range(_DRIP_BYTES, len(whole), _DRIP_BYTES):
        yield Wait(_DRIP_SECONDS)
        yield whole[start : start + _DRIP_BYTES]


def _lie_about_length(difference: int) -> Spoil:
    def steps(meeting: Meeting) -> Iterable[Step]:
        response = meeting.handled()
        length = max(0, len(response.body) + difference)
        return [rendered(response, length), End.CLOSE]

    return steps


def _say(data: bytes) -> Spoil:
    return lambda _: [data, End.CLOSE]


# The server


def _status(status: int, body: bytes = b"", **headers: str) -> Spoil:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: [rendered(Response(status, named, body))]


def _retry_at_date(meeting: Meeting) -> Iterable[Step]:
    when = formatdate(meeting.sandbox.clock() + 20.0, usegmt=True)
    return [rendered(Response(429, {"Retry-After": when}))]


def _body(change: Callable[[bytes], bytes]) -> Spoil:
    """The server's answer with another body."""

    def steps(meeting: Meeting) -> Iterable[Step]:
        response = meeting.handled()
        return [rendered(replace(response, body=change(response.body)))]

    return steps


def _json(change: Callable[[Any], Any]) -> Spoil:
    return _body(lambda body: json.dumps(change(json.loads(body))).encode())


def _answers(change: Callable[[list[Any]], list[Any]]) -> Spoil:
    return _json(lambda answer: {**answer, "methodResponses": change(answer["methodResponses"])})


_NONE, _ALL_BUT_ONE, _EVERY_SECOND = slice(0), slice(1, None), slice(1, None, 2)


# What is asked for, as its kind and its key; and what an answer is made into, of it and of what
# has not been done.
Orders = Sequence[tuple[str, str]]
Tells = Callable[[str, Mapping[str, Any], Orders], list[Any]]


def _unwritten(method: str, tells: Tells, written: slice = _NONE) -> Spoil:
    """Of what sets ask for nothing takes effect, but for what is ``written``."""

    def steps(meeting: Meeting) -> Iterable[Step]:
        asked = json.loads(meeting.asked.body)
        undone = {
            tag: _leave_out(arguments, written)
            for name, arguments, tag in asked["methodCalls"]
            if name == method
        }
        response = meeting.handled(json.dumps(asked).encode())
        answer = json.loads(response.body)
        answer["methodResponses"] = [
            [*tells(name, arguments, undone[tag]), tag] if tag in undone else [name, arguments, tag]
            for name, arguments, tag in answer["methodResponses"]
        ]
        return [rendered(replace(response, body=json.dumps(answer).encode()))]

    return steps


def _leave_out(arguments: dict[str, Any], written: slice) -> Orders:
    """Take out of a set's arguments what is not to be written."""
    orders = [(kind, key) for kind in _REFUSALS for key in arguments.get(kind) or ()]
    undone = [order for order in orders if order not in orders[written]]
    for kind in {kind for kind, _ in undone}:
        asked, out = arguments[kind], [key for its, key in undone if its == kind]
        kept = [key for key in asked if key not in out]
        arguments[kind] = kept if isinstance(asked, list) else {key: asked[key] for key in kept}
    return undone


def _refused(name: str, arguments: Mapping[str, Any], undone: Orders) -> list[Any]:
    if name == "error":
        return [name, arguments]
    answer = dict(arguments)
    for kind, where in _REFUSALS.items():
        refused = {key: {"type": "forbidden", "description": "not now"} for its, key in undone
                   if its == kind}  # fmt: skip
        answer[where] = {**(answer.get(where) or {}), **refused} or None
    return [name, answer]


def _error(kind: str) -> Tells:
    return lambda *_: ["error", {"type": kind}]


def _with_other_prefixes(body: bytes) -> bytes:
    return ET.tostring(ET.fromstring(body))


NETWORK = (
    Fault("hangs up", _hang_up),
    Fault("loses the answer", _lose_answer, is_whole),
    Fault("stalls", _stall),
    Fault("is reset in the head", _cut_head, is_whole),
    Fault("is reset in the body", _cut_body(End.RESET), is_whole),
    Fault("truncates the body", _cut_body(End.CLOSE), is_whole),
    Fault("drips", _drip, is_whole),
    Fault("announces more than comes", _lie_about_length(100), is_whole),
    Fault("announces less than comes", _lie_about_length(-10), has_body),
    Fault("is no HTTP", _say(b"\x16\x03\x01\x00\xff garbage\r\n\r\n")),
)
STATUSES = (
    Fault("301 to elsewhere", _status(301, Location="https://elsewhere.example.org/")),
    Fault("301 to itself", lambda meeting: _status(301, Location=meeting.asked.target)(meeting)),
    *(Fault(f"{status}", _status(status)) for status in (400, 401, 403, 404, 409, 412, 413, 500)),
    Fault("412, a bad card", _status(412, _BAD_CARD, Content_Type="application/xml"), is_put),
    Fault("429 with seconds", _status(429, Retry_After="20")),
    Fault("429 with a date", _retry_at_date),
    Fault("502 in HTML", _status(502, _HTML, Content_Type="text/html")),
    Fault("503", _status(503)),
    Fault("507", _status(507)),
)
JSON = (
    Fault("is no JSON", _body(lambda body: body[:-1] + b"]"), is_api),
    Fault("is empty", _body(lambda _: b""), is_api),
    Fault("is nested deeply", _body(lambda _: b"[" * 100_000), is_api),
    Fault("is a list", _json(lambda _: []), is_api),
    Fault("has no methodResponses", _json(lambda _: {"sessionState": "0"}), is_api),
    Fault("has responses of another shape", _answers(lambda _: [[1], None]), is_api),
    Fault("has no arguments", _answers(lambda all_: [[a, None, c] for a, _, c in all_]), is_api),
    Fault("has no responses", _answers(lambda _: []), is_api),
    Fault("is out of order", _answers(lambda all_: all_[::-1]), is_api),
    Fault(
        "knows no such account",
        _answers(lambda all_: [["error", {"type": "accountNotFound"}, tag] for _, _, tag in all_]),
        is_api,
    ),
    Fault("notUpdated", _unwritten(_MAILS, _refused), writes(_MAILS)),
    Fault("notUpdated of one mail", _unwritten(_MAILS, _refused, _ALL_BUT_ONE), writes(_MAILS)),
    Fault(
        "serverPartialFail",
        _unwritten(_MAILS, _error("serverPartialFail"), _EVERY_SECOND),
        writes(_MAILS),
    ),
    Fault("stateMismatch", _unwritten(_MAILS, _error("stateMismatch")), writes(_MAILS)),
)
CARDS = (
    Fault("refuses the cards", _unwritten(_CARDS, _refused), writes(_CARDS)),
    Fault("refuses a card", _unwritten(_CARDS, _refused, _ALL_BUT_ONE), writes(_CARDS)),
    Fault(
        "serverPartialFail of cards",
        _unwritten(_CARDS, _error("serverPartialFail"), _EVERY_SECOND),
        writes(_CARDS),
    ),
    Fault("stateMismatch of cards", _unwritten(_CARDS, _error("stateMismatch")), writes(_CARDS)),
)
XML = (
    Fault("cuts the XML", _body(lambda body: body[: len(body) // 2]), is_xml),
    Fault("laughs a billion times", _body(lambda _: _LAUGHS), is_xml),
    Fault("is another document", _body(lambda _: b"<html/>"), is_xml),
    Fault("has other prefixes", _body(_with_other_prefixes), is_xml),
)
ALL = (*NETWORK, *STATUSES, *JSON, *CARDS, *XML)
