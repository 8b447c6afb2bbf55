"""One key for each category."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailroom.terminal.screening.keys import keys_of


@pytest.mark.parametrize(
    ("names", "keys"),
    [
        (
            ["Imbox", "Feed", "Paper Trail", "Jail", "Person", "Billboard", "Truck"],
            ["i", "f", "p", "j", "e", "b", "t"],
        ),
        (["Paper Trail", "Person", "Trains"], ["p", "e", "t"]),  # a first letter goes first
        (["Paper", "Paper Trail"], ["p", "t"]),
        (["Urgent", "Queue", "U", "Q"], ["r", "e", "1", "2"]),  # undo and quit have theirs
        (["Élan", "Új hírek", "Новости", "2026"], ["e", "h", "н", "2"]),
        (["!!!", "???"], ["1", "2"]),
    ],
)
def test_a_category_has_a_letter_of_its_own(names: list[str], keys: list[str]) -> None:
    assert keys_of(names) == dict(zip(names, keys, strict=True))


@given(st.lists(st.text(min_size=1, max_size=12), unique=True, max_size=80))
def test_no_two_categories_share_a_key(names: list[str]) -> None:
    found = keys_of(names)
    assert len(set(found.values())) == len(found)
    assert all(len(key) == 1 and key.isalnum() and key not in "qu" for key in found.values())
    assert len(found) == len(names) or len(found) >= 26 + 9 - 2
