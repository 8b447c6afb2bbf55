"""The tables of rules once more, on the real Cyrus: the same cases, the same words.

Real time passes: two minutes with ``-n 5``.
"""

import contextlib
import http.client
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from mailroom.engine.clock import BoottimeClock, Ready
from mailroom.engine.credentials import Basic, Logins
from mailroom.engine.journal import Fields, Level, Log
from mailroom.engine.loop import Loop, Owner, Promise
from mailroom.engine.transfer import Http, Stream, Transfer
from mailroom.rules.contacts.contact import summarise
from mailroom.rules.contacts.roster import managed_groups
from mailroom.rules.names import normal_name, same_name
from mailroom.rules.status.health import Phase
from mailroom.wire.http import Request, Response
from mailroom.wire.vcard import CardView
from mailroom.work.account.account import Account, Common
from tests.rules.table import Case, Trial, cases
from tests.servers import SERVER
from tests.system.cyrus import PASSWORD, Cyrus, CyrusError, User
from tests.world import World

pytestmark = [pytest.mark.system, pytest.mark.every, pytest.mark.timeout(300)]

# Cyrus looks once a second for what to tell, and the service is quiet for a quarter of one.
_SETTLE_SECONDS = 2.0
_ROLES = ("Archive", "Trash", "Junk", "Sent", "Drafts")


class SkippingClock(BoottimeClock):
    """The kernel's clock, but minutes without anything to do can be left out."""

    def __init__(self) -> None:
        super().__init__()
        self._skipped = 0.0

    def now(self) -> float:
        return super().now() + self._skipped

    def skip(self, seconds: float) -> None:
        self._skipped += seconds

    def wait(self, selector: Any, until: float | None) -> Ready:
        """Never for longer than a moment: the test looks at its watch."""
        pause = 0.05 if until is None else min(0.05, max(0.0, until - self.now()))
        found: Ready = selector.select(pause)
        return found


@dataclass(frozen=True, slots=True)
class Sent:
    """A request of the service."""

    method: str
    calls: tuple[str, ...]


class RecordingHttp:
    """The real transfer, remembering what was sent."""

    def __init__(self, transfer: Transfer, sent: list[Sent]) -> None:
        self._transfer = transfer
        self._sent = sent

    def send(self, request: Request) -> Promise[Response]:
        calls: Sequence[Any] = ()
        if request.method == "POST":
            calls = json.loads(request.body or b"{}").get("methodCalls", ())
        self._sent.append(Sent(request.method, tuple(call[0] for call in calls)))
        return self._transfer.send(request)

    def stream(self, request: Request) -> Stream:
        return self._transfer.stream(request)


