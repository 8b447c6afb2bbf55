"""A file of decisions: JSON lines from ``mailroom export``, or any CSV with a column of addresses.
Pure: text in, lines out."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mailroom.errors import UsageError
from mailroom.rules.triage.subject import SubjectKind
from mailroom.terminal.naming import CategoryNames, whom
from mailroom.terminal.remote import Decision, Whom

# What a column of categories may be called, in any case.
_CATEGORY = ("category", "group", "label", "folder", "mailbox", "destination", "box")
_DELIMITERS = ",;\t|"

# Number, who, and the category that the line names.
_Line = tuple[int, Whom, str | None]


@dataclass(frozen=True, slots=True)
class Bad:
    """A line that is not a decision, and why."""

    line: int
    reason: str


Parsed = Decision | Bad


def parse(text: str, names: CategoryNames, category: str | None) -> list[Parsed]:
    """Every decision of the file, each once; ``category`` is for lines that name none. Raises
    :class:`UsageError` if it is not such a file, or if there is no such ``category``."""
    if category is not None:
        names.find(category)
    text = text.removeprefix("\ufeff")  # spreadsheets begin their files with it
    is_json = text.lstrip().startswith("{")
    lines = _json_lines(text) if is_json else _csv_lines(text, names)
    seen: dict[Whom, Decision] = {}
    parsed: list[Parsed] = []
    for line in lines:
        each = line if isinstance(line, Bad) else _decision(line, category, names)
        if isinstance(each, Bad):
            parsed.append(each)
        elif each.whom not in seen:
            seen[each.whom] = each
            parsed.append(each)
        elif seen[each.whom] != each:
            number = 0 if isinstance(line, Bad) else line[0]
            parsed.append(Bad(number, f"{each.whom} is listed already, for another category"))
    return parsed


def _decision(line: _Line, otherwise: str | None, names: CategoryNames) -> Parsed:
    number, who, category = line
    typed = category or otherwise
    if not typed:
        return Bad(number, f"no category for {who}: name one for such lines with --category")
    if typed not in names:
        return Bad(number, f"{who}: there is no category {typed!r}")
    return Decision(who, names.find(typed))


def _json_lines(text: str) -> Iterator[_Line | Bad]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            document = json.loads(line)
        except ValueError:
            yield Bad(number, "not JSON")
            continue
        yield _json_line(number, document)


def _json_line(number: int, document: object) -> _Line | Bad:
    match document:
        case {"address": str(name)}:
            who = Whom(SubjectKind.ADDRESS, name)
        case {"domain": str(name)}:
            who = Whom(SubjectKind.DOMAIN, name)
        case {"list": str(name)}:
            who = Whom(SubjectKind.LIST, name)
        case _:
            return Bad(number, "no address, domain or list")
    category = document.get("category", "") if isinstance(document, dict) else ""
    match category:
        case str():
            return number, who, category
        case None:
            return number, who, CategoryNames.SCREENER
        case _:
            return Bad(number, f"the category of {who} is not text")


def _csv_lines(text: str, names: CategoryNames) -> Iterator[_Line | Bad]:
    first = text.lstrip().partition("\n")[0]
    reader = csv.reader(io.StringIO(text), delimiter=max(_DELIMITERS, key=first.count))
    rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    heads: list[str] = []
    if rows and not any("@" in cell for cell in rows[0][1]):
        heads = [cell.strip().casefold() for cell in rows.pop(0)[1]]
    where = _column_of_addresses([row for _, row in rows])
    there = _column_of_categories(heads, [row for _, row in rows], names, where)
    for number, row in rows:
        named = row[there].strip() if there is not None and there < len(row) else ""
        if where < len(row) and row[where].strip():
            yield number, whom(row[where].strip()), named
        else:
            yield Bad(number, "no address")


def _column_of_addresses(rows: Sequence[Sequence[str]]) -> int:
    """The column with the most addresses; of several, the first."""
    counts: dict[int, int] = {}
    for row in rows:
        for index, cell in enumerate(row):
            counts[index] = counts.get(index, 0) + ("@" in cell)
    if not any(counts.values()):
        raise UsageError("the file has no column of addresses, and no JSON lines either")
    return max(counts, key=lambda index: counts[index])


def _column_of_categories(
    heads: Sequence[str], rows: Sequence[Sequence[str]], names: CategoryNames, addresses: int
) -> int | None:
    """The column with such a heading, else one in which every cell is a category."""
    for head in _CATEGORY:
        if head in heads:
            return heads.index(head)
    width = min(map(len, rows))
    columns = (index for index in range(width) if index != addresses)
    return next((each for each in columns if all(row[each] in names for row in rows)), None)
