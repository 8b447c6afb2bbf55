"""So many at a time, in the order of their coming, also when one of them is cancelled."""

import pytest

from mailroom.engine.loop import Loop, Promise
from mailroom.work.gate import Gate
from tests.virtual import NothingToWaitFor, VirtualClock


class Crowd:
    """Everybody enters, stays until let go, and leaves; ``inside`` is the order of entering."""

    def __init__(self, size: int, most: int) -> None:
        self.loop = Loop(VirtualClock())
        self.inside: list[int] = []
        self.gate = Gate()
        self.most = most
        self.stays: list[Promise[None]] = [Promise() for _ in range(size)]
        self.tasks = [self.loop.spawn(self._pass(number), "visitor") for number in range(size)]
        self.loop.turn()

    def settle(self) -> None:
        with pytest.raises(NothingToWaitFor):
            self.loop.run()

    async def _pass(self, number: int) -> None:
        await self.gate.enter(self.most)
        try:
            self.inside.append(number)
            await self.stays[number]
        finally:
            self.gate.leave()


def test_the_next_in_line_comes_in_when_one_leaves() -> None:
    crowd = Crowd(5, most=2)
    assert crowd.inside == [0, 1]
    for number in (1, 0, 2, 3, 4):
        crowd.stays[number].resolve(None)
        crowd.settle()
    assert crowd.inside == [0, 1, 2, 3, 4]
    assert all(task.done for task in crowd.tasks)


@pytest.mark.parametrize("cancelled", [0, 1, 2])
@pytest.mark.parametrize("in_its_moment", [False, True])
def test_whoever_is_cancelled_holds_nobody_up(cancelled: int, in_its_moment: bool) -> None:
    """Inside, in line, and in the moment in which its turn has come."""
    crowd = Crowd(4, most=1)
    cancel = crowd.tasks[cancelled].cancel
    if in_its_moment:
        crowd.stays[0].resolve(None)
        crowd.loop.call_soon(
            cancel
        )  # after the step of the one who leaves, before that of the next
    else:
        cancel()
    for stay in crowd.stays:
        stay.resolve(None)
    crowd.settle()
    assert all(task.done for task in crowd.tasks)
    assert {0, 1, 2, 3} - {cancelled} <= set(crowd.inside)
