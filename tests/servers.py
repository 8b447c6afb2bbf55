"""What was run on real servers, as the table of ``docs/servers.md``.

Tests on a real server say which one (:data:`SERVER`, a property of theirs, in ``Cyrus 3.10.2``).
Where the variable SERVER_RESULTS names a file, their outcomes are added to it at the end of each
run of pytest, a line each; :func:`draw` makes the table anew from it. Rows of servers that were not
run this time stay as they are, with their day.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

SERVER = "server"
RESULTS = "SERVER_RESULTS"
DOCUMENT = Path(__file__).parents[1] / "docs" / "servers.md"

_OUTCOMES = ("passed", "failed", "skipped")
_RULES = "every rule of triage, contacts by {way}"
_SUBJECTS = {
    "test_jmap": "mail by JMAP, as Mailroom asks for it",
    "test_eventsource": "push",
    "test_arrivals": "new mail, as the door looks at it",
    "test_carddav": "CardDAV, as Mailroom asks for it",
    "test_jmap_contacts": "contacts by JMAP, as Mailroom asks for them",
    "test_contacts": "all that Mailroom does with contacts, by {way}",
    "test_stalwart": "what Stalwart does otherwise",
    "test_rules": _RULES,
    "test_rules_cyrus313": _RULES,
    "test_rules_stalwart": _RULES,
    "test_secure_job": "the main job by the unit, over HTTPS, contacts by {way}",
    "test_stream_cyrus313": "polls where an open stream holds up all else, contacts by {way}",
    "test_job_stalwart": "the service as a unit, and its commands, contacts by {way}",
    "test_digest": "the daily mail",
    "test_household": "a day of a household, mail by mail",
    "test_screening": "every case of screening, delivered by LMTP",
    "test_sent": "whom the user has written to",
    "test_sieve": "Sieve scripts, as Mailroom writes them",
    "test_cyrus": "what Mailroom's design takes from Cyrus",
}
_WAYS = {"carddav": "CardDAV", "jmap": "JMAP"}
_HEAD = "| server | what | day | passed | failed | skipped |\n|---|---|---|---|---|---|\n"
_BLOCK = re.compile(r"(?<=<!-- runs -->\n).*?(?=<!-- /runs -->)", re.DOTALL)
# In the id of a test that has a choice.
_WAY = re.compile(r"\bby (carddav|jmap)\b")

#: Server and subject → day and outcomes.
Table = dict[tuple[str, str], tuple[str, tuple[int, ...]]]


def note(reports: Mapping[str, Iterable[object]]) -> None:
    """Add pytest's reports, by their outcome, to the file that the variable names."""
    if place := os.environ.get(RESULTS):
        with Path(place).open("a", encoding="utf-8") as results:
            results.writelines(f"{json.dumps(each)}\n" for each in _told(reports))


def draw(results: Path, document: Path = DOCUMENT) -> None:
    """Put what was run today into the document's table."""
    lines = map(json.loads, results.read_text(encoding="utf-8").splitlines())
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    counted = Counter((server, subject, outcome) for server, subject, outcome in lines)
    new: Table = {
        (server, subject): (today, tuple(counted[server, subject, each] for each in _OUTCOMES))
        for server, subject, _ in counted
    }
    text = document.read_text(encoding="utf-8")
    document.write_text(_BLOCK.sub(lambda block: drawn(block[0], new), text), encoding="utf-8")


def drawn(block: str, new: Table) -> str:
    """The table with the new rows in place of those of the same series of a server."""
    run = {_series(server) for server, _ in new}
    table = {key: row for key, row in _rows(block) if _series(key[0]) not in run} | new
    lines = (
        f"| {server} | {subject} | {day} | {' | '.join(map(str, outcomes))} |\n"
        for (server, subject), (day, outcomes) in sorted(table.items(), key=_in_order)
    )
    return _HEAD + "".join(lines)


def _rows(block: str) -> Iterator[tuple[tuple[str, str], tuple[str, tuple[int, ...]]]]:
    for line in block.splitlines()[2:]:
        server, subject, day, *outcomes = (cell.strip() for cell in line.strip("|").split("|"))
        yield (server, subject), (day, tuple(map(int, outcomes)))


def _in_order(item: tuple[tuple[str, str], object]) -> tuple[object, ...]:
    (server, subject), _ = item
    name, _, version = server.partition(" ")
    return name, [int(number) for number in re.findall(r"\d+", version)], subject


def _series(server: str) -> str:
    """Name and series: what a newer patch release takes the place of."""
    name, _, version = server.partition(" ")
    return f"{name} {'.'.join(version.split('.')[:2])}"


def _told(reports: Mapping[str, Iterable[object]]) -> Iterator[tuple[str, str, str]]:
    for outcome, each in reports.items():
        kind = "failed" if outcome == "error" else outcome
        for report in each if kind in _OUTCOMES else ():
            server = dict(getattr(report, "user_properties", ())).get(SERVER)
            if server:
                yield server, _subject(getattr(report, "nodeid", "")), kind


def _subject(nodeid: str) -> str:
    module = Path(nodeid.partition("::")[0]).stem
    way = _WAY.search(nodeid)
    return _SUBJECTS.get(module, module).format(way=_WAYS[way[1] if way else "carddav"])
