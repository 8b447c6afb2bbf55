"""What is on the screen, at every size."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailroom.terminal.harmless import harmless
from mailroom.terminal.screening.board import Board
from mailroom.terminal.screening.cursor import Cursor
from mailroom.terminal.screening.keyboard import Keyboard
from mailroom.terminal.screening.keys import keys_of
from mailroom.terminal.screening.lines import width
from mailroom.terminal.screening.picture import Scene, age, draw
from mailroom.terminal.screening.values import Choice, Preview
from mailroom.terminal.screening.window import Window
from tests.screen.drawing import DOCUMENT, drawn
from tests.screen.people import NOON, board, done, sender, waiting
from tests.screen.service import CATEGORIES

NAMED = tuple(Choice(name, key) for name, key in keys_of(CATEGORIES).items())
PREVIEW = Preview("Bob", "Hello", NOON, ("Dear all,", "", "some text"))
SIZES = [(60, 24), (80, 24), (200, 50), (100, 12), (40, 10), (20, 5), (1, 1)]


def scene(room: Board, preview: Preview | str | None = PREVIEW) -> Scene:
    keyboard = Keyboard(room)
    keyboard.learn(NAMED)
    return Scene(room, keyboard, Window(), NAMED, preview, NOON)


def text(scene: Scene, columns: int = 80, rows: int = 24) -> list[str]:
    lines = draw(scene, columns, rows)
    assert len(lines) == rows
    shown = ["".join(part for _, part in line) for line in lines]
    assert [line for line in shown if width(line) > columns] == []
    return [line.rstrip() for line in shown]


def test_a_sender_has_name_address_subject_mails_and_since_when() -> None:
    bob = replace(sender("bob@builders.example", "Bob", "Can we fix it?", hours=50), mails=3)
    [line] = [line for line in text(scene(board(bob)), 200) if line.startswith(">")]
    row = line.partition("│")[0]
    parts = [part for part in row.split("  ") if part.strip()]
    assert [part.strip() for part in parts[:3]] == [">", "Bob", "bob@builders.example"]
    assert row.split()[-3:] == ["3", "2", "d"]
    assert "Can we fix it?" in row


def test_the_mail_is_beside_the_list_or_below_it() -> None:
    room = board(sender("bob@a", "Bob"))
    wide = text(scene(room), 200)
    assert [line.partition(" │ ")[2] for line in wide[1:3]] == ["Bob", "bob@a"]
    narrow = text(scene(room), 60)
    rule = next(number for number, line in enumerate(narrow) if line.startswith("─"))
    assert rule > 2
    assert narrow[rule + 1 : rule + 3] == [" Bob", " bob@a"]
    assert " Dear all," in narrow[rule:]


@pytest.mark.parametrize(("columns", "rows"), SIZES)
@pytest.mark.parametrize("key", ["", "?", "enter", "tab", "/"])
def test_every_view_keeps_to_the_screen(columns: int, rows: int, key: str) -> None:
    room = board(*(sender(f"person{number}@a", "x" * number) for number in range(100)))
    shown = scene(room)
    shown.keyboard.press(key)
    text(shown, columns, rows)


@pytest.mark.parametrize(("columns", "rows"), SIZES[:4])
def test_all_categories_have_their_key_on_the_screen(columns: int, rows: int) -> None:
    shown = " ".join(text(scene(board("bob@a")), columns, rows))
    for key, name in zip("ifpjebt", CATEGORIES, strict=True):
        assert f"{key} {name}" in shown


HOSTILE = "\x1b]0;pwned\x07\x1b[2J\u202etxt.exe\u2066 \x9b31m" + "漢" * 50 + "a\u0300" * 5000


@given(st.text(max_size=60) | st.just(HOSTILE), st.sampled_from(SIZES))
def test_whatever_mail_says_keeps_to_its_place(said: str, size: tuple[int, int]) -> None:
    clean = harmless(said)
    room = board(sender(said, clean, clean), "bob@a")
    room.find(said[:1])
    shown = scene(room, Preview(clean, clean, NOON, (clean, clean), (clean,)))
    for move in room.decide(said):
        room.refuse(move, clean)
    for key in ("", "enter", "esc", "tab"):
        shown.keyboard.press(key)
        lines = text(shown, *size)
        assert all(character.isprintable() for line in lines for character in line)


@pytest.mark.parametrize(
    ("room", "said"),
    [
        (Board(), "Asking the service who waits …"),
        (board(), "Nobody waits."),
        (board("bob@a"), "1 sender waits"),
        (board("bob@a", "eve@a"), "2 senders wait"),
        (board("bob@a", ""), "1 sender waits"),
        (board(""), "Waiting: 1 mail without a usable sender"),
    ],
)
def test_how_many_wait_is_told(room: Board, said: str) -> None:
    assert said in "\n".join(text(scene(room)))


def test_a_search_without_an_end_says_how_to_get_back() -> None:
    room = board("bob@a")
    room.find("nobody")
    shown = "\n".join(text(scene(room)))
    assert "0 with “nobody”" in shown
    assert "Esc shows all" in shown


def test_a_service_that_does_not_answer_is_told_and_the_list_stays() -> None:
    room = board("bob@a")
    room.away = "the service does not answer; trying again"
    shown = text(scene(room))
    assert shown[0] == " 1 sender waits  the service does not answer; trying again"
    assert any("bob@a" in line for line in shown[1:])


def test_what_is_under_way_and_what_was_refused_are_told_in_the_row() -> None:
    room = board("bob@a", "eve@a")
    room.decide("Feed")
    [move] = room.decide("Jail")
    room.refuse(move, "labelled @ToFeed")
    shown = "\n".join(text(scene(room)))
    assert "→ Feed …" in shown
    assert "! eve@a" in shown
    assert "labelled @ToFeed" in shown


def test_chosen_senders_are_marked_and_counted() -> None:
    room = board("bob@a", "eve@a")
    room.choose()
    shown = text(scene(room))
    assert shown[0] == " 2 senders wait · 1 chosen"
    assert shown[2].startswith(" * bob@a")


def test_who_was_decided_about_is_a_list_of_its_own() -> None:
    room = board(sender("bob@a", "Bob"))
    [move] = room.decide("Feed")
    done(room, move, filed=3, previous="Jail")
    shown = scene(room)
    shown.keyboard.press("tab")
    told = "\n".join(text(shown))
    assert "Decided here: 1 sender" in told
    assert "→ Feed, 3 mails filed" in told
    assert "before: Jail" in told


@pytest.mark.parametrize("preview", [None, "no such mail in Screener"])
def test_a_mail_that_cannot_be_shown_says_why(preview: str | None) -> None:
    assert (preview or "bob@a") in "\n".join(text(scene(board("bob@a"), preview)))


def test_a_long_mail_is_scrolled_to_its_end_and_no_further() -> None:
    room = board("bob@a")
    long = replace(PREVIEW, lines=tuple(f"line {number}" for number in range(99)))
    shown = scene(room, long)
    for key in ("enter", "end"):
        shown.keyboard.press(key)
    lines = text(shown)
    assert lines[-2:] == [" line 98", " esc back, ↑ ↓ scroll · 100 %"]
    shown.keyboard.press("up")
    assert text(shown)[-2] == " line 97"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(-5, "now"), (59, "now"), (60, "1 min"), (3599, "59 min"), (3600, "1 h"), (200_000, "2 d")],
)
def test_an_age_is_told_in_one_unit(seconds: int, told: str) -> None:
    assert age(NOON, NOON - timedelta(seconds=seconds)) == told


# The window


def shown_rows(window: Window, cursor: Cursor, height: int = 4) -> str:
    return "".join(cursor.rows[number] for number in window.rows(cursor, height))


def test_the_window_follows_the_cursor() -> None:
    window, cursor = Window(), Cursor("abcdefgh")
    assert shown_rows(window, cursor) == "abcd"
    cursor.move(5)
    assert shown_rows(window, cursor) == "cdef"
    cursor.move(-2)
    assert shown_rows(window, cursor) == "cdef"
    cursor.move(-2)
    assert shown_rows(window, cursor) == "bcde"


def test_newcomers_are_seen_at_the_top() -> None:
    window, cursor = Window(), Cursor("abcdefgh")
    shown_rows(window, cursor)
    cursor.renew("xabcdefgh")
    assert (shown_rows(window, cursor), cursor.row) == ("xabc", "a")
    cursor.renew("uvwxabcdefgh")
    assert (shown_rows(window, cursor), cursor.row) == ("vwxa", "a")


def test_below_the_top_the_line_that_is_read_stays_where_it_is() -> None:
    window, cursor = Window(), Cursor("abcdefgh")
    cursor.move(4)
    assert shown_rows(window, cursor) == "bcde"
    cursor.renew("xyabcdefgh")
    assert shown_rows(window, cursor) == "bcde"
    cursor.renew("cdefgh")
    assert shown_rows(window, cursor) == "cdef"


def test_the_end_of_the_list_is_at_the_bottom() -> None:
    window, cursor = Window(), Cursor("abcdefgh")
    cursor.move(7)
    assert shown_rows(window, cursor) == "efgh"
    cursor.renew("abc")
    assert shown_rows(window, cursor) == "abc"


def test_a_board_that_is_read_again_keeps_the_screen_calm() -> None:
    room = board(*(f"person{number}@a" for number in range(50)))
    shown = scene(room)
    room.cursor.move(30)
    before = text(shown)[1:]
    newcomers = [f"new{number}@a" for number in range(5)]
    room.read(room.begin_reading(), waiting(*newcomers, *room.senders))
    assert text(shown)[1:] == before


def test_the_documentation_shows_the_screen_as_it_is() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert drawn(text) == text, "make screen draws it anew"
