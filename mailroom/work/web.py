"""HTTP on behalf of one account: who we are, whom we tell it, and what a status means.

Credentials go to the configured origin, and to those that the session names, and nowhere else;
never over ``http:`` but to this machine. A redirect is followed within its origin only.
"""

import re
from collections.abc import Callable, Collection, Coroutine
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC
from typing import Any
from urllib.parse import urljoin

from mailroom.engine.exchange import Request, Response
from mailroom.engine.loop import Loop, within
from mailroom.engine.transfer import Http, Stream
from mailroom.errors import (
    CredentialsRefused,
    LastingTrouble,
    MailroomError,
    ProtocolError,
    TransientError,
)
from mailroom.rules.health import Totals
from mailroom.rules.servers import is_confidential, origin, without_query
from mailroom.wire.problem import Problem, quoted, read_problem

Authorization = Callable[[], Coroutine[Any, None, str]]

_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_REDIRECTS = 5
_UNAUTHORIZED, _FORBIDDEN = 401, 403
# Request Timeout, Too Early, Too Many Requests: the same request may do later.
_PASSING = (408, 425, 429)
_SERVER_ERROR = 500
_URL_CHARACTERS = re.compile(r"[!-~]+")


class Web:
    """Sends requests with the account's credentials to the origins that may have them.

    ``authorization`` gives the header's value, ``secret`` the name under which the user has
    provided it.
    """

    def __init__(
        self, loop: Loop, http: Http, authorization: Authorization, secret: str, totals: Totals
    ) -> None:
        self._loop = loop
        self._http = http
        self._authorization = authorization
        self._secret = secret
        self._totals = totals
        self._origins: set[str] = set()

    def trust(self, url: str) -> None:
        """The credentials may be sent to the origin of ``url``. Raises ProtocolError where that
        is no URL, LastingTrouble where they would not be safe on the way."""
        where = _origin(url)
        if not is_confidential(url):
            raise LastingTrouble(
                f"{without_query(url)} would send the credentials in the clear: use https"
            )
        self._origins.add(where)

    async def send(
        self, request: Request, accept: Collection[int] = (200,), advice: str = ""
    ) -> Response:
        """The answer, if its status is one of ``accept``; else the error that it stands for.

        ``advice`` is what the user may do when the answer makes no sense. Raises
        CredentialsRefused, TransientError, ProtocolError.
        """
        for _ in range(_MAX_REDIRECTS + 1):
            authorized = await self._authorized(request)
            self._totals.requests += 1
            response = await self._http.send(authorized)
            self._totals.bytes_sent += response.sent_bytes
            self._totals.bytes_received += response.received_bytes
            if response.status in accept:
                return response
            if response.status not in _REDIRECTS:
                raise self.refusal(request, response, advice)
            request = self._redirected(request, response)
        raise ProtocolError(f"{request}: more than {_MAX_REDIRECTS} redirects")

    async def stream(self, request: Request, deadline: float) -> tuple[Stream, Response]:
        """Open a stream with the account's credentials; it and the head of its answer. Raises
        DeadlinePassed where there is none by that instant, and what :meth:`send` does."""
        for _ in range(_MAX_REDIRECTS + 1):
            with ExitStack() as otherwise:
                stream = self._http.stream(await self._authorized(request))
                otherwise.callback(stream.close)
                head = await within(self._loop, stream.head, deadline)
                if head.status not in _REDIRECTS:
                    otherwise.pop_all()
                    return stream, head
                request = self._redirected(request, head)
        raise ProtocolError(f"{request}: more than {_MAX_REDIRECTS} redirects")

    def refusal(self, request: Request, response: Response, advice: str = "") -> MailroomError:
        """The error that an unwelcome status stands for."""
        status = response.status
        problem = read_problem(response.headers.get("content-type", ""), response.body)
        says = f" ({problem})" if str(problem) else ""
        wait = retry_after(response.headers.get("retry-after"), self._loop.clock.wall())
        if _is_passing(status, problem) or wait is not None:
            return TransientError(f"{request}: the server answered {status}{says}", wait)
        if status == _UNAUTHORIZED or (status == _FORBIDDEN and _is_about_us(problem)):
            return CredentialsRefused(
                f"{request}: the server refuses the credentials with {status}{says}: "
                f"check {self._secret}, then restart mailroom"
            )
        reason = says or ", which makes no sense here"
        return ProtocolError(
            f"{request}: the server answered {status}{reason}" + (f": {advice}" if advice else "")
        )

    async def _authorized(self, request: Request) -> Request:
        if _origin(request.url) not in self._origins:
            raise ProtocolError(
                f"{request}: the server sends us to another origin, which may not have the "
                "credentials: if that is where your server is, configure it as the url"
            )
        headers = {**request.headers, "Authorization": await self._authorization()}
        return replace(request, headers=headers)

    def _redirected(self, request: Request, response: Response) -> Request:
        location = response.headers.get("location")
        if not location:
            raise ProtocolError(f"{request}: redirected ({response.status}) to nowhere")
        try:
            target = urljoin(request.url, location)
        except ValueError:
            target = location
        if _origin(target) != _origin(request.url):
            raise ProtocolError(
                f"{request}: redirected to another origin, {without_query(target)}: "
                "if that is where your server is, configure it as the url"
            )
        if target == request.url:
            raise ProtocolError(f"{request}: redirected to itself")
        return replace(request, url=target)


def _is_passing(status: int, problem: Problem) -> bool:
    """Whether the same request may do later (429, 5xx, too many requests at once)."""
    is_crowded = problem.limit == "maxConcurrentRequests"
    return status in _PASSING or status >= _SERVER_ERROR or is_crowded


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds from a Retry-After header (RFC 9110 §10.2.3); None where there is no sense in it."""
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        return float(value)
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - 0.7 MiB, and a rare answer

    try:
        when = parsedate_to_datetime(value)
        return max(0.0, when.replace(tzinfo=when.tzinfo or UTC).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _is_about_us(problem: Problem) -> bool:
    """Whether a 403 means who we are. One that names what is wrong with the request does not:
    the server has understood who asks."""
    return problem.kind in ("", "need-privileges")


def _origin(url: str) -> str:
    """The origin of a URL that a server may have named. Raises ProtocolError if it is none."""
    try:
        if _URL_CHARACTERS.fullmatch(url):
            return origin(url)
    except ValueError:
        pass
    raise ProtocolError(f"the server names a URL that is none: {quoted(url)}")
