"""A position in a changing list: it stays on its row, not at its number."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class Cursor:
    rows: Sequence[str] = ()
    at: int = 0

    @property
    def row(self) -> str | None:
        return self.rows[self.at] if self.rows else None

    def move(self, by: int) -> None:
        self.at = max(0, min(self.at + by, len(self.rows) - 1))

    def renew(self, rows: Sequence[str]) -> None:
        """The list is ``rows`` from now on. If the cursor's row has gone, the cursor goes to the
        next row below that has stayed, else to the nearest above, else to the top."""
        places = {row: number for number, row in enumerate(rows)}
        former, self.rows = self.rows, rows
        below = (row for row in former[self.at :] if row in places)
        above = (row for row in reversed(former[: self.at]) if row in places)
        row = next(below, None) or next(above, None)
        self.at = 0 if row is None else places[row]

    def step_over(self, rows: Collection[str]) -> None:
        """Move down to the next row that is not among these, if there is one."""
        for number in range(self.at, len(self.rows)):
            if self.rows[number] not in rows:
                self.at = number
                return
