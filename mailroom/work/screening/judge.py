"""What decides about a sender, and therefore where new mail goes.

:mod:`mailroom.rules.screening.standing` has the rule; this module collects the facts for it:
contacts and groups, decisions for domains and lists, and what Sent shows if nothing nearer decides.
"""

import contextlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from mailroom.engine.journal import Log
from mailroom.engine.loop import Loop, both, give_way
from mailroom.errors import SentUnsearched, TransientError
from mailroom.rules.addresses import canonical
from mailroom.rules.configuration.config import Config
from mailroom.rules.contacts.roster import Acquaintance
from mailroom.rules.screening.own import OwnAddresses
from mailroom.rules.screening.standing import Facts, Standing, Who, admitted, standing
from mailroom.rules.screening.wide import Decisions, list_id
from mailroom.rules.triage.places import Places, require_groups
from mailroom.rules.triage.verdicts import sender_of
from mailroom.wire.arrivals import Arrival
from mailroom.wire.jmap import Mail, MethodError, PatchObject
from mailroom.work.contacts.contacts import Contacts
from mailroom.work.mail.mail import MailClient
from mailroom.work.screening.sent import Answered, Sent

_STRANGER = Acquaintance()
_NOBODY = Answered(frozenset(), frozenset())


@dataclass(frozen=True, slots=True)
class Admission:
    """The decision about one arrival: its sender, why, and the patch, which may be empty."""

    arrival: Arrival
    sender: str | None
    standing: Standing
    patch: PatchObject


