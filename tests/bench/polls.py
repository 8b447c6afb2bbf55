"""What polls cost: requests, dependent round trips, and waiting as a multiple of the delay."""

import time
from collections.abc import Iterator

from tests.bench.effort import Effort
from tests.bench.figures import Figure, typical, worst
from tests.bench.stage import DELAY, QUIET, Stage, Work
from tests.sandbox import CYRUS_3_10, CYRUS_3_13, Entry, Profile, longest_chain
from tests.sandbox.log import most_at_once

_SENDERS = 50
_TAPS, _TAPPING_SECONDS = 100, 5.0
_ECHO_SECONDS = 5.0


def idle(effort: Effort) -> Iterator[Figure]:
    requests, connections = _idle_polls(effort, CYRUS_3_10, "carddav")
    yield worst("idle poll", "requests", "<=", 1, requests)
    yield worst("all these idle polls", "connections", "<=", 1, [len(connections)])
    requests, _ = _idle_polls(effort, CYRUS_3_13, "jmap")
    yield worst("idle poll, contacts by JMAP", "requests", "<=", 1, requests)


def _idle_polls(effort: Effort, profile: Profile, by: str) -> tuple[list[int], set[str]]:
    """How many requests each takes, and over which connections all of them."""
    with Stage.open(profile, contacts={"by": by}) as stage:
        stage.deliver("Bob <bob@example.org>", 20)
        stage.settle()
        requests: list[int] = []
        connections: set[str] = set()
        for _ in range(effort.times(20)):
            number, polls = len(stage.sandbox.log.entries), stage.status()["poll_count"]
            stage.process.ask("/poll", "POST")
            stage.until(lambda polls=polls: stage.status()["poll_count"] > polls)  # type: ignore[misc]
            entries = stage.since(number)
            requests.append(len(entries))
            connections |= {entry.connection for entry in entries}
    return requests, connections


def one_sender(effort: Effort) -> Iterator[Figure]:
    """New senders of 20 mails each, then a change of mind about each of them."""
    for name, works in _taps(effort, CYRUS_3_10, "carddav").items():
        yield from _round_trips(f"{name}, 20 mails, 50 ms", works, 5)
    for name, works in _taps(effort, CYRUS_3_13, "jmap").items():
        told = f"{name}, 20 mails, 50 ms, by JMAP"
        yield from _round_trips(told, works, 4)
        yield worst(f"{told}: requests", "requests", "<=", 4, [len(w.entries) for w in works])


def _taps(effort: Effort, profile: Profile, by: str) -> dict[str, list[Work]]:
    new, again = [], []
    with Stage.open(profile, contacts={"by": by}) as stage:
        stage.sandbox.controls.delay_seconds = DELAY
        for n in range(effort.times(15)):
            mails = stage.deliver(f"Sender {n} <sender{n}@example.org>", 20)
            new.append(stage.tap("@ToFeed", mails[7]))
            again.append(stage.tap("@ToJail", mails[3]))
    return {"new sender": new, "re-triage": again}


def _round_trips(name: str, works: list[Work], most: int) -> Iterator[Figure]:
    chains = [len(longest_chain(work.entries)) for work in works]
    yield worst(f"{name}: dependent round trips", "round trips", "<=", most, chains)
    walls = [(work.seconds - QUIET) / DELAY for work in works]
    yield typical(f"{name}: wall beyond the quiet window", "delays", "<=", most + 1, walls)


def fifty_senders(effort: Effort) -> Iterator[Figure]:
    works = [_tap_of_fifty(CYRUS_3_10, "carddav") for _ in range(effort.times(5))]
    puts = [[entry for entry in work.entries if _is_contact(entry)] for work in works]
    others = [
        longest_chain(entry for entry in work.entries if not _is_contact(entry)) for work in works
    ]
    name = "50 new senders, 50 ms"
    chains = [len(chain) for chain in others]
    yield worst(f"{name}: round trips but for contacts", "round trips", "<=", 5, chains)
    at_once = [most_at_once(entries) for entries in puts]
    yield worst(f"{name}: contact PUTs at a time", "requests", ">=", 6, at_once)
    requests = [len(work.entries) for work in works]
    yield worst(f"{name}: requests", "requests", "<=", _SENDERS + 20, requests)
    walls = [work.seconds / DELAY for work in works]
    yield typical(f"{name}: wall", "delays", "<=", 20, walls)
    works = [_tap_of_fifty(CYRUS_3_13, "jmap") for _ in range(effort.times(5))]
    name += ", by JMAP"
    trips = [len(longest_chain(work.entries)) for work in works]
    yield worst(f"{name}: round trips", "round trips", "<=", 4, trips)
    yield worst(f"{name}: requests", "requests", "<=", 4, [len(work.entries) for work in works])
    walls = [work.seconds / DELAY for work in works]
    yield typical(f"{name}: wall", "delays", "<=", 20, walls)


def _tap_of_fifty(profile: Profile, by: str) -> Work:
    with Stage.open(profile, contacts={"by": by}) as stage:
        senders = [f"Sender {n} <s{n}@x{n % 9}.example>" for n in range(_SENDERS)]
        mails = [stage.deliver(sender, 2)[0] for sender in senders]
        stage.settle()
        stage.sandbox.controls.delay_seconds = DELAY
        return stage.tap("@ToBillboard", *mails)


def _is_contact(entry: Entry) -> bool:
    return entry.method == "PUT" and "group-" not in entry.path


def echoes(effort: Effort) -> Iterator[Figure]:
    echoed = []
    with Stage.open() as stage:
        for n in range(effort.times(10)):
            mails = stage.deliver(f"Sender {n} <sender{n}@example.org>", 20)
            stage.settle()
            work = stage.tap("@ToImbox", mails[0])
            polls = stage.status()["poll_count"]
            time.sleep(effort.seconds(_ECHO_SECONDS))
            echoed.append(work.polls - 1 + stage.status()["poll_count"] - polls)
    yield worst("echo polls after one tap", "polls", "<=", 0, echoed)


def hundred_taps(effort: Effort) -> Iterator[Figure]:
    polls = []
    for _ in range(effort.times(3)):
        with Stage.open() as stage:
            mails = stage.deliver("Bob <bob@example.org>", _TAPS)
            stage.settle()
            before, begun = stage.status()["poll_count"], time.monotonic()
            for n, mail in enumerate(mails, 1):
                _tap_one(stage, mail)
                time.sleep(max(0.0, begun + n * _TAPPING_SECONDS / _TAPS - time.monotonic()))
            stage.until(lambda stage=stage: not stage.has_mail_in("@ToFeed"))  # type: ignore[misc]
            stage.settle()
            polls.append(stage.status()["poll_count"] - before)
    yield worst("100 taps in 5 s", "polls", "<=", 3, polls)


def _tap_one(stage: Stage, mail: str) -> None:
    with stage.sandbox.lock:
        stage.sandbox.label(mail, "@ToFeed")
