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
    demanded need one be tried that is not ``is_demanded``.
    """

    name: str
    done: str
    cases: Callable[[], Iterable[Case]]
    unit: str = "differences"
    limit: float = 0.0
    obstacle: Callable[[], str | None] = lambda: None
    is_demanded: bool = True


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


def run(row: Row, cases: Iterable[Case]) -> Iterator[Result]:
    """Try the cases; the result so far, after each of them."""
    result, began = Result(row), time.monotonic()
    for case in cases:
        failure = _failure(row, case, result)
        if failure:
            result.failures.append(f"{row.name}: {case.name}: {failure}")
        result.count += 1
        result.seconds = time.monotonic() - began
        yield result


def _failure(row: Row, case: Case, result: Result) -> str | None:
    try:
        found = case.run()
    except Exception:  # noqa: BLE001 - whatever it is, the row has failed, and the others go on
        return traceback.format_exc(limit=-4)
    finally:
        gc.collect(1)
    measured = found.value if isinstance(found, Measured) else found
    if isinstance(found, Measured):
        result.counts.update(found.counts)
    result.worst = max(result.worst, measured)
    return f"{measured:g} {row.unit}" if measured > row.limit else None
