"""A limit on how many may do something at once, however they have come there."""

from collections import deque

from mailroom.engine.loop import Promise


class Gate:
    """Lets so many through at a time; the others wait in line."""

    def __init__(self) -> None:
        self._inside = 0
        self._line: deque[Promise[None]] = deque()

    async def enter(self, most: int) -> None:
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
