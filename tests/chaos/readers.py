"""What is fuzzed: each reads bytes that a stranger may send, and raises if a promise breaks."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress

from mailroom.errors import MailroomError
from mailroom.rules.screening.inclusion import inclusion
from mailroom.wire import dav, jmap, jmap_push, sieve_script, sse, vcard
from mailroom.wire.jmap_session import read_session
from mailroom.wire.problem import read_problem_details
from tests.cards import SAFE, UNSAFE

_URL = "https://mail.example/jmap/"


def _read_stream(data: bytes) -> None:
    """Cut anywhere, and everywhere, a stream is read as in one piece."""
    whole = _events(data)
    for at in range(1, len(data)):
        assert _events(data[:at], data[at:]) == whole, at
    assert _events(*(data[at : at + 1] for at in range(len(data)))) == whole
    for event in whole[0]:
        jmap_push.ping_interval(event)
        with suppress(MailroomError):
            jmap_push.changed_states(event, "alice")


def _events(*chunks: bytes) -> tuple[list[sse.Event], str, float | None]:
    parser = sse.Parser()
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    return events, parser.last_event_id, parser.retry_seconds


def _read_card(data: bytes) -> None:
    """A card is refused, or it is the bytes that it was read from."""
    vcard.CardView.glance(data)
    with suppress(vcard.UnsafeCard):
        assert bytes(vcard.Card.parse(data)) == data


def _read_script(data: bytes) -> None:
    """A script is read, or refused in one printable line; and never runs ours by accident."""
    text = data.decode("utf-8", "replace")
    assert inclusion(text, "", {"other": text}) is not None
    with suppress(sieve_script.ScriptError):
        sieve_script.read_script(text)


def _read_refusal(data: bytes) -> None:
    for media_type in ("", "text/plain", "application/json", "application/xml"):
        assert str(read_problem_details(media_type, data)).isprintable()


def _read_multistatus(data: bytes) -> None:
    dav.read_precondition(data)
    with suppress(MailroomError):
        for resource in dav.Multistatus(data, _URL):
            assert resource.card is None or vcard.CardView.glance(resource.card) is not None
            resource.inner_href(dav.PRINCIPAL)
            resource.has_type(dav.ADDRESS_BOOK)


def _read_answers(data: bytes) -> None:
    """What is not as promised is a MailroomError, whoever reads it."""
    with suppress(MailroomError):
        read_session(data, _URL)
    with suppress(MailroomError):
        jmap.read_blob_id(data, _URL)
    answers = jmap.Answers()
    with suppress(MailroomError):
        answers.add(data, [jmap.Call("Email/get", {}, "0")], _URL)
        for read in _READERS:
            with suppress(MailroomError):
                read(answers["0"])


_READERS: tuple[Callable[[jmap.Arguments], object], ...] = (
    jmap.read_state,
    jmap.read_mailboxes,
    jmap.read_identities,
    jmap.read_page,
    jmap.read_mails,
    jmap.read_undestroyed,
    lambda answer: jmap.read_created(answer, "Email/set", ["new"]),
    lambda answer: jmap.read_refusals(answer, ["M1"]),
)

_STREAM = b'\xef\xbb\xbfid: 1\r\nevent: state\rdata: {"changed":{"alice":{"Email":"1"}}}\r\n\r\n'
_MULTISTATUS = (
    b'<multistatus xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav"><response><href>/a'
    b'</href><propstat><prop><getetag>"1"</getetag><C:address-data>BEGIN:VCARD</C:address-data>'
    b"</prop><status>HTTP/1.1 200 OK</status></propstat></response></multistatus>"
)
_MAIL = {"id": "M1", "from": [{"name": "Bob", "email": "bob@example.org"}], "mailboxIds": {"a": 1}}
_ANSWER = {
    "state": "1",
    "ids": ["M1"],
    "list": [_MAIL],
    "notUpdated": {"M1": {"type": "forbidden"}},
}
_SESSION = {
    "capabilities": {jmap.CORE: {"maxObjectsInGet": 500}},
    "primaryAccounts": {jmap.MAIL: "a"},
    "accounts": {"a": {"accountCapabilities": {jmap.MAIL: {}}}},
    "apiUrl": "/jmap/",
}

# The reader, and what a fuzzer may begin with.
TARGETS: Mapping[str, tuple[Callable[[bytes], None], tuple[bytes, ...]]] = {
    "sse": (_read_stream, (_STREAM, b"retry: 10\nid\n\n:\n\nevent: ping\ndata\ndata: 1\n\n")),
    "vcard": (_read_card, (*SAFE.values(), *UNSAFE.values())),
    "dav": (_read_multistatus, (_MULTISTATUS,)),
    "sieve": (
        _read_script,
        (
            b'if not anyof (true, header :is "a" ["b"]) { include :personal "other"; stop; }',
            b"# a\nvacation text:\n..\n.\n; /* b */ keep;",
        ),
    ),
    "refusal": (
        _read_refusal,
        (
            b'<d:error xmlns:d="DAV:" xmlns:s="x"><d:valid/><s:message>no</s:message></d:error>',
            b'{"type":"urn:ietf:params:jmap:error:limit","errors":[{"message":"no"}]}',
        ),
    ),
    "jmap": (
        _read_answers,
        (
            json.dumps({"methodResponses": [["Email/get", _ANSWER, "0"]]}).encode(),
            json.dumps(_SESSION).encode(),
        ),
    ),
}
