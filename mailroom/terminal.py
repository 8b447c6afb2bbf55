"""What people read in a terminal: ``check``, ``status`` and ``status --watch``, by rich.

The running service never imports this.
"""

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mailroom.engine.clock import BoottimeClock
from mailroom.engine.configfile import find_config, load
from mailroom.engine.credentials import load_credentials, logins
from mailroom.engine.loop import Loop, Task
from mailroom.engine.transfer import Transfer
from mailroom.rules.health import Totals
from mailroom.service import USER_AGENT
from mailroom.work.check import Check, Finding, worst
from mailroom.work.conversations import converse
from mailroom.work.preview import preview
from mailroom.work.survey import Surveyor

Document = Mapping[str, Any]

_WATCH_SECONDS = 0.5


def show_check(config_argument: str | None, environ: Mapping[str, str]) -> int:
    """Check everything, a tick per step; raises the error that decides the exit code."""
    console = Console(highlight=False, soft_wrap=True)
    path = find_config(config_argument, environ)
    config = load(path)
    _tick(console, Finding("configuration", str(path)))
    who = logins(config, credentials := load_credentials(environ))
    given = ", ".join(
        f"{name} {how}" for name, how in credentials.sources.items() if how != "not set"
    )
    _tick(console, Finding("credentials", given))
    loop = Loop(BoottimeClock())
    transfer = Transfer(loop, USER_AGENT, config.tls.ca_file)
    check = Check(loop, config, converse(loop, transfer, config, who, Totals()))
    findings = _run(loop, loop.spawn(check.run(lambda found: _tick(console, found)), "check"))
    error = worst(findings)
    if error is not None:
        raise error
    console.print("All is well.")
    return 0


def show_triage(
    config_argument: str | None, environ: Mapping[str, str], failing: Mapping[str, str]
) -> int:
    """Print what the next poll would do; ``failing`` is what the running service says of it."""
    config = load(find_config(config_argument, environ))
    loop = Loop(BoottimeClock())
    transfer = Transfer(loop, USER_AGENT, config.tls.ca_file)
    talks = converse(loop, transfer, config, logins(config, load_credentials(environ)), Totals())
    surveyor = Surveyor(loop, config, talks.mail, talks.contacts)
    survey = _run(loop, loop.spawn(surveyor.survey(), "survey"))
    rows = preview(survey, config, failing)
    console = Console(highlight=False)
    if not rows:
        console.print("No mail carries a label: the next poll has nothing to do.")
        return 0
    table = Table("From", "Label", "The next poll would", "because", box=SIMPLE_HEAD)
    for row in rows:
        cells = (row.sender, " ".join(row.labels), row.action, row.reason)
        table.add_row(*(_plain(cell) for cell in cells))
    console.print(table)
    return 0


def show_status(document: Document) -> bool:
    """Print how the service is; returns whether it is healthy."""
    console = Console(highlight=False, soft_wrap=True)
    for what, text in _status_rows(document):
        console.print(f"[bold]{what:<9}[/] {text}")
    _print_triages(console, document["recent_triages"][-5:])
    for sender in document["failing_senders"]:
        console.print(f"[red]failing[/] {_plain(sender['sender'])}: {_plain(sender['reason'])}")
    return bool(document["status"] == "ok")


def watch(ask: Callable[[], Document]) -> None:
    """Print a line for every poll that happens from now on, and for every triage."""
    console = Console(highlight=False, soft_wrap=True)
    before = ask()
    while True:
        time.sleep(_WATCH_SECONDS)
        now = ask()
        for line in news(before, now):
            console.print(line)
        before = now


def news(before: Document, now: Document) -> list[str]:
    """What happened between two answers of ``/status``: triages first, then their polls."""
    known = max((triage["number"] for triage in before["recent_triages"]), default=0)
    if now["pid"] != before["pid"]:
        return [f"{_clock_face(now['started_at'])}  restarted"]
    lines = [
        f"{_clock_face(triage['at'])}  {_triage(triage)}"
        for triage in now["recent_triages"]
        if triage["number"] > known
    ]
    at = _clock_face(now["last_poll_at"])
    for trigger, count in now["totals"]["polls"].items():
        new = count - before["totals"]["polls"].get(trigger, 0)
        lines += [f"{at}  poll ({trigger})"] * new
    return lines


def _status_rows(document: Document) -> list[tuple[str, str]]:
    push, upcoming = document["eventsource"], document["next_poll"]
    is_healthy = document["status"] == "ok"
    health = "[green]ok[/]" if is_healthy else f"[red]unhealthy[/]: {_plain(document['reason'])}"
    stream = push["status"]
    if push["connected_since"]:
        stream += f" since {_clock_face(push['connected_since'])}"
    if push["error"]:
        stream += f": {_plain(push['error'])}"
    last = "none yet"
    if document["last_poll_at"]:
        last = f"{_clock_face(document['last_poll_at'])} ({document['last_poll_trigger']})"
    due = f", next in {upcoming['in_seconds']:.0f} s ({upcoming['trigger']})" if upcoming else ""
    totals = document["totals"]
    triaged = sum(totals["senders_triaged"].values())
    return [
        ("mailroom", f"{document['version']}, pid {document['pid']}, {document['phase']}, up "
                     f"{_span(document['uptime_seconds'])}"),
        ("account", _plain(document["account"])),
        ("health", health),
        ("push", stream),
        ("polls", f"{document['poll_count']}, last {last}{due}"),
        ("triaged", f"{triaged} senders, {totals['mails_filed']} mails filed"),
    ]  # fmt: skip


def _print_triages(console: Console, triages: list[Document]) -> None:
    for triage in triages:
        console.print(f"  {_clock_face(triage['at'])}  {_triage(triage)}")


def _triage(triage: Document) -> str:
    was = f" (was {_plain(triage['previous'])})" if triage["previous"] else ""
    return (
        f"{_plain(triage['sender'])} → {_plain(triage['category'])}{was}, "
        f"{triage['filed']} mails ({triage['trigger']})"
    )


def _tick(console: Console, finding: Finding) -> None:
    mark = "[red]✗[/]" if finding.error else "[green]✓[/]"
    console.print(f"{mark} [bold]{finding.what}[/]: {_plain(finding.detail)}")


def _run(loop: Loop, task: Task[Any]) -> Any:
    # An awaited task hands its error on; result() raises it here.
    while not task.done:
        loop.turn()
    return task.result()


def _plain(text: object) -> str:
    """Text from elsewhere: no markup, nothing unprintable."""
    shown = "".join(char if char.isprintable() else "�" for char in str(text))
    return escape(shown)


def _clock_face(timestamp: str) -> str:
    return datetime.fromisoformat(timestamp).astimezone().strftime("%H:%M:%S")


def _span(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
