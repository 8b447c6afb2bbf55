"""A day of a household, and a week without the service: what becomes of everybody's mail."""

import pytest

from mailroom.engine.journal import Level
from mailroom.rules.triage.drags import WAITING
from tests.household.day import EVENING, MORNING, NEWS, Day, Letter, differences
from tests.household.drawing import DOCUMENT, drawn
from tests.household.home import ADDRESS, Home
from tests.sandbox import CYRUS_3_10, CYRUS_3_13, FASTMAIL, STALWART, Profile

HOMES = pytest.mark.parametrize(
    ("profile", "by", "contacts"),
    [(CYRUS_3_10, "server", "carddav"), (CYRUS_3_13, "server", "jmap"),
     (CYRUS_3_10, "mailroom", "carddav"), (FASTMAIL, "mailroom", "carddav"),
     (FASTMAIL, "mailroom", "jmap"), (STALWART, "mailroom", "carddav"),
     (STALWART, "mailroom", "jmap")],
    ids=lambda each: each if isinstance(each, str) else each.name,
)  # fmt: skip


def at_home(profile: Profile, by: str, contacts: str) -> tuple[Home, Day]:
    home = Home(profile, by, contacts)
    day = Day(home, ADDRESS)
    day.begin()
    home.start().settle()
    return home, day


@HOMES
def test_a_day(profile: Profile, by: str, contacts: str) -> None:
    home, day = at_home(profile, by, contacts)
    assert differences(day.live()) == []
    assert home.events
    assert [event for event in home.events if event[0] <= Level.WARNING] == []


@HOMES
def test_a_start_after_eight_days(profile: Profile, by: str, contacts: str) -> None:
    """The server does not know any more what has changed since; whoever was decided about is filed,
    and what the user has read in Inbox meanwhile stays there."""
    home, day = at_home(profile, by, contacts)
    day.live()
    home.account.close()
    home.sandbox.close_feeds()
    week: list[tuple[str, set[str], bool]] = []
    for number in range(8):
        home.clock.advance(86400.0)
        for letter, places, waits in (
            (Letter("", "Anna <anna@work.example>", "Tea"), {"Inbox"}, False),
            (Letter("", f"Eve <eve{number}@strangers.example>", "Hello"), {"Screener"}, True),
            (Letter("", NEWS, "Weekly"), {"Feed"}, False),
        ):
            mail = home.sandbox.arrive(letter.sender, letter.subject)
            week.append((mail, places, waits))
    read = home.sandbox.arrive("Hal <hal@strangers.example>", "Hello")
    home.sandbox.set_keywords(read, add=["$seen"])
    came_to = home.sandbox.mailboxes_of(read)
    home.sandbox.forget_changes()
    home.boot()
    home.start().settle()
    told = [(mail, home.sandbox.mailboxes_of(mail), WAITING in home.sandbox.keywords_of(mail))
            for mail, _, _ in week]  # fmt: skip
    assert told == week
    assert home.sandbox.mailboxes_of(read) == came_to


@HOMES
def test_a_forged_sender_gets_into_inbox_and_changes_nothing(
    profile: Profile, by: str, contacts: str
) -> None:
    """It gets as far as it would without Mailroom; no contact, no group and no decision changes."""
    home, day = at_home(profile, by, contacts)
    day.live()
    before = home.sandbox.cards(), len(home.named("sender_triaged"))
    forged = [each for each in MORNING if {"Inbox"} == EVENING[each.name][0]]
    assert len(forged) == 6
    day.comes(forged)
    for letter in forged:
        assert home.sandbox.mailboxes_of(day.mails[letter.name]) == {"Inbox"}
    assert (home.sandbox.cards(), len(home.named("sender_triaged"))) == before


def test_the_document_shows_the_day_as_it_is() -> None:
    """Else ``make day`` has not been run since something has changed."""
    text = DOCUMENT.read_text(encoding="utf-8")
    assert drawn(text) == text
