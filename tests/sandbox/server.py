"""The sandbox: routes, who may ask, hooks, faults and the log of one mail server.

``handle`` is a plain function: it takes no time, opens no socket and starts no thread, so that
tests can drive the service through thousands of scenarios on a virtual clock. ``front.serve``
puts it on a port.
"""

import base64
import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from typing import Final

from tests.sandbox.account import Account
from tests.sandbox.contactcards import ContactMethods
from tests.sandbox.controls import Controls
from tests.sandbox.crowd import Crowd
from tests.sandbox.davways import DavWays
from tests.sandbox.digest import Digest
from tests.sandbox.emails import EmailMethods
from tests.sandbox.events import Feed, read_subscription
from tests.sandbox.exchange import Delivery, Request, Response, json_response
from tests.sandbox.faults import Faults, break_connection
from tests.sandbox.log import Entry, RequestLog
from tests.sandbox.mailboxes import MailboxMethods
from tests.sandbox.profile import Profile
from tests.sandbox.profiles import CYRUS_3_10
from tests.sandbox.requests import (
    CONTACTS,
    CORE,
    MAIL,
    SUBMISSION,
    Arguments,
    Calls,
    Method,
    RequestError,
    check_limits,
    exceeded,
    read_calls,
    run_calls,
)
from tests.sandbox.session import API_PATH, EVENT_PATH, capabilities_of, session
from tests.sandbox.standard import checked

_API_PATHS: Final = (API_PATH, API_PATH.rstrip("/"))
_DAV_PREFIX: Final = "/dav/"
_WRITES: Final = ("PUT", "DELETE")
#: Where a client is that does not say.
_HOST: Final = "127.0.0.1"

BeforeHook = Callable[[Entry, Request], None]
AfterHook = Callable[[Entry, Request, Response], None]
CallHook = Callable[[str, Arguments], None]


