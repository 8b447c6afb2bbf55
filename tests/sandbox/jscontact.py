"""JSContact (RFC 9553) from vCard and back (RFC 9555), as far as Cyrus 3.13 goes (measured).

Names, organizations, mail addresses, telephones, notes, nicknames, titles and members have words
of their own in JSContact. Whatever else a vCard has goes through ``vCardProps`` and comes back;
what a Card has of a vendor's (``example.org:mark``) is a JSPROP in the vCard. Writing a Card makes
a new vCard 4: its lines stand in another order, and of a NICKNAME with two names one is lost.
"""

import copy
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Final

from tests.sandbox.cards import property_of
from tests.sandbox.cardversions import member_of

Card = dict[str, Any]

_UNFOLD: Final = re.compile(r"\r?\n[ \t]")
_PARAMETER: Final = re.compile(r';([\w-]+)=((?:"[^"]*"|[^";:,]*)(?:,(?:"[^"]*"|[^";:,]*))*)')
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_TIME: Final = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)T(\d\d):?(\d\d):?(\d\d)Z")
_URN: Final = "urn:uuid:"

#: What a Card has by an id each: the property, and what the value of each is called.
_COLLECTIONS: Final[Mapping[str, tuple[str, str]]] = {
    "EMAIL": ("emails", "address"),
    "TEL": ("phones", "number"),
    "NOTE": ("notes", "note"),
    "NICKNAME": ("nicknames", "name"),
    "TITLE": ("titles", "name"),
}
_VCARD_NAMES: Final = {property_: (name, key) for name, (property_, key) in _COLLECTIONS.items()}
#: Those of one value, by the names that they have in a Card.
_SIMPLE: Final = {
    "uid": "UID",
    "prodId": "PRODID",
    "created": "CREATED",
    "updated": "REV",
    "kind": "KIND",
    "language": "LANGUAGE",
}
_CARD_NAMES: Final = {name: property_ for property_, name in _SIMPLE.items()}
_TIMES: Final = ("created", "updated")
#: The fields of N, in their order; the last two are RFC 9554's.
_NAME_KINDS: Final = ("surname", "given", "given2", "title", "credential")
_MORE_NAME_KINDS: Final = ("surname2", "generation")
#: Those that go by vCardProps here.
_RARE: Final = frozenset(
    [
        "addresses",
        "anniversaries",
        "calendars",
        "cryptoKeys",
        "directories",
        "links",
        "localizations",
        "media",
        "onlineServices",
        "personalInfo",
        "preferredLanguages",
        "relatedTo",
        "schedulingAddresses",
        "speakToAs",
    ]
)
_CONTEXTS: Final = {"home": "private", "work": "work"}
_TYPES: Final = {context: type_ for type_, context in _CONTEXTS.items()}
_NOT_SHOWN: Final = frozenset({"BEGIN", "END", "VERSION", "X-ABLABEL"})


@dataclass(frozen=True, slots=True)
class _Property:
    """One line of a vCard: the name in capitals, parameters by their names in small letters."""

    name: str
    value: str
    parameters: Mapping[str, list[str]]
    group: str = ""

    @property
    def id(self) -> str:
        """The id among its like in a Card: the one it was given, or made of its value."""
        given = self.parameters.get("prop-id")
        return given[0] if given else hashlib.sha1(self.value.encode()).hexdigest()


class InvalidCard(Exception):
    """A Card cannot be written as a vCard because of some of its properties."""

    def __init__(self, properties: list[str]) -> None:
        super().__init__(", ".join(properties))
        self.properties = properties


def card_of(text: str, *, knows_apple_groups: bool = True) -> Card:
    """Return a vCard as a JSContact Card, the caller's own."""
    return copy.deepcopy(_card_of(text, knows_apple_groups))


def look_at(text: str, *, knows_apple_groups: bool = True) -> Card:
    """Return the same, whose properties may be taken away, but not changed."""
    return dict(_card_of(text, knows_apple_groups))


