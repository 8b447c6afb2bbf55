"""The status of a process with many accounts: the sum of their snapshots, as ``health`` is for one.

The process is healthy as long as one of its accounts is: what is wrong with a single account is in
that account's answers, and in the counts.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from mailroom.rules.polling.push import PushStatus
from mailroom.rules.status.health import RefusedReload, Vitals, timestamp, unhealthy_reason
from mailroom.rules.words import count

# systemctl does not wrap its status line.
_LINE_LIMIT = 240


@dataclass(frozen=True, slots=True)
class Member:
    """One account. ``vitals`` are None if it never ran; ``problems`` say why its file or its
    secrets are not in effect."""

    name: str
    vitals: Vitals | None
    problems: tuple[str, ...] = ()

    @property
    def reason(self) -> str | None:
        """Why it is not well; None if it is."""
        if self.problems:
            return self.problems[0]
        return unhealthy_reason(self.vitals) if self.vitals else "it does not run"

    @property
    def is_healthy(self) -> bool:
        """A refused file does not make it unhealthy: the former one stays in effect."""
        return self.vitals is not None and unhealthy_reason(self.vitals) is None


@dataclass(frozen=True, slots=True)
class Fleet:
    """All accounts of the process."""

    version: str
    pid: int
    started_at: float
    uptime_seconds: float
    members: Sequence[Member]
    refused_reload: RefusedReload | None = None


class Sum:
    """Counts over all accounts, updated when an account changes: of a thousand, few change between
    two questions. An account counts as it was when it was put in."""

    def __init__(self, members: Iterable[Member] = ()) -> None:
        self.well = self.running = self.connected = self.polls = self.waiting_senders = 0
        #: Why accounts are not well, or their files not in effect, by name.
        self.reasons: dict[str, str] = {}
        self._members: dict[str, Member] = {}
        for member in members:
            self.put(member)

    def __len__(self) -> int:
        return len(self._members)

    def put(self, member: Member) -> None:
        """Add an account, or replace it by its present state."""
        self.drop(member.name)
        self._members[member.name] = member
        self._count(member, 1)
        if reason := member.reason:
            self.reasons[member.name] = reason

    def drop(self, name: str) -> None:
        """Remove an account, known or not."""
        if member := self._members.pop(name, None):
            self._count(member, -1)
            self.reasons.pop(name, None)

    def _count(self, member: Member, times: int) -> None:
        self.well += times * member.is_healthy
        if found := member.vitals:
            self.running += times
            self.connected += times * (found.push is PushStatus.CONNECTED)
            self.polls += times * found.poll_count
            self.waiting_senders += times * (found.waiting.senders if found.waiting else 0)


def healthz(found: Sum) -> tuple[int, dict[str, object]]:
    """The answer to ``GET /healthz`` of the process."""
    reason = None
    if len(found) and not found.well:
        name, why = next(iter(found.reasons.items()))
        reason = f"no account is well; {name}: {why}"
    return (HTTPStatus.SERVICE_UNAVAILABLE if reason else HTTPStatus.OK), {
        "status": "unhealthy" if reason else "ok",
        "reason": reason,
        "accounts": {"ok": found.well, "unhealthy": len(found) - found.well},
        "poll_count": found.polls,
        "eventsource": {"connected": found.connected, "accounts": found.running},
    }


def accounts(members: Iterable[Member]) -> dict[str, object]:
    """The answer to ``GET /accounts``: a line for each."""
    return {"accounts": [_row(each) for each in members]}


def status(fleet: Fleet) -> dict[str, object]:
    """The answer to ``GET /status`` of the process."""
    refused = fleet.refused_reload
    return {
        **healthz(Sum(fleet.members))[1],
        "version": fleet.version,
        "pid": fleet.pid,
        "started_at": timestamp(fleet.started_at),
        "uptime_seconds": round(fleet.uptime_seconds, 3),
        "refused_reload": refused
        and {"at": timestamp(refused.at), "problems": list(refused.problems)},
        "members": accounts(fleet.members)["accounts"],
    }


def status_line(found: Sum, refused: RefusedReload | None) -> str:
    """The line for ``systemctl status``: trouble first, then counts."""
    parts = []
    if refused:
        parts.append(f"reload refused: {refused.problems[0]}")
    if found.reasons:
        name, reason = next(iter(found.reasons.items()))
        parts.append(f"{count(len(found.reasons), 'account')} not well ({name}: {reason})")
    parts.append(f"{count(len(found), 'account')}, {found.connected} with push")
    parts.append(f"{count(found.waiting_senders, 'sender')} waiting")
    line = "; ".join(parts).encode("ascii", "replace").decode()
    return line if len(line) <= _LINE_LIMIT else f"{line[: _LINE_LIMIT - 3]}..."


def _row(member: Member) -> dict[str, object]:
    found = member.vitals
    return {
        "account": member.name,
        "status": "ok" if member.is_healthy else "unhealthy",
        "reason": member.reason,
        "phase": found.phase.value if found else None,
        "push": found.push.value if found else None,
        "waiting_senders": found.waiting.senders if found and found.waiting else None,
        "last_poll_at": timestamp(found.last_poll.at) if found and found.last_poll else None,
    }