class Judge:
    """What decides about the senders of one account."""

    def __init__(
        self, loop: Loop, config: Config, mail: MailClient, contacts: Contacts, log: Log
    ) -> None:
        self._loop = loop
        self._config = config
        self._mail = mail
        self._contacts = contacts
        self._log = log
        self._sent = Sent(loop, mail)
        self._asks_sent = bool({"written", "conversations"} & set(config.screening.known))
        # Whether the last search of Sent failed; it is logged once.
        self._has_sent_failed = False

    def note_sent(self, arrivals: Iterable[Arrival], places: Places) -> None:
        """Note the recipients and conversations of those mails that are in Sent."""
        for each in arrivals:
            if places.sent in each.mail.mailbox_ids:
                self._sent.note(map(canonical, each.recipients), each.thread_id)

    async def decide(
        self, arrivals: Iterable[Arrival], places: Places, own: OwnAddresses
    ) -> list[Admission]:
        """Where each arrival goes. If Sent had to be searched and could not be, the arrival is left
        out, and comes again with the next poll."""
        may_warn = self._config.mailroom.warnings_enabled
        admissions = []
        for arrival, found in await self.standings(arrivals, places, own):
            await give_way(self._loop)
            patch = admitted(arrival.mail, found, places, may_warn=may_warn)
            admissions.append(Admission(arrival, sender_of(arrival.mail), found, patch))
        return admissions

    async def standings(
        self,
        arrivals: Iterable[Arrival],
        places: Places,
        own: OwnAddresses,
        decisions: Decisions | None = None,
    ) -> list[tuple[Arrival, Standing]]:
        """What decides about each of these mails, as far as that can be known; ``decisions``
        replace those kept for domains and lists."""
        senders = {each: sender_of(each.mail) for each in arrivals}
        facts = await self._facts(senders, places, own, decisions) if senders else {}
        judged = []
        for arrival, known in facts.items():
            await give_way(self._loop)
            if (found := standing(known, self._config)) is not None:
                judged.append((arrival, found))
        return judged

    async def _facts(
        self,
        senders: Mapping[Arrival, str | None],
        places: Places,
        own: OwnAddresses,
        decisions: Decisions | None = None,
    ) -> dict[Arrival, Facts]:
        """The facts about each mail. Sent is searched if nothing else decides about its sender.
        Raises Missing if a group is gone.

        Contacts without an index are read at the same time. An index is brought up to date at the
        same time, since a contact may have been created a moment ago.
        """
        addresses = {sender for sender in senders.values() if sender}
        answered: Answered | None = None
        if self._contacts.is_indexed:
            book = await self._contacts.acquainted(addresses)
        else:
            book, answered = await both(
                self._loop, self._contacts.acquainted(addresses), self._ask_about(senders, places)
            )
        facts: dict[Arrival, Facts] = {}
        strangers: dict[Arrival, str | None] = {}
        decided = decisions or self._contacts.decisions
        for arrival, sender in senders.items():
            await give_way(self._loop)
            known = self._known(arrival, sender, book, decided, own, places)
            facts[arrival] = known
            if self._is_stranger(known):
                strangers[arrival] = sender
        if strangers and self._contacts.is_indexed:
            _, answered = await both(
                self._loop, self._catch_up(), self._ask_about(strangers, places)
            )
            book = await self._contacts.acquainted(addresses)
            decided = decisions or self._contacts.decisions
            for arrival, sender in strangers.items():
                await give_way(self._loop)
                facts[arrival] = self._known(arrival, sender, book, decided, own, places)
        # Without its group a category's senders would be strangers.
        require_groups(self._config, await self._contacts.groups())
        if answered is None:
            return facts
        for arrival, sender in senders.items():
            await give_way(self._loop)
            facts[arrival] = _with_sent(facts[arrival], arrival, sender, answered)
        return facts

    def _is_stranger(self, facts: Facts) -> bool:
        """Whether nothing known so far decides about the mail."""
        found = standing(facts, self._config)
        return found is None or found.who is Who.UNKNOWN

    async def _catch_up(self) -> None:
        """Read what has changed in the contacts. If that fails, what is known must do; the next
        poll that reads contacts reports the failure."""
        with contextlib.suppress(TransientError):
            await self._contacts.refresh()

    async def _ask_about(
        self, senders: Mapping[Arrival, str | None], places: Places
    ) -> Answered | None:
        addresses = {sender for sender in senders.values() if sender}
        threads = {each.thread_id for each in senders if each.thread_id}
        return await self._ask(addresses, threads, places)

    async def _ask(
        self, addresses: Collection[str], threads: Collection[str], places: Places
    ) -> Answered | None:
        """What Sent shows about them; None if it cannot be searched now."""
        if places.sent is None or not self._asks_sent:
            return _NOBODY
        try:
            answered = await self._sent.ask(places.sent, addresses, threads)
        except MethodError as error:
            report = self._log.debug if self._has_sent_failed else self._log.warning
            report("sent_not_searched", error=str(error))
            self._has_sent_failed = True
            return None
        self._has_sent_failed = False
        return answered

    async def acquainted(
        self, mails: Iterable[Mail], places: Places, own: OwnAddresses
    ) -> frozenset[str]:
        """The senders of these mails who would not wait even without any group: because they are
        known, or because of a decision for their domain or list. Raises SentUnsearched if Sent
        cannot be searched: then the senders stay as they are until it can."""
        mail_ids = [mail.id for mail in mails]
        if not mail_ids:
            return frozenset()
        arrivals = await self._mail.arrivals(mail_ids)
        senders = {each: sender_of(each.mail) for each in arrivals}
        addresses = {sender for sender in senders.values() if sender}
        book, answered = await both(
            self._loop, self._contacts.acquainted(addresses), self._ask_about(senders, places)
        )
        if answered is None:
            raise _sent_is_needed()
        admitted_otherwise = set()
        decisions = self._contacts.decisions
        for arrival, sender in senders.items():
            known = self._known(arrival, sender, book, decisions, own, places)
            facts = replace(_with_sent(known, arrival, sender, answered), groups=frozenset())
            found = standing(facts, self._config)
            if sender and found and (found.is_known or found.category):
                admitted_otherwise.add(sender)
        return frozenset(admitted_otherwise)

    async def expected(
        self,
        addresses: Collection[str],
        places: Places,
        own: OwnAddresses,
        *,
        apart_from_groups: bool = False,
    ) -> Mapping[str, Standing]:
        """What would decide about the next mail from each of these (canonical) addresses, as far as
        that does not depend on the mail. Raises SentUnsearched if Sent cannot be searched."""
        if not addresses:
            return {}
        book, answered = await both(
            self._loop, self._contacts.acquainted(addresses), self._ask(addresses, (), places)
        )
        if answered is None:
            raise _sent_is_needed()
        found = {}
        for address in addresses:
            known = book.get(address, _STRANGER)
            facts = Facts(
                is_own=address in own,
                groups=frozenset() if apart_from_groups else known.groups,
                is_in_book=known.is_in_book,
                by_domain=self._contacts.decisions.of_domain(address),
                is_written=address in answered.written,
                is_conversation=False,
            )
            if (decided := standing(facts, self._config)) is not None:
                found[address] = decided
        return found

    def _known(
        self,
        arrival: Arrival,
        sender: str | None,
        book: Mapping[str, Acquaintance],
        decisions: Decisions,
        own: OwnAddresses,
        places: Places,
    ) -> Facts:
        """The facts that are known without Sent."""
        known = book.get(sender or "", _STRANGER)
        named = list_id(arrival.list_id) if arrival.list_id else None
        return Facts(
            is_bounce=arrival.is_bounce,
            is_own=sender in own,
            groups=known.groups,
            is_in_book=known.is_in_book,
            by_list=decisions.of_list(named) if named else None,
            by_domain=decisions.of_domain(sender) if sender else None,
            is_spam=places.junk is not None and self._is_marked(arrival),
        )

    def _is_marked(self, arrival: Arrival) -> bool:
        """Whether the server has marked the mail as spam."""
        mark = self._config.screening.spam_mark
        if mark is None:
            return False
        name, beginning = mark[0].lower(), mark[1].lower()
        return any(
            header == name and value.lower().startswith(beginning)
            for header, value in arrival.marks
        )


def _with_sent(known: Facts, arrival: Arrival, sender: str | None, answered: Answered) -> Facts:
    return replace(
        known,
        is_written=sender in answered.written,
        is_conversation=arrival.thread_id in answered.conversations,
    )


def _sent_is_needed() -> SentUnsearched:
    return SentUnsearched(
        "Sent cannot be searched, so it is not known whether the user has written to a sender"
    )
