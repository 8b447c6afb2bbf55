"""People who tap without a pause, and what has become of each tap."""

import contextlib
import itertools
import re
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Self

from tests.system.cyrus import Cyrus, User, mail
from tests.system.scene import CATEGORIES, furnish, value

# Somebody taps, and then somebody else: everybody within half a minute.
PACE_SECONDS = 0.4

# What is tapped in turn, and the group that every contact of ours is in besides.
_TAPPED = CATEGORIES[1:4]
_PROVENANCE = "Mailroom"
_MEMBER = re.compile(r"^(?:X-ADDRESSBOOKSERVER-)?MEMBER:(?:urn:uuid:)?(.+)$", re.MULTILINE)


@dataclass(slots=True)
class Tap:
    """A label on a stranger's mail: when it was put on, and when it was first seen to be off."""

    sender: str
    category: str
    begun: float = field(default_factory=time.monotonic)
    done: float | None = None

    @property
    def label(self) -> str:
        """The mailbox that is the label."""
        return f"@To{self.category.replace(' ', '')}"


@dataclass(slots=True)
class Person:
    """Somebody with an account, and what they have tapped."""

    user: User
    boxes: dict[str, str]
    taps: list[Tap] = field(default_factory=list)

    @classmethod
    def of(cls, cyrus: Cyrus, name: str) -> Self:
        """A new account with what Mailroom needs."""
        user = cyrus.user(name)
        return cls(user, furnish(user))

    @property
    def waits(self) -> bool:
        """Whether their tap is not known to be done."""
        return bool(self.taps) and self.taps[-1].done is None

    def look(self) -> None:
        """See whether the tap is done."""
        last = self.taps[-1]
        if not self.user.mails(self.boxes[last.label]):
            last.done = time.monotonic()

    def tap(self) -> None:
        """Have a stranger's mail come, and say what it is."""
        number = len(self.taps)
        sender = f"s{number}@{self.user.name}.example"
        self.user.receive(mail(sender, f"from {sender}", self.user.address))
        [arrived] = self.user.mails(self.boxes["Inbox"])
        tap = Tap(sender, _TAPPED[number % len(_TAPPED)])
        places = {"Screener": True, tap.label: True, "Inbox": False}
        self.user.patch(arrived["id"], {self.boxes[name]: put for name, put in places.items()})
        self.taps.append(tap)


class Tapping:
    """All these people, one after the other tapping meanwhile."""

    def __init__(self, people: Sequence[Person]) -> None:
        self.people = people
        self._is_over = threading.Event()
        self._is_given_up = threading.Event()
        self._runner: Future[None] = Future()

    @contextlib.contextmanager
    def going_on(self) -> Iterator[Self]:
        """Until the end of the context, or until they are to finish."""
        with ThreadPoolExecutor(1) as pool:
            self._runner = pool.submit(self._run)
            try:
                yield self
            finally:
                self._is_over.set()
                self._is_given_up.set()

    def finish(self, seconds: float) -> None:
        """Have nobody tap again, and wait until the last taps are done."""
        self._is_over.set()
        self._runner.result(seconds)

    def _run(self) -> None:
        turns = itertools.cycle(self.people)
        while not self._is_over.wait(self._look()):
            # Whoever waits is passed over; where all do, nobody taps.
            for person in islice(turns, len(self.people)):
                if not person.waits:
                    person.tap()
                    break
        while self._are_waiting and not self._is_given_up.wait(self._look()):
            pass

    @property
    def _are_waiting(self) -> bool:
        return any(person.waits for person in self.people)

    def _look(self) -> float:
        """Look after all taps; returns for how long to do nothing, so that the pace is kept."""
        begun = time.monotonic()
        for person in self.people:
            if person.waits:
                person.look()
        return max(0.0, PACE_SECONDS - (time.monotonic() - begun))

    def longest(self, accounts: Collection[str], since: float) -> float:
        """Seconds of the longest tap of these people that was not done at that instant, or made
        later; of one that is not done yet, up to now."""
        now = time.monotonic()
        return max(
            (tap.done or now) - tap.begun
            for person in self.people
            if person.user.name in accounts
            for tap in person.taps
            if tap.done is None or tap.done > since
        )

    def has_everybody_tapped_since(self, instant: float) -> bool:
        """Whether each has a tap that was begun after that and is done."""
        if self._runner.done():
            self._runner.result()
        return all(
            any(tap.begun > instant and tap.done is not None for tap in person.taps[-3:])
            for person in self.people
        )


def faults(person: Person) -> list[str]:
    """What is other than if each tap had been done once; read it when all is at rest."""
    cards = [card.replace("\n ", "") for card in person.user.cards().values()]
    members = {value(card, "FN"): _MEMBER.findall(card) for card in cards if _is_group(card)}
    contacts = [card for card in cards if not _is_group(card)]
    filed = {
        name: Counter(each["from"][0]["email"] for each in person.user.mails(box))
        for name, box in person.boxes.items()
    }
    found = [fault for tap in person.taps for fault in _faults_of(tap, contacts, members, filed)]
    found += _too_many(person.taps, contacts, members, filed)
    return [f"{person.user.name}: {each}" for each in found]


def _faults_of(
    tap: Tap, contacts: list[str], members: dict[str, list[str]], filed: dict[str, Counter[str]]
) -> Iterator[str]:
    cards = [card for card in contacts if f":{tap.sender}\n" in card]
    if len(cards) != 1:
        yield f"{tap.sender} has {len(cards)} contacts"
    for card in cards:
        uid = value(card, "UID").removeprefix("urn:uuid:")
        groups = Counter(name for name, uids in members.items() for each in uids if each == uid)
        if groups != {tap.category: 1, _PROVENANCE: 1}:
            yield f"{tap.sender} is in {dict(groups)}, and was tapped {tap.category}"
    places = {name: mails[tap.sender] for name, mails in filed.items() if mails[tap.sender]}
    if places != {tap.category: 1}:
        yield f"the mail of {tap.sender} is in {places}, and was tapped {tap.category}"


def _too_many(
    taps: list[Tap],
    contacts: list[str],
    members: dict[str, list[str]],
    filed: dict[str, Counter[str]],
) -> Iterator[str]:
    if len(contacts) != len(taps):
        yield f"there are {len(contacts)} contacts after {len(taps)} taps"
    memberships = sum(map(len, members.values()))
    if memberships != 2 * len(taps):
        yield f"there are {memberships} memberships after {len(taps)} taps"
    mails = sum(count.total() for count in filed.values())
    if mails != len(taps):
        yield f"there are {mails} mails after {len(taps)} taps"


def _is_group(card: str) -> bool:
    return re.search(r"^(X-ADDRESSBOOKSERVER-)?KIND:group$", card, re.MULTILINE) is not None
