"""A user's mail, and what the user does with it in other programs: phone, web mail, mail app.

Tests and the demo act through it and look at the result. Mailboxes are named by their path,
``A/B`` where B is under A, and known by it in whichever Unicode form they are kept.
"""

import threading
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypedDict, Unpack

from tests.sandbox.addresses import Address, parse_addresses
from tests.sandbox.mail import Addresses, Filing, Mail, Mailbox
from tests.sandbox.profile import Profile
from tests.sandbox.store import MailStore

#: A header with addresses as it is written, or names and addresses; None: there is none.
Header = str | Iterable[tuple[str | None, str]] | None
#: A mail store's content.
Backup = Mapping[str, Any]


class Head(TypedDict, total=False):
    """Further headers of a mail.

    ``headers`` are any others, by name. The ids are without angle brackets; ``in_reply_to`` and
    ``references`` tie the mail to a thread, if the subject is that of the thread.
    """

    to: Header
    cc: Header
    bcc: Header
    headers: Mapping[str, str]
    message_id: str
    in_reply_to: str | Iterable[str]
    references: str | Iterable[str]


class MailUser:
    """One user's mailboxes and mails. Every action may be called from any thread."""

    def __init__(self, profile: Profile, seed: int, clock: Callable[[], float], user: str) -> None:
        self.profile = profile
        self.user = user
        self.lock = threading.RLock()
        self.clock = clock
        self._store = MailStore(seed, profile)
        #: Mailbox id and mail id of what was marked deleted and is not yet expunged.
        self._marked: list[tuple[str, str]] = []

    @property
    def address(self) -> str:
        """The user's own mail address."""
        return f"{self.user}@home.example"

    # Mail

    def deliver(
        self,
        from_: Header,
        subject: str = "Hello",
        mailbox: str | Iterable[str] = "Screener",
        received_at: float | None = None,
        text: str = "",
        *,
        keywords: Iterable[str] = (),
        **head: Unpack[Head],
    ) -> str:
        """Take in a mail, wherever it is to be, and return its id.

        ``from_`` is the header as it stands in the mail, None for a mail without; or names and
        addresses as the server is to show them, whatever a header could say.
        """
        with self._acting() as store:
            mail = self._new_mail(from_, subject, received_at, text, head)
            mail.mailbox_ids = {self.mailbox_id(name) for name in _names(mailbox)}
            mail.keywords = {keyword.lower() for keyword in keywords}
            store.add_mail(mail)
            return mail.id

    def arrive(
        self,
        from_: Header,
        subject: str = "Hello",
        received_at: float | None = None,
        text: str = "",
        *,
        return_path: str | None = None,
        **head: Unpack[Head],
    ) -> str:
        """Have a mail delivered from outside and return its id: the server's rules say where to.

        ``return_path`` is the sender of the envelope, by default the address of From, empty for a
        bounce. A mail that the rules discard is gone, as if it had been destroyed.
        """
        with self._acting() as store:
            mail = self._new_mail(from_, subject, received_at, text, {"to": self.address, **head})
            if return_path is None:
                return_path = next((each.email for each in mail.senders or ()), "someone@x.example")
            mail.headers = {"Return-Path": f"<{return_path}>", **mail.headers}
            filing = self._file(mail, return_path)
            mail.mailbox_ids, mail.keywords = set(filing.places), filing.keywords
            if mail.mailbox_ids:
                store.add_mail(mail)
            return mail.id

    def _file(self, mail: Mail, envelope_from: str) -> Filing:
        """Say where a mail goes that arrives."""
        return Filing({self.mailbox_id("Inbox"): set()})

    def _new_mail(
        self, from_: Header, subject: str, received_at: float | None, text: str, head: Head
    ) -> Mail:
        """Return a mail that is nowhere yet."""
        received = self.clock() if received_at is None else received_at
        return Mail(
            self._store.new_id("M"),
            set(),
            float(int(received)),
            self._addresses(from_),
            subject,
            text,
            to=self._addresses(head.get("to")),
            cc=self._addresses(head.get("cc")),
            bcc=self._addresses(head.get("bcc")),
            headers=dict(head.get("headers", {})),
            message_id=head.get("message_id", ""),
            in_reply_to=tuple(_names(head.get("in_reply_to", ()))),
            references=tuple(_names(head.get("references", ()))),
            found_from=received + self.profile.search_lag_seconds,
        )

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
                from_ or self.address,
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

    # What mail programs do that cannot move

    def mark_deleted(self, mail_id: str, name: str) -> None:
        """Mark a mail in a mailbox to be expunged: to JMAP it is there no more."""
        with self._acting() as store:
            mailbox_id = self.mailbox_id(name)
            mail = store.mails[mail_id]
            if mailbox_id in mail.mailbox_ids:
                store.set_mailboxes(mail, mail.mailbox_ids - {mailbox_id})
                self._marked.append((mailbox_id, mail_id))

    def expunge(self, name: str) -> None:
        """Let go for good what was marked deleted in a mailbox: a change of those mails once more
        (Cyrus 3.10.2, seen)."""
        with self._acting() as store:
            mailbox_id = self.mailbox_id(name)
            for _, mail_id in (each for each in self._marked if each[0] == mailbox_id):
                store.touch(mail_id)
            self._marked = [each for each in self._marked if each[0] != mailbox_id]

    def drag(self, mail_id: str, source: str, destination: str) -> Iterator[str]:
        """Move a mail as IMAP programs without MOVE do: in steps, of which each is named after it
        was done. ``move`` is the move in one step."""
        self.label(mail_id, destination)
        yield "copied"
        self.mark_deleted(mail_id, source)
        yield "deleted"
        self.expunge(source)
        yield "expunged"

    def append_again(self, mail_id: str, name: str) -> str:
        """Put another mail with the same content into a mailbox and return its id.

        So do programs that keep the mail themselves (mbsync 1.4.4 on Cyrus 3.10.2, seen): what it
        keeps is $seen and when it was received, what is lost are all other keywords.
        """
        with self._acting() as store:
            copy = replace(
                store.mails[mail_id],
                id=store.new_id("M"),
                mailbox_ids={self.mailbox_id(name)},
                keywords={"$seen"},
                has_left=False,
                found_from=self.clock() + self.profile.search_lag_seconds,
            )
            store.add_mail(copy)
            return copy.id

    def drag_by_append(self, mail_id: str, source: str, destination: str) -> str:
        """Move a mail as mbsync does and return its new id."""
        new_id = self.append_again(mail_id, destination)
        self.mark_deleted(mail_id, source)
        self.expunge(source)
        return new_id

    def save_draft(
        self, to: Header, subject: str = "Hello", text: str = "", replaces: str | None = None
    ) -> str:
        """Save a mail that is being written, in place of what was saved of it before."""
        with self._acting() as store:
            draft = self.deliver(
                self.address, subject, "Drafts", text=text, to=to, keywords=["$draft", "$seen"]
            )
            if replaces:
                store.remove_mail(store.mails[replaces])
            return draft

    def mark_junk(self, mail_id: str) -> None:
        """Call a mail spam: into Junk, with the keyword that says so."""
        with self._acting() as store:
            mail = store.mails[mail_id]
            store.set_mailboxes(mail, {self.mailbox_id("Junk")})
            store.set_keywords(mail, mail.keywords | {"$junk"})

    # What there is

    def mailboxes_of(self, mail_id: str) -> set[str]:
        """Return the names of a mail's mailboxes; KeyError when the mail is gone."""
        with self.lock:
            boxes = self._store.mailboxes
            ids = self._store.mails[mail_id].mailbox_ids
            return {normal(self._store.path_of(boxes[id_])) for id_ in ids}

    def mails_in(self, name: str) -> set[str]:
        """Return the ids of the mails in a mailbox."""
        with self.lock:
            return self._store.in_mailbox(self.mailbox_id(name)).copy()

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

    def _mailbox(self, path: str) -> Mailbox:
        parent_id: str | None = None
        found: Mailbox | None = None
        with self.lock:
            for name in normal(path).split("/"):
                children = self._store.children(parent_id)
                siblings = {normal(mailbox.name): mailbox for mailbox in children}
                if name not in siblings:
                    raise KeyError(path)
                found = siblings[name]
                parent_id = found.id
        assert found is not None
        return found

    def _addresses(self, header: Header) -> Addresses | None:
        if header is None or isinstance(header, str):
            return parse_addresses(header, as_written=self.profile.shows_from_as_written)
        return tuple(Address(*pair) for pair in header)

    @contextmanager
    def _acting(self) -> Iterator[MailStore]:
        """Change the mail store and tell the listeners."""
        with self.lock:
            yield self._store
            self._store.publish()


def normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _names(value: str | Iterable[str]) -> Iterable[str]:
    return [value] if isinstance(value, str) else value
