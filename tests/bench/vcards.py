"""vCards edited per second: the card of a created contact is read, noted in, and written."""

import time
from collections.abc import Iterator
from datetime import date

from mailroom.rules.configuration.categories import Category
from mailroom.rules.contacts.contact import new_contact, noted
from mailroom.rules.contacts.roster import Filing
from mailroom.wire.vcard import Card
from tests.bench.effort import Effort
from tests.bench.figures import Figure, typical

_CARDS = 1000


def edits(effort: Effort) -> Iterator[Figure]:
    category = Category("Feed", "@ToFeed", "Feed", "Feed")
    today = date(2026, 11, 21)
    filings = [Filing(f"sender{n}@example.org", "Bob", category, today) for n in range(_CARDS)]
    raw = [bytes(new_contact(filing, f"uid-{n}")) for n, filing in enumerate(filings)]
    rates = []
    for _ in range(effort.times(10)):
        begun = time.perf_counter()
        for text in raw:
            bytes(noted(Card.parse(text), "Jail", today))
        rates.append(_CARDS / (time.perf_counter() - begun))
    yield typical("vCard edit", "cards/s", ">=", 2000, rates)
