"""Results page by page: nothing is missed, and no number told by a server costs a request."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailroom.engine.loop import Loop
from mailroom.wire.jmap import Mail, Page
from mailroom.work.mail.pages import Found, Pages
from tests.virtual import VirtualClock

QUERY = {"inMailbox": "a"}
LIMIT = 10


class Server:
    """Has ``ids``; shows at most ``cap`` at once; tells ``total`` and ``limit`` as it likes."""

    def __init__(
        self,
        ids: Sequence[str],
        cap: int = 1000,
        total: int | None = None,
        limit: int | None = None,
        state: str = "s",
    ) -> None:
        self.ids, self.cap, self.total, self.limit, self.state = ids, cap, total, limit, state
        self.asked: list[int] = []
        self.loop = Loop(VirtualClock())
        self.pages = Pages(self.loop, self.ask)

    async def ask(self, _query: object, limit: int, position: int) -> Found:
        self.asked.append(position)
        ids = tuple(self.ids[position:][: min(limit, self.cap)])
        page = Page(ids, self.total, self.state, self.limit)
        return page, {each: Mail(each, (), frozenset("a")) for each in ids}

    def read(self) -> list[str]:
        async def read() -> tuple[Mail, ...]:
            first = await self.ask(QUERY, LIMIT, 0)
            return await self.pages.whole(first, QUERY, LIMIT, 4)

        task = self.loop.spawn(read(), "test")
        while not task.done:
            self.loop.turn()
        return [mail.id for mail in task.result()]

    def requests(self) -> int:
        number = len(self.asked)
        self.read()
        return len(self.asked) - number


def names(count: int) -> list[str]:
    return [f"m{number}" for number in range(count)]


@given(
    st.integers(0, 60),
    st.integers(1, 12),
    st.none() | st.integers(0, 9) | st.integers(10**4, 10**20),
    st.none() | st.integers(1, 10**9),
    st.sampled_from(["", "s"]),
)
def test_whatever_numbers_are_told_all_is_found_and_they_cost_nothing(
    count: int, cap: int, total: int | None, limit: int | None, state: str
) -> None:
    told = None if total is not None and total < count else total  # less than all is another case
    server = Server(names(count), cap, told, None if limit and limit > cap else limit, state)
    assert server.read() == names(count)
    pages = count // min(cap, LIMIT) + 1
    assert len(server.asked) <= 2 * (pages + 4)  # two looks; four at once may reach beyond the end


@pytest.mark.parametrize("total", [344, 5_000, 10**18, None])
@pytest.mark.parametrize("state", ["", "s"])
def test_two_ids_cost_one_request_from_the_second_time_on(total: int | None, state: str) -> None:
    server = Server(names(2), total=total, state=state)
    assert server.requests() <= 4
    assert [server.requests() for _ in range(5)] == [1] * 5


def test_what_is_true_costs_one_request_at_once() -> None:
    assert Server(names(2), total=2).requests() == 1
    assert Server([], total=7).requests() == 1
    assert Server(names(2), limit=5).requests() == 1


def test_a_total_that_is_that_of_the_page_hides_nothing() -> None:
    server = Server(names(30), total=10)
    assert server.read() == names(30)


def test_what_has_come_since_is_found_although_the_page_was_once_all() -> None:
    server = Server(names(2), cap=2, state="one")
    assert server.read() == names(2)
    server.ids, server.state = names(3), "two"
    assert server.read() == names(3)


def test_many_pages_are_asked_for_at_once_as_far_as_they_are_filled() -> None:
    server = Server(names(100), cap=LIMIT, total=100)
    assert server.read() == names(100)
    assert len(server.asked) == 11  # the last one is full, so another might follow


def test_a_server_that_has_not_held_still_is_looked_at_again() -> None:
    server = Server(names(25))
    states = iter("abcdefghijklmnopqrstuvwxyz")
    ask = server.ask

    async def restless(query: object, limit: int, position: int) -> Found:
        page, mails = await ask(query, limit, position)
        return Page(page.ids, None, next(states)), mails

    server.pages = Pages(server.loop, restless)
    assert server.read() == names(25)
    assert server.asked.count(0) == 2


def test_ids_alone_are_those_of_all_looks_where_nothing_holds_still() -> None:
    """A mail leaves before each page, so the next one slips over to the page before."""
    server = Server(names(40))
    gone: list[str] = []

    async def ask(query: object, limit: int, position: int) -> Found:
        page, _ = await server.ask(query, limit, position)
        gone.append(server.ids[0])
        server.ids = server.ids[1:]
        server.state += "+"
        return page, {}

    async def read() -> set[str]:
        pages = Pages(server.loop, ask)
        return await pages.ids(await ask(QUERY, LIMIT, 0), QUERY, LIMIT, 1)

    task = server.loop.spawn(read(), "test")
    while not task.done:
        server.loop.turn()
    assert task.result() >= set(server.ids)
