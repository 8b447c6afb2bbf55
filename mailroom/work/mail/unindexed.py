"""Mail that a server's search does not find yet.

The index for ``from`` and ``after`` may lag behind new mail: on Stalwart 0.15.5 neither finds a
fresh mail for a moment, although ``inMailbox`` does (seen). So mail in the mailboxes that no search
by date finds is not in the index.

Both queries ask for ids alone; only mail that the index lacks is read. A search by sender has to
follow, not precede: it finds everything that had a date by then.
"""

from mailroom.engine.loop import Loop
from mailroom.wire.filters import Filter, all_of, by_mailbox
from mailroom.wire.jmap import Mail
from mailroom.work.mail.ids import all_ids
from mailroom.work.mail.mail import MailClient

_DATED = {"after": "1970-01-01T00:00:00Z"}


async def unindexed(loop: Loop, mail: MailClient, query: Filter) -> tuple[Mail, ...]:
    """All mail that ``query`` (mailboxes) finds and the index lacks. Raises MethodError if the
    server cannot tell."""
    parts = by_mailbox(query) if await mail.is_split() else [query]
    found = await all_ids(loop, mail, [*parts, *(all_of(part, _DATED) for part in parts)])
    late = frozenset().union(*found[: len(parts)]).difference(*found[len(parts) :])
    return await mail.read(sorted(late)) if late else ()
