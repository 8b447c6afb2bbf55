"""Whole results of queries, page by page (RFC 8620 §5.5).

Whatever total or limit a server announces, a further page is asked for only if the last one brought
something new, and a page with nothing new ends the result. A first page that was the whole result
is recognised by the next poll, which then needs no second request.
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

# How often a result is read anew that changes while it is read page by page.
_LOOKS = 3
# Results to recognise: a poll has two queries, and a sweep a dozen.
_MOST_REMEMBERED = 64


@dataclass(slots=True)
class _Look:
    """One pass over a result; ``states`` are the query states of all its pages."""

    ids: set[str]
    mails: dict[str, Mail]
    states: set[str]
    pages: int = 1

    @property
    def is_consistent(self) -> bool:
        """Whether all pages show one state of the result. If a mail leaves the result between two
        pages, another slips from one page to the other and is seen on neither."""
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
        """All ids that the query finds, for an ``ask`` that reads no mails."""
        return (await self._consistent(first, query, limit, concurrent)).ids

    async def _consistent(
        self, first: Found, query: Filter, limit: int, concurrent: int
    ) -> "_Look":
        """One look that is consistent; if the result changes during each, all that several looks
        have seen."""
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
        """Read the further pages: one, then two at once, then four, as long as the server fills
        them."""
        page, mails = first
        look = _Look(set(page.ids), dict(mails), {page.query_state})
        size, at_once = len(page.ids), 1
        is_last = nothing_follows(page, limit, size) or self._is_complete(query, page)
        while not is_last:
            positions = [len(look.ids) + number * size for number in range(at_once)]
            if page.total is not None:  # it may lower the number of pages, but not below one
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
    """What a first page is recognised by; a total counts only if there is no state."""
    return page.ids, page.query_state or page.total


def nothing_follows(page: Page, limit: int, seen: int) -> bool:
    """Whether this is the last page: it is empty; or it is short, and completes the announced total
    or is shorter than the server's own limit. Some servers send fewer than asked for without saying
    so: if neither total nor limit is given, or the total is larger, more may follow."""
    is_all_told = page.total is not None and page.total <= seen
    is_below_limit = page.total is None and page.limit is not None and len(page.ids) < page.limit
    return not page.ids or (len(page.ids) < limit and (is_all_told or is_below_limit))
