"""``kill -9`` of the unit under systemd, at work on real Cyrus."""

from collections.abc import Iterator, Mapping

from tests.chaos import unit
from tests.chaos.relay import staged
from tests.chaos.table import Case
from tests.system.cyrus import Cyrus, User

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


def cases() -> Iterator[Case]:
    with staged(unit.POLL_SECONDS, unit.CONFIGURATION) as (scene, relay):
        cyrus = Cyrus(scene.unit.host)

        def renew(user: User) -> User:
            cyrus.remove(user)
            return cyrus.user(user.name)

        yield from unit.cases(scene, relay, renew, _KILLS)
