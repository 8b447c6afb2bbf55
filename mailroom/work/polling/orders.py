"""The orders (decisions by command) of one account, on their way through the polls.

The next poll carries out an order together with everything else, and the client that waits gets the
outcome. If the sender has mail in Screener or a destination, one mail gets the category's label
first. Then the order is a tap, and the next poll finds it after any interruption. If there is no
such mail, contact and groups are written directly, and an interrupted order has to be repeated.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

from mailroom.engine.loop import Promise
from mailroom.errors import MailroomError, OrderRefused
from mailroom.rules.triage.job import Job
from mailroom.rules.triage.orders import Order, conflict_of
from mailroom.wire.jmap import Mail
from mailroom.work.mail.mail import MailClient
from mailroom.work.polling.outcome import Triaged
from mailroom.work.polling.survey import Survey
from mailroom.work.polling.surveyor import Surveyor

Answer = dict[str, Any]

_REPEAT = "the order was interrupted: repeat it"


@dataclass(slots=True)
class _Placed:
    order: Order
    answer: Promise[Answer]


class Orders:
    """Orders that wait for a poll, and those that the running poll carries out."""

    def __init__(self) -> None:
        self._placed: dict[str, _Placed] = {}
        self._taken: dict[str, _Placed] = {}

    def place(self, order: Order) -> Promise[Answer]:
        """Place an order; the promise resolves to its outcome. Raises OrderRefused if another order
        for this sender, of a different category, is under way."""
        there = self._taken.get(order.name) or self._placed.get(order.name)
        if there is None:
            there = self._placed[order.name] = _Placed(order, Promise())
        elif there.order.category != order.category:
            raise conflict_of(order, {there.order.category})
        return there.answer

    @property
    def has_waiting(self) -> bool:
        """Whether orders wait for a poll."""
        return bool(self._placed)

    def take(self) -> tuple[Order, ...]:
        """The orders for the poll that begins now."""
        self._taken, self._placed = self._placed, {}
        return tuple(each.order for each in self._taken.values())

    def by(self, names: Iterable[str]) -> str | None:
        """The user who has decided about one of these by command; None if nobody has."""
        return next((self._taken[name].order.by for name in names if name in self._taken), None)

    def refuse(self, refused: Mapping[str, OrderRefused]) -> None:
        """Answer those orders of the running poll that are not carried out."""
        for name in refused.keys() & self._taken.keys():
            self._taken.pop(name).answer.reject(refused[name])

    def done(self, names: Iterable[str], triaged: Triaged) -> None:
        """Answer the orders for these names, which are one sender: it was triaged."""
        for name in [name for name in names if name in self._taken]:
            placed = self._taken.pop(name)
            subject = placed.order.subject
            placed.answer.resolve(
                {
                    str(subject.kind): subject.key,
                    "category": triaged.category,
                    "previous": triaged.previous,
                    "filed": triaged.filed,
                    "by": placed.order.by,
                }
            )

    def failed(self, names: Iterable[str], error: MailroomError, *, is_labelled: bool) -> None:
        """Answer the orders for these names, which are one sender: its triage failed."""
        further = "; its mail has the label, so the service tries again by itself"
        message = f"{error}{further if is_labelled else ''}"
        self.refuse({name: OrderRefused(HTTPStatus.BAD_GATEWAY, message) for name in names})

    def end(self, error: MailroomError | None = None) -> None:
        """Answer all orders that the poll has not answered, now that it is over; ``error`` is why
        it failed."""
        left = self._taken.keys()
        if error is None:
            why = OrderRefused(HTTPStatus.SERVICE_UNAVAILABLE, _REPEAT)
        else:
            why = OrderRefused(HTTPStatus.BAD_GATEWAY, f"the mail server: {error}")
        self.refuse(dict.fromkeys([*left], why))

    def close(self) -> None:
        """Answer all orders: no poll will follow."""
        self._taken, self._placed = {**self._placed, **self._taken}, {}
        self.end()


async def labelled(survey: Survey, surveyor: Surveyor, mail: MailClient) -> Survey:
    """Put the category's label on one mail of each sender of an order, if there is mail in Screener
    or a destination. If the server refuses, the order is carried out without a label."""
    ordered = {job.sender: job for job in survey.jobs if not job.tap.mails}
    chosen = {who: found for who, job in ordered.items() if (found := _chosen(job, survey))}
    if not chosen:
        return survey
    patches = {
        # The patch names nothing else: the user may have moved the mail since it was read.
        found.id: {f"mailboxIds/{ordered[who].tap.label_id}": True}
        for who, found in chosen.items()
    }
    refused = (await mail.update(patches)).refused
    jobs = {
        who: surveyor.with_label(ordered[who], found)
        for who, found in chosen.items()
        if found.id not in refused
    }
    taps = (jobs[tap.sender].tap if tap.sender in jobs else tap for tap in survey.verdicts.taps)
    return replace(
        survey,
        jobs=tuple(jobs.get(job.sender, job) for job in survey.jobs),
        verdicts=replace(survey.verdicts, taps=tuple(taps)),
    )


def _chosen(job: Job, survey: Survey) -> Mail | None:
    """The mail to label: preferably one that waits, else one that is filed."""
    screener = survey.places.screener
    found = [mail for mail in job.waiting if mail.mailbox_ids & survey.places.scope]
    return min(found, key=lambda mail: (screener not in mail.mailbox_ids, mail.id), default=None)
