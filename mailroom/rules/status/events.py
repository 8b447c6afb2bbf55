"""What ``GET /events`` tells: the kinds of events and their documents.

Each document has the shape of ``mailroom/schema/event-KIND.schema.json``. The status socket says
how many and why, and names only decided senders, as /status does; only the control socket says who
has written and about what (``more``). ``at`` are seconds since the epoch.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from mailroom.rules.screening.waiting import Summary
from mailroom.rules.status.health import PushView, TriageView, Trouble, timestamp

Document = dict[str, Any]

# How much one event may name: it must leave room for others in a slow reader's queue.
MOST_BYTES = 8192


class EventKind(StrEnum):
    """What happened."""

    POLL = "poll"
    TRIAGE = "triage"
    ARRIVAL = "arrival"
    WAITING = "waiting"
    PUSH = "push"
    TROUBLE = "trouble"
    RELOAD = "reload"


@dataclass(frozen=True, slots=True)
class ServiceEvent:
    """Something that happened; ``more`` is what only the control socket says."""

    kind: EventKind
    document: Document
    more: Document | None = None


@dataclass(frozen=True, slots=True)
class Polled:
    """A finished poll, the ``number``-th; ``error`` is why it failed."""

    trigger: str
    number: int
    seconds: float
    senders: int = 0
    filed: int = 0
    arrivals: int = 0
    error: str | None = None


def poll(at: float, done: Polled) -> ServiceEvent:
    document = {
        "at": timestamp(at),
        "trigger": done.trigger,
        "poll_count": done.number,
        "seconds": round(done.seconds, 3),
        "senders": done.senders,
        "filed": done.filed,
        "arrivals": done.arrivals,
        "error": done.error,
    }
    return ServiceEvent(EventKind.POLL, document)


def triage(done: TriageView) -> ServiceEvent:
    """A sender, a domain or a list was triaged."""
    document = {
        "at": timestamp(done.at),
        "sender": done.sender,
        "category": done.category,
        "previous": done.previous,
        "filed": done.filed,
        "trigger": done.trigger,
        "by": done.by,
    }
    return ServiceEvent(EventKind.TRIAGE, document)


def arrival(
    at: float, outcomes: Counter[str], waiting: int, mails: Iterable[Mapping[str, Any]] | None
) -> ServiceEvent:
    """New mail, counted by what decided about it; ``waiting`` of them wait. ``mails`` has a
    document for each if somebody watches."""
    document = {
        "at": timestamp(at),
        "count": outcomes.total(),
        "waiting": waiting,
        "outcomes": dict(outcomes),
    }
    return ServiceEvent(
        EventKind.ARRIVAL, document, None if mails is None else {"mails": _fitting(list(mails))}
    )


def waiting(
    at: float, summary: Summary, changed: Sequence[Document] = (), gone: Sequence[str] = ()
) -> ServiceEvent:
    """The waiting senders have changed: ``changed`` as they are now, ``gone`` wait no more."""
    return _waiting(at, summary, changed, gone, is_complete=True)


def waiting_unknown(at: float, summary: Summary) -> ServiceEvent:
    """The waiting senders have changed; how, this process does not know."""
    return _waiting(at, summary, (), (), is_complete=False)


def _waiting(
    at: float,
    summary: Summary,
    changed: Sequence[Document],
    gone: Sequence[str],
    *,
    is_complete: bool,
) -> ServiceEvent:
    told = _fitting(changed)
    left = _fitting(gone) if len(told) == len(changed) else []
    is_whole = len(told) == len(changed) and len(left) == len(gone)
    document = {
        "at": timestamp(at),
        "senders": summary.senders,
        "mails": summary.mails,
        "oldest": None if summary.oldest is None else timestamp(summary.oldest),
    }
    more = {"changed": told, "gone": left, "is_complete": is_complete and is_whole}
    return ServiceEvent(EventKind.WAITING, document, more)


def push(at: float, view: PushView) -> ServiceEvent:
    """The push stream is up, or down, or being opened."""
    return ServiceEvent(
        EventKind.PUSH, {"at": timestamp(at), "status": str(view.status), "error": view.error}
    )


def trouble(at: float, found: Trouble | None) -> ServiceEvent:
    """Polls fail for a new reason; None: they succeed again."""
    told = found and {
        "since": timestamp(found.since),
        "kind": found.kind,
        "reason": found.reason,
        "lasting": found.is_lasting,
    }
    return ServiceEvent(EventKind.TROUBLE, {"at": timestamp(at), "trouble": told})


def reload(at: float, problems: Sequence[str]) -> ServiceEvent:
    """The configuration was read again; with ``problems``, the former one stays in effect."""
    return ServiceEvent(EventKind.RELOAD, {"at": timestamp(at), "problems": list(problems)})


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def encoded(document: object) -> bytes:
    """JSON on one line. A lone surrogate, which UTF-8 cannot carry, becomes a question mark."""
    return _encode(document).encode("utf-8", "replace")


def _fitting(each: Sequence[Any]) -> list[Any]:
    """As many as fit."""
    left, told = MOST_BYTES, []
    for document in each:
        left -= len(encoded(document)) + 1
        if left < 0:
            break
        told.append(document)
    return told
