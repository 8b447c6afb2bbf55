"""A sender's contact as a vCard: created, noted in, given back, and told from an edited one."""

import sys
from collections.abc import Callable
from dataclasses import astuple, replace
from datetime import date

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailroom.rules.configuration.categories import Category, category_from
from mailroom.rules.contacts.contact import (
    Entry,
    addresses,
    contact_uid,
    is_unedited,
    new_contact,
    noted,
    provenance,
    summarise,
    without_section,
)
from mailroom.rules.contacts.roster import Filing, Provenance
from mailroom.wire.vcard import Card, CardView, UnsafeCard
from tests.cards import SAFE, UNSAFE
from tests.hostile import EVERY, texts

FEED, IMBOX = category_from("Feed"), category_from("Imbox")
PERSON = category_from({"name": "Person", "contact_type": "person"})
TODAY = date(2026, 11, 21)
BOB = Filing("bob@example.org", "Bob Smith", FEED, TODAY)
LETTER = replace(BOB, display_name="Bob's Letter", category=FEED)


def card_of(*lines: str) -> Card:
    return Card.parse("\r\n".join(("BEGIN:VCARD", *lines, "END:VCARD", "")).encode())


def properties(card: Card) -> list[str]:
    return [f"{line.head}:{line.value}" for line in card.lines if line.name]


def created(filing: Filing) -> Card:
    return new_contact(filing, "uid-1")


def test_a_company_is_created_with_fn_and_org_and_an_empty_n() -> None:
    assert properties(created(LETTER))[:-2] == [
        "BEGIN:VCARD",
        "VERSION:3.0",
        "PRODID:-//Mailroom//EN",
        "UID:uid-1",
        "FN:Bob's Letter",
        "ORG:Bob's Letter",
        "N:;;;;",
        "EMAIL;TYPE=INTERNET:bob@example.org",
        r"NOTE:— Mailroom —\nCreated by Mailroom\nTriaged to Feed on 2026-11-21",
    ]


def test_a_person_is_created_with_fn_and_n() -> None:
    lines = properties(created(replace(BOB, category=PERSON)))
    assert lines[4:6] == ["FN:Bob Smith", "N:Smith;Bob;;;"]
    assert not any(line.startswith("ORG") for line in lines)


@pytest.mark.parametrize(
    ("display_name", "address", "fn"),
    [
        ("Bob", "bob@example.org", "FN:Bob"),
        ("", "bob.smith@example.org", "FN:bob.smith"),
        ("\n\t\0", "bob@example.org", "FN:bob"),
        ("", '"bob smith"@example.org', "FN:bob smith"),
        ("", '""@example.org', 'FN:""@example.org'),
        ("Bob; Sons, Ltd\\", "bob@example.org", r"FN:Bob\; Sons\, Ltd\\"),
        ("Bob\r\nTEL:1\r\nEND:VCARD", "bob@example.org", "FN:Bob TEL:1 END:VCARD"),
        ("\u202eBob", "bob@example.org", "FN:Bob"),
        ("Bob \ud800", "bob@example.org", "FN:Bob"),
        ("😀 " * 2_000, "bob@example.org", "FN:" + " ".join(["😀"] * 2_000)),
    ],
)
@pytest.mark.parametrize("category", [FEED, PERSON])
def test_a_display_name_is_data(
    display_name: str, address: str, fn: str, category: Category
) -> None:
    card = created(Filing(address, display_name, category, TODAY))
    assert fn in properties(card)
    assert Card.parse(bytes(card)) == card
    assert addresses(card) == (address,)
    assert len(card.lines) == (11 if category is FEED else 10)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("a\nb@example.org", "control characters"),
        ("a\0@example.org", "control characters"),
        ("\ud800@example.org", "control characters"),
        ("*@example.org", "match others"),
        ("bob@*.example.org", "match others"),
    ],
)
def test_an_address_that_has_no_place_in_a_card_is_refused(address: str, why: str) -> None:
    with pytest.raises(UnsafeCard, match=why):
        created(replace(BOB, address=address))


def test_an_address_is_escaped_and_found_again() -> None:
    quoted = '"a,b;c\\"@example.org'
    assert addresses(Card.parse(bytes(created(replace(BOB, address=quoted))))) == (quoted,)


def test_the_uid_follows_from_account_address_and_counter() -> None:
    uid = contact_uid("u1", "bob@example.org", 0)
    assert uid == contact_uid("u1", "BOB@example.org", 0)
    assert uid == "264cf5c5-5861-5547-bff0-a443fe8baeaf"
    assert uid != contact_uid("u2", "bob@example.org", 0)
    assert uid != contact_uid("u1", "rob@example.org", 0)
    assert uid != contact_uid("u1", "bob@example.org", 1)


