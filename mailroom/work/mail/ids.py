"""The ids alone of all that queries find, unsorted. The ids of ten thousand mails are a few pages,
so the caller can choose what to read of them, and in portions of any size."""

from collections.abc import Sequence

from mailroom.engine.loop import Loop
from mailroom.wire import jmap
from mailroom.wire.filters import Filter
from mailroom.wire.jmap import Call
from mailroom.work.mail.mail import MailClient
from mailroom.work.mail.pages import Found, Pages

# The most that Stalwart sends at once (its source).
_MOST_IDS = 5000


async def all_ids(
    loop: Loop, mail: MailClient, queries: Sequence[Filter], *, concurrent: int | None = None
) -> list[set[str]]:
    """The ids that each of the queries finds. The first pages of all are one request; further
    requests run ``concurrent`` at a time, by default as many as the server allows.

    Raises MethodError if the server cannot tell.
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


def _call(query: Filter, tag: int, limit: int = _MOST_IDS, position: int = 0) -> Call:
    page = {"position": position, "limit": limit, "calculateTotal": True}
    return Call("Email/query", {"filter": query, **page}, str(tag))


def _found(answer: jmap.Arguments) -> Found:
    """A page of ids, without the mails."""
    return jmap.read_page(answer), {}
