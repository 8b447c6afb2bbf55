"""The steps that remove everything of Mailroom's from an account.

Nothing here reads or writes. Each step describes itself, so a dry run shows exactly what will be
carried out. Only what is Mailroom's is touched: contacts that it triaged, their mail in Screener
and the destinations, mail in Screener that bears its keyword or came after the first setup, labels,
and keywords.

An interrupted reset can simply be repeated: what tells Mailroom's from the user's goes last.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

from mailroom.errors import LastingTrouble
from mailroom.rules.configuration.config import Config
from mailroom.rules.contacts.record import Record
from mailroom.rules.contacts.roster import Change, Found, Group, Plan, Provenance, managed_groups
from mailroom.rules.names import normal_name
from mailroom.rules.screening.wide import Decisions
from mailroom.rules.triage.drags import DIGEST, WAITING, with_keywords
from mailroom.rules.triage.places import resolve
from mailroom.rules.triage.verdicts import MailPatch, sender_of
from mailroom.rules.words import count
from mailroom.wire.jmap import Mail, Mailbox

# Mail is moved and reported in portions of this size, so that the user sees progress.
_MAILS_PER_STEP = 500


class Stage(IntEnum):
    """The order of the steps; a stage begins when all of the one before has succeeded."""

    RULES = 1
    MAIL = 2
    GROUPS = 3
    PROVENANCE = 4
    CONTACTS = 5
    DOOR = 6
    REMOVE = 7
    RECORD = 8


@dataclass(frozen=True, slots=True)
class RemoveRules:
    """Remove the routing rules that setup wrote, so that they file no mail during the reset."""

    stage: ClassVar[Stage] = Stage.RULES

    @property
    def text(self) -> str:
        return "routing rules: the script mailroom is switched off and removed"


@dataclass(frozen=True, slots=True)
class RefileMails:
    """Take mail out of Mailroom's mailboxes. ``target`` names the mailbox that it moves to; None:
    it is in another mailbox already and only leaves ours. ``mailboxes`` are the ids of those that
    each mail was in when the step was planned."""

    stage: ClassVar[Stage] = Stage.MAIL
    patches: Mapping[str, MailPatch]
    target: str | None
    mailboxes: Mapping[str, frozenset[str]]

    @property
    def text(self) -> str:
        what = f"to {self.target}" if self.target else "kept in other mailboxes, out of Mailroom's"
        return f"{count(len(self.patches), 'mail')}: {what}"


@dataclass(frozen=True, slots=True)
class LeaveGroup:
    """Take the contacts that Mailroom triaged out of one group."""

    name: str
    plan: Plan
    stage: Stage = Stage.GROUPS

    @property
    def text(self) -> str:
        return f"group {self.name}: {count(len(self.plan.changes), 'contact')} removed"


@dataclass(frozen=True, slots=True)
class ForgetDecisions:
    """Delete the cards that keep the decisions for whole domains and lists."""

    stage: ClassVar[Stage] = Stage.GROUPS

    @property
    def text(self) -> str:
        return "decisions for whole domains and lists: forgotten"


@dataclass(frozen=True, slots=True)
class ReleaseContact:
    """Delete a contact that Mailroom created; if the user has edited it, only remove its note."""

    stage: ClassVar[Stage] = Stage.CONTACTS
    change: Change

    @property
    def text(self) -> str:
        contact = self.change.contact
        assert contact is not None
        name = contact.name or contact.reference
        if contact.provenance is Provenance.ADOPTED:
            return f"contact {name}: the note of an earlier version is removed (by JMAP it stays)"
        if contact.is_edited:
            return f"contact {name}: made by Mailroom, but edited: stays, without the note"
        return f"contact {name}: made by Mailroom and not edited: deleted"


@dataclass(frozen=True, slots=True)
class ForgetDoor:
    """Forget since when the door decides. A later setup starts from its own day, and mail that came
    to Inbox in between stays there."""

    stage: ClassVar[Stage] = Stage.DOOR

    @property
    def text(self) -> str:
        return "new mail: no longer decided about"


@dataclass(frozen=True, slots=True)
class RemoveMailbox:
    """Remove a mailbox that setup made, if it is empty by then."""

    stage: ClassVar[Stage] = Stage.REMOVE
    id: str
    name: str

    @property
    def text(self) -> str:
        return f"mailbox {self.name}: removed, if nothing is in it"


@dataclass(frozen=True, slots=True)
class RemoveGroup:
    """Remove a contact group that setup made, if nobody is in it by then."""

    name: str
    stage: Stage = Stage.REMOVE

    @property
    def text(self) -> str:
        return f"group {self.name}: removed, if nobody is in it"


Step = (
    RemoveRules
    | RefileMails
    | LeaveGroup
    | ForgetDecisions
    | ReleaseContact
    | ForgetDoor
    | RemoveMailbox
    | RemoveGroup
)


@dataclass(frozen=True, slots=True)
class ResetPlaces:
    """Ids of the managed mailboxes that exist, and where their mail goes. ``labels`` include the
    error and warning labels."""

    screener: str | None
    destinations: frozenset[str]
    labels: frozenset[str]
    inbox: Mailbox
    filed: Mailbox

    @property
    def managed(self) -> frozenset[str]:
        screener = {self.screener} if self.screener else set()
        return self.destinations | self.labels | screener


@dataclass(frozen=True, slots=True)
class TriagedMail:
    """What shows that mail is Mailroom's: its sender or domain is decided about, or its id is in
    ``listed``, the mail of lists that are. ``since``: from when on all mail that comes to Screener
    is Mailroom's; "" if nobody knows (:class:`Record`), None if it never was."""

    senders: AbstractSet[str]
    since: str | None
    decisions: Decisions
    listed: AbstractSet[str] = frozenset()

    def has(self, mail: Mail) -> bool:
        """Whether a decision has filed it or makes it wait."""
        sender = sender_of(mail)
        return mail.id in self.listed or (
            sender is not None
            and (sender in self.senders or self.decisions.of_domain(sender) is not None)
        )


