"""What the screen knows: who waits, what was decided and is under way, where the cursor is.

Only the service knows who waits. A decision shows at once as under way. The sender leaves the list
when the service reports that it is done, and stays, with the reason, if the service refuses. An
answer to a question from before the decision does not bring the sender back. The cursor is on a
sender, and does not move when others come or go.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import Enum

from mailroom.rules.words import count
from mailroom.terminal.harmless import harmless
from mailroom.terminal.screening.cursor import Cursor
from mailroom.terminal.screening.values import (
    DecisionResult,
    DoneDecision,
    Move,
    Sender,
    WaitingChange,
    WaitingList,
)

NOBODY = "this mail names no sender to decide about: file it in your mail program"


class Pane(Enum):
    """Which list is shown."""

    WAITING = "who waits"
    DECIDED = "who was decided about on this screen"


class Board:
    """``message`` is the last message, ``away`` says why the service does not answer."""

    def __init__(self) -> None:
        self.senders: dict[str, Sender] = {}
        self.waiting: WaitingList | None = None
        self.chosen: set[str] = set()
        self.under_way: dict[str, Move] = {}
        self.refused: dict[str, str] = {}
        self.history: dict[DoneDecision, None] = {}  # oldest first
        self.pane = Pane.WAITING
        self.search = ""
        self.message = ""
        self.away = ""
        self._decided: Mapping[str, DoneDecision] = {}
        self._cursors = {pane: Cursor() for pane in Pane}
        self._is_renewed = True
        self._readings = 0
        self._gone: dict[str, int] = {}
        self._steps = 0
        # For each step, how many decisions are under way, done and refused.
        self._left: Counter[int] = Counter()
        self._done: Counter[int] = Counter()
        self._refused: Counter[int] = Counter()

    @property
    def cursor(self) -> Cursor:
        self._renew()
        return self._cursors[self.pane]

    @property
    def decided(self) -> Mapping[str, DoneDecision]:
        """The newest decision about each address."""
        self._renew()
        return self._decided

    @property
    def sender(self) -> Sender | None:
        """The waiting sender under the cursor."""
        row = self.cursor.row if self.pane is Pane.WAITING else None
        return None if row is None else self.senders.get(row)

    # What the service says

    def begin_reading(self) -> int:
        """The question of who waits is about to be sent; its number identifies the answer."""
        self._readings += 1
        return self._readings

    def read(self, number: int, waiting: WaitingList) -> None:
        """The answer to the question of this number."""
        self.away = ""
        self._gone = {who: last for who, last in self._gone.items() if last >= number}
        self.waiting = waiting
        self.senders = {
            sender.address: sender for sender in waiting.senders if sender.address not in self._gone
        }
        self.chosen &= self.senders.keys()
        self._is_renewed = False

    def change(self, change: WaitingChange) -> bool:
        """Take in an event about who waits, while no question is under way. Returns False if a
        question is needed instead: the event may show somebody as before a decision."""
        if self.waiting is None or any(each.address in self._gone for each in change.changed):
            return False
        for address in change.gone:
            self.senders.pop(address, None)
            self._gone.pop(address, None)
        changed = {each.address: each for each in change.changed}
        senders = sorted(
            (self.senders | changed).values(), key=lambda each: each.received_at, reverse=True
        )
        self.senders = {each.address: each for each in senders}
        self.chosen &= self.senders.keys()
        self._is_renewed = False
        return True

    def done(self, move: Move, outcome: DecisionResult) -> None:
        """The service has carried it out."""
        if move.undoes is None:
            name, category = move.name, outcome.category
            done = DoneDecision(
                move.address, name, category, outcome.previous, outcome.filed, move.step
            )
            self.history[done] = None
        else:
            self.history.pop(move.undoes, None)
        if outcome.category is not None:
            self._gone[move.address] = self._readings
            self.senders.pop(move.address, None)
            self.chosen.discard(move.address)
        self._is_renewed = False
        self._done[move.step] += 1
        self._end(move)
        self.message = self._told(move, outcome)

    def refuse(self, move: Move, reason: str) -> None:
        """The decision was not carried out, or nobody knows whether it was."""
        self.refused[move.address] = reason
        self._refused[move.step] += 1
        self._end(move)
        self.message = f"{_who(move)}: {reason}"

    # What the user does

    def look_at(self, pane: Pane) -> None:
        self.pane = pane

    def find(self, text: str) -> None:
        """Show only senders whose name, address or subject contains this text, in any case."""
        self.search = text
        self._is_renewed = False

    def choose(self) -> None:
        """Choose the sender under the cursor, or cancel the choice."""
        if self.sender is not None:
            self.chosen ^= {self.sender.address}
            self.cursor.move(1)

    def choose_all(self) -> None:
        """Choose all that are shown; if all are chosen already, choose none of them."""
        shown = set(self.cursor.rows) if self.pane is Pane.WAITING else set()
        self.chosen = self.chosen - shown if shown <= self.chosen else self.chosen | shown

    def choose_none(self) -> None:
        self.chosen = set()

    def targets(self) -> list[str]:
        """Whom a decision would be about: the chosen ones, else the one under the cursor."""
        if self.pane is Pane.WAITING and self.chosen:
            return [address for address in self.senders if address in self.chosen]
        row = self.cursor.row
        return [] if row is None else [row]

    def decide(self, category: str | None) -> list[Move]:
        """Returns the decisions to send, without senders who have one under way."""
        targets = self.targets()
        if targets == [""]:
            self.message = NOBODY
        self._steps += 1
        moves = [
            Move(address, self._name(address), category, self._steps)
            for address in targets
            if address and address not in self.under_way
        ]
        self.chosen = set()
        self._begin(moves)
        if moves and self.pane is Pane.WAITING:
            self.cursor.step_over(self.under_way.keys())
        return moves

    def undo(self) -> list[Move]:
        """Returns what to send to undo the last decision, for all senders if it was about many."""
        undone = {move.undoes for move in self.under_way.values()}
        last = next((done for done in reversed(self.history) if done not in undone), None)
        if last is None:
            self.message = "there is nothing to undo"
            return []
        self._steps += 1
        moves = [
            Move(done.address, done.name, done.previous, self._steps, undoes=done)
            for done in self.history
            if done.step == last.step and done.address not in self.under_way
        ]
        if not moves:
            self.message = "still under way: undo it when it is done"
        self._begin(moves)
        return moves

    def _begin(self, moves: Sequence[Move]) -> None:
        for move in moves:
            self.under_way[move.address] = move
            self.refused.pop(move.address, None)
        self._left[self._steps] = len(moves)
        if moves:
            self.message = self._told(moves[0])

    def _end(self, move: Move) -> None:
        self.under_way.pop(move.address, None)
        self._left[move.step] -= 1

    def _name(self, address: str) -> str:
        if sender := self.senders.get(address):
            return sender.name
        done = self.decided.get(address)
        return done.name if done else ""

    def _told(self, move: Move, outcome: DecisionResult | None = None) -> str:
        """The progress of the decisions that were made together."""
        place = place_of(move.category)
        left, done, refused = (
            tally[move.step] for tally in (self._left, self._done, self._refused)
        )
        if left + done + refused == 1:
            filed = outcome.filed if outcome else 0
            mails = f", {count(filed, 'mail')} filed" if filed else ""
            return f"{_who(move)} → {place}{mails if not left else ' …'}"
        told = f"{count(left + done + refused, 'sender')} → {place}"
        told += f", {refused} refused" if refused else ""
        return f"{told}, {left} to go …" if left else told

    def _renew(self) -> None:
        """Renew the lists once for all that has happened: 5,000 answers come one by one."""
        if self._is_renewed:
            return
        self._is_renewed = True
        wanted = self.search.casefold()
        self._cursors[Pane.WAITING].renew(
            [address for address, each in self.senders.items() if _has(each, wanted)]
        )
        self._decided = {done.address: done for done in self.history}
        newest = dict.fromkeys(done.address for done in reversed(self.history))
        self._cursors[Pane.DECIDED].renew(list(newest))


def place_of(category: str | None) -> str:
    """Where this decision sends mail, in words."""
    return category or "Screener"


def _who(move: Move) -> str:
    return move.name or harmless(move.address)


def _has(sender: Sender, wanted: str) -> bool:
    texts = (sender.name, sender.address, sender.subject)
    return not wanted or any(wanted in text.casefold() for text in texts)
