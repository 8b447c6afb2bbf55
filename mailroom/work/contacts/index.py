"""Keeping the index of an address book up to date, by whatever the server offers.

If the server has sync (RFC 6578), its answers tell what has changed. If not, RFC 6352 is enough:
the ETags of all cards are listed, and the cards are read whose ETag differs from the index.

Only Cyrus is asked for parts of cards (RFC 6352 §10.4). Other servers ignore that and send photos
too, or drop properties with a group (``item1.EMAIL``; Stalwart, by its source). They are asked for
ETags, and then for whole cards in portions.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from http import HTTPStatus

from mailroom.engine.loop import Loop, give_way
from mailroom.errors import MailroomError, TooLarge, TransientError
from mailroom.rules.contacts.addressbook import AddressBook, Indexed
from mailroom.rules.contacts.contact import summarise
from mailroom.rules.polling.backoff import Backoff
from mailroom.wire import dav
from mailroom.wire.http import SILENCE_SECONDS
from mailroom.wire.urls import without_query
from mailroom.wire.vcard import CardView
from mailroom.work.contacts.collection import GONE, Collection, etag_of
from mailroom.work.contacts.discovery import xml_request
from mailroom.work.session.gate import Gate

# How servers refuse a sync token (403 by RFC 6578 §3.2, but others occur), or the report itself
# (unknown reports are 403 by RFC 3253 §3.6; 400, 405, 415, 422, 501 and 507 occur).
_NO_SYNC = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.METHOD_NOT_ALLOWED,
    HTTPStatus.CONFLICT,
    HTTPStatus.PRECONDITION_FAILED,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.NOT_IMPLEMENTED,
    HTTPStatus.INSUFFICIENT_STORAGE,
)

# The path of address books on Cyrus, and the form of its sync tokens: UIDVALIDITY and MODSEQ (3.6.1
# and 3.10.2, seen). Its Server header can be configured, and is not sent with REPORTs.
_CYRUS_PATH = "/dav/addressbooks/user/"
_CYRUS_TOKEN = re.compile(r"data:,\d+-\d+")

# A server may take long over the first answer: 33 s before the first byte were seen.
_FIRST_SECONDS = 300.0
# A first reading that timed out is not repeated at once: a whole book is much work for the server.
_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 60.0, 3600.0
# How often all ETags are listed besides sync: Stalwart never refuses a token, even if it has
# forgotten the changes (its source).
_LOOK_SECONDS = 86_400.0
# A server may allow an account no more than four requests at once (Stalwart 0.15.5, seen).
_PARALLEL = 2

_UNREADABLE = summarise(CardView(()))


class IndexKeeper:
    """Brings ``book`` up to date with the collection on request. ``is_reading`` is true while every
    card is being read; ``on_change`` is called when that begins and ends. ``synced_at`` is the
    instant of the last sync, or attempt."""

    def __init__(self, loop: Loop, collection: Collection, book: AddressBook) -> None:
        self.is_synced = self.is_reading = False
        self.on_change: Callable[[], None] = _nothing
        self.synced_at = loop.now()
        self._loop = loop
        self._collection = collection
        self._book = book
        self._token: str | None = None
        self._has_sync = True
        # Taken for Cyrus until something shows otherwise; a sync token of its form proves it.
        self._is_cyrus, self._is_proven = True, False
        self._looked_at = loop.now()
        self._is_in_doubt = False
        self._gate = Gate()
        self._first_tries = Backoff(lambda: 0.0, _FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS)

    async def sync(self) -> None:
        """Bring the index up to date; the first time this reads every card. Syncs run one at a
        time: of two at once the older answer might be applied last."""
        await self._gate.enter(1)
        try:
            await self._sync_alone()
        finally:
            self._gate.leave()

    async def _sync_alone(self) -> None:
        began = self._loop.now()
        self._tell(is_reading=not self.is_synced)
        try:
            await self._sync()
        except MailroomError as error:
            if not self._collection.is_found:
                self._token, self.is_synced = None, False
            if self._is_for_later(error, began):
                raise TransientError(
                    f"reading the address book: {error}", self._first_tries.fail()
                ) from error
            raise
        else:
            self.is_synced = True
            self._first_tries.reset()
        finally:
            self.synced_at = self._loop.now()
            self._tell(is_reading=False)

    def deny(self, href: str) -> None:
        """Note that the server says that a card in the index does not exist. It may be wrong for a
        moment, and no sync would tell of the card again: so the next one lists all ETags."""
        if self._book.get(href) is not None:
            self._doubt(href)

    def _doubt(self, href: str) -> None:
        self._book.remove(href)
        self._is_in_doubt = True

    def _is_for_later(self, error: MailroomError, began: float) -> bool:
        """Whether reading the whole book took long and failed, so that it must not be repeated
        soon."""
        took = self._loop.now() - began
        return isinstance(error, TransientError) and not self.is_synced and took >= SILENCE_SECONDS

    def _tell(self, *, is_reading: bool) -> None:
        if self.is_reading is not is_reading:
            self.is_reading = is_reading
            self.on_change()

    async def _sync(self) -> None:
        if not self._has_sync:
            await self._look()
        elif not await self._by_sync():
            await self._look()
            self._has_sync = False  # only RFC 6352 works here
        elif self._is_in_doubt or self._is_due_for_a_look():
            await self._look()

    def _is_due_for_a_look(self) -> bool:
        return not self._is_cyrus and self._loop.now() - self._looked_at > _LOOK_SECONDS

    # By sync

    async def _by_sync(self) -> bool:
        """Take in all changes since our token, page by page; False if the server has no sync."""
        tokens = {self._token}
        was_truncated = False
        while True:
            page = await self._page()
            if page is None:
                if self._token is None:
                    return False
                self._token, self.is_synced = None, False  # forgotten (RFC 6578 §3.2)
                tokens, was_truncated = {None}, False
                continue
            told, is_truncated = page
            if not is_truncated or self._token in tokens:
                break
            tokens.add(self._token)
            was_truncated = True
        if self._token is None:
            return False  # without a token every sync would read every card
        # A truncated answer promises more. Stalwart's has the final token already, so the rest
        # never comes (its source). Then, and if the token does not change, the ETags are listed.
        if is_truncated or (was_truncated and told == 0):
            await self._look()
        return True

    async def _page(self) -> tuple[int, bool] | None:
        """Read and apply one answer; returns how many cards it names, and whether there is more.
        None if the server refuses the request."""
        url = await self._collection.url()
        self._is_cyrus &= self._collection.folder.startswith(_CYRUS_PATH)
        body = dav.sync_collection(self._token, with_cards=self._is_cyrus)
        request = xml_request("REPORT", url, body, "0")
        request = replace(request, patience_seconds=self._patience())
        try:
            response = await self._collection.send(request, _NO_SYNC)
        except TooLarge:
            if not self._is_cyrus:
                raise
            self._is_cyrus = False
            return await self._page()
        if response.status != HTTPStatus.MULTI_STATUS:
            return None
        return await self._apply(dav.Multistatus(response.body, without_query(url)))

    async def _apply(self, answer: dav.Multistatus) -> tuple[int, bool]:
        """Put the cards into the index; the new token counts only when all are there."""
        had_token, known = self._token is not None, len(self._book)
        if not had_token:
            self.is_synced, self._looked_at = False, self._loop.now()
            self._book.clear()
        unread: dict[str, str] = {}
        partial: list[str] = []
        is_truncated, told = False, 0
        for resource in answer:
            await give_way(self._loop)
            is_truncated |= resource.status == HTTPStatus.INSUFFICIENT_STORAGE
            if not self._collection.is_card(resource):
                continue
            if resource.status in GONE:
                self._book.remove(resource.href)
                continue
            told += 1
            self._collection.learn(resource)
            etag = etag_of(resource)
            if (card := resource.card) is not None:
                self._put(resource, card)
                if not self._is_proven:
                    partial.append(resource.href)
            elif not self._is_current(resource.href, etag):
                unread[resource.href] = etag
        token = answer.sync_token
        if not (self._is_cyrus and token and _CYRUS_TOKEN.fullmatch(token)):
            # It is not Cyrus, so properties may be missing in the parts: read the cards whole.
            self._is_cyrus = False
            unread |= {href: shown.etag for href in partial if (shown := self._book.get(href))}
        self._is_proven = self._is_cyrus
        await self._read(unread)
        self._token = token
        # An answer with at least as many cards as the index has is a full listing: our token meant
        # nothing to the server. Such a listing does not name removed cards (Stalwart, its source).
        if had_token and not self._is_cyrus and told >= known > 0:
            await self._look()
        return told, is_truncated

    # By ETags

    async def _look(self) -> None:
        """List the ETags of all cards, and read the cards whose ETag differs from the index."""
        self._is_in_doubt = True  # until all listed cards have been read
        listed = await self._collection.listing(self._patience())
        for href in [card.href for card in self._book if card.href not in listed]:
            self._book.remove(href)
        stale = {href: etag for href, etag in listed.items() if not self._is_current(href, etag)}
        self._is_in_doubt = await self._read(stale)
        self._looked_at = self._loop.now()

    def _is_current(self, href: str, etag: str) -> bool:
        """Whether the index has this version of the card. Some servers send the same ETag as weak
        in one answer and as strong in another."""
        known = self._book.get(href)
        return known is not None and bool(etag) and _bare(known.etag) == _bare(etag)

    async def _read(self, etags: Mapping[str, str]) -> bool:
        """Read the whole cards at these hrefs (href → ETag). Returns whether the server said that
        any does not exist, although it has just listed it. A card that it does not show keeps its
        former entry until its ETag changes."""
        missing = await self._collection.multiget(etags, self._put, _PARALLEL)
        for href, why in missing.items():
            known = self._book.get(href)
            if why:
                entry = known.entry if known else _UNREADABLE
                self._book.put(Indexed(href, etags[href], entry))
            else:
                self._doubt(href)
        return not all(missing.values())

    def _put(self, resource: dav.Resource, card: bytes) -> None:
        entry = summarise(CardView.glance(card))
        self._book.put(Indexed(resource.href, etag_of(resource), entry))

    def _patience(self) -> float:
        return SILENCE_SECONDS if self.is_synced else _FIRST_SECONDS


def _nothing() -> None:
    pass


def _bare(etag: str) -> str:
    return etag.removeprefix("W/").strip('"')
