"""The stage: server, service, phone and screen together, and the only places where we wait."""

import select
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mailroom.errors import MailroomError
from mailroom.rules.triage.drags import WAITING
from mailroom.wire.vcard import CardView
from tests.demo.child import Child
from tests.demo.interrupts import Interrupts
from tests.demo.phone import Phone
from tests.demo.screen import Screen
from tests.sandbox import DEFAULT_CATEGORIES, Sandbox
from tests.sandbox.account import PROVENANCE_GROUP

_SLICE_SECONDS = 0.01
_LIMIT_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Sender:
    """Somebody who writes to us: what the demo calls them, and the header of their mail."""

    name: str
    address: str

    @property
    def header(self) -> str:
        return f"{self.name} <{self.address}>"


def labels() -> list[str]:
    """Return every label that there is to tap."""
    return [*(label_of(category) for category in DEFAULT_CATEGORIES), "@ToScreener"]


def label_of(category: str) -> str:
    """Return a category's label."""
    return "@To" + category.replace(" ", "")


class Stage:
    """What the scenes act on."""

    def __init__(
        self, screen: Screen, interrupts: Interrupts, sandbox: Sandbox, child: Child, phone: Phone
    ) -> None:
        self.screen = screen
        self.sandbox = sandbox
        self.child = child
        self.phone = phone
        self.mails: dict[Sender, list[str]] = {}
        self._subjects: dict[str, str] = {}
        self._interrupts = interrupts
        self._acted = time.monotonic()

    # Waiting

    def wait(self, happened: Callable[[], bool], limit_seconds: float = _LIMIT_SECONDS) -> bool:
        """Show the log as it comes until something has happened; False when it did not.

        Raises Interrupted, and MailroomError when the service is gone.
        """
        deadline = time.monotonic() + limit_seconds
        while not (is_so := happened()) and time.monotonic() < deadline:
            self.look([], _SLICE_SECONDS)
        self.show_log()
        return is_so

    def look(self, files: Iterable[int], seconds: float) -> bool:
        """Wait a moment, showing the log; whether one of ``files`` is ready to be read."""
        self._interrupts.check()
        ready, _, _ = select.select([self.child.log.fileno(), *files], [], [], seconds)
        has_ended = self.child.exit_code is not None
        self.show_log()
        if has_ended:
            raise MailroomError(f"the service ended by itself, exit code {self.child.exit_code}")
        return any(file in ready for file in files)

    def pause(self, seconds: float) -> None:
        """Give a person time to read; a file needs none."""
        if self.screen.is_terminal:
            self.wait(lambda: False, seconds)

    def settle(self) -> None:
        """Wait until no poll is due within a second: then what comes next is push's doing."""
        self.wait(self._is_quiet)

    def _is_quiet(self) -> bool:
        upcoming = self.status()["next_poll"]
        return upcoming is not None and upcoming["in_seconds"] > 1

    def show_log(self) -> None:
        """Print what has come of the log; what is being typed goes on below."""
        lines = self.child.read_lines()
        with self.screen.above_prompt(bool(lines)):
            for line in lines:
                self.screen.log(line, self.seconds())

    # Acting

    def act(self, text: str) -> None:
        """Say what is done now; from here on the time runs."""
        self.screen.act(text)
        self._acted = time.monotonic()

    def seconds(self) -> float:
        """The time since somebody did something."""
        return time.monotonic() - self._acted

    def deliver(self, sender: Sender, subject: str) -> set[str]:
        """A mail comes in, and goes where the server's rules put it: that is returned.

        The rules are those that `mailroom` relies on: by contact group; what waits they mark. Whom
        the user has written to they do not know.
        """
        mailboxes = self.groups(sender) - {PROVENANCE_GROUP} or {"Screener"}
        marks = [WAITING] if mailboxes == {"Screener"} else []
        mail_id = self.sandbox.deliver(sender.header, subject, mailboxes, keywords=marks)
        self.mails.setdefault(sender, []).append(mail_id)
        self._subjects[mail_id] = subject
        return mailboxes

    def tap(self, mail_id: str, label: str) -> None:
        """Put a label on a mail, as a phone does."""
        mailbox_id = self.sandbox.mailbox_id(label)
        self.act(f'{label} on "{self._subjects[mail_id]}"')
        self.phone.put_label(mail_id, mailbox_id)

    def move(self, mail_id: str, destination: str) -> None:
        """Move a mail out of Screener, as any mail program does."""
        ids = [self.sandbox.mailbox_id(name) for name in ("Screener", destination)]
        self.act(f'"{self._subjects[mail_id]}" is moved to {destination}')
        self.phone.move(mail_id, *ids)

    def write(self, sender: Sender, subject: str) -> None:
        """The user writes to somebody."""
        self.sandbox.send(sender.header, subject)

    # Looking

    def status(self) -> Mapping[str, Any]:
        document: Mapping[str, Any] = self.child.status()
        return document

    def mailboxes(self, sender: Sender) -> dict[str, set[str]]:
        """Return the mailboxes of each of a sender's mails, by subject."""
        return {
            self._subjects[mail_id]: self.sandbox.mailboxes_of(mail_id)
            for mail_id in self.mails[sender]
        }

    def waiting(self) -> list[tuple[Sender, str]]:
        """Return the senders and subjects of what is in Screener."""
        ids = self.sandbox.mails_in("Screener")
        return [
            (sender, self._subjects[mail_id])
            for sender, mails in self.mails.items()
            for mail_id in mails
            if mail_id in ids
        ]

    def is_waiting(self, mail_id: str) -> bool:
        """Say whether a mail is in Screener."""
        return "Screener" in self.sandbox.mailboxes_of(mail_id)

    def card(self, sender: Sender) -> CardView | None:
        """Return the sender's contact."""
        views = (CardView.glance(text.encode()) for text in self.sandbox.cards().values())
        has = (v for v in views if any(line.text == sender.address for line in v.all("EMAIL")))
        return next(has, None)

    def note(self, sender: Sender) -> list[str]:
        """Return the lines of the contact's NOTE."""
        card = self.card(sender)
        line = card.first("NOTE") if card else None
        return line.text.splitlines() if line else []

    def groups(self, sender: Sender) -> set[str]:
        """Return the contact groups that the sender is in."""
        card = self.card(sender)
        uid = card.first("UID") if card else None
        names = (*DEFAULT_CATEGORIES, PROVENANCE_GROUP)
        return {n for n in names if uid and uid.text in self.sandbox.group_members(n)}
