"""Faults at every request: the documented outcome, no storm, and recovery by itself."""

import json
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache, partial
from typing import Any

from mailroom.engine.journal import Level
from mailroom.errors import CredentialsRefused
from mailroom.rules.polling.push import BLOCKING, UNAVAILABLE_SECONDS
from tests.chaos.crash import BOBS_CARD, differences, populate, state, watch
from tests.chaos.evening import EVENING_SECONDS, Evening
from tests.chaos.spoils import ALL, Fault, is_api
from tests.chaos.table import Case
from tests.chaos.wire import Meeting, WireWorld
from tests.peer import Asked, Step

OUTAGE_SECONDS = 300.0
# Senders and credentials are tried again after 1, 2, 4 minutes: the last of them comes after the
# outage; the stream's answer may take 45 s besides.
RECOVERY_SECONDS = 600.0
MINUTE_SECONDS = 60.0

# What may be told of a fault; anything else is undocumented.
_DOCUMENTED = {
    *("poll_failed", "credentials_refused", "mailboxes_missing", "sender_failed"),
    *("eventsource_disconnected", "eventsource_unavailable"),
    *("eventsource_deaf", "eventsource_blocking", "door_unrecorded", "sent_not_searched"),
    *("arrival_refused", "arrival_given_up"),
}
# Without a word: what is tried again at once, or is no fault but an odd way to say the truth;
# whose addresses are the user's own, which not every token may ask; a search that fails, for then
# every mail is looked at; and who waits, which is counted beside the polls.
_QUIET_FAULTS = {"drips", "is out of order", "has other prefixes", "announces more than comes"}
_QUIET_CALLS = {("Identity/get",), ("Email/query",)}
_COUNTING = ("Email/get",)

Key = tuple[str, str, tuple[str, ...]]


class When(Enum):
    """When the server begins to fail."""

    FIRST = "at the first start"
    RESTART = "at a start"
    RUNNING = "at work"


@dataclass(frozen=True, slots=True)
class Setting:
    """``by`` is the way of contacts, ``screening`` who screens new mail; at the first start none
    has come."""

    when: When
    by: str
    screening: str = "server"

    def __str__(self) -> str:
        way = "" if self.by == "carddav" else ", by JMAP"
        rules = "" if self.screening == "server" else ", without rules"
        return f"{self.when.value}{way}{rules}"

    @property
    def is_fresh(self) -> bool:
        """The service starts only now; else it has run, and hears of what happens."""
        return self.when is not When.RUNNING


SETTINGS = [
    *(Setting(When.FIRST, by) for by in ("carddav", "jmap")),
    Setting(When.RESTART, "carddav", "mailroom"),
    Setting(When.RESTART, "jmap", "server"),
    *(
        Setting(When.RUNNING, by, screening)
        for by in ("carddav", "jmap")
        for screening in ("server", "mailroom")
    ),
]


class Trial:
    """Two taps, of a sender whom the user knows and of a new one, an evening at the door, and a
    server that fails."""

    def __init__(self, setting: Setting) -> None:
        self.world = world = WireWorld(setting.by, setting.screening)
        self.setting = setting
        self.keys: list[Key] = []
        self.has_ended = False
        populate(world)
        world.sandbox.put_card(BOBS_CARD, "bob.vcf")
        bob = world.deliver("Bob <bob@example.org>", count=3)
        ann = world.deliver("Ann Ark <ann@example.org>", count=2)
        self._evening = None if setting.when is When.FIRST else Evening(world)
        if self._evening:
            world.start().settle()
            self._evening.prepare()
            world.settle()
        if setting.when is When.RESTART:
            world.boot()
        watch(world)
        world.tap(bob[1], "@ToImbox")
        world.tap(ann[0], "@ToTruck")
        if self._evening:
            self._evening.begin()

    def endure(self, choose: Callable[[int, Meeting], Fault | None], seconds: float) -> float:
        """The outage; the most requests that came within a minute of it."""

        def spoil(meeting: Meeting) -> Iterable[Step] | None:
            self.keys.append(key_of(meeting.asked))
            fault = choose(len(self.keys) - 1, meeting)
            return None if fault is None else fault.steps(meeting)

        world = self.world
        since = len(world.asked_at)
        world.spoil = spoil
        try:
            if self.setting.is_fresh:
                world.account.start()
            world.run_for(seconds)
        except CredentialsRefused:
            assert self.setting.is_fresh, "the service must not end once it has worked"
            self.has_ended = True
            world.boot()  # the user has mended it, and starts it again
            world.account.start()
        finally:
            world.spoil = lambda _: None
        return most_in_a_minute(world.asked_at[since:])

    def recover(self, seconds: float = RECOVERY_SECONDS) -> None:
        """The fault is gone: everything is done, and all is well."""
        world = self.world
        if self._evening:
            self._evening.go_on()
        world.run_for(seconds)
        found, expected = state(world), undisturbed(self.setting)
        assert found == expected, f"\n{differences(found, expected)}\n{world.events[-5:]}"
        code, health = world.healthz
        assert (code, health["eventsource"]["status"]) == (200, "connected"), health
        assert not world.status["failing_senders"]

    def told(self) -> set[str]:
        """The names of the log lines that tell of trouble; each line is one that can be read."""
        for _, name, fields in self.world.events:
            assert all(str(value).isprintable() for value in fields.values()), (name, fields)
            assert "Traceback" not in str(fields)
        trouble = {name for level, name, _ in self.world.events if level <= Level.WARNING}
        assert trouble <= _DOCUMENTED, trouble
        return trouble


