"""Limits on how many may do something at once, however they have come there."""

import math
from collections import defaultdict, deque

from mailroom.engine.loop import Promise
from mailroom.errors import Silent
from mailroom.rules.polling.pace import Pace
from mailroom.rules.polling.silence import Silence

# Before the servers have said what they allow: as many as Stalwart does, which has the least
# (0.15.5: for an account, whatever the requests are about).
_FEW = 4


class Gate:
    """Lets so many through at a time; the others wait in line."""

    def __init__(self) -> None:
        self._inside = 0
        self._line: deque[Promise[None]] | None = None  # half a KiB that most never need

    def is_full(self, most: float) -> bool:
        return self._inside >= most

    async def enter(self, most: float) -> None:
        """Wait until fewer than ``most`` are inside. Whoever comes in must :meth:`leave`."""
        while self.is_full(most):
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

    def refuse_line(self, error: Exception) -> None:
        """Whoever waits has this error instead of coming in."""
        line, self._line = self._line, None
        for turn in line or ():
            turn.reject(error)

    def _let_next(self) -> None:
        if self._line:
            self._line.popleft().resolve(None)

    def _leave_line(self, turn: Promise[None]) -> None:
        if turn.done:  # it was the next one's already, who will not come
            self._let_next()
        elif self._line:
            self._line.remove(turn)


class Servers:
    """What all accounts of the process ask of each server together: so many requests are under way
    at once, and so often a second an account begins to speak with it. Servers are told apart by
    their origins, here and below; the limits may be changed."""

    def __init__(self, most_at_once: float = math.inf, starts_per_second: float = math.inf) -> None:
        self.most_at_once = most_at_once
        self._starts_per_second = starts_per_second
        self._gates: defaultdict[str, Gate] = defaultdict(Gate)
        self._silences: defaultdict[str, Silence] = defaultdict(Silence)
        self._paces: dict[str, Pace] = {}

    def limit(self, most_at_once: float, starts_per_second: float) -> None:
        """From now on; who is inside or has been given a turn keeps it."""
        self.most_at_once, self._starts_per_second = most_at_once, starts_per_second
        for pace in self._paces.values():
            pace.per_second = starts_per_second

    def gate(self, origin: str) -> Gate:
        return self._gates[origin]

    def silence(self, origin: str) -> Silence:
        return self._silences[origin]

    def pace(self, origin: str) -> Pace:
        return self._paces.setdefault(origin, Pace(self._starts_per_second))


class Turn:
    """One request is under way. Whoever has it tells what came of it, and must :meth:`leave`."""

    def __init__(self, own: Gate, shared: Gate, silence: Silence) -> None:
        self._own, self._shared, self._silence = own, shared, silence

    def answered(self, now: float) -> None:
        self._silence.answered(now)

    def timed_out(self, sent_at: float) -> None:
        """Those who wait would fare no better, and would all be there when the server is back."""
        self._silence.timed_out(sent_at)
        if self._silence.is_on:
            self._shared.refuse_line(_silent())

    def leave(self) -> None:
        self._own.leave()
        self._shared.leave()


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
        """Wait for one's turn, first among the account's own requests. Raises Silent where one
        would wait for a server that answers nobody."""
        elsewhere = math.inf if self._limits else _FEW, True
        most, counts_carddav = self._limits.get(origin, elsewhere)
        is_free = is_carddav and not counts_carddav
        gate = self._gates[origin, is_free]
        await gate.enter(math.inf if is_free else most)
        shared, silence = self._servers.gate(origin), self._servers.silence(origin)
        try:
            if silence.is_on and shared.is_full(self._servers.most_at_once):
                raise _silent()
            await shared.enter(self._servers.most_at_once)
        except (GeneratorExit, Silent):  # GeneratorExit: whoever waits has been cancelled
            gate.leave()
            raise
        return Turn(gate, shared, silence)


def _silent() -> Silent:
    return Silent("nothing more is asked of the server, which answers nobody for now")
