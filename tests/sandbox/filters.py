"""Filters (RFC 8620 §5.5), and those of Email/query with its sort (RFC 8621 §4.4)."""

import re
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from tests.sandbox.addresses import query_terms
from tests.sandbox.mail import Mail
from tests.sandbox.profile import Profile
from tests.sandbox.requests import MethodError
from tests.sandbox.store import MailStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Comparators = list[dict[str, Any]]

_UTC_DATE: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d*[1-9])?Z")

#: What RFC 8621 §4.4.1 knows and Mailroom has no use for.
_UNSUPPORTED_CONDITIONS: Final = frozenset(
    [
        "inMailboxOtherThan",
        "minSize",
        "maxSize",
        "allInThreadHaveKeyword",
        "someInThreadHaveKeyword",
        "noneInThreadHaveKeyword",
        "hasAttachment",
        "text",
        "subject",
        "body",
    ]
)


class Selector:
    """Evaluates filters of one type of objects.

    ``conditions`` has a function for each property of a condition; it gets the value and the ids
    to choose from, and raises ValueError where the value is none. Those that cost least come
    first. ``unsupported`` are the properties that the RFC knows and the sandbox does not offer.
    """

    def __init__(
        self,
        conditions: "Mapping[str, Callable[[Any, set[str]], set[str]]]",
        unsupported: frozenset[str],
    ) -> None:
        self._conditions = conditions
        self._unsupported = unsupported

    def select(self, filter_: object, within: set[str], path: str = "filter") -> set[str]:
        """Return the ids of ``within`` that the filter lets through.

        ``path`` says where in the call's arguments the filter stands.

        Raises:
            MethodError: the filter is not understood, not offered, or the search fails.
        """
        match filter_:
            case None:
                return within
            case {"operator": operator, "conditions": list(conditions), **rest} if not rest:
                results = [
                    self.select(condition, within, f"{path}/conditions[{index}]")
                    for index, condition in enumerate(conditions)
                ]
                return _combined(operator, results, within, path)
            case {"operator": _}:
                raise _invalid(f"{path}/operator")
            case dict(condition):
                return self._condition(condition, within, path)
            case _:
                raise _invalid(path)

    def _condition(self, condition: dict[str, Any], within: set[str], path: str) -> set[str]:
        for name in condition:
            if name in self._unsupported:
                raise MethodError("unsupportedFilter", description=f"{name} is not offered")
            if name not in self._conditions:
                raise _invalid(f"{path}/{name}")
        for name, select in self._conditions.items():
            if name in condition:
                try:
                    within = select(condition[name], within)
                except ValueError as error:
                    raise _invalid(f"{path}/{name}") from error
        return within


