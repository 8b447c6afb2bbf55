"""What the loop promises: to sockets, deadlines, signals, and to coroutines that wait."""

import gc
import os
import selectors
import signal
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailroom.engine.clock import BoottimeClock
from mailroom.engine.loop import (
    DeadlinePassed,
    Loop,
    Owner,
    Promise,
    Task,
    Timer,
    both,
    give_way,
    together,
    within,
)
from mailroom.engine.tasks import Cancelled
from mailroom.errors import MailroomError, TransientError
from tests.virtual import NothingToWaitFor, VirtualClock

T = TypeVar("T")

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def loop(clock: VirtualClock) -> Iterator[Loop]:
    made = Loop(clock)
    yield made
    made.close()


@pytest.fixture
def real_loop() -> Iterator[Loop]:
    clock = BoottimeClock()
    made = Loop(clock)
    yield made
    made.close()
    clock.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    here, there = socket.socketpair()
    with here, there:
        yield here, there


def drain(loop: Loop) -> None:
    """Turn until nothing is left to wait for."""
    with pytest.raises(NothingToWaitFor):
        loop.run()


def result_of(loop: Loop, task: Task[Any]) -> Any:
    while not task.done:
        loop.turn()
    return task.result()


# Deadlines


def test_deadlines_come_in_their_order_and_equal_ones_in_the_order_of_their_making(
    loop: Loop, clock: VirtualClock
) -> None:
    came: list[tuple[str, float]] = []
    for name, seconds in (("c", 3.0), ("a", 1.0), ("b", 1.0), ("d", 3.0), ("0", -5.0)):
        loop.call_at(1000 + seconds, partial(lambda name: came.append((name, clock.now())), name))
    drain(loop)
    assert came == [("0", 1000), ("a", 1001), ("b", 1001), ("c", 1003), ("d", 1003)]


def test_a_cancelled_deadline_neither_fires_nor_wakes(loop: Loop, clock: VirtualClock) -> None:
    came: list[str] = []
    for instant in (1001.0, 1005.0):
        loop.call_at(instant, lambda: came.append("cancelled")).cancel()
    timer = loop.call_at(1003, lambda: came.append("kept"))
    assert timer.is_pending
    drain(loop)
    assert (came, clock.now(), timer.is_pending) == (["kept"], 1003, False)


def test_a_deadline_may_cancel_another_of_the_same_instant(loop: Loop) -> None:
    came: list[str] = []
    later = loop.call_at(1002, lambda: came.append("later"))
    loop.call_at(1001, later.cancel)
    twins: list[Timer] = []
    loop.call_at(1002.5, lambda: twins.pop().cancel())
    twins.append(loop.call_at(1002.5, lambda: came.append("twin")))
    drain(loop)
    assert came == []


