"""The snapshot of an account as one line for ``systemctl status``.

The line changes only in substance: it shows no age, no time of a next attempt, and only the last
poll that was asked for or did something. So if it is sent only when it differs from the last one
sent, an idle service sends nothing.
"""

import unicodedata
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from mailroom.rules.polling.push import NO_PUSH, PushStatus
from mailroom.rules.status.health import Phase, Snapshot, Trouble
from mailroom.rules.words import count

# systemctl does not wrap its status line: the rest is lost at the edge of the terminal.
_LINE_LIMIT = 240
# Within it, a reason or a problem leaves room for the counts.
_REASON_LIMIT = 140
_PROBLEM_LIMIT = 100


def _utc_clock_face(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%H:%M:%S}"


def status_line(snapshot: Snapshot, clock_face: Callable[[float], str] = _utc_clock_face) -> str:
    """Printable ASCII, at most 240 characters, trouble first.

    ``clock_face`` writes an instant as people read it: HH:MM:SS of their own day.
    """
    parts = []
    if snapshot.phase is Phase.STOPPING:
        parts.append("stopping")
    if (refused := snapshot.refused_reload) is not None:
        problem = _clipped(_ascii(refused.problems[0]), _PROBLEM_LIMIT)
        parts.append(f"reload refused, the old configuration is in effect: {problem}")
    if snapshot.is_reading_book:
        parts.append("reading the address book for the first time, which may take minutes")
    if snapshot.trouble is not None:
        parts.append(_trouble_in_line(snapshot.trouble))
    parts += _attention(snapshot)
    parts.append(_push_in_line(snapshot))
    if (poll := snapshot.last_active_poll) is not None:
        parts.append(f"last poll {clock_face(poll.at)} ({poll.trigger})")
    parts.append(f"{_count(snapshot.totals.triaged.total(), 'sender')} triaged since start")
    if snapshot.push.status is PushStatus.CONNECTED:
        parts.append(f"also polls every {snapshot.poll_interval:g} s")
    return _clipped(_ascii("; ".join(parts)), _LINE_LIMIT)


def _attention(snapshot: Snapshot) -> Iterator[str]:
    """What needs the user's attention."""
    if snapshot.failing:
        yield f"{_count(len(snapshot.failing), 'sender')} failing, see mailroom status"
    if snapshot.conflicts:
        yield f"{_count(len(snapshot.conflicts), 'conflict')}, see mailroom status"
    if snapshot.rules_failed_at is not None:
        yield "the server's rules fail, see mailroom status"
    if snapshot.moved_at_once:
        yield f"{_count(snapshot.moved_at_once, 'sender')} moved at once, see mailroom status"


def _count(number: int, noun: str) -> str:
    return count(number, noun) if number else f"no {noun}"


def _trouble_in_line(trouble: Trouble) -> str:
    reason = _clipped(_ascii(trouble.reason), _REASON_LIMIT)
    return reason if trouble.is_lasting else f"polls fail, trying again: {reason}"


def _push_in_line(snapshot: Snapshot) -> str:
    push = snapshot.push
    if push.status is PushStatus.CONNECTED:
        return "push connected"
    is_first_try = snapshot.phase is Phase.STARTING and push.error is None
    if is_first_try or (push.status is PushStatus.CONNECTING and push.reconnect_count == 0):
        return "push connecting"
    state = "push down"
    if push.status is PushStatus.UNAVAILABLE:
        state = "no push here" if push.error in (None, NO_PUSH) else _ascii(str(push.error))
    return f"{state}, polling every {snapshot.poll_interval:g} s"


# Common characters that NFKD does not turn into ASCII.
_PLAIN = str.maketrans(
    {"\u2013": "-", "\u2014": "-", "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"'}
)


def _ascii(text: str) -> str:
    """``text`` in printable ASCII: without accents, the rest escaped.

    sdnotify loses a message with anything beyond Latin-1, and a newline would begin a new
    assignment in the middle of STATUS=.
    """
    if text.isascii() and text.isprintable():
        return text
    decomposed = unicodedata.normalize("NFKD", text.translate(_PLAIN))
    bare = "".join(char for char in decomposed if not unicodedata.combining(char))
    return "".join(
        char if " " <= char <= "~" else char.encode("unicode_escape").decode("ascii")
        for char in bare
    )


def _clipped(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."
