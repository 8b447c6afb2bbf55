"""Which part of a long list is on the screen. Senders who come or go do not disturb the reader."""

from mailroom.terminal.screening.cursor import Cursor


class Window:
    """Rows come and go around the cursor, whose line stays where it is on the screen. At the very
    top, new rows push the others down, as long as the cursor stays visible."""

    def __init__(self) -> None:
        self._top = 0
        self._row: str | None = None
        self._offset = 0

    def rows(self, cursor: Cursor, height: int) -> range:
        """The numbers of the rows to show."""
        at, last_top = cursor.at, max(0, len(cursor.rows) - height)
        if cursor.row == self._row and self._top > 0:
            self._top = at - self._offset
        self._top = max(at - height + 1, min(self._top, at))
        self._top = max(0, min(self._top, last_top))
        self._row, self._offset = cursor.row, at - self._top
        return range(self._top, min(self._top + height, len(cursor.rows)))
