"""Fifty accounts of one process on one server: those without trouble are served as if alone.

Each account has a day of its own; what comes of it when nobody else is there is what has to come of
it among others: the same requests, none of them later, and the same end.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from random import Random
from typing import Any

from tests.chaos.crash import BOBS_CARD, Killed, Moment, differences, populate, state, watch
from tests.chaos.evening import Evening
from tests.chaos.faults import MINUTE_SECONDS, most_in_a_minute
from tests.chaos.table import Case
from tests.chaos.troubles import EVERYTHING, SECONDS, SWEEP, TROUBLES, Trouble
from tests.chaos.wire import Meeting
from tests.fleetworld import ANSWER_SECONDS, FleetWorld, Request, Resident
from tests.peer import Step

COUNT = 50
#: How long a day takes where nothing fails, and somewhat more.
DAY_SECONDS = 400.0
_SENDERS = ("Bob <bob@example.org>", 3), ("Ann Ark <ann@example.org>", 2)
_PREPARED_SECONDS, _BEGUN_SECONDS, _LATER_SECONDS = 15.0, 70.0, 70.0
_APART_SECONDS = 0.7
# From when on some are in trouble; and how long after it until they are not any more: the longest
# wait is twenty minutes' (a stream that seemed to hold up all else).
_CALM_SECONDS, _RECOVERY_SECONDS = 62.0, 1200.0
# Fewer than there are places at a server: where more are left waiting, it is down.
_OF_A_KIND = 15
_MOST_IN_A_MINUTE = 60
_STEP_SECONDS = 5.0

_KINDS = ("stalls", "drips", "hangs up", "401", "503", "is no JSON", "bugs", "a bad file")
_OUTAGES = ("stalls", "hangs up", "drips", "429 with seconds", "502 in HTML", "503")


class Day:
    """What the user of an account does: two taps and an evening at the door, each account a little
    later than the one before."""

    def __init__(self, world: FleetWorld, resident: Resident, number: int) -> None:
        self._resident = resident
        populate(resident)
        resident.sandbox.put_card(BOBS_CARD, "bob.vcf")
        (_, self._bob, _), (self._ann, _) = (
            resident.deliver(sender, count=count) for sender, count in _SENDERS
        )
        self._evening = Evening(resident)
        began = world.began + number * _APART_SECONDS
        world.at(began + _PREPARED_SECONDS, self._evening.prepare)
        world.at(began + _BEGUN_SECONDS, self._begin)
        world.at(began + _BEGUN_SECONDS + _LATER_SECONDS, self._evening.go_on)

    def _begin(self) -> None:
        self._resident.tap(self._bob, "@ToImbox")
        self._resident.tap(self._ann, "@ToTruck")
        self._evening.begin()


def furnish(world: FleetWorld, numbers: Iterable[int]) -> list[Resident]:
    """These accounts, with a day before them; no two neighbours are alike."""
    found = []
    for number in numbers:
        by, screening = ("jmap", "carddav")[number % 2], ("server", "mailroom")[number // 2 % 2]
        resident = world.add(f"u{number}", contacts={"by": by}, screening={"by": screening})
        Day(world, resident, number)
        found.append(resident)
    return found


@cache
def alone(number: int) -> tuple[Sequence[Request], Any]:
    """The requests of that account and its end, where it is the only one of its process, and
    starts when it would have its turn among all."""
    with FleetWorld() as world:
        [resident] = furnish(world, [number])
        for _ in range(number):
            world.servers.pace(world.peer.url).turn(world.clock.now())
        world.hup()
        world.run_for(DAY_SECONDS)
        assert world.healthy() == {resident.name}
        return resident.asked, end(resident)


def end(resident: Resident) -> tuple[Mapping[Any, Any], ...]:
    """What its day leads to; mails are named by when they came, for an id says how many there
    are."""
    mails, keywords, *others = state(resident)
    numbers = {mail: number for number, mail in enumerate(resident.mails)}
    return (
        {numbers[mail]: places for mail, places in mails.items()},
        {numbers[mail]: words for mail, words in keywords.items()},
        *others,
    )


def lateness(found: Sequence[Request], expected: Sequence[Request]) -> float:
    """How much later than alone a request came, at most, in milliseconds. They have to be the same
    ones; which of several at the same instant is first, is chance."""
    ours, others = _instants(found), _instants(expected)
    other = [said for said in {**ours, **others} if len(ours[said]) != len(others[said])]
    assert not other, f"not as often as alone: {other}"
    pairs = (zip(ours[said], others[said], strict=True) for said in ours)
    return max(at - alone for pair in pairs for at, alone in pair) * 1000


def _instants(requests: Iterable[Request]) -> defaultdict[tuple[str, str, bytes], list[float]]:
    found: defaultdict[tuple[str, str, bytes], list[float]] = defaultdict(list)
    for each in requests:
        found[each.said].append(each.at)
    return found


def _check_ends(residents: Sequence[Resident]) -> None:
    for number, each in enumerate(residents):
        found, expected = end(each), alone(number)[1]
        assert found == expected, f"{each.name}\n{differences(found, expected)}"


# Some are in trouble


def in_trouble(ways: Mapping[int, Trouble], seed: int, count: int = COUNT) -> float:
    """Of so many accounts these are in trouble, for five minutes. How much later than alone a
    request of the others came, in milliseconds; whatever else is not as alone raises."""
    chance = Random(seed)
    with FleetWorld() as world:
        residents = furnish(world, range(count))
        world.hup()
        world.run_for(_CALM_SECONDS)
        done = {number: way(world, residents[number], chance) for number, way in ways.items()}
        world.run_for(SECONDS)
        for number in ways:
            residents[number].recover()
        world.hup()
        world.run_until(world.began + DAY_SECONDS)
        others = [number for number in range(count) if number not in ways]
        late = max(lateness(residents[each].asked, alone(each)[0]) for each in others)
        world.run_for(_RECOVERY_SECONDS)
        undone = [residents[number].name for number, is_done in done.items() if not is_done()]
        assert not undone, f"not done: {undone}"
        _check_ends(residents)
        _check_well(world)
        return late


def _check_well(world: FleetWorld) -> None:
    ill = set(world.residents) - world.healthy()
    assert not ill, f"not well: {ill}"


def fault_cases() -> Iterator[Case]:
    """Half of the accounts in trouble, each in a way of its own; and fifteen in the same way."""
    for seed in range(20):
        yield Case(f"25 accounts in all ways, seed {seed}", partial(in_all_ways, seed))
    for kind in _KINDS:
        ways = {3 * number + 1: TROUBLES[kind] for number in range(_OF_A_KIND)}
        yield Case(f"{_OF_A_KIND} accounts: {kind}", partial(in_trouble, ways, 0))
    yield Case("a sweep", partial(in_trouble, {7: SWEEP}, 0))


def in_all_ways(seed: int, count: int = COUNT) -> float:
    """Half of the accounts, each in a way of its own."""
    chance = Random(seed)
    struck = chance.sample(range(count), count // 2)
    return in_trouble(dict(zip(struck, _different(chance, len(struck)), strict=True)), seed, count)


def _different(chance: Random, count: int) -> list[Trouble]:
    ways = list(TROUBLES.values())
    return chance.sample(ways, min(count, len(ways)))


# The process is killed


def kill_cases(count: int = 60) -> Iterator[Case]:
    """At requests that chance chooses, of whichever account."""
    for seed in range(count):
        yield Case(f"kill {seed}", partial(killed, seed))


def killed(seed: int, count: int = COUNT) -> float:
    """The process dies at some request of some account; then one that knows nothing starts. Every
    day ends as alone, or it raises."""
    chance = Random(seed)
    number, moment = chance.randrange(count * _WORK_REQUESTS), chance.choice(list(Moment))
    with FleetWorld() as world:
        residents = furnish(world, range(count))
        world.hup()
        world.run_for(_CALM_SECONDS)
        for each in residents:
            watch(each)
        _strike(world, number, moment)
        try:
            world.run_until(world.began + DAY_SECONDS)
            raise AssertionError("it was not killed")
        except Killed:
            for each in residents:
                each.recover()
            world.boot()
        world.hup()
        world.run_until(world.began + DAY_SECONDS + MINUTE_SECONDS)
        _check_ends(residents)
        _check_well(world)
        return 0.0


# What the work of a day takes, at least; most of it is within the same minute.
_WORK_REQUESTS = 12


def _strike(world: FleetWorld, number: int, moment: Moment) -> None:
    """Die at the request with this number from now on, of all accounts."""
    left = iter(range(number, -1, -1))

    def die() -> None:
        raise Killed

    def spoil(meeting: Meeting) -> Iterable[Step] | None:
        if next(left, None) != 0:
            return None
        if moment is Moment.ANSWERED:
            world.loop.call_at(world.clock.now() + 2 * ANSWER_SECONDS, die)
            return None
        if moment is Moment.HANDLED:
            meeting.handled()
        raise Killed

    for each in world.residents.values():
        each.spoil = spoil


# The server is down


def outage_cases() -> Iterator[Case]:
    """For all accounts at once, and for some of them longer."""
    for kind in _OUTAGES:
        yield Case(f"the server: {kind}", partial(outage, TROUBLES[kind], 0))
    for seed in range(5):
        yield Case(f"the server fails in all ways, seed {seed}", partial(outage, EVERYTHING, seed))


def outage(way: Trouble, seed: int, count: int = COUNT) -> float:
    """The server fails for all, for five minutes, and then for a fifth of the accounts for as long
    again. Seconds from its return until the day of each of the others has come to its end."""
    chance = Random(seed)
    with FleetWorld() as world:
        residents = furnish(world, range(count))
        world.hup()
        world.run_for(_CALM_SECONDS)
        for each in residents:
            way(world, each, chance)
        world.run_for(SECONDS)
        for each in residents[: count - count // 5]:
            each.recover()
        seconds = _until_done(world, residents[: count - count // 5])
        world.run_for(SECONDS)
        for each in residents:
            assert most_in_a_minute([request.at for request in each.asked]) <= _MOST_IN_A_MINUTE
            each.recover()
        world.run_for(_RECOVERY_SECONDS)
        _check_ends(residents)
        _check_well(world)
        return seconds


def _until_done(world: FleetWorld, residents: Sequence[Resident]) -> float:
    back = world.clock.now()

    def is_done(number: int, resident: Resident) -> bool:
        return bool(end(resident) == alone(number)[1])

    left = dict(enumerate(residents))
    while left:
        world.run_for(_STEP_SECONDS)
        left = {number: each for number, each in left.items() if not is_done(number, each)}
        if world.clock.now() > back + _RECOVERY_SECONDS:
            _check_ends(residents)
    return world.clock.now() - back
