"""What servers say when they refuse, and how it is passed on."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailroom.wire.problem import ProblemDetails, quoted, read_problem_details
from tests.hostile import EVERY, texts

LIMIT = b'{"type":"urn:ietf:params:jmap:error:limit","limit":"maxCallsInRequest","status":400}'
UNKNOWN = b'{"type":"urn:ietf:params:jmap:error:unknownCapability","detail":"no such thing"}'
DAV_ERROR = b'<D:error xmlns:D="DAV:"><D:need-privileges/></D:error>'
# As sabre/dav 4 answers (source): exception and message in a namespace of its own.
SABRE = (
    b'<?xml version="1.0"?><d:error xmlns:d="DAV:" xmlns:s="http://sabredav.org/ns">'
    b"<s:sabredav-version>4.4.0</s:sabredav-version><s:exception>Sabre\\DAV\\Exception\\X</s:exception>"
    b"<s:message>Only   vCards\nare taken\xc2\x9b</s:message></d:error>"
)
DESCRIBED = (
    b'<D:error xmlns:D="DAV:"><D:valid-resourcetype/>'
    b"<D:responsedescription>No books in books</D:responsedescription></D:error>"
)


@pytest.mark.parametrize(
    ("content_type", "body", "problem", "words"),
    [
        ("application/problem+json", LIMIT, ProblemDetails("limit", "maxCallsInRequest"), None),
        ("application/json; charset=utf-8", UNKNOWN, None, "unknownCapability, no such thing"),
        ("application/json", b'{"type":"about:blank","title":"Forbidden"}', None, "Forbidden"),
        ("application/json", b'{"type":"https://x/bad-token"}', ProblemDetails(), ""),
        ("application/json", b'{"detail":7}', ProblemDetails(), ""),
        ("application/json", b'{"message":"too old"}', None, "too old"),
        ("application/json", b'{"error":"invalid_token"}', None, "invalid_token"),
        (
            "application/json",
            b'{"error":"invalid_token","error_description":"it has expired"}',
            None,
            "it has expired",
        ),
        ("application/json", b'{"error":{"code":403,"message":"closed"}}', None, "closed"),
        ("application/json", b'{"errors":[{"message":"one"},{"message":"two"}]}', None, "one"),
        ("application/json", b'"nope"', None, "nope"),
        ("application/json", b"nope", None, "nope"),
        ("application/json", b"[1]", ProblemDetails(), ""),
        ("application/json", b"{", ProblemDetails(), ""),
        ("application/json", b"[" * 60_000, ProblemDetails(), ""),
        ("application/xml; charset=utf-8", DAV_ERROR, ProblemDetails("need-privileges"), None),
        ("text/xml", b"<html/>", ProblemDetails(), ""),
        ("application/xml", SABRE, None, "Only vCards are taken\N{REPLACEMENT CHARACTER}"),
        ("text/xml", DESCRIBED, None, "valid-resourcetype, No books in books"),
        ("text/xml", b"<error><message>  </message></error>", ProblemDetails(), ""),
        ("text/xml", b"<error><message>so it is</message></error>", None, "so it is"),
        ("Text/Plain", b"Rate limit\r\nexceeded", None, "Rate limit exceeded"),
        ("text/plain", b"\xff\x1b[2J", None, "\N{REPLACEMENT CHARACTER}" * 2 + "[2J"),
        ("text/plain", b"x" * 70_000, ProblemDetails(), ""),
        ("text/html", b"<h1>Nope</h1>", ProblemDetails(), ""),
        ("", b"Nope", None, "Nope"),
        ("", b' {"detail":"so it is"}', None, "so it is"),
        ("", DESCRIBED, None, "valid-resourcetype, No books in books"),
        ("", b"<!DOCTYPE html><title>403</title><message>x</message>", ProblemDetails(), ""),
        ("", b"", ProblemDetails(), ""),
    ],
)
def test_what_the_body_of_a_refusal_says(
    content_type: str, body: bytes, problem: ProblemDetails | None, words: str | None
) -> None:
    found = read_problem_details(content_type, body)
    assert problem in (None, found)
    assert words in (None, str(found))


def test_long_words_are_cut_short() -> None:
    assert quoted("ab" * 5000) == "ab" * 99 + "a…"


@given(texts)
@example(EVERY)
@example(EVERY * 9)
def test_words_are_printable_and_on_one_line(words: str) -> None:
    assert quoted(words).isprintable()
    assert len(quoted(words)) <= 200


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(["error", "errors", "type", "detail", "message", "limit"]) | st.text(),
            inner,
        )
    ),
)


@given(
    st.sampled_from(["application/json", "application/xml", "text/plain", ""]),
    st.binary() | JSON.map(json.dumps).map(str.encode),
)
@example("application/json", json.dumps(EVERY).encode())
@example("application/json", json.dumps({"detail": EVERY, "limit": EVERY}).encode())
@example("application/json", json.dumps({"error": EVERY}).encode())
@example("application/json", json.dumps({"errors": [{"message": EVERY, "type": EVERY}]}).encode())
def test_no_body_is_too_strange(content_type: str, body: bytes) -> None:
    assert str(read_problem_details(content_type, body)).isprintable()
