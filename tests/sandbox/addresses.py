"""From headers as Cyrus shows them by JMAP, and the words that its search finds them by.

RFC 8621 §4.1.2.3 leaves open what becomes of a broken header; every odd case here was measured.
Stalwart 0.15.5 shows them as they are written: bytes beyond ASCII are UTF-8, the spaces in
``bob @ example.org`` stay, a name does not end at NUL, and a quoted local part is a name.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from typing import Final

_TOKEN: Final = re.compile(
    r'"(?P<quoted>(?:\\.|[^"\\])*)"?'
    r"|\((?P<comment>(?:\\.|[^()\\])*)\)?"
    r"|<(?P<angle>[^>]*)>?"
    r"|(?P<separator>[,;:])"
    r"|(?P<space>\s+)"
    r'|(?P<text>[^"(<,;:\s]+)',
    re.DOTALL,
)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_NOT_ASCII: Final = re.compile(r"[^\x00-\x7f]")
_COMPLETE: Final = re.compile(r".+@.+", re.DOTALL)
_WORD: Final = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Address:
    """One mailbox of a header: display name, decoded, or None; and the address."""

    name: str | None
    email: str

    def __str__(self) -> str:
        """As a header has it."""
        return f"{self.name} <{self.email}>" if self.name else self.email

    def as_json(self) -> dict[str, str | None]:
        """Return the EmailAddress object of RFC 8621 §4.1.2.3."""
        return {"name": self.name, "email": self.email}

    def terms(self) -> set[str]:
        """Return what a search finds it by: address, its two sides, and single words."""
        email = "".join(self.email.lower().split())
        local, _, domain = email.rpartition("@")
        words = _WORD.findall(f"{self.name or ''} {email}".lower())
        return {email, local, domain, *words} - {""}


@dataclass(slots=True)
class _Parts:
    """What stands between two separators."""

    phrase: str = ""
    quoted: str = ""
    address: str = ""
    comment: str = ""
    angle: str | None = None

    def finished(self, *, as_written: bool) -> Address | None:
        """Return the address, or None: without ``<>`` one needs both of its sides."""
        email = self.address.strip() if self.angle is None else self.angle
        name = self.comment if self.angle is None else self.phrase or self.comment
        if as_written:
            return self._as_written(email)
        if not email or (self.angle is None and not _COMPLETE.fullmatch(email)):
            return None
        return Address(decoded(name.strip()) or None, email)

    def _as_written(self, email: str) -> Address | None:
        """Whatever has no @ is a name."""
        is_name = self.angle is None and "@" not in email
        name = (self.phrase if is_name or self.angle is not None else self.quoted).strip()
        name = f"{name} ({self.comment})" if name and self.comment else name or self.comment
        name = _words(name.strip())
        return Address(name or None, "" if is_name else email) if name or email else None


def parse_addresses(header: str | None, *, as_written: bool = False) -> tuple[Address, ...] | None:
    """Parse an address header; groups are dissolved into their members.

    A header that is absent or empty is None, one without a usable address is empty.
    """
    if not header:
        return None
    if as_written:
        return tuple(_addresses(header, as_written=True)) or (() if ":" in header else None)
    ascii_header = _NOT_ASCII.sub(lambda match: "X" * len(match[0].encode()), header)
    return tuple(_addresses(ascii_header, as_written=False))


def query_terms(text: str, *, by_words: bool = False) -> list[str]:
    """Return the terms that a mail must have for a ``from`` filter to find it.

    With an @ it is one address, or after the @ one domain, whole; else, or where all goes
    ``by_words``, every word counts.
    """
    text = text.strip().lower()
    if by_words:
        return _WORD.findall(text)
    if "@" in text:
        return [text.removeprefix("@")]
    return text.split()


def _addresses(header: str, *, as_written: bool) -> Iterator[Address]:
    parts = _Parts()
    for token in _TOKEN.finditer(header):
        value = token[0]
        match token.lastgroup:
            case "separator" if value == ":" and parts.address.startswith("@"):
                parts.address += value  # an obsolete route, kept as it is
            case "separator":
                if value != ":" and (address := parts.finished(as_written=as_written)):
                    yield address
                parts = _Parts()  # a colon: that was the name of a group
            case "quoted":
                plain = _ESCAPED.sub(r"\1", token["quoted"])
                parts.phrase += plain
                parts.quoted += plain
                parts.address += "" if as_written else plain
            case "comment":
                parts.comment += token["comment"]
            case "angle":
                parts.angle = token["angle"].strip()
            case "space":
                parts.phrase += " "
                parts.address += " " if as_written else ""
            case _:
                parts.phrase += value
                parts.address += value
    if address := parts.finished(as_written=as_written):
        yield address


def decoded(name: str) -> str:
    """Decode RFC 2047 encoded words, up to a NUL; an unknown charset stays as it is written."""
    return _words(name).partition("\0")[0]


def _words(name: str) -> str:
    try:
        return str(make_header(decode_header(name)))
    except (HeaderParseError, LookupError, UnicodeDecodeError):
        return name
