"""``mailroom reset``: undo what Mailroom did, and only that (docs/behaviour.md).

Like a triage it converges: interrupted anywhere and run again, it ends in the same state. Mail is
never deleted; a contact only if it is still as it was read (If-Match).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mailroom.engine.loop import Loop, both, together
from mailroom.errors import MailroomError, SenderFailed, TransientError
from mailroom.rules.account.reset import (
    ForgetDecisions,
    ForgetDoor,
    LeaveGroup,
    RefileMails,
    ReleaseContact,
    RemoveGroup,
    RemoveMailbox,
    RemoveRules,
    ResetPlaces,
    Stage,
    Step,
    TriagedMail,
    find_reset_places,
    forgotten,
    kept,
    plan_contacts,
    plan_door,
    plan_mails,
    plan_removal,
    since_of,
)
from mailroom.rules.configuration.config import Config
from mailroom.rules.contacts.roster import Found, Plan
from mailroom.rules.screening.wide import Decisions, list_id
from mailroom.rules.triage.drags import DIGEST, PLACED, WAITING
from mailroom.rules.words import count
from mailroom.wire.filters import Filter, in_any
from mailroom.wire.jmap import Call, Mail, MethodError, read_arrivals, read_counts, read_undestroyed
from mailroom.work.account.clients import Clients
from mailroom.work.setup.routing import NoSieve, Routing

# As many as :mod:`mailroom.work.contacts.cards` writes at once.
_PARALLEL = 8
# Errors of one step that do not stop the others.
_SINGLE = (MethodError, SenderFailed, TransientError)
# Why a server refuses to destroy a mailbox that is no longer empty (RFC 8621 §2.5): it stays.
_IN_USE = ("mailboxHasEmail", "mailboxHasChild")
_GONE = "notFound"


@dataclass(frozen=True, slots=True)
class Fault:
    """A step that has failed, wholly or for some mails."""

    step: Step
    reason: str


class StaysInUse(MailroomError):
    """A mailbox or group that should be removed has something in it: it stays, which is no
    fault."""


class Reset:
    """The reset of one account.

    ``target`` is the name of the mailbox for mail that was filed; None: Archive. ``removes`` says
    whether mailboxes and groups that setup made are removed as well, once they are empty.
    """

    def __init__(
        self,
        loop: Loop,
        config: Config,
        clients: Clients,
        *,
        target: str | None = None,
        removes: bool = False,
    ) -> None:
        self.has_hand_made_rules = False
        self.ours: tuple[Found, ...] = ()
        self.decisions = Decisions()
        self.stays: list[str] = []
        self._loop = loop
        self._config = config
        self._mail = clients.mail
        self._contacts = clients.contacts
        self._routing = Routing(loop, config, clients)
        self._target = target
        self._removes = removes

    async def plan(self) -> tuple[Step, ...]:
        """The steps, in order; nothing is written. Afterwards ``ours`` are the contacts to release,
        ``decisions`` those for whole domains and lists, ``has_hand_made_rules`` says whether only
        the user can know if rules are active, and ``stays`` names what will not be undone or
        removed."""
        rules = await self._plan_rules()
        self.ours = await self._contacts.ours()
        self.decisions = self._contacts.decisions
        forgets = [ForgetDecisions()] if self._contacts.keeps_decisions else []
        contacts = plan_contacts(self.ours, self._config)
        steps = [*rules, *await self._plan_mails(), *forgets, *contacts]
        mailboxes = (await self._mail.take_reading(())).mailboxes
        record = await self._contacts.record()
        steps += plan_door(record)
        self.stays = list(forgotten(record, mailboxes, self._config))
        if self._removes:
            groups = await self._contacts.groups()
            steps += plan_removal(record, mailboxes, groups, self._config)
            self.stays += kept(record, mailboxes, groups, self._config)
        return tuple(steps)

    async def apply(
        self, steps: Sequence[Step], report: Callable[[Step], None]
    ) -> tuple[Fault, ...]:
        """Carry out the steps; each is reported when it is over. Returns the steps that failed, and
        those of later stages, which then wait for another run. What turns out to be in use is added
        to ``stays``."""
        faults: list[Fault] = []

        async def one(step: Step) -> None:
            try:
                await self._carry_out(step)
            except StaysInUse as reason:
                self.stays.append(str(reason))
            except _SINGLE as error:
                faults.append(Fault(step, str(error)))
            report(step)

        for stage in Stage:
            due = [step for step in steps if step.stage is stage]
            if faults:  # later stages would delete what tells whose the rest is
                faults += [Fault(step, "waits for earlier steps: run it again") for step in due]
                continue
            # Portions of mail are parallel within themselves already; parents wait for children.
            limit = 1 if stage in (Stage.MAIL, Stage.REMOVE) else _PARALLEL
            await together(self._loop, [one(step) for step in due], limit)
            if stage is Stage.MAIL and not faults:
                await self._refile_the_rest(faults)
        return tuple(faults)

    async def _plan_rules(self) -> list[Step]:
        """The step that removes our rules. Raises LastingTrouble if a script of the user's includes
        ours: the user has to change that first."""
        try:
            return [RemoveRules()] if await self._routing.is_there() else []
        except NoSieve:
            self.has_hand_made_rules = True
            return []

    async def _plan_mails(self) -> list[RefileMails]:
        mailboxes = (await self._mail.take_reading(())).mailboxes
        places = find_reset_places(self._config, mailboxes, self._target)
        mails, record = await both(self._loop, self._find(places), self._contacts.record())
        screened = [mail for mail in mails if places.screener in mail.mailbox_ids]
        since = since_of(record)
        arrivals = await self._arrivals(screened) if since else {}
        senders = frozenset(address for contact in self.ours for address in contact.addresses)
        theirs = TriagedMail(senders, since, self.decisions)
        listed = await self._listed([mail for mail in mails if not theirs.has(mail)])
        return list(plan_mails(mails, arrivals, places, replace(theirs, listed=listed)))

    async def _listed(self, mails: Sequence[Mail]) -> frozenset[str]:
        """The ids of those mails whose mailing list was decided about."""
        decided = self.decisions
        found = await self._mail.arrivals([mail.id for mail in mails] if decided.lists else [])
        named = {each.id: list_id(each.list_id) for each in found if each.list_id}
        return frozenset(key for key, name in named.items() if decided.of_list(name))

    async def _find(self, places: ResetPlaces) -> tuple[Mail, ...]:
        """The mail in managed mailboxes, and mail with a keyword of ours wherever it is."""
        filters: list[Filter] = [{"hasKeyword": keyword} for keyword in (WAITING, PLACED, DIGEST)]
        if places.managed:
            filters.append(in_any(sorted(places.managed)))
        mails: dict[str, Mail] = {}
        for found in await self._mail.search(filters):
            if isinstance(found, MethodError):
                raise found
            mails |= {mail.id: mail for mail in found}
        return tuple(mails.values())

    async def _arrivals(self, mails: Sequence[Mail]) -> dict[str, str]:
        size = (await self._mail.session()).limits.get
        arrivals: dict[str, str] = {}
        for start in range(0, len(mails), size):
            ids = [mail.id for mail in mails[start : start + size]]
            arguments = {"ids": ids, "properties": ["id", "receivedAt"]}
            answers = await self._mail.call([Call("Email/get", arguments, "mails")])
            arrivals |= read_arrivals(answers["mails"])
        return arrivals

    async def _refile_the_rest(self, faults: list[Fault]) -> None:
        """Refile mail that was filed or moved after the plan: by the rules, before they were
        removed, or by the user."""
        for step in await self._plan_mails():
            try:
                await self._refile(step)
            except _SINGLE as error:
                faults.append(Fault(step, str(error)))

    async def _carry_out(self, step: Step) -> None:
        if isinstance(step, RemoveRules):
            await self._routing.remove()
        elif isinstance(step, RefileMails):
            await self._refile(step)
        elif isinstance(step, ForgetDoor):
            await self._contacts.amend_record(lambda record: replace(record, door=None))
        elif isinstance(step, RemoveMailbox):
            await self._remove_mailbox(step)
        elif isinstance(step, ForgetDecisions):
            await self._contacts.forget_decisions()
        elif isinstance(step, RemoveGroup):
            if not await self._contacts.remove_group(step.name):
                raise StaysInUse(f"group {step.name}: it has members: stays")
        else:
            await self._apply_plan(step)

    async def _apply_plan(self, step: LeaveGroup | ReleaseContact) -> None:
        plan = step.plan if isinstance(step, LeaveGroup) else Plan((step.change,))
        failed = await self._contacts.apply(plan)
        for error in failed.values():
            raise error

    async def _refile(self, step: RefileMails) -> None:
        """Refile those of the mails that are where the plan has seen them: between plan and step
        the user was asked, and may have moved mail."""
        now = {mail.id: mail.mailbox_ids for mail in await self._mail.read(list(step.patches))}
        patches = {
            mail_id: patch
            for mail_id, patch in step.patches.items()
            if now.get(mail_id) == step.mailboxes[mail_id]
        }
        refused = (await self._mail.update(patches)).refused
        if refused:
            mail_id, error = next(iter(refused.items()))
            raise SenderFailed(
                f"the server refused {count(len(refused), 'mail')}; mail {mail_id}: {error}"
            )

    async def _remove_mailbox(self, step: RemoveMailbox) -> None:
        """Remove a mailbox, after a look: the server is never asked to destroy one with mail."""
        in_use = StaysInUse(f"mailbox {step.name}: it is not empty: stays")
        arguments = {"ids": [step.id], "properties": ["id", "totalEmails"]}
        answers = await self._mail.call([Call("Mailbox/get", arguments, "boxes")])
        if read_counts(answers["boxes"]).get(step.id):
            raise in_use
        answers = await self._mail.call([Call("Mailbox/set", {"destroy": [step.id]}, "set")])
        for error in read_undestroyed(answers["set"], "Mailbox/set").values():
            if error.type != _GONE:
                raise in_use if error.type in _IN_USE else error
