"""The daily mail: when it is due, whether there is one, what it says (docs/behaviour.md, "The
digest").

A digest is known by its Message-ID, which is made of account and day: whoever makes today's, on
whatever machine, makes the same one. Days and times are those of the host's zone. A time that a day
lacks, because clocks are set forward, comes that much later; of a time that a day has twice, the
first counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from html import escape
from textwrap import wrap
from urllib.parse import quote

from mailroom.rules.status.health import ConflictView, FailingSender, TriageView
from mailroom.rules.words import count, who_waits

_PREFIX = "mailroom-digest."
_DAY_SECONDS = 86_400.0
# Nobody reads more than these in a mail.
_MOST = 50


@dataclass(frozen=True, slots=True)
class DueDigest:
    """The digest of a day, and the instant that it is for."""

    day: date
    at: float


@dataclass(frozen=True, slots=True, order=True)
class FormerDigest:
    """An existing digest. Their order is the same for everybody."""

    id: str
    message_id: str
    is_in_inbox: bool
    is_flagged: bool


@dataclass(frozen=True, slots=True)
class WaitingEntry:
    """Somebody who waits: ``received_at`` is the newest mail's. All text is cleaned already."""

    address: str
    name: str
    mails: int
    subject: str
    received_at: float


@dataclass(frozen=True, slots=True)
class News:
    """What a digest tells: all who wait, what was filed, and what needs the user. ``since`` is the
    former digest's instant; ``started_at`` is when the service started: it knows of nothing that
    was filed earlier."""

    due: DueDigest
    since: float
    started_at: float = 0.0
    waiting: tuple[WaitingEntry, ...] = ()
    filed: tuple[TriageView, ...] = ()
    conflicts: tuple[ConflictView, ...] = ()
    failing: tuple[FailingSender, ...] = ()

    @property
    def senders(self) -> int:
        """How many of those who wait can be decided about."""
        return sum(bool(each.address) for each in self.waiting)

    @property
    def mails(self) -> int:
        """How many mails wait."""
        return sum(each.mails for each in self.waiting)

    @property
    def is_any(self) -> bool:
        """Whether anything has happened since the former digest."""
        arrived = any(self.since < each.received_at <= self.due.at for each in self.waiting)
        contested = any(self.since < each.since <= self.due.at for each in self.conflicts)
        return arrived or contested or bool(self.filed)


def next_due(wall: float, at: str, zone: tzinfo, done: date | None) -> DueDigest:
    """The digest to make next. An instant that has passed means now: today's has not been made yet.
    ``done`` is the last day whose digest is dealt with."""
    today = datetime.fromtimestamp(wall, zone).date()
    due = _due(today, at, zone)
    if done is not None and done >= today:
        return _due(done + timedelta(days=1), at, zone)
    return due


def message_id(account_id: str, day: date) -> str:
    """The Message-ID of an account's digest of that day, without its angle brackets."""
    return f"{_PREFIX}{day:%Y%m%d}.{quote(account_id, safe='')}@digest.invalid"


def since_when(former: Sequence[FormerDigest], due: DueDigest, at: str, zone: tzinfo) -> float:
    """The instant of the newest former digest; without one, a day before this one."""
    days = [day for each in former if (day := _day_of(each.message_id)) and day < due.day]
    return _due(max(days), at, zone).at if days else due.at - _DAY_SECONDS


def subject(news: News) -> str:
    """Subject line of the digest."""
    who = count(news.senders, "sender") if news.senders else who_waits(0, news.mails)
    parts = [f"{who} waiting"] if news.waiting else []
    parts += [f"{count(len(news.filed), 'sender')} filed"] if news.filed else []
    needing = len(news.conflicts) + len(news.failing)
    parts += [f"{needing} need you" if needing > 1 else "1 needs you"] if needing else []
    return f"Mailroom: {', '.join(parts) or 'all is well'}"


def text(news: News, zone: tzinfo) -> str:
    """The digest as plain text, in lines of 72 characters where words allow it."""
    lines = []
    for title, entries in _chapters(news, zone):
        lines += [*wrap(title, _COLUMNS), ""]
        for entry in entries:
            who = f"{entry.name} <{entry.address}>" if entry.name else entry.address
            lines += _wrapped(f"* {who}")
            for line in entry.lines:
                lines += _wrapped(f"  {line}")
            lines.append("")
    return "\n".join([*lines, _FOOT, ""])


