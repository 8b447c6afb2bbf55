"""Mail as a person looks at it: hostile text made harmless, HTML made readable."""

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailroom.wire.htmltext import text_of_html
from mailroom.wire.previews import LONGEST_TEXT, one_line, plain, read_lines, read_text, text_call
from tests.hostile import EVERY, texts


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>Hello</p><p>World</p>", "Hello\n\nWorld"),
        ("one<br>two<br/>three", "one\ntwo\nthree"),
        ("<head><title>T</title></head><style>p{}</style><script>x()</script>seen", "seen"),
        ("<ul><li>a<li>b</ul>", "a\nb"),
        ("a &amp; b &lt;c&gt; &#x1b;[31m", "a & b <c> [31m"),
        ("<td>a</td><td>b</td>", "ab"),
        ("a\nb\n\nc", "a b c"),
        ("<p>1</p>\n\n\n<p>2</p>", "1\n\n2"),
        ("</script>after", "after"),
        (
            "<html><head><title>T</title><body>the end of the head is left out",
            "the end of the head is left out",
        ),
        ('<a title="a > b" href=x>seen</a>', "seen"),
        ("<a title=Bob's>seen</a> it's", "seen it's"),
        ("a<!-- <p>b > c -->d<!-->e<!doctype x>f<?php x ?>g", "adefg"),
        ("<STYLE>p > a {}</style >seen<script>1 < 2", "seen"),
        ("1 < 2 <3 a<b", "1 < 2 <3 a"),
        (f"&#{'9' * 5000};&#x{'f' * 5000};seen", "\N{REPLACEMENT CHARACTER}" * 2 + "seen"),
        ("", ""),
    ],
)
def test_html_is_shown_as_somebody_reads_it(html: str, text: str) -> None:
    assert plain(text_of_html(html)) == text


@pytest.mark.parametrize(
    "piece",
    [
        "<a ",
        "<a\n",
        "<b/",
        "<a b=",
        "<a b='",
        '<a b="',
        "<a b\n=",
        "<",
        "</",
        "<!--",
        "<!",
        "<?",
        "&#",
    ],
)
def test_broken_html_takes_no_longer_than_any_other(piece: str) -> None:
    """A stranger can send it, and the service does nothing else meanwhile."""
    began = time.process_time()
    text_of_html(piece * 20_000)
    assert time.process_time() - began < 1.0


@given(texts)
@example(EVERY)
def test_no_text_moves_a_cursor_or_turns_the_direction_of_writing(text: str) -> None:
    shown = plain(text)
    assert all(char in "\n\t" or char >= " " for char in shown)
    assert not set(shown) & set("\x7f\x9b\u202e\u2066\u200f")
    assert len(one_line(text, 20)) <= 20
    assert "\n" not in one_line(text)


@given(st.text(alphabet="<>/ &;#ascriptylehdbp!-\n\"'=x"))
def test_any_html_has_a_text(html: str) -> None:
    text_of_html(html)


def mail(**more: object) -> dict[str, object]:
    parts = [{"partId": "1", "type": "text/plain"}]
    told: dict[str, object] = {"id": "M1", "from": None, "mailboxIds": {"S": True}, "subject": None}
    told |= {"receivedAt": "2026-11-27T01:00:00Z", "to": None, "textBody": parts}
    return {"list": [told | more]}


def test_no_more_of_a_mail_is_asked_for_than_its_preview_may_need() -> None:
    """Otherwise a mail of many megabytes would come whole, and the limit of an answer refuse it."""
    most = text_call("M1", "t").arguments["maxBodyValueBytes"]
    assert LONGEST_TEXT <= most <= 4 * LONGEST_TEXT


def test_a_text_that_just_fits_is_whole() -> None:
    found = read_text(mail(bodyValues={"1": {"value": "x" * LONGEST_TEXT}}))
    assert found is not None
    assert (len(found.text), found.is_truncated) == (LONGEST_TEXT, False)


def test_a_text_of_several_parts_is_cut_where_it_is_too_long() -> None:
    found = read_text(mail(bodyValues={"1": {"value": "x" * (LONGEST_TEXT + 1)}}))
    assert found is not None
    assert (len(found.text), found.is_truncated) == (LONGEST_TEXT, True)
    parts = [{"partId": "1", "type": "text/plain"}, {"partId": "2", "type": "text/html"}]
    values = {"1": {"value": "a\r\n"}, "2": {"value": "<b>b</b>", "isTruncated": True}}
    found = read_text(mail(textBody=parts, bodyValues=values))
    assert found is not None
    assert (found.text, found.is_truncated) == ("a\n\n\nb", True)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"bodyValues": None},
        {"textBody": None},
        {"attachments": [{"name": None}, {"name": "a\x1b"}]},
    ],
)
def test_what_a_server_leaves_out_is_not_there(more: dict[str, object]) -> None:
    found = read_text(mail(**more))
    assert found is not None
    assert (found.text, found.line.subject) == ("", "")
    if "attachments" in more:
        assert found.attachments == ("(no name)", "a")


def test_no_such_mail() -> None:
    assert read_text({"list": []}) is None


@pytest.mark.parametrize("received_at", ["yesterday", "", None, 7])
def test_a_mail_that_came_at_no_time_is_left_out(received_at: object) -> None:
    found = read_lines(mail(receivedAt=received_at))
    assert (found.entries, list(found.unreadable)) == ((), ["mail M1"])
