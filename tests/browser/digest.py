"""The daily mail as a mail app shows it: its HTML, of senders that are made up."""

from datetime import UTC, date, datetime

from mailroom.rules.status import digest
from mailroom.rules.status.digest import DueDigest, News, WaitingEntry
from mailroom.rules.status.health import ConflictView, FailingSender, TriageView
from tests.browser.cockpit import Cockpit
from tests.browser.webdriver import Browser

_PLACE = "/srv/digest.html"
_AT = datetime(2026, 11, 27, 7, tzinfo=UTC).timestamp()
_HOUR = 3600.0


def news() -> News:
    """A morning with something of everything."""
    waiting = (
        ("dana@whitfield.example", "Dana Whitfield", 1, "Your talk last week", 0.5),
        ("orders@lanternpost.example", "Lanternpost", 3, "Your order has been sent", 2),
        ("no-reply@a-very-long-name-of-a-newsletter.service.example", "", 12, "Weekly", 5),
        ("tomás@brightwater.example", "Tomás Brightwater, Bright Water Ltd", 1, "", 9),
    )
    triages = (
        ("alma@reyes.example", "Person", "Imbox", 4, "anna"),
        ("offers@harbour.example", "Billboard", None, 2, None),
    )
    return News(
        DueDigest(date(2026, 11, 27), _AT),
        _AT - 24 * _HOUR,
        waiting=tuple(
            WaitingEntry(address, name, mails, subject, _AT - hours * _HOUR)
            for address, name, mails, subject, hours in waiting
        ),
        filed=tuple(
            TriageView(number, _AT - 3 * _HOUR, sender, category, previous, filed, "push", by)
            for number, (sender, category, previous, filed, by) in enumerate(triages)
        ),
        conflicts=(ConflictView("joe@northgate.example", ("Feed", "Jail"), _AT - _HOUR),),
        failing=(FailingSender("mia@oldbook.example", "its contact has no UID", 3, None),),
    )


def show(cockpit: Cockpit, browser: Browser, width: int, *, dark: bool = False) -> int:
    """Open it at a width in a browser; returns its height."""
    cockpit.host.write(_PLACE, digest.html(news(), UTC))
    browser.shape(width, 100, dark=dark)
    browser.go(f"file://{_PLACE}")
    height = int(browser.run("return document.documentElement.scrollHeight"))
    browser.shape(width, height, dark=dark)
    return height
