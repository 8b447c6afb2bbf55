"""``mailroom reset``: undo everything that Mailroom did (docs/behaviour.md).

A convergence, as a triage is: interrupted anywhere and run again it ends in the same state. Mail
is never deleted; contacts only as they were read (If-Match).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mailroom.engine.loop import Loop, both, together
from mailroom.errors import SenderFailed, TransientError
from mailroom.rules.config import Config
from mailroom.rules.reset import (
    LeaveGroup,
    Phase,
    RefileMails,
    Step,
    find_ground,
    plan_contacts,
    plan_mails,
)
from mailroom.rules.roster import Plan
from mailroom.wire.filters import in_any
from mailroom.wire.jmap import MethodError
from mailroom.work.conversations import Conversations

_PARALLEL = 8
# What one step can meet without stopping the others.
_SINGLE = (MethodError, SenderFailed, TransientError)


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

    async def plan(self) -> tuple[Step, ...]:
        """The steps, in their order. Nothing is written."""
        mails, ours = await both(self._loop, self._plan_mails(), self._contacts.ours())
        return (*mails, *plan_contacts(ours, self._config))

    async def apply(
        self, steps: Sequence[Step], report: Callable[[Step], None]
    ) -> tuple[Fault, ...]:
        """Carry the steps out; each is reported when it is over. Returns what failed: then the
        phases after it wait for another run."""
        faults: list[Fault] = []

        async def one(step: Step) -> None:
            try:
                await self._carry_out(step)
            except _SINGLE as error:
                faults.append(Fault(step, str(error)))
            report(step)

        for phase in Phase:
            due = [step for step in steps if step.phase is phase]
            if faults:  # what comes later forgets whose the rest was
                faults += [Fault(step, "waits for the steps before: run it again") for step in due]
                continue
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

    async def _carry_out(self, step: Step) -> None:
        if isinstance(step, RefileMails):
            await self._refile(step)
        else:
            plan = step.plan if isinstance(step, LeaveGroup) else Plan((step.change,))
            failed = await self._contacts.apply(plan)
            for error in failed.values():
                raise error

    async def _refile(self, step: RefileMails) -> None:
        refused = await self._mail.update(step.patches)
        if refused:
            mail_id, error = next(iter(refused.items()))
            raise SenderFailed(f"{len(refused)} were refused, mail {mail_id} because: {error}")
