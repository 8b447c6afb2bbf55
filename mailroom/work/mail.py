"""The conversation about mail (RFC 8621): searches and updates within the server's limits.

Searches are batched: several queries travel in one request, each with the mails that it found
by back-reference, and further pages of all of them are asked for at once.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from mailroom.engine.loop import Owner, give_way, together
from mailroom.errors import CredentialsRefused, Forbidden, ProtocolError
from mailroom.wire import jmap
from mailroom.wire.jmap import Answers, Call, Created, Mail, Mailbox, MethodError, Page, Patch
from mailroom.work.api import Api
from mailroom.work.web import Web

T = TypeVar("T")

Filter = Mapping[str, Any]
States = Mapping[str, str]
_Found = tuple[Page, dict[str, Mail]]

_MAIL_PROPERTIES = ("id", "from", "mailboxIds")
_MAILBOX_PROPERTIES = ("id", "name", "parentId", "role")
# How often a search is made that does not hold still while it is read page by page.
_LOOKS = 3


@dataclass(frozen=True, slots=True)
class Reading:
    """What one request saw: the states first, then the labelled mail.

    ``sent_at`` is the instant of the request. ``found`` is in the order of the filters asked for;
    None where the query was refused because a mailbox is no more. ``earlier`` are the Email states
    that updates have left since the reading before, all answered before this request was sent;
    ``has_written`` says that it updated mail itself.
    """

    sent_at: float
    states: States
    found: tuple[tuple[Mail, ...] | None, ...]
    mailboxes: tuple[Mailbox, ...] = ()
    earlier: frozenset[str] = frozenset()
    has_written: bool = False


def any_of(conditions: Iterable[Filter]) -> Filter:
    """At least one of the conditions."""
    found = list(conditions)
    return found[0] if len(found) == 1 else {"operator": "OR", "conditions": found}


def all_of(*conditions: Filter) -> Filter:
    return {"operator": "AND", "conditions": list(conditions)}


def in_any(mailbox_ids: Iterable[str]) -> Filter:
    """Mail in at least one of the mailboxes."""
    return any_of({"inMailbox": mailbox_id} for mailbox_id in mailbox_ids)


class MailConversation:
    """One account's mail. ``session_url`` is where the session resource is looked for."""

    def __init__(self, owner: Owner, web: Web, session_url: str) -> None:
        self._loop = owner.loop
        self._api = Api(owner, web, session_url)
        self.session = self._api.session
        self.call = self._api.call
        self.upload = self._api.upload
        self.download = self._api.download
        # Of an account with more mailboxes than one answer may hold: all, and their state then.
        self._listed: tuple[str, tuple[Mailbox, ...]] | None = None
        self._left: set[str] = set()

    async def identities(self) -> frozenset[str]:
        """The addresses that the user sends from, lower-cased, where the server tells (RFC 8621
        §6): not every token may ask, and Cyrus answers with empty ones."""
        if jmap.SUBMISSION not in (await self.session()).capabilities:
            return frozenset()
        call = Call("Identity/get", {"ids": None}, "identities", jmap.SUBMISSION)
        try:
            return jmap.read_identities((await self.call([call]))["identities"])
        except (MethodError, CredentialsRefused, Forbidden, ProtocolError):
            return frozenset()

    async def open(self, filters: Sequence[Filter]) -> Reading:
        """Names of the mailboxes, states, then the mail that the filters match."""
        pairs = list(enumerate(filters))
        is_listed = self._listed is not None
        get: jmap.Arguments = {"ids": [] if is_listed else None, "properties": _MAILBOX_PROPERTIES}
        try:
            reading, answers = await self._read([Call("Mailbox/get", get, "boxes")], pairs, "boxes")
        except MethodError as error:
            if error.type != "requestTooLarge" or is_listed:
                raise
            self._listed = ("", ())
            return await self.open(filters)
        if is_listed:
            mailboxes = await self._all_mailboxes(reading.states["Mailbox"])
        else:
            mailboxes = jmap.read_mailboxes(answers["boxes"])
        return replace(reading, mailboxes=mailboxes)

    async def close(
        self, patches: Mapping[str, Patch], query: Filter
    ) -> tuple[dict[str, MethodError], Reading]:
        """Update the mails; in the last request, afterwards, read the states and the labels."""
        *others, last = await self._batches(patches) or [{}]
        refused = await self._update_batches(others)
        calls = [_update(last), Call("Mailbox/get", {"ids": []}, "boxes")]
        reading, answers = await self._read(calls if last else calls[1:], [(0, query)], "boxes")
        if last:
            refused |= _refusals(answers["set"], last)
        return refused, replace(reading, has_written=bool(last))

    async def update(self, patches: Mapping[str, Patch]) -> dict[str, MethodError]:
        """Update the mails, in as few requests as the limits allow; returns those refused."""
        return await self._update_batches(await self._batches(patches))

    async def create(self, kind: str, objects: Mapping[str, jmap.Arguments]) -> Created:
        """Create objects of a type (``Mailbox``, ``Email``) under keys of the caller's, in as
        few requests as the limits allow."""
        limits = (await self.session()).limits
        ids: dict[str, str] = {}
        refused: dict[str, MethodError] = {}
        for portion in _portions(objects.items(), limits.set, limits.request_bytes // 2):
            method, batch = f"{kind}/set", dict(portion)
            answers = await self.call([Call(method, {"create": batch}, "set")])
            made = jmap.read_created(answers["set"], method, batch)
            ids |= made.ids
            refused |= made.refused
        return Created(ids, refused)

    async def destroy(self, mail_ids: Sequence[str]) -> dict[str, MethodError]:
        """Delete mail for good; returns what was refused. Only for mail that Mailroom made."""
        answers = await self.call([Call("Email/set", {"destroy": list(mail_ids)}, "set")])
        refused = jmap.read_undestroyed(answers["set"])
        return {mail_id: each for mail_id, each in refused.items() if each.type != "notFound"}

    async def search(self, filters: Sequence[Filter]) -> list[tuple[Mail, ...] | MethodError]:
        """All mail that each filter matches, or why the server could not tell."""
        limits = (await self.session()).limits
        per_request = max(1, limits.calls // 2)
        found: dict[int, tuple[Mail, ...] | MethodError] = {}

        async def one(pairs: Sequence[tuple[int, Filter]]) -> None:
            answers = await self.call(_calls(pairs, limits.get))
            for number, query in pairs:
                try:
                    found[number] = await self._whole(answers, number, query)
                except MethodError as error:
                    found[number] = error

        portions = _portions(enumerate(filters), per_request, limits.request_bytes // 2)
        requests = [one(pairs) for pairs in portions]
        await together(self._loop, requests, limits.concurrent)
        return [found[number] for number in range(len(filters))]

    async def _all_mailboxes(self, state: str) -> tuple[Mailbox, ...]:
        """Page by page (RFC 8620 §5.1: a get of too many fails); anew when ``state`` is."""
        if self._listed is None or self._listed[0] != state:
            found: dict[str, Mailbox] = {}
            while not found.keys() >= (more := await self._some_mailboxes(len(found))).keys():
                found |= more
            self._listed = (state, tuple(found.values()))
        return self._listed[1]

    async def _some_mailboxes(self, position: int) -> dict[str, Mailbox]:
        limit = (await self.session()).limits.get
        query = Call("Mailbox/query", {"position": position, "limit": limit}, "query")
        get = {"#ids": query.ref("/ids"), "properties": _MAILBOX_PROPERTIES}
        answers = await self.call([query, Call("Mailbox/get", get, "boxes")])
        return {box.id: box for box in jmap.read_mailboxes(answers["boxes"])}

    async def _read(
        self, before: Sequence[Call], pairs: Sequence[tuple[int, Filter]], boxes_tag: str
    ) -> tuple[Reading, Answers]:
        limits = (await self.session()).limits
        email_state = Call("Email/get", {"ids": []}, "mails")
        sent_at, earlier = self._loop.now(), frozenset(self._left)
        self._left.clear()
        answers = await self.call([*before, email_state, *_calls(pairs, limits.get)])
        states = {
            "Mailbox": jmap.read_state(answers[boxes_tag]),
            "Email": jmap.read_state(answers["mails"]),
        }
        found: list[tuple[Mail, ...] | None] = []
        for number, query in pairs:
            try:
                found.append(await self._whole(answers, number, query))
            except MethodError as error:
                if error.type != "invalidArguments":
                    raise
                found.append(None)
        return Reading(sent_at, states, tuple(found), earlier=earlier), answers

    async def _whole(self, answers: Answers, number: int, query: Filter) -> tuple[Mail, ...]:
        """All that the query finds: the page that ``answers`` has, and all further ones.

        When a mail leaves the result between two pages, another slips from one to the other and
        is on neither: so the pages have to be of one state, and as many mails as announced. In
        mailboxes that never hold still, what several looks have seen is all there is to have.
        """
        limit = (await self.session()).limits.get
        seen: dict[str, Mail] = {}
        for _ in range(_LOOKS):
            first, mails = _page(answers, number)
            pages = [first]
            for page, more in await self._further_pages(first, query):
                pages.append(page)
                mails |= more
            ids = {mail_id for page in pages for mail_id in page.ids}
            if len({page.query_state for page in pages}) == 1 and len(ids) >= (first.total or 0):
                return tuple(mails.values())
            seen |= mails
            answers, number = await self.call(_calls([(0, query)], limit)), 0
        return tuple(seen.values())

    async def _further_pages(self, first: Page, query: Filter) -> list[_Found]:
        """The pages after the first, all at once where the server has said how many there are."""
        size = len(first.ids)

        async def page(position: int) -> _Found:
            return _page(await self.call(_calls([(0, query)], size, position)), 0)

        if not size:
            return []
        if first.total is not None:
            limits = (await self.session()).limits
            positions = range(size, first.total, size)
            return await together(self._loop, [page(at) for at in positions], limits.concurrent)
        found: list[_Found] = []
        seen = set(first.ids)
        while not seen.issuperset((more := await page(len(seen)))[0].ids):
            found.append(more)
            seen |= set(more[0].ids)
        return found

    async def _batches(self, patches: Mapping[str, Patch]) -> list[dict[str, Patch]]:
        limits = (await self.session()).limits
        batches = []
        for portion in _portions(patches.items(), limits.set, limits.request_bytes // 2):
            batches.append(dict(portion))
            await give_way(self._loop)
        return batches

    async def _update_batches(
        self, batches: Sequence[Mapping[str, Patch]]
    ) -> dict[str, MethodError]:
        async def one(batch: Mapping[str, Patch]) -> dict[str, MethodError]:
            answer = (await self.call([_update(batch)]))["set"]
            if state := jmap.read_new_state(answer):
                self._left.add(state)
            return _refusals(answer, batch)

        limits = (await self.session()).limits
        refused = await together(self._loop, [one(batch) for batch in batches], limits.concurrent)
        return {mail_id: error for each in refused for mail_id, error in each.items()}


def _calls(pairs: Sequence[tuple[int, Filter]], limit: int, position: int = 0) -> list[Call]:
    calls = []
    for number, query in pairs:
        search = Call(
            "Email/query",
            {
                "filter": query,
                "sort": [{"property": "receivedAt", "isAscending": True}],
                "position": position,
                "limit": limit,
                "calculateTotal": True,
            },
            f"query{number}",
        )
        get = {"#ids": search.ref("/ids"), "properties": _MAIL_PROPERTIES}
        calls += [search, Call("Email/get", get, f"get{number}")]
    return calls


def _update(patches: Mapping[str, Patch]) -> Call:
    return Call("Email/set", {"update": patches}, "set")


def _refusals(answer: jmap.Arguments, mail_ids: Iterable[str]) -> dict[str, MethodError]:
    """Mails not updated. A mail that is gone needs no filing any more."""
    refused = jmap.read_refusals(answer, mail_ids)
    return {mail_id: error for mail_id, error in refused.items() if error.type != "notFound"}


def _page(answers: Answers, number: int) -> _Found:
    """One page of a search, and its mails by their ids."""
    page = jmap.read_page(answers[f"query{number}"])
    mails = jmap.read_mails(answers[f"get{number}"])
    return page, {mail.id: mail for mail in mails}


def _portions(items: Iterable[T], most: int, most_bytes: int) -> Iterator[list[T]]:
    """Cut into portions of at most so many items, and so many bytes as JSON."""
    portion: list[T] = []
    used = 0
    for item in items:
        size = len(json.dumps(item))
        if portion and (len(portion) == most or used + size > most_bytes):
            yield portion
            portion, used = [], 0
        portion.append(item)
        used += size
    if portion:
        yield portion
