"""Three of the lives that ``make chaos`` tries by the hundred (tests/chaos/lives.py)."""

import gc
from collections.abc import Iterator

import pytest

from tests.chaos.lives import PLACES, live

# A process that is killed tells nobody what it was about to do; a test's process lives on.
pytestmark = [
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def _bury() -> Iterator[None]:
    """Nothing of the killed is to be heard of in other tests."""
    yield
    gc.collect()


@pytest.mark.parametrize("seed", [0, 2, [by for _, by in PLACES].index("jmap")])
def test_whatever_is_done_nothing_is_lost_and_the_last_label_counts(seed: int) -> None:
    live(seed)
