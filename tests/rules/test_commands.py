"""The rules a second time, with the command as the user's hand: where a case puts a category's
label on a mail, ``mailroom triage`` decides about its sender, and the end is the same.

Not those that no command could do, nor those without a label; what is said to the command itself is
for ``tests/test_orders.py``.
"""

from collections.abc import Iterator

import pytest
from _pytest.mark import ParameterSet

from tests.rules.table import Case, Trial, cases
from tests.rules.user import Commander
from tests.sandbox import CYRUS_3_10, PROFILES, Profile
from tests.world import BOOK, World


def _is_by_label(case: Case) -> bool:
    return case.only_by_label is None and any(
        action.startswith("label ")
        for step in case.given.get("when") or ()
        for action in ([step] if isinstance(step, str) else step)
    )


def _pairs() -> Iterator[ParameterSet]:
    """Each rule with its servers; those beside Cyrus 3.10 take half a minute."""
    for case in filter(_is_by_label, cases()):
        for name in filter(case.concerns, PROFILES):
            marks = [] if name == CYRUS_3_10.name else [pytest.mark.every]
            if case.gap:
                marks.append(pytest.mark.xfail(reason=case.gap, strict=True))
            ways = ("carddav", "jmap") if PROFILES[name].has_jmap_contacts else ("carddav",)
            for way in ways:
                where = name if way == "carddav" else f"{name} by {way}"
                yield pytest.param(
                    case, PROFILES[name], way, id=f"{case.name} ({where})", marks=marks
                )


@pytest.mark.parametrize(("case", "profile", "way"), list(_pairs()))
def test_rule_by_command(case: Case, profile: Profile, way: str) -> None:
    by = {"contacts": {"by": way}}
    world = World(profile, {**BOOK, **by, **case.section("configuration")})
    Trial(case, world, 30.0 if profile.push == "available" else 65.0, Commander).run()


def test_most_rules_can_be_tried_by_command() -> None:
    assert len(list(filter(_is_by_label, cases()))) > 70
