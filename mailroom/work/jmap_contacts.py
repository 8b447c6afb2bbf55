"""Contacts by JMAP (RFC 9610): no index, everything is asked for when it is needed.

Senders' contacts are found in the request that looks for their mail, and a plan is written in the
one that files it: creations and memberships need no more than that. What depends on how a card was
read, a note or a release, is written only if nobody has changed a card since (``ifInState`` is for
all cards of an account); else the cards are read again.

Only cards that Mailroom made are written, and of groups the members: a patch has the server write
the whole card anew, and Cyrus 3.13.7 loses something of some cards on the way (seen).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from mailroom.engine.loop import Loop, both
from mailroom.errors import MailroomError, SenderFailed
from mailroom.rules import contactcard
from mailroom.rules.addresses import spellings
from mailroom.rules.config import Config
from mailroom.rules.contact import contact_uid
from mailroom.rules.groups import bare_uid, group_uid
from mailroom.rules.names import normal_name
from mailroom.rules.record import Amendment, Record
from mailroom.rules.roster import Change, Found, Group, Membership, Plan, Provenance, managed_groups
from mailroom.wire.jmap import CONTACTS, Call, MethodError
from mailroom.wire.jscontact import JsCard, read_default_book
from mailroom.wire.vcard import UnsafeCard
from mailroom.work.cardbook import GROUP_PROPERTIES, CardBook, Filter, Order, Outcome
from mailroom.work.contacts import Beside, Failures, Intention

_ADDRESSES_PER_QUERY = 50
_MOST_UIDS = 20
_TRIES = 5
_INDEX_PROPERTIES = ("id", "kind", "uid", "name", "emails", "notes")
_GROUPS: Filter = {"kind": "group"}
_BOOKS = Call("AddressBook/get", {"ids": None}, "books", CONTACTS)


@dataclass(slots=True)
class _Work:
    """One plan on its way. ``tried`` are UIDs that a sender's contact was to be created under;
    ``strays`` those that came into groups with a creation that was refused, for which there are
    ``reasons``."""

    failed: dict[str, MailroomError]
    tried: dict[str, list[str]] = field(default_factory=dict)
    strays: dict[str, set[str]] = field(default_factory=dict)
    reasons: dict[str, MethodError] = field(default_factory=dict)


class JmapContacts:
    """The contacts of one account that the session announces them for."""

    def __init__(self, loop: Loop, config: Config, book: CardBook) -> None:
        self._loop = loop
        self._book = book
        self._managed = managed_groups(config)
        self._provenance_group = config.mailroom.provenance_group
        self._book_id: str | None = None
        self._groups: dict[str, JsCard] | None = None
        self._groups_state = ""
        # The cards that were read for what is going to be done, by id, and the state they were
        # read in.
        self._cards: dict[str, JsCard] = {}
        self._state = ""
        self._pushed = ""

    async def refresh(self) -> None:
        """Read the groups, and which address book new cards go to."""
        self._pushed = ""
        look = await self._book.look([_GROUPS], properties=GROUP_PROPERTIES, others=[_BOOKS])
        cards = look.cards
        if not cards:  # Stalwart 0.15.5 finds nothing by kind (seen)
            cards = (await self._book.look([{}], properties=GROUP_PROPERTIES)).cards
        self._groups = {card.id: card for card in _in_order(cards) if card.is_group}
        self._groups_state = look.state
        try:
            self._book_id = read_default_book(look.answers[_BOOKS.tag])
        except MethodError:
            self._book_id = None  # a server without address books needs none named

    async def groups(self) -> tuple[Group, ...]:
        return tuple(map(_group, (await self._known_groups()).values()))

    def addresses_of(self, address: str) -> tuple[str, ...]:
        return ()

    def pushed(self, state: str) -> None:
        self._pushed = state

    @property
    def has_news(self) -> bool:
        """Our own writes are told as well; their states are those that were answered to us."""
        return self._pushed not in ("", *self._book.states)

    async def find(
        self, addresses: Collection[str], intend: Intention = lambda _: Plan()
    ) -> Mapping[str, Found]:
        account_id = (await self._book.session()).account_id
        self._cards, wanted = {}, sorted(addresses)
        filters = [
            _any_of(_conditions(wanted[start : start + _ADDRESSES_PER_QUERY], account_id))
            for start in range(0, len(wanted), _ADDRESSES_PER_QUERY)
        ]
        groups = self._groups_managed()
        look = await self._book.look(filters, group_ids=[group.id for group in groups])
        self._state = look.state
        self._cards = {card.id: card for card in look.cards if not card.is_group}
        if not self._take_in(groups, look.cards):
            await self.refresh()
        return self._found(addresses)

    async def ours(self) -> tuple[Found, ...]:
        await self.refresh()
        look = await self._book.look([{}], properties=_INDEX_PROPERTIES)
        group = self._group_named(self._provenance_group)
        listed = _bare_members(group) if group else frozenset()
        ours = [
            card
            for card in _in_order(look.cards)
            if not card.is_group
            and (
                contactcard.provenance(card) is not Provenance.NONE or bare_uid(card.uid) in listed
            )
        ]
        await self._read([card.id for card in ours])
        memberships = self._memberships()
        return tuple(
            contactcard.found_in(self._cards[card.id], memberships)
            for card in ours
            if card.id in self._cards
        )

    async def obstacles(self, plan: Plan) -> Failures:
        await self._known_groups()
        return {
            change.sender: error
            for change in plan.changes
            if (error := self._obstacle(change)) is not None
        }

    async def apply(self, plan: Plan, beside: Beside | None = None) -> Failures:
        failed: dict[str, MailroomError] = dict(await self.obstacles(plan))
        plan = plan.without(failed)
        # In this order: the contacts are asked for before anything that follows from them.
        await both(self._loop, self._carry_out(plan, failed), (beside or _nothing)(dict(failed)))
        return failed

    async def create_group(
        self, name: str, members: Collection[str] = (), record: Record | None = None
    ) -> bool:
        account_id = (await self._book.session()).account_id
        for counter in range(_MOST_UIDS):
            await self.refresh()
            if self._group_named(name):
                return False
            uid = group_uid(account_id, name, counter)
            card = contactcard.new_group(uid, name, members, record)
            outcome = await self._book.set([[Order("create", name, self._placed(card))]])
            if outcome.created:
                await self.refresh()
                return True
            if not (await self._book.look([{"uid": uid}])).cards:
                raise SenderFailed(
                    f"the server refuses the contact group {name}: {outcome.refused[name]}"
                )
        raise SenderFailed(f"{_MOST_UIDS} other cards stand where the group {name} would")

    async def remove_group(self, name: str) -> bool:
        for _ in range(_TRIES):
            await self.refresh()
            group = self._group_named(name)
            if group is None or group.members:
                return False
            if await self._set_judged(Order("destroy", group.id), name):
                await self.refresh()
                return True
        raise _restless()

    async def record(self) -> Record | None:
        await self.refresh()
        group = self._group_named(self._provenance_group)
        return contactcard.record_of(group) if group else None

    async def amend_record(self, amend: Amendment) -> None:
        name = self._provenance_group
        for _ in range(_TRIES):
            await self.refresh()
            group = self._group_named(name)
            if group is None:
                raise _missing(name)
            record = contactcard.record_of(group)
            if (amended := amend(record)) == record:
                return
            order = Order("update", group.id, contactcard.record_patch(group, amended))
            if await self._set_judged(order, name):
                return
        raise _restless()

    async def describe(self) -> str:
        session, count = await self._book.session(), await self._book.count()
        await self.refresh()
        many = "" if count is None else f", {count} cards"
        return f"by JMAP at {session.api_url}{many}"

    # Finding

    async def _known_groups(self) -> Mapping[str, JsCard]:
        if self._groups is None:
            await self.refresh()
        return self._groups or {}

    def _groups_managed(self) -> list[JsCard]:
        named_so = (self._group_named(name) for name in sorted(self._managed))
        return [group for group in named_so if group]

    def _group_named(self, name: str) -> JsCard | None:
        """Of equal names the first one counts."""
        groups = (self._groups or {}).values()
        called = [group for group in groups if normal_name(group.name) == normal_name(name)]
        return min(called, key=lambda group: group.name != name, default=None)

    def _take_in(self, groups: Iterable[JsCard], seen: Iterable[JsCard]) -> bool:
        """Whether the managed groups are still those that we know; then their members are new."""
        now = {card.id: card for card in seen if card.is_group}
        if self._groups is None or len(self._groups_managed()) < len(self._managed):
            return False
        if any(each.id not in now or now[each.id].name != each.name for each in groups):
            return False
        self._groups |= {each.id: now[each.id] for each in groups}
        return True

    def _found(self, addresses: Iterable[str]) -> dict[str, Found]:
        """Of several contacts the one in a managed group, else the first."""
        by_address: dict[str, list[JsCard]] = {}
        for card in _in_order(self._cards.values()):
            for address in contactcard.addresses_of(card):
                by_address.setdefault(address, []).append(card)
        memberships = self._memberships()
        managed = {uid for group in self._groups_managed() for uid in _bare_members(group)}
        found = {}
        for address in addresses:
            if cards := by_address.get(address):
                known = (card for card in cards if bare_uid(card.uid) in managed)
                found[address] = contactcard.found_in(next(known, cards[0]), memberships)
        return found

    def _memberships(self) -> list[tuple[str, frozenset[str]]]:
        names = {normal_name(group.name) for group in (self._groups or {}).values()}
        groups = ((name, self._group_named(name)) for name in names)
        return [(name, _bare_members(group)) for name, group in groups if group]

    async def _read(self, ids: Collection[str]) -> None:
        """Read these cards whole; what is known of them is forgotten."""
        look = await self._book.look(ids=ids)
        self._state = look.state
        self._cards = {card.id: card for card in look.cards}

    # Writing

    async def _set_judged(self, order: Order, name: str) -> bool:
        """Whether the order was carried out, on a group as it was last read."""
        outcome = await self._book.set([[order]], self._groups_state)
        if error := outcome.refused.get(order.key):
            raise SenderFailed(f"the contact group {name} cannot be changed: {error}")
        return not outcome.is_stale

    def _obstacle(self, change: Change) -> MailroomError | None:
        contact = change.contact
        if contact and not contact.uid and (change.joins or change.leaves):
            return SenderFailed(
                f"the contact {contact.name or contact.reference} has no UID, so no group can name "
                "it: change and save it in an address book program, which gives it one"
            )
        for name in sorted(change.joins | change.leaves):
            if self._group_named(name) is None:
                return _missing(name)
        return None

    async def _carry_out(self, plan: Plan, failed: dict[str, MailroomError]) -> None:
        work = _Work(failed)
        for _ in range(_TRIES):
            plan = await self._round(plan, work)
            if not (plan.changes or work.strays):
                return
            plan = await self._again(plan, work)
        error = _restless()
        work.failed.update(dict.fromkeys((each.sender for each in plan.changes), error))

    async def _round(self, plan: Plan, work: _Work) -> Plan:
        """Write what the plan says; what is left of it then needs another look."""
        judged = {
            each.contact.reference
            for each in plan.changes
            if each.contact and (each.notes or each.releases)
        }
        if not judged <= self._cards.keys():
            await self._read(judged)
        account_id = (await self._book.session()).account_id
        uids: dict[str, str] = {}
        first: list[Order] = []
        for change in plan.changes:
            try:
                first += self._contact_orders(change, account_id, uids, work)
            except (SenderFailed, UnsafeCard) as error:
                work.failed[change.sender] = error
        plan = plan.without(work.failed)
        groups, strays = self._group_orders(plan, uids, work)
        releases = [self._release(each) for each in plan.changes if each.releases]
        last = [order for order in releases if order]
        outcome = await self._book.set([[*first, *groups], last], self._state if judged else None)
        return self._settle(plan, outcome, strays, work)

    def _contact_orders(
        self, change: Change, account_id: str, uids: dict[str, str], work: _Work
    ) -> Iterator[Order]:
        """What becomes of the contact itself; under which UID it goes is noted."""
        if change.creates:
            assert change.filing is not None
            uid = self._free_uid(account_id, change.sender, work)
            card = self._placed(contactcard.contact_for(change.filing, uid))
            work.tried.setdefault(change.sender, []).append(uid)
            uids[change.sender] = uid
            yield Order("create", change.sender, card)
        elif change.contact:
            card_now = self._cards.get(change.contact.reference)
            uids[change.sender] = card_now.uid if card_now else change.contact.uid
            if change.notes and change.filing:
                if card_now is None:
                    raise _deleted(change)
                name, today = change.filing.category.name, change.filing.today
                if patch := contactcard.noting(card_now, name, today):
                    yield Order("update", card_now.id, patch)

    def _free_uid(self, account_id: str, sender: str, work: _Work) -> str:
        """Always the same, so that a lost answer cannot make a second contact. Where the user has
        made that card somebody else's, the next one."""
        others = (
            card for card in self._cards.values() if sender not in contactcard.addresses_of(card)
        )
        taken = {bare_uid(card.uid) for card in others}.union(work.tried.get(sender, ()))
        for counter in range(_MOST_UIDS):
            uid = contact_uid(account_id, sender, counter)
            if uid not in taken:
                return uid
        raise SenderFailed(f"{_MOST_UIDS} cards of other people stand where the contact would")

    def _group_orders(
        self, plan: Plan, uids: Mapping[str, str], work: _Work
    ) -> tuple[list[Order], dict[str, dict[str, str]]]:
        """A patch for each group that changes; and for each creation what it would leave behind in
        them: group ids and members."""
        orders: list[Order] = []
        new: dict[str, dict[str, str]] = {}
        creations = {each.sender for each in plan.changes if each.creates}
        memberships = self._with_remains(plan, uids).memberships
        for name in sorted({*memberships, *work.strays}):
            group = self._group_named(name)
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
                orders.append(Order("update", group.id, patch))
            there = _bare_members(group)
            for sender in joins & creations:
                if uids[sender] not in there:
                    new.setdefault(sender, {})[name] = uids[sender]
        work.strays.clear()
        return orders, new

    def _with_remains(self, plan: Plan, uids: Mapping[str, str]) -> Plan:
        """A contact that is created is already in groups in which a former one of its UID was: the
        user has deleted that one, and its memberships have stayed."""
        there = self._memberships()
        changes = []
        for change in plan.changes:
            if change.creates:
                uid = uids[change.sender]
                groups = frozenset(name for name, members in there if uid in members)
                changes.append(change.with_contact(Found("", uid, (), "", groups)))
            else:
                changes.append(change)
        return Plan(tuple(changes))

    def _release(self, change: Change) -> Order | None:
        """Delete or clean, whichever is right for the card as it was read. A card of the user's
        with an earlier version's note is left as it is: by JMAP it would be written anew."""
        assert change.contact is not None
        card = self._cards.get(change.contact.reference)
        if card is None or contactcard.provenance(card) is not Provenance.CREATED:
            return None
        if contactcard.is_unedited(card):
            return Order("destroy", card.id)
        return Order("update", card.id, contactcard.clearing(card))

    def _settle(
        self, plan: Plan, outcome: Outcome, strays: Mapping[str, Mapping[str, str]], work: _Work
    ) -> Plan:
        """Note who has failed; returns what has to be looked at again."""
        ids = {each.contact.reference: each.sender for each in plan.changes if each.contact}
        groups = self._groups or {}
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
                work.tried[change.sender].pop()  # it was not even tried
        return Plan(tuple(again)).without(work.failed)

    def _fail_group(self, group: JsCard, plan: Plan, error: MethodError, work: _Work) -> None:
        membership = plan.memberships.get(normal_name(group.name), Membership())
        is_gone = error.type == "notFound"
        why = SenderFailed(f"the contact group {group.name} cannot be changed: {error}")
        for sender in membership.joins | membership.leaves:
            work.failed[sender] = _missing(group.name) if is_gone else why
        if is_gone and self._groups:
            del self._groups[group.id]

    async def _again(self, plan: Plan, work: _Work) -> Plan:
        """The plan for what is there by now. Of a creation that was refused the card that has its
        UID tells: it is the sender's (an answer was lost), somebody else's, or there is none."""
        references = [each.contact.reference for each in plan.changes if each.contact]
        tried = [uid for each in plan.changes for uid in work.tried.get(each.sender, ())]
        filters = [_any_of({"uid": uid} for uid in tried)] if tried else []
        groups = [group.id for group in self._groups_managed()]
        look = await self._book.look(filters, ids=references, group_ids=groups)
        self._state = look.state
        self._cards = {card.id: card for card in look.cards if not card.is_group}
        self._take_in(self._groups_managed(), look.cards)
        memberships = self._memberships()
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
                    strays.discard(contact.uid if contact else "")
        return Plan(tuple(again))

    def _standing(self, change: Change, work: _Work) -> JsCard | None:
        """The card of the sender as it was just read; None where another UID is to be tried."""
        if change.contact:
            card = self._cards.get(change.contact.reference)
            if card is None and not change.releases:
                raise _deleted(change)
            return card
        tried = set(work.tried.get(change.sender, ()))
        standing = [card for card in self._cards.values() if bare_uid(card.uid) in tried]
        own = [each for each in standing if change.sender in contactcard.addresses_of(each)]
        if not standing and tried:
            raise SenderFailed(f"the contact cannot be created: {work.reasons[change.sender]}")
        return own[0] if own else None

    def _placed(self, card: dict[str, object]) -> dict[str, object]:
        """In the address book for new cards: Stalwart 0.15.5 wants it named (seen)."""
        return card | ({"addressBookIds": {self._book_id: True}} if self._book_id else {})


