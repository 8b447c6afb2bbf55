"""New mail: what each arrival costs, very many at once, and the first look after a start."""

import contextlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mailroom.rules.configuration.config import from_data
from mailroom.rules.screening.standing import Facts, admitted, standing
from mailroom.rules.triage.drags import WAITING
from mailroom.rules.triage.places import find_places
from mailroom.wire.jmap import Address, Mail, Mailbox
from tests.bench.address_book import card
from tests.bench.effort import Effort
from tests.bench.figures import Figure, tail, typical, worst
from tests.bench.stage import DELAY, QUIET, Memory, Stage, Work, asking
from tests.process import SECRET, Process, configuration
from tests.sandbox import CYRUS_3_10, CYRUS_3_13, Entry, Profile, Sandbox, longest_chain, serve
from tests.sandbox.log import most_at_once

_DECISIONS = 20_000
_BURST = 500
_SWEPT = 10_000
_STORM, _STRANGERS, _STORM_SECONDS, _AT_ONCE = 10_000, 2_000, 60.0, 20
_WAITING = 10_000
_SENT = 1_000
# Whose mail it is, and how many round trips it takes by CardDAV: two where the index knows, three
# where Sent is asked.
_ARRIVALS = (("a contact's", 2), ("a group's", 2), ("of one written to", 3), ("a stranger's", 3))


def decisions(effort: Effort) -> Iterator[Figure]:
    """Whose mail it is, and the patch for it, by the seconds of one core; of contacts, members,
    strangers and domains by turns."""
    config = from_data({"jmap": {"url": "https://mail.example.org", "username": "alice"}})
    boxes = [Mailbox(name, name, None, name.lower()) for name in ("Inbox", "Junk")]
    boxes += [Mailbox(name, name, None, None) for name in config.managed_mailboxes]
    places = find_places(config, boxes)
    asked = Facts(is_written=False, is_conversation=False)
    facts = (
        Facts(is_in_book=True),
        Facts(groups=frozenset({"Feed"})),
        asked,
        Facts(by_domain="Jail"),
    )
    mails = [
        Mail(f"M{n}", (Address("", f"s{n}@example.org"),), frozenset({"Screener"}))
        for n in range(_DECISIONS)
    ]
    rates = []
    for _ in range(effort.times(10)):
        begun = time.process_time()
        for number, mail in enumerate(mails):
            found = standing(facts[number % len(facts)], config)
            assert found is not None
            admitted(mail, found, places)
        rates.append(_DECISIONS / (time.process_time() - begun))
    yield typical("decisions about new mail", "per second", ">=", 20_000, rates)


def arrivals(effort: Effort) -> Iterator[Figure]:
    """From a mail's arrival in Screener to its place."""
    yield from _moved(effort, CYRUS_3_10, "carddav", [trips for _, trips in _ARRIVALS])
    yield from _moved(effort, CYRUS_3_13, "jmap", [3] * len(_ARRIVALS))


def _moved(effort: Effort, profile: Profile, by: str, most: Sequence[int]) -> Iterator[Figure]:
    works: list[list[Work]] = [[] for _ in _ARRIVALS]
    with Stage.open(profile, contacts={"by": by}) as stage:
        stage.sandbox.send("Bob <bob@example.org>", "a question")
        stage.sandbox.put_card(card(3))
        stage.tap("@ToFeed", *stage.deliver("Cat <cat@example.org>", 1))
        # Contacts that have come since are known from the next look at the address book on.
        stage.tap("@ToFeed", *stage.deliver("Dan <dan@example.org>", 1))
        _arrived(stage, "dan@example.org")
        stage.sandbox.controls.delay_seconds = DELAY
        for n in range(effort.times(15)):
            stranger = f"eve{n}@example.net"
            senders = ("sender3@example.org", "cat@example.org", "bob@example.org", stranger)
            for work, sender in zip(works, senders, strict=True):
                work.append(_arrived(stage, sender))
    for (whose, _), trips, done in zip(_ARRIVALS, most, works, strict=True):
        name = f"new mail {whose}, 50 ms{', by JMAP' if by == 'jmap' else ''}"
        chains = [len(longest_chain(filter(_is_of_poll, work.entries))) for work in done]
        yield worst(f"{name}: dependent round trips", "round trips", "<=", trips, chains)
        walls = [(work.seconds - QUIET) / DELAY for work in done]
        yield typical(f"{name}: wall beyond the quiet window", "delays", "<=", trips + 1, walls)


def _is_of_poll(entry: Entry) -> bool:
    """Not that which counts who waits, some time after polls, nor, once in five minutes, the
    question for changes of the address book."""
    return entry.method != "REPORT" and entry.calls != ("Email/get",)


def _arrived(stage: Stage, sender: str) -> Work:
    """A mail comes in; wait for the end of it all."""
    number, polls = len(stage.sandbox.log.entries), stage.status()["poll_count"]
    with stage.sandbox.lock:
        came_at = stage.sandbox.clock()
        stage.sandbox.deliver(sender)
    stage.until(lambda: stage.status()["poll_count"] > polls)
    stage.settle()
    return Work(came_at, stage.since(number), stage.status()["poll_count"] - polls)


def burst(effort: Effort) -> Iterator[Figure]:
    """500 people of the address book write at the same instant."""
    for profile, by in ((CYRUS_3_10, "carddav"), (CYRUS_3_13, "jmap")):
        requests = [_burst(profile, by) for _ in range(effort.times(3))]
        name = f"{_BURST} mails of known people at once{', by JMAP' if by == 'jmap' else ''}"
        yield worst(name, "requests", "<=", 8, requests)


