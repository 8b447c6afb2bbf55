"""Addresses: what is one sender, and what a contact can carry."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailroom.rules.addresses import (
    addresses_in,
    canonical,
    is_usable,
    spellings,
    without_spaces,
)
from tests.hostile import EVERY, texts


@pytest.mark.parametrize(
    ("address", "form"),
    [
        ("Bob@Example.ORG", "bob@example.org"),
        (" bob@example.org ", "bob@example.org"),
        ("bob@bücher.example", "bob@xn--bcher-kva.example"),
        ("bob@BÜCHER.example", "bob@xn--bcher-kva.example"),
        ("bob@bu\u0308cher.example", "bob@xn--bcher-kva.example"),
        ("bob@XN--BCHER-KVA.example", "bob@xn--bcher-kva.example"),
        # IDNA 2008 tells them apart
        ("bob@faß.example", "bob@xn--fa-hia.example"),
        ("bob@fass.example", "bob@fass.example"),
        # a local part is not a domain
        ("jo\u0308rg@example.org", "jörg@example.org"),
        ("b\ud800b@example.org", "b\ud800b@example.org"),
    ],
)
def test_one_sender_has_one_form(address: str, form: str) -> None:
    assert canonical(address) == form
    assert canonical(form) == form


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("bob@example.org", ("bob@example.org",)),
        ("bob@xn--bcher-kva.example", ("bob@xn--bcher-kva.example", "bob@bücher.example")),
        ("bob@xn--.example", ("bob@xn--.example",)),
        ("bob@xn--a-.example", ("bob@xn--a-.example", "bob@a.example")),
        ("bob@xn--\u00fc.example", ("bob@xn--\u00fc.example",)),
    ],
)
def test_mail_may_spell_it_both_ways(address: str, found: tuple[str, ...]) -> None:
    assert spellings(address) == found


@pytest.mark.parametrize(
    ("address", "joined"),
    [
        ("bob @ example . org", "bob@example.org"),
        ("bob . smith\t@example.org", "bob.smith@example.org"),
        ("bob smith@example.org", "bob smith@example.org"),
        ("bob\n@example.org", "bob\n@example.org"),
        ('"bob . smith" @example.org', '"bob . smith" @example.org'),
    ],
)
def test_spaces_around_dots_say_nothing(address: str, joined: str) -> None:
    assert without_spaces(address) == joined


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("bob@x.example", ["bob@x.example"]),
        ("mailto:Bob@X.example", ["bob@x.example"]),
        ("Bob <bob@x.example>", ["bob@x.example"]),
        ("a@x.example;b@x.example", ["a@x.example", "b@x.example"]),
        ("A <a@x.example>, B <b@x.example>", ["a@x.example", "b@x.example"]),
        ('"a,b;c"@x.example', ['"a,b;c"@x.example']),
        ("", []),
        (" ; ", [";"]),
    ],
)
def test_an_email_property_holds_what_people_write(text: str, found: list[str]) -> None:
    assert list(addresses_in(text)) == found


@given(texts | st.builds("{}b@{}.example".format, texts, texts))
@example(EVERY)
@example("B@B\u00dc.example; A@U\u0308.example")
def test_whatever_a_card_says_has_one_form(text: str) -> None:
    once = canonical(text)
    assert canonical(once) == once
    for address in addresses_in(text):
        assert canonical(address) == address
        assert {canonical(spelling) for spelling in spellings(address)} == {address}


@pytest.mark.parametrize("hidden", ["\u202e", "\udcff", "\x00", "\u200b", "\xad"])
@pytest.mark.parametrize("address", ["b{}ob@x.example", "bob@x.exa{}mple", "bob@x.example{}"])
def test_what_cannot_be_seen_makes_an_address_unusable(address: str, hidden: str) -> None:
    assert not is_usable(canonical(address.format(hidden)))
