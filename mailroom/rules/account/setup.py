"""What an account needs: every mailbox, label and contact group, and whether it exists.

Nothing here reads or writes; ``mailroom setup`` shows the list, and ``--apply`` creates what is
missing. A name that already means something else is a clash, which only the user can resolve.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from mailroom.rules.configuration.config import Config
from mailroom.rules.contacts.rebuild import FormerMember
from mailroom.rules.contacts.roster import Group
from mailroom.rules.names import folded_name, same_name
from mailroom.rules.triage.places import resolve
from mailroom.rules.words import count
from mailroom.wire.jmap import Mailbox

# How many members of a deleted group are named; more would fill the screen.
_NAMED = 5
_EMPTY: Mapping[str, int] = {}


class ItemKind(StrEnum):
    """What an item is to the user. In JMAP a label is a mailbox as well."""

    MAILBOX = "mailbox"
    LABEL = "label"
    GROUP = "contact group"


class ItemStatus(StrEnum):
    """An item's status, in the words that the user reads."""

    EXISTS = "exists"
    MISSING = "will create"
    CREATED = "created"
    CLASH = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that the configuration names. ``reason`` explains the status where needed."""

    kind: ItemKind
    name: str
    purpose: str
    status: ItemStatus
    reason: str = ""

    @property
    def is_fault(self) -> bool:
        return self.status in (ItemStatus.CLASH, ItemStatus.FAILED)

    def with_status(self, status: ItemStatus, reason: str = "") -> "Item":
        return replace(self, status=status, reason=reason)


def plan_mailboxes(
    config: Config, mailboxes: Sequence[Mailbox], held: Mapping[str, int] = _EMPTY
) -> tuple[Item, ...]:
    """Every managed mailbox, each after its missing parents. ``held`` says how many mails are in
    the mailboxes that the user had before Mailroom."""
    items: dict[str, Item] = {}
    lookup = _Lookup(config, mailboxes, held)
    for kind, name, purpose in _wanted_mailboxes(config):
        for parent in lookup.missing_parents(name):
            items.setdefault(parent, lookup.item(ItemKind.MAILBOX, parent, f"holds {name}"))
        items[name] = lookup.item(kind, name, purpose)
    return tuple(items.values())


def plan_groups(config: Config, groups: Sequence[Group]) -> tuple[Item, ...]:
    """Every managed contact group, with the provenance group: everybody whom Mailroom has triaged.
    If that one is missing, the others and their members were the user's before."""
    purposes: dict[str, str] = {}
    for category in config.triage.categories:
        purposes.setdefault(category.contact_group, f"senders in {category.name}")
    purposes[config.triage.screened_group] = "people who wait although they would be known"
    provenance = config.mailroom.provenance_group
    purposes[provenance] = "everybody whom Mailroom has triaged"
    is_first = not any(same_name(group.name, provenance) for group in groups)
    return tuple(
        Item(ItemKind.GROUP, name, purpose, *_group_status(name, groups, is_first=is_first))
        for name, purpose in purposes.items()
    )


def _wanted_mailboxes(config: Config) -> Iterator[tuple[ItemKind, str, str]]:
    triage, marks = config.triage, config.mailroom
    yield ItemKind.MAILBOX, triage.screener_mailbox, "mail of unknown senders"
    for category in triage.categories:
        yield ItemKind.LABEL, category.label, f"asks for {category.name}"
    yield ItemKind.LABEL, marks.label_unscreen, "takes a sender back"
    yield ItemKind.LABEL, marks.label_domain, "decides for the whole domain"
    yield ItemKind.LABEL, marks.label_list, "decides for the mailing list"
    yield ItemKind.LABEL, marks.label_error, "Mailroom could not do it"
    yield ItemKind.LABEL, marks.label_warning, "Mailroom has a doubt"
    for name in triage.destinations:
        owners = [each.name for each in triage.categories if each.destination_mailbox == name]
        yield ItemKind.MAILBOX, name, f"mail of {' and '.join(owners)}"


