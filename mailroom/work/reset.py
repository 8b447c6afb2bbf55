"""``mailroom reset``: undo everything that Mailroom did (docs/behaviour.md).

A convergence, as a triage is: interrupted anywhere and run again it ends in the same state. Mail
is never deleted; contacts only as they were read (If-Match).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from mailroom.engine.loop import Loop, both, together
from mailroom.errors import SenderFailed, TransientError
from mailroom.rules.addressbook import Indexed
from mailroom.rules.config import Config
from mailroom.rules.contact import without_section
from mailroom.rules.groups import member_uids, with_members
from mailroom.rules.note import Provenance
from mailroom.rules.reset import (
    ContactStep,
    DeleteContact,
    EmptyGroup,
    Phase,
    RefileMails,
    Step,
    find_ground,
    plan_contact,
    plan_mails,
)
from mailroom.wire.jmap import MethodError
from mailroom.wire.vcard import Card, UnsafeCard
from mailroom.work.cards import Stored, usable
from mailroom.work.conversations import Conversations
from mailroom.work.mail import in_any

_TRIES = 5
_PARALLEL = 8
# What one step can meet without stopping the others.
_SINGLE = (MethodError, SenderFailed, UnsafeCard, TransientError)


@dataclass(frozen=True, slots=True)
class Fault:
    """A step that has not succeeded, wholly or for some mails."""

    step: Step
    reason: str


class Reset:
    """One account to be brought back to what it was before."""

    def __init__(self, loop: Loop, config: Config, talks: Conversations) -> None:
        self._loop = loop
        self._config = config
        self._mail = talks.mail
        self._contacts = talks.contacts
        self._cards: dict[str, Stored | UnsafeCard] = {}
        self._listed: frozenset[str] = frozenset()

    async def plan(self) -> tuple[Step, ...]:
        """The steps, in their order. Nothing is written."""
        mails, contacts = await both(self._loop, self._plan_mails(), self._plan_contacts())
        return (*mails, *contacts)

    async def apply(
        self, steps: Sequence[Step], report: Callable[[Step], None]
    ) -> tuple[Fault, ...]:
        """Carry the steps out; each is reported when it is over. Returns what failed.

        The provenance group stays as long as a contact does that should have been worked on.
        """
        faults: list[Fault] = []

        async def one(step: Step) -> None:
            try:
                await self._carry_out(step)
            except _SINGLE as error:
                faults.append(Fault(step, str(error)))
            report(step)

        for phase in Phase:
            due = [step for step in steps if step.phase is phase]
            if phase is Phase.PROVENANCE and any(_is_about_contact(each.step) for each in faults):
                faults += [Fault(step, "waits for the contacts: run it again") for step in due]
                break
            # Portions of mail are parallel within themselves already.
            limit = 1 if phase is Phase.MAIL else _PARALLEL
            await together(self._loop, [one(step) for step in due], limit)
        return tuple(faults)

    async def _plan_mails(self) -> list[Step]:
        ground = find_ground(self._config, (await self._mail.open(())).mailboxes)
        if not ground.managed:
            return []
        [found] = await self._mail.search([in_any(sorted(ground.managed))])
        if isinstance(found, MethodError):
            raise found
        return list(plan_mails(found, ground))

    async def _plan_contacts(self) -> list[Step]:
        await self._contacts.sync()
        book = self._contacts.book
        marks, triage = self._config.mailroom, self._config.triage
        made = book.group(marks.provenance_group)
        self._listed = made.entry.members if made else frozenset()
        groups = [group for name in triage.groups if (group := book.group(name))]
        hrefs = [each.href for each in book if self._is_ours(each)]
        self._cards = await self._contacts.fetch(
            [*hrefs, *(group.href for group in (*groups, made) if group)]
        )
        steps: list[Step] = [_emptying(group) for group in groups if group.entry.members]
        steps += filter(None, map(self._plan_contact, hrefs))
        if made and made.entry.members:
            steps.append(_emptying(made, Phase.PROVENANCE))
        return steps

    def _is_ours(self, card: Indexed) -> bool:
        entry = card.entry
        is_marked = entry.provenance is not Provenance.NONE or entry.category is not None
        return not entry.is_group and (is_marked or entry.uid in self._listed)

    def _plan_contact(self, href: str) -> ContactStep | None:
        stored = self._cards.get(href)
        if isinstance(stored, Stored):
            return plan_contact(href, stored.card, is_listed=self._is_listed(href))
        return None  # gone, or one that no triage could have written to

    def _is_listed(self, href: str) -> bool:
        indexed = self._contacts.book.get(href)
        return indexed is not None and indexed.entry.uid in self._listed

    async def _carry_out(self, step: Step) -> None:
        if isinstance(step, RefileMails):
            await self._refile(step)
        elif isinstance(step, EmptyGroup):
            stored = usable(self._cards.get(step.href), step.href)
            await self._contacts.edit(stored, _without_members)
        else:
            await self._undo_contact(step)

    async def _refile(self, step: RefileMails) -> None:
        refused = await self._mail.update(step.patches)
        if refused:
            mail_id, error = next(iter(refused.items()))
            raise SenderFailed(f"{len(refused)} were refused, mail {mail_id} because: {error}")

    async def _undo_contact(self, step: ContactStep) -> None:
        """Delete or clean, whichever is right for the card as it stands then."""
        decide = partial(plan_contact, step.href, is_listed=self._is_listed(step.href))
        stored = self._cards.get(step.href)
        for _ in range(_TRIES):
            if stored is None:
                return
            fresh = usable(stored, step.href)
            if not isinstance(decide(fresh.card), DeleteContact):
                await self._contacts.edit(fresh, without_section)
                return
            if await self._contacts.delete(fresh):
                return
            stored = (await self._contacts.fetch([step.href])).get(step.href)
        raise SenderFailed(f"the card was changed by somebody else {_TRIES} times")


def _is_about_contact(step: Step) -> bool:
    return step.phase is Phase.CONTACTS


def _emptying(group: Indexed, phase: Phase = Phase.GROUPS) -> EmptyGroup:
    return EmptyGroup(group.href, group.entry.fn, len(group.entry.members), phase)


def _without_members(group: Card) -> Card:
    return with_members(group, add=(), remove=member_uids(group))
