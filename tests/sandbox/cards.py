"""vCards as text: properties, the part that a client asks for, and what servers make of them.

Showing a card drops whole lines: the rest is not touched.
"""

import re
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import lru_cache
from typing import Final

_UNFOLD: Final = re.compile(r"\r?\n[ \t]")
URN: Final = "urn:uuid:"
#: Those that a line cannot carry.
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
#: A line up to the colon before its value, which may not be the first one in it.
_HEAD: Final = re.compile(r'(?:[^":]|"[^"]*")*:')
#: The value of a TYPE parameter that has several in one.
_TYPES: Final = re.compile(r'(?<=;TYPE=)(?:"[^";]*"|[^";:]*)', re.IGNORECASE)
#: A line whose name no RFC allows; servers keep it all the same.
_ODD_NAME: Final = re.compile(r"[^:;\r\n]*[^A-Za-z0-9.:;\r\n-][^:;\r\n]*[:;]")
_LINE_OCTETS: Final = 75
_NAME_FIELDS: Final = 7
_PRODID: Final = "PRODID:-//sandbox//EN"


@lru_cache(maxsize=65536)  # the same cards are asked the same with every request
def property_of(text: str, name: str) -> str | None:
    """Return the first value of a card's property as it is written, None if there is none."""
    pattern = rf"^(?:[\w-]+\.)?{name}(?:;[^:\r\n]*)?:(.*?)\r?$"
    match = re.search(pattern, _UNFOLD.sub("", text), re.MULTILINE | re.IGNORECASE)
    return match[1].strip() if match else None


def plain_uid(text: str) -> str:
    """Return a card's UID without ``urn:uuid:``, empty if it has none."""
    return (property_of(text, "UID") or "").removeprefix(URN)


def is_group(text: str) -> bool:
    """Say whether a card is a group, in either version's way."""
    kind = property_of(text, "KIND") or property_of(text, "X-ADDRESSBOOKSERVER-KIND") or ""
    return kind.lower() == "group"


def partial_card(text: str, properties: frozenset[str], *, shows_groups: bool = True) -> str:
    """Return a card with the named properties alone (RFC 6352 §10.4.2), their lines untouched.

    Not even VERSION comes unless it is named, as in Cyrus. Stalwart drops those with a group.
    """
    shown = properties | {"BEGIN", "END"}

    def is_shown(line: str) -> bool:
        has_group = "." in re.split("[:;]", line, maxsplit=1)[0]
        return _name(line) in shown and (shows_groups or not has_group)

    return by_line(text, lambda line: line if is_shown(line) else "")


def normalised(text: str) -> str:
    """Return a card as Cyrus keeps it: one type a parameter, CRLF, folded by itself."""
    return _rewritten(text, _normal_line)


def without_odd_names(text: str) -> str:
    """Return a card without the lines that a strict parser would not have."""
    return by_line(text, lambda line: "" if _ODD_NAME.match(line) else line)


def spelt(text: str) -> str:
    """Return a card as Stalwart keeps it: folded by itself, single types and kinds in capitals."""
    return _rewritten(text, _spelt_line)


def with_lines(text: str, lines: Iterable[str]) -> str:
    """Return a card with these lines more, at its end."""
    more = "".join(f"{line}\r\n" for line in lines)
    return re.sub(r"(?=END:VCARD\s*\Z)", lambda _: more, text)


def with_grouped_organizations(text: str) -> str:
    """Return a card each of whose organizations has its id for a group as well, as Cyrus 3.13.7
    writes those of a Card."""
    return by_line(text, lambda line: re.sub(r"\A(ORG;PROP-ID=([\w-]+))", r"\2.\1", line))


def with_ordered_name(text: str) -> str:
    """Return a card whose N has RFC 9554's seven fields, and tells the order of its parts
    (RFC 9555 §3.3.1), as Stalwart writes that of a Card."""

    def change(line: str) -> str:
        name, _, value = line.rstrip("\r\n").partition(":")
        if name != "N":
            return line
        fields = re.split(r"(?<!\\);", _UNFOLD.sub("", value))
        fields += [""] * (_NAME_FIELDS - len(fields))
        order = "".join(f";{index}" for index, field in enumerate(fields) if field)
        return f'N;JSCOMPS="{order}":{";".join(fields)}\r\n'

    return by_line(text, change)


def stamped(text: str, now: datetime) -> str:
    """Return a card with the server's PRODID, where it has none, and the time of the change."""
    text = by_line(text, lambda line: "" if _name(line) == "REV" else line)
    if property_of(text, "PRODID") is None:
        text = re.sub(r"(VERSION:.*\r?\n)", rf"\1{_PRODID}\r\n", text, count=1)
    return re.sub(r"(END:VCARD\s*)\Z", rf"REV:{now:%Y%m%dT%H%M%SZ}\r\n\1", text)


def without_stamp(text: str) -> str:
    """Return a card without what a stamping server adds, to compare it with what was put."""
    stamps = ("REV:", _PRODID)
    return by_line(text, lambda line: "" if line.startswith(stamps) else line)


def _rewritten(text: str, change: Callable[[str], str]) -> str:
    """Return a card of changed lines, with CRLF, folded anew, without what a line cannot have."""
    lines = re.split(r"\r?\n", _CONTROLS.sub("", _UNFOLD.sub("", text)))
    return "".join(f"{_folded(change(line))}\r\n" for line in lines if line)


def _spelt_line(line: str) -> str:
    match = _HEAD.match(line)
    if match is None:
        return line
    head, value = match[0], line[match.end() :]
    match _name(line):
        case "KIND":
            value = value.upper()
        case "URL":
            value = value.replace("\\:", ":")
    return _TYPES.sub(lambda types: types[0].strip('"').upper(), head) + value


def _normal_line(line: str) -> str:
    """Write every type as a parameter of its own, and the colon of a URL without a backslash."""
    match = _HEAD.match(line)
    if match is None:
        return line
    head, value = match[0], line[match.end() :]
    if _name(line) == "URL":
        value = value.replace("\\:", ":")
    return _TYPES.sub(lambda types: types[0].strip('"').replace(",", ";TYPE="), head) + value


def _folded(line: str) -> str:
    """Fold after 75 octets, never inside of a character (RFC 6350 §3.2)."""
    octets, parts, start = line.encode(), [], 0
    while start < len(octets):
        end = start + _LINE_OCTETS - bool(start)  # the space before a part counts as well
        while end < len(octets) and octets[end] & 0xC0 == 0x80:  # inside of UTF-8
            end -= 1
        parts.append(octets[start:end].decode())
        start = end
    return "\r\n ".join(parts)


def by_line(text: str, change: Callable[[str], str]) -> str:
    """Change every line, folded ones as one: what is said of its text, line end included."""
    return "".join(change(line) for line in re.findall(r"[^\n]*\n(?:[ \t][^\n]*\n)*|[^\n]+$", text))


def _name(line: str) -> str:
    """Return the name of a line's property, without its group."""
    return re.split("[:;]", line, maxsplit=1)[0].rpartition(".")[2].strip().upper()
