"""A sender's contact as a vCard: how Mailroom reads it, creates it, writes its note and undoes it.

Only cards that Mailroom *created* are ever written. Its mark, a fingerprint over the card's other
values, says that it created the card, and shows whether the user has edited it since. Writing the
note twice adds nothing, and an equal card means that nothing needs to be written.
"""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from mailroom.rules.addresses import addresses_in, is_pattern
from mailroom.rules.contacts import note
from mailroom.rules.contacts.groups import bare_uid, has_prefix, member_uids, prefixed_members
from mailroom.rules.contacts.kept import Kept, read_kept
from mailroom.rules.contacts.roster import Filing, Provenance
from mailroom.rules.names import clean_name, structured_name
from mailroom.wire.jscontact import MARK
from mailroom.wire.vcard import Card, CardView, Line, UnsafeCard, escape_text

_NAMESPACE = uuid.UUID("6c1f7a52-3f0e-4d8b-9d4e-0b8f5a1c7e21")
_MARK = "X-MAILROOM-CREATED"
# How CardDAV shows a mark that was written by JMAP (RFC 9555 §3.2.1).
_JSPROP = "JSPROP"

# vCard 3.0 needs an N (RFC 2426 §3.1.2), and Cyrus 3.10 refuses a 3.0 card without one.
_NO_NAME = ";;;;"

_NOBODY: frozenset[str] = frozenset()  # one for all cards that are no groups: 216 bytes each

# No values of the user's: frame, identity, what servers write by themselves, the mark.
_NOT_VALUES = frozenset(
    {"BEGIN", "END", "VERSION", "UID", "KIND", "REV", "CREATED", "PRODID", "CALSCALE", _MARK}
    | {"X-ADDRESSBOOKSERVER-KIND"}
)
# The prefix of our fingerprints; earlier versions made theirs over lines, without a prefix.
_BY_VALUES = "v2:"
_NOT_IN_FIRST_FINGERPRINT = frozenset({"REV", "PRODID", _MARK})


@dataclass(frozen=True, slots=True)
class Entry:
    """What the index of the address book keeps of one card.

    ``uid`` is as the card spells it; those of ``members`` are bare (without ``urn:uuid:``), and
    ``prefixed`` are the members that name a card whose UID has that prefix. ``addresses`` are
    canonical. ``category`` is the last one that the NOTE names, None if it names none; ``kept`` are
    the decisions for domains and lists that the card keeps.
    """

    uid: str
    addresses: tuple[str, ...]
    fn: str
    is_group: bool
    members: frozenset[str]
    prefixed: frozenset[str]
    provenance: Provenance
    category: str | None
    kept: Kept | None = None

    def names(self, contact: "Entry") -> bool:
        """Whether the contact is a member, in whatever spelling."""
        return bool(contact.uid) and bare_uid(contact.uid) in self.members

    def misspells(self, contact: "Entry") -> bool:
        """Whether it is a member in a spelling that no server rule matches."""
        is_found = not has_prefix(contact.uid) or bare_uid(contact.uid) in self.prefixed
        return self.names(contact) and not is_found


def contact_uid(account_id: str, address: str, counter: int) -> str:
    """Return the UID of a contact that Mailroom creates: always the same for the same arguments.

    The counter goes up when the user has given the card of that UID to somebody else.
    """
    return str(uuid.uuid5(_NAMESPACE, "\n".join((account_id, address.lower(), str(counter)))))


def summarise(view: CardView) -> Entry:
    """Return what the index keeps; properties that the view lacks are missing in the entry."""
    uid, fn, section = view.first("UID"), view.first("FN"), note.read_section(view)
    return Entry(
        uid=uid.text.strip() if uid else "",
        addresses=addresses(view),
        fn=fn.text if fn else "",
        is_group=view.kind == "group",
        members=frozenset(member_uids(view)) or _NOBODY,
        prefixed=frozenset(prefixed_members(view)) or _NOBODY,
        provenance=_provenance(view, section),
        category=section.category,
        kept=read_kept(line.text for line in view.all("NOTE")),
    )


def addresses(view: CardView) -> tuple[str, ...]:
    """Return the addresses of all EMAILs, each once, in canonical form."""
    found = (address for line in view.all("EMAIL") for address in addresses_in(line.text))
    return tuple(dict.fromkeys(found))


def provenance(view: CardView) -> Provenance:
    """Return where the card comes from, by what it says itself."""
    return _provenance(view, note.read_section(view))


