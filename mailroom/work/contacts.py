"""The conversation about contacts: CardDAV (RFC 6352) with an index kept by sync (RFC 6578).

Every write says what it expects to find: ``If-None-Match: *`` for a new card, ``If-Match`` for
any other. When somebody else was faster the card is read again and the change made again.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from mailroom.engine.exchange import Request, Response, without_query
from mailroom.engine.loop import Loop, together
from mailroom.errors import LastingTrouble, ProtocolError, SenderFailed
from mailroom.rules.addressbook import AddressBook, Indexed
from mailroom.rules.contact import summarise
from mailroom.wire import dav
from mailroom.wire.vcard import Card, CardView, UnsafeCard
from mailroom.work.web import Web

_TRIES = 5
_CARDS_PER_REQUEST = 50
_PARALLEL = 8
_OK, _MULTISTATUS = 200, 207
_FORBIDDEN, _NOT_FOUND, _FAILED = 403, 404, 412
_TRUNCATED = 507
_DONE = (200, 201, 204)
# How a server says that it will not have this very card.
_BAD_CARD = (400, 403, 409, 413, 415, 422)


@dataclass(frozen=True, slots=True)
class Stored:
    """A whole card as it stands on the server; the base of a write."""

    href: str
    etag: str
    card: Card


class ContactsConversation:
    """One address book. ``url`` is where discovery starts (RFC 6764 §6)."""

    def __init__(self, loop: Loop, web: Web, url: str, book_name: str | None = None) -> None:
        self.book = AddressBook()
        self.is_synced = False
        self._loop = loop
        self._web = web
        self._url = url
        self._book_name = book_name
        self._book_url: str | None = None
        self._token: str | None = None
        web.trust(url)

    async def sync(self) -> None:
        """Bring the index up to date; the first time that is every card."""
        while True:
            truncated = await self._sync_once()
            if not truncated:
                self.is_synced = True
                return

    async def fetch(self, hrefs: Iterable[str]) -> dict[str, Stored | UnsafeCard]:
        """The whole cards at ``hrefs``, those that are there; UnsafeCard for one not to touch."""
        url = await self.url()
        wanted = sorted(set(hrefs))
        batches = [
            wanted[start : start + _CARDS_PER_REQUEST]
            for start in range(0, len(wanted), _CARDS_PER_REQUEST)
        ]
        reports = [self._report(url, dav.multiget(batch), "1") for batch in batches]
        found: dict[str, Stored | UnsafeCard] = {}
        for multistatus in await together(self._loop, reports, _PARALLEL):
            for resource in multistatus.resources:
                data = resource.text(dav.ADDRESS_DATA)
                if data is not None:
                    etag = resource.text(dav.ETAG) or ""
                    found[resource.href] = _stored(resource.href, etag, data.encode())
        return found

    async def href_of(self, uid: str) -> str:
        """Where a card that we create stands."""
        return dav.canonical_href(urljoin(await self.url(), f"{uid}.vcf"))

    async def create(self, href: str, card: Card) -> Stored | None:
        """Put a new card; None where there is one already."""
        response = await self._put(href, card, {"If-None-Match": "*"})
        return None if response.status == _FAILED else self._remember(href, card, response)

    async def edit(self, stored: Stored, change: Callable[[Card], Card]) -> Stored:
        """Make ``change`` to the card, as often as somebody else changes it meanwhile."""
        for _ in range(_TRIES):
            card = change(stored.card)
            if card == stored.card:
                return stored
            response = await self._put(stored.href, card, _if_match(stored.etag))
            if response.status != _FAILED:
                return self._remember(stored.href, card, response)
            fresh = await self.read(stored.href)
            if fresh.etag == stored.etag:
                # Some servers say 412 when they mean that they will not have the card.
                raise SenderFailed(f"the server refuses the card {stored.href} (412)")
            stored = fresh
        raise SenderFailed(f"the card {stored.href} was changed by somebody else {_TRIES} times")

    async def read(self, href: str) -> Stored:
        """The card at ``href``. Raises SenderFailed where there is none, or none to work with."""
        stored = (await self.fetch([href])).get(href)
        if stored is None:
            raise SenderFailed(f"the card {href} has been deleted meanwhile")
        return usable(stored, href)

    async def delete(self, stored: Stored) -> bool:
        """Delete the card as it was read; False where it has changed since."""
        url = urljoin(self._url, stored.href)
        request = Request("DELETE", url, _if_match(stored.etag))
        response = await self._web.send(request, accept=(*_DONE, _NOT_FOUND, _FAILED))
        if response.status == _FAILED:
            return False
        self.book.remove(stored.href)
        return True

    async def _sync_once(self) -> bool:
        url = await self.url()
        request = _xml("REPORT", url, dav.sync_collection(self._token), "0")
        response = await self._web.send(request, accept=(_MULTISTATUS, _FORBIDDEN, 409, _FAILED))
        if response.status != _MULTISTATUS:
            return self._start_over(request, response)
        multistatus = dav.read_multistatus(response.body, without_query(url))
        if self._token is None and not self.is_synced:
            self.book.clear()
        own = dav.canonical_href(url)
        truncated = any(
            resource.href == own and resource.status == _TRUNCATED
            for resource in multistatus.resources
        )
        await self._apply([each for each in multistatus.resources if each.href != own])
        if truncated and multistatus.sync_token == self._token:
            raise ProtocolError(f"{request}: more cards are announced, but the token stays")
        self._token = multistatus.sync_token
        return truncated

    def _start_over(self, request: Request, response: Response) -> bool:
        """The server has forgotten our token: everything once more (RFC 6578 §3.2)."""
        precondition = dav.read_precondition(response.body)
        if self._token is None or precondition != dav.VALID_SYNC_TOKEN:
            raise self._web.refusal(request, response)
        self._token, self.is_synced = None, False
        return True

    async def _apply(self, resources: Iterable[dav.Resource]) -> None:
        unread = []
        for resource in resources:
            data = resource.text(dav.ADDRESS_DATA)
            if resource.status == _NOT_FOUND:
                self.book.remove(resource.href)
            elif data is None:
                unread.append(resource.href)
            else:
                self._index(resource.href, resource.text(dav.ETAG) or "", data.encode())
        # A server that gives no address-data in a sync is asked for the cards themselves.
        for href, stored in (await self.fetch(unread)).items():
            if isinstance(stored, Stored):
                self.book.put(Indexed(href, stored.etag, summarise(stored.card)))

    def _index(self, href: str, etag: str, data: bytes) -> None:
        self.book.put(Indexed(href, etag, summarise(CardView.glance(data))))

    def _remember(self, href: str, card: Card, response: Response) -> Stored:
        etag = response.headers.get("etag", "")
        self.book.put(Indexed(href, etag, summarise(card)))
        return Stored(href, etag, card)

    async def _put(self, href: str, card: Card, condition: Mapping[str, str]) -> Response:
        headers = {"Content-Type": "text/vcard; charset=utf-8", **condition}
        request = Request("PUT", urljoin(self._url, href), headers, bytes(card))
        response = await self._web.send(request, accept=(*_DONE, _FAILED, *_BAD_CARD))
        if response.status in _BAD_CARD:
            precondition = dav.read_precondition(response.body)
            if response.status == _FORBIDDEN and precondition is None:
                raise self._web.refusal(request, response)
            why = (precondition or "").rpartition("}")[2] or str(response.status)
            raise SenderFailed(f"the server refuses the card {href}: {why}")
        return response

    async def url(self) -> str:
        """The address book's; discovered when it is first needed."""
        if self._book_url is None:
            self._book_url = await self._discover()
        return self._book_url

    async def _discover(self) -> str:
        """From the configured URL to the address book: principal, home, book (RFC 6352 §7)."""
        wanted = (dav.PRINCIPAL, dav.HOME_SET, dav.RESOURCE_TYPE)
        found = (await self._propfind(self._url, wanted, "0"))[0]
        if found.has_type(dav.ADDRESS_BOOK):
            return urljoin(self._url, found.href)
        home = found.inner_href(dav.HOME_SET)
        if home is None:
            principal = found.inner_href(dav.PRINCIPAL)
            if principal is None:
                raise ProtocolError(
                    f"PROPFIND {without_query(self._url)}: the server names no principal: "
                    "is carddav.url the address of a CardDAV server?"
                )
            url = urljoin(self._url, principal)
            home = (await self._propfind(url, (dav.HOME_SET,), "0"))[0].inner_href(dav.HOME_SET)
        if home is None:
            raise LastingTrouble(f"the CardDAV server at {without_query(self._url)} has no address "
                                 "books for this user")  # fmt: skip
        return await self._choose_book(urljoin(self._url, home))

    async def _choose_book(self, home: str) -> str:
        resources = await self._propfind(home, (dav.RESOURCE_TYPE, dav.DISPLAY_NAME), "1")
        books = {}
        for resource in sorted(resources, key=lambda each: each.href):
            if resource.has_type(dav.ADDRESS_BOOK):
                books[resource.href] = resource.text(dav.DISPLAY_NAME) or ""
        named = [href for href, name in books.items() if self._is_chosen(href, name)]
        if not named:
            names = ", ".join(sorted(_last_segment(href) for href in books)) or "none"
            asked = f"no address book named {self._book_name!r}" if self._book_name else "no book"
            raise LastingTrouble(
                f"{asked} at {without_query(home)} (there: {names}): "
                "name one of them as carddav.addressbook"
            )
        default = [href for href in named if _last_segment(href).lower() == "default"]
        return urljoin(self._url, (default or named)[0])

    def _is_chosen(self, href: str, display_name: str) -> bool:
        return self._book_name in (None, display_name, _last_segment(href), href)

    async def _propfind(
        self, url: str, properties: tuple[str, ...], depth: str
    ) -> tuple[dav.Resource, ...]:
        multistatus = await self._multistatus(
            _xml("PROPFIND", url, dav.propfind(properties), depth)
        )
        if not multistatus.resources:
            raise ProtocolError(f"PROPFIND {without_query(url)}: an empty answer")
        return multistatus.resources

    async def _report(self, url: str, body: bytes, depth: str) -> dav.Multistatus:
        return await self._multistatus(_xml("REPORT", url, body, depth))

    async def _multistatus(self, request: Request) -> dav.Multistatus:
        response = await self._web.send(request, accept=(_MULTISTATUS,))
        return dav.read_multistatus(response.body, without_query(request.url))


def usable(stored: Stored | UnsafeCard | None, href: str) -> Stored:
    """The card, or the reason why this sender cannot be worked on."""
    if stored is None:
        raise SenderFailed(f"the card {href} has been deleted meanwhile")
    if isinstance(stored, UnsafeCard):
        raise SenderFailed(f"the card {href} is left alone: {stored}") from stored
    return stored


def _stored(href: str, etag: str, data: bytes) -> Stored | UnsafeCard:
    try:
        return Stored(href, etag, Card.parse(data))
    except UnsafeCard as error:
        return error


def _if_match(etag: str) -> dict[str, str]:
    """The condition for a write. If-Match knows strong ETags only: a weak one is sent as such."""
    return {"If-Match": etag.removeprefix("W/")}


def _xml(method: str, url: str, body: bytes, depth: str) -> Request:
    return Request(
        method, url, {"Content-Type": "application/xml; charset=utf-8", "Depth": depth}, body
    )


def _last_segment(href: str) -> str:
    return urlsplit(href).path.rstrip("/").rpartition("/")[2]
