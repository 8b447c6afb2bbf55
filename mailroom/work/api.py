"""The JMAP API of one account (RFC 8620): its session, and requests that keep its limits."""

from collections.abc import Iterator, Sequence

from mailroom.engine.exchange import Request
from mailroom.engine.loop import Owner, Task
from mailroom.errors import MailroomError, ProtocolError
from mailroom.wire import jmap
from mailroom.wire.jmap import Answers, Call, Session
from mailroom.work.gate import Gate
from mailroom.work.web import Web

# A server whose answers name another session for ever costs one request more per minute.
_SESSION_SECONDS = 60.0
_ADVICE = "check jmap.url"


class Api:
    """``session_url`` is where the session resource is looked for; ``owner`` is the account's."""

    def __init__(self, owner: Owner, web: Web, session_url: str) -> None:
        self._owner = owner
        self._loop = owner.loop
        self._web = web
        self._session_url = session_url
        self._session: Session | None = None
        self._fetching: Task[Session] | None = None
        self._heeded_state = ""
        self._heed_again_at = owner.loop.now()
        self._gate = Gate()
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

    async def call(self, calls: Sequence[Call]) -> Answers:
        """Send the calls, in as few requests as the limits allow, one after the other. Raises
        MethodError only when an answer is looked at."""
        answers = Answers()
        most = (await self.session()).limits.calls
        for portion in _portions(calls, most):
            await self._request(portion, answers)
        return answers

    async def upload(self, data: bytes, media_type: str) -> str:
        """Give the server a file (RFC 8620 §6.1); returns its blob id."""
        session = await self.session()
        url = jmap.blob_url(session.upload_template, session)
        self._web.trust(url)
        request = Request("POST", url, {"Content-Type": media_type}, data)
        response = await self._web.send(request, accept=(200, 201))
        return jmap.read_blob_id(response.body, url)

    async def download(self, blob_id: str, media_type: str) -> bytes:
        """A file that the server has (RFC 8620 §6.2)."""
        session = await self.session()
        url = jmap.blob_url(
            session.download_template, session, blobId=blob_id, type=media_type, name="file"
        )
        self._web.trust(url)
        return (await self._web.send(Request("GET", url))).body

    async def _fetch_session(self) -> Session:
        request = Request("GET", self._session_url, {"Accept": "application/json"})
        response = await self._web.send(request, advice=_ADVICE, is_login=True)
        try:
            session = jmap.read_session(response.body, response.url)
        except ProtocolError as error:
            raise ProtocolError(f"{error}: {_ADVICE}") from error
        self._web.trust(session.api_url)
        self._session = session
        return session

    async def _request(self, calls: Sequence[Call], answers: Answers) -> None:
        session = await self.session()
        body = jmap.encode_request(calls, session.account_id)
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        request = Request("POST", session.api_url, headers, body)
        await self._gate.enter(session.limits.concurrent)
        try:
            response = await self._web.send(request)
        except MailroomError:
            self._session = None
            raise
        finally:
            self._gate.leave()
        self._heed_session_state(answers.add(response.body, calls, session.api_url), session)

    def _heed_session_state(self, state: str, session: Session) -> None:
        """Fetch the session anew when it has changed; a state that stays another one is heeded
        once, and one that is another each time now and then."""
        now = self._loop.now()
        is_news = state not in ("", session.state, self._heeded_state)
        if is_news and now >= self._heed_again_at:
            self._heeded_state, self._heed_again_at = state, now + _SESSION_SECONDS
            self._session = None


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
