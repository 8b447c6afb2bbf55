"""A world whose service and sandbox talk HTTP over real sockets, on a virtual clock.

Between the two stands ``spoil``: it decides what of a request arrives, and what of the answer.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType

from mailroom.engine.loop import Loop
from mailroom.engine.transfer import Http, Transfer
from tests.peer import Asked, Connection, End, Peer, Step
from tests.sandbox import CYRUS_3_10, CYRUS_3_13, Feed, Request, Response, Sandbox
from tests.world import World


@dataclass(slots=True)
class Meeting:
    """One request with its server; what is not asked for does not happen."""

    asked: Asked
    sandbox: Sandbox

    def handled(self, body: bytes | None = None) -> Response:
        """The server's answer; with ``body``, to that instead of the request's own."""
        asked = self.asked
        sent = asked.body if body is None else body
        return self.sandbox.handle(Request.to(asked.method, asked.target, asked.headers, sent))


Spoil = Callable[[Meeting], Iterable[Step] | None]


class WireWorld(World):
    """``spoil`` is shown every request; it answers with steps, or None to let it pass.

    ``asked_at`` are the instants of all requests that reached the server.
    """

    transfer: Transfer
    peer: Peer

    def __init__(self, by: str = "carddav", screening: str = "server") -> None:
        self.spoil: Spoil = lambda _: None
        self.asked_at: list[float] = []
        self._configuration = {"contacts": {"by": by}, "screening": {"by": screening}}
        super().__init__(CYRUS_3_13 if by == "jmap" else CYRUS_3_10)

    def new_http(self) -> Http:
        self.peer = Peer(self.loop, self._script)
        self.transfer = Transfer(self.loop, "Mailroom/chaos")
        self.configure(self._configuration, self.peer.url)
        return self.transfer

    def __enter__(self) -> "WireWorld":
        return self

    def __exit__(
        self,
        type_: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def boot(self) -> None:
        self.close()
        super().boot()

    def close(self) -> None:
        """Give the sockets back."""
        if hasattr(self, "peer"):
            self.account.close()
            self.transfer.close()
            self.peer.__exit__(None, None, None)

    def _script(self, asked: Asked) -> Iterable[Step]:
        self.asked_at.append(self.clock.now())
        meeting = Meeting(asked, self.sandbox)
        steps = self.spoil(meeting)
        if steps is not None:
            return steps
        response = meeting.handled()
        if response.feed is None:
            return [rendered(response)]
        assert self.peer.asking is not None
        return streamed(response.feed, self.loop, self.peer.asking)


def streamed(feed: Feed, loop: Loop, connection: Connection) -> Iterable[Step]:
    """The head now, and the feed's bytes as they come."""

    def carry() -> None:
        if connection.is_closed_by_client:
            feed.close()
            return
        connection.do(feed.take(), *([End.CLOSE] if feed.closed else []))

    def tick() -> None:
        if not feed.closed and not connection.is_closed_by_client:
            feed.tick()
            if feed.deadline is not None:
                wait = max(0.0, feed.deadline - loop.clock.wall())
                loop.call_at(loop.now() + wait, tick)

    loop.call_soon(lambda: feed.on_data(lambda: _ignore(loop.call_soon(carry))))
    tick()
    return [b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"]


def rendered(response: Response, length: int | None = None) -> bytes:
    """The whole answer; ``length`` is what it claims of its body, if that is a lie."""
    reason = HTTPStatus(response.status).phrase
    size = len(response.body) if length is None else length
    fields = [f"HTTP/1.1 {response.status} {reason}", f"Content-Length: {size}"]
    fields += [f"{name}: {value}" for name, value in response.headers.items()]
    if response.status == HTTPStatus.NO_CONTENT:
        del fields[1]
    return "".join(f"{field}\r\n" for field in [*fields, ""]).encode() + response.body


def _ignore(_result: object) -> None:
    pass
