"""The table: rows of cases, each of which is tried and measures something."""

import gc
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Measured:
    """What a case has measured, in the row's unit; and what it has counted besides, by name."""

    value: float
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to try. ``run`` returns what it measured, in the row's unit; a promise that is
    broken raises."""

    name: str
    run: Callable[[], float | Measured]


@dataclass(frozen=True, slots=True)
class Row:
    """A promise: how it is tried, what is measured, and the most that this may be.

    ``obstacle`` says why that cannot be tried here, None where it can; not even where all rows are
    demanded need one be tried that is not ``is_demanded``. ``environment`` names the variables that
    say what is tried.
    """

    name: str
    done: str
    cases: Callable[[], Iterable[Case]]
    unit: str = "differences"
    limit: float = 0.0
    obstacle: Callable[[], str | None] = lambda: None
    is_demanded: bool = True
    environment: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of a case: what it measured and counted, or how it failed."""

    name: str
    seconds: float
    value: float = 0.0
    counts: Mapping[str, int] = field(default_factory=dict)
    failure: str | None = None


class Notes:
    """What came of a row's cases, in their order."""

    def __init__(self) -> None:
        self.tried: list[Tried] = []

    def recall(self, number: int, case: Case) -> Tried | None:
        """What came of a case before. One that is another now is forgotten, and all that follow."""
        if number < len(self.tried) and self.tried[number].name != case.name:
            self.forget(number)
        return self.tried[number] if number < len(self.tried) else None

    def note(self, tried: Tried) -> None:
        """Of one case more."""
        self.tried.append(tried)

    def forget(self, number: int) -> None:
        """Keep no more than so many."""
        del self.tried[number:]


@dataclass(slots=True)
class Result:
    """How a row went; or what was in its way."""

    row: Row
    obstacle: str | None = None
    count: int = 0
    worst: float = 0.0
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, tried: Tried) -> None:
        """Count one case more."""
        self.count += 1
        self.seconds += tried.seconds
        self.worst = max(self.worst, tried.value)
        self.counts.update(tried.counts)
        if tried.failure:
            self.failures.append(f"{self.row.name}: {tried.name}: {tried.failure}")

    def __str__(self) -> str:
        if self.obstacle:
            return f"{self.row.name:<11} {self.row.done:<66}     -  not run: {self.obstacle}"
        verdict = f"{len(self.failures)} FAILED" if self.failures else "kept"
        measured = f"{self.worst:.4g} {self.row.unit} (at most {self.row.limit:g})"
        return (
            f"{self.row.name:<11} {self.row.done:<66} {self.count:>5}  {verdict:<9} "
            f"{measured:<44} {self.seconds:5.0f} s"
            + "".join(f"\n{'':<11} {count} {name}" for name, count in self.counts.items())
        )


HEADING = (
    f"{'row':<11} {'what is done':<66} {'cases':>5}  {'result':<9} {'measured':<44} {'time':>7}"
)


def run(row: Row, cases: Iterable[Case], notes: Notes | None = None) -> Iterator[Result]:
    """Try the cases that ``notes`` do not know yet; the result so far, after each of them."""
    result, notes, began = Result(row), notes or Notes(), time.monotonic()
    for number, case in enumerate(cases):
        tried = notes.recall(number, case)
        if tried is None:
            tried = _try(row, case, began)
            notes.note(tried)
        began = time.monotonic()
        result.add(tried)
        yield result


def told(row: Row, tried: Iterable[Tried]) -> Result:
    """How a row went of which all cases were tried."""
    result = Result(row)
    for each in tried:
        result.add(each)
    return result


def _try(row: Row, case: Case, began: float) -> Tried:
    """Try a case, which has been coming since ``began``."""
    failure, value, counts = None, 0.0, dict[str, int]()
    try:
        found = case.run()
    except Exception:  # noqa: BLE001 - whatever it is, the row has failed, and the others go on
        failure = traceback.format_exc(limit=-8)
    else:
        measured = found if isinstance(found, Measured) else Measured(found, {})
        value, counts = measured.value, dict(measured.counts)
        failure = f"{value:g} {row.unit}" if value > row.limit else None
    gc.collect(1)
    return Tried(case.name, time.monotonic() - began, value, counts, failure)
