"""The tests of a Sieve script (RFC 5228 §5, 5490, 9042, 8579; jmapquery), asked of one mail."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.sandbox.addresses import parse_addresses, query_terms
from tests.sandbox.known import KnownPeople
from tests.sandbox.mail import ADDRESS_FIELDS, Mail
from tests.sandbox.sieve_syntax import Node

#: The headers that an ``address`` test may name (Cyrus 3.10.2, seen).
ADDRESS_HEADERS: Final = frozenset(
    [
        *("from", "to", "cc", "bcc", "sender", "reply-to", "return-path", "delivered-to"),
        *("resent-from", "resent-to", "resent-cc", "resent-bcc", "resent-sender"),
        "disposition-notification-to",
    ]
)
_PARTS: Final[Mapping[str, Callable[[str], str]]] = {
    ":all": lambda address: address,
    ":localpart": lambda address: address.rpartition("@")[0],
    ":domain": lambda address: address.rpartition("@")[2],
}


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What tests look at beside the mail itself."""

    #: The sender of the envelope, empty for a bounce.
    envelope_from: str
    people: KnownPeople
    #: Whether there is a mailbox of this id, of this name, for this special use.
    has_id: Callable[[str], bool]
    has_name: Callable[[str], bool]
    has_use: Callable[[str], bool]


class Conditions:
    """Evaluates tests over one mail."""

    def __init__(self, mail: Mail, around: Circumstances) -> None:
        self._mail = mail
        self._around = around
        #: What addflag and setflag have made of the flags.
        self.flags: list[str] = []
        self._tests: Mapping[str, Callable[[Node], bool]] = {
            "true": lambda test: True,
            "false": lambda test: False,
            "not": lambda test: not self.holds(test.tests[0]),
            "allof": lambda test: all(map(self.holds, test.tests)),
            "anyof": lambda test: any(map(self.holds, test.tests)),
            "header": self._header,
            "address": self._address,
            "envelope": self._envelope,
            "exists": lambda test: all(map(self._has_header, test.strings()[0])),
            "size": self._size,
            "hasflag": lambda test: self._matches(test, self.flags, test.strings()[0]),
            "mailboxexists": lambda test: all(map(around.has_name, test.strings()[0])),
            "mailboxidexists": lambda test: all(map(around.has_id, test.strings()[0])),
            "specialuse_exists": lambda test: all(map(around.has_use, test.strings()[-1])),
            "jmapquery": lambda test: self._query(json.loads(test.strings()[0][0])),
        }

    def holds(self, test: Node) -> bool:
        """Say whether a test is true; KeyError where the sandbox does not know it."""
        return self._tests[test.name](test)

    def _has_header(self, name: str) -> bool:
        return self._mail.header(name) is not None

    def _header(self, test: Node) -> bool:
        names, keys = test.strings()
        values = (self._mail.header(name) for name in names)
        return self._matches(test, [v.strip() for v in values if v is not None], keys)

    def _address(self, test: Node) -> bool:
        names, keys = test.strings()
        found = [address for name in names for address in self._addresses(name.lower())]
        return self._matches(test, map(_part(test), found), keys)

    def _envelope(self, test: Node) -> bool:
        _, keys = test.strings()
        return self._matches(test, [_part(test)(self._around.envelope_from)], keys)

    def _size(self, test: Node) -> bool:
        limit = next(each for each in test.arguments if isinstance(each, int))
        size = len(self._mail.text)
        return size > limit if test.has(":over") else size < limit

    def _addresses(self, name: str) -> list[str]:
        if name in ADDRESS_FIELDS:
            return [each.email for each in self._mail.addresses(name)]
        return [each.email for each in parse_addresses(self._mail.header(name)) or ()]

    def _matches(self, test: Node, values: Iterable[str], keys: list[str]) -> bool:
        """Compare as the test says; no value is in a list that is kept elsewhere (Stalwart)."""
        fold = str if (test.value_of(":comparator") or [""])[0] == "i;octet" else str.lower
        if test.has(":list"):
            return False
        folded = [fold(value) for value in values]
        wanted = [fold(key) for key in keys]
        if test.has(":contains"):
            return any(key in value for key in wanted for value in folded)
        if test.has(":matches"):
            patterns = [_pattern(key) for key in wanted]
            return any(pattern.fullmatch(value) for pattern in patterns for value in folded)
        return any(key == value for key in wanted for value in folded)

    # jmapquery: a filter of Email/query (RFC 8621 §4.4.1), with what Cyrus adds

    def _query(self, filter_: Any) -> bool:
        match filter_:
            case {"operator": "AND", "conditions": conditions}:
                return all(map(self._query, conditions))
            case {"operator": "OR", "conditions": conditions}:
                return any(map(self._query, conditions))
            case {"operator": "NOT", "conditions": conditions}:
                return not any(map(self._query, conditions))
        return all(self._condition(name, value) for name, value in filter_.items())

    def _condition(self, name: str, value: Any) -> bool:
        people, senders = self._around.people, self._addresses("from")
        match name:
            case "fromAnyContact":
                return value is True and any(map(people.is_contact, senders))
            case "fromContactGroupId" | "fromContactCardUid":
                return any(people.is_member(sender, value) for sender in senders)
            case "from" | "to" | "cc" | "bcc":
                terms = {t for each in self._mail.addresses(name) for t in each.terms()}
                return set(query_terms(value)) <= terms
            case "subject":
                return set(value.lower().split()) <= set(self._mail.subject.lower().split())
            case "header":
                found = self._mail.header(value[0])
                return found is not None and "".join(value[1:]).lower() in found.lower()
        raise KeyError(name)


#: What a jmapquery may ask for on any server.
QUERY_CONDITIONS: Final = frozenset({"from", "to", "cc", "bcc", "subject", "header"})
_CONTACT_CONDITIONS: Final = {
    "fromAnyContact": bool,
    "fromContactGroupId": str,
    "fromContactCardUid": str,
}


def fault_of_query(text: str, known: frozenset[str]) -> str | None:
    """Return what is wrong with the filter of a jmapquery; ``known`` are its own conditions."""
    try:
        filter_ = json.loads(text)
    except ValueError:
        return "invalid jmapquery format"
    wrong = next(_wrong_conditions(filter_, known), None)
    return None if wrong is None else f"invalid jmapquery argument: '{wrong}'"


def _wrong_conditions(filter_: Any, known: frozenset[str]) -> Iterator[str]:
    match filter_:
        case {"operator": "AND" | "OR" | "NOT", "conditions": list(conditions)}:
            for condition in conditions:
                yield from _wrong_conditions(condition, known)
        case dict():
            for name, value in filter_.items():
                is_known = name in QUERY_CONDITIONS or name in known
                if not is_known or type(value) is not _CONTACT_CONDITIONS.get(name, type(value)):
                    yield name
        case _:
            yield "(null)"


def _part(test: Node) -> Callable[[str], str]:
    return next((_PARTS[tag] for tag in _PARTS if test.has(tag)), _PARTS[":all"])


def _pattern(key: str) -> re.Pattern[str]:
    """Read the pattern of ``:matches`` (RFC 5228 §2.7.1)."""
    signs = {"*": ".*", "?": "."}
    parts = re.findall(r"\\.|.", key, re.DOTALL)
    text = "".join(signs.get(part) or re.escape(part.removeprefix("\\")) for part in parts)
    return re.compile(text, re.DOTALL)
