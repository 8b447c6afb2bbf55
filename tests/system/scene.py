"""A user with Mailroom at work for them, on one host with the mail server: the stage of the job."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.system.cyrus import CA_FILE, PASSWORD, Cyrus, User, mail
from tests.system.host import Host
from tests.system.unit import Unit

CATEGORIES = ["Imbox", "Feed", "Paper Trail", "Jail", "Person", "Billboard", "Truck"]
LABELS = [f"@To{name.replace(' ', '')}" for name in CATEGORIES]
OURS = ["Screener", "@ToScreener", "@MailroomError", "@MailroomWarning"]


@dataclass(frozen=True)
class Scene:
    """A user with everything that Mailroom needs, and Mailroom running for them."""

    user: User
    unit: Unit
    mailboxes: dict[str, str]

    def screen(self, *senders: str) -> None:
        """Have mail of these senders arrive, each with its own subject, and wait in Screener."""
        self.user.receive(*(mail(sender, f"{n}: {sender}") for n, sender in enumerate(senders)))
        arrived = [entry["id"] for entry in self.user.mails(self.mailboxes["Inbox"])]
        move = {self.mailboxes["Screener"]: True, self.mailboxes["Inbox"]: False}
        self.user.patch_all(arrived, move)

    def tap(self, label: str, where: str, sender: str) -> float:
        """Put `label` on the newest mail of `sender` there; returns the seconds until it is off."""
        begun = time.monotonic()
        self.put_on(label, where, sender)
        self.await_off(label)
        return time.monotonic() - begun

    def put_on(self, label: str, where: str, sender: str) -> None:
        *_, entry = [each for each in self.mails(where) if each["from"][0]["email"] == sender]
        self.user.patch(entry["id"], {self.mailboxes[label]: True})

    def await_off(self, label: str, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while self.mails(label):
            if time.monotonic() > deadline:
                raise AssertionError(f"{label} is still on; {self.unit.status()}")

    def mails(self, mailbox: str) -> list[dict[str, Any]]:
        return self.user.mails(self.mailboxes[mailbox])

    def subjects(self, mailbox: str) -> set[str]:
        return {entry["subject"] for entry in self.mails(mailbox)}

    def card_of(self, address: str) -> str:
        """The one card that has this address, its lines unfolded, without JMAP's ids."""
        [card] = [card for card in self.unfolded_cards() if f":{address}\n" in card]
        return re.sub(";PROP-ID=[^:;\n]*", "", card)

    def groups_of(self, card: str) -> set[str]:
        """The names of the groups that the contact of `card` is in."""
        uid = value(card, "UID")
        member = re.compile(rf"^(X-ADDRESSBOOKSERVER-)?MEMBER:(urn:uuid:)?{uid}$", re.MULTILINE)
        return {value(group, "FN") for group in self.unfolded_cards() if member.search(group)}

    def unfolded_cards(self) -> list[str]:
        return [card.replace("\n ", "") for card in self.user.cards().values()]


def value(card: str, name: str) -> str:
    return card.split(f"\n{name}:", 1)[1].split("\n", 1)[0]


def set_up(host: Host, *, push: bool, poll_interval: int, name: str | None = None) -> Scene:
    """Cyrus, its user, and Mailroom, started.

    With a `name` the unit reaches Cyrus by it and by HTTPS; somebody has to know where that is.
    """
    cyrus = Cyrus.start(host, push=push)
    url = cyrus.certify(name) if name else cyrus.url
    more = f"tls:\n  ca_file: {CA_FILE}\n" if name else ""
    return at_work(Unit(host), cyrus.user("alice"), url, poll_interval, more)


def at_work(unit: Unit, user: User, url: str, poll_interval: int, more: str = "") -> Scene:
    """A user of a mail server there, and Mailroom, started with ``more`` in its configuration."""
    mailboxes = furnish(user)
    unit.configure(
        f"jmap:\n  url: {url}\n  username: {user.name}\n"
        f"polling:\n  poll_interval: {poll_interval}\n{more}"
    )
    unit.give_secret("jmap-password", PASSWORD)
    unit.systemctl("start")
    return Scene(user, unit, mailboxes)


def furnish(user: User) -> dict[str, str]:
    """The mailboxes and groups that Mailroom needs; returns the mailboxes, name -> id."""
    user.make_groups(*CATEGORIES, "Mailroom")
    return user.make_mailboxes(*OURS, *CATEGORIES, *LABELS)


def quiet(scene: Scene) -> dict[str, Any]:
    """The status once Mailroom has heard of everything up to now and done what there is to do.

    Cyrus tells within a second, and a poll is due a quarter of a second later: where there was none
    for 2.5 s, there was nothing to hear.
    """
    return scene.unit.await_status(
        lambda status: status["phase"] == "idle" and status["last_poll_age_seconds"] > 2.5
    )


def is_triaged(sender: str) -> Callable[[dict[str, Any]], bool]:
    def holds(status: dict[str, Any]) -> bool:
        senders = {triage["sender"] for triage in status["recent_triages"]}
        return sender in senders and status["phase"] == "idle"

    return holds