class MailSelector(Selector):
    """Evaluates filters over the mails of one store at one instant."""

    def __init__(self, store: MailStore, profile: Profile, now: float) -> None:
        self._store = store
        self._profile = profile
        self._now = now
        conditions: dict[str, Callable[[Any, set[str]], set[str]]] = {
            "inMailbox": self._in_mailbox,
            "hasKeyword": lambda keyword, mails: mails & self._having(keyword),
            "notKeyword": lambda keyword, mails: mails - self._having(keyword),
            **{name: partial(self._with_words, name) for name in ("from", "to", "cc", "bcc")},
            "header": self._header,
            "after": lambda date, mails: self._received(mails, utc_date(date), after=True),
            "before": lambda date, mails: self._received(mails, utc_date(date), after=False),
        }
        super().__init__(conditions, _UNSUPPORTED_CONDITIONS)

    def _in_mailbox(self, mailbox_id: object, within: set[str]) -> set[str]:
        """Cyrus fails the whole query when the mailbox does not exist."""
        if not isinstance(mailbox_id, str):
            raise ValueError("no id")
        if mailbox_id not in self._store.mailboxes:
            if self._profile.unknown_mailbox_is_empty:
                return set()
            raise ValueError("no such mailbox")
        return within & self._store.in_mailbox(mailbox_id)

    def _having(self, keyword: object) -> set[str]:
        if not isinstance(keyword, str):
            raise ValueError("no keyword")
        exact = self._profile.keywords_are_exact
        return self._store.having(keyword if exact else keyword.lower())

    def _with_words(self, header: str, text: object, within: set[str]) -> set[str]:
        if not isinstance(text, str):
            raise ValueError("no text")
        self._need_search()
        terms = query_terms(text, by_words=self._profile.searches_by_words)
        return self._indexed(within & self._store.with_terms(header, terms))

    def _header(self, wanted: object, within: set[str]) -> set[str]:
        """A header is there, or has a text in it (RFC 8621 §4.4.1)."""
        match wanted:
            case [str(name)]:
                text = ""
            case [str(name), str(text)]:
                pass
            case _:
                raise ValueError("no header")
        self._need_search()
        if not self._profile.searches_headers:
            return set()
        values = {id_: self._store.mails[id_].header(name) for id_ in self._indexed(within)}
        return {
            id_
            for id_, value in values.items()
            if value is not None and text.lower() in value.lower()
        }

    def _need_search(self) -> None:
        if not self._profile.has_search:
            raise MethodError("serverFail", description="no search engine")

    def _indexed(self, within: set[str]) -> set[str]:
        mails = self._store.mails
        return {id_ for id_ in within if mails[id_].found_from <= self._now}

    def _received(self, within: set[str], instant: float, *, after: bool) -> set[str]:
        mails = self._store.mails
        if self._profile.dates_are_indexed:
            within = self._indexed(within)
        return {id_ for id_ in within if (mails[id_].received_at >= instant) is after}


def refuse_nested_mailboxes(filter_: object) -> None:
    """Apache James (by its source): a mailbox stands alone, or once directly in an AND."""
    match filter_:
        case {"operator": "AND", "conditions": list(conditions)}:
            direct = sum("inMailbox" in each for each in conditions)
            is_refused = _mailboxes_in(filter_) not in (0, direct) or direct > 1
        case {"operator": _}:
            is_refused = _mailboxes_in(filter_) > 0
        case _:
            is_refused = False
    if is_refused:
        raise MethodError("unsupportedFilter", description="nested inMailbox is not supported")


def _mailboxes_in(filter_: object) -> int:
    match filter_:
        case {"operator": _, "conditions": list(conditions)}:
            return sum(map(_mailboxes_in, conditions))
        case dict():
            return int("inMailbox" in filter_)
    return 0


def sort_mails(mails: list[Mail], comparators: Comparators | None) -> list[str]:
    """Return the ids in the order asked for; equals, and all without a sort, by id."""
    ordered = sorted(mails, key=lambda mail: mail.id)
    for comparator in reversed(comparators or []):
        match comparator:
            case {"property": "receivedAt", **options} if options.keys() <= {
                "isAscending",
                "collation",
            }:
                descending = options.get("isAscending", True) is False
                ordered.sort(key=lambda mail: mail.received_at, reverse=descending)
            case {"property": str(name)}:
                raise MethodError("unsupportedSort", description=f"{name} is not offered")
            case _:
                raise MethodError("invalidArguments", arguments=["sort"])
    return [mail.id for mail in ordered]


def utc_date(text: object) -> float:
    """Read a UTCDate (RFC 8620 §1.4); ValueError if it is none."""
    if not isinstance(text, str) or not _UTC_DATE.fullmatch(text):
        raise ValueError(f"no UTCDate: {text!r}")
    return datetime.fromisoformat(text).timestamp()


def show_date(instant: float) -> str:
    """Write an instant as a UTCDate, in whole seconds."""
    return datetime.fromtimestamp(int(instant), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _combined(operator: object, results: list[set[str]], within: set[str], path: str) -> set[str]:
    match operator:
        case "AND":
            return within.intersection(*results) if results else set()  # so does Cyrus
        case "OR":
            return set().union(*results)
        case "NOT":
            return within.difference(*results)
        case _:
            raise _invalid(f"{path}/operator")


def _invalid(path: str) -> MethodError:
    return MethodError("invalidArguments", arguments=[path])