class Sandbox(Account):
    """A mail server in memory for one account."""

    def __init__(
        self,
        profile: Profile = CYRUS_3_10,
        *,
        seed: int = 0,
        clock: Callable[[], float] = time.time,
        user: str = "alice",
        password: str = "secret",
        token: str = "alice-token",
    ) -> None:
        super().__init__(profile, seed, clock, user)
        self.controls = Controls()
        self.faults = Faults()
        self.log = RequestLog()
        basic = base64.b64encode(f"{user}:{password}".encode()).decode()
        self.dav_authorization = f"Basic {basic}"
        self.authorization = (
            self.dav_authorization if profile.jmap_authentication == "Basic" else f"Bearer {token}"
        )
        # The Authorization of whoever may act on behalf of the user.
        self.administrator: str | None = None
        self._digest = Digest(user, password)
        self._dav_ways = DavWays(profile, self._contacts.handle, self.cards)
        self._locked_until = -math.inf
        self._session_state = 0
        self._method_errors: dict[str, str] = {}
        self._methods = self._jmap_methods()
        self._feeds: list[Feed] = []
        self._before: list[BeforeHook] = []
        self._after: list[AfterHook] = []
        self._before_call: list[CallHook] = []
        self._crowd = Crowd(profile, clock)
        self._store.on_publish(self._push)
        if profile.has_jmap_contacts:
            storage = self._contacts.storage
            storage.on_publish(lambda state: self._push({"ContactCard": state}))

    def before(self, callback: BeforeHook) -> None:
        """Have ``callback`` called before each request is handled; it may act, or raise."""
        self._before.append(callback)

    def after(self, callback: AfterHook) -> None:
        """Have ``callback`` called when a request took effect and its answer is not yet sent."""
        self._after.append(callback)

    def before_call(self, callback: CallHook) -> None:
        """Have ``callback`` called before each JMAP call, with its method's name and arguments.

        What it does slips in between two calls of one request, as in a server under load.
        """
        self._before_call.append(callback)

    def handle(self, request: Request) -> Response:
        """Answer one request.

        Raises:
            ConnectionBroken: a fault ends the connection; and whatever a hook raises.
        """
        with self.lock:
            entry = self._log(request)
            calls, fault = self._read(request)
            entry.calls = calls.names if calls else ()
            if calls and self.profile.compares_state_early:
                calls.compared_state = self._store.state
            for before in self._before:
                before(entry, request)
            response = self._faulty(entry, lambda: self._answer(request, calls, fault))
            self._finish(entry, response)
            for after in self._after:
                after(entry, request, response)
            return response

    def subscribe(
        self,
        types: str = "*",
        closeafter: str = "no",
        ping: int = 0,
        last_event_id: str | None = None,
    ) -> Feed:
        """Connect to the event source and return the stream."""
        headers = {"Authorization": self.authorization}
        if last_event_id is not None:
            headers["Last-Event-ID"] = last_event_id
        query = f"types={types}&closeafter={closeafter}&ping={ping}"
        response = self.handle(Request("GET", EVENT_PATH, query, headers))
        if response.feed is None:
            raise ValueError(f"no stream: the event source answers {response.status}")
        return response.feed

    def close_feeds(self) -> None:
        """End every event stream in good order, as a server that restarts does."""
        with self.lock:
            for feed in self._feeds:
                feed.close()
            self._feeds.clear()

    def break_off_feeds(self) -> None:
        """End every event stream's connection without a word, as Cyrus 3.10.2 does over TLS."""
        with self.lock:
            for feed in self._feeds:
                feed.break_off()
            self._feeds.clear()

    def cut_off_feeds(self) -> None:
        """Have every event stream that is open fall silent, as when a path dies unnoticed."""
        with self.lock:
            for feed in self._feeds:
                feed.is_cut_off = True

    def tell(self, states: Mapping[str, str]) -> None:
        """Have every event stream tell these states, whatever they are by now: a late event."""
        with self.lock:
            self._push(states)

    def renew_session(self) -> None:
        """Change the session's state, as a server does whose session has changed."""
        with self.lock:
            self._session_state += 1

    # One request

    def _log(self, request: Request) -> Entry:
        entry = Entry(
            number=len(self.log.entries) + 1,
            method=request.method,
            path=request.path,
            connection=request.connection,
            started=self.clock(),
            bytes_in=len(request.body),
        )
        self.log.entries.append(entry)
        return entry

    def _read(self, request: Request) -> tuple[Calls | None, RequestError | None]:
        """Read the calls of an API request, or the reason why they cannot be run."""
        if request.method != "POST" or request.path not in _API_PATHS:
            return None, None
        if not self._is_user(request):
            return None, None  # and no calls: the route refuses it
        limits = self.profile.limits
        try:
            if len(request.body) > limits.max_size_request:
                raise RequestError("limit", "too large", "maxSizeRequest", status=413)
            media_type = request.header("Content-Type") or ""
            return read_calls(request.body, media_type, capabilities_of(self.profile)), None
        except RequestError as error:
            return None, error

    def _faulty(self, entry: Entry, answer: Callable[[], Response]) -> Response:
        """Have the request answered, as far as the faults let it."""
        faults = self.faults.striking(entry)
        self._method_errors = {
            fault.call: fault.method_error for fault in faults if fault.call and fault.method_error
        }
        break_connection(faults, "before")
        response = next((fault.answer for fault in faults if fault.answer), None) or answer()
        break_connection(faults, "after")
        for fault in faults:
            if fault.rewrite:
                response = fault.rewrite(response)
            if fault.delivery:
                response = dataclasses.replace(response, delivery=fault.delivery)
        return response if response.feed else self._delayed(response)

    def _delayed(self, response: Response) -> Response:
        delivery = response.delivery
        delay = delivery.delay_seconds + self.controls.delay_seconds
        return dataclasses.replace(
            response, delivery=dataclasses.replace(delivery, delay_seconds=delay)
        )

    def _finish(self, entry: Entry, response: Response) -> None:
        entry.status = response.status
        entry.bytes_out = len(response.body)
        entry.is_stream = response.feed is not None
        if math.isfinite(response.delivery.delay_seconds):
            entry.ended = self.clock() + response.delivery.delay_seconds
        if entry.calls or (self.profile.counts_carddav and entry.path.startswith(_DAV_PREFIX)):
            self._crowd.add(entry)

    # Routes

    def _answer(
        self, request: Request, calls: Calls | None, fault: RequestError | None
    ) -> Response:
        """Answer a request, or say why it fails as a whole."""
        if self._is_blocked(request):
            return Response(200, delivery=Delivery(math.inf))
        try:
            self._crowd.let_in()
            if fault:
                raise fault
            return self._route(request, calls)
        except RequestError as error:
            return error.response(is_plain=self.profile.has_plain_errors)

    def _is_blocked(self, request: Request) -> bool:
        """Say whether a request meets the lock that an open stream holds."""
        is_open = any(not feed.closed for feed in self._feeds)
        is_met = request.path in _API_PATHS and request.method == "POST"
        is_met = is_met or request.path.startswith(_DAV_PREFIX)
        return self.profile.open_stream_blocks and is_open and is_met

    def _route(self, request: Request, calls: Calls | None) -> Response:
        match request.path:
            case "/.well-known/jmap":
                return _redirect(request, API_PATH.rstrip("/"))
            case "/.well-known/carddav":
                return _redirect(request, "/dav/addressbooks")
            case path if path.startswith(_DAV_PREFIX):
                return self._dav(request)
            case path if path in (*_API_PATHS, EVENT_PATH):
                return self._jmap(request, calls)
            case _:
                return Response(404)

    def _dav(self, request: Request) -> Response:
        authorization = request.header("Authorization")
        if self.profile.dav_authentication == "Digest":
            if not self._digest.accepts(authorization, request.method):
                return Response(401, {"WWW-Authenticate": self._digest.challenge})
        elif authorization != self.dav_authorization and not self._is_administrator(request):
            return self._unauthorized("Basic")
        if request.method in _WRITES and self.profile.locks_the_book:
            if self.clock() < self._locked_until:
                return Response(423)
            self._locked_until = self.clock() + self.controls.delay_seconds
        return self._cards(request)

    def _cards(self, request: Request) -> Response:
        if self.profile.counts_carddav:
            self._crowd.make_way()
        return self._dav_ways.handle(request)

    def _jmap(self, request: Request, calls: Calls | None) -> Response:
        if not self._is_user(request):
            return self._unauthorized(self.profile.jmap_authentication)
        match request.method:
            case "GET" if request.path == EVENT_PATH:
                return self._event_source(request)
            case "GET":
                host = request.header("Host") or _HOST
                state = str(self._session_state)
                return json_response(session(self.profile, self.user, state, host))
            case "POST" if calls:
                return self._run(calls)
            case _:
                return Response(405)

    def _is_user(self, request: Request) -> bool:
        is_own = request.header("Authorization") == self.authorization
        return is_own or self._is_administrator(request)

    def _is_administrator(self, request: Request) -> bool:
        """Somebody who may act on behalf of the user, and says so."""
        if self.administrator is None or request.header("Authorize-As") != self.user:
            return False
        return request.header("Authorization") == self.administrator

    def _unauthorized(self, scheme: str) -> Response:
        return Response(401, {"WWW-Authenticate": f'{scheme} realm="sandbox"'})

    def _run(self, calls: Calls) -> Response:
        """Run an API request's calls. Raises RequestError where they are too many."""
        self._crowd.make_way()
        check_limits(calls, self.profile)
        ignored = () if self.profile.refers_if_in_state else ("#ifInState",)
        responses = run_calls(calls, self._methods, self._intercept, ignored)
        return json_response(
            {
                "methodResponses": [[r.name, r.arguments, r.call_id] for r in responses],
                "sessionState": str(self._session_state),
            }
        )

    def _intercept(self, name: str, arguments: Arguments) -> str | None:
        """Return the error that a call meets before its method, if any."""
        for before in self._before_call:
            before(name, arguments)
        is_counted = self.profile.object_limits_fail == "method"
        if is_counted and exceeded(name, arguments, self.profile.limits):
            return "requestTooLarge"
        return self._method_errors.get(name)

    def _jmap_methods(self) -> dict[str, tuple[str, Method]]:
        mailboxes = MailboxMethods(self._store, self.user, self.profile)
        emails = EmailMethods(
            self._store, self.user, self.profile, self.clock, self.controls.meets_conflict
        )
        storage = self._contacts.storage
        contacts = ContactMethods(storage, self.user, self.profile, self.clock)
        return {
            "Core/echo": (CORE, lambda arguments, calls: arguments),
            "Mailbox/get": (MAIL, mailboxes.get),
            "Mailbox/query": (MAIL, mailboxes.query),
            "Mailbox/set": (MAIL, mailboxes.set_),
            "Email/query": (MAIL, emails.query),
            "Email/get": (MAIL, emails.get),
            "Email/changes": (MAIL, emails.changes),
            "Email/set": (MAIL, emails.set_),
            "Thread/get": (MAIL, emails.get_threads),
            "Identity/get": (SUBMISSION, self._identity_get),
            "AddressBook/get": (CONTACTS, contacts.get_books),
            "ContactCard/get": (CONTACTS, contacts.get),
            "ContactCard/query": (CONTACTS, contacts.query),
            "ContactCard/changes": (CONTACTS, contacts.changes),
            "ContactCard/set": (CONTACTS, contacts.set_),
        }

    def _identity_get(self, arguments: Arguments, calls: Calls) -> Arguments:
        """Identity/get (RFC 8621 §6.1)."""
        checked(arguments, self.user, ids=list, properties=list)
        identities = [
            {"id": str(number), "name": "", "email": email, "mayDelete": False}
            for number, email in enumerate(self.profile.identities)
        ]
        return {"accountId": self.user, "state": "0", "list": identities, "notFound": []}

    # Push

    def _event_source(self, request: Request) -> Response:
        if self.profile.push != "available":
            return Response(204 if self.profile.push == "unavailable" else 404)
        subscription = read_subscription(request, is_strict=self.profile.checks_push_query)
        if isinstance(subscription, Response):
            return subscription
        feed = Feed(subscription, self.user, self.clock, self.profile)
        feed.is_cut_off = self.controls.buffers_push
        self._feeds.append(feed)
        if self.profile.greets or request.header("Last-Event-ID") is not None:
            feed.greet(self._event_id, self.states())
        headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
        return Response(200, headers, feed=feed)

    def _push(self, states: Mapping[str, str]) -> None:
        self._feeds = [feed for feed in self._feeds if not feed.closed]
        for feed in self._feeds:
            feed.show_states(self._event_id, states)

    @property
    def _event_id(self) -> int:
        """A number that every change that is pushed raises."""
        cards = self._contacts.storage.revision if self.profile.has_jmap_contacts else 0
        return self._store.sequence + cards


def _redirect(request: Request, path: str) -> Response:
    """Redirect as Cyrus does, to a whole URL where the client has named the host."""
    host = request.header("Host")
    return Response(301, {"Location": f"http://{host}{path}" if host else path})
