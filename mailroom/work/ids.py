"""Ids alone: all that queries find, unsorted and every page. Of ten thousand mails that is a few
pages, so what has to be read of them can be chosen first, and cut as the reader likes it."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from mailroom.engine.loop import Loop
from mailroom.wire import jmap
from mailroom.wire.filters import Filter
from mailroom.wire.jmap import Call
from mailroom.work.mail import MailClient
from mailroom.work.pages import Found, Pages

T = TypeVar("T")

# As many ids as Stalwart shows at once.
_MOST_IDS = 5000


async def all_ids(
    loop: Loop, mail: MailClient, queries: Sequence[Filter], *, concurrent: int | None = None
) -> list[set[str]]:
    """What each of the queries finds, the first pages of all in one request; ``concurrent`` is how
    many further ones there may be at once, by default as many as the server allows.

    Raises MethodError where the server cannot tell.
    """
    calls = [_call(query, tag) for tag, query in enumerate(queries)]
    answers = await mail.call(calls)
    firsts = [_found(answers[call.tag]) for call in calls]

    async def ask(query: Filter, limit: int, position: int) -> Found:
        return _found((await mail.call([_call(query, 0, limit, position)]))["0"])

    pages = Pages(loop, ask)
    most = concurrent or (await mail.session()).limits.concurrent
    return [
        await pages.ids(first, query, _MOST_IDS, most)
        for first, query in zip(firsts, queries, strict=True)
    ]


def portions(items: Iterable[T], most: int) -> Iterator[list[T]]:
    """Cut into portions of at most so many."""
    remaining = iter(items)
    while portion := list(islice(remaining, most)):
        yield portion


def _call(query: Filter, tag: int, limit: int = _MOST_IDS, position: int = 0) -> Call:
    page = {"position": position, "limit": limit, "calculateTotal": True}
    return Call("Email/query", {"filter": query, **page}, str(tag))


def _found(answer: jmap.Arguments) -> Found:
    """A page, of whose mails no more is known than that they are there."""
    return jmap.read_page(answer), {}
