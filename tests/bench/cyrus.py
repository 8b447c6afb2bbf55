"""On Cyrus: one sender with 10,000 mails, beside the time of the bare ``Email/set`` batches; and an
idle poll of an account with 50,000 mails, with the door and without."""

import time
from collections.abc import Iterator
from statistics import median

from mailroom.engine.credentials import Basic, Logins
from mailroom.rules import queries
from mailroom.rules.config import from_data
from mailroom.rules.places import find_places
from mailroom.terminal.desk import prepare
from tests.bench import trixie
from tests.bench.effort import Effort
from tests.bench.figures import Figure, worst
from tests.system.cyrus import PASSWORD, Cyrus, mail
from tests.system.scene import Scene, furnish, quiet, set_up

_MAILS = 10_000
_BATCH = 4096
_SENDER = "bob@example.org"
_PATIENCE_SECONDS = 300.0
_IDLE_MAILS = 50_000
_POLLS = 60


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


def idle_polls(effort: Effort) -> Iterator[Figure]:
    """The request of a poll that finds nothing; a fifth of the mail waits."""
    count = effort.times(_IDLE_MAILS)
    with trixie.booted() as host:
        cyrus = Cyrus.start(host, push=False)
        user = cyrus.user("alice")
        boxes = furnish(user)
        user.receive(*(mail(f"S{n} <s{n % 999}@example.org>", f"{n}") for n in range(count)))
        waiting = user.call("Email/query", filter={"inMailbox": boxes["Inbox"]})["ids"][::5]
        for start in range(0, len(waiting), _BATCH):
            move = {boxes["Screener"]: True, boxes["Inbox"]: False}
            user.patch_all(waiting[start : start + _BATCH], move)
        with host.network():
            spans = _spans(cyrus.url, effort.times(_POLLS))
    ratio = median(spans[True]) / median(spans[False])
    yield worst(
        f"idle poll, {count:,} mails, Cyrus: with the door over without",
        "times",
        "<=",
        1.3,
        [ratio],
    )


def _spans(url: str, polls: int) -> dict[bool, list[float]]:
    """The seconds of polls with the door and without, by turns."""
    login = Basic("alice", PASSWORD)
    desk = prepare(from_data({"jmap": {"url": url, "username": "alice"}}), Logins(login, login))
    reading = desk.run(desk.talks.mail.open(()))
    places, state = find_places(desk.config, reading.mailboxes), reading.states["Email"]
    with_door = [queries.asking(places), queries.unmarked(places, time.time())]
    spans: dict[bool, list[float]] = {True: [], False: []}
    for number in range(polls):
        has_door = number % 2 == 0
        begun = time.monotonic()
        if has_door:
            desk.run(desk.talks.mail.open(with_door, state))
        else:
            desk.run(desk.talks.mail.open([queries.labelled(places)]))
        spans[has_door].append(time.monotonic() - begun)
    return spans


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