@lru_cache(maxsize=32768)  # every query looks at every card
def _card_of(text: str, knows_apple_groups: bool) -> Card:
    card: Card = {"@type": "Card", "version": "1.0", "kind": "individual"}
    # Vendors' properties last: they may belong into others.
    properties = sorted(_properties(text), key=lambda property_: property_.name == "JSPROP")
    labels = {p.group: _plain(p.value) for p in properties if p.name == "X-ABLABEL" and p.group}
    for property_ in properties:
        if property_.name not in _NOT_SHOWN:
            shown = _without_apple(property_) if knows_apple_groups else property_
            _show(shown, card, labels.get(property_.group))
    if card["kind"] == "group":
        card.setdefault("members", {})
    return card


def forget_cards() -> None:
    """Let go of the cards that were looked at: every version of each is kept, so that a
    query need not read them all again."""
    _card_of.cache_clear()
    property_of.cache_clear()


def is_property(name: str) -> bool:
    """Say whether RFC 9553 knows a property, or it is a vendor's."""
    return ":" in name or name in _CHECKS or name in _RARE


def vcard_of(card: Card) -> str:
    """Return a Card as a vCard 4.

    Raises:
        InvalidCard: some properties are not what RFC 9553 says that they are.
    """
    card = copy.deepcopy(card)
    wrong = [name for name, value in card.items() if not _is_good(name, value)]
    wrong += [name for name in ("@type", "version") if name not in card]
    if wrong:
        raise InvalidCard(sorted(set(wrong)))
    lines = ["BEGIN:VCARD", "VERSION:4.0"]
    for name, value in card.items():
        lines += _lines_of(name, value)
    if not any(re.match("FN[;:]", line) for line in lines):
        lines.append(f"FN;DERIVED=TRUE:{_escaped(_derived_name(card))}")
    return "".join(f"{line}\r\n" for line in [*lines, "END:VCARD"])


# From vCard


def _properties(text: str) -> Iterator[_Property]:
    for line in re.split(r"\r?\n", _UNFOLD.sub("", text)):
        head = re.match(r"(?:([\w-]+)\.)?([\w-]+)", line)
        if head is None:
            continue
        end = head.end()
        parameters: dict[str, list[str]] = {}
        while found := _PARAMETER.match(line, end):
            values = re.findall(r'"[^"]*"|[^",]+', found[2])
            parameters.setdefault(found[1].lower(), []).extend(v.strip('"') for v in values)
            end = found.end()
        if line[end : end + 1] == ":":
            yield _Property(head[2].upper(), line[end + 1 :], parameters, head[1] or "")


def _without_apple(property_: _Property) -> _Property:
    """Return what an Apple group's line is in vCard 4; a member has no prefix there."""
    match property_.name:
        case "X-ADDRESSBOOKSERVER-KIND":
            return _Property("KIND", property_.value, {})
        case "X-ADDRESSBOOKSERVER-MEMBER":
            return _Property("MEMBER", member_of(property_.value), {})
    return property_


def _show(property_: _Property, card: Card, label: str | None) -> None:
    """Add a line of a vCard to a Card."""
    name, value = property_.name, property_.value
    if name in _CARD_NAMES:
        card[_CARD_NAMES[name]] = _simple(_CARD_NAMES[name], value)
    elif name in _COLLECTIONS:
        collection, key = _COLLECTIONS[name]
        card.setdefault(collection, {})[property_.id] = _item(property_, key, label)
    elif name in _READERS:
        _READERS[name](property_, card)
    else:
        card.setdefault("vCardProps", []).append(_kept(property_))


def _read_full_name(property_: _Property, card: Card) -> None:
    if property_.parameters.get("derived") != ["TRUE"]:
        card.setdefault("name", {})["full"] = _plain(property_.value)


def _read_name(property_: _Property, card: Card) -> None:
    components = [
        {"kind": kind, "value": _plain(field)}
        for kind, field in zip(
            (*_NAME_KINDS, *_MORE_NAME_KINDS), _fields(property_.value), strict=False
        )
        if field
    ]
    if components:
        card.setdefault("name", {})["components"] = components
        if "jscomps" in property_.parameters:
            card["name"]["isOrdered"] = True


def _read_organization(property_: _Property, card: Card) -> None:
    name, *units = map(_plain, _fields(property_.value))
    shown = [{"name": unit} for unit in units if unit]
    organization = ({"name": name} if name else {}) | ({"units": shown} if shown else {})
    card.setdefault("organizations", {})[property_.id] = organization


def _read_member(property_: _Property, card: Card) -> None:
    card.setdefault("members", {})[property_.value] = True


