"""An address book as a collection on a server: finding it and reading its cards (RFC 6352).

A card is known by the canonical form of its href; the server gets its own spelling back. Whole
cards are read in portions of limited size: a card with a photo may be a megabyte.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from http import HTTPStatus
from urllib.parse import quote, urljoin, urlsplit

from mailroom.engine.loop import Loop, give_way, together
from mailroom.errors import LastingTrouble, TooLarge
from mailroom.wire import dav
from mailroom.wire.http import MAX_BODY_BYTES, Request, Response
from mailroom.wire.urls import without_query
from mailroom.work.contacts.discovery import find_book, xml_request
from mailroom.work.session.web import Web

GONE = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)
_ADVICE = "check carddav.url"

# The cards of one request, if they are small.
_MOST_CARDS = 50
# How large an answer with more than one card may be, and how large it should be.
_PORTION_LIMIT_BYTES = 8 * 1024 * 1024
_PORTION_BYTES = 2 * 1024 * 1024

# Takes each card that comes.
Use = Callable[[dav.Resource, bytes], None]


class Collection:
    """``url`` is where discovery starts (RFC 6764 §6); ``book_name`` chooses one of several.
    ``folder`` is the book's path in canonical form, once it is found."""

    def __init__(self, loop: Loop, web: Web, url: str, book_name: str | None) -> None:
        self._loop = loop
        self._web = web
        self._url = url
        self._book_name = book_name
        self._book_url: str | None = None
        self.folder = ""
        self._folder_path = ""  # in the server's spelling
        # The server's spelling of hrefs that is not the book's path and the canonical rest.
        self._spellings: dict[str, str] = {}
        self._most_cards = _MOST_CARDS
        web.trust(url)

    async def url(self) -> str:
        """The URL of the address book; discovered when first needed."""
        if self._book_url is None:
            self._book_url = await find_book(self._web, self._url, self._book_name)
            self._folder_path = urlsplit(self._book_url).path
            self.folder = dav.canonical_href(self._folder_path)
        return self._book_url

    @property
    def is_found(self) -> bool:
        """False before discovery, and once the book is gone."""
        return self._book_url is not None

    async def href(self, name: str) -> str:
        """The href of a card with this file name."""
        return dav.canonical_href(f"{await self.url()}{quote(name)}")

    def learn(self, resource: dav.Resource) -> None:
        """Note how the server spells the href."""
        if self._spelling(resource.href) != resource.path:
            self._spellings[resource.href] = resource.path

    def place(self, location: str, href: str) -> str:
        """The href where the server stored a card that was put at ``href``, by the ``location`` of
        its answer: it may choose another in the book (RFC 6352 §6.3.2)."""
        try:
            path = urlsplit(urljoin(self._book_url or self._url, location)).path
            stored = dav.canonical_href(path)
        except ValueError:
            return href
        is_inside = stored.startswith(self.folder) and not stored.endswith("/")
        if not location or not is_inside:
            return href
        self.learn(dav.Resource(stored, path, HTTPStatus.OK, {}))
        return stored

    def address(self, href: str) -> str:
        """The URL for a request about this href."""
        path = self._spelling(href)
        is_sound = path.isascii() and path.isprintable() and " " not in path
        return urljoin(self._book_url or self._url, path if is_sound else href)

    async def listing(self, patience_seconds: float) -> dict[str, str]:
        """The ETag of every card, by href (RFC 4918 §9.1). Raises LastingTrouble if the server
        does not list them all."""
        url = await self.url()
        request = xml_request("PROPFIND", url, dav.propfind((dav.ETAG, dav.RESOURCE_TYPE)), "1")
        response = await self.send(replace(request, patience_seconds=patience_seconds))
        found: dict[str, str] = {}
        for resource in dav.Multistatus(response.body, without_query(url)):
            await give_way(self._loop)
            if resource.status == HTTPStatus.INSUFFICIENT_STORAGE:
                raise LastingTrouble(
                    f"{request}: the server shows {len(found)} cards and says that there are "
                    "more: the address book is too large for it"
                )
            is_shown = resource.status not in GONE
            if (
                is_shown
                and self.is_card(resource)
                and not resource.has_type(f"{dav.DAV}collection")
            ):
                self.learn(resource)
                found[resource.href] = etag_of(resource)
        return found

    def is_card(self, resource: dav.Resource) -> bool:
        """Whether it is neither the book itself nor another collection."""
        return not resource.href.endswith("/") and f"{resource.href}/" != self.folder

    async def send(self, request: Request, accept: Iterable[int] = ()) -> Response:
        """The answer to a request to the book: a multistatus, or a status in ``accept``. If the
        book itself is gone, the next request looks for it again."""
        response = await self._web.send(request, (HTTPStatus.MULTI_STATUS, *GONE, *accept), _ADVICE)
        if response.status in GONE:
            self._book_url = None
            raise self._web.refusal(request, response, _ADVICE)
        return response

    async def multiget(self, hrefs: Iterable[str], use: Use, at_once: int) -> dict[str, str]:
        """Ask for the cards at ``hrefs``, with ``at_once`` requests at a time, and hand each card
        to ``use`` as it comes.

        Returns the cards that did not come: href → why; empty if the server says that there is no
        such card.
        """
        await self.url()
        waiting = deque(sorted(set(hrefs)))
        missing: dict[str, str] = {}

        async def work() -> None:
            while waiting:
                portion = [waiting.popleft() for _ in range(min(self._most_cards, len(waiting)))]
                try:
                    missing.update(await self._portion(portion, use))
                except TooLarge as error:
                    if len(portion) == 1:
                        missing[portion[0]] = str(error)
                    else:
                        self._most_cards = max(1, len(portion) // 2)
                        waiting.extend(portion)

        portions = -(-len(waiting) // self._most_cards)
        await together(self._loop, [work() for _ in range(min(at_once, portions))], at_once)
        return missing

    async def _portion(self, hrefs: list[str], use: Use) -> dict[str, str]:
        url = await self.url()
        request = xml_request("REPORT", url, dav.multiget(map(self._spelling, hrefs)), "1")
        limit = MAX_BODY_BYTES if len(hrefs) == 1 else _PORTION_LIMIT_BYTES
        response = await self.send(replace(request, limit_bytes=limit))
        missing = dict.fromkeys(hrefs, "")
        for resource in dav.Multistatus(response.body, without_query(url)):
            await give_way(self._loop)
            if (card := resource.card) is not None:
                missing.pop(resource.href, None)
                self.learn(resource)
                use(resource, card)
            elif resource.status not in (HTTPStatus.OK, *GONE) and resource.href in missing:
                missing[resource.href] = f"the server does not show it ({resource.status})"
        self._weigh(len(response.body), len(hrefs))
        return missing

    def _weigh(self, size_bytes: int, count: int) -> None:
        """Have the next request ask for as many cards as fill a portion, by the size of these."""
        each = max(1, size_bytes // count)
        self._most_cards = max(1, min(_MOST_CARDS, _PORTION_BYTES // each))

    def _spelling(self, href: str) -> str:
        """How the server spells the href; if it is not known yet, like the book's own path."""
        if href in self._spellings:
            return self._spellings[href]
        if not href.startswith(self.folder):
            return href
        return f"{self._folder_path}{href[len(self.folder) :]}"


def etag_of(resource: dav.Resource) -> str:
    return (resource.text(dav.ETAG) or "").strip()
