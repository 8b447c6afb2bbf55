"""From exec to READY=1 on Debian 13: the time, and the CPU beside that of the bare imports."""

from collections.abc import Iterator

from tests.bench import trixie
from tests.bench.effort import Effort
from tests.bench.figures import Figure, typical
from tests.system.unit import Unit

# A closed port: what comes after READY=1 is not measured here.
_CONFIG = (
    "jmap:\n  url: http://127.0.0.1:9\n  username: alice\ncarddav:\n  url: http://127.0.0.1:9\n"
)


def on_trixie(effort: Effort) -> Iterator[Figure]:
    with trixie.booted() as host:
        Unit(host)
        trixie.probe(host, "starts", 2, _CONFIG)  # warm caches
        starts = trixie.probe(host, "starts", effort.times(30), _CONFIG)
    seconds = [seconds * 1000 for seconds, _, _ in starts]
    yield typical("exec to READY=1, trixie", "ms", "<=", 250, seconds)
    ratios = [cpu / imports for _, cpu, imports in starts]
    yield typical("exec to READY=1: CPU over that of the imports", "times", "<=", 1.5, ratios)
