"""Decisions for whole domains and lists, kept in the address book, one card for each category.

    — Mailroom: whole domains and lists in Feed —
    domain shop.example since 2026-11-26
    list news.example.org since 2026-11-26

The card's note holds them, so both ways to contacts read it alike, and so can the user. The card
has no address, because a server's rules would match more than meant by one with ``*``; and it is in
no group. Whatever else somebody writes into the note stays.
"""

import re
import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from mailroom.rules.names import normal_name
from mailroom.rules.screening.wide import Decisions, canonical_domain, is_domain, list_id

_NAMESPACE = uuid.UUID("b1a9f0e7-52cf-4a57-9a0c-6d4b7f0f3c5e")
_HEADING = re.compile("— Mailroom: whole domains and lists in (.+) —")
_LINE = re.compile(r"(domain|list) (\S+)(?: since ([0-9]{4}-[0-9]{2}-[0-9]{2}))?")

#: What a decision is for: whether it is a list, and its canonical domain or list id.
Scope = tuple[bool, str]


@dataclass(frozen=True, slots=True)
class Kept:
    """What one card keeps: the category's name, and what is decided for, each with its day."""

    category: str
    days: Mapping[Scope, str] = field(default_factory=dict)

    def having(self, scope: Scope, day: str) -> "Kept":
        return self if scope in self.days else replace(self, days={**self.days, scope: day})

    def lacking(self, scope: Scope) -> "Kept":
        return replace(self, days={each: day for each, day in self.days.items() if each != scope})


def kept_uid(account_id: str, category: str, counter: int) -> str:
    """The UID of a category's card: always the same for the same arguments. The counter goes up if
    the card has become something else."""
    return str(uuid.uuid5(_NAMESPACE, "\n".join((account_id, category, str(counter)))))


def card_name(category: str) -> str:
    """The card's name in an address book program."""
    return f"Mailroom: {category}"


def read_kept(notes: Iterable[str]) -> Kept | None:
    """What the notes of a card keep; None for any other card."""
    return next((kept for note in notes if (kept := _read(note)) is not None), None)


def with_kept(note: str, kept: Kept) -> str:
    """The note with our lines for ``kept``; without any if it is empty."""
    before, after, has_begun = [], [], False
    for line in _lines_of(note) if note else []:
        has_begun |= _HEADING.fullmatch(line.strip()) is not None
        if not has_begun:
            before.append(line)
        elif not _is_ours(line):
            after.append(line)
    return "\n".join([*before, *_written(kept), *after])


def merged(kept: Iterable[Kept], categories: Collection[str]) -> Decisions:
    """All decisions of these categories. If one stands on several cards, because a change was
    interrupted, the latest counts."""
    names = {normal_name(name): name for name in categories}
    found: dict[Scope, tuple[str, str]] = {}
    for each in kept:
        name = names.get(normal_name(each.category))
        for scope, day in each.days.items() if name else ():
            if scope not in found or day > found[scope][0]:
                found[scope] = day, name or ""
    domains = {key: told for (is_list, key), told in found.items() if not is_list}
    lists = {key: told for (is_list, key), told in found.items() if is_list}
    return Decisions(
        {key: name for key, (_, name) in domains.items()},
        {key: name for key, (_, name) in lists.items()},
        {key: day for key, (day, _) in domains.items() if day},
        {key: day for key, (day, _) in lists.items() if day},
    )


def _read(note: str) -> Kept | None:
    kept = None
    for line in _lines_of(note) if "— Mailroom: " in note else ():
        text = line.strip()
        if (heading := _HEADING.fullmatch(text)) is not None and kept is None:
            kept = Kept(heading[1])
        elif kept is not None and (told := _told(text)) is not None:
            kept = kept.having(*told)
    return kept


def _told(text: str) -> tuple[Scope, str] | None:
    """What a line decides for, and since which day; None for a line of the user's."""
    found = _LINE.fullmatch(text)
    if found is None:
        return None
    if found[1] == "list":
        key = list_id(found[2])
        return ((True, key), found[3] or "") if key else None
    domain = canonical_domain(found[2])
    return ((False, domain), found[3] or "") if is_domain(domain) else None


def _is_ours(line: str) -> bool:
    return _HEADING.fullmatch(line.strip()) is not None or _told(line.strip()) is not None


def _written(kept: Kept) -> list[str]:
    if not kept.days:
        return []
    lines = [
        f"{'list' if is_list else 'domain'} {key}" + (f" since {day}" if day else "")
        for (is_list, key), day in sorted(kept.days.items())
    ]
    return [f"— Mailroom: whole domains and lists in {kept.category} —", *lines]


def _lines_of(note: str) -> list[str]:
    return note.replace("\r\n", "\n").replace("\r", "\n").split("\n")
