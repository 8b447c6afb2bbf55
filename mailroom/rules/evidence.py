"""Whether routing rules work, judged from outside: by where triaged senders' mail has come to.

A triage files all that waits, and mail that comes later is filed by the rules. So mail in Screener
or in a destination, of a sender in a category, that is not in all of its destinations, is mail
that the rules did not route.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from mailroom.rules.categories import Category
from mailroom.rules.config import Config
from mailroom.rules.places import Places
from mailroom.rules.triage import sender_of
from mailroom.rules.words import count
from mailroom.wire.jmap import Mail


@dataclass(slots=True)
class Evidence:
    """Counts of mail by category; ``examples`` has a sender of each kind of failure."""

    routed: Counter[str] = field(default_factory=Counter)
    unrouted: Counter[str] = field(default_factory=Counter)
    halfway: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

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
        return lines


def weigh(
    mails: Iterable[Mail],
    category_of: Callable[[str], Category | None],
    config: Config,
    places: Places,
) -> Evidence:
    """``mails`` are in Screener or a destination; ``category_of`` knows a sender by address."""
    evidence = Evidence()
    for mail in mails:
        sender = sender_of(mail)
        category = category_of(sender) if sender else None
        is_labelled = not mail.mailbox_ids.isdisjoint(places.labels)
        if sender is None or category is None or is_labelled:
            continue
        wanted = set(places.chains[category.name])
        there = wanted & mail.mailbox_ids
        kind = evidence.routed
        if there != wanted:
            kind = evidence.halfway if there else evidence.unrouted
            evidence.examples.setdefault(category.name, sender)
        kind[category.name] += 1
    return evidence
