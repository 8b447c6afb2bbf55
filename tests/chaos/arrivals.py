"""Killed at any request at the door: new mail, mail that is moved, decisions for whole domains."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.chaos import crash
from tests.chaos.crash import BOB, BOBS_CARD, Service, Stage, populate, watch
from tests.sandbox import CYRUS_3_10, CYRUS_3_13, Profile
from tests.world import BOOK, World

EVE = "Eve <eve@strangers.example>"
SHOP, ORDERS = "Shop <news@shop.example>", "Orders <orders@mail.shop.example>"
WAYS: Mapping[str, tuple[Profile, str]] = {
    "by CardDAV": (CYRUS_3_10, "carddav"),
    "by JMAP": (CYRUS_3_13, "jmap"),
}
RULES = {"with rules": "server", "without rules": "mailroom"}

Act = Callable[[World], None]


@dataclass(frozen=True, slots=True)
class DoorScenario:
    """Mail of strangers has come, and ``before`` has happened, one after the other; ``when`` is
    what is worked on."""

    when: Sequence[Act]
    before: Sequence[Act]
    way: str
    rules: str

    def begin(self) -> Service:
        """The moment before the service hears of it."""
        profile, by = WAYS[self.way]
        door = {"screening": {"by": RULES[self.rules]}}
        world = World(profile, {**BOOK, "contacts": {"by": by}, **door})
        populate(world)
        world.sandbox.put_card(BOBS_CARD)
        world.start().settle()
        for act in (arrival(SHOP, EVE, ORDERS, EVE), *self.before):
            act(world)
            world.settle()
        watch(world)
        for act in self.when:
            act(world)
        return Service(world)


def arrival(*senders: str) -> Act:
    """New mail, where the server puts a stranger's."""

    def act(world: World) -> None:
        mailbox = "Screener" if world.config.screening.by == "server" else "Inbox"
        world.mails += [world.sandbox.deliver(sender, mailbox=mailbox) for sender in senders]

    return act


def move(mailbox: str, mail: int = -1) -> crash.Act:
    return lambda world: world.sandbox.move(world.mails[mail], mailbox)


def whole(name: str, mail: int) -> crash.Act:
    def act(world: Stage) -> None:
        world.tap(world.mails[mail], "@WholeDomain")
        world.tap(world.mails[mail], name)

    return act


_STORIES: Mapping[str, tuple[Sequence[Act], Sequence[Act]]] = {
    "a friend and strangers": ([arrival(BOB, EVE, BOB, SHOP)], []),
    "a mail moved to a destination": ([move("Feed")], []),
    "mails moved to Inbox and Archive": ([move("Inbox"), move("Archive", -2)], []),
    "a mail moved while others come": ([move("Feed"), arrival(EVE, SHOP)], []),
    "a whole domain": ([whole("@ToFeed", -2)], []),
    "a whole domain, decided anew": ([whole("@ToJail", -4)], [whole("@ToFeed", -2)]),
    "a whole domain, taken back": ([whole("@ToScreener", -4)], [whole("@ToPaperTrail", -2)]),
}
DOOR_SCENARIOS = {
    f"{name}, {rules}, {way}": DoorScenario(when, before, way, rules)
    for name, (when, before) in _STORIES.items()
    for rules in RULES
    for way in WAYS
}
