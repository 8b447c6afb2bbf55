"""Whom the user has written to, asked of the real Cyrus."""

import contextlib
import re
from collections.abc import Collection
from email.message import EmailMessage

import pytest

from mailroom.engine.clock import BoottimeClock
from mailroom.engine.credentials import Basic
from mailroom.engine.loop import Loop
from mailroom.engine.transfer import Transfer
from mailroom.rules.status.health import Totals
from mailroom.work.mail.mail import MailClient
from mailroom.work.screening.sent import Answered, Sent
from mailroom.work.session.web import Web
from tests.servers import SERVER
from tests.system.cyrus import PASSWORD, Cyrus, User, mail
from tests.system.test_cyrus import deadline

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]


class SentClients:
    """A user with a Sent mailbox, and the service's question about it."""

    def __init__(self, user: User) -> None:
        self._user = user
        self._boxes = user.make_mailboxes("Sent")

    def send(self, *messages: EmailMessage) -> None:
        """Have mail in Sent, as if the user had sent it."""
        self._user.receive(*messages)
        inbox, sent = self._boxes["Inbox"], self._boxes["Sent"]
        ids = [entry["id"] for entry in self._user.mails(inbox)]
        self._user.patch_all(ids, {sent: True, inbox: False})

    def receive(self, message: EmailMessage) -> str:
        """The thread of a mail that has come."""
        self._user.receive(message)
        [entry] = self._user.mails(self._boxes["Inbox"])
        thread = self._user.call("Email/get", ids=[entry["id"]], properties=["threadId"])
        return str(thread["list"][0]["threadId"])

    def ask(
        self, addresses: Collection[str], threads: Collection[str] = (), *, whole: bool = False
    ) -> Answered:
        """As a service that has just started."""

        async def login() -> Basic:
            return Basic(self._user.name, PASSWORD)

        loop = Loop(BoottimeClock())
        with contextlib.closing(loop), contextlib.closing(Transfer(loop, "Mailroom/test")) as http:
            web = Web(loop, http, login, "the password", Totals())
            url = "http://127.0.0.1:8008/.well-known/jmap"
            sent = Sent(loop, MailClient(loop.root, web, url))
            asking = sent.ask(self._boxes["Sent"], addresses, threads, whole=whole)
            task = loop.spawn(asking, "test")
            while not task.done:
                loop.turn()
            return task.result()


@pytest.fixture
def context(cyrus: Cyrus, request: pytest.FixtureRequest) -> SentClients:
    request.node.user_properties.append((SERVER, cyrus.version))
    name = re.sub(r"\W", "", request.node.name.removeprefix("test_"))
    return SentClients(cyrus.user(name[:40]))


def written(header: str, value: str) -> EmailMessage:
    message = mail("alice@example.org", to="list@example.com")
    del message[header]
    message[header] = value
    return message


def test_recipients_are_found_by_search_and_by_reading_all(context: SentClients) -> None:
    context.send(
        written("To", "Ann <Ann@Example.org>"),
        written("Cc", "eve@example.net, cid@example.org"),
        written("Bcc", "Dan <dan@example.org>"),
        written("To", '"bob@example.org" <mallory@example.net>'),
        written("To", "not-bob@example.org"),
        *(written("To", f'"gus@example.org" <m{n}@example.net>') for n in range(45)),
        written("To", "gus@example.org"),
    )
    names = ("ann", "bob", "cid", "dan", "fay", "gus")
    expected = {f"{name}@example.org" for name in names} - {"bob@example.org", "fay@example.org"}
    addresses = [f"{name}@example.org" for name in names]
    assert context.ask(addresses, whole=True).written == expected
    for _ in deadline(15):  # until the indexer has seen them
        if (found := context.ask(addresses).written) == expected:
            return
    pytest.fail(f"found {found}, not {expected}")


def test_an_answer_is_part_of_a_conversation_at_once(context: SentClients) -> None:
    question = mail("alice@example.org", "Lunch", "eve@example.net")
    context.send(question)
    answer = mail("eve@private.example", "Re: Lunch")
    answer["In-Reply-To"] = answer["References"] = str(question["Message-ID"])
    thread = context.receive(answer)
    for whole in (False, True):
        answered = context.ask(["eve@private.example"], [thread], whole=whole)
        assert answered == Answered(frozenset(), frozenset([thread]))
    assert context.ask([], ["T0123456789abcdef"]).conversations == frozenset()
