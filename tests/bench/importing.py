"""``mailroom import``: ten thousand decisions by command, on a server that answers after 50 ms."""

import subprocess
import sys
import time
from collections.abc import Iterator

from tests.bench.effort import Effort
from tests.bench.figures import Figure, worst
from tests.bench.stage import DELAY, Stage
from tests.sandbox import CYRUS_3_10, CYRUS_3_13

_LINES = 10_000
_CATEGORIES = ("Feed", "Jail", "Paper Trail")
_WAYS = (("carddav", CYRUS_3_10), ("jmap", CYRUS_3_13))


def ten_thousand(effort: Effort) -> Iterator[Figure]:
    """From the command to its last answer; a tenth of the lines is enough for a short look."""
    lines = effort.times(_LINES)
    text = "".join(f"s{n}@example.org,{_CATEGORIES[n % 3]}\n" for n in range(lines))
    for by, profile in _WAYS:
        with Stage.open(profile, contacts={"by": by}) as stage:
            stage.sandbox.controls.delay_seconds = DELAY
            began = time.monotonic()
            socket = str(stage.process.socket)
            command = [
                sys.executable,
                "-m",
                "mailroom",
                "import",
                "--socket",
                socket,
                "--apply",
                "-",
            ]
            done = subprocess.run(
                command,
                input=f"address,category\n{text}",
                capture_output=True,
                text=True,
                check=True,
            )
            assert done.stdout == f"{lines} made\n", done.stdout
            took = time.monotonic() - began
        yield worst(f"import of {lines:,} lines, contacts by {by}", "s", "<=", 180, [took])
