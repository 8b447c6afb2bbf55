"""Whether new mail goes where it belongs, judged from outside: by where it lies.

A triage files all waiting mail, and the rules or the door file what comes later. So something
failed if mail of a sender in a category lies in Screener or a destination, but not in all
destinations of that category; or if mail of people whom the user knows waits.
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
    """Counts of mail by category. ``waiting`` is how much mail of known people waits; ``examples``
    has one sender for each kind of failure."""

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
                f"(for example from {self.examples[name]}): is there a rule for its group, above "
                "Screener's?"
            )
        for name, number in self.halfway.items():
            lines.append(
                f"{count(number, 'mail')} of senders in {name} in some of its mailboxes only "
                f"(for example from {self.examples[name]}): do the rules of its chain continue "
                "to apply other rules?"
            )
        if self.waiting:
            lines.append(
                f"{count(self.waiting, 'mail')} in Screener of people who need not wait "
                f"(for example from {self.examples[None]}): is the service running?"
            )
        return lines


def weigh(
    mails: Iterable[Mail],
    standing_of: Callable[[str], Standing | None],
    places: Places,
    *,
    has_door: bool = False,
) -> Evidence:
    """Judge ``mails``, which are in Screener or a destination. ``standing_of`` gives a sender's
    standing by address, as far as known without asking anybody. ``has_door`` says whether all mails
    came since the door was first used."""
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
