"""HTTP on behalf of one account: who we are, whom we tell it, and what a status means.

Credentials go to the configured origin, and to those that the session names, and nowhere else;
never over ``http:`` but to this machine. A redirect is followed within its origin only.
"""

from collections.abc import Callable, Collection, Coroutine
from dataclasses import replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin

from mailroom.engine.exchange import Request, Response, without_query
from mailroom.engine.loop import Loop
from mailroom.engine.transfer import Http, Stream
from mailroom.errors import (
    CredentialsRefused,
    LastingTrouble,
    MailroomError,
    ProtocolError,
    TransientError,
)
from mailroom.rules.health import Totals
from mailroom.rules.servers import is_confidential, origin

Authorization = Callable[[], Coroutine[Any, None, str]]

_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_REDIRECTS = 5
_REFUSED = (401, 403)
_TOO_MANY_REQUESTS = 429
_SERVER_ERROR = 500


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
        """The credentials may be sent to the origin of ``url``."""
        if not is_confidential(url):
            raise LastingTrouble(
                f"{without_query(url)} would send the credentials in the clear: use https"
            )
        self._origins.add(origin(url))

    async def send(self, request: Request, accept: Collection[int] = (200,)) -> Response:
        """The answer, if its status is one of ``accept``; else the error that it stands for.

        Raises CredentialsRefused, TransientError, ProtocolError.
        """
        for _ in range(_MAX_REDIRECTS):
            response = await self._http.send(await self._authorized(request))
            self._totals.requests += 1
            self._totals.bytes_sent += response.sent_bytes
            self._totals.bytes_received += response.received_bytes
            if response.status in accept:
                return response
            if response.status not in _REDIRECTS:
                raise self.refusal(request, response)
            request = self._redirected(request, response)
        raise ProtocolError(f"{request}: more than {_MAX_REDIRECTS} redirects")

    async def stream(self, request: Request) -> Stream:
        """Open a stream with the account's credentials."""
        return self._http.stream(await self._authorized(request))

    def refusal(self, request: Request, response: Response) -> MailroomError:
        """The error that an unwelcome status stands for."""
        status = response.status
        if status in _REFUSED:
            return CredentialsRefused(
                f"{request}: the server refuses the credentials ({status}): check {self._secret}, "
                "then restart mailroom"
            )
        if status == _TOO_MANY_REQUESTS or status >= _SERVER_ERROR:
            wait = retry_after(response.headers.get("retry-after"), self._loop.clock.wall())
            return TransientError(f"{request}: the server answered {status}", wait)
        return ProtocolError(f"{request}: the server answered {status}, which makes no sense here")

    async def _authorized(self, request: Request) -> Request:
        if origin(request.url) not in self._origins:
            raise ProtocolError(f"{request}: not an origin that may have the credentials")
        headers = {**request.headers, "Authorization": await self._authorization()}
        return replace(request, headers=headers)

    def _redirected(self, request: Request, response: Response) -> Request:
        target = urljoin(request.url, response.headers.get("location", ""))
        if origin(target) != origin(request.url):
            raise ProtocolError(
                f"{request}: redirected to another origin, {without_query(target)}: "
                "if that is where your server is, configure it as the url"
            )
        return replace(request, url=target)


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds from a Retry-After header (RFC 9110 §10.2.3); None where there is no sense in it."""
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, when.replace(tzinfo=when.tzinfo or UTC).timestamp() - now)
