"""What the screen knows, by what it is told and what is done to it."""

import time

import pytest

from mailroom.terminal.screening.board import NOBODY, Board, Pane
from mailroom.terminal.screening.values import DecisionResult, WaitingChange
from tests.screen.people import board, done, sender, waiting


def rows(board: Board) -> list[str]:
    return list(board.cursor.rows)


def test_a_decision_is_under_way_until_the_service_says_that_it_is_done() -> None:
    room = board("bob@a", "eve@a")
    [move] = room.decide("Feed")
    assert (move.address, move.category) == ("bob@a", "Feed")
    assert rows(room) == ["bob@a", "eve@a"]
    assert room.message == "bob@a → Feed …"
    done(room, move, filed=3)
    assert rows(room) == ["eve@a"]
    assert room.message == "bob@a → Feed, 3 mails filed"


def test_who_is_under_way_is_not_decided_about_once_more() -> None:
    room = board("bob@a")
    room.decide("Feed")
    assert room.decide("Jail") == []


def test_the_cursor_goes_on_to_the_next_who_needs_a_decision() -> None:
    room = board("bob@a", "eve@a", "joe@a")
    room.decide("Feed")
    assert room.cursor.row == "eve@a"
    room.decide("Feed")
    room.decide("Feed")
    assert room.cursor.row == "joe@a"


def test_what_the_service_refuses_comes_back_with_the_reason() -> None:
    room = board("bob@a", "eve@a")
    [move] = room.decide("Feed")
    room.refuse(move, "labelled @ToJail at this moment")
    assert rows(room) == ["bob@a", "eve@a"]
    assert room.refused == {"bob@a": "labelled @ToJail at this moment"}
    assert room.message == "bob@a: labelled @ToJail at this moment"
    assert room.undo() == []
    room.cursor.move(-1)
    [again] = room.decide("Jail")
    assert room.refused == {}
    done(room, again)
    assert rows(room) == ["eve@a"]


def test_an_answer_from_before_a_decision_brings_nobody_back() -> None:
    room = board("bob@a", "eve@a")
    early = room.begin_reading()
    [move] = room.decide("Feed")
    done(room, move)
    room.read(early, waiting("bob@a", "eve@a"))
    assert rows(room) == ["eve@a"]


def test_an_answer_from_after_a_decision_is_believed() -> None:
    room = board("bob@a", "eve@a")
    [move] = room.decide("Feed")
    done(room, move)
    room.read(room.begin_reading(), waiting("bob@a", "eve@a"))
    assert rows(room) == ["bob@a", "eve@a"]


def test_what_is_told_of_who_waits_changes_the_list_without_a_question() -> None:
    room = board(sender("bob@a", hours=1), sender("eve@a", hours=2), sender("joe@a", hours=3))
    room.cursor.move(1)
    room.choose_all()
    again = sender("joe@a", subject="Once more", hours=0)
    assert room.change(WaitingChange((again, sender("new@a", hours=1.5)), ("bob@a", "nobody@a")))
    assert rows(room) == ["joe@a", "new@a", "eve@a"]
    assert (room.cursor.row, room.senders["joe@a"].subject) == ("eve@a", "Once more")
    assert room.chosen == {"eve@a", "joe@a"}


def test_what_is_told_of_somebody_just_decided_about_is_asked_for() -> None:
    room = board("bob@a", "eve@a")
    [move] = room.decide("Feed")
    done(room, move)
    told = WaitingChange((sender("bob@a", hours=0),), ())
    assert not room.change(told)
    assert rows(room) == ["eve@a"]
    room.change(WaitingChange((), ("bob@a",)))  # now it is known there: what follows is newer
    assert room.change(told)
    assert rows(room) == ["bob@a", "eve@a"]


def test_before_the_first_answer_nothing_can_change() -> None:
    assert not Board().change(WaitingChange((sender("bob@a"),), ()))


def test_the_cursor_stays_on_its_sender_while_mail_arrives() -> None:
    room = board("bob@a", "eve@a", "joe@a")
    room.cursor.move(1)
    room.read(room.begin_reading(), waiting("new@a", "zoe@a", "eve@a", "bob@a"))
    assert room.cursor.row == "eve@a"


@pytest.mark.parametrize(
    ("at", "left", "row"),
    [
        (1, ["ann@a", "joe@a"], "joe@a"),  # the next
        (2, ["ann@a", "bob@a"], "bob@a"),  # else the one above
        (1, ["zoe@a"], "zoe@a"),  # else the top
        (1, [], None),
    ],
)
def test_where_its_sender_has_gone_the_cursor_goes_to_a_neighbour(
    at: int, left: list[str], row: str | None
) -> None:
    room = board("ann@a", "bob@a", "joe@a")
    room.cursor.move(at)
    room.read(room.begin_reading(), waiting(*left))
    assert room.cursor.row == row


