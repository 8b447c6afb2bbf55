"""vCards edited per second: read, filed under a category, written."""

import time
from collections.abc import Iterator
from datetime import date

from mailroom.rules.categories import Category
from mailroom.rules.contact import Filing, file_under
from mailroom.wire.vcard import Card
from tests.bench.address_book import card
from tests.bench.effort import Effort
from tests.bench.figures import Figure, typical

_CARDS = 1000


def edits(effort: Effort) -> Iterator[Figure]:
    category = Category("Feed", "@ToFeed", "Feed", "Feed")
    raw = [card(n).encode() for n in range(_CARDS)]
    rates = []
    for _ in range(effort.times(10)):
        begun = time.perf_counter()
        for n, text in enumerate(raw):
            filing = Filing(f"uid-{n}", f"sender{n}@example.org", "Bob", category, date.today())  # noqa: DTZ011
            bytes(file_under(Card.parse(text), filing))
        rates.append(_CARDS / (time.perf_counter() - begun))
    yield typical("vCard edit", "cards/s", ">=", 2000, rates)
