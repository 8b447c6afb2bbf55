"""What keys do."""

from collections.abc import Sequence

import pytest

from mailroom.terminal.screening.board import Board, Pane
from mailroom.terminal.screening.keyboard import Keyboard, Mode, Wish
from mailroom.terminal.screening.values import Choice, Move
from tests.screen.people import board, done

FEED, JAIL = Choice("Feed", "f"), Choice("Jail", "j")


def keyboard(room: Board) -> Keyboard:
    made = Keyboard(room)
    made.learn([FEED, JAIL, Choice("No key left", "")])
    return made


def moves(result: Wish | Sequence[Move]) -> list[tuple[str, str | None]]:
    assert not isinstance(result, Wish)
    return [(move.address, move.category) for move in result]


def test_a_categorys_key_decides() -> None:
    keys = keyboard(board("bob@a", "eve@a"))
    assert moves(keys.press("f")) == [("bob@a", "Feed")]
    assert moves(keys.press("j")) == [("eve@a", "Jail")]
    assert moves(keys.press("x")) == []


@pytest.mark.parametrize(
    ("keys", "row"),
    [
        (["down", "down"], "c@a"),
        (["down", "up", "up"], "a@a"),
        (["end"], "e@a"),
        (["end", "home"], "a@a"),
        (["page down"], "d@a"),
        (["page down", "page up"], "a@a"),
        (["ctrl n", "ctrl n", "ctrl p"], "b@a"),
    ],
)
def test_the_cursor_moves(keys: list[str], row: str) -> None:
    room = board(*(f"{letter}@a" for letter in "abcde"))
    pressed = keyboard(room)
    pressed.page = 3
    for key in keys:
        pressed.press(key)
    assert room.cursor.row == row


def test_more_than_a_few_at_once_take_a_second_press() -> None:
    room = board(*(f"person{number}@a" for number in range(11)))
    keys = keyboard(room)
    keys.press("*")
    assert moves(keys.press("f")) == []
    assert room.message == "11 senders → Feed? Press f again"
    assert moves(keys.press("j")) == []  # another key is no answer to that
    assert moves(keys.press("f")) == []
    keys.press("up")
    assert moves(keys.press("f")) == []
    assert len(moves(keys.press("f"))) == 11


def test_letters_that_are_searched_for_decide_nothing() -> None:
    room = board("bob@a", "eve@fjq")
    keys = keyboard(room)
    for key in ("/", "f", "j", "q"):
        assert moves(keys.press(key)) == []
    assert (keys.mode, room.search, room.cursor.row) == (Mode.SEARCH, "fjq", "eve@fjq")
    keys.press("backspace")
    assert room.search == "fj"
    keys.press("enter")
    assert moves(keys.press("f")) == [("eve@fjq", "Feed")]
    keys.press("esc")
    assert (room.search, len(room.cursor.rows)) == ("", 2)


@pytest.mark.parametrize("key", ["esc", "ctrl u"])
def test_a_search_is_given_up(key: str) -> None:
    room = board("bob@a", "eve@a")
    keys = keyboard(room)
    for pressed in ("/", "x", key):
        keys.press(pressed)
    assert room.search == ""


def test_escape_leaves_one_thing_after_the_other() -> None:
    room = board("bob@a", "eve@a")
    keys = keyboard(room)
    for key in ("/", "b", "enter", " ", "tab"):
        keys.press(key)
    assert (room.pane, room.chosen, room.search) == (Pane.DECIDED, {"bob@a"}, "b")
    keys.press("esc")
    assert (room.pane, room.chosen, room.search) == (Pane.WAITING, {"bob@a"}, "b")
    keys.press("esc")
    assert (room.chosen, room.search) == (set(), "b")
    keys.press("esc")
    assert room.search == ""


def test_who_was_decided_about_is_taken_back_there_and_only_there() -> None:
    room = board("bob@a")
    keys = keyboard(room)
    assert moves(keys.press("-")) == []
    assert "tab" in room.message
    [move] = room.decide("Feed")
    done(room, move)
    keys.press("tab")
    assert moves(keys.press("-")) == [("bob@a", None)]


def test_undo_is_a_key() -> None:
    room = board("bob@a")
    [move] = room.decide("Feed")
    done(room, move)
    assert moves(keyboard(room).press("u")) == [("bob@a", None)]


def test_help_is_left_with_any_key_which_does_nothing_else() -> None:
    keys = keyboard(board("bob@a"))
    modes = []
    for key in ("?", "f"):
        assert moves(keys.press(key)) == []
        modes.append(keys.mode)
    assert modes == [Mode.HELP, Mode.LIST]


def test_a_mail_is_scrolled_and_its_sender_decided_about() -> None:
    keys = keyboard(board("bob@a", "eve@a"))
    keys.press("enter")
    keys.page = 10
    for key in ("down", "page down", " ", "up"):
        keys.press(key)
    assert (keys.mode, keys.top) == (Mode.MAIL, 20)
    assert moves(keys.press("f")) == [("bob@a", "Feed")]
    assert keys.mode is Mode.LIST


@pytest.mark.parametrize("key", ["esc", "enter", "q"])
def test_a_mail_is_left(key: str) -> None:
    keys = keyboard(board("bob@a"))
    keys.press("enter")
    assert moves(keys.press(key)) == []
    assert keys.mode is Mode.LIST


def test_where_nobody_waits_there_is_nothing_to_read() -> None:
    keys = keyboard(board())
    keys.press("enter")
    assert keys.mode is Mode.LIST


@pytest.mark.parametrize("mode", ["", "/", "?", "enter"])
@pytest.mark.parametrize(
    ("key", "wish"),
    [
        ("ctrl c", Wish.QUIT),
        ("ctrl z", Wish.SUSPEND),
        ("ctrl l", Wish.REDRAW),
        ("window resize", Wish.REDRAW),
    ],
)
def test_these_keys_work_everywhere(mode: str, key: str, wish: Wish) -> None:
    keys = keyboard(board("bob@a"))
    keys.press(mode)
    assert keys.press(key) is wish


def test_q_quits() -> None:
    assert keyboard(board("bob@a")).press("q") is Wish.QUIT
