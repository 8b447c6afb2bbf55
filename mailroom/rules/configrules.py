"""What must hold between the keys of a configuration, which a JSON Schema cannot say.

The rules run also on data whose shape is wrong, so that every problem is told at once: each looks
only at what is there and has the right type.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import combinations
from typing import Any

from mailroom.rules.categories import DEFAULT_CATEGORIES, Category, Triage, category_from
from mailroom.rules.config import Marks, Polling
from mailroom.rules.document import Document, Path, Problem, shown
from mailroom.rules.servers import fault_of_url

_ROLES = frozenset({"inbox", "archive", "trash", "junk", "sent", "drafts"})
_FIRST_PRINTABLE, _DELETE, _LAST_CONTROL = 0x20, 0x7F, 0x9F
_SURROGATES = range(0xD800, 0xE000)


def rule_problems(document: Document) -> Iterator[Problem]:
    """Yield what is wrong with the document's values and with how they go together."""
    placed = tuple(_placed_categories(document))
    firsts = {category.name.casefold(): category for _, category in reversed(placed)}
    yield from _text_problems(document)
    yield from _timing_problems(document)
    yield from _category_problems(document, placed, firsts)
    # Of categories with one name only the first counts from here: the rest would be echoes.
    distinct = tuple(item for item in placed if item[1] is firsts[item[1].name.casefold()])
    yield from _parent_problems(document, distinct)
    yield from _clashes(document, _group_uses(document, distinct), _GroupSharing(distinct))
    yield from _clashes(document, _mailbox_uses(document, distinct), _both_are_destinations)


def _section(document: Document, name: str) -> dict[str, Any]:
    data = document.data if isinstance(document.data, dict) else {}
    section = data.get(name)
    return section if isinstance(section, dict) else {}


def _text(section: Mapping[str, Any], key: str, default: str) -> str:
    value = section.get(key)
    return value if isinstance(value, str) and value else default


def _placed_categories(document: Document) -> Iterator[_Placed]:
    entries = _section(document, "triage").get("categories")
    path: Path = ("triage", "categories")
    if not isinstance(entries, list):
        for at, category in enumerate(DEFAULT_CATEGORIES):
            yield _Placed((*path, at), category)
        return
    for at, entry in enumerate(entries):
        given = {"name": entry} if isinstance(entry, str) else entry
        if isinstance(given, dict) and _text(given, "name", ""):
            usable = {
                key: given[key]
                for key in ("name", "label", "contact_group", "destination_mailbox", "parent")
                if _text(given, key, "")
            }
            yield _Placed((*path, at), category_from(usable))


def _text_problems(document: Document) -> Iterator[Problem]:
    checks: tuple[tuple[str, str, Callable[[str], str | None]], ...] = (
        ("jmap", "url", fault_of_url),
        ("jmap", "username", _fault_of_username),
        ("carddav", "url", fault_of_url),
        ("carddav", "username", _fault_of_username),
        ("carddav", "addressbook", _fault_of_name),
        ("tls", "ca_file", _fault_of_file),
        ("mailroom", "provenance_group", _fault_of_name),
    )
    for section, key, fault_of in checks:
        value = _text(_section(document, section), key, "")
        if value and (fault := fault_of(value)):
            yield document.problem((section, key), fault)
    addresses = _section(document, "triage").get("own_addresses")
    for at, address in enumerate(addresses if isinstance(addresses, list) else ()):
        if isinstance(address, str) and address and (fault := _fault_of_address(address)):
            yield document.problem(("triage", "own_addresses", at), fault)


def _timing_problems(document: Document) -> Iterator[Problem]:
    section, default = _section(document, "polling"), Polling()
    debounce = section.get("debounce_seconds", default.debounce_seconds)
    quiet = section.get("quiet_seconds", default.quiet_seconds)
    are_numbers = all(isinstance(n, int | float) and n is not True for n in (debounce, quiet))
    if are_numbers and quiet > debounce:
        key = "quiet_seconds" if "quiet_seconds" in section else "debounce_seconds"
        message = f"quiet_seconds ({quiet}) is more than debounce_seconds ({debounce}); lower it"
        yield document.problem(("polling", key), message)


def _category_problems(document: Document, categories: tuple[_Placed, ...]) -> Iterator[Problem]:
    by_name: dict[str, _Placed] = {}
    for placed in categories:
        for key in ("name", "contact_group"):
            value = getattr(placed.category, key)
            if (key == "name" or (*placed.path, key) in document.lines) and (
                fault := _fault_of_name(value)
            ):
                yield document.problem((*placed.path, key), fault)
        first = by_name.setdefault(placed.category.name.casefold(), placed)
        if first is not placed:
            message = f"there is a {first.title} already; choose another name"
            yield document.problem((*placed.path, "name"), message)


