"""What goes over the wire between a client and the sandbox, as values.

The transport (threads and sockets, or a test on a virtual clock) carries them; ``Delivery`` tells
it how well the network works.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.sandbox.events import Feed


class ConnectionBroken(Exception):
    """The connection ends without an answer, before or after the request took effect."""

    def __init__(self, *, after_handling: bool) -> None:
        super().__init__("after handling" if after_handling else "before handling")
        self.after_handling = after_handling


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request: ``path`` is without its query, header names are in any case.

    ``connection`` names the client's connection, for the log.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    connection: str = ""

    @classmethod
    def to(
        cls,
        method: str,
        target: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        connection: str = "",
    ) -> "Request":
        """Build a request from a target as it stands in a request line: ``path?query``."""
        path, _, query = target.partition("?")
        return cls(method, path, query, headers or {}, body, connection)

    def header(self, name: str) -> str | None:
        """Return one header's value, whatever the case of its name."""
        wanted = name.lower()
        return next((v for k, v in self.headers.items() if k.lower() == wanted), None)


@dataclass(frozen=True, slots=True)
class Delivery:
    """How the network carries an answer to the client.

    ``delay_seconds`` pass between request and answer, for ever if infinite. ``cut_after`` bytes
    of the body the connection breaks. With ``chunk_bytes`` the body drips: so many bytes, then
    ``pause_seconds``.
    """

    delay_seconds: float = 0.0
    cut_after: int | None = None
    chunk_bytes: int | None = None
    pause_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Response:
    """One HTTP response; with a ``feed`` the body has no end and is taken from there."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    feed: "Feed | None" = None
    delivery: Delivery = Delivery()

    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


def json_response(
    content: object, status: int = 200, media_type: str = "application/json; charset=utf-8"
) -> Response:
    """Return ``content`` as a JSON answer."""
    return Response(status, {"Content-Type": media_type}, json.dumps(content).encode())
