"""``mailroom`` with a watch on its loop: ``python -m tests.bench.turns FILE run …`` notes in FILE
every turn that takes long, in milliseconds by the clock and of CPU."""

import runpy
import sys
import time
from pathlib import Path

from mailroom.engine.loop import Loop

_LONG_SECONDS = 0.005


class _Watch:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = Loop.turn
        self._cpu_before = 0.0

    def turn(self, loop: Loop) -> None:
        self._cpu_before = time.thread_time()
        self._turn(loop)
        seconds = loop.now() - loop.turn_began
        if seconds > _LONG_SECONDS:
            cpu = time.thread_time() - self._cpu_before
            with self._path.open("a") as file:
                file.write(f"{seconds * 1000:.1f} {cpu * 1000:.1f}\n")


def main() -> None:
    watch = _Watch(Path(sys.argv.pop(1)))

    def turn(self: Loop) -> None:
        watch.turn(self)

    Loop.turn = turn  # type: ignore[method-assign]
    runpy.run_module("mailroom", run_name="__main__")


if __name__ == "__main__":
    main()
