"""``mailroom setup``: create the mailboxes, labels and contact groups that are missing.

It converges: the account is read and what is missing is created; anything that somebody else
creates meanwhile counts as well. One failure does not stop the rest. What existed before stays the
user's: setup records what it creates, for ``reset``.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from mailroom.engine.loop import Loop, both
from mailroom.errors import MailroomError, ProtocolError, SenderFailed, TransientError
from mailroom.rules.account.setup import (
    Item,
    ItemKind,
    ItemStatus,
    plan_groups,
    plan_mailboxes,
    with_former,
)
from mailroom.rules.configuration.config import Config
from mailroom.rules.contacts.rebuild import FormerMember, former_members
from mailroom.rules.contacts.record import Record
from mailroom.rules.contacts.roster import Found, Group, Provenance
from mailroom.rules.names import same_name
from mailroom.rules.triage.places import resolve
from mailroom.wire.filters import in_any
from mailroom.wire.jmap import Call, Mail, Mailbox, MethodError, read_counts
from mailroom.work.account.clients import Clients

Report = Callable[[Item], None]

# Errors of one creation that do not stop the others.
_SINGLE = (MethodError, SenderFailed, TransientError, ProtocolError)


class Setup:
    """The setup of one account."""

    def __init__(self, loop: Loop, config: Config, clients: Clients) -> None:
        self._loop = loop
        self._config = config
        self._mail = clients.mail
        self._contacts = clients.contacts
        self._mailboxes: tuple[Mailbox, ...] = ()
        self._former: Mapping[str, tuple[FormerMember, ...]] = {}
        self._is_first = False

    async def plan(self) -> tuple[Item, ...]:
        """Everything that the configuration names, and its status; nothing is written."""
        await both(self._loop, self._look(), self._contacts.refresh())
        groups = await self._contacts.groups()
        items = plan_groups(self._config, groups)
        missing = [item.name for item in items if item.status is ItemStatus.MISSING]
        ours = await self._contacts.ours() if missing else ()
        if self._is_strange(groups, ours):
            items = tuple(map(self._refused, items))
            return (*plan_mailboxes(self._config, self._mailboxes), *items)
        # Never set up before, so nothing here is Mailroom's.
        self._is_first = self._config.mailroom.provenance_group in missing and not ours
        self._former = await self._former_members(missing, ours) if ours else {}
        held = await self._held() if self._is_first else {}
        mailboxes = plan_mailboxes(self._config, self._mailboxes, held)
        return (*mailboxes, *(with_former(item, self._former.get(item.name, ())) for item in items))

    async def apply(self, report: Report) -> tuple[Item, ...]:
        """Create what is missing; each item is reported when it is done, and returned.

        First the record is written of what will be created, on the provenance group.
        """
        done: list[Item] = []

        def tell(item: Item) -> None:
            done.append(item)
            report(item)

        plan = await self.plan()
        if any(self._is_provenance(item) and item.status is ItemStatus.CLASH for item in plan):
            plan = tuple(map(_waiting, plan))  # without the group nothing could be recorded
        for item in plan:
            if item.status is not ItemStatus.MISSING:
                tell(item)
        missing = [item for item in plan if item.status is ItemStatus.MISSING]
        boxes = [item for item in missing if item.kind is not ItemKind.GROUP]
        groups = [item for item in missing if item.kind is ItemKind.GROUP]
        first = await self._record(boxes, groups) if missing else None
        if first:
            tell(first)
        await self._create_mailboxes(boxes, tell)
        for item in groups:
            if not first or item.name != first.name:
                tell(await self._create_group(item))
        return tuple(done)

    def _is_strange(self, groups: Sequence[Group], ours: Sequence[Found]) -> bool:
        """Whether the group with the name of the provenance group is the user's own: it has
        members, the account has no label yet, and no contact carries Mailroom's mark or note."""
        name = self._config.mailroom.provenance_group
        return (
            any(group.members for group in groups if same_name(group.name, name))
            and not self._has_labels()
            and all(each.provenance is Provenance.NONE for each in ours)
        )

    def _is_provenance(self, item: Item) -> bool:
        return item.kind is ItemKind.GROUP and item.name == self._config.mailroom.provenance_group

    def _refused(self, item: Item) -> Item:
        if not self._is_provenance(item):
            return item
        return item.with_status(
            ItemStatus.CLASH,
            "is a group of yours with members, who would count as triaged: rename it, or name "
            "another as mailroom.provenance_group",
        )

    async def _held(self) -> Mapping[str, int]:
        """How many mails the managed mailboxes hold that exist already, by name."""
        names = self._config.managed_mailboxes
        ids = {name: box.id for name in names if (box := resolve(name, self._mailboxes))}
        arguments = {"ids": sorted(set(ids.values())), "properties": ["id", "totalEmails"]}
        if not ids:
            return {}
        answers = await self._mail.call([Call("Mailbox/get", arguments, "boxes")])
        counts = read_counts(answers["boxes"])
        return {name: count for name, box in ids.items() if (count := counts.get(box, 0))}

    async def _former_members(
        self, missing: Sequence[str], ours: Sequence[Found]
    ) -> Mapping[str, tuple[FormerMember, ...]]:
        found = (resolve(name, self._mailboxes) for name in self._config.triage.destinations)
        ids = sorted({box.id for box in found if box})
        mails: tuple[Mail, ...] = ()
        if ids and any(each.provenance is not Provenance.CREATED for each in ours):
            [looked] = await self._mail.search([in_any(ids)])
            mails = () if isinstance(looked, MethodError) else looked
        return former_members(self._config, missing, ours, mails, self._mailboxes)

    async def _record(self, boxes: Sequence[Item], groups: Sequence[Item]) -> Item | None:
        """Record what will be created; returns the provenance group's item if that is created too.

        If it cannot be recorded, all is created nevertheless, and later counts as the user's.
        """
        made = frozenset(item.name for item in boxes), frozenset(item.name for item in groups)
        name = self._config.mailroom.provenance_group
        own = next((item for item in groups if item.name == name), None)
        if own:
            since = self._now() if self._is_first else None
            return await self._create_group(own, Record(since).with_made(*made))
        # If the group was made by hand, and there is no label yet, this is the first setup.
        since = None if self._has_labels() else self._now()
        with suppress(*_SINGLE):
            await self._contacts.amend_record(lambda record: record.with_made(*made, since))
        return None

    def _has_labels(self) -> bool:
        labels = self._config.triage.labels
        return any(resolve(label, self._mailboxes) for label in labels)

    def _now(self) -> str:
        now = datetime.fromtimestamp(self._loop.clock.wall(), UTC)
        return now.strftime("%Y-%m-%dT%H:%M:%SZ")

    async def _look(self) -> None:
        self._mailboxes = (await self._mail.take_reading(())).mailboxes

    async def _create_mailboxes(self, items: Sequence[Item], tell: Report) -> None:
        """Create parents before children: one request for each depth."""
        for depth in sorted({item.name.count("/") for item in items}):
            level = [item for item in items if item.name.count("/") == depth]
            orphans = [item for item in level if not self._has_parent(item.name)]
            for item in orphans:
                reason = "the mailbox above it could not be created"
                tell(item.with_status(ItemStatus.FAILED, reason))
            await self._create_level([item for item in level if item not in orphans], tell)

    async def _create_level(self, items: Sequence[Item], tell: Report) -> None:
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
                tell(item.with_status(ItemStatus.CREATED))
            elif resolve(item.name, self._mailboxes):
                # alreadyExists (RFC 8621 §2.5), invalidProperties (Cyrus), or a lost answer.
                tell(item.with_status(ItemStatus.EXISTS))
            else:
                tell(item.with_status(ItemStatus.FAILED, str(errors[key])))

    def _has_parent(self, name: str) -> bool:
        above = name.rpartition("/")[0]
        return not above or resolve(above, self._mailboxes) is not None

    def _spec(self, name: str) -> dict[str, str | bool | None]:
        """The mailbox, subscribed so that IMAP apps show it: Cyrus 3.10.2 does not subscribe by
        itself (seen)."""
        above, _, own = name.rpartition("/")
        parent = resolve(above, self._mailboxes) if above else None
        return {"name": own, "parentId": parent.id if parent else None, "isSubscribed": True}

    async def _create_group(self, item: Item, record: Record | None = None) -> Item:
        members = [former.uid for former in self._former.get(item.name, ())]
        try:
            is_new = await self._contacts.create_group(item.name, members, record)
        except _SINGLE as error:
            return item.with_status(ItemStatus.FAILED, str(error))
        return item.with_status(ItemStatus.CREATED if is_new else ItemStatus.EXISTS, item.reason)


def _waiting(item: Item) -> Item:
    """The item as it is reported when nothing is created before the group is mended."""
    is_missing = item.status is ItemStatus.MISSING
    return item.with_status(ItemStatus.FAILED, "waits for that group") if is_missing else item
