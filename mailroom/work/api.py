"""The JMAP API of one account (RFC 8620): its session, and requests that keep its limits.

Clients that know nothing of each other share requests: calls that are to be gathered wait for
the end of the loop's turn, and travel with those that others have made in it.
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
from mailroom.work.web import Web

# A server whose answers name another session for ever costs one request more per minute.
_SESSION_SECONDS = 60.0
_ADVICE = "check jmap.url"

# What frames the calls of a request, with the names of capabilities.
_FRAME_BYTES = 1000


@dataclass(frozen=True, slots=True)
class _Asked:
    """Calls of one client that are to travel with others'."""

    calls: Sequence[Call]
    answers: Promise[Answers] = field(default_factory=Promise)

    @property
    def size(self) -> int:
        """In bytes, as JSON."""
        return sum(len(json.dumps(call.arguments)) + len(call.method) for call in self.calls)


class Api:
    """``session_url`` is where the session resource is looked for; ``owner`` is the account's."""

    def __init__(self, owner: Owner, web: Web, session_url: str) -> None:
        self._owner = owner
        self._loop = owner.loop
        self._web = web
        self._session_url = session_url
        self._session: Session | None = None
        self._fetching: Task[Session] | None = None
        self._noted_state = ""
        self._note_again_at = owner.loop.now()
        self._waiting: list[_Asked] = []
        web.trust(session_url)

    async def session(self) -> Session:
        """The session resource; fetched again after the server said that it changed, or a
        request failed: only a new session tells where the API has moved to."""
        if self._session is not None:
            return self._session
        if self._fetching is None or self._fetching.done:
            self._fetching = self._owner.spawn(self._fetch_session(), "session")
            self._fetching.abandon = self._fetching.cancel  # it is for those who wait for it
        return await self._fetching

    async def call(self, calls: Sequence[Call], *, gathers: bool = False) -> Answers:
        """Send the calls, in as few requests as the limits allow, one after the other. Raises
        MethodError only when an answer is looked at.

        With ``gathers`` they go out at the end of this turn of the loop, with all others that are
        gathered in it, in the order of the asking: none of another's overtakes them.
        """
        if gathers:
            asked = _Asked(calls)
            self._waiting.append(asked)
            if len(self._waiting) == 1:
                self._owner.call_at(self._loop.now(), self._send_gathered)
            return await asked.answers
        answers = Answers()
        most = (await self.session()).limits.calls
        for portion in _portions(calls, most):
            await self._request(portion, answers)
        return answers

    def _send_gathered(self) -> None:
        every_asked, self._waiting = self._waiting, []
        self._owner.spawn(self._send_together(every_asked), "gathered calls")

    async def _send_together(self, every_asked: Sequence[_Asked]) -> None:
        """Send what fits into one request in one; what follows a failure is not sent."""
        try:
            for together in _fitting(every_asked, (await self.session()).limits):
                renamed = [
                    [_renamed(call, number) for call in asked.calls]
                    for number, asked in enumerate(together)
                ]
                answers = await self.call([call for calls in renamed for call in calls])
                for asked, calls in zip(together, renamed, strict=True):
                    tags = zip(asked.calls, calls, strict=True)
                    asked.answers.resolve(answers.part({own.tag: call.tag for own, call in tags}))
        except MailroomError as error:
            for asked in every_asked:
                if not asked.answers.done:
                    asked.answers.reject(error)

    async def upload(self, data: bytes, media_type: str) -> str:
        """Give the server a file (RFC 8620 §6.1); returns its blob id."""
        session = await self.session()
        url = blob_url(session.upload_template, session)
        self._web.trust(url)
        request = Request("POST", url, {"Content-Type": media_type}, data)
        response = await self._web.send(request, accept=(HTTPStatus.OK, HTTPStatus.CREATED))
        return jmap.read_blob_id(response.body, url)

    async def download(self, blob_id: str, media_type: str) -> bytes:
        """A file that the server has (RFC 8620 §6.2)."""
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
        """Fetch the session anew when it has changed; a state that stays another one is noted
        once, and one that is another each time now and then."""
        now = self._loop.now()
        is_news = state not in ("", session.state, self._noted_state)
        if is_news and now >= self._note_again_at:
            self._noted_state, self._note_again_at = state, now + _SESSION_SECONDS
            self._session = None


def _fitting(every_asked: Sequence[_Asked], limits: SessionLimits) -> Iterator[list[_Asked]]:
    """Cut into batches that one request has room for; what is too large for one goes alone."""
    batch: list[_Asked] = []
    calls, size = 0, _FRAME_BYTES
    for asked in every_asked:
        its_size = asked.size if len(every_asked) > 1 else 0
        is_full = calls + len(asked.calls) > limits.calls or size + its_size > limits.request_bytes
        if batch and is_full:
            yield batch
            batch, calls, size = [], 0, _FRAME_BYTES
        batch.append(asked)
        calls += len(asked.calls)
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
    """The call under a tag that no other has; the first one's stay as they are."""
    if not number:
        return call
    arguments = {
        name: {**value, "resultOf": f"{number}.{value['resultOf']}"} if name[:1] == "#" else value
        for name, value in call.arguments.items()
    }
    return replace(call, tag=f"{number}.{call.tag}", arguments=arguments)


def _portions(calls: Sequence[Call], most: int) -> Iterator[list[Call]]:
    """Cut into portions of at most so many calls; a back-reference stays with what it names."""
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
