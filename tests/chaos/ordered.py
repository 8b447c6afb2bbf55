"""Killed at any request of a decision by command, and asked for again: the end is the same.

Where mail of the sender waits, the next start alone ends it, or nothing has happened yet: there is
nothing in between that would have to be repeated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mailroom.engine.loop import Loop
from tests.chaos.crash import (
    BOBS_CARD,
    Act,
    card,
    differences,
    label,
    mail,
    populate,
    senders,
    state,
    then,
    watch,
)
from tests.sandbox import CYRUS_3_10, CYRUS_3_13, Profile, Sandbox
from tests.world import BOOK, World

Document = Mapping[str, Any]

_WAYS: Mapping[str, tuple[Profile, str]] = {
    "by CardDAV": (CYRUS_3_10, "carddav"),
    "by JMAP": (CYRUS_3_13, "jmap"),
}


@dataclass(frozen=True, slots=True)
class OrderScenario:
    """``given`` is there at the start; ``orders`` are what is typed, all at once. ``waits``: mail
    that is about them does."""

    given: Act
    orders: Sequence[Document]
    waits: bool
    way: str

    def begin(self) -> "Deciding":
        """The moment before the command is typed."""
        profile, by = _WAYS[self.way]
        world = World(profile, {**BOOK, "contacts": {"by": by}})
        populate(world)
        self.given(world)
        world.start().settle()
        watch(world)
        return Deciding(world, self.orders, self.waits)


@dataclass(slots=True)
class Deciding:
    """The service, and somebody who types a command until it is answered."""

    world: World
    orders: Sequence[Document]
    waits: bool
    is_dead: bool = field(default=False)
    _unanswered: int = 0

    @property
    def sandbox(self) -> Sandbox:
        return self.world.sandbox

    @property
    def loop(self) -> Loop:
        return self.world.loop

    def work(self) -> None:
        before = self.state()
        after_start = None
        was_dead, self.is_dead = self.is_dead, True
        if was_dead:
            self.world.boot()
            self.world.start().settle()
            after_start = self.state()
        self._type()
        self.is_dead = False
        if self.waits and after_start is not None and after_start != before:
            end = self.state()
            assert after_start == end, f"left half done:\n{differences(after_start, end)}"

    def state(self) -> tuple[Any, ...]:
        return state(self.world)

    def _type(self) -> None:
        self._unanswered = len(self.orders)
        for order in self.orders:
            self.loop.spawn(self._ask(order), "a command")
        self.world.settle()
        assert self._unanswered == 0

    async def _ask(self, order: Document) -> None:
        await self.world.account.commands.triage(order, "anna")
        self._unanswered -= 1


def to(category: str | None, **whom: str) -> list[Document]:
    """One decision; about Bob, if about nobody else."""
    return [{**(whom or {"address": "bob@example.org"}), "category": category}]


_STORIES: Mapping[str, tuple[Act, Sequence[Document], bool]] = {
    "a new sender": (mail(3), to("Billboard"), True),
    "an adopted contact": (then(mail(3), card(BOBS_CARD)), to("Imbox"), True),
    "a change of mind": (then(mail(3), label("@ToFeed")), to("Jail"), True),
    "taken back": (then(mail(3), label("@ToTruck")), to(None), True),
    "nobody waits": (then(), to("Person"), False),
    "nobody waits, an adopted contact": (card(BOBS_CARD), to("Feed"), False),
    "a whole domain": (senders(8), to("Feed", domain="example1.org"), True),
    "a whole domain of nobody": (then(), to("Feed", domain="example1.org"), False),
    "six senders": (
        senders(6),
        [
            {"address": f"s{number}@example{number}.org", "category": ("Feed", "Jail")[number % 2]}
            for number in range(6)
        ],
        False,  # each of them is as before, or done
    ),
}
ORDER_SCENARIOS = {
    f"{name}, by command, {way}": OrderScenario(*story, way)
    for name, story in _STORIES.items()
    for way in _WAYS
}
