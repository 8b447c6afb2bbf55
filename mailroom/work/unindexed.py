"""Mail that a server's search does not know yet.

``from`` and ``after`` may go by one index that runs behind what has come (Stalwart 0.15.5, seen:
for a moment neither finds a fresh mail, which its mailbox has at once). What is in the mailboxes,
and has no date by the index, is not in the index.

Both are asked for ids alone, unsorted and every page: of ten thousand mails that is a few pages,
and only what is missing in the index is read. The search has to be asked afterwards: what had a
date by then, it finds.
"""

from mailroom.engine.loop import Loop
from mailroom.wire import jmap
from mailroom.wire.filters import Filter, all_of, by_mailbox
from mailroom.wire.jmap import Call, Mail
from mailroom.work.mail import MailConversation
from mailroom.work.pages import Found, Pages

# As many ids as Stalwart shows at once.
_MOST_IDS = 5000
_DATED = {"after": "1970-01-01T00:00:00Z"}


async def unindexed(loop: Loop, mail: MailConversation, query: Filter) -> tuple[Mail, ...]:
    """All mail of these mailboxes that the index has no date of. Raises MethodError where the
    server cannot tell."""

    concurrent = (await mail.session()).limits.concurrent
    parts = by_mailbox(query) if await mail.is_split() else [query]
    halves = [*parts, *(all_of(part, _DATED) for part in parts)]
    calls = [_call(half, tag) for tag, half in enumerate(halves)]
    answers = await mail.call(calls)
    firsts = [_found(answers[call.tag]) for call in calls]

    async def ask(half: Filter, limit: int, position: int) -> Found:
        return _found((await mail.call([_call(half, 0, limit, position)]))["0"])

    pages = Pages(loop, ask)
    found = [
        frozenset(each.id for each in await pages.whole(first, half, _MOST_IDS, concurrent))
        for first, half in zip(firsts, halves, strict=True)
    ]
    late = frozenset().union(*found[: len(parts)]).difference(*found[len(parts) :])
    return await mail.read(sorted(late)) if late else ()


def _call(query: Filter, tag: int, limit: int = _MOST_IDS, position: int = 0) -> Call:
    page = {"position": position, "limit": limit, "calculateTotal": True}
    return Call("Email/query", {"filter": query, **page}, str(tag))


def _found(answer: jmap.Arguments) -> Found:
    """A page, and what is known of its mails: that they are there."""
    page = jmap.read_page(answer)
    return page, {mail_id: Mail(mail_id, (), frozenset()) for mail_id in page.ids}
