"""The client for mail (RFC 8621): searches and updates within the server's limits.

Searches are batched: one request has several queries, each with a get of the mails that it found. A
server that refuses mailboxes inside an OR is asked mailbox by mailbox.
"""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import replace

from mailroom.engine.loop import Owner, give_way, together
from mailroom.errors import CredentialsRefused, Forbidden, ProtocolError
from mailroom.wire import jmap
from mailroom.wire.arrivals import (
    Arrival,
    Changes,
    arrival_calls,
    changes_calls,
    read_arrivals,
    read_changes,
)
from mailroom.wire.filters import Filter, by_mailbox
from mailroom.wire.jmap import Answers, Call, Created, Mail, MethodError, PatchObject
from mailroom.wire.mailcalls import (
    MAIL_PROPERTIES,
    escaped,
    is_elsewhere,
    probe_calls,
    read_update_refusals,
    search_calls,
    update_calls,
)
from mailroom.work.mail.mailboxes import MailboxReader
from mailroom.work.mail.pages import Found, Pages
from mailroom.work.mail.reading import Reading, Written
from mailroom.work.session.api import Api
from mailroom.work.session.portions import portions
from mailroom.work.session.web import Web

Result = tuple[Mail, ...] | MethodError


def _ignore(_: object) -> None:
    """For callers that wait for the end."""


