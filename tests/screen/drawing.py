"""The screen as docs/behaviour.md shows it: what the code draws for three senders who wait."""

from datetime import UTC, timedelta
from pathlib import Path

from mailroom.terminal.screening.keyboard import Keyboard
from mailroom.terminal.screening.keys import keys_of
from mailroom.terminal.screening.picture import Scene, draw
from mailroom.terminal.screening.values import Choice, Preview, Sender
from mailroom.terminal.screening.window import Window
from tests.screen.people import NOON, board
from tests.screen.service import CATEGORIES

DOCUMENT = Path(__file__).parents[2] / "docs" / "behaviour.md"
_BEGIN, _END = "<!-- the screen: made by make screen -->\n", "<!-- end of the screen -->\n"
_SIZE = (118, 19)
_WHO = (
    ("bob@tools.example", "Bob's Tools", 3, "The autumn catalogue", 4),
    ("eve@garden.example", "The Garden Letter", 1, "Bulbs: what to plant now", 50),
    ("billing@power.example", "", 1, "Your bill for October", 190),
    ("mia@school.example", "Mia Berg", 2, "The trip on Friday", 600),
    ("no-reply@parcels.example", "Parcels", 6, "Your parcel is on its way", 4000),
)
_LINES = (
    "Dear Anna,",
    "",
    "autumn is here, and so is our new catalogue: a saw that sings,",
    "and twelve planes at one price.",
    "",
    "Bob",
)


def picture() -> str:
    """The screen as text: eve is on her way to Feed, and the cursor is on Bob."""
    senders = []
    for address, name, mails, subject, minutes in _WHO:
        at = NOON - timedelta(minutes=minutes)
        senders.append(Sender(address, name, mails, address, subject, at, at))
    room = board(*senders)
    named = tuple(Choice(name, key) for name, key in keys_of(CATEGORIES).items())
    keyboard = Keyboard(room)
    keyboard.learn(named)
    keyboard.press("down")
    keyboard.press("f")
    keyboard.press("home")
    room.message = "City Library → Paper Trail, 2 mails filed"
    preview = Preview("Bob's Tools", "The autumn catalogue", NOON, _LINES)
    scene = Scene(room, keyboard, Window(), named, preview, NOON, UTC)
    lines = ["".join(text for _, text in line) for line in draw(scene, *_SIZE)]
    return "\n".join(line.rstrip() for line in lines)


def drawn(text: str) -> str:
    """The document with the picture that today's code makes."""
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n```\n{picture()}\n```\n\n{_END}{after}"