def _parent_problems(document: Document, categories: tuple[_Placed, ...]) -> Iterator[Problem]:
    names = [placed.category.name for placed in categories]
    for placed in categories:
        name, parent = placed.category.name, placed.category.parent
        if parent is None:
            continue
        line = _lineage(categories, name)
        if parent not in names:
            nearest = get_close_matches(parent, names, n=1)
            hint = f"did you mean {nearest[0]}?" if nearest else f"known: {', '.join(names)}"
            message = f"there is no category {shown(parent)}; {hint}"
            yield document.problem((*placed.path, "parent"), message)
        elif line[-1] == name and min(line, key=names.index) == name:  # each cycle once
            message = f"{' → '.join(line)} is a cycle; take one parent away"
            yield document.problem((*placed.path, "parent"), message)


def _lineage(categories: tuple[_Placed, ...], name: str) -> list[str]:
    """Return the name and its ancestors; in a cycle the last one is there for the second time."""
    parents = {placed.category.name: placed.category.parent for placed in reversed(categories)}
    line = [name]
    while (parent := parents.get(line[-1])) is not None:
        line.append(parent)
        if parent in line[:-1]:
            break
    return line


def _group_problems(document: Document, categories: tuple[_Placed, ...]) -> Iterator[Problem]:
    for first, second in combinations(categories, 2):
        names = first.category.name, second.category.name
        is_chain = names[0] in _lineage(categories, names[1]) or names[1] in _lineage(
            categories, names[0]
        )
        if _same(first.category.contact_group, second.category.contact_group) and not is_chain:
            message = (
                f"{shown(second.category.contact_group)} is the group of {first.title} too; "
                "only a category and its ancestors can share one, choose another"
            )
            yield document.problem((*second.path, "contact_group"), message)
    provenance = _text(_section(document, "mailroom"), "provenance_group", Marks().provenance_group)
    for placed in categories:
        if _same(placed.category.contact_group, provenance):
            message = f"{shown(provenance)} is the group of {placed.title} too; choose another"
            yield document.problem(("mailroom", "provenance_group"), message)


def _mailbox_problems(document: Document, categories: tuple[_Placed, ...]) -> Iterator[Problem]:
    uses = sorted(
        _mailbox_uses(document, categories), key=lambda use: document.lines.get(use.path, 0)
    )
    for at, use in enumerate(uses):
        if use.path in document.lines and (fault := _fault_of_mailbox(use.name)):
            yield document.problem(use.path, fault)
        for other in uses[:at]:
            both_are_destinations = use.is_destination and other.is_destination
            if _same(use.name, other.name) and not both_are_destinations:
                message = f"{shown(use.name)} is {other.purpose} already; choose another"
                yield document.problem(use.path, message)
                break


def _mailbox_uses(document: Document, categories: tuple[_Placed, ...]) -> Iterator[_Use]:
    screener = _text(_section(document, "triage"), "screener_mailbox", Triage().screener_mailbox)
    yield _Use(("triage", "screener_mailbox"), screener, "the mailbox where unknown mail waits")
    marks, default = _section(document, "mailroom"), Marks()
    for key in ("label_error", "label_warning", "label_unscreen"):
        yield _Use(("mailroom", key), _text(marks, key, getattr(default, key)), f"the {key}")
    for placed in categories:
        category, path = placed.category, placed.path
        yield _Use((*path, "label"), category.label, f"the label of {placed.title}")
        purpose = f"the destination of {placed.title}"
        destination = category.destination_mailbox
        yield _Use((*path, "destination_mailbox"), destination, purpose, is_destination=True)


def _same(one: str, other: str) -> bool:
    """Whether a person would take one name for the other."""
    return one.casefold() == other.casefold()


def _fault_of_name(name: str) -> str | None:
    if any(
        ord(c) < _FIRST_PRINTABLE or _DELETE <= ord(c) <= _LAST_CONTROL or ord(c) in _SURROGATES
        for c in name
    ):
        return f"{shown(name)} has a control character; take it out"
    if name != name.strip():
        return f"{shown(name)} begins or ends with a space; take it out"
    return None


def _fault_of_mailbox(name: str) -> str | None:
    if fault := _fault_of_name(name):
        return fault
    parts = name.split("/")
    if any(not part or part != part.strip() for part in parts):
        return f"{shown(name)} has an empty part or a space beside '/'; A/B means B under A"
    if name.casefold() in _ROLES:
        return f"{shown(name)} has a role of its own on the server; choose another mailbox"
    return None


def _fault_of_username(name: str) -> str | None:
    if ":" in name:  # RFC 7617, section 2
        return "has a ':', which a user name cannot have; is a password in it?"
    return _fault_of_name(name)


def _fault_of_file(path: str) -> str | None:
    if not path.startswith("/"):
        return f"{shown(path)} is relative; write the absolute path"
    return _fault_of_name(path)


def _fault_of_address(address: str) -> str | None:
    local, _, domain = address.rpartition("@")
    if not local or not domain or any(c.isspace() or not c.isprintable() for c in address):
        return f"{shown(address)} is not an address; write it as me@example.org"
    return None
