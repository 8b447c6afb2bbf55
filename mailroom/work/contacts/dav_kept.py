"""Decisions for whole domains and lists, kept by CardDAV (:mod:`mailroom.rules.contacts.kept`)."""

from collections.abc import Callable, Coroutine
from typing import Any

from mailroom.errors import SenderFailed
from mailroom.rules.contacts.addressbook import Indexed
from mailroom.rules.contacts.kept import Kept, Scope, kept_uid
from mailroom.rules.contacts.keptcard import is_bare, kept_in, new_kept_card, with_kept_in
from mailroom.rules.names import same_name
from mailroom.wire.jmap_session import Session
from mailroom.work.contacts.cards import CardDavClient, usable

# As in :mod:`mailroom.work.contacts.dav_plan`.
_TRIES = 5
_MOST_UIDS = 20


class DavKept:
    """The cards of one address book that keep decisions."""

    def __init__(
        self, cards: CardDavClient, session: Callable[[], Coroutine[Any, Any, Session]]
    ) -> None:
        self._cards = cards
        self._session = session

    async def decide(self, scope: Scope, category: str | None, day: str) -> None:
        """Keep a decision, or take it back (None). It is written on its new card before it leaves
        the old one: after an interruption it is on both, not on neither."""
        await self._cards.sync()
        if category is not None:
            await self._add(scope, category, day)
        for card in self._cards.book.keeping():
            kept = card.entry.kept
            is_there = category is not None and kept and same_name(kept.category, category)
            if kept and scope in kept.days and not is_there:
                await self._change(card.href, lambda now: now.lacking(scope))

    async def forget(self) -> None:
        """Forget all decisions, in whatever category."""
        await self._cards.sync()
        for card in self._cards.book.keeping():
            await self._change(card.href, lambda now: Kept(now.category))

    async def _add(self, scope: Scope, category: str, day: str) -> None:
        for _ in range(_TRIES):
            if (card := self._card_of(category)) is None:
                if await self._create(Kept(category, {scope: day})):
                    return
                await self._cards.sync()
            elif await self._change(card.href, lambda now: now.having(scope, day)):
                return
        raise SenderFailed(f"the card for {category} was changed {_TRIES} times meanwhile")

    def _card_of(self, category: str) -> Indexed | None:
        for card in self._cards.book.keeping():
            if card.entry.kept and same_name(card.entry.kept.category, category):
                return card
        return None

    async def _create(self, kept: Kept) -> bool:
        """Create the category's card; False if it exists already."""
        account_id = (await self._session()).account_id
        for counter in range(_MOST_UIDS):
            uid = kept_uid(account_id, kept.category, counter)
            href = await self._cards.href_of(uid)
            if await self._cards.create(href, new_kept_card(uid, kept)):
                return True
            there = (await self._cards.fetch([href])).get(href)
            if there is not None and kept_in(usable(there, href).card) is not None:
                return False
        raise SenderFailed(f"{_MOST_UIDS} other cards have the UIDs meant for {kept.category}")

    async def _change(self, href: str, change: Callable[[Kept], Kept]) -> bool:
        """Change what a card keeps; if somebody else changes the card meanwhile, again. A card that
        then holds nothing else is deleted. False if it no longer keeps decisions."""
        for _ in range(_TRIES):
            if self._cards.book.get(href) is None:
                return False
            stored = await self._cards.read(href)
            if (kept := kept_in(stored.card)) is None:
                return False
            card = with_kept_in(stored.card, change(kept))
            if kept_in(card) is not None or not is_bare(card):
                await self._cards.edit(stored, lambda now: _changed(now, change))
                return True
            if await self._cards.delete(stored):
                return True
        raise SenderFailed(f"the card {href} was changed {_TRIES} times meanwhile")


def _changed(card: Any, change: Callable[[Kept], Kept]) -> Any:
    kept = kept_in(card)
    return card if kept is None else with_kept_in(card, change(kept))
