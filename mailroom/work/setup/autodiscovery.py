"""Finding the JMAP server of an address. No secret is sent, so nobody learns who asks.

A URL is a JMAP server's if a request there is answered by asking for credentials, or by a session.
Redirects to other hosts are followed too (RFC 8620 §2.2), since no secret is sent yet. The user
decides whether the server where they end may have one.
"""

import json
from collections.abc import Iterable
from http import HTTPStatus
from urllib.parse import urljoin, urlsplit

from mailroom.engine.loop import DeadlinePassed, Loop, within
from mailroom.engine.transfer import Http
from mailroom.errors import MailroomError, Untrusted
from mailroom.rules.account.autodiscovery import Candidate, Seen
from mailroom.rules.configuration.servers import fault_of_url
from mailroom.wire.http import MAX_REDIRECTS, REDIRECTS, Request, Response
from mailroom.wire.urls import origin, without_query
from mailroom.work.session.web import schemes_of

# Somebody sits in front of it and waits.
_PATIENCE_SECONDS = 10.0
# A session is some KiB; anything larger is a web page.
_LIMIT_BYTES = 1024 * 1024


async def look_at(loop: Loop, http: Http, url: str) -> Seen:
    """What is found at the URL; if nothing can be reached, ``fault`` says why."""
    end, start = loop.now() + _PATIENCE_SECONDS, url
    for _ in range(MAX_REDIRECTS + 1):
        if fault := fault_of_url(url):
            return Seen(url, fault=f"{without_query(url)} {fault}")
        headers = {"Accept": "application/json"}
        request = Request("GET", url, headers, limit_bytes=_LIMIT_BYTES)
        try:
            response = await within(loop, http.send(request), end)
        except DeadlinePassed:
            return Seen(url, fault=f"{request}: no answer within {_PATIENCE_SECONDS:g} s")
        except MailroomError as error:
            return Seen(url, fault=str(error), is_untrusted=isinstance(error, Untrusted))
        location = response.headers.get("location")
        if response.status not in REDIRECTS or not location:
            # Within one origin the first URL is kept: the server may change its paths later.
            return _judged(start if origin(start) == origin(url) else url, response)
        try:
            url = urljoin(url, location)
            urlsplit(url)
        except ValueError:
            return Seen(url, fault=f"{request}: redirected to something that is not a URL")
    return Seen(url, fault=f"{without_query(url)}: more than {MAX_REDIRECTS} redirects")


async def first_of(
    loop: Loop, http: Http, candidates: Iterable[Candidate]
) -> tuple[Candidate, Seen] | None:
    """The first candidate that is a JMAP server, and what was found there; else the first whose
    certificate is not trusted; else None."""
    untrusted = None
    for candidate in candidates:
        seen = await look_at(loop, http, candidate.url)
        if not seen.fault:
            return candidate, seen
        if seen.is_untrusted and untrusted is None:
            untrusted = candidate, seen
    return untrusted


def _judged(url: str, response: Response) -> Seen:
    if response.status == HTTPStatus.UNAUTHORIZED:
        challenges = response.headers.get("www-authenticate", "")
        return Seen(url, frozenset(schemes_of(challenges)))
    if response.status == HTTPStatus.OK and _is_session(response.body):
        return Seen(url)
    said = "no JMAP session" if response.status == HTTPStatus.OK else str(response.status)
    return Seen(url, fault=f"{without_query(url)}: the answer is {said}")


def _is_session(body: bytes) -> bool:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(data, dict) and "capabilities" in data and "apiUrl" in data
