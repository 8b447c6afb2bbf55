"""Contacts of one account, behind one interface with several implementations.

What has to become of them is decided by ``rules/contacts/roster``, in terms of neither vCard nor
JSContact; an implementation finds contacts, carries a plan out, and tells which parts failed and
why. ``tests/contract/test_contacts.py`` holds all of them to the same promises.
"""

from collections.abc import Callable, Collection, Coroutine, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from mailroom.errors import MailroomError
from mailroom.rules.contacts.record import Amendment, Record
from mailroom.rules.contacts.roster import Acquaintance, Found, Group, Plan
from mailroom.rules.screening.wide import Decisions

#: Why a sender's part of a plan did not succeed, by the sender.
Failures = Mapping[str, MailroomError]
#: What is to be done with those that were found.
Intention = Callable[[Mapping[str, Found]], Plan]
#: Work for the time when the contacts are there; told whose are not.
Meanwhile = Callable[[Failures], Coroutine[Any, Any, None]]


class Contacts(Protocol):
    """Every method raises TransientError, CredentialsRefused, ProtocolError and LastingTrouble
    where the server as a whole does not play along; what is one sender's alone is told as that
    sender's failure."""

    async def refresh(self) -> None:
        """Take in what others have changed since the last time."""

    def pushed(self, state: str) -> None:
        """The server has told that contacts are in this state by now."""

    @property
    def has_news(self) -> bool:
        """Whether that was somebody else's doing, and groups are to be looked at again."""

    async def groups(self) -> tuple[Group, ...]:
        """All contact groups; of equal names the first one counts."""

    def addresses_of(self, address: str) -> tuple[str, ...]:
        """All addresses of the contact with this one, as far as that is known without asking."""

    @property
    def is_indexed(self) -> bool:
        """Whether :meth:`acquainted` answers without asking the server."""

    async def acquainted(self, addresses: Collection[str]) -> Mapping[str, Acquaintance]:
        """What the address book says of each of these (canonical) addresses, by all cards that have
        it. One with ``*`` in it is nobody's: in a card it would stand for others."""

    @property
    def decisions(self) -> Decisions:
        """The decisions for whole domains and lists, as they were last read; of categories that the
        configuration has."""

    @property
    def keeps_decisions(self) -> bool:
        """Whether any are kept, of whatever category, as far as was seen; :meth:`ours` sees all."""

    async def decide(self, key: str, category: str | None, *, is_list: bool) -> None:
        """Keep the decision for a whole (canonical) domain or list: the category's name, or None,
        which takes it back. Raises SenderFailed where it cannot be kept."""

    async def forget_decisions(self) -> None:
        """Take all of them back, also of categories that the configuration has no more."""

    async def find(
        self, addresses: Collection[str], intend: Intention = lambda _: Plan()
    ) -> Mapping[str, Found]:
        """The contacts with these (canonical) addresses; who has none is left out.

        Of several with one address the one in a group that Mailroom manages, else the first.
        ``intend`` may be asked, also more than once, what will become of them, so that what the
        plan needs is read in the same go.
        """

    async def ours(self) -> tuple[Found, ...]:
        """All contacts that bear something of Mailroom's: its mark, its note, or a place in the
        provenance group."""

    async def obstacles(self, plan: Plan) -> Failures:
        """What can be seen to stand in the plan's way, found without writing anything."""

    async def apply(self, plan: Plan, meanwhile: Meanwhile | None = None) -> Failures:
        """Carry the plan out: contacts, then memberships, then releases. Senders with obstacles
        are left alone altogether.

        ``meanwhile`` runs as soon as the contacts are there, or are asked for, at the same time as
        the rest; it is told which senders have failed by then.
        """

    async def create_group(
        self, name: str, members: Collection[str] = (), record: Record | None = None
    ) -> bool:
        """Make a group of these (bare) UIDs, with setup's record on it where that is given; all
        in one write. False where it turns out to be there. Raises SenderFailed where it cannot
        be made."""

    async def remove_group(self, name: str) -> bool:
        """Delete a group; False where it has members, or is not there."""

    async def record(self) -> Record | None:
        """What setup keeps on the provenance group; None where that group is not there: then the
        account was never set up, or has been left."""

    async def amend_record(self, amend: Amendment) -> None:
        """Change that record. Raises SenderFailed where there is no provenance group."""

    async def describe(self) -> str:
        """Where the contacts are, and how many, in words for ``check``."""


def local_day(wall: float) -> str:
    """The day of an instant (Unix seconds) where the service is (ISO 8601)."""
    return datetime.fromtimestamp(wall, UTC).astimezone().date().isoformat()
