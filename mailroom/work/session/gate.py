"""Limits on how many requests run at once: for each account, and for each server."""

import math
from collections import defaultdict, deque

from mailroom.engine.loop import Loop, Promise
from mailroom.errors import Silent
from mailroom.rules.polling.pace import Pace
from mailroom.rules.polling.silence import Silence

# Until a server has announced its limit: that of Stalwart, which is the lowest (0.15.5: for an
# account, mail and contacts together).
_FEW = 4
# A working server answers within some ten milliseconds, except the first sync of a large book.
_LATE_SECONDS = 1.0


class Gate:
    """Lets a limited number in at a time; the others wait in line."""

    def __init__(self) -> None:
        self._inside = 0
        self._line: deque[Promise[None]] | None = None  # made when needed: half a KiB

    def is_full(self, most: float) -> bool:
        return self._inside >= most

    async def enter(self, most: float) -> None:
        """Wait until fewer than ``most`` are inside. Whoever enters must :meth:`leave`."""
        while self.is_full(most):
            turn: Promise[None] = Promise()
            self._line = self._line if self._line is not None else deque()
            self._line.append(turn)
            try:
                await turn
            except GeneratorExit:  # the waiting task was cancelled
                self._leave_line(turn)
                raise
        self._inside += 1

    def take(self, most: float) -> bool:
        """Enter if that needs no waiting; returns whether it did."""
        if self.is_full(most):
            return False
        self._inside += 1
        return True

    def leave(self) -> None:
        self._inside -= 1
        self._let_next()

    def refuse_line(self, error: Exception) -> None:
        """Give everybody in line this error instead of a place."""
        line, self._line = self._line, None
        for turn in line or ():
            turn.reject(error)

    def _let_next(self) -> None:
        if self._line:
            self._line.popleft().resolve(None)

    def _leave_line(self, turn: Promise[None]) -> None:
        if turn.done:  # its place was given to it already: pass it on
            self._let_next()
        elif self._line:
            self._line.remove(turn)


class Lanes:
    """The places at one server, in a quick and a slow lane. A request that has gone unanswered for
    a second moves to the slow lane if there is room, and its place goes to the next in line. Its
    account then starts in the slow lane, until an answer comes in time. So a server that answers
    some accounts late, or never, does not hold up the others."""

    def __init__(self) -> None:
        self.quick = Gate()
        self.slow = Gate()
        self.silence = Silence()

    def refuse(self) -> None:
        """Turn away everybody in line: the server answers nobody."""
        for gate in (self.quick, self.slow):
            gate.refuse_line(_silent())


class Servers:
    """What all accounts of the process together may ask of each server: ``most_at_once`` requests
    at a time, and as many again that the server answers late; ``starts_per_second`` accounts that
    begin to talk to it; ``objects_at_once`` objects in one call. The limits may be changed. Servers
    are known by their origins, here and below."""

    def __init__(self, most_at_once: float = math.inf, starts_per_second: float = math.inf) -> None:
        self.most_at_once = most_at_once
        self.objects_at_once = math.inf
        self._starts_per_second = starts_per_second
        self._lanes: defaultdict[str, Lanes] = defaultdict(Lanes)
        self._paces: dict[str, Pace] = {}

    def limit(self, most_at_once: float, starts_per_second: float) -> None:
        """Change the limits; requests under way and turns that were given out keep their places."""
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
    """One request's place. Its holder reports the outcome, and must :meth:`leave`."""

    def __init__(self, doorway: "Doorway", origin: str, own: Gate, shared: Gate) -> None:
        self._doorway, self._origin = doorway, origin
        self._own, self._shared = own, shared
        self._lanes = doorway.servers.lanes(origin)
        self._is_late = False
        self._timer = doorway.loop.call_at(doorway.loop.now() + _LATE_SECONDS, self._make_way)

    def answered(self, now: float) -> None:
        self._lanes.silence.answered(now)

    def timed_out(self, sent_at: float) -> None:
        """Note that the request got no answer. If the server answers nobody, the line is turned
        away: it would fare no better, and would fall upon the server when that is back."""
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
    """Where all requests of one account pass, to whichever servers. Mail and contacts on one server
    share its limit for the account; all accounts share our own limits for each server. ``slow`` are
    the servers that answer this account late."""

    def __init__(self, loop: Loop, servers: Servers) -> None:
        self.loop = loop
        self.servers = servers
        self.slow: frozenset[str] = frozenset()
        self._gates: defaultdict[tuple[str, bool], Gate] = defaultdict(Gate)
        self._limits: dict[str, tuple[int, bool]] = {}

    def allow(self, origin: str, most: int, *, counts_carddav: bool) -> None:
        """Set how many JMAP requests may run at once there, and whether CardDAV ones count too."""
        self._limits[origin] = most, counts_carddav

    async def enter(self, origin: str, *, is_carddav: bool) -> Turn:
        """Wait for a turn, first among the account's own requests, then among all accounts. Raises
        Silent instead of waiting for a server that answers nobody."""
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
        except (GeneratorExit, Silent):  # GeneratorExit: the waiting task was cancelled
            own.leave()
            raise
        return Turn(self, origin, own, shared)


def _silent() -> Silent:
    return Silent("no further request is sent: the server answers nobody at the moment")
