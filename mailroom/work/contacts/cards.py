"""The client for cards by CardDAV (RFC 6352), with an index of the address book.

Every write is conditional: ``If-None-Match: *`` for a new card, ``If-Match`` for any other. If
somebody else was faster, the card is read again and the change is made again.
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
from mailroom.work.contacts.collection import GONE, Collection, etag_of
from mailroom.work.contacts.index import IndexKeeper
from mailroom.work.session.gate import Gate
from mailroom.work.session.web import Web

# Nobody edits a card this often within a few round trips: a program does, and will go on.
_TRIES = 5
# Enough to hide the delay of the network; a server's own limit (Stalwart: 4) is kept by the gate.
_PARALLEL = 8
# How many writes may run at once: at first, and then after a write found the book locked.
_AT_ONCE = (_PARALLEL, 1, 1)
_DONE = (HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.NO_CONTENT)
# The client errors that are not about the card: those about credentials, and those that pass.
_NOT_THE_CARD = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
)
_THE_CARD = tuple(status for status in range(400, 500) if status not in _NOT_THE_CARD)


@dataclass(frozen=True, slots=True)
class StoredCard:
    """A whole card as the server has it; the base of a write."""

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
        """The URL of the address book; discovered when first needed."""
        return await self._collection.url()

    async def sync(self) -> None:
        """Bring the index up to date; the first time this reads every card."""
        await self.index.sync()

    async def fetch(self, hrefs: Iterable[str]) -> dict[str, StoredCard | UnsafeCard]:
        """The whole cards at ``hrefs`` that exist; UnsafeCard for one that must not be touched.
        Cards that the server says do not exist leave the index."""
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
        """The href at which to create a card with this UID."""
        return await self._collection.href(f"{uid}.vcf")

    async def create(self, href: str, card: Card) -> StoredCard | None:
        """Create a card; None if another card has its href or its UID. The server may store it at
        another href. Raises SenderFailed if the server refuses it."""
        response = await self._put(href, card, "If-None-Match", "*")
        if response.status in _DONE:
            place = self._collection.place(response.headers.get("location", ""), href)
            return self._remember(place, card, response)
        if dav.read_precondition(response.body) == dav.NO_UID_CONFLICT:
            return None
        # Some servers answer 412 when they refuse the card itself.
        if response.status == HTTPStatus.PRECONDITION_FAILED and href in await self.fetch([href]):
            return None
        raise self._refused(href, response)

    async def edit(self, stored: StoredCard, change: Callable[[Card], Card]) -> StoredCard:
        """Change the card; if somebody else changes it meanwhile, again. Raises SenderFailed if
        the server refuses it, and whatever ``change`` raises."""
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
        raise SenderFailed(f"somebody else changed the card {stored.href} {_TRIES} times meanwhile")

    async def read(self, href: str) -> StoredCard:
        """The card at ``href``. Raises SenderFailed if there is none, or it cannot be edited."""
        stored = usable((await self.fetch([href])).get(href), href)
        if not stored.etag:
            raise SenderFailed(
                f"the server names no ETag for the card {href}, so it cannot be changed safely"
            )
        return stored

    async def delete(self, stored: StoredCard) -> bool:
        """Delete the card if it is still as it was read; else False, and the caller reads it
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
        """Replace the card, or delete it (None), if it is still as it was read.

        The server gets its own spelling of the ETag: one that sends it without quotes refuses it
        with them (seen). If-Match needs strong ETags (RFC 9110 §13.1.1), so ``W/`` is dropped. A
        server that shows ETags without quotes but wants them quoted is asked a second time.
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
        """PUT the card; None: DELETE it."""
        headers = {condition: etag}
        url = self._collection.address(href)
        if card is None:
            return await self._write(Request("DELETE", url, headers))
        headers["Content-Type"] = "text/vcard; charset=utf-8"
        return await self._write(Request("PUT", url, headers, bytes(card)))

    async def _write(self, request: Request) -> Response:
        """Send one write. A server that locks the book during each (423) gets one at a time."""
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
        """The error for a card that the server refuses to create, change or delete. A card that it
        says does not exist leaves the index: the next try finds another, or creates it again."""
        if response.status in GONE:
            self.index.deny(href)
        return _refusal(href, response)

    def _remember(self, href: str, card: Card, response: Response) -> StoredCard:
        etag = response.headers.get("etag", "").strip()
        self.book.put(Indexed(href, etag, summarise(card)))
        return StoredCard(href, etag, card)


def usable(stored: StoredCard | UnsafeCard | None, href: str) -> StoredCard:
    """The card. Raises SenderFailed if it is missing or must not be touched."""
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
    advice = "" if is_ours else ": does this user have the right to write to the address book?"
    return SenderFailed(f"the server refuses the card {href} ({response.status}{says}){advice}")
