"""Decisions as lines of JSON, for users who leave and may come back."""

import json
from collections.abc import Iterable, Iterator, Mapping

from mailroom.rules.configuration.config import Config
from mailroom.rules.contacts.roster import Found, category_of
from mailroom.rules.screening.wide import Decisions


def decision_lines(ours: Iterable[Found], wide: Decisions, config: Config) -> Iterator[str]:
    """Yield a line for each triaged sender that is in a category: ``address``, ``category``, and
    ``since``, the day of that decision, or null if unknown; then one for each whole domain and each
    mailing list, with ``domain`` or ``list`` in place of ``address``."""
    for contact in ours:
        category = category_of(contact.groups, config)
        if category is not None and contact.addresses:
            is_noted = contact.noted == category.name
            day = contact.noted_on if is_noted else None
            yield _line("address", contact.addresses[0], category.name, day)
    yield from _lines("domain", wide.domains, wide.domain_days)
    yield from _lines("list", wide.lists, wide.list_days)


def _lines(kind: str, names: Mapping[str, str], days: Mapping[str, str]) -> Iterator[str]:
    for key, category in sorted(names.items()):
        yield _line(kind, key, category, days.get(key))


def _line(kind: str, key: str, category: str, day: str | None) -> str:
    return json.dumps({kind: key, "category": category, "since": day}, ensure_ascii=False)
