"""One sender with 10,000 mails on the sandbox: requests, memory, and whether it still answers."""

import json
from collections.abc import Iterator
from dataclasses import replace

from tests.bench.effort import Effort
from tests.bench.figures import Figure, tail, worst
from tests.bench.stage import Memory, Stage, asking
from tests.sandbox import CYRUS_3_10

MAILS = 10_000
LIMIT = 500
_LIMITS = replace(CYRUS_3_10.limits, max_objects_in_get=LIMIT, max_objects_in_set=LIMIT)
_PROFILE = replace(CYRUS_3_10, limits=_LIMITS)


def ten_thousand(effort: Effort) -> Iterator[Figure]:
    requests, growth, answers = [], [], []
    for _ in range(effort.times(3)):
        with Stage.open(_PROFILE) as stage:
            mails = stage.deliver("Bob <bob@example.org>", MAILS)
            stage.settle()
            idle = Memory.of(stage.pid).rss
            Memory.forget_peak(stage.pid)
            with asking(stage.process.socket) as asker:
                work = stage.tap("@ToFeed", mails[0])
                answers += json.loads(asker.communicate()[0])
            requests.append(len(work.entries))
            growth.append(Memory.of(stage.pid).peak - idle)
    name = f"one sender, {MAILS:,} mails, limits {LIMIT}"
    yield worst(f"{name}: requests", "requests", "<=", 2 * MAILS / LIMIT + 15, requests)
    yield worst(f"{name}: peak RSS over idle", "MiB", "<=", 25, growth)
    yield tail(f"/healthz during a sweep of {MAILS:,} mails: p99", "ms", 20, answers)
