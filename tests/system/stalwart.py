"""A Stalwart, and its users, who do what those of Cyrus do."""

import http.client
import json
import uuid
from email.message import EmailMessage
from urllib.parse import urlsplit

from tests.contract.stalwart import StalwartProgram
from tests.system.cyrus import CORE, MAIL, READY_SECONDS, User


class StalwartUser(User):
    """A user of Stalwart. One of that name that there was is made anew."""

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
        self._program.receive(self.name, *map(bytes, messages))

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

    def _connection(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(self._place, timeout=READY_SECONDS)
        with self._program.network():
            connection.connect()
        return connection
