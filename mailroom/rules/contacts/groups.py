"""Contact groups: cards whose members are other cards' UIDs.

A group is written back in the form in which it was found: KIND and MEMBER (RFC 6350 §6.1.4, §6.6.5)
or, in vCard 3, Apple's X-ADDRESSBOOKSERVER-KIND and -MEMBER. Members are read in any spelling and
written in the one that a server's rules compare.
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
    """Return the UID without ``urn:uuid:``, which some cards and all members put before it."""
    uid = uid.strip()
    while uid[: len(_URN)].lower() == _URN:
        uid = _without_prefix(uid).strip()
    return uid


def has_prefix(uid: str) -> bool:
    """Whether the UID itself begins with ``urn:uuid:``."""
    return bare_uid(uid) != uid.strip()


def member_uids(group: CardView) -> list[str]:
    """Return the bare UIDs of the members, in the order of the card."""
    return [bare_uid(line.text) for line in group.lines if line.name in _MEMBER_NAMES]


def prefixed_members(group: CardView) -> list[str]:
    """Return the bare UIDs of the members that name a card whose UID itself begins with
    ``urn:uuid:``.

    A server's rule compares strings. Apple's members are the UID with the prefix before it, so a
    card with ``UID:urn:uuid:X`` needs the prefix twice (Cyrus 3.6.1, 3.10.2, 3.13.7, seen: no other
    spelling is ever found). A MEMBER is a URI, which such a UID is already.
    """
    return [
        bare_uid(line.text)
        for line in group.lines
        if line.name in _MEMBER_NAMES and _names_prefixed(line)
    ]


def with_members(group: Card, add: Iterable[str], remove: Iterable[str]) -> Card:
    """Put cards into the group, by their UIDs as the cards spell them, and take others out, in any
    spelling; a UID in both lists is put in.

    If nothing has to change, the card that is returned equals the one given.
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
    """The UID of a group that Mailroom makes: always the same for the same arguments, so that a
    lost answer cannot make a second group. The counter goes up if the card has become something
    else."""
    return str(uuid.uuid5(_NAMESPACE, "\n".join((account_id, name, str(counter)))))


def new_group(uid: str, name: str, version: Version = "3.0") -> Card:
    """Make an empty group."""
    kind = "KIND" if version == "4.0" else "X-ADDRESSBOOKSERVER-KIND"
    fn = escape_text(name)
    properties = [("UID", escape_text(uid)), ("FN", fn), ("N", f"{fn};;;;"), (kind, "group")]
    return Card.compose(version, properties)


def record_in(group: CardView) -> Record:
    """Return the record of setup on the provenance group's card; an empty one if there is none."""
    line = next(filter(_is_record, group.lines), None)
    if line is None:
        return Record()
    return read_record(line.text if line.name == _RECORD else _json_text(line.text))


def with_record(group: Card, record: Record) -> Card:
    """Put the record on the card, replacing an earlier one."""
    text = encode_record(record)
    place = next((n for n, line in enumerate(group.lines) if _is_record(line)), None)
    if place is None:
        return group.with_lines([(_RECORD, escape_text(text))])
    is_ours = group.lines[place].name == _RECORD
    value = escape_text(text if is_ours else json.dumps(text, ensure_ascii=False))
    return group if group.lines[place].value == value else group.with_value(place, value)


def _is_record(line: Line) -> bool:
    """By JMAP the record is a property of a note, which CardDAV shows as JSPROP (RFC 9555
    §3.2.1)."""
    if line.name != "JSPROP":
        return line.name == _RECORD
    return any(name == "JSPTR" and value.endswith(RECORD) for name, value in line.parameters)


def _json_text(text: str) -> str:
    try:
        return str(json.loads(text))
    except ValueError:
        return ""


def _member_name(group: Card) -> str:
    """Return the property that holds the group's members."""
    for line in group.lines:
        if line.name in _MEMBER_NAMES:
            return line.name
    return "MEMBER" if group.first("KIND") else "X-ADDRESSBOOKSERVER-MEMBER"


def _member(property_name: str, uid: str) -> str:
    """Return the member value for a card with this UID."""
    is_uri = property_name == "MEMBER" and has_prefix(uid)
    return uid.strip() if is_uri else _URN + uid.strip()


def _without_prefix(member: str) -> str:
    """Remove one prefix, and the quotes that Cyrus 3.13.7 puts around the rest if the prefix is
    there twice (seen: a vCard 4's member ``urn:uuid:X`` becomes ``urn:uuid:"urn:uuid:X"`` in vCard
    3)."""
    uid = member[len(_URN) :]
    is_quoted = uid.endswith('"') and uid[: len(_URN) + 1].lower() == f'"{_URN}'
    return uid[1:-1] if is_quoted else uid


def _names_prefixed(line: Line) -> bool:
    text = line.text.strip()
    if line.name == "MEMBER":
        return has_prefix(text)
    is_twice = text.lower().count(_URN) > 1  # cheap first: a group may have thousands of members
    return is_twice and has_prefix(_without_prefix(text))


def _after_last_member(group: Card) -> int | None:
    places = [index for index, line in enumerate(group.lines) if line.name in _MEMBER_NAMES]
    return places[-1] + 1 if places else None


def _emptiness_at(group: Card) -> set[int]:
    """The lines that say that JMAP has emptied the group: Stalwart 0.15.5 believes them rather than
    the members (seen)."""
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
