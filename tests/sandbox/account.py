"""An account: a user's mail, and contacts with what the user does in an address book.

Tests and the demo act through it and look at the result.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final

from tests.sandbox.carddav import CardDav
from tests.sandbox.cards import is_group, plain_uid, property_of
from tests.sandbox.mailuser import MailUser, normal
from tests.sandbox.profile import Profile

DEFAULT_CATEGORIES: Final = ("Imbox", "Feed", "Paper Trail", "Jail", "Person", "Billboard", "Truck")
PROVENANCE_GROUP: Final = "Mailroom"
SCREENED_GROUP: Final = "Mailroom screened"
ROLES: Final = {
    "Inbox": "inbox",
    "Archive": "archive",
    "Trash": "trash",
    "Junk": "junk",
    "Sent": "sent",
    "Drafts": "drafts",
}
_OTHER_MAILBOXES: Final = (
    *("Screener", "@ToScreener", "@WholeDomain", "@WholeList"),
    *("@MailroomError", "@MailroomWarning"),
)
_MEMBER: Final = re.compile(
    r"^(?:X-ADDRESSBOOKSERVER-)?MEMBER:(?:urn:uuid:)*(.*?)\r?$", re.MULTILINE | re.IGNORECASE
)


class Account(MailUser):
    """One user's mailboxes, mails and contacts. Every action may be called from any thread."""

    def __init__(self, profile: Profile, seed: int, clock: Callable[[], float], user: str) -> None:
        super().__init__(profile, seed, clock, user)
        self._contacts = CardDav(user, profile, clock)

    def standard_account(self, categories: Sequence[str] = DEFAULT_CATEGORIES) -> None:
        """Make every mailbox and contact group that a set-up account has with these categories."""
        with self._acting():
            for name, role in ROLES.items():
                self.create_mailbox(name, role)
            for name in _OTHER_MAILBOXES:
                self.create_mailbox(name)
            for category in categories:
                self.create_mailbox(f"@To{category.replace(' ', '')}")
                self.create_mailbox(category)
            for group in (*categories, PROVENANCE_GROUP, SCREENED_GROUP):
                self.put_card(_group_card(group))

    def states(self) -> dict[str, str]:
        """Return the states by type, as an event shows them."""
        with self.lock:
            states = self._store.pushed_states()
            if self.profile.has_jmap_contacts:
                states["ContactCard"] = self._contacts.storage.state
            return states

    # Contacts

    def cards(self) -> dict[str, str]:
        """Return every card of the default address book by its href."""
        with self.lock:
            path = self._contacts.book_path
            return {f"{path}{name}": text for name, text in self._contacts.book.cards.items()}

    def put_card(self, text: str, name: str | None = None) -> str:
        """Keep a card as it is, good or bad, and return its href.

        ``name`` is the last part of the href, by default the card's UID and ``.vcf``.
        """
        with self.lock:
            name = name or f"{plain_uid(text)}.vcf"
            self._contacts.book.put(name, text)
            self._contacts.storage.publish()
            return f"{self._contacts.book_path}{name}"

    def delete_card(self, href: str) -> None:
        """Delete a card."""
        with self.lock:
            self._contacts.book.delete(href.rpartition("/")[2])
            self._contacts.storage.publish()

    def group_members(self, name: str) -> set[str]:
        """Return the UIDs of a contact group's members; KeyError when there is no such group."""
        for text in self.cards().values():
            if normal(property_of(text, "FN") or "") == normal(name) and is_group(text):
                return set(_MEMBER.findall(text))
        raise KeyError(name)

    def forget_sync_tokens(self) -> None:
        """Make every sync token that was handed out invalid."""
        with self.lock:
            self._contacts.book.forget_tokens()


def _group_card(name: str) -> str:
    """Write a group as Fastmail does: vCard 3 with Apple's extension."""
    uid = f"group-{name.lower().replace(' ', '-')}"
    lines = (
        "BEGIN:VCARD",
        "VERSION:3.0",
        f"UID:{uid}",
        f"FN:{name}",
        f"N:{name};;;;",
        "X-ADDRESSBOOKSERVER-KIND:group",
        "END:VCARD",
    )
    return "".join(f"{line}\r\n" for line in lines)