def key_of(asked: Asked) -> Key:
    """What makes two requests the same one, tried again."""
    calls = json.loads(asked.body)["methodCalls"] if is_api(asked) else []
    return asked.method, asked.target.partition("?")[0], tuple(call[0] for call in calls)


def most_in_a_minute(instants: Sequence[float]) -> float:
    """Of all minutes the one with the most requests."""
    start = most = 0
    for end, instant in enumerate(instants):
        while instants[start] < instant - MINUTE_SECONDS:
            start += 1
        most = max(most, end - start + 1)
    return most


@cache
def undisturbed(setting: Setting) -> Any:
    """What it leads to when nothing fails."""
    trial = Trial(setting)
    with trial.world:
        trial.endure(lambda *_: None, EVENING_SECONDS)
        assert trial.told() == set()
        return state(trial.world)


def cases() -> Iterator[Case]:
    """Every fault at every request that it can strike: once, and for five minutes."""
    for fault in ALL:
        for setting in SETTINGS:
            keys = _strikable(fault, setting)
            for number, key in keys:
                name = f"{fault.name}, {setting}, {_shown(key)}"
                yield Case(f"{name}, once", partial(_once, fault, number, setting))
            for key in dict.fromkeys(key for _, key in keys):
                name = f"{fault.name}, {setting}, {_shown(key)}"
                yield Case(f"{name}, 5 min", partial(_outage, fault, key, setting))


def random_cases(count: int = 60) -> Iterator[Case]:
    """One request in three fails, each in a way of its own, for five minutes."""
    for setting in SETTINGS:
        if setting.when is When.RUNNING:
            for seed in range(count):
                yield Case(f"seed {seed}, {setting}", partial(_randomly, seed, setting))


def _strikable(fault: Fault, setting: Setting) -> list[tuple[int, Key]]:
    asked = enumerate(_requests(setting))
    return [(number, key_of(each)) for number, each in asked if fault.strikes(each)]


@cache
def _requests(setting: Setting) -> tuple[Asked, ...]:
    """All that are made when nothing fails."""
    found: list[Asked] = []
    trial = Trial(setting)
    with trial.world:
        trial.endure(lambda _, meeting: found.append(meeting.asked), EVENING_SECONDS)
    return tuple(found)


def _once(fault: Fault, number: int, setting: Setting) -> float:
    trial = Trial(setting)
    with trial.world:
        most = trial.endure(lambda at, _: fault if at == number else None, EVENING_SECONDS)
        # At the start a server may think for five minutes about the first sync.
        trial.recover(RECOVERY_SECONDS if setting.is_fresh else 2 * MINUTE_SECONDS)
        trial.told()
        return most


def _outage(fault: Fault, key: Key, setting: Setting) -> float:
    def choose(_: int, meeting: Meeting) -> Fault | None:
        return fault if key_of(meeting.asked) == key else None

    trial = Trial(setting)
    with trial.world:
        most = trial.endure(choose, OUTAGE_SECONDS)
        is_quiet = fault.name in _QUIET_FAULTS or key[2][:1] in _QUIET_CALLS or key[2] == _COUNTING
        trial.recover()
        assert trial.told() or trial.has_ended or is_quiet, "nobody is told"
        return most


def _randomly(seed: int, setting: Setting) -> float:
    chance = random.Random(seed)

    def choose(_: int, meeting: Meeting) -> Fault | None:
        possible = [fault for fault in ALL if fault.strikes(meeting.asked)]
        return chance.choice(possible) if chance.random() < 1 / 3 else None

    trial = Trial(setting)
    with trial.world:
        most = trial.endure(choose, OUTAGE_SECONDS)
        trial.told()
        if trial.world.healthz[1]["eventsource"]["error"] == BLOCKING:
            # Answers that failed to come by chance are what such a server's look like.
            trial.world.run_for(UNAVAILABLE_SECONDS)
        trial.recover(2 * RECOVERY_SECONDS)
        return most


def _shown(key: Key) -> str:
    method, path, calls = key
    return f"{method} {path} {' '.join(calls)}".strip()
