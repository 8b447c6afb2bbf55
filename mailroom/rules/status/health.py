"""The service's status: a snapshot of one account in, the answers of the status socket out.

The documents of ``/healthz`` and ``/status`` are made here, from the same :class:`Snapshot` as the
metrics (``metrics.py``) and the line for systemd (``statusline.py``). ``at`` and ``since`` are
seconds since the epoch, ``_seconds`` are spans. The documents have the shapes of
``mailroom/schema/healthz.schema.json`` and ``status.schema.json``.
"""

import math
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from http import HTTPStatus

from mailroom.rules.polling.push import PushStatus
from mailroom.rules.screening.waiting import Summary

# How many triages /status shows, and how many are kept so that they can be undone.
RECENT_LIMIT = 20
KEPT_LIMIT = 200

# A poll may be late by its own interval before anyone is alarmed.
_MISSED_INTERVALS = 2


class Phase(StrEnum):
    """What the account is doing."""

    STARTING = "starting"
    IDLE = "idle"
    POLLING = "polling"
    BACKING_OFF = "backing-off"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class PushView:
    """The push stream as seen from outside. The query of ``url`` is never shown."""

    status: PushStatus
    connected_since: float | None = None
    last_event: float | None = None
    reconnect_count: int = 0
    url: str | None = None
    error: str | None = None
    #: Since when there is no connection; None while there is one, and while push is unavailable.
    down_since: float | None = None


@dataclass(frozen=True, slots=True)
class PollView:
    """A successful poll and what caused it."""

    at: float
    trigger: str


@dataclass(frozen=True, slots=True)
class NextPoll:
    """When the next poll is due, and why."""

    at: float
    in_seconds: float
    trigger: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why the polls do not succeed.

    ``reason`` says what is wrong and what to do, and stays the same from one attempt to the next,
    because it is part of the STATUS line. Only the user can end lasting trouble.
    """

    since: float
    kind: str
    reason: str
    is_lasting: bool


@dataclass(frozen=True, slots=True)
class TriageView:
    """A sender that was triaged. ``number`` counts from 1 since the start of the process; ``by`` is
    the user who did it by command; ``is_repeated``: the sender was in that category before."""

    number: int
    at: float
    sender: str
    category: str
    previous: str | None
    filed: int
    trigger: str
    by: str | None = None
    is_repeated: bool = False


@dataclass(frozen=True, slots=True)
class FailingSender:
    """A sender that could not be triaged so far."""

    sender: str
    reason: str
    attempts: int
    next_try_at: float | None


@dataclass(frozen=True, slots=True)
class ConflictView:
    """A sender with labels of several categories: nothing is done until the user takes all but
    one of them off."""

    sender: str
    categories: tuple[str, ...]
    since: float


@dataclass(frozen=True, slots=True)
class RefusedReload:
    """A configuration that was refused; the one before it stays in effect."""

    at: float
    problems: tuple[str, ...]


@dataclass(slots=True)
class Totals:
    """What was counted since the start. The account counts here, a snapshot shows it."""

    polls: Counter[str] = field(default_factory=Counter)
    polls_failed: int = 0
    triaged: Counter[str] = field(default_factory=Counter)
    #: New mail that the door has decided about, by what decided (a ``screening.Who``).
    arrivals: Counter[str] = field(default_factory=Counter)
    mails_filed: int = 0
    conflicts: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0

    @property
    def poll_count(self) -> int:
        """Every finished poll, failed ones included."""
        return self.polls.total()


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One account at one instant.

    ``last_poll`` is the newest successful poll; ``last_active_poll`` the newest successful one that
    was asked for or did something, so not an idle scheduled or fallback poll. ``trouble`` ends with
    the next successful poll; ``last_error`` keeps the newest trouble, for people who look later.
    ``recent`` has the newest triage last.
    """

    version: str
    pid: int
    account: str
    phase: Phase
    started_at: float
    uptime_seconds: float
    poll_interval: float
    push: PushView
    totals: Totals
    last_poll: PollView | None = None
    last_poll_age_seconds: float | None = None
    last_active_poll: PollView | None = None
    next_poll: NextPoll | None = None
    trouble: Trouble | None = None
    last_error: Trouble | None = None
    recent: tuple[TriageView, ...] = ()
    failing: tuple[FailingSender, ...] = ()
    conflicts: tuple[ConflictView, ...] = ()
    refused_reload: RefusedReload | None = None
    #: None before the first count.
    waiting: Summary | None = None
    #: Senders whose mail was moved out of Screener at once: too many to be decisions.
    moved_at_once: int = 0
    #: When the server's rules last failed with a mail.
    rules_failed_at: float | None = None
    #: The address book is being read for the first time, which may take a server minutes.
    is_reading_book: bool = False


@dataclass(frozen=True, slots=True)
class Vitals:
    """What the sums over many accounts need of each, as in :class:`Snapshot`: cheap to make, since
    there may be thousands."""

    phase: Phase
    push: PushStatus
    poll_interval: float
    uptime_seconds: float
    poll_count: int
    last_poll: PollView | None = None
    last_poll_age_seconds: float | None = None
    trouble: Trouble | None = None
    waiting: Summary | None = None


