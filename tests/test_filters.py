"""Filters put together and taken apart: what is found stays the same."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailroom.wire.filters import all_of, any_of, by_mailbox, in_any

A, B = {"inMailbox": "a"}, {"inMailbox": "b"}
BOB, CAROL = {"from": "bob"}, {"from": "carol"}
LATE = {"after": "2026-11-26T00:00:00Z"}


def either(*conditions: Any) -> dict[str, Any]:
    return {"operator": "OR", "conditions": list(conditions)}


def both(*conditions: Any) -> dict[str, Any]:
    return {"operator": "AND", "conditions": list(conditions)}


@pytest.mark.parametrize(
    ("query", "parts"),
    [
        (A, [A]),
        (BOB, [BOB]),
        (either(BOB, CAROL), [either(BOB, CAROL)]),
        (in_any("ab"), [A, B]),
        (in_any("a"), [A]),
        (all_of(in_any("ab"), LATE), [A | LATE, B | LATE]),
        (all_of(BOB, in_any("ab")), [A | BOB, B | BOB]),
        (
            all_of(any_of([BOB, CAROL]), in_any("ab")),
            [both(A, either(BOB, CAROL)), both(B, either(BOB, CAROL))],
        ),
        (either(both(A, BOB), B), [A | BOB, B]),
    ],
)
def test_a_filter_is_taken_apart_by_mailbox(query: Any, parts: list[Any]) -> None:
    assert by_mailbox(query) == parts


def test_what_can_stand_in_one_condition_does() -> None:
    assert all_of(A, LATE) == A | LATE
    assert all_of(A, B) == both(A, B)
    assert all_of(all_of(A, LATE), either(BOB, CAROL)) == both(A | LATE, either(BOB, CAROL))


MAILS = [
    {"inMailbox": place, "from": sender, "after": late}
    for place in ("a", "b", "c")
    for sender in ("bob", "carol")
    for late in (True, False)
]


def matches(query: Mapping[str, Any], mail: Mapping[str, Any]) -> bool:
    parts = [matches(each, mail) for each in query.get("conditions", ())]
    match query.get("operator"):
        case "AND":
            return all(parts)
        case "OR":
            return any(parts)
    return all(mail[name] == value for name, value in query.items())


CONDITIONS = st.sampled_from([A, B, {"inMailbox": "c"}, BOB, CAROL, {"after": True}])
FILTERS = st.recursive(
    CONDITIONS,
    lambda inner: st.builds(
        lambda operator, conditions: {"operator": operator, "conditions": conditions},
        st.sampled_from(["AND", "OR"]),
        st.lists(inner, min_size=1, max_size=3),
    ),
    max_leaves=8,
)


def is_flat(query: Mapping[str, Any]) -> bool:
    """As Apache James demands it: no mailbox but alone, or directly in an AND."""
    inner = query.get("conditions", ())
    return not any("inMailbox" in str(each) for each in inner if "operator" in each) and (
        query.get("operator") != "OR" or "inMailbox" not in str(inner)
    )


@given(FILTERS)
def test_the_parts_together_find_the_same(query: dict[str, Any]) -> None:
    parts = by_mailbox(query)
    assert all(map(is_flat, parts))
    for mail in MAILS:
        assert any(matches(part, mail) for part in parts) is matches(query, mail)


@given(st.lists(FILTERS, min_size=1, max_size=3))
def test_all_of_finds_what_all_find(filters: list[dict[str, Any]]) -> None:
    for mail in MAILS:
        assert matches(all_of(*filters), mail) is all(matches(each, mail) for each in filters)
