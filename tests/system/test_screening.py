"""Where new mail goes by the generated script: the table on a real Cyrus, delivered by LMTP."""

import re
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest

from mailroom.rules.drags import WAITING
from mailroom.wire.jmap import Mailbox
from tests.screening.table import Case, address_book, cases, script_of
from tests.servers import SERVER
from tests.system.cyrus import Cyrus, User
from tests.system.host import Host

pytestmark = [pytest.mark.system, pytest.mark.every, pytest.mark.timeout(300)]

_ROLES = ("Archive", "Trash", "Junk", "Sent", "Drafts")


class Home:
    """A user of Cyrus with the case's account, whose mail the generated script sorts."""

    def __init__(self, user: User, case: Case) -> None:
        self._user = user
        roles = [role for role in _ROLES if role != case.account.get("without")]
        create = {role: {"name": role, "role": role.lower()} for role in roles}
        user.call("Mailbox/set", create=create)
        user.make_mailboxes(*case.config.managed_mailboxes)
        boxes = [Mailbox(box["id"], box["name"], box["parentId"], box["role"])
                 for box in user.call("Mailbox/get", ids=None)["list"]]  # fmt: skip
        self._names = {box.id: box.name for box in boxes}
        cards, uids = address_book(case)
        for name, card in cards.items():
            user.put_card(name, card)
        user.activate(script_of(case, boxes, uids))

    def receive(self, case: Case) -> None:
        message = EmailMessage()
        for name, value in case.header.items():
            message[name] = value
        message["Subject"] = "Hello"
        if not message.is_multipart():
            message.set_payload("Hello\r\n")
        self._user.receive_from(case.return_path, message)

    def only_mail(self) -> tuple[frozenset[str], frozenset[str]]:
        """Where the one mail is, and its keywords."""
        [mail_id] = self._user.call("Email/query")["ids"]
        properties = ["mailboxIds", "keywords"]
        [mail] = self._user.call("Email/get", ids=[mail_id], properties=properties)["list"]
        return frozenset(self._names[box] for box in mail["mailboxIds"]), frozenset(
            mail["keywords"]
        )


@pytest.fixture(scope="module")
def cyrus(tree: Path) -> Iterator[Cyrus]:
    with Host.boot(tree) as host, host.network():
        yield Cyrus.start(host)


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in cases()])
def test_where_the_script_puts_new_mail(
    case: Case, cyrus: Cyrus, record_property: Callable[[str, object], None]
) -> None:
    record_property(SERVER, cyrus.version)
    user = cyrus.user("s" + re.sub(r"\W", "", case.name)[-30:].lower())
    home = Home(user, case)
    home.receive(case)
    places, keywords = home.only_mail()
    if case.goes_by_rules is not None:
        assert places == case.goes_by_rules
    assert keywords == ({WAITING} if "Screener" in places else set())
