"""The door: what becomes of new mail (docs/behaviour.md, "The door").

It learns of new mail by ``Email/changes`` and asks :mod:`mailroom.work.screening.judge` where it
goes; the poll writes that together with everything else. After a start, or if the server cannot
tell what has changed, the door searches for mail that it has not seen, and works on it portion by
portion.

New mail counts as seen only when the poll has done its work: after an interruption it comes again.
"""

from collections import deque
from collections.abc import Container, Iterable, Mapping, Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice

from mailroom.engine.journal import Log
from mailroom.engine.loop import Loop
from mailroom.errors import SenderFailed
from mailroom.rules.configuration.config import Config
from mailroom.rules.screening.waiting import Summary, WaitingMail
from mailroom.rules.triage import queries
from mailroom.rules.triage.drags import PLACED, WAITING, asked_by
from mailroom.rules.triage.places import Places
from mailroom.rules.triage.verdicts import sender_of
from mailroom.wire.arrivals import Arrival, Changes
from mailroom.wire.jmap import Mail, MethodError, PatchObject
from mailroom.work.contacts.contacts import Contacts
from mailroom.work.mail.ids import all_ids
from mailroom.work.mail.mail import MailClient
from mailroom.work.mail.reading import Reading
from mailroom.work.screening.census import Census
from mailroom.work.screening.judge import Judge
from mailroom.work.session.portions import portions

# What one poll takes on: so many pages of changes, and so many portions of the backlog, each of so
# many mails. If there is more, the next poll is due at once.
_MOST_PAGES = 10
_PORTION = 250
_PORTIONS = 4
# How many mails that others changed are read at once: some milliseconds of computing.
_MAILS_AT_ONCE = 500
# A mail that could not be decided about, or not moved, is tried again by at least so many polls,
# and for at least so long.
_MOST_TRIES = 10
_TRIED_SECONDS = 3600.0
_TOUCHED = frozenset({"$seen", "$answered", "$flagged"})
# Cyrus sets it on mail that it put into Inbox because the script failed (3.10.2, seen).
_FAILED = "$sievefailed"
_UNSCREENED = frozenset({"$draft", "$junk", PLACED})


@dataclass(frozen=True, slots=True)
class Tries:
    """How often one mail was tried, and when first (an instant of the loop)."""

    number: int
    since: float


@dataclass(frozen=True, slots=True)
class Visit:
    """The new mail that one poll takes on. ``state`` is the Email state that it reaches, None if
    that is not known. With ``has_more`` the server has further changes; with ``has_backlog`` there
    is more mail in the backlog. ``updated`` are the mails that somebody has changed."""

    state: str | None
    arrivals: tuple[Arrival, ...] = ()
    has_more: bool = False
    has_backlog: bool = False
    updated: frozenset[str] = frozenset()

    @property
    def is_cut(self) -> bool:
        """Whether there is more, so that the next poll is due at once."""
        return self.has_more or self.has_backlog


