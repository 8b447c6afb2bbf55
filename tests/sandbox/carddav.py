"""CardDAV (RFC 6352): Radicale's WSGI application, called directly.

The sandbox has already checked who asks. What Radicale does otherwise than Cyrus is put right
here: which cards are refused, and with what status; and partial ``address-data`` is honoured.
"""

import io
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote, unquote
from xml.etree import ElementTree as ET

from radicale import config
from radicale.app import Application

from tests.sandbox import etags
from tests.sandbox.book import Book, BookStorage
from tests.sandbox.cards import normalised, property_of, spelt, stamped, without_odd_names
from tests.sandbox.cardversions import Version
from tests.sandbox.exchange import Request, Response
from tests.sandbox.profile import Profile

HOME: Final = "/dav/addressbooks/user"
DEFAULT_BOOK: Final = "Default"
_OTHER_USER: Final = "zoe"

_DAV: Final = "{DAV:}"
_CARDDAV: Final = "{urn:ietf:params:xml:ns:carddav}"
_PASSED_HEADERS: Final = ("Depth", "Destination", "If-Match", "If-None-Match", "Overwrite")
_OK: Final = 200


class CardDav:
    """One user's address books, spoken to by CardDAV or directly."""

    def __init__(self, user: str, profile: Profile, clock: Callable[[], float]) -> None:
        logging.getLogger("radicale").setLevel(logging.CRITICAL + 1)
        settings = config.load()
        self._storage = BookStorage(settings, profile)
        settings.update(
            {
                "auth": {"type": "remote_user", "delay": "0"},
                "storage": {"type": lambda _: self._storage},  # asked for more than once
                "web": {"type": "none"},
                "server": {"delay_on_error": "0"},
            },
            "sandbox",
            privileged=True,
        )
        self._user = user
        self._profile = profile
        self._clock = clock
        self._application = Application(settings)
        self.book_path = f"{HOME}/{user}/{DEFAULT_BOOK}/"
        self._storage.create_collection(user)
        self._storage.create_collection(
            f"{user}/{DEFAULT_BOOK}",
            props={"tag": "VADDRESSBOOK", "D:displayname": "Personal"},
        )

    @property
    def storage(self) -> BookStorage:
        """All that there is, for those who come to it by another way than CardDAV."""
        return self._storage

    @property
    def book(self) -> Book:
        """The user's default address book."""
        return self._storage.books[f"{self._user}/{DEFAULT_BOOK}"]

    def handle(self, request: Request) -> Response:
        """Answer one request below ``/dav/addressbooks``, and tell what it has changed."""
        response = self._handle(request)
        self._storage.publish()
        return response

    def _handle(self, request: Request) -> Response:
        if self._profile.hrefs_are_exact and request.path != quote(unquote(request.path)):
            return Response(404)
        match request.method:
            case "PUT":
                return self._put(request)
            case "PROPFIND" if self._profile.lists_other_books:
                return self._with_others(self._call(request), request)
            case "GET" | "HEAD" | "REPORT":
                return self._show(request)
            case "DELETE":
                response = self._call(request)
                return Response(204) if response.status == _OK else response
            case _:
                return self._call(request)

    def _show(self, request: Request) -> Response:
        """Show cards, as far and in the version that the client wants."""
        wanted, storage = _wanted(request), self._storage
        storage.properties, storage.is_truncated = wanted.properties, False
        storage.sync_page = wanted.page or self._profile.sync_page
        if self._profile.card_conversion:
            storage.version = wanted.version
        try:
            response = self._call(request)
        finally:
            storage.properties = storage.version = None
        return _with_rest(response, request.path) if storage.is_truncated else response

    def _put(self, request: Request) -> Response:
        text = request.body.decode("utf-8", "replace")
        if fault := _fault_of(text, self._profile.needed_properties):
            return self._refused(fault)
        kept = self._storage.incoming = self._kept(text)
        plain = self._parsable(text, unquote(request.path).rpartition("/")[2])
        response = self._call(replace(request, body=plain.encode()) if plain != text else request)
        if kept != text and not self._profile.has_etag_of_changed_card:
            headers = {k: v for k, v in response.headers.items() if k != "ETag"}
            response = replace(response, headers=headers)
        match response.status:
            case 400:
                return self._refused("valid-address-data")
            case 409:
                return self._refused("no-uid-conflict")
            case _:
                return response

    def _parsable(self, text: str, name: str) -> str:
        """Return what Radicale is to parse: it keeps none of it, and needs what others do not."""
        if self._profile.needed_properties:
            return _UNDISPUTED.sub("", without_odd_names(text))
        uid = property_of(text, "UID") or name
        return f"BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{uid}\r\nFN:x\r\nN:;;;;\r\nEND:VCARD\r\n"

    def _with_others(self, response: Response, request: Request) -> Response:
        """Add another user's address book to what is in one's own home."""
        if request.path.rstrip("/") != f"{HOME}/{self._user}" or request.header("Depth") == "0":
            return response
        book = (
            '<D:response xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav">'
            f"<D:href>{HOME}/{_OTHER_USER}/{DEFAULT_BOOK}/</D:href><D:propstat><D:prop>"
            "<D:displayname>Personal</D:displayname>"
            "<D:resourcetype><D:collection/><C:addressbook/></D:resourcetype></D:prop>"
            "<D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>"
        )
        # Before all others, so that whoever takes the first one takes it.
        body = re.sub(rb"<(\w+:)?response\b", book.encode() + rb"\g<0>", response.body, count=1)
        return replace(response, body=body)

    def _kept(self, text: str) -> str:
        """Return a card as the server keeps it."""
        match self._profile.card_form:
            case "as put":
                return text
            case "normalised":
                return normalised(text)
            case "spelt":
                return spelt(text)
            case "stamped":
                return stamped(text, datetime.fromtimestamp(self._clock(), UTC))

    def _refused(self, precondition: str) -> Response:
        """Answer that a card is not one to keep, and why (RFC 6352 §6.3.2.1)."""
        body = (
            '<?xml version="1.0" encoding="utf-8"?>\n<D:error xmlns:D="DAV:">'
            f'<C:{precondition} xmlns:C="urn:ietf:params:xml:ns:carddav"/></D:error>'
        )
        headers = {"Content-Type": "application/xml; charset=utf-8"}
        return Response(self._profile.bad_card_status, headers, body.encode())

    def _call(self, request: Request) -> Response:
        status: list[str] = []
        headers: dict[str, str] = {}

        def start_response(line: str, pairs: list[tuple[str, str]]) -> None:
            status.append(line)
            headers.update(pairs)

        body = b"".join(self._application(self._environment(request), start_response))
        headers.pop("Content-Length", None)
        return Response(int(status[0].split()[0]), headers, body)

    def _environment(self, request: Request) -> dict[str, object]:
        """Return the WSGI environment; everything above the home is its root."""
        path = unquote(request.path)
        environment: dict[str, object] = {
            "REQUEST_METHOD": request.method,
            "SCRIPT_NAME": HOME,
            "PATH_INFO": path.removeprefix(HOME) if path.startswith(f"{HOME}/") else "/",
            "QUERY_STRING": request.query,
            "CONTENT_TYPE": request.header("Content-Type") or "",
            "CONTENT_LENGTH": str(len(request.body)),
            "REMOTE_USER": self._user,
            "REMOTE_ADDR": "127.0.0.1",
            "SERVER_NAME": "sandbox",
            "SERVER_PORT": "0",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(request.body),
            "wsgi.errors": io.StringIO(),
        }
        for name in _PASSED_HEADERS:
            if value := request.header(name):
                if name == "If-Match":
                    value = etags.meant(value, self._profile.etag_form)
                environment[f"HTTP_{name.upper().replace('-', '_')}"] = value
        return environment


