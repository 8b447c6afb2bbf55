"""The record on the provenance group's card: when Mailroom was first set up, and what ``setup``
made.

``reset`` needs both, to take only what is Mailroom's: mail that came to Screener earlier, and
mailboxes and groups that existed before, are the user's. The door ignores mail that came before it
was first used.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Record:
    """``since`` is the instant of the first setup (UTC, RFC 3339), None if unknown (a version
    without records did it, or the group that had the record was deleted); ``mailboxes`` and
    ``groups`` are the names of what setup made; ``door`` is the instant since which the door
    decides about new mail, None before its first use."""

    since: str | None = None
    mailboxes: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    door: str | None = None

    def with_made(
        self, mailboxes: frozenset[str], groups: frozenset[str], since: str | None = None
    ) -> "Record":
        """The record with these, to be written before they are made: so a kill in between leaves
        nothing unrecorded. ``since`` counts only if the record has none yet."""
        return replace(
            self,
            since=self.since or since,
            mailboxes=self.mailboxes | mailboxes,
            groups=self.groups | groups,
        )

    def with_door(self, instant: str) -> "Record":
        """The record after the door's use at this instant; the first use counts."""
        return replace(self, door=self.door or instant)


#: A change of the record, repeated whenever somebody else changes the card meanwhile.
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
    """The record in that text. If the text makes no sense, an empty record: setup made nothing, as
    far as we know."""
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