class MailClient:
    """One account's mail. ``session_url`` is where to look for the session resource; ``headers``
    are further header fields to read of new mail."""

    def __init__(
        self, owner: Owner, web: Web, session_url: str, headers: Sequence[str] = ()
    ) -> None:
        self._headers = tuple(headers)
        self._loop = owner.loop
        self._api = Api(owner, web, session_url)
        self.session = self._api.session
        self.call = self._api.call
        self.upload = self._api.upload
        self.download = self._api.download
        # The Email states after our updates since the last reading.
        self._left: set[str] = set()
        # How many mails we have updated since the server last told all changes.
        self._updates = 0
        self._pages = Pages(owner.loop, self._page)
        self._unreadable: dict[str, str] = {}
        self._mailboxes = MailboxReader(self._api, self._unreadable)
        # The state of the session in which the server refused mailboxes inside an OR.
        self._split_session: str | None = None

    def take_unreadable(self) -> dict[str, str]:
        """The objects left alone since the last call of this because their entries in answers make
        no sense: by kind and id, the reason."""
        taken = dict(self._unreadable)
        self._unreadable.clear()
        return taken

    async def identities(self) -> frozenset[str]:
        """The addresses that the user sends from, in lower case (RFC 8621 §6); none if the server
        does not tell. Some tokens may not ask, and Cyrus 3.10.2 answers with empty ones (seen)."""
        if jmap.SUBMISSION not in (await self.session()).capabilities:
            return frozenset()
        call = Call("Identity/get", {"ids": None}, "identities", jmap.SUBMISSION)
        try:
            return jmap.read_identities((await self.call([call]))["identities"])
        except (MethodError, CredentialsRefused, Forbidden, ProtocolError):
            return frozenset()

    async def take_reading(self, filters: Sequence[Filter], since: str | None = None) -> Reading:
        """Read the mailboxes, the states, what has changed ``since`` an Email state, and the mail
        that the filters match."""
        is_paged = self._mailboxes.is_paged
        try:
            reading, answers = await self._read([self._mailboxes.get()], filters, since)
        except MethodError as error:
            if error.type != "requestTooLarge" or is_paged:
                raise
            self._mailboxes.is_paged = True
            return await self.take_reading(filters, since)
        if is_paged:
            mailboxes = await self._mailboxes.by_page(reading.states["Mailbox"])
        else:
            mailboxes = self._mailboxes.read(answers)
        return replace(reading, mailboxes=mailboxes)

    async def update_and_read(
        self,
        patches: Mapping[str, PatchObject],
        filters: Sequence[Filter],
        since: str | None = None,
        watched: Container[str] = (),
        tell: Callable[[Written], None] = _ignore,
    ) -> tuple[Written, Reading]:
        """Update the mails as :meth:`update` does; the last request then also reads what
        :meth:`take_reading` does, except mailboxes."""
        *others, last = await self._batches(patches, watched) or [{}]
        parts = [await self._update_batches(others, watched, tell)]
        calls = [*update_calls(last, watched)] if last else []
        self._updates += len(last)

        def note(answers: Answers) -> None:
            if last:
                parts.append(self._written(answers, last, watched))
                tell(parts[-1])

        reading, _ = await self._read(
            [*calls, Call("Mailbox/get", {"ids": []}, "boxes")], filters, since, note
        )
        return _joined(parts), replace(reading, has_written=bool(last))

    async def update(
        self,
        patches: Mapping[str, PatchObject],
        watched: Container[str] = (),
        tell: Callable[[Written], None] = _ignore,
    ) -> Written:
        """Update the mails in as few requests as the limits allow. Mails in ``watched`` are read
        again by the same request, to see what somebody else has done to them meanwhile. ``tell``
        hears the outcome of each request at once: the next may fail."""
        return await self._update_batches(await self._batches(patches, watched), watched, tell)

    async def changes(self, since: str) -> Changes | None:
        """What has changed since an Email state; None if the server cannot tell."""
        limits = (await self.session()).limits
        return self._changes(
            await self.call(changes_calls(since, limits.get, self._updates, self._headers))
        )

    async def arrivals(self, mail_ids: Sequence[str]) -> tuple[Arrival, ...]:
        """Those of the mails that exist, read as new mail is; one request after the other."""
        found: list[Arrival] = []
        limits = (await self.session()).limits
        parts = list(portions(mail_ids, limits.get, limits.request_bytes // 2))
        for portion in parts:
            calls = arrival_calls(portion, self._headers)
            answers = await self.call(calls, gathers=len(parts) == 1)
            sifted = read_arrivals(answers["created"])
            self._unreadable |= sifted.unreadable
            found += sifted.entries
        return tuple(found)

    async def create(self, kind: str, objects: Mapping[str, jmap.Arguments]) -> Created:
        """Create objects of a type (``Mailbox``, ``Email``), by keys that the caller chooses, in as
        few requests as the limits allow."""
        limits = (await self.session()).limits
        ids: dict[str, str] = {}
        refused: dict[str, MethodError] = {}
        for portion in portions(objects.items(), limits.set, limits.request_bytes // 2):
            method, batch = f"{kind}/set", dict(portion)
            answers = await self.call([Call(method, {"create": batch}, "set")])
            made = jmap.read_created(answers["set"], method, batch)
            ids |= made.ids
            refused |= made.refused
        return Created(ids, refused)

    async def destroy(self, mail_ids: Sequence[str]) -> dict[str, MethodError]:
        """Delete mail for good; returns what was refused. Only for mail that Mailroom created."""
        answers = await self.call([Call("Email/set", {"destroy": list(mail_ids)}, "set")])
        refused = jmap.read_undestroyed(answers["set"])
        return {mail_id: each for mail_id, each in refused.items() if each.type != "notFound"}

    async def read(self, mail_ids: Sequence[str]) -> tuple[Mail, ...]:
        """The mails with these ids that exist."""
        limits = (await self.session()).limits
        found: list[Mail] = []
        for portion in portions(mail_ids, limits.get, limits.request_bytes // 2):
            get = Call("Email/get", {"ids": portion, "properties": MAIL_PROPERTIES}, "mails")
            sifted = jmap.read_mails((await self.call([get]))["mails"])
            self._unreadable |= sifted.unreadable
            found += sifted.entries
        return tuple(found)

    async def search(self, filters: Sequence[Filter]) -> list[Result]:
        """For each filter, all mail that it matches, or why the server could not tell."""
        if not await self.is_split():
            results = await self._search(filters)
            if not any(map(_refuses_mailboxes_in_or, results, filters)):
                return results
            self._split_session = (await self.session()).state
        parts = [by_mailbox(query) for query in filters]
        found = iter(await self._search([part for each in parts for part in each]))
        return [_united([next(found) for _ in each]) for each in parts]

    async def is_split(self) -> bool:
        """Whether the server gets one query for each mailbox, because it refused one for several in
        the current session."""
        return self._split_session == (await self.session()).state

    async def _search(self, filters: Sequence[Filter]) -> list[Result]:
        limits = (await self.session()).limits
        is_sorted = await self._is_sorted()
        per_request = max(1, limits.calls // 2)
        found: dict[int, Result] = {}

        async def one(pairs: Sequence[tuple[int, Filter]]) -> None:
            calls = search_calls(pairs, limits.get, is_sorted=is_sorted)
            answers = await self.call(calls, gathers=len(parts) == 1)
            for number, query in pairs:
                found[number] = await self._result(answers, number, query)

        parts = list(portions(enumerate(filters), per_request, limits.request_bytes // 2))
        requests = [one(pairs) for pairs in parts]
        await together(self._loop, requests, limits.concurrent)
        return [found[number] for number in range(len(filters))]

    async def _result(self, answers: Answers, number: int, query: Filter) -> Result:
        """All that a query finds; its first page is in ``answers``."""
        limits = (await self.session()).limits
        try:
            first = self._first_page(answers, number)
            return await self._pages.whole(first, query, limits.get, limits.concurrent)
        except MethodError as error:
            return error

    async def _read(
        self,
        before: Sequence[Call],
        filters: Sequence[Filter],
        since: str | None,
        note: Callable[[Answers], None] = _ignore,
    ) -> tuple[Reading, Answers]:
        """Read the states, then what has changed, then the queries: in this order the queries see
        everything that the states cover. ``note`` gets the answers before anything is made of them:
        any of the calls may have failed."""
        limits = (await self.session()).limits
        email_state = Call("Email/get", {"ids": []}, "mails")
        changed = changes_calls(since, limits.get, self._updates, self._headers) if since else ()
        is_split = await self.is_split()
        pairs, is_sorted = list(enumerate(filters)), await self._is_sorted()
        queries = (
            probe_calls(filters)
            if is_split
            else search_calls(pairs, limits.get, is_sorted=is_sorted)
        )
        sent_at, earlier = self._loop.now(), frozenset(self._left)
        self._left.clear()
        answers = await self.call([*before, email_state, *changed, *queries])
        note(answers)
        changes = self._changes(answers) if changed else None
        states = {
            "Mailbox": jmap.read_state(answers["boxes"]),
            "Email": jmap.read_state(answers["mails"]),
        }
        if is_split:
            found = await self._probed(answers, filters)
        else:
            found = [await self._result(answers, *pair) for pair in enumerate(filters)]
        if any(map(_refuses_mailboxes_in_or, found, filters)):
            found = await self.search(filters)  # the states are still older than what it finds
        # Stalwart's states are of the whole account: a change of mail shows as one of mailboxes
        # too, with the state of Email (0.15.5, seen).
        tells_by_email = (await self.session()).is_stalwart
        reading = Reading(
            sent_at,
            states,
            tuple(map(_unless_gone, found)),
            earlier=earlier,
            tells_by_email=tells_by_email,
            changes=changes,
        )
        return reading, answers

    def _changes(self, answers: Answers) -> Changes | None:
        changes, unreadable = read_changes(answers)
        if changes is None or not changes.has_more:
            self._updates = 0
        self._unreadable |= unreadable
        return changes

    async def _probed(self, answers: Answers, filters: Sequence[Filter]) -> list[Result]:
        """What the filters find if ``answers`` tell for each mailbox whether it has any such mail.
        Mostly there is none, and no further request is needed."""
        results: list[list[Result]] = [[] for _ in filters]
        filled: list[tuple[int, Filter]] = []
        parts = [(number, part) for number, each in enumerate(filters) for part in by_mailbox(each)]
        for call, (number, part) in zip(probe_calls(filters), parts, strict=True):
            try:
                if jmap.read_page(answers[call.tag]).ids:
                    filled.append((number, part))
            except MethodError as error:
                results[number].append(error)
        found = await self._search([part for _, part in filled])
        for (number, _), result in zip(filled, found, strict=True):
            results[number].append(result)
        return [_united(each) for each in results]

    async def _page(self, query: Filter, limit: int, position: int) -> Found:
        is_sorted = await self._is_sorted()
        calls = search_calls([(0, query)], limit, position, is_sorted=is_sorted)
        return self._first_page(await self.call(calls), 0)

    async def _is_sorted(self) -> bool:
        """Whether searches are sorted by date: to sort, Stalwart reads its whole index (its
        source)."""
        return not (await self.session()).is_stalwart

    def _first_page(self, answers: Answers, number: int) -> Found:
        """The first page of a search in ``answers``, and its mails by id."""
        page = jmap.read_page(answers[f"query{number}"])
        sifted = jmap.read_mails(answers[f"get{number}"])
        self._unreadable |= sifted.unreadable
        return page, {mail.id: mail for mail in sifted.entries}

    async def _batches(
        self, patches: Mapping[str, PatchObject], watched: Container[str]
    ) -> list[dict[str, PatchObject]]:
        limits = (await self.session()).limits
        batches: list[dict[str, PatchObject]] = []
        is_read = any(mail_id in watched for mail_id in patches)
        most = min(limits.set, limits.get) if is_read else limits.set
        if (await self.session()).is_stalwart:
            patches = {mail_id: escaped(patch) for mail_id, patch in patches.items()}
        for portion in portions(patches.items(), most, limits.request_bytes // 2):
            if batches:  # a single batch must go out in this turn, with the calls of others
                await give_way(self._loop)
            batches.append(dict(portion))
        return batches

    async def _update_batches(
        self,
        batches: Sequence[Mapping[str, PatchObject]],
        watched: Container[str],
        tell: Callable[[Written], None],
    ) -> Written:
        """One batch after the other. Side by side they gain nothing: Cyrus 3.10.2 keeps all other
        requests of the account waiting until one is done (seen), so the last of many would time
        out; and Stalwart may refuse a batch because of another one."""
        parts: list[Written] = []
        for batch in batches:
            self._updates += len(batch)
            answers = await self.call(update_calls(batch, watched), gathers=len(batches) == 1)
            if state := jmap.read_new_state(answers["set"]):
                self._left.add(state)
            parts.append(self._written(answers, batch, watched))
            tell(parts[-1])
        return _joined(parts)

    def _written(
        self, answers: Answers, batch: Mapping[str, PatchObject], watched: Container[str]
    ) -> Written:
        refused = read_update_refusals(answers["set"], batch)
        if not any(mail_id in watched for mail_id in batch):
            return Written(refused)
        sifted = jmap.read_mails(answers["after"])
        self._unreadable |= sifted.unreadable
        elsewhere = (each for each in sifted.entries if is_elsewhere(each, batch.get(each.id, {})))
        return Written(refused, tuple(elsewhere))


def _united(results: Sequence[Result]) -> Result:
    """What the parts of a query have found: each mail once, or why a part failed."""
    mails: dict[str, Mail] = {}
    for result in results:
        if isinstance(result, MethodError):
            return result
        mails |= {mail.id: mail for mail in result}
    return tuple(mails.values())


def _refuses_mailboxes_in_or(result: Result, query: Filter) -> bool:
    is_refused = isinstance(result, MethodError) and result.type == "unsupportedFilter"
    return is_refused and by_mailbox(query) != [query]


def _unless_gone(result: Result) -> tuple[Mail, ...] | None:
    """The mails; None if a mailbox of the filter no longer exists. Raises any other error."""
    if not isinstance(result, MethodError):
        return result
    if result.type != "invalidArguments":
        raise result
    return None


def _joined(parts: Iterable[Written]) -> Written:
    refused: dict[str, MethodError] = {}
    after: list[Mail] = []
    for part in parts:
        refused |= part.refused
        after += part.after
    return Written(refused, tuple(after))
