"""A month of two hundred accounts that come and go by HUP: their files are written, removed, spoilt
and mended, while the service runs on a virtual clock.

It is the whole service, signals and the child that reads included. Nothing may have grown when the
same accounts are there again, and in the end nothing is left open.
"""

import gc
import os
import selectors
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Final

from mailroom.engine.clock import Ready
from mailroom.engine.loop import Loop
from mailroom.rules.configuration.config import Config
from mailroom.service import Options, Service
from tests.chaos.clients import open_files
from tests.chaos.crash import BOBS_CARD
from tests.chaos.table import Case
from tests.fleetworld import PASSWORD, FleetWorld
from tests.virtual import VirtualClock

COUNT: Final = 200
#: Of some hundred objects for each account; who is in the middle of what differs a little.
MOST_MORE: Final = 50
_DAYS, _WARM_UP_DAYS = 30, 6
_DAY_SECONDS, _AWAKE_SECONDS = 86_400.0, 600.0
# So that all of them have polled, and nobody is in the middle of anything.
_SETTLING_SECONDS = 30.0
_TAPS = 5
# Connections that are kept for the next request: as many as may be under way, and those of requests
# that the server has left waiting; each has two ends here.
_KEPT = 2 * 2 * 16
# What is remembered so far as there is room: events for those who come late, decisions for /status;
# secrets, which are read once for every name; and the cards of groups, from when they are needed.
_BOUNDED = {
    "mailroom.rules.status.ring._Entry",
    "mailroom.rules.status.health.TriageView",
    "mailroom.engine.credentials.Credentials",
    "mailroom.work.contacts.cards.StoredCard",
    "mailroom.wire.vcard.Card",
    "mailroom.wire.vcard.Line",
}
_BOB = "Bob <bob@example.org>"
_LABELS = ("@ToFeed", "@ToJail", "@ToTruck", "@ToScreener")
# A fifth of the files are touched a day.
_TOUCHED = 5
_SPOILT = ("nonsense: 1\n", "jmap: {url: 7}\n", "{", "\0", "jmap: {username: 'a:b'}\n", "tls: {}\n")


class PatientClock(VirtualClock):
    """One for which no time passes while ``is_patient``: a process of another clock is at work."""

    is_patient = False

    def wait(self, selector: selectors.BaseSelector, until: float | None) -> Ready:
        if not self.is_patient:
            return super().wait(selector, until)
        is_due = until is not None and until <= self.now()
        return selector.select(0 if is_due else None)