def _provenance(view: CardView, section: note.Section) -> Provenance:
    if _mark(view) is not None:
        return Provenance.CREATED
    return Provenance.ADOPTED if section.has_heading else Provenance.NONE


def is_unedited(card: Card) -> bool:
    """Whether Mailroom created the card and nobody has changed a value of it since. If a server
    writes the same values differently (parameters, order, spelling, version), that is no edit."""
    stamp = _mark(card)
    if stamp is None:
        return False
    if stamp.startswith(_BY_VALUES):
        return stamp == fingerprint(values_of(card))
    return stamp == _first_fingerprint(card)


def values_of(card: Card) -> Iterable[tuple[str, str]]:
    """Return the values that a user can edit, by property name, without our section."""
    for line in note.without_section(card).lines:
        if line.name == "EMAIL":
            yield from (("EMAIL", address) for address in addresses_in(line.text))
        elif line.name in ("", *_NOT_VALUES) or _is_mark(line):
            continue
        elif text := _content(line):
            yield line.name, text


def fingerprint(values: Iterable[tuple[str, str]]) -> str:
    """Return the mark of a contact with these values; their order does not matter."""
    return _BY_VALUES + _sha256("\n".join(sorted(f"{name}:{value}" for name, value in values)))


def new_contact(filing: Filing, uid: str) -> Card:
    """Make the contact of a sender who has none. Raises UnsafeCard for an address that no card can
    have."""
    name = claimed_name(filing)
    properties = [("UID", escape_text(uid)), ("FN", escape_text(name))]
    category = filing.category
    if category and category.contact_type == "company":
        properties.append(("ORG", escape_text(name)))
    if category is None or category.contact_type == "company":
        properties.append(("N", _NO_NAME))
    else:
        properties.append(("N", ";".join(map(escape_text, structured_name(name)))))
    address = escape_text(checked_address(filing.address))
    properties.append(("EMAIL;TYPE=INTERNET", address))
    card = Card.compose("3.0", properties)
    card = note.with_section(card, category.name if category else None, filing.today)
    return card.with_lines([(_MARK, fingerprint(values_of(card)))])


def noted(card: Card, category: str | None, today: date) -> Card:
    """Write into the note of a created card what its sender was triaged to."""
    is_ours = provenance(card) is Provenance.CREATED
    return note.with_section(card, category, today) if is_ours else card


def without_section(card: Card) -> Card:
    """Remove what Mailroom wrote about itself, mark and section. The rest is the user's."""
    marks = {index for index, line in enumerate(card.lines) if _is_mark(line)}
    return note.without_section(card.without(marks) if marks else card)


def _mark(view: CardView) -> str | None:
    """The mark, whichever way it was written: by JMAP it is a text in JSON."""
    marks = (line.value.strip().strip('"').lower() for line in view.lines if _is_mark(line))
    return next(marks, None)


def _is_mark(line: Line) -> bool:
    if line.name != _JSPROP:
        return line.name == _MARK
    return any(name == "JSPTR" and value.endswith(MARK) for name, value in line.parameters)


def _content(line: Line) -> str:
    """The value without outer spaces and without empty components at its end."""
    if line.name in ("N", "ORG"):
        return ";".join(part.strip() for part in line.components).rstrip(";")
    return line.text.strip()


def _first_fingerprint(card: Card) -> str:
    """The fingerprint of earlier versions: over the unfolded lines, sorted."""
    lines = (line for line in note.without_section(card).lines if line.name)
    texts = (
        f"{line.head.upper()}:{line.value}"
        for line in lines
        if line.name not in _NOT_IN_FIRST_FINGERPRINT
    )
    return _sha256("\n".join(sorted(texts)))


def _sha256(text: str) -> str:
    import hashlib  # noqa: PLC0415 - loads OpenSSL: 2.6 MiB, which an idle service with CardDAV saves

    return hashlib.sha256(text.encode()).hexdigest()


def checked_address(address: str) -> str:
    """Return the address. Raises UnsafeCard for one that no card can have."""
    if not address.isprintable():
        raise UnsafeCard("no card can have an address with control characters")
    if is_pattern(address):
        raise UnsafeCard("no card can have an address with *: it would match others too")
    return address


def claimed_name(filing: Filing) -> str:
    """Return the display name, or the part before the @ if it is empty."""
    local_part = filing.address.rpartition("@")[0].strip('"')
    return clean_name(filing.display_name) or clean_name(local_part) or filing.address
