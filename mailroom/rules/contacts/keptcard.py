"""The card that keeps a category's decisions (:mod:`mailroom.rules.contacts.kept`), as vCard and as
JSContact."""

from typing import Any

from mailroom.rules.contacts import contact, contactcard
from mailroom.rules.contacts.kept import Kept, card_name, read_kept, with_kept
from mailroom.wire.jscontact import JsCard, named, new_card, pointer
from mailroom.wire.vcard import Card, CardView, escape_text

_NOTE_ID = "mailroom"
# The values of a card that nobody has added to.
_NAMES = frozenset({"FN", "N"})


def kept_in(view: CardView) -> Kept | None:
    return read_kept(line.text for line in view.all("NOTE"))


def with_kept_in(card: Card, kept: Kept) -> Card:
    """The vCard that keeps this; a note that would be empty is removed."""
    for index, line in enumerate(card.lines):
        if line.name == "NOTE" and read_kept([line.text]) is not None:
            if text := with_kept(line.text, kept):
                return card.with_value(index, escape_text(text))
            return card.without({index})
    return card.with_lines([("NOTE", escape_text(with_kept("", kept)))]) if kept.days else card


def new_kept_card(uid: str, kept: Kept) -> Card:
    fn = escape_text(card_name(kept.category))
    card = Card.compose("3.0", [("UID", escape_text(uid)), ("FN", fn), ("N", ";;;;")])
    return with_kept_in(card, kept)


def is_bare(card: Card) -> bool:
    """Whether the vCard holds nothing that anybody would miss."""
    return {name for name, _ in contact.values_of(card)} <= _NAMES


def kept_by(card: JsCard) -> Kept | None:
    return read_kept(each.text for each in card.notes)


def keeping(card: JsCard, kept: Kept) -> contactcard.CardPatch:
    """The patch that makes the card keep this; a note that is left empty becomes None."""
    for each in card.notes:
        if read_kept([each.text]) is not None:
            if text := with_kept(each.text, kept):
                return {pointer("notes", each.id, "note"): text} if text != each.text else {}
            # alone, None for its id leaves an empty NOTE on Stalwart 0.15.5 (seen)
            return {"notes": None} if len(card.notes) == 1 else {pointer("notes", each.id): None}
    note = {"note": with_kept("", kept)}
    return {pointer("notes", _NOTE_ID): note} if card.notes else {"notes": {_NOTE_ID: note}}


def contact_to_keep(uid: str, kept: Kept) -> dict[str, Any]:
    """The JSContact card to create."""
    notes = {_NOTE_ID: {"note": with_kept("", kept)}}
    return new_card(uid, named(card_name(kept.category)), notes=notes)


def would_be_bare(card: JsCard) -> bool:
    """Whether the card holds only what it keeps, and maybe its name."""
    others = [each for each in card.notes if with_kept(each.text, Kept(""))]
    return (
        not others and {name for name, _ in contactcard.values_of(card) if name != "NOTE"} <= _NAMES
    )
