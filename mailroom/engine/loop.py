"""One thread, one loop: a selector, a heap of deadlines and a self-pipe for signals.

All waiting happens here. Callbacks serve the mechanisms (sockets, libcurl, timers); work that has
steps is a coroutine, driven by :class:`Task`. A coroutine can only await a :class:`Promise`: an
HTTP exchange, a deadline, or another task.

Every task has an :class:`Owner`, which ends it and gets the errors that nobody awaits. Such errors
are bugs: by default :meth:`Loop.run` raises them, which ends the loop.
"""

import heapq
import itertools
import selectors
import signal
import socket
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from mailroom.engine.clock import Clock
from mailroom.engine.tasks import Cancelled, Promise, Task
from mailroom.errors import MailroomError

# Whoever uses the loop needs promises and tasks as well.
__all__ = [
    "DeadlinePassed",
    "Loop",
    "Owner",
    "Promise",
    "Task",
    "Timer",
    "both",
    "give_way",
    "together",
    "within",
]

T = TypeVar("T")
U = TypeVar("U")

# How many callbacks may run before the sockets and the deadlines are looked at again.
_FAIR_SHARE = 100
# How many deadlines may be taken up in one turn: a poll's takes a millisecond or more.
_DUE_AT_ONCE = 16
# With so few deadlines it is not worth looking for cancelled ones.
_FEW_DEADLINES = 64
# After so much computing a turn ends, and the sockets are looked at again.
_LONG_TURN_SECONDS = 0.005


class DeadlinePassed(Exception):
    """The instant came before the result."""


