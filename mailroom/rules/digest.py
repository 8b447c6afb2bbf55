"""The daily mail: when it is due, what makes it, what it says (docs/behaviour.md, "The digest").

A digest is known by its Message-ID, which account and day make: whoever makes today's, on whatever
machine, makes this one. Days and times are those of the host's zone. A time that a day does not
have, because clocks are set forward, comes that much later; of one that a day has twice the first
counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from html import escape
from urllib.parse import quote

from mailroom.rules.health import Conflict, FailingSender, Triage
from mailroom.rules.words import count

_PREFIX = "mailroom-digest."
_DAY_SECONDS = 86_400.0
# More than these nobody reads in a mail.
_MOST = 50


@dataclass(frozen=True, slots=True)
class Due:
    """The digest of a day, and the instant that it is for."""

    day: date
    at: float


@dataclass(frozen=True, slots=True)
class Former:
    """A digest that is there already."""

    id: str
    message_id: str
    is_in_inbox: bool
    is_flagged: bool


@dataclass(frozen=True, slots=True)
class Waiter:
    """Somebody who waits: ``received_at`` is the newest mail's. All text is harmless."""

    address: str
    name: str
    mails: int
    subject: str
    received_at: float


@dataclass(frozen=True, slots=True)
class News:
    """What a digest tells: all who wait, what was filed, and what needs the user. ``since`` is the
    former digest's instant."""

    due: Due
    since: float
    waiting: tuple[Waiter, ...] = ()
    filed: tuple[Triage, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    failing: tuple[FailingSender, ...] = ()

    @property
    def is_any(self) -> bool:
        """Whether anything has happened since the former one."""
        arrived = any(self.since < each.received_at <= self.due.at for each in self.waiting)
        contested = any(self.since < each.since <= self.due.at for each in self.conflicts)
        return arrived or contested or bool(self.filed)


def next_due(wall: float, at: str, zone: tzinfo, done: date | None) -> Due:
    """The digest to make next. An instant that has passed means now: today's is still to be made.
    ``done`` is the day whose digest needs no more."""
    today = datetime.fromtimestamp(wall, zone).date()
    due = _due(today, at, zone)
    if done is not None and done >= today:
        return _due(done + timedelta(days=1), at, zone)
    return due


def message_id(account_id: str, day: date) -> str:
    """The Message-ID of an account's digest of that day, without its angle brackets."""
    return f"{_PREFIX}{day:%Y%m%d}.{quote(account_id, safe='')}@digest.invalid"


def since_when(former: Sequence[Former], due: Due, at: str, zone: tzinfo) -> float:
    """Where the newest of the former digests ended; without one, a day before."""
    days = [day for each in former if (day := _day_of(each.message_id)) and day < due.day]
    return _due(max(days), at, zone).at if days else due.at - _DAY_SECONDS


def subject(news: News) -> str:
    """Subject line of the digest."""
    parts = [f"{count(len(news.waiting), 'sender')} waiting"] if news.waiting else []
    parts += [f"{count(len(news.filed), 'sender')} filed"] if news.filed else []
    needing = len(news.conflicts) + len(news.failing)
    parts += [f"{needing} need you" if needing > 1 else "1 needs you"] if needing else []
    return f"Mailroom: {', '.join(parts) or 'all is well'}"


def text(news: News, zone: tzinfo) -> str:
    """The digest as plain text."""
    lines = []
    for title, entries in _chapters(news, zone):
        lines += [title, ""]
        for first, *others in entries:
            lines += [f"* {first}", *(f"  {other}" for other in others), ""]
    return "\n".join([*lines, _FOOT, ""])


def html(news: News, zone: tzinfo) -> str:
    """The same for a phone: no link, no picture, nothing from elsewhere."""
    parts = []
    for title, entries in _chapters(news, zone):
        parts.append(f'<h2 style="font-size:1.1em;margin:1.2em 0 .4em">{escape(title)}</h2>')
        for first, *others in entries:
            more = "".join(f"<br><bdi>{escape(other)}</bdi>" for other in others)
            parts.append(f'<p style="margin:.6em 0"><b><bdi>{escape(first)}</bdi></b>{more}</p>')
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(subject(news))}</title></head>\n"
        '<body style="font-family:sans-serif;line-height:1.4;max-width:40em">\n'
        f'{body}\n<p style="margin-top:1.5em;opacity:.7">{escape(_FOOT)}</p>\n</body></html>\n'
    )


_FOOT = "To decide: label a mail, move it, or type mailroom screen."
_Chapter = tuple[str, list[tuple[str, ...]]]


def _chapters(news: News, zone: tzinfo) -> list[_Chapter]:
    """Titles, and what is below each: for every entry its lines."""
    mails = count(sum(each.mails for each in news.waiting), "mail")
    chapters = [
        ("Needs you", [*map(_contested, news.conflicts), *map(_failing, news.failing)]),
        (
            f"Waiting: {count(len(news.waiting), 'sender')}, {mails}",
            [_waiting(each, zone) for each in news.waiting],
        ),
        (f"Filed since {_when(news.since, zone)}", list(map(_filed, news.filed))),
    ]
    return [(title, _shortened(entries)) for title, entries in chapters if entries]


def _shortened(entries: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    more = len(entries) - _MOST
    return [*entries[:_MOST], (f"and {more} more",)] if more > 0 else entries


def _waiting(each: Waiter, zone: tzinfo) -> tuple[str, ...]:
    who = f"{each.name} <{each.address}>" if each.name and each.address else each.address
    mails = f"{each.mails} mails, the newest of " if each.mails > 1 else ""
    subject_line = each.subject or "(no subject)"
    return who or "(no usable sender)", subject_line, f"{mails}{_when(each.received_at, zone)}"


def _filed(each: Triage) -> tuple[str, ...]:
    mails = f", {count(each.filed, 'mail')}" if each.filed else ""
    before = f", before {each.previous}" if each.previous else ""
    by = f", by {each.by}" if each.by else ""
    return each.sender, f"{each.category}{mails}{before}{by}"


def _contested(each: Conflict) -> tuple[str, ...]:
    labels = " and ".join(each.categories)
    return each.sender, f"asked for {labels} at once: take one off, or move one back"


def _failing(each: FailingSender) -> tuple[str, ...]:
    return each.sender, f"could not be filed: {each.reason}"


def _when(instant: float, zone: tzinfo) -> str:
    local = datetime.fromtimestamp(instant, zone)
    return f"{local:%A} {local.day} {local:%B}, {local:%H:%M}"


def _due(day: date, at: str, zone: tzinfo) -> Due:
    hour, minute = map(int, at.split(":"))
    local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
    return Due(day, local.astimezone(UTC).timestamp())


def _day_of(given: str) -> date | None:
    digits = given.removeprefix(_PREFIX)[:8]
    if not given.startswith(_PREFIX):
        return None
    try:
        return datetime.strptime(digits, "%Y%m%d").replace(tzinfo=UTC).date()
    except ValueError:
        return None
