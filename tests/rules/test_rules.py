"""Every rule of the tables on every kind of server, and both ways of contacts where it has both; on
Cyrus 3.10 alone where it is to be quick."""

from collections.abc import Iterator

import pytest
from _pytest.mark import ParameterSet

from tests.rules.table import Case, Trial, cases
from tests.sandbox import CYRUS_3_10, PROFILES, Profile
from tests.world import BOOK, World


def _pairs() -> Iterator[ParameterSet]:
    """Each rule with its servers; those beside Cyrus 3.10 take half a minute. A rule that is not
    kept yet is told as such, and noticed as soon as it is kept."""
    for case in cases():
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
def test_rule(case: Case, profile: Profile, way: str) -> None:
    by = {"contacts": {"by": way}}
    world = World(profile, {**BOOK, **by, **case.section("configuration")})
    # Without push it takes a poll_interval until the poll.
    Trial(case, world, 30.0 if profile.push == "available" else 65.0).run()
