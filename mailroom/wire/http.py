"""HTTP as values (RFC 9110): what our clients ask, and what a server answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from mailroom.wire.urls import without_query

SILENCE_SECONDS = 30.0  # without a byte in either direction
# An address book of 2,000 cards is 1 MB (Cyrus 3.13, seen): no honest answer comes near.
MAX_BODY_BYTES = 64 * 1024 * 1024

# The statuses that name another place for the same request.
REDIRECTS = (
    HTTPStatus.MOVED_PERMANENTLY,
    HTTPStatus.FOUND,
    HTTPStatus.SEE_OTHER,
    HTTPStatus.TEMPORARY_REDIRECT,
    HTTPStatus.PERMANENT_REDIRECT,
)
MAX_REDIRECTS = 5  # a well-known URL needs one; many are a loop


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; the URL is absolute, the headers carry the credentials.

    Alternatively ``digest``, user and password, lets libcurl answer a challenge (RFC 7616).
    ``patience_seconds`` is how long the server may be silent, ``limit_bytes`` how large the answer
    may be. With ``unix_socket``, a path, the request goes there, whatever host the URL names.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    digest: tuple[str, str] | None = field(default=None, repr=False)
    patience_seconds: float = SILENCE_SECONDS
    limit_bytes: int = MAX_BODY_BYTES
    unix_socket: str = ""

    def __str__(self) -> str:
        return f"{self.method} {without_query(self.url)}"


@dataclass(frozen=True, slots=True)
class Response:
    """One answer; header names are lower-case. The byte counts are those on the wire."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    url: str = ""
    sent_bytes: int = 0
    received_bytes: int = 0
