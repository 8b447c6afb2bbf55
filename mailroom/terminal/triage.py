"""``mailroom triage --dry-run``: a table of what the next poll would do.

The running service is asked, because it knows which senders it holds back; if none runs, this
process looks itself.
"""

from collections.abc import Mapping
from typing import cast

from rich.table import Table

from mailroom.engine.journal import Log
from mailroom.engine.unit import Installation
from mailroom.terminal.answers import PlannedDocument
from mailroom.terminal.context import open_context, quietly
from mailroom.terminal.lists import write_json
from mailroom.terminal.screen import output, plain, table
from mailroom.work.polling.preview import as_document, preview
from mailroom.work.polling.surveyor import Surveyor
from mailroom.work.screening.door import Door


def show_triage(asked: Installation, environ: Mapping[str, str], *, as_json: bool) -> int:
    """Find out what the next poll of a service would do, and print it."""
    context = open_context(asked, environ)
    clients = context.clients
    door = Door(
        context.loop, context.config, clients.mail, clients.contacts, Log(quietly), may_write=False
    )
    surveyor = Surveyor(context.loop, context.config, clients.mail, clients.contacts, door)
    survey = context.run(surveyor.survey())
    obstacles = context.run(context.clients.contacts.obstacles(survey.plan))
    plan = as_document(preview(survey, context.config, obstacles, {}), survey.crowd)
    return show_plan(cast("PlannedDocument", plan), as_json=as_json)


def show_plan(plan: PlannedDocument, *, as_json: bool) -> int:
    """Print what the next poll would do."""
    if as_json:
        write_json(plan)
        return 0
    console = output(soft_wrap=False)
    crowd = plan["moved_at_once"]
    if crowd:
        console.print(
            f"{crowd} senders were moved at once: nothing is done about them, move fewer at a time."
        )
    if plan["rows"]:
        console.print(_as_table(plan))
    elif not crowd:
        console.print("No mail has a label and none has come: the next poll has nothing to do.")
    return 0


def _as_table(plan: PlannedDocument) -> Table:
    shown = table("From", "Label", "The next poll would", "because")
    for row in plan["rows"]:
        cells = (row["sender"], " ".join(row["labels"]), row["action"], row["reason"])
        shown.add_row(*(plain(cell) for cell in cells))
    return shown
