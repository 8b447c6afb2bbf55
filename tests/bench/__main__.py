"""``python -m tests.bench [--short] [--record] [GROUP ...]``: measure, print the table, write the
results.

A full run writes ``results.json``, for its figures belong together, and draws the plots
(``growth``) and the table of docs/fleet.md (``model``), which can also be asked for. Figures of
single groups get there by ``--record``, each with its own date. Nothing here is a test; a target
that is missed is printed as a miss, and the exit code is 0.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pycurl

from mailroom import __version__
from tests.bench import (
    address_book,
    cyrus,
    door,
    fleet,
    growth,
    idling,
    importing,
    model,
    paper,
    polls,
    readers,
    startup,
    stopping,
    sweep,
    vcards,
)
from tests.bench.effort import Effort
from tests.bench.figures import Figure, table
from tests.say import say

Group = Callable[[Effort], Iterator[Figure]]

GROUPS: Mapping[str, Group] = {
    "idle-poll": polls.idle,
    "one-sender": polls.one_sender,
    "50-senders": polls.fifty_senders,
    "sweep": sweep.ten_thousand,
    "sweep-cyrus": cyrus.ten_thousand,
    "idle-cyrus": cyrus.idle_polls,
    "address-book": address_book.sizes,
    "decisions": door.decisions,
    "arrivals": door.arrivals,
    "burst": door.burst,
    "sweep-door": door.sweep,
    "storm": door.storm,
    "first-look": door.first_look,
    "echoes": polls.echoes,
    "100-taps": polls.hundred_taps,
    "import": importing.ten_thousand,
    "event-readers": readers.of_events,
    "idling": idling.on_trixie,
    "start-up": startup.on_trixie,
    "stopping": stopping.moments,
    "vcards": vcards.edits,
    "fleet": fleet.many,
    "fleet-far": fleet.far,
    "paper": paper.herds,
}
# What is not measured but drawn, and can be asked for like a group.
DRAWN = "growth", "model"
RESULTS = Path(__file__).parent / "results.json"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=", ".join([*GROUPS, *DRAWN]))
    parser.add_argument("--short", action="store_true", help="a tenth of the repetitions")
    parser.add_argument("--record", action="store_true", help="put the groups into results.json")
    options = parser.parse_args()
    if unknown := set(options.groups) - {*GROUPS, *DRAWN}:
        parser.error(f"no such group: {', '.join(sorted(unknown))}")
    effort = Effort(options.short)
    figures: list[Figure] = []
    for name in options.groups or GROUPS:
        if name not in DRAWN:
            figures += _measured(name, GROUPS[name], effort)
    if figures:
        say("", *table(figures), "", _summary(figures))
    is_full = not (options.groups or options.short)
    if is_full:
        _write(_document(figures))
    elif options.record:
        _write(_joined(json.loads(RESULTS.read_text()), figures))
    if is_full or "growth" in options.groups:
        growth.draw()
    if is_full or options.record or "model" in options.groups:
        model.draw()
    return 0


def _measured(name: str, group: Group, effort: Effort) -> list[Figure]:
    """The figures of a group; one that cannot be measured costs no other."""
    say(f"== {name}")
    figures: list[Figure] = []
    try:
        for figure in group(effort):
            figures.append(figure)
            say(*table([figure])[1:])
    except Exception:  # noqa: BLE001 - an hour of measuring is not thrown away for one group
        traceback.print_exc()
        say(f"{name}: not measured")
    return figures


def _summary(figures: list[Figure]) -> str:
    missed = sum(not figure.is_met for figure in figures)
    return f"{len(figures)} figures, {missed} missed"


def _document(figures: list[Figure]) -> dict[str, Any]:
    cores = len(os.sched_getaffinity(0))
    return {
        "machine": f"{platform.machine()}, {cores} cores, Linux {platform.release()}",
        "versions": {
            "mailroom": __version__,
            "python": platform.python_version(),
            "libcurl": pycurl.version,
            "radicale": importlib.metadata.version("radicale"),
        },
        "date": _now(),
        "figures": [figure.to_data() for figure in figures],
    }


def _joined(document: dict[str, Any], figures: list[Figure]) -> dict[str, Any]:
    """The former results with these figures in place of those of the same name."""
    date = _now()
    new = {figure.name: figure.to_data() | {"date": date} for figure in figures}
    kept = [each for each in document["figures"] if each["name"] not in new]
    return document | {"figures": [*kept, *new.values()]}


def _write(document: Mapping[str, Any]) -> None:
    RESULTS.write_text(json.dumps(document, indent=2) + "\n")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


if __name__ == "__main__":
    sys.exit(main())
