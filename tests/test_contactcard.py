"""Contacts as JSContact: the same as the same contact's vCard, whichever way it is looked at."""

from datetime import date
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailroom.rules.configuration.categories import category_from
from mailroom.rules.contacts.contact import is_unedited as is_unedited_vcard
from mailroom.rules.contacts.contact import new_contact, provenance, values_of, without_section
from mailroom.rules.contacts.contactcard import (
    clearing,
    contact_for,
    found_in,
    is_unedited,
    membership_patch,
    noting,
)
from mailroom.rules.contacts.contactcard import values_of as values_of_card
from mailroom.rules.contacts.roster import Filing, Provenance
from mailroom.wire.jscontact import MARK, RECORD, JsCard, Note, read_card
from mailroom.wire.vcard import Card, UnsafeCard
from tests.sandbox.contactcards import patched
from tests.sandbox.jscontact import card_of, vcard_of
from tests.sandbox.standard import read_patch

TODAY, LATER = date(2026, 11, 21), date(2026, 12, 2)
NAMES = ["Bob", "Example, Inc.; a: b\\c", "Ann Mary Ark Jr.", "Ålesund «Ö»", ""]


def filing(name: str = "Bob", kind: str = "company", address: str = "bob@example.org") -> Filing:
    return Filing(address, name, category_from({"name": "Feed", "contact_type": kind}), TODAY)


def shown(card: dict[str, Any]) -> JsCard:
    return read_card({"id": "x", **card})


