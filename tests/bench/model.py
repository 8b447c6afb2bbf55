"""``python -m tests.bench.model``: what many accounts need, reckoned from what has been measured.

The figures are those of ``results.json``; what is assumed of people, hosts and processes stands
here, and in the chapter of docs/fleet.md that has the table.
"""

import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from mailroom.rules.configuration.config import Limits, Polling
from tests.bench.herd import ARRIVAL, FIRST_POLL, SESSION, TAP

RESULTS = Path(__file__).parent / "results.json"
DOCUMENT = Path(__file__).parents[2] / "docs" / "fleet.md"
SIZES = 10_000, 100_000, 1_000_000
# A process: with that many a mail for everybody within a minute keeps a tenth of its core busy.
EACH = 1_000
# A person: mails that come in a day, decisions in a day; a tenth of the day is its busiest hour.
MAILS, TAPS, BUSIEST = 100, 2, 0.1
# A host, of whose cores half are to be used in the busiest hour; and one host may always be away.
CORES, GIB, USED = 16, 64, 0.5
_SELDOM = 300.0
_BEGIN, _END = "<!-- model: made by make bench -->\n", "<!-- end of model -->\n"
_FLEET = "1,000 accounts, jmap"


@dataclass(frozen=True, slots=True)
class Costs:
    """What was measured: a process and each account in it, MiB and KiB; milliseconds of CPU."""

    process_mib: float
    account_kib: float
    rest_ms_an_hour: float
    tap_ms: float
    arrival_ms: float
    idle_requests: float

    @classmethod
    def read(cls) -> Self:
        document = json.loads(RESULTS.read_text())
        found = {figure["name"]: float(figure["value"]) for figure in document["figures"]}
        return cls(
            found["idle, trixie, TLS: RSS"],
            found[f"{_FLEET}: RSS of a further one"],
            found[f"{_FLEET}: CPU at rest"],
            found[f"{_FLEET}: 100 taps in a second: CPU of the service"],
            found[f"{_FLEET}: a mail for each in a second: CPU of the service"],
            found["idle poll"],
        )


@dataclass(frozen=True, slots=True)
class Need:
    """What so many accounts need."""

    accounts: int
    costs: Costs

    @property
    def processes(self) -> int:
        return math.ceil(self.accounts / EACH)

    @property
    def gib(self) -> float:
        accounts_mib = self.accounts * self.costs.account_kib / 1024
        return (self.processes * self.costs.process_mib + accounts_mib) / 1024

    @property
    def cores_at_rest(self) -> float:
        return self.accounts * self.costs.rest_ms_an_hour / 3_600_000

    @property
    def cores(self) -> float:
        """In the busiest hour."""
        work = MAILS * self.costs.arrival_ms + TAPS * self.costs.tap_ms
        return self.cores_at_rest + self.accounts * BUSIEST * work / 3_600_000

    @property
    def hosts(self) -> int:
        return 1 + math.ceil(max(self.cores / USED / CORES, self.gib / GIB))

    @property
    def connections(self) -> int:
        return self.accounts + self.processes * Limits().connections_per_server

    def polls_a_second(self, poll_interval: float) -> float:
        return self.accounts * self.costs.idle_requests / poll_interval

    @property
    def requests_a_second(self) -> float:
        """In the busiest hour, polls at rest among them."""
        work = self.accounts * BUSIEST * (MAILS * ARRIVAL + TAPS * TAP) / 3600
        return work + self.polls_a_second(Polling().poll_interval)

    @property
    def requests_at_start(self) -> float:
        starting = self.processes * Limits().starts_per_second * (SESSION + FIRST_POLL + 1)
        return starting + self.polls_a_second(Polling().poll_interval)


ROWS: Sequence[tuple[str, Callable[[Need], float]]] = (
    ("processes (shards)", lambda need: need.processes),
    ("cores kept busy: at rest", lambda need: need.cores_at_rest),
    ("in the busiest hour", lambda need: need.cores),
    ("memory, GiB", lambda need: need.gib),
    (f"hosts of {CORES} cores and {GIB} GiB", lambda need: need.hosts),
    ("TLS connections to the mail server, at most", lambda need: need.connections),
    (
        "requests a second there: at rest, `poll_interval: 60`",
        lambda need: need.polls_a_second(Polling().poll_interval),
    ),
    (f"at rest, `poll_interval: {_SELDOM:g}`", lambda need: need.polls_a_second(_SELDOM)),
    ("in the busiest hour", lambda need: need.requests_a_second),
    ("when all processes start at once, at most", lambda need: need.requests_at_start),
)


def table() -> Iterator[str]:
    """Lines of Markdown."""
    needs = [Need(size, Costs.read()) for size in SIZES]
    yield f"| accounts | {' | '.join(f'{need.accounts:,}' for need in needs)} |"
    yield "|---|" + "---|" * len(needs)
    for name, of in ROWS:
        yield f"| {name} | {' | '.join(_told(of(need)) for need in needs)} |"


def draw() -> None:
    """Put the table where the document has it."""
    before, _, rest = DOCUMENT.read_text().partition(_BEGIN)
    _, _, after = rest.partition(_END)
    DOCUMENT.write_text(f"{before}{block()}{after}")


def block() -> str:
    """The table as the document has it."""
    return "\n".join([_BEGIN, *table(), "", _END])


def _told(value: float) -> str:
    """Two digits are all that such a model knows."""
    if value < 10:
        return f"{value:.1f}".removesuffix(".0")
    digits = 10 ** max(0, len(str(int(value))) - 2)
    return f"{round(value / digits) * digits:,}"


if __name__ == "__main__":
    sys.stdout.write("\n".join(table()) + "\n")
