"""The event source (RFC 8620 §7.3): feeds of bytes, written when a state changes.

A feed knows no thread and no socket: whoever carries it takes the bytes when ``on_data`` calls,
and calls ``tick`` at ``deadline``.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs

from mailroom.sandbox.exchange import Request, Response

TYPES: Final = frozenset({"Email", "Mailbox"})


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a client has asked the event source for; ``ping`` 0 means no pings."""

    types: frozenset[str]
    closes_after_state: bool
    ping_seconds: int


class Feed:
    """One client's event stream."""

    def __init__(
        self, subscription: Subscription, clock: Callable[[], float], life_seconds: float | None
    ) -> None:
        self._subscription = subscription
        self._clock = clock
        self._buffer = bytearray()
        self._listener: Callable[[], None] = lambda: None
        self._ends = None if life_seconds is None else clock() + life_seconds
        self._next_ping = clock() + subscription.ping_seconds
        self.closed = False

    def take(self) -> bytes:
        """Return what was written since the last time; bytes may remain after the end."""
        data = bytes(self._buffer)
        self._buffer.clear()
        return data

    def on_data(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called when there is something to take, and at the end."""
        self._listener = callback
        if self._buffer or self.closed:
            callback()

    def close(self) -> None:
        """End the stream in good order."""
        if not self.closed:
            self.closed = True
            self._listener()

    @property
    def deadline(self) -> float | None:
        """The instant of the next ping or of the end; None if the feed has neither."""
        ping = self._next_ping if self._subscription.ping_seconds else None
        instants = [instant for instant in (ping, self._ends) if instant is not None]
        return min(instants) if instants and not self.closed else None

    def tick(self) -> None:
        """Write the pings that are due, end when it is time."""
        now = self._clock()
        if self._ends is not None and now >= self._ends:
            self.close()
        interval = self._subscription.ping_seconds
        if interval and now >= self._next_ping:
            self.write(f"event: ping\ndata: {_json({'interval': interval})}".encode())

    def show_states(self, event_id: int, account_id: str, states: Mapping[str, str]) -> None:
        """Write the states of the types that this client wants to hear of."""
        wanted = {type_: s for type_, s in states.items() if type_ in self._subscription.types}
        if not wanted:
            return
        change = {"@type": "StateChange", "changed": {account_id: wanted}}
        self.write(f"id: {event_id}\nevent: state\ndata: {_json(change)}".encode())
        if self._subscription.closes_after_state:
            self.close()

    def write(self, event: bytes) -> None:
        """Write one event, given without the empty line that ends it; it puts off the ping."""
        if not self.closed:
            self._next_ping = self._clock() + self._subscription.ping_seconds
            self._buffer += event + b"\n\n"
            self._listener()


def _json(content: object) -> str:
    return json.dumps(content, separators=(",", ":"))


def read_subscription(request: Request) -> Subscription | Response:
    """Read the query of an event source URL, or answer why there is no stream.

    Cyrus answers 204, "no push here", to one that names no types.
    """
    query = {name: values[-1] for name, values in parse_qs(request.query).items()}
    types = query.get("types", "")
    if not types:
        return Response(204)
    chosen = TYPES if types == "*" else TYPES & set(types.split(","))
    closeafter, ping = query.get("closeafter", "no"), query.get("ping", "0")
    if closeafter not in ("no", "state"):
        return Response(400)
    return Subscription(chosen, closeafter == "state", int(ping) if ping.isdecimal() else 0)
