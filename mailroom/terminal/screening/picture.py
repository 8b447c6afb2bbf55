"""The screen as lines: the list, beside or below it the mail under the cursor, and the keys.

Everything is computed anew for each picture, but only for the visible rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from itertools import islice

from mailroom.rules.words import count, who_waits
from mailroom.terminal.harmless import harmless
from mailroom.terminal.screening.board import Board, Pane, place_of
from mailroom.terminal.screening.keyboard import Keyboard, Mode
from mailroom.terminal.screening.legend import help_lines, key_lines
from mailroom.terminal.screening.lines import Line, Piece, clip, cut, fit, restyled, width, wrap
from mailroom.terminal.screening.values import Choice, DoneDecision, Preview, Sender
from mailroom.terminal.screening.window import Window

# On a screen of this width the mail is beside the list, on a narrower one below it.
_WIDE_COLUMNS = 110
_LIST_SHARE = 0.6
# A shorter list would show too few senders: then there is no room for the mail.
_LEAST_ROWS = 5
_MAILS_COLUMNS, _WAITS_COLUMNS = 6, 8
# The sender's share of what the numbers leave, its least and its most; the subject gets the rest.
_WHO_SHARE, _LEAST_WHO_COLUMNS, _MOST_WHO_COLUMNS = 0.48, 12, 56
_LEAST_ADDRESS_COLUMNS = 6
_MOST_SUBJECT_LINES = 3
_NO_SENDER, _NO_SUBJECT = "(no usable sender)", "(no subject)"
_HOW_TO_CHANGE = "Another category's key changes it, - takes it back to Screener."
_AND_MORE = "… and more: read it in your mail program"
# Longer lines are hard to read.
_MOST_TEXT_COLUMNS = 90
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


@dataclass(frozen=True, slots=True)
class Scene:
    """What there is to show. ``preview`` is that of the mail under the cursor: None while it is
    being fetched, a text that says why there is none. ``zone`` None is the host's."""

    board: Board
    keyboard: Keyboard
    window: Window
    categories: Sequence[Choice]
    preview: Preview | str | None
    now: datetime
    zone: tzinfo | None = None


def draw(scene: Scene, columns: int, rows: int) -> list[Line]:
    """The whole screen: at most so many lines, each at most so wide."""
    scene.keyboard.page = max(1, rows - 3)
    if scene.keyboard.mode is Mode.HELP:
        body = help_lines(scene.categories, columns)
    elif scene.keyboard.mode is Mode.MAIL:
        body = _mail_page(scene, columns, rows)
    else:
        body = _front(scene, columns, rows)
    lines = [clip(line, columns) for line in (_title(scene, columns), *body)]
    return (lines + [[] for _ in range(rows)])[:rows]


def _front(scene: Scene, columns: int, rows: int) -> list[Line]:
    keys = key_lines(scene.board, scene.categories, columns)
    foot = [_message(scene, columns), *keys]
    room = rows - 1 - len(foot)
    if room < _LEAST_ROWS:
        return [*_list(scene, columns, max(1, rows - 2)), foot[0]]
    if columns >= _WIDE_COLUMNS:
        return [*_side_by_side(scene, columns, room), *foot]
    return [*_stacked(scene, columns, room), *foot]


def _side_by_side(scene: Scene, columns: int, room: int) -> list[Line]:
    left = int(columns * _LIST_SHARE)
    right = columns - left - 3
    names = _list(scene, left, room)
    mail = list(islice(_mail(scene, right - 1), room))
    lines = []
    for number in range(room):
        line = names[number] if number < len(names) else []
        used = sum(width(text) for _, text in line)
        panel = mail[number] if number < len(mail) else []
        lines.append([*line, ("", " " * (left - used)), ("rule", " │ "), *panel])
    return lines


