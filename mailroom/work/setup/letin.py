"""``mailroom setup --apply --let-known-in``: moves waiting mail from known people to Inbox.

The door leaves mail alone that came before its first use: everybody had to wait then, and the user
may have looked at it since. So such mail is let in only if the user asks for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mailroom.engine.loop import Loop, both
from mailroom.rules.configuration.config import Config
from mailroom.rules.screening.own import OwnAddresses
from mailroom.rules.triage.places import Places, find_places
from mailroom.work.account.clients import Clients
from mailroom.work.mail.ids import all_ids
from mailroom.work.screening.door import Door
from mailroom.work.screening.judge import Admission
from mailroom.work.session.portions import portions
from mailroom.work.setup.check import own_addresses

# As many as the door works on at once.
_PORTION = 250


@dataclass(frozen=True, slots=True)
class WaitingCount:
    """How many mails wait, from how many senders, and how many of the mails could not be let in."""

    mails: int = 0
    senders: int = 0
    refused: int = 0


class LetIn:
    """Lets in the waiting mail of one account."""

    def __init__(self, loop: Loop, config: Config, clients: Clients, door: Door) -> None:
        self._loop = loop
        self._config = config
        self._mail = clients.mail
        self._contacts = clients.contacts
        self._door = door

    async def known(self, *, apply: bool) -> WaitingCount:
        """Count the waiting mail from known people; with ``apply``, also move it to Inbox.

        Each portion is moved as soon as it is read, so after an interruption the next run goes on
        with the rest. Raises MethodError if the server cannot tell what waits.
        """
        reading, _ = await both(self._loop, self._mail.take_reading(()), self._contacts.refresh())
        places = find_places(self._config, reading.mailboxes)
        own = await own_addresses(self._config, self._mail)
        [waiting] = await all_ids(self._loop, self._mail, [{"inMailbox": places.screener}])
        senders, mails, refused = set[str | None](), 0, 0
        for portion in portions(sorted(waiting), _PORTION):
            admissions = await self._admissions(portion, places, own)
            senders |= {each.sender for each in admissions}
            mails += len(admissions)
            if apply and admissions:
                patches = {each.arrival.id: each.patch for each in admissions}
                refused += len((await self._mail.update(patches)).refused)
        return WaitingCount(mails, len(senders), refused)

    async def _admissions(
        self, mail_ids: Sequence[str], places: Places, own: OwnAddresses
    ) -> list[Admission]:
        """The decisions about those of the mails that have to be let in."""
        arrivals = await self._mail.arrivals(mail_ids)
        decided = await self._door.judge.decide(arrivals, places, own)
        return [each for each in decided if each.standing.is_known and each.patch]
