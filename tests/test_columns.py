"""Lists on a terminal: in columns, each as wide as it has to be, the last one cut."""

import pytest

from mailroom.terminal.columns import aligned, cells, cut


def test_columns_are_as_wide_as_what_is_in_them() -> None:
    lines = [["bob@x", "3", "Sale"], ["carol@x", "12", ""]]
    assert aligned(lines, 80) == ["bob@x    3   Sale", "carol@x  12"]
    assert aligned([], 80) == []


def test_no_line_is_wider_than_the_terminal() -> None:
    lines = [["x" * 100, "1", "你好" * 40], ["y", "1", "Zoë" * 40]]
    shown = aligned(lines, 60)
    assert all(cells(line) <= 60 for line in shown)
    assert shown[0].startswith("x" * 39 + "…  1  你好")
    assert shown[1].startswith("y" + " " * 39 + "  1  Zoë")


@pytest.mark.parametrize("width", [80, 60, 40, 20, 8, 1])
def test_what_comes_last_has_room_too(width: int) -> None:
    lines = [
        ["a" * 60, "3", "15:36:20", "n" * 30, "s" * 90],
        ["b@x", "1", "15:36:20", "Bob", "Sale"],
    ]
    shown = aligned(lines, width)
    assert all(cells(line) <= width for line in shown)
    if width >= 40:
        assert shown[0].endswith("s" * (width // 5 - 1) + "…")
        assert shown[1].endswith("  Sale")


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdef", 5, "abcd…"),
        ("你好你", 6, "你好你"),
        ("你好你", 5, "你好…"),
        ("你好你", 4, "你…"),
        ("e\u0301tude", 5, "e\u0301tude"),
    ],
)
def test_what_is_cut_is_cut_between_characters(text: str, width: int, shown: str) -> None:
    assert cut(text, width) == shown
