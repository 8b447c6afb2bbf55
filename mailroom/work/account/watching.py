"""What is told by name to those who watch an account: its new mail, and who waits."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from mailroom.engine.journal import Log
from mailroom.errors import MailroomError
from mailroom.rules.screening.waiting import Summary
from mailroom.wire.previews import MailLine, line_call, one_line, read_lines
from mailroom.work.mail.mail import MailClient
from mailroom.work.screening.judge import Admission
from mailroom.work.screening.listing import WaitingSender, row

# Characters of a name or subject in an event.
_NAME_LENGTH = 100


async def arrivals(
    admissions: Sequence[Admission], mail: MailClient, log: Log
) -> list[dict[str, Any]]:
    """The new mails, with their subjects where these can be read."""
    lines = await _lines([each.arrival.id for each in admissions], mail, log)
    return [_arrival(each, lines.get(each.arrival.id)) for each in admissions]


async def _lines(mail_ids: Sequence[str], mail: MailClient, log: Log) -> Mapping[str, MailLine]:
    """The subjects of the mails, by id; empty if they cannot be read."""
    try:
        answers = await mail.call([line_call(mail_ids, "lines")])
        lines = read_lines(answers["lines"]).entries
    except MailroomError as error:
        log.debug("subjects_not_read", error=str(error))
        return {}
    return {line.mail.id: line for line in lines}


def summary(found: Sequence[WaitingSender]) -> Summary:
    oldest = min((each.since for each in found), default=None)
    return Summary(
        senders=sum(bool(each.address) for each in found),
        mails=sum(each.mails for each in found),
        oldest=datetime.fromisoformat(oldest).timestamp() if oldest else None,
    )


def _arrival(admission: Admission, line: MailLine | None) -> dict[str, Any]:
    mail, standing = admission.arrival.mail, admission.standing
    sender = mail.senders[0] if mail.senders else None
    return {
        "id": mail.id,
        "address": admission.sender or "",
        "name": one_line(sender.name, _NAME_LENGTH) if sender else "",
        "subject": one_line(line.subject, _NAME_LENGTH) if line else None,
        "outcome": str(standing.who),
        "category": standing.category.name if standing.category else None,
        "waits": standing.waits,
    }


def short_row(sender: WaitingSender) -> dict[str, Any]:
    """A row of who waits, its texts cut to what a person reads in a list."""
    document = row(sender)
    newest = document["newest"]
    return {
        **document,
        "name": one_line(document["name"], _NAME_LENGTH),
        "newest": {**newest, "subject": one_line(newest["subject"], _NAME_LENGTH)},
    }
