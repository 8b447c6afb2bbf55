"""Decisions for whole domains and lists, kept by JMAP (:mod:`mailroom.rules.contacts.kept`)."""

from collections.abc import Collection, Iterable, Iterator

from mailroom.errors import SenderFailed
from mailroom.rules.contacts.cardset import in_order
from mailroom.rules.contacts.groups import bare_uid
from mailroom.rules.contacts.kept import Kept, Scope, kept_uid
from mailroom.rules.contacts.keptcard import contact_to_keep, keeping, kept_by, would_be_bare
from mailroom.rules.names import same_name
from mailroom.wire.filters import any_of
from mailroom.wire.jscontact import JsCard
from mailroom.work.contacts.cardbook import CardBook, CardWrite, Filter
from mailroom.work.contacts.jmap_plan import MOST_UIDS, TRIES, changed_too_often

# The UID of a category's card, and the next, used if the user has turned that card into another.
_UIDS = 2
_PROPERTIES = ("id", "kind", "uid", "name", "notes")


class JmapKept:
    """The cards of one account that keep decisions; ``cards`` as they were last read."""

    def __init__(self, book: CardBook, categories: Collection[str]) -> None:
        self.cards: tuple[JsCard, ...] = ()
        self._book = book
        self._categories = categories

    async def filters(self) -> list[Filter]:
        """The filters that find the cards: by UID, which servers compare exactly."""
        account_id = (await self._book.session()).account_id
        uids = [
            kept_uid(account_id, name, counter)
            for name in self._categories
            for counter in range(_UIDS)
        ]
        return [any_of({"uid": uid} for uid in uids)] if uids else []

    def seen(self, cards: Iterable[JsCard]) -> None:
        """Take the cards that keep decisions out of these, which include all candidates."""
        self.cards = tuple(
            card for card in in_order(cards) if not card.is_group and kept_by(card) is not None
        )

    @property
    def kept(self) -> list[Kept]:
        return [kept for card in self.cards if (kept := kept_by(card)) is not None]

    async def decide(self, scope: Scope, category: str | None, day: str) -> None:
        taken: set[str] = set()
        for _ in range(TRIES):
            cards, state = await self._read()
            orders = list(self._orders(cards, scope, category, day))
            if category is not None and not any(_is_of(card, category) for card in cards):
                uid = await self._free_uid(category, taken)
                card = contact_to_keep(uid, Kept(category, {scope: day}))
                orders.insert(0, CardWrite("create", uid, card))
            if await self._carry_out(orders, state, taken):
                return
        raise changed_too_often()

    async def forget(self) -> None:
        """Forget all decisions, in whatever category."""
        for _ in range(TRIES):
            everything = await self._book.look([{}], properties=_PROPERTIES)
            self.seen(everything.cards)
            cards, state = await self._read()
            orders = [_order(card, kept_by(card), Kept("")) for card in cards]
            if await self._carry_out([each for each in orders if each], state, set()):
                return
        raise changed_too_often()

    async def _read(self) -> tuple[list[JsCard], str]:
        """The whole cards, since they may hold other things too, and their state."""
        look = await self._book.look(
            await self.filters(), ids=[card.id for card in self.cards], properties=None
        )
        self.seen(look.cards)
        return list(self.cards), look.state

    def _orders(
        self, cards: Iterable[JsCard], scope: Scope, category: str | None, day: str
    ) -> Iterator[CardWrite]:
        for card in cards:
            kept = kept_by(card)
            assert kept is not None
            is_its = category is not None and _is_of(card, category)
            wanted = kept.having(scope, day) if is_its else kept.lacking(scope)
            if order := _order(card, kept, wanted):
                yield order

    async def _free_uid(self, category: str, taken: Collection[str]) -> str:
        account_id = (await self._book.session()).account_id
        for counter in range(MOST_UIDS):
            uid = kept_uid(account_id, category, counter)
            if uid not in taken:
                return uid
        raise SenderFailed(f"{MOST_UIDS} other cards have the UIDs meant for {category}")

    async def _carry_out(self, orders: list[CardWrite], state: str, taken: set[str]) -> bool:
        """Write the cards. False if the caller must start again: somebody has changed a card, or
        another card has the UID of the one that was to be created."""
        outcome = await self._book.set(orders, state or None) if orders else None
        if outcome is None:
            return True
        for order in orders:
            if (error := outcome.refused.get(order.key)) is None:
                continue
            if order.verb != "create" or not await self._is_taken(order.key):
                raise SenderFailed(f"a card that keeps decisions cannot be changed: {error}")
            taken.add(order.key)
        if outcome.is_stale or outcome.refused:
            return False
        await self._read()
        return True

    async def _is_taken(self, uid: str) -> bool:
        found = (await self._book.look([{"uid": uid}])).cards
        return any(bare_uid(card.uid) == uid for card in found)


def _is_of(card: JsCard, category: str) -> bool:
    kept = kept_by(card)
    return kept is not None and same_name(kept.category, category)


def _order(card: JsCard, kept: Kept | None, wanted: Kept) -> CardWrite | None:
    if kept is None or kept.days == wanted.days != {}:
        return None
    if not wanted.days and would_be_bare(card):
        return CardWrite("destroy", card.id)
    patch = keeping(card, wanted)
    return CardWrite("update", card.id, patch) if patch else None
