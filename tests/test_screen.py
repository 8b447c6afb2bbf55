"""How commands show numbers, spans and instants."""

import io
import re
from datetime import datetime

import pytest
from rich.console import Console

from mailroom.rules.words import count
from mailroom.terminal.screen import table
from mailroom.terminal.times import clock_face, span


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.9, "0 s"),
        (59, "59 s"),
        (60, "1 min 0 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 0 min"),
        (86_399, "23 h 59 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_a_span_has_its_two_largest_units(seconds: float, told: str) -> None:
    assert span(seconds) == told


def test_an_instant_has_its_date_unless_it_is_today() -> None:
    assert re.fullmatch(r"\d\d:\d\d:\d\d", clock_face(datetime.now().astimezone().isoformat()))
    assert re.fullmatch(r"2026-01-0[12] \d\d:\d\d:\d\d", clock_face("2026-01-01T12:00:00Z"))


@pytest.mark.parametrize(("number", "told"), [(0, "0 mails"), (1, "1 mail"), (2, "2 mails")])
def test_one_is_not_several(number: int, told: str) -> None:
    assert count(number, "mail") == told


def test_a_narrow_table_shows_all_of_an_address() -> None:
    address = "somebody.with.a.long.name@a-long-host.example.org"
    shown = table("From")
    shown.add_row(address)
    file = io.StringIO()
    Console(file=file, width=30).print(shown)
    assert address in "".join(line.strip() for line in file.getvalue().splitlines())
