"""What servers say when they refuse, and how it is passed on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailroom.wire.problem import Problem, quoted, read_problem

LIMIT = b'{"type":"urn:ietf:params:jmap:error:limit","limit":"maxCallsInRequest","status":400}'
UNKNOWN = b'{"type":"urn:ietf:params:jmap:error:unknownCapability","detail":"no such thing"}'
DAV_ERROR = b'<D:error xmlns:D="DAV:"><D:need-privileges/></D:error>'


@pytest.mark.parametrize(
    ("content_type", "body", "problem", "words"),
    [
        ("application/problem+json", LIMIT, Problem("limit", "maxCallsInRequest"), None),
        ("application/json; charset=utf-8", UNKNOWN, None, "unknownCapability, no such thing"),
        ("application/json", b'{"type":"about:blank","title":"Forbidden"}', None, "Forbidden"),
        ("application/json", b'{"type":"https://x/bad-token"}', Problem(), ""),
        ("application/json", b'{"detail":7}', Problem(), ""),
        ("application/json", b"[1]", Problem(), ""),
        ("application/json", b"{", Problem(), ""),
        ("application/json", b"[" * 60_000, Problem(), ""),
        ("application/xml; charset=utf-8", DAV_ERROR, Problem("need-privileges"), None),
        ("text/xml", b"<html/>", Problem(), ""),
        ("Text/Plain", b"Rate limit\r\nexceeded", None, "Rate limit exceeded"),
        ("text/plain", b"\xff\x1b[2J", None, "\N{REPLACEMENT CHARACTER}" * 2 + "[2J"),
        ("text/plain", b"x" * 70_000, Problem(), ""),
        ("text/html", b"<h1>Nope</h1>", Problem(), ""),
        ("", b"Nope", Problem(), ""),
    ],
)
def test_what_the_body_of_a_refusal_says(
    content_type: str, body: bytes, problem: Problem | None, words: str | None
) -> None:
    found = read_problem(content_type, body)
    assert problem in (None, found)
    assert words in (None, str(found))


def test_long_words_are_cut_short() -> None:
    assert quoted("ab" * 5000) == "ab" * 99 + "a…"


@given(st.text())
def test_words_are_printable_and_on_one_line(words: str) -> None:
    assert quoted(words).isprintable()
    assert len(quoted(words)) <= 200


@given(st.sampled_from(["application/json", "application/xml", "text/plain"]), st.binary())
def test_no_body_is_too_strange(content_type: str, body: bytes) -> None:
    assert str(read_problem(content_type, body)).isprintable()
