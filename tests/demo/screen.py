"""What the demo prints: for a terminal, best of 80 columns, and for a file; in colours or not."""

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

_COLUMNS = 80
_NARROWEST = 40
_STAMP_WIDTH = 9
_PROMPT = "demo> "


class Screen:
    """Prints, and remembers which claims did not hold."""

    def __init__(self, file: TextIO) -> None:
        self._console = Console(file=file, highlight=False, soft_wrap=True, emoji=False)
        self.is_terminal = self._console.is_terminal
        self.failures: list[str] = []
        self._scenes = 0
        self._is_prompting = False

    @property
    def environ(self) -> dict[str, str]:
        """What makes a command that prints into a pipe print as for this screen."""
        colours = "FORCE_COLOR" if self.is_terminal else "NO_COLOR"
        return {"COLUMNS": str(_COLUMNS), colours: "1"}

    def say(self, text: str = "", style: str = "") -> None:
        """Print a paragraph whose lines are broken already."""
        self._console.print(Text(text, style))

    def title(self, text: str) -> None:
        self.say(f"\n{text}\n", "bold")

    def scene(self, text: str) -> None:
        """Begin the next part."""
        self._scenes += 1
        self.say(f"\n{self._scenes}. {text}\n", "bold")

    def act(self, text: str) -> None:
        """Tell what a person does, or what happens to the server."""
        self._console.print(Text.assemble(("   ▸ ", "bold cyan"), (text, "bold cyan")))

    def log(self, line: str, seconds: float) -> None:
        """Print a line of the service's log, ``seconds`` after what was done last."""
        stamp = f"{seconds:.2f} s".rjust(_STAMP_WIDTH)
        for part in self._folded(line):
            self._console.print(Text.assemble((stamp, "cyan"), (" │ ", "dim"), (part, _tone(line))))
            stamp = " " * _STAMP_WIDTH

    def claim(self, text: str, holds: bool) -> None:
        """Print what should be so, with a tick if it is; else keep it for the verdict."""
        mark, style = ("✓", "green") if holds else ("✗", "bold red")
        self._console.print(Text.assemble((f"   {mark} ", style), text))
        if not holds:
            self.failures.append(text)

    def show_prompt(self) -> None:
        """Wait for a command at the beginning of a line."""
        self._is_prompting = True
        self._console.print(Text(_PROMPT, "bold"), end="")

    def end_prompt(self) -> None:
        """A command was given, its line is over."""
        self._is_prompting = False

    @contextmanager
    def above_prompt(self, has_lines: bool) -> Iterator[None]:
        """Print lines where the prompt stands, and the prompt again below them."""
        moves = self._is_prompting and has_lines
        if moves:
            self._console.file.write("\r\x1b[K" if self.is_terminal else "\n")
        yield
        if moves:
            self.show_prompt()

    def table(self, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        table = Table(*heads, box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
        for column in table.columns:
            column.overflow = "fold"
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        self._console.print(_indented(self._captured(table)))
        self.say()

    def facts(self, rows: Iterable[tuple[str, Sequence[str]]]) -> None:
        """Print names, and the lines that belong to each."""
        for name, lines in rows:
            for index, line in enumerate(lines):
                label = "" if index else name
                self._console.print(Text.assemble((f"     {label:<9}", "dim"), line))

    def output(self, text: str) -> None:
        """Print what a command has printed."""
        self._console.print(_indented(Text.from_ansi(text.rstrip())))

    def verdict(self, seconds: float) -> int:
        """Print how it went; return the exit code."""
        if not self.failures:
            self.say(f"\nAll of it happened, in {seconds:.0f} s.", "bold")
            return 0
        self.say("\nThis did not happen:", "bold red")
        for text in self.failures:
            self.say(f"   ✗ {text}")
        return 1

    def _captured(self, table: Table) -> Text:
        with self._console.capture() as capture:
            self._console.print(table, width=min(_COLUMNS, self._console.width) - 5)
        lines = [line for line in capture.get().splitlines() if line.strip()]
        return Text.from_ansi("\n".join(line.rstrip().removeprefix(" ") for line in lines))

    def _folded(self, line: str) -> list[str]:
        """Whole lines for a file; for a terminal, as wide as it can be without wrapping."""
        if not self.is_terminal:
            return [line]
        width = max(_NARROWEST, self._console.width) - _STAMP_WIDTH - 4
        return textwrap.wrap(
            line, width, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False
        )


def _tone(line: str) -> str:
    return "yellow" if line.endswith(("level=warning", "level=error")) else ""


def _indented(text: Text) -> Text:
    return Text("\n").join(Text("   ") + line for line in text.split("\n"))
