"""On paper: 100,000 accounts, of which only the schedule machines run (``herd``), and whether the
mail server sees a herd: at the start, and whenever it comes back. Drawn into docs/images."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tests.bench.chart import Chart
from tests.bench.effort import Effort
from tests.bench.figures import Figure, worst
from tests.bench.herd import Counted, Fleet, Outage, Scenario, count

IMAGES = Path(__file__).parents[2] / "docs" / "images"
ACCOUNTS, _FEWER = 100_000, 2_000
MOST_TIMES = 3.0
_HOUR = Outage(900, 4_500)
_STORM = tuple(Outage(905 + 60 * n, 935 + 60 * n) for n in range(5))
SCENARIOS = {
    "refusing": Scenario("an hour of refused connections", 5_400, (_HOUR,)),
    "silent": Scenario("an hour without answers", 5_400, (replace(_HOUR, is_silent=True),)),
    "storm": Scenario("five outages, and a mail for everybody", 1_500, _STORM, (900, 960)),
}


def herds(effort: Effort) -> Iterator[Figure]:
    """A rise of the seconds until all are connected is to be seen; their limit is our own."""
    accounts = _FEWER if effort.is_short else ACCOUNTS
    for name, scenario in SCENARIOS.items():
        counted = count(Fleet(accounts), scenario, len(os.sched_getaffinity(0)))
        yield from figures(accounts, scenario, counted)
        if not effort.is_short:
            (IMAGES / f"herd-{name}.svg").write_text(chart(accounts, scenario, counted).svg())


def figures(accounts: int, scenario: Scenario, counted: Counted) -> Iterator[Figure]:
    name = f"{accounts:,} accounts, {scenario.name}"
    returns = [int(outage.ends) for outage in scenario.outages]
    ratio = "worst second over the mean of five minutes"
    yield worst(f"{name}: {ratio}, start", "times", "<=", MOST_TIMES, [counted.herd(0)])
    back = [counted.herd(second) for second in returns]
    yield worst(f"{name}: {ratio}, server back", "times", "<=", MOST_TIMES, back)
    seconds = [counted.all_connected_after(returns[-1])]
    yield worst(f"{name}: all connected after", "s", "<=", 240, seconds)


def chart(accounts: int, scenario: Scenario, counted: Counted) -> Chart:
    title = f"{accounts:,} accounts, requests a second: {scenario.name}"
    away = [(outage.begins, outage.ends) for outage in scenario.outages]
    return Chart(title, counted.asked, away, "the server is away")
