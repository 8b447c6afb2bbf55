"""Asks /healthz of a status socket again and again: ``python -m tests.bench.asker SOCKET``.

A process of its own: in the one that plays the mail server, its answers would wait for Python's
lock. Until its stdin is closed; then it prints the milliseconds of every answer as JSON.
"""

import json
import select
import sys
import time
from pathlib import Path

from mailroom.engine.client import ask

_PAUSE_SECONDS = 0.005


def main(path: Path) -> None:
    milliseconds = []
    while not select.select([sys.stdin], [], [], _PAUSE_SECONDS)[0]:
        begun = time.perf_counter()
        ask(path, "GET", "/healthz")
        milliseconds.append((time.perf_counter() - begun) * 1000)
    json.dump(milliseconds, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
