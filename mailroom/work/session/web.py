"""HTTP for one account: its credentials, who may get them, and what a status means.

Credentials go to the configured origin and to those that the session names, nowhere else, and over
``http:`` only to this machine. A redirect is followed only within its origin.
"""

import base64
import re
from collections.abc import Callable, Collection, Coroutine, Iterable
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC
from http import HTTPStatus
from typing import Any
from urllib.parse import urljoin, urlsplit

from mailroom.engine.credentials import Basic, Bearer
from mailroom.engine.loop import Loop, within
from mailroom.engine.transfer import Http, Stream
from mailroom.errors import (
    CredentialsRefused,
    Crowded,
    Forbidden,
    LastingTrouble,
    MailroomError,
    ProtocolError,
    TimedOut,
    TransientError,
)
from mailroom.rules.configuration.servers import fault_of_url, is_confidential
from mailroom.rules.status.health import Totals
from mailroom.wire.http import MAX_REDIRECTS, REDIRECTS, Request, Response
from mailroom.wire.problem import ProblemDetails, quoted, read_problem_details
from mailroom.wire.urls import origin, without_query
from mailroom.work.session.gate import Doorway, Servers

Login = Callable[[], Coroutine[Any, None, Basic | Bearer]]

# The same request may succeed later.
_PASSING = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)
_CROWD = "maxConcurrentRequests"
# The same request will fail again later.
_FINAL_SERVER_ERRORS = (HTTPStatus.NOT_IMPLEMENTED, HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
# How long to wait after each "too many requests at once" (RFC 8620 §3.6.1, without a Retry-After):
# it may be the user's other programs, which finish in a moment.
_CROWDED_SECONDS = (0.1, 0.2, 0.4, 0.8, 1.6)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_SCHEME = re.compile(r"(?:^|,)\s*([a-z0-9-]+)(?=\s|,|$)", re.IGNORECASE)
# Words by which problem documents speak of credentials.
_ABOUT_CREDENTIALS = re.compile(
    r"credential|password|passwd|token|authenticat|log(?:ged)?[ -]?in|sign(?:ed)?[ -]?in|api.?key",
    re.IGNORECASE,
)
# Kinds of a 403 that name no fault of the request. Any other kind names one, so the server knows
# who asks.
_KINDS_WITHOUT_FAULT = ("", "need-privileges")
# Behind a proxy that ends TLS, the server itself sees only http.
_TELL_SERVER = (
    "make the server announce https URLs (behind a proxy, tell it that its clients use https)"
)
_TELL_ITS_ADDRESS = (
    "make the server announce its own address, or give the account its own secret (mailroom login "
    "--account NAME)"
)
_URL_CHARACTERS = re.compile(r"[!-~]+")


class Web:
    """Sends requests with the account's credentials to the origins that may have them.

    ``login`` gives the credentials, with a user name; ``secret`` is what the user calls them.
    ``doorway`` is shared by all who send requests for the account, JMAP or CardDAV.
    """

    def __init__(
        self,
        loop: Loop,
        http: Http,
        login: Login,
        secret: str,
        totals: Totals,
        doorway: Doorway | None = None,
        *,
        is_carddav: bool = False,
    ) -> None:
        self._loop = loop
        self._http = http
        self._login = login
        self._secret = secret
        self._totals = totals
        self._doorway = doorway or Doorway(loop, Servers())
        self._is_carddav = is_carddav
        self._is_confined = False
        self._origins: set[str] = set()
        self._digest_origins: set[str] = set()
        self._was_accepted = False

    def confine(self) -> None:
        """Trust no further origin from now on, whatever the server names."""
        self._is_confined = True

    def trust(self, url: str) -> None:
        """Allow the credentials to be sent to the origin of ``url``. Raises ProtocolError if that
        is not a URL; LastingTrouble if they would travel in the clear, or may not go there."""
        where = _origin(url)
        if not is_confidential(url):
            raise LastingTrouble(
                f"the server names {without_query(url)}, which would send the credentials in the "
                f"clear: {_TELL_SERVER}"
            )
        if self._is_confined and where not in self._origins:
            raise LastingTrouble(
                f"the server names {without_query(url)}, which may not have the password of all "
                f"accounts: it is for {min(self._origins)} only; {_TELL_ITS_ADDRESS}"
            )
        self._origins.add(where)

    def allow(self, urls: Iterable[str], most: int, *, counts_carddav: bool) -> None:
        """Set how many JMAP requests may run at once at the servers of ``urls``, and whether
        CardDAV ones count too."""
        for url in urls:
            self._doorway.allow(_origin(url), most, counts_carddav=counts_carddav)

    @property
    def objects_at_once(self) -> float:
        """How many objects one call may have at most, whatever the server allows."""
        return self._doorway.servers.objects_at_once

    async def send(
        self,
        request: Request,
        accept: Collection[int] = (HTTPStatus.OK,),
        advice: str = "",
        *,
        is_login: bool = False,
    ) -> Response:
        """Send the request; returns the answer if its status is in ``accept``, else raises the
        error that the status stands for.

        ``advice`` tells the user what to do if the answer makes no sense. ``is_login`` means that a
        403 may be about a wrong secret. Raises CredentialsRefused, Forbidden, TransientError,
        ProtocolError.
        """
        for _ in range(MAX_REDIRECTS + 1):
            authorized = await self._authorized(request)
            response = await self._exchange(authorized)
            if self._is_to_be_asked_by_digest(request, response):
                continue
            if response.status in accept and not _is_crowded(response):
                self._was_accepted |= _is_success(response.status)
                return response
            if response.status not in REDIRECTS:
                raise self.refusal(request, response, advice, is_login=is_login)
            request = self._redirected(request, response)
        raise ProtocolError(f"{request}: more than {MAX_REDIRECTS} redirects")

    async def _exchange(self, request: Request) -> Response:
        """Send the request when its turn comes; again, if the server had too many requests at once:
        then it did nothing."""
        response = await self._send_in_turn(request)
        for seconds in _CROWDED_SECONDS:
            if not _is_crowded(response):
                break
            await self._loop.sleep_until(self._loop.now() + seconds)
            response = await self._send_in_turn(request)
        return response

    async def _send_in_turn(self, request: Request) -> Response:
        turn = await self._doorway.enter(_origin(request.url), is_carddav=self._is_carddav)
        sent_at = self._loop.now()
        try:
            self._totals.requests += 1
            response = await self._http.send(request)
            turn.answered(self._loop.now())
        except TimedOut:
            turn.timed_out(sent_at)
            raise
        finally:
            turn.leave()
        self._totals.bytes_sent += response.sent_bytes
        self._totals.bytes_received += response.received_bytes
        return response

    async def stream(self, request: Request, deadline: float) -> tuple[Stream, Response]:
        """Open a stream with the account's credentials; returns it and the head of its answer.
        Raises DeadlinePassed if none has come by that instant, and whatever :meth:`send` raises."""
        for _ in range(MAX_REDIRECTS + 1):
            with ExitStack() as otherwise:
                stream = self._http.stream(await self._authorized(request))
                otherwise.callback(stream.close)
                head = await within(self._loop, stream.head, deadline)
                if self._is_to_be_asked_by_digest(request, head):
                    continue
                if head.status not in REDIRECTS:
                    self._was_accepted |= _is_success(head.status)
                    otherwise.pop_all()
                    return stream, head
                request = self._redirected(request, head)
        raise ProtocolError(f"{request}: more than {MAX_REDIRECTS} redirects")

    def refusal(
        self, request: Request, response: Response, advice: str = "", *, is_login: bool = False
    ) -> MailroomError:
        """The error that the answer's status stands for."""
        status = response.status
        problem = read_problem_details(response.headers.get("content-type", ""), response.body)
        says = f" ({problem})" if str(problem) else ""
        wait = retry_after(response.headers.get("retry-after"), self._loop.clock.wall())
        if problem.limit == _CROWD:
            return Crowded(f"{request}: the server answered {status}{says}", wait)
        if _is_passing(status) or wait is not None:
            return TransientError(f"{request}: the server answered {status}{says}", wait)
        if status == HTTPStatus.UNAUTHORIZED:
            return self._refused(f"{request}: the server refuses the credentials with 401{says}")
        if status == HTTPStatus.PAYMENT_REQUIRED:
            return self._refused(
                f"{request}: the server answered 402{says}, which Stalwart does where an account "
                "has a second factor: make an app password and use that"
            )
        if status == HTTPStatus.FORBIDDEN and problem.kind in _KINDS_WITHOUT_FAULT:
            return self._forbidden(request, response, problem, is_login=is_login)
        reason = says or ", which makes no sense here"
        return ProtocolError(
            f"{request}: the server answered {status}{reason}" + (f": {advice}" if advice else "")
        )

    def _refused(self, what: str) -> CredentialsRefused:
        advice = f"check {self._secret}; mailroom login stores a new one"
        return CredentialsRefused(f"{what}: {advice}", was_accepted=self._was_accepted)

    def _forbidden(
        self, request: Request, response: Response, problem: ProblemDetails, *, is_login: bool
    ) -> MailroomError:
        """A 403 that does not say what is wrong with the request."""
        says = f" ({problem})" if str(problem) else ""
        if self._was_accepted:
            return Forbidden(
                f"{request}: the server answered 403{says}, but has accepted the credentials "
                "before: this may be a temporary ban, and mailroom tries again later"
            )
        if is_login or _is_about_credentials(problem, response):
            return self._refused(f"{request}: the server refuses the credentials with 403{says}")
        return Forbidden(
            f"{request}: the server answered 403{says}: is the URL right, does this user have "
            "access, or is this a temporary ban?"
        )

    def _is_to_be_asked_by_digest(self, request: Request, response: Response) -> bool:
        """Whether the server wants the password by Digest (RFC 7616), not by Basic. That is
        remembered; libcurl does the Digest."""
        where = _origin(request.url)
        if response.status != HTTPStatus.UNAUTHORIZED or where in self._digest_origins:
            return False
        schemes = schemes_of(response.headers.get("www-authenticate", ""))
        if "digest" not in schemes or "basic" in schemes:
            return False
        self._digest_origins.add(where)
        return True

    async def _authorized(self, request: Request) -> Request:
        if _origin(request.url) not in self._origins:
            raise ProtocolError(
                f"{request}: the server sends mailroom to another origin, which may not have the "
                f"credentials: {_advice_to_configure(request.url)}"
            )
        login = await self._login()
        if login.authorize_as:
            # Cyrus, imap/httpd.c, auth_check_hdrs(): it holds for this request alone, so one
            # connection may serve several accounts.
            headers = {**request.headers, "Authorize-As": login.authorize_as}
            request = replace(request, headers=headers)
        if isinstance(login, Basic) and _origin(request.url) in self._digest_origins:
            return replace(request, digest=(login.username or "", login.password))
        return replace(request, headers={**request.headers, "Authorization": _header(login)})

    def _redirected(self, request: Request, response: Response) -> Request:
        location = response.headers.get("location")
        if not location:
            raise ProtocolError(f"{request}: redirected ({response.status}) without a target")
        try:
            target = urljoin(request.url, location)
        except ValueError:
            target = location
        if _origin(target) != _origin(request.url):
            raise ProtocolError(
                f"{request}: redirected to another origin, {without_query(target)}: "
                f"{_advice_to_configure(target)}"
            )
        if target == request.url:
            raise ProtocolError(f"{request}: redirected to itself")
        return replace(request, url=target)


def _advice_to_configure(url: str) -> str:
    """What to do about another origin that the server named. A URL that the configuration would
    refuse is not recommended."""
    if urlsplit(url).scheme == "http" and not is_confidential(url):
        return f"it would send the credentials in the clear: {_TELL_SERVER}"
    if fault := fault_of_url(url):
        return f"your server cannot be there (it {fault.partition(';')[0]})"
    return "if your server is there, configure it as the url"


def _is_passing(status: int) -> bool:
    """Whether the same request may succeed later (429, 5xx)."""
    is_server_error = (
        status >= HTTPStatus.INTERNAL_SERVER_ERROR and status not in _FINAL_SERVER_ERRORS
    )
    return status in _PASSING or is_server_error


def _is_crowded(response: Response) -> bool:
    """Whether the server refused the request because too many run at once. Stalwart 0.15.5 counts
    CardDAV requests too, and answers them in the same way (seen)."""
    if response.status < HTTPStatus.BAD_REQUEST:
        return False
    return (
        read_problem_details(response.headers.get("content-type", ""), response.body).limit
        == _CROWD
    )


def _is_success(status: int) -> bool:
    return HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES


def schemes_of(challenges: str) -> set[str]:
    """The schemes in a WWW-Authenticate header (RFC 9110 §11.6.1), in lower case."""
    return {name.lower() for name in _SCHEME.findall(_QUOTED.sub("", challenges))}


def _header(login: Bearer | Basic) -> str:
    """The Authorization header (RFC 6750 §2.1, RFC 7617)."""
    if isinstance(login, Bearer):
        return f"Bearer {login.token}"
    pair = f"{login.username or ''}:{login.password}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


def retry_after(value: str | None, now: float) -> float | None:
    """The seconds of a Retry-After header (RFC 9110 §10.2.3); None if it cannot be read. ``now`` is
    in Unix seconds."""
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


def _is_about_credentials(problem: ProblemDetails, response: Response) -> bool:
    """Whether a 403 says that it is about the credentials."""
    words = f"{problem.kind} {problem.words}"
    return "www-authenticate" in response.headers or bool(_ABOUT_CREDENTIALS.search(words))


def _origin(url: str) -> str:
    """The origin of a URL that a server may have named. Raises ProtocolError if it is not a URL."""
    try:
        if _URL_CHARACTERS.fullmatch(url):
            return origin(url)
    except ValueError:
        pass
    raise ProtocolError(f"the server names something that is not a URL: {quoted(url)}")
