"""``mailroom reset``: shows what would be undone; with ``--apply``, asks once and undoes it."""

import json
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from mailroom.engine.accountfolder import account_file
from mailroom.engine.client import ask
from mailroom.engine.newfile import new_file
from mailroom.engine.shards import is_elsewhere
from mailroom.engine.unit import Installation, behind
from mailroom.errors import MailroomError
from mailroom.rules.account.reset import RefileMails, Step
from mailroom.rules.configuration.config import Config
from mailroom.rules.triage.decisions import decision_lines
from mailroom.rules.words import count
from mailroom.terminal.context import open_context
from mailroom.terminal.remote import prefix
from mailroom.terminal.screen import Document, output, plain
from mailroom.work.setup.reset import Fault, Reset

# Makes the file, and removes it if writing fails.
Create = Callable[[Path], AbstractContextManager[TextIO]]

_NOBODY = (FileNotFoundError, ConnectionRefusedError)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line asks for. ``create`` makes the file of the export."""

    applies: bool = False
    is_sure: bool = False
    rules_are_off: bool = False
    target: str | None = None
    removes: bool = False
    export: Path | None = None
    create: Create = new_file


def show_reset(
    installation: Installation,
    environ: Mapping[str, str],
    sockets: Iterable[Path],
    wishes: Wishes,
) -> int:
    """Undo what Mailroom did, or show what would be undone; 1 if something could not be undone.

    Raises MailroomError if a service serves this account at one of the ``sockets``, or if a
    question cannot be asked.
    """
    console = output()
    context = open_context(installation, environ)
    if wishes.applies:
        _refuse_while_served(installation, sockets, context.config)
    reset = Reset(
        context.loop, context.config, context.clients, target=wishes.target, removes=wishes.removes
    )
    steps = context.run(reset.plan())
    foreseen = tuple(reset.stays)
    for text in (*(step.text for step in steps), *foreseen):
        console.print(plain(text))
    if not steps:
        console.print("There is nothing to undo.")
        return 0
    if not wishes.applies:
        if reset.has_hand_made_rules:
            console.print("First switch off the rules that you made by hand.")
        command = context.config.command(_applying(wishes))
        console.print(plain(f"This would be undone. To do it: {command}"))
        return 0
    if not (_are_rules_off(reset, wishes) and (wishes.is_sure or _confirmed("Undo all this?"))):
        console.print("Nothing was changed.")
        return 1
    if wishes.export:
        _export(console, wishes.create, wishes.export, reset, context.config)
    with progress_bars(console, steps) as advance:
        faults = context.run(reset.apply(steps, advance))
    for text in reset.stays[len(foreseen) :]:
        console.print(plain(text))
    return _show_end(console, faults, wishes)


def _applying(wishes: Wishes) -> str:
    """The command that does what was shown."""
    words = ["reset", "--apply"]
    words += ["--to", shlex.quote(wishes.target)] if wishes.target else []
    words += ["--remove"] if wishes.removes else []
    words += ["--export", shlex.quote(str(wishes.export))] if wishes.export else []
    return " ".join(words)


def _are_rules_off(reset: Reset, wishes: Wishes) -> bool:
    """Ask the user: no server shows hand-made rules, and they would go on filing mail."""
    if not reset.has_hand_made_rules or wishes.rules_are_off:
        return True
    if not sys.stdin.isatty():
        raise MailroomError(
            "rules that were made by hand would file mail again: switch them off, then add "
            "--rules-are-off"
        )
    return _confirmed("Are the rules that you made by hand switched off?")


def _export(
    console: Console,
    create: Create,
    path: Path,
    reset: Reset,
    config: Config,
) -> None:
    """Write the decisions before anything is undone."""
    lines = list(decision_lines(reset.ours, reset.decisions, config))
    try:
        with create(path) as file:
            file.writelines(f"{line}\n" for line in lines)
    except FileExistsError as error:
        fault = f"{error.strerror}; name another file"
        raise MailroomError(f"cannot export to {path}: {fault}") from error
    except OSError as error:
        raise MailroomError(f"cannot export to {path}: {error.strerror}") from error
    console.print(plain(f"{count(len(lines), 'decision')} written to {path}"))


def _refuse_while_served(
    installation: Installation, sockets: Iterable[Path], config: Config
) -> None:
    """A service would triage what is being undone. One that cannot be asked might be serving it."""
    account = config.account
    if is_elsewhere(installation) and not installation.file.name.startswith("."):
        raise MailroomError(
            f"shard {installation.shard} may serve {account} on another host: switch it off there "
            f"and here ({_switching_off(installation, installation.member, installation.unit)})"
        )
    for path in sockets:
        try:
            status, body = ask(path, "GET", "/status")
        except MailroomError as error:
            if isinstance(error.__cause__, _NOBODY):
                continue
            raise
        document = json.loads(body) if status == HTTPStatus.OK else {"account": account}
        for name in _serving(path, document, account):
            service = behind(path)
            stop = service.stop_command()
            if name is not None:
                stop = _switching_off(installation, name, service.unit)
            raise MailroomError(
                f"a service answers for {account} at {path}: stop it first ({stop})"
            )


def _switching_off(installation: Installation, name: str | None, unit: str | None) -> str:
    """The command that switches off one of many accounts."""
    file = account_file(installation.config, name or "")
    return f"mv {file} {file.with_name(f'.{file.name}')} && systemctl reload {unit or 'mailroom'}"


def _serving(path: Path, document: Document, account: str) -> Iterator[str | None]:
    """Which of the accounts served there is this one: its name, or None for the only one."""
    if "members" not in document:
        if document["account"] == account:
            yield None
        return
    for member in document["members"]:
        if member["phase"] is not None:
            name = member["account"]
            _, body = ask(path, "GET", f"{prefix(name)}/status")
            if json.loads(body).get("account") == account:
                yield name


def _confirmed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise MailroomError("reset --apply asks before it begins: without a terminal, add --yes")
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:  # Ctrl+D
        sys.stdout.write("\n")
        return False


@contextmanager
def progress_bars(console: Console, steps: Sequence[Step]) -> Iterator[Callable[[Step], None]]:
    """A bar per stage, on a terminal only; yields a function to be called after each step."""
    if not console.is_terminal:
        yield lambda _step: None
        return
    columns = (TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console) as progress:
        bars = {}
        for stage in sorted({step.stage for step in steps}):
            total = sum(_size(step) for step in steps if step.stage is stage)
            bars[stage] = progress.add_task(stage.name.lower(), total=total)
        yield lambda step: progress.advance(bars[step.stage], _size(step))


def _size(step: Step) -> int:
    return len(step.patches) if isinstance(step, RefileMails) else 1


def _show_end(console: Console, faults: Sequence[Fault], wishes: Wishes) -> int:
    for fault in faults:
        console.print(f"[red]✗[/] {plain(fault.step.text)}: {plain(fault.reason)}")
    if faults:
        console.print("The rest is undone: run it again.")
        return 1
    left = "Mailboxes, labels and groups are still there: --remove removes those that setup made."
    console.print("Done." if wishes.removes else f"Done. {left}")
    return 0
