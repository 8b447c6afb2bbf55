"""Address books of many sizes: what a later sync reads, what the index holds, what start-up waits
for."""

import base64
import json
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mailroom.rules.contacts.addressbook import AddressBook, Indexed
from mailroom.rules.contacts.contact import summarise
from mailroom.wire.vcard import CardView
from tests.bench.effort import Effort
from tests.bench.figures import Figure, tail, typical, worst
from tests.bench.stage import Memory, Stage, asking
from tests.process import SECRET, Process, configuration
from tests.sandbox import CYRUS_3_13, Sandbox, serve

SIZES = (10, 1_000, 5_000, 20_000)
_PHOTO = base64.b64encode(bytes(range(256)) * 20).decode()
# Of tokens and counters, which grow with the number of changes.
_DIGITS = 16
_PARTIAL_NAMES = ("BEGIN", "VERSION", "UID", "FN", "EMAIL", "NOTE", "END")


def card(n: int, photo: str = "") -> str:
    """A contact as address book apps write them; some 0.4 KiB, and the photo."""
    lines = [
        "BEGIN:VCARD", "VERSION:3.0", f"UID:5b0c1de0-7c4e-4f6d-9a55-{n:012}",
        f"FN:Sender Number {n}", f"N:Number {n};Sender;;;", "ORG:Example;Department",
        f"EMAIL;TYPE=INTERNET,HOME:sender{n}@example.org", f"TEL;TYPE=CELL:+49 30 {n:07}",
        f"ADR;TYPE=HOME:;;Street {n};Town;;12345;Country", f"NOTE:Met in room {n}",
        f"X-APP-ID;VALUE=text:{n:032}",
    ]  # fmt: skip
    lines += [f"PHOTO;ENCODING=b;TYPE=JPEG:{photo}"] if photo else []
    return "".join(f"{line}\r\n" for line in [*lines, "END:VCARD"])


def sizes(effort: Effort) -> Iterator[Figure]:
    measured = SIZES[:2] if effort.is_short else SIZES
    later = {size: _bytes_of_later_syncs(size, effort) for size in measured}
    least = max(later[SIZES[0]])
    for size in measured[1:]:
        more = [received - least for received in later[size]]
        name = f"{size:,} cards: a later sync reads more than of 10"
        yield worst(name, "bytes", "<=", _DIGITS, more)
    for size in SIZES:
        yield worst(f"{size:,} cards: index", "bytes/card", "<=", 1024, [_index_bytes(size)])
    yield from _service_memory(effort)
    yield from _memory_by_jmap(effort)
    few, many = measured[0], measured[-1]
    starts = {size: _starts(size, effort.times(10)) for size in (few, many)}
    ratios = [many.ready / few.ready for many, few in zip(starts[many], starts[few], strict=True)]
    yield typical(f"{many:,} cards: exec to READY=1 over {few}", "times", "<=", 1.1, ratios)
    answers = [answer for start in starts[many] for answer in start.answers]
    yield tail(f"/healthz during the first sync of {many:,} cards: p99", "ms", 20, answers)


@dataclass(frozen=True, slots=True)
class _Start:
    """Seconds from exec to READY=1; milliseconds of every answer from then to the first poll's
    end."""

    ready: float
    answers: list[float]


def _bytes_of_later_syncs(size: int, effort: Effort) -> list[int]:
    """The sizes of the answers to every ``sync-collection`` from the second on."""
    with Stage.open(furnish=lambda sandbox: _fill(sandbox, size)) as stage:
        received = []
        for n in range(effort.times(10) + 1):
            mails = stage.deliver("Bob <sender3@example.org>", 1)
            work = stage.tap(("@ToFeed", "@ToJail")[n % 2], mails[0])
            syncs = [e.bytes_out for e in work.entries if e.method == "REPORT"]
            received.append(sum(syncs))
    return received[1:]


def _fill(sandbox: Sandbox, size: int, photo: str = "") -> None:
    for n in range(size):
        sandbox.put_card(card(n, photo))


def _index_bytes(size: int) -> float:
    """What Python allocates for the index, of cards as a partial ``address-data`` shows them."""
    tracemalloc.start()
    book = AddressBook()
    for n in range(size):
        lines = card(n).splitlines(keepends=True)
        partial = "".join(line for line in lines if line.startswith(_PARTIAL_NAMES)).encode()
        href = f"/dav/addressbooks/user/alice/Default/{n:032}.vcf"
        book.put(Indexed(href, f'"{n:032}"', summarise(CardView.glance(partial))))
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return used / size


def _service_memory(effort: Effort) -> Iterator[Figure]:
    """The whole service, after its first sync: what of its memory every card accounts for."""
    size = SIZES[1] if effort.is_short else SIZES[2]
    resident = {}
    for name, count, photo in (("", 10, ""), ("", size, ""), (", photos", size, _PHOTO)):
        with Stage.open(furnish=lambda s, c=count, p=photo: _fill(s, c, p)) as stage:  # type: ignore[misc]
            mails = stage.deliver("Bob <sender3@example.org>", 1)
            stage.tap("@ToFeed", mails[0])
            resident[name, count] = Memory.of(stage.pid).rss
    for name in ("", ", photos"):
        per_card = (resident[name, size] - resident["", 10]) * 2**20 / size
        yield worst(f"{size:,} cards{name}: RSS", "bytes/card", "<=", 1024, [per_card])


def _memory_by_jmap(effort: Effort) -> Iterator[Figure]:
    """The same where contacts go by JMAP, which keeps no index."""
    size = SIZES[1] if effort.is_short else SIZES[2]
    resident = []
    for count in (10, size):
        furnish = partial(_fill, size=count)
        with Stage.open(CYRUS_3_13, furnish=furnish, contacts={"by": "jmap"}) as stage:
            mails = stage.deliver("Bob <sender3@example.org>", 1)
            stage.tap("@ToFeed", mails[0])
            resident.append(Memory.of(stage.pid).rss)
    per_card = (resident[1] - resident[0]) * 2**20 / size
    yield worst(f"{size:,} cards, by JMAP: RSS", "bytes/card", "<=", 256, [per_card])


def _starts(size: int, count: int) -> list[_Start]:
    sandbox = Sandbox(password=SECRET)
    sandbox.standard_account()
    _fill(sandbox, size)
    with serve(sandbox) as running:
        return [_start(running.url) for _ in range(count)]


def _start(url: str) -> _Start:
    with tempfile.TemporaryDirectory(prefix="mailroom-") as name:
        folder = Path(name)
        begun = time.perf_counter()
        with Process(folder, configuration(folder, url)) as process:
            process.until_told("READY=1")
            ready = time.perf_counter() - begun
            with asking(process.socket) as asker:
                process.until(lambda: process.ask("/healthz")[1]["poll_count"] > 0)
                answers = json.loads(asker.communicate()[0])
    return _Start(ready, answers)
