"""What has to change in contacts and groups, as a plan of values.

Nothing here knows vCard or JSContact, and nothing here writes: a plan is made from what was found,
and one of the implementations of ``work/contacts/contacts`` carries it out. Every change of
contacts is such a plan: a triage, taking a sender back, ``setup``, ``reset``, the live check. The
dry run shows it.

No plan ever writes a contact that the user made: only groups change, and of those only the members.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from enum import Enum

from mailroom.rules.configuration.categories import Category
from mailroom.rules.configuration.config import Config


class Provenance(Enum):
    """Where a contact comes from. NONE: nothing in it is Mailroom's; ADOPTED: an earlier version
    wrote a note into a card of the user's; CREATED: Mailroom created it, as its mark says."""

    NONE = "none"
    ADOPTED = "adopted"
    CREATED = "created"


@dataclass(frozen=True, slots=True)
class Found:
    """A contact as it was found.

    ``reference`` is the implementation's key for it, ``uid`` is as the card spells it;
    ``addresses`` are canonical; those with ``*`` are in ``patterns`` instead. ``groups`` are the
    normal names of the groups that it is in, and ``misspelled`` those of them that name it in a
    spelling that a server's rules do not match. ``noted`` is the last category in Mailroom's note,
    ``noted_on`` its day (ISO 8601), ``history`` all that the note names, with their days;
    ``is_edited`` says whether the user has changed what Mailroom created. What was not looked at is
    None or empty.
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
    """What the address book says about an address: the normal names of all ``groups`` that a card
    with it is in; ``is_in_book``: whether Mailroom did not make one of these cards."""

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
    """What a contact that is created says: ``address`` and ``display_name`` come from the mail,
    untrusted. Without a category it is for a sender who waits."""

    address: str
    display_name: str
    category: Category | None
    today: date


@dataclass(frozen=True, slots=True)
class Change:
    """How one sender's contact has to change.

    Of the groups in ``managed`` it shall be in exactly those in ``wanted``. With a ``filing``, a
    missing contact is created, and a created one gets a line in its note. Failures name the
    ``sender``.
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
        """Whether to undo what Mailroom did to the contact: delete it if Mailroom created it and
        nobody has edited it since, else remove mark and note."""
        return (
            self.is_released
            and self.contact is not None
            and self.contact.provenance is not Provenance.NONE
        )

    def with_contact(self, contact: Found | None) -> "Change":
        """The same change, with the contact as it is now."""
        return replace(self, contact=contact)

    @property
    def _groups(self) -> frozenset[str]:
        return self.contact.groups if self.contact else frozenset()


@dataclass(frozen=True, slots=True)
class Membership:
    """What changes in one group: the senders whose contacts join it and leave it."""

    joins: frozenset[str] = frozenset()
    leaves: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Plan:
    """All changes to make in one go; each sender once."""

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
        """The plan without these senders."""
        excluded = set(senders)
        return Plan(tuple(each for each in self.changes if each.sender not in excluded))


def triaged(config: Config, sender: str, contact: Found | None, filing: Filing) -> Change:
    """The change of a triage: the sender has a contact, in exactly the groups of the category's
    chain and in the provenance group, which holds everybody whom Mailroom has triaged."""
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
    """The change that takes a sender back: out of all categories' groups, and new mail waits in
    Screener again.

    A sender who would be known otherwise joins the screened group: if ``is_known``, or if the
    contact stays because it is the user's or edited by the user. If such a sender has no contact,
    ``filing`` says which one to create. In all other cases a contact that Mailroom created is
    undone.
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
    """The category whose whole chain of groups is among these, of several the one with the
    longest."""
    joined, triage = set(groups), config.triage
    chains = [(triage.chain(each), each) for each in triage.categories]
    fitting = [
        (len(chain), category)
        for chain, category in chains
        if {each.contact_group for each in chain} <= joined
    ]
    return max(fitting, key=lambda pair: pair[0])[1] if fitting else None
