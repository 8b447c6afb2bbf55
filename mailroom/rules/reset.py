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
from mailroom.rules.places import resolve
from mailroom.rules.roster import Change, Found, Plan, Provenance
from mailroom.rules.triage import Patch
from mailroom.wire.jmap import Mail, Mailbox

# Reported and carried out in portions of this size, so that progress can be seen.
_MAILS_PER_STEP = 500


class Phase(IntEnum):
    """In this order."""

    MAIL = 1
    GROUPS = 2
    PROVENANCE = 3
    CONTACTS = 4


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
class LeaveGroup:
    """The contacts that Mailroom has triaged, out of one group."""

    name: str
    plan: Plan
    phase: Phase = Phase.GROUPS

    @property
    def text(self) -> str:
        count = len(self.plan.changes)
        contacts = "1 contact" if count == 1 else f"{count} contacts"
        return f"group {self.name}: {contacts} out"


@dataclass(frozen=True, slots=True)
class ReleaseContact:
    """A contact that Mailroom created goes, unless the user has edited it; a note comes out."""

    phase: ClassVar[Phase] = Phase.CONTACTS
    change: Change

    @property
    def text(self) -> str:
        contact = self.change.contact
        assert contact is not None
        name = contact.name or contact.reference
        if contact.provenance is Provenance.ADOPTED:
            return f"contact {name}: the note of an earlier version out"
        if contact.is_edited:
            return f"contact {name}: made by Mailroom, but edited: stays, without the note"
        return f"contact {name}: made by Mailroom, nobody has edited it: deleted"


Step = RefileMails | LeaveGroup | ReleaseContact


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


def plan_contacts(ours: Sequence[Found], config: Config) -> Iterator[Step]:
    """Out of the managed groups; then out of the provenance group, without which nothing tells an
    adopted contact from the user's others; then what Mailroom made of the contacts, which tell by
    themselves."""
    for name in config.triage.groups:
        yield from _leaving(name, ours, Phase.GROUPS)
    yield from _leaving(config.mailroom.provenance_group, ours, Phase.PROVENANCE)
    for contact in ours:
        change = Change(contact.reference, contact, frozenset(), is_released=True)
        if change.releases:
            yield ReleaseContact(change)


def _leaving(name: str, ours: Sequence[Found], phase: Phase) -> Iterator[LeaveGroup]:
    changes = tuple(
        Change(contact.reference, contact, frozenset({name}))
        for contact in ours
        if name in contact.groups
    )
    if changes:
        yield LeaveGroup(name, Plan(changes), phase)


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
