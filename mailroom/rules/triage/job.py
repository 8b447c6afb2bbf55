"""One sender's triage: what was found, and what has to be done about it. Values only."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from mailroom.rules.configuration.categories import Category
from mailroom.rules.configuration.config import Config
from mailroom.rules.contacts.roster import Change, Filing, Found, category_of, taken_back, triaged
from mailroom.rules.names import name_mismatch
from mailroom.rules.triage.places import Places
from mailroom.rules.triage.verdicts import MailPatch, Tap, filed
from mailroom.wire.jmap import Mail


@dataclass(frozen=True, slots=True)
class Job:
    """``waiting`` is the sender's other mail that was found; ``previous`` is the sender's category
    before, by the contact's groups."""

    tap: Tap
    change: Change
    waiting: tuple[Mail, ...] = ()
    previous: Category | None = None

    @property
    def sender(self) -> str:
        return self.tap.sender

    @property
    def category(self) -> Category | None:
        return self.tap.category

    @property
    def contact(self) -> Found | None:
        return self.change.contact

    @property
    def addresses(self) -> frozenset[str]:
        """All addresses of the contact: they belong together."""
        further = self.contact.addresses if self.contact else ()
        return frozenset((self.sender, *further))

    @property
    def other_name(self) -> str | None:
        """The first display name on the tapped mail that differs from that of an existing contact;
        None if there is none."""
        if self.category is None or self.contact is None:
            return None
        known = self.contact.name
        return next((name for name in self.tap.names if name_mismatch(name, known)), None)

    def patch(self, mail: Mail, places: Places, *, may_warn: bool) -> MailPatch:
        """The patch that files the mail. Only tapped mail gets a warning; an existing one stays for
        as long as the name differs."""
        is_marked = mail.id in self.tap.mail_ids or places.warning in mail.mailbox_ids
        warns = may_warn and self.other_name is not None and is_marked
        return filed(mail, self.tap, places, warn=warns)


def job_for(
    tap: Tap, contact: Found | None, config: Config, today: date, *, is_known: bool = False
) -> Job:
    """The job of a tap by a sender with this contact, or none. ``is_known``: whether the sender
    would not wait if that contact and its groups were not there."""
    previous = category_of(contact.groups, config) if contact else None
    name = next((name for name in tap.names if name.strip()), "")
    filing = Filing(tap.address, name, tap.category, today)
    if tap.category is None:
        change = taken_back(config, tap.sender, contact, filing, is_known=is_known)
    else:
        change = triaged(config, tap.sender, contact, filing)
    return Job(tap, change, previous=previous)


def with_mail(job: Job, mails: Mapping[str, Sequence[Mail]], apart: Collection[str] = ()) -> Job:
    """The job with the waiting mail of its addresses (``mails``, by address) added, except for the
    mails ``apart``, which ask for something else."""
    known = {mail.id for mail in (*job.tap.mails, *job.waiting)} | set(apart)
    further = [
        mail
        for address in sorted(job.addresses)
        for mail in mails.get(address, ())
        if mail.id not in known
    ]
    return replace(job, waiting=(*job.waiting, *further))
