"""From the configured URL to the address book: principal, home, book (RFC 6352 §7, RFC 6764 §6)."""

from http import HTTPStatus
from urllib.parse import unquote, urljoin

from mailroom.errors import LastingTrouble, MailroomError, NoAddressBooks, ProtocolError
from mailroom.rules.names import same_name
from mailroom.wire import dav
from mailroom.wire.http import Request, Response
from mailroom.wire.urls import origin, without_query
from mailroom.work.contacts.contacts import NAME_ANOTHER
from mailroom.work.session.web import Web

_WELL_KNOWN = "/.well-known/carddav"
# How web servers without CardDAV answer there: no such page, unknown method, refused by a filter
# (mod_security), or the home page, which everybody gets.
_NO_SUCH_PLACE = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.GONE)
_NOTHING = (
    *_NO_SUCH_PLACE,
    HTTPStatus.OK,
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.NOT_ACCEPTABLE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.NOT_IMPLEMENTED,
)
_ADVICE = "check carddav.url"


async def find_book(web: Web, url: str, name: str | None) -> str:
    """The URL of the address book called ``name``; without a name, of the default one.

    ``url`` may be that of the book, its home or the principal, or where discovery starts. Raises
    NoAddressBooks if there is no CardDAV, LastingTrouble if there is no such book, and whatever
    :meth:`Web.send` raises.
    """
    wanted = (dav.PRINCIPAL, dav.HOME_SET, dav.RESOURCE_TYPE)
    url, (found, *_) = await _propfind(web, url, wanted, "0")
    if found.has_type(dav.ADDRESS_BOOK):
        return _as_folder(urljoin(url, found.path))
    home = found.inner_href(dav.HOME_SET)
    if home is None:
        principal = found.inner_href(dav.PRINCIPAL)
        if principal is None:
            raise ProtocolError(
                f"PROPFIND {without_query(url)}: the server names no principal: {_ADVICE}"
            )
        url, (found, *_) = await _propfind(web, _joined(url, principal), (dav.HOME_SET,), "0")
        home = found.inner_href(dav.HOME_SET)
    if home is None:
        raise LastingTrouble(
            f"the CardDAV server at {without_query(url)} has no address books for this user"
        )
    return await _choose_book(web, _joined(url, home), name)


def xml_request(method: str, url: str, body: bytes, depth: str) -> Request:
    """A WebDAV request with an XML body."""
    headers = {"Content-Type": "application/xml; charset=utf-8", "Depth": depth}
    return Request(method, url, headers, body)


async def _choose_book(web: Web, home: str, name: str | None) -> str:
    url, resources = await _propfind(web, home, (dav.RESOURCE_TYPE, dav.DISPLAY_NAME), "1")
    # Stalwart lists the books of other accounts as well, all called "default" (its source).
    own = dav.canonical_href(_as_folder(url))
    books = [
        each
        for each in resources
        if each.has_type(dav.ADDRESS_BOOK) and (each.href.startswith(own) or each.href == name)
    ]
    books.sort(key=lambda book: (_last_segment(book.href).lower() != "default", book.href))
    for book in books:
        names = (book.text(dav.DISPLAY_NAME), _last_segment(book.href), book.href)
        if name is None or any(same_name(name, each) for each in names if each):
            return _as_folder(urljoin(url, book.path))
    if not books:
        raise LastingTrouble(f"no address book at {without_query(url)}: create one there")
    there = ", ".join(_last_segment(book.href) for book in books)
    raise LastingTrouble(
        f"no address book named {name!r} at {without_query(url)} (there: {there}): "
        "name one of them as carddav.addressbook"
    )


async def _propfind(
    web: Web, url: str, properties: tuple[str, ...], depth: str, before: Response | None = None
) -> tuple[str, tuple[dav.Resource, ...]]:
    """The URL that answered, and at least one resource. ``before`` is the answer at the well-known
    URL, if that was no use."""
    request = xml_request("PROPFIND", url, dav.propfind(properties), depth)
    is_first = url.endswith(_WELL_KNOWN)
    accept = _NOTHING if is_first else _NO_SUCH_PLACE if before else ()
    response = await web.send(request, (HTTPStatus.MULTI_STATUS, *accept), _ADVICE)
    if response.status != HTTPStatus.MULTI_STATUS and before:
        raise _absence(url, before, response)
    if response.status != HTTPStatus.MULTI_STATUS:
        try:
            # RFC 6764 §6: then start at the server's root.
            return await _propfind(web, urljoin(url, "/"), properties, depth, response)
        except ProtocolError:
            if response.status in _NO_SUCH_PLACE:
                raise
            # Nothing there either; the first answer tells more.
            raise web.refusal(request, response, _ADVICE) from None
    resources = tuple(dav.Multistatus(response.body, without_query(response.url)))
    if not resources:
        raise ProtocolError(f"{request}: an empty answer: {_ADVICE}")
    return response.url, resources


def _absence(url: str, before: Response, response: Response) -> MailroomError:
    """The error for a server without CardDAV at both places."""
    if before.status not in _NO_SUCH_PLACE:
        return ProtocolError("the root is no use either")
    where = origin(url)
    said = " and ".join(dict.fromkeys(str(each.status) for each in (before, response)))
    return NoAddressBooks(f"no CardDAV at {where} ({said}): {NAME_ANOTHER}", where, said)


def _joined(url: str, href: str) -> str:
    """The absolute URL of an href in a property, in the server's spelling."""
    try:
        return urljoin(url, href)
    except ValueError:
        return href  # no request will be sent to it


def _as_folder(url: str) -> str:
    """The URL of a collection, with the final slash that joining names to it needs."""
    return url if url.endswith("/") else f"{url}/"


def _last_segment(href: str) -> str:
    return unquote(href.rstrip("/").rpartition("/")[2])