def _stacked(scene: Scene, columns: int, room: int) -> list[Line]:
    below = max(0, min((room - 1) // 2, room - 1 - _LEAST_ROWS))
    above = room - below - (1 if below else 0)
    names = _list(scene, columns, above)
    names += [[] for _ in range(above - len(names))]
    if not below:
        return names
    mail = [[("", " "), *line] for line in islice(_mail(scene, columns - 2), below)]
    mail += [[] for _ in range(below - len(mail))]
    return [*names, [("rule", "─" * columns)], *mail]


def _title(scene: Scene, columns: int) -> Line:
    board = scene.board
    if scene.keyboard.mode is Mode.HELP:
        return [("title", fit(" Any key goes back", columns))]
    told = "Mailroom"
    if board.waiting is not None:
        told = _who_waits(board)
    extra = [f"{len(board.chosen)} chosen"] if board.chosen else []
    if board.search and board.pane is Pane.WAITING:
        extra.append(f"{len(board.cursor.rows)} with “{board.search}”")
    if board.pane is Pane.DECIDED:
        told = f"Decided here: {count(len(board.cursor.rows), 'sender')}"
    left = " · ".join([told, *map(harmless, extra)])
    if not board.away:
        return [("title", fit(f" {left}", columns))]
    room = max(0, columns - width(left) - 4)
    return [("title", f" {left}  "), ("wrong", fit(board.away, room + 1))]


def _who_waits(board: Board) -> str:
    senders = sum(map(bool, board.senders))  # by address: mail without a usable sender has none
    if senders:
        return f"{count(senders, 'sender')} {'waits' if senders == 1 else 'wait'}"
    mails = sum(each.mails for each in board.senders.values())
    return f"Waiting: {who_waits(0, mails)}" if mails else "Nobody waits"


def _message(scene: Scene, columns: int) -> Line:
    if scene.keyboard.mode is Mode.SEARCH:
        return [("key", " search: "), ("", f"{harmless(scene.board.search)}_")]
    return [("message", fit(f" {harmless(scene.board.message)}", columns))]


# The list


def _list(scene: Scene, columns: int, height: int) -> list[Line]:
    """Its head, and the visible rows."""
    board = scene.board
    cursor = board.cursor
    if not cursor.rows:
        return [[], [("", f"   {_empty(board)}")]]
    height = max(1, height - 1)
    scene.keyboard.page = height
    row_of = _waiting_row if board.pane is Pane.WAITING else _decided_row
    head = ("who", "newest mail", "mails", "waits")
    if board.pane is Pane.DECIDED:
        head = ("who", "decided", "filed", "")
    lines = [restyled(_row("   ", head[0], "", ("", head[1]), head[2:], columns), "head", columns)]
    for number in scene.window.rows(cursor, height):
        line = row_of(scene, cursor.rows[number], columns)
        is_here = number == cursor.at
        lines.append(
            restyled([("", ">"), *line], "cursor", columns) if is_here else [("", " "), *line]
        )
    return lines


def _empty(board: Board) -> str:
    if board.pane is Pane.DECIDED:
        return "You have not decided about anybody on this screen yet."
    if board.waiting is None:
        return "" if board.away else "Asking the service who waits …"
    if board.search and board.senders:
        return "Nobody who waits matches. Esc shows all."
    return "Nobody waits."


def _waiting_row(scene: Scene, address: str, columns: int) -> Line:
    board, sender = scene.board, scene.board.senders[address]
    mark = "*" if address in board.chosen else " "
    middle: Piece = ("", sender.subject or _NO_SUBJECT)
    if move := board.under_way.get(address):
        middle = ("way", f"→ {place_of(move.category)} …")
    elif reason := board.refused.get(address):
        mark, middle = "!", ("wrong", reason)
    mails = str(sender.mails) if sender.mails > 1 else ""
    ends = (mails, age(scene.now, sender.since))
    who = sender.name or harmless(address) or _NO_SENDER
    shown_address = harmless(address) if sender.name else ""
    return _row(f"{mark} ", who, shown_address, middle, ends, columns - 1)


def _decided_row(scene: Scene, address: str, columns: int) -> Line:
    board, done = scene.board, scene.board.decided[address]
    mark, before = " ", f"before: {done.previous}" if done.previous else ""
    middle: Piece = ("", f"→ {place_of(done.category)}  {before}")
    if move := board.under_way.get(address):
        middle = ("way", f"→ {place_of(move.category)} …")
    elif reason := board.refused.get(address):
        mark, middle = "!", ("wrong", reason)
    shown_address = harmless(address) if done.name else ""
    filed = str(done.filed) if done.filed else ""
    who = done.name or harmless(address)
    return _row(f"{mark} ", who, shown_address, middle, (filed, ""), columns - 1)


def _row(
    mark: str, who: str, shown_address: str, middle: Piece, ends: Sequence[str], columns: int
) -> Line:
    """Mark, who (name, and the address if there is room), what, two numbers."""
    mails, waits = ends
    rest = columns - len(mark) - _MAILS_COLUMNS - _WAITS_COLUMNS
    left = max(_LEAST_WHO_COLUMNS, min(int(rest * _WHO_SHARE), _MOST_WHO_COLUMNS))
    right = max(0, rest - left - 2)
    name = cut(who, left - 1) + "…" if width(who) > left else who
    room = left - width(name) - 2
    address = (
        fit(shown_address, room)
        if shown_address and room >= _LEAST_ADDRESS_COLUMNS
        else " " * max(0, room)
    )
    gap = " " * (left - width(name) - len(address) if not shown_address else 2)
    pieces = [("", mark), ("name", name), ("", gap), ("dim", address)]
    short = left - sum(width(text) for _, text in pieces[1:])
    style, what = middle
    return [
        *pieces,
        ("", " " * (short + 2)),
        (style, fit(what, right)),
        ("", f"{mails:>{_MAILS_COLUMNS}}{waits:>{_WAITS_COLUMNS}}"),
    ]


def age(now: datetime, then: datetime) -> str:
    """How long ago, in the largest unit that fits."""
    seconds = (now - then).total_seconds()
    for size, unit in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return "now"


# The mail


def _mail(scene: Scene, columns: int) -> Iterator[Line]:
    """What is beside the list: who it is, and the beginning of the newest mail."""
    board = scene.board
    row = board.cursor.row
    if board.pane is Pane.DECIDED and row is not None:
        yield from _about(board.decided[row], columns)
    if board.sender is None:
        return
    yield from _head(scene, board.sender, columns)
    yield []
    match scene.preview:
        case None:
            return
        case str() as reason:
            yield from _text(reason, columns, "wrong")
        case preview:
            yield from _body(preview, columns)


def _head(scene: Scene, sender: Sender, columns: int) -> Iterator[Line]:
    if sender.name:
        yield [("name", sender.name)]
    yield [("dim", harmless(sender.address) or _NO_SENDER)]
    yield from islice(_text(sender.subject or _NO_SUBJECT, columns, "subject"), _MOST_SUBJECT_LINES)
    when = sender.received_at.astimezone(scene.zone).strftime("%a %d %b %Y, %H:%M")
    if sender.mails > 1:
        when += f" · {sender.mails} mails, for {age(scene.now, sender.since)}"
    yield [("dim", when)]
    if refused := scene.board.refused.get(sender.address):
        yield from _text(refused, columns, "wrong")


def _about(done: DoneDecision, columns: int) -> Iterator[Line]:
    if done.name:
        yield [("name", done.name)]
    yield [("dim", harmless(done.address))]
    yield []
    filed = f", {count(done.filed, 'mail')} filed" if done.filed else ""
    yield from _text(f"→ {place_of(done.category)}{filed}", columns, "")
    before = f"before: {done.previous}" if done.previous else "before: nothing was decided"
    yield from _text(before, columns, "")
    yield []
    yield from _text(_HOW_TO_CHANGE, columns, "dim")


def _body(preview: Preview, columns: int) -> Iterator[Line]:
    for name in preview.attachments:
        yield from _text(f"attached: {name}", columns, "dim")
    if preview.attachments:
        yield []
    for line in preview.lines:
        yield from _text(line, columns, "")
    if preview.is_truncated:
        yield []
        yield from _text(_AND_MORE, columns, "dim")


def _mail_page(scene: Scene, columns: int, rows: int) -> list[Line]:
    """The mail on a page of its own, scrolled."""
    text_columns = min(columns - 2, _MOST_TEXT_COLUMNS)
    lines, room = [[("", " "), *line] for line in _mail(scene, text_columns)], rows - 2
    last = max(0, len(lines) - room)
    scene.keyboard.top = min(scene.keyboard.top, last)
    shown = lines[scene.keyboard.top :][:room]
    shown += [[] for _ in range(room - len(shown))]
    place = f" · {scene.keyboard.top * 100 // last} %" if last else ""
    return [*shown, [("dim", fit(f" esc back, ↑ ↓ scroll{place}", columns))]]


def _text(text: str, columns: int, style: str) -> Iterator[Line]:
    return ([(style, line)] for line in wrap(text, columns))
