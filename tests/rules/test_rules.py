"""Every rule of the tables, on Cyrus 3.10 and in turn on one of the other kinds of server."""

import os
from collections.abc import Iterator

import pytest
from _pytest.mark import ParameterSet

from mailroom.sandbox import CYRUS_3_10, PROFILES, Profile
from tests.rules.table import Case, Trial, cases
from tests.world import BOOK, World

# All on all takes half a minute.
_OTHERS_PER_RULE = len(PROFILES) if os.environ.get("ALL_SERVERS") else 1


def _pairs() -> Iterator[ParameterSet]:
    """Each rule with its servers. One that is not kept yet is told as such, and noticed as soon
    as it is kept."""
    others = [name for name in PROFILES if name != CYRUS_3_10.name]
    for number, case in enumerate(cases()):
        turns = range(number * _OTHERS_PER_RULE, (number + 1) * _OTHERS_PER_RULE)
        names = dict.fromkeys([CYRUS_3_10.name, *(others[turn % len(others)] for turn in turns)])
        marks = [pytest.mark.xfail(reason=case.gap, strict=True)] if case.gap else []
        for name in filter(case.concerns, names):
            yield pytest.param(case, PROFILES[name], id=f"{case.name} ({name})", marks=marks)


@pytest.mark.parametrize(("case", "profile"), list(_pairs()))
def test_rule(case: Case, profile: Profile) -> None:
    world = World(profile, {**BOOK, **case.section("configuration")})
    # Without push it takes a poll_interval until the poll.
    Trial(case, world, 30.0 if profile.push == "available" else 65.0).run()
