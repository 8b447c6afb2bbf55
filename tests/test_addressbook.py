"""The index of the address book: whose card it is, and which groups there are."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailroom.rules.contacts.addressbook import AddressBook, Indexed
from mailroom.rules.contacts.contact import Entry
from mailroom.rules.contacts.kept import Kept
from mailroom.rules.contacts.roster import Acquaintance, Provenance

BOB = "bob@example.org"


def contact(href: str, *addresses: str, uid: str | None = None) -> Indexed:
    uid = href if uid is None else uid
    entry = Entry(uid, addresses, href, False, frozenset(), frozenset(), Provenance.NONE, None)
    return Indexed(href, '"1"', entry)


def group(href: str, name: str, *members: str) -> Indexed:
    entry = Entry(href, (), name, True, frozenset(members), frozenset(), Provenance.NONE, None)
    return Indexed(href, '"1"', entry)


def keeping(href: str) -> Indexed:
    card = contact(href)
    return replace(card, entry=replace(card.entry, kept=Kept("Feed")))


def book_of(*cards: Indexed) -> AddressBook:
    book = AddressBook()
    for card in cards:
        book.put(card)
    return book


FEED = group("g-feed", "Feed", "b", "")


@pytest.mark.parametrize(
    ("cards", "found"),
    [
        ([], None),
        ([contact("a", BOB)], "a"),
        ([contact("a", "carol@example.org", BOB)], "a"),
        ([contact("a", "carol@example.org")], None),
        # of several the first by href
        ([contact("c", BOB), contact("a", BOB)], "a"),
        # but rather the one that is in a managed group
        ([contact("a", BOB), contact("b", BOB), contact("c", BOB)], "b"),
        ([contact("a", BOB), contact("z", BOB, uid="b")], "z"),
        # no UID is in no group, whatever an empty member says
        ([contact("a", BOB), contact("c", BOB, uid="")], "a"),
        # one UID at two hrefs: cards are told apart by href
        ([contact("a", BOB, uid="x"), contact("c", BOB, uid="x")], "a"),
    ],
)
def test_whose_contact_it_is(cards: list[Indexed], found: str | None) -> None:
    card = book_of(FEED, *cards).contact(BOB, [FEED])
    assert (card.href if card else None) == found


def test_a_group_with_an_address_is_nobodys_contact() -> None:
    listed = replace(FEED, entry=replace(FEED.entry, addresses=(BOB,)))
    assert book_of(listed).contact(BOB, [FEED]) is None
    card = book_of(listed, contact("z", BOB)).contact(BOB, [FEED])
    assert card is not None
    assert card.href == "z"


def test_groups_are_found_by_name_and_of_equal_names_the_first_by_href() -> None:
    book = book_of(group("g2", "Feed"), group("g1", "Feed"), contact("Jail"))
    feed = book.group("Feed")
    assert feed is not None
    assert feed.href == "g1"
    assert book.group("Jail") is None
    assert [each.href for each in book.groups()] == ["g1", "g2"]


def test_a_card_that_changes_is_found_as_it_is_now() -> None:
    book = book_of(contact("a", BOB))
    book.put(contact("a", "carol@example.org"))
    assert book.contact(BOB, []) is None
    assert book.contact("carol@example.org", []) is not None
    book.put(group("a", "Feed"))
    assert book.contact("carol@example.org", []) is None
    assert book.group("Feed") is not None
    book.remove("a")
    assert (len(book), book.group("Feed"), book.get("a")) == (0, None, None)
    book.remove("a")


def test_a_book_can_be_emptied() -> None:
    book = book_of(contact("a", BOB), FEED, keeping("k"))
    book.clear()
    assert (len(book), book.contact(BOB, []), book.group("Feed")) == (0, None, None)
    assert book.keeping() == []


cards = st.builds(
    lambda href, addresses, is_group: (
        group(href, "Feed") if is_group else contact(href, *dict.fromkeys(addresses))
    ),
    st.sampled_from("abc"),
    st.lists(st.sampled_from(["1@x", "2@x", "3@x"]), max_size=3),
    st.booleans(),
)


@given(st.lists(cards | st.sampled_from("abc").map(keeping) | st.sampled_from("abc"), max_size=12))
def test_an_index_that_was_changed_is_as_one_made_anew(course: list[Indexed | str]) -> None:
    book, there = AddressBook(), dict[str, Indexed]()
    for step in course:
        if isinstance(step, str):
            book.remove(step)
            there.pop(step, None)
        else:
            book.put(step)
            there[step.href] = step
    fresh = book_of(*there.values())
    assert len(book) == len(there)
    assert list(book.groups()) == list(fresh.groups())
    assert book.keeping() == fresh.keeping()
    for address in ("1@x", "2@x", "3@x"):
        assert book.contact(address, []) == fresh.contact(address, [])


def test_a_group_is_found_in_whichever_form_its_name_is_kept() -> None:
    one, two = group("a", "Cafe\u0301"), group("b", "Caf\u00e9")
    assert book_of(one).group("Caf\u00e9") == one
    assert book_of(one, two).group("Caf\u00e9") == two
    assert book_of(one).group("Cafe") is None


def test_an_address_is_what_all_of_its_cards_say() -> None:
    made = replace(contact("c", BOB).entry, provenance=Provenance.CREATED)
    adopted = replace(contact("d", "dora@example.org").entry, provenance=Provenance.ADOPTED)
    book = book_of(
        FEED, contact("b", BOB), Indexed("c", "", made), Indexed("d", "", adopted),
        group("g", "Jail", "c"), group("h", "Jail", "d"), group("n", "Bu\u0308ro", "d"),
        contact("e", "*@example.org", "eve@example.org", uid=""),
    )  # fmt: skip
    asked = (BOB, "dora@example.org", "*@example.org", "eve@example.org", "x@example.org")
    assert book.acquainted(asked) == {
        BOB: Acquaintance(frozenset({"Feed", "Jail"}), is_in_book=True),
        "dora@example.org": Acquaintance(frozenset({"B\u00fcro"}), is_in_book=True),
        "*@example.org": Acquaintance(),
        "eve@example.org": Acquaintance(frozenset(), is_in_book=True),
        "x@example.org": Acquaintance(),
    }
    book.remove("b")
    assert book.acquainted([BOB]) == {BOB: Acquaintance(frozenset({"Jail"}))}
