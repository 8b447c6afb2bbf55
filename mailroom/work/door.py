"""The door: what becomes of new mail (docs/behaviour.md, "The door").

It hears of new mail by ``Email/changes``, and asks :mod:`mailroom.work.judge` where it goes; a poll
writes that together with everything else. What it has not seen, after a start or
where the server cannot tell what has changed, it looks for, portion by portion.

Nothing is counted as seen before the poll has done its work: whatever is broken off is told again.
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
from mailroom.work.census import Census
from mailroom.work.contacts import Contacts
from mailroom.work.ids import all_ids, portions
from mailroom.work.judge import Judge
from mailroom.work.mail import MailClient
from mailroom.work.reading import Reading

# What one poll takes on; the next one is due at once where there is more.
_MOST_PAGES = 10
_PORTION = 250
# Of what others have changed, some milliseconds of computing.
_LOOKED_AT = 500
_PORTIONS = 4
# A mail that could not be decided about, or moved, is tried again by so many polls at least, and
# for as long.
_MOST_TRIES = 10
_TRIED_SECONDS = 3600.0
_TOUCHED = frozenset({"$seen", "$answered", "$flagged"})
# On mail that Cyrus has put into Inbox because the script has failed (3.10.2, seen).
_FAILED = "$sievefailed"
_UNSCREENED = frozenset({"$draft", "$junk", PLACED})


@dataclass(frozen=True, slots=True)
class Tries:
    """How often one mail was tried, and since when (an instant of the loop)."""

    number: int
    since: float


@dataclass(frozen=True, slots=True)
class Visit:
    """What one poll takes in. ``state`` is up to where it goes, None where nobody can tell; with
    ``has_more`` not all is in it, with ``has_backlog`` there is more to go through that no change
    tells of. ``updated`` are the mails that somebody has changed."""

    state: str | None
    arrivals: tuple[Arrival, ...] = ()
    has_more: bool = False
    has_backlog: bool = False
    updated: frozenset[str] = frozenset()

    @property
    def is_cut(self) -> bool:
        """Whether the next poll is to go on at once."""
        return self.has_more or self.has_backlog


class Door:
    """The door of one account.

    ``state`` is the Email state up to which new mail has been dealt with; None while that is not
    known, and all that waits has to be looked at. ``since`` is when the door was first used (Unix
    seconds): what came before is left alone.
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
        # When the server's rules have failed with a mail; None again once they have worked.
        self.rules_failed_at: float | None = None
        self._taken: dict[str, Arrival] = {}
        # The arrivals that the last poll has dealt with.
        self._done: frozenset[str] = frozenset()
        # Mails to look at that no change will tell of again, and how often they were tried.
        self._backlog: deque[str] = deque()
        self._is_going_on = False
        self._tries: Mapping[str, Tries] = {}

    @property
    def is_open(self) -> bool:
        return self._config.screening.by != "off"

    async def begin(self) -> None:
        """Learn since when the door is used; that is now where nobody has used it before."""
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
        """The door is not used: what comes meanwhile is left alone once it is used again."""
        record = await self._contacts.record()
        if not (self._may_write and record and record.door):
            return
        try:
            await self._contacts.amend_record(lambda record: replace(record, door=None))
        except SenderFailed as error:
            self._log.warning("door_unrecorded", error=str(error))

    async def visit(self, reading: Reading, places: Places) -> Visit:
        """What this poll takes in: what has changed since the last, and part of the backlog."""
        pages = await self._pages(reading)
        if pages is None:
            # What came since the look that is gone through is for a further one, by a later poll:
            # one that began anew each time would never come to its end.
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
        """How much mail waits; None as long as nobody has counted."""
        return self._census.summary if self.is_open else None

    @property
    def is_behind(self) -> bool:
        """Whether who waits is to be counted."""
        return self.is_open and bool(self._screener) and self._census.is_behind

    async def count(self) -> None:
        await self._census.catch_up(self._screener)

    def wrote(
        self, patches: Mapping[str, PatchObject], refused: Container[str], places: Places
    ) -> None:
        """These patches were sent: the mail has left Screener, or come to it; what was ``refused``
        may be half done."""
        here = f"mailboxIds/{places.screener}"
        moved = [each for each, patch in patches.items() if here in patch]
        done = {each for each in moved if each not in refused}
        came = {each for each in done if patches[each][here]}
        self._census.left(done - came)
        self._census.seen(_waiting(self._taken[each]) for each in came & self._taken.keys())
        self._census.look_at(came - self._taken.keys())
        self._census.look_at(each for each in moved if each in refused)

    def _recount(self, pages: Iterable[Changes], places: Places) -> None:
        """What others have done about who waits."""
        for page in pages:
            waiting = (each for each in page.arrivals if places.screener in each.mail.mailbox_ids)
            self._census.seen(map(_waiting, waiting))
            self._census.changed(page.updated)
            self._census.left(page.destroyed)

    def refused(self, errors: Mapping[str, MethodError]) -> None:
        """The server did not move these arrivals; each is told once, and comes again with the next
        poll."""
        for mail_id, error in errors.items():
            if mail_id not in self._tries:
                self._log.warning("arrival_refused", mail=mail_id, error=str(error))

    def finished(self, visit: Visit, dealt_with: Container[str] = ()) -> None:
        """The poll has done its work; of the arrivals those are done whose ids are
        ``dealt_with``."""
        for _ in range(min(len(self._backlog), _PORTION * _PORTIONS)):
            self._backlog.popleft()
        self._is_going_on = bool(self._backlog)
        left = [each.id for each in visit.arrivals if each.id not in dealt_with]
        self._done = frozenset(each.id for each in visit.arrivals).difference(left)
        self._tries = {each: tries for each in left if (tries := self._tried(each))}
        self.state, self._taken = visit.state, {}

    def _tried(self, mail_id: str) -> Tries | None:
        """The tries so far of a mail that has failed again; None where that was the last one."""
        now = self._loop.now()
        former = self._tries.get(mail_id, Tries(0, now))
        tries = replace(former, number=former.number + 1)
        if tries.number < _MOST_TRIES or now - tries.since < _TRIED_SECONDS:
            return tries
        self._log.warning("arrival_given_up", mail=mail_id, tries=tries.number)
        return None

    async def closed(self, closing: Reading, places: Places, done: Set[str]) -> bool:
        """Take note of what the closing request has told after :meth:`finished`. Says whether new
        mail has come meanwhile, or the user has put mail into Screener: then the next poll is to
        see it, at once."""
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
        """Of mail that was changed, what the user has put into Screener: it does not bear that it
        waits. So does mail that was put back into Inbox before. Mail that came before the door was
        used is left alone.

        They are read: a query for such mail is slow (docs/performance.md), and where the server's
        rules mark nothing it would find all that waits, in every poll.
        """
        read: list[Arrival] = []
        for portion in portions(sorted(updated), _LOOKED_AT):
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
        """What has changed since ``state``, page by page; None where that cannot be told."""
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
        """Whether the server knows less than we do, as after a backup was put back: to a state that
        is still to come Cyrus answers that nothing has changed (3.10.2 and 3.13.7, seen)."""
        states = {changes.new_state, reading.states["Email"]}
        return changes.is_empty and states != {self.state}

    async def _look(self, places: Places) -> None:
        """All that may have come in unseen, to be dealt with portion by portion."""
        assert self.since is not None
        is_dated = (await self._mail.session()).is_cyrus
        by = self._config.screening.by
        filters = queries.unseen(places, self.since, by=by, is_dated=is_dated)
        found = await all_ids(self._loop, self._mail, filters, concurrent=1)
        self._backlog = deque(sorted(frozenset().union(*found)))

    def _is_new(self, arrival: Arrival, places: Places) -> bool:
        """Whether it is an arrival that the last poll has not dealt with: what comes between its
        states and its look is told once more."""
        return arrival.id not in self._done and self._is_arrival(arrival, places)

    def _is_arrival(self, arrival: Arrival, places: Places) -> bool:
        """Whether the door decides about it: new, nobody has touched it, and it is at the door."""
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
    """An instant as the record has it; None where it makes no sense."""
    try:
        return datetime.fromisoformat(text or "").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
