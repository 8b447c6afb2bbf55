"""vCards as lines: nothing is lost, and what cannot be read safely is never edited."""

import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailroom.wire.vcard import Card, CardView, Line, UnsafeCard, escape_text, unescape_text
from tests.cards import SAFE, UNSAFE
from tests.hostile import EVERY, texts


def card_of(*lines: str, ending: str = "\r\n") -> bytes:
    return ending.join(("BEGIN:VCARD", "VERSION:3.0", *lines, "END:VCARD", "")).encode()


def only_line(*physical: str) -> Line:
    """The line between VERSION and END."""
    return Card.parse(card_of(*physical)).lines[2]


@pytest.mark.parametrize("name", SAFE)
def test_an_unedited_card_is_written_as_it_was_read(name: str) -> None:
    assert bytes(Card.parse(SAFE[name])) == SAFE[name]


REASONS = {
    "base64-without-folding": "line 5 is not a property",
    "byte-order-mark": "it does not begin with BEGIN:VCARD",
    "carriage-returns-only": "it contains a carriage return that ends no line",
    "empty": "it does not begin with BEGIN:VCARD",
    "html-error-page": "line 1 is not a property",
    "latin-1": "line 4 is not UTF-8",
    "nested-agent": "it holds more than one card",
    "no-begin": "it does not begin with BEGIN:VCARD",
    "no-end": "it does not end with END:VCARD",
    "no-version": "it does not have exactly one VERSION",
    "not-a-vcard": "it does not begin with BEGIN:VCARD",
    "note-with-raw-newline": "line 5 is not a property",
    "nul-byte": "it contains a NUL byte",
    "quoted-printable-in-3.0": ("line 3 is quoted-printable, which vCard 3.0 and 4.0 do not have"),
    "stray-carriage-return": "it contains a carriage return that ends no line",
    "two-cards": "it holds more than one card",
    "two-versions": "it does not have exactly one VERSION",
    "unclosed-quotation-mark": "line 4 is not a property",
    "utf-16": "it contains a NUL byte",
    "vcard-2.1-android": "it is vCard '2.1'; only 3.0 and 4.0 can be edited",
    "vcard-2.1-base64": "it is vCard '2.1'; only 3.0 and 4.0 can be edited",
    "vcard-2.1-plain": "it is vCard '2.1'; only 3.0 and 4.0 can be edited",
    "vcard-2.1-soft-breaks": "it is vCard '2.1'; only 3.0 and 4.0 can be edited",
    "version-5": "it is vCard '5.0'; only 3.0 and 4.0 can be edited",
}


@pytest.mark.parametrize("name", UNSAFE)
def test_a_card_that_cannot_be_read_safely_is_refused_with_one_reason(name: str) -> None:
    with pytest.raises(UnsafeCard) as refused:
        Card.parse(UNSAFE[name])
    assert str(refused.value) == REASONS[name]


@pytest.mark.parametrize(
    ("line", "group", "name", "parameters", "value"),
    [
        ("FN:Bob", "", "FN", (), "Bob"),
        ("fn:", "", "FN", (), ""),
        ("item1.X-ABLabel:_$!<Home>!$_", "item1", "X-ABLABEL", (), "_$!<Home>!$_"),
        ("EMAIL;TYPE=HOME;pref=1:a@b", "", "EMAIL", (("TYPE", "HOME"), ("PREF", "1")), "a@b"),
        ("TEL;CELL;HOME:1", "", "TEL", (("CELL", ""), ("HOME", "")), "1"),
        ('ADR;LABEL="a;b:c,d":;;e', "", "ADR", (("LABEL", "a;b:c,d"),), ";;e"),
        ('X;A="1";B="2:2":v', "", "X", (("A", "1"), ("B", "2:2")), "v"),
        ('URL:http://a.example/"x":y', "", "URL", (), 'http://a.example/"x":y'),
        ("PHOTO;X-CROP=a&b==:AAAA", "", "PHOTO", (("X-CROP", "a&b=="),), "AAAA"),
        ("X_UNDERSCORE:kept", "", "X_UNDERSCORE", (), "kept"),
        # None of these is a name by RFC 6350 §3.3; address books write them, servers keep them.
        ("X-messaging/xmpp-All:bob@x", "", "X-MESSAGING/XMPP-ALL", (), "bob@x"),
        ("two words;A=b:x", "", "TWO WORDS", (("A", "b"),), "x"),
        ("X-A+B@C:x", "", "X-A+B@C", (), "x"),
        ("item1.Ärger:x", "item1", "Ärger", (), "x"),
        ("uıd:not ours", "", "uıd", (), "not ours"),
        ("FN :not ours", "", "FN ", (), "not ours"),
        (".EMAIL:not ours", "", ".EMAIL", (), "not ours"),
    ],
)
def test_a_line_is_taken_apart(
    line: str, group: str, name: str, parameters: tuple[tuple[str, str], ...], value: str
) -> None:
    read = only_line(line)
    assert (read.group, read.name, read.parameters, read.value) == (group, name, parameters, value)


