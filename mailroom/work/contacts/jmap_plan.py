"""Carrying out a plan for contacts by JMAP, in rounds: creations and notes, memberships, releases.

One round is one request, if limits allow. A note or a release depends on the card as it was read:
a round with one is done only if no card has changed since that reading. If one has, or if a
creation was refused because the contact may exist, the cards are read again and another round
follows.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from mailroom.errors import MailroomError, SenderFailed
from mailroom.rules.contacts import contactcard
from mailroom.rules.contacts.cardset import Cards, bare_members
from mailroom.rules.contacts.contact import contact_uid
from mailroom.rules.contacts.groups import bare_uid
from mailroom.rules.contacts.roster import Change, Found, Membership, Plan, Provenance
from mailroom.rules.names import normal_name
from mailroom.wire.filters import any_of
from mailroom.wire.jmap import MethodError
from mailroom.wire.jscontact import JsCard
from mailroom.wire.vcard import UnsafeCard
from mailroom.work.contacts.cardbook import CardBook, CardsWritten, CardWrite

# As in :mod:`mailroom.work.contacts.dav_plan`.
TRIES = 5
MOST_UIDS = 20


@dataclass(slots=True)
class _Work:
    """One plan in progress. ``tried``: by sender, the UIDs under which the contact was to be
    created. ``strays``: by group, the UIDs that were added although their creation was refused.
    ``reasons``: by sender, why it was refused."""

    failed: dict[str, MailroomError]
    tried: dict[str, list[str]] = field(default_factory=dict)
    strays: dict[str, set[str]] = field(default_factory=dict)
    reasons: dict[str, MethodError] = field(default_factory=dict)


class PlanWriter:
    """Writes plans for contacts that were read into ``cards``, and keeps ``cards`` up to date."""

    def __init__(self, book: CardBook, cards: Cards) -> None:
        self._book = book
        self._cards = cards

    async def write(self, plan: Plan, failed: dict[str, MailroomError]) -> None:
        """Carry out the plan; senders that fail are added to ``failed``."""
        work = _Work(failed)
        for _ in range(TRIES):
            plan = await self._round(plan, work)
            if not (plan.changes or work.strays):
                return
            plan = await self._again(plan, work)
        error = changed_too_often()
        work.failed.update(dict.fromkeys((each.sender for each in plan.changes), error))

    async def _round(self, plan: Plan, work: _Work) -> Plan:
        """Write the plan; returns the part of it that needs another round."""
        judged = {
            each.contact.reference
            for each in plan.changes
            if each.contact and (each.notes or each.releases)
        }
        if not judged <= self._cards.contacts.keys():
            look = await self._book.look(ids=judged)
            self._cards.set_contacts(look.cards, look.state)
        account_id = (await self._book.session()).account_id
        uids: dict[str, str] = {}
        first: list[CardWrite] = []
        for change in plan.changes:
            try:
                first += self._contact_orders(change, account_id, uids, work)
            except (SenderFailed, UnsafeCard) as error:
                work.failed[change.sender] = error
        plan = plan.without(work.failed)
        groups, strays = self._group_orders(plan, uids, work)
        releases = [self._release(each) for each in plan.changes if each.releases]
        last = [order for order in releases if order]
        state = self._cards.state if judged else None
        outcome = await self._book.set([*first, *groups, *last], state)
        return self._note_outcome(plan, outcome, strays, work)

    def _contact_orders(
        self, change: Change, account_id: str, uids: dict[str, str], work: _Work
    ) -> Iterator[CardWrite]:
        """The writes to the contact itself; its UID is noted in ``uids``."""
        if change.creates:
            assert change.filing is not None
            uid = self._free_uid(account_id, change.sender, work)
            card = contactcard.contact_for(change.filing, uid)
            work.tried.setdefault(change.sender, []).append(uid)
            uids[change.sender] = uid
            yield CardWrite("create", change.sender, card)
        elif change.contact:
            card_now = self._cards.contacts.get(change.contact.reference)
            uids[change.sender] = card_now.uid if card_now else change.contact.uid
            if change.notes and change.filing and change.filing.category:
                if card_now is None:
                    raise _deleted(change)
                name, today = change.filing.category.name, change.filing.today
                if patch := contactcard.noting(card_now, name, today):
                    yield CardWrite("update", card_now.id, patch)

    def _free_uid(self, account_id: str, sender: str, work: _Work) -> str:
        """The UID for a new contact: always the same, so that a lost answer cannot lead to a second
        contact. If the user has turned that card into somebody else's, the next one."""
        others = (
            card
            for card in self._cards.contacts.values()
            if sender not in contactcard.addresses_of(card)
        )
        taken = {bare_uid(card.uid) for card in others}.union(work.tried.get(sender, ()))
        for counter in range(MOST_UIDS):
            uid = contact_uid(account_id, sender, counter)
            if uid not in taken:
                return uid
        raise SenderFailed(f"{MOST_UIDS} cards of other people have the UIDs meant for the contact")

    def _group_orders(
        self, plan: Plan, uids: Mapping[str, str], work: _Work
    ) -> tuple[list[CardWrite], dict[str, dict[str, str]]]:
        """A patch for each group that changes; and what a creation would leave behind if it failed:
        by sender, the group's name and the member's UID."""
        orders: list[CardWrite] = []
        new: dict[str, dict[str, str]] = {}
        memberships = self._with_remains(plan, uids).memberships
        for name in sorted({*memberships, *work.strays}):
            group = self._cards.group(name)
            if group is None:
                continue
            joins, leaves = set[str](), set[str]()
            if name in memberships:
                joins, leaves = set(memberships[name].joins), set(memberships[name].leaves)
            gone = {bare_uid(uids[sender]) for sender in leaves} | work.strays.get(name, set())
            patch = contactcard.membership_patch(
                group, {bare_uid(uids[sender]): uids[sender] for sender in joins}, gone
            )
            if patch:
                orders.append(CardWrite("update", group.id, patch))
            there = bare_members(group)
            for sender in joins:
                if uids[sender] not in there:
                    new.setdefault(sender, {})[name] = uids[sender]
        work.strays.clear()
        return orders, new

    def _with_remains(self, plan: Plan, uids: Mapping[str, str]) -> Plan:
        """The plan, with the groups that a new contact is in already: if the user has deleted a
        contact, its memberships have stayed, and the new one gets the same UID."""
        there = [(name, set(map(bare_uid, each))) for name, each in self._cards.memberships()]
        changes = []
        for change in plan.changes:
            if change.creates:
                uid = uids[change.sender]
                groups = frozenset(name for name, members in there if uid in members)
                changes.append(change.with_contact(Found("", uid, (), "", groups)))
            else:
                changes.append(change)
        return Plan(tuple(changes))

    def _release(self, change: Change) -> CardWrite | None:
        """Delete the card if nobody has edited it, else take Mailroom's note out of it. A card of
        the user's with a note by an earlier version stays as it is: JMAP would rewrite it."""
        assert change.contact is not None
        card = self._cards.contacts.get(change.contact.reference)
        if card is None or contactcard.provenance(card) is not Provenance.CREATED:
            return None
        if contactcard.is_unedited(card):
            return CardWrite("destroy", card.id)
        return CardWrite("update", card.id, contactcard.clearing(card))

    def _note_outcome(
        self,
        plan: Plan,
        outcome: CardsWritten,
        strays: Mapping[str, Mapping[str, str]],
        work: _Work,
    ) -> Plan:
        """Note which senders have failed; returns the part of the plan that needs another round."""
        ids = {each.contact.reference: each.sender for each in plan.changes if each.contact}
        groups = self._cards.groups or {}
        again: list[Change] = list(plan.changes) if outcome.is_stale else []
        for key, error in outcome.refused.items():
            if key in groups:
                self._fail_group(groups[key], plan, error, work)
            elif key in ids:
                work.failed[ids[key]] = SenderFailed(f"the contact cannot be changed: {error}")
            else:
                work.reasons[key] = error
                again += [each for each in plan.changes if each.sender == key and each not in again]
                for name, uid in strays.get(key, {}).items():
                    work.strays.setdefault(name, set()).add(uid)
        for change in again:
            if change.creates and change.sender not in {*outcome.created, *outcome.refused}:
                work.tried[change.sender].pop()  # the server did not get to it
        return Plan(tuple(again)).without(work.failed)

    def _fail_group(self, group: JsCard, plan: Plan, error: MethodError, work: _Work) -> None:
        membership = plan.memberships.get(normal_name(group.name), Membership())
        is_gone = error.type == "notFound"
        why = SenderFailed(f"the contact group {group.name} cannot be changed: {error}")
        for sender in membership.joins | membership.leaves:
            work.failed[sender] = missing(group.name) if is_gone else why
        if is_gone and self._cards.groups:
            del self._cards.groups[group.id]

    async def _again(self, plan: Plan, work: _Work) -> Plan:
        """The plan for the cards as they are now. If a creation was refused, the card with its UID
        tells why: it is the sender's (an answer was lost), somebody else's, or does not exist."""
        references = [each.contact.reference for each in plan.changes if each.contact]
        tried = [uid for each in plan.changes for uid in work.tried.get(each.sender, ())]
        filters = [any_of({"uid": uid} for uid in tried)] if tried else []
        groups = [group.id for group in self._cards.managed()]
        look = await self._book.look(filters, ids=references, group_ids=groups)
        self._cards.set_contacts(look.cards, look.state)
        self._cards.set_members(self._cards.managed(), look.cards)
        memberships = self._cards.memberships()
        again = []
        for change in plan.changes:
            try:
                card = self._standing(change, work)
            except SenderFailed as error:
                work.failed[change.sender] = error
            else:
                contact = contactcard.found_in(card, memberships) if card else None
                again.append(change.with_contact(contact))
                for strays in work.strays.values():
                    strays.discard(bare_uid(contact.uid) if contact else "")
        return Plan(tuple(again))

    def _standing(self, change: Change, work: _Work) -> JsCard | None:
        """The sender's card as just read; None if it has to be created under another UID."""
        if change.contact:
            card = self._cards.contacts.get(change.contact.reference)
            if card is None and not change.releases:
                raise _deleted(change)
            return card
        tried = set(work.tried.get(change.sender, ()))
        standing = [card for card in self._cards.contacts.values() if bare_uid(card.uid) in tried]
        own = [each for each in standing if change.sender in contactcard.addresses_of(each)]
        if not standing and tried:
            raise SenderFailed(f"the contact cannot be created: {work.reasons[change.sender]}")
        return own[0] if own else None


def missing(name: str) -> SenderFailed:
    return SenderFailed(f"the contact group {name} is missing: run mailroom setup --apply")


def changed_too_often() -> SenderFailed:
    return SenderFailed(f"somebody else changed the contacts {TRIES} times meanwhile")


def _deleted(change: Change) -> SenderFailed:
    name = change.contact.name if change.contact else change.sender
    return SenderFailed(f"the contact {name} has been deleted meanwhile")
