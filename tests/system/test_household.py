"""A day of a household on a real Cyrus, mail by LMTP, rules by the generated script; and the ways
in which IMAP programs move mail."""

import contextlib
import imaplib
import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any

import pytest

from mailroom.engine.credentials import Basic, Logins
from mailroom.rules.triage.drags import WAITING
from mailroom.terminal.context import context_for
from mailroom.work.setup.routing import Routing
from mailroom.work.setup.setup import Setup
from tests.household.day import Day, differences
from tests.servers import SERVER
from tests.system.cyrus import IMAP_PORT, LOOPBACK, PASSWORD, READY_SECONDS, Cyrus, User
from tests.system.test_rules import CyrusAccount, CyrusWorld

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

EVE = "Eve <eve@strangers.example>"


class Household(CyrusAccount):
    """What the day asks of a mail server."""

    def __init__(self, user: User) -> None:
        super().__init__(user)
        self._messages = 0

    def standard_account(self, names: Sequence[str], groups: Sequence[str]) -> None:
        """Nothing but what every account has: the rest is made by setup."""
        super().standard_account((), ())

    def arrive(
        self,
        sender: str,
        subject: str,
        *,
        return_path: str | None = None,
        headers: dict[str, str],
        in_reply_to: str = "",
        references: str = "",
    ) -> str:
        """By LMTP."""
        message = self._message(sender, self._user.address, subject)
        for name, value in headers.items():
            message[name] = value
        if in_reply_to:
            message["In-Reply-To"] = f"<{in_reply_to}>"
            message["References"] = f"<{references}>"
        before = self._ids()
        path = "somebody@example.com" if return_path is None else return_path
        self._user.receive_from(path, message)
        [found] = self._ids() - before
        return found

    def send(self, to: str, subject: str) -> str:
        """Into Sent, as a mail program does."""
        message = self._message(self._user.address, to, subject)
        kind = {"Content-Type": "message/rfc822"}
        answer = self._user.request(
            "POST", self._user.upload_path, message.as_bytes(policy=SMTP), kind
        )[2]
        email = {
            "blobId": json.loads(answer)["blobId"],
            "mailboxIds": {self._boxes()["Sent"]: True},
            "keywords": {"$seen": True},
        }
        imported = self._user.call("Email/import", emails={"0": email})
        assert imported["created"], imported
        return str(imported["created"]["0"]["id"])

    def message_id_of(self, mail_id: str) -> str:
        [mail] = self._user.call("Email/get", ids=[mail_id], properties=["messageId"])["list"]
        return str(mail["messageId"][0])

    def keywords_of(self, mail_id: str) -> set[str]:
        [mail] = self._user.call("Email/get", ids=[mail_id], properties=["keywords"])["list"]
        return set(mail["keywords"])

    def mails_in(self, name: str) -> list[str]:
        return [each["id"] for each in self._user.mails(self._boxes()[name])]

    def _ids(self) -> set[str]:
        return set(self._user.call("Email/query")["ids"])

    def _message(self, sender: str, to: str, subject: str) -> EmailMessage:
        self._messages += 1
        message = EmailMessage()
        message["From"] = sender
        message["To"] = to
        message["Subject"] = subject
        message["Message-ID"] = f"<{self._messages}.{time.time_ns()}@example.org>"
        message.set_payload("Hello\r\n")
        return message


class Home(CyrusWorld):
    """A household on Cyrus: from an empty account by setup and its rules."""

    account_of = Household

    def __init__(self, cyrus: Cyrus, name: str, by: str = "server") -> None:
        user = cyrus.user(name)
        given = {"screening": {"by": by}, "triage": {"own_addresses": [user.address]}}
        super().__init__(user, cyrus.url, given)
        self.address = user.address
        login = Basic(name, PASSWORD)
        context = context_for(self.config, Logins(login, login))
        context.run(Setup(context.loop, context.config, context.clients).apply(lambda _: None))
        if by == "server":
            context.run(Routing(context.loop, context.config, context.clients).apply())
        context.loop.close()

    def settle(self) -> None:
        self.run_for(1.0)


@pytest.mark.parametrize("by", ["server", "mailroom"])
def test_a_day(by: str, cyrus: Cyrus, record_property: Callable[[str, object], None]) -> None:
    record_property(SERVER, cyrus.version)
    with contextlib.closing(Home(cyrus, f"day{by}", by)) as home:
        day = Day(home, home.address)
        day.begin()
        home.start().settle()
        assert differences(day.live()) == []


