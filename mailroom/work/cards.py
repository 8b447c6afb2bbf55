"""The conversation about cards: CardDAV (RFC 6352) with an index kept by sync (RFC 6578).

Every write says what it expects to find: ``If-None-Match: *`` for a new card, ``If-Match`` for
any other. When somebody else was faster the card is read again and the change made again.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urljoin

from mailroom.engine.exchange import Request, Response
from mailroom.engine.loop import Loop, give_way, together
from mailroom.errors import ProtocolError, SenderFailed
from mailroom.rules.addressbook import AddressBook, Indexed
from mailroom.rules.contact import summarise
from mailroom.rules.servers import without_query
from mailroom.wire import dav
from mailroom.wire.problem import read_problem
from mailroom.wire.vcard import Card, CardView, UnsafeCard
from mailroom.work.discovery import find_book, xml_request
from mailroom.work.web import Web

_TRIES = 5
_CARDS_PER_REQUEST = 50
_PARALLEL = 8
_DONE = (200, 201, 204)
_MULTISTATUS = 207
_FORBIDDEN, _PRECONDITION_FAILED = 403, 412
_GONE = (404, 410)
_TRUNCATED = 507
# What a server may have against a sync token (RFC 6578 §3.2 says 403, others exist).
_NO_SYNC = (400, 403, 409, 412)
# Of the client errors these are not about the card: who we are, and what passes.
_NOT_THE_CARD = (401, 408, 425, 429)
_THE_CARD = tuple(status for status in range(400, 500) if status not in _NOT_THE_CARD)

# What is done with a card that the server has.
_Use = Callable[[dav.Resource, bytes], None]


@dataclass(frozen=True, slots=True)
class Stored:
    """A whole card as it stands on the server; the base of a write."""

    href: str
    etag: str
    card: Card


class CardConversation:
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
        tokens = {self._token}
        while await self._sync_once():
            if self._token in tokens:
                raise ProtocolError(
                    f"REPORT {self._book_url}: more cards are announced, but the token stays"
                )
            tokens.add(self._token)
        self.is_synced = True

    async def fetch(self, hrefs: Iterable[str]) -> dict[str, Stored | UnsafeCard]:
        """The whole cards at ``hrefs``, those that are there; UnsafeCard for one not to touch."""
        found: dict[str, Stored | UnsafeCard] = {}

        def keep(resource: dav.Resource, card: bytes) -> None:
            found[resource.href] = _stored(resource.href, _etag(resource), card)

        await self._multiget(hrefs, keep)
        return found

    async def href_of(self, uid: str) -> str:
        """Where a card that we create stands."""
        return dav.canonical_href(urljoin(await self.url(), f"{uid}.vcf"))

    async def create(self, href: str, card: Card) -> Stored | None:
        """Put a new card; None where another has its place or its UID. Raises SenderFailed where
        the server will not have it."""
        response = await self._put(href, card, {"If-None-Match": "*"})
        if response.status in _DONE:
            return self._remember(href, card, response)
        if dav.read_precondition(response.body) == dav.NO_UID_CONFLICT:
            return None
        # Some servers say 412 when they mean that they will not have the card.
        if response.status == _PRECONDITION_FAILED and href in await self.fetch([href]):
            return None
        raise _refused(href, response)

    async def edit(self, stored: Stored, change: Callable[[Card], Card]) -> Stored:
        """Make ``change`` to the card, as often as somebody else changes it meanwhile. Raises
        SenderFailed where the server will not have it, and what ``change`` raises."""
        for _ in range(_TRIES):
            card = change(stored.card)
            if card == stored.card:
                return stored
            response = None
            if stored.etag:
                response = await self._put(stored.href, card, _if_match(stored.etag))
                if response.status in _DONE:
                    return self._remember(stored.href, card, response)
                if response.status != _PRECONDITION_FAILED:
                    raise _refused(stored.href, response)
            fresh = await self.read(stored.href)
            if response and fresh.etag == stored.etag:
                raise _refused(stored.href, response)
            stored = fresh
        raise SenderFailed(f"the card {stored.href} was changed by somebody else {_TRIES} times")

    async def read(self, href: str) -> Stored:
        """The card at ``href``. Raises SenderFailed where there is none, or none to work with."""
        stored = usable((await self.fetch([href])).get(href), href)
        if not stored.etag:
            raise SenderFailed(
                f"the server names no ETag of the card {href}: it cannot be changed safely"
            )
        return stored

    async def delete(self, stored: Stored) -> bool:
        """Delete the card as it was read; False where that cannot be said, and it is to be read
        again."""
        if not stored.etag:
            return False
        request = Request("DELETE", urljoin(self._url, stored.href), _if_match(stored.etag))
        response = await self._web.send(request, accept=(*_DONE, *_THE_CARD))
        if response.status == _PRECONDITION_FAILED:
            return False
        if response.status not in (*_DONE, *_GONE):
            raise _refused(stored.href, response)
        self.book.remove(stored.href)
        return True

    async def _sync_once(self) -> bool:
        """One page; returns whether there is more."""
        url = await self.url()
        request = xml_request("REPORT", url, dav.sync_collection(self._token), "0")
        response = await self._web.send(request, accept=(_MULTISTATUS, *_GONE, *_NO_SYNC))
        if response.status != _MULTISTATUS:
            return self._start_over(request, response)
        multistatus = dav.Multistatus(response.body, without_query(url))
        if self._token is None:
            self.is_synced = False
            self.book.clear()
        is_truncated = await self._apply(multistatus, dav.canonical_href(url))
        self._token = multistatus.sync_token
        return is_truncated

    def _start_over(self, request: Request, response: Response) -> bool:
        """The server has forgotten our token: everything once more (RFC 6578 §3.2). Where the
        book itself is gone, it is looked for again next time."""
        had_token, self._token, self.is_synced = self._token is not None, None, False
        if response.status in _GONE:
            self._book_url = None
        if response.status in _GONE or not had_token:
            raise self._web.refusal(request, response, "check carddav.url")
        return True

    async def _apply(self, resources: Iterable[dav.Resource], own_href: str) -> bool:
        """Put them into the index; returns whether the server has cut the answer off."""
        unread, is_truncated = [], False
        for resource in resources:
            await give_way(self._loop)
            is_truncated |= resource.status == _TRUNCATED
            if resource.href.endswith("/") or resource.href == own_href.rstrip("/"):
                continue  # the book itself, or another collection
            if resource.status in _GONE:
                self.book.remove(resource.href)
            elif (card := resource.card) is not None:
                self._index(resource, card)
            else:
                unread.append(resource.href)
        # A server that gives no address-data in a sync is asked for the cards themselves.
        for href in unread:
            self.book.remove(href)
        await self._multiget(unread, self._index)
        return is_truncated

    def _index(self, resource: dav.Resource, card: bytes) -> None:
        entry = summarise(CardView.glance(card))
        self.book.put(Indexed(resource.href, _etag(resource), entry))

    def _remember(self, href: str, card: Card, response: Response) -> Stored:
        etag = response.headers.get("etag", "").strip()
        self.book.put(Indexed(href, etag, summarise(card)))
        return Stored(href, etag, card)

    async def _put(self, href: str, card: Card, condition: Mapping[str, str]) -> Response:
        headers = {"Content-Type": "text/vcard; charset=utf-8", **condition}
        request = Request("PUT", urljoin(self._url, href), headers, bytes(card))
        return await self._web.send(request, accept=(*_DONE, *_THE_CARD))

    async def _multiget(self, hrefs: Iterable[str], use: _Use) -> None:
        """Ask for the cards at ``hrefs``, and hand on those that are there as they come."""
        url = await self.url()
        wanted = sorted(set(hrefs))
        batches = [
            wanted[start : start + _CARDS_PER_REQUEST]
            for start in range(0, len(wanted), _CARDS_PER_REQUEST)
        ]
        reports = [self._report(url, batch, use) for batch in batches]
        await together(self._loop, reports, _PARALLEL)

    async def _report(self, url: str, hrefs: Iterable[str], use: _Use) -> None:
        request = xml_request("REPORT", url, dav.multiget(hrefs), "1")
        response = await self._web.send(request, accept=(_MULTISTATUS,))
        for resource in dav.Multistatus(response.body, without_query(url)):
            await give_way(self._loop)
            if (card := resource.card) is not None:
                use(resource, card)

    async def url(self) -> str:
        """The address book's; discovered when it is first needed."""
        if self._book_url is None:
            self._book_url = await find_book(self._web, self._url, self._book_name)
        return self._book_url


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


def _refused(href: str, response: Response) -> SenderFailed:
    """The error for a card that the server will not have, change or delete."""
    if response.status in _GONE:
        return SenderFailed(f"the card {href} has been deleted meanwhile")
    problem = read_problem(response.headers.get("content-type", ""), response.body)
    says = f", {problem}" if str(problem) else ""
    is_ours = response.status != _FORBIDDEN or problem.kind
    advice = "" if is_ours else ": may we write to this address book?"
    return SenderFailed(f"the server refuses the card {href} ({response.status}{says}){advice}")


def _etag(resource: dav.Resource) -> str:
    return (resource.text(dav.ETAG) or "").strip()


def _if_match(etag: str) -> dict[str, str]:
    """The condition for a write. If-Match knows strong ETags only (RFC 9110 §13.1.1), in quotes:
    of servers that name others, one can but hope that they know them so."""
    etag = etag.removeprefix("W/")
    return {"If-Match": etag if etag.startswith('"') else f'"{etag}"'}
