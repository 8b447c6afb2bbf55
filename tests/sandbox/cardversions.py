"""A vCard of one version shown in the other, as Cyrus 3.10 and Cyrus 3.13 were seen to do it.

3.10 writes the heads of some lines anew and leaves their values. To 3.13 a UID and a member are
text: where one of them has ``urn:uuid:`` it belongs to it.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, Literal

from tests.sandbox.cards import URN, by_line, is_group, property_of
from tests.sandbox.profile import CardConversion

Version = Literal["3.0", "4.0"]

_Heads = tuple[tuple[str, str], ...]

_HEADS: Final[Mapping[Version, _Heads]] = MappingProxyType(
    {
        "3.0": (
            (r"VERSION:4\.0", "VERSION:3.0"),
            (rf"UID:{URN}", "UID:"),
            (r"UID:", "UID;VALUE=uri:"),
            (r"KIND:", "x-addressbookserver-kind:"),
            (r"MEMBER:", "x-addressbookserver-member:"),
        ),
        "4.0": (
            (r"VERSION:3\.0", "VERSION:4.0"),
            (rf"UID:(?!{URN})", f"UID:{URN}"),
            (r"X-ADDRESSBOOKSERVER-KIND:", "KIND:"),
            (r"X-ADDRESSBOOKSERVER-MEMBER:", "MEMBER:"),
        ),
    }
)
_APPLE_KIND: Final = "X-ADDRESSBOOKSERVER-KIND"
_APPLE_MEMBER: Final = "X-ADDRESSBOOKSERVER-MEMBER"
_UNFOLD: Final = re.compile(r"\r?\n[ \t]")


def in_version(text: str, version: Version, conversion: CardConversion) -> str:
    """Show a card in another version than it is kept in."""
    if conversion is None or property_of(text, "VERSION") == version:
        return text
    if conversion == "3.10":
        return by_line(text, lambda line: _with_head(line, _HEADS[version]))
    if version == "4.0":
        return by_line(text, _changed_by(_TO_4))
    return _with_name(by_line(text, _changed_by(_TO_3)))


def member_of(value: str) -> str:
    """Return the member that an Apple group's line names (Cyrus 3.13)."""
    return value.removeprefix(URN).strip('"')


def _with_head(line: str, heads: _Heads) -> str:
    for pattern, head in heads:
        changed, count = re.subn(rf"\A{pattern}", head, line, flags=re.IGNORECASE)
        if count:
            return changed
    return line


def _changed_by(lines: Mapping[str, Callable[[str], str]]) -> Callable[[str], str]:
    """Return what changes the line of a property that is one of these."""

    def change(line: str) -> str:
        head, colon, value = _UNFOLD.sub("", line).rstrip("\r\n").partition(":")
        name = head.partition(";")[0].upper()
        return f"{lines[name](value)}\r\n" if colon and name in lines else line

    return change


def _apple_member(member: str) -> str:
    quoted = f'"{member}"' if ":" in member else member
    return f"{_APPLE_MEMBER}:{URN}{quoted}"


def _with_name(text: str) -> str:
    """Add the N that vCard 3 demands: of a group it is its name."""
    if property_of(text, "N") is not None:
        return text
    name = property_of(text, "FN") if is_group(text) else ";;;;"
    return re.sub(r"(END:VCARD\s*)\Z", lambda end: f"N:{name}\r\n{end[1]}", text)


_TO_3: Final[Mapping[str, Callable[[str], str]]] = {
    "VERSION": lambda _: "VERSION:3.0",
    "UID": lambda uid: f"UID:{uid}",
    "KIND": lambda kind: f"{_APPLE_KIND}:{kind.upper()}",
    "MEMBER": _apple_member,
}
_TO_4: Final[Mapping[str, Callable[[str], str]]] = {
    "VERSION": lambda _: "VERSION:4.0",
    "UID": lambda uid: f"UID:{uid}" if uid.startswith(URN) else f"UID;VALUE=TEXT:{uid}",
    _APPLE_KIND: lambda kind: f"KIND:{kind.upper()}",
    _APPLE_MEMBER: lambda member: f"MEMBER:{member_of(member)}",
}
