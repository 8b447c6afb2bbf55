"""What Mailroom keeps on the provenance group's card: since when, and what ``setup`` made.

``reset`` needs both, to take only what is Mailroom's: mail in Screener that came earlier, and a
mailbox or a group that was there before, are the user's. The door looks at no mail that came before
it was first used.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Record:
    """``since`` is the instant of the first setup (UTC, RFC 3339), None where nobody
    knows (a version that kept no record made it, or the group that had it was deleted);
    ``mailboxes`` and ``groups`` are the names of what setup made; ``door`` is the instant since
    which the door decides about new mail, None before it was first used."""

    since: str | None = None
    mailboxes: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    door: str | None = None

    def with_made(
        self, mailboxes: frozenset[str], groups: frozenset[str], since: str | None = None
    ) -> "Record":
        """The record before these are made: a kill in between leaves nothing unrecorded. ``since``
        is for one that has no such instant yet."""
        return replace(
            self,
            since=self.since or since,
            mailboxes=self.mailboxes | mailboxes,
            groups=self.groups | groups,
        )

    def with_door(self, instant: str) -> "Record":
        """The record when the door is used at this instant: the first one counts."""
        return replace(self, door=self.door or instant)


#: What becomes of a record, as often as somebody else changes the card meanwhile.
Amendment = Callable[[Record], Record]


def encode_record(record: Record) -> str:
    """One line of text."""
    data = {
        "since": record.since,
        "mailboxes": sorted(record.mailboxes),
        "groups": sorted(record.groups),
    }
    return json.dumps(data | ({"door": record.door} if record.door else {}), ensure_ascii=False)


def read_record(text: str) -> Record:
    """The record of that text; where it makes no sense, an empty one: then nothing was made by
    setup, as far as can be told."""
    try:
        data = json.loads(text)
        since, door = data["since"], data.get("door")
        return Record(
            since if isinstance(since, str) else None,
            frozenset(map(str, data["mailboxes"])),
            frozenset(map(str, data["groups"])),
            door if isinstance(door, str) else None,
        )
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return Record()
