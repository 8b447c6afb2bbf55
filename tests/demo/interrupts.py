"""Ctrl+C, heard only where the demo waits: so nothing is ever half begun when it ends."""

import signal
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(Exception):
    """The user has seen enough."""


class Interrupts:
    """Notes the signals that ask to end, for as long as the context lasts."""

    def __init__(self) -> None:
        self._is_asked = False
        self._former: dict[signal.Signals, Any] = {}

    def check(self) -> None:
        """Raise Interrupted, once for every time that it was asked for."""
        if self._is_asked:
            self._is_asked = False
            raise Interrupted

    def __enter__(self) -> "Interrupts":
        self._former = {number: signal.signal(number, self._ask) for number in _SIGNALS}
        return self

    def __exit__(
        self,
        type_: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._is_asked = True
