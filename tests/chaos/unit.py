"""``kill -9`` of the unit under systemd, at work on a real server: it ends where it would have
ended.

Which request the process dies at is known by the relay; systemd starts it again.
"""

import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage
from functools import partial
from typing import Any

from tests.chaos.arrivals import EVE, ORDERS, SHOP, move, whole
from tests.chaos.crash import (
    BOB,
    BOBS_CARD,
    FOREIGN,
    LARGE_SCENARIOS,
    SCENARIOS,
    Act,
    Moment,
    Scenario,
    Stage,
    card,
    differences,
    populate,
    then,
)
from tests.chaos.relay import Relay
from tests.chaos.table import Case
from tests.system.cyrus import User, mail
from tests.system.scene import CATEGORIES, Scene, furnish, value
from tests.system.unit import SERVICE, SOCKETS

# Only push and a start make it poll.
POLL_SECONDS = 3600
# The mail of others stays where it is, although some of them are in the address book.
CONFIGURATION = "screening:\n  by: off\n"
# Nothing sorts new mail but Mailroom.
AT_DOOR = "screening:\n  by: mailroom\n"
# Servers tell within a second, and a poll is due a quarter of a second later.
_QUIET_SECONDS = 2.5
_PATIENCE_SECONDS = 120.0
_SEED = 6
# How many mails are asked for at once.
_PAGE = 500
_GROUP = "KIND:GROUP"
_MEMBER = re.compile(r"^(?:X-ADDRESSBOOKSERVER-)?MEMBER\b.*", re.MULTILINE)
_EMAIL = re.compile(r"^EMAIL\b[^:\n]*:(.*)", re.MULTILINE)
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


def _arrive(*senders: str) -> Act:
    def act(stage: Stage) -> None:
        for sender in senders:
            stage.deliver(sender, "Inbox")

    return act


_DOOR_SCENARIOS = {
    "a friend and strangers": Scenario(card(BOBS_CARD), _arrive(BOB, EVE, BOB, SHOP)),
    "a mail moved while another comes": Scenario(
        _arrive(EVE, EVE), then(move("Feed"), _arrive(SHOP))
    ),
    "a whole domain": Scenario(_arrive(ORDERS, EVE, SHOP), whole("@ToFeed", -1)),
}

State = tuple[Mapping[str, Any], ...]
#: Makes it that a user has nothing.
Renew = Callable[[User], User]


