"""How commands show things by rich: text from elsewhere made harmless, tables, ticks."""

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mailroom.terminal.harmless import harmless
from mailroom.work.check import Finding

Document = Mapping[str, Any]


def tick(console: Console, finding: Finding) -> None:
    """One line for one step: done, or not and why, or to be looked at."""
    mark = "[yellow]![/]" if finding.is_doubtful else "[green]✓[/]"
    mark = "[red]✗[/]" if finding.error else mark
    detail = "\n".join(plain(line) for line in finding.detail.splitlines())
    console.print(f"{mark} [bold]{finding.what}[/]: {detail}")


def table(*heads: str) -> Table:
    """An empty table that loses nothing: what is too long for its column goes on below."""
    made = Table(box=SIMPLE_HEAD)
    for head in heads:
        made.add_column(head, overflow="fold")
    return made


def plain(text: object) -> str:
    """Text from elsewhere for rich: harmless, and no markup."""
    return escape(harmless(text))
