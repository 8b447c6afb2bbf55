"""The conversation about mail: JMAP requests that keep the server's limits (RFC 8620, 8621).

Searches are batched: several queries travel in one request, each with the mails that it found
by back-reference, and further pages of all of them are asked for at once.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mailroom.engine.exchange import Request
from mailroom.engine.loop import Loop, together
from mailroom.errors import ProtocolError
from mailroom.wire import jmap
from mailroom.wire.jmap import Answers, Call, Mail, Mailbox, MethodError, Patch, Session
from mailroom.work.web import Web

Filter = Mapping[str, Any]
States = Mapping[str, str]

_MAIL_PROPERTIES = ("id", "from", "mailboxIds")
_MAILBOX_PROPERTIES = ("id", "name", "parentId", "role")
# A patch of a few mailboxes, as JSON; a batch of them stays well below maxSizeRequest.
_PATCH_BYTES = 512
_BAD_REQUEST = 400


@dataclass(frozen=True, slots=True)
class Reading:
    """What one request saw: the states first, then the labelled mail.

    ``sent_at`` is the instant of the request. ``found`` is in the order of the filters asked for;
    None where the query was refused because a mailbox is no more.
    """

    sent_at: float
    states: States
    found: tuple[tuple[Mail, ...] | None, ...]
    mailboxes: tuple[Mailbox, ...] = ()


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

    def __init__(self, loop: Loop, web: Web, session_url: str) -> None:
        self._loop = loop
        self._web = web
        self._session_url = session_url
        self._session: Session | None = None
        self._session_state = ""
        web.trust(session_url)

    async def session(self) -> Session:
        """The session resource; fetched again after the server said that it changed."""
        if self._session is None:
            headers = {"Accept": "application/json"}
            response = await self._web.send(Request("GET", self._session_url, headers))
            session = jmap.read_session(response.body, response.url)
            self._web.trust(session.api_url)
            self._session, self._session_state = session, session.state
        return self._session

    def forget_session(self) -> None:
        self._session = None

    async def call(self, calls: Sequence[Call]) -> Answers:
        """One request. Raises MethodError only when an answer is looked at."""
        session = await self.session()
        body = jmap.encode_request(calls, session.account_id)
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        request = Request("POST", session.api_url, headers, body)
        response = await self._web.send(request, accept=(200, _BAD_REQUEST))
        if response.status == _BAD_REQUEST:
            kind, detail = jmap.read_problem(response.body)
            raise ProtocolError(f"{request}: refused as a whole: {kind or 400} {detail}".rstrip())
        answers = Answers(response.body, calls, session.api_url)
        self._heed_session_state(answers.session_state, session)
        return answers

    async def open(self, filters: Sequence[Filter]) -> Reading:
        """Names of the mailboxes, states, then the mail that the filters match."""
        pairs = [(number, query) for number, query in enumerate(filters)]
        mailboxes = Call("Mailbox/get", {"ids": None, "properties": _MAILBOX_PROPERTIES}, "boxes")
        reading, answers = await self._read([mailboxes], pairs, boxes_tag="boxes")
        return Reading(
            reading.sent_at,
            reading.states,
            reading.found,
            jmap.read_mailboxes(answers["boxes"]),
        )

    async def close(
        self, patches: Mapping[str, Patch], query: Filter
    ) -> tuple[dict[str, MethodError], Reading]:
        """Update the mails; in the last request, afterwards, read the states and the labels."""
        *others, last = list(await self._batches(patches)) or [{}]
        refused = await self._update_batches(others)
        calls = [_update(last), Call("Mailbox/get", {"ids": []}, "boxes")]
        reading, answers = await self._read(calls if last else calls[1:], [(0, query)], "boxes")
        if last:
            refused |= _refusals(answers["set"])
        return refused, reading

    async def update(self, patches: Mapping[str, Patch]) -> dict[str, MethodError]:
        """Update the mails, in as few requests as the limits allow; returns those refused."""
        return await self._update_batches(list(await self._batches(patches)))

    async def search(self, filters: Sequence[Filter]) -> list[tuple[Mail, ...] | MethodError]:
        """All mail that each filter matches, or why the server could not tell."""
        limits = (await self.session()).limits
        per_request = max(1, limits.calls // 2)
        numbered = list(enumerate(filters))
        found: dict[int, tuple[Mail, ...] | MethodError] = {}

        async def one(pairs: Sequence[tuple[int, Filter]]) -> None:
            answers = await self.call(_calls(pairs, limits.get))
            for number, query in pairs:
                try:
                    found[number] = await self._whole(answers, number, query)
                except MethodError as error:
                    if error.type in ("invalidArguments",):
                        raise
                    found[number] = error

        requests = [one(batch) for batch in _chunks(numbered, per_request)]
        await together(self._loop, requests, limits.concurrent)
        return [found[number] for number in range(len(filters))]

    async def _read(
        self, before: Sequence[Call], pairs: Sequence[tuple[int, Filter]], boxes_tag: str
    ) -> tuple[Reading, Answers]:
        limits = (await self.session()).limits
        email_state = Call("Email/get", {"ids": []}, "mails")
        sent_at = self._loop.now()
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
        return Reading(sent_at, states, tuple(found)), answers

    async def _whole(self, answers: Answers, number: int, query: Filter) -> tuple[Mail, ...]:
        """The first page that ``answers`` has, and all further pages, asked for at once."""
        limits = (await self.session()).limits
        first = jmap.read_ids(answers[f"query{number}"])
        mails = jmap.read_mails(answers[f"get{number}"])
        total = answers[f"query{number}"].get("total", 0)
        if not first or total <= len(first):
            return mails

        async def page(position: int) -> tuple[Mail, ...]:
            answers = await self.call(_calls([(0, query)], len(first), position))
            return jmap.read_mails(answers["get0"])

        positions = range(len(first), total, len(first))
        pages = await together(self._loop, [page(at) for at in positions], limits.concurrent)
        return mails + tuple(mail for found in pages for mail in found)

    async def _batches(self, patches: Mapping[str, Patch]) -> Iterator[dict[str, Patch]]:
        limits = (await self.session()).limits
        size = min(limits.set, max(1, limits.request_bytes // _PATCH_BYTES))
        return (dict(batch) for batch in _chunks(list(patches.items()), size))

    async def _update_batches(
        self, batches: Sequence[Mapping[str, Patch]]
    ) -> dict[str, MethodError]:
        async def one(batch: Mapping[str, Patch]) -> dict[str, MethodError]:
            return _refusals((await self.call([_update(batch)]))["set"])

        limits = (await self.session()).limits
        refused = await together(self._loop, [one(batch) for batch in batches], limits.concurrent)
        return {mail_id: error for each in refused for mail_id, error in each.items()}

    def _heed_session_state(self, state: str, session: Session) -> None:
        """Fetch the session anew once per change, even if a server names two states for ever."""
        if state and state != self._session_state:
            self._session_state = state
            if state != session.state:
                self._session = None


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


def _refusals(answer: jmap.Arguments) -> dict[str, MethodError]:
    """Mails not updated. A mail that is gone needs no filing any more."""
    refused = jmap.read_refusals(answer)
    return {mail_id: error for mail_id, error in refused.items() if error.type != "notFound"}


def _chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))
