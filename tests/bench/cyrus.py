"""On Cyrus: one sender with 10,000 mails, beside the time of the bare ``Email/set`` batches; and an
idle poll of an account with 50,000 mails, with the door and without."""

import time
from collections.abc import Callable, Iterator
from itertools import islice
from statistics import median

from mailroom.engine.credentials import Basic, Logins
from mailroom.engine.journal import Level, Log
from mailroom.rules.configuration.config import from_data
from mailroom.rules.polling.schedule import Trigger
from mailroom.rules.triage.drags import WAITING
from mailroom.terminal.context import context_for, quietly
from mailroom.work.polling.poll import Poller
from tests.bench import trixie
from tests.bench.effort import Effort
from tests.bench.figures import Figure, typical, worst
from tests.system.cyrus import PASSWORD, Cyrus, User, mail
from tests.system.scene import Scene, furnish, quiet, set_up

_MAILS = 10_000
_BATCH = 4096
_SENDER = "bob@example.org"
_PATIENCE_SECONDS = 300.0
_IDLE_MAILS = 50_000
_ROUNDS, _POLLS = 10, 20
# The first looks at everything, the second takes in what the first has written.
_POLLS_TO_REST = 3


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
        f"one sender, {count:,} mails, Cyrus: wall over the floor", "times", "<=", 1.05, ratios
    )


def idle_polls(effort: Effort) -> Iterator[Figure]:
    """Polls that find nothing, by an account with a door and by one without, by turns; a fifth of
    the mail waits."""
    count = effort.times(_IDLE_MAILS)
    with trixie.booted() as host:
        cyrus = Cyrus.start(host, push=False)
        _fill(cyrus.user("alice"), count)
        with host.network():
            yield from _idle_ratios(cyrus.url, count, effort)


def _fill(user: User, count: int) -> None:
    boxes = furnish(user)
    mails = (mail(f"S{n} <s{n % 999}@example.org>", f"{n}") for n in range(count))
    while batch := list(islice(mails, 1000)):
        user.receive(*batch)
    waiting = user.call("Email/query", filter={"inMailbox": boxes["Inbox"]})["ids"][::5]
    for start in range(0, len(waiting), _BATCH):
        move = {boxes["Screener"]: True, boxes["Inbox"]: False}
        user.patch_all(waiting[start : start + _BATCH], move)
        mark = {f"keywords/{WAITING}": True}
        user.call("Email/set", update=dict.fromkeys(waiting[start : start + _BATCH], mark))


def _idle_ratios(url: str, count: int, effort: Effort) -> Iterator[Figure]:
    with_door, without = _poller(url, "server"), _poller(url, "off")
    rounds = range(effort.times(_ROUNDS))
    regular = [_ratio(with_door, without, is_regular=True) for _ in rounds]
    told = [_ratio(with_door, without, is_regular=False) for _ in rounds]
    name = f"{count:,} mails, Cyrus: with the door over without"
    yield typical(f"idle poll, {name}", "times", "<=", 1.3, regular)
    yield typical(f"poll by push that finds nothing, {name}", "times", "<=", 2, told)


def _poller(url: str, by: str) -> Callable[[bool], float]:
    """An account at rest: what polls it, and tells how many seconds that took."""
    login = Basic("alice", PASSWORD)
    servers = {"jmap": {"url": url, "username": "alice"}, "carddav": {"url": url}}
    config = from_data({**servers, "screening": {"by": by}})
    context = context_for(config, Logins(login, login))
    log = Log(quietly, Level.ERROR)
    poller = Poller(context.loop, config, context.clients.mail, context.clients.contacts, log)

    def poll(is_regular: bool) -> float:
        begun = time.perf_counter()
        context.run(poller.poll(Trigger.SCHEDULED if is_regular else Trigger.PUSH))
        return time.perf_counter() - begun

    for _ in range(_POLLS_TO_REST):
        poll(False)
    return poll


def _ratio(
    one: Callable[[bool], float], other: Callable[[bool], float], *, is_regular: bool
) -> float:
    """The typical seconds of the one over those of the other."""
    pairs = [(one(is_regular), other(is_regular)) for _ in range(_POLLS)]
    return median(each for each, _ in pairs) / median(each for _, each in pairs)


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
