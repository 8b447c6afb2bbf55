"""Carrying out decisions for whole domains and lists: their mail is moved, the decision is kept.

Like a triage it converges. First all mail is moved except the labelled mail, then the decision is
kept, and the labels come off last. So the former decision stays known until its mail has been
moved, and mail that is elsewhere is recognised as moved by the user.
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
from mailroom.work.contacts.contacts import Contacts
from mailroom.work.mail.ids import all_ids
from mailroom.work.mail.mail import MailClient
from mailroom.work.screening.door import Door

# As many mails as the door works on at once.
_PORTION = 250
# What a decision for many may override: mail about which nothing nearer decides.
_OVERRIDABLE = frozenset({Who.LIST, Who.DOMAIN, Who.UNKNOWN})


@dataclass(slots=True)
class WholeOutcome:
    """The outcome of one decision: its mail as it was read, and the patches; or why it failed."""

    whole: Whole
    previous: str | None = None
    patches: dict[str, MailPatch] = field(default_factory=dict)
    mails: dict[str, Mail] = field(default_factory=dict)
    error: MailroomError | None = None


class Wholes:
    """Carries out the decisions for whole domains and lists of one account."""

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
        """The decisions that these labelled mails ask for, and those that cannot be made."""
        lists = [mail.id for mail in mails if places.list_label in mail.mailbox_ids]
        arrivals = await self._mail.arrivals(lists) if lists else ()
        list_ids = {each.id: each.list_id or "" for each in arrivals}
        return sort_whole(mails, places, list_ids, self._config.screening.providers)

    async def prepare(self, whole: Whole, places: Places, own: OwnAddresses) -> WholeOutcome:
        """Work out where the mail goes that the decision covers; nothing is kept yet. An order has
        no labelled mail, so a waiting mail gets the labels first: then the next poll finds the
        decision after any interruption."""
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
        """Keep the decision, once its mail is where it belongs, except the labelled mail."""
        whole = done.whole
        category = whole.category.name if whole.category else None
        try:
            await self._contacts.decide(whole.key, category, is_list=whole.is_list)
        except (SenderFailed, MethodError) as error:
            done.error = SenderFailed(str(error))

    async def _theirs(self, done: WholeOutcome, places: Places) -> list[Arrival]:
        """The mail of the domain or list that waits, or is where the former decision put it, except
        mail that the user put there."""
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
        """The decision with a mail that has been given its labels; unchanged if no mail waits or
        the server refuses."""
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
        """Add the patches: for the labelled mail, and for other mail that the decision covers."""
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
        return standing.who in _OVERRIDABLE and (standing.category == whole.category)


def _is_about(whole: Whole, arrival: Arrival) -> bool:
    is_placed = PLACED in arrival.mail.keywords
    return not is_placed and whole.is_about(sender_of(arrival.mail), arrival.list_id)


def _with(whole: Whole, decisions: Decisions) -> Decisions:
    """The decisions as they are once this one is made or taken back."""
    former = decisions.lists if whole.is_list else decisions.domains
    now = {key: name for key, name in former.items() if key != whole.key}
    if whole.category:
        now[whole.key] = whole.category.name
    return replace(decisions, lists=now) if whole.is_list else replace(decisions, domains=now)
