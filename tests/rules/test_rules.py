"""Every rule of the tables, on every kind of server."""

import pytest
from _pytest.mark import ParameterSet

from mailroom.sandbox import CYRUS_3_6, CYRUS_3_10, SMALL_LIMITS, Profile
from tests.rules.table import Case, Trial, cases

_PROFILES = {profile.name: profile for profile in (CYRUS_3_10, CYRUS_3_6, SMALL_LIMITS)}


@pytest.fixture(params=list(_PROFILES))
def profile(request: pytest.FixtureRequest) -> Profile:
    return _PROFILES[request.param]


def _parameter(case: Case) -> ParameterSet:
    """A rule that is not kept yet is told as such, and noticed as soon as it is kept."""
    gap = case.gap
    marks = [pytest.mark.xfail(reason=gap, strict=True)] if gap else []
    return pytest.param(case, id=case.name, marks=marks)


@pytest.mark.parametrize("case", [_parameter(case) for case in cases()])
def test_rule(case: Case, profile: Profile) -> None:
    Trial(case, profile).run()
