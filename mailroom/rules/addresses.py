"""Addresses: in which form two of them are compared, and which of them a contact may carry.

Local part and domain are equal without case, and a domain is equal to its punycode (RFC 3492):
``bob@bücher.example`` and ``bob@xn--bcher-kva.example`` are one sender. The one form is ASCII, as
mail has it nearly always; it decides nothing about which spelling is written anywhere.
"""

import re
import unicodedata
from collections.abc import Iterator

_LONGEST_ADDRESS = 320
_ACE = "xn--"

# An address that a contact can carry: a local part and a domain, nothing that a line or a
# program could stumble over. Spaces may stand in a quoted local part only (RFC 5321 §4.1.2).
# No ``*``: in a card it makes a pattern for the server's rules, and ``*@gmail.com`` would stand
# for everybody there (seen on Cyrus 3.10.2 and 3.13).
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
    # Again in lower case, which NFC may have undone: a capital letter and two dots.
    local_part, at, domain = unicodedata.normalize("NFC", address).lower().rpartition("@")
    return f"{local_part}{at}{'.'.join(map(_encoded, domain.split('.')))}"


def without_spaces(address: str) -> str:
    """Return an address of a header without the spaces that old programs put around its dots and
    its @ (RFC 5322 §4.4): Stalwart 0.15.5 shows them, Cyrus 3.10.2 does not (both seen)."""
    has_none = " " not in address and "\t" not in address
    return address if has_none or '"' in address else _AROUND_DOTS.sub(r"\1", address)


def spellings(address: str) -> tuple[str, ...]:
    """Return the forms in which a canonical address may stand in a mail: one, or two."""
    if _ACE not in address:
        return (address,)
    local_part, at, domain = address.rpartition("@")
    readable = f"{local_part}{at}{'.'.join(map(_readable, domain.split('.')))}"
    return tuple(dict.fromkeys((address, readable)))


def is_usable(address: str) -> bool:
    """Whether a contact can carry the address. What is not printable (controls, bidi overrides,
    half a surrogate) no card could."""
    return (
        address.isprintable()
        and len(address) <= _LONGEST_ADDRESS
        and _USABLE.fullmatch(address) is not None
    )


def is_pattern(address: str) -> bool:
    """Whether a server's rules would take the address of a card for a pattern."""
    return "*" in address


def addresses_in(text: str) -> Iterator[str]:
    """Yield the addresses that people and programs write into one EMAIL, in canonical form:
    also ``Bob <bob@x.example>``, ``mailto:bob@x.example`` and several with a semicolon."""
    for part in _parts(text):
        found = _IN_BRACKETS.search(part)
        address = (found[1] if found else part).strip()
        if address:
            yield canonical(address.lower().removeprefix("mailto:"))


def _parts(text: str) -> list[str]:
    """A quoted local part may hold what elsewhere stands between addresses."""
    is_several = text.count("@") > 1 and '"' not in text
    return _BETWEEN_ADDRESSES.split(text) if is_several else [text]


def _encoded(label: str) -> str:
    """The label in ASCII; Python finds a punycode for whatever text there is."""
    return label if label.isascii() else _ACE + label.encode("punycode").decode("ascii")


def _readable(label: str) -> str:
    if not label.startswith(_ACE):
        return label
    try:
        text = label[len(_ACE) :].encode("ascii").decode("punycode")
    except (UnicodeError, ValueError, OverflowError):
        return label
    return text if text and text.isprintable() else label
