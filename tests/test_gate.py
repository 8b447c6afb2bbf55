"""So many at a time, in the order of their coming, also when one of them is cancelled."""

import pytest

from mailroom.engine.loop import Loop, Promise
from mailroom.errors import Silent
from mailroom.wire.http import SILENCE_SECONDS
from mailroom.wire.urls import origin
from mailroom.work.session.gate import Doorway, Gate, Servers, Turn
from tests.virtual import NothingToWaitFor, VirtualClock
from tests.world import World


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


MAIL, DAV = "https://mail.example", "https://dav.example"


class Visit:
    """So many requests of each kind, of one account, that never end by themselves."""

    def __init__(self, servers: Servers | None = None, loop: Loop | None = None) -> None:
        self.loop = loop or Loop(VirtualClock())
        self.doorway = Doorway(self.loop, servers or Servers())
        self.inside: list[str] = []
        self.turns: list[Turn] = []

    def inside_of(self, *origins: str, is_carddav: bool = False) -> list[str]:
        """Who has come in, when these have come too."""
        for where in origins:
            self.loop.spawn(self._stay(where, is_carddav=is_carddav), "visitor")
        self.loop.turn()
        return self.inside

    async def _stay(self, origin: str, *, is_carddav: bool) -> None:
        self.turns.append(await self.doorway.enter(origin, is_carddav=is_carddav))
        self.inside.append(origin)
        await Promise[None]()


def test_before_a_server_has_said_what_it_allows_that_is_few() -> None:
    assert Visit().inside_of(*[DAV] * 9, is_carddav=True) == [DAV] * 4


@pytest.mark.parametrize("counts_carddav", [True, False])
def test_mail_and_contacts_share_what_their_server_allows(counts_carddav: bool) -> None:
    visit = Visit()
    visit.doorway.allow(MAIL, 3, counts_carddav=counts_carddav)
    visit.inside_of(MAIL, MAIL)
    found = visit.inside_of(MAIL, MAIL, MAIL, is_carddav=True)
    assert found == [MAIL] * (3 if counts_carddav else 5)


def test_a_server_elsewhere_does_not_count() -> None:
    visit = Visit()
    visit.doorway.allow(MAIL, 1, counts_carddav=True)
    assert visit.inside_of(MAIL, MAIL, *[DAV] * 9).count(DAV) == 9


def test_all_accounts_together_ask_no_more_of_a_server_than_the_process_may() -> None:
    servers = Servers(most_at_once=5)
    one, other = Visit(servers), Visit(servers)
    assert one.inside_of(*[MAIL] * 9) == [MAIL] * 4  # an account's own
    assert other.inside_of(*[MAIL] * 9) == [MAIL]
    assert other.inside_of(DAV) == [MAIL, DAV]


def test_who_is_cancelled_in_line_at_the_server_leaves_its_own_line_too() -> None:
    servers = Servers(most_at_once=1)
    first, visit = Visit(servers), Visit(servers)
    visit.doorway.allow(MAIL, 1, counts_carddav=True)
    first.inside_of(MAIL)

    async def enter() -> None:
        await visit.doorway.enter(MAIL, is_carddav=False)

    waits = visit.loop.spawn(enter(), "visitor")
    visit.loop.turn()
    waits.cancel()
    visit.inside_of(MAIL)
    first.turns[0].leave()
    visit.loop.turn()
    assert visit.inside == [MAIL]


def settle(visit: Visit) -> None:
    """What is due now, and takes no time."""
    for _ in range(3):
        visit.loop.call_soon(lambda: None)
        visit.loop.turn()


class Asked:
    """The outcome of a request that is never sent: whether it came in, or why not."""

    def __init__(self, servers: Servers, visit: Visit, doorway: Doorway | None = None) -> None:
        self.turns: list[Turn] = []
        self.refused: list[str] = []
        visit.loop.spawn(self._enter(doorway or Doorway(visit.loop, servers)), "request")
        settle(visit)

    async def _enter(self, doorway: Doorway) -> None:
        try:
            self.turns.append(await doorway.enter(MAIL, is_carddav=False))
        except Silent as error:
            self.refused.append(str(error))


