"""Killed at any request, the service ends where it would have ended undisturbed.

A kill is an exception that comes out of the loop: before a request takes effect, after it has but
before its answer, or after the answer. Then a process that knows nothing starts.
"""

import gc
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, NoReturn

import pytest

from mailroom.sandbox import CYRUS_3_10, SMALL_LIMITS, Entry, Profile
from tests.world import BOOK, World

Act = Callable[[World], None]

# A process that is killed tells nobody what it was about to do; a test's process lives on.
pytestmark = pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")

BOB = "Bob <bob@example.org>"
BOBS_CARD = (
    "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:bob\r\nFN:Bob\r\nN:;Bob;;;\r\nEMAIL:bob@example.org\r\n"
    "X-FOREIGN;TYPE=a:kept\r\nNOTE:met in Oslo\r\nEND:VCARD\r\n"
)


class Killed(Exception):
    """What kill -9 is to a process."""


class Moment(Enum):
    """When the process dies."""

    BEFORE = "before the request takes effect"
    HANDLED = "before its answer"
    ANSWERED = "after its answer"


@dataclass(frozen=True, slots=True)
class Scenario:
    """``given`` is there at the start; ``when`` is what the user does, and is worked on."""

    given: Act
    when: Act
    profile: Profile = CYRUS_3_10

    def begin(self) -> World:
        """The moment before the service hears of it."""
        world = World(self.profile, BOOK)
        for mailbox in ("Screener", "Inbox", "Archive", "Feed"):
            world.deliver("Carol <carol@example.org>", mailbox)
        self.given(world)
        world.start().settle()
        _watch(world)
        self.when(world)
        return world


def mail(count: int, sender: str = BOB) -> Act:
    return lambda world: _ignore(world.deliver(sender, count=count))


def label(name: str, mail: int = -1) -> Act:
    return lambda world: world.tap(world.mails[mail], name)


def unlabel(name: str, mail: int = -1) -> Act:
    return lambda world: world.sandbox.unlabel(world.mails[mail], name)


def card(text: str) -> Act:
    return lambda world: _ignore(world.sandbox.put_card(text))


def senders(count: int) -> Act:
    def act(world: World) -> None:
        for number in range(count):
            world.deliver(f"Sender {number} <s{number}@example{number % 7}.org>", count=2)

    return act


def label_senders(count: int) -> Act:
    def act(world: World) -> None:
        for number in range(count):
            world.tap(world.mails[-1 - 2 * number], ("@ToFeed", "@ToBillboard")[number % 2])

    return act


def then(*acts: Act) -> Act:
    def act(world: World) -> None:
        for each in acts:
            each(world)

    return act


SCENARIOS = {
    "a new sender": Scenario(mail(3), label("@ToBillboard")),
    "a new person": Scenario(mail(2, "Ann Ark <ann@example.org>"), label("@ToPerson")),
    "an adopted contact": Scenario(then(mail(3), card(BOBS_CARD)), label("@ToImbox")),
    "a change of mind": Scenario(then(mail(3), label("@ToFeed")), label("@ToJail")),
    "up the chain": Scenario(then(mail(3), label("@ToTruck")), label("@ToPaperTrail")),
    "down the chain": Scenario(then(mail(3), label("@ToPaperTrail")), label("@ToTruck")),
    "taken back": Scenario(then(mail(3), label("@ToTruck")), label("@ToScreener")),
    "an adopted contact taken back": Scenario(
        then(mail(3), card(BOBS_CARD), label("@ToTruck")), label("@ToScreener")
    ),
    "a conflict": Scenario(mail(3), then(label("@ToFeed"), label("@ToJail", -2))),
    "a conflict resolved": Scenario(
        then(mail(3), label("@ToFeed"), label("@ToJail", -2)), unlabel("@ToFeed")
    ),
    "mail without a sender": Scenario(mail(2, "nobody"), label("@ToFeed")),
    "many mails, small limits": Scenario(mail(45), label("@ToFeed"), SMALL_LIMITS),
    "six senders": Scenario(senders(6), label_senders(6)),
}


@pytest.fixture(autouse=True)
def _bury() -> Iterator[None]:
    """Nothing of the killed is to be heard of in other tests."""
    yield
    gc.collect()


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_kill_at_any_request_changes_nothing_in_the_end(name: str) -> None:
    scenario = SCENARIOS[name]
    first, last, undisturbed = _undisturbed(scenario)
    assert last > first
    for moment in Moment:
        for number in range(first, last + 1):
            assert _killed(scenario, number, moment) == undisturbed, (number, moment)


def test_a_kill_among_fifty_senders_changes_nothing_in_the_end() -> None:
    scenario = Scenario(senders(50), label_senders(50))
    first, last, undisturbed = _undisturbed(scenario)
    chance = random.Random(50)
    for number in chance.sample(range(first, last + 1), 6):
        moment = chance.choice(list(Moment))
        assert _killed(scenario, number, moment) == undisturbed, (number, moment)


def test_a_service_killed_again_and_again_gets_there() -> None:
    scenario = SCENARIOS["six senders"]
    _, _, undisturbed = _undisturbed(scenario)
    world = scenario.begin()
    kills = 0
    while _kill(world, world.request_count + 10 + kills, Moment.HANDLED):
        kills += 1
        world.boot()
        world.account.start()
    assert kills >= 3
    assert _state(world) == undisturbed


def _undisturbed(scenario: Scenario) -> tuple[int, int, Any]:
    """The first and the last request that the work takes, and what it leads to."""
    world = scenario.begin()
    first = world.request_count + 1
    world.settle()
    return first, world.request_count, _state(world)


def _killed(scenario: Scenario, number: int, moment: Moment) -> Any:
    world = scenario.begin()
    assert _kill(world, number, moment)
    world.boot()
    world.start().settle()
    return _state(world)


def _kill(world: World, number: int, moment: Moment) -> bool:
    """Run until the process dies at the request with this number; False: it never came to it."""

    def die() -> NoReturn:
        raise Killed

    def before(entry: Entry, *_: object) -> None:
        if entry.number == number and moment is Moment.BEFORE:
            die()

    def after(entry: Entry, *_: object) -> None:
        if entry.number == number and moment is Moment.HANDLED:
            die()
        elif entry.number == number and moment is Moment.ANSWERED:
            world.loop.call_soon(die)

    world.sandbox.before(before)
    world.sandbox.after(after)
    try:
        world.settle()
    except Killed:
        return True
    return False


def _watch(world: World) -> None:
    """After every request every mail is somewhere: KeyError when one has been destroyed."""

    def check(*_: object) -> None:
        for mail_id in world.mails:
            assert world.sandbox.mailboxes_of(mail_id)

    world.sandbox.after(check)


def _state(world: World) -> tuple[Any, ...]:
    """Where every mail is, every card but the groups, and who is in which group."""
    mails = {mail_id: world.sandbox.mailboxes_of(mail_id) for mail_id in world.mails}
    cards = world.sandbox.cards().items()
    contacts = {href: text for href, text in cards if "KIND:group" not in text}
    groups = world.config.triage.groups
    names: Iterable[str] = (*groups, world.config.mailroom.provenance_group)
    return mails, contacts, {name: world.sandbox.group_members(name) for name in names}


def _ignore(_result: object) -> None:
    pass
