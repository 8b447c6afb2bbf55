"""The daily mail in Inbox: at most one a day, even if processes are killed or several run.

A request reads the state of the mail, then searches for digests by their keyword, for which no
index is ever late, and compares Message-IDs. The digest is created only if that state still holds
(``ifInState``), by the call that also moves the former one to Trash. So if two instances try, one
creates it and the other finds it; an instance that was killed looks again and finds it or not.
Stalwart 0.15.5 compares the state before it waits for another writer (seen), so that two instances
can create one each. Therefore an instance looks again after creating one, and of several digests
all instances leave the same one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from math import inf

from mailroom.engine.journal import Log
from mailroom.engine.loop import Owner
from mailroom.errors import MailroomError
from mailroom.rules.configuration.config import Config
from mailroom.rules.screening.own import DIGEST_SENDER
from mailroom.rules.status import digest
from mailroom.rules.status.digest import DueDigest, FormerDigest, News, WaitingEntry
from mailroom.rules.status.health import ConflictView, FailingSender, TriageView
from mailroom.rules.triage.drags import DIGEST
from mailroom.rules.triage.places import Places
from mailroom.wire.jmap import (
    Arguments,
    Call,
    MethodError,
    PatchObject,
    read_created,
    read_state,
    reading,
)
from mailroom.work.mail.mail import MailClient
from mailroom.work.screening.listing import Listing, WaitingSender

# In a busy account the state may change between our reading and our writing.
_TRIES = 5
# How long to wait after a failure: a digest is in no hurry.
_AGAIN_SECONDS = 600.0
_FLAGGED = "$flagged"


@dataclass(frozen=True, slots=True)
class DigestFacts:
    """What the account knows. ``places`` is None before a poll has succeeded; ``recent`` goes back
    to ``started_at`` (Unix seconds)."""

    places: Places | None
    started_at: float = 0.0
    recent: tuple[TriageView, ...] = ()
    conflicts: tuple[ConflictView, ...] = ()
    failing: tuple[FailingSender, ...] = ()


class Digester:
    """Makes the digests of one account; ``facts`` is called for each."""

    def __init__(
        self,
        owner: Owner,
        config: Config,
        mail: MailClient,
        listing: Listing,
        log: Log,
        facts: Callable[[], DigestFacts],
    ) -> None:
        self._owner = owner
        self._loop = owner.loop
        self._at = config.digest.at
        self._address = config.account
        self._mail = mail
        self._listing = listing
        self._log = log
        self._facts = facts
        self._zone = owner.loop.clock.zone
        self._done: date | None = None
        self._not_before = -inf
        self._is_busy = self._has_failed = False

    def polled(self) -> None:
        """Make the digest if it is due. Called after each successful poll: then new mail is where
        it belongs."""
        if self._at is None or self._is_busy or self._loop.now() < self._not_before:
            return
        wall = self._loop.clock.wall()
        due = digest.next_due(wall, self._at, self._zone(), self._done)
        if due.at <= wall:
            self._is_busy = True
            self._owner.spawn(self._make(due), "digest")

    async def _make(self, due: DueDigest) -> None:
        try:
            told = await self._try(due)
        except MailroomError as error:
            report = self._log.debug if self._has_failed else self._log.warning
            report("digest_failed", day=due.day.isoformat(), error=str(error))
            self._has_failed = True
            self._not_before = self._loop.now() + _AGAIN_SECONDS
        else:
            self._has_failed = False
            self._done = due.day
            if told:
                self._log.info("digest_made", day=due.day.isoformat(), subject=told)
        self._is_busy = False

    async def _try(self, due: DueDigest) -> str:
        """Make the digest unless it exists or there is nothing new; returns its subject if it was
        made, else an empty text."""
        message_id = digest.message_id((await self._mail.session()).account_id, due.day)
        for _ in range(_TRIES):
            places = self._facts().places
            if places is None or places.inbox is None:
                return ""
            state, former = await self._look_for_former(places.inbox)
            if await self._leave_one(message_id, former, places):
                return ""
            news = await self._news(due, former, places)
            if not news.is_any:
                return ""
            mail = self._mail_of(news, message_id, places.inbox)
            if await self._create(mail, former, places, state):
                _, former = await self._look_for_former(places.inbox)
                await self._leave_one(message_id, former, places)
                return digest.subject(news)
        raise MailroomError(f"the mail changed during each of {_TRIES} attempts to make the digest")

    async def _look_for_former(self, inbox: str) -> tuple[str, list[FormerDigest]]:
        """The state of the mail, and the digests that existed in that state or a later one."""
        query = Call("Email/query", {"filter": {"hasKeyword": DIGEST}}, "query")
        wanted = ["id", "messageId", "mailboxIds", "keywords"]
        get = {"#ids": query.ref("/ids"), "properties": wanted}
        state = Call("Email/get", {"ids": [], "properties": ["id"]}, "state")
        answers = await self._mail.call([state, query, Call("Email/get", get, "digests")])
        with reading("the digests", answers["digests"]):
            former = [_former(each, inbox) for each in answers["digests"]["list"]]
        return read_state(answers["state"]), former

    async def _news(self, due: DueDigest, former: list[FormerDigest], places: Places) -> News:
        assert self._at is not None
        since = digest.since_when(former, due, self._at, self._zone())
        facts = self._facts()
        senders = await self._listing.senders(places.screener)
        return News(
            due,
            since,
            facts.started_at,
            tuple(map(_waiter, senders)),
            tuple(each for each in facts.recent if since < each.at <= due.at),
            facts.conflicts,
            facts.failing,
        )

    async def _leave_one(self, message_id: str, former: list[FormerDigest], places: Places) -> bool:
        """Whether a digest with this Message-ID exists. Of several all but one go to Trash; every
        instance that sees them leaves the same one."""
        there = sorted(each for each in former if each.message_id == message_id)
        if further := there[1:]:
            update = {each.id: _put_away(each, places) for each in further}
            await self._mail.call([Call("Email/set", {"update": update}, "set")])
        return bool(there)

    def _mail_of(self, news: News, message_id: str, inbox: str) -> Arguments:
        zone = self._zone()
        to = [{"name": None, "email": self._address}] if "@" in self._address else []
        return {
            "mailboxIds": {inbox: True},
            "keywords": {DIGEST: True},
            "messageId": [message_id],
            "from": [{"name": "Mailroom", "email": DIGEST_SENDER}],
            "to": to or [{"name": "Mailroom", "email": DIGEST_SENDER}],
            "subject": digest.subject(news),
            "textBody": [{"partId": "text", "type": "text/plain"}],
            "htmlBody": [{"partId": "html", "type": "text/html"}],
            "bodyValues": {
                "text": {"value": digest.text(news, zone)},
                "html": {"value": digest.html(news, zone)},
            },
        }

    async def _create(
        self, mail: Arguments, former: list[FormerDigest], places: Places, state: str
    ) -> bool:
        """Create the digest and put the former ones away; False if the state has changed."""
        arguments = {
            "ifInState": state,
            "create": {"digest": mail},
            "update": {each.id: _put_away(each, places) for each in former},
        }
        try:
            answers = await self._mail.call([Call("Email/set", arguments, "set")])
            made = read_created(answers["set"], "Email/set", ["digest"])
        except MethodError as error:
            if error.type == "stateMismatch":
                return False
            raise
        for refusal in made.refused.values():
            raise refusal
        return True


def _put_away(former: FormerDigest, places: Places) -> PatchObject:
    """The patch for a digest that is no longer the newest. One that the user flagged, or moved out
    of Inbox, stays where it is."""
    patch: dict[str, object] = {f"keywords/{DIGEST}": None}
    if former.is_in_inbox and not former.is_flagged and places.trash:
        patch |= {f"mailboxIds/{places.trash}": True, f"mailboxIds/{places.inbox}": None}
    return patch


def _former(mail: Arguments, inbox: str) -> FormerDigest:
    message_ids = mail.get("messageId") or [""]
    return FormerDigest(
        id=str(mail["id"]),
        message_id=str(message_ids[0]),
        is_in_inbox=inbox in mail["mailboxIds"],
        is_flagged=_FLAGGED in {keyword.lower() for keyword in mail["keywords"]},
    )


def _waiter(sender: WaitingSender) -> WaitingEntry:
    newest = sender.newest
    received = datetime.fromisoformat(newest.received_at).astimezone(UTC)
    return WaitingEntry(
        sender.address, sender.name, sender.mails, newest.subject, received.timestamp()
    )
