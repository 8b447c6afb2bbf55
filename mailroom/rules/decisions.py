"""Decisions as lines of JSON, for whoever leaves and may come back."""

import json
from collections.abc import Iterable, Iterator

from mailroom.rules.config import Config
from mailroom.rules.roster import Found, category_of


def decision_lines(ours: Iterable[Found], config: Config) -> Iterator[str]:
    """Yield a line for each triaged sender that is in a category: ``address``, ``category``, and
    ``since``, the day of that decision, or null where nothing tells it."""
    for contact in ours:
        category = category_of(contact.groups, config)
        if category is not None and contact.addresses:
            is_noted = contact.noted == category.name
            yield json.dumps(
                {
                    "address": contact.addresses[0],
                    "category": category.name,
                    "since": contact.noted_on if is_noted else None,
                },
                ensure_ascii=False,
            )
