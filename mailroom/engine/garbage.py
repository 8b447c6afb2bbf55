"""When Python looks for cyclic garbage, and at what.

A thousand accounts are some 250,000 objects that stay, and with a mail for each of them 80,000 more
that come and go. To look at all of these takes a quarter of a second, in which the loop does
nothing else, and Python would do it every few seconds. So it is done every ten minutes, when the
loop is about to wait, and what has survived a look that took long is left alone (``gc.freeze``)
until something large has gone.
"""

import gc
import time

from mailroom.engine.loop import Loop

# A poll, an arrival, a tap and an answer leave nothing that holds itself (tests/test_garbage.py),
# errors leave some: a look is rarely of use.
_LOOK_SECONDS = 600.0
# So many objects more than at the last look, and Python looks by itself: some 50 MiB of errors. A
# thousand accounts that begin, or get a mail each, must not come to that.
_THRESHOLDS = (500_000, 5, 5)
# A fifth of the longest turn that the loop allows itself (engine/loop.py).
_LONG_SECONDS = 0.001


class GarbageCollection:
    """Of the whole process, until :meth:`stop`."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._look_at = loop.now() + _LOOK_SECONDS
        self._began = 0.0
        loop.on_idle = self._look
        gc.set_threshold(*_THRESHOLDS)
        gc.callbacks.append(self._watch)

    def leave_alone(self) -> None:
        """What is there now stays."""
        gc.freeze()

    def look_at_all(self) -> None:
        """Accounts have gone: with the next look everything is looked at once more."""
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
