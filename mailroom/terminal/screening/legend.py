"""The keys explained: in a few words below the list, and on a page of their own."""

from collections.abc import Sequence

from mailroom.terminal.harmless import harmless
from mailroom.terminal.screening.board import Board, Pane
from mailroom.terminal.screening.keys import QUIT, TAKE_BACK, UNDO
from mailroom.terminal.screening.lines import Line, fit, flow
from mailroom.terminal.screening.values import Choice

_WAITING = (
    ("space", "choose"),
    ("/", "search"),
    (UNDO, "undo"),
    ("enter", "read"),
    ("tab", "decided"),
    ("?", "help"),
    (QUIT, "quit"),
)
_DECIDED = (
    (TAKE_BACK, "take back"),
    (UNDO, "undo"),
    ("tab", "who waits"),
    ("?", "help"),
    (QUIT, "quit"),
)

_HELP = (
    ("↑ ↓", "move; also page up and down, home, end"),
    ("space", "choose several; a category then goes to all"),
    ("*", "choose all that are shown, or none"),
    ("/", "search in names, addresses, subjects"),
    ("enter", "read the newest mail"),
    (UNDO, "undo the last decision; again: the one before"),
    ("tab", "whom you have decided about here, and back"),
    (TAKE_BACK, "there: take the sender back to Screener"),
    ("esc", "back; show all again; choose nobody"),
    ("ctrl-l, ctrl-z", "redraw; go to the shell for a while"),
    (QUIT, "quit, once all that is under way is done"),
)
_MARKS = (
    ("*  !", "chosen; refused, and the mail says why"),
    ("→ Feed …", "decided, and under way"),
)
_KEY_COLUMNS = 15
_INTRODUCTION = "The sender, with all waiting mail, goes to"


def key_lines(board: Board, categories: Sequence[Choice], columns: int) -> list[Line]:
    """The keys that can be pressed now."""
    chosen = _keys([each for each in categories if each.key])
    others = _WAITING if board.pane is Pane.WAITING else _DECIDED
    rest: list[Line] = [[("key", key), ("dim", f" {what}")] for key, what in others]
    return [
        [("", " "), *line]
        for line in (*flow(chosen, columns - 2), *flow(rest, columns - 2))
        if line
    ]


def help_lines(categories: Sequence[Choice], columns: int) -> list[Line]:
    """All keys; any key leaves the page."""
    return [
        [],
        [("", fit(f"  {_INTRODUCTION}", columns))],
        *[[("", "  "), *line] for line in flow(_keys(categories), columns - 3)],
        [],
        *_table(_HELP, columns),
        [],
        *_table(_MARKS, columns),
    ]


def _keys(categories: Sequence[Choice]) -> list[Line]:
    return [[("key", each.key or "-"), ("", f" {harmless(each.name)}")] for each in categories]


def _table(rows: Sequence[tuple[str, str]], columns: int) -> list[Line]:
    room = max(0, columns - _KEY_COLUMNS - 2)
    return [[("key", f"  {fit(key, _KEY_COLUMNS)}"), ("", fit(what, room))] for key, what in rows]
