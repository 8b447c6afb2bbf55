"""A month in seconds: taps, dropped streams, nights asleep, wrong clocks, forgotten tokens.

Between the first week and the last nothing may have grown, and no label is missed.
"""

import gc
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from tests.chaos.clients import open_files
from tests.chaos.table import Case
from tests.chaos.wire import WireWorld
from tests.sandbox.jscontact import forget_cards

MIB = 1 << 20
_HOUR_SECONDS = 3600.0
_DAY_HOURS, _NIGHT_HOURS = 24, 6
_LABELS = ("@ToFeed", "@ToJail", "@ToTruck", "@ToScreener")
_WARM_UP_HOURS = 7 * _DAY_HOURS
# A poll a minute, one more per drop of the stream, per tap, and per hour for what else there is.
_POLLS_PER_HOUR = 60 + 4
# The poll's own; a tap takes ten or so, a new stream one, a new session two.
_REQUESTS_PER_HOUR = 60 + 40


class Month:
    """One service that is never restarted. The autumn's change of clocks lies within."""

    def __init__(self, world: WireWorld) -> None:
        self.world = world
        self.hours = self.taps = 0
        self.mail = world.deliver("Bob <bob@example.org>", count=3)
        world.start().settle()
        self._mishaps: tuple[Callable[[], None], ...] = (
            lambda: None,
            self._drop_stream,
            world.sandbox.forget_sync_tokens,
            world.sandbox.renew_session,
            self._cut_stream,
            lambda: world.clock.set_wall(world.clock.wall() + _HOUR_SECONDS),
            lambda: world.clock.set_wall(world.clock.wall() - _HOUR_SECONDS),
        )

    def live(self, hours: int) -> None:
        for _ in range(hours):
            self._hour(asleep=self.hours % _DAY_HOURS < _NIGHT_HOURS)
            self._forget()

    def _hour(self, *, asleep: bool) -> None:
        """An hour awake with a mishap and a tap in it; or one asleep, and a tap meanwhile."""
        world = self.world
        self.hours += 1
        self._mishaps[self.hours % len(self._mishaps)]()
        world.run_for(60.0)
        polls, requests = world.polls, len(world.asked_at)
        label = _LABELS[self.taps % len(_LABELS)]
        self.taps += 1
        world.tap(self.mail[self.taps % len(self.mail)], label)
        if asleep:
            world.clock.advance(_HOUR_SECONDS)  # CLOCK_BOOTTIME goes on, nothing runs
        world.run_for(65.0)
        assert not world.sandbox.mails_in(label), f"{label} was missed in hour {self.hours}"
        if not asleep:
            world.run_for(_HOUR_SECONDS - 125.0)
            assert world.polls - polls <= _POLLS_PER_HOUR
            assert len(world.asked_at) - requests <= _REQUESTS_PER_HOUR
        assert world.healthz[0] == 200

    def _drop_stream(self) -> None:
        self.world.sandbox.close_feeds()

    def _cut_stream(self) -> None:
        """The path dies; the pings that do not come tell of it."""
        self.world.sandbox.cut_off_feeds()
        self.world.run_for(80.0)

    def _forget(self) -> None:
        """What only the tests keep."""
        world = self.world
        assert not world.named("poll_failed")
        for grown in (world.events, world.asked_at, world.sandbox.log.entries):
            grown.clear()
        world.peer.forget()
        forget_cards()


def cases() -> Iterator[Case]:
    month = partial(live, 30 * _DAY_HOURS, "Europe/Oslo")
    yield Case("30 days in Oslo", month)
    yield Case("30 days in Oslo, by JMAP", partial(month, "jmap"))


def live(hours: int, zone: str, by: str = "carddav") -> float:
    """MiB by which the process has grown since it was warm."""
    with _in_zone(zone), WireWorld(by) as world:
        world.clock.set_wall(1_792_000_000.0)  # 14 October 2026; the clocks change on the 25th
        month = Month(world)
        warm = min(_WARM_UP_HOURS, hours // 2)
        month.live(warm)
        size, files = _resident_bytes(), open_files()
        month.live(hours - warm)
        assert open_files() <= files, "files are left open"
        return max(0.0, (_resident_bytes() - size) / MIB)


def _resident_bytes() -> int:
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")


@contextmanager
def _in_zone(name: str) -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = name
    time.tzset()
    try:
        yield
    finally:
        if before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = before
        time.tzset()
