"""What others do between two calls of a poll: it is seen at once, and then there is rest."""

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.sandbox import CYRUS_3_10, LATE_PUSH, Profile
from tests.test_door import ANNA, BOTH, EVE, PLACED, WAITING, at, comes, gate, house
from tests.world import World

# Of a poll that moves a mail at least: states, changes and a query, twice, and what it writes.
_FEWEST_CALLS = 13
_SOON_SECONDS = 7.0
# For the mail, and for what was done.
_MOST_POLLS = 2
# Who waits is counted some time after the polls.
_REST_SECONDS = 20.0

Place = tuple[set[str], set[str]]


class Between:
    """Does something before the call of that number, once."""

    def __init__(self, world: World) -> None:
        self._waiting: tuple[int, Callable[[], None]] | None = None
        self._calls = 0
        world.sandbox.before_call(self._note)

    def do(self, number: int, action: Callable[[], None]) -> None:
        self._calls, self._waiting = 0, (number, action)

    def _note(self, _name: str, _arguments: Mapping[str, Any]) -> None:
        if self._waiting and self._calls == self._waiting[0]:
            action, self._waiting = self._waiting[1], None
            action()
        self._calls += 1


def writes(sender: str) -> Callable[[World, str], str]:
    def act(world: World, _mail: str) -> str:
        return world.sandbox.deliver(sender, mailbox=gate(world))

    return act


def moves(place: str) -> Callable[[World, str], str]:
    def act(world: World, mail: str) -> str:
        world.sandbox.move(mail, place)
        return mail

    return act


def reads(world: World, mail: str) -> str:
    world.sandbox.set_keywords(mail, add=["$seen"])
    return mail


# Whose mail there was before; what is done with it, or besides; where the mail is then.
DEEDS: dict[str, tuple[str, Callable[[World, str], str], Place]] = {
    "a friend writes": (EVE, writes(ANNA), ({"Inbox"}, set())),
    "a stranger writes": (EVE, writes("mallory@strangers.example"), ({"Screener"}, {WAITING})),
    "a mail is dragged": ("n{}@strangers.example", moves("Feed"), ({"Feed"}, set())),
    "one is put into Screener": (ANNA, moves("Screener"), ({"Screener"}, {WAITING, PLACED})),
    "one is read": (EVE, reads, ({"Screener"}, {WAITING})),
}


@BOTH
@pytest.mark.parametrize("profile", [CYRUS_3_10, LATE_PUSH], ids=lambda each: each.name)
@pytest.mark.parametrize("deed", DEEDS)
def test_between_any_two_calls_it_is_seen_at_once_and_then_there_is_rest(
    by: str, profile: Profile, deed: str
) -> None:
    world = house(by, profile)
    between = Between(world)
    sender, act, place = DEEDS[deed]
    moved = ANNA if by == "server" else EVE
    for number in itertools.count():
        mail, done = comes(world, sender.format(number)), list[str]()
        world.run_for(_REST_SECONDS)
        between.do(number, lambda mail=mail, done=done: done.append(act(world, mail)))  # type: ignore[misc]
        polls = world.polls
        world.sandbox.deliver(moved, mailbox=gate(world))
        world.run_for(_SOON_SECONDS)
        if not done:
            break
        assert at(world, done[0]) == place, number
        assert world.polls <= polls + _MOST_POLLS, number
        polls = world.polls
        world.run_for(_REST_SECONDS)
        assert world.polls == polls, number
    assert number >= _FEWEST_CALLS
