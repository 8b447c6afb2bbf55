"""Many accounts of one process: what one more costs, and what the others do meanwhile.

``fleet`` measures 1, 10, 100 and 1,000 accounts by JMAP and by CardDAV, ``fleet-far`` 4,000. Times
include the sandbox's, which shares the machine: its CPU is shown beside the service's.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench import growth
from tests.bench.effort import Effort
from tests.bench.figures import Figure, percentile, tail, worst
from tests.bench.fleet_stage import CARDS, FleetStage
from tests.bench.growth import Plot
from tests.bench.stage import asking
from tests.sandbox import Entry, Request, Response, Sandbox

SIZES = 1, 10, 100, 1_000
# The sandbox has four descriptors for each stream; a process of 20,000 has room for these.
_FAR = 4_000
_TAPPED = 100
_SWEPT = 10_000
_INDEX_KIB = CARDS * 0.8  # make bench FIGURES=address-book: 819 bytes a card at most
_SETTLING_SECONDS, _IDLE_SECONDS = 25.0, 120.0
_KNOWN = "sender3@example.org"

Point = tuple[int, float]


@dataclass(frozen=True, slots=True)
class Measured:
    """One size: MiB, and what an hour of an account at rest costs."""

    count: int
    rss: float
    pss: float
    descriptors: int
    connected_after: float
    cpu_ms_per_hour: float
    wakeups_per_minute: float


@dataclass(frozen=True, slots=True)
class Rush:
    """What many asked for within one second: seconds until it was done, CPU for each."""

    seconds: list[float]
    service_ms: float
    server_ms: float
    healthz_ms: list[float]
    turns_ms: list[float]


def many(effort: Effort) -> Iterator[Figure]:
    """What one more account costs, and who waits for whom. Limits without a target in SPEC §18 are
    our own, of the order that was measured, so that a rise is seen."""
    sizes = SIZES[:3] if effort.is_short else SIZES
    plots: list[Plot] = []
    for by, most in (("jmap", 100.0), ("carddav", 150.0 + _INDEX_KIB)):
        found: list[Measured] = []
        for count in sizes:
            with FleetStage.open(count, by) as stage:
                found.append(_at_rest(stage, effort))
                yield from _told(found, by, most)
                yield from _rushes(stage, by)
        plots += _plots(found, by)
    growth.put("fleet", plots)


def far(effort: Effort) -> Iterator[Figure]:
    """How far it goes: no target."""
    found = []
    for count in (1, _FAR):
        with FleetStage.open(count, "jmap") as stage:
            found.append(_at_rest(stage, effort))
            yield from _told(found, "jmap", 100)


def _at_rest(stage: FleetStage, effort: Effort) -> Measured:
    time.sleep(_SETTLING_SECONDS)  # who waits is counted some time after the first poll
    seconds = max(60.0, effort.seconds(_IDLE_SECONDS))  # an account polls once a minute
    before = stage.usage()
    time.sleep(seconds)
    after, memory, count = stage.usage(), stage.memory(), len(stage.sandboxes)
    return Measured(
        count,
        memory.rss,
        memory.pss,
        stage.descriptors(),
        stage.connected_after,
        (after.cpu_ms - before.cpu_ms) / count * 3600 / (after.at - before.at),
        (after.wakeups - before.wakeups) * 60 / (after.at - before.at),
    )


def _told(found: list[Measured], by: str, most_kib: float) -> Iterator[Figure]:
    one, these = found[0], found[-1]
    name = f"{these.count:,} accounts, {by}"
    if these.count > one.count:
        for kind, growth_mib in (("RSS", these.rss - one.rss), ("PSS", these.pss - one.pss)):
            each = growth_mib * 1024 / (these.count - one.count)
            yield worst(f"{name}: {kind} of a further one", "KiB", "<=", most_kib, [each])
    yield worst(f"{name}: CPU at rest", "ms/h each", "<=", 600, [these.cpu_ms_per_hour])
    most = 8 + 6 * these.count
    yield worst(f"{name}: wake-ups at rest", "per minute", "<=", most, [these.wakeups_per_minute])
    descriptors = [these.descriptors]
    yield worst(f"{name}: descriptors", "fds", "<=", 50 + 2 * these.count, descriptors)
    yield worst(f"{name}: all connected after", "s", "<=", 600, [these.connected_after])


def _rushes(stage: FleetStage, by: str) -> Iterator[Figure]:
    """A tenth of the accounts tap in one second, then every one of them gets a mail."""
    count = len(stage.sandboxes)
    name = f"{count:,} accounts, {by}"
    tapping = stage.sandboxes[:_TAPPED]
    mails = [_delivered(each, "Bob <bob@example.net>") for each in tapping]
    time.sleep(10)  # the mails' own polls
    taps = _rush(stage, tapping, lambda n: _tap(tapping[n], mails[n]), "Feed")
    yield from _told_of_rush(f"{name}: {len(tapping)} taps in a second", taps, 2.0)
    coming = stage.sandboxes
    arrivals = _rush(stage, coming, lambda n: _delivered(coming[n], _KNOWN), "Inbox")
    yield from _told_of_rush(f"{name}: a mail for each in a second", arrivals, 3.0)
    if count >= _TAPPED:
        yield from _sweep(stage, name)


def _told_of_rush(name: str, rush: Rush, most_seconds: float) -> Iterator[Figure]:
    yield tail(f"{name}: p99", "s", most_seconds, rush.seconds)
    median = percentile(rush.seconds, 50)
    yield worst(f"{name}: p50", "s", "<=", most_seconds, [median])
    yield worst(f"{name}: CPU of the service", "ms each", "<=", 40, [rush.service_ms])
    yield worst(f"{name}: CPU of the sandbox", "ms each", "<=", 100, [rush.server_ms])
    yield tail(f"{name}: /healthz p99", "ms", 20, rush.healthz_ms)
    yield worst(f"{name}: longest turn, its CPU", "ms", "<=", 20, rush.turns_ms or [0.0])


def _sweep(stage: FleetStage, name: str) -> Iterator[Figure]:
    """One account has 10,000 mails of one sender; what taps of ten others wait more for that."""
    swept, others = stage.sandboxes[0], stage.sandboxes[1:11]
    with swept.lock:
        many = [swept.deliver("Eve <eve@example.net>") for _ in range(_SWEPT)]
    calm = _tapped(stage, others, "carl")
    mails = [_delivered(each, "dora@example.net") for each in others]
    time.sleep(10)
    _tap(swept, many[0])
    meanwhile = _rush(stage, others, lambda n: _tap(others[n], mails[n]), "Feed")
    more = percentile(meanwhile.seconds, 99) - percentile(calm.seconds, 99)
    title = f"{name}: ten taps beside a sweep of {_SWEPT:,} mails"
    yield worst(f"{title}: p99 over that without", "ms", "<=", 50, [more * 1000])
    yield tail(f"{title}: /healthz p99", "ms", 20, meanwhile.healthz_ms)


def _tapped(stage: FleetStage, sandboxes: list[Sandbox], who: str) -> Rush:
    mails = [_delivered(each, f"{who}@example.net") for each in sandboxes]
    time.sleep(10)
    return _rush(stage, sandboxes, lambda n: _tap(sandboxes[n], mails[n]), "Feed")


def _rush(
    stage: FleetStage, sandboxes: list[Sandbox], act: Callable[[int], str], mailbox: str
) -> Rush:
    """All of them within a second; until each mail is in its mailbox."""
    begun: dict[int, float] = {}
    done: dict[int, float] = {}
    mails: dict[int, str] = {}

    def watch(number: int) -> Callable[[Entry, Request, Response], None]:
        def look(entry: Entry, _request: Request, _response: Response) -> None:
            if number in done or number not in mails or "Email/set" not in entry.calls:
                return
            if sandboxes[number].mailboxes_of(mails[number]) == {mailbox}:
                done[number] = time.monotonic()

        return look

    for number, sandbox in enumerate(sandboxes):
        sandbox.after(watch(number))
    stage.forget_turns()
    before, start = stage.usage(), time.monotonic()
    with asking(Path(stage.process.socket)) as asker:
        for number, sandbox in enumerate(sandboxes):
            time.sleep(max(0.0, start + number / len(sandboxes) - time.monotonic()))
            with sandbox.lock:
                begun[number] = time.monotonic()
                mails[number] = act(number)
        stage.until(lambda: len(done) == len(sandboxes))
        healthz: list[float] = json.loads(asker.communicate()[0])
    after, count = stage.usage(), len(sandboxes)
    return Rush(
        [done[number] - begun[number] for number in begun],
        (after.cpu_ms - before.cpu_ms) / count,
        (after.server_cpu_ms - before.server_cpu_ms) / count,
        healthz,
        [cpu for _, cpu in stage.long_turns()],
    )


def _delivered(sandbox: Sandbox, sender: str) -> str:
    with sandbox.lock:
        return sandbox.deliver(sender)


def _tap(sandbox: Sandbox, mail: str) -> str:
    with sandbox.lock:
        sandbox.label(mail, "@ToFeed")
    return mail


def _plots(found: list[Measured], by: str) -> Iterator[Plot]:
    def plot(unit: str, of: Callable[[Measured], float]) -> Plot:
        return Plot(f"accounts, {by}", unit, tuple((m.count, round(of(m), 1)) for m in found))

    yield plot("MiB of RSS", lambda m: m.rss)
    yield plot("ms of CPU an hour, each, at rest", lambda m: m.cpu_ms_per_hour)
    yield plot("wake-ups a minute at rest", lambda m: m.wakeups_per_minute)
    yield plot("seconds until all are connected", lambda m: m.connected_after)
