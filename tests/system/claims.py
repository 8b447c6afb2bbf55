"""What the booted hosts prove, in numbers: a table at the end of the run."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_NOTHING = "-"


@dataclass(slots=True)
class Claims:
    """What was measured so far, by claim and by host: the number, and what it must not exceed."""

    #: (claim, limit, host, measured), the last of a claim and a host counts; plain, so that a
    #: process can tell another.
    rows: list[tuple[str, str, str, str]] = field(default_factory=list)

    def extend(self, rows: Iterable[tuple[str, str, str, str]]) -> None:
        """Add what was measured in another process."""
        self.rows.extend(rows)

    def at_most(self, limit: float, measured: float, host: str, claim: str, unit: str = "") -> None:
        """Note a measurement, and fail unless it keeps to `limit`."""
        self.rows.append((claim, _number(limit, unit), host, _number(measured, unit)))
        assert measured <= limit, f"{claim}: {_number(measured, unit)} on {host}"

    def table(self) -> list[str]:
        """One line per claim: the claim, its limit, and what was measured on each host."""
        hosts = sorted({host for _, _, host, _ in self.rows}, reverse=True)
        found: dict[str, dict[str, str]] = {}
        limits = {claim: limit for claim, limit, _, _ in self.rows}
        for claim, _, host, measured in self.rows:
            found.setdefault(claim, {})[host] = measured
        rows = [["claim", "at most", *hosts]]
        rows += [[claim, limits[claim], *_cells(row, hosts)] for claim, row in found.items()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return [_line(row, widths) for row in rows] if self.rows else []


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