def since_of(record: Record | None) -> str | None:
    """From when on mail in Screener is Mailroom's, as in :class:`TriagedMail`."""
    return None if record is None else record.since or ""


def find_reset_places(
    config: Config, mailboxes: Sequence[Mailbox], target: str | None
) -> ResetPlaces:
    """The mailboxes that exist. ``target`` names the one for filed mail; None: the one with the
    role archive, or else Inbox. Raises LastingTrouble if mail would have nowhere to go, or if a
    configured name means a mailbox with a role, which is the account's own."""
    triage, own = config.triage, config.mailroom
    marks = (
        *triage.labels,
        *(own.label_unscreen, *own.companions, own.label_error, own.label_warning),
    )

    def ids(names: Iterable[str]) -> frozenset[str]:
        found = [mailbox for name in names if (mailbox := resolve(name, mailboxes))]
        for mailbox in found:
            if mailbox.role is not None:
                raise LastingTrouble(
                    f"the mailbox {mailbox.name} is the account's {mailbox.role}: "
                    "mailroom never filed anything there, write another name"
                )
        return frozenset(mailbox.id for mailbox in found)

    inbox = resolve("inbox", mailboxes)
    if inbox is None:
        raise LastingTrouble("the account has no Inbox for the waiting mail to go to")
    archive = next((box for box in mailboxes if box.role == "archive"), inbox)
    filed = archive if target is None else resolve(target, mailboxes)
    if filed is None:
        raise LastingTrouble(f"there is no mailbox {target}: create it, or name another with --to")
    screener = resolve(triage.screener_mailbox, mailboxes)
    places = ResetPlaces(
        screener.id if screener else None, ids(triage.destinations), ids(marks), inbox, filed
    )
    if filed.id in places.managed:
        raise LastingTrouble(
            f"mail is taken out of the mailbox {filed.name} itself: name another with --to"
        )
    return places


def plan_mails(
    mails: Iterable[Mail], arrivals: Mapping[str, str], places: ResetPlaces, triaged: TriagedMail
) -> Iterator[RefileMails]:
    """The steps for mail in a managed mailbox or with a keyword of ours. ``arrivals`` say when each
    mail in Screener came."""
    patches: dict[str | None, dict[str, MailPatch]] = {
        places.inbox.name: {}, places.filed.name: {}, None: {},
    }  # fmt: skip
    mailboxes: dict[str, frozenset[str]] = {}
    for mail in mails:
        taken = _taken(mail, arrivals.get(mail.id), places, triaged)
        target = _target(mail, taken, places)
        kept = target.id if target else min(mail.mailbox_ids - taken)
        patch = {**(_patch(kept, taken) if taken else {}), **_without_keywords(mail)}
        if patch:
            patches[target.name if target else None][mail.id] = patch
            mailboxes[mail.id] = mail.mailbox_ids
    for name, found in patches.items():
        items = list(found.items())
        for start in range(0, len(items), _MAILS_PER_STEP):
            portion = dict(items[start : start + _MAILS_PER_STEP])
            yield RefileMails(portion, name, {mail_id: mailboxes[mail_id] for mail_id in portion})