def test_many_are_decided_about_together_and_undone_together() -> None:
    room = board("bob@a", "eve@a", "joe@a")
    room.choose()
    room.choose()
    assert room.cursor.row == "joe@a"
    moves = room.decide("Feed")
    assert [move.address for move in moves] == ["bob@a", "eve@a"]
    assert room.message == "2 senders → Feed, 2 to go …"
    done(room, moves[0])
    assert room.message == "2 senders → Feed, 1 to go …"
    done(room, moves[1], previous="Jail")
    assert room.message == "2 senders → Feed"
    assert room.chosen == set()
    back = room.undo()
    assert [(move.address, move.category) for move in back] == [("bob@a", None), ("eve@a", "Jail")]


def test_of_many_the_refused_are_counted() -> None:
    room = board("bob@a", "eve@a")
    room.choose_all()
    first, second = room.decide("Feed")
    room.refuse(first, "no")
    done(room, second)
    assert room.message == "2 senders → Feed, 1 refused"
    assert rows(room) == ["bob@a"]


def test_undo_goes_back_step_by_step_and_what_it_undid_is_forgotten() -> None:
    room = board("bob@a", "eve@a")
    for _ in range(2):
        [move] = room.decide("Feed")
        done(room, move)
    [back] = room.undo()
    assert (back.address, back.category) == ("eve@a", None)
    done(room, back)
    assert room.message == "eve@a → Screener, 1 mail filed"
    room.read(room.begin_reading(), waiting("eve@a"))
    [back] = room.undo()
    assert back.address == "bob@a"
    done(room, back)
    assert room.undo() == []
    assert room.message == "there is nothing to undo"


def test_an_undo_that_is_refused_can_be_tried_again() -> None:
    room = board("bob@a")
    [move] = room.decide("Feed")
    done(room, move)
    [back] = room.undo()
    room.refuse(back, "the mail server does not answer")
    assert [move.address for move in room.undo()] == ["bob@a"]


def test_who_was_decided_about_can_be_taken_back_and_given_another_category() -> None:
    room = board(sender("bob@a", "Bob"), "eve@a")
    [move] = room.decide("Feed")
    done(room, move, filed=2)
    room.look_at(Pane.DECIDED)
    assert rows(room) == ["bob@a"]
    assert (room.decided["bob@a"].category, room.decided["bob@a"].filed) == ("Feed", 2)
    [move] = room.decide("Jail")
    assert move.name == "Bob"
    done(room, move, previous="Feed")
    [move] = room.decide(None)
    done(room, move, previous="Jail")
    assert room.decided["bob@a"].category is None
    assert [(back.category) for back in room.undo()] == ["Jail"]


def test_a_search_finds_names_addresses_and_subjects() -> None:
    room = board(
        sender("bob@a", "Robert"), sender("eve@shop.example"), sender("joe@a", subject="ROBERTA")
    )
    room.find("robert")
    assert rows(room) == ["bob@a", "joe@a"]
    room.find("shop")
    assert rows(room) == ["eve@shop.example"]
    room.find("nobody")
    assert rows(room) == []
    assert room.decide("Feed") == []
    room.find("")
    assert room.cursor.row == "bob@a"


def test_all_that_are_shown_are_chosen_and_no_others() -> None:
    room = board("bob@a", "eve@b", "joe@a")
    room.find("@a")
    room.choose_all()
    assert room.chosen == {"bob@a", "joe@a"}
    room.choose_all()
    assert room.chosen == set()


def test_who_leaves_is_not_chosen_any_more() -> None:
    room = board("bob@a", "eve@a")
    room.choose_all()
    room.read(room.begin_reading(), waiting("eve@a"))
    assert room.targets() == ["eve@a"]


def test_mail_without_a_sender_cannot_be_decided_about() -> None:
    room = board("")
    assert room.decide("Feed") == []
    assert room.message == NOBODY


def test_five_thousand_answers_take_no_longer_than_they_should() -> None:
    room = board(*(f"person{number}@a" for number in range(5000)))
    room.choose_all()
    began = time.process_time()
    for move in room.decide("Feed"):
        done(room, move)
    for move in room.undo():
        room.done(move, DecisionResult(None, "Feed", 1))
    assert room.message == "5000 senders → Screener"
    assert time.process_time() - began < 2
