"""Cyrus, Mailroom and Cockpit on one host: a morning with mail, as a person at a browser has it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Self

from tests.browser.cockpit import MAY_DECIDE, Cockpit, Person
from tests.browser.webdriver import Browser
from tests.system.cyrus import mail
from tests.system.host import Host
from tests.system.scene import Scene, set_up

ROW = "[role=row]"
# The server's own rules, as far as a morning needs them: everything waits.
RULES = """require ["fileinto", "mailboxid", "imap4flags"];
fileinto :flags "mailroom-waiting" :mailboxid "{screener}" "Screener";
"""


@dataclass(frozen=True, slots=True)
class Visitor:
    """The host with everything, and who has logged in."""

    scene: Scene
    cockpit: Cockpit
    anna: Person

    @classmethod
    def on(cls, host: Host) -> Self:
        scene = set_up(host, push=True, poll_interval=60)
        scene.user.activate(RULES.format(screener=scene.mailboxes["Screener"]))
        cockpit = Cockpit.start(host)
        return cls(scene, cockpit, cockpit.log_in("anna", *MAY_DECIDE))

    @contextmanager
    def page(self, place: str = "") -> Iterator[Browser]:
        """A browser in which Anna has the page open, and sees what happens as it happens."""
        with self.cockpit.browser(self.anna, place) as browser:
            browser.find(".state:is(.live, .asking)")
            yield browser

    def receive(self, *senders: str, subject: str = "Hello") -> None:
        """Mail of each of them comes in, and waits."""
        self.scene.user.receive(*(mail(sender, subject) for sender in senders))

    def receive_raw(self, message: EmailMessage) -> None:
        self.scene.user.receive(message)

    def await_in(self, mailbox: str, subject: str, seconds: float = 20) -> None:
        """Read Cyrus until a mail with this subject is there."""
        deadline = time.monotonic() + seconds
        while subject not in self.scene.subjects(mailbox):
            if time.monotonic() > deadline:
                found = {name: self.scene.subjects(name) for name in ("Screener", mailbox)}
                raise AssertionError(f"{subject!r} is not in {mailbox}: {found}")


def row(address: str) -> str:
    """The row of a sender, as a CSS selector."""
    return f'{ROW}[data-key="{address}"]'
