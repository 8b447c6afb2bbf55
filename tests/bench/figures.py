"""A figure: samples of one quantity, what is taken of them, and the target that it has to keep."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Op = Literal["<=", ">="]


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table. ``value`` is what the target is held against."""

    name: str
    value: float
    unit: str
    op: Op
    limit: float
    samples: tuple[float, ...]

    @property
    def is_met(self) -> bool:
        return self.value <= self.limit if self.op == "<=" else self.value >= self.limit

    def to_data(self) -> dict[str, Any]:
        """The object of ``results.json``."""
        return {
            "name": self.name,
            "value": _rounded(self.value),
            "unit": self.unit,
            "op": self.op,
            "limit": self.limit,
            "n": len(self.samples),
            "median": _rounded(statistics.median(self.samples)),
            "p95": _rounded(percentile(self.samples, 95)),
            "max": _rounded(max(self.samples)),
        }


def worst(name: str, unit: str, op: Op, limit: float, samples: Sequence[float]) -> Figure:
    """The target is for every sample: what is counted, and what nobody may ever wait for."""
    value = max(samples) if op == "<=" else min(samples)
    return Figure(name, value, unit, op, limit, tuple(samples))


def typical(name: str, unit: str, op: Op, limit: float, samples: Sequence[float]) -> Figure:
    """The target is for the median: times, on machines that do other things as well."""
    return Figure(name, statistics.median(samples), unit, op, limit, tuple(samples))


def tail(name: str, unit: str, limit: float, samples: Sequence[float]) -> Figure:
    """The target is for 99 of 100."""
    return Figure(name, percentile(samples, 99), unit, "<=", limit, tuple(samples))


def percentile(samples: Sequence[float], percent: float) -> float:
    """The least sample that so many percent do not exceed (nearest rank)."""
    return sorted(samples)[max(0, math.ceil(len(samples) * percent / 100) - 1)]


def table(figures: Sequence[Figure]) -> list[str]:
    """One line per figure; a target that is not met says MISS."""
    head = ["figure", "value", "target", "unit", "n", "median", "p95", "max", ""]
    rows = [head, *(_row(figure) for figure in figures)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned: list[Callable[[str, int], str]] = [str.rjust] * len(head)
    aligned[0] = aligned[3] = str.ljust
    return [
        "  ".join(
            align(cell, width) for align, cell, width in zip(aligned, row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def _row(figure: Figure) -> list[str]:
    data = figure.to_data()
    target = f"{figure.op} {figure.limit:g}"
    numbers = [f"{data[key]:g}" for key in ("n", "median", "p95", "max")]
    verdict = "ok" if figure.is_met else "MISS"
    return [figure.name, f"{data['value']:g}", target, figure.unit, *numbers, verdict]


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
