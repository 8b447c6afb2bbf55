"""Text from mail on its way to a terminal."""

import unicodedata

import pytest
from hypothesis import example, given

from mailroom.terminal.harmless import harmless, harmless_lines
from tests.hostile import EVERY, texts


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Bob <bob@example.org>", "Bob <bob@example.org>"),
        ("\x1b[31mred\x1b]0;title\x07", "�[31mred�]0;title�"),
        ("\x9b31m one byte of C1", "�31m one byte of C1"),
        ("a\tb\nc\r\nd\x85e\u2028f\u00a0g", "a b c  d e f g"),
        ("invoice\u202efdp.exe", "invoice�fdp.exe"),
        ("\u2066isolated\u2069", "�isolated�"),
        ("zero\u200bwidth\u00ad\ufeff", "zerowidth"),
        ("\u200fright", "right"),
        ("Zoe\u0308", "Zoe\u0308"),
        ("a" + "\u0300" * 50 + "b", "a" + "\u0300" * 3 + "b"),
        ("\u0300\u0301begins with marks", "begins with marks"),
        ("\u2764\ufe0f", "\u2764"),
        ("\ud800 alone, \ue000 private, \uffff none", "� alone, � private, � none"),
        ("שלום, 你好, 😀", "שלום, 你好, 😀"),
        (7, "7"),
    ],
)
def test_what_is_shown(text: object, shown: str) -> None:
    assert harmless(text) == shown


@given(texts)
@example(EVERY)
def test_nothing_steers(text: str) -> None:
    shown = harmless(text)
    unwanted = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}
    assert not {unicodedata.category(character) for character in shown} & unwanted
    assert harmless(shown) == shown


def test_lines_stay_lines() -> None:
    assert harmless_lines("one\n\ttwo\r\n\x1b[2Jthree") == ["one", "    two", "�[2Jthree"]
