"""The first request of a poll that nobody asked for and no event caused: has anything changed?

If the states are those of a poll that found nothing to do, and no mail has a label, then there is
still nothing to do. It asks for labels whatever the states say, so that a label is found even if
something went wrong before. To ask for all that the door needs takes Cyrus twice as long (3.10.2,
seen: docs/performance.md). An account at rest is asked every minute, so the answer has neither the
names of the mailboxes nor any mail in it: to read them took a tenth of the poll's CPU.
"""

from mailroom.engine.loop import Loop
from mailroom.rules.triage import queries
from mailroom.rules.triage.places import Places
from mailroom.wire import jmap
from mailroom.wire.jmap import Call, MethodError
from mailroom.wire.mailcalls import probe_calls
from mailroom.work.mail.mail import MailClient
from mailroom.work.mail.reading import Reading, States

_MAILBOX_STATE = Call("Mailbox/get", {"ids": []}, "boxes")
_EMAIL_STATE = Call("Email/get", {"ids": []}, "mails")


class Glance:
    """Looks at one account. ``empty_at`` are the states in which there was nothing to do; None if
    there was something, or before the first poll."""

    def __init__(self, loop: Loop, mail: MailClient) -> None:
        self.empty_at: States | None = None
        self._loop = loop
        self._mail = mail

    async def look(self, places: Places) -> Reading | None:
        """What was read, if there is nothing to do; None if there may be something, or if the
        server refuses the question: then a survey has to tell."""
        if self.empty_at is None:
            return None
        sent_at = self._loop.now()
        try:
            states, is_labelled = await self.ask(places)
        except MethodError:
            return None
        if is_labelled or states != self.empty_at:
            return None
        return Reading(sent_at, states, (), tells_by_email=(await self._mail.session()).is_stalwart)

    async def ask(self, places: Places) -> tuple[States, bool]:
        """The states, and whether any mail has a label. Raises MethodError if the server refuses
        the question."""
        probes = await self._probes(places)
        answers = await self._mail.call([_MAILBOX_STATE, _EMAIL_STATE, *probes])
        states = {
            "Mailbox": jmap.read_state(answers[_MAILBOX_STATE.tag]),
            "Email": jmap.read_state(answers[_EMAIL_STATE.tag]),
        }
        return states, any(jmap.read_page(answers[each.tag]).ids for each in probes)

    async def _probes(self, places: Places) -> list[Call]:
        """The calls that show whether any mail has a label: one, if the server takes that."""
        labelled = queries.labelled(places)
        if await self._mail.is_split():
            return probe_calls([labelled])
        return [Call("Email/query", {"filter": labelled, "limit": 1}, "probe")]