def _group_status(name: str, groups: Sequence[Group], *, is_first: bool) -> tuple[ItemStatus, str]:
    called = [group for group in groups if same_name(group.name, name)]
    if len(called) == 1:
        members = len(called[0].members) if is_first else 0
        stay = f"has {count(members, 'member')}, who {'stays' if members == 1 else 'stay'} in it"
        return ItemStatus.EXISTS, stay if members else ""
    if called:
        return ItemStatus.CLASH, (
            f"there are {len(called)} groups of this name: rename or delete the others"
        )
    folded = folded_name(name)
    return _case_clash([group.name for group in groups if folded_name(group.name) == folded])


def _case_clash(others: Sequence[str]) -> tuple[ItemStatus, str]:
    if not others:
        return ItemStatus.MISSING, ""
    return ItemStatus.CLASH, (
        f"there is {others[0]}, which differs only in upper and lower case: rename it, or write "
        "its name in the configuration"
    )


def with_former(item: Item, former: Sequence[FormerMember]) -> Item:
    """The item of a deleted group, and who will be in it again."""
    if not former:
        return item
    named = [f"{each.name} ({each.reason})" for each in former[:_NAMED]]
    more = [f"{len(former) - _NAMED} more"] if len(former) > _NAMED else []
    return replace(item, reason=f"with {', '.join(named + more)}")


class _Lookup:
    """Names on one server."""

    def __init__(
        self, config: Config, mailboxes: Sequence[Mailbox], held: Mapping[str, int]
    ) -> None:
        self._mailboxes = mailboxes
        self._held = held
        self._by_id = {mailbox.id: mailbox for mailbox in mailboxes}
        self._paths = {
            found.id: name
            for name in config.managed_mailboxes
            if "/" in name and (found := resolve(name, mailboxes))
        }

    def item(self, kind: ItemKind, name: str, purpose: str) -> Item:
        return Item(kind, name, purpose, *self._status(name))

    def missing_parents(self, name: str) -> Iterator[str]:
        """The mailboxes above ``name`` that are missing, outermost first."""
        if resolve(name, self._mailboxes) is None:
            parts = name.split("/")
            paths = ("/".join(parts[:depth]) for depth in range(1, len(parts)))
            yield from (path for path in paths if resolve(path, self._mailboxes) is None)

    def _status(self, name: str) -> tuple[ItemStatus, str]:
        found = resolve(name, self._mailboxes)
        if found is None or self._is_of_another(name, found):
            return _case_clash(self._alike(name))
        if found.role is not None:
            return ItemStatus.CLASH, f"is the account's {found.role}: write another name"
        twins = [box for box in self._children(found.parent_id) if same_name(box.name, found.name)]
        if len(twins) > 1:
            return ItemStatus.CLASH, (
                f"there are {len(twins)} of this name, spelled with different characters that look "
                "the same: rename or delete the others"
            )
        held = self._held.get(name, 0)
        stays = f"holds {count(held, 'mail')}, which {'stays' if held == 1 else 'stay'} yours"
        if found.parent_id is None or "/" in name:
            return ItemStatus.EXISTS, stays if held else ""
        paths = sorted(self._path(box) for box in self._mailboxes if same_name(box.name, name))
        if len(paths) > 1:
            return ItemStatus.CLASH, (
                f"there are several ({', '.join(paths)}): write the whole path of one"
            )
        return ItemStatus.EXISTS, f"is {paths[0]}" + (f", {stays}" if held else "")

    def _is_of_another(self, name: str, found: Mailbox) -> bool:
        """Whether a name without a path matched a mailbox that the configuration names by its path.
        Then the name means a mailbox of its own, at the top."""
        return "/" not in name and found.id in self._paths

    def _alike(self, name: str) -> list[str]:
        """The siblings of ``name`` that differ from it only in case."""
        above, _, own = name.rpartition("/")
        parent = resolve(above, self._mailboxes) if above else None
        if above and parent is None:
            return []
        siblings = self._children(parent.id if parent else None)
        return [self._path(box) for box in siblings if folded_name(box.name) == folded_name(own)]

    def _children(self, parent_id: str | None) -> list[Mailbox]:
        return [box for box in self._mailboxes if box.parent_id == parent_id]

    def _path(self, mailbox: Mailbox) -> str:
        parent = self._by_id.get(mailbox.parent_id or "")
        return f"{self._path(parent)}/{mailbox.name}" if parent else mailbox.name
