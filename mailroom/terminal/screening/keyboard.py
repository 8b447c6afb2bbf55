"""What a key does to the board, and what others have to do then.

Letters and digits stand for categories; the other keys are here, by urwid's names.
"""

from collections.abc import Sequence
from enum import Enum, auto

from mailroom.rules.words import count
from mailroom.terminal.screening import keys
from mailroom.terminal.screening.board import Board, Pane
from mailroom.terminal.screening.values import Choice, Move

# A decision about more senders at once needs a second press of its key.
_MANY = 10
_FAR = 1 << 30

_SMALL_STEPS = {"up": -1, "down": 1, "ctrl p": -1, "ctrl n": 1}
_TO_AN_END = {"home": -_FAR, "end": _FAR}
_PAGES = {"page up": -1, "page down": 1}


class Mode(Enum):
    """What keys are for.

    ====== ====================== ================
    mode   key                    next
    ====== ====================== ================
    LIST   /                      SEARCH
           ?, f1                  HELP
           enter on a sender      MAIL
    SEARCH enter, esc, tab, up or LIST
           down
    HELP   any                    LIST
    MAIL   enter, esc, q          LIST
           others than scrolling  LIST, and acts
    ====== ====================== ================
    """

    LIST = auto()
    SEARCH = auto()
    HELP = auto()
    MAIL = auto()


class Wish(Enum):
    """What a key asks of the program, apart from decisions."""

    QUIT = auto()
    SUSPEND = auto()
    REDRAW = auto()


class Keyboard:
    """``page`` is how many rows the list shows, for page up and down; ``top`` is how far the open
    mail was scrolled."""

    def __init__(self, board: Board) -> None:
        self.mode = Mode.LIST
        self.page = 10
        self.top = 0
        self._board = board
        self._categories: dict[str, Choice] = {}
        self._to_confirm = ""

    def learn(self, categories: Sequence[Choice]) -> None:
        self._categories = {each.key: each for each in categories if each.key}

    def press(self, key: str) -> Wish | Sequence[Move]:
        """Returns what is to be done: a wish, or decisions to send, often none."""
        if self.mode is Mode.LIST or (self.mode is Mode.MAIL and not self._scroll(key)):
            return self._act(key)
        if key in _WISHES and key != keys.QUIT:  # in a search q is a letter like any other
            return _WISHES[key]
        if self.mode is Mode.SEARCH:
            self._type(key)
        elif self.mode is Mode.HELP:
            self.mode = Mode.LIST
        return ()

    def _act(self, key: str) -> Wish | Sequence[Move]:
        """What a key does to the list."""
        confirmed, self._to_confirm = self._to_confirm, ""
        self._board.message = ""
        if key in self._categories:
            return self._decide(key, self._categories[key].name, confirmed)
        match key:
            case keys.TAKE_BACK:
                return self._take_back(confirmed)
            case keys.UNDO:
                return self._board.undo()
            case _ if key in _WISHES:
                return _WISHES[key]
        self._look(key)
        return ()

    def _decide(self, key: str, category: str | None, confirmed: str) -> Sequence[Move]:
        many = len(self._board.targets())
        if many > _MANY and confirmed != key:
            self._to_confirm = key
            place = category or "Screener"
            self._board.message = f"{count(many, 'sender')} → {place}? Press {key} again"
            return ()
        return self._board.decide(category)

    def _take_back(self, confirmed: str) -> Sequence[Move]:
        if self._board.pane is Pane.WAITING:
            self._board.message = "already in Screener; tab shows whom you decided about"
            return ()
        return self._decide(keys.TAKE_BACK, None, confirmed)

    def _look(self, key: str) -> None:
        """Keys that only change what is shown."""
        board = self._board
        steps = _SMALL_STEPS.get(key) or _TO_AN_END.get(key) or _PAGES.get(key, 0) * self.page
        if steps:
            board.cursor.move(steps)
            return
        match key:
            case " ":
                board.choose()
            case "*":
                board.choose_all()
            case "/":
                self.mode = Mode.SEARCH
                board.look_at(Pane.WAITING)
            case "?" | "f1":
                self.mode = Mode.HELP
            case "enter" if board.sender is not None:
                self.mode, self.top = Mode.MAIL, 0
            case "tab" | "shift tab":
                other = Pane.DECIDED if board.pane is Pane.WAITING else Pane.WAITING
                board.look_at(other)
            case "esc":
                self._leave()

    def _leave(self) -> None:
        """Leave the other list, else the choice, else the search."""
        board = self._board
        if board.pane is Pane.DECIDED:
            board.look_at(Pane.WAITING)
        elif board.chosen:
            board.choose_none()
        else:
            board.find("")

    def _type(self, key: str) -> None:
        board = self._board
        if key in ("enter", "down", "up", "tab"):
            self.mode = Mode.LIST
        elif key == "esc":
            self.mode = Mode.LIST
            board.find("")
        elif key == "ctrl u":
            board.find("")
        elif key == "backspace":
            board.find(board.search[:-1])
        elif len(key) == 1:
            board.find(board.search + key)

    def _scroll(self, key: str) -> bool:
        """Keys for a mail on its page; returns whether it was one. Others act on its sender."""
        steps = _SMALL_STEPS.get(key) or _TO_AN_END.get(key) or _PAGES.get(key, 0) * self.page
        if steps:
            self.top = max(0, self.top + steps)
        elif key in ("enter", "esc", keys.QUIT):
            self.mode = Mode.LIST
        elif key == " ":
            self.top += self.page
        else:
            self.mode = Mode.LIST
            return False
        return True


_WISHES = {
    keys.QUIT: Wish.QUIT,
    "ctrl c": Wish.QUIT,
    "ctrl z": Wish.SUSPEND,
    "ctrl l": Wish.REDRAW,
    "window resize": Wish.REDRAW,
}
