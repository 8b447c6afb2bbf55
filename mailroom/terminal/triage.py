"""``mailroom triage --dry-run``: a table of what the next poll would do."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from mailroom.engine.journal import Log
from mailroom.engine.unit import Installation
from mailroom.terminal.desk import quietly, sit_down
from mailroom.terminal.screen import plain, table
from mailroom.work.door import Door
from mailroom.work.preview import Row, preview
from mailroom.work.survey import Surveyor


def show_triage(
    installation: Installation, environ: Mapping[str, str], failing: Mapping[str, str]
) -> int:
    """Print what the next poll would do; ``failing`` is what the running service says of it."""
    desk = sit_down(installation, environ)
    talks = desk.talks
    door = Door(desk.loop, desk.config, talks.mail, talks.contacts, Log(quietly), may_write=False)
    surveyor = Surveyor(desk.loop, desk.config, talks.mail, talks.contacts, door)
    survey = desk.run(surveyor.survey())
    obstacles = desk.run(desk.talks.contacts.obstacles(survey.plan))
    rows = preview(survey, desk.config, obstacles, failing)
    console = Console(highlight=False)
    if survey.crowd:
        console.print(
            f"{survey.crowd} senders were moved at once: nothing is done about them, move fewer at "
            "a time."
        )
    if rows:
        console.print(_as_table(rows))
    elif not survey.crowd:
        console.print("No mail has a label and none has come: the next poll has nothing to do.")
    return 0


def _as_table(rows: Sequence[Row]) -> Table:
    shown = table("From", "Label", "The next poll would", "because")
    for row in rows:
        cells = (row.sender, " ".join(row.labels), row.action, row.reason)
        shown.add_row(*(plain(cell) for cell in cells))
    return shown
