"""Who was in a contact group that has been deleted, as far as it can still be found out.

The note of a contact that Mailroom created says so. For one of the user's own, the place of the
mail from its addresses is the hint, and then what an earlier version noted. The groups that still
exist outrank both: the user may have moved somebody by hand. Nothing shows who was in the screened
group.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mailroom.rules.configuration.categories import Category
from mailroom.rules.configuration.config import Config
from mailroom.rules.contacts.roster import Found, Provenance
from mailroom.rules.triage.places import resolve
from mailroom.rules.triage.verdicts import sender_of
from mailroom.wire.jmap import Mail, Mailbox


@dataclass(frozen=True, slots=True)
class FormerMember:
    """A likely former member, and what shows it."""

    uid: str
    name: str
    reason: str


def former_members(
    config: Config,
    missing: Collection[str],
    ours: Sequence[Found],
    mails: Iterable[Mail],
    mailboxes: Sequence[Mailbox],
) -> Mapping[str, tuple[FormerMember, ...]]:
    """The likely members, by the names of the ``missing`` groups. ``ours`` are the contacts of
    triaged senders, ``mails`` those in the destinations."""
    chains = _destinations(config, mailboxes)
    places = _places_by_sender(mails)
    found: dict[str, list[FormerMember]] = {name: [] for name in missing}
    for contact in ours:
        category, reason = _category(contact, config, chains, places)
        chain = config.triage.chain(category) if category else ()
        names = {*(each.contact_group for each in chain), config.mailroom.provenance_group}
        for name in names & found.keys():
            found[name].append(FormerMember(contact.uid, contact.name or contact.uid, reason))
    return {name: tuple(members) for name, members in found.items()}


def _category(
    contact: Found,
    config: Config,
    chains: Mapping[str, frozenset[str]],
    places: Mapping[str, list[frozenset[str]]],
) -> tuple[Category | None, str]:
    if config.triage.screened_group in contact.groups:
        return None, "in the screened group"
    fitting = _fitting(contact, config)
    noted = fitting.get(contact.noted or "")
    if contact.provenance is not Provenance.CREATED:
        lies_in = [place for address in contact.addresses for place in places.get(address, ())]
        found = [
            name
            for name, chain in chains.items()
            if name in fitting and any(chain <= each for each in lies_in)
        ]
        if found:
            return fitting[max(found, key=lambda name: len(chains[name]))], "by where the mail lies"
    if noted:
        return noted, "by the note"
    joined = (each for each in fitting.values() if each.contact_group in contact.groups)
    return next(joined, None), "by its other groups"


def _fitting(contact: Found, config: Config) -> dict[str, Category]:
    """The categories, by name, that agree with the groups that the contact is still in. If the user
    has moved a contact by hand, or after the note was written, it stays there."""
    triage = config.triage
    remaining = contact.groups & frozenset(triage.groups)
    return {
        category.name: category
        for category in triage.categories
        if remaining <= {each.contact_group for each in triage.chain(category)}
    }


def _destinations(config: Config, mailboxes: Sequence[Mailbox]) -> dict[str, frozenset[str]]:
    """The ids of each category's chain of destinations, for chains that exist completely."""
    chains = {}
    for category in config.triage.categories:
        chain = config.triage.chain(category)
        found = [resolve(each.destination_mailbox, mailboxes) for each in chain]
        ids = [mailbox.id for mailbox in found if mailbox]
        if len(ids) == len(chain):
            chains[category.name] = frozenset(ids)
    return chains


def _places_by_sender(mails: Iterable[Mail]) -> dict[str, list[frozenset[str]]]:
    places: dict[str, list[frozenset[str]]] = {}
    for mail in mails:
        if sender := sender_of(mail):
            places.setdefault(sender, []).append(mail.mailbox_ids)
    return places
