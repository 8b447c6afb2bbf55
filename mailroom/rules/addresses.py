"""Addresses: the form in which they are compared, and which of them a contact can carry.

Case does not count, and a domain equals its punycode (RFC 3492): ``bob@bücher.example`` and
``bob@xn--bcher-kva.example`` are one sender. The canonical form is ASCII, as nearly all mail is; it
is for comparing only and does not say which spelling is written.
"""

import re
import unicodedata
from collections.abc import Iterator

# RFC 5321 §4.5.3.1: 64 for the local part, 255 for the domain, and the @.
_LONGEST_ADDRESS = 320
_ACE = "xn--"

# An address that a contact can carry: a local part and a domain, with nothing that breaks a line or
# confuses a program. Only a quoted local part may have spaces (RFC 5321 §4.1.2). No ``*``: the
# server's rules read it as a pattern, and ``*@gmail.com`` in a card would match everybody there
# (seen on Cyrus 3.10.2 and 3.13).
_USABLE = re.compile(
    r'(?:"[^\x00-\x1f\x7f*]+"|[^\s\x00-\x1f\x7f"(),:;<>@\[\\\]*]+)@[^\s\x00-\x1f\x7f@*]+'
)
_IN_BRACKETS = re.compile(r"<([^<>]*)>\s*\Z")
_AROUND_DOTS = re.compile(r"[ \t]*([.@])[ \t]*")
_BETWEEN_ADDRESSES = re.compile(r"[;,]")


def canonical(address: str) -> str:
    """Return the form in which addresses are compared."""
    address = address.strip().lower()
    if address.isascii():
        return address
    # Lower-cased again, since NFC may undo that: a capital letter and two dots.
    local_part, at, domain = unicodedata.normalize("NFC", address).lower().rpartition("@")
    return f"{local_part}{at}{'.'.join(map(_encoded, domain.split('.')))}"


def without_spaces(address: str) -> str:
    """Return a header's address without the spaces that old programs put around its dots and its @
    (RFC 5322 §4.4): Stalwart 0.15.5 shows them, Cyrus 3.10.2 does not (both seen)."""
    has_none = " " not in address and "\t" not in address
    return address if has_none or '"' in address else _AROUND_DOTS.sub(r"\1", address)


def spellings(address: str) -> tuple[str, ...]:
    """Return the one or two spellings that a canonical address may have in a mail."""
    if _ACE not in address:
        return (address,)
    local_part, at, domain = address.rpartition("@")
    readable = f"{local_part}{at}{'.'.join(map(_readable, domain.split('.')))}"
    return tuple(dict.fromkeys((address, readable)))


def is_usable(address: str) -> bool:
    """Whether a contact can carry the address. No card can carry unprintable characters (controls,
    bidi overrides, lone surrogates)."""
    return (
        address.isprintable()
        and len(address) <= _LONGEST_ADDRESS
        and _USABLE.fullmatch(address) is not None
    )


def is_pattern(address: str) -> bool:
    """Whether a server's rules would read this address in a card as a pattern."""
    return "*" in address


def addresses_in(text: str) -> Iterator[str]:
    """Yield the addresses in one EMAIL, in canonical form. People and programs also write ``Bob
    <bob@x.example>``, ``mailto:bob@x.example`` or several with semicolons there."""
    for part in _parts(text):
        found = _IN_BRACKETS.search(part)
        address = (found[1] if found else part).strip()
        if address:
            yield canonical(address.lower().removeprefix("mailto:"))


def _parts(text: str) -> list[str]:
    """Separators may also stand in a quoted local part: then the text is one address."""
    is_several = text.count("@") > 1 and '"' not in text
    return _BETWEEN_ADDRESSES.split(text) if is_several else [text]


def _encoded(label: str) -> str:
    """The label in ASCII. Python encodes any text as punycode; what no domain has (bidi overrides,
    lone surrogates) must stay to be seen."""
    if label.isascii() or not label.isprintable():
        return label
    return _ACE + label.encode("punycode").decode("ascii")


def _readable(label: str) -> str:
    if not label.startswith(_ACE):
        return label
    try:
        text = label[len(_ACE) :].encode("ascii").decode("punycode")
    except (ValueError, OverflowError):
        return label
    return text if text and text.isprintable() else label
