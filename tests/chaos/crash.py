"""Killed at any request, a job ends where it would have ended undisturbed.

A kill is an exception that comes out of the loop: before a request takes effect, after it has but
before its answer, or after the answer. Then a process that knows nothing starts.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cache, partial
from typing import Any, NoReturn, Protocol

from mailroom.engine.loop import Loop
from mailroom.rules.triage.drags import PLACED, WAITING
from tests.chaos.table import Case
from tests.sandbox import (
    CYRUS_3_10,
    CYRUS_3_13,
    SMALL_LIMITS,
    STALWART,
    Entry,
    Limits,
    Profile,
    Sandbox,
)
from tests.world import BOOK, Place, World

BOB = "Bob <bob@example.org>"
BOBS_CARD = (
    "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:bob\r\nFN:Bob\r\nN:;Bob;;;\r\nEMAIL:bob@example.org\r\n"
    "X-FOREIGN;TYPE=a:kept\r\nNOTE:met in Oslo\r\nEND:VCARD\r\n"
)
CAROL = "Carol <carol@example.org>"
CAROLS_PLACES = ("Screener", "Inbox", "Archive", "Feed")
# Cards that are nobody's business: a contact, a group of the user's own, one that cannot be read.
FOREIGN = (
    BOBS_CARD.replace("bob", "carol").replace("Bob", "Carol"),
    "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:choir\r\nFN:Choir\r\nN:;;;;\r\n"
    "X-ADDRESSBOOKSERVER-KIND:group\r\nX-ADDRESSBOOKSERVER-MEMBER:urn:uuid:bob\r\nEND:VCARD\r\n",
    "BEGIN:VCARD\r\nVERSION:2.1\r\nN;ENCODING=QUOTED-PRINTABLE:=C3=85sa;;;\r\nEND:VCARD\r\n",
)
# Twenty-five pages and batches for 2,500 mails.
LOW_LIMITS = Profile(
    "low-limits",
    limits=Limits(max_objects_in_get=100, max_objects_in_set=100, max_concurrent_requests=2),
)


_OURS = {WAITING, PLACED}
# What JMAP has the server write into a card: when that was.
_STAMPS = re.compile(r"^(?:CREATED|REV):.*\r\n", re.MULTILINE)


class Account(Protocol):
    """What a user does beside mail apps that know what they do."""

    def unlabel(self, mail_id: str, name: str) -> None: ...

    def move(self, mail_id: str, *names: str) -> None: ...

    def put_card(self, text: str, name: str | None = None) -> str: ...


class Stage(Protocol):
    """A user and their mail, on the sandbox or on a real server."""

    mails: list[str]

    @property
    def sandbox(self) -> Account: ...

    def deliver(self, sender: str, mailbox: str = "Screener", count: int = 1) -> list[str]: ...

    def tap(self, mail_id: str, label: str) -> None: ...


Act = Callable[[Stage], None]


class Killed(Exception):
    """What kill -9 is to a process."""


class Moment(Enum):
    """When the process dies."""

    BEFORE = "before the request takes effect"
    HANDLED = "before its answer"
    ANSWERED = "after its answer"


class Job(Protocol):
    """Something that is done against a sandbox by a process that can die."""

    @property
    def sandbox(self) -> Sandbox: ...

    @property
    def loop(self) -> Loop: ...

    def work(self) -> None:
        """Do it, from where it stands; in a process that knows nothing if the former died."""
        ...

    def state(self) -> Any:
        """All that has to be the same in the end."""
        ...


@dataclass(frozen=True, slots=True)
class Scenario:
    """``given`` is there at the start; ``when`` is what the user does, and is worked on."""

    given: Act
    when: Act
    profile: Profile = CYRUS_3_10
    by: str = "carddav"

    def begin(self) -> "Service":
        """The moment before the service hears of it."""
        world = World(self.profile, {**BOOK, "contacts": {"by": self.by}})
        populate(world)
        self.given(world)
        world.start().settle()
        watch(world)
        self.when(world)
        return Service(world)


@dataclass(slots=True)
class Service:
    """The service at work on a scenario."""

    world: World
    is_dead: bool = field(default=False)

    @property
    def sandbox(self) -> Sandbox:
        return self.world.sandbox

    @property
    def loop(self) -> Loop:
        return self.world.loop

    def work(self) -> None:
        was_dead, self.is_dead = self.is_dead, True
        if was_dead:
            self.world.boot()
            self.world.start()
        self.world.settle()
        self.is_dead = False

    def state(self) -> tuple[Any, ...]:
        return state(self.world)


def mail(count: int, sender: str = BOB) -> Act:
    return lambda world: _ignore(world.deliver(sender, count=count))


def label(name: str, mail: int = -1) -> Act:
    return lambda world: world.tap(world.mails[mail], name)


def unlabel(name: str, mail: int = -1) -> Act:
    return lambda world: world.sandbox.unlabel(world.mails[mail], name)


def card(text: str) -> Act:
    return lambda world: _ignore(world.sandbox.put_card(text))


def senders(count: int) -> Act:
    def act(world: Stage) -> None:
        for number in range(count):
            world.deliver(f"Sender {number} <s{number}@example{number % 7}.org>", count=2)

    return act


def label_senders(count: int) -> Act:
    def act(world: Stage) -> None:
        for number in range(count):
            world.tap(world.mails[-1 - 2 * number], ("@ToFeed", "@ToBillboard")[number % 2])

    return act


def then(*acts: Act) -> Act:
    def act(world: Stage) -> None:
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
# Contacts by JMAP: the same ends, by other requests.
SCENARIOS |= {
    f"{name}, by JMAP": replace(scenario, profile=CYRUS_3_13, by="jmap")
    for name, scenario in SCENARIOS.items()
    if scenario.profile is CYRUS_3_10
}
SCENARIOS |= {
    f"{name}, by JMAP on Stalwart": replace(SCENARIOS[name], profile=STALWART, by="jmap")
    for name in ("a new sender", "an adopted contact", "a change of mind", "taken back")
}
LARGE_SCENARIOS = {
    "fifty senders": Scenario(senders(50), label_senders(50)),
    "fifty senders, by JMAP": Scenario(senders(50), label_senders(50), CYRUS_3_13, "jmap"),
    "2,500 mails, low limits": Scenario(mail(2500), label("@ToFeed"), LOW_LIMITS),
}


def undisturbed(begin: Callable[[], Job]) -> tuple[int, int, Any]:
    """The first and the last request that the work takes, and what it leads to."""
    job = begin()
    first = len(job.sandbox.log.entries) + 1
    job.work()
    return first, len(job.sandbox.log.entries), job.state()


def killed(begin: Callable[[], Job], number: int, moment: Moment) -> Any:
    """What it leads to when it is killed once, at this request."""
    job = begin()
    assert kill(job, number, moment)
    job.work()
    return job.state()


def kill(job: Job, number: int, moment: Moment) -> bool:
    """Work until the process dies at the request with this number; False: it never came to it."""

    def die() -> NoReturn:
        raise Killed

    def before(entry: Entry, *_: object) -> None:
        if entry.number == number and moment is Moment.BEFORE:
            die()

    def after(entry: Entry, *_: object) -> None:
        if entry.number == number and moment is Moment.HANDLED:
            die()
        elif entry.number == number and moment is Moment.ANSWERED:
            job.loop.call_soon(die)

    job.sandbox.before(before)
    job.sandbox.after(after)
    try:
        job.work()
    except Killed:
        return True
    return False


def cases(begins: Iterable[tuple[str, Callable[[], Job]]]) -> Iterator[Case]:
    """Every moment of every request of the jobs."""
    for name, begin in begins:
        reference = cache(partial(undisturbed, begin))
        first, last, _ = reference()
        for number in range(first, last + 1):
            for moment in Moment:
                where = f"{name}, request {number - first + 1} of {last - first + 1}"
                run = partial(_compare, begin, number, moment, reference)
                yield Case(f"{where}, {moment.value}", run)


def _compare(
    begin: Callable[[], Job], number: int, moment: Moment, reference: Callable[[], Any]
) -> float:
    found, expected = killed(begin, number, moment), reference()[2]
    assert found == expected, f"\n{differences(found, expected)}"
    return 0.0


def differences(found: Any, expected: Any) -> str:
    """Of two states the parts that differ, one line each."""
    pairs = [
        (key, one.get(key), other.get(key))
        for one, other in zip(found, expected, strict=True)
        for key in one.keys() | other.keys()
    ]
    return "\n".join(f"{key}: {one!r}, not {two!r}" for key, one, two in pairs if one != two)


def populate(world: Stage, cards: Iterable[str] = FOREIGN) -> None:
    """Mail and cards that are nobody's business; they come first."""
    for mailbox in CAROLS_PLACES:
        world.deliver(CAROL, mailbox)
    for number, text in enumerate(cards):
        world.sandbox.put_card(text, f"foreign{number}.vcf")


