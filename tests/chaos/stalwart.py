"""``kill -9`` of the unit under systemd, at work on a real Stalwart, both ways of contacts.

Run on 0.15.5; ``STALWART=PROGRAM`` names it.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping

from tests.chaos import unit
from tests.chaos.relay import Relay
from tests.chaos.table import Case
from tests.system import prepare, root
from tests.system.cyrus import LOOPBACK, User
from tests.system.host import Host
from tests.system.scene import Scene, at_work
from tests.system.stalwart import Stalwart, StalwartUser
from tests.system.unit import Unit

# How often each is killed, by either way.
_KILLS: Mapping[str, int] = {
    "a new sender": 4,
    "an adopted contact": 4,
    "a change of mind": 4,
    "taken back": 4,
    "six senders": 4,
    "fifty senders": 2,
}
_AT_DOOR: Mapping[str, int] = {
    "a friend and strangers": 4,
    "a mail moved while another comes": 4,
    "a whole domain": 4,
}


def obstacle() -> str | None:
    """Why it cannot be tried here."""
    return prepare.obstacle() if "STALWART" in os.environ else "STALWART names no server"


def cases() -> Iterator[Case]:
    for way in ("carddav", "jmap"):
        yield from cases_by(way, _KILLS)
        yield from cases_by(way, _AT_DOOR, unit.AT_DOOR)


def cases_by(
    way: str, kills: Mapping[str, int], configuration: str = unit.CONFIGURATION
) -> Iterator[Case]:
    """As many kills of each scenario, contacts by one way."""
    with staged(way, configuration) as (scene, relay):
        yield from unit.cases(scene, relay, renew, kills, f" by {way}")


@contextlib.contextmanager
def staged(way: str, configuration: str) -> Iterator[tuple[Scene, Relay]]:
    """A booted host with Stalwart in its network, which Mailroom knows by the relay alone."""
    with Host.boot(root.ensure()) as host, Relay(host) as relay:
        url = f"http://{LOOPBACK}:{relay.port}"
        with Stalwart.run(host, known_as=url) as stalwart:
            relay.target = stalwart.program.port
            more = f"contacts:\n  by: {way}\n{configuration}"
            user = stalwart.user("anna")
            scene = at_work(Unit(host), user, url, unit.POLL_SECONDS, more)
            scene.unit.await_status(lambda status: status["eventsource"]["connected"])
            yield scene, relay


def renew(user: User) -> User:
    assert isinstance(user, StalwartUser)
    user.empty()
    return user
