"""The day as the table of docs/behaviour.md: what the server's rules and Mailroom make of it."""

from pathlib import Path

from tests.household.day import Day, table
from tests.household.home import ADDRESS, Home
from tests.sandbox import CYRUS_3_10

DOCUMENT = Path(__file__).parents[2] / "docs" / "behaviour.md"
_BEGIN, _END = "<!-- a day: made by make day -->\n", "<!-- end of the day -->\n"


def drawn(text: str) -> str:
    """The document with the table of today's code."""
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    home = Home(CYRUS_3_10, "server")
    day = Day(home, ADDRESS)
    day.begin()
    home.start().settle()
    shown = "\n".join(table(day.live()))
    return f"{before}{_BEGIN}\n{shown}\n\n{_END}{after}"