def watch(world: Place) -> None:
    """Before and after every request of the service: no mail is nowhere (KeyError when one has
    been destroyed), no contact is doubled, and nothing of others has changed."""
    others = world.mails[: len(CAROLS_PLACES)]
    places = {mail_id: world.sandbox.mailboxes_of(mail_id) for mail_id in others}
    cards = {href: text for href, text in world.sandbox.cards().items() if "/foreign" in href}
    assert len(cards) == len(FOREIGN)

    def check(*_: object) -> None:
        for mail_id in world.mails:
            assert world.sandbox.mailboxes_of(mail_id), f"{mail_id} is nowhere"
        assert {mail_id: world.sandbox.mailboxes_of(mail_id) for mail_id in places} == places
        now = world.sandbox.cards()
        assert cards.items() <= now.items(), "a card of others has changed"
        for name in ("UID", "EMAIL"):
            values = [value for text in now.values() if (value := _value(text, name))]
            assert len(set(values)) == len(values), "a contact is doubled"

    world.sandbox.before(check)
    world.sandbox.after(check)


def state(world: Place) -> tuple[Any, ...]:
    """Where every mail is, its keywords of ours, every card but the groups, and who is in which
    group."""
    mails = {mail_id: world.sandbox.mailboxes_of(mail_id) for mail_id in world.mails}
    cards = without_stamps(world.sandbox.cards()).items()
    contacts = {href: text for href, text in cards if "KIND:GROUP" not in text.upper()}
    groups = world.config.triage.groups
    names: Iterable[str] = (*groups, world.config.mailroom.provenance_group)
    keywords = {mail_id: _OURS & world.sandbox.keywords_of(mail_id) for mail_id in world.mails}
    return mails, keywords, contacts, {name: world.sandbox.group_members(name) for name in names}


def without_stamps(cards: Mapping[str, str]) -> dict[str, str]:
    """Cards, but for when JMAP has written them."""
    return {href: _STAMPS.sub("", text) for href, text in cards.items()}


def _value(card: str, name: str) -> str:
    """What a card's first property of this name says, in lower case; or nothing."""
    found = (line for line in card.replace("\r\n ", "").splitlines() if line.startswith(name))
    return next(found, "").rpartition(":")[2].lower()


def _ignore(_result: object) -> None:
    pass