class Program:
    """An IMAP program of the user's, one mailbox open."""

    def __init__(self, user: str, mailbox: str = "Screener") -> None:
        self._imap = imaplib.IMAP4(LOOPBACK, IMAP_PORT, timeout=READY_SECONDS)
        self._imap.login(user, PASSWORD)
        self._ask(self._imap.select(f'"INBOX/{mailbox}"'))

    def close(self) -> None:
        self._imap.logout()

    def find(self, subject: str) -> str:
        """The UID of the one mail with this subject."""
        [found] = self._ask(self._imap.uid("SEARCH", "SUBJECT", f'"{subject}"'))
        [uid] = found.split()
        return str(uid.decode())

    def move(self, uid: str, mailbox: str) -> None:
        self._ask(self._imap.uid("MOVE", uid, f'"INBOX/{mailbox}"'))

    def copy(self, uid: str, mailbox: str) -> None:
        self._ask(self._imap.uid("COPY", uid, f'"INBOX/{mailbox}"'))

    def mark_deleted(self, uid: str) -> None:
        self._ask(self._imap.uid("STORE", uid, "+FLAGS", r"(\Deleted)"))

    def expunge(self) -> None:
        self._ask(self._imap.expunge())

    def append_again(self, uid: str, mailbox: str, header: bytes) -> None:
        """What programs do that keep the mail themselves; mbsync adds a header."""
        answer = self._ask(self._imap.uid("FETCH", uid, "(BODY.PEEK[])"))
        text = header + answer[0][1]
        self._ask(self._imap.append(f'"INBOX/{mailbox}"', r"(\Seen)", "", text))

    def _ask(self, answer: tuple[str, Any]) -> Any:
        code, data = answer
        assert code == "OK", answer
        return data


_NUMBERS = itertools.count()


@pytest.fixture
def home(cyrus: Cyrus) -> Iterator[Home]:
    with contextlib.closing(Home(cyrus, f"mover{next(_NUMBERS)}")) as home:
        home.start().settle()
        yield home


def waiting_mail(home: Home, subject: str) -> str:
    mail = str(home.sandbox.arrive(EVE, subject, headers={}))
    home.settle()
    assert home.sandbox.mailboxes_of(mail) == {"Screener"}
    assert WAITING in home.sandbox.keywords_of(mail)
    return mail


def user_of(home: Home) -> str:
    return home.address.partition("@")[0]


def is_tapped(home: Home, mail: str, category: str) -> bool:
    [told] = home.named("sender_triaged")
    assert (told["sender"], told["category"]) == ("eve@strangers.example", category)
    assert home.sandbox.mailboxes_of(mail) == {category}
    return WAITING not in home.sandbox.keywords_of(mail)


def test_a_move_is_a_tap(home: Home) -> None:
    mail, other = waiting_mail(home, "one"), waiting_mail(home, "two")
    with contextlib.closing(Program(user_of(home))) as program:
        program.move(program.find("one"), "Feed")
        home.settle()
        assert is_tapped(home, mail, "Feed")
        assert home.sandbox.mailboxes_of(other) == {"Feed"}


@pytest.mark.parametrize("pauses", [(), ("copy",), ("mark",), ("copy", "mark")])
def test_a_move_in_steps_is_one_tap(home: Home, pauses: Sequence[str]) -> None:
    """COPY, STORE and EXPUNGE, with the service at work between them, or not."""
    mail = waiting_mail(home, "one")
    with contextlib.closing(Program(user_of(home))) as program:
        uid = program.find("one")
        program.copy(uid, "Jail")
        if "copy" in pauses:
            home.settle()
        program.mark_deleted(uid)
        if "mark" in pauses:
            home.settle()
        program.expunge()
        home.settle()
        assert is_tapped(home, mail, "Jail")


def test_a_mail_that_is_moved_back_to_inbox_stays_there(home: Home) -> None:
    mail = waiting_mail(home, "one")
    user = user_of(home)
    with contextlib.closing(Program(user)) as program:
        program._ask(program._imap.uid("MOVE", program.find("one"), "INBOX"))
        home.settle()
    assert home.sandbox.mailboxes_of(mail) == {"Inbox"}
    assert home.sandbox.keywords_of(mail) & {WAITING, "mailroom-placed"} == {"mailroom-placed"}
    assert not home.named("sender_triaged")


@pytest.mark.parametrize("header", [b"X-TUID: abcdefghijkl\r\n", b""], ids=["mbsync", "same bytes"])
def test_to_append_and_delete_taps_nothing(home: Home, header: bytes) -> None:
    """The keyword is lost on the way. What has a header more is another mail; of the same bytes
    Cyrus makes one mail, and the keyword goes with the copy that bore it."""
    mail = waiting_mail(home, "one")
    with contextlib.closing(Program(user_of(home))) as program:
        uid = program.find("one")
        program.append_again(uid, "Feed", header)
        home.settle()
        program.mark_deleted(uid)
        program.expunge()
        home.settle()
    [new] = home.sandbox.mails_in("Feed")
    assert (new != mail) is bool(header)
    assert home.sandbox.keywords_of(new) == {"$seen"}
    assert not home.named("sender_triaged")
