"""Why a server refuses a request: what the body of its answer says.

JMAP and many others say it in JSON (RFC 7807, RFC 8620 §3.6.1), WebDAV in XML (RFC 4918 §16,
sabre's ``s:message``), some in plain text; if the type is missing, it is guessed. The words come
from strangers: before they reach a log or a status line they are made printable, put on one line
and cut short.
"""

import json
from dataclasses import dataclass

_JMAP_ERROR = "urn:ietf:params:jmap:error:"
_LONGEST_WORDS = 200
_LOOKED_AT_BYTES = 512
# Keys with words for people: RFC 7807, RFC 6749 (OAuth), and what others have made up.
_WORDS = ("detail", "error_description", "description", "message", "title", "error")
# A longer body is a page, not an explanation.
_LONGEST_BODY_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class ProblemDetails:
    """``kind`` is for programs: JMAP's error type or WebDAV's precondition, without its namespace;
    ``limit`` is the session's limit that was exceeded; ``words`` are for people. Empty if the
    server does not say."""

    kind: str = ""
    limit: str = ""
    words: str = ""

    def __str__(self) -> str:
        return ", ".join(dict.fromkeys(filter(None, (self.kind, self.limit, self.words))))


def read_problem_details(content_type: str, body: bytes) -> ProblemDetails:
    """What the body says, or empty details; never fails."""
    if len(body) > _LONGEST_BODY_BYTES:
        return ProblemDetails()
    media_type = content_type.partition(";")[0].strip().lower() or _guessed(body)
    if media_type == "text/plain":
        return ProblemDetails(words=quoted(body.decode("utf-8", "replace")))
    if media_type.endswith("json"):
        return _from_json(body)
    if media_type.endswith("xml"):
        from mailroom.wire import dav  # noqa: PLC0415 - 1.2 MiB that JMAP alone needs nothing of

        namespace_and_name = dav.read_precondition(body) or ""
        return ProblemDetails(
            kind=quoted(namespace_and_name.rpartition("}")[2]), words=quoted(dav.read_reason(body))
        )
    return ProblemDetails()


def quoted(text: str, longest: int = _LONGEST_WORDS) -> str:
    """A stranger's words, fit for a message: one line, printable, not too long."""
    words = " ".join(text[: 4 * longest].split())
    printable = "".join(
        char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in words
    )
    return printable if len(printable) <= longest else printable[: longest - 1] + "…"


def _guessed(body: bytes) -> str:
    """The type of a body that came without one; an HTML page is no explanation."""
    start = body.lstrip()[:_LOOKED_AT_BYTES].lower()
    if start.startswith(b"{"):
        return "application/json"
    if start.startswith(b"<"):
        return "text/html" if b"<html" in start or b"<!doctype" in start else "application/xml"
    return "text/plain"


def _from_json(body: bytes) -> ProblemDetails:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        is_cut = body.lstrip().startswith((b"{", b"["))
        return ProblemDetails(words="" if is_cut else quoted(body.decode("utf-8", "replace")))
    texts = _texts(data)
    kind = texts.get("type", "")
    return ProblemDetails(
        kind=kind.removeprefix(_JMAP_ERROR) if kind.startswith(_JMAP_ERROR) else "",
        limit=texts.get("limit", ""),
        words=next((texts[name] for name in _WORDS if texts.get(name)), ""),
    )


def _texts(data: object) -> dict[str, str]:
    """The texts of an object by name, including those of an error, or of the first in a list of
    errors, inside it."""
    if isinstance(data, str):
        return {"message": quoted(data)}
    if not isinstance(data, dict):
        return {}
    texts: dict[str, str] = {}
    for name in ("error", "errors"):
        inner = data.get(name)
        inner = inner[0] if isinstance(inner, list) and inner else inner
        if isinstance(inner, dict):
            texts |= {key: quoted(each) for key, each in inner.items() if isinstance(each, str)}
        elif isinstance(inner, str):
            texts["error"] = quoted(inner)
    return texts | {name: quoted(each) for name, each in data.items() if isinstance(each, str)}
