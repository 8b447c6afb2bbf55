"""``mailroom setup --apply --let-known-in``: mail of people whom the user knows, that waits since
before the door was used.

The door leaves it alone: it came when everybody was to wait, and the user may have looked at it. So
it is let in only where the user says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mailroom.engine.loop import Loop, both
from mailroom.rules.configuration.config import Config
from mailroom.rules.screening.own import OwnAddresses
from mailroom.rules.triage.places import Places, find_places
from mailroom.work.check import own_addresses
from mailroom.work.clients import Clients
from mailroom.work.door import Door
from mailroom.work.ids import all_ids, portions
from mailroom.work.judge import Admission

_PORTION = 250


@dataclass(frozen=True, slots=True)
class WaitingCount:
    """How many mails wait, and of how many addresses; of these, how many could not be let in."""

    mails: int = 0
    senders: int = 0
    refused: int = 0


class LetIn:
    """The mail of one account that waits."""

    def __init__(self, loop: Loop, config: Config, clients: Clients, door: Door) -> None:
        self._loop = loop
        self._config = config
        self._mail = clients.mail
        self._contacts = clients.contacts
        self._door = door

    async def known(self, *, apply: bool) -> WaitingCount:
        """What waits of people who are known; with ``apply`` it is in Inbox afterwards.

        Portion by portion, each moved as soon as it was read: what is broken off goes on with the
        next run. Raises MethodError where the server cannot tell what waits.
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
        """Those of them that are to be let in."""
        arrivals = await self._mail.arrivals(mail_ids)
        decided = await self._door.judge.decide(arrivals, places, own)
        return [each for each in decided if each.standing.is_known and each.patch]
