"""Decisions for whole domains and lists, in the notes of cards."""

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailroom.rules.configuration.config import Config
from mailroom.rules.contacts.kept import Kept, merged, read_kept, with_kept
from mailroom.rules.contacts.keptcard import is_bare
from mailroom.rules.contacts.note import with_section
from mailroom.rules.contacts.roster import Found
from mailroom.rules.screening.wide import Decisions
from mailroom.rules.triage.decisions import decision_lines
from mailroom.wire.vcard import Card

SHOP, NEWS = (False, "shop.example"), (True, "news.example.org")
KEPT = Kept("Paper Trail", {SHOP: "2026-11-26", NEWS: ""})
NOTE = """— Mailroom: whole domains and lists in Paper Trail —
domain shop.example since 2026-11-26
list news.example.org"""


def test_a_note_keeps_decisions_for_people_to_read() -> None:
    assert with_kept("", KEPT) == NOTE
    assert read_kept(["mine", NOTE]) == KEPT
    assert with_kept(NOTE, KEPT) == NOTE


@pytest.mark.parametrize(
    "text",
    [
        NOTE.replace("\n", "\r\n"),
        f"mine\n{NOTE}\nyours",
        NOTE.replace("shop.example", "Shop.EXAMPLE."),
        NOTE.replace("\n", "\n  "),
        f"{NOTE}\ndomain *.example\ndomain example\nlist <x> y\ndomain\nlist *",
    ],
)
def test_whatever_a_program_or_a_user_makes_of_it_is_read(text: str) -> None:
    assert read_kept([text]) == KEPT


@pytest.mark.parametrize("text", ["", "mine", "domain shop.example", "— Mailroom —\ndomain a.b"])
def test_another_note_keeps_none(text: str) -> None:
    assert read_kept([text]) is None


def test_what_else_is_in_the_note_stays() -> None:
    text = f"mine\n{NOTE}\nyours"
    assert with_kept(text, KEPT.lacking(NEWS)) == (f"mine\n{NOTE.rpartition(chr(10))[0]}\nyours")
    assert with_kept(text, Kept("Paper Trail")) == "mine\nyours"
    assert with_kept("mine", KEPT) == f"mine\n{NOTE}"


def of_the_user(lines: Iterable[str]) -> list[str]:
    """Those that nobody could take for ours."""
    return [
        each for each in lines if not each.strip().startswith(("— Mailroom: ", "domain", "list"))
    ]


TYPED = st.sampled_from(["mine", "", " yours ", "— Mailroom —", *NOTE.split("\n")])


@given(st.text() | st.lists(TYPED).map("\n".join))
def test_no_line_of_a_users_is_lost(text: str) -> None:
    written = with_kept(text, KEPT)
    kept = read_kept([written])
    assert kept is not None
    assert kept.days.items() >= KEPT.days.items()
    typed = re.split("\r\n|\r|\n", text) if text else []
    assert of_the_user(written.split("\n")) == of_the_user(typed)


def test_a_decision_that_stands_on_two_cards_is_where_it_was_put_last() -> None:
    old, new = Kept("Feed", {SHOP: "2026-11-26"}), Kept("Jail", {SHOP: "2026-11-27"})
    for order in ([old, new], [new, old]):
        assert merged(order, ["Feed", "Jail"]).domains == {"shop.example": "Jail"}
    assert merged([old, new], ["Feed"]).domains == {"shop.example": "Feed"}
    undated = Kept("Jail", {SHOP: "", NEWS: ""})
    found = merged([undated, old], ["Feed", "Jail"])
    assert (found.domains, found.lists) == ({"shop.example": "Feed"}, {"news.example.org": "Jail"})
    assert (found.domain_days, found.list_days) == ({"shop.example": "2026-11-26"}, {})


def test_the_note_of_a_contact_keeps_none() -> None:
    card = with_section(Card.compose("3.0", []), "Feed", date(2026, 11, 26))
    assert read_kept(line.text for line in card.all("NOTE")) is None


@pytest.mark.parametrize(
    ("properties", "nobody_misses_it"),
    [
        ([("N", ";;;;")], True),
        ([("N", "Feed;Mailroom;;;")], True),  # an address book program may fill it in
        ([("N", ";;;;"), ("TEL", "1")], False),
        ([("N", ";;;;"), ("NOTE", "mine")], False),
    ],
)
def test_a_card_that_has_only_a_name_left_is_bare(
    properties: list[tuple[str, str]], nobody_misses_it: bool
) -> None:
    card = Card.compose("3.0", [("UID", "x"), ("FN", "Mailroom: Feed"), *properties])
    assert is_bare(card) == nobody_misses_it


def test_decisions_are_lines_of_json() -> None:
    bob = Found("b", "b", ("bob@example.org",), "Bob", frozenset({"Feed"}), noted="Feed",
                noted_on="2026-11-21")  # fmt: skip
    wide = Decisions({"shop.example": "Feed"}, {"news.example.org": "Jail"},
                     {"shop.example": "2026-11-26"})  # fmt: skip
    nobody = replace(bob, addresses=())  # the user has taken the address out of the card
    assert list(decision_lines([bob, nobody], wide, Config())) == [
        '{"address": "bob@example.org", "category": "Feed", "since": "2026-11-21"}',
        '{"domain": "shop.example", "category": "Feed", "since": "2026-11-26"}',
        '{"list": "news.example.org", "category": "Jail", "since": null}',
    ]
