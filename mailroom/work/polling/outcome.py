"""What a poll did, as values: for the history, the log and the schedule."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mailroom.errors import TransientError
from mailroom.rules.polling.push import ReadState
from mailroom.rules.triage.places import Places
from mailroom.rules.triage.verdicts import Conflict
from mailroom.work.mail.reading import Reading
from mailroom.work.polling.survey import Survey
from mailroom.work.screening.judge import Admission


@dataclass(frozen=True, slots=True)
class Triaged:
    """One triaged sender. ``category`` None: taken back to Screener. ``by`` is the user who decided
    by command; ``is_repeated``: the sender was in that category before."""

    sender: str
    category: str | None
    previous: str | None
    filed: int
    by: str | None = None
    is_repeated: bool = False


@dataclass(frozen=True, slots=True)
class Contested:
    """One sender whose mail has labels of several ``categories``, newly or still."""

    sender: str
    categories: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PollOutcome:
    """What a poll did, and what the schedule has to know of it.

    For the schedule: ``read_at`` is the instant when it last read the labels, ``known`` are the
    states that it has seen, ``again`` says that another poll is due at once, ``echo`` are the
    states by which the stream will tell of the last write. ``looks`` are the Email states read.

    ``conflicts`` counts new conflicts; ``contested`` has all that the poll saw. ``trouble`` is
    passing trouble that kept some senders from being triaged. ``admissions`` are the decisions
    about new mail. ``crowd`` is how many senders were moved at once, too many to act on.
    ``is_unchanged`` says that nothing is different from when a poll found nothing to do.
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
    is_unchanged: bool = False

    @property
    def admitted(self) -> Counter[str]:
        """The new mail of this poll, counted by what decided about it."""
        return self.count(self.admissions)

    @staticmethod
    def count(admissions: Iterable[Admission]) -> Counter[str]:
        """Count new mail by what decided about it."""
        return Counter(str(each.standing.who) for each in admissions)

    @property
    def is_idle(self) -> bool:
        return not (self.triaged or self.filed or self.conflicts or self.failed or self.admissions)


def contested(survey: Survey) -> tuple[Contested, ...]:
    conflicts, places = survey.verdicts.conflicts, survey.places
    return tuple(Contested(each.sender, categories(each, places)) for each in conflicts)


def known(*readings: Reading) -> dict[str, frozenset[str]]:
    """The states whose changes this poll has dealt with: those read before a query for labels, and
    those that new mail was dealt with up to. By type (``Email``, ``Mailbox``)."""
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
    """The names of the categories for which the sender's mail has labels."""
    labelled = {places.asks[label_id] for label_id in conflict.label_ids}
    return tuple(sorted(category.name if category else "Screener" for category in labelled))
