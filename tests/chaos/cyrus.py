"""``kill -9`` of the unit under systemd, at work on real Cyrus."""

from collections.abc import Iterator, Mapping
from functools import partial

from tests.chaos import unit
from tests.chaos.relay import staged
from tests.chaos.table import Case
from tests.system.cyrus import Cyrus, User
from tests.system.root import FORKY, TRIXIE, Recipe

# How often each is killed.
_KILLS: Mapping[str, int] = {
    "a new sender": 5,
    "an adopted contact": 5,
    "a change of mind": 5,
    "a conflict resolved": 5,
    "taken back": 5,
    "six senders": 5,
    "2,500 mails, low limits": 2,
}
_AT_DOOR: Mapping[str, int] = {
    "a friend and strangers": 5,
    "a mail moved while another comes": 5,
    "a whole domain": 5,
}


def cases(recipe: Recipe = TRIXIE) -> Iterator[Case]:
    for configuration, kills in ((unit.CONFIGURATION, _KILLS), (unit.AT_DOOR, _AT_DOOR)):
        with staged(unit.POLL_SECONDS, configuration, recipe) as (scene, relay):
            yield from unit.cases(scene, relay, partial(_renew, Cyrus(scene.unit.host)), kills)


def forky_cases() -> Iterator[Case]:
    """On the Cyrus of the Debian to come."""
    return cases(FORKY)


def _renew(cyrus: Cyrus, user: User) -> User:
    cyrus.remove(user)
    return cyrus.user(user.name)
