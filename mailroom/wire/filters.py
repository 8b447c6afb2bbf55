"""Filters of ``Email/query`` (RFC 8620 §5.5, RFC 8621 §4.4.1), put together and taken apart."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import Any

Filter = Mapping[str, Any]

_MAILBOX = "inMailbox"


def any_of(conditions: Iterable[Filter]) -> Filter:
    """At least one of the conditions."""
    found = list(conditions)
    return found[0] if len(found) == 1 else {"operator": "OR", "conditions": found}


def all_of(*conditions: Filter) -> Filter:
    """All conditions, merged into one where possible: some servers accept nothing else."""
    plain: dict[str, Any] = {}
    others: list[Filter] = []
    for condition in _flattened(conditions):
        if "operator" in condition or plain.keys() & condition.keys():
            others.append(condition)
        else:
            plain |= condition
    found = [each for each in (plain, *others) if each]
    return found[0] if len(found) == 1 else {"operator": "AND", "conditions": found}


def in_any(mailbox_ids: Iterable[str]) -> Filter:
    """Mail in at least one of the mailboxes."""
    return any_of({_MAILBOX: mailbox_id} for mailbox_id in mailbox_ids)


def by_mailbox(query: Filter) -> list[Filter]:
    """Filters that together find the same, none with a mailbox inside an OR: Apache James refuses
    that (``unsupportedFilter``; by its source an AND may have one mailbox)."""
    if not _has_mailbox(query):
        return [query]
    match query:
        case {"operator": "OR", "conditions": conditions}:
            return [part for condition in conditions for part in by_mailbox(condition)]
        case {"operator": "AND", "conditions": conditions}:
            return [all_of(*parts) for parts in product(*map(by_mailbox, conditions))]
    return [query]


def _flattened(conditions: Iterable[Filter]) -> Iterator[Filter]:
    for condition in conditions:
        if condition.get("operator") == "AND":
            yield from _flattened(condition["conditions"])
        else:
            yield condition


def _has_mailbox(query: Filter) -> bool:
    return _MAILBOX in query or any(map(_has_mailbox, query.get("conditions", ())))