def test_nobody_waits_in_line_for_a_server_that_answers_nobody() -> None:
    servers = Servers(most_at_once=1)
    visit = Visit(servers)
    one = Asked(servers, visit)
    waiting = [Asked(servers, visit) for _ in range(3)]
    one.turns[0].timed_out(5.0)
    settle(visit)
    assert [each.refused != [] for each in waiting] == [True] * 3
    assert Asked(servers, visit).refused  # whoever comes while one is inside
    one.turns[0].leave()
    probe = Asked(servers, visit)  # and it is asked as before, by those who find room
    probe.turns[0].answered(20.0)
    later = Asked(servers, visit)
    assert (later.turns, later.refused) == ([], [])
    probe.turns[0].leave()
    settle(visit)
    assert later.turns


def test_who_is_slow_with_one_request_is_waited_for() -> None:
    servers = Servers(most_at_once=2)
    visit = Visit(servers)
    slow, quick = (Asked(servers, visit) for _ in range(2))
    waiting = Asked(servers, visit)
    quick.turns[0].answered(6.0)
    slow.turns[0].timed_out(5.0)
    settle(visit)
    assert (waiting.turns, waiting.refused) == ([], [])
    slow.turns[0].leave()
    settle(visit)
    assert waiting.turns


def test_who_is_refused_leaves_its_own_line_too() -> None:
    servers = Servers(most_at_once=1)
    visit = Visit(servers)
    doorway = Doorway(visit.loop, servers)
    doorway.allow(MAIL, 1, counts_carddav=True)
    inside = Asked(servers, visit)
    refused = Asked(servers, visit, doorway)
    inside.turns[0].timed_out(5.0)
    settle(visit)
    assert refused.refused
    inside.turns[0].leave()
    assert Asked(servers, visit, doorway).turns


def test_what_becomes_of_polls_tells_whether_the_server_is_silent() -> None:
    world = World().start()
    world.settle()
    silence = world.servers.silence(origin(world.config.jmap.url))
    world.sandbox.controls.delay_seconds = 2 * SILENCE_SECONDS
    world.account.poll_now()
    told = []
    for seconds in (SILENCE_SECONDS - 0.1, 0.2, 5.0):
        world.run_for(seconds)
        told.append(silence.is_on)
        world.sandbox.controls.delay_seconds = 0.0
    assert told == [False, True, False]


class Crossing:
    """Accounts of one process at one server that lets in two at a time."""

    def __init__(self) -> None:
        self.servers, self.loop = Servers(most_at_once=2), Loop(VirtualClock())

    def visit(self) -> Visit:
        return Visit(self.servers, self.loop)

    def wait(self, seconds: float) -> None:
        self.loop.spawn(self._wait(self.loop.now() + seconds), "wait")
        with pytest.raises(NothingToWaitFor):
            self.loop.run()

    async def _wait(self, until: float) -> None:
        await self.loop.sleep_until(until)


def test_who_is_left_waiting_gives_its_place_to_the_next() -> None:
    crossing = Crossing()
    left, other = crossing.visit(), crossing.visit()
    assert left.inside_of(MAIL, MAIL) == [MAIL, MAIL]
    assert other.inside_of(MAIL) == []
    crossing.wait(1.0)
    assert other.inside == [MAIL]


def test_no_more_than_as_many_again_are_left_waiting() -> None:
    crossing = Crossing()
    visits = [crossing.visit() for _ in range(9)]
    for each in visits:
        each.inside_of(MAIL)
    crossing.wait(60.0)
    assert sum(len(each.inside) for each in visits) == 4


def test_who_was_left_waiting_takes_no_place_of_others_until_it_is_answered_in_time() -> None:
    crossing = Crossing()
    left, others = crossing.visit(), [crossing.visit() for _ in range(3)]
    left.inside_of(MAIL)
    crossing.wait(1.0)
    assert left.inside_of(MAIL) == [MAIL, MAIL]
    assert [each.inside_of(MAIL) for each in others] == [[MAIL], [MAIL], []]
    for turn in (left.turns[1], *(each.turns[0] for each in others[:2])):  # answered in time
        turn.leave()
    crossing.loop.turn()
    assert others[2].inside == [MAIL]
    assert left.inside_of(MAIL) == [MAIL] * 3
    assert crossing.visit().inside_of(MAIL) == []
