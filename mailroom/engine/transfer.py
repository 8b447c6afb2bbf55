"""HTTP by libcurl, driven by the loop: one multi handle, ``socket_action`` and nothing else.

libcurl's rules (libcurl-multi(3), and seen with pycurl 7.45):

- Never call libcurl from one of its callbacks: these only take notes, and the loop acts.
- Timer callback: -1 deletes the timer, 0 means soon.
- Sockets may be removed twice, after their close, or never: :meth:`Loop.watch` is idempotent.
- A handle whose name is still being resolved is never removed, and never gets a libcurl timeout:
  either would block the process until the resolver gives up (seen: libcurl 8.14.1). Our deadline
  fails the exchange for its caller; the handle stays parked until libcurl ends it.

Redirects are not followed here: the floor above decides whether credentials may go there.
"""

import selectors
from typing import Protocol

import pycurl

from mailroom.engine.authorities import Authorities
from mailroom.engine.exchange import Exchange, StreamExchange
from mailroom.engine.loop import Loop, Promise, Timer
from mailroom.errors import NoAnswer, ProtocolError, TimedOut, TransientError
from mailroom.rules.configuration.config import Tls
from mailroom.wire.http import Request, Response

# libcurl wants to be called now and then even if no socket is ready (libcurl-multi(3)). If one is,
# as with each ping of a stream, that call does as well.
_HOUSEKEEPING_SECONDS = 60.0
# How long the deadline of that call stays as it is, however often libcurl is called: a thousand
# accounts share one transfer.
_PUT_OFF_SECONDS = 20.0
_TLS = Tls()


class Stream(Protocol):
    """An endless answer: its head first, then its bytes as they come."""

    head: Promise[Response]

    def read(self) -> Promise[bytes]:
        """The bytes since the last read; ``b""`` once the server has ended the stream."""
        ...

    def close(self) -> None: ...


class Http(Protocol):
    """What the clients need; :class:`Transfer` is the real one."""

    def send(self, request: Request) -> Promise[Response]: ...

    def stream(self, request: Request) -> Stream: ...


