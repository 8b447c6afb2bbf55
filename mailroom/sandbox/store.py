"""Mailboxes and mails in memory, with their JMAP states.

As in Cyrus, the state of every type is one number, the account's modification sequence, which
every real change raises. What is pushed is less: a change of mails alone is a change of Email
only, although Mailbox/get shows the new number as well; so the last state of Mailbox that a
client heard of may be older than the one that it would read. A change that changes nothing
leaves all as it is. Listeners hear of changes when ``publish`` is called: at the end of a method
or of a user's action.
"""

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from mailroom.sandbox.addresses import Address, query_terms

StateListener = Callable[[Mapping[str, str]], None]


@dataclass(slots=True)
class Mailbox:
    """A mailbox (RFC 8621 §2); ``parent_id`` None is the top level."""

    id: str
    name: str
    parent_id: str | None = None
    role: str | None = None
    sort_order: int = 10


@dataclass(slots=True)
class Mail:
    """A mail (RFC 8621 §4): instants are seconds of the sandbox's clock."""

    id: str
    mailbox_ids: set[str]
    received_at: float
    senders: tuple[Address, ...] | None
    subject: str
    text: str = ""
    keywords: set[str] = field(default_factory=set)
    #: Whether it has ever been taken out of a mailbox.
    has_left: bool = False
    #: From when on a search by words finds it.
    found_from: float = 0.0

    def terms(self) -> set[str]:
        """Return the terms that a search by its From finds it by."""
        return {term for sender in self.senders or () for term in sender.terms()}


class MailStore:
    """One account's mailboxes and mails."""

    def __init__(self, seed: int, *, pushes_counts: bool) -> None:
        self.mailboxes: dict[str, Mailbox] = {}
        self.mails: dict[str, Mail] = {}
        self.sequence = 1
        #: Type → sequence of its last change, as it is pushed.
        self._changed_at = {"Email": 1, "Mailbox": 1}
        self._pushes_counts = pushes_counts
        self._random = random.Random(seed)
        self._members: defaultdict[str, set[str]] = defaultdict(set)
        self._by_term: defaultdict[str, set[str]] = defaultdict(set)
        self._unpublished: set[str] = set()
        self._listeners: list[StateListener] = []

    # States

    @property
    def state(self) -> str:
        """The current state of every type, as JMAP shows it."""
        return str(self.sequence)

    def pushed_states(self) -> dict[str, str]:
        """Return the states by type, as the event source shows them."""
        return {type_: str(sequence) for type_, sequence in self._changed_at.items()}

    def on_publish(self, listener: StateListener) -> None:
        """Have ``listener`` called with the new states of the types that changed."""
        self._listeners.append(listener)

    def publish(self) -> None:
        """Tell the listeners what has changed since the last time."""
        if self._unpublished:
            states = self.pushed_states()
            changed = {type_: states[type_] for type_ in sorted(self._unpublished)}
            self._unpublished.clear()
            for listener in self._listeners:
                listener(changed)

    def _mails_changed(self, steps: int = 1) -> None:
        """A change of mail; moving one is two steps, so that no answer names the first."""
        self.sequence += steps
        changed = ("Email", "Mailbox") if self._pushes_counts else ("Email",)
        self._mark(*changed)

    def _mailboxes_changed(self) -> None:
        self.sequence += 1
        self._mark("Email", "Mailbox")

    def _mark(self, *types: str) -> None:
        for type_ in types:
            self._changed_at[type_] = self.sequence
            self._unpublished.add(type_)

    def new_id(self, prefix: str) -> str:
        """Return an id that no test can guess but every run repeats."""
        return f"{prefix}{self._random.getrandbits(96):024x}"

    # Mailboxes

    def add_mailbox(self, name: str, parent_id: str | None = None, role: str | None = None) -> str:
        """Create a mailbox; the caller has checked that the name is free there."""
        mailbox = Mailbox(self.new_id("P"), name, parent_id, role)
        self.mailboxes[mailbox.id] = mailbox
        self._mailboxes_changed()
        return mailbox.id

    def change_mailbox(self, mailbox: Mailbox, name: str, parent_id: str | None) -> None:
        """Rename or move a mailbox."""
        if (mailbox.name, mailbox.parent_id) != (name, parent_id):
            mailbox.name, mailbox.parent_id = name, parent_id
            self._mailboxes_changed()

    def remove_mailbox(self, mailbox_id: str) -> None:
        """Destroy a mailbox; mail that was only there is destroyed with it."""
        for mail_id in self.in_mailbox(mailbox_id).copy():
            mail = self.mails[mail_id]
            self.set_mailboxes(mail, mail.mailbox_ids - {mailbox_id})
        del self.mailboxes[mailbox_id]
        self._members.pop(mailbox_id, None)
        self._mailboxes_changed()

    def children(self, parent_id: str | None) -> list[Mailbox]:
        """Return the mailboxes directly below one, or those at the top."""
        return [m for m in self.mailboxes.values() if m.parent_id == parent_id]

    def path_of(self, mailbox: Mailbox) -> str:
        """Return the mailbox's name with its ancestors' before it: ``A/B``."""
        parent = self.mailboxes[mailbox.parent_id] if mailbox.parent_id else None
        return f"{self.path_of(parent)}/{mailbox.name}" if parent else mailbox.name

    def in_mailbox(self, mailbox_id: str) -> set[str]:
        """Return the ids of a mailbox's mails: the store's own set, to be read only."""
        return self._members[mailbox_id]

    # Mails

    def add_mail(self, mail: Mail) -> None:
        """Take in a new mail and index it."""
        self.mails[mail.id] = mail
        for mailbox_id in mail.mailbox_ids:
            self._members[mailbox_id].add(mail.id)
        for term in mail.terms():
            self._by_term[term].add(mail.id)
        self._mails_changed()

    def set_mailboxes(self, mail: Mail, mailbox_ids: Iterable[str]) -> None:
        """Put a mail into exactly these mailboxes; into none means that it is destroyed."""
        wanted = set(mailbox_ids)
        if not wanted:
            self.remove_mail(mail)
        elif wanted != mail.mailbox_ids:
            for mailbox_id in mail.mailbox_ids - wanted:
                self._members[mailbox_id].discard(mail.id)
            for mailbox_id in wanted - mail.mailbox_ids:
                self._members[mailbox_id].add(mail.id)
            steps = len(wanted ^ mail.mailbox_ids)
            mail.has_left = mail.has_left or not mail.mailbox_ids <= wanted
            mail.mailbox_ids = wanted
            self._mails_changed(steps)

    def set_keywords(self, mail: Mail, keywords: Iterable[str]) -> None:
        """Give a mail exactly these keywords."""
        wanted = set(keywords)
        if wanted != mail.keywords:
            mail.keywords = wanted
            self._mails_changed()

    def remove_mail(self, mail: Mail) -> None:
        """Destroy a mail."""
        del self.mails[mail.id]
        for mailbox_id in mail.mailbox_ids:
            self._members[mailbox_id].discard(mail.id)
        for term in mail.terms():
            self._by_term[term].discard(mail.id)
        self._mails_changed()

    def sent_by(self, text: str) -> set[str]:
        """Return the ids of the mails that a ``from`` filter with this text finds."""
        found = [self._by_term.get(term, set()) for term in query_terms(text)]
        return set.intersection(*found) if found else set()
