"""Limits on how many may do something at once, however they have come there."""

import math
from collections import defaultdict, deque

from mailroom.engine.loop import Loop, Promise
from mailroom.errors import Silent
from mailroom.rules.polling.pace import Pace
from mailroom.rules.polling.silence import Silence

# Before the servers have said what they allow: as many as Stalwart does, which has the least
# (0.15.5: for an account, whatever the requests are about).
_FEW = 4
# A server at work answers within some ten milliseconds, but for the first sync of a large book.
_LATE_SECONDS = 1.0


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

    def take(self, most: float) -> bool:
        """Come in if that is at once; says whether it was."""
        if self.is_full(most):
            return False
        self._inside += 1
        return True

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


class Lanes:
    """The places at one server. A request that has gone unanswered for a second gives its place
    to the next in line, as long as fewer than ``most`` have done so; and whoever has been left so
    asks in the slow lane from then on, until an answer comes in time. So a server that answers
    some accounts late, or never, answers the others as ever."""

    def __init__(self) -> None:
        self.quick = Gate()
        self.slow = Gate()
        self.silence = Silence()

    def refuse(self) -> None:
        """Nobody waits in line any more."""
        for gate in (self.quick, self.slow):
            gate.refuse_line(_silent())


class Servers:
    """What all accounts of the process ask of each server together: so many requests are under way
    at once, and as many again that the server leaves waiting; and so often a second an account
    begins to speak with it. Servers are told apart by their origins, here and below; the limits may
    be changed. One call is about ``objects_at_once`` at most."""

    def __init__(self, most_at_once: float = math.inf, starts_per_second: float = math.inf) -> None:
        self.most_at_once = most_at_once
        self.objects_at_once = math.inf
        self._starts_per_second = starts_per_second
        self._lanes: defaultdict[str, Lanes] = defaultdict(Lanes)
        self._paces: dict[str, Pace] = {}

    def limit(self, most_at_once: float, starts_per_second: float) -> None:
        """From now on; who is inside or has been given a turn keeps it."""
        self.most_at_once, self._starts_per_second = most_at_once, starts_per_second
        for pace in self._paces.values():
            pace.per_second = starts_per_second

    def lanes(self, origin: str) -> Lanes:
        return self._lanes[origin]

    def silence(self, origin: str) -> Silence:
        return self._lanes[origin].silence

    def pace(self, origin: str) -> Pace:
        return self._paces.setdefault(origin, Pace(self._starts_per_second))


class Turn:
    """One request is under way. Whoever has it tells what came of it, and must :meth:`leave`."""

    def __init__(self, doorway: "Doorway", origin: str, own: Gate, shared: Gate) -> None:
        self._doorway, self._origin = doorway, origin
        self._own, self._shared = own, shared
        self._lanes = doorway.servers.lanes(origin)
        self._is_late = False
        self._timer = doorway.loop.call_at(doorway.loop.now() + _LATE_SECONDS, self._make_way)

    def answered(self, now: float) -> None:
        self._lanes.silence.answered(now)

    def timed_out(self, sent_at: float) -> None:
        """Those who wait would fare no better, and would all be there when the server is back."""
        self._lanes.silence.timed_out(sent_at)
        if self._lanes.silence.is_on:
            self._lanes.refuse()

    def leave(self) -> None:
        self._timer.cancel()
        if not self._is_late:
            self._doorway.slow -= {self._origin}
        self._own.leave()
        self._shared.leave()

    def _make_way(self) -> None:
        self._is_late = True
        self._doorway.slow |= {self._origin}
        is_quick, slow = self._shared is self._lanes.quick, self._lanes.slow
        if is_quick and slow.take(self._doorway.servers.most_at_once):
            self._shared.leave()
            self._shared = slow


class Doorway:
    """For all requests of one account, to whichever servers: mail and contacts that are on one
    server share what it allows at once, and all accounts what we allow ourselves. ``slow`` are the
    servers that leave the account waiting."""

    def __init__(self, loop: Loop, servers: Servers) -> None:
        self.loop = loop
        self.servers = servers
        self.slow: frozenset[str] = frozenset()
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
        own = self._gates[origin, is_free]
        await own.enter(math.inf if is_free else most)
        lanes = self.servers.lanes(origin)
        shared = lanes.slow if origin in self.slow else lanes.quick
        try:
            if lanes.silence.is_on and shared.is_full(self.servers.most_at_once):
                raise _silent()
            await shared.enter(self.servers.most_at_once)
        except (GeneratorExit, Silent):  # GeneratorExit: whoever waits has been cancelled
            own.leave()
            raise
        return Turn(self, origin, own, shared)


def _silent() -> Silent:
    return Silent("nothing more is asked of the server, which answers nobody for now")
