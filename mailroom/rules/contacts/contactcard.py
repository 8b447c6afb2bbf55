"""A sender's contact as JSContact; ``rules/contacts/contact`` does the same for vCards.

Both ways say the same about one card: values have the vCard's names, and the note and the mark are
the same. Only cards that Mailroom created are ever patched, because a patch makes the server
rewrite the whole card.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import date
from typing import Any

from mailroom.rules.addresses import addresses_in, is_pattern
from mailroom.rules.contacts import note
from mailroom.rules.contacts.contact import checked_address, claimed_name, fingerprint
from mailroom.rules.contacts.groups import bare_uid
from mailroom.rules.contacts.record import Record, encode_record, read_record
from mailroom.rules.contacts.roster import Filing, Found, Provenance
from mailroom.rules.names import structured_name
from mailroom.wire.jscontact import MARK, NAME_KINDS, RECORD, JsCard, Note, named, new_card, pointer
from mailroom.wire.vcard import Card, Line, escape_text

_NOTE_ID = "mailroom"
_RECORD_NOTE = "Mailroom's setup keeps here what it has made."

CardPatch = dict[str, Any]


def found_in(card: JsCard, memberships: Collection[tuple[str, frozenset[str]]]) -> Found:
    """The contact; ``memberships`` are names of groups and the UIDs in them, as the groups spell
    them."""
    addresses, section = addresses_of(card), _section(card)
    bare, made = bare_uid(card.uid), provenance(card)
    groups = frozenset(
        name for name, members in memberships if bare and bare in map(bare_uid, members)
    )
    return Found(
        reference=card.id,
        uid=card.uid,
        addresses=tuple(each for each in addresses if not is_pattern(each)),
        name=card.name,
        groups=groups,
        misspelled=frozenset(
            name for name, members in memberships if name in groups and card.uid not in members
        ),
        provenance=made,
        noted=section.category,
        noted_on=section.day,
        history=section.history,
        is_edited=not is_unedited(card),
        patterns=tuple(filter(is_pattern, addresses)),
    )


def addresses_of(card: JsCard) -> tuple[str, ...]:
    """All addresses, each once, in canonical form."""
    found = (address for text in card.emails for address in addresses_in(text))
    return tuple(dict.fromkeys(found))


def provenance(card: JsCard) -> Provenance:
    """Where the card comes from. A mark that was written by CardDAV may be invisible by JMAP (Cyrus
    3.13.7 shows no X- property, seen): then the note shows that Mailroom created the card."""
    section = _section(card)
    if section.says_created or any(each.mark is not None for each in card.notes):
        return Provenance.CREATED
    return Provenance.ADOPTED if section.has_heading else Provenance.NONE


def is_unedited(card: JsCard) -> bool:
    """Whether Mailroom created the card and nobody has changed a value of it since; False if that
    cannot be seen."""
    marks = [each.mark for each in card.notes if each.mark is not None]
    return bool(marks) and marks[0].strip().lower() == fingerprint(values_of(card))


def values_of(card: JsCard) -> list[tuple[str, str]]:
    """The values that a user can edit, by their vCard names, without our section."""
    parts = dict(card.name_parts)
    values = [
        ("FN", card.full_name),
        ("N", ";".join(parts.get(kind, "").strip() for kind in NAME_KINDS).rstrip(";")),
        *(("ORG", ";".join(map(str.strip, each)).rstrip(";")) for each in card.organizations),
        *(("EMAIL", address) for text in card.emails for address in addresses_in(text)),
        *(("NOTE", text) for text in _users_notes(card)),
        *card.others,
    ]
    return [(name, text.strip()) for name, text in values if text.strip()]


def contact_for(filing: Filing, uid: str) -> dict[str, Any]:
    """The card of a sender who has none. Raises UnsafeCard for an address that no card can have."""
    name, address = claimed_name(filing), checked_address(filing.address)
    values = [("FN", name), *(("EMAIL", each) for each in addresses_in(address))]
    properties: dict[str, Any] = {"emails": {"e1": {"address": address}}}
    parts: Iterable[tuple[str, str]] = ()
    category = filing.category
    if category and category.contact_type == "company":
        properties["organizations"] = {"o1": {"name": name}}
        values.append(("ORG", name))
    elif category:
        parts = [*zip(NAME_KINDS, structured_name(name), strict=False)]
        values.append(("N", ";".join(part for _, part in parts).rstrip(";")))
    told = category.name if category else None
    text = _lines(note.with_section(_as_vcard(()), told, filing.today))[0].text
    properties["notes"] = {_NOTE_ID: {"note": text, MARK: fingerprint(values)}}
    return new_card(uid, named(name, parts), **properties)


def noting(card: JsCard, category: str, today: date) -> CardPatch:
    """The patch that writes the sender's category into the note; empty if the note says it
    already."""
    before = _as_vcard(card.notes)
    lines = _lines(note.with_section(before, category, today))
    patch: CardPatch = {
        pointer("notes", its.id, "note"): new.text
        for its, old, new in zip(card.notes, _lines(before), lines, strict=False)
        if new.value != old.value
    }
    if len(lines) > len(card.notes):
        new_note = {"note": lines[-1].text}
        patch |= (
            {pointer("notes", _NOTE_ID): new_note}
            if card.notes
            else {"notes": {_NOTE_ID: new_note}}
        )
    return patch


def clearing(card: JsCard) -> CardPatch:
    """The patch that removes what Mailroom wrote about itself, mark and section."""
    patch: CardPatch = {}
    for each in card.notes:
        before = _as_vcard([each])
        after = _lines(note.without_section(before))
        if not after:
            patch[pointer("notes", each.id)] = None
            continue
        if after[0].value != _lines(before)[0].value:
            patch[pointer("notes", each.id, "note")] = after[0].text
        if each.mark is not None:
            patch[pointer("notes", each.id, MARK)] = None
    if patch and all(patch.get(pointer("notes", each.id), "") is None for each in card.notes):
        return {"notes": None}  # one by one, Stalwart 0.15.5 leaves an empty NOTE (seen)
    return patch


def membership_patch(group: JsCard, joins: Mapping[str, str], leaves: Iterable[str]) -> CardPatch:
    """The patch of a group's members. ``joins`` are UIDs by their bare form, spelled as in their
    cards, which is what a server's rules compare; ``leaves`` are bare UIDs, removed in the group's
    own spelling."""
    members = group.members or frozenset()
    new = sorted(spelled for spelled in joins.values() if spelled not in members)
    gone = set(leaves) - joins.keys()
    # A rule compares strings: X and urn:uuid:X do not match (Cyrus 3.13.7, seen).
    removed = sorted(
        spelled
        for spelled in members
        if (bare := bare_uid(spelled)) in gone or joins.get(bare, spelled) != spelled
    )
    if new and group.members is None:
        # Stalwart 0.15.5 cannot patch a missing object.
        return {"members": dict.fromkeys(new, True)}
    return {
        **{pointer("members", spelled): True for spelled in new},
        **{pointer("members", spelled): None for spelled in removed},
    }


def new_group(uid: str, name: str, members: Iterable[str], record: Record | None) -> dict[str, Any]:
    """A group of these UIDs. An empty one gets no ``members``: Stalwart 0.15.5 keeps the empty
    value, and then believes it rather than the members that CardDAV adds (seen)."""
    properties: dict[str, Any] = {"kind": "group"}
    if there := dict.fromkeys(sorted(members), True):
        properties["members"] = there
    if record is not None:
        properties["notes"] = {_NOTE_ID: _recorded(record)}
    return new_card(uid, named(name), **properties)


def record_of(group: JsCard) -> Record:
    """The record of setup on the card; an empty one if there is none."""
    texts = (each.record for each in group.notes if each.record is not None)
    return read_record(next(texts, ""))


def record_patch(group: JsCard, record: Record) -> CardPatch:
    """The patch that puts the record on the card, replacing an earlier one."""
    for each in group.notes:
        if each.record is not None or each.id == _NOTE_ID:
            return {pointer("notes", each.id, RECORD): encode_record(record)}
    note_ = _recorded(record)
    return {pointer("notes", _NOTE_ID): note_} if group.notes else {"notes": {_NOTE_ID: note_}}


def _recorded(record: Record) -> dict[str, str]:
    return {"note": _RECORD_NOTE, RECORD: encode_record(record)}


def _section(card: JsCard) -> note.Section:
    return note.read_section(_as_vcard(card.notes))


def _users_notes(card: JsCard) -> list[str]:
    return [line.text for line in _lines(note.without_section(_as_vcard(card.notes)))]


def _as_vcard(notes: Iterable[Note]) -> Card:
    """A vCard of the notes alone, in which their section can be edited."""
    return Card.compose("4.0", [("NOTE", escape_text(each.text)) for each in notes])


def _lines(card: Card) -> list[Line]:
    return card.all("NOTE")
