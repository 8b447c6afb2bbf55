"""How cost grows with senders, mails, cards and labels, drawn into docs/performance.md.

Counted on a virtual clock, so the same wherever it is run; wall time is the clock's, at 50 ms a
request.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.address_book import card
from tests.bench.stage import DELAY
from tests.sandbox import longest_chain
from tests.world import World

DOCUMENT = Path(__file__).parents[2] / "docs" / "performance.md"
_BEGIN, _END = "<!-- {}: made by make bench -->\n", "<!-- end of {} -->\n"
_WIDTH = 40


@dataclass(frozen=True, slots=True)
class Plot:
    """Cost over a size, one bar per size."""

    title: str
    unit: str
    points: tuple[tuple[int, float], ...]

    def lines(self) -> Iterator[str]:
        most = max(value for _, value in self.points) or 1
        yield f"{self.title} ({self.unit})"
        for size, value in self.points:
            yield f"{size:>7,} |{'#' * round(_WIDTH * value / most):<{_WIDTH}} {value:g}"


@dataclass(frozen=True, slots=True)
class Cost:
    """What the poll after a tap took."""

    requests: int
    chain: int
    seconds: float
    bytes: int


def draw() -> None:
    """Measure, and replace the plots of the document."""
    put("growth", list(_plots()))


def put(what: str, plots: Sequence[Plot]) -> None:
    """Put the plots where the document has those of this name."""
    begin, end = _BEGIN.format(what), _END.format(what)
    before, _, rest = DOCUMENT.read_text().partition(begin)
    _, _, after = rest.partition(end)
    drawn = "\n\n".join("\n".join(plot.lines()) for plot in plots)
    DOCUMENT.write_text(f"{before}{begin}\n```\n{drawn}\n```\n\n{end}{after}")


def _plots() -> Iterator[Plot]:
    senders = [(n, _triage(n)) for n in (1, 10, 50, 100)]
    yield _plot("new senders in one poll", "requests", senders, lambda cost: cost.requests)
    yield _plot(
        "new senders in one poll", "dependent round trips", senders, lambda cost: cost.chain
    )
    yield _plot("new senders in one poll", "seconds at 50 ms", senders, lambda cost: cost.seconds)
    mails = [(n, _triage(1, mails=n)) for n in (100, 1_000, 10_000)]
    yield _plot("mails of one sender, limits 4,096", "requests", mails, lambda cost: cost.requests)
    cards = [(n, _triage(1, cards=n)) for n in (10, 100, 1_000)]
    yield _plot("cards in the address book", "bytes read after one tap", cards, lambda c: c.bytes)
    labels = [(n, _idle(n)) for n in (7, 20, 50, 100)]
    yield _plot("labels, nothing tapped", "requests of a poll", labels, lambda c: c.requests)
    yield _plot("labels, nothing tapped", "bytes sent by a poll", labels, lambda c: c.bytes)


def _plot(
    title: str, unit: str, costs: Sequence[tuple[int, Cost]], of: Callable[[Cost], float]
) -> Plot:
    return Plot(title, unit, tuple((size, round(of(cost), 3)) for size, cost in costs))


def _triage(senders: int, mails: int = 2, cards: int = 0) -> Cost:
    """All of the senders tapped at one instant."""
    world = World()
    for n in range(cards):
        world.sandbox.put_card(card(n))
    tapped = [
        world.deliver(f"New {n} <new{n}@example.net>", count=mails)[0] for n in range(senders)
    ]
    world.start().settle()
    number, polls = world.request_count, world.polls
    world.sandbox.controls.delay_seconds = DELAY
    begun = world.clock.now()
    for mail in tapped:
        world.tap(mail, "@ToFeed")
    world.run_until(lambda: world.polls > polls)
    seconds = world.clock.now() - begun
    world.settle()
    entries = world.requests_since(number)
    read = sum(entry.bytes_out for entry in entries)
    return Cost(len(entries), len(longest_chain(entries)), seconds, read)


def _idle(labels: int) -> Cost:
    """A poll of so many categories that finds nothing."""
    categories = [f"Category {n}" for n in range(labels)]
    world = World(configuration={"triage": {"categories": categories}})
    for name in categories:
        world.sandbox.create_mailbox(name)
        world.sandbox.create_mailbox(f"@To{name.replace(' ', '')}")
        world.sandbox.put_card(_group(name))
    world.start().settle()
    number = world.request_count
    world.account.poll_now()
    world.settle()
    entries = world.requests_since(number)
    sent = sum(entry.bytes_in for entry in entries)
    return Cost(len(entries), len(longest_chain(entries)), 0.0, sent)


def _group(name: str) -> str:
    uid = name.replace(" ", "-").lower()
    lines = ["BEGIN:VCARD", "VERSION:3.0", f"UID:{uid}", f"FN:{name}", f"N:{name};;;;"]
    lines += ["X-ADDRESSBOOKSERVER-KIND:group", "END:VCARD", ""]
    return "\r\n".join(lines)
