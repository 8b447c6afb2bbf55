"""Running coroutines: promises, which they await, and tasks, which drive them.

A coroutine can only await a :class:`Promise`. However it ends, nobody waits in vain, and no error
vanishes.
"""

from collections.abc import Callable, Coroutine, Generator
from enum import Enum
from typing import Any, Generic, Protocol, TypeVar

from mailroom.errors import MailroomError

T = TypeVar("T")

# How many nested cleanups may wrongly wait before a coroutine is given up.
_CLOSE_TRIES = 10


class Cancelled(Exception):
    """The awaited task has been cancelled: its result will never come."""


class Promise(Generic[T]):
    """A result or an error that is still to come. The first one counts.

    Whoever makes the promise may set ``abandon``. It is called when all who waited have left
    before the result, so that the work can stop as well.
    """

    def __init__(self) -> None:
        self.done = False
        self.abandon: Callable[[], object] = _nothing
        self._value: T | None = None
        self._error: Exception | None = None
        self._waiting: list[Callable[[], None]] = []

    def resolve(self, value: T) -> None:
        self._finish(value, None)

    def reject(self, error: Exception) -> None:
        self._finish(None, error)

    def result(self) -> T:
        """Return the value, or raise the error. Only to be called when ``done``."""
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]

    def on_done(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when the result is there; if it is there already, at once. Whoever has
        taken the result, or does not want it any more, calls :meth:`forget`."""
        self._waiting.append(callback)
        if self.done:
            callback()

    def forget(self, callback: Callable[[], None]) -> None:
        """Undo :meth:`on_done`."""
        self._waiting.remove(callback)
        if not self._waiting:
            self._left()

    def __await__(self) -> Generator["Promise[Any]", None, T]:
        yield self
        return self.result()

    def _finish(self, value: T | None, error: Exception | None) -> None:
        if self.done:
            return
        self.done, self._value, self._error = True, value, error
        self.abandon = _nothing
        for callback in self._waiting.copy():
            callback()

    def _left(self) -> None:
        """Nobody waits any more."""
        self.abandon()


class Keeper(Protocol):
    """What a task needs of its owner."""

    def call_soon(self, callback: Callable[[], None]) -> object: ...

    def disown(self, task: "Task[Any]") -> None:
        """The task has ended."""

    def fail(self, error: Exception) -> None:
        """The task had an error that nobody else gets."""


class _Phase(Enum):
    DUE = "its next step is due"
    RUNNING = "it takes a step, or is being closed"
    WAITING = "it awaits something"
    ENDED = "it has ended"


class Task(Promise[T]):
    """A running coroutine; its return value is the promise's result. It belongs to its owner.

    ======= ========================= ================= =========================================
    phase   its turn comes            what it awaits is cancel()
                                      done
    ======= ========================= ================= =========================================
    DUE     RUNNING                                     closed: ENDED
    RUNNING awaits: WAITING                             closed where it awaits next; if it ends
            returns or raises: ENDED                    before that, it has ended like any other
    WAITING                           DUE               closed: ENDED
    ENDED                                               nothing
    ======= ========================= ================= =========================================

    *Who learns of its end*: whoever awaits it, before or after, gets its value, its error, or
    :class:`Cancelled`. An error that nobody awaits goes to its owner. So does an error whose last
    waiter is cancelled before taking it, except a MailroomError: that is no bug, and nobody needs
    the result any more.

    *Closing* runs the cleanup (``finally``) at once. Cleanup that waits is a bug, and is closed as
    well. An error that cleanup raises becomes the task's error. The closed task leaves the promise
    that it has awaited: an exchange is given up, a deadline dropped. Another task goes on, because
    it has an owner of its own.
    """

    def __init__(self, owner: Keeper, coroutine: Coroutine[Promise[Any], None, T], name: str):
        super().__init__()
        self.name = name
        self._owner = owner
        self._coroutine = coroutine
        self._phase = _Phase.DUE
        self._is_cancelled = False
        self._is_heard = False  # somebody has learned how it ended
        self._awaited: Promise[Any] | None = None
        owner.call_soon(self._step)

    def cancel(self) -> None:
        """End the coroutine where it waits."""
        self._is_cancelled = True
        if self._phase in (_Phase.DUE, _Phase.WAITING):
            self._close()

    def result(self) -> T:
        self._is_heard = True
        return super().result()

    def _step(self) -> None:
        if self._phase is not _Phase.DUE:
            return
        self._phase = _Phase.RUNNING
        try:
            awaited = self._coroutine.send(None)
        except StopIteration as stop:
            self._let_go()
            self._end(stop.value, None)
        except Exception as error:  # noqa: BLE001 - the dispatcher: whoever awaits it, gets it
            self._let_go()
            self._end(None, error)
        else:
            self._let_go()
            self._wait_for(awaited)

    def _wait_for(self, awaited: Promise[Any]) -> None:
        self._phase, self._awaited = _Phase.WAITING, awaited
        awaited.on_done(self._wake)
        if self._is_cancelled:  # by itself
            self._close()

    def _wake(self) -> None:
        if self._phase is _Phase.WAITING:
            self._phase = _Phase.DUE
            self._owner.call_soon(self._step)

    def _let_go(self) -> None:
        """Leave the promise that it has awaited, whether or not it has taken the result."""
        awaited, self._awaited = self._awaited, None
        if awaited is not None:
            awaited.forget(self._wake)

    def _close(self) -> None:
        self._phase = _Phase.RUNNING
        error = _closed(self._coroutine)
        self._let_go()
        if error is None:
            self._is_heard = True
            error = Cancelled(f"the task {self.name} was cancelled")
        else:
            error.add_note(f"in the cleanup of the task {self.name}, which was cancelled")
        self._end(None, error)

    def _end(self, value: T | None, error: Exception | None) -> None:
        self._phase = _Phase.ENDED
        self._owner.disown(self)
        is_awaited = bool(self._waiting)
        self._finish(value, error)
        if error is not None and not is_awaited and not self._is_heard:
            self._is_heard = True
            self._owner.fail(error)

    def _left(self) -> None:
        super()._left()
        if self._error is not None and not self._is_heard:
            self._is_heard = True
            if not isinstance(self._error, MailroomError):
                self._owner.fail(self._error)


def _closed(coroutine: Coroutine[Any, Any, Any]) -> Exception | None:
    """Close it where it waits; returns the first error that its cleanup raised."""
    first: Exception | None = None
    for _ in range(_CLOSE_TRIES):
        try:
            coroutine.close()
        except Exception as error:  # noqa: BLE001 - the dispatcher: it is the task's
            first = first or error
        else:
            break
    return first


def _nothing() -> None:
    pass