def html(news: News, zone: tzinfo) -> str:
    """The same for a phone: no link, no picture, nothing from elsewhere. No colours either, so that
    it is dark where the mail app is; styles are inline, since mail apps drop all others."""
    parts = []
    for title, entries in _chapters(news, zone):
        parts.append(f'<h2 style="{_TITLE}">{escape(title)}</h2>')
        parts += [_html_entry(entry) for entry in entries]
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(subject(news))}</title></head>\n"
        f'<body><div style="{_BODY}">\n'
        f'{body}\n<p style="{_MUTED};margin:28px 0 0">{escape(_FOOT)}</p>\n'
        "</div></body></html>\n"
    )


_FOOT = "To decide: label a mail, move it, or type mailroom screen."
_COLUMNS = 72
# Long addresses break anywhere, or a phone would have to scroll sideways.
_BODY = (
    "max-width:640px;font-family:system-ui,-apple-system,sans-serif;font-size:16px;"
    "line-height:1.45;overflow-wrap:anywhere"
)
_TITLE = "font-size:18px;margin:28px 0 12px;padding-bottom:6px;border-bottom:1px solid #8886"
_ENTRY = "margin:0 0 16px"
_MUTED = "font-size:14px;opacity:.7"


@dataclass(frozen=True, slots=True)
class _Entry:
    """Whom it is about, and what it says about them."""

    address: str
    lines: tuple[str, ...]
    name: str = ""


_Chapter = tuple[str, list[_Entry]]


def _wrapped(line: str) -> list[str]:
    return wrap(
        line[2:],
        _COLUMNS,
        initial_indent=line[:2],
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _html_entry(entry: _Entry) -> str:
    """The name stands out, the last line steps back."""
    who = f"<b><bdi>{escape(entry.name or entry.address)}</bdi></b>"
    if entry.name:
        who += f' <span style="{_MUTED}"><bdi>{escape(entry.address)}</bdi></span>'
    *lines, last = [f"<bdi>{escape(line)}</bdi>" for line in entry.lines] or [""]
    if last and lines:
        last = f'<span style="{_MUTED}">{last}</span>'
    whole = "<br>".join(filter(None, (who, *lines, last)))
    return f'<p style="{_ENTRY}">{whole}</p>'


def _chapters(news: News, zone: tzinfo) -> list[_Chapter]:
    """The titles, each with its entries."""
    chapters = [
        ("Needs you", [*map(_contested, news.conflicts), *map(_failing, news.failing)]),
        (
            f"Waiting: {who_waits(news.senders, news.mails)}",
            [_waiting(each, zone) for each in news.waiting],
        ),
        (_filed_since(news, zone), list(map(_filed, news.filed))),
    ]
    return [(title, _shortened(entries)) for title, entries in chapters if entries]


def _shortened(entries: list[_Entry]) -> list[_Entry]:
    more = len(entries) - _MOST
    return [*entries[:_MOST], _Entry(f"and {more} more", ())] if more > 0 else entries


def _waiting(each: WaitingEntry, zone: tzinfo) -> _Entry:
    mails = f"{each.mails} mails, the newest of " if each.mails > 1 else ""
    lines = (each.subject or "(no subject)", f"{mails}{_when(each.received_at, zone)}")
    return _Entry(
        each.address or each.name or "(no usable sender)",
        lines,
        each.name if each.address else "",
    )


def _filed_since(news: News, zone: tzinfo) -> str:
    if news.started_at <= news.since:
        return f"Filed since {_when(news.since, zone)}"
    return f"Filed since the service was started, {_when(news.started_at, zone)}"


def _filed(each: TriageView) -> _Entry:
    mails = f", {count(each.filed, 'mail')}" if each.filed else ""
    before = f", before {each.previous}" if each.previous else ""
    by = f", by {each.by}" if each.by else ""
    return _Entry(each.sender, (f"{each.category}{mails}{before}{by}",))


def _contested(each: ConflictView) -> _Entry:
    labels = " and ".join(each.categories)
    advice = f"asked for {labels} at once: take one off, or move one back"
    return _Entry(each.sender, (advice,))


def _failing(each: FailingSender) -> _Entry:
    return _Entry(each.sender, (f"could not be filed: {each.reason}",))


def _when(instant: float, zone: tzinfo) -> str:
    local = datetime.fromtimestamp(instant, zone)
    return f"{local:%a} {local.day} {local:%b}, {local:%H:%M}"


def _due(day: date, at: str, zone: tzinfo) -> DueDigest:
    hour, minute = map(int, at.split(":"))
    local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
    return DueDigest(day, local.astimezone(UTC).timestamp())


def _day_of(given: str) -> date | None:
    digits = given.removeprefix(_PREFIX)[:8]
    if not given.startswith(_PREFIX):
        return None
    try:
        return datetime.strptime(digits, "%Y%m%d").replace(tzinfo=UTC).date()
    except ValueError:
        return None
