"""What has to be done so that everything is as it was before Mailroom: a list of steps.

Nothing here reads or writes. Each step says of itself what it would do, so that a dry run shows
exactly what is carried out. The order makes it a convergence: what tells Mailroom's contacts from
the user's goes last.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

from mailroom.errors import LastingTrouble
from mailroom.rules.config import Config
from mailroom.rules.contact import is_unedited, provenance, without_section
from mailroom.rules.note import Provenance
from mailroom.rules.places import resolve
from mailroom.rules.triage import Patch
from mailroom.wire.jmap import Mail, Mailbox
from mailroom.wire.vcard import Card

# Reported and carried out in portions of this size, so that progress can be seen.
_MAILS_PER_STEP = 500


class Phase(IntEnum):
    """In this order."""

    MAIL = 1
    GROUPS = 2
    CONTACTS = 3
    PROVENANCE = 4


@dataclass(frozen=True, slots=True)
class RefileMails:
    """Mail back to Screener, or, where the user has filed it elsewhere, only the labels off."""

    phase: ClassVar[Phase] = Phase.MAIL
    patches: Mapping[str, Patch]
    is_screened: bool

    @property
    def text(self) -> str:
        mails = "1 mail" if len(self.patches) == 1 else f"{len(self.patches)} mails"
        return f"{mails}: {'back to Screener' if self.is_screened else 'labels off'}"


@dataclass(frozen=True, slots=True)
class EmptyGroup:
    """All contacts out of a managed group, or out of the provenance group."""

    href: str
    name: str
    member_count: int
    phase: Phase = Phase.GROUPS

    @property
    def text(self) -> str:
        contacts = "1 contact" if self.member_count == 1 else f"{self.member_count} contacts"
        return f"group {self.name}: {contacts} out"


@dataclass(frozen=True, slots=True)
class DeleteContact:
    """A contact that Mailroom made and nobody has edited."""

    phase: ClassVar[Phase] = Phase.CONTACTS
    href: str
    name: str

    @property
    def text(self) -> str:
        return f"contact {self.name}: made by Mailroom, nobody has edited it: deleted"


@dataclass(frozen=True, slots=True)
class CleanContact:
    """A contact of the user's, or one of Mailroom's that the user has edited, stays."""

    phase: ClassVar[Phase] = Phase.CONTACTS
    href: str
    name: str
    is_edited: bool

    @property
    def text(self) -> str:
        if self.is_edited:
            return f"contact {self.name}: made by Mailroom, but edited: stays, without the note"
        return f"contact {self.name}: the note out"


ContactStep = DeleteContact | CleanContact
Step = RefileMails | EmptyGroup | ContactStep


@dataclass(frozen=True, slots=True)
class Ground:
    """The ids of those managed mailboxes that are there. ``marks`` are all labels."""

    screener: str | None
    destinations: frozenset[str]
    marks: frozenset[str]

    @property
    def managed(self) -> frozenset[str]:
        """What mail is taken out of."""
        return self.destinations | self.marks


def find_ground(config: Config, mailboxes: Sequence[Mailbox]) -> Ground:
    """What is there of the managed mailboxes; those with a role are the account's own, not ours.
    Raises LastingTrouble where a configured name means one of them."""
    triage, own = config.triage, config.mailroom
    marks = (*triage.labels, own.label_unscreen, own.label_error, own.label_warning)

    def ids(names: Iterable[str]) -> frozenset[str]:
        found = [mailbox for name in names if (mailbox := resolve(name, mailboxes))]
        for mailbox in found:
            if mailbox.role is not None:
                raise LastingTrouble(
                    f"the mailbox {mailbox.name} is the account's {mailbox.role}: "
                    "mailroom never filed anything there, write another name"
                )
        return frozenset(mailbox.id for mailbox in found)

    screener = resolve(triage.screener_mailbox, mailboxes)
    return Ground(screener.id if screener else None, ids(triage.destinations), ids(marks))


def plan_mails(mails: Iterable[Mail], ground: Ground) -> Iterator[RefileMails]:
    """The steps for mail in a destination or with a label.

    Raises LastingTrouble where mail has nowhere to go: Screener is missing.
    """
    screened: dict[str, Patch] = {}
    unlabelled: dict[str, Patch] = {}
    for mail in mails:
        taken = mail.mailbox_ids & ground.managed
        if taken:
            is_screened, patch = _undone(mail, taken, ground)
            (screened if is_screened else unlabelled)[mail.id] = patch
    for patches, is_screened in ((screened, True), (unlabelled, False)):
        items = list(patches.items())
        for start in range(0, len(items), _MAILS_PER_STEP):
            yield RefileMails(dict(items[start : start + _MAILS_PER_STEP]), is_screened)


def plan_contact(href: str, card: Card, *, is_listed: bool) -> ContactStep | None:
    """What to do about a contact; None: nothing of Mailroom is in it.

    ``is_listed``: it is in the provenance group.
    """
    fn = card.first("FN")
    name = (fn.text if fn else "") or href
    was_created = is_listed or provenance(card) is Provenance.CREATED
    if was_created and is_unedited(card):
        return DeleteContact(href, name)
    if was_created or without_section(card) != card:
        return CleanContact(href, name, is_edited=was_created)
    return None


def _undone(mail: Mail, taken: frozenset[str], ground: Ground) -> tuple[bool, Patch]:
    """Whether the mail goes to Screener, and its patch. The mailbox that it keeps or gets is
    always named: a mail without any would be destroyed (seen)."""
    elsewhere = mail.mailbox_ids - taken
    is_screened = bool(taken & ground.destinations) or not elsewhere
    kept = ground.screener if is_screened else min(elsewhere)
    if kept is None:
        raise LastingTrouble(
            "the mailbox for unknown senders is missing on the server: run mailroom setup"
        )
    return is_screened, {
        f"mailboxIds/{kept}": True,
        **{f"mailboxIds/{mailbox_id}": None for mailbox_id in sorted(taken)},
    }
