"""On Cyrus: one sender with 10,000 mails, beside the time of the bare ``Email/set`` batches; and an
idle poll of an account with 50,000 mails, with the door and without."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
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
from tests.bench.figures import Figure, typical
from tests.system.cyrus import PASSWORD, Cyrus, User, mail
from tests.system.scene import furnish

_MAILS = 10_000
_BATCH = 4096
_SENDER = "bob@example.org"
_PATIENCE_SECONDS = 300.0
_IDLE_MAILS = 50_000
_ROUNDS, _POLLS = 10, 20
_SAMPLES = 5
# The first looks at everything, the second takes in what the first has written.
_POLLS_TO_REST = 3

# Polls once, regularly or because of push; returns the seconds that it took.
_Poll = Callable[[bool], float]


def ten_thousand(effort: Effort) -> Iterator[Figure]:
    """Mail of one sender from yesterday, moved by a poll and moved back by bare batches, in turns.
    The floor of a poll is the mean of the batches before and after it."""
    count = effort.times(_MAILS)
    with trixie.booted() as host:
        cyrus = Cyrus.start(host, push=False)
        user = cyrus.user("alice")
        account = _Account(cyrus, user, furnish(user), _kept(user, "Feed", count))
        with host.network():
            poll = _poller(cyrus.url, "server")
            floors = [account.move_back()]
            sweeps = []
            for _ in range(effort.times(_SAMPLES)):
                sweeps.append(account.sweep(poll))
                floors.append(account.move_back())
    around = [(one + other) / 2 for one, other in pairwise(floors)]
    ratios = [sweep / floor for sweep, floor in zip(sweeps, around, strict=True)]
    yield typical(
        f"one sender, {count:,} mails, Cyrus: wall over the floor", "times", "<=", 1.05, ratios
    )


@dataclass(frozen=True, slots=True)
class _Account:
    """Mail of one sender. What moved mail leaves in its former mailbox makes each move slower than
    the last, so it is removed after each."""

    cyrus: Cyrus
    user: User
    boxes: Mapping[str, str]
    mails: Sequence[str]

    def sweep(self, poll: _Poll) -> float:
        """Move the mail from Screener to Feed by a tap; returns the seconds that the poll took."""
        for _ in range(_POLLS_TO_REST):
            poll(False)
        self.user.patch(self.mails[0], {self.boxes["@ToFeed"]: True})
        seconds = poll(False)
        if len(self._in("Feed")) < len(self.mails):
            raise RuntimeError("the poll has not moved the mail")
        self.cyrus.expire()
        return seconds

    def move_back(self) -> float:
        """The bare batches, one after the other; returns the seconds they took."""
        change = {self.boxes["Screener"]: True, self.boxes["Feed"]: False}
        begun = time.perf_counter()
        for start in range(0, len(self.mails), _BATCH):
            self.user.patch_all(self.mails[start : start + _BATCH], change)
        seconds = time.perf_counter() - begun
        self.cyrus.expire()
        return seconds

    def _in(self, mailbox: str) -> list[str]:
        return _ids(self.user, {"inMailbox": self.boxes[mailbox]})


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


def _poller(url: str, by: str) -> _Poll:
    """What polls an account that is at rest."""
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


def _ratio(one: _Poll, other: _Poll, *, is_regular: bool) -> float:
    """The typical seconds of the one over those of the other."""
    pairs = [(one(is_regular), other(is_regular)) for _ in range(_POLLS)]
    return median(each for each, _ in pairs) / median(each for _, each in pairs)


def _kept(user: User, mailbox: str, count: int) -> list[str]:
    """The ids of new mail from yesterday, once the search finds it: the indexer is a little
    behind."""
    mails = (mail(f"Bob <{_SENDER}>", f"{n}") for n in range(count))
    while batch := list(islice(mails, 500)):
        user.keep(mailbox, time.time() - 86400, batch)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while len(found := _ids(user, {"from": _SENDER})) < count:
        if time.monotonic() > deadline:
            raise RuntimeError("the search of Cyrus does not find the mails")
        time.sleep(0.5)
    return found


def _ids(user: User, query: Mapping[str, str]) -> list[str]:
    ids: list[str] = user.call("Email/query", filter=query)["ids"]
    return ids
