"""When Python looks for cyclic garbage, and at what.

A thousand accounts are some 250,000 objects that stay. To look at them all takes a quarter of a
second, in which the loop does nothing else, and Python would do it every few seconds. So what has
survived a look that took long is left alone (``gc.freeze``) until something large has gone.
"""

import gc
import time

# A poll, an arrival, a tap and an answer leave nothing that holds itself (tests/test_garbage.py);
# errors leave some. So to look is rarely of use, and with much under way each look takes time.
_THRESHOLDS = (5_000, 5, 5)
# A fifth of the longest turn that the loop allows itself (engine/loop.py).
_LONG_SECONDS = 0.001


class GarbageCollection:
    """Of the whole process, until :meth:`stop`."""

    def __init__(self) -> None:
        self._began = 0.0
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

    def _watch(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._began = time.perf_counter()
        elif info["generation"] and time.perf_counter() - self._began > _LONG_SECONDS:
            gc.freeze()
