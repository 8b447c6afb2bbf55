"""Decisions for whole domains and lists, carried out: kept with the contacts, then the mail moved.

A convergence like a triage: first all mail but the labelled one, then the decision is kept, and
the labels come off last. So the former decision is known for as long as its mail is to be moved,
and mail elsewhere can be told to be the user's doing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from mailroom.engine.loop import Loop, give_way
from mailroom.errors import MailroomError, SenderFailed
from mailroom.rules.configuration.config import Config
from mailroom.rules.screening.own import OwnAddresses
from mailroom.rules.screening.standing import Standing, Who
from mailroom.rules.screening.wide import Decisions
from mailroom.rules.triage import queries
from mailroom.rules.triage.drags import PLACED
from mailroom.rules.triage.places import Places
from mailroom.rules.triage.verdicts import MailPatch, sender_of
from mailroom.rules.triage.whole import Refusal, Whole, sort_whole
from mailroom.wire.arrivals import Arrival
from mailroom.wire.jmap import Mail, MethodError
from mailroom.work.contacts import Contacts
from mailroom.work.door import Door
from mailroom.work.ids import all_ids
from mailroom.work.mail import MailClient

_PORTION = 250
# Whose mail a decision for many moves: those about whom nothing nearer decides.
_OPEN = frozenset({Who.LIST, Who.DOMAIN, Who.UNKNOWN})


@dataclass(slots=True)
class WholeOutcome:
    """What came of one decision: its mail as it was read, and the patches; or why it failed."""

    whole: Whole
    previous: str | None = None
    patches: dict[str, MailPatch] = field(default_factory=dict)
    mails: dict[str, Mail] = field(default_factory=dict)
    error: MailroomError | None = None


class Wholes:
    """Carries out such decisions for one account."""

    def __init__(
        self, loop: Loop, config: Config, mail: MailClient, contacts: Contacts, door: Door
    ) -> None:
        self._loop = loop
        self._config = config
        self._mail = mail
        self._contacts = contacts
        self._door = door

    async def read(
        self, mails: Sequence[Mail], places: Places
    ) -> tuple[tuple[Whole, ...], tuple[Refusal, ...]]:
        """What these labelled mails ask for."""
        lists = [mail.id for mail in mails if places.list_label in mail.mailbox_ids]
        arrivals = await self._mail.arrivals(lists) if lists else ()
        list_ids = {each.id: each.list_id or "" for each in arrivals}
        return sort_whole(mails, places, list_ids, self._config.screening.providers)

    async def prepare(self, whole: Whole, places: Places, own: OwnAddresses) -> WholeOutcome:
        """Work out where the mail goes that the decision is about; nothing is kept yet. Where no
        mail has the labels, since it is an order, one that waits gets them first: then whatever
        breaks off, the next poll finds it."""
        decided = self._contacts.decisions
        known = decided.lists if whole.is_list else decided.domains
        done = WholeOutcome(whole, previous=known.get(whole.key))
        try:
            theirs = await self._theirs(done, places)
            if not whole.mails:
                done.whole = await self._labelled(whole, theirs, places)
            await self._find_places(done, theirs, places, own)
        except (SenderFailed, MethodError) as error:
            done.error = SenderFailed(str(error))
        return done

    async def keep(self, done: WholeOutcome) -> None:
        """The decision, from now on; its mail is where it belongs but for the labelled one."""
        whole = done.whole
        category = whole.category.name if whole.category else None
        try:
            await self._contacts.decide(whole.key, category, is_list=whole.is_list)
        except (SenderFailed, MethodError) as error:
            done.error = SenderFailed(str(error))

    async def _theirs(self, done: WholeOutcome, places: Places) -> list[Arrival]:
        """All of their mail that waits, or is where the former decision has put it; but for what
        the user has put there."""
        whole = done.whole
        looked = {places.screener, *places.chains.get(done.previous or "", ())}
        filters = [queries.within(each) for each in sorted(looked)]
        ids = frozenset().union(*await all_ids(self._loop, self._mail, filters, concurrent=1))
        left = sorted(ids - {mail.id for mail in whole.mails})
        theirs: list[Arrival] = []
        for start in range(0, len(left), _PORTION):
            arrivals = await self._mail.arrivals(left[start : start + _PORTION])
            theirs += [each for each in arrivals if _is_about(whole, each)]
            await give_way(self._loop)
        return theirs

    async def _labelled(self, whole: Whole, theirs: Iterable[Arrival], places: Places) -> Whole:
        """The decision with a mail that bears its labels; without, where none waits, or the server
        refuses them."""
        scope = places.list_label if whole.is_list else places.domain_label
        waiting = [each.mail for each in theirs if places.screener in each.mail.mailbox_ids]
        if scope is None or not waiting:
            return whole
        mail = waiting[0]
        boxes = mail.mailbox_ids | {scope, whole.label_id}
        patch = {f"mailboxIds/{each}": True for each in sorted((scope, whole.label_id))}
        if (await self._mail.update({mail.id: patch})).refused:
            return whole
        return replace(whole, mails=(replace(mail, mailbox_ids=boxes),))

    async def _find_places(
        self, done: WholeOutcome, theirs: Iterable[Arrival], places: Places, own: OwnAddresses
    ) -> None:
        """The labelled mail, and what the decision is about of theirs."""
        whole = done.whole
        for mail in whole.mails:
            done.mails[mail.id], done.patches[mail.id] = mail, whole.patch(mail, places)
        others = [each for each in theirs if each.id not in done.patches]
        decisions = _with(whole, self._contacts.decisions)
        for start in range(0, len(others), _PORTION):
            portion = others[start : start + _PORTION]
            for each, standing in await self._door.judge.standings(portion, places, own, decisions):
                await give_way(self._loop)
                if self._decides(whole, standing) and (patch := whole.patch(each.mail, places)):
                    done.mails[each.id], done.patches[each.id] = each.mail, patch

    def _decides(self, whole: Whole, standing: Standing) -> bool:
        return standing.who in _OPEN and (standing.category == whole.category)


def _is_about(whole: Whole, arrival: Arrival) -> bool:
    is_placed = PLACED in arrival.mail.keywords
    return not is_placed and whole.is_about(sender_of(arrival.mail), arrival.list_id)


def _with(whole: Whole, decisions: Decisions) -> Decisions:
    """The decisions once this one is made, or taken back."""
    former = decisions.lists if whole.is_list else decisions.domains
    now = {key: name for key, name in former.items() if key != whole.key}
    if whole.category:
        now[whole.key] = whole.category.name
    return replace(decisions, lists=now) if whole.is_list else replace(decisions, domains=now)