def test_the_note_tells_of_each_change_of_mind_once() -> None:
    card = created(LETTER)
    again = noted(card, "Person", TODAY)
    assert r"\nRe-triaged to Person on 2026-11-21" in bytes(again).decode().replace("\r\n ", "")
    assert noted(again, "Person", date(2027, 1, 1)) == again
    assert [line for line in properties(again) if line.startswith("N:")] == ["N:;;;;"]


@pytest.mark.parametrize("name", SAFE)
def test_a_card_that_mailroom_did_not_create_is_not_noted_in(name: str) -> None:
    card = Card.parse(SAFE[name])
    assert noted(card, "Feed", TODAY) is card
    assert not is_unedited(card)


@pytest.mark.parametrize(
    ("change", "unedited"),
    [
        # ours, and the servers'
        (lambda raw: raw, True),
        (lambda raw: raw.replace(b"\r\n", b"\n"), True),
        (lambda raw: raw.replace(b"UID:uid", b"UID:u\r\n id"), True),
        (lambda raw: raw.replace(b"UID:", b"UID:urn:uuid:"), True),
        (lambda raw: raw.replace(b"END:", b"REV:20261122T000000Z\r\nEND:"), True),
        (lambda raw: raw.replace(b"END:", b"KIND:individual\r\nEND:"), True),
        (lambda raw: raw.replace(b"PRODID:-//Mailroom//EN", b"PRODID:-//Other//EN"), True),
        (lambda raw: raw.replace(b"VERSION:3.0", b"VERSION:4.0"), True),
        (lambda raw: raw.replace(b"FN:", b"FN;CHARSET=UTF-8:"), True),
        (lambda raw: raw.replace(b";TYPE=INTERNET", b""), True),
        (lambda raw: raw.replace(b"EMAIL;", b"item1.EMAIL;PREF=1;"), True),
        (lambda raw: raw.replace(b":bob@example.org", b":Bob@Example.ORG"), True),
        (lambda raw: raw.replace(b"N:;;;;\r\n", b""), True),
        (lambda raw: raw.replace(b"ORG:Bob's Letter", b"ORG:Bob's Letter;"), True),
        (
            lambda raw: raw.replace(b"FN:Bob's Letter\r\n", b"").replace(
                b"END:", b"FN:Bob's Letter\r\nEND:"
            ),
            True,
        ),
        (lambda raw: bytes(noted(Card.parse(raw), "Imbox", TODAY)), True),
        # the user's
        (lambda raw: raw.replace(b"NOTE:", b"X-NOT-A-NOTE:"), False),
        (lambda raw: raw.replace(b"FN:Bob's Letter", b"FN:Bob's letter"), False),
        (lambda raw: raw.replace(b"END:", b"TEL:1\r\nEND:"), False),
        (lambda raw: raw.replace(b"END:", b"EMAIL:bob@home.example\r\nEND:"), False),
        (lambda raw: raw.replace(b"END:", b"X-SOCIALPROFILE:x\r\nEND:"), False),
        (lambda raw: raw.replace(b"NOTE:", b"NOTE:a friend\\n"), False),
        (lambda raw: raw.replace(b"N:;;;;", b"N:Smith;Bob;;;"), False),
        (lambda raw: raw.replace(b"ORG:Bob's Letter", b"ORG:Bob's Letter;Sales"), False),
    ],
)
def test_only_other_values_make_a_created_contact_edited(
    change: Callable[[bytes], bytes], unedited: bool
) -> None:
    card = Card.parse(change(bytes(created(LETTER))))
    assert provenance(card) is Provenance.CREATED
    assert is_unedited(card) is unedited
    assert is_unedited(noted(card, "Jail", TODAY)) is unedited


# As version 0.1 made it: its mark is over the lines.
FORMER = (
    b"BEGIN:VCARD\r\nVERSION:3.0\r\nPRODID:-//Mailroom//EN\r\nUID:uid-1\r\nFN:Bob's Letter\r\n"
    b"ORG:Bob's Letter\r\nN:;;;;\r\nEMAIL;TYPE=INTERNET:bob@example.org\r\n"
    b"NOTE:\xe2\x80\x94 Mailroom \xe2\x80\x94\\nCreated by Mailroom\\n"
    b"Triaged to Feed on 2026-11-21\r\n"
    b"X-MAILROOM-CREATED:e55c129c1fe9c737bfcce350e97f4cd46eba82166b4a61c1ad66bd8cdb4c09ba\r\nEND:VCARD\r\n"
)


