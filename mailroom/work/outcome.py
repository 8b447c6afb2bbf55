"""What a poll did, as values: for the history, the log, and the schedule."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mailroom.errors import TransientError
from mailroom.rules.polling.push import ReadState
from mailroom.rules.triage.places import Places
from mailroom.rules.triage.verdicts import Conflict
from mailroom.work.judge import Admission
from mailroom.work.reading import Reading
from mailroom.work.survey import Survey


@dataclass(frozen=True, slots=True)
class Triaged:
    """One sender that is where the label said; ``category`` None: taken back to Screener. ``by`` is
    who has decided that by command; ``is_repeated`` where it was there before."""

    sender: str
    category: str | None
    previous: str | None
    filed: int
    by: str | None = None
    is_repeated: bool = False


@dataclass(frozen=True, slots=True)
class Contested:
    """One sender whose mail has labels of several ``categories``, whether that is new or not."""

    sender: str
    categories: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PollOutcome:
    """What a poll did, and what the schedule has to know: when it last read the labels, with
    which states, whether a label has appeared meanwhile, and with which states the stream will tell
    of what was written last (``echo``). ``looks`` are the Email states that it has read.

    ``conflicts`` counts the new ones; ``contested`` has all that the poll has seen. ``trouble`` has
    kept some senders from being done, and passes. ``admissions`` are the new mail;
    ``crowd`` is how many senders were moved at once, for which nothing was done.
    """

    read_at: float
    known: Mapping[str, frozenset[str]]
    looks: tuple[ReadState, ...]
    again: bool = False
    echo: Mapping[str, str] | None = None
    triaged: tuple[Triaged, ...] = ()
    filed: int = 0
    conflicts: int = 0
    contested: tuple[Contested, ...] = ()
    failed: int = 0
    trouble: TransientError | None = None
    admissions: tuple[Admission, ...] = ()
    crowd: int = 0

    @property
    def admitted(self) -> Counter[str]:
        """The new mail, counted by what decided about it."""
        return self.count(self.admissions)

    @staticmethod
    def count(admissions: Iterable[Admission]) -> Counter[str]:
        """New mail by what decided about it."""
        return Counter(str(each.standing.who) for each in admissions)

    @property
    def is_idle(self) -> bool:
        return not (self.triaged or self.filed or self.conflicts or self.failed or self.admissions)


def contested(survey: Survey) -> tuple[Contested, ...]:
    conflicts, places = survey.verdicts.conflicts, survey.places
    return tuple(Contested(each.sender, categories(each, places)) for each in conflicts)


def known(survey: Survey, closing: Reading | None = None) -> dict[str, frozenset[str]]:
    """The states that were read before a query whose labels were acted on, and up to which new mail
    has been dealt with."""
    readings = [survey.reading, *([closing] if closing else [])]
    known = {
        kind: frozenset(reading.states[kind] for reading in readings) for kind in readings[0].states
    }
    told = [each.changes for each in readings if each.changes and not each.changes.has_more]
    known["Email"] = known["Email"].union(
        *(reading.earlier for reading in readings), (changes.new_state for changes in told)
    )
    if any(reading.tells_by_email for reading in readings):
        known["Mailbox"] |= known["Email"]
    return known


def looks(*readings: Reading) -> tuple[ReadState, ...]:
    return tuple(ReadState(reading.sent_at, reading.states["Email"]) for reading in readings)


def categories(conflict: Conflict, places: Places) -> tuple[str, ...]:
    """What the sender is labelled for, by name."""
    labelled = {places.asks[label_id] for label_id in conflict.label_ids}
    return tuple(sorted(category.name if category else "Screener" for category in labelled))
