"""Contact groups: cards whose members are other cards' UIDs.

A group is written back in the form in which it was found: KIND and MEMBER (RFC 6350 §6.1.4, §6.6.5)
or, in vCard 3, Apple's X-ADDRESSBOOKSERVER-KIND and -MEMBER. A member is read in any spelling and
written in the one that the rules of a server compare.
"""

import json
import uuid
from collections.abc import Iterable
from typing import Literal

from mailroom.rules.contacts.record import Record, encode_record, read_record
from mailroom.wire.jscontact import RECORD
from mailroom.wire.vcard import Card, CardView, Line, escape_text

_NAMESPACE = uuid.UUID("3f2b4f0e-6f0c-4f55-9f0e-6a3c1d2f7b90")
_URN = "urn:uuid:"
_RECORD = "X-MAILROOM-SETUP"
Version = Literal["3.0", "4.0"]

_MEMBER_NAMES = ("MEMBER", "X-ADDRESSBOOKSERVER-MEMBER")


def bare_uid(uid: str) -> str:
    """Return the UID without the ``urn:uuid:`` that some cards give it and members always have."""
    uid = uid.strip()
    while uid[: len(_URN)].lower() == _URN:
        uid = _without_prefix(uid).strip()
    return uid


def has_prefix(uid: str) -> bool:
    """Whether the UID has the ``urn:uuid:`` itself."""
    return bare_uid(uid) != uid.strip()


def member_uids(group: CardView) -> list[str]:
    """Return the bare UIDs of the members, in the order of the card."""
    return [bare_uid(line.text) for line in group.lines if line.name in _MEMBER_NAMES]


def prefixed_members(group: CardView) -> list[str]:
    """Return, bare, those members that name a card whose UID has the ``urn:uuid:`` itself.

    A rule compares strings. Apple's members are the UID with the prefix before it, so that of
    ``UID:urn:uuid:X`` has it twice (Cyrus 3.6.1, 3.10.2, 3.13.7, seen: any other is never found). A
    MEMBER is a URI, which such a UID is already.
    """
    return [
        bare_uid(line.text)
        for line in group.lines
        if line.name in _MEMBER_NAMES and _names_prefixed(line)
    ]


def with_members(group: Card, add: Iterable[str], remove: Iterable[str]) -> Card:
    """Put cards into the group, by their UIDs as they spell them, and take others out, whatever the
    spelling; one in both is put in.

    What is so already changes nothing: then the card that comes back equals the one given.
    """
    wanted = {bare_uid(uid): uid for uid in add}
    unwanted = {bare_uid(uid) for uid in remove}.difference(wanted)
    present, prefixed = set(member_uids(group)), set(prefixed_members(group))
    misspelled = {
        bare
        for bare, uid in wanted.items()
        if bare in present and has_prefix(uid) and bare not in prefixed
    }
    if there := (unwanted & present) | misspelled:
        group = group.without(_members_at(group, there))
    if missing := [uid for bare, uid in wanted.items() if bare not in present - misspelled]:
        head = _member_name(group)
        members = ((head, escape_text(_member(head, uid))) for uid in missing)
        group = group.with_lines(members, before=_after_last_member(group))
        group = group.without(_emptiness_at(group))
    return group


def group_uid(account_id: str, name: str, counter: int) -> str:
    """The UID of a group that Mailroom makes: the same whenever it is asked for, so that a lost
    answer cannot make a second one. The counter goes up where the card is something else now."""
    return str(uuid.uuid5(_NAMESPACE, "\n".join((account_id, name, str(counter)))))


def new_group(uid: str, name: str, version: Version = "3.0") -> Card:
    """Make an empty group."""
    kind = "KIND" if version == "4.0" else "X-ADDRESSBOOKSERVER-KIND"
    fn = escape_text(name)
    properties = [("UID", escape_text(uid)), ("FN", fn), ("N", f"{fn};;;;"), (kind, "group")]
    return Card.compose(version, properties)


def record_in(group: CardView) -> Record:
    """Return what setup keeps on the provenance group's card; an empty one where nothing is."""
    line = next(filter(_is_record, group.lines), None)
    if line is None:
        return Record()
    return read_record(line.text if line.name == _RECORD else _json_text(line.text))


def with_record(group: Card, record: Record) -> Card:
    """Keep the record on the card, in place of a former one."""
    text = encode_record(record)
    place = next((n for n, line in enumerate(group.lines) if _is_record(line)), None)
    if place is None:
        return group.with_lines([(_RECORD, escape_text(text))])
    is_ours = group.lines[place].name == _RECORD
    value = escape_text(text if is_ours else json.dumps(text, ensure_ascii=False))
    return group if group.lines[place].value == value else group.with_value(place, value)


def _is_record(line: Line) -> bool:
    """By JMAP it is written as a property of a note, which CardDAV shows so (RFC 9555 §3.2.1)."""
    if line.name != "JSPROP":
        return line.name == _RECORD
    return any(name == "JSPTR" and value.endswith(RECORD) for name, value in line.parameters)


def _json_text(text: str) -> str:
    try:
        return str(json.loads(text))
    except ValueError:
        return ""


def _member_name(group: Card) -> str:
    """Return the property that the group's members are written with."""
    for line in group.lines:
        if line.name in _MEMBER_NAMES:
            return line.name
    return "MEMBER" if group.first("KIND") else "X-ADDRESSBOOKSERVER-MEMBER"


def _member(property_name: str, uid: str) -> str:
    """Return what names the card of this UID."""
    is_uri = property_name == "MEMBER" and has_prefix(uid)
    return uid.strip() if is_uri else _URN + uid.strip()


def _without_prefix(member: str) -> str:
    """Take the prefix off once, and what Cyrus 3.13.7 puts around one that has it twice (seen: a
    vCard 4's member ``urn:uuid:X`` is ``urn:uuid:"urn:uuid:X"`` in vCard 3)."""
    uid = member[len(_URN) :]
    is_quoted = uid.endswith('"') and uid[: len(_URN) + 1].lower() == f'"{_URN}'
    return uid[1:-1] if is_quoted else uid


def _names_prefixed(line: Line) -> bool:
    text = line.text.strip()
    if line.name == "MEMBER":
        return has_prefix(text)
    is_twice = text.lower().count(_URN) > 1  # a group may have thousands of members without
    return is_twice and has_prefix(_without_prefix(text))


def _after_last_member(group: Card) -> int | None:
    places = [index for index, line in enumerate(group.lines) if line.name in _MEMBER_NAMES]
    return places[-1] + 1 if places else None


def _emptiness_at(group: Card) -> set[int]:
    """Where a group that JMAP has emptied says so: Stalwart 0.15.5 believes that line rather than
    its members (seen)."""
    return {
        index
        for index, line in enumerate(group.lines)
        if line.name == "JSPROP" and ("JSPTR", "members") in line.parameters
    }


def _members_at(group: Card, uids: set[str]) -> set[int]:
    return {
        index
        for index, line in enumerate(group.lines)
        if line.name in _MEMBER_NAMES and bare_uid(line.text) in uids
    }
