"""What the booted hosts prove, in numbers: a table at the end of the run."""

from collections.abc import Mapping
from dataclasses import dataclass, field

_NOTHING = "-"


@dataclass(slots=True)
class Claims:
    """What was measured so far, by claim and by host: the number, and what it must not exceed."""

    _rows: dict[str, dict[str, str]] = field(default_factory=dict)
    _limits: dict[str, str] = field(default_factory=dict)

    def at_most(self, limit: float, measured: float, host: str, claim: str, unit: str = "") -> None:
        """Note a measurement, and fail unless it keeps to `limit`."""
        self._limits[claim] = _number(limit, unit)
        self._rows.setdefault(claim, {})[host] = _number(measured, unit)
        assert measured <= limit, f"{claim}: {_number(measured, unit)} on {host}"

    def table(self) -> list[str]:
        """One line per claim: the claim, its limit, and what was measured on each host."""
        hosts = sorted({host for row in self._rows.values() for host in row}, reverse=True)
        rows = [["claim", "at most", *hosts]]
        for claim, row in self._rows.items():
            rows.append([claim, self._limits[claim], *_cells(row, hosts)])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return [_line(row, widths) for row in rows] if self._rows else []


def _cells(row: Mapping[str, str], hosts: list[str]) -> list[str]:
    return [row.get(host, _NOTHING) for host in hosts]


def _line(row: list[str], widths: list[int]) -> str:
    claim, *numbers = row
    return "  ".join(
        [claim.ljust(widths[0]), *(n.rjust(w) for n, w in zip(numbers, widths[1:], strict=True))]
    )


def _number(value: float, unit: str) -> str:
    match unit:
        case "s" if value < 1:
            return f"{value * 1000:.0f} ms"
        case "s":
            return f"{value:.2f} s"
        case _:
            return f"{value:g} {unit}".rstrip()