def after(card: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    return patched(card, read_patch(patch))


def as_vcard(card: dict[str, Any]) -> Card:
    """What CardDAV shows of it."""
    return Card.parse(vcard_of(card).encode())


@pytest.mark.parametrize("kind", ["company", "person"])
@pytest.mark.parametrize("name", NAMES)
def test_a_new_contact_has_the_values_of_a_new_vcard(name: str, kind: str) -> None:
    card = contact_for(filing(name, kind), "u")
    assert sorted(values_of_card(shown(card))) == sorted(
        values_of(new_contact(filing(name, kind), "u"))
    )
    assert is_unedited(shown(card))


@pytest.mark.parametrize("kind", ["company", "person"])
@pytest.mark.parametrize("name", NAMES)
def test_by_carddav_it_is_created_and_unedited_as_well(name: str, kind: str) -> None:
    text = as_vcard(contact_for(filing(name, kind), "u"))
    assert provenance(text) is Provenance.CREATED
    assert is_unedited_vcard(text)
    assert is_unedited(read_card({"id": "x", **card_of(bytes(text).decode())}))


@pytest.mark.parametrize(
    "edit",
    [
        {"name/full": "Bobby"},
        {"name/components": [{"kind": "generation", "value": "Jr."}]},
        {"emails/e2": {"address": "rob@example.org"}},
        {"emails/e1/address": "rob@example.org"},
        {"organizations": None},
        {"phones": {"p1": {"number": "+47"}}},
        {"notes/n2": {"note": "met in Oslo"}},
        {"notes/mailroom/note": "— Mailroom —\nCreated by Mailroom\nmine"},
        {"notes/mailroom/mailroom.example:created": None},
        {"notes": None},
        {"nicknames": {"n": {"name": "B"}}},
    ],
)
def test_an_edit_shows_by_either_way(edit: dict[str, Any]) -> None:
    card = after(contact_for(filing(), "u"), edit)
    assert not is_unedited(shown(card))
    assert not is_unedited_vcard(as_vcard(card))


@pytest.mark.parametrize(
    "edit",
    [
        {"updated": "2026-11-21T10:00:00Z"},
        {"cyrusimap.org:size": 300},
        {"emails/e1/contexts": {"work": True}},
        {"name/isOrdered": False},
        {"kind": "individual"},
        {"language": "en"},
    ],
)
def test_what_servers_write_is_no_edit(edit: dict[str, Any]) -> None:
    assert is_unedited(shown(after(contact_for(filing(), "u"), edit)))


def test_an_address_without_a_place_in_a_card_is_refused() -> None:
    for address in ("*@example.org", "a\nb@example.org"):
        with pytest.raises(UnsafeCard):
            contact_for(filing(address=address), "u")


def test_noting_is_a_convergence_and_no_edit() -> None:
    card = contact_for(filing(), "u")
    assert noting(shown(card), "Feed", LATER) == {}
    patch = noting(shown(card), "Jail", LATER)
    assert list(patch) == ["notes/mailroom/note"]
    card = after(card, patch)
    assert found_in(shown(card), ()).noted == "Jail"
    assert is_unedited(shown(card))
    assert noting(shown(card), "Jail", LATER) == {}


def test_a_note_goes_where_the_section_is_or_makes_one() -> None:
    section = "mine\n— Mailroom —\nCreated by Mailroom\nTriaged to Feed on 2026-11-21\nmine too"
    card = JsCard("x", notes=(Note("a/b", "other"), Note("c", section)))
    assert noting(card, "Jail", LATER) == {
        "notes/c/note": section.replace(
            "\nmine too", "\nRe-triaged to Jail on 2026-12-02\nmine too"
        )
    }
    text = "— Mailroom —\nCreated by Mailroom\nTriaged to Jail on 2026-12-02"
    assert noting(JsCard("x"), "Jail", LATER) == {"notes": {"mailroom": {"note": text}}}
    first = JsCard("x", notes=(Note("a/b", "other"),))
    assert noting(first, "Jail", LATER) == {"notes/a~1b/note": f"other\n{text}"}


def test_clearing_takes_out_what_mailroom_wrote_and_nothing_else() -> None:
    edit = {"notes/mine": {"note": "met in Oslo"}, "name/full": "Bobby"}
    card = after(contact_for(filing(), "u"), edit)
    cleared = after(card, clearing(shown(card)))
    assert cleared["notes"] == {"mine": {"note": "met in Oslo"}}
    assert found_in(shown(cleared), ()).provenance is Provenance.NONE
    mixed = JsCard("x", notes=(Note("n", "mine\n— Mailroom —\nCreated by Mailroom", "v2:0"),))
    assert clearing(mixed) == {"notes/n/note": "mine", "notes/n/mailroom.example:created": None}
    assert clearing(shown(contact_for(filing(), "u"))) == {"notes": None}


def test_by_carddav_the_mark_of_jmap_is_taken_out_as_well() -> None:
    card = after(contact_for(filing(), "u"), {"name/full": "Bobby"})
    text = without_section(as_vcard(card))
    assert provenance(text) is Provenance.NONE
    assert b"mailroom.example" not in bytes(text)


def test_a_card_made_by_carddav_is_known_by_its_note_where_its_mark_is_out_of_sight() -> None:
    notes = (Note("n", "— Mailroom —\nCreated by Mailroom\nTriaged to Feed on 2026-11-21"),)
    found = found_in(JsCard("x", notes=notes), ())
    assert (found.provenance, found.noted, found.is_edited) == (Provenance.CREATED, "Feed", True)
    adopted = (Note("n", "— Mailroom —\nAdopted by Mailroom"),)
    assert found_in(JsCard("x", notes=adopted), ()).provenance is Provenance.ADOPTED


def test_groups_and_patterns_are_found() -> None:
    card = JsCard("x", "urn:uuid:U", full_name="Bob", emails=("Bob <B@x.example>", "*@y.example"))
    found = found_in(card, [("Feed", frozenset({"U"})), ("Jail", frozenset({"V"}))])
    assert found.uid == "urn:uuid:U"
    assert found.groups == found.misspelled == {"Feed"}
    assert not found_in(card, [("Feed", frozenset({"U", "urn:uuid:U"}))]).misspelled
    assert (found.addresses, found.patterns) == (("b@x.example",), ("*@y.example",))
    assert found_in(JsCard("x"), [("Feed", frozenset({""}))]).groups == frozenset()


MEMBERS = frozenset({"a", "urn:uuid:b"})


@pytest.mark.parametrize(
    ("members", "joins", "leaves", "patch"),
    [
        (MEMBERS, {"c": "c"}, [], {"members/c": True}),
        (MEMBERS, {"c": "urn:uuid:c"}, [], {"members/urn:uuid:c": True}),
        (MEMBERS, {"x/y~z": "x/y~z"}, [], {"members/x~1y~0z": True}),
        (MEMBERS, {}, ["b"], {"members/urn:uuid:b": None}),
        (MEMBERS, {"b": "b"}, [], {"members/b": True, "members/urn:uuid:b": None}),
        (MEMBERS, {"b": "urn:uuid:b"}, [], {}),
        (MEMBERS, {"a": "urn:uuid:a"}, [], {"members/urn:uuid:a": True, "members/a": None}),
        (MEMBERS, {}, ["c"], {}),
        (MEMBERS, {"a": "a"}, ["a"], {}),
        (frozenset(), {"c": "c"}, [], {"members/c": True}),
        (None, {"c": "c"}, ["a"], {"members": {"c": True}}),
        (None, {}, ["a"], {}),
    ],
)
def test_a_membership_patch_says_what_changes(
    members: frozenset[str] | None, joins: dict[str, str], leaves: list[str], patch: dict[str, Any]
) -> None:
    assert membership_patch(JsCard("g", members=members), joins, leaves) == patch


@pytest.mark.parametrize(
    "bad",
    [
        {"name": "Bob"},
        {"emails": ["x"], "notes": 1, "organizations": {"o": None}, "members": []},
        {"emails": {"e": {"address": 1}}, "name": {"full": None, "components": [1, {}]}},
        {"uid": 7, "kind": [], "notes": {"n": {"note": {}, "mailroom.example:created": 1}}},
    ],
)
def test_a_property_that_is_not_what_it_should_be_hides_no_card(bad: dict[str, Any]) -> None:
    card = read_card({"id": "x", **bad})
    assert card.id == "x"
    assert not is_unedited(card)
    assert found_in(card, ()).provenance is Provenance.NONE


KEYS = [
    *("note", "full", "kind", "value", "address", "x", "name", "components", "units"),
    *(MARK, RECORD),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner),
    max_leaves=12,
)
PROPERTIES = ("name", "emails", "notes", "organizations", "members", "uid", "kind", "phones")


