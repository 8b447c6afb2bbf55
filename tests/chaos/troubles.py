"""What can go wrong with one account of many: at its server, with its file, in its coroutines."""

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from tests.chaos.spoils import ALL, Fault
from tests.chaos.wire import Meeting
from tests.fleetworld import FleetWorld, Resident

#: How long it lasts, from when it begins.
SECONDS = 300.0
_BUGS, _BOB, _SWEPT = 12, "Bob <bob@example.org>", 10_000
_EVERY_SECONDS = 45.0

#: Begins it. What it gives back is asked in the end whether all is done that was to do.
Trouble = Callable[[FleetWorld, Resident, Random], Callable[[], bool]]


class Bug(Exception):
    """One of ours."""


def failing(*faults: Fault, part: float = 1.0) -> Trouble:
    """So many of its requests fail, each in one of these ways."""

    def begin(_: FleetWorld, resident: Resident, chance: Random) -> Callable[[], bool]:
        def spoil(meeting: Meeting) -> Any:
            possible = [fault for fault in faults if fault.strikes(meeting.asked)]
            is_struck = bool(possible) and chance.random() < part
            return chance.choice(possible).steps(meeting) if is_struck else None

        resident.spoil = spoil
        return _nothing_more

    return begin


def _bugs(world: FleetWorld, resident: Resident, chance: Random) -> Callable[[], bool]:
    """Coroutines of its own raise what nobody awaits."""

    async def broken() -> None:
        raise Bug

    def bite() -> None:
        tenant = world.tenants.get(resident.name)
        if tenant and tenant.account:
            tenant.account._owner.spawn(broken(), "poll")

    for _ in range(_BUGS):
        world.at(world.clock.now() + chance.uniform(0.0, SECONDS), bite)
    return _nothing_more


def _bad_file(world: FleetWorld, resident: Resident, chance: Random) -> Callable[[], bool]:
    """A mistake is made in its file, and mended, again and again."""

    def write() -> None:
        if resident.problem:
            resident.problem = None
        else:
            resident.problem = f"{resident.name}.yaml:1: nonsense: is no key"

    _again(world, chance, write)
    return _nothing_more


def _gone(world: FleetWorld, resident: Resident, chance: Random) -> Callable[[], bool]:
    """Its file goes, and comes back."""

    def move() -> None:
        resident.is_there = not resident.is_there

    _again(world, chance, move)
    return _nothing_more


def _sweep(world: FleetWorld, resident: Resident, _: Random) -> Callable[[], bool]:
    """There is very much to do when its user decides about somebody."""
    sandbox, yesterday = resident.sandbox, resident.clock.wall() - 86_400.0
    with sandbox.lock:
        mails = {
            sandbox.deliver(_BOB, mailbox="Screener", received_at=yesterday) for _ in range(_SWEPT)
        }
    return lambda: mails <= sandbox.mails_in("Imbox")


def _again(world: FleetWorld, chance: Random, act: Callable[[], None]) -> None:
    """Now and then until it is over, each time with a HUP."""
    began = world.clock.now()
    for number in range(int(SECONDS / _EVERY_SECONDS)):
        at = began + (number + chance.random()) * _EVERY_SECONDS
        world.at(at, act)
        world.at(at, world.hup)


def _nothing_more() -> bool:
    return True


EVERYTHING = failing(*ALL, part=1 / 3)
TROUBLES: Mapping[str, Trouble] = {
    **{fault.name: failing(fault) for fault in ALL},
    "everything": EVERYTHING,
    "bugs": _bugs,
    "a bad file": _bad_file,
    "its file goes and comes": _gone,
}
#: Takes long to try.
SWEEP: Trouble = _sweep
