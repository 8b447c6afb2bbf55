"""Mailroom's section in the NOTE: its lines are known, everything else is the user's."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailroom.rules.contacts.note import Section, read_section, with_section, without_section
from mailroom.wire.vcard import Card

TODAY = date(2026, 11, 21)
HEADING = "— Mailroom —"
FIRST = r"— Mailroom —\nCreated by Mailroom\nTriaged to Feed on 2026-11-21"


def card_with(*notes: str) -> Card:
    """A card with these NOTE lines, each with or without parameters."""
    lines = ("BEGIN:VCARD", "VERSION:3.0", "FN:Bob", *notes, "TEL:1", "END:VCARD", "")
    return Card.parse("\r\n".join(lines).encode())


def notes_of(card: Card) -> list[str]:
    return [f"{line.head}:{line.value}" for line in card.all("NOTE")]


def filed(card: Card, category: str = "Feed") -> Card:
    return with_section(card, category, TODAY)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], [f"NOTE:{FIRST}"]),
        (["NOTE:"], [f"NOTE:{FIRST}"]),
        (["NOTE:my friend"], [rf"NOTE:my friend\n{FIRST}"]),
        ([r"NOTE:my friend\n"], [rf"NOTE:my friend\n\n{FIRST}"]),
        ([r"NOTE:a\Nb\, c"], [rf"NOTE:a\Nb\, c\n{FIRST}"]),
        (["NOTE;LANGUAGE=en:hi"], [rf"NOTE;LANGUAGE=en:hi\n{FIRST}"]),
        (["item1.NOTE:hi"], [rf"item1.NOTE:hi\n{FIRST}"]),
        (
            ["NOTE;ALTID=1;LANGUAGE=de:eins", "NOTE;ALTID=1;LANGUAGE=en:one"],
            [rf"NOTE;ALTID=1;LANGUAGE=de:eins\n{FIRST}", "NOTE;ALTID=1;LANGUAGE=en:one"],
        ),
        (["NOTE;ENCODING=b:aGk="], ["NOTE;ENCODING=b:aGk=", f"NOTE:{FIRST}"]),
        (["NOTE;VALUE=uri:a:b"], ["NOTE;VALUE=uri:a:b", f"NOTE:{FIRST}"]),
        (["NOTE;VALUE=text:hi"], [rf"NOTE;VALUE=text:hi\n{FIRST}"]),
        (["NOTE:C:\\temp\\"], ["NOTE:C:\\temp\\", f"NOTE:{FIRST}"]),
    ],
)
def test_a_first_section_follows_what_the_user_wrote(before: list[str], after: list[str]) -> None:
    card = card_with(*before)
    section = filed(card)
    assert notes_of(section) == after
    assert notes_of(without_section(section)) == [note for note in before if note != "NOTE:"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        # another category: one more line, after the last known one
        (FIRST, rf"{FIRST}\nRe-triaged to Imbox on 2026-11-21"),
        (rf"x\n{FIRST}\ny", rf"x\n{FIRST}\nRe-triaged to Imbox on 2026-11-21\ny"),
        (
            rf"{HEADING}\nmine\nCreated by Mailroom\nTriaged to Jail on 2020-01-01\nmine too",
            rf"{HEADING}\nmine\nCreated by Mailroom\nTriaged to Jail on 2020-01-01"
            r"\nRe-triaged to Imbox on 2026-11-21\nmine too",
        ),
        # the last line's category already: nothing, whatever the day
        (rf"{FIRST}\nRe-triaged to Imbox on 2020-01-01", None),
        (rf"{HEADING}\nCreated by Mailroom\nTriaged to Imbox on 2020-01-01\nwords", None),
        (rf"{HEADING}\NCreated by Mailroom\NTriaged to Imbox on 2020-01-01", None),
        (rf"{HEADING}\r\nCreated by Mailroom\r\nTriaged to Imbox on 2020-01-01\r\n", None),
        (rf"  {HEADING} \nCreated by Mailroom \nTriaged to Imbox on 2020-01-01 ", None),
        # what the user took out of the section comes again
        (HEADING, rf"{HEADING}\nCreated by Mailroom\nTriaged to Imbox on 2026-11-21"),
        (
            rf"{HEADING}\nTriaged to Imbox on 2020-01-01",
            rf"{HEADING}\nTriaged to Imbox on 2020-01-01\nCreated by Mailroom",
        ),
        # without a heading these are the user's own words
        (
            r"Triaged to Imbox on 2020-01-01",
            rf"Triaged to Imbox on 2020-01-01\n{HEADING}\nCreated by Mailroom"
            r"\nTriaged to Imbox on 2026-11-21",
        ),
    ],
)
def test_a_line_is_added_only_for_another_category(before: str, after: str | None) -> None:
    card = card_with(f"NOTE:{before}")
    changed = filed(card, "Imbox")
    assert notes_of(changed) == [f"NOTE:{before if after is None else after}"]
    assert filed(changed, "Imbox") == changed


def test_sections_in_several_notes_count_as_one() -> None:
    card = card_with(
        rf"NOTE:{HEADING}\nCreated by Mailroom\nTriaged to Feed on 2026-01-01",
        "NOTE:mine",
        rf"NOTE:{HEADING}\nAdopted by Mailroom\nTriaged to Jail on 2026-02-02",
    )
    told = (("Feed", "2026-01-01"), ("Jail", "2026-02-02"))
    assert read_section(card) == Section(True, True, told)
    assert notes_of(filed(card, "Imbox"))[2].endswith(r"\nRe-triaged to Imbox on 2026-11-21")
    assert notes_of(without_section(card)) == ["NOTE:mine"]


@pytest.mark.parametrize(
    ("note", "category"),
    [
        (r"Triaged to Paper Trail on 2026-01-01", "Paper Trail"),
        (r"Triaged to Odds\, Ends\; on Top on 2026-01-01", "Odds, Ends; on Top"),
        (r"Re-triaged to a\\b on 2026-01-01", r"a\b"),
        (r"Triaged to Feed on 2026-01-01\nRe-triaged to Jail on 2026-01-02", "Jail"),
        (r"Triaged to Feed on Monday", None),
        (r"Triaged to Feed on 2026-01-01!", None),
        (r"triaged to Feed on 2026-01-01", None),
    ],
)
def test_the_last_line_tells_the_category(note: str, category: str | None) -> None:
    assert read_section(card_with(rf"NOTE:{HEADING}\n{note}")).category == category


@pytest.mark.parametrize("category", ["Feed", "Odds, Ends; on Top", "C:\\Mail", "Ärger 😀"])
def test_any_category_is_found_again(category: str) -> None:
    card = filed(card_with(), category)
    assert read_section(card).category == category
    assert filed(card, category) == card


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (rf"{FIRST}", []),
        (rf"before\n{FIRST}", ["NOTE:before"]),
        (rf"{FIRST}\nafter", ["NOTE:after"]),
        (rf"Created by Mailroom\n{FIRST}", ["NOTE:Created by Mailroom"]),
        (rf"before\n\n{FIRST}\n\nafter", [r"NOTE:before\n\n\nafter"]),
        (rf"a\n{HEADING}\nb\nCreated by Mailroom\Nc", [r"NOTE:a\nb\Nc"]),
        # of an adopted contact, as earlier versions wrote it
        (rf"a\n{HEADING}\nAdopted by Mailroom\nTriaged to Feed on 2025-01-02", ["NOTE:a"]),
        (rf"\n{FIRST}", []),
        ("nothing of ours", ["NOTE:nothing of ours"]),
        ("Created by Mailroom", ["NOTE:Created by Mailroom"]),
        ("", ["NOTE:"]),
    ],
)
def test_without_the_section_the_users_text_is_left(before: str, after: list[str]) -> None:
    card = card_with(f"NOTE:{before}")
    assert notes_of(without_section(card)) == after
    assert without_section(without_section(card)) == without_section(card)


# Also what no well-behaved program writes: stray escapes, a backslash at the very end.
USER_TEXT = st.text(st.sampled_from("abnN ,;\\"), max_size=12)
CATEGORIES = st.lists(st.sampled_from(["Feed", "Jail", "Imbox"]), max_size=4)


@given(USER_TEXT, CATEGORIES)
def test_what_the_user_wrote_comes_back_byte_for_byte(text: str, categories: list[str]) -> None:
    before = card = card_with(f"NOTE:{text}")
    for category in categories:
        card = filed(card, category)
        assert read_section(card).category == category
    left = without_section(card)
    assert notes_of(left) == ([f"NOTE:{text}"] if text or not categories else [])
    assert [line for line in left.lines if line.name != "NOTE"] == [
        line for line in before.lines if line.name != "NOTE"
    ]


TYPED = st.lists(st.sampled_from(["mine", "", r"a\, b", "Triaged by hand"]), max_size=3)


@given(TYPED, st.data())
def test_what_the_user_types_between_the_lines_survives(
    typed: list[str], data: st.DataObject
) -> None:
    ours = FIRST.split(r"\n")
    lines = list(ours)
    places = sorted(data.draw(st.integers(0, len(ours))) for _ in typed)
    for offset, (place, text) in enumerate(zip(places, typed, strict=True)):
        lines.insert(place + offset, text)
    card = card_with("NOTE:" + r"\n".join(lines))
    assert filed(card) == card
    rest = r"\n".join(typed)
    assert notes_of(without_section(card)) == ([f"NOTE:{rest}"] if rest else [])
