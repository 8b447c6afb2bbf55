"""When Python looks for cyclic garbage, and in which objects.

A thousand accounts are some 250,000 objects that stay, and a mail for each makes 80,000 more that
come and go. Looking at all of them takes a quarter of a second, in which the loop does nothing
else, and Python would do so every few seconds. So the collector runs every ten minutes, when the
loop is about to wait. What survives a long collection is ignored from then on (``gc.freeze``),
until accounts have gone.
"""

import gc
import time

from mailroom.engine.loop import Loop

# A poll, an arrival, a tap and an answer leave no cycles (tests/test_garbage.py); errors leave a
# few. So a collection rarely finds anything.
_LOOK_SECONDS = 600.0
# With so many objects more than at the last collection, Python collects by itself: some 50 MiB of
# errors. A thousand accounts that start, or get a mail each, must stay below.
_THRESHOLDS = (500_000, 5, 5)
# A fifth of the longest turn that the loop allows itself (engine/loop.py).
_LONG_SECONDS = 0.001


class GarbageCollection:
    """Governs the collector of the whole process until :meth:`stop`."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._look_at = loop.now() + _LOOK_SECONDS
        self._began = 0.0
        loop.on_idle(self._look)
        gc.set_threshold(*_THRESHOLDS)
        gc.callbacks.append(self._watch)

    def ignore_all(self) -> None:
        """From now on the collector ignores all that exists now."""
        gc.freeze()

    def collect_all_again(self) -> None:
        """Accounts have gone: the next collection looks at everything once more."""
        gc.unfreeze()

    def stop(self) -> None:
        gc.callbacks.remove(self._watch)

    def _look(self) -> None:
        now = self._loop.now()
        if now >= self._look_at:
            self._look_at = now + _LOOK_SECONDS
            gc.collect()

    def _watch(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._began = time.perf_counter()
        elif info["generation"] and time.perf_counter() - self._began > _LONG_SECONDS:
            gc.freeze()
