"""Limits on how many may do something at once, however they have come there."""

import math
from collections import defaultdict, deque

from mailroom.engine.loop import Promise
from mailroom.rules.polling.pace import Pace

# Before the servers have said what they allow: as many as Stalwart does, which has the least
# (0.15.5: for an account, whatever the requests are about).
_FEW = 4


class Gate:
    """Lets so many through at a time; the others wait in line."""

    def __init__(self) -> None:
        self._inside = 0
        self._line: deque[Promise[None]] | None = None  # half a KiB that most never need

    async def enter(self, most: float) -> None:
        """Wait until fewer than ``most`` are inside. Whoever comes in must :meth:`leave`."""
        while self._inside >= most:
            turn: Promise[None] = Promise()
            self._line = self._line if self._line is not None else deque()
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
            assert self._line is not None
            self._line.remove(turn)


class Servers:
    """What all accounts of the process ask of each server together: so many requests are under way
    at once, and so often a second an account begins to speak with it. Servers are told apart by
    their origins, here and below; the limits may be changed."""

    def __init__(self, most_at_once: float = math.inf, starts_per_second: float = math.inf) -> None:
        self.most_at_once = most_at_once
        self._starts_per_second = starts_per_second
        self._gates: defaultdict[str, Gate] = defaultdict(Gate)
        self._paces: dict[str, Pace] = {}

    def limit(self, most_at_once: float, starts_per_second: float) -> None:
        """From now on; who is inside or has been given a turn keeps it."""
        self.most_at_once, self._starts_per_second = most_at_once, starts_per_second
        for pace in self._paces.values():
            pace.per_second = starts_per_second

    def gate(self, origin: str) -> Gate:
        return self._gates[origin]

    def pace(self, origin: str) -> Pace:
        return self._paces.setdefault(origin, Pace(self._starts_per_second))


class Turn:
    """One request is under way. Whoever has it must :meth:`leave`."""

    def __init__(self, *gates: Gate) -> None:
        self._gates = gates

    def leave(self) -> None:
        for gate in self._gates:
            gate.leave()


class Doorway:
    """For all requests of one account, to whichever servers: mail and contacts that are on one
    server share what it allows at once, and all accounts what we allow ourselves."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._gates: defaultdict[tuple[str, bool], Gate] = defaultdict(Gate)
        self._limits: dict[str, tuple[int, bool]] = {}

    def allow(self, origin: str, most: int, *, counts_carddav: bool) -> None:
        """So many requests of JMAP may be under way there, those of CardDAV among them or not."""
        self._limits[origin] = most, counts_carddav

    async def enter(self, origin: str, *, is_carddav: bool) -> Turn:
        """Wait for one's turn, first among the account's own requests."""
        elsewhere = math.inf if self._limits else _FEW, True
        most, counts_carddav = self._limits.get(origin, elsewhere)
        is_free = is_carddav and not counts_carddav
        gate = self._gates[origin, is_free]
        await gate.enter(math.inf if is_free else most)
        shared = self._servers.gate(origin)
        try:
            await shared.enter(self._servers.most_at_once)
        except GeneratorExit:  # whoever waits has been cancelled
            gate.leave()
            raise
        return Turn(gate, shared)