@given(st.dictionaries(st.sampled_from(PROPERTIES), JSON))
@example({"members": 7, "name": {"components": 7}, "organizations": {"o": {"units": 7}}})
@example({"name": {"components": [7, {"kind": "given", "value": 7}]}, "emails": {"e": {"x": 7}}})
@example({"organizations": {"o": {"units": [7, {"name": 7}]}}, "notes": {"mailroom": {MARK: 7}}})
@example({"notes": {"mailroom": {"note": "Created by Mailroom", MARK: "x", RECORD: "{}"}}})
def test_whatever_a_server_shows_is_read_and_nothing_of_it_is_ours(card: dict[str, Any]) -> None:
    shown = read_card({"id": "x", **card})
    assert not is_unedited(shown)
    assert found_in(shown, ()).reference == "x"


TEXT = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=40)


@given(TEXT, st.lists(TEXT, max_size=3))
def test_a_note_of_the_users_survives_noting_and_clearing(mine: str, others: list[str]) -> None:
    notes = {str(n): {"note": text} for n, text in enumerate([mine, *others])}
    card = contact_for(filing(), "u")
    card["notes"] |= notes
    card = after(card, noting(shown(card), "Jail", LATER))
    assert found_in(shown(card), ()).noted == "Jail"
    cleared = after(card, clearing(shown(card)))["notes"]
    kept = {key: each["note"] for key, each in cleared.items() if key in notes}
    told = {key: each["note"] for key, each in notes.items()}
    assert {key: text for key, text in kept.items() if text} == {
        key: text for key, text in told.items() if text
    }
    assert "mailroom" not in cleared
