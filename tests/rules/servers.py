"""Each rule with the servers that it speaks of, and both ways of contacts where they have both."""

from collections.abc import Iterable, Iterator

import pytest
from _pytest.mark import ParameterSet

from tests.rules.table import Case, Trial
from tests.rules.user import User
from tests.sandbox import CYRUS_3_10, PROFILES, Profile
from tests.world import BOOK, World


def on_servers(cases: Iterable[Case]) -> Iterator[ParameterSet]:
    """Case, profile and way. What takes half a minute, all beside Cyrus 3.10, is marked `every`. A
    rule that is not kept yet is told as such, and noticed as soon as it is kept."""
    for case in cases:
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


def try_on(case: Case, profile: Profile, way: str, hand: type[User] = User) -> None:
    """Without push it takes a poll_interval until the poll."""
    by = {"contacts": {"by": way}}
    world = World(profile, {**BOOK, **by, **case.section("configuration")})
    Trial(case, world, 30.0 if profile.push == "available" else 65.0, hand).run()