def test_contacts_of_earlier_versions_are_still_told_from_edited_ones() -> None:
    card = Card.parse(FORMER)
    assert is_unedited(card)
    assert is_unedited(noted(card, "Jail", TODAY))
    assert not is_unedited(Card.parse(FORMER.replace(b"FN:Bob", b"FN:Rob")))


def test_without_the_mark_a_card_is_the_users() -> None:
    raw = bytes(created(LETTER)).replace(b"X-MAILROOM-CREATED", b"X-SOMETHING")
    assert provenance(Card.parse(raw)) is Provenance.ADOPTED  # by its note
    assert not is_unedited(Card.parse(raw))


UNTRIAGED = sorted(set(SAFE) - {"old-contact-of-mailroom", "fastmail-triaged"})


@pytest.mark.parametrize("name", UNTRIAGED)
def test_a_card_without_a_section_stays_byte_for_byte(name: str) -> None:
    card = Card.parse(SAFE[name])
    assert without_section(card) is card or bytes(without_section(card)) == SAFE[name]


def test_a_created_contact_gives_up_what_marks_it() -> None:
    left = without_section(created(LETTER))
    assert not left.all("NOTE")
    assert not left.all("X-MAILROOM-CREATED")
    assert without_section(left) == left


def test_the_index_keeps_what_a_triage_asks_for() -> None:
    assert summarise(CardView.glance(SAFE["old-contact-of-mailroom"])) == Entry(
        uid="old-1027",
        addresses=("old@friend.example",),
        fn="Old Friend",
        is_group=False,
        members=frozenset(),
        prefixed=frozenset(),
        provenance=Provenance.ADOPTED,
        category="Feed",
    )
    group = summarise(CardView.glance(SAFE["sabre-group-4"]))
    assert (group.uid, group.is_group) == ("urn:uuid:d3c9d4d5-1b55-4a1e-9a77-1e5b7c8d1004", True)
    assert "77b7a3c0-2f5e-43e7-9d3a-2d6c5f5b1003" in group.members
    ours = summarise(created(BOB))
    assert (ours.provenance, ours.category) == (Provenance.CREATED, "Feed")


def test_the_index_knows_partial_cards_and_unsafe_ones() -> None:
    partial = b"BEGIN:VCARD\r\nUID:urn:uuid:p\r\nEMAIL:MAILTO:Bob@Example.org\r\nEND:VCARD\r\n"
    entry = summarise(CardView.glance(partial))
    assert (entry.uid, entry.addresses, entry.fn) == ("urn:uuid:p", ("bob@example.org",), "")
    old = summarise(CardView.glance(UNSAFE["vcard-2.1-android"]))
    assert old.addresses == ("old@android.example",)


def test_addresses_are_lower_case_and_each_there_once() -> None:
    assert addresses(Card.parse(SAFE["two-uids"])) == ("twice@uid.example",)
    assert addresses(card_of("VERSION:3.0", "EMAIL:", "EMAIL: a@B ")) == ("a@b",)
    assert addresses(card_of("VERSION:3.0", "EMAIL:Bob <a@B>", r"EMAIL:c@D\;e@F")) == (
        "a@b", "c@d", "e@f",
    )  # fmt: skip


@pytest.mark.parametrize("name", sorted({*SAFE, *UNSAFE}))
def test_an_entry_takes_less_than_a_kibibyte_photos_or_not(name: str) -> None:
    raw = {**SAFE, **UNSAFE}[name].replace(b"END:", b"PHOTO:" + b"A" * 100_000 + b"\r\nEND:")
    entry = summarise(CardView.glance(raw))
    parts = [entry, *astuple(entry), *entry.addresses, *entry.members]
    own = [part for part in parts if not isinstance(part, Provenance | bool)]
    assert sum(sys.getsizeof(part) for part in own) <= 1024


@given(texts, st.sampled_from([FEED, PERSON]))
@example(EVERY, FEED)
@example(EVERY, PERSON)
def test_no_display_name_breaks_a_card(display_name: str, category: Category) -> None:
    card = created(replace(BOB, display_name=display_name, category=category))
    assert Card.parse(bytes(card)) == card
    assert is_unedited(card)
    assert noted(card, category.name, TODAY) == card
    assert addresses(card) == ("bob@example.org",)
