"""Rules between the keys of a configuration, which a JSON Schema cannot express.

They also run on data of the wrong shape, so that every problem is reported at once: each rule looks
only at what exists and has the right type.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from mailroom.rules.configuration.categories import (
    DEFAULT_CATEGORIES,
    ROLES,
    Category,
    Triage,
    category_from,
)
from mailroom.rules.configuration.config import Marks, Polling
from mailroom.rules.configuration.document import Document, Path, Problem, shown
from mailroom.rules.configuration.servers import fault_of_url
from mailroom.rules.names import folded_name
from mailroom.rules.screening.own import is_meaningful

_HEADER = re.compile(r"[!-9;-~]+:\s*\S.*")  # RFC 5322, section 2.2
_DOMAIN = re.compile(r"[^\s@*.]+(\.[^\s@*.]+)+")
_TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
_UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")  # Unicode general categories


@dataclass(frozen=True, slots=True)
class _Placed:
    """A category and where in the document it stands."""

    path: Path
    category: Category

    @property
    def title(self) -> str:
        return f"category {shown(self.category.name)}"


@dataclass(frozen=True, slots=True)
class _Use:
    """One name on the server, what it is used for, and the key that says so.

    ``owner`` is the category that may share the name with others by the rules of its kind.
    """

    path: Path
    name: str
    purpose: str
    owner: Category | None = None


def rule_problems(document: Document) -> Iterator[Problem]:
    """Yield what is wrong with the document's values and with how they go together."""
    yield from _text_problems(document)
    tls = _section(document, "tls")
    if tls.get("system_authorities") is False and tls.get("ca_file") is None:
        message = (
            "without the system's authorities no server is trusted; name the file of yours as "
            "tls.ca_file"
        )
        yield document.problem(("tls", "system_authorities"), message)
    yield from _timing_problems(document)
    first: dict[str, _Placed] = {}
    for placed in _placed_categories(document):
        known = first.setdefault(folded_name(placed.category.name), placed)
        if known is not placed:
            message = f"there is a {known.title} already; choose another name"
            yield document.problem((*placed.path, "name"), message)
        is_mailbox = (*placed.path, "destination_mailbox") not in document.lines
        fault_of = _fault_of_mailbox if is_mailbox else _fault_of_name
        if fault := fault_of(placed.category.name):
            yield document.problem((*placed.path, "name"), fault)
    # Only the first of each name counts from here: the others would just repeat its clashes.
    categories = tuple(first.values())
    parents = {placed.category.name: placed.category.parent for placed in categories}
    yield from _parent_problems(document, categories, parents)
    yield from _group_problems(document, categories, parents)
    yield from _mailbox_problems(document, categories)


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
            keys = ("name", "label", "contact_group", "destination_mailbox", "parent")
            usable = {key: given[key] for key in keys if _text(given, key, "")}
            yield _Placed((*path, at), category_from(usable))


def _text_problems(document: Document) -> Iterator[Problem]:
    checks: tuple[tuple[str, str, Callable[[str], str | None]], ...] = (
        ("jmap", "url", fault_of_url),
        ("jmap", "username", _fault_of_username),
        ("jmap", "authorize_as", _fault_of_authorize_as),
        ("carddav", "url", fault_of_url),
        ("carddav", "username", _fault_of_username),
        ("carddav", "addressbook", _fault_of_name),
        ("tls", "ca_file", _fault_of_file),
        ("screening", "spam_header", _fault_of_header),
        ("digest", "at", _fault_of_time),
    )
    for section, key, fault_of in checks:
        value = _text(_section(document, section), key, "")
        if value and (fault := fault_of(value)):
            yield document.problem((section, key), fault)
    yield from _list_problems(document, "triage", "own_addresses", _fault_of_address)
    yield from _list_problems(document, "screening", "providers", _fault_of_domain)


def _fault_of_time(value: str) -> str | None:
    return None if _TIME.fullmatch(value) else 'is not a time of day; write it like "07:00"'


def _list_problems(
    document: Document, section: str, key: str, fault_of: Callable[[str], str | None]
) -> Iterator[Problem]:
    values = _section(document, section).get(key)
    for at, value in enumerate(values if isinstance(values, list) else ()):
        if isinstance(value, str) and value and (fault := fault_of(value)):
            yield document.problem((section, key, at), fault)


def _timing_problems(document: Document) -> Iterator[Problem]:
    section, default = _section(document, "polling"), Polling()
    debounce = section.get("debounce_seconds", default.debounce_seconds)
    quiet = section.get("quiet_seconds", default.quiet_seconds)
    are_numbers = all(isinstance(span, int | float) for span in (debounce, quiet))
    if are_numbers and 0 < debounce < quiet:
        key = "quiet_seconds" if "quiet_seconds" in section else "debounce_seconds"
        message = f"quiet_seconds ({quiet}) is more than debounce_seconds ({debounce}); lower it"
        yield document.problem(("polling", key), message)


def _parent_problems(
    document: Document, categories: tuple[_Placed, ...], parents: Mapping[str, str | None]
) -> Iterator[Problem]:
    names = list(parents)
    for placed in categories:
        name, parent = placed.category.name, placed.category.parent
        line = _lineage(parents, name)
        if parent is not None and parent not in parents:
            nearest = get_close_matches(parent, names, n=1)
            hint = f"did you mean {nearest[0]}?" if nearest else f"known: {', '.join(names)}"
            message = f"there is no category {shown(parent)}; {hint}"
            yield document.problem((*placed.path, "parent"), message)
        elif len(line) > 1 and line[-1] == name == min(line, key=names.index):  # each cycle once
            message = f"{' → '.join(line)} is a cycle; remove one of the parents"
            yield document.problem((*placed.path, "parent"), message)