def unhealthy_reason(snapshot: Snapshot | Vitals) -> str | None:
    """Why the service is not healthy; None if it is.

    It is unhealthy in lasting trouble, or without a successful poll for twice the interval. It is
    healthy without push: the fallback polls do that work.
    """
    trouble = snapshot.trouble
    if trouble is not None and trouble.is_lasting:
        return trouble.reason
    allowed = _MISSED_INTERVALS * snapshot.poll_interval
    age = snapshot.last_poll_age_seconds
    if (snapshot.uptime_seconds if age is None else age) <= allowed:
        return None
    since = " since the start" if age is None else ""
    why = f": {trouble.reason}" if trouble is not None else ""
    return f"no successful poll{since} for more than {allowed:g} s{why}"


def unchanged_seconds(vitals: Vitals) -> float:
    """How long the answer of :func:`unhealthy_reason` holds if nothing happens."""
    age = vitals.last_poll_age_seconds
    left = _MISSED_INTERVALS * vitals.poll_interval
    left -= vitals.uptime_seconds if age is None else age
    return left if left >= 0 else math.inf


def is_healthy(snapshot: Snapshot) -> bool:
    return unhealthy_reason(snapshot) is None


def timestamp(at: float) -> str:
    """An instant as RFC 3339 section 5.6 writes it, in UTC, to the millisecond."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def healthz(snapshot: Snapshot) -> tuple[int, dict[str, object]]:
    """The answer to ``GET /healthz``: 200 or 503, and its document."""
    reason = unhealthy_reason(snapshot)
    push, last = snapshot.push, snapshot.last_poll
    document: dict[str, object] = {
        "status": "ok" if reason is None else "unhealthy",
        "reason": reason,
        "last_poll_age_seconds": _rounded(snapshot.last_poll_age_seconds),
        "last_poll_at": last and timestamp(last.at),
        "last_poll_trigger": last and last.trigger,
        "poll_count": snapshot.totals.poll_count,
        "eventsource": {
            "connected": push.status is PushStatus.CONNECTED,
            "status": push.status.value,
            "connected_since": _timestamp_or_none(push.connected_since),
            "last_event": _timestamp_or_none(push.last_event),
            "reconnect_count": push.reconnect_count,
            "url": push.url and push.url.partition("?")[0],
            "error": push.error,
        },
    }
    return (HTTPStatus.OK if reason is None else HTTPStatus.SERVICE_UNAVAILABLE), document


def status(snapshot: Snapshot) -> dict[str, object]:
    """The answer to ``GET /status``: all that ``/healthz`` says, and everything else."""
    totals, upcoming = snapshot.totals, snapshot.next_poll
    return {
        **healthz(snapshot)[1],
        "version": snapshot.version,
        "pid": snapshot.pid,
        "account": snapshot.account,
        "phase": snapshot.phase.value,
        "started_at": timestamp(snapshot.started_at),
        "uptime_seconds": _rounded(snapshot.uptime_seconds),
        "poll_interval_seconds": snapshot.poll_interval,
        "next_poll": upcoming
        and {
            "at": timestamp(upcoming.at),
            "in_seconds": _rounded(upcoming.in_seconds),
            "trigger": upcoming.trigger,
        },
        "trouble": _trouble(snapshot.trouble),
        "last_error": _trouble(snapshot.last_error),
        "totals": {
            "polls": dict(totals.polls),
            "polls_failed": totals.polls_failed,
            "senders_triaged": dict(totals.triaged),
            "arrivals": dict(totals.arrivals),
            "mails_filed": totals.mails_filed,
            "conflicts": totals.conflicts,
            "errors": dict(totals.errors),
            "requests": totals.requests,
            "bytes_received": totals.bytes_received,
            "bytes_sent": totals.bytes_sent,
        },
        "recent_triages": [_triage(triage) for triage in snapshot.recent[-RECENT_LIMIT:]],
        "failing_senders": [_failing(sender) for sender in snapshot.failing],
        "conflicts": [_conflict(conflict) for conflict in snapshot.conflicts],
        "refused_reload": _refused_reload(snapshot.refused_reload),
        "waiting": _waiting(snapshot.waiting),
        "moved_at_once": snapshot.moved_at_once,
        "rules_failed_at": _timestamp_or_none(snapshot.rules_failed_at),
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _timestamp_or_none(at: float | None) -> str | None:
    return None if at is None else timestamp(at)


def _trouble(trouble: Trouble | None) -> dict[str, object] | None:
    if trouble is None:
        return None
    return {
        "since": timestamp(trouble.since),
        "kind": trouble.kind,
        "reason": trouble.reason,
        "lasting": trouble.is_lasting,
    }


def _triage(triage: TriageView) -> dict[str, object]:
    return {
        "number": triage.number,
        "at": timestamp(triage.at),
        "sender": triage.sender,
        "category": triage.category,
        "previous": triage.previous,
        "filed": triage.filed,
        "trigger": triage.trigger,
        "by": triage.by,
    }


def _failing(sender: FailingSender) -> dict[str, object]:
    return {
        "sender": sender.sender,
        "reason": sender.reason,
        "attempts": sender.attempts,
        "next_try_at": _timestamp_or_none(sender.next_try_at),
    }


def _conflict(conflict: ConflictView) -> dict[str, object]:
    return {
        "sender": conflict.sender,
        "categories": list(conflict.categories),
        "since": timestamp(conflict.since),
    }


def _refused_reload(refused: RefusedReload | None) -> dict[str, object] | None:
    if refused is None:
        return None
    return {"at": timestamp(refused.at), "problems": list(refused.problems)}


def _waiting(summary: Summary | None) -> dict[str, object] | None:
    if summary is None:
        return None
    return {
        "senders": summary.senders,
        "mails": summary.mails,
        "oldest": _timestamp_or_none(summary.oldest),
    }