def _read_keywords(property_: _Property, card: Card) -> None:
    card.setdefault("keywords", {}).update(dict.fromkeys(property_.value.split(","), True))


def _read_extension(property_: _Property, card: Card) -> None:
    """Put a vendor's property where it belongs, as far as that is there (RFC 9555 §3.2.1)."""
    *path, name = property_.parameters["jsptr"][0].split("/")
    inside: Any = card
    for step in path:
        inside = inside.get(step) if isinstance(inside, dict) else None
    if isinstance(inside, dict):
        inside[name] = json.loads(_plain(property_.value))


_READERS: Final[Mapping[str, Callable[[_Property, Card], None]]] = {
    "FN": _read_full_name,
    "N": _read_name,
    "ORG": _read_organization,
    "MEMBER": _read_member,
    "CATEGORIES": _read_keywords,
    "JSPROP": _read_extension,
}


def _simple(name: str, value: str) -> str:
    if name in _TIMES and (time := _TIME.fullmatch(value)):
        return "{}-{}-{}T{}:{}:{}Z".format(*time.groups())
    return value.lower() if name == "kind" else _plain(value)


def _item(property_: _Property, key: str, label: str | None) -> dict[str, Any]:
    """Return one of a collection; types that JSContact has no word for stay as parameters."""
    value = _plain(property_.value)
    if property_.name == "NICKNAME":
        value = _plain(re.split(r"(?<!\\),", property_.value)[-1])
    item: dict[str, Any] = {key: value}
    rest = {n: v for n, v in property_.parameters.items() if n not in ("prop-id", "type", "pref")}
    others: list[str] = []
    for type_ in (value.lower() for value in property_.parameters.get("type", ())):
        if type_ in _CONTEXTS:
            item.setdefault("contexts", {})[_CONTEXTS[type_]] = True
        elif type_ == "pref":
            item["pref"] = 1
        else:
            others.append(type_)
    if pref := property_.parameters.get("pref"):
        item["pref"] = int(pref[0])
    if label:
        item["label"] = re.sub(r"\A_\$!<(.*)>!\$_\Z", r"\1", label)
    parameters = {n: v[0] if len(v) == 1 else v for n, v in rest.items()}
    if others:
        parameters["type"] = others[0] if len(others) == 1 else others
    return item | ({"vCardParams": parameters} if parameters else {})


def _kept(property_: _Property) -> list[Any]:
    """Return a property that JSContact has no word for, as jCard (RFC 7095) has it."""
    parameters = {n: v[0] if len(v) == 1 else v for n, v in property_.parameters.items()}
    if property_.group:
        parameters["group"] = property_.group
    return [property_.name.lower(), parameters, "unknown", property_.value]


# To vCard


def _lines_of(name: str, value: Any) -> Iterable[str]:
    """Return the lines that a property of a Card makes."""
    if name in _SIMPLE:
        return [_simple_line(name, value)]
    if name in _VCARD_NAMES:
        return [line for id_, item in value.items() for line in _item_lines(name, id_, item)]
    if name in _WRITERS:
        return _WRITERS[name](value)
    return [_extension_line(name, value)]


def _extension_line(pointer: str, value: Any) -> str:
    content = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return f'JSPROP;JSPTR="{pointer}":{_escaped(content)}'


def _item_lines(name: str, id_: str, item: Mapping[str, Any]) -> Iterable[str]:
    yield _item_line(name, id_, item)
    for key, value in item.items():
        if ":" in key:
            yield _extension_line(f"{name}/{id_}/{key}", value)


def _simple_line(name: str, value: str) -> str:
    match name:
        case "uid":
            # Without the word a UID is a URI in vCard 4.
            return f"UID:{value}" if value.startswith(_URN) else f"UID;VALUE=TEXT:{value}"
        case "created" | "updated":
            return f"{_SIMPLE[name]}:{re.sub('[-:]', '', value)}"
        case "kind":
            return f"KIND:{value.upper()}"
        case _:
            return f"{_SIMPLE[name]}:{_escaped(value)}"


