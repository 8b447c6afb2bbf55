"""A sender's contact: created, adopted, filed again, given back."""

import sys
from collections.abc import Callable, Iterable
from dataclasses import astuple, replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailroom.rules.categories import Category, category_from
from mailroom.rules.contact import (
    Entry,
    Filing,
    addresses,
    contact_uid,
    file_under,
    is_unedited,
    new_contact,
    provenance,
    summarise,
    without_section,
)
from mailroom.rules.note import Provenance
from mailroom.wire.vcard import Card, CardView, UnsafeCard
from tests.cards import SAFE, UNSAFE

FEED, IMBOX = category_from("Feed"), category_from("Imbox")
PERSON = category_from({"name": "Person", "contact_type": "person"})
TODAY = date(2026, 11, 21)
BOB = Filing("uid-1", "bob@example.org", "Bob Smith", FEED, TODAY)
LETTER = replace(BOB, display_name="Bob's Letter", category=FEED)


def card_of(*lines: str) -> Card:
    return Card.parse("\r\n".join(("BEGIN:VCARD", *lines, "END:VCARD", "")).encode())


def properties(card: Card) -> list[str]:
    return [f"{line.head}:{line.value}" for line in card.lines if line.name]


def logical_lines(raw: bytes) -> list[bytes]:
    """What a card consists of, told from its bytes by other means than the reader's."""
    lines: list[bytes] = []
    for physical in raw.split(b"\n"):
        if lines and physical[:1] in (b" ", b"\t"):
            lines[-1] += b"\n" + physical
        else:
            lines.append(physical)
    return lines


def names(lines: Iterable[bytes]) -> set[bytes]:
    heads = (line.partition(b":")[0].partition(b";")[0] for line in lines)
    return {head.rpartition(b".")[2].upper() for head in heads}


def test_a_company_is_created_with_fn_and_org_and_an_empty_n() -> None:
    assert properties(new_contact(LETTER))[:-2] == [
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
    created = properties(new_contact(replace(BOB, category=PERSON)))
    assert created[4:6] == ["FN:Bob Smith", "N:Smith;Bob;;;"]
    assert not any(line.startswith("ORG") for line in created)


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
    created = new_contact(Filing("u", address, display_name, category, TODAY))
    assert fn in properties(created)
    assert Card.parse(bytes(created)) == created
    assert addresses(created) == (address,)
    assert len(created.lines) == (11 if category is FEED else 10)


@pytest.mark.parametrize("address", ["a\nb@example.org", "a\0@example.org", "\ud800@example.org"])
def test_an_address_with_control_characters_is_refused(address: str) -> None:
    with pytest.raises(UnsafeCard, match="control characters"):
        new_contact(replace(BOB, address=address))
    with pytest.raises(UnsafeCard, match="control characters"):
        file_under(Card.parse(SAFE["khard"]), replace(BOB, address=address))


def test_an_address_is_escaped_and_found_again() -> None:
    quoted = '"a,b;c\\"@example.org'
    created = new_contact(replace(BOB, address=quoted))
    assert addresses(Card.parse(bytes(created))) == (quoted,)


def test_the_uid_follows_from_account_address_and_counter() -> None:
    uid = contact_uid("u1", "bob@example.org", 0)
    assert uid == contact_uid("u1", "BOB@example.org", 0)
    assert uid == "264cf5c5-5861-5547-bff0-a443fe8baeaf"
    assert uid != contact_uid("u2", "bob@example.org", 0)
    assert uid != contact_uid("u1", "rob@example.org", 0)
    assert uid != contact_uid("u1", "bob@example.org", 1)


ADOPTED_NOTE = r"NOTE:— Mailroom —\nAdopted by Mailroom\nTriaged to Feed on 2026-11-21"
BARE = ("VERSION:3.0", "UID:u", "EMAIL:bob@example.org")
WHOLE = ("VERSION:3.0", "UID:u", "FN:Robert", "N:S;R;;;", "ORG:Bobs", "EMAIL:bob@example.org")


@pytest.mark.parametrize(
    ("before", "category", "added"),
    [
        # nothing is overwritten
        (WHOLE, FEED, []),
        (WHOLE, PERSON, []),
        # what is missing is filled, from the name that the user gave the contact
        (
            ("VERSION:3.0", "UID:u", "FN:Robert", "EMAIL:bob@example.org"),
            FEED,
            ["ORG:Robert", "N:;;;;"],
        ),
        (("VERSION:3.0", "UID:u", "FN:Rob Roy", "EMAIL:bob@example.org"), PERSON, ["N:Roy;Rob;;;"]),
        (("VERSION:3.0", "UID:u", "N:Roy;Rob;;;", "EMAIL:bob@example.org"), PERSON, ["FN:Rob Roy"]),
        (("VERSION:3.0", "UID:u", "N:Roy;Rob", "EMAIL:bob@example.org"), PERSON, ["FN:Rob Roy"]),
        (
            ("VERSION:3.0", "UID:u", "ORG:Bobs;Unit", "EMAIL:bob@example.org"),
            FEED,
            ["FN:Bobs", "N:;;;;"],
        ),
        # from the mail's only where there is none
        (BARE, FEED, ["FN:Bob Smith", "ORG:Bob Smith", "N:;;;;"]),
        (BARE, PERSON, ["FN:Bob Smith", "N:Smith;Bob;;;"]),
        # a card that no group could name gets a UID
        (("VERSION:3.0", "FN:R", "ORG:R", "EMAIL:bob@example.org"), FEED, ["UID:uid-1", "N:;;;;"]),
        # the address belongs there
        (WHOLE[:-1], FEED, ["EMAIL;TYPE=INTERNET:bob@example.org"]),
        (("VERSION:4.0", *WHOLE[1:-1]), FEED, ["EMAIL:bob@example.org"]),
        ((*WHOLE[:-1], "item1.EMAIL;type=HOME:BOB@Example.Org"), FEED, []),
    ],
)
def test_an_adopted_contact_is_filled_where_it_is_empty(
    before: tuple[str, ...], category: Category, added: list[str]
) -> None:
    filed = file_under(card_of(*before), replace(BOB, category=category))
    note = ADOPTED_NOTE.replace("Feed", category.name)
    assert properties(filed) == ["BEGIN:VCARD", *before, *added, note, "END:VCARD"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("item1.FN;X-A=1:", "item1.FN;X-A=1:Bob Smith"),
        ("ORG: ;", "ORG:Bob Smith"),
    ],
)
def test_an_empty_line_is_filled_in_its_place(before: str, after: str) -> None:
    card = card_of("VERSION:3.0", before, "UID:u", "EMAIL:bob@example.org")
    assert properties(file_under(card, BOB))[2] == after


