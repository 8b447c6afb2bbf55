"""Whose mail is the user's own: addresses and patterns."""

import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailroom.rules.screening.own import OwnAddresses, is_meaningful


@pytest.mark.parametrize(
    ("entry", "address", "expected"),
    [
        ("alice@example.org", "alice@example.org", True),
        ("Alice@Example.ORG", "aLICE@example.org", True),
        ("alice@example.org", "alice@example.org.evil.example", False),
        ("alice@example.org", "malice@example.org", False),
        ("*@example.org", "anybody@example.org", True),
        ("*@example.org", "any@body@example.org", True),
        ("*@example.org", "anybody@sub.example.org", False),
        ("*@example.org", "anybody@notexample.org", False),
        ("*@example.org", "anybody@example.org.evil.example", False),
        ("*@*.example.org", "anybody@sub.example.org", True),
        ("*@*.example.org", "anybody@a.b.example.org", True),
        ("*@*.example.org", "anybody@example.org", False),
        ("*@*.example.org", "anybody@evil.example@example.org", False),
        ("alice+*@example.org", "alice+shops@example.org", True),
        ("alice+*@example.org", "alice+@example.org", True),
        ("alice+*@example.org", "alice@example.org", False),
        ("al*ce@example.org", "alice@example.org", True),
        ("*a*b*c*@example.org", "xaxbxcx@example.org", True),
        ("*a*b*c*@example.org", "xcxbxax@example.org", False),
        ("a*a@example.org", "a@example.org", False),
        ("a*a@example.org", "aa@example.org", True),
        ("bob@*.example.org", "bob@x.example.org", True),
        ("a.c@example.org", "abc@example.org", False),
        ("jos\u00e9@example.org", "jose\u0301@example.org", True),
        ("*@*", "anybody@example.org", False),
        ("*", "anybody@example.org", False),
        ("@example.org", "anybody@example.org", False),
        ("", "", False),
    ],
)
def test_whose_address_it_is(entry: str, address: str, expected: bool) -> None:
    assert (address in OwnAddresses([entry])) is expected


@pytest.mark.parametrize("entry", ["*@*", "*@*.*", "**@.*.", "*", "alice", "@x", "", "a@"])
def test_what_would_be_everybodys_or_nobodys_is_no_own_address(entry: str) -> None:
    assert not is_meaningful(entry)
    assert not OwnAddresses([entry])


def test_they_are_shown_each_once() -> None:
    assert str(OwnAddresses(["b@x.org", "A@x.org", "a@x.org", "*", ""])) == "a@x.org, b@x.org"


def as_expression(pattern: str) -> str:
    """What a pattern means, said otherwise."""
    local, _, domain = pattern.rpartition("@")
    parts = ((local, ".*"), (domain, "[^@]*"))
    return "@".join(any_text.join(map(re.escape, text.split("*"))) for text, any_text in parts)


TEXT = st.text(alphabet="ab@.", max_size=9)
PATTERN = st.text(alphabet="ab*@.", max_size=9)
# Chance finds hardly any that mean something, and an address to them never.
MEANT = st.builds("{}a{}@{}b.{}".format, *[st.sampled_from(["", "a", "*", "*b*", ".*"])] * 4)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[str, str]:
    """A pattern, and an address that often is one of its own."""
    pattern = draw(PATTERN | MEANT)
    pieces = pattern.split("*")
    filled = [piece + draw(TEXT | st.just("") | st.just("b")) for piece in pieces[:-1]]
    return pattern, draw(TEXT | st.just("".join(filled) + pieces[-1]))


@given(pairs())
@example(("*a@*.b", "aa@.b"))
@example(("a@*.b", "ab@a.b"))
@example(("*@a.b", "a@a.bb"))
@example(("a@*@b.b", "a@b@b.b"))
def test_a_pattern_is_what_its_asterisks_say(pair: tuple[str, str]) -> None:
    pattern, address = pair
    expected = is_meaningful(pattern) and re.fullmatch(as_expression(pattern), address) is not None
    assert (address in OwnAddresses([pattern])) is expected


def test_a_pattern_of_many_asterisks_takes_no_time() -> None:
    own = OwnAddresses([f"{'*a' * 2000}*@example.org"])
    began = time.process_time()
    assert f"{'a' * 1999}@example.org" not in own
    assert time.process_time() - began < 1.0
