"""Display names are data: cleaned, compared, taken apart, never believed."""

import unicodedata

import pytest
from hypothesis import example, given

from mailroom.rules.names import (
    clean_name,
    folded_name,
    name_mismatch,
    normal_name,
    same_name,
    structured_name,
)
from tests.hostile import EVERY, EVERY_WHOLE, texts, whole_texts


@pytest.mark.parametrize(
    ("display_name", "clean"),
    [
        ("Bob Smith", "Bob Smith"),
        ("  Bob   Smith ", "Bob Smith"),
        ("Bob\r\nBcc: eve@example.org", "Bob Bcc: eve@example.org"),
        ("Bob\u2028Smith\x85x", "Bob Smith x"),
        ("Bob\0\x07\x1b[31m\x7f\x9b", "Bob[31m"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        ("\u2066Bob\u2069", "Bob"),
        ("half \ud800 a pair", "half a pair"),
        ("no\ufffecharacter\uffff", "nocharacter"),
        ("רות לוי", "רות לוי"),
        ("👩‍👩‍👧 Family", "👩‍👩‍👧 Family"),
        ("FN:x;END:VCARD", "FN:x;END:VCARD"),
        ("\n\0 ", ""),
    ],
)
def test_controls_newlines_and_overrides_go_the_rest_stays(display_name: str, clean: str) -> None:
    assert clean_name(display_name) == clean


@pytest.mark.parametrize(
    ("display_name", "fn", "mismatch"),
    [
        ("Bob Smith", "Bob Smith", False),
        ("BOB  smith ", "Bob Smith", False),
        ("BobSmith", "Bob Smith", False),
        ("Bob\nSmith", "Bob Smith", False),
        ("Zoe\u0308", "Zo\u00eb", False),
        ("STRASSE", "Straße", False),
        ("Bob Smith", "Robert Smith", True),
        ("Bob Smith (via PayMe)", "Bob Smith", True),
        ("B0b Smith", "Bob Smith", True),
        ("", "Bob Smith", False),
        ("Bob Smith", "", False),
    ],
)
def test_a_mismatch_is_another_name_case_and_spaces_aside(
    display_name: str, fn: str, mismatch: bool
) -> None:
    assert name_mismatch(display_name, fn) is mismatch


@pytest.mark.parametrize(
    ("name", "structured"),
    [
        ("Bob Smith", ("Smith", "Bob", "", "", "")),
        ("Smith, Bob", ("Smith", "Bob", "", "", "")),
        ("Dr. Juan Carlos de la Vega III", ("de la Vega", "Juan", "Carlos", "Dr.", "III")),
        ("Bob", ("", "Bob", "", "", "")),
        ("Jr.", ("", "Jr.", "", "", "")),
        ("🎉", ("", "🎉", "", "", "")),
        ("", ("", "", "", "", "")),
        ("Van " * 60, ("", "Van " * 60, "", "", "")),
    ],
)
def test_a_persons_name_is_taken_apart(name: str, structured: tuple[str, ...]) -> None:
    assert structured_name(name) == structured


@given(texts)
@example(EVERY)
def test_a_clean_name_is_one_printable_line_of_utf8(display_name: str) -> None:
    clean = clean_name(display_name)
    clean.encode()
    assert clean == clean_name(clean) == clean.strip()
    assert len(clean.splitlines()) <= 1
    assert not [each for each in clean if unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp")]
    assert set(clean).isdisjoint("\u202a\u202e\u2066\u2069\ufffe\uffff")
    assert not name_mismatch(display_name, clean)


@given(whole_texts)
@example("α\u0345\u0301")
@example(EVERY_WHOLE)
def test_a_name_is_the_same_in_every_normal_form(name: str) -> None:
    decomposed = unicodedata.normalize("NFD", name)
    assert same_name(name, decomposed)
    assert normal_name(normal_name(decomposed)) == normal_name(name)
    assert folded_name(decomposed) == folded_name(name)


def test_names_that_look_alike_for_another_reason_are_others() -> None:
    assert not same_name("Feed", "feed")
    assert folded_name("Caf\u00e9") == folded_name("CAFE\u0301")
    assert not same_name("\ufb01le", "file")
