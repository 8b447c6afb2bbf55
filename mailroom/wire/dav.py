"""WebDAV as values: the few XML bodies that CardDAV needs (RFC 4918, 6352, 6578).

Entities and DTDs are refused. An href is a path; hrefs that differ only in their percent-encoding
are the same, so each is brought into one form for comparing when it is read. Stalwart accepts only
its own spelling, so that is kept as well, to be sent back.
"""

import codecs
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from urllib.parse import quote, unquote_to_bytes, urljoin, urlsplit
from xml.etree import ElementTree as ET

import defusedxml
from defusedxml.ElementTree import fromstring, iterparse

from mailroom.errors import ProtocolError

DAV = "{DAV:}"
CARDDAV = "{urn:ietf:params:xml:ns:carddav}"

PRINCIPAL = f"{DAV}current-user-principal"
HOME_SET = f"{CARDDAV}addressbook-home-set"
RESOURCE_TYPE = f"{DAV}resourcetype"
DISPLAY_NAME = f"{DAV}displayname"
ETAG = f"{DAV}getetag"
ADDRESS_DATA = f"{CARDDAV}address-data"
ADDRESS_BOOK = f"{CARDDAV}addressbook"
NO_UID_CONFLICT = f"{CARDDAV}no-uid-conflict"

# The properties that the index needs; the rest of a card is fetched when needed.
INDEX_PROPERTIES = (
    "VERSION",
    "UID",
    "FN",
    "EMAIL",
    "NOTE",
    "KIND",
    "MEMBER",
    "X-ADDRESSBOOKSERVER-KIND",
    "X-ADDRESSBOOKSERVER-MEMBER",
    "X-MAILROOM-CREATED",
    "JSPROP",
)

# An href that is in that form already, as most are.
_CANONICAL = re.compile("(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")
# What XML 1.0 §2.2 does not allow, and (as surrogates) octets that are not UTF-8.
_NOT_XML = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
# Stands for such a character until the card is taken out: no real text has this one.
_UNREADABLE = "\U0010fffe"

_PIECE_BYTES = 16 * 1024
# UTF-16, or another encoding that the document declares: left to the parser.
_ANOTHER_ENCODING = re.compile(
    rb"""\xff\xfe|\xfe\xff|\0|.\0|<\?xml[^>]*encoding\s*=\s*["'](?!utf-8["'])""", re.I | re.S
)
# What the parser raises for a bad body.
_UNPARSABLE = (ET.ParseError, defusedxml.DefusedXmlException, ValueError, LookupError)
# Elements with words for people in an error; by local name: each server has its own namespace.
_REASONS = ("responsedescription", "message", "description", "reason")

ET.register_namespace("D", DAV[1:-1])
ET.register_namespace("C", CARDDAV[1:-1])


@dataclass(frozen=True, slots=True)
class Resource:
    """One ``response`` of a multistatus: the properties found, or the status in their place.

    ``href`` is the form for comparing, ``path`` the server's own spelling."""

    href: str
    path: str
    status: int
    properties: Mapping[str, ET.Element]

    def text(self, name: str) -> str | None:
        """The property's text; None if the server did not give it."""
        element = self.properties.get(name)
        return None if element is None else element.text or ""

    @property
    def card(self) -> bytes | None:
        """The vCard, None if the server did not give it. XML makes every line ending LF (XML 1.0
        §2.11); vCards have CRLF (RFC 6350 §3.2). What was not UTF-8 is not UTF-8 here either: such
        a card can be indexed, but not edited."""
        text = self.text(ADDRESS_DATA)
        if text is None:
            return None
        lines = text.replace("\r\n", "\n").replace("\n", "\r\n")
        return lines.encode().replace(_UNREADABLE.encode(), b"\xff")

    def inner_href(self, name: str) -> str | None:
        """The href inside a property such as current-user-principal."""
        element = self.properties.get(name)
        found = None if element is None else element.find(f"{DAV}href")
        return None if found is None or not found.text else found.text.strip()

    def has_type(self, name: str) -> bool:
        element = self.properties.get(RESOURCE_TYPE)
        return element is not None and element.find(name) is not None


class Multistatus:
    """RFC 4918 §13: the resources are read while they are iterated over, so that a whole address
    book is never in memory as a tree, and other tasks get their turns meanwhile.

    ``url`` is where ``body`` comes from: hrefs may be relative to it. Iterating raises
    ProtocolError if the body is no multistatus, possibly after some resources. After the last one,
    ``sync_token`` is the one of RFC 6578, if this is the answer to a sync.
    """

    def __init__(self, body: bytes, url: str) -> None:
        self.sync_token: str | None = None
        self._body = body
        self._url = url

    def __iter__(self) -> Iterator[Resource]:
        children = _children(_Pieces(self._body), f"{DAV}multistatus")
        try:
            for element in children:
                if element.tag == f"{DAV}response":
                    yield self._resource(element)
                elif element.tag == f"{DAV}sync-token":
                    self.sync_token = (element.text or "").strip() or None
        except _UNPARSABLE as error:
            raise self._error("is not the XML that WebDAV promises") from error

    def _resource(self, element: ET.Element) -> Resource:
        properties: dict[str, ET.Element] = {}
        for propstat in element.iterfind(f"{DAV}propstat"):
            if _status(propstat) == HTTPStatus.OK:  # properties that the server has
                properties |= {child.tag: child for child in propstat.iterfind(f"{DAV}prop/*")}
        href = path = (element.findtext(f"{DAV}href") or "").strip()
        if not _CANONICAL.fullmatch(href):
            try:
                path = urlsplit(urljoin(self._url, href)).path
                href = canonical_href(path)
            except ValueError as error:
                raise self._error("has an href that is no URL") from error
        return Resource(href, path, _status(element) or HTTPStatus.OK, properties)

    def _error(self, what: str) -> ProtocolError:
        return ProtocolError(f"the answer from {self._url} {what}")


