"""The count of who waits, kept up to date by what polls see.

All of Screener is read once, again when the changes are not known, and once a day. Otherwise only
mails whose place is unclear are read. One request runs at a time, alongside the polls: nothing is
decided by the count, so it may lag a moment behind.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import islice
from math import inf
from typing import Any

from mailroom.engine.journal import Log
from mailroom.engine.loop import Loop, give_way
from mailroom.errors import MailroomError
from mailroom.rules.screening.waiting import Summary, Waiting, WaitingMail
from mailroom.rules.triage import queries
from mailroom.rules.triage.verdicts import sender_of
from mailroom.wire.jmap import Call, Mail, read_mail, sifted
from mailroom.work.mail.ids import all_ids
from mailroom.work.mail.mail import MailClient
from mailroom.work.session.portions import portions

_PROPERTIES = ("id", "from", "mailboxIds", "receivedAt")
# To read so many takes a few milliseconds of computing.
_MAILS_AT_ONCE = 500
# How often all is counted anew, for what no change shows: a waiting mail that left and came back.
_DAY_SECONDS = 86_400.0


class Census:
    """Counts the mail that waits in one account, and its senders."""

    def __init__(self, loop: Loop, mail: MailClient, log: Log) -> None:
        self._loop = loop
        self._mail = mail
        self._log = log
        self._screener = ""
        self._waiting = Waiting()
        self._has_counted = False
        self._is_busy = False
        # The instant at which all of Screener has to be read.
        self._due = -inf
        # Mails that have to be read, to see whether they are in Screener.
        self._doubtful: set[str] = set()

    @property
    def summary(self) -> Summary | None:
        """How much mail waits; None before the first count."""
        return self._waiting.summary() if self._has_counted else None

    @property
    def is_behind(self) -> bool:
        """Whether there is something to read, and no reading is under way."""
        return not self._is_busy and (self._is_due or bool(self._doubtful))

    def start_over(self) -> None:
        """The changes are not known: read all again. Until then the count stays as it is."""
        self._due = -inf

    def seen(self, mails: Iterable[WaitingMail]) -> None:
        """Note mails that have come to Screener."""
        mails = tuple(mails)
        self._waiting.seen(mails)
        self._doubtful.difference_update(mail.id for mail in mails)
        self._doubt(mail.id for mail in mails)

    def left(self, mail_ids: Iterable[str]) -> None:
        """Note mails that are not in Screener, or no longer."""
        mail_ids = tuple(mail_ids)
        self._waiting.left(mail_ids)
        self._doubtful.difference_update(mail_ids)
        self._doubt(mail_ids)

    def changed(self, mail_ids: Iterable[str]) -> None:
        """Note mails that somebody changed; those that are counted may have left."""
        mail_ids = tuple(mail_ids)
        self.look_at(filter(self._waiting.__contains__, mail_ids))
        self._doubt(mail_ids)

    def look_at(self, mail_ids: Iterable[str]) -> None:
        """Note mails that may be in Screener: they are read later."""
        self._doubtful.update(mail_ids)

    async def catch_up(self, screener_id: str) -> None:
        """Read everything that has to be read; the next call tries again whatever failed."""
        if self._is_busy:
            return
        self._is_busy = True
        if self._screener != screener_id:
            self._screener = screener_id
            self.start_over()
        try:
            while self._is_due or self._doubtful:
                await (self._look() if self._is_due else self._read_some())
        except MailroomError as error:
            self._log.debug("waiting_not_counted", error=str(error))
        finally:
            self._is_busy = False

    def _doubt(self, mail_ids: Iterable[str]) -> None:
        """Have these mails read again if a reading is under way: it may have seen them as they were
        before."""
        if self._is_busy:
            self.look_at(mail_ids)

    @property
    def _is_due(self) -> bool:
        return self._loop.now() >= self._due

    async def _look(self) -> None:
        """Count all anew."""
        self._due = self._loop.now() + _DAY_SECONDS
        self._doubtful.clear()
        try:
            self._waiting = await self._counted()
        except MailroomError:
            self._due = -inf
            raise
        self._has_counted = True

    async def _counted(self) -> Waiting:
        """All that is in Screener."""
        query = queries.waiting(self._screener)
        [ids] = await all_ids(self._loop, self._mail, [query], concurrent=1)
        found, at_once = Waiting(), await self._at_once()
        for portion in portions(ids, at_once):
            found.seen(await self._waiting_among(portion))
            await give_way(self._loop)
        return found

    async def _read_some(self) -> None:
        """Read where the doubtful mails are: as many as one request allows."""
        some = list(islice(self._doubtful, await self._at_once()))
        self._doubtful.difference_update(some)
        try:
            there = await self._waiting_among(some)
        except MailroomError:
            self._doubtful.update(some)
            raise
        self._waiting.left(some)
        self._waiting.seen(there)
        await give_way(self._loop)

    async def _waiting_among(self, mail_ids: Sequence[str]) -> list[WaitingMail]:
        """Those of the mails that are in Screener."""
        get = Call("Email/get", {"ids": mail_ids, "properties": _PROPERTIES}, "mails")
        mails = sifted((await self._mail.call([get]))["mails"], "mail", _mail).entries
        return [
            WaitingMail(mail.id, sender_of(mail) or "", received_at)
            for mail, received_at in mails
            if self._screener in mail.mailbox_ids
        ]

    async def _at_once(self) -> int:
        return min((await self._mail.session()).limits.get, _MAILS_AT_ONCE)


def _mail(entry: Mapping[str, Any]) -> tuple[Mail, float]:
    return read_mail(entry), datetime.fromisoformat(entry["receivedAt"]).timestamp()
