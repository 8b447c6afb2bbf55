"""Contact groups: cards whose members are other cards' UIDs.

A group is written back in the form in which it was found: KIND and MEMBER (RFC 6350 §6.1.4, §6.6.5)
or, in vCard 3, Apple's X-ADDRESSBOOKSERVER-KIND and -MEMBER.
"""

import json
import uuid
from collections.abc import Iterable
from typing import Literal

from mailroom.rules.record import Record, encode_record, read_record
from mailroom.wire.jscontact import RECORD
from mailroom.wire.vcard import Card, CardView, Line, escape_text

_NAMESPACE = uuid.UUID("3f2b4f0e-6f0c-4f55-9f0e-6a3c1d2f7b90")
_URN = "urn:uuid:"
_RECORD = "X-MAILROOM-SETUP"
_MEMBER_NAMES = ("MEMBER", "X-ADDRESSBOOKSERVER-MEMBER")


def bare_uid(uid: str) -> str:
    """Return the UID without the ``urn:uuid:`` that some cards give it and members always have."""
    uid = uid.strip()
    if uid[: len(_URN)].lower() != _URN:
        return uid
    # A member of a vCard 4 that has the prefix itself is shown as urn:uuid:"urn:uuid:X" in vCard 3
    # (seen: Cyrus 3.13.7).
    return bare_uid(uid[len(_URN) :].strip('"'))


def member_uids(group: CardView) -> list[str]:
    """Return the bare UIDs of the members, in the order of the card."""
    return [bare_uid(line.text) for line in group.lines if line.name in _MEMBER_NAMES]


def with_members(group: Card, add: Iterable[str], remove: Iterable[str]) -> Card:
    """Put UIDs, bare or not, into the group and take others out; one in both is put in.

    What is so already changes nothing: then the card that comes back equals the one given.
    """
    wanted = dict.fromkeys(map(bare_uid, add))
    unwanted = {bare_uid(uid) for uid in remove}.difference(wanted)
    present = set(member_uids(group))
    missing = [uid for uid in wanted if uid not in present]
    if missing:
        head = _member_name(group)
        members = ((head, escape_text(_URN + uid)) for uid in missing)
        group = group.with_lines(members, before=_after_last_member(group))
        group = group.without(_emptiness_at(group))
    if unwanted & present:
        group = group.without(_members_at(group, unwanted))
    return group


def group_uid(account_id: str, name: str, counter: int) -> str:
    """The UID of a group that Mailroom makes: the same whenever it is asked for, so that a lost
    answer cannot make a second one. The counter goes up where the card is something else now."""
    return str(uuid.uuid5(_NAMESPACE, "\n".join((account_id, name, str(counter)))))


def new_group(uid: str, name: str, version: Literal["3.0", "4.0"] = "3.0") -> Card:
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