def _without_keywords(mail: Mail) -> MailPatch:
    digest = {f"keywords/{DIGEST}": None} if DIGEST in mail.keywords else {}
    return {**with_keywords(mail), **digest}


def plan_contacts(ours: Sequence[Found], config: Config) -> Iterator[Step]:
    """Contacts leave the categories' groups and the screened one first, then the provenance group,
    which alone tells an adopted contact from the user's others. The contacts that Mailroom made go
    last: their own cards show who made them."""
    for name in (*config.triage.groups, config.triage.screened_group):
        yield from _leaving(name, ours, Stage.GROUPS)
    yield from _leaving(config.mailroom.provenance_group, ours, Stage.PROVENANCE)
    for contact in ours:
        change = Change(contact.reference, contact, frozenset(), is_released=True)
        if change.releases:
            yield ReleaseContact(change)


def plan_door(record: Record | None) -> Iterator[Step]:
    """The step that forgets what is kept about new mail."""
    if record is not None and record.door is not None:
        yield ForgetDoor()


def plan_removal(
    record: Record | None, mailboxes: Sequence[Mailbox], groups: Iterable[Group], config: Config
) -> Iterator[Step]:
    """What setup made, by its record, children before parents. The provenance group, which has the
    record, goes last of all: without it another run would not know what to remove."""
    if record is None:
        return
    for name in sorted(record.mailboxes, key=lambda name: (-name.count("/"), name)):
        mailbox = resolve(name, mailboxes)
        if mailbox is not None and mailbox.role is None:
            yield RemoveMailbox(mailbox.id, name)
    provenance = config.mailroom.provenance_group
    for name in sorted(record.groups & {normal_name(group.name) for group in groups}):
        yield RemoveGroup(name, Stage.RECORD if name == provenance else Stage.REMOVE)


def kept(
    record: Record | None, mailboxes: Sequence[Mailbox], groups: Iterable[Group], config: Config
) -> Iterator[str]:
    """Lines for the user about what exists but was not made by setup: it stays."""
    made = record or Record()
    there = {normal_name(group.name) for group in groups}
    for name in config.managed_mailboxes:
        if name not in made.mailboxes and resolve(name, mailboxes):
            yield f"mailbox {name}: setup did not make it: stays"
    for name in sorted(managed_groups(config) & there - made.groups):
        yield f"group {name}: setup did not make it: stays"


def forgotten(record: Record | None, mailboxes: Sequence[Mailbox], config: Config) -> Iterator[str]:
    """Lines for the user about mailboxes that setup made under names that the configuration has no
    longer: nothing shows which of their mail is Mailroom's. Parents of other mailboxes are left
    out."""
    made = record.mailboxes if record else frozenset()
    for name in sorted(made - set(config.managed_mailboxes)):
        is_parent = any(other.startswith(f"{name}/") for other in made)
        if resolve(name, mailboxes) and not is_parent:
            yield (
                f"mailbox {name}: setup made it, but the configuration no longer names it: its "
                "mail stays in it"
            )


def _leaving(name: str, ours: Sequence[Found], stage: Stage) -> Iterator[LeaveGroup]:
    changes = tuple(
        Change(contact.reference, contact, frozenset({name}))
        for contact in ours
        if name in contact.groups
    )
    if changes:
        yield LeaveGroup(name, Plan(changes), stage)


def _taken(
    mail: Mail, arrived: str | None, places: ResetPlaces, triaged: TriagedMail
) -> frozenset[str]:
    """The mailboxes that the mail is taken out of."""
    labels = mail.mailbox_ids & places.labels
    if triaged.has(mail):
        return mail.mailbox_ids & places.managed
    is_since = triaged.since is not None and (arrived or "") >= triaged.since
    is_screened = is_since or WAITING in mail.keywords
    waits = mail.mailbox_ids & {places.screener} if is_screened else frozenset()
    return frozenset(each for each in labels | waits if each)


def _target(mail: Mail, taken: frozenset[str], places: ResetPlaces) -> Mailbox | None:
    """Where the mail goes: waiting mail to Inbox, filed mail to its target. None: it is elsewhere
    too."""
    if mail.mailbox_ids - taken:
        return None
    is_waiting = places.screener in taken or not taken & places.destinations
    return places.inbox if is_waiting else places.filed


def _patch(kept: str, taken: frozenset[str]) -> MailPatch:
    """The patch always names the mailbox that the mail keeps or gets: Cyrus 3.10.2 destroys a mail
    that is left in none (seen)."""
    return {
        f"mailboxIds/{kept}": True,
        **{f"mailboxIds/{mailbox_id}": None for mailbox_id in sorted(taken)},
    }
