"""A sender's contact: what Mailroom knows of it, makes it, adds to it and takes out again.

Filing is a convergence: done twice it adds nothing, and an equal card means that nothing needs to
be written. A contact that was there is *adopted*: what is empty is filled, nothing is overwritten.
One that Mailroom *created* carries a fingerprint of itself, by which a later reset can tell whether
the user has edited it since.
"""

import uuid
from dataclasses import dataclass
from datetime import date

from mailroom.rules import note
from mailroom.rules.categories import Category
from mailroom.rules.groups import bare_uid, member_uids
from mailroom.rules.names import clean_name, structured_name
from mailroom.rules.note import Provenance
from mailroom.wire.vcard import Card, CardView, UnsafeCard, escape_text

_NAMESPACE = uuid.UUID("6c1f7a52-3f0e-4d8b-9d4e-0b8f5a1c7e21")
_CREATED = "X-MAILROOM-CREATED"

# vCard 3.0 wants an N (RFC 2426 §3.1.2), and Cyrus refuses a card without one.
_NO_NAME = ";;;;"

_NOBODY: frozenset[str] = frozenset()  # one for all cards that are no groups: 216 bytes each

# What servers write by themselves, and the fingerprint itself.
_NOT_FINGERPRINTED = frozenset({"REV", "PRODID", _CREATED})


@dataclass(frozen=True, slots=True)
class Entry:
    """What the index of the address book keeps of one card.

    UIDs are bare (without ``urn:uuid:``), addresses in lower case; ``category`` is the one that the
    NOTE names last, None for a sender who was never triaged.
    """

    uid: str
    addresses: tuple[str, ...]
    fn: str
    is_group: bool
    members: frozenset[str]
    provenance: Provenance
    category: str | None


@dataclass(frozen=True, slots=True)
class Filing:
    """One sender's contact as a triage wants it.

    ``display_name`` is the mail's own, as untrusted as it came. ``uid`` is for a contact that has
    none yet, new or not.
    """

    uid: str
    address: str
    display_name: str
    category: Category
    today: date


def contact_uid(account_id: str, address: str, counter: int) -> str:
    """Return the UID of a contact that Mailroom creates: the same one whenever it is asked for.

    The counter goes up when the user has given the card of that UID to somebody else.
    """
    return str(uuid.uuid5(_NAMESPACE, "\n".join((account_id, address.lower(), str(counter)))))


def summarise(view: CardView) -> Entry:
    """Return what the index keeps; a view that lacks properties makes a poorer entry."""
    uid, fn, section = view.first("UID"), view.first("FN"), note.read_section(view)
    return Entry(
        uid=bare_uid(uid.text) if uid else "",
        addresses=addresses(view),
        fn=fn.text if fn else "",
        is_group=view.kind == "group",
        members=frozenset(member_uids(view)) or _NOBODY,
        provenance=_provenance(view, section),
        category=section.category,
    )


def addresses(view: CardView) -> tuple[str, ...]:
    """Return the addresses of all EMAILs, each once, in lower case."""
    texts = (line.text.strip().lower().removeprefix("mailto:") for line in view.all("EMAIL"))
    return tuple(dict.fromkeys(filter(None, texts)))


def provenance(view: CardView) -> Provenance:
    """Return where the card comes from, as itself says."""
    return _provenance(view, note.read_section(view))


def _provenance(view: CardView, section: note.Section) -> Provenance:
    return Provenance.CREATED if view.first(_CREATED) else section.provenance


def is_unedited(card: Card) -> bool:
    """Whether Mailroom created the card and nobody has changed it since."""
    stamp = card.first(_CREATED)
    return stamp is not None and stamp.value.strip().lower() == _fingerprint(card)


def new_contact(filing: Filing) -> Card:
    """Make the contact of a sender who has none."""
    name = _claimed_name(filing)
    properties = [
        ("UID", escape_text(filing.uid)),
        ("FN", escape_text(name)),
        _name_property(filing, name),
    ]
    if filing.category.contact_type == "company":
        properties.append(("N", _NO_NAME))
    properties.append(_email_property(filing.address, "3.0"))
    card = Card.compose("3.0", properties)
    card = note.with_section(card, Provenance.CREATED, filing.category.name, filing.today)
    return card.with_lines([(_CREATED, _fingerprint(card))])


def file_under(card: Card, filing: Filing) -> Card:
    """Bring a contact that is there to the state that the filing wants."""
    origin = provenance(card)
    if origin is not Provenance.CREATED:
        origin = Provenance.ADOPTED
        card = _filled(card, filing)
    return note.with_section(card, origin, filing.category.name, filing.today)


def without_section(card: Card) -> Card:
    """Take out what Mailroom wrote about itself; what it filled in belongs to the user now."""
    stamps = {index for index, line in enumerate(card.lines) if line.name == _CREATED}
    return note.without_section(card.without(stamps) if stamps else card)


def _fingerprint(card: Card) -> str:
    """Return the SHA-256 of the unfolded properties, in whatever order a server keeps them."""
    import hashlib  # noqa: PLC0415 - brings OpenSSL: 2.6 MiB that an idle service does without

    lines = (line for line in note.without_section(card).lines if line.name)
    texts = sorted(
        f"{line.head.upper()}:{line.value}" for line in lines if line.name not in _NOT_FINGERPRINTED
    )
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def _filled(card: Card, filing: Filing) -> Card:
    """Fill what is empty. A card without a UID gets one: no group can name it otherwise."""
    name = _own_name(card) or _claimed_name(filing)
    for head, value in (
        ("UID", escape_text(filing.uid)),
        ("FN", escape_text(name)),
        _name_property(filing, name),
    ):
        card = _with_filled(card, head, value)
    if card.version == "3.0" and card.first("N") is None:
        card = card.with_lines([("N", _NO_NAME)])
    if filing.address.lower() not in addresses(card):
        card = card.with_lines([_email_property(filing.address, card.version)])
    return card


def _with_filled(card: Card, name: str, value: str) -> Card:
    places = [index for index, line in enumerate(card.lines) if line.name == name]
    if not places:
        return card.with_lines([(name, value)])
    if any(text.strip(" ,") for index in places for text in card.lines[index].components):
        return card
    return card.with_value(places[0], value)


def _name_property(filing: Filing, name: str) -> tuple[str, str]:
    """Return the property that a company or a person has beside FN."""
    if filing.category.contact_type == "company":
        return ("ORG", escape_text(name))
    return ("N", ";".join(map(escape_text, structured_name(name))))


def _email_property(address: str, version: str) -> tuple[str, str]:
    if not address.isprintable():
        raise UnsafeCard("an address with control characters has no place in a card")
    return ("EMAIL;TYPE=INTERNET" if version == "3.0" else "EMAIL", escape_text(address))


def _claimed_name(filing: Filing) -> str:
    """Return the display name, or the part before the @ for those who give none."""
    local_part = filing.address.rpartition("@")[0].strip('"')
    return clean_name(filing.display_name) or clean_name(local_part) or filing.address


def _own_name(card: Card) -> str:
    """Return the name that the user has given the contact, in FN or N or ORG; maybe none.

    What a mail calls its sender must not become the visible name of somebody whom the user knows
    by another, as would happen in programs that show N or ORG first.
    """
    if (fn := card.first("FN")) and (name := clean_name(fn.text)):
        return name
    if n := card.first("N"):
        family, given, additional, prefix, suffix, *_ = (*n.components, "", "", "", "", "")
        if name := clean_name(" ".join((prefix, given, additional, family, suffix))):
            return name
    org = card.first("ORG")
    return clean_name(org.components[0]) if org else ""
