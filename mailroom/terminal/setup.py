"""``mailroom setup``: shows what is there and what will be created; with ``--apply``, creates it.

With ``--rules`` also the routing rules; if the server has no interface for them, it explains how to
make them by hand.
"""

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console

from mailroom.engine.journal import Log
from mailroom.engine.unit import Installation
from mailroom.rules.account.setup import Item, ItemStatus
from mailroom.rules.screening.byhand import instructions, unneeded, without_rules
from mailroom.rules.screening.scripts import SCRIPT_NAME, ScriptPlan, advice_to_include
from mailroom.rules.words import count
from mailroom.terminal.context import Context, open_context, quietly
from mailroom.terminal.screen import output, plain, table
from mailroom.work.screening.door import Door
from mailroom.work.setup.letin import LetIn
from mailroom.work.setup.routing import NoSieve, Routing, Unroutable
from mailroom.work.setup.setup import Setup

_STYLES = {
    ItemStatus.EXISTS: "dim",
    ItemStatus.MISSING: "yellow",
    ItemStatus.CREATED: "green",
    ItemStatus.CLASH: "red",
    ItemStatus.FAILED: "red",
}


def show_setup(
    installation: Installation,
    environ: Mapping[str, str],
    *,
    apply: bool,
    rules: bool,
    lets_in: bool,
) -> int:
    """Set up, or show what would be done; returns 1 if anything is in the way."""
    console = output()
    context = open_context(installation, environ)
    setup = Setup(context.loop, context.config, context.clients)
    items = _applied(console, context, setup) if apply else _planned(console, context, setup)
    is_ready = all(item.status in (ItemStatus.EXISTS, ItemStatus.CREATED) for item in items)
    refused = 0
    if is_ready and context.config.screening.by != "off":
        refused = _show_known(console, context, apply=apply and lets_in)
    if rules and is_ready:
        return _show_rules(console, context, apply=apply) or int(refused > 0)
    if rules:
        console.print("The routing rules follow once all of this is there.")
    return int(refused > 0 or any(item.is_fault for item in items))


def _show_known(console: Console, context: Context, *, apply: bool) -> int:
    """Tell of people who wait although they are known, or let them in; returns how many mails the
    server refused to move."""
    door = Door(
        context.loop, context.config, context.clients.mail, context.clients.contacts, Log(quietly)
    )
    known = context.run(
        LetIn(context.loop, context.config, context.clients, door).known(apply=apply)
    )
    if not known.mails:
        return 0
    whose = f"{count(known.mails, 'mail')} of {count(known.senders, 'sender')} whom you know"
    if apply:
        told = f"{whose}: let in" + (f", {known.refused} not" if known.refused else "")
    else:
        verb = "waits" if known.mails == 1 else "wait"
        advice = context.config.command("setup --apply --let-known-in")
        told = f"{whose} {verb} in Screener: {advice} lets them in"
    console.print(plain(told))
    return known.refused


def _show_rules(console: Console, context: Context, *, apply: bool) -> int:
    """Write the script, or show it; returns 1 if the user has to activate it."""
    routing = Routing(context.loop, context.config, context.clients)
    if context.config.screening.by != "server":
        was_there = context.run(routing.lift(apply=apply))
        for line in unneeded(context.config, was_there=was_there, apply=apply):
            console.print(plain(line))
        return 0
    try:
        routed = context.run(routing.apply() if apply else routing.plan())
    except NoSieve as error:
        console.print(f"Routing rules: {plain(error)}.")
        is_hopeless = isinstance(error, Unroutable)
        for line in (without_rules if is_hopeless else instructions)(context.config):
            console.print(plain(line))
        return 0
    decision = routed.decision
    if decision.is_written and not apply:
        for line in routed.text.splitlines():
            console.print(plain(line))
    for line in _rules_lines(decision, apply=apply):
        console.print(line)
    for line in advice_to_include(decision.users_active) if decision.users_active else ():
        console.print(plain(line))
    return int(decision.users_active is not None)


def _rules_lines(decision: ScriptPlan, *, apply: bool) -> Iterator[str]:
    script = f"routing rules: the script {SCRIPT_NAME}"
    done = ("[green]written[/]", "active") if apply else ("[yellow]will write[/]", "will be active")
    if decision.is_written:
        yield f"{script}: {done[0]}"
    if decision.is_activated:
        yield f"{script}: {done[1]}"
    if not (decision.is_written or decision.is_activated):
        yield f"{script}: [dim]exists[/]"
    if decision.under:
        yield f"{script}: runs where your own script {plain(repr(decision.under))} says so"


def _planned(console: Console, context: Context, setup: Setup) -> Sequence[Item]:
    items = context.run(setup.plan())
    shown = table("", "Name", "for", "")
    for item in items:
        shown.add_row(item.kind, plain(item.name), plain(item.purpose), _status(item))
    console.print(shown)
    missing = sum(item.status is ItemStatus.MISSING for item in items)
    if missing:
        console.print(f"{missing} to create: {context.config.command('setup --apply')}")
    elif not any(item.is_fault for item in items):
        console.print("Everything is there.")
    return items


def _applied(console: Console, context: Context, setup: Setup) -> Sequence[Item]:
    def show(item: Item) -> None:
        console.print(f"{item.kind:<13} {plain(item.name)}: {_status(item)}")

    items = context.run(setup.apply(show))
    created = sum(item.status is ItemStatus.CREATED for item in items)
    faults = sum(item.is_fault for item in items)
    there = len(items) - created - faults
    console.print(
        f"{created} created, {there} there already" + (f", {faults} not" if faults else "")
    )
    return items


def _status(item: Item) -> str:
    reason = f": {plain(item.reason)}" if item.reason else ""
    return f"[{_STYLES[item.status]}]{item.status}[/]{reason}"
