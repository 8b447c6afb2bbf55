"""Reports what happens in one account, as events (docs/behaviour.md, "Events").

Events for everybody contain only what the account knows anyway. Senders and subjects are read from
the mail server while somebody watches on the control socket, and forgotten afterwards.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailroom.engine.journal import Log
from mailroom.engine.loop import Owner, give_way
from mailroom.errors import MailroomError
from mailroom.rules.screening.waiting import Summary
from mailroom.rules.status import events
from mailroom.rules.status.events import ServiceEvent
from mailroom.work.mail.mail import MailClient
from mailroom.work.polling.outcome import PollOutcome
from mailroom.work.screening.judge import Admission

if TYPE_CHECKING:
    from mailroom.work.screening.listing import Listing, WaitingSender

# Nobody reads the subjects of more new mail at once, and an event could not hold them.
_MOST_ARRIVALS = 50


@dataclass(slots=True)
class Audience:
    """Who gets the events: ``publish`` takes every one; ``is_watching`` says whether anybody on the
    control socket watches, who may see names and subjects."""

    publish: Callable[[ServiceEvent], None]
    is_watching: Callable[[], bool]


class Reporter:
    """The events of one account; ``screener`` gives the id of the mailbox Screener, once known."""

    def __init__(
        self,
        owner: Owner,
        mail: MailClient,
        listing: "Callable[[], Listing]",
        log: Log,
        screener: Callable[[], str | None],
    ) -> None:
        self.audience = Audience(_to_nobody, _never)
        self._owner = owner
        self._clock = owner.loop.clock
        self._mail = mail
        self._listing = listing
        self._log = log
        self._screener = screener
        self._told: Summary | None = None
        # Who waits, as last told to those who watch; None if not told yet.
        self._rows: Mapping[str, WaitingSender] | None = None
        self._is_reading = self._is_outdated = self._has_missed = False

    def publish(self, event: ServiceEvent) -> None:
        self.audience.publish(event)

    def watched(self) -> None:
        """Somebody has begun to watch: read who waits, to tell the changes by name from now on."""
        self._rows = None
        self._read_soon()

    def polled(self, outcome: PollOutcome) -> None:
        """Tell of the new mail that a poll has dealt with, and of changes in who waits."""
        if outcome.admissions:
            self._owner.spawn(self._tell_arrivals(outcome.admissions), "arrivals")
        if self.audience.is_watching():
            self._read_soon()

    def counted(self, summary: Summary | None) -> None:
        """Tell how many wait now. If somebody watches, that is told with the names once these are
        read."""
        if summary is None or summary == self._told or self.audience.is_watching():
            return
        is_first, self._told = self._told is None, summary
        if not is_first:
            self.publish(events.waiting(self._clock.wall(), summary))

    async def _tell_arrivals(self, admissions: Sequence[Admission]) -> None:
        at, waiting = self._clock.wall(), sum(each.standing.waits for each in admissions)
        outcomes = PollOutcome.count(admissions)
        mails = None
        if self.audience.is_watching():
            from mailroom.work.account.watching import arrivals  # noqa: PLC0415 - few are ever watched

            mails = await arrivals(admissions[:_MOST_ARRIVALS], self._mail, self._log)
        self.publish(events.arrival(at, outcomes, waiting, mails))

    def _read_soon(self) -> None:
        """Read who waits; only one reading runs at a time."""
        self._is_outdated = True
        if not self._is_reading:
            self._is_reading = True
            self._owner.spawn(self._read(), "who waits")

    async def _read(self) -> None:
        try:
            while self._is_outdated and self.audience.is_watching():
                self._is_outdated = False
                await self._tell_waiting()
        except MailroomError as error:
            self._log.debug("waiting_not_read", error=str(error))
            self._rows, self._has_missed = None, True
        finally:
            self._is_reading = False

    async def _tell_waiting(self) -> None:
        screener = self._screener()
        if screener is None:
            return
        from mailroom.work.account.watching import short_row, summary  # noqa: PLC0415 - as above

        found = await self._listing().senders(screener)
        before, self._rows = self._rows, {each.address: each for each in found}
        self._told = summary(found)
        if before is None:
            if self._has_missed:
                self.publish(events.waiting_unknown(self._clock.wall(), self._told))
            self._has_missed = False
            return
        await give_way(self._owner.loop)
        changed = [each for each in found if before.get(each.address) != each]
        gone = [address for address in before if address not in self._rows]
        if changed or gone:
            rows = [short_row(each) for each in changed]
            self.publish(events.waiting(self._clock.wall(), self._told, rows, gone))


def _to_nobody(_event: ServiceEvent) -> None:
    pass


def _never() -> bool:
    return False
