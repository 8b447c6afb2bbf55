"""Limits on how many may do something at once, however they have come there."""

import math
from collections import defaultdict, deque

from mailroom.engine.loop import Promise

# Before the servers have said what they allow: as many as Stalwart does, which has the least
# (0.15.5: for an account, whatever the requests are about).
_FEW = 4


class Gate:
    """Lets so many through at a time; the others wait in line."""

    def __init__(self) -> None:
        self._inside = 0
        self._line: deque[Promise[None]] = deque()

    async def enter(self, most: float) -> None:
        """Wait until fewer than ``most`` are inside. Whoever comes in must :meth:`leave`."""
        while self._inside >= most:
            turn: Promise[None] = Promise()
            self._line.append(turn)
            try:
                await turn
            except GeneratorExit:  # whoever waits has been cancelled
                self._leave_line(turn)
                raise
        self._inside += 1

    def leave(self) -> None:
        self._inside -= 1
        self._let_next()

    def _let_next(self) -> None:
        if self._line:
            self._line.popleft().resolve(None)

    def _leave_line(self, turn: Promise[None]) -> None:
        if turn.done:  # it was the next one's already, who will not come
            self._let_next()
        else:
            self._line.remove(turn)


class Doorway:
    """For all requests of one account, to whichever servers: mail and contacts that are on one
    server share what it allows at once. Servers are told apart by their origins."""

    def __init__(self) -> None:
        self._gates: defaultdict[tuple[str, bool], Gate] = defaultdict(Gate)
        self._limits: dict[str, tuple[int, bool]] = {}

    def allow(self, origin: str, most: int, *, counts_carddav: bool) -> None:
        """So many requests of JMAP may be under way there, those of CardDAV among them or not."""
        self._limits[origin] = most, counts_carddav

    async def enter(self, origin: str, *, is_carddav: bool) -> Gate:
        """Wait for one's turn. Whoever comes in must leave the gate."""
        elsewhere = math.inf if self._limits else _FEW, True
        most, counts_carddav = self._limits.get(origin, elsewhere)
        is_free = is_carddav and not counts_carddav
        gate = self._gates[origin, is_free]
        await gate.enter(math.inf if is_free else most)
        return gate
