"""What a sender can be triaged to: categories, and the chains they form.

A category names three things on the server: the label that asks for it, the contact group that
its senders join and the mailbox where their mail is filed. A child adds the groups and destinations
of its ancestors to its own.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mailroom.rules.names import with_normal_names

ContactType = Literal["company", "person"]

# The roles of mailboxes (RFC 8621 §2) that no category may use.
ROLES = frozenset({"inbox", "archive", "trash", "junk", "sent", "drafts"})


@dataclass(frozen=True, slots=True)
class Category:
    """One thing that a sender can be triaged to; the names are those on the server."""

    name: str
    label: str
    contact_group: str
    destination_mailbox: str
    contact_type: ContactType = "company"
    parent: str | None = None
    add_to_inbox: bool = False


def category_from(entry: str | Mapping[str, Any]) -> Category:
    """Return the category that a list item of the configuration means: a name, or a mapping.

    What is left out follows from the name: ``Paper Trail`` has the label ``@ToPaperTrail``, the
    contact group ``Paper Trail`` and the destination ``Paper Trail``. Names are in normal form.
    """
    given = with_normal_names({"name": entry} if isinstance(entry, str) else entry)
    name = given["name"]
    implied = {
        "label": "@To" + "".join(name.split()),
        "contact_group": name,
        "destination_mailbox": name,
    }
    return Category(**{**implied, **given})


DEFAULT_CATEGORIES = (
    category_from({"name": "Imbox", "add_to_inbox": True}),
    category_from("Feed"),
    category_from("Paper Trail"),
    category_from("Jail"),
    category_from(
        {"name": "Person", "parent": "Imbox", "contact_type": "person", "add_to_inbox": True}
    ),
    category_from({"name": "Billboard", "parent": "Paper Trail"}),
    category_from({"name": "Truck", "parent": "Paper Trail"}),
)


@dataclass(frozen=True, slots=True)
class Triage:
    """Section ``triage``: where unknown mail waits and what a sender can become.

    ``own_addresses`` are lower-cased. People in ``screened_group`` wait although they would be
    known; ``by_moving``: whether moving a mail to a destination triages its sender. Parents exist
    and form no cycles: the reader of the configuration has checked it.
    """

    screener_mailbox: str = "Screener"
    categories: tuple[Category, ...] = DEFAULT_CATEGORIES
    own_addresses: tuple[str, ...] = ()
    screened_group: str = "Mailroom screened"
    by_moving: bool = True

    def category(self, name: str) -> Category:
        """Return the category of this name; ``KeyError`` if there is none."""
        for category in self.categories:
            if category.name == name:
                return category
        raise KeyError(name)

    def chain(self, category: Category) -> tuple[Category, ...]:
        """Return the category and its ancestors, nearest first."""
        chain = [category]
        while (parent := chain[-1].parent) is not None:
            chain.append(self.category(parent))
        return tuple(chain)

    @property
    def labels(self) -> tuple[str, ...]:
        """The categories' labels, in the order of the file."""
        return tuple(category.label for category in self.categories)

    @property
    def destinations(self) -> tuple[str, ...]:
        """The categories' destination mailboxes, each once, in the order of the file."""
        return _each_once(category.destination_mailbox for category in self.categories)

    @property
    def groups(self) -> tuple[str, ...]:
        """The managed contact groups, each once, in the order of the file."""
        return _each_once(category.contact_group for category in self.categories)


def _each_once(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
