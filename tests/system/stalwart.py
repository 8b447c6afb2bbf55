"""A Stalwart, and its users, who do what those of Cyrus do."""

import contextlib
import http.client
import json
import os
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from tests.contract.stalwart import StalwartProgram
from tests.system.cyrus import CORE, MAIL, READY_SECONDS, User
from tests.system.host import Host


@dataclass(frozen=True)
class Stalwart:
    """A Stalwart in the network of a host."""

    program: StalwartProgram

    @classmethod
    @contextlib.contextmanager
    def run(cls, host: Host, known_as: str | None = None, more: str = "") -> Iterator[Self]:
        """Start the one whose path STALWART is; ``known_as`` is the URL that its session names,
        ``more`` is added to its configuration."""
        path = Path(os.environ["STALWART"])
        with contextlib.closing(StalwartProgram(path, host.network, known_as, more)) as program:
            yield cls(program)

    @property
    def url(self) -> str:
        """Where the host's own programs find it."""
        return self.program.url

    def user(self, name: str) -> "StalwartUser":
        """A new user with an empty Inbox."""
        return StalwartUser(self.program, name)


class StalwartUser(User):
    """A user of Stalwart."""

    capabilities = (CORE, MAIL)

    def __init__(self, program: StalwartProgram, name: str) -> None:
        self._program = program
        self.name = name
        self.address = f"{name}@example.org"
        self._place = urlsplit(program.url).netloc
        self._authorization = program.authorization(name)
        program.create_account(name)
        session = json.loads(self.request("GET", program.session_path)[2])
        self.account_id = session["primaryAccounts"][MAIL]

    def receive(self, *messages: EmailMessage | bytes) -> None:
        """What comes by LMTP there is queued, and in Inbox a moment later."""
        wanted = self._count() + len(messages)
        self._program.receive(self.name, *map(bytes, messages))
        deadline = time.monotonic() + READY_SECONDS
        while (count := self._count()) < wanted:
            assert time.monotonic() < deadline, f"{wanted - count} of {len(messages)} are missing"

    def _count(self) -> int:
        return int(self.call("Email/query", calculateTotal=True, limit=1)["total"])

    def pointer(self, mailbox: str) -> str:
        """An id of digits would be a place in a list."""
        return super().pointer(f"\\{mailbox}" if mailbox.isdigit() else mailbox)

    @property
    def address_book(self) -> str:
        return f"/dav/card/{self.name}/default/"

    @property
    def upload_path(self) -> str:
        return f"/jmap/upload/{self.account_id}/"

    def make_groups(self, *names: str) -> dict[str, str]:
        """Of vCard 4, which alone are groups to JMAP there."""
        uids = {name: str(uuid.uuid4()) for name in names}
        for name, uid in uids.items():
            lines = ["BEGIN:VCARD", "VERSION:4.0", f"UID:{uid}", f"FN:{name}", "KIND:group"]
            self.put_card(f"{uid}.vcf", "\r\n".join([*lines, "END:VCARD", ""]))
        return uids

    def empty(self) -> None:
        """Nothing is left of what the user had. (A new account of the name would have another id,
        and Mailroom's cards have UIDs by it.)"""
        boxes = self.call("Mailbox/get", ids=None, properties=["role"])["list"]
        inbox = next(box["id"] for box in boxes if box["role"] == "inbox")
        mails = [entry["id"] for entry in self.mails(inbox)]
        self.call("Email/set", destroy=mails)
        own = [box["id"] for box in boxes if box["role"] is None]
        self.call("Mailbox/set", destroy=own, onDestroyRemoveEmails=True)
        for href in self.cards():
            self.request("DELETE", href)

    def connection(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(self._place, timeout=READY_SECONDS)
        with self._program.network():
            connection.connect()
        return connection