class Transfer:
    """All HTTP of the process. ``tls`` says whom to trust."""

    def __init__(self, loop: Loop, user_agent: str, tls: Tls = _TLS) -> None:
        self._loop = loop
        self._user_agent = user_agent
        self._authorities = Authorities(tls)
        self._exchanges: dict[pycurl.Curl, Exchange] = {}
        self._not_begun: list[Exchange] = []
        self._timer: Timer | None = None
        self._housekeeping: Timer | None = None
        self._put_off_at = 0.0
        self._is_closed = False
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._on_socket)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._on_timer)

    def send(self, request: Request) -> Promise[Response]:
        """Send it. The promise may be rejected with TransientError or ProtocolError. When all who
        waited for it have left, the exchange is given up."""
        exchange = Exchange(self._loop, request)
        self._start(exchange)
        exchange.answer.abandon = lambda: self._abandon(exchange)
        return exchange.answer

    def stream(self, request: Request) -> Stream:
        """Open a stream, on a connection of its own."""
        exchange = StreamExchange(self._loop, request)
        exchange.abandon = lambda: self._abandon(exchange)
        self._start(exchange)
        return exchange

    def close(self) -> None:
        """Give up everything in flight, except exchanges that are still resolving a name. Whoever
        waits for an answer gets an error, and so does whoever sends anything from now on."""
        if self._is_closed:
            return
        self._is_closed = True
        for exchange in list(self._exchanges.values()):
            exchange.fail(_given_up(exchange.request))
            self._abandon(exchange)
        self._end_if_idle()

    def _start(self, exchange: Exchange) -> None:
        try:
            curl = exchange.prepare(self._user_agent, self._authorities.path)
        except ValueError as error:
            problem = ProtocolError(f"{exchange.request}: this cannot be encoded as HTTP")
            problem.__cause__ = error
            exchange.fail(problem)
            return
        if self._is_closed:
            exchange.fail(_given_up(exchange.request))
            return
        self._exchanges[curl] = exchange
        self._not_begun.append(exchange)
        self._multi.add_handle(curl)
        self._watch_over(exchange)
        self._schedule_housekeeping()

    def _watch_over(self, exchange: Exchange) -> None:
        """Our own timeouts: one timer per exchange, set anew if bytes have come meanwhile."""

        def check() -> None:
            if exchange.curl not in self._exchanges or not exchange.is_watched():
                return
            trouble = exchange.overdue()
            if trouble is None:
                self._watch_over(exchange)
            else:
                kind = NoAnswer if exchange.is_connected() else TimedOut
                exchange.fail(kind(f"{exchange.request}: {trouble}"))
                self._abandon(exchange)

        exchange.timeout = self._loop.call_at(exchange.deadline(), check)

    def _abandon(self, exchange: Exchange) -> None:
        if exchange.curl not in self._exchanges:
            return  # it is over, and its handle is closed
        if exchange.is_resolving():
            exchange.is_parked = True
        else:
            self._release(exchange)

    def _release(self, exchange: Exchange) -> None:
        if self._exchanges.pop(exchange.curl, None) is not None:
            self._multi.remove_handle(exchange.curl)
            exchange.curl.close()
            if exchange.timeout:
                exchange.timeout.cancel()

    def _on_socket(self, what: int, fd: int, _multi: object, _data: object) -> None:
        events = selectors.EVENT_READ if what & pycurl.POLL_IN else 0
        if what & pycurl.POLL_OUT:
            events |= selectors.EVENT_WRITE
        if events:
            self._loop.watch(fd, events, lambda ready: self._on_ready(fd, ready))
        else:
            self._loop.unwatch(fd)

    def _on_timer(self, timeout_ms: int) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if timeout_ms == 0:
            self._timer = self._loop.call_soon(self._on_timeout)
        elif timeout_ms > 0:
            when = self._loop.now() + timeout_ms / 1000
            self._timer = self._loop.call_at(when, self._on_timeout)

    def _on_ready(self, fd: int, events: int) -> None:
        mask = pycurl.CSELECT_IN if events & selectors.EVENT_READ else 0
        if events & selectors.EVENT_WRITE:
            mask |= pycurl.CSELECT_OUT
        self._drive(fd, mask)

    def _on_timeout(self) -> None:
        self._drive(pycurl.SOCKET_TIMEOUT, 0)

    def _drive(self, fd: int, mask: int) -> None:
        for exchange in self._not_begun:
            exchange.has_begun = True
        self._not_begun.clear()
        self._multi.socket_action(fd, mask)
        queued = 1
        while queued:
            queued, succeeded, failed = self._multi.info_read()
            for curl in succeeded:
                self._finish(curl, 0, "")
            for curl, number, message in failed:
                self._finish(curl, number, message)
        self._schedule_housekeeping()
        self._end_if_idle()

    def _finish(self, curl: pycurl.Curl, number: int, message: str) -> None:
        exchange = self._exchanges.get(curl)
        if exchange is not None:
            exchange.ended(number, message)
            self._release(exchange)

    def _end_if_idle(self) -> None:
        """To be called after close, and after the last look-up has ended."""
        if self._is_closed and not self._exchanges:
            for timer in (self._timer, self._housekeeping):
                if timer:
                    timer.cancel()
            self._multi.close()
            # Its callbacks refer to us: a cycle that pycurl before 7.46 hides from the collector.
            del self._multi
            self._authorities.close()

    def _schedule_housekeeping(self) -> None:
        """See that libcurl, which has just been called, is called again before long."""
        now = self._loop.now()
        if self._housekeeping and self._exchanges and now < self._put_off_at:
            return
        if self._housekeeping:
            self._housekeeping.cancel()
        self._housekeeping = None
        if self._exchanges:
            self._put_off_at = now + _PUT_OFF_SECONDS
            self._housekeeping = self._loop.call_at(now + _HOUSEKEEPING_SECONDS, self._on_timeout)


def _given_up(request: Request) -> TransientError:
    return TransientError(f"{request}: given up, because HTTP was closed")
