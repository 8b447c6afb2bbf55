"""People who tap without a pause, and what has become of each tap."""

import contextlib
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Self

from tests.system.cyrus import Cyrus, User, mail
from tests.system.scene import CATEGORIES, furnish, value

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
    def seconds(self) -> float:
        """From one to the other."""
        assert self.done is not None
        return self.done - self.begun

    @property
    def label(self) -> str:
        """The mailbox that is the label."""
        return f"@To{self.category.replace(' ', '')}"


@dataclass(slots=True)
class Person:
    """Somebody with an account, who taps again as soon as the tap before is done."""

    user: User
    boxes: dict[str, str]
    taps: list[Tap] = field(default_factory=list)

    @classmethod
    def of(cls, cyrus: Cyrus, name: str) -> Self:
        """A new account with what Mailroom needs."""
        user = cyrus.user(name)
        return cls(user, furnish(user))

    def go_on(self, *, may_tap: bool) -> None:
        """See whether the tap is done; if so, and if they may, tap again."""
        if self.taps and self.taps[-1].done is None:
            last = self.taps[-1]
            if self.user.mails(self.boxes[last.label]):
                return
            last.done = time.monotonic()
        if may_tap:
            self._tap()

    def _tap(self) -> None:
        number = len(self.taps)
        sender = f"s{number}@{self.user.name}.example"
        self.user.receive(mail(sender, f"from {sender}", self.user.address))
        [arrived] = self.user.mails(self.boxes["Inbox"])
        tap = Tap(sender, _TAPPED[number % len(_TAPPED)])
        places = {"Screener": True, tap.label: True, "Inbox": False}
        self.user.patch(arrived["id"], {self.boxes[name]: put for name, put in places.items()})
        self.taps.append(tap)


class Tapping:
    """All these people, tapping meanwhile."""

    def __init__(self, people: Sequence[Person]) -> None:
        self.people = people
        self._is_over = threading.Event()

    @contextlib.contextmanager
    def going_on(self) -> Iterator[Self]:
        """Until the end of the context; what goes wrong with it is raised there."""
        with ThreadPoolExecutor(1) as pool:
            runner = pool.submit(self._run)
            try:
                yield self
            finally:
                self._is_over.set()
            runner.result()

    def _run(self) -> None:
        while not self._is_over.is_set():
            for person in self.people:
                person.go_on(may_tap=not self._is_over.is_set())

    def finish(self, seconds: float) -> None:
        """Wait until the last taps are done."""
        deadline = time.monotonic() + seconds
        while pending := [person for person in self.people if not _is_at_rest(person)]:
            names = [person.user.name for person in pending]
            assert time.monotonic() < deadline, f"not done after {seconds} s: {names}"
            for person in pending:
                person.go_on(may_tap=False)

    def has_everybody_tapped_since(self, instant: float) -> bool:
        """Whether each has a tap that was begun after that and is done."""
        return all(
            any(tap.begun > instant and tap.done is not None for tap in person.taps[-3:])
            for person in self.people
        )


def _is_at_rest(person: Person) -> bool:
    return not person.taps or person.taps[-1].done is not None


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
