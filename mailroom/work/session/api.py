"""The JMAP API of one account (RFC 8620): its session, and requests within its limits.

Clients that know nothing of each other share requests: gathered calls wait for the end of the
loop's turn, then all that were made in it go out in one request.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus

from mailroom.engine.loop import Owner, Promise, Task
from mailroom.errors import MailroomError, ProtocolError
from mailroom.wire import jmap
from mailroom.wire.http import Request
from mailroom.wire.jmap import Answers, Call
from mailroom.wire.jmap_session import Session, SessionLimits, blob_url, read_session
from mailroom.work.session.web import Web

# A server whose answers keep naming a new session costs one more request a minute, not one per
# answer.
_SESSION_SECONDS = 60.0
_ADVICE = "check jmap.url"

# Room for what surrounds the calls of a request, such as the names of capabilities.
_FRAME_BYTES = 1000


@dataclass(frozen=True, slots=True)
class _CallGroup:
    """Calls of one client, to be sent together with those of others."""

    calls: Sequence[Call]
    answers: Promise[Answers] = field(default_factory=Promise)

    @property
    def size(self) -> int:
        """In bytes, as JSON."""
        return sum(len(json.dumps(call.arguments)) + len(call.method) for call in self.calls)


class Api:
    """``session_url`` is where to look for the session resource; ``owner`` is the account's."""

    def __init__(self, owner: Owner, web: Web, session_url: str) -> None:
        self._owner = owner
        self._loop = owner.loop
        self._web = web
        self._session_url = session_url
        self._session: Session | None = None
        self._fetching: Task[Session] | None = None
        self._noted_state = ""
        self._note_again_at = owner.loop.now()
        self._waiting: list[_CallGroup] = []
        web.trust(session_url)

    async def session(self) -> Session:
        """The session resource (RFC 8620 §2). It is fetched again after the server said that it
        has changed, or after a request failed: the API may have moved."""
        if self._session is not None:
            return self._session
        if self._fetching is None or self._fetching.done:
            self._fetching = self._owner.spawn(self._fetch_session(), "session")
            self._fetching.abandon = self._fetching.cancel  # only those who wait for it need it
        return await self._fetching

    async def call(self, calls: Sequence[Call], *, gathers: bool = False) -> Answers:
        """Send the calls in as few requests as the limits allow, one after the other. A failed
        call raises MethodError when its answer is looked at.

        With ``gathers`` they go out at the end of this turn of the loop, together with all other
        calls gathered in it, in the order in which they were made.
        """
        if gathers:
            group = _CallGroup(calls)
            self._waiting.append(group)
            if len(self._waiting) == 1:
                self._owner.call_at(self._loop.now(), self._send_gathered)
            return await group.answers
        answers = Answers()
        most = (await self.session()).limits.calls
        for portion in _portions(calls, most):
            await self._request(portion, answers)
        return answers

    def _send_gathered(self) -> None:
        groups, self._waiting = self._waiting, []
        self._owner.spawn(self._send_together(groups), "gathered calls")

    async def _send_together(self, groups: Sequence[_CallGroup]) -> None:
        """Send as many groups in one request as fit; after a failure the rest are not sent."""
        try:
            for together in _fitting(groups, (await self.session()).limits):
                renamed = [
                    [_renamed(call, number) for call in group.calls]
                    for number, group in enumerate(together)
                ]
                answers = await self.call([call for calls in renamed for call in calls])
                for group, calls in zip(together, renamed, strict=True):
                    tags = zip(group.calls, calls, strict=True)
                    group.answers.resolve(answers.part({own.tag: call.tag for own, call in tags}))
        except MailroomError as error:
            for group in groups:
                if not group.answers.done:
                    group.answers.reject(error)

    async def upload(self, data: bytes, media_type: str) -> str:
        """Upload a file (RFC 8620 §6.1); returns its blob id."""
        session = await self.session()
        url = blob_url(session.upload_template, session)
        self._web.trust(url)
        request = Request("POST", url, {"Content-Type": media_type}, data)
        response = await self._web.send(request, accept=(HTTPStatus.OK, HTTPStatus.CREATED))
        return jmap.read_blob_id(response.body, url)

    async def download(self, blob_id: str, media_type: str) -> bytes:
        """Download a file (RFC 8620 §6.2)."""
        session = await self.session()
        url = blob_url(
            session.download_template, session, blobId=blob_id, type=media_type, name="file"
        )
        self._web.trust(url)
        return (await self._web.send(Request("GET", url))).body

    async def _fetch_session(self) -> Session:
        request = Request("GET", self._session_url, {"Accept": "application/json"})
        response = await self._web.send(request, advice=_ADVICE, is_login=True)
        try:
            session = _limited(read_session(response.body, response.url), self._web.objects_at_once)
        except ProtocolError as error:
            raise ProtocolError(f"{error}: {_ADVICE}") from error
        self._web.trust(session.api_url)
        urls, most = (session.url, session.api_url), session.limits.concurrent
        self._web.allow(urls, most, counts_carddav=not session.is_cyrus)
        self._session = session
        return session

    async def _request(self, calls: Sequence[Call], answers: Answers) -> None:
        session = await self.session()
        body = jmap.encode_request(calls, session.account_id)
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        request = Request("POST", session.api_url, headers, body)
        try:
            response = await self._web.send(request)
        except MailroomError:
            self._session = None
            raise
        self._note_session_state(answers.add(response.body, calls, session.api_url), session)

    def _note_session_state(self, state: str, session: Session) -> None:
        """Have the session fetched again if an answer names a new state. A state that merely
        differs from the session's counts once; one that differs in every answer, once a minute."""
        now = self._loop.now()
        is_news = state not in ("", session.state, self._noted_state)
        if is_news and now >= self._note_again_at:
            self._noted_state, self._note_again_at = state, now + _SESSION_SECONDS
            self._session = None


def _fitting(groups: Sequence[_CallGroup], limits: SessionLimits) -> Iterator[list[_CallGroup]]:
    """Cut into batches that fit into one request; a group that is too large goes alone."""
    batch: list[_CallGroup] = []
    calls, size = 0, _FRAME_BYTES
    for group in groups:
        its_size = group.size if len(groups) > 1 else 0
        is_full = calls + len(group.calls) > limits.calls or size + its_size > limits.request_bytes
        if batch and is_full:
            yield batch
            batch, calls, size = [], 0, _FRAME_BYTES
        batch.append(group)
        calls += len(group.calls)
        size += its_size
    yield batch


def _limited(session: Session, objects: float) -> Session:
    limits = session.limits
    if max(limits.get, limits.set) <= objects:
        return session
    most = int(objects)
    fewer = replace(limits, get=min(limits.get, most), set=min(limits.set, most))
    return replace(session, limits=fewer)


def _renamed(call: Call, number: int) -> Call:
    """The call under a tag that no other call has; those of the first group keep theirs."""
    if not number:
        return call
    arguments = {
        name: {**value, "resultOf": f"{number}.{value['resultOf']}"} if name[:1] == "#" else value
        for name, value in call.arguments.items()
    }
    return replace(call, tag=f"{number}.{call.tag}", arguments=arguments)


def _portions(calls: Sequence[Call], most: int) -> Iterator[list[Call]]:
    """Cut into portions of at most ``most`` calls; a call that refers back to another stays with
    it."""
    groups: list[list[Call]] = []
    for call in calls:
        if any(name.startswith("#") for name in call.arguments):
            groups[-1].append(call)
        else:
            groups.append([call])
    portion: list[Call] = []
    for group in groups:
        if portion and len(portion) + len(group) > most:
            yield portion
            portion = []
        portion += group
    yield portion