def test_a_created_contact_is_not_filled_again() -> None:
    created = new_contact(LETTER)
    as_person = file_under(created, replace(LETTER, category=PERSON))
    assert [line for line in properties(as_person) if line.startswith("N:")] == ["N:;;;;"]
    assert r"\nRe-triaged to Person on 2026-11-21" in bytes(as_person).decode().replace("\r\n ", "")


@pytest.mark.parametrize(
    ("change", "unedited"),
    [
        # ours, and the servers'
        (lambda raw: raw, True),
        (lambda raw: raw.replace(b"\r\n", b"\n"), True),
        (lambda raw: raw.replace(b"UID:uid", b"UID:u\r\n id"), True),
        (lambda raw: raw.replace(b"END:", b"REV:20261122T000000Z\r\nEND:"), True),
        (lambda raw: raw.replace(b"PRODID:-//Mailroom//EN", b"PRODID:-//Other//EN"), True),
        (lambda raw: raw.replace(b"TYPE=INTERNET", b"type=internet"), True),
        (
            lambda raw: raw.replace(b"FN:Bob's Letter\r\n", b"").replace(
                b"END:", b"FN:Bob's Letter\r\nEND:"
            ),
            True,
        ),
        (lambda raw: bytes(file_under(Card.parse(raw), replace(LETTER, category=IMBOX))), True),
        # the user's
        (lambda raw: raw.replace(b"NOTE:", b"X-NOT-A-NOTE:"), False),
        (lambda raw: raw.replace(b"FN:Bob's Letter", b"FN:Bob's letter"), False),
        (lambda raw: raw.replace(b"END:", b"TEL:1\r\nEND:"), False),
        (lambda raw: raw.replace(b"NOTE:", b"NOTE:a friend\\n"), False),
        (lambda raw: raw.replace(b"EMAIL;", b"EMAIL;PREF=1;"), False),
        (lambda raw: raw.replace(b"X-MAILROOM-CREATED", b"X-SOMETHING"), False),
        (lambda raw: raw.replace(b"N:;;;;\r\n", b""), False),
    ],
)
def test_only_the_users_changes_make_a_created_contact_edited(
    change: Callable[[bytes], bytes], unedited: bool
) -> None:
    card = Card.parse(change(bytes(new_contact(LETTER))))
    assert provenance(card) is Provenance.CREATED
    assert is_unedited(card) is unedited
    again = file_under(card, replace(LETTER, category=category_from("Jail")))
    assert is_unedited(again) is unedited


@pytest.mark.parametrize("name", SAFE)
def test_an_adopted_contact_is_not_taken_for_a_created_one(name: str) -> None:
    filed = file_under(Card.parse(SAFE[name]), BOB)
    assert provenance(filed) is Provenance.ADOPTED
    assert not is_unedited(filed)


