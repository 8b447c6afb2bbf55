"""Who waits, made up."""

from datetime import UTC, datetime, timedelta

from mailroom.terminal.screening.board import Board
from mailroom.terminal.screening.values import DecisionResult, Move, Sender, WaitingList

NOON = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


def sender(address: str, name: str = "", subject: str = "Hello", hours: float = 1) -> Sender:
    """Somebody with one mail that came so many hours before noon."""
    at = NOON - timedelta(hours=hours)
    return Sender(address, name, 1, f"mail of {address}", subject, at, at)


def waiting(*senders: Sender | str) -> WaitingList:
    made = tuple(sender(each) if isinstance(each, str) else each for each in senders)
    return WaitingList(made)


def board(*senders: Sender | str) -> Board:
    """A board that has read who waits."""
    made = Board()
    made.read(made.begin_reading(), waiting(*senders))
    return made


def done(board: Board, move: Move, filed: int = 1, previous: str | None = None) -> None:
    """The service carries it out."""
    board.done(move, DecisionResult(move.category, previous, filed))