class _Pieces:
    """A body as a file that is read piece by piece, without what XML cannot carry. Servers pass on
    cards with such characters (seen with Cyrus), and one such card must not hide all the others."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._is_utf8 = not _ANOTHER_ENCODING.match(body)

    def read(self, size: int = _PIECE_BYTES) -> bytes:
        piece = self._body[self._at : self._at + size]
        self._at += size
        is_last = self._at >= len(self._body)
        if is_last:
            # Python 3.13's iterparse makes a class each time, which holds itself and this object:
            # the body would stay until garbage is collected.
            self._body = b""
        if not self._is_utf8:
            return piece
        text = self._decoder.decode(piece, final=is_last)
        return _NOT_XML.sub(_UNREADABLE, text).encode()


def canonical_href(href: str) -> str:
    """The path of ``href``, percent-encoded in one way. Raises ValueError if it is no URL."""
    segments = urlsplit(href.strip()).path.split("/")
    return "/".join(quote(unquote_to_bytes(each), safe="@:!$&'()*+,;=~") for each in segments)


def propfind(properties: Iterable[str]) -> bytes:
    """The body of a PROPFIND for the named properties (RFC 4918 §9.1)."""
    root = ET.Element(f"{DAV}propfind")
    _prop(root, properties)
    return _serialize(root)


@lru_cache(maxsize=16)  # at rest an account asks the same every five minutes
def sync_collection(token: str | None, *, with_cards: bool) -> bytes:
    """The body of a REPORT for the changes since ``token``: ETags, and if ``with_cards``, what the
    index needs of each card."""
    root = ET.Element(f"{DAV}sync-collection")
    ET.SubElement(root, f"{DAV}sync-token").text = token or ""
    ET.SubElement(root, f"{DAV}sync-level").text = "1"
    wanted = _prop(root, [ETAG])
    if with_cards:
        data = ET.SubElement(wanted, ADDRESS_DATA)
        for name in INDEX_PROPERTIES:
            ET.SubElement(data, f"{CARDDAV}prop", name=name)
    return _serialize(root)


def multiget(hrefs: Iterable[str]) -> bytes:
    """The body of a REPORT for whole cards (RFC 6352 §8.7)."""
    root = ET.Element(f"{CARDDAV}addressbook-multiget")
    _prop(root, [ETAG, ADDRESS_DATA])
    for href in hrefs:
        ET.SubElement(root, f"{DAV}href").text = href
    return _serialize(root)


def read_precondition(body: bytes) -> str | None:
    """The precondition that failed (RFC 4918 §16), as ``{namespace}name``; None if none is named.

    Some servers (sabre) put their own exceptions before it.
    """
    try:
        root = fromstring(body, forbid_dtd=True)
    except _UNPARSABLE:
        return None
    if root.tag != f"{DAV}error":
        return None
    told = (child.tag for child in root if child.tag != f"{DAV}responsedescription")
    return next((tag for tag in told if tag.startswith((DAV, CARDDAV))), None)


def read_reason(body: bytes) -> str:
    """What an error in XML says to people: ``responsedescription`` (RFC 4918 §14.25), or what
    servers have in its place (``s:message`` of sabre); "" if it says nothing."""
    try:
        root = fromstring(body, forbid_dtd=True)
    except _UNPARSABLE:
        return ""
    words = {element.tag.rpartition("}")[2]: element.text or "" for element in root.iter()}
    return next((words[name].strip() for name in _REASONS if words.get(name, "").strip()), "")


def _children(source: _Pieces, tag: str) -> Iterator[ET.Element]:
    """The children of the root, which must be a ``tag``; each is released when the next is asked
    for."""
    events = iterparse(source, ("start", "end"), forbid_dtd=True)
    _, root = next(events)
    if root.tag != tag:
        raise ET.ParseError(f"{root.tag} instead of {tag}")
    depth = 0
    for event, element in events:
        depth += 1 if event == "start" else -1
        if event == "end" and depth == 0:
            yield element
            root.clear()


def _status(element: ET.Element) -> int:
    """The number in ``HTTP/1.1 200 OK``; 0 if there is none."""
    words = (element.findtext(f"{DAV}status") or "").split()
    return int(words[1]) if len(words) > 1 and words[1].isdecimal() else 0


def _prop(root: ET.Element, properties: Iterable[str]) -> ET.Element:
    prop = ET.SubElement(root, f"{DAV}prop")
    for name in properties:
        ET.SubElement(prop, name)
    return prop


def _serialize(root: ET.Element) -> bytes:
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True))
