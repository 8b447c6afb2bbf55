"""``mailroom status`` of a service with many accounts: the worst first, as many as fit."""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mailroom.rules.words import count
from mailroom.terminal.columns import aligned
from mailroom.terminal.harmless import harmless
from mailroom.terminal.times import clock_face, span

Document = Mapping[str, Any]

# So many fit on a screen, whatever they are like. Of more only those with trouble are shown.
_SHORT = 20
# A server that is away is the trouble of all: then these are enough to see it.
_MOST_TROUBLES = 40
_NO_TERMINAL_CELLS = 1000
_HEADS = ("account", "health", "push", "waiting", "last poll", "")


def show_accounts(document: Document, *, shows_all: bool = False) -> bool:
    """Print how the service and its accounts are; returns whether it is healthy."""
    members = sorted(document["members"], key=_rank)
    shown = members if shows_all else _chosen(members)
    for what, text in _rows(document):
        sys.stdout.write(f"{what:<9} {text}\n")
    table = aligned([_HEADS, *map(_row, shown)], _width())
    sys.stdout.writelines(f"{line}\n" for line in ["", *table])
    sys.stdout.writelines(f"{line}\n" for line in _rest(members[len(shown) :]))
    return bool(document["status"] == "ok")


def _rank(member: Document) -> tuple[int, str]:
    """Trouble first, then what is on its way, then what is well."""
    if member["status"] != "ok":
        return 0, member["account"]
    if member["reason"]:
        return 1, member["account"]
    return (3 if member["push"] == "connected" else 2), member["account"]


def _chosen(members: Sequence[Document]) -> Sequence[Document]:
    if len(members) <= _SHORT:
        return members
    return [each for each in members if each["reason"]][:_MOST_TROUBLES]


def _rows(document: Document) -> Iterator[tuple[str, str]]:
    up = span(document["uptime_seconds"])
    yield "mailroom", f"{document['version']}, pid {document['pid']}, up {up}"
    well = document["accounts"]
    ill = f", {well['unhealthy']} unhealthy" if well["unhealthy"] else ""
    yield "accounts", f"{well['ok'] + well['unhealthy']}: {well['ok']} ok{ill}"
    if document["reason"]:
        yield "health", f"unhealthy: {harmless(document['reason'])}"
    yield "push", f"{document['eventsource']['connected']} connected"
    waiting = [each["waiting_senders"] for each in document["members"] if each["waiting_senders"]]
    yield "waiting", f"{count(sum(waiting), 'sender')} in {count(len(waiting), 'account')}"
    if refused := document["refused_reload"]:
        problems = f"\n{'':<9} ".join(map(harmless, refused["problems"]))
        yield "refused", f"the reload of {clock_face(refused['at'])}: {problems}"


def _row(member: Document) -> tuple[str, ...]:
    waiting, last = member["waiting_senders"], member["last_poll_at"]
    return (
        harmless(member["account"]),
        member["status"],
        member["push"] or "-",
        "-" if waiting is None else str(waiting),
        clock_face(last) if last else "-",
        harmless(member["reason"] or ""),
    )


def _rest(left: Iterable[Document]) -> Iterator[str]:
    """Those that are not shown, counted."""
    kinds: dict[str, int] = {}
    for each in left:
        kind = "with trouble" if each["reason"] else f"ok, push {each['push']}"
        kinds[kind] = kinds.get(kind, 0) + 1
    if kinds:
        told = "; ".join(f"{number} {kind}" for kind, number in kinds.items())
        yield f"and {told} (--all shows them, --account NAME one)"


def _width() -> int:
    if not sys.stdout.isatty():
        return _NO_TERMINAL_CELLS
    return os.get_terminal_size(sys.stdout.fileno()).columns
