"""Mailboxes and mails in memory, with their JMAP states.

As in Cyrus, the state of every type is one number, the account's modification sequence, which
every real change raises. What is pushed is less: a change of mails alone is a change of Email
only, although Mailbox/get shows the new number as well; so the last state of Mailbox that a
client heard of may be older than the one that it would read. A change that changes nothing
leaves all as it is. Listeners hear of changes when ``publish`` is called: at the end of a method
or of a user's action.
"""

import copy
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from tests.sandbox.changes import ChangeLog, Changes
from tests.sandbox.mail import Mail, Mailbox
from tests.sandbox.profile import Profile
from tests.sandbox.threads import Threads
from tests.sandbox.words import WordIndex

#: Those that IMAP has flags of its own for (RFC 8621 §4.1.1).
_FLAGS: Final = frozenset({"$seen", "$flagged", "$answered", "$draft"})

StateListener = Callable[[Mapping[str, str]], None]

#: What a backup has nothing of: who listens, and which id is the next.
_NOT_KEPT: Final = ("_listeners", "_random")


class MailStore:
    """One account's mailboxes and mails."""

    def __init__(self, seed: int, profile: Profile) -> None:
        self.mailboxes: dict[str, Mailbox] = {}
        self.mails: dict[str, Mail] = {}
        self.sequence = 1
        #: Type → sequence of its last change, as it is pushed.
        self._changed_at = {"Email": 1, "Mailbox": 1}
        #: Sequence of the last change of a mailbox itself.
        self._mailboxes_at = 1
        self._pushes_counts = profile.pushes_counts
        self._limits = profile.limits
        self._random = random.Random(seed)
        self._members: defaultdict[str, set[str]] = defaultdict(set)
        self._by_keyword: defaultdict[str, set[str]] = defaultdict(set)
        #: Mailbox id → the keywords that any mail there has or had, as far as there was room.
        self._numbered: defaultdict[str, set[str]] = defaultdict(set)
        #: The keywords that any mail has or had, where there is room for so many in the account.
        self._known: set[str] = set()
        self._words = WordIndex(self.mails)
        self._log = ChangeLog()
        self.threads = Threads(profile.subject_prefixes)
        self._unpublished: set[str] = set()
        self._listeners: list[StateListener] = []

    # States

    @property
    def state(self) -> str:
        """The current state of every type, as JMAP shows it."""
        return str(self.sequence)

    @property
    def mailbox_state(self) -> str:
        """The state that Mailbox/get answers. Where counts are pushed, it knows nothing of them."""
        return str(self._mailboxes_at) if self._pushes_counts else self.state

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

    def changes(self, since: int, most: int | None) -> Changes | None:
        """Return what has become of mails since a state; None where that cannot be told."""
        return self._log.since(since, most, self.sequence)

    def forget_changes(self) -> None:
        """Be unable to tell what has changed since any state until now."""
        self.sequence += 1
        self._mark("Email", "Mailbox")
        self._log.forget(self.sequence)

    def backup(self) -> Mapping[str, Any]:
        """Return all that there is, states included, for ``restore``."""
        kept = {name: value for name, value in vars(self).items() if name not in _NOT_KEPT}
        return copy.deepcopy(kept)

    def restore(self, backup: Mapping[str, Any]) -> None:
        """Have all be as it was, states included; nobody is told."""
        vars(self).update(copy.deepcopy(dict(backup)))

    def touch(self, mail_id: str, steps: int = 1) -> int:
        """Count a change of a mail, which may be gone; returns the state that it came with."""
        self.sequence += steps
        changed = ("Email", "Mailbox") if self._pushes_counts else ("Email",)
        self._mark(*changed)
        return self._log.note(mail_id, self.sequence, is_gone=mail_id not in self.mails)

    def _mail_changed(self, mail: Mail, steps: int = 1) -> None:
        """A change of a mail; moving one is two steps, so that no answer names the first."""
        mail.created_at = self.touch(mail.id, steps)
        mail.changed_at = self.sequence

    def _mailboxes_changed(self) -> None:
        self.sequence += 1
        self._mailboxes_at = self.sequence
        self._mark(*(("Mailbox",) if self._pushes_counts else ("Email", "Mailbox")))

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
        """Take in a new mail, index it and find its thread."""
        self.mails[mail.id] = mail
        mail.keywords = self._kept(mail.keywords)
        for mailbox_id in mail.mailbox_ids:
            self._members[mailbox_id].add(mail.id)
            self._number(mailbox_id, mail.keywords)
        for keyword in mail.keywords:
            self._by_keyword[keyword].add(mail.id)
        self._words.add(mail)
        self.threads.add(mail)
        self._mail_changed(mail)

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
                self._number(mailbox_id, mail.keywords)
            steps = len(wanted ^ mail.mailbox_ids)
            mail.has_left = mail.has_left or not mail.mailbox_ids <= wanted
            mail.mailbox_ids = wanted
            self._mail_changed(mail, steps)

    def set_keywords(
        self, mail: Mail, keywords: Iterable[str], *, is_always_change: bool = False
    ) -> None:
        """Give a mail exactly these keywords.

        ``is_always_change``: it counts as a change of the mail even where it has them already.
        """
        wanted = self._kept(keywords)
        for keyword in wanted ^ mail.keywords:
            mails = self._by_keyword[keyword]
            (mails.add if keyword in wanted else mails.discard)(mail.id)
        for mailbox_id in mail.mailbox_ids:
            self._number(mailbox_id, wanted)
        if wanted != mail.keywords or is_always_change:
            mail.keywords = wanted
            self._mail_changed(mail)

    def remove_mail(self, mail: Mail) -> None:
        """Destroy a mail."""
        del self.mails[mail.id]
        for mailbox_id in mail.mailbox_ids:
            self._members[mailbox_id].discard(mail.id)
        for keyword in mail.keywords:
            self._by_keyword[keyword].discard(mail.id)
        self._words.remove(mail)
        self.threads.remove(mail)
        self._mail_changed(mail)

    def having(self, keyword: str) -> set[str]:
        """Return the ids of the mails with a keyword: the store's own set, to be read only."""
        return self._by_keyword[keyword]

    def has_room(self, mailbox_id: str, keywords: Iterable[str]) -> bool:
        """Say whether a mailbox can have mail with these keywords: those that any mail there had
        are numbered for good, and there are so many numbers."""
        new = self._unnumbered(mailbox_id, keywords)
        most = self._limits.max_keywords_in_mailbox
        return not new or most is None or len(self._numbered[mailbox_id]) + len(new) <= most

    def _kept(self, keywords: Iterable[str]) -> set[str]:
        """Return the keywords that are kept: where the account is full, new ones are not, and
        nobody is told (Stalwart 0.15.5, seen)."""
        wanted, most = set(keywords), self._limits.max_keywords_in_account
        if most is None:
            return wanted
        for keyword in sorted(wanted - _FLAGS - self._known):
            if len(self._known) < most:
                self._known.add(keyword)
            else:
                wanted.discard(keyword)
        return wanted

    def _unnumbered(self, mailbox_id: str, keywords: Iterable[str]) -> set[str]:
        return set(keywords) - _FLAGS - self._numbered[mailbox_id]

    def _number(self, mailbox_id: str, keywords: Iterable[str]) -> None:
        if self.has_room(mailbox_id, keywords):
            self._numbered[mailbox_id] |= self._unnumbered(mailbox_id, keywords)

    def with_terms(self, header: str, terms: Sequence[str]) -> set[str]:
        """Return the ids of the mails that a search for these terms in an address header finds."""
        return self._words.find(header, terms)