@pytest.mark.parametrize("category", [FEED, PERSON])
@pytest.mark.parametrize("name", SAFE)
def test_filing_touches_only_the_lines_that_are_its_own(name: str, category: Category) -> None:
    card = Card.parse(SAFE[name])
    filing = replace(BOB, category=category)
    filed = file_under(card, filing)
    before, after = logical_lines(SAFE[name]), logical_lines(bytes(filed))
    gone = [line for line in before if line not in after]
    new = [line for line in after if line not in before]
    assert [line for line in before if line in after] == [line for line in after if line in before]
    assert names(gone) <= {b"NOTE", b"FN", b"N", b"ORG", b"UID"}
    assert names(new) <= {b"NOTE", b"FN", b"N", b"ORG", b"UID", b"EMAIL"}
    assert (b"NOTE" in names(new)) is (summarise(card).category != category.name)
    for line in gone:  # only the NOTE had content
        assert b"NOTE" in names([line]) or not line.partition(b":")[2].strip(b"; \r")


@pytest.mark.parametrize("name", SAFE)
def test_filing_twice_is_filing_once(name: str) -> None:
    once = file_under(Card.parse(SAFE[name]), BOB)
    reread = Card.parse(bytes(once))
    assert reread == once
    assert file_under(reread, replace(BOB, today=date(2027, 1, 1))) == once


UNTRIAGED = sorted(set(SAFE) - {"old-contact-of-mailroom", "fastmail-triaged"})


@pytest.mark.parametrize("name", UNTRIAGED)
def test_the_section_out_again_leaves_every_note_as_it_was(name: str) -> None:
    card = Card.parse(SAFE[name])
    left = without_section(file_under(card, BOB))
    notes = [(line.head, line.value) for line in card.all("NOTE") if line.value]
    assert [(line.head, line.value) for line in left.all("NOTE")] == notes
    assert summarise(left).provenance is Provenance.NONE


def test_a_created_contact_gives_up_what_marks_it() -> None:
    left = without_section(new_contact(LETTER))
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
        provenance=Provenance.ADOPTED,
        category="Feed",
    )
    group = summarise(CardView.glance(SAFE["sabre-group-4"]))
    assert (group.uid, group.is_group) == ("d3c9d4d5-1b55-4a1e-9a77-1e5b7c8d1004", True)
    assert "77b7a3c0-2f5e-43e7-9d3a-2d6c5f5b1003" in group.members
    created = summarise(new_contact(BOB))
    assert (created.provenance, created.category) == (Provenance.CREATED, "Feed")


def test_the_index_knows_partial_cards_and_unsafe_ones() -> None:
    partial = b"BEGIN:VCARD\r\nUID:urn:uuid:p\r\nEMAIL:MAILTO:Bob@Example.org\r\nEND:VCARD\r\n"
    entry = summarise(CardView.glance(partial))
    assert (entry.uid, entry.addresses, entry.fn) == ("p", ("bob@example.org",), "")
    old = summarise(CardView.glance(UNSAFE["vcard-2.1-android"]))
    assert old.addresses == ("old@android.example",)


def test_addresses_are_lower_case_and_each_there_once() -> None:
    assert addresses(Card.parse(SAFE["two-uids"])) == ("twice@uid.example",)
    assert addresses(card_of("VERSION:3.0", "EMAIL:", "EMAIL: a@B ")) == ("a@b",)


@pytest.mark.parametrize("name", sorted({*SAFE, *UNSAFE}))
def test_an_entry_takes_less_than_a_kibibyte_photos_or_not(name: str) -> None:
    raw = {**SAFE, **UNSAFE}[name].replace(b"END:", b"PHOTO:" + b"A" * 100_000 + b"\r\nEND:")
    entry = summarise(CardView.glance(raw))
    parts = [entry, *astuple(entry), *entry.addresses, *entry.members]
    own = [part for part in parts if not isinstance(part, Provenance | bool)]
    assert sum(sys.getsizeof(part) for part in own) <= 1024


NAMES = sorted(SAFE)
HOSTILE = st.text(st.characters(), max_size=40)


@given(HOSTILE, st.sampled_from([FEED, PERSON]), st.sampled_from(NAMES))
def test_no_display_name_breaks_a_card(display_name: str, category: Category, name: str) -> None:
    filing = replace(BOB, display_name=display_name, category=category)
    created = new_contact(filing)
    assert Card.parse(bytes(created)) == created
    assert is_unedited(created)
    assert file_under(created, filing) == created
    assert addresses(created) == ("bob@example.org",)
    filed = file_under(Card.parse(SAFE[name]), filing)
    assert Card.parse(bytes(filed)) == filed
    assert file_under(filed, filing) == filed


@given(st.sampled_from(NAMES), st.integers(0, 5000), st.binary(max_size=4), st.integers(0, 3))
def test_a_damaged_card_that_can_be_filed_keeps_its_other_lines(
    name: str, place: int, inserted: bytes, removed: int
) -> None:
    at = place % (len(SAFE[name]) + 1)
    raw = SAFE[name][:at] + inserted + SAFE[name][at + removed :]
    try:
        card = Card.parse(raw)
        filed = file_under(card, BOB)
    except UnsafeCard:
        return
    ours = {"NOTE", "FN", "N", "ORG", "UID", "EMAIL"}
    assert [line for line in filed.lines if line.name not in ours] == [
        line for line in card.lines if line.name not in ours
    ]
    assert file_under(Card.parse(bytes(filed)), BOB) == filed
