"""Some of the lives at the door that ``make chaos`` tries by the hundred (tests/doorlife.py)."""

import gc
from collections.abc import Iterator

import pytest

from tests.doorlife import WAYS, DoorLife

# A process that is killed tells nobody what it was about to do; a test's process lives on.
pytestmark = [
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
_LIVES = 6
_STEPS = 14


@pytest.fixture(autouse=True)
def _bury() -> Iterator[None]:
    """Nothing of the killed is to be heard of in other tests."""
    yield
    gc.collect()


@pytest.mark.parametrize("way", range(len(WAYS)), ids=[f"{by}-{how}" for by, _, how in WAYS])
def test_whatever_is_done_the_door_moves_a_mail_once_and_what_the_user_placed_never(
    way: int,
) -> None:
    for number in range(_LIVES):
        DoorLife(way + number * len(WAYS)).live(_STEPS)
