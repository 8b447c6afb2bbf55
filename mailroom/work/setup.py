"""``mailroom setup``: create the mailboxes, labels and contact groups that are missing.

A convergence: the account is read, what is missing is created, and what turns out to be there
meanwhile is as good. One failure does not keep the others from being created.
"""

from collections.abc import Callable, Sequence

from mailroom.engine.loop import Loop, both
from mailroom.errors import MailroomError, ProtocolError, SenderFailed, TransientError
from mailroom.rules.config import Config
from mailroom.rules.places import resolve
from mailroom.rules.setup import Item, Kind, Status, plan_groups, plan_mailboxes
from mailroom.wire.jmap import Mailbox, MethodError
from mailroom.work.conversations import Conversations

Report = Callable[[Item], None]

# What one creation can meet without stopping the others.
_SINGLE = (MethodError, SenderFailed, TransientError, ProtocolError)


class Setup:
    """One account to be set up."""

    def __init__(self, loop: Loop, config: Config, talks: Conversations) -> None:
        self._loop = loop
        self._config = config
        self._mail = talks.mail
        self._contacts = talks.contacts
        self._mailboxes: tuple[Mailbox, ...] = ()

    async def plan(self) -> tuple[Item, ...]:
        """Everything that the configuration names, and how it is. Nothing is written."""
        await both(self._loop, self._look(), self._contacts.refresh())
        mailboxes = plan_mailboxes(self._config, self._mailboxes)
        return (*mailboxes, *plan_groups(self._config, await self._contacts.groups()))

    async def apply(self, report: Report) -> tuple[Item, ...]:
        """Create what is missing; each item is reported when it is settled, and returned."""
        settled: list[Item] = []

        def settle(item: Item) -> None:
            settled.append(item)
            report(item)

        plan = await self.plan()
        for item in plan:
            if item.status is not Status.MISSING:
                settle(item)
        missing = [item for item in plan if item.status is Status.MISSING]
        boxes = [item for item in missing if item.kind is not Kind.GROUP]
        await self._create_mailboxes(boxes, settle)
        for item in missing:
            if item.kind is Kind.GROUP:
                settle(await self._create_group(item))
        return tuple(settled)

    async def _look(self) -> None:
        self._mailboxes = (await self._mail.open(())).mailboxes

    async def _create_mailboxes(self, items: Sequence[Item], settle: Report) -> None:
        """Parents before children: a request per depth."""
        for depth in sorted({item.name.count("/") for item in items}):
            level = [item for item in items if item.name.count("/") == depth]
            orphans = [item for item in level if not self._has_parent(item.name)]
            for item in orphans:
                settle(item.turned(Status.FAILED, "the mailbox above it could not be created"))
            await self._create_level([item for item in level if item not in orphans], settle)

    async def _create_level(self, items: Sequence[Item], settle: Report) -> None:
        keys = {f"box{number}": item for number, item in enumerate(items)}
        errors: dict[str, MailroomError] = {}
        try:
            specs = {key: self._spec(item.name) for key, item in keys.items()}
            errors |= (await self._mail.create("Mailbox", specs)).refused
        except _SINGLE as error:
            errors |= dict.fromkeys(keys, error)
        await self._look()
        for key, item in keys.items():
            if key not in errors:
                settle(item.turned(Status.CREATED))
            elif resolve(item.name, self._mailboxes):
                # alreadyExists (RFC 8621 §2.5), invalidProperties (Cyrus), or a lost answer.
                settle(item.turned(Status.EXISTS))
            else:
                settle(item.turned(Status.FAILED, str(errors[key])))

    def _has_parent(self, name: str) -> bool:
        above = name.rpartition("/")[0]
        return not above or resolve(above, self._mailboxes) is not None

    def _spec(self, name: str) -> dict[str, str | bool | None]:
        """Subscribed, so that IMAP apps show it: Cyrus 3.10 does not do that by itself (seen)."""
        above, _, own = name.rpartition("/")
        parent = resolve(above, self._mailboxes) if above else None
        return {"name": own, "parentId": parent.id if parent else None, "isSubscribed": True}

    async def _create_group(self, item: Item) -> Item:
        try:
            is_new = await self._contacts.create_group(item.name)
        except _SINGLE as error:
            return item.turned(Status.FAILED, str(error))
        return item.turned(Status.CREATED if is_new else Status.EXISTS)
