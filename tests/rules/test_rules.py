"""Every rule of the tables on every kind of server, and both ways of contacts where it has both; on
Cyrus 3.10 alone where it is to be quick."""

import pytest

from tests.rules.servers import on_servers, try_on
from tests.rules.table import Case, cases
from tests.sandbox import Profile


@pytest.mark.parametrize(("case", "profile", "way"), list(on_servers(cases())))
def test_rule(case: Case, profile: Profile, way: str) -> None:
    try_on(case, profile, way)
