"""Sieve over JMAP as values (RFC 9661, and Cyrus' older form of it), and Sieve's strings."""

import json
from dataclasses import dataclass
from typing import Any

from mailroom.wire.jmap import SIEVE, Arguments, reading

#: RFC 9661 §1.3, and Cyrus' name from before the RFC. The first that is offered counts.
CAPABILITIES = (SIEVE, "https://cyrusimap.org/ns/jmap/sieve")
MEDIA_TYPE = "application/sieve"


@dataclass(frozen=True, slots=True)
class Script:
    """One of the user's scripts (RFC 9661 §2); at most one of them is active."""

    id: str
    name: str
    blob_id: str
    is_active: bool


def read_scripts(answer: Arguments) -> tuple[Script, ...]:
    """The list of a ``SieveScript/get``."""
    with reading("a list of scripts", answer):
        return tuple(
            Script(
                id=str(each["id"]),
                name=str(each.get("name") or ""),
                blob_id=str(each["blobId"]),
                is_active=bool(each.get("isActive")),
            )
            for each in answer["list"]
        )


def read_fault(answer: Arguments) -> str | None:
    """What a ``SieveScript/validate`` found wrong (RFC 9661 §2.6), None if nothing."""
    with reading("the validation of a script", answer):
        error: dict[str, Any] | None = answer["error"]
        return None if error is None else str(error.get("description") or error["type"]).strip()


def string(text: str) -> str:
    """A quoted string (RFC 5228 §2.4.2)."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def block(value: object) -> str:
    """A multi-line text (RFC 5228 §2.4.2) that holds JSON, on one line of ASCII. The line begins
    with a brace, so it cannot be mistaken for the dot that ends the text."""
    return f"text:\n{json.dumps(value)}\n."
