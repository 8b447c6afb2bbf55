"""One sender with 10,000 mails on Cyrus, beside the time of the bare ``Email/set`` batches."""

import time
from collections.abc import Iterator

from tests.bench import trixie
from tests.bench.effort import Effort
from tests.bench.figures import Figure, worst
from tests.system.cyrus import mail
from tests.system.scene import Scene, quiet, set_up

_MAILS = 10_000
_BATCH = 4096
_SENDER = "bob@example.org"
_PATIENCE_SECONDS = 300.0


def ten_thousand(effort: Effort) -> Iterator[Figure]:
    count = effort.times(_MAILS)
    with trixie.booted() as host:
        scene = set_up(host, push=True, poll_interval=3600)
        scene.user.receive(*(mail(f"Bob <{_SENDER}>", f"{n}") for n in range(count)))
        mails = _ids(scene, {"inMailbox": scene.mailboxes["Inbox"]})
        _move(scene, mails, "Inbox", "Screener")
        _await_index(scene, count)
        quiet(scene)
        begun = time.monotonic()
        scene.user.patch(mails[0], {scene.mailboxes["@ToFeed"]: True})
        scene.await_off("@ToFeed", _PATIENCE_SECONDS)
        wall = time.monotonic() - begun
        quiet(scene)
        scene.unit.systemctl("stop")
        floors = [_move(scene, mails, "Feed", "Screener"), _move(scene, mails, "Screener", "Feed")]
    ratios = [wall / (sum(floors) / len(floors))]
    yield worst(
        f"one sender, {count:,} mails, Cyrus: wall over the floor", "times", "<=", 1.3, ratios
    )


def _ids(scene: Scene, query: dict[str, str]) -> list[str]:
    ids: list[str] = scene.user.call("Email/query", filter=query)["ids"]
    return ids


def _await_index(scene: Scene, count: int) -> None:
    """Until the search finds them all: the indexer is a little behind."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while len(_ids(scene, {"from": _SENDER})) < count:
        if time.monotonic() > deadline:
            raise RuntimeError("the search of Cyrus does not find the mails")
        time.sleep(0.5)


def _move(scene: Scene, mails: list[str], source: str, target: str) -> float:
    """The bare batches, one after the other; returns the seconds they took."""
    begun = time.monotonic()
    for start in range(0, len(mails), _BATCH):
        change = {scene.mailboxes[target]: True, scene.mailboxes[source]: False}
        scene.user.patch_all(mails[start : start + _BATCH], change)
    return time.monotonic() - begun
