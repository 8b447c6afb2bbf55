"""JSContact cards (RFC 9553) as values, and the answers of JMAP for Contacts (RFC 9610).

Properties that Mailroom does not know are kept as text, so that it notices when somebody changes
them. A malformed property hides no card: it counts as one of those.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mailroom.wire.jmap import Arguments, reading

#: A property of ours within a note. At the top of a card Stalwart 0.15.5 refuses vendor properties;
#: within a note it and Cyrus 3.13.7 keep it and show it unasked, and CardDAV shows it as a JSPROP
#: (all seen). The domain can belong to nobody else (RFC 2606 §3).
MARK = "mailroom.example:created"
#: The same on a group's card: the record of ``setup``.
RECORD = "mailroom.example:record"
#: The kinds of a name's parts, in the order of N (RFC 6350 §6.2.2, RFC 9554 §2.2).
NAME_KINDS = ("surname", "given", "given2", "title", "credential", "surname2", "generation")

# Properties with a field of their own, identity, and what servers write by themselves.
_NOT_OTHERS = frozenset(
    {"name", "emails", "organizations", "notes", "addressBookIds", "members"}
    | {"id", "@type", "version", "uid", "kind", "prodId", "created", "updated", "language"}
)


@dataclass(frozen=True, slots=True)
class Note:
    """One note; ``mark`` is Mailroom's mark of the card, ``record`` the record of ``setup``."""

    id: str
    text: str
    mark: str | None = None
    record: str | None = None


@dataclass(frozen=True, slots=True)
class JsCard:
    """A card. ``members`` are as the server spells them, None if there is no such property;
    ``others`` are further properties and their content, as JSON."""

    id: str
    uid: str = ""
    is_group: bool = False
    full_name: str = ""
    name_parts: tuple[tuple[str, str], ...] = ()
    emails: tuple[str, ...] = ()
    organizations: tuple[tuple[str, ...], ...] = ()
    notes: tuple[Note, ...] = ()
    members: frozenset[str] | None = None
    others: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """The name that people see."""
        parts = dict(self.name_parts)
        inner = (parts.get(kind, "") for kind in ("given", "given2", "surname"))
        return self.full_name or " ".join(filter(None, inner))


@dataclass(frozen=True, slots=True)
class CardPage:
    """One page of cards: the ids that a query found, and the cards that a get has shown of them.
    ``total`` and ``limit`` are None if the server gives none."""

    ids: tuple[str, ...]
    total: int | None
    limit: int | None
    state: str
    cards: tuple[JsCard, ...]


def read_cards(answer: Arguments) -> tuple[str, tuple[JsCard, ...]]:
    """The state and the list of a ``ContactCard/get``, without cards that have no id."""
    with reading("a list of contacts", answer):
        entries = answer["list"]
        cards = tuple(read_card(entry) for entry in entries if _has_id(entry))
        return str(answer["state"]), cards


def read_card_page(query: Arguments, get: Arguments) -> CardPage:
    """The answers to a ``ContactCard/query`` and the get of what it found."""
    state, cards = read_cards(get)
    with reading("a query's answer", query):
        total, limit = query.get("total"), query.get("limit")
        return CardPage(
            ids=tuple(each for each in query["ids"] if isinstance(each, str)),
            total=total if isinstance(total, int) and total >= 0 else None,
            limit=limit if isinstance(limit, int) and limit > 0 else None,
            state=state,
            cards=cards,
        )


def read_default_book(answer: Arguments) -> str | None:
    """The address book for new cards, from an ``AddressBook/get``; None if there is none."""
    with reading("a list of address books", answer):
        books = [book for book in answer["list"] if _has_id(book)]
    writable = [each for each in books if _mapping(each.get("myRights")).get("mayWrite", True)]
    preferred = [each for each in writable if each.get("isDefault")] or writable
    return str(preferred[0]["id"]) if preferred else None


def read_card(card: Mapping[str, Any]) -> JsCard:
    """One card, which has an id."""
    name, members = _mapping(card.get("name")), card.get("members")
    return JsCard(
        id=card["id"],
        uid=_text(card.get("uid")),
        is_group=card.get("kind") == "group",
        full_name=_text(name.get("full")),
        name_parts=tuple(_name_parts(name)),
        emails=tuple(_texts(card.get("emails"), "address")),
        organizations=tuple(map(_organization, _mapping(card.get("organizations")).values())),
        notes=tuple(_notes(card)),
        members=frozenset(_mapping(members)) if isinstance(members, dict) else None,
        others=tuple(_others(card)),
    )


def named(full_name: str, parts: Iterable[tuple[str, str]] = ()) -> dict[str, Any]:
    """A ``name``; ``parts`` are kinds and values."""
    components = [{"kind": kind, "value": value} for kind, value in parts if value]
    return {"full": full_name} | ({"components": components} if components else {})


def new_card(uid: str, name: Mapping[str, Any], **properties: Any) -> dict[str, Any]:
    """A card to create. It must name its type and version: else Cyrus 3.13.7 refuses it (seen)."""
    frame = {"@type": "Card", "version": "1.0", "uid": uid, "name": name}
    return frame | properties


def pointer(*steps: str) -> str:
    """The place that a patch changes (RFC 8620 §5.3, RFC 6901 §3)."""
    return "/".join(step.replace("~", "~0").replace("/", "~1") for step in steps)


def _name_parts(name: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """By kind, in the order of N, without separators."""
    components = name.get("components")
    if not components:  # as of every group
        return
    shown = [_mapping(each) for each in (components if isinstance(components, list) else ())]
    for kind in NAME_KINDS:
        values = [_text(each.get("value")) for each in shown if each.get("kind") == kind]
        if any(values):
            yield kind, " ".join(filter(None, values))


def _organization(value: object) -> tuple[str, ...]:
    organization = _mapping(value)
    units = organization.get("units")
    shown = [_mapping(each) for each in (units if isinstance(units, list) else ())]
    return (_text(organization.get("name")), *(_text(each.get("name")) for each in shown))


def _notes(card: Mapping[str, Any]) -> Iterator[Note]:
    for note_id, value in _mapping(card.get("notes")).items():
        note = _mapping(value)
        mark, record = (
            value if isinstance(value := note.get(name), str) else None for name in (MARK, RECORD)
        )
        yield Note(note_id, _text(note.get("note")), mark, record)


def _others(card: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The properties without a field of their own. Vendor properties at the top are left out:
    servers write them (Cyrus has a ``cyrusimap.org:size``)."""
    for name, value in card.items():
        if name not in _NOT_OTHERS and ":" not in name and value not in (None, {}, []):
            yield name, json.dumps(value, sort_keys=True)


def _texts(entries: object, key: str) -> Iterator[str]:
    return (text for each in _mapping(entries).values() if (text := _text(_mapping(each).get(key))))


def _has_id(entry: object) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("id"), str)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
