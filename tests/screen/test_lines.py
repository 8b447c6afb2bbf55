"""Lines as wide as a terminal shows them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailroom.terminal.harmless import harmless
from mailroom.terminal.screening.lines import cut, fit, flow, width, wrap

TEXTS = st.text(max_size=40).map(harmless)


@pytest.mark.parametrize(
    ("text", "columns", "shown"),
    [
        ("Bob", 5, "Bob  "),
        ("Bob Builder", 5, "Bob …"),
        ("你好你好", 5, "你好…"),
        ("你好", 4, "你好"),
        ("你好", 2, "… "),
        ("Zoe\u0308", 4, "Zoe\u0308 "),
        ("Bob", 0, ""),
        ("Bob", -3, ""),
    ],
)
def test_a_text_is_made_to_fit(text: str, columns: int, shown: str) -> None:
    assert fit(text, columns) == shown


@given(TEXTS, st.integers(0, 30))
def test_what_fits_has_exactly_these_columns(text: str, columns: int) -> None:
    assert width(fit(text, columns)) == columns
    assert width(cut(text, columns)) <= columns


@pytest.mark.parametrize(
    ("text", "columns", "lines"),
    [
        ("one two three", 8, ["one two", "three"]),
        ("one two three", 7, ["one two", "three"]),
        ("onetwothree four", 6, ["onetwo", "three", "four"]),
        ("  indented text", 10, ["  indented", "text"]),
        ("你好你好", 5, ["你好", "你好"]),
        ("你好", 0, ["你", "好"]),
        ("", 5, [""]),
    ],
)
def test_a_text_goes_on_below(text: str, columns: int, lines: list[str]) -> None:
    assert list(wrap(text, columns)) == lines


@given(TEXTS, st.integers(2, 30))
def test_nothing_of_a_text_is_lost(text: str, columns: int) -> None:
    lines = list(wrap(text, columns))
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(width(line) <= columns for line in lines)


def test_items_flow_into_as_many_lines_as_they_need() -> None:
    items = [[("key", letter), ("", f" {letter * 3}")] for letter in "abcd"]
    lines = ["".join(text for _, text in line) for line in flow(items, 12)]
    assert lines == ["a aaa  b bbb", "c ccc  d ddd"]
