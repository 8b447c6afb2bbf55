"""How a process with many accounts is: the sum of their snapshots, as ``health`` is for one.

The process is healthy as long as one of its accounts is: what is wrong with a single one is in its
own answers, and in the counts.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mailroom.rules.polling.push import PushStatus
from mailroom.rules.status.health import RefusedReload, Vitals, timestamp, unhealthy_reason
from mailroom.rules.words import count

# systemctl does not wrap its status line.
_LINE_LIMIT = 240


@dataclass(frozen=True, slots=True)
class Member:
    """One account: how it is, None where it never ran; ``problems`` are why its file or its
    secrets are not in effect."""

    name: str
    vitals: Vitals | None
    problems: tuple[str, ...] = ()

    @property
    def reason(self) -> str | None:
        """Why it is not well; None when it is."""
        if self.problems:
            return self.problems[0]
        return unhealthy_reason(self.vitals) if self.vitals else "it does not run"

    @property
    def is_healthy(self) -> bool:
        """A file that is refused while the former one is in effect is no ill health."""
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


def healthz(fleet: Fleet) -> tuple[int, dict[str, object]]:
    """The answer to ``GET /healthz`` of the process."""
    well = sum(each.is_healthy for each in fleet.members)
    reason = None if well or not fleet.members else _worst(fleet.members)
    running = [each.vitals for each in fleet.members if each.vitals]
    connected = sum(each.push is PushStatus.CONNECTED for each in running)
    return (503 if reason else 200), {
        "status": "unhealthy" if reason else "ok",
        "reason": reason,
        "accounts": {"ok": well, "unhealthy": len(fleet.members) - well},
        "poll_count": sum(each.poll_count for each in running),
        "eventsource": {"connected": connected, "accounts": len(running)},
    }


def accounts(members: Iterable[Member]) -> dict[str, object]:
    """The answer to ``GET /accounts``: a line for each."""
    return {"accounts": [_row(each) for each in members]}


def status(fleet: Fleet) -> dict[str, object]:
    """The answer to ``GET /status`` of the process."""
    refused = fleet.refused_reload
    return {
        **healthz(fleet)[1],
        "version": fleet.version,
        "pid": fleet.pid,
        "started_at": timestamp(fleet.started_at),
        "uptime_seconds": round(fleet.uptime_seconds, 3),
        "refused_reload": refused
        and {"at": timestamp(refused.at), "problems": list(refused.problems)},
        "members": accounts(fleet.members)["accounts"],
    }


def status_line(fleet: Fleet) -> str:
    """What ``systemctl status`` shows: counts, trouble first."""
    ill = [each for each in fleet.members if each.reason]
    running = [each.vitals for each in fleet.members if each.vitals]
    connected = sum(each.push is PushStatus.CONNECTED for each in running)
    waiting = sum(each.waiting.senders for each in running if each.waiting)
    parts = []
    if fleet.refused_reload:
        parts.append(f"reload refused: {fleet.refused_reload.problems[0]}")
    if ill:
        parts.append(f"{count(len(ill), 'account')} not well ({ill[0].name}: {ill[0].reason})")
    parts.append(f"{count(len(fleet.members), 'account')}, {connected} with push")
    parts.append(f"{count(waiting, 'sender')} waiting")
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


def _worst(members: Iterable[Member]) -> str:
    return next(f"no account is well; {each.name}: {each.reason}" for each in members)