@pytest.mark.parametrize(
    "line",
    [
        "no colon",
        ":no name",
        ";no=name:x",
        'X;A="unclosed:x',
        'X;A="1"',
        "EMAIL;ENCODING=QUOTED-PRINTABLE:=40",
    ],
)
def test_what_is_no_property_is_not_edited(line: str) -> None:
    with pytest.raises(UnsafeCard):
        Card.parse(card_of(line))


@pytest.mark.parametrize(
    ("physical", "value"),
    [
        (["NOTE:a", " b"], "ab"),
        (["NOTE:a ", "  b"], "a  b"),
        (["NOTE:a", "\tb"], "ab"),
        (["NOTE:a", " ", " b"], "ab"),
        (["NO", " TE:a"], "a"),
    ],
)
def test_folding_is_undone(physical: list[str], value: str) -> None:
    assert (only_line(*physical).name, only_line(*physical).value) == ("NOTE", value)


def test_a_fold_within_a_character_is_undone() -> None:
    raw = card_of("FN:Zoë").replace(b"\xc3\xab", b"\xc3\r\n \xab")
    card = Card.parse(raw)
    assert card.lines[2].value == "Zoë"
    assert bytes(card) == raw


@pytest.mark.parametrize(
    ("value", "components"),
    [
        ("", ("",)),
        (";;;;", ("", "", "", "", "")),
        ("Smith;Bob;;;", ("Smith", "Bob", "", "", "")),
        (r"a\;b;c", ("a;b", "c")),
        (r"a\\;b", ("a\\", "b")),
        (r"a\nb;c\,d", ("a\nb", "c,d")),
    ],
)
def test_structured_values_are_split_where_no_backslash_forbids_it(
    value: str, components: tuple[str, ...]
) -> None:
    assert only_line(f"N:{value}").components == components


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        ("a, b; c", r"a\, b\; c"),
        ("C:\\new", r"C:\\new"),
        ("one\ntwo", r"one\ntwo"),
        ("one\r\ntwo\rthree", r"one\ntwo\nthree"),
        ("END:VCARD", "END:VCARD"),
    ],
)
def test_text_is_escaped(text: str, value: str) -> None:
    assert escape_text(text) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (r"one\ntwo\Nthree", "one\ntwo\nthree"),
        (r"\\n", r"\n"),
        (r"https\://a.example", "https://a.example"),
        (r"C:\temp", r"C:\temp"),
        ("at the end\\", "at the end\\"),
    ],
)
def test_text_is_unescaped_as_its_writers_meant_it(value: str, text: str) -> None:
    assert unescape_text(value) == text


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        ([], "individual"),
        (["KIND:Group"], "group"),
        (["KIND:org"], "org"),
        (["X-ADDRESSBOOKSERVER-KIND:group"], "group"),
    ],
)
def test_the_kind_is_found_in_both_forms(lines: list[str], kind: str) -> None:
    assert Card.parse(card_of(*lines)).kind == kind


def test_a_glance_sees_the_address_in_whatever_can_be_read() -> None:
    seen = {name for name, raw in UNSAFE.items() if CardView.glance(raw).first("EMAIL")}
    assert set(UNSAFE) - seen == {"empty", "html-error-page", "not-a-vcard", "utf-16"}


def test_a_view_cannot_become_the_body_of_a_put() -> None:
    view = CardView.glance(card_of("FN:Bob"))
    assert not isinstance(view, Card)
    assert not hasattr(view, "__bytes__")