# Lines that no parser refuses, and that a group has thousands of: Radicale, which takes 50 µs for
# each, need not see them. (Not those that go on in the next line.)
_UNDISPUTED: Final = re.compile(
    r"^(?:EMAIL(?:;TYPE=[A-Za-z]+)?|NOTE|ORG|X-ADDRESSBOOKSERVER-MEMBER):[^\r\n]*\r\n(?![ \t])",
    re.MULTILINE,
)


def _fault_of(text: str, needed: frozenset[str]) -> str | None:
    """Return the precondition (RFC 6352 §6.3.2.1) that a card fails, if any, as Cyrus has them.

    A server that needs no properties needs no version either (Stalwart).
    """
    if text[:11].upper() != "BEGIN:VCARD":
        return "valid-address-data" if needed else "supported-address-data"
    version = property_of(text, "VERSION")
    if version == "2.1" and needed:
        return "supported-address-data"
    if version == "4.0":
        needed -= {"N"}
    is_whole = None not in (property_of(text, name) for name in needed)
    has_uid = bool(property_of(text, "UID")) or "UID" not in needed
    return None if is_whole and has_uid else "valid-address-data"


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What of a card a client wants to see; without a word it is all of it, in version 3.0."""

    properties: frozenset[str] | None = None
    version: Version = "3.0"
    #: How many cards at most (RFC 6578 §3.7); None: all.
    page: int | None = None


def _wanted(request: Request) -> _Wanted:
    """Read address-data (RFC 6352 §10.4) or the Accept header."""
    if request.method != "REPORT":
        wants_4 = "version=4.0" in (request.header("Accept") or "")
        return _Wanted(version="4.0" if wants_4 else "3.0")
    try:
        report = ET.fromstring(request.body)
    except ET.ParseError:
        return _Wanted()  # Radicale refuses it
    page = int(report.findtext(f"{_DAV}limit/{_DAV}nresults") or 0) or None
    data = report.find(f".//{_CARDDAV}address-data")
    if data is None:
        return _Wanted(page=page)
    names = frozenset(name.get("name", "").upper() for name in data.findall(f"{_CARDDAV}prop"))
    return _Wanted(names or None, "4.0" if data.get("version") == "4.0" else "3.0", page)


def _with_rest(response: Response, path: str) -> Response:
    """Add to a sync that there is more to come (RFC 6578 §3.6)."""
    head, end, tail = response.body.rpartition(b"</")
    rest = (
        f'<D:response xmlns:D="DAV:"><D:href>{quote(path)}</D:href>'
        "<D:status>HTTP/1.1 507 Insufficient Storage</D:status>"
        "<D:error><D:number-of-matches-within-limits/></D:error></D:response>"
    )
    return replace(response, body=head + rest.encode() + end + tail)
