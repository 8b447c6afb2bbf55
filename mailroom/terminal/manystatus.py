"""``mailroom status`` of many accounts, of one service or of all shards of a host: the worst first,
and as many as fit on a screen."""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mailroom.rules.words import count
from mailroom.terminal.columns import aligned
from mailroom.terminal.harmless import harmless
from mailroom.terminal.times import clock_face, span

Document = Mapping[str, Any]

# So many fit on a screen, and are all shown. Of more, only those with trouble.
_SHORT = 20
# If a server is down, all accounts have the same trouble: so many are enough to see it.
_MOST_TROUBLES = 40
_NO_TERMINAL_CELLS = 1000
_HEADS = ("health", "push", "waiting", "last poll", "")


def show_accounts(document: Document, *, shows_all: bool = False) -> bool:
    """Print the status of the service and its accounts; returns whether it is healthy."""
    _print(_rows(document))
    _print_members(document["members"], shows_all=shows_all)
    return bool(document["status"] == "ok")


def show_shards(answers: Mapping[str, Document], *, shows_all: bool = False) -> bool:
    """The same for several services, by shard; one that did not answer has an ``error``."""
    told = {shard: document for shard, document in answers.items() if "error" not in document}
    for shard, document in answers.items():
        _print(_shard_rows(shard, document))
    members = [{**each, "shard": shard} for shard in told for each in told[shard]["members"]]
    _print([_waiting(members)])
    _print_members(members, shows_all=shows_all)
    return len(told) == len(answers) and all(each["status"] == "ok" for each in told.values())


def _print(rows: Iterable[tuple[str, str]]) -> None:
    for what, text in rows:
        sys.stdout.write(f"{what:<9} {text}\n")


def _print_members(found: Iterable[Document], *, shows_all: bool) -> None:
    members = sorted(found, key=_rank)
    shown = members if shows_all else _chosen(members)
    heads = ("account", *(["shard"] if "shard" in next(iter(shown), {}) else []), *_HEADS)
    table = aligned([heads, *map(_row, shown)], _width())
    sys.stdout.writelines(f"{line}\n" for line in ["", *table])
    sys.stdout.writelines(f"{line}\n" for line in _rest(members[len(shown) :]))


def _rank(member: Document) -> tuple[int, str]:
    """The unhealthy first, then those with a reason to look, then those without push."""
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
    yield "mailroom", _process(document)
    yield "accounts", _counts(document)
    if document["reason"]:
        yield "health", f"unhealthy: {harmless(document['reason'])}"
    yield "push", f"{document['eventsource']['connected']} connected"
    yield _waiting(document["members"])
    if refused := document["refused_reload"]:
        yield "refused", _refusal(refused)


def _shard_rows(shard: str, document: Document) -> Iterator[tuple[str, str]]:
    if "error" in document:
        yield "shard", f"{shard}: {harmless(document['error'])}"
        return
    push = f"{document['eventsource']['connected']} with push"
    yield "shard", f"{shard}: {_process(document)}; accounts {_counts(document)}, {push}"
    if document["reason"]:
        yield "health", f"{shard} unhealthy: {harmless(document['reason'])}"
    if refused := document["refused_reload"]:
        yield "refused", f"{shard}, {_refusal(refused)}"


def _process(document: Document) -> str:
    return f"{document['version']}, pid {document['pid']}, up {span(document['uptime_seconds'])}"


def _counts(document: Document) -> str:
    well = document["accounts"]
    ill = f", {well['unhealthy']} unhealthy" if well["unhealthy"] else ""
    return f"{well['ok'] + well['unhealthy']}: {well['ok']} ok{ill}"


def _waiting(members: Iterable[Document]) -> tuple[str, str]:
    waiting = [each["waiting_senders"] for each in members if each["waiting_senders"]]
    return "waiting", f"{count(sum(waiting), 'sender')} in {count(len(waiting), 'account')}"


def _refusal(refused: Document) -> str:
    problems = f"\n{'':<9} ".join(map(harmless, refused["problems"]))
    return f"the reload of {clock_face(refused['at'])}: {problems}"


def _row(member: Document) -> tuple[str, ...]:
    waiting, last = member["waiting_senders"], member["last_poll_at"]
    return (
        harmless(member["account"]),
        *([member["shard"]] if "shard" in member else []),
        member["status"],
        member["push"] or "-",
        "-" if waiting is None else str(waiting),
        clock_face(last) if last else "-",
        harmless(member["reason"] or ""),
    )


def _rest(left: Iterable[Document]) -> Iterator[str]:
    """Counts those that are not shown."""
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
