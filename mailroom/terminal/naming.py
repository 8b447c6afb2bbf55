"""What people type for categories and senders, and what it stands for."""

import sys
from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from mailroom.errors import UsageError
from mailroom.rules.addresses import canonical
from mailroom.rules.triage.subject import SubjectKind
from mailroom.terminal.answers import CategoriesDocument
from mailroom.terminal.remote import Whom

_STDIN = "-"


class CategoryNames:
    """The categories of a service by what people type, in any case, with or without spaces."""

    SCREENER = "screener"

    def __init__(self, categories: CategoriesDocument) -> None:
        self._names = [each["name"] for each in categories["categories"]]
        self._by_key: dict[str, str | None] = {
            self.SCREENER: None,
            _key(categories["screener"]): None,
            **{_key(name): name for name in self._names},
        }

    def __contains__(self, typed: str) -> bool:
        return _key(typed) in self._by_key

    def find(self, typed: str) -> str | None:
        """The category's name; None for Screener. Raises :class:`UsageError`."""
        if _key(typed) in self._by_key:
            return self._by_key[_key(typed)]
        meant = get_close_matches(_key(typed), self._by_key, 1)
        guess = f"; did you mean {self._by_key[meant[0]] or self.SCREENER}?" if meant else ""
        listed = ", ".join(self._names)
        raise UsageError(
            f"there is no category {typed!r}: there are {listed}, and {self.SCREENER} to take a"
            f" decision back{guess}"
        )


def everybody_named(typed: Sequence[str], kind: str = SubjectKind.ADDRESS) -> list[Whom]:
    """Who is meant, each once. ``-`` stands for the lines of stdin; as in our lists, ``@x.example``
    is a domain and ``<id>`` a mailing list."""
    names = (name for word in typed for name in (_lines() if word == _STDIN else [word]))
    return list(dict.fromkeys(whom(name.strip(), SubjectKind(kind)) for name in names))


def whom(name: str, kind: SubjectKind = SubjectKind.ADDRESS) -> Whom:
    """Who is meant by one word, or by one cell of a list."""
    before, bracket, inside = name.partition("<")
    if bracket and inside.endswith(">"):  # Bob <bob@x.example>
        name = inside[:-1]
        if kind is SubjectKind.ADDRESS and not before and "@" not in name:
            return Whom(SubjectKind.LIST, name)
    if kind is SubjectKind.ADDRESS and name.startswith("@"):
        return Whom(SubjectKind.DOMAIN, name[1:])
    return Whom(kind, name)


def canonical_key(whom: Whom) -> str:
    """The form in which the service compares names."""
    if whom.kind is SubjectKind.DOMAIN:
        return canonical(f"@{whom.name}")[1:]
    return canonical(whom.name)


def _lines() -> Iterator[str]:
    """The first column of each line of stdin: our lists, and others, work."""
    for line in sys.stdin:
        if first := line.strip().partition("\t")[0].strip():
            yield first


def _key(name: str) -> str:
    return "".join(name.split()).casefold()
