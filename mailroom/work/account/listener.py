"""Push: keeps the event stream (RFC 8620 §7.3) open for as long as the account runs.

:class:`mailroom.rules.polling.push.Push` decides what to do about the stream; this module does it.
"""

import contextlib
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import TypeVar

from mailroom.engine.journal import Log
from mailroom.engine.loop import DeadlinePassed, Loop, Promise, within
from mailroom.engine.transfer import Stream
from mailroom.errors import CredentialsRefused, MailroomError, TransientError
from mailroom.rules.polling.pace import Pace
from mailroom.rules.polling.push import BLOCKING, DEAF, UNTOLD, Push, PushStatus
from mailroom.wire.http import Request, Response
from mailroom.wire.jmap import CONTACTS
from mailroom.wire.jmap_push import (
    CONTACTS_TYPE,
    TYPES,
    changed_states,
    event_source_url,
    ping_interval,
)
from mailroom.wire.sse import Event, Parser
from mailroom.work.account.clients import Clients
from mailroom.work.session.web import retry_after

T = TypeVar("T")

# Reasons to give up an open stream, and the event that each is logged as.
_SUSPICIONS = {
    UNTOLD: "eventsource_deaf",
    DEAF: "eventsource_deaf",
    BLOCKING: "eventsource_blocking",
}


class Listener:
    """Keeps one account's stream open. ``on_states`` is called with changes; ``on_status`` when the
    stream was opened, was lost, or is not available."""

    def __init__(
        self,
        loop: Loop,
        clients: Clients,
        log: Log,
        push: Push,
        pace: Pace,
        on_states: Callable[[Mapping[str, str]], None],
        on_status: Callable[[], None],
    ) -> None:
        self.url: str | None = None
        self._loop = loop
        self._web, self._mail = clients.web, clients.mail
        self._log = log
        self._push = push
        self._pace = pace
        self._on_states = on_states
        self._on_status = on_status
        self._last_report = ""
        self._stream: Stream | None = None
        self._woken: Promise[None] = Promise()

    def reconsider(self) -> None:
        """Act on a new decision about the stream, which polls have led to."""
        if self._stream is not None:
            self._stream.close()
        else:
            self._report()
            self._on_status()
            self._woken.resolve(None)

    async def listen(self) -> None:
        """Keep the stream open; never returns. The first attempt is made at once."""
        push = self._push
        while True:
            push.attempt_started(self._loop.now())
            try:
                await self._one_connection()
            except DeadlinePassed:
                if push.deadline is not None:
                    push.expired(self._loop.now())
            except CredentialsRefused:
                push.refused(self._loop.now(), HTTPStatus.UNAUTHORIZED)
            except MailroomError as error:
                self._ended(error)
            self._report()
            self._on_status()
            await self._until_due()

    def _ended(self, error: MailroomError) -> None:
        if self._push.deadline is None:
            return  # a poll gave the stream up at the same instant
        now, reason = self._loop.now(), str(error)
        if isinstance(error, TransientError):
            self._push.ended(now, reason, error.retry_after, is_broken_off=True)
        else:
            self._push.ended(now, reason)

    async def _until_due(self) -> None:
        """Wait for the time of the next attempt, which may be moved either way, and for our turn at
        the server."""
        while self._wait_until() > self._loop.now():
            while (at := self._wait_until()) > self._loop.now():
                self._woken = Promise()
                with contextlib.suppress(DeadlinePassed):
                    await within(self._loop, self._woken, at)
            if (turn := self._pace.turn(self._loop.now())) > self._loop.now():
                await self._loop.sleep_until(turn)

    def _wait_until(self) -> float:
        assert self._push.next_attempt_at is not None  # only called without a connection
        return self._push.next_attempt_at

    async def _one_connection(self) -> None:
        session = await self._mail.session()
        if session.event_source_template is None:
            self._push.refused(self._loop.now(), HTTPStatus.NO_CONTENT)
            return
        types = (*TYPES, CONTACTS_TYPE) if CONTACTS in session.account_capabilities else TYPES
        self.url = event_source_url(session.event_source_template, session.url, types)
        self._web.trust(self.url)
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if self._push.last_event_id:
            headers["Last-Event-ID"] = self._push.last_event_id
        assert self._push.deadline is not None
        request = Request("GET", self.url, headers)
        stream, head = await self._web.stream(request, self._push.deadline)
        self._stream = stream
        try:
            if _is_event_stream(head):
                await self._read(stream, session.account_id)
            else:
                wait = retry_after(head.headers.get("retry-after"), self._loop.clock.wall())
                self._push.refused(self._loop.now(), head.status, wait)
        finally:
            self._stream = None
            stream.close()

    async def _read(self, stream: Stream, account_id: str) -> None:
        self._push.opened(self._loop.now())
        self._report()
        self._on_status()
        parser = Parser(self._push.last_event_id)
        while (chunk := await self._in_time(stream.read())) and self._is_open():
            events = parser.feed(chunk)
            self._push.heard(self._loop.now(), parser.last_event_id, parser.retry_seconds)
            for event in events:
                self._handle(event, account_id)
        if self._is_open():
            self._push.ended(self._loop.now(), None)

    def _is_open(self) -> bool:
        """False once it has been given up because of what polls have found."""
        return self._push.status is PushStatus.CONNECTED

    def _handle(self, event: Event, account_id: str) -> None:
        interval = ping_interval(event)
        if interval is not None:
            self._push.pinged(self._loop.now(), interval)
        states = changed_states(event, account_id)
        if states:
            self._push.changed(self._loop.now(), states)
            self._on_states(states)

    async def _in_time(self, promise: Promise[T]) -> T:
        assert self._push.deadline is not None
        return await within(self._loop, promise, self._push.deadline)

    def _report(self) -> None:
        """Log the stream's status if it has changed; repeated failures are logged at DEBUG."""
        status, error = self._push.status, self._push.error
        if status is PushStatus.CONNECTED:
            self._log.info("eventsource_connected", reconnects=self._push.reconnect_count)
            if not self._push.is_suspect:
                self._last_report = ""
            return
        event, report = "eventsource_disconnected", self._log.warning
        reason = error or "the server ended the stream"
        if self._push.is_routine:
            self._log.info(event, error=reason)
            self._last_report = ""
            return
        if reason in _SUSPICIONS:
            event = _SUSPICIONS[reason]
        elif status is PushStatus.UNAVAILABLE:
            event, report, reason = "eventsource_unavailable", self._log.info, "no push here"
        is_new = self._last_report != reason
        self._last_report = reason
        (report if is_new else self._log.debug)(event, error=reason)


def _is_event_stream(head: Response) -> bool:
    kind = head.headers.get("content-type", "").partition(";")[0].strip().lower()
    return head.status == HTTPStatus.OK and kind == "text/event-stream"
