"""An account, and what its user does with it in other programs: phone, mail app, address book.

Tests and the demo act through it and look at the result. Mailboxes are named by their path,
``A/B`` where B is under A, and known by it in whichever Unicode form they are kept.
"""

import re
import threading
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from mailroom.sandbox.addresses import Address, parse_addresses
from mailroom.sandbox.carddav import CardDav
from mailroom.sandbox.cards import is_group, plain_uid, property_of
from mailroom.sandbox.mail import Addresses, Mail, Mailbox
from mailroom.sandbox.profile import Profile
from mailroom.sandbox.store import MailStore

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
_OTHER_MAILBOXES: Final = (
    *("Screener", "@ToScreener", "@WholeDomain", "@WholeList"),
    *("@MailroomError", "@MailroomWarning"),
)
#: A header with addresses as it is written, or names and addresses; None: there is none.
Header = str | Iterable[tuple[str | None, str]] | None
#: A mail store's content.
Backup = Mapping[str, Any]
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
        self._store = MailStore(
            seed,
            pushes_counts=profile.pushes_counts,
            max_keywords=profile.limits.max_keywords_in_mailbox,
        )
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

    def deliver(  # noqa: PLR0913 - a mail has that many headers
        self,
        from_: Header,
        subject: str = "Hello",
        mailbox: str | Iterable[str] = "Screener",
        received_at: float | None = None,
        text: str = "",
        *,
        to: Header = None,
        cc: Header = None,
        bcc: Header = None,
        headers: Mapping[str, str] | None = None,
        message_id: str = "",
        in_reply_to: str | Iterable[str] = (),
        references: str | Iterable[str] = (),
        keywords: Iterable[str] = (),
    ) -> str:
        """Take in a mail, wherever it is to be, and return its id.

        ``from_``, ``to``, ``cc`` and ``bcc`` are the header as it stands in the mail, None for a
        mail without; or names and addresses as the server is to show them, whatever a header could
        say. ``headers`` are further ones. The ids are without angle brackets; ``in_reply_to`` and
        ``references`` tie the mail to a thread, if the subject is that of the thread.
        """
        with self._acting() as store:
            received = self.clock() if received_at is None else received_at
            mail = Mail(
                store.new_id("M"),
                {self.mailbox_id(name) for name in _names(mailbox)},
                float(int(received)),
                _addresses(from_),
                subject,
                text,
                {keyword.lower() for keyword in keywords},
                to=_addresses(to),
                cc=_addresses(cc),
                bcc=_addresses(bcc),
                headers=dict(headers or {}),
                message_id=message_id,
                in_reply_to=tuple(_names(in_reply_to)),
                references=tuple(_names(references)),
                found_from=received + self.profile.search_lag_seconds,
            )
            store.add_mail(mail)
            return mail.id

    def send(
        self,
        to: Header,
        subject: str = "Hello",
        *,
        cc: Header = None,
        bcc: Header = None,
        in_reply_to: str | None = None,
        from_: Header = None,
    ) -> str:
        """Put a mail of the user's into Sent, read, as whoever sends one does; return its id.

        ``in_reply_to`` is the id of the mail that it answers, which is then ``$answered``.
        """
        with self._acting() as store:
            answered = store.mails[in_reply_to] if in_reply_to else None
            sent = self.deliver(
                from_ or f"{self.user}@home.example",
                subject,
                "Sent",
                to=to,
                cc=cc,
                bcc=bcc,
                in_reply_to=answered.message_id if answered else (),
                references=(*answered.references, answered.message_id) if answered else (),
                keywords=["$seen"],
            )
            if answered:
                store.set_keywords(answered, answered.keywords | {"$answered"})
            return sent

    def mail(self, mail_id: str) -> Mail:
        """Return a mail, to be looked at only; KeyError when it is gone."""
        with self.lock:
            return self._store.mails[mail_id]

    def keywords_of(self, mail_id: str) -> set[str]:
        """Return a mail's keywords; KeyError when the mail is gone."""
        return self.mail(mail_id).keywords.copy()

    def set_keywords(
        self, mail_id: str, *, add: Iterable[str] = (), remove: Iterable[str] = ()
    ) -> None:
        """Put keywords on a mail and take others off: what a phone does when a mail is read."""
        with self._acting() as store:
            mail = store.mails[mail_id]
            store.set_keywords(mail, (mail.keywords | set(add)) - set(remove))

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

    def forget_changes(self) -> None:
        """Make every state of mail that was handed out one that no changes can be told since."""
        with self._acting() as store:
            store.forget_changes()

    def backup(self) -> Backup:
        """Return all mail, mailboxes and states as they are now."""
        with self.lock:
            return self._store.backup()

    def restore(self, backup: Backup) -> None:
        """Be a server that was set up again from a backup: what came since never was, and the
        states are behind those that clients know. Event streams hear nothing of it."""
        with self.lock:
            self._store.restore(backup)

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


def _names(value: str | Iterable[str]) -> Iterable[str]:
    return [value] if isinstance(value, str) else value


def _addresses(header: Header) -> Addresses | None:
    if header is None or isinstance(header, str):
        return parse_addresses(header)
    return tuple(Address(*pair) for pair in header)


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