def _conditions(addresses: Iterable[str], account_id: str) -> Iterator[Filter]:
    """What finds the contacts, and the cards that stand where theirs would. The server compares
    words: which of the cards have the addresses is seen afterwards."""
    for address in addresses:
        yield from ({"email": spelling} for spelling in spellings(address))
        yield {"uid": contact_uid(account_id, address, 0)}


def _any_of(conditions: Iterable[Filter]) -> Filter:
    found = list(conditions)
    return found[0] if len(found) == 1 else {"operator": "OR", "conditions": found}


def _in_order(cards: Iterable[JsCard]) -> list[JsCard]:
    """In an order that is the same each time, and nearly that of their hrefs."""
    return sorted(cards, key=lambda card: (card.uid, card.id))


def _bare_members(group: JsCard) -> frozenset[str]:
    return frozenset(map(bare_uid, group.members or ()))


def _group(card: JsCard) -> Group:
    return Group(card.id, bare_uid(card.uid), card.name, _bare_members(card))


def _missing(name: str) -> SenderFailed:
    return SenderFailed(f"the contact group {name} is missing: run mailroom setup --apply")


def _restless() -> SenderFailed:
    return SenderFailed(f"contacts were changed by somebody else {_TRIES} times meanwhile")


def _deleted(change: Change) -> SenderFailed:
    name = change.contact.name if change.contact else change.sender
    return SenderFailed(f"the contact {name} has been deleted meanwhile")


async def _nothing(_failed: Failures) -> None:
    pass
