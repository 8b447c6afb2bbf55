"""The story of a day, for whatever account it is to be lived on: a sandbox, or a real server.

In the morning everybody writes; the user does four things; in the afternoon those write again about
whom something was decided.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mailroom.rules.triage.drags import WAITING

ANNA = """\
BEGIN:VCARD
VERSION:3.0
UID:anna
FN:Anna
N:;Anna;;;
EMAIL:anna@friends.example
EMAIL:anna@work.example
END:VCARD
""".replace("\n", "\r\n")
NEWS, BANK = "The Weekly <news@weekly.example>", "Your Bank <service@bank.example>"
_LIST = {"List-Id": "Gardeners <gardeners.lists.example>"}
_OTHER_LIST = {"List-Id": "Beekeepers <bees.lists.example>"}
_REPORT = {"Content-Type": 'multipart/report; report-type=delivery-status; boundary="x"'}
_TRIP = "The trip in May"


@dataclass(frozen=True, slots=True)
class Letter:
    """One mail of the day. ``sender`` is None for the user's own."""

    name: str
    sender: str | None
    subject: str
    headers: Mapping[str, str] = field(default_factory=dict)
    return_path: str | None = None
    is_answer: bool = False


@dataclass(frozen=True, slots=True)
class Gesture:
    """What the user does about one of them: labels it, or moves it."""

    about: str
    labels: tuple[str, ...] = ()
    moves_to: str | None = None

    @property
    def text(self) -> str:
        return " and ".join(self.labels) or f"moved to {self.moves_to}"


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one mail: where it came to, what the user did, where it is in the evening, and
    whether it waits there."""

    name: str
    came_to: frozenset[str]
    gesture: str
    evening: frozenset[str]
    waits: bool


MORNING = (
    Letter("a friend", "Anna <anna@friends.example>", "Tea?"),
    Letter("the friend, from her office", "Anna <anna@work.example>", "Tea at five"),
    Letter("somebody you have written to", "Carl <carl@crafts.example>", "My offer"),
    Letter("a stranger's answer in a conversation of yours", "Dora <dora@trip.example>",
           f"Re: {_TRIP}", is_answer=True),
    Letter("a mail to yourself", None, "Milk"),
    Letter("a bounce", "Mailer <mailer-daemon@mx.example>", "Undelivered", _REPORT, ""),
    Letter("spam", "Win <win@spam.example>", "You have won", {"X-Spam-Flag": "YES"}),
    Letter("a stranger", "Eve <eve@strangers.example>", "Hello"),
    Letter("a newsletter", NEWS, "Week 47"),
    Letter("your bank", BANK, "Your statement"),
    Letter("a shop", "Shop <offers@shop.example>", "Autumn"),
    Letter("a member of a mailing list", "Fay <fay@gardens.example>", "Roses", _LIST),
    Letter("another list", "Gus <gus@bees.example>", "Honey", _OTHER_LIST),
)  # fmt: skip
GESTURES = (
    Gesture("a newsletter", moves_to="Feed"),
    Gesture("your bank", ("@ToPaperTrail",)),
    Gesture("a shop", ("@ToBillboard", "@WholeDomain")),
    Gesture("a member of a mailing list", ("@ToFeed", "@WholeList")),
)
AFTERNOON = (
    Letter("the newsletter again", NEWS, "Week 48"),
    Letter("your bank again", BANK, "A new card"),
    Letter("the shop, from another address", "Shop <parcels@post.shop.example>", "Your parcel"),
    Letter("another member of the list", "Gil <gil@allotment.example>", "Tulips", _LIST),
    Letter("the friend again", "Anna <anna@friends.example>", "Cake?"),
)
#: Where each is in the evening, and whether it waits, whoever sorts.
EVENING: Mapping[str, tuple[set[str], bool]] = {
    "a friend": ({"Inbox"}, False),
    "the friend, from her office": ({"Inbox"}, False),
    "somebody you have written to": ({"Inbox"}, False),
    "a stranger's answer in a conversation of yours": ({"Inbox"}, False),
    "a mail to yourself": ({"Inbox"}, False),
    "a bounce": ({"Inbox"}, False),
    "spam": ({"Junk"}, False),
    "a stranger": ({"Screener"}, True),
    "a newsletter": ({"Feed"}, False),
    "your bank": ({"Paper Trail"}, False),
    "a shop": ({"Billboard", "Paper Trail"}, False),
    "a member of a mailing list": ({"Feed"}, False),
    "another list": ({"Screener"}, True),
    "the newsletter again": ({"Feed"}, False),
    "your bank again": ({"Paper Trail"}, False),
    "the shop, from another address": ({"Billboard", "Paper Trail"}, False),
    "another member of the list": ({"Feed"}, False),
    "the friend again": ({"Inbox"}, False),
}


class Day:
    """The day on one account. ``home`` is a world whose ``sandbox`` takes mail in by ``arrive``."""

    def __init__(self, home: Any, address: str) -> None:
        self.mails: dict[str, str] = {}
        self._home = home
        self._sandbox = home.sandbox
        self._address = address
        self._came_to: dict[str, frozenset[str]] = {}
        self._trip = ""

    def begin(self) -> None:
        """What there was before: a friend in the address book, and two mails in Sent."""
        self._sandbox.put_card(ANNA, "anna.vcf")
        self._sandbox.send("Carl <carl@crafts.example>", "An enquiry")
        trip = self._sandbox.send("Anna <anna@friends.example>", _TRIP)
        self._trip = self._sandbox.message_id_of(trip)

    def live(self) -> list[Row]:
        """The whole day; what became of everything."""
        self.comes(MORNING)
        for gesture in GESTURES:
            mail_id = self.mails[gesture.about]
            for label in gesture.labels:
                self._sandbox.label(mail_id, label)
            if gesture.moves_to:
                self._sandbox.move(mail_id, gesture.moves_to)
        self._home.settle()
        self.comes(AFTERNOON)
        return list(self._rows())

    def comes(self, letters: Sequence[Letter]) -> None:
        """These mails come in, and the service deals with them."""
        for letter in letters:
            head: dict[str, Any] = {"headers": dict(letter.headers)}
            if letter.is_answer:
                head |= {"in_reply_to": self._trip, "references": self._trip}
            sender = letter.sender or f"Me <{self._address}>"
            path = letter.return_path
            mail_id = self._sandbox.arrive(sender, letter.subject, return_path=path, **head)
            self.mails[letter.name] = mail_id
            self._came_to[letter.name] = frozenset(self._sandbox.mailboxes_of(mail_id))
        self._home.settle()

    def _rows(self) -> Iterator[Row]:
        gestures = {each.about: each.text for each in GESTURES}
        for name, mail_id in self.mails.items():
            evening = frozenset(self._sandbox.mailboxes_of(mail_id))
            waits = WAITING in self._sandbox.keywords_of(mail_id)
            yield Row(name, self._came_to[name], gestures.get(name, ""), evening, waits)


def differences(rows: Sequence[Row]) -> list[str]:
    """What is not as it should be, in words."""
    told = {row.name: (set(row.evening), row.waits) for row in rows}
    return [
        f"{name}: {told.get(name)} instead of {expected}"
        for name, expected in EVENING.items()
        if told.get(name) != expected
    ]


def table(rows: Sequence[Row]) -> Iterator[str]:
    """The day in Markdown."""
    yield "| mail of the day | comes to | you | in the evening |"
    yield "|---|---|---|---|"
    for row in rows:
        evening = _listed(row.evening) + (", waiting" if row.waits else "")
        yield f"| {row.name} | {_listed(row.came_to)} | {row.gesture} | {evening} |"


def _listed(names: frozenset[str]) -> str:
    return " and ".join(sorted(names))
