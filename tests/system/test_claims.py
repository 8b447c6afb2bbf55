"""The table of what was measured: no host is needed for these."""

import pytest

from tests.system.claims import Claims


def test_the_table_has_a_line_per_claim_and_a_column_per_host() -> None:
    claims = Claims()
    claims.at_most(1, 0.25, "bookworm", "back again", "s")
    claims.at_most(1, 1, "trixie", "back again", "s")
    claims.at_most(0, 0, "trixie", "lost", "mails")
    assert [line.split() for line in claims.table()] == [
        ["claim", "at", "most", "trixie", "bookworm"],
        ["back", "again", "1.00", "s", "1.00", "s", "250", "ms"],
        ["lost", "0", "mails", "0", "mails", "-"],
    ]
    assert len({len(line) for line in claims.table()}) == 1


def test_what_exceeds_its_limit_fails_and_is_shown() -> None:
    claims = Claims()
    with pytest.raises(AssertionError, match=r"back again: 1.50 s on trixie"):
        claims.at_most(1, 1.5, "trixie", "back again", "s")
    assert "1.50 s" in claims.table()[-1]


def test_where_nothing_was_measured_there_is_no_table() -> None:
    assert Claims().table() == []
