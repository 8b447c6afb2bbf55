"""Why a server refuses a request: what the body of its answer says.

JMAP and many others tell it in JSON (RFC 7807, RFC 8620 §3.6.1), WebDAV in XML (RFC 4918 §16),
some in plain text. These are words of strangers: before they reach a log or a status line they
are made printable, put on one line and cut short.
"""

import json
from dataclasses import dataclass

from mailroom.wire import dav

_JMAP_ERROR = "urn:ietf:params:jmap:error:"
_LONGEST_WORDS = 200
# More than this is no explanation but a page.
_LONGEST_BODY_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Problem:
    """``kind`` is for programs: JMAP's error type or WebDAV's precondition, each without its
    namespace; ``limit`` the session's limit that was exceeded; ``words`` are for people. Empty
    where the server does not tell."""

    kind: str = ""
    limit: str = ""
    words: str = ""

    def __str__(self) -> str:
        return ", ".join(dict.fromkeys(filter(None, (self.kind, self.limit, self.words))))


def read_problem(content_type: str, body: bytes) -> Problem:
    """What the body says, or an empty problem; never fails."""
    media_type = content_type.partition(";")[0].strip().lower()
    if len(body) > _LONGEST_BODY_BYTES:
        return Problem()
    if media_type == "text/plain":
        return Problem(words=quoted(body.decode("utf-8", "replace")))
    if media_type.endswith("json"):
        return _from_json(body)
    if media_type.endswith("xml"):
        namespace_and_name = dav.read_precondition(body) or ""
        return Problem(kind=quoted(namespace_and_name.rpartition("}")[2]))
    return Problem()


def quoted(text: str, longest: int = _LONGEST_WORDS) -> str:
    """A stranger's words as they may stand in a message: one line, printable, not too long."""
    words = " ".join(text[: 4 * longest].split())
    printable = "".join(
        char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in words
    )
    return printable if len(printable) <= longest else printable[: longest - 1] + "…"


def _from_json(body: bytes) -> Problem:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return Problem()
    if not isinstance(data, dict):
        return Problem()
    texts = {name: quoted(value) for name, value in data.items() if isinstance(value, str)}
    kind = texts.get("type", "")
    return Problem(
        kind=kind.removeprefix(_JMAP_ERROR) if kind.startswith(_JMAP_ERROR) else "",
        limit=texts.get("limit", ""),
        words=texts.get("detail") or texts.get("title") or "",
    )
