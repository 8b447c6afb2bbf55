"""The sandbox without sockets: the service's HTTP, answered in process on the loop's own clock.

Held against the real transfer by tests/test_direct.py.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urlsplit

from mailroom.engine.loop import Loop, Promise
from mailroom.engine.transfer import Stream
from mailroom.errors import NoAnswer, TooLarge, TransientError
from mailroom.wire.http import Request, Response
from tests.sandbox import ConnectionBroken, Delivery, Feed, Sandbox
from tests.sandbox import Request as SandboxRequest
from tests.sandbox import Response as SandboxResponse
from tests.sandbox.digest import answer

_UNAUTHORIZED = 401


class DirectHttp:
    """An :class:`mailroom.engine.transfer.Http` that asks a sandbox."""

    def __init__(self, loop: Loop, sandbox: Sandbox) -> None:
        self._loop = loop
        self._sandbox = sandbox

    def send(self, request: Request) -> Promise[Response]:
        promise: Promise[Response] = Promise()

        def arrived(answer: SandboxResponse) -> None:
            self._deliver(request, answer, promise)

        self._ask(request, arrived, promise.reject)
        return promise

    def stream(self, request: Request) -> Stream:
        return _DirectStream(self._loop, request, self._ask)

    def _ask(
        self,
        request: Request,
        arrived: Callable[[SandboxResponse], None],
        failed: Callable[[TransientError], None],
    ) -> None:
        target = urlsplit(request.url)._replace(scheme="", netloc="").geturl()
        asked = SandboxRequest.to(
            request.method, target, dict(request.headers), request.body or b""
        )

        def ask() -> None:
            try:
                told = self._challenged(request, self._sandbox.handle(asked), asked)
            except ConnectionBroken:
                failed(TransientError(f"{request}: the connection broke"))
            else:
                arrived(told)

        self._loop.call_soon(ask)

    def _challenged(
        self, request: Request, told: SandboxResponse, asked: SandboxRequest
    ) -> SandboxResponse:
        """What libcurl does by itself: answer a challenge once."""
        if told.status != _UNAUTHORIZED or request.digest is None:
            return told
        uri = f"{asked.path}?{asked.query}" if asked.query else asked.path
        proof = answer(told.headers["WWW-Authenticate"], asked.method, uri, *request.digest)
        return self._sandbox.handle(
            replace(asked, headers={**asked.headers, "Authorization": proof})
        )

    def _deliver(self, request: Request, told: SandboxResponse, promise: Promise[Response]) -> None:
        delivery: Delivery = told.delivery
        response = Response(
            told.status,
            {name.lower(): value for name, value in told.headers.items()},
            told.body,
            request.url,
            len(request.body or b""),
            len(told.body),
        )
        patience = request.patience_seconds
        if delivery.delay_seconds > patience:
            error = NoAnswer(f"{request}: the server has sent nothing for {patience:.0f} s")
            self._loop.call_at(self._loop.now() + patience, lambda: promise.reject(error))
        elif len(told.body) > request.limit_bytes:
            promise.reject(TooLarge(f"{request}: the answer is too large"))
        elif delivery.cut_after is not None:
            promise.reject(TransientError(f"{request}: the answer ended in the middle"))
        elif delivery.delay_seconds:
            when = self._loop.now() + delivery.delay_seconds
            self._loop.call_at(when, lambda: promise.resolve(response))
        else:
            promise.resolve(response)


class _DirectStream:
    """The sandbox's feed as a stream."""

    def __init__(self, loop: Loop, request: Request, ask: Callable[..., None]) -> None:
        self.head: Promise[Response] = Promise()
        self._loop = loop
        self._request = request
        self._feed: Feed | None = None
        self._has_ended = False
        #: When the feed is called next.
        self._armed = math.inf
        self._reader: Promise[bytes] | None = None
        ask(request, self._under_way, self.head.reject)

    def read(self) -> Promise[bytes]:
        self._reader = Promise()
        self._serve()
        return self._reader

    def close(self) -> None:
        self._has_ended = True
        if self._feed is not None:
            self._feed.close()

    def _under_way(self, answer: SandboxResponse) -> None:
        delay = answer.delivery.delay_seconds
        if not delay:
            self._arrived(answer)
        elif not math.isinf(delay):
            when = self._loop.now() + delay
            self._loop.call_at(when, lambda: self._arrived(answer))

    def _arrived(self, answer: SandboxResponse) -> None:
        headers = {name.lower(): value for name, value in answer.headers.items()}
        if self._has_ended:
            if answer.feed is not None:
                answer.feed.close()
            return
        if answer.feed is not None:
            self._feed = answer.feed
            self._feed.on_data(self._wake)
            self._tick()
        self.head.resolve(Response(answer.status, headers, b"", self._request.url))

    def _wake(self) -> None:
        self._loop.call_soon(self._serve)
        self._arm()

    def _tick(self) -> None:
        self._armed = math.inf
        if self._feed is not None and not (self._has_ended or self._feed.closed):
            self._feed.tick()
            self._arm()

    def _arm(self) -> None:
        """Call the feed at its deadline, unless it is called before anyway."""
        deadline = self._feed.deadline if self._feed is not None else None
        if deadline is not None and deadline < self._armed and not self._has_ended:
            self._armed = deadline
            wait = max(0.0, deadline - self._loop.clock.wall())
            self._loop.call_at(self._loop.now() + wait, self._tick)

    def _serve(self) -> None:
        if self._reader is None or self._reader.done or self._feed is None:
            return
        chunk = self._feed.take()
        if chunk or (self._feed.closed and not self._feed.is_broken_off):
            self._reader.resolve(chunk)
        elif self._feed.is_broken_off:
            self._reader.reject(TransientError(f"{self._request}: the answer ended in the middle"))
