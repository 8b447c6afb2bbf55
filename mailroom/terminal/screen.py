"""How commands show things with rich: tables, ticks, and harmless text from elsewhere."""

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mailroom.terminal.harmless import harmless
from mailroom.work.setup.check import Finding

Document = Mapping[str, Any]


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Nobody reads on: the command ends as it does without rich (``cli``), not with rich's own
        exit code."""
        raise  # noqa: PLE0704 - rich calls this where it has caught the error


def output(*, soft_wrap: bool = True) -> Console:
    """Where a command shows things."""
    return _Console(highlight=False, soft_wrap=soft_wrap)


def tick(console: Console, finding: Finding) -> None:
    """One line for one step: done, failed and why, or doubtful."""
    mark = "[yellow]![/]" if finding.is_doubtful else "[green]✓[/]"
    mark = "[red]✗[/]" if finding.error else mark
    detail = "\n".join(plain(line) for line in finding.detail.splitlines())
    console.print(f"{mark} [bold]{finding.what}[/]: {detail}")


def table(*heads: str) -> Table:
    """An empty table that cuts nothing: long text continues on the next line of its column."""
    made = Table(box=SIMPLE_HEAD)
    for head in heads:
        made.add_column(head, overflow="fold")
    return made


def plain(text: object) -> str:
    """Text from elsewhere for rich: harmless, without markup."""
    return escape(harmless(text))
