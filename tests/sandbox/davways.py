"""What CardDAV servers beside Cyrus do otherwise: a layer around one that does it as Cyrus does.

It changes requests before, and answers after they have been handled. Each way is a switch of the
profile, and was met in the wild (issue trackers, sources of Stalwart).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha1
from typing import Final
from xml.etree import ElementTree as ET

from tests.sandbox.cards import property_of
from tests.sandbox.exchange import Request, Response
from tests.sandbox.profile import Profile

_DAV: Final = "{DAV:}"
_CARDDAV: Final = "{urn:ietf:params:xml:ns:carddav}"
_MULTISTATUS: Final = 207
_CREATED: Final = 201
#: Cyrus' tokens, and how others write theirs.
_CYRUS_TOKENS: Final = b"data:,"
_OTHER_TOKENS: Final = b"http://sandbox.example/ns/sync/"
_UID_CONFLICT: Final = (
    b'<D:error xmlns:D="DAV:">'
    b'<C:no-uid-conflict xmlns:C="urn:ietf:params:xml:ns:carddav"/></D:error>'
)
#: The switches that are this layer's.
_WAYS: Final = (
    "has_cyrus_tokens",
    "tells_deletions",
    "has_sync",
    "shows_parts",
    "puts_elsewhere",
)

Handler = Callable[[Request], Response]


class DavWays:
    """Answers as the profile's server does; ``handle`` is Cyrus' way, ``cards`` are those there."""

    def __init__(
        self, profile: Profile, handle: Handler, cards: Callable[[], Mapping[str, str]]
    ) -> None:
        self._profile = profile
        self._handle = handle
        self._cards = cards
        cyrus = Profile("")
        self._is_cyrus = all(getattr(profile, way) == getattr(cyrus, way) for way in _WAYS)

    def handle(self, request: Request) -> Response:
        """Answer one request about an address book."""
        profile = self._profile
        if self._is_cyrus:
            return self._handle(request)
        match request.method:
            case "REPORT":
                return self._report(request)
            case "PUT" if profile.puts_elsewhere and request.header("If-None-Match"):
                return self._put_elsewhere(request)
            case _:
                return self._handle(request)

    def _report(self, request: Request) -> Response:
        profile = self._profile
        report = ET.fromstring(request.body)
        is_sync = report.tag == f"{_DAV}sync-collection"
        if is_sync and not profile.has_sync:
            return Response(415, {"Content-Type": "text/plain"}, b"no such report here")
        if not profile.shows_parts:
            _ask_for_whole_cards(report)
        body = ET.tostring(report)
        if not profile.has_cyrus_tokens:
            body = body.replace(_OTHER_TOKENS, _CYRUS_TOKENS)
        response = self._handle(replace(request, body=body))
        return self._changed(response) if response.status == _MULTISTATUS else response

    def _changed(self, response: Response) -> Response:
        """Spoil an answer to a REPORT as the server does."""
        profile, body = self._profile, response.body
        if not profile.tells_deletions:
            root = ET.fromstring(body)
            for answer in root.findall(f"{_DAV}response"):
                if answer.findtext(f"{_DAV}status"):
                    root.remove(answer)
            body = ET.tostring(root)
        if not profile.has_cyrus_tokens:
            body = body.replace(_CYRUS_TOKENS, _OTHER_TOKENS)
        return replace(response, body=body)

    def _put_elsewhere(self, request: Request) -> Response:
        folder, _, name = request.path.rpartition("/")
        uid = property_of(request.body.decode("utf-8", "replace"), "UID")
        if any(property_of(card, "UID") == uid for card in self._cards().values()):
            return Response(409, {"Content-Type": "application/xml"}, _UID_CONFLICT)
        place = f"{folder}/{sha1(name.encode(), usedforsecurity=False).hexdigest()}"
        response = self._handle(replace(request, path=place))
        if response.status != _CREATED:
            return response
        return replace(response, headers={**response.headers, "Location": place})


def _ask_for_whole_cards(report: ET.Element) -> None:
    for data in report.iter(f"{_CARDDAV}address-data"):
        for part in list(data):
            data.remove(part)
