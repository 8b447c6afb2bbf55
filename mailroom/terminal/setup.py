"""``mailroom setup``: what is there, what will be created; with ``--apply``, what came of it."""

from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from mailroom.rules.setup import Item, Status
from mailroom.terminal.desk import Desk, sit_down
from mailroom.terminal.screen import plain
from mailroom.work.setup import Setup

_STYLES = {
    Status.EXISTS: "dim",
    Status.MISSING: "yellow",
    Status.CREATED: "green",
    Status.CLASH: "red",
    Status.FAILED: "red",
}


def show_setup(config_argument: str | None, environ: Mapping[str, str], *, apply: bool) -> int:
    """Set up, or show what that would do; 1 if anything is in the way."""
    console = Console(highlight=False, soft_wrap=True)
    desk = sit_down(config_argument, environ)
    setup = Setup(desk.loop, desk.config, desk.talks)
    items = _applied(console, desk, setup) if apply else _planned(console, desk, setup)
    return int(any(item.is_fault for item in items))


def _planned(console: Console, desk: Desk, setup: Setup) -> Sequence[Item]:
    items = desk.run(setup.plan())
    table = Table("", "Name", "for", "", box=SIMPLE_HEAD)
    for item in items:
        table.add_row(item.kind, plain(item.name), plain(item.purpose), _status(item))
    console.print(table)
    missing = sum(item.status is Status.MISSING for item in items)
    if missing:
        console.print(f"{missing} to create: mailroom setup --apply")
    elif not any(item.is_fault for item in items):
        console.print("Everything is there.")
    return items


def _applied(console: Console, desk: Desk, setup: Setup) -> Sequence[Item]:
    def show(item: Item) -> None:
        console.print(f"{item.kind:<13} {plain(item.name)}: {_status(item)}")

    items = desk.run(setup.apply(show))
    created = sum(item.status is Status.CREATED for item in items)
    faults = sum(item.is_fault for item in items)
    there = len(items) - created - faults
    console.print(
        f"{created} created, {there} there already" + (f", {faults} not" if faults else "")
    )
    return items


def _status(item: Item) -> str:
    reason = f": {plain(item.reason)}" if item.reason else ""
    return f"[{_STYLES[item.status]}]{item.status}[/]{reason}"