def _name_lines(name: Mapping[str, Any]) -> Iterable[str]:
    lines = [f"FN:{_escaped(name['full'])}"] if "full" in name else []
    if "components" in name:
        fields = dict.fromkeys((*_NAME_KINDS, *_MORE_NAME_KINDS), "")
        for component in name["components"]:
            if component["kind"] in fields:
                fields[component["kind"]] = _escaped(component["value"])
        while len(fields) > len(_NAME_KINDS) and not next(reversed(fields.values())):
            fields.popitem()
        lines.append(f"N:{';'.join(fields.values())}")
    return lines


def _organization_lines(organizations: Mapping[str, Any]) -> Iterable[str]:
    for id_, item in organizations.items():
        fields = [item.get("name", ""), *(unit["name"] for unit in item.get("units", ()))]
        yield f"ORG;PROP-ID={id_}:{';'.join(map(_escaped, fields))}"


_WRITERS: Final[Mapping[str, Callable[[Any], Iterable[str]]]] = {
    "@type": lambda value: (),
    "version": lambda value: (),
    "name": _name_lines,
    "organizations": _organization_lines,
    "members": lambda members: [f"MEMBER:{member}" for member in members],
    "keywords": lambda words: [f"CATEGORIES:{','.join(words)}"] if words else (),
    "vCardProps": lambda properties: [_kept_line(*property_) for property_ in properties],
}


def _item_line(name: str, id_: str, item: Mapping[str, Any]) -> str:
    vcard_name, key = _VCARD_NAMES[name]
    parameters = {n.upper(): v for n, v in item.get("vCardParams", {}).items()}
    types = [_TYPES[c] for c in item.get("contexts", ()) if c in _TYPES]
    head = f"{vcard_name};PROP-ID={id_}"
    for parameter, values in parameters.items():
        for value in values if isinstance(values, list) else [values]:
            head += f";{parameter}={value}"
    head += "".join(f";TYPE={type_}" for type_ in types)
    if "pref" in item:
        head += f";PREF={item['pref']}"
    return f"{head}:{_escaped(item[key])}"


def _kept_line(name: str, parameters: Mapping[str, Any], _: str, value: str) -> str:
    rest = {n: v for n, v in parameters.items() if n != "group"}
    head = f"{parameters['group']}.{name.upper()}" if "group" in parameters else name.upper()
    for parameter, values in rest.items():
        for each in values if isinstance(values, list) else [values]:
            head += f";{parameter.upper()}={each}"
    return f"{head}:{value}"


def _derived_name(card: Mapping[str, Any]) -> str:
    components = card.get("name", {}).get("components", ())
    name = " ".join(component["value"] for component in components)
    organizations = (item.get("name") for item in card.get("organizations", {}).values())
    return name or next(filter(None, organizations), "No Name")


def _is_good(name: str, value: object) -> bool:
    return _CHECKS[name](value) if name in _CHECKS else ":" in name


def _is_name(name: object) -> bool:
    return isinstance(name, dict) and isinstance(name.get("full", ""), str) and bool(name)


def _is_set(members: object) -> bool:
    return isinstance(members, dict) and all(flag is True for flag in members.values())


def _is_collection(items: object, key: str | None) -> bool:
    return isinstance(items, dict) and all(
        isinstance(item, dict) and (key is None or isinstance(item.get(key), str))
        for item in items.values()
    )


#: What says whether a property of RFC 9553's is what it should be. Others are a vendor's or bad.
_CHECKS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "@type": lambda value: value == "Card",
    "version": lambda value: value == "1.0",
    **dict.fromkeys(_SIMPLE, lambda value: isinstance(value, str)),
    **dict.fromkeys(_TIMES, lambda value: bool(_TIME.fullmatch(str(value)))),
    "members": _is_set,
    "keywords": _is_set,
    "name": _is_name,
    "organizations": lambda value: _is_collection(value, None),
    **{name: partial(_is_collection, key=key) for name, (_, key) in _VCARD_NAMES.items()},
    "vCardProps": lambda value: isinstance(value, list),
}


# Values


def _plain(value: str) -> str:
    return _ESCAPED.sub(lambda match: "\n" if match[1] in "nN" else match[1], value)


def _escaped(value: str) -> str:
    return re.sub(r"([\\,;])", r"\\\1", value).replace("\n", "\\n")


def _fields(value: str) -> list[str]:
    """Split a structured value at its semicolons, escapes left as they are."""
    return re.split(r"(?<!\\);", value)