class CyrusAccount:
    """What the tables ask of a sandbox, asked of Cyrus."""

    def __init__(self, user: User) -> None:
        self._user = user
        self._delivered = 0

    def close_feeds(self) -> None:
        """A killed process closes its own."""

    def standard_account(self, names: Sequence[str], groups: Sequence[str]) -> None:
        create = {role: {"name": role, "role": role.lower()} for role in _ROLES}
        self._user.call("Mailbox/set", create=create)
        self._user.make_mailboxes(*names)
        for name in groups:
            uid = f"group-{name.lower().replace(' ', '-')}"
            lines = ["BEGIN:VCARD", "VERSION:3.0", f"UID:{uid}", f"FN:{name}"]
            lines += [f"N:{name};;;;", "X-ADDRESSBOOKSERVER-KIND:group", "END:VCARD", ""]
            self._user.put_card(f"{uid}.vcf", "\r\n".join(lines))

    def _boxes(self) -> dict[str, str]:
        return {normal_name(path): box for path, box in self._user.mailboxes().items()}

    def create_mailbox(self, path: str) -> None:
        boxes = self._boxes()
        parent, _, name = path.rpartition("/")
        if parent and parent not in boxes:
            self.create_mailbox(parent)
            boxes = self._boxes()
        if path not in boxes:
            new = {"name": name, "parentId": boxes[parent] if parent else None}
            assert self._user.call("Mailbox/set", create={"0": new})["created"], path

    def rename_mailbox(self, path: str, new: str) -> None:
        box = self._boxes()[path]
        self._user.call("Mailbox/set", update={box: {"name": new.rpartition("/")[2]}})

    def destroy_mailbox(self, path: str) -> None:
        box = self._boxes()[path]
        self._user.call("Mailbox/set", destroy=[box], onDestroyRemoveEmails=True)

    def deliver(
        self, sender: str | None, subject: str, places: Sequence[str], received_at: float
    ) -> str:
        if not isinstance(sender, str | None):
            pytest.skip("a real server reads From from the mail itself")
        head = f"From: {sender}\r\n" if sender else ""
        message = f"{head}Subject: {subject}\r\nMessage-ID: <{time.time_ns()}@x>\r\n\r\nHello\r\n"
        path, kind = self._user.upload_path, {"Content-Type": "message/rfc822"}
        blob = json.loads(self._user.request("POST", path, message.encode(), kind)[2])["blobId"]
        boxes = self._boxes()
        received_at += self._delivered  # in the order of the case
        self._delivered += 1
        email = {
            "blobId": blob,
            "mailboxIds": {boxes[place]: True for place in places},
            "receivedAt": datetime.fromtimestamp(received_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        found: str = self._user.call("Email/import", emails={"0": email})["created"]["0"]["id"]
        return found

    def label(self, mail_id: str, name: str) -> None:
        self._user.patch(mail_id, {self._boxes()[name]: True})

    def unlabel(self, mail_id: str, name: str) -> None:
        self._user.patch(mail_id, {self._boxes()[name]: False})

    def move(self, mail_id: str, *places: str) -> None:
        boxes = self._boxes()
        old = self.mailboxes_of(mail_id)
        off = {boxes[place]: False for place in old - set(places)}
        self._user.patch(mail_id, {**{boxes[place]: True for place in places}, **off})

    def mailboxes_of(self, mail_id: str) -> set[str]:
        found = self._user.call("Email/get", ids=[mail_id], properties=["mailboxIds"])["list"]
        if not found:
            raise KeyError(mail_id)
        names = {box: path for path, box in self._boxes().items()}
        return {names[box] for box in found[0]["mailboxIds"]}

    def cards(self) -> dict[str, str]:
        return self._user.cards()

    def put_card(self, text: str, name: str) -> None:
        if "VERSION:4.0" in text:
            pytest.skip("Cyrus does not show that it keeps a vCard 4.0")
        try:
            self._user.put_card(name, text)
        except CyrusError as error:
            pytest.skip(f"Cyrus does not take such a card: {error}")

    def delete_card(self, href: str) -> None:
        status, _, _ = self._user.request("DELETE", href)
        assert status == http.client.NO_CONTENT

    def group_members(self, name: str) -> set[str]:
        entries = [summarise(CardView.glance(text.encode())) for text in self.cards().values()]
        return set(
            next(each.members for each in entries if each.is_group and same_name(each.fn, name))
        )


class CyrusWorld(World):
    """One account on Cyrus, its service in this process, in real time."""

    account_of = CyrusAccount
    clock_of = SkippingClock
    settle_seconds = _SETTLE_SECONDS

    def __init__(self, user: User, url: str, configuration: Mapping[str, Any]) -> None:
        self._name = user.name
        self._sent: list[Sent] = []
        self._transfers: list[Transfer] = []
        self.clock = self.clock_of()  # type: ignore[assignment]
        self.loop = Loop(self.clock)
        self.sandbox = self.account_of(user)  # type: ignore[assignment]
        self.events: list[tuple[Level, str, Fields]] = []
        self.mails: list[str] = []
        self.configure({"jmap": {"url": url, "username": user.name}, **configuration}, url)
        # What is nested, a case makes itself.
        wanted = [name for name in self.config.managed_mailboxes if "/" not in name]
        groups = sorted(managed_groups(self.config))
        self.sandbox.standard_account(wanted, groups)  # type: ignore[call-arg]
        self.boot()

    def new_account(self) -> Account:
        login = Basic(self._name, PASSWORD)
        http, log = self.new_http(), Log(self._note, Level.DEBUG)
        owner, logins = Owner(self.loop), Logins(login, login)
        return Account(
            owner, http, self.config, logins, log, self.history, Common(jitter=lambda: 0.0)
        )

    def new_http(self) -> Http:
        self._transfers.append(Transfer(self.loop, "Mailroom/test"))
        return RecordingHttp(self._transfers[-1], self._sent)

    def close(self) -> None:
        """Leave nothing in flight."""
        self.loop.close()
        for transfer in self._transfers:
            transfer.close()

    @property
    def request_count(self) -> int:
        return len(self._sent)

    def requests_since(self, number: int) -> list[Any]:
        return self._sent[number:]

    def run_for(self, seconds: float) -> None:
        self._settle()
        if seconds > 60.0:
            self.clock.skip(seconds - self.settle_seconds)  # type: ignore[attr-defined]
            self._settle()

    def _settle(self) -> None:
        until = time.monotonic() + self.settle_seconds
        while time.monotonic() < until or self._is_busy():
            self.loop.turn()

    def _is_busy(self) -> bool:
        snapshot = self.account.snapshot()
        due = snapshot.next_poll
        return snapshot.phase is Phase.POLLING or (due is not None and due.in_seconds < 1.0)


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in cases()])
def test_rule(case: Case, cyrus: Cyrus, record_property: Callable[[str, object], None]) -> None:
    record_property(SERVER, cyrus.version)
    if not case.concerns("cyrus-3.10"):
        pytest.skip("it speaks of another server")
    name = "u" + re.sub(r"\W", "", case.name)[-30:].lower()
    world = CyrusWorld(cyrus.user(name), cyrus.url, case.section("configuration"))
    with contextlib.closing(world):
        Trial(case, world, _SETTLE_SECONDS).run()
