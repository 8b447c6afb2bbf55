"""How all commands show things: text from elsewhere made harmless, instants and spans, ticks."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape

from mailroom.work.check import Finding

Document = Mapping[str, Any]


def tick(console: Console, finding: Finding) -> None:
    """One line for one step: done, or not and why."""
    mark = "[red]✗[/]" if finding.error else "[green]✓[/]"
    detail = "\n".join(plain(line) for line in finding.detail.splitlines())
    console.print(f"{mark} [bold]{finding.what}[/]: {detail}")


def plain(text: object) -> str:
    """Text from elsewhere: no markup, nothing unprintable."""
    shown = "".join(char if char.isprintable() else "�" for char in str(text))
    return escape(shown)


def clock_face(timestamp: str) -> str:
    """An RFC 3339 instant as the local clock shows it."""
    return datetime.fromisoformat(timestamp).astimezone().strftime("%H:%M:%S")


def span(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