def test_a_glance_at_a_class_of_cards_is_a_view_as_well() -> None:
    assert type(Card.glance(card_of("FN:Bob"))) is CardView


def test_another_value_leaves_head_and_neighbours() -> None:
    raw = card_of("item1.EMAIL;type=pref:a@b", 'FN;X-A="1:2":Old', " Name", "X-LAST:1")
    edited = bytes(Card.parse(raw).with_value(3, "New"))
    assert edited == card_of("item1.EMAIL;type=pref:a@b", 'FN;X-A="1:2":New', "X-LAST:1")


def test_new_lines_stand_before_the_end_or_where_they_are_told() -> None:
    card = Card.parse(card_of("FN:Bob"))
    assert bytes(card.with_lines([("A", "1"), ("B", "2")])) == card_of("FN:Bob", "A:1", "B:2")
    assert bytes(card.with_lines([("A", "1")], before=2)) == card_of("A:1", "FN:Bob")
    blank = b"\r\n"  # a server may send one after the card
    card = Card.parse(card_of("FN:Bob") + blank)
    assert bytes(card.with_lines([("A", "1")])) == card_of("FN:Bob", "A:1") + blank


def test_lines_are_left_out_by_their_place() -> None:
    card = Card.parse(card_of("X:1", "X:1", "X:1"))
    assert bytes(card.without({3})) == card_of("X:1", "X:1")


def test_new_lines_end_as_the_card_does() -> None:
    card = Card.parse(card_of("FN:Bob", ending="\n"))
    edited = card.with_lines([("NOTE", "x" * 100)]).with_value(2, "Rob")
    assert b"\r" not in bytes(edited)
    assert bytes(edited) == card_of("FN:Rob", "NOTE:" + "x" * 70, " " + "x" * 30, ending="\n")


def test_a_new_line_before_an_end_without_line_ending_is_a_line() -> None:
    raw = SAFE["no-final-line-ending"]
    assert bytes(Card.parse(raw).with_lines([("X", "1")])) == raw.replace(b"END:", b"X:1\r\nEND:")


@pytest.mark.parametrize(
    ("value", "octets"),
    [
        ("x" * 73, [75]),
        ("x" * 74, [75, 2]),
        ("x" * (73 + 74), [75, 75]),
        ("x" * (73 + 74 + 1), [75, 75, 2]),
        ("x" * 72 + "é", [74, 3]),
        ("x" * 71 + "😀", [73, 5]),
        ("é" * 60, [74, 49]),
    ],
)
def test_new_lines_are_folded_at_75_octets_between_characters(
    value: str, octets: list[int]
) -> None:
    line = Card.compose("3.0", [("A", value)]).lines[3]
    assert [len(piece) for piece in line.raw.splitlines()] == octets


@pytest.mark.parametrize("value", ["a\r\nEND:VCARD", "a\nb", "a\rb", "a\0b", "a\ud800b"])
def test_a_new_line_cannot_break_out_of_itself(value: str) -> None:
    with pytest.raises(UnsafeCard):
        Card.compose("3.0", [("FN", value)])


def test_a_photo_of_two_megabytes_is_carried_along() -> None:
    photo = "PHOTO;ENCODING=b:" + "\r\n ".join(["A" * 74] * 27_000)
    raw = card_of("FN:Bob", photo, "NOTE:x")
    card = Card.parse(raw)
    assert bytes(card.with_value(4, "y")) == raw.replace(b"NOTE:x", b"NOTE:y")
    refolded = card.with_value(3, card.lines[3].value)
    assert Card.parse(bytes(refolded)).lines[3].value == "A" * 74 * 27_000


@pytest.mark.parametrize(
    "line",
    [
        "X;A=" + '"' * 1_000_001 + ":v",
        'X;A="' + "a" * 1_000_000 + ":v",
        "X" + ";A=1" * 250_000 + ":v",
        "a." * 500_000 + "!:v",
        "N:" + r"\;" * 500_000,
        "NOTE:" + r"\n" * 500_000,
    ],
    ids=lambda line: line[:8],
)
def test_hostile_lines_of_a_megabyte_take_linear_time(line: str) -> None:
    began = time.process_time()
    view = CardView.glance(card_of(line, "FN:Bob"))
    for read in view.lines:
        assert len(read.text) <= len(read.value)
        assert len(read.components) <= 500_001
        assert len(read.parameters) <= 250_000
    assert view.lines[-2].text == "Bob"
    assert time.process_time() - began < 10