def _lineage(parents: Mapping[str, str | None], name: str) -> list[str]:
    """Return the known names of a chain; in a cycle, the last one is a repetition."""
    line = [name]
    while (parent := parents.get(line[-1])) in parents and parent is not None:
        line.append(parent)
        if parent in line[:-1]:
            break
    return line


def _group_problems(
    document: Document, categories: tuple[_Placed, ...], parents: Mapping[str, str | None]
) -> Iterator[Problem]:
    provenance = _text(_section(document, "mailroom"), "provenance_group", Marks().provenance_group)
    purpose = "mailroom.provenance_group"
    uses = [_Use(("mailroom", "provenance_group"), provenance, purpose)]
    screened = _text(_section(document, "triage"), "screened_group", Triage().screened_group)
    uses.append(_Use(("triage", "screened_group"), screened, "triage.screened_group"))
    for placed in categories:
        path, group = (*placed.path, "contact_group"), placed.category.contact_group
        uses.append(_Use(path, group, f"the group of {placed.title}", placed.category))

    def are_of_one_chain(one: Category, other: Category) -> bool:
        lines = _lineage(parents, one.name), _lineage(parents, other.name)
        return one.name in lines[1] or other.name in lines[0]

    yield from _name_problems(document, uses, _fault_of_name)
    yield from _clashes(document, uses, are_of_one_chain)


def _mailbox_problems(document: Document, categories: tuple[_Placed, ...]) -> Iterator[Problem]:
    screener = _text(_section(document, "triage"), "screener_mailbox", Triage().screener_mailbox)
    marks, default = _section(document, "mailroom"), Marks()
    uses = [_Use(("triage", "screener_mailbox"), screener, "triage.screener_mailbox")]
    for key in ("label_error", "label_warning", "label_unscreen", "label_domain", "label_list"):
        name = _text(marks, key, getattr(default, key))
        uses.append(_Use(("mailroom", key), name, f"mailroom.{key}"))
    for placed in categories:
        path, category = placed.path, placed.category
        uses += (
            _Use((*path, "label"), category.label, f"the label of {placed.title}"),
            _Use(
                (*path, "destination_mailbox"),
                category.destination_mailbox,
                f"the destination of {placed.title}",
                category,
            ),
        )
    yield from _name_problems(document, uses, _fault_of_mailbox)
    yield from _clashes(document, uses, lambda _one, _other: True)  # destinations may be shared


def _name_problems(
    document: Document, uses: Iterable[_Use], fault_of: Callable[[str], str | None]
) -> Iterator[Problem]:
    for use in uses:
        if use.path in document.lines and (fault := fault_of(use.name)):
            yield document.problem(use.path, fault)


def _clashes(
    document: Document, uses: Iterable[_Use], may_share: Callable[[Category, Category], bool]
) -> Iterator[Problem]:
    """Yield each name that is used twice, at its later line; unwritten defaults come first."""
    by_name: dict[str, list[_Use]] = {}
    for use in sorted(uses, key=lambda use: document.lines.get(use.path, 0)):
        others = by_name.setdefault(folded_name(use.name), [])  # case alone is no difference
        for other in others:
            if not (use.owner and other.owner and may_share(use.owner, other.owner)):
                message = f"{shown(use.name)} is {other.purpose} already; choose another"
                yield document.problem(use.path, message)
                break
        others.append(use)


def _fault_of_name(name: str) -> str | None:
    if any(unicodedata.category(character) in _UNPRINTABLE for character in name):
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
    if name.casefold() in ROLES:
        return f"{shown(name)} has a role of its own on the server; choose another mailbox"
    return None


def _fault_of_username(name: str) -> str | None:
    if ":" in name:  # RFC 7617, section 2
        return "has a ':', which a user name cannot have; is a password in it?"
    return _fault_of_name(name)


def _fault_of_authorize_as(name: str) -> str | None:
    if fault := _fault_of_name(name):
        return fault
    return None if name.isascii() else f"{shown(name)} is not ASCII, which a header has to be"


def _fault_of_file(path: str) -> str | None:
    if not path.startswith("/"):
        return f"{shown(path)} is relative; write the absolute path"
    return _fault_of_name(path)


def _fault_of_address(address: str) -> str | None:
    local, _, domain = address.rpartition("@")
    if not local or not domain or any(c.isspace() or not c.isprintable() for c in address):
        return f"{shown(address)} is not an address; write it as me@example.org"
    if not is_meaningful(address):
        return f"{shown(address)} would match everybody; name the domain, as in *@example.org"
    return None


def _fault_of_header(header: str) -> str | None:
    if fault := _fault_of_name(header):
        return fault
    if not _HEADER.fullmatch(header):
        return f'{shown(header)} is not a header and its value; write it as "X-Spam-Flag: YES"'
    return None


def _fault_of_domain(domain: str) -> str | None:
    if not _DOMAIN.fullmatch(domain):
        return f"{shown(domain)} is not a domain; write it as example.org"
    return None
