"""Mail that a server's search does not know yet.

``from`` and ``after`` may go by one index that runs behind what has come (Stalwart 0.15.5, seen:
for a moment neither finds a fresh mail, which its mailbox has at once). What is in the mailboxes,
and has no date by the index, is not in the index.

Both are asked for ids alone, and only what is missing in the index is read. The search has to be
asked afterwards: what had a date by then, it finds.
"""

from mailroom.engine.loop import Loop
from mailroom.wire.filters import Filter, all_of, by_mailbox
from mailroom.wire.jmap import Mail
from mailroom.work.ids import all_ids
from mailroom.work.mail import MailClient

_DATED = {"after": "1970-01-01T00:00:00Z"}


async def unindexed(loop: Loop, mail: MailClient, query: Filter) -> tuple[Mail, ...]:
    """All mail of these mailboxes that the index has no date of. Raises MethodError where the
    server cannot tell."""
    parts = by_mailbox(query) if await mail.is_split() else [query]
    found = await all_ids(loop, mail, [*parts, *(all_of(part, _DATED) for part in parts)])
    late = frozenset().union(*found[: len(parts)]).difference(*found[len(parts) :])
    return await mail.read(sorted(late)) if late else ()
