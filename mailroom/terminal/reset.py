"""``mailroom reset``: what would be undone; with ``--apply``, asked once, and then undone."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from mailroom.engine.client import ask
from mailroom.engine.sockets import stop_command
from mailroom.errors import MailroomError
from mailroom.rules.config import Config
from mailroom.rules.reset import RefileMails, Step
from mailroom.terminal.desk import sit_down
from mailroom.terminal.screen import plain
from mailroom.work.reset import Fault, Reset

_NOBODY = (FileNotFoundError, ConnectionRefusedError)
_OK = 200


def show_reset(
    config_argument: str | None,
    environ: Mapping[str, str],
    sockets: Iterable[Path],
    *,
    apply: bool,
    is_sure: bool,
) -> int:
    """Undo everything, or show what that would be; 1 if something could not be undone.

    Raises MailroomError where it is refused: a service answers for this account at one of the
    ``sockets``, or there is nobody to ask.
    """
    console = Console(highlight=False, soft_wrap=True)
    desk = sit_down(config_argument, environ)
    if apply:
        _refuse_beside_a_service(sockets, desk.config)
    reset = Reset(desk.loop, desk.config, desk.talks)
    steps = desk.run(reset.plan())
    for step in steps:
        console.print(plain(step.text))
    if not steps:
        console.print("There is nothing to undo.")
        return 0
    if not apply:
        console.print("This is what would be undone: mailroom reset --apply")
        return 0
    if not (is_sure or _confirmed()):
        console.print("Nothing was changed.")
        return 1
    with progress_bars(console, steps) as advance:
        faults = desk.run(reset.apply(steps, advance))
    return _show_end(console, faults)


def _refuse_beside_a_service(sockets: Iterable[Path], config: Config) -> None:
    """A service would triage what is being undone. One that cannot be asked may be one, too."""
    account = config.account
    for path in sockets:
        try:
            status, body = ask(path, "GET", "/status")
        except MailroomError as error:
            if isinstance(error.__cause__, _NOBODY):
                continue
            raise
        if status != _OK or json.loads(body)["account"] == account:
            raise MailroomError(
                f"a service answers for {account} at {path}: stop it first ({stop_command(path)})"
            )


def _confirmed() -> bool:
    if not sys.stdin.isatty():
        raise MailroomError("reset --apply asks before it begins: without a terminal, add --yes")
    try:
        return input("Undo all this? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:  # Ctrl+D
        sys.stdout.write("\n")
        return False


@contextmanager
def progress_bars(console: Console, steps: Sequence[Step]) -> Iterator[Callable[[Step], None]]:
    """A bar per phase, on a terminal only; called with each step that is over."""
    if not console.is_terminal:
        yield lambda _step: None
        return
    columns = (TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console) as progress:
        bars = {}
        for phase in sorted({step.phase for step in steps}):
            total = sum(_size(step) for step in steps if step.phase is phase)
            bars[phase] = progress.add_task(phase.name.lower(), total=total)
        yield lambda step: progress.advance(bars[step.phase], _size(step))


def _size(step: Step) -> int:
    return len(step.patches) if isinstance(step, RefileMails) else 1


def _show_end(console: Console, faults: Sequence[Fault]) -> int:
    for fault in faults:
        console.print(f"[red]✗[/] {plain(fault.step.text)}: {plain(fault.reason)}")
    if faults:
        console.print("The rest is undone: run it again.")
        return 1
    console.print("Done. Mailboxes, labels, groups and routing rules are still there.")
    return 0
