"""Lives made up at random, on every kind of server and by either way of contacts in turn
(tests/rules/life.py); and others at the door (tests/doorlife.py)."""

import random
from collections.abc import Iterator
from functools import partial

from tests.chaos.table import Case
from tests.doorlife import DoorLife
from tests.rules.life import Life, at_random
from tests.sandbox import PROFILES

_LIVES = 600
_LIVES_AT_DOOR = 400
#: Servers, and the ways of contacts there.
PLACES = [
    *((profile, "carddav") for profile in PROFILES.values()),
    *((profile, "jmap") for profile in PROFILES.values() if profile.has_jmap_contacts),
]
_STEPS = 14


def cases() -> Iterator[Case]:
    for seed in range(_LIVES):
        yield Case(f"life {seed}", partial(live, seed))
    for seed in range(_LIVES_AT_DOOR):
        yield Case(f"life {seed} at the door", partial(live_at_door, seed))


def live(seed: int) -> float:
    """Live it; whatever is not as it has to be raises."""
    chance = random.Random(seed)
    profile, by = PLACES[seed % len(PLACES)]
    steps = list(at_random(chance.randint, _STEPS))
    Life(profile, by).live(steps, [chance.randint(0, 99) for _ in range(4)])
    return 0.0


def live_at_door(seed: int) -> float:
    """Likewise, with a door that is open."""
    DoorLife(seed).live(_STEPS)
    return 0.0