class Month:
    """The folder of a service and those who write there. ``error`` is what was not as it has to be,
    ``grown`` which of the service's objects there were more of in the end than when it was warm."""

    def __init__(self, world: FleetWorld, clock: PatientClock, folder: Path, count: int) -> None:
        self.error: Exception | None = None
        self.grown: dict[str, int] = {}
        self._world = world
        self._clock = clock
        self._folder = folder / "accounts.d"
        self._folder.mkdir()
        self._chance = Random(count)
        self._names = [f"u{number}" for number in range(count)]
        self._mails = {}
        for name in self._names:
            resident = world.add(name)
            resident.sandbox.put_card(BOBS_CARD, "bob.vcf")
            [self._mails[name]] = resident.deliver(_BOB)
        self._good: dict[str, bool] = {}
        self._ever_good: set[str] = set()
        self._first = self._names[: count // 2]
        for name in self._first:
            self._write(name)

    async def live(self, service: Service, days: int) -> None:
        """Until the service is told to stop."""
        try:
            await self._live(service, days)
        except Exception as error:  # noqa: BLE001 - raised again where nobody takes it for the service's
            self.error = error
        os.kill(os.getpid(), signal.SIGTERM)

    async def _live(self, service: Service, days: int) -> None:
        warm = min(_WARM_UP_DAYS, days // 2)
        await self._reloaded(service)
        found = {}
        for day in range(1, days + 1):
            is_looked_at = day in (warm, days)
            self._touch(as_at_first=is_looked_at)
            os.kill(os.getpid(), signal.SIGHUP)
            await self._reloaded(service)
            await self._awake(service)
            if is_looked_at:
                found[day] = self._census()
            self._forget()
            self._clock.advance(_DAY_SECONDS - _AWAKE_SECONDS)
        before, after = found[warm], found[days]
        assert after["tasks"] == before["tasks"], (before, after)
        assert after["owners"] == before["owners"], (before, after)
        assert after["deadlines"] <= before["deadlines"], (before, after)
        assert after["descriptors"] <= before["descriptors"] + _KEPT, (before, after)
        triages = {id(each.triage) for each in _configs(service)}
        assert len(triages) == 1, "accounts do not share what is the same with all"
        grown = {each for each in after - before if "." in each} - _BOUNDED
        self.grown = {each: after[each] - before[each] for each in grown}

    async def _reloaded(self, service: Service) -> None:
        """The files have been read; no time has passed."""
        self._clock.is_patient = True
        while not self._is_told(service):
            await self._world.loop.sleep_until(self._world.loop.now())
        self._clock.is_patient = False

    def _is_told(self, service: Service) -> bool:
        members = {each.name: bool(each.problems) for each in service.fleet().members}
        return members == {name: not is_good for name, is_good in self._good.items()}

    async def _awake(self, service: Service) -> None:
        """Some users decide about somebody, and all that is good is well."""
        loop = self._world.loop
        await loop.sleep_until(loop.now() + _SETTLING_SECONDS)
        there = sorted(self._good.keys() & self._ever_good)
        tapping = self._chance.sample(there, min(_TAPS, len(there)))
        label = self._chance.choice(_LABELS)
        for name in tapping:
            self._world.residents[name].tap(self._mails[name], label)
        await loop.sleep_until(loop.now() + _AWAKE_SECONDS - _SETTLING_SECONDS)
        left = [name for name in tapping if self._world.residents[name].sandbox.mails_in(label)]
        assert not left, f"{label} was missed: {left}"
        ill = [each for each in service.fleet().members if each.reason and self._good[each.name]]
        assert not ill, f"not well: {ill}"

    def _touch(self, *, as_at_first: bool) -> None:
        """Write, spoil, mend and remove files; or have those of the first day again."""
        if as_at_first:
            for name in self._good.keys() - self._first:
                self._remove(name)
            for name in self._first:
                self._write(name)
            return
        for name in self._chance.sample(self._names, len(self._names) // _TOUCHED):
            ways: tuple[Callable[[str], None], ...] = (self._write,)
            if name in self._good and len(self._good) > 1:
                ways = (self._write, self._change, self._spoil, self._remove)
            self._chance.choice(ways)(name)
        if not any(self._good.values()):
            self._write(self._names[0])

    def _write(self, name: str, text: str = "contacts: {by: auto}\n") -> None:
        (self._folder / f"{name}.yaml").write_text(text)
        self._good[name] = True
        self._ever_good.add(name)

    def _change(self, name: str) -> None:
        self._write(name, f"polling: {{poll_interval: {self._chance.randint(60, 300)}}}\n")

    def _spoil(self, name: str) -> None:
        (self._folder / f"{name}.yaml").write_text(self._chance.choice(_SPOILT))
        self._good[name] = False

    def _remove(self, name: str) -> None:
        (self._folder / f"{name}.yaml").unlink()
        del self._good[name]
        self._ever_good.discard(name)

    def _census(self) -> Counter[str]:
        """What the service has: objects of its own, tasks, deadlines, descriptors."""
        gc.unfreeze()
        gc.collect()
        gc.unfreeze()  # what the service leaves alone after a long collection is listed as well
        kinds = (type(each) for each in gc.get_objects())
        found = Counter(
            f"{kind.__module__}.{kind.__qualname__}"
            for kind in kinds
            if str(kind.__module__).startswith("mailroom.")
        )
        loop = self._world.loop
        assert found["mailroom.tenants.Tenant"] >= len(self._first)
        found["owners"] = len(loop.owners)
        found["tasks"] = sum(len(owner._tasks) for owner in loop.owners)
        found["deadlines"] = _deadlines(loop)
        found["descriptors"] = open_files()
        return found

    def _forget(self) -> None:
        """What only the tests keep."""
        world = self._world
        for resident in world.residents.values():
            resident.asked.clear()
            resident.sandbox.log.entries.clear()
        world.peer.forget()


def _configs(service: Service) -> Iterator[Config]:
    """Those that are at work."""
    for member in service.fleet().members:
        tenant = service.account(member.name)
        if tenant and tenant.account:
            yield tenant.account._config


def _deadlines(loop: Loop) -> int:
    return sum(timer.is_pending for *_, timer in loop._deadlines)


def cases() -> Iterator[Case]:
    yield Case(f"{COUNT} accounts, {_DAYS} days", partial(live, _DAYS, COUNT))


def live(days: int, count: int) -> float:
    """By how many objects the service has grown since it was warm; nothing is left open."""
    gc.collect()
    files = open_files()
    clock = PatientClock()
    with TemporaryDirectory() as name, FleetWorld(clock=clock) as world, _silence():
        folder = Path(name)
        month = Month(world, clock, folder, count)
        (folder / "mailroom.yaml").write_text(_defaults(world.peer.url))
        options = Options(str(folder / "mailroom.yaml"), folder / "status.sock")
        service = Service(options, _ENVIRONMENT, loop=world.loop)
        world.loop.spawn(month.live(service, days), "month")
        code = service.run()
        if month.error:
            raise month.error
        assert code == 0
    assert open_files() <= files, "descriptors are left open"
    more = sum(month.grown.values())
    assert more <= MOST_MORE, month.grown
    return more


_ENVIRONMENT: Mapping[str, str] = {"MAILROOM_JMAP_PASSWORD": PASSWORD}


def _defaults(url: str) -> str:
    return (
        f"jmap: {{url: '{url}/jmap/', username: '{{account}}'}}\n"
        f"carddav: {{url: '{url}'}}\n"
        "limits: {starts_per_second: 50}\n"
    )


@contextmanager
def _silence() -> Iterator[None]:
    """The log of the service goes nowhere."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
