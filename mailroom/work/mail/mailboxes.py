"""The mailboxes of an account (RFC 8621 §2), however many there are.

One get reads them all. If they are more than an answer may hold, it fails (RFC 8620 §5.1): then
they are read page by page, again only when their state has changed.
"""

from mailroom.wire import jmap
from mailroom.wire.jmap import Answers, Call, Mailbox
from mailroom.work.session.api import Api

_TAG = "boxes"
_PROPERTIES = ("id", "name", "parentId", "role")


class MailboxReader:
    """Reads the mailboxes of one account.

    The caller sets ``is_paged`` once a get of all has failed. ``unreadable`` takes the entries that
    make no sense: by kind and id, the reason.
    """

    def __init__(self, api: Api, unreadable: dict[str, str]) -> None:
        self.is_paged = False
        self._api = api
        self._unreadable = unreadable
        # All mailboxes as last read page by page, and their state then.
        self._listed: tuple[str, tuple[Mailbox, ...]] = ("", ())

    def get(self) -> Call:
        """The call for a reading: it gets all mailboxes, or only their state if they are paged."""
        ids: list[str] | None = [] if self.is_paged else None
        return Call("Mailbox/get", {"ids": ids, "properties": _PROPERTIES}, _TAG)

    def read(self, answers: Answers) -> tuple[Mailbox, ...]:
        """The mailboxes in the answer to :meth:`get`."""
        return tuple(self._boxes(answers).values())

    async def by_page(self, state: str) -> tuple[Mailbox, ...]:
        """All mailboxes, page by page if ``state`` is not the one in which they were last read."""
        if self._listed[0] != state:
            found: dict[str, Mailbox] = {}
            while not found.keys() >= (more := await self._page(len(found))).keys():
                found |= more
            self._listed = (state, tuple(found.values()))
        return self._listed[1]

    async def _page(self, position: int) -> dict[str, Mailbox]:
        limit = (await self._api.session()).limits.get
        query = Call("Mailbox/query", {"position": position, "limit": limit}, "query")
        get = {"#ids": query.ref("/ids"), "properties": _PROPERTIES}
        return self._boxes(await self._api.call([query, Call("Mailbox/get", get, _TAG)]))

    def _boxes(self, answers: Answers) -> dict[str, Mailbox]:
        sifted = jmap.read_mailboxes(answers[_TAG])
        self._unreadable |= sifted.unreadable
        return {box.id: box for box in sifted.entries}
