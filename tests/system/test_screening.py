"""Where new mail goes on a real Cyrus, delivered by LMTP: the table by the generated script, and
with the service at work."""

import contextlib
import json
import re
from collections.abc import Callable, Sequence
from email.message import EmailMessage
from email.policy import SMTP

import pytest

from mailroom.rules.triage.drags import WAITING
from mailroom.wire.jmap import Mailbox
from tests.screening.table import Case, address_book, cases, script_of
from tests.servers import SERVER
from tests.system.cyrus import Cyrus, User
from tests.system.test_rules import CyrusAccount, CyrusWorld

pytestmark = [pytest.mark.system, pytest.mark.every, pytest.mark.timeout(300)]

_ROLES = ("Archive", "Trash", "Junk", "Sent", "Drafts")
_MESSAGE_ID = "<trip@example.org>"
_SECONDS = 2.0


class Home:
    """A user of Cyrus with the case's account; the server sorts nothing yet."""

    def __init__(self, user: User, case: Case) -> None:
        self.user = user
        self._case = case
        roles = [role for role in _ROLES if role != case.account.get("without")]
        create = {role: {"name": role, "role": role.lower()} for role in roles}
        user.call("Mailbox/set", create=create)
        user.make_mailboxes(*case.config.managed_mailboxes)
        self._boxes = [Mailbox(box["id"], box["name"], box["parentId"], box["role"])
                       for box in user.call("Mailbox/get", ids=None)["list"]]  # fmt: skip
        cards, self._group_uids = address_book(case)
        for name, card in cards.items():
            user.put_card(name, card)
        for address in case.account.get("written", ()):
            self._send(address)
        if case.mail.get("answers"):
            self._send("ann@elsewhere.example")

    def _send(self, to: str) -> None:
        """A mail of the user's is in Sent."""
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = "me@example.com", to, "a trip"
        message["Message-ID"] = _MESSAGE_ID
        message.set_content("Hello")
        kind = {"Content-Type": "message/rfc822"}
        answer = self.user.request(
            "POST", self.user.upload_path, message.as_bytes(policy=SMTP), kind
        )[2]
        [sent] = (box.id for box in self._boxes if box.role == "sent")
        email = {"blobId": json.loads(answer)["blobId"], "mailboxIds": {sent: True}}
        assert self.user.call("Email/import", emails={"0": email})["created"]

    def sort(self) -> None:
        """Let the generated script sort new mail."""
        self.user.activate(script_of(self._case, self._boxes, self._group_uids))

    def receive(self) -> None:
        message = EmailMessage()
        for name, value in self._case.header.items():
            message[name] = value
        if self._case.mail.get("answers"):
            message["Subject"], message["In-Reply-To"] = "Re: a trip", _MESSAGE_ID
        else:
            message["Subject"] = "Hello"
        message["Message-ID"] = "<new@example.net>"
        if not message.is_multipart():
            message.set_payload("Hello\r\n")
        self.user.receive_from(self._case.return_path, message)

    def new_mail(self) -> tuple[frozenset[str], frozenset[str]]:
        """Where the mail is that has come in, and its keywords."""
        names = {box.id: box.name for box in self._boxes}
        ids = self.user.call("Email/query")["ids"]
        properties = ["mailboxIds", "keywords", "messageId"]
        mails = self.user.call("Email/get", ids=ids, properties=properties)["list"]
        [mail] = [mail for mail in mails if mail["messageId"] == ["new@example.net"]]
        places = frozenset(names[box] for box in mail["mailboxIds"])
        return places, frozenset(mail["keywords"])


class Furnished(CyrusAccount):
    """An account that has all it needs."""

    def standard_account(self, names: Sequence[str], groups: Sequence[str]) -> None:
        """It is there."""


class Household(CyrusWorld):
    """Such an account, its service in this process, in real time."""

    account_of = Furnished


def user_of(cyrus: Cyrus, prefix: str, case: Case) -> User:
    return cyrus.user(prefix + re.sub(r"\W", "", case.name)[-30:].lower())


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in cases()])
def test_where_the_script_puts_new_mail(
    case: Case, cyrus: Cyrus, record_property: Callable[[str, object], None]
) -> None:
    record_property(SERVER, cyrus.version)
    home = Home(user_of(cyrus, "x", case), case)
    home.sort()
    home.receive()
    places, keywords = home.new_mail()
    if case.goes_by_rules is not None:
        assert places == case.goes_by_rules
    assert keywords == ({WAITING} if "Screener" in places else set())


@pytest.mark.parametrize("by", ["server", "mailroom"])
@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in cases()])
def test_where_the_service_leaves_new_mail(
    case: Case, by: str, cyrus: Cyrus, record_property: Callable[[str, object], None]
) -> None:
    """What the rules cannot know it puts right; without rules it does it all."""
    record_property(SERVER, cyrus.version)
    if by == "mailroom" and case.account.keys() & {"lists", "domains", "made"}:
        pytest.skip("Mailroom has not made these here")
    home = Home(user_of(cyrus, by[0], case), case)
    configuration = case.service_configuration(by)
    if by == "server":
        home.sort()
    with contextlib.closing(Household(home.user, cyrus.url, configuration)) as world:
        world.start()
        world.run_for(_SECONDS)
        home.receive()
        world.run_for(_SECONDS)
        places, keywords = home.new_mail()
    is_door = by == "mailroom" or case.goes_by_rules == frozenset({"Screener"})
    expected = case.goes if is_door else case.goes_by_rules
    if expected is not None:
        assert places == expected
    elif by == "mailroom":
        assert places == {"Inbox", "@MailroomWarning"}
    assert keywords == ({WAITING} if "Screener" in places else set())
