"""What has to become of contacts and groups: plans of values."""

from dataclasses import replace
from datetime import date

import pytest

from mailroom.rules.configuration.config import Config
from mailroom.rules.contacts.roster import (
    Change,
    Filing,
    Found,
    Membership,
    Plan,
    Provenance,
    category_of,
    managed_groups,
    taken_back,
    triaged,
)

CONFIG = Config()
BOB = "bob@example.org"
CARD = Found("bob.vcf", "uid-bob", (BOB,), "Bob", frozenset({"Feed", "Cycling", "Mailroom"}))
CREATED = replace(CARD, provenance=Provenance.CREATED, noted="Feed")


def filing(category: str) -> Filing:
    return Filing(BOB, "Bob", CONFIG.triage.category(category), date(2026, 11, 21))


def test_who_has_no_contact_gets_one_in_the_groups_of_the_whole_chain() -> None:
    change = triaged(CONFIG, BOB, None, filing("Billboard"))
    assert change.creates
    assert change.joins == {"Billboard", "Paper Trail", "Mailroom"}
    assert not any((change.leaves, change.notes, change.releases))


def test_of_the_managed_groups_a_contact_is_in_exactly_the_chains() -> None:
    change = triaged(CONFIG, BOB, CARD, filing("Truck"))
    assert change.joins == {"Truck", "Paper Trail"}
    assert change.leaves == {"Feed"}  # and not Cycling, which is not Mailroom's


@pytest.mark.parametrize(
    ("contact", "category", "notes"),
    [
        (CREATED, "Feed", False),
        (CREATED, "Jail", True),
        (CARD, "Jail", False),
        (replace(CARD, provenance=Provenance.ADOPTED, noted="Feed"), "Jail", False),
    ],
)
def test_only_a_created_contact_is_noted_in_and_only_another_category(
    contact: Found, category: str, notes: bool
) -> None:
    change = triaged(CONFIG, BOB, contact, filing(category))
    assert change.notes is notes
    assert not any((change.creates, change.releases))


@pytest.mark.parametrize(
    ("contact", "is_known", "becomes"),
    [
        (None, False, "nothing"),
        (None, True, "created"),
        (CREATED, False, "undone"),
        (CREATED, True, "screened"),
        (replace(CREATED, is_edited=False), False, "undone"),
        (replace(CREATED, is_edited=True), False, "screened"),
        (CARD, False, "screened"),
        (CARD, True, "screened"),
        (replace(CARD, provenance=Provenance.ADOPTED), False, "screened"),
    ],
)
def test_who_is_taken_back_waits_from_then_on_and_what_mailroom_created_is_undone(
    contact: Found | None, is_known: bool, becomes: str
) -> None:
    """Whose contact stays would be known by it; so would those whom the caller knows."""
    waits = replace(filing("Feed"), category=None)
    change = taken_back(CONFIG, BOB, contact, waits, is_known=is_known)
    shape = (change.creates, set(change.joins), set(change.leaves), change.releases)
    assert (
        shape
        == {
            "nothing": (False, set(), set(), False),
            "created": (True, {"Mailroom screened", "Mailroom"}, set(), False),
            "undone": (False, set(), {"Feed", "Mailroom"}, True),
            "screened": (False, {"Mailroom screened"}, {"Feed"}, False),
        }[becomes]
    )
    assert not change.notes


def test_a_triage_takes_a_sender_out_of_the_screened_group() -> None:
    waiting = replace(CARD, groups=frozenset({"Mailroom screened", "Mailroom"}))
    change = triaged(CONFIG, BOB, waiting, filing("Feed"))
    assert change.joins == {"Feed"}
    assert change.leaves == {"Mailroom screened"}


def test_a_plan_has_one_membership_for_each_group_that_changes() -> None:
    eve = "eve@example.org"
    plan = Plan(
        (triaged(CONFIG, BOB, CARD, filing("Jail")), triaged(CONFIG, eve, None, filing("Feed")))
    )
    assert plan.memberships == {
        "Feed": Membership(joins=frozenset({eve}), leaves=frozenset({BOB})),
        "Jail": Membership(joins=frozenset({BOB})),
        "Mailroom": Membership(joins=frozenset({eve})),
    }
    assert plan.without([eve]).memberships.keys() == {"Feed", "Jail"}


def test_a_contact_that_turns_out_to_be_there_is_brought_to_the_same_state() -> None:
    change = triaged(CONFIG, BOB, None, filing("Jail")).with_contact(CARD)
    assert change.joins == {"Jail"}
    assert change.leaves == {"Feed"}
    assert not change.creates


@pytest.mark.parametrize(
    ("groups", "name"),
    [
        (set(), None),
        ({"Cycling"}, None),
        ({"Feed", "Cycling"}, "Feed"),
        ({"Paper Trail"}, "Paper Trail"),
        ({"Paper Trail", "Billboard"}, "Billboard"),
        ({"Billboard"}, None),
    ],
)
def test_a_category_is_a_whole_chain_of_groups(groups: set[str], name: str | None) -> None:
    category = category_of(groups, CONFIG)
    assert (category.name if category else None) == name


def test_nothing_is_wanted_of_a_sender_without_contact_and_filing() -> None:
    change = Change(BOB, None, managed_groups(CONFIG), frozenset({"Feed"}))
    assert not any((change.joins, change.leaves, change.creates))