def _burst(profile: Profile, by: str) -> int:
    with Stage.open(profile, _befriend, contacts={"by": by}) as stage:
        number = len(stage.sandbox.log.entries)
        with stage.sandbox.lock:
            mails = {stage.sandbox.deliver(f"sender{n}@example.org") for n in range(_BURST)}
        stage.until(lambda: not mails & stage.sandbox.mails_in("Screener"))
        stage.settle()
        return len(stage.since(number))


def _befriend(sandbox: Sandbox) -> None:
    for n in range(_BURST):
        sandbox.put_card(card(n))


def sweep(effort: Effort) -> Iterator[Figure]:
    """One sender with 10,000 mails, with the door and without, by turns."""
    ratios = []
    for _ in range(effort.times(3)):
        with_door, without = _sweep_seconds("server"), _sweep_seconds("off")
        ratios.append(with_door / without)
    name = f"one sender, {_SWEPT:,} mails: wall with the door over without"
    yield typical(name, "times", "<=", 1.3, ratios)


def _sweep_seconds(by: str) -> float:
    with Stage.open(screening={"by": by}) as stage:
        mails = stage.deliver("Bob <bob@example.org>", _SWEPT)
        stage.settle()
        return stage.tap("@ToFeed", mails[0]).seconds


def storm(effort: Effort) -> Iterator[Figure]:
    """10,000 mails within a minute from 2,000 strangers, all of which Mailroom itself moves."""
    growth, polls, answers, late = [], [], [], []
    for _ in range(effort.times(1)):
        with Stage.open(furnish=_write_to_others, screening={"by": "mailroom"}) as stage:
            idle = Memory.of(stage.pid).rss
            Memory.forget_peak(stage.pid)
            before = stage.status()["poll_count"]
            with asking(stage.process.socket) as asker:
                _rage(stage, effort.times(_STORM))
                ended = time.monotonic()
                stage.until(lambda: not stage.has_mail_in("Inbox"))
                late.append(time.monotonic() - ended)
                answers += json.loads(asker.communicate()[0])
            stage.settle()
            growth.append(Memory.of(stage.pid).peak - idle)
            polls.append(stage.status()["poll_count"] - before)
    name = f"{effort.times(_STORM):,} arrivals in a minute"
    most = effort.seconds(_STORM_SECONDS) / 3 + 2
    yield worst(f"{name}: polls", "polls", "<=", most, polls)
    yield worst(f"{name}: peak RSS over idle", "MiB", "<=", 10, growth)
    yield worst(f"{name}: the last is moved after", "s", "<=", 6, late)
    yield tail(f"/healthz during {name}: p99", "ms", 20, answers)


def _write_to_others(sandbox: Sandbox) -> None:
    for n in range(_SENT):
        sandbox.send(f"friend{n}@example.org", "Hello")


def _rage(stage: Stage, count: int) -> None:
    begun = time.monotonic()
    for start in range(0, count, _AT_ONCE):
        with stage.sandbox.lock:
            for number in range(start, start + _AT_ONCE):
                sender = f"s{number % _STRANGERS}@strangers.example"
                stage.sandbox.deliver(sender, mailbox="Inbox")
        due = begun + _STORM_SECONDS * (start + _AT_ONCE) / _STORM
        time.sleep(max(0.0, due - time.monotonic()))


def first_look(effort: Effort) -> Iterator[Figure]:
    """A start with 10,000 mails in Screener that nobody has looked at: as many requests at once as
    are made to decide about them and to count them, one for each."""
    answers: list[float] = []
    at_once: list[int] = []
    for _ in range(effort.times(3)):
        sandbox = Sandbox(password=SECRET)
        sandbox.standard_account()
        with serve(sandbox) as running:
            with _started(running.url) as process:  # the door is used from now on
                process.until(lambda: process.ask("/healthz")[1]["poll_count"] > 0)
            with sandbox.lock:
                mails = [sandbox.deliver(f"s{n % 999}@example.net") for n in range(_WAITING)]
            number = len(sandbox.log.entries)
            sandbox.controls.delay_seconds = DELAY
            with _started(running.url) as process, asking(process.socket) as asker:
                process.until(_all_marked(sandbox, mails), "marked", 300.0)
                answers += json.loads(asker.communicate()[0])
            entries = [each for each in sandbox.log.since(number) if "Email/get" in each.calls]
            at_once.append(most_at_once(entries))
    name = f"first look at {_WAITING:,} mails in Screener"
    yield worst(f"{name}: requests at once", "requests", "<=", 2, at_once)
    yield tail(f"/healthz during the {name}: p99", "ms", 20, answers)


@contextlib.contextmanager
def _started(url: str) -> Iterator[Process]:
    with tempfile.TemporaryDirectory(prefix="mailroom-") as name:
        folder = Path(name)
        with Process(folder, configuration(folder, url)) as process:
            yield process.until_told("READY=1")


def _all_marked(sandbox: Sandbox, mails: Sequence[str]) -> Callable[[], bool]:
    left = set(mails)

    def reached() -> bool:
        time.sleep(0.1)
        with sandbox.lock:
            left.difference_update({each for each in left if WAITING in sandbox.keywords_of(each)})
        return not left

    return reached