class Timer:
    """A callback that waits for its instant."""

    __slots__ = ("_callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback: Callable[[], None] | None = callback

    @property
    def is_pending(self) -> bool:
        return self._callback is not None

    def cancel(self) -> None:
        self._callback = None

    def fire(self) -> None:
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class Owner:
    """Tasks and deadlines that end together.

    ``on_error`` gets every error of theirs that nobody awaits, and may close the owner; without
    it :meth:`Loop.run` raises the error.
    """

    def __init__(self, loop: "Loop", on_error: Callable[[Exception], None] | None = None) -> None:
        self.loop = loop
        self.call_soon = loop.call_soon
        self.fail = on_error or loop.fail
        self._tasks: dict[Task[Any], None] = {}
        self._is_closed = False
        loop.owners[self] = None

    def spawn(self, coroutine: Coroutine[Promise[Any], None, T], name: str) -> Task[T]:
        """Run the coroutine as a task. If the owner is closed, it is cancelled before it begins."""
        task = Task(self, coroutine, name)
        self._tasks[task] = None
        if self._is_closed:
            task.cancel()
        return task

    async def run(self, coroutine: Coroutine[Promise[Any], None, T], name: str) -> T:
        """Run it as a task of this owner for a caller of another one, with either of whom it ends.
        If this owner is closed, the caller gets :class:`Cancelled`; so it does if there is a bug,
        which is this owner's."""
        task = self.spawn(coroutine, name)
        task.abandon = task.cancel
        try:
            return await task
        except (MailroomError, Cancelled):
            raise
        except Exception as error:  # the dispatcher
            self.fail(error)
            raise Cancelled(f"the task {name} has failed") from error

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Like :meth:`Loop.call_at`, until the owner is closed."""

        def due() -> None:
            try:
                if not self._is_closed:
                    callback()
            except Exception as error:  # noqa: BLE001 - the dispatcher: it is the owner's
                self.fail(error)

        return self.loop.call_at(when, due)

    def disown(self, task: Task[Any]) -> None:
        """The task has ended."""
        del self._tasks[task]

    def close(self) -> None:
        """Cancel all tasks; a task that calls this is cancelled at its next ``await``."""
        self._is_closed = True
        self.loop.owners.pop(self, None)
        for task in list(self._tasks):
            task.cancel()


class Loop:
    """The selector loop. ``clock`` is the only source of time."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.now = clock.now
        self.turns = 0
        self.turn_began = self.now()
        self._selector = selectors.DefaultSelector()
        self._idle_callbacks: list[Callable[[], None]] = []
        self._soon: deque[Timer] = deque()
        self._run_since_due = 0  # callbacks run since the deadlines were looked at
        self._deadlines: list[tuple[float, int, Timer]] = []
        self._many_deadlines = _FEW_DEADLINES
        self._order = itertools.count()
        self._running = False
        self._failures: list[Exception] = []
        self.owners: dict[Owner, None] = {}  # those that are not closed
        self.root = Owner(self)
        self._signals: dict[int, Callable[[], None]] = {}
        self._arrived: dict[int, None] = {}
        self._former_handlers: dict[signal.Signals, Any] = {}
        self._self_pipe: tuple[socket.socket, ...] = ()

    def call_soon(self, callback: Callable[[], None]) -> Timer:
        timer = Timer(callback)
        self._soon.append(timer)
        return timer

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Run ``callback`` at the instant ``when`` (seconds of the clock)."""
        if len(self._deadlines) >= self._many_deadlines:
            self._drop_cancelled()
        timer = Timer(callback)
        heapq.heappush(self._deadlines, (when, next(self._order), timer))
        return timer

    def sleep_until(self, when: float) -> Promise[None]:
        promise: Promise[None] = Promise()
        promise.abandon = self.call_at(when, lambda: promise.resolve(None)).cancel
        return promise

    def spawn(self, coroutine: Coroutine[Promise[Any], None, T], name: str) -> Task[T]:
        """A task of the loop's own; see :meth:`Owner.spawn`."""
        return self.root.spawn(coroutine, name)

    def watch(self, fd: int, events: int, callback: Callable[[int], None]) -> None:
        """Call ``callback(events)`` when ``fd`` is ready. Replaces an earlier watch.

        Always registers anew: libcurl closes sockets without telling us, the kernel then forgets
        them and reuses their numbers, and ``modify`` would watch nothing.
        """
        self.unwatch(fd)
        self._selector.register(fd, events, callback)

    def unwatch(self, fd: int) -> None:
        """Forget ``fd``, which may be unknown or closed. The loop may be closed, too: libcurl
        releases its sockets only when it is garbage-collected."""
        known = self._selector.get_map()
        if known is not None and fd >= 0 and fd in known:
            self._selector.unregister(fd)

    def on_idle(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` each time before the loop waits: work that is due soon can be done now,
        rather than by waking the loop up later."""
        self._idle_callbacks.append(callback)

    def on_signal(self, number: signal.Signals, callback: Callable[[], None]) -> None:
        """Call ``callback`` from the loop when the signal comes, whatever the loop waits for.

        A signal that comes several times before its turn is one call.
        """
        if not self._self_pipe:
            self._open_self_pipe()
        self._signals[number] = callback
        former = signal.signal(number, self._note_signal)
        self._former_handlers.setdefault(number, former)

    def run(self) -> None:
        """Turn until :meth:`stop`. Raises errors that nobody has handled."""
        self._running = True
        while self._running:
            self.turn()

    def stop(self) -> None:
        self._running = False

    def fail(self, error: Exception) -> None:
        """End the turn with ``error``, which nobody handles."""
        self._failures.append(error)

    def turn(self) -> None:
        """Wait for a ready fd, a deadline or a signal, and run all that is due then."""
        self.turns += 1
        until = self._next_instant()
        if until is None or until > self.now():
            for callback in self._idle_callbacks:
                callback()
            until = self._next_instant()
        ready = self.clock.wait(self._selector, until)
        self.turn_began = self.now()
        for key, events in ready:
            # An earlier callback of this turn may have unwatched the fd.
            if self._selector.get_map().get(key.fd) is key:
                key.data(events)
        self._run_soon()  # take in what has come before a deadline finds that nothing came
        if not self._soon or self._run_since_due >= _FAIR_SHARE:
            self._queue_due()
            self._run_soon()
        self._raise_failures()

    def close(self) -> None:
        """End all tasks; release the selector, the signals and the self-pipe. Raises the errors
        that no owner of a task has handled."""
        for owner in list(self.owners):
            owner.close()
        self._selector.close()
        for number, handler in self._former_handlers.items():
            signal.signal(number, handler)
        if self._self_pipe:
            signal.set_wakeup_fd(-1)
            for end in self._self_pipe:
                end.close()
        self._raise_failures()

    def _raise_failures(self) -> None:
        failures, self._failures = self._failures, []
        if len(failures) > 1:
            raise ExceptionGroup("several errors that nobody handled", failures)
        for failure in failures:
            raise failure

    def _next_instant(self) -> float | None:
        if self._soon:
            return self.now()
        while self._deadlines and not self._deadlines[0][2].is_pending:
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None

    def _drop_cancelled(self) -> None:
        """Drop cancelled deadlines: most are timeouts, cancelled long before their instant."""
        self._deadlines = [entry for entry in self._deadlines if entry[2].is_pending]
        heapq.heapify(self._deadlines)
        self._many_deadlines = max(_FEW_DEADLINES, 2 * len(self._deadlines))

    def _queue_due(self) -> None:
        """Queue the due deadlines behind the callbacks, a few at a time.

        So neither a timer that keeps setting itself nor the polls of many accounts that are due at
        the same instant can starve the sockets.
        """
        self._run_since_due = 0
        now = self.now()
        for _ in range(_DUE_AT_ONCE):
            if not self._deadlines or self._deadlines[0][0] > now:
                return
            self._soon.append(heapq.heappop(self._deadlines)[2])

    def _run_soon(self) -> None:
        """Run the queued callbacks in order, at least one, until the sockets have waited long
        enough. What they add runs before the deadlines, since a deadline of now serves to wait for
        all that is under way (work/session/api.py); but no more than a fair share runs first."""
        enough_at = self.turn_began + _LONG_TURN_SECONDS
        for _ in range(_FAIR_SHARE):
            if not self._soon or self._failures:
                return
            self._soon.popleft().fire()
            self._run_since_due += 1
            if self.now() > enough_at:
                return

    def _open_self_pipe(self) -> None:
        reader, writer = socket.socketpair()
        reader.setblocking(False)
        writer.setblocking(False)
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        self._self_pipe = (reader, writer)
        self.watch(reader.fileno(), selectors.EVENT_READ, self._read_signals)

    def _note_signal(self, number: int, _frame: object) -> None:
        """The handler only notes the signal; the loop acts on it, outside of any callback.

        The self-pipe only wakes the loop. It holds 278 bytes (seen: Linux 6.18), so in a storm of
        one signal another's byte would not fit any more.
        """
        self._arrived[number] = None

    def _read_signals(self, _events: int) -> None:
        self._self_pipe[0].recv(4096)
        arrived, self._arrived = self._arrived, {}
        for number in arrived:
            self._signals[number]()


async def together(
    loop: Loop,
    coroutines: Sequence[Coroutine[Promise[Any], None, T]],
    limit: int = 8,
) -> list[T]:
    """Run the coroutines side by side, at most ``limit`` at a time; returns their results in order.

    When one fails, the others still run to their end; then the first error is raised. So nothing
    is left in flight. If the caller is cancelled, all are, and only bugs are raised: the caller
    must not handle any other error as if it went on.
    """
    waiting = list(enumerate(coroutines))[::-1]
    is_cancelled = True  # unless all have ended
    results: dict[int, T] = {}
    errors: list[Exception] = []

    async def worker() -> None:
        while waiting:
            number, coroutine = waiting.pop()
            try:
                results[number] = await coroutine
            except Exception as error:  # noqa: BLE001 - raised again below
                errors.append(error)

    owner = Owner(loop, errors.append)
    try:
        for task in [owner.spawn(worker(), "together") for _ in range(min(limit, len(waiting)))]:
            await task
        is_cancelled = False
    finally:
        unbegun = waiting.copy()
        waiting.clear()  # a worker whose cleanup fails begins no other
        owner.close()
        for _, coroutine in unbegun:
            coroutine.close()
        if is_cancelled:
            errors = [error for error in errors if not isinstance(error, MailroomError)]
        if errors:
            raise errors[0]
    return [results[number] for number in range(len(coroutines))]


async def give_way(loop: Loop) -> None:
    """To be awaited now and then in a long computation: lets everything else have its turn."""
    if loop.now() - loop.turn_began > _LONG_TURN_SECONDS:
        await loop.sleep_until(loop.now())


async def both(
    loop: Loop, one: Coroutine[Promise[Any], None, T], other: Coroutine[Promise[Any], None, U]
) -> tuple[T, U]:
    """Run two coroutines side by side; see :func:`together`."""
    results: list[Any] = await together(loop, [one, other])
    return results[0], results[1]


async def within(loop: Loop, promise: Promise[T], when: float) -> T:
    """The promise's result, or :class:`DeadlinePassed` at the instant ``when``."""
    either: Promise[None] = Promise()

    def wake() -> None:
        either.resolve(None)

    promise.on_done(wake)
    timer = loop.call_at(when, wake)
    try:
        await either
        if not promise.done:
            raise DeadlinePassed
        return promise.result()
    finally:  # the caller may be cancelled
        timer.cancel()
        promise.forget(wake)
