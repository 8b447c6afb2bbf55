"""An account, and what its user does with it in other programs: phone, mail app, address book.

Tests and the demo act through it and look at the result. Mailboxes are named by their path,
``A/B`` where B is under A, and known by it in whichever Unicode form they are kept.
"""

import re
import threading
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from mailroom.sandbox.addresses import Address, parse_addresses
from mailroom.sandbox.carddav import CardDav
from mailroom.sandbox.cards import is_group, plain_uid, property_of
from mailroom.sandbox.profile import Profile
from mailroom.sandbox.store import Mail, Mailbox, MailStore

DEFAULT_CATEGORIES: Final = ("Imbox", "Feed", "Paper Trail", "Jail", "Person", "Billboard", "Truck")
PROVENANCE_GROUP: Final = "Mailroom"
ROLES: Final = {
    "Inbox": "inbox",
    "Archive": "archive",
    "Trash": "trash",
    "Junk": "junk",
    "Sent": "sent",
    "Drafts": "drafts",
}
_OTHER_MAILBOXES: Final = ("Screener", "@ToScreener", "@MailroomError", "@MailroomWarning")
_MEMBER: Final = re.compile(
    r"^(?:X-ADDRESSBOOKSERVER-)?MEMBER:(?:urn:uuid:)*(.*?)\r?$", re.MULTILINE | re.IGNORECASE
)


class Account:
    """One user's mailboxes, mails and contacts. Every action may be called from any thread."""

    def __init__(self, profile: Profile, seed: int, clock: Callable[[], float], user: str) -> None:
        self.profile = profile
        self.user = user
        self.lock = threading.RLock()
        self.clock = clock
        self._store = MailStore(seed, pushes_counts=profile.pushes_counts)
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
            for group in (*categories, PROVENANCE_GROUP):
                self.put_card(_group_card(group))

    # Mail

    def deliver(
        self,
        from_: str | Iterable[tuple[str | None, str]] | None,
        subject: str = "Hello",
        mailbox: str | Iterable[str] = "Screener",
        received_at: float | None = None,
        text: str = "",
    ) -> str:
        """Take in a mail and return its id.

        ``from_`` is the header as it stands in the mail, None for a mail without; or names and
        addresses as the server is to show them, whatever a header could say.
        """
        if from_ is None or isinstance(from_, str):
            senders = parse_addresses(from_)
        else:
            senders = tuple(Address(*pair) for pair in from_)
        with self._acting() as store:
            received = self.clock() if received_at is None else received_at
            mail = Mail(
                store.new_id("M"),
                {self.mailbox_id(name) for name in _names(mailbox)},
                float(int(received)),
                senders,
                subject,
                text,
                found_from=received + self.profile.search_lag_seconds,
            )
            store.add_mail(mail)
            return mail.id

    def label(self, mail_id: str, name: str) -> None:
        """Put a mail into one mailbox more: what a phone does with a label."""
        with self._acting() as store:
            mail = store.mails[mail_id]
            store.set_mailboxes(mail, mail.mailbox_ids | {self.mailbox_id(name)})

    def unlabel(self, mail_id: str, name: str) -> None:
        """Take a mail out of one mailbox; out of its last one it is destroyed."""
        with self._acting() as store:
            mail = store.mails[mail_id]
            store.set_mailboxes(mail, mail.mailbox_ids - {self.mailbox_id(name)})

    def move(self, mail_id: str, *names: str) -> None:
        """Put a mail into these mailboxes and no other."""
        with self._acting() as store:
            store.set_mailboxes(store.mails[mail_id], {self.mailbox_id(name) for name in names})

    def mailboxes_of(self, mail_id: str) -> set[str]:
        """Return the names of a mail's mailboxes; KeyError when the mail is gone."""
        with self.lock:
            boxes = self._store.mailboxes
            ids = self._store.mails[mail_id].mailbox_ids
            return {_normal(self._store.path_of(boxes[id_])) for id_ in ids}

    def mails_in(self, name: str) -> set[str]:
        """Return the ids of the mails in a mailbox."""
        with self.lock:
            return self._store.in_mailbox(self.mailbox_id(name)).copy()

    def states(self) -> dict[str, str]:
        """Return the states by type, as an event shows them."""
        with self.lock:
            states = self._store.pushed_states()
            if self.profile.has_jmap_contacts:
                states["ContactCard"] = self._contacts.storage.state
            return states

    # Mailboxes

    def create_mailbox(self, name: str, role: str | None = None) -> str:
        """Create a mailbox, below its parent where the name is a path, and return its id."""
        with self._acting() as store:
            parent, _, own = name.rpartition("/")
            return store.add_mailbox(own, self.mailbox_id(parent) if parent else None, role)

    def rename_mailbox(self, name: str, new_name: str) -> None:
        """Rename a mailbox where it is."""
        with self._acting() as store:
            mailbox = self._mailbox(name)
            store.change_mailbox(mailbox, new_name, mailbox.parent_id)

    def destroy_mailbox(self, name: str) -> None:
        """Destroy a mailbox and the mail that is only there."""
        with self._acting() as store:
            store.remove_mailbox(self.mailbox_id(name))

    def mailbox_id(self, name: str) -> str:
        """Return a mailbox's id; KeyError when there is none of that name."""
        return self._mailbox(name).id

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
            if _normal(property_of(text, "FN") or "") == _normal(name) and is_group(text):
                return set(_MEMBER.findall(text))
        raise KeyError(name)

    def forget_sync_tokens(self) -> None:
        """Make every sync token that was handed out invalid."""
        with self.lock:
            self._contacts.book.forget_tokens()

    def _mailbox(self, path: str) -> Mailbox:
        parent_id: str | None = None
        found: Mailbox | None = None
        with self.lock:
            for name in _normal(path).split("/"):
                children = self._store.children(parent_id)
                siblings = {_normal(mailbox.name): mailbox for mailbox in children}
                if name not in siblings:
                    raise KeyError(path)
                found = siblings[name]
                parent_id = found.id
        assert found is not None
        return found

    @contextmanager
    def _acting(self) -> Iterator[MailStore]:
        """Change the mail store and tell the listeners."""
        with self.lock:
            yield self._store
            self._store.publish()


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _names(mailbox: str | Iterable[str]) -> Iterable[str]:
    return [mailbox] if isinstance(mailbox, str) else mailbox


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