CHARACTERS = st.characters(exclude_characters="\r\n\0", codec="utf-8")
LONG = st.builds(
    "{}{}".format, st.text("abcd", max_size=4), st.sampled_from(["é", "€", "📬", "aé"])
)
SPACES = st.text(" \tab", max_size=60)
VALUES = st.text(CHARACTERS, max_size=60) | SPACES | LONG.map(lambda text: text * 50)
HEADS = st.sampled_from(["FN", "item1.EMAIL;TYPE=HOME", 'ADR;LABEL="a:b;c"', "x-a_b", "NOTE"])
PROPERTIES = st.lists(st.tuples(HEADS, VALUES), max_size=8)
FOLDS = st.lists(st.integers(1, 30), max_size=6)
ENDINGS = st.sampled_from([b"\r\n", b"\n"])
INDENTS = st.sampled_from([b" ", b"\t"])


@st.composite
def foreign_cards(draw: st.DrawFn) -> tuple[bytes, list[tuple[str, str]]]:
    """A card folded anywhere, also within characters, with line endings of either kind."""
    framed = [("BEGIN", "VCARD"), ("VERSION", "4.0"), *draw(PROPERTIES), ("END", "VCARD")]
    body = b""
    for head, value in framed:
        rest = f"{head}:{value}".encode()
        for length in draw(FOLDS):
            if len(rest) > length:
                body += rest[:length] + draw(ENDINGS) + draw(INDENTS)
                rest = rest[length:]
        body += rest + draw(ENDINGS)
    return body, framed


@given(foreign_cards())
def test_any_card_is_read_whole_and_written_as_it_was(
    case: tuple[bytes, list[tuple[str, str]]],
) -> None:
    raw, framed = case
    card = Card.parse(raw)
    assert bytes(card) == raw
    assert [(line.head, line.value) for line in card.lines] == framed
    assert CardView.glance(raw).lines == card.lines


@given(foreign_cards(), st.integers(0, 100), VALUES)
def test_an_edit_touches_only_the_line_that_it_names(
    case: tuple[bytes, list[tuple[str, str]]], place: int, value: str
) -> None:
    card = Card.parse(case[0])
    index = place % len(card.lines)
    edited = card.with_value(index, value)
    assert edited.lines[:index] == card.lines[:index]
    assert edited.lines[index + 1 :] == card.lines[index + 1 :]
    assert (edited.lines[index].head, edited.lines[index].value) == (card.lines[index].head, value)
    assert card.without({index}).lines == card.lines[:index] + card.lines[index + 1 :]


@given(PROPERTIES)
@example([("NOTE", start + "é€📬" * 50) for start in ("", "a", "aa", "aaa")])
@example([("NOTE", "a" * length) for length in range(60, 80)])
def test_what_is_composed_is_read_again_and_well_folded(properties: list[tuple[str, str]]) -> None:
    card = Card.compose("3.0", properties)
    assert Card.parse(bytes(card)) == card
    assert [(line.head, line.value) for line in card.lines[3:-1]] == properties
    for physical in bytes(card).split(b"\r\n"):
        assert len(physical) <= 75
        physical.decode()


@given(texts)
@example(EVERY)
def test_escaped_text_is_one_line_and_comes_back(text: str) -> None:
    value = escape_text(text)
    assert "\n" not in value
    assert "\r" not in value
    assert unescape_text(value) == re.sub("\r\n?", "\n", text)


@given(
    st.sampled_from(sorted(SAFE)), st.integers(0, 5000), st.binary(max_size=6), st.integers(0, 4)
)
def test_a_damaged_card_is_refused_or_kept_byte_for_byte(
    name: str, place: int, inserted: bytes, removed: int
) -> None:
    whole = SAFE[name]
    at = place % (len(whole) + 1)
    raw = whole[:at] + inserted + whole[at + removed :]
    CardView.glance(raw)
    try:
        card = Card.parse(raw)
    except UnsafeCard:
        return
    assert bytes(card) == raw


@given(st.binary(max_size=300))
def test_no_bytes_are_too_strange_for_a_glance(raw: bytes) -> None:
    CardView.glance(raw)
