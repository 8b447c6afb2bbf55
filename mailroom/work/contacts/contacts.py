"""Contacts of one account: one interface, several implementations.

``rules/contacts/roster`` decides what has to change, in terms of neither vCard nor JSContact. An
implementation finds contacts, carries out a plan, and tells which parts failed and why.
``tests/contract/test_contacts.py`` holds all of them to the same promises.
"""

from collections.abc import Callable, Collection, Coroutine, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from mailroom.errors import MailroomError
from mailroom.rules.contacts.record import Amendment, Record
from mailroom.rules.contacts.roster import Acquaintance, Found, Group, Plan
from mailroom.rules.screening.wide import Decisions

#: How old the knowledge of groups and decisions may be if no event tells of changes: one request in
#: five minutes.
NEWS_SECONDS = 300.0
#: What a user can do whose mail server has no contacts.
NAME_ANOTHER = "name the server that has your contacts as carddav.url"

#: By sender: why that sender's part of a plan failed.
Failures = Mapping[str, MailroomError]
#: Gives the plan for the contacts that were found.
Intention = Callable[[Mapping[str, Found]], Plan]
#: Work to do once the contacts exist; it is told whose do not.
Meanwhile = Callable[[Failures], Coroutine[Any, Any, None]]


class Contacts(Protocol):
    """Every method raises TransientError, CredentialsRefused, ProtocolError and LastingTrouble
    for faults of the whole server. A fault that concerns one sender only is reported as that
    sender's failure."""

    async def refresh(self) -> None:
        """Take in what others have changed since the last time."""

    def pushed(self, state: str) -> None:
        """Note the state of contacts that the server's event names."""

    def missed(self) -> None:
        """Note that there may have been changes of which no event has told."""

    @property
    def has_news(self) -> bool:
        """Whether somebody else may have changed contacts, so that groups must be read again."""

    async def groups(self) -> tuple[Group, ...]:
        """All contact groups; of several with one name the first counts."""

    def addresses_of(self, address: str) -> tuple[str, ...]:
        """All addresses of the contact with this one, as far as known without asking the server."""

    @property
    def is_indexed(self) -> bool:
        """Whether :meth:`acquainted` answers without asking the server."""

    async def acquainted(self, addresses: Collection[str]) -> Mapping[str, Acquaintance]:
        """What the address book says about each of these (canonical) addresses, in all cards that
        have it. An address with a ``*`` belongs to nobody: in a card it would stand for others."""

    @property
    def decisions(self) -> Decisions:
        """The decisions for whole domains and lists, as last read, in categories that the
        configuration has."""

    @property
    def keeps_decisions(self) -> bool:
        """Whether any decision is kept, in whatever category, as last read; :meth:`ours` reads
        them all."""

    async def decide(self, key: str, category: str | None, *, is_list: bool) -> None:
        """Keep a decision for a whole domain or list, in canonical form: the category's name, or
        None to take the decision back. Raises SenderFailed if it cannot be kept."""

    async def forget_decisions(self) -> None:
        """Take all decisions back, including those in categories that no longer exist."""

    async def find(
        self, addresses: Collection[str], intend: Intention = lambda _: Plan()
    ) -> Mapping[str, Found]:
        """The contacts with these (canonical) addresses; addresses without one are left out.

        Of several with one address, the one in a managed group counts, else the first. ``intend``
        may be called, also more than once, to learn the plan for them, so that what it needs is
        read at the same time.
        """

    async def ours(self) -> tuple[Found, ...]:
        """All contacts that carry Mailroom's mark or note, or are in the provenance group."""

    async def obstacles(self, plan: Plan) -> Failures:
        """The failures of the plan that can be foreseen without writing anything."""

    async def apply(self, plan: Plan, meanwhile: Meanwhile | None = None) -> Failures:
        """Carry out the plan: contacts, then memberships, then releases. Nothing is written for
        senders with obstacles.

        ``meanwhile`` starts once the contacts are written, or sent to be written, and runs at the
        same time as the rest; it is told which senders have failed by then.
        """

    async def create_group(
        self, name: str, members: Collection[str] = (), record: Record | None = None
    ) -> bool:
        """Create a group of these (bare) UIDs, with setup's record if given, in one write. False
        if the group exists already. Raises SenderFailed if it cannot be created."""

    async def remove_group(self, name: str) -> bool:
        """Delete a group; False if it has members or does not exist."""

    async def record(self) -> Record | None:
        """What setup keeps on the provenance group; None without that group: then the account was
        never set up, or has been left."""

    async def amend_record(self, amend: Amendment) -> None:
        """Change that record. Raises SenderFailed if there is no provenance group."""

    async def describe(self) -> str:
        """Where the contacts are and how many, in words, for ``check``."""


def local_day(wall: float) -> str:
    """The day of an instant (Unix seconds) in the service's time zone (ISO 8601)."""
    return datetime.fromtimestamp(wall, UTC).astimezone().date().isoformat()
