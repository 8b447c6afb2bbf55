"""The client for cards: CardDAV (RFC 6352), with an index of the address book.

Every write says what it expects to find: ``If-None-Match: *`` for a new card, ``If-Match`` for
any other. When somebody else was faster the card is read again and the change made again.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus

from mailroom.engine.loop import Loop
from mailroom.errors import SenderFailed, TransientError
from mailroom.rules.contacts.addressbook import AddressBook, Indexed
from mailroom.rules.contacts.contact import summarise
from mailroom.wire import dav
from mailroom.wire.http import Request, Response
from mailroom.wire.problem import read_problem_details
from mailroom.wire.vcard import Card, UnsafeCard
from mailroom.work.collection import GONE, Collection, etag_of
from mailroom.work.gate import Gate
from mailroom.work.index import IndexKeeper
from mailroom.work.web import Web

_TRIES = 5
_PARALLEL = 8
# How many writes go on at once, and then how many, where the server has locked the book for one.
_AT_ONCE = (_PARALLEL, 1, 1)
_DONE = (HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.NO_CONTENT)
# Of the client errors these are not about the card: who we are, and what passes.
_NOT_THE_CARD = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
)
_THE_CARD = tuple(status for status in range(400, 500) if status not in _NOT_THE_CARD)


@dataclass(frozen=True, slots=True)
class StoredCard:
    """A whole card as it stands on the server; the base of a write."""

    href: str
    etag: str
    card: Card


class CardDavClient:
    """One address book. ``url`` is where discovery starts (RFC 6764 §6)."""

    def __init__(self, loop: Loop, web: Web, url: str, book_name: str | None = None) -> None:
        self.book = AddressBook()
        self._web = web
        self._collection = Collection(loop, web, url, book_name)
        self.index = IndexKeeper(loop, self._collection, self.book)
        self._writes = Gate()

    @property
    def is_synced(self) -> bool:
        """Whether the index has been brought up to date once."""
        return self.index.is_synced

    async def url(self) -> str:
        """The address book's; discovered when it is first needed."""
        return await self._collection.url()

    async def sync(self) -> None:
        """Bring the index up to date; the first time that is every card."""
        await self.index.sync()

    async def fetch(self, hrefs: Iterable[str]) -> dict[str, StoredCard | UnsafeCard]:
        """The whole cards at ``hrefs``, those that are there; UnsafeCard for one not to touch. What
        the server denies is not in the index any more."""
        found: dict[str, StoredCard | UnsafeCard] = {}

        def keep(resource: dav.Resource, card: bytes) -> None:
            found[resource.href] = _stored(resource.href, etag_of(resource), card)

        missing = await self._collection.multiget(hrefs, keep, _PARALLEL)
        for href, why in missing.items():
            if why:
                found[href] = UnsafeCard(why)
            else:
                self.index.deny(href)
        return found

    async def href_of(self, uid: str) -> str:
        """Where a card that we create stands."""
        return await self._collection.href(f"{uid}.vcf")

    async def create(self, href: str, card: Card) -> StoredCard | None:
        """Put a new card; None where another has its place or its UID. The server may store it
        elsewhere than at ``href``. Raises SenderFailed where it will not have it."""
        response = await self._put(href, card, "If-None-Match", "*")
        if response.status in _DONE:
            place = self._collection.place(response.headers.get("location", ""), href)
            return self._remember(place, card, response)
        if dav.read_precondition(response.body) == dav.NO_UID_CONFLICT:
            return None
        # Some servers say 412 when they mean that they will not have the card.
        if response.status == HTTPStatus.PRECONDITION_FAILED and href in await self.fetch([href]):
            return None
        raise self._refused(href, response)

    async def edit(self, stored: StoredCard, change: Callable[[Card], Card]) -> StoredCard:
        """Make ``change`` to the card, as often as somebody else changes it meanwhile. Raises
        SenderFailed where the server will not have it, and what ``change`` raises."""
        for _ in range(_TRIES):
            card = change(stored.card)
            if card == stored.card:
                return stored
            response = None
            if stored.etag:
                response = await self._replace(stored, card)
                if response.status in _DONE:
                    return self._remember(stored.href, card, response)
                if response.status != HTTPStatus.PRECONDITION_FAILED:
                    raise self._refused(stored.href, response)
            fresh = await self.read(stored.href)
            if response and fresh.etag == stored.etag:
                raise self._refused(stored.href, response)
            stored = fresh
        raise SenderFailed(f"the card {stored.href} was changed by somebody else {_TRIES} times")

    async def read(self, href: str) -> StoredCard:
        """The card at ``href``. Raises SenderFailed where there is none, or none to work with."""
        stored = usable((await self.fetch([href])).get(href), href)
        if not stored.etag:
            raise SenderFailed(
                f"the server names no ETag of the card {href}: it cannot be changed safely"
            )
        return stored

    async def delete(self, stored: StoredCard) -> bool:
        """Delete the card as it was read; False where that cannot be said, and it is to be read
        again."""
        if not stored.etag:
            return False
        response = await self._replace(stored, None)
        if response.status == HTTPStatus.PRECONDITION_FAILED:
            return False
        if response.status not in (*_DONE, *GONE):
            raise self._refused(stored.href, response)
        self.book.remove(stored.href)
        return True

    async def _replace(self, stored: StoredCard, card: Card | None) -> Response:
        """Put the card, or delete it, where it is still the one that was read.

        The server gets its own spelling of the ETag: one without quotes refuses one with them
        (seen). If-Match knows strong ETags only (RFC 9110 §13.1.1), so ``W/`` goes; and whoever
        shows them without quotes and means them with quotes is asked once more.
        """
        etag = stored.etag.removeprefix("W/")
        response = await self._put(stored.href, card, "If-Match", etag)
        if response.status in (
            HTTPStatus.BAD_REQUEST,
            HTTPStatus.PRECONDITION_FAILED,
        ) and not etag.startswith('"'):
            return await self._put(stored.href, card, "If-Match", f'"{etag}"')
        return response

    async def _put(self, href: str, card: Card | None, condition: str, etag: str) -> Response:
        """PUT the card, or DELETE the one that is there."""
        headers = {condition: etag}
        url = self._collection.address(href)
        if card is None:
            return await self._write(Request("DELETE", url, headers))
        headers["Content-Type"] = "text/vcard; charset=utf-8"
        return await self._write(Request("PUT", url, headers, bytes(card)))

    async def _write(self, request: Request) -> Response:
        """A server that locks the book for each write (423) gets them one after the other."""
        for at_once in _AT_ONCE:
            await self._writes.enter(at_once)
            try:
                response = await self._web.send(request, accept=(*_DONE, *_THE_CARD))
            finally:
                self._writes.leave()
            if response.status != HTTPStatus.LOCKED:
                return response
        raise TransientError(f"{request}: the card is locked by somebody else (423)")

    def _refused(self, href: str, response: Response) -> SenderFailed:
        """The error for a card that the server will not have, change or delete. One that it denies
        is not in the index any more: the next try finds another, or makes it anew."""
        if response.status in GONE:
            self.index.deny(href)
        return _refusal(href, response)

    def _remember(self, href: str, card: Card, response: Response) -> StoredCard:
        etag = response.headers.get("etag", "").strip()
        self.book.put(Indexed(href, etag, summarise(card)))
        return StoredCard(href, etag, card)


def usable(stored: StoredCard | UnsafeCard | None, href: str) -> StoredCard:
    """The card, or the reason why this sender cannot be worked on."""
    if stored is None:
        raise SenderFailed(f"the card {href} has been deleted meanwhile")
    if isinstance(stored, UnsafeCard):
        raise SenderFailed(f"the card {href} is left alone: {stored}") from stored
    return stored


def _stored(href: str, etag: str, data: bytes) -> StoredCard | UnsafeCard:
    try:
        return StoredCard(href, etag, Card.parse(data))
    except UnsafeCard as error:
        return error


def _refusal(href: str, response: Response) -> SenderFailed:
    if response.status in GONE:
        return SenderFailed(f"the card {href} has been deleted meanwhile")
    problem = read_problem_details(response.headers.get("content-type", ""), response.body)
    says = f", {problem}" if str(problem) else ""
    is_ours = response.status != HTTPStatus.FORBIDDEN or problem.kind
    advice = "" if is_ours else ": may we write to this address book?"
    return SenderFailed(f"the server refuses the card {href} ({response.status}{says}){advice}")