@dataclass(slots=True)
class Person:
    """A user on the stage of the scenarios; ``mails`` are named by their subjects.

    New mail and what is done to mails is kept back, and then done all at once.
    """

    user: User
    boxes: dict[str, str]
    mails: list[str] = field(default_factory=list)
    _arriving: list[EmailMessage] = field(default_factory=list)
    _changes: defaultdict[str, dict[str, Any]] = field(default_factory=lambda: defaultdict(dict))

    @property
    def sandbox(self) -> "Person":
        return self

    def deliver(self, sender: str, mailbox: str = "Screener", count: int = 1) -> list[str]:
        new = [f"mail {len(self.mails) + number}" for number in range(count)]
        self.mails += new
        self._arriving += [mail(sender, subject) for subject in new]
        for subject in new:
            if mailbox != "Inbox":
                self._change(subject, "Inbox", None)
                self._change(subject, mailbox, True)
        return new

    def tap(self, mail_id: str, label: str) -> None:
        self._change(mail_id, label, True)

    def unlabel(self, mail_id: str, name: str) -> None:
        self._change(mail_id, name, None)

    def move(self, mail_id: str, *names: str) -> None:
        self._changes[mail_id]["mailboxIds"] = {self.boxes[name]: True for name in names}

    def put_card(self, text: str, name: str | None = None) -> str:
        self.user.put_card(name or f"{value(text.replace(chr(13), ''), 'UID')}.vcf", text)
        return ""

    def read_all(self) -> None:
        for subject in self.mails:
            self._changes[subject]["keywords/$seen"] = True

    def act(self) -> None:
        """Do what was kept back."""
        arriving, self._arriving = self._arriving, []
        if arriving:
            self.user.receive(*arriving)
        changes, self._changes = self._changes, defaultdict(dict)
        if changes:
            ids = {entry["subject"]: entry["id"] for entry in self.all_mails()}
            update = {ids[subject]: change for subject, change in changes.items()}
            result = self.user.call("Email/set", update=update)
            assert not result["notUpdated"], result

    def all_mails(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while len(page := self._page(len(found))) == _PAGE:
            found += page
        return found + page

    def _page(self, position: int) -> list[dict[str, Any]]:
        account = {"accountId": self.user.account_id}
        query = {**account, "position": position, "limit": _PAGE}
        ids = {"resultOf": "0", "name": "Email/query", "path": "/ids"}
        get = {**account, "#ids": ids, "properties": ["subject", "mailboxIds"]}
        answers = self.user.jmap(("Email/query", query, "0"), ("Email/get", get, "1"))
        page: list[dict[str, Any]] = answers[1][1]["list"]
        return page

    def state(self) -> State:
        """Where every mail is, every card but the groups by its UID, and who is in which group."""
        names = {identifier: name for name, identifier in self.boxes.items()}
        mails = {
            entry["subject"]: {names[box] for box in entry["mailboxIds"]}
            for entry in self.all_mails()
        }
        cards = [_comparable(text) for text in self.user.cards().values()]
        contacts = {value(text, "UID"): text for text in cards if not _is_group(text)}
        groups = {
            value(text, "FN"): sorted(_MEMBER.findall(text)) for text in filter(_is_group, cards)
        }
        assert len(contacts) + len(groups) == len(cards), "a card is doubled"
        return mails, contacts, groups

    def check(self, others: State) -> None:
        """No mail is nowhere, or gone; no contact is doubled; what is of others is as it was."""
        mails, contacts, groups = self.state()
        assert mails.keys() == set(self.mails), "a mail is gone"
        assert all(mails.values()), "a mail is nowhere"
        assert others[0].items() <= mails.items(), "a mail of others was moved"
        assert others[1].items() <= contacts.items(), "a card of others has changed"
        assert others[2].items() <= groups.items(), "a group of others has changed"
        addresses = [address for text in contacts.values() for address in _EMAIL.findall(text)]
        assert len(set(addresses)) == len(addresses), "a contact is doubled"

    def _change(self, subject: str, mailbox: str, there: bool | None) -> None:
        self._changes[subject][self.user.pointer(self.boxes[mailbox])] = there


class Play:
    """Scenarios, one after the other, each for a user who has nothing yet."""

    def __init__(self, scene: Scene, relay: Relay, renew: Renew) -> None:
        self._unit = scene.unit
        self._user = scene.user
        self._relay = relay
        self._renew = renew

    def undisturbed(self, scenario: Scenario) -> tuple[int, State]:
        """The requests that the work takes, and what it leads to."""
        person, others = self._begin(scenario)
        self._unit.await_status(lambda status: self._relay.count > 0)
        self._await_quiet()
        person.check(others)
        return self._relay.count, person.state()

    def killed(self, scenario: Scenario, number: int, moment: Moment, expected: State) -> float:
        """Killed once, there; what is other than undisturbed raises, with what the host says."""
        try:
            return self._killed(scenario, number, moment, expected)
        except Exception as error:
            units = [f"--unit={unit}" for unit in (SERVICE, *SOCKETS)]
            said = self._unit.host.run("journalctl", "--no-pager", "--lines=40", *units).stdout
            error.add_note(said)
            raise

    def _killed(self, scenario: Scenario, number: int, moment: Moment, expected: State) -> float:
        def strike(at: int, when: Moment) -> bool:
            if (at, when) != (number, moment):
                return False
            self._relay.watch = lambda *_: False
            self._unit.host.run("systemctl", "kill", "--signal=KILL", SERVICE)
            return True

        person, others = self._begin(scenario, strike)
        self._unit.await_property("NRestarts", "1", _PATIENCE_SECONDS)
        person.check(others)
        self._await_quiet()
        person.check(others)
        found = person.state()
        assert found == expected, f"\n{differences(found, expected)}"
        assert self._unit.show("NRestarts") == "1"
        return 0.0

    def _begin(
        self, scenario: Scenario, watch: Callable[[int, Moment], bool] = lambda *_: False
    ) -> tuple[Person, State]:
        """The moment after the user has acted; and what of it is nobody's business."""
        self._unit.systemctl("stop")
        self._user = self._renew(self._user)
        furnish(self._user)
        person = Person(self._user, self._user.make_mailboxes("Archive", "@WholeDomain"))
        populate(person, FOREIGN[:2])  # Cyrus takes no vCard 2.1
        person.read_all()  # else what came in the second of the start counts as new
        person.act()
        mails, contacts, groups = person.state()
        foreign = {name: members for name, members in groups.items() if name not in _OURS}
        self._unit.systemctl("start")
        self._unit.await_status(_is_at_rest, _PATIENCE_SECONDS)
        scenario.given(person)
        person.act()
        self._await_quiet()
        scenario.when(person)
        self._relay.count, self._relay.watch = 0, watch
        person.act()
        return person, (mails, contacts, foreign)

    def _await_quiet(self) -> None:
        self._unit.await_status(_is_quiet, _PATIENCE_SECONDS)


_OURS = {*CATEGORIES, "Mailroom"}


def cases(
    scene: Scene, relay: Relay, renew: Renew, kills: Mapping[str, int], where: str = ""
) -> Iterator[Case]:
    """As many kills of each scenario; they need the host, which has to be there as long as they are
    asked for one by one."""
    chance = random.Random(_SEED)
    scenarios = {**SCENARIOS, **LARGE_SCENARIOS, **_DOOR_SCENARIOS}
    play = Play(scene, relay, renew)
    for name, times in kills.items():
        count, expected = play.undisturbed(scenarios[name])
        moments = [(n, moment) for n in range(1, count + 1) for moment in Moment]
        for number, moment in sorted(chance.sample(moments, times), key=str):
            what = f"{name}{where}, request {number} of {count}, {moment.value}"
            yield Case(what, partial(play.killed, scenarios[name], number, moment, expected))


def _is_at_rest(status: dict[str, Any]) -> bool:
    """It has polled, and listens."""
    is_heard = status["eventsource"]["connected"] and status["phase"] == "idle"
    return bool(is_heard) and status["last_poll_age_seconds"] is not None


def _is_quiet(status: dict[str, Any]) -> bool:
    """Nothing was to be heard for a while, and everything heard of is done."""
    return _is_at_rest(status) and status["last_poll_age_seconds"] > _QUIET_SECONDS


def _comparable(card: str) -> str:
    """A card without what is another with every run: dates, the server's REV, and on Stalwart the
    order of lines."""
    first, *lines, _ = card.replace("\r", "").replace("\n ", "").strip().split("\n")
    dated = sorted(_DATE.sub("DATE", line) for line in lines if not line.startswith("REV:"))
    return "\n".join([first, *dated, ""])


def _is_group(card: str) -> bool:
    return _GROUP in card.upper()
