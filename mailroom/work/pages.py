"""Whole results of queries, page by page (RFC 8620 §5.5).

No number that a server tells decides how many requests are sent: not its total, and not its limits.
A page is asked for where the one before it brought something new, and a page that brings nothing
new is the end. A first page that has once turned out to be all is known again, so that it costs no
second request a minute later.
"""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from mailroom.engine.loop import Loop, together
from mailroom.wire.filters import Filter
from mailroom.wire.jmap import Mail, Page

Found = tuple[Page, dict[str, Mail]]
#: Asks for one page: the filter, how many ids at most, from which position.
Ask = Callable[[Filter, int, int], Coroutine[Any, Any, Found]]

# How often a search is made that does not hold still while it is read page by page.
_LOOKS = 3
# A poll has two queries and a sweep a dozen.
_MOST_REMEMBERED = 64


@dataclass(slots=True)
class _Look:
    """One pass over a result; ``states`` are those of all its pages, also of the empty one."""

    ids: set[str]
    mails: dict[str, Mail]
    states: set[str]
    pages: int = 1

    @property
    def is_consistent(self) -> bool:
        """Whether all pages are of one result. When a mail leaves it between two pages, another
        slips from one to the other and is on neither."""
        return self.pages == 1 or (len(self.states) == 1 and "" not in self.states)


class Pages:
    """Reads the results of one account's queries."""

    def __init__(self, loop: Loop, ask: Ask) -> None:
        self._loop = loop
        self._ask = ask
        self._complete: dict[str, tuple[object, ...]] = {}

    async def whole(
        self, first: Found, query: Filter, limit: int, concurrent: int
    ) -> tuple[Mail, ...]:
        """All that the query finds; ``first`` is its first page, of at most ``limit`` ids."""
        look = await self._consistent(first, query, limit, concurrent)
        return tuple(look.mails.values())

    async def ids(self, first: Found, query: Filter, limit: int, concurrent: int) -> set[str]:
        """The ids of it, for an ``ask`` that reads no mails."""
        return (await self._consistent(first, query, limit, concurrent)).ids

    async def _consistent(
        self, first: Found, query: Filter, limit: int, concurrent: int
    ) -> "_Look":
        """In mailboxes that never hold still, what several looks have seen is all there is to
        have."""
        seen = _Look(set(), {}, set())
        before: _Look | None = None
        for _ in range(_LOOKS):
            look = await self._look(first, query, limit, concurrent)
            if look.is_consistent or (before and before.ids == look.ids):
                self._remember(query, first[0], look)
                return look
            seen.ids |= look.ids
            seen.mails |= look.mails
            before = look
            first = await self._ask(query, limit, 0)
        return seen

    async def _look(self, first: Found, query: Filter, limit: int, concurrent: int) -> _Look:
        """First one page more, then two at once, then four: as fast as the server has filled
        them so far."""
        page, mails = first
        look = _Look(set(page.ids), dict(mails), {page.query_state})
        size, at_once = len(page.ids), 1
        is_last = nothing_follows(page, limit, size) or self._is_complete(query, page)
        while not is_last:
            positions = [len(look.ids) + number * size for number in range(at_once)]
            if page.total is not None:  # it may lower the number, to one
                positions = [each for each in positions if each < page.total] or positions[:1]
            asked = [self._ask(query, size, position) for position in positions]
            for more, its_mails in await together(self._loop, asked, concurrent):
                look.pages += 1
                look.states.add(more.query_state)
                is_last = look.ids.issuperset(more.ids)
                look.ids |= set(more.ids)
                look.mails |= its_mails
                is_last |= nothing_follows(more, size, len(look.ids))
                if is_last or len(more.ids) < size:
                    break
            at_once = 1 if len(more.ids) < size else min(2 * at_once, concurrent)
        return look

    def _remember(self, query: Filter, first: Page, look: _Look) -> None:
        if set(first.ids) == look.ids:
            self._complete.pop(key := repr(query), None)
            self._complete[key] = _marks(first)
            while len(self._complete) > _MOST_REMEMBERED:
                del self._complete[next(iter(self._complete))]

    def _is_complete(self, query: Filter, first: Page) -> bool:
        return self._complete.get(repr(query)) == _marks(first)


def _marks(page: Page) -> tuple[object, ...]:
    """By what a first page is known again; a total only where there is no state."""
    return page.ids, page.query_state or page.total


def nothing_follows(page: Page, limit: int, seen: int) -> bool:
    """Whether nothing can follow: an empty page, or a short one with which all is there that was
    announced, or that is shorter than the server's own limit. Some servers cut at less than was
    asked for and say nothing: so without a word, or with a larger total, more may come."""
    is_all_told = page.total is not None and page.total <= seen
    is_below_limit = page.total is None and page.limit is not None and len(page.ids) < page.limit
    return not page.ids or (len(page.ids) < limit and (is_all_told or is_below_limit))
