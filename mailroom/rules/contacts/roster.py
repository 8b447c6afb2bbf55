"""What has to become of contacts and groups, as a plan of values.

Nothing here knows vCard or JSContact, and nothing here writes: a plan is made from what was found,
and one of the implementations of ``work/contacts`` carries it out. Whoever wants something of
contacts makes a plan: a triage, taking a sender back, ``setup``, ``reset``, the live check; the dry
run shows one.

A contact that the user made is never written, whatever the plan: only groups change, and of those
only members.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from enum import Enum

from mailroom.rules.configuration.categories import Category
from mailroom.rules.configuration.config import Config


class Provenance(Enum):
    """Where a contact comes from: nothing of Mailroom's is in it; an earlier version wrote a note
    into a card of the user's; Mailroom created it, as its mark says."""

    NONE = "none"
    ADOPTED = "adopted"
    CREATED = "created"


@dataclass(frozen=True, slots=True)
class Found:
    """A contact as it was found.

    ``reference`` is how the implementation calls it, ``uid`` as the card spells it; ``addresses``
    are canonical, those with ``*`` aside, which are ``patterns``; ``groups`` the normal names of
    those that it is in, as the configuration has them, ``misspelled`` those of them that name it
    otherwise than a server's rules compare;
    ``noted`` the category that Mailroom's note in it names last; ``noted_on`` the day of that
    (ISO 8601), ``history`` all that the note names, with their days; and ``is_edited`` whether the
    user has changed what Mailroom created. What has not been looked at is None, or empty.
    """

    reference: str
    uid: str
    addresses: tuple[str, ...]
    name: str
    groups: frozenset[str] = frozenset()
    provenance: Provenance = Provenance.NONE
    noted: str | None = None
    noted_on: str | None = None
    is_edited: bool | None = None
    patterns: tuple[str, ...] = ()
    history: tuple[tuple[str, str], ...] = ()
    misspelled: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Acquaintance:
    """What the address book says of an address: the normal names of the ``groups`` that any card
    with it is in, and whether one ``is_in_book`` that Mailroom did not make."""

    groups: frozenset[str] = frozenset()
    is_in_book: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """A contact group. ``uid`` is as the card spells it, ``members`` are bare UIDs."""

    reference: str
    uid: str
    name: str
    members: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Filing:
    """What a created contact says: ``address`` and ``display_name`` are the mail's own, as
    untrusted as they came. Without a category it is one for a sender who waits."""

    address: str
    display_name: str
    category: Category | None
    today: date


@dataclass(frozen=True, slots=True)
class Change:
    """What has to become of one sender's contact.

    Of the groups in ``managed`` it is to be in exactly those in ``wanted``. With a ``filing`` a
    contact is created where there is none, and a created one gets a line in its note. Failures are
    told by ``sender``.
    """

    sender: str
    contact: Found | None
    managed: frozenset[str]
    wanted: frozenset[str] = frozenset()
    filing: Filing | None = None
    is_released: bool = False

    @property
    def joins(self) -> frozenset[str]:
        if self.contact:
            return self.wanted - (self.contact.groups - self.contact.misspelled)
        return self.wanted if self.filing else frozenset()

    @property
    def leaves(self) -> frozenset[str]:
        return (self.managed - self.wanted) & self._groups

    @property
    def creates(self) -> bool:
        return self.contact is None and self.filing is not None

    @property
    def notes(self) -> bool:
        """Whether the note of a created contact gets another line."""
        return (
            self.filing is not None
            and self.filing.category is not None
            and self.contact is not None
            and self.contact.provenance is Provenance.CREATED
            and self.contact.noted != self.filing.category.name
        )

    @property
    def releases(self) -> bool:
        """Whether what Mailroom made of the contact is undone: deleted where it was created and
        nobody has edited it since, else without mark and note."""
        return (
            self.is_released
            and self.contact is not None
            and self.contact.provenance is not Provenance.NONE
        )

    def with_contact(self, contact: Found | None) -> "Change":
        """The same, with the contact as it is by now."""
        return replace(self, contact=contact)

    @property
    def _groups(self) -> frozenset[str]:
        return self.contact.groups if self.contact else frozenset()


@dataclass(frozen=True, slots=True)
class Membership:
    """What changes in one group: the senders whose contacts join it, and leave it."""

    joins: frozenset[str] = frozenset()
    leaves: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is to be done in one go; each sender once."""

    changes: tuple[Change, ...] = ()

    @property
    def memberships(self) -> Mapping[str, Membership]:
        """By the names of the groups that change."""
        joins: dict[str, set[str]] = {}
        leaves: dict[str, set[str]] = {}
        for change in self.changes:
            for name in change.joins:
                joins.setdefault(name, set()).add(change.sender)
            for name in change.leaves:
                leaves.setdefault(name, set()).add(change.sender)
        return {
            name: Membership(frozenset(joins.get(name, ())), frozenset(leaves.get(name, ())))
            for name in sorted({*joins, *leaves})
        }

    def without(self, senders: Iterable[str]) -> "Plan":
        """What is left when these senders are not worked on."""
        excluded = set(senders)
        return Plan(tuple(each for each in self.changes if each.sender not in excluded))


def triaged(config: Config, sender: str, contact: Found | None, filing: Filing) -> Change:
    """The sender's contact is there, in exactly the groups of the category's chain, and in the
    provenance group, which holds everybody whom Mailroom has triaged."""
    assert filing.category is not None
    chain = config.triage.chain(filing.category)
    wanted = {each.contact_group for each in chain} | {config.mailroom.provenance_group}
    return Change(sender, contact, managed_groups(config), frozenset(wanted), filing)


def taken_back(
    config: Config,
    sender: str,
    contact: Found | None,
    filing: Filing | None = None,
    *,
    is_known: bool = False,
) -> Change:
    """The sender is out of all categories' groups, and new mail waits in Screener again.

    Who would be known otherwise is in the screened group from then on: as ``is_known`` says, or
    because the contact stays, being the user's or edited by him. Such a sender who has no contact
    gets one as ``filing`` says. Else a contact that Mailroom created is undone.
    """
    is_undone = (
        contact is not None
        and contact.provenance is Provenance.CREATED
        and not (is_known or contact.is_edited)
    )
    if is_undone or (contact is None and not is_known):
        return Change(sender, contact, managed_groups(config), is_released=is_undone)
    wanted = frozenset((config.triage.screened_group, config.mailroom.provenance_group))
    return Change(sender, contact, managed_groups(config), wanted, filing)


def managed_groups(config: Config) -> frozenset[str]:
    """The categories' groups, the screened group and the provenance group, by name."""
    triage = config.triage
    return frozenset((*triage.groups, triage.screened_group, config.mailroom.provenance_group))


def category_of(groups: Iterable[str], config: Config) -> Category | None:
    """The category whose whole chain of groups somebody is in, the most special of several."""
    joined, triage = set(groups), config.triage
    chains = [(triage.chain(each), each) for each in triage.categories]
    fitting = [
        (len(chain), category)
        for chain, category in chains
        if {each.contact_group for each in chain} <= joined
    ]
    return max(fitting, key=lambda pair: pair[0])[1] if fitting else None
