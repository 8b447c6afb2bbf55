"""Whether new mail goes where it belongs, judged from outside: by where it has come to.

A triage files all that waits, and mail that comes later is filed by the rules or by the door. So
mail in Screener or in a destination, of a sender in a category, that is not in all of its
destinations, was not filed; and mail of people whom the user knows does not wait.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from mailroom.rules.screening.standing import Standing
from mailroom.rules.triage.drags import PLACED
from mailroom.rules.triage.places import Places
from mailroom.rules.triage.verdicts import sender_of
from mailroom.rules.words import count
from mailroom.wire.jmap import Mail


@dataclass(slots=True)
class Evidence:
    """Counts of mail by category, and ``waiting``, how much of people who are known waits;
    ``examples`` has a sender of each kind of failure."""

    routed: Counter[str] = field(default_factory=Counter)
    unrouted: Counter[str] = field(default_factory=Counter)
    halfway: Counter[str] = field(default_factory=Counter)
    waiting: int = 0
    examples: dict[str | None, str] = field(default_factory=dict)

    def faults(self) -> list[str]:
        """What to look at, one line per category."""
        lines = []
        for name, number in self.unrouted.items():
            lines.append(
                f"{count(number, 'mail')} of senders in {name} not where it belongs "
                f"(as of {self.examples[name]}): is there a rule for its group, above Screener's?"
            )
        for name, number in self.halfway.items():
            lines.append(
                f"{count(number, 'mail')} of senders in {name} in some of its mailboxes only "
                f"(as of {self.examples[name]}): do the rules of its chain continue to apply "
                "other rules?"
            )
        if self.waiting:
            lines.append(
                f"{count(self.waiting, 'mail')} in Screener of people who need not wait "
                f"(as of {self.examples[None]}): is the service running?"
            )
        return lines


def weigh(
    mails: Iterable[Mail],
    standing_of: Callable[[str], Standing | None],
    places: Places,
    *,
    has_door: bool = False,
) -> Evidence:
    """``mails`` are in Screener or a destination; ``standing_of`` knows a sender by address, as far
    as nobody has to be asked. ``has_door`` says whether all have come since the door is used."""
    evidence = Evidence()
    for mail in mails:
        sender = sender_of(mail)
        is_decided = PLACED in mail.keywords or not mail.mailbox_ids.isdisjoint(places.labels)
        who = standing_of(sender) if sender and not is_decided else None
        if sender is None or who is None:
            continue
        if who.category is None:
            if who.is_known and has_door and places.screener in mail.mailbox_ids:
                evidence.waiting += 1
                evidence.examples.setdefault(None, sender)
            continue
        wanted = set(places.chains[who.category.name])
        there = wanted & mail.mailbox_ids
        kind = evidence.routed
        if there != wanted:
            kind = evidence.halfway if there else evidence.unrouted
            evidence.examples.setdefault(who.category.name, sender)
        kind[who.category.name] += 1
    return evidence
