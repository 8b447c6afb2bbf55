"""A few of the lives that ``make chaos`` tries by the hundred (tests/chaos/lives.py)."""

import pytest

from tests.chaos.lives import live


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_done_nothing_is_lost_and_the_last_label_counts(seed: int) -> None:
    live(seed)
