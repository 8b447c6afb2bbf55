"""Who waits, with names and subjects, for people who ask.

The service itself only counts (``work/screening/census``). Names and subjects are read when
somebody asks, brought up to date each time somebody asks again, and forgotten when nobody does.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mailroom.engine.loop import Owner, Timer, give_way
from mailroom.rules.triage import queries
from mailroom.rules.triage.verdicts import sender_of
from mailroom.wire.arrivals import read_ids
from mailroom.wire.jmap import Call, MethodError, read_state
from mailroom.wire.previews import (
    MailLine,
    MailText,
    line_call,
    one_line,
    read_lines,
    read_text,
    text_call,
)
from mailroom.work.mail.ids import all_ids
from mailroom.work.mail.mail import MailClient
from mailroom.work.session.gate import Gate
from mailroom.work.session.portions import portions

# To read so many mails takes a few milliseconds of computing.
_MOST = 500
# After more pages of changes than this, all that waits is read anew.
_MOST_PAGES = 4
# If nobody has asked for so long, nobody looks any more.
_KEPT_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class WaitingSender:
    """Somebody whose mail waits. ``address`` is canonical; empty for all mail whose sender cannot
    be decided about. ``name`` is that in the newest mail; ``since`` is when the oldest came."""

    address: str
    name: str
    mails: int
    newest: MailLine
    since: str


class Listing:
    """The mail that waits in one account."""

    def __init__(self, owner: Owner, mail: MailClient) -> None:
        self._owner = owner
        self._mail = mail
        self.lines: dict[str, MailLine] = {}
        self._state: str | None = None
        self._screener = ""
        self._forgetting: Timer | None = None
        self._turn = Gate()

    async def senders(self, screener_id: str) -> list[WaitingSender]:
        """Who waits, newest mail first."""
        await self._turn.enter(1)
        try:
            self._keep()
            await self._read(screener_id)
        finally:
            self._turn.leave()
        by_sender: dict[str, list[MailLine]] = {}
        for line in self.lines.values():
            by_sender.setdefault(sender_of(line.mail) or "", []).append(line)
        await give_way(self._owner.loop)
        found = [_sender(address, lines) for address, lines in by_sender.items()]
        return sorted(found, key=lambda each: each.newest.received_at, reverse=True)

    async def text(self, mail_id: str, screener_id: str) -> MailText | None:
        """The text of a mail that waits; None if no waiting mail has that id."""
        answers = await self._mail.call([text_call(mail_id, "text")])
        found = read_text(answers["text"])
        return found if found and screener_id in found.line.mail.mailbox_ids else None

    async def _read(self, screener_id: str) -> None:
        """Bring the lines up to date: by what has changed, or else all anew."""
        if self._screener != screener_id:
            self._forget()
            self._screener = screener_id
        if self._state is None or not await self._catch_up(self._state):
            await self._read_all()

    async def _catch_up(self, state: str) -> bool:
        """Take in what has changed since; False if that is not known, or too much."""
        for _ in range(_MOST_PAGES):
            changes = Call("Email/changes", {"sinceState": state, "maxChanges": _MOST}, "changes")
            try:
                told = read_ids((await self._mail.call([changes]))["changes"])
            except MethodError:
                return False
            if told.is_empty and told.new_state != state:
                return False  # our state is newer than the server's: a backup was restored
            await self._take(told.changed)
            for mail_id in told.destroyed:
                self.lines.pop(mail_id, None)
            self._state = state = told.new_state
            if not told.has_more:
                return True
        return False

    async def _read_all(self) -> None:
        answers = await self._mail.call([Call("Email/get", {"ids": []}, "state")])
        self._state, self.lines = None, {}
        waiting = queries.waiting(self._screener)
        [ids] = await all_ids(self._owner.loop, self._mail, [waiting], concurrent=1)
        await self._take(ids)
        self._state = read_state(answers["state"])

    async def _take(self, mail_ids: Iterable[str]) -> None:
        """Read these mails, and keep those that wait."""
        at_once = min((await self._mail.session()).limits.get, _MOST)
        for portion in portions(sorted(mail_ids), at_once):
            answers = await self._mail.call([line_call(portion, "lines")])
            there = {line.mail.id: line for line in read_lines(answers["lines"]).entries}
            for mail_id in portion:
                line = there.get(mail_id)
                if line and self._screener in line.mail.mailbox_ids:
                    self.lines[mail_id] = line
                else:
                    self.lines.pop(mail_id, None)
            await give_way(self._owner.loop)

    def _keep(self) -> None:
        """Somebody asks: keep the lines for another while."""
        if self._forgetting:
            self._forgetting.cancel()
        loop = self._owner.loop
        self._forgetting = self._owner.call_at(loop.now() + _KEPT_SECONDS, self._forget)

    def _forget(self) -> None:
        self.lines, self._state = {}, None


def _sender(address: str, lines: list[MailLine]) -> WaitingSender:
    ordered = sorted(lines, key=lambda line: line.received_at, reverse=True)
    names = (one_line(line.sender.name) for line in ordered if line.sender)
    return WaitingSender(
        address=address,
        name=next(filter(None, names), ""),
        mails=len(lines),
        newest=ordered[0],
        since=ordered[-1].received_at,
    )


def row(sender: WaitingSender) -> dict[str, Any]:
    """A waiting sender as a document (``schema/waiting``)."""
    newest = sender.newest
    return {
        "address": sender.address,
        "name": sender.name,
        "mails": sender.mails,
        "newest": {
            "id": newest.mail.id,
            "subject": newest.subject,
            "received_at": newest.received_at,
        },
        "since": sender.since,
    }
