"""Mailroom's section in a contact's NOTE: the only record of a sender's past, and the user's own.

    — Mailroom —
    Created by Mailroom
    Triaged to Feed on 2026-11-21
    Re-triaged to Imbox on 2026-12-02

The section is its known lines, from the heading on, and nothing else: what the user types before,
between or after them stays, byte for byte. For the same reason, values are edited in their escaped
form. Only contacts that Mailroom created get a section. Earlier versions wrote it into the user's
own cards as well; there it is understood, and removed on reset.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from mailroom.wire.vcard import Card, CardView, Line, escape_text, unescape_text

_HEADING = "— Mailroom —"
_CREATED, _ADOPTED = "Created by Mailroom", "Adopted by Mailroom"
_FIRST, _AGAIN = "Triaged to ", "Re-triaged to "

_ESCAPED = re.compile(r"\\.")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True, slots=True)
class Section:
    """What the section says. ``history`` are the categories with their days, the latest last; empty
    for a new sender."""

    has_heading: bool = False
    says_created: bool = False
    history: tuple[tuple[str, str], ...] = ()

    @property
    def category(self) -> str | None:
        return self.history[-1][0] if self.history else None

    @property
    def day(self) -> str | None:
        return self.history[-1][1] if self.history else None


def read_section(view: CardView) -> Section:
    """Return what the sections of all NOTEs say together."""
    known = [text for line in view.lines if _is_note(line) for text in _known(line.value).values()]
    told = tuple(each for text in known if (each := _told(text)) is not None)
    return Section(bool(known), _CREATED in known, told)


def with_section(card: Card, category: str | None, today: date) -> Card:
    """Add what the section does not say yet, each line after the last known one.

    If the latest category is this one already, or None is given, no line for it is added. A new
    section follows the user's text in the first NOTE, on a line of its own.
    """
    section = read_section(card)
    missing = [] if section.has_heading else [_HEADING]
    if not section.says_created:
        missing.append(_CREATED)
    if category is not None and section.category != category:
        opening = _FIRST if section.category is None else _AGAIN
        missing.append(f"{opening}{category} on {today.isoformat()}")
    if not missing:
        return card
    lines = [escape_text(text) for text in missing]
    place = _place(card)
    if place is None:
        return card.with_lines([("NOTE", r"\n".join(lines))])
    return card.with_value(place, _extended(card.lines[place].value, lines))


def without_section(card: Card) -> Card:
    """Remove the section, and any NOTE that held nothing else."""
    emptied = set()
    for index, line in enumerate(card.lines):
        if _is_note(line) and (known := _known(line.value)):
            rest = _without(line.value, set(known))
            if rest:
                card = card.with_value(index, rest)
            else:
                emptied.add(index)
    return card.without(emptied) if emptied else card


def _is_note(line: Line) -> bool:
    """Whether this is a NOTE in plain text."""
    return line.name == "NOTE" and not any(
        name == "ENCODING" or (name == "VALUE" and value.lower() != "text")
        for name, value in line.parameters
    )


def _place(card: Card) -> int | None:
    """Return the index of the NOTE for new lines: the last with a section, else the first.

    A NOTE that ends in half an escape is skipped: its backslash would swallow ours.
    """
    notes = [index for index, line in enumerate(card.lines) if _is_note(line)]
    with_heading = [index for index in notes if _known(card.lines[index].value)]
    whole = [index for index in notes if "\\" not in _ESCAPED.sub("", card.lines[index].value)]
    return with_heading[-1] if with_heading else whole[0] if whole else None


def _spans(value: str) -> Iterator[tuple[int, int]]:
    r"""Yield where each line of an escaped text begins and ends, without its ``\n`` or ``\N``."""
    start = 0
    for found in _ESCAPED.finditer(value):
        if found.group() in (r"\n", r"\N"):
            yield start, found.start()
            start = found.end()
    yield start, len(value)


def _known(value: str) -> dict[tuple[int, int], str]:
    """Return the spans of the section's lines and their texts; nothing without a heading."""
    known: dict[tuple[int, int], str] = {}
    if _HEADING not in value:
        return known
    for start, end in _spans(value):
        # some programs end a line with \r\n, both escaped
        text = unescape_text(value[start:end]).removesuffix(r"\r").strip()
        if text == _HEADING or (known and _is_known(text)):
            known[start, end] = text
    return known


def _is_known(text: str) -> bool:
    return text in (_ADOPTED, _CREATED) or _told(text) is not None


def _told(text: str) -> tuple[str, str] | None:
    """Return category and day of a line about a triage."""
    for opening in (_FIRST, _AGAIN):
        if text.startswith(opening):
            category, on, day = text.removeprefix(opening).rpartition(" on ")
            return (category, day) if on and _DAY.fullmatch(day) else None
    return None


def _extended(value: str, lines: list[str]) -> str:
    """Insert escaped lines after the last known one, or at the end."""
    if not value:
        return r"\n".join(lines)
    end = max((end for _, end in _known(value)), default=len(value))
    return value[:end] + "".join(rf"\n{line}" for line in lines) + value[end:]


def _without(value: str, unwanted: set[tuple[int, int]]) -> str:
    """Leave out lines, each with the break before it; the very first with the one after it."""
    kept: list[str] = []
    previous_end = 0
    for start, end in _spans(value):
        if (start, end) not in unwanted:
            kept.append(value[previous_end if kept else start : end])
        previous_end = end
    return "".join(kept)
