"""Requests that conversations share."""

from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from mailroom.engine.credentials import Basic, Logins
from mailroom.engine.loop import together
from mailroom.errors import TransientError
from mailroom.rules.status.health import Totals
from mailroom.wire.jmap import Answers, Call, MethodError
from mailroom.work.account.clients import build_clients
from mailroom.work.session.gate import Servers
from tests.sandbox import CYRUS_3_10, Entry, Fault, Limits, Profile
from tests.world import World

T = TypeVar("T")


class Line:
    """One account's API, over which several talk at once."""

    def __init__(self, servers: Servers | None = None, **limits: int) -> None:
        profile: Profile = replace(CYRUS_3_10, limits=Limits(**limits))
        self.world = World(profile)
        who = Basic("alice", "secret")
        http = self.world.new_http()
        loop = self.world.loop
        self.mail = build_clients(
            loop.root, http, self.world.config, Logins(who, who), Totals(), servers or Servers()
        ).mail
        self.run(self.mail.session())

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        task = self.world.loop.spawn(coroutine, "test")
        self.world.run_until(lambda: task.done)
        return task.result()

    def at_once(self, *parties: list[Call]) -> tuple[list[Answers], list[Entry]]:
        """What each party is answered, and the requests that it took."""
        number = self.world.request_count
        asked = [self.mail.call(calls, gathers=True) for calls in parties]
        answers = self.run(together(self.world.loop, asked, len(asked)))
        return answers, self.world.requests_since(number)


def echo(word: str, tag: str = "a", **more: Any) -> Call:
    return Call("Core/echo", {"word": word, **more}, tag)


def pair(position: int) -> list[Call]:
    """A query for one mailbox and a get that refers to it."""
    query = Call("Mailbox/query", {"position": position, "limit": 1}, "query")
    return [query, Call("Mailbox/get", {"#ids": query.ref("/ids")}, "get")]


def test_calls_of_one_turn_travel_together_and_each_gets_its_own_answers() -> None:
    line = Line()
    answers, entries = line.at_once([echo("one")], [echo("two")], [echo("three", "b")])
    assert [entry.calls for entry in entries] == [("Core/echo",) * 3]
    assert [answers[0]["a"]["word"], answers[1]["a"]["word"]] == ["one", "two"]
    assert answers[2]["b"]["word"] == "three"


def test_a_reference_stays_with_its_own() -> None:
    line = Line()
    answers, entries = line.at_once(pair(0), pair(3))
    assert len(entries) == 1
    found = [[box["id"] for box in each["get"]["list"]] for each in answers]
    assert found == [each["query"]["ids"] for each in answers]
    assert found[0] != found[1]


def test_one_turn_is_one_request_and_the_next_turn_the_next() -> None:
    line = Line()

    async def twice() -> None:
        await line.mail.call([echo("one")], gathers=True)
        await line.mail.call([echo("two")], gathers=True)

    number = line.world.request_count
    line.run(together(line.world.loop, [twice(), twice()]))
    assert [len(entry.calls) for entry in line.world.requests_since(number)] == [2, 2]


def test_more_calls_than_a_request_may_have_are_several_in_their_order() -> None:
    line = Line(max_calls_in_request=3)
    answers, entries = line.at_once([echo("1")], pair(0), [echo("4")], [echo("5")])
    assert [entry.calls for entry in entries] == [
        ("Core/echo", "Mailbox/query", "Mailbox/get"),
        ("Core/echo", "Core/echo"),
    ]
    assert entries[0].ended is not None
    assert entries[0].ended <= entries[1].started
    assert [answers[2]["a"]["word"], answers[3]["a"]["word"]] == ["4", "5"]


def test_whoever_is_too_large_for_one_request_travels_alone() -> None:
    line = Line(max_calls_in_request=2)
    long = [echo(str(number), str(number)) for number in range(5)]
    answers, entries = line.at_once([echo("x")], long, [echo("y")])
    assert [len(entry.calls) for entry in entries] == [1, 2, 2, 1, 1]
    assert [answers[1][str(number)]["word"] for number in range(5)] == list("01234")


def test_more_bytes_than_a_request_may_have_are_several() -> None:
    line = Line(max_size_request=10_000)
    _, entries = line.at_once([echo("x" * 4000)], [echo("y" * 4000)], [echo("z" * 4000)])
    assert [len(entry.calls) for entry in entries] == [2, 1]


@pytest.mark.parametrize(
    ("get", "set_", "asked_for"), [(500, 500, (100, 100)), (50, 500, (50, 100)), (40, 30, (40, 30))]
)
def test_among_many_accounts_each_asks_for_fewer_objects_at_once(
    get: int, set_: int, asked_for: tuple[int, int]
) -> None:
    servers = Servers()
    servers.objects_at_once = 100
    line = Line(servers, max_objects_in_get=get, max_objects_in_set=set_)
    limits = line.run(line.mail.session()).limits
    assert (limits.get, limits.set) == asked_for


def test_a_call_that_fails_is_its_partys_alone() -> None:
    line = Line()
    answers, _ = line.at_once([Call("No/such", {}, "a")], [echo("two")])
    with pytest.raises(MethodError):
        answers[0]["a"]
    assert answers[1]["a"]["word"] == "two"


def test_a_request_that_fails_is_everybodys_and_nothing_follows_it() -> None:
    line = Line(max_calls_in_request=2)
    line.world.sandbox.faults.add(Fault(call="Core/echo", breaks="before", times=1))
    number, told = line.world.request_count, list[str]()

    async def party(word: str) -> None:
        try:
            await line.mail.call([echo(word)], gathers=True)
        except TransientError:
            told.append(word)

    line.run(together(line.world.loop, [party(word) for word in "abc"]))
    assert told == ["a", "b", "c"]
    assert len(line.world.requests_since(number)) == 1