def test_a_deadline_that_sets_itself_anew_in_the_past_leaves_room_for_sockets_and_others(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    came: list[str] = []

    def again() -> None:
        loop.call_at(0, again)

    loop.call_at(0, again)
    loop.call_at(999, lambda: came.append("deadline"))
    loop.watch(pair[0].fileno(), READ, lambda _: came.append("socket"))
    pair[1].send(b"x")
    loop.turn()
    assert sorted(came) == ["deadline", "socket"]


def test_callbacks_that_breed_leave_room_for_sockets_and_deadlines(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    came: list[str] = []

    def breed() -> None:
        loop.call_soon(breed)

    breed()
    loop.call_at(loop.now(), lambda: came.append("deadline"))
    loop.turn()
    pair[1].send(b"x")
    loop.watch(pair[0].fileno(), READ, lambda _: came.append("socket"))
    loop.turn()
    assert came == ["deadline", "socket"]


def test_callbacks_that_take_long_leave_room_for_sockets(
    loop: Loop, clock: VirtualClock, pair: tuple[socket.socket, socket.socket]
) -> None:
    came: list[object] = []

    def compute(number: int) -> None:
        came.append(number)
        clock.advance(0.003)

    for number in range(6):
        loop.call_soon(partial(compute, number))
    pair[1].send(b"x")
    loop.turn()  # what was there before is not heard of sooner
    loop.watch(pair[0].fileno(), READ, lambda _: came.append("socket"))
    loop.turn()
    assert came.index("socket") <= 3


def test_a_failing_callback_loses_none_of_the_others_that_were_due(loop: Loop) -> None:
    came: list[str] = []
    loop.call_at(1001, lambda: came.append("before"))
    loop.call_at(1001, partial(_raise, ZeroDivisionError()))
    loop.call_at(1001, lambda: came.append("after"))
    with pytest.raises(ZeroDivisionError):
        loop.run()
    drain(loop)
    assert came == ["before", "after"]


def test_cancelled_timeouts_do_not_pile_up(loop: Loop) -> None:
    """A stream sets one for every chunk: 600,000 a minute in a storm, each for 75 s."""
    before = _timers()
    kept = [loop.call_at(5000, _nothing) for _ in range(10)]
    for _ in range(20_000):
        loop.call_at(4000, _nothing).cancel()
    assert _timers() - before < 100
    assert all(timer.is_pending for timer in kept)
    drain(loop)
    assert not any(timer.is_pending for timer in kept)


@given(
    st.lists(st.tuples(st.integers(0, 20), st.booleans()), max_size=200),
    st.integers(0, 200),
)
def test_exactly_what_was_not_cancelled_comes_in_order_of_time(
    deadlines: list[tuple[int, bool]], cancel_after: int
) -> None:
    clock = VirtualClock(0.0)
    loop = Loop(clock)
    came: list[tuple[int, int]] = []
    timers = []
    for number, (instant, _) in enumerate(deadlines):
        timers.append(loop.call_at(instant, partial(came.append, (instant, number))))
        if number == cancel_after:
            for timer, (_, is_cancelled) in zip(timers, deadlines, strict=False):
                if is_cancelled:
                    timer.cancel()
    drain(loop)
    loop.close()
    expected = [
        (instant, number)
        for number, (instant, is_cancelled) in enumerate(deadlines)
        if not (is_cancelled and number <= cancel_after < len(deadlines))
    ]
    assert came == sorted(expected)


# Sockets


def test_a_watched_socket_calls_back_with_what_it_is_ready_for(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    came: list[int] = []
    loop.watch(pair[0].fileno(), READ | WRITE, came.append)
    loop.turn()
    pair[1].send(b"x")
    loop.turn()
    loop.watch(pair[0].fileno(), READ, came.append)
    loop.turn()
    assert came == [WRITE, READ | WRITE, READ]


def test_unwatching_is_idempotent_and_tolerates_what_is_closed(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    here, _ = pair
    fd = here.fileno()
    loop.unwatch(fd)
    loop.watch(fd, READ, _unexpected)
    here.close()
    loop.unwatch(fd)
    loop.unwatch(fd)
    loop.unwatch(here.fileno())  # -1 now
    drain(loop)


def test_a_number_that_was_given_out_again_is_watched_anew(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    """libcurl closes sockets without saying so, and the kernel gives the lowest number out."""
    fd = os.dup(pair[0].fileno())
    loop.watch(fd, READ, _unexpected)
    another, peer = socket.socketpair()
    with another, peer:
        os.dup2(another.fileno(), fd)  # closes the old one
        came: list[int] = []
        loop.watch(fd, READ, came.append)
        peer.send(b"x")
        loop.turn()
        os.close(fd)
    assert came == [READ]


def test_a_callback_that_lets_go_of_another_ready_socket_is_heeded_in_the_same_turn(
    loop: Loop,
) -> None:
    pairs = [socket.socketpair() for _ in range(4)]
    came: list[int] = []

    def only_one(number: int, _events: int) -> None:
        came.append(number)
        for here, _ in pairs:
            loop.unwatch(here.fileno())

    for number, (here, there) in enumerate(pairs):
        loop.watch(here.fileno(), READ, partial(only_one, number))
        there.send(b"x")
    drain(loop)
    assert len(came) == 1
    for here, there in pairs:
        here.close()
        there.close()


def test_news_of_a_closed_socket_is_not_told_to_the_one_that_got_its_number(loop: Loop) -> None:
    pairs = [socket.socketpair() for _ in range(2)]
    quiet, quiet_peer = socket.socketpair()
    came: list[str] = []

    def replace_the_other(number: int, _events: int) -> None:
        came.append("first")
        other = pairs[1 - number][0].fileno()
        os.dup2(quiet.fileno(), other)
        loop.watch(other, READ, lambda _: came.append("the quiet one"))
        loop.unwatch(pairs[number][0].fileno())

    for number, (here, there) in enumerate(pairs):
        loop.watch(here.fileno(), READ, partial(replace_the_other, number))
        there.send(b"x")
    drain(loop)
    assert came == ["first"]
    for one in (*pairs[0], *pairs[1], quiet, quiet_peer):
        one.close()


# Stopping, failing, closing


def test_run_ends_after_the_turn_in_which_stop_was_called(loop: Loop) -> None:
    loop.call_at(1001, loop.stop)
    loop.run()
    assert (loop.now(), loop.turns) == (1001, 1)


def test_nothing_to_wait_for_is_not_mistaken_for_something(loop: Loop) -> None:
    loop.call_at(1001, _nothing).cancel()
    with pytest.raises(NothingToWaitFor):
        loop.turn()


def test_a_failure_ends_the_turn_and_the_rest_can_still_be_done(loop: Loop) -> None:
    came: list[str] = []
    loop.call_soon(lambda: loop.fail(ZeroDivisionError("first")))
    loop.call_soon(lambda: came.append("the rest"))
    with pytest.raises(ZeroDivisionError, match="first"):
        loop.run()
    assert came == []
    loop.turn()
    assert came == ["the rest"]


def test_close_gives_every_fd_back() -> None:
    before = os.listdir("/proc/self/fd")
    clock = BoottimeClock()
    loop = Loop(clock)
    loop.on_signal(signal.SIGUSR2, _nothing)
    loop.call_soon(_nothing)
    loop.turn()
    assert len(os.listdir("/proc/self/fd")) == len(before) + 4  # epoll, self-pipe, timerfd
    loop.close()
    clock.close()
    assert os.listdir("/proc/self/fd") == before


def test_a_closed_loop_may_be_told_to_forget(pair: tuple[socket.socket, socket.socket]) -> None:
    loop = Loop(VirtualClock())
    loop.watch(pair[0].fileno(), READ, _unexpected)
    loop.close()
    loop.unwatch(pair[0].fileno())


def test_close_gives_the_signals_back(real_loop: Loop) -> None:
    former = signal.getsignal(signal.SIGUSR2)
    loop = Loop(VirtualClock())
    loop.on_signal(signal.SIGUSR2, _nothing)
    loop.on_signal(signal.SIGUSR2, _unexpected)
    assert signal.getsignal(signal.SIGUSR2) is not former
    loop.close()
    assert signal.getsignal(signal.SIGUSR2) is former
    assert signal.set_wakeup_fd(-1) == -1


# Signals


def test_a_signal_wakes_a_loop_that_waits_for_ever(real_loop: Loop) -> None:
    real_loop.on_signal(signal.SIGUSR2, real_loop.stop)
    child = os.fork()
    if child == 0:
        _wait_until_asleep(os.getppid())
        os.kill(os.getppid(), signal.SIGUSR2)
        os._exit(0)
    real_loop.run()
    assert os.waitpid(child, 0)[1] == 0
    assert real_loop.turns == 1


def test_a_signal_comes_before_a_far_deadline(real_loop: Loop) -> None:
    real_loop.on_signal(signal.SIGUSR2, real_loop.stop)
    real_loop.call_at(real_loop.now() + 3600, _unexpected)
    os.kill(os.getpid(), signal.SIGUSR2)
    real_loop.run()
    assert real_loop.turns == 1


def test_each_signal_calls_its_own_callback_once_per_delivery(real_loop: Loop) -> None:
    came: list[int] = []
    signals = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)
    for number in signals:
        real_loop.on_signal(number, partial(came.append, int(number)))
    for number in signals:
        os.kill(os.getpid(), number)
    real_loop.turn()
    assert sorted(came) == sorted(signals)


def test_a_storm_of_one_signal_is_one_and_hides_no_other(real_loop: Loop) -> None:
    came: list[str] = []
    real_loop.on_signal(signal.SIGUSR1, partial(came.append, "storm"))
    real_loop.on_signal(signal.SIGUSR2, partial(came.append, "other"))
    for _ in range(1000):  # more than the self-pipe holds
        os.kill(os.getpid(), signal.SIGUSR1)
    os.kill(os.getpid(), signal.SIGUSR2)
    real_loop.turn()
    assert came == ["storm", "other"]


def test_a_signal_that_lets_go_of_another_is_heeded_in_the_same_turn(real_loop: Loop) -> None:
    real_loop.on_signal(signal.SIGUSR1, lambda: real_loop.on_signal(signal.SIGUSR2, _nothing))
    real_loop.on_signal(signal.SIGUSR2, _unexpected)
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        os.kill(os.getpid(), number)
    real_loop.turn()


def test_a_signal_works_while_callbacks_breed(real_loop: Loop) -> None:
    def breed() -> None:
        real_loop.call_soon(breed)

    breed()
    real_loop.on_signal(signal.SIGUSR2, real_loop.stop)
    real_loop.turn()
    os.kill(os.getpid(), signal.SIGUSR2)
    real_loop.run()
    assert real_loop.turns == 2


# Promises


def test_the_first_result_counts(loop: Loop) -> None:
    resolved: Promise[int] = Promise()
    resolved.resolve(1)
    resolved.resolve(2)
    resolved.reject(ValueError())
    assert (resolved.done, resolved.result()) == (True, 1)
    rejected: Promise[int] = Promise()
    rejected.reject(KeyError("first"))
    rejected.resolve(1)
    with pytest.raises(KeyError, match="first"):
        rejected.result()


def test_whoever_waits_is_called_once_also_when_it_comes_too_late(loop: Loop) -> None:
    promise: Promise[int] = Promise()
    came: list[str] = []
    promise.on_done(lambda: came.append("early"))
    promise.resolve(1)
    promise.on_done(lambda: came.append("late"))
    promise.resolve(1)
    assert came == ["early", "late"]


def test_many_may_wait_for_one_promise(loop: Loop) -> None:
    promise: Promise[int] = Promise()
    tasks = [loop.spawn(_wait_for(promise), "waiter") for _ in range(3)]
    loop.call_at(1001, lambda: promise.resolve(7))
    assert [result_of(loop, task) for task in tasks] == [7, 7, 7]


# Tasks


def test_a_task_takes_results_and_errors_of_what_it_waits_for(loop: Loop) -> None:
    async def work() -> list[object]:
        failing: Promise[int] = Promise()
        loop.call_at(1003, lambda: failing.reject(KeyError("no")))
        await loop.sleep_until(1002)
        seen: list[object] = [loop.now()]
        try:
            await failing
        except KeyError as error:
            seen += [loop.now(), error.args[0]]
        return seen

    assert result_of(loop, loop.spawn(work(), "work")) == [1002, 1003, "no"]


def test_a_task_does_not_begin_before_the_loop_turns(loop: Loop) -> None:
    came: list[str] = []

    async def work() -> None:
        came.append("begun")

    task = loop.spawn(work(), "work")
    assert came == []
    result_of(loop, task)
    assert came == ["begun"]


def test_an_error_goes_to_whoever_awaits_the_task(loop: Loop) -> None:
    async def outer() -> str:
        try:
            await loop.spawn(_fail(), "inner")
        except ZeroDivisionError:
            return "caught"
        return "missed"

    assert result_of(loop, loop.spawn(outer(), "outer")) == "caught"


def test_an_error_that_nobody_awaits_comes_out_of_run(loop: Loop) -> None:
    async def careless() -> None:
        loop.spawn(_fail(), "forgotten")
        await loop.sleep_until(2000)

    loop.spawn(careless(), "careless")
    with pytest.raises(ZeroDivisionError):
        loop.run()


def test_long_chains_of_ready_results_need_no_stack(loop: Loop) -> None:
    async def count() -> int:
        ready: Promise[int] = Promise()
        ready.resolve(1)
        return sum([await ready for _ in range(5000)])

    assert result_of(loop, loop.spawn(count(), "count")) == 5000


# Cancelling


def test_a_cancelled_task_is_closed_where_it_stands(loop: Loop) -> None:
    came: list[str] = []

    async def work() -> None:
        try:
            await loop.sleep_until(1005)
            came.append("went on")
        finally:
            came.append("closed")

    task = loop.spawn(work(), "work")
    loop.call_at(1001, task.cancel)
    loop.call_at(1002, task.cancel)
    drain(loop)
    assert (came, task.done) == (["closed"], True)


def test_a_task_cancelled_before_its_first_step_never_begins(loop: Loop) -> None:
    task = loop.spawn(_fail(), "never")
    task.cancel()
    drain(loop)
    assert task.done
    task.cancel()


@pytest.mark.parametrize("cancel_first", [False, True])
def test_cancelling_in_the_moment_of_the_result_leaves_the_task_where_it_stood(
    loop: Loop, cancel_first: bool
) -> None:
    promise: Promise[int] = Promise()
    came: list[int] = []

    async def work() -> None:
        came.append(await promise)

    task = loop.spawn(work(), "work")
    loop.turn()
    if cancel_first:
        promise.on_done(task.cancel)
        promise.resolve(1)
    else:
        promise.resolve(1)
        task.cancel()
    drain(loop)
    assert came == []


def test_a_task_may_be_cancelled_by_what_it_does_itself(loop: Loop) -> None:
    """A poll that finds the credentials refused closes the account whose poll it is."""
    came: list[str] = []
    tasks: list[Task[None]] = []

    async def work() -> None:
        try:
            tasks[0].cancel()
            came.append("reaches its next wait")
            await loop.sleep_until(1005)
            came.append("went on")
        finally:
            came.append("closed")

    tasks.append(loop.spawn(work(), "work"))
    drain(loop)
    assert came == ["reaches its next wait", "closed"]


def test_a_task_that_cancels_itself_and_ends_has_ended_like_any_other(loop: Loop) -> None:
    tasks: list[Task[str]] = []

    async def work() -> str:
        tasks[0].cancel()
        return "value"

    tasks.append(loop.spawn(work(), "work"))
    assert result_of(loop, tasks[0]) == "value"


def test_an_error_after_a_task_has_cancelled_itself_is_not_lost(loop: Loop) -> None:
    tasks: list[Task[None]] = []

    async def work() -> None:
        tasks[0].cancel()
        raise ZeroDivisionError

    tasks.append(loop.spawn(work(), "work"))
    with pytest.raises(ZeroDivisionError):
        loop.run()


@pytest.mark.parametrize("turns", [0, 1, 2])
def test_whoever_awaits_a_cancelled_task_hears_of_it(loop: Loop, turns: int) -> None:
    """Several, whether the task had begun or not; and one who comes afterwards."""
    task = loop.spawn(_sleep_for_ever(), "sleeper")
    waiting = [loop.spawn(_caught(_wait_for(task)), "waiter") for _ in range(3)]
    for _ in range(turns):
        loop.call_soon(_nothing)
        loop.turn()
    task.cancel()
    waiting.append(loop.spawn(_caught(_wait_for(task)), "latecomer"))
    for waiter in waiting:
        error = result_of(loop, waiter)
        assert isinstance(error, Cancelled)
        assert str(error) == "the task sleeper was cancelled"


def test_whoever_does_not_expect_it_fails_as_of_any_other_error(loop: Loop) -> None:
    task = loop.spawn(_sleep_for_ever(), "sleeper")
    loop.spawn(_wait_for(task), "waiter")
    loop.call_at(1001, task.cancel)
    with pytest.raises(Cancelled, match="sleeper"):
        loop.run()


def test_a_task_that_nobody_awaits_is_cancelled_without_a_word(loop: Loop) -> None:
    task = loop.spawn(_sleep_for_ever(), "sleeper")
    loop.call_at(1001, task.cancel)
    drain(loop)
    with pytest.raises(Cancelled):
        task.result()


def test_cleanup_may_cancel_its_own_task_again(loop: Loop) -> None:
    tasks: list[Task[None]] = []

    async def work() -> None:
        try:
            await _sleep_for_ever()
        finally:
            tasks[0].cancel()

    tasks.append(loop.spawn(work(), "work"))
    loop.call_at(1001, tasks[0].cancel)
    drain(loop)
    assert tasks[0].done


def test_cleanup_of_two_tasks_may_cancel_the_other(loop: Loop) -> None:
    tasks: list[Task[None]] = []
    came: list[int] = []

    async def work(number: int) -> None:
        try:
            await _sleep_for_ever()
        finally:
            tasks[1 - number].cancel()
            came.append(number)

    tasks.extend(loop.spawn(work(number), "work") for number in range(2))
    loop.call_at(1001, tasks[0].cancel)
    drain(loop)
    assert came == [1, 0]


@pytest.mark.parametrize("depth", [1, 3])
def test_cleanup_that_waits_is_a_bug_and_ends_all_the_same(loop: Loop, depth: int) -> None:
    came: list[str] = []

    async def work(depth: int) -> None:
        try:
            await (work(depth - 1) if depth > 1 else _sleep_for_ever())
        finally:
            came.append("cleanup")
            await loop.sleep_until(1005)
            came.append("went on")

    task = loop.spawn(work(depth), "careless")
    loop.call_at(1001, task.cancel)
    with pytest.raises(RuntimeError, match="ignored GeneratorExit") as raised:
        loop.run()
    assert raised.value.__notes__ == ["in the cleanup of the task careless, which was cancelled"]
    drain(loop)
    assert came == ["cleanup"] * depth
    assert task.done


def test_a_coroutine_that_will_not_end_is_given_up(loop: Loop) -> None:
    class Stubborn:
        """Not a coroutine of ours, for Python itself would complain when it goes."""

        def send(self, _value: None) -> Promise[None]:
            return Promise()

        def close(self) -> None:
            raise RuntimeError("coroutine ignored GeneratorExit")

    stubborn: Any = Stubborn()
    task = loop.spawn(stubborn, "stubborn")
    loop.call_at(1001, task.cancel)
    with pytest.raises(RuntimeError):
        loop.run()
    assert task.done


@pytest.mark.parametrize("is_awaited", [False, True])
def test_what_cleanup_raises_is_the_error_of_the_task(loop: Loop, is_awaited: bool) -> None:
    """It neither hits whoever cancels, nor vanishes."""

    async def work() -> None:
        try:
            await _sleep_for_ever()
        finally:
            raise ZeroDivisionError

    came: list[str] = []
    task = loop.spawn(work(), "work")
    waiter = loop.spawn(_caught(_wait_for(task)), "waiter") if is_awaited else None

    def cancel() -> None:
        task.cancel()
        came.append("cancelled")

    loop.call_at(1001, cancel)
    if waiter:
        assert isinstance(result_of(loop, waiter), ZeroDivisionError)
    else:
        with pytest.raises(ZeroDivisionError):
            loop.run()
    assert came == ["cancelled"]


def test_an_error_whose_waiter_has_gone_is_not_swallowed(loop: Loop) -> None:
    task = loop.spawn(_fail_at(loop, 1005, ZeroDivisionError()), "failing")
    waiter = loop.spawn(_wait_for(task), "waiter")
    loop.call_at(1001, waiter.cancel)
    with pytest.raises(ZeroDivisionError):
        loop.run()
    assert loop.now() == 1005


def _cancelled_as_it_fails(loop: Loop, error: Exception) -> Task[None]:
    """A task that fails, whose waiter is cancelled in that very moment, before its next step."""
    task = loop.spawn(_fail_at(loop, 1005, error), "failing")
    waiter = loop.spawn(_wait_for(task), "waiter")

    def cancel() -> None:
        task.forget(cancel)
        waiter.cancel()

    loop.call_at(1001, lambda: task.on_done(cancel))
    return task


def test_an_error_whose_waiter_goes_before_taking_it_is_not_swallowed(loop: Loop) -> None:
    _cancelled_as_it_fails(loop, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        loop.run()


def test_an_error_that_another_waiter_takes_is_not_told_twice(loop: Loop) -> None:
    task = _cancelled_as_it_fails(loop, ZeroDivisionError())
    other = loop.spawn(_caught(_wait_for(task)), "other")
    assert isinstance(result_of(loop, other), ZeroDivisionError)
    drain(loop)


def test_an_error_that_its_owner_has_is_not_told_again_when_a_waiter_goes(loop: Loop) -> None:
    task = loop.spawn(_fail_at(loop, 1005, ZeroDivisionError()), "failing")
    with pytest.raises(ZeroDivisionError):
        loop.run()
    waiter = loop.spawn(_wait_for(task), "waiter")
    loop.call_soon(waiter.cancel)
    drain(loop)
    assert waiter.done


def test_an_error_of_the_world_does_not_matter_once_its_waiter_has_gone(loop: Loop) -> None:
    task = _cancelled_as_it_fails(loop, TransientError("no network"))
    drain(loop)
    assert task.done


def test_a_task_goes_on_when_its_waiter_is_cancelled(loop: Loop) -> None:
    """It may have others; and it has an owner."""

    async def work() -> str:
        await loop.sleep_until(1005)
        return "value"

    task = loop.spawn(work(), "work")
    waiter = loop.spawn(_wait_for(task), "waiter")
    other = loop.spawn(_wait_for(task), "other")
    loop.call_at(1001, waiter.cancel)
    assert result_of(loop, other) == "value"
    assert loop.now() == 1005


# Abandoning


def test_what_nobody_waits_for_any_more_is_abandoned_once(loop: Loop) -> None:
    came: list[float] = []
    promise: Promise[int] = Promise()
    promise.abandon = lambda: came.append(loop.now())
    first, second = (loop.spawn(_wait_for(promise), "waiter") for _ in range(2))
    loop.call_at(1001, first.cancel)
    loop.call_at(1002, second.cancel)
    drain(loop)
    assert came == [1002]


def test_what_has_come_is_not_abandoned(loop: Loop) -> None:
    came: list[str] = []
    promise: Promise[int] = Promise()
    promise.abandon = lambda: came.append("abandoned")
    promise.resolve(1)
    loop.spawn(_wait_for(promise), "waiter").cancel()
    assert result_of(loop, loop.spawn(_wait_for(promise), "waiter")) == 1
    assert came == []


def test_what_a_task_begins_to_await_after_cancelling_itself_is_abandoned(loop: Loop) -> None:
    came: list[str] = []
    promise: Promise[int] = Promise()
    promise.abandon = lambda: came.append("abandoned")
    tasks: list[Task[int]] = []

    async def work() -> int:
        tasks[0].cancel()
        return await promise

    tasks.append(loop.spawn(work(), "work"))
    drain(loop)
    assert came == ["abandoned"]


def test_a_cancelled_sleep_leaves_no_deadline(loop: Loop) -> None:
    async def work() -> None:
        await loop.sleep_until(4600)

    task = loop.spawn(work(), "work")
    loop.call_at(1001, task.cancel)
    drain(loop)
    assert loop.now() == 1001


def test_a_task_that_is_only_for_its_waiters_can_end_with_them(loop: Loop) -> None:
    came: list[str] = []

    async def work() -> None:
        try:
            await _sleep_for_ever()
        finally:
            came.append("closed")

    task = loop.spawn(work(), "work")
    task.abandon = task.cancel
    waiter = loop.spawn(_wait_for(task), "waiter")
    loop.call_at(1001, waiter.cancel)
    drain(loop)
    assert came == ["closed"]


# Owners


def test_an_owner_ends_its_tasks_and_deadlines_and_nothing_else(loop: Loop) -> None:
    came: list[str] = []

    async def work(name: str) -> None:
        try:
            await loop.sleep_until(1005)
            came.append(f"{name} went on")
        finally:
            came.append(f"{name} ended")

    one, other = Owner(loop), Owner(loop)
    for owner, name in ((one, "one"), (one, "two"), (other, "other")):
        owner.spawn(work(name), name)
        owner.call_at(1006, partial(came.append, f"deadline of {name}"))
    loop.call_at(1001, one.close)
    loop.call_at(1002, one.close)
    drain(loop)
    assert came == [
        *("one ended", "two ended", "other went on", "other ended"),
        "deadline of other",
    ]


def test_a_task_of_an_owner_that_is_closed_never_begins(loop: Loop) -> None:
    owner = Owner(loop)
    owner.close()
    waiter = loop.spawn(_caught(_wait_for(owner.spawn(_fail(), "late"))), "waiter")
    assert isinstance(result_of(loop, waiter), Cancelled)


def test_a_task_may_close_its_own_owner(loop: Loop) -> None:
    came: list[str] = []
    owner = Owner(loop)

    async def work() -> None:
        owner.close()
        came.append("reaches its next wait")
        await loop.sleep_until(1005)
        came.append("went on")

    owner.spawn(work(), "work")
    sleeper = owner.spawn(_sleep_for_ever(), "sleeper")
    drain(loop)
    assert came == ["reaches its next wait"]
    assert sleeper.done


def test_a_bug_is_told_to_the_owner_and_ends_what_the_owner_wants(loop: Loop) -> None:
    """A bug in one account ends that account only."""
    errors: list[Exception] = []
    came: list[str] = []

    def failed(error: Exception) -> None:
        errors.append(error)
        sick.close()

    async def work(name: str) -> None:
        await loop.sleep_until(1010)
        came.append(name)

    sick, well = Owner(loop, failed), Owner(loop)
    sick.spawn(_fail_at(loop, 1005, ZeroDivisionError()), "failing")
    sick.spawn(work("sick"), "work")
    well.spawn(work("well"), "work")
    drain(loop)
    assert [type(error) for error in errors] == [ZeroDivisionError]
    assert came == ["well"]


def test_a_bug_in_a_deadline_is_told_to_the_owner(loop: Loop) -> None:
    errors: list[Exception] = []
    Owner(loop, errors.append).call_at(1001, partial(_raise, ZeroDivisionError()))
    drain(loop)
    assert [type(error) for error in errors] == [ZeroDivisionError]
    Owner(loop).call_at(1002, partial(_raise, KeyError()))
    with pytest.raises(KeyError):
        loop.run()


@pytest.mark.parametrize("error", [TransientError("no network"), ZeroDivisionError()])
def test_what_runs_for_a_caller_has_its_bugs_for_its_owner(loop: Loop, error: Exception) -> None:
    errors: list[Exception] = []
    owner = Owner(loop, errors.append)
    task = loop.spawn(_caught(owner.run(_refuse(error), "work")), "caller")
    told = result_of(loop, task)
    if isinstance(error, MailroomError):
        assert (told, errors) == (error, [])
    else:
        assert (type(told), errors) == (Cancelled, [error])


@pytest.mark.parametrize("turns", range(4))
def test_what_runs_for_a_caller_ends_with_its_owner(loop: Loop, turns: int) -> None:
    owner = Owner(loop)
    task = loop.spawn(_caught(owner.run(_sleep_for_ever(), "work")), "caller")
    for _ in range(turns):
        loop.call_soon(_nothing)
        loop.turn()
    owner.close()
    assert isinstance(result_of(loop, task), Cancelled)


def test_what_runs_for_a_caller_ends_with_the_caller(loop: Loop) -> None:
    came: list[str] = []

    async def work() -> None:
        try:
            await _sleep_for_ever()
        finally:
            came.append("closed")

    owner = Owner(loop)
    task = loop.spawn(owner.run(work(), "work"), "caller")
    loop.call_at(1001, task.cancel)
    drain(loop)
    assert came == ["closed"]


def test_an_error_in_the_cleanup_of_several_at_once_is_told_to_the_owner(loop: Loop) -> None:
    """Those who do the work have no owner but the one who waits for them."""
    errors: list[Exception] = []

    async def work() -> None:
        try:
            await _sleep_for_ever()
        finally:
            raise ZeroDivisionError

    owner = Owner(loop, errors.append)
    owner.spawn(together(loop, [work(), _sleep_for_ever()]), "together")
    loop.call_at(1001, owner.close)
    drain(loop)
    assert [type(error) for error in errors] == [ZeroDivisionError]


def test_several_at_once_end_with_whoever_waits_for_them(loop: Loop) -> None:
    came: list[int] = []

    async def work(number: int) -> None:
        try:
            await _sleep_for_ever()
        finally:
            came.append(number)

    task = loop.spawn(together(loop, [work(number) for number in range(5)], limit=3), "all")
    loop.call_at(1001, task.cancel)
    drain(loop)
    assert came == [0, 1, 2]  # the other two had not begun


@pytest.mark.parametrize("turns", [2, 3])
def test_an_error_of_the_world_among_several_at_once_goes_with_their_waiter(
    loop: Loop, turns: int
) -> None:
    """Their waiter is cancelled: it must not take the error for its own, and try again."""
    tried: list[Exception] = []

    async def work() -> None:
        try:
            await both(loop, _refuse(TransientError("no network")), _sleep_for_ever())
        except TransientError as error:
            tried.append(error)
            await _sleep_for_ever()

    task = loop.spawn(work(), "work")
    for _ in range(turns):
        loop.call_soon(_nothing)
        loop.turn()
    task.cancel()
    drain(loop)
    assert task.done
    assert not tried


def test_after_an_error_in_the_cleanup_of_several_at_once_no_other_begins(loop: Loop) -> None:
    errors: list[Exception] = []
    begun: list[int] = []

    async def work(number: int) -> None:
        begun.append(number)
        try:
            await _sleep_for_ever()
        finally:
            raise ZeroDivisionError

    owner = Owner(loop, errors.append)
    owner.spawn(together(loop, [work(number) for number in range(5)], limit=2), "together")
    loop.call_at(1001, owner.close)
    drain(loop)
    assert begun == [0, 1]
    assert [type(error) for error in errors] == [ZeroDivisionError]


def test_closing_the_loop_ends_every_task_and_hides_no_error() -> None:
    came: list[str] = []

    async def work(error: Exception) -> None:
        try:
            await _sleep_for_ever()
        finally:
            came.append("closed")
            raise error

    loop = Loop(VirtualClock())
    loop.spawn(work(ZeroDivisionError()), "work")
    Owner(loop).spawn(work(KeyError()), "work")
    loop.turn()
    with pytest.raises(ExceptionGroup) as raised:
        loop.close()
    assert [type(error) for error in raised.value.exceptions] == [ZeroDivisionError, KeyError]
    assert came == ["closed", "closed"]


# Several at once


def test_together_begins_and_gives_results_in_order_and_runs_at_most_so_many(loop: Loop) -> None:
    running: list[int] = []
    started: list[int] = []
    most = 0

    async def work(number: int) -> int:
        nonlocal most
        started.append(number)
        running.append(number)
        most = max(most, len(running))
        await loop.sleep_until(loop.now() + 10 - number)
        running.remove(number)
        return number

    coroutines = [work(number) for number in range(10)]
    task = loop.spawn(together(loop, coroutines, limit=3), "all")
    assert result_of(loop, task) == started == list(range(10))
    assert most == 3


def test_together_lets_the_others_end_before_it_raises_the_first_error(loop: Loop) -> None:
    ended: list[int] = []

    async def work(number: int) -> None:
        await loop.sleep_until(1000 + number)
        if number in (2, 3):
            raise KeyError(number)
        ended.append(number)

    task = loop.spawn(_caught(together(loop, [work(number) for number in range(6)])), "all")
    error = result_of(loop, task)
    assert (error.args, ended, loop.now()) == ((2,), [0, 1, 4, 5], 1005)


def test_nothing_at_once_is_done_at_once(loop: Loop) -> None:
    assert result_of(loop, loop.spawn(together(loop, []), "none")) == []


@pytest.mark.parametrize(("seconds_per_step", "is_answered"), [(0.001, False), (0.01, True)])
def test_long_computing_gives_way_to_the_sockets(
    loop: Loop, clock: VirtualClock, seconds_per_step: float, is_answered: bool
) -> None:
    here, there = socket.socketpair()
    answered_at: list[int] = []
    steps: list[int] = []

    async def compute() -> None:
        for step in range(3):
            await give_way(loop)
            clock.advance(seconds_per_step)
            steps.append(step)

    with here, there:
        task = loop.spawn(compute(), "compute")
        loop.turn()
        loop.watch(here.fileno(), READ, lambda _events: answered_at.append(len(steps)))
        there.send(b"?")
        while not task.done:
            loop.turn()
        loop.unwatch(here.fileno())
    assert steps == [0, 1, 2]
    assert bool(answered_at and answered_at[0] < 3) == is_answered


def test_both_keeps_the_two_apart(loop: Loop) -> None:
    async def first() -> int:
        await loop.sleep_until(1005)
        return 1

    async def second() -> str:
        return "two"

    assert result_of(loop, loop.spawn(both(loop, first(), second()), "both")) == (1, "two")


# Within a deadline


@pytest.mark.parametrize(
    ("arrives", "outcome"),
    [(1001.0, "value"), (1004.9, "value"), (1005.1, "too late"), (None, "too late")],
)
def test_within_gives_the_result_or_says_that_the_instant_has_passed(
    loop: Loop, arrives: float | None, outcome: str
) -> None:
    promise: Promise[str] = Promise()
    if arrives is not None:
        loop.call_at(arrives, lambda: promise.resolve("value"))
    task = loop.spawn(_caught(within(loop, promise, 1005.0)), "within")
    result = result_of(loop, task)
    if outcome == "value":
        assert result == "value"
    else:
        assert isinstance(result, DeadlinePassed)
        assert loop.now() == 1005


def test_within_an_instant_that_has_passed_a_ready_result_still_counts(loop: Loop) -> None:
    promise: Promise[str] = Promise()
    promise.resolve("value")
    assert result_of(loop, loop.spawn(within(loop, promise, 1.0), "within")) == "value"


def test_a_cancelled_within_leaves_no_deadline(loop: Loop, clock: VirtualClock) -> None:
    never: Promise[None] = Promise()
    waiting = loop.spawn(within(loop, never, clock.now() + 1800), "waiting")
    loop.turn()
    waiting.cancel()
    with pytest.raises(NothingToWaitFor):
        loop.turn()


def test_within_hands_on_the_error(loop: Loop) -> None:
    promise: Promise[str] = Promise()
    loop.call_at(1001, lambda: promise.reject(KeyError("no")))
    error = result_of(loop, loop.spawn(_caught(within(loop, promise, 1005)), "within"))
    assert isinstance(error, KeyError)


# In real time


def test_what_has_come_is_heard_before_a_deadline_judges_by_it(
    real_loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    """After a turn that took long, both are due at once; the news has two steps to its reader."""
    heard: list[str] = []
    arrived: Promise[None] = Promise()

    def on_ready(_events: int) -> None:
        real_loop.call_soon(lambda: arrived.resolve(None))

    async def reader() -> None:
        await arrived
        heard.append("news")

    real_loop.watch(pair[0].fileno(), READ, on_ready)
    real_loop.spawn(reader(), "reader")
    real_loop.turn()
    real_loop.call_at(real_loop.now(), lambda: heard.append("deadline"))
    pair[1].send(b"x")
    real_loop.turn()
    assert heard == ["news", "deadline"]


def test_deadlines_sockets_and_tasks_share_the_real_clock(
    real_loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    """Earlier and later deadlines by turns, with sockets in between: nothing comes early."""
    late: list[float] = []
    read: list[bytes] = []

    def due(instant: float) -> None:
        late.append(real_loop.now() - instant)
        pair[1].send(b"x")

    start = real_loop.now()
    for milliseconds in (30, 5, 20, 1, 10, 0, 25):
        instant = start + milliseconds / 1000
        real_loop.call_at(instant, partial(due, instant))
    far = real_loop.call_at(start + 3600, _unexpected)
    real_loop.watch(pair[0].fileno(), READ, lambda _: read.append(pair[0].recv(9)))
    while len(late) < 7:
        real_loop.turn()
    real_loop.turn()  # on a busy machine the last deadlines fall into one turn
    far.cancel()
    assert min(late) >= 0
    assert len(b"".join(read)) >= 6
    assert real_loop.turns < 30  # it waits, and does not spin


def _timers() -> int:
    gc.collect()
    return sum(isinstance(thing, Timer) for thing in gc.get_objects())


def _nothing() -> None:
    pass


def _unexpected(_events: int = 0) -> None:
    raise AssertionError("this must not be called")


def _raise(error: Exception) -> None:
    raise error


async def _refuse(error: Exception) -> None:
    raise error


async def _fail() -> None:
    raise ZeroDivisionError


async def _fail_at(loop: Loop, when: float, error: Exception) -> None:
    await loop.sleep_until(when)
    raise error


async def _sleep_for_ever() -> None:
    never: Promise[None] = Promise()
    await never


async def _wait_for(promise: Promise[T]) -> T:
    return await promise


async def _caught(coroutine: Any) -> Any:
    try:
        return await coroutine
    except Exception as error:  # noqa: BLE001 - it is the result here
        return error


def _wait_until_asleep(pid: int) -> None:
    """Until the process waits in the kernel, as proc(5) tells."""
    stat = Path(f"/proc/{pid}/stat")
    while stat.read_text().rpartition(")")[2].split()[0] != "S":
        pass


def test_of_many_deadlines_that_are_due_some_come_in_each_turn(loop: Loop) -> None:
    """The sockets are looked at in between; the order stays."""
    fired: list[int] = []
    for number in range(40):
        loop.call_at(loop.now(), partial(fired.append, number))
    turns = [0]
    while len(fired) < 40:
        loop.turn()
        turns.append(len(fired))
    assert fired == list(range(40))
    assert turns == [0, 16, 32, 40]