class Door:
    """The door of one account.

    ``state`` is the Email state up to which new mail has been dealt with; None while that is not
    known, so that all mail that may be new has to be searched for. ``since`` is when the door was
    first used (Unix seconds): mail that came before is left alone.
    """

    def __init__(
        self,
        loop: Loop,
        config: Config,
        mail: MailClient,
        contacts: Contacts,
        log: Log,
        *,
        may_write: bool = True,
    ) -> None:
        self.state: str | None = None
        self.since: float | None = None
        self._loop = loop
        self._config = config
        self._mail = mail
        self._contacts = contacts
        self._log = log
        self._may_write = may_write
        self.judge = Judge(loop, config, mail, contacts, log)
        self._census = Census(loop, mail, log)
        self._screener = ""
        # When the server's rules last failed for a mail; None again once they have worked.
        self.rules_failed_at: float | None = None
        self._taken: dict[str, Arrival] = {}
        # The arrivals that the last poll has dealt with.
        self._done: frozenset[str] = frozenset()
        # Mails to look at that no change will announce again.
        self._backlog: deque[str] = deque()
        self._is_going_on = False
        self._tries: Mapping[str, Tries] = {}

    @property
    def is_open(self) -> bool:
        return self._config.screening.by != "off"

    async def begin(self) -> None:
        """Learn since when the door is used: since now if it was not used before."""
        if not self.is_open:
            await self._forget()
        if not self.is_open or self.since is not None:
            return
        record = await self._contacts.record()
        now = self._loop.clock.wall()
        if record and (since := _instant(record.door)) is not None:
            self.since = since
        elif self._may_write:
            door = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            try:
                await self._contacts.amend_record(
                    lambda record: (
                        record if _instant(record.door) is not None else replace(record, door=door)
                    )
                )
            except SenderFailed as error:
                self._log.warning("door_unrecorded", error=str(error))
            self.since = float(int(now))
        else:
            self.since = now

    async def _forget(self) -> None:
        """Remove the record of a door that is not used: mail that comes meanwhile will be left
        alone once it is used again."""
        record = await self._contacts.record()
        if not (self._may_write and record and record.door):
            return
        try:
            await self._contacts.amend_record(lambda record: replace(record, door=None))
        except SenderFailed as error:
            self._log.warning("door_unrecorded", error=str(error))

    async def visit(self, reading: Reading, places: Places) -> Visit:
        """The new mail that this poll takes on: what has come since the last, and part of the
        backlog."""
        pages = await self._pages(reading)
        if pages is None:
            # Finish the backlog of the last search before searching again: a search by every poll
            # would never come to an end.
            has_looked = self._is_going_on
            if not has_looked:
                await self._look(places)
            visit = Visit(None if has_looked else reading.states["Email"])
        else:
            visit = Visit(
                pages[-1].new_state,
                tuple(each for page in pages for each in page.arrivals),
                pages[-1].has_more,
                updated=frozenset().union(*(page.updated for page in pages)),
            )
            self.judge.note_sent(visit.arrivals, places)
            self._note_rules(visit.arrivals)
        self._screener = places.screener
        if pages is None:
            self._census.start_over()
        else:
            self._recount(pages, places)
        told = {each.id: each for each in visit.arrivals if self._is_new(each, places)}
        taken = [*islice(self._backlog, _PORTION * _PORTIONS), *self._tries]
        for start in range(0, len(taken), _PORTION):
            portion = [each for each in taken[start : start + _PORTION] if each not in told]
            left = await self._mail.arrivals(portion) if portion else ()
            told |= {each.id: each for each in left if self._is_arrival(each, places)}
        self._taken = told
        has_backlog = len(self._backlog) > _PORTION * _PORTIONS
        return replace(visit, arrivals=tuple(told.values()), has_backlog=has_backlog)

    @property
    def waiting(self) -> Summary | None:
        """How much mail waits; None before the first count."""
        return self._census.summary if self.is_open else None

    @property
    def is_behind(self) -> bool:
        """Whether the count of who waits needs work."""
        return self.is_open and bool(self._screener) and self._census.is_behind

    async def count(self) -> None:
        await self._census.catch_up(self._screener)

    def wrote(
        self, patches: Mapping[str, PatchObject], refused: Container[str], places: Places
    ) -> None:
        """Count the mail that these patches took out of Screener or put into it. Patches that were
        ``refused`` may be half done."""
        here = f"mailboxIds/{places.screener}"
        moved = [each for each, patch in patches.items() if here in patch]
        done = {each for each in moved if each not in refused}
        came = {each for each in done if patches[each][here]}
        self._census.left(done - came)
        self._census.seen(_waiting(self._taken[each]) for each in came & self._taken.keys())
        self._census.look_at(came - self._taken.keys())
        self._census.look_at(each for each in moved if each in refused)

    def _recount(self, pages: Iterable[Changes], places: Places) -> None:
        """Count what others have done to mail that waits."""
        for page in pages:
            waiting = (each for each in page.arrivals if places.screener in each.mail.mailbox_ids)
            self._census.seen(map(_waiting, waiting))
            self._census.changed(page.updated)
            self._census.left(page.destroyed)

    def refused(self, errors: Mapping[str, MethodError]) -> None:
        """Log the arrivals that the server refused to move, each once; they come again with the
        next poll."""
        for mail_id, error in errors.items():
            if mail_id not in self._tries:
                self._log.warning("arrival_refused", mail=mail_id, error=str(error))

    def finished(self, visit: Visit, dealt_with: Container[str] = ()) -> None:
        """Note that the poll has done its work; arrivals whose ids are not in ``dealt_with`` come
        again."""
        for _ in range(min(len(self._backlog), _PORTION * _PORTIONS)):
            self._backlog.popleft()
        self._is_going_on = bool(self._backlog)
        left = [each.id for each in visit.arrivals if each.id not in dealt_with]
        self._done = frozenset(each.id for each in visit.arrivals).difference(left)
        self._tries = {each: tries for each in left if (tries := self._tried(each))}
        self.state, self._taken = visit.state, {}

    def _tried(self, mail_id: str) -> Tries | None:
        """The tries so far of a mail that has failed again; None if it is given up."""
        now = self._loop.now()
        former = self._tries.get(mail_id, Tries(0, now))
        tries = replace(former, number=former.number + 1)
        if tries.number < _MOST_TRIES or now - tries.since < _TRIED_SECONDS:
            return tries
        self._log.warning("arrival_given_up", mail=mail_id, tries=tries.number)
        return None

    async def closed(self, closing: Reading, places: Places, done: Set[str]) -> bool:
        """Note what the poll's closing request saw, after :meth:`finished`. Returns whether new
        mail has come meanwhile or the user has put mail into Screener: then the next poll is due at
        once."""
        pages = await self._pages(closing)
        if pages is None:
            return False
        arrivals = [each for page in pages for each in page.arrivals]
        updated = frozenset().union(*(page.updated for page in pages))
        looked_at = {mail.id for mail in closing.found[0] or ()}
        self.judge.note_sent(arrivals, places)
        self._recount(pages, places)
        is_news = (
            pages[-1].has_more
            or any(self._is_new(each, places) for each in arrivals)
            or bool(await self.put_by_hand(updated - looked_at - done, places))
        )
        if not is_news:
            self.state = pages[-1].new_state
        return is_news

    async def put_by_hand(self, updated: Iterable[str], places: Places) -> list[Mail]:
        """Of the changed mail, what the user has put into Screener: it lacks ``mailroom-waiting``,
        and came since the door is used.

        The mails are read, not searched for: such a query is slow (docs/performance.md), and if the
        server's rules mark nothing, it finds all waiting mail in every poll.
        """
        read: list[Arrival] = []
        for portion in portions(sorted(updated), _MAILS_AT_ONCE):
            read += await self._mail.arrivals(portion)
        return [
            each.mail
            for each in read
            if places.screener in each.mail.mailbox_ids
            and WAITING not in each.mail.keywords
            and not asked_by(each.mail, places)
            and self.since is not None
            and each.received_at >= self.since
        ]

    async def _pages(self, reading: Reading) -> list[Changes] | None:
        """What has changed since ``state``, page by page; None if the server cannot tell."""
        changes = reading.changes
        if self.state is None or changes is None or self._is_beyond(changes, reading):
            return None
        pages = [changes]
        while pages[-1].has_more and len(pages) < _MOST_PAGES:
            changes = await self._mail.changes(pages[-1].new_state)
            if changes is None:
                return None
            pages.append(changes)
        return pages

    def _is_beyond(self, changes: Changes, reading: Reading) -> bool:
        """Whether our state is newer than the server's, as after a backup was restored: Cyrus then
        answers that nothing has changed (3.10.2 and 3.13.7, seen)."""
        states = {changes.new_state, reading.states["Email"]}
        return changes.is_empty and states != {self.state}

    async def _look(self, places: Places) -> None:
        """Search for all mail that may have come in unseen; it becomes the backlog."""
        assert self.since is not None
        is_dated = (await self._mail.session()).is_cyrus
        by = self._config.screening.by
        filters = queries.unseen(places, self.since, by=by, is_dated=is_dated)
        found = await all_ids(self._loop, self._mail, filters, concurrent=1)
        self._backlog = deque(sorted(frozenset().union(*found)))

    def _is_new(self, arrival: Arrival, places: Places) -> bool:
        """Whether it is an arrival that the last poll has not dealt with: the server tells again of
        mail that came between that poll's states and its search."""
        return arrival.id not in self._done and self._is_arrival(arrival, places)

    def _is_arrival(self, arrival: Arrival, places: Places) -> bool:
        """Whether the door decides about it: it is new, untouched, and in Screener or Inbox."""
        mail = arrival.mail
        if self.since is None or arrival.received_at < self.since:
            return False
        if mail.keywords & _UNSCREENED or asked_by(mail, places):
            return False
        if places.screener in mail.mailbox_ids:
            return True
        is_missed = self._config.screening.by == "mailroom" or _FAILED in mail.keywords
        is_ours = is_missed and WAITING not in mail.keywords
        return is_ours and mail.mailbox_ids == {places.inbox} and not mail.keywords & _TOUCHED

    def _note_rules(self, arrivals: Iterable[Arrival]) -> None:
        for each in arrivals:
            if _FAILED in each.mail.keywords:
                if self.rules_failed_at is None:
                    self._log.warning("rules_failed", mail=each.id)
                self.rules_failed_at = each.received_at
            elif WAITING in each.mail.keywords:
                self.rules_failed_at = None


def _waiting(arrival: Arrival) -> WaitingMail:
    return WaitingMail(arrival.id, sender_of(arrival.mail) or "", arrival.received_at)


def _instant(text: str | None) -> float | None:
    """An instant in the record as Unix seconds; None if it cannot be read."""
    try:
        return datetime.fromisoformat(text or "").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
