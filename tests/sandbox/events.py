"""The event source (RFC 8620 §7.3): feeds of bytes, written when a state changes.

A feed knows no thread and no socket: whoever carries it takes the bytes when ``on_data`` calls,
and calls ``tick`` at ``deadline``.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import parse_qs

from tests.sandbox.exchange import Request, Response
from tests.sandbox.profile import Profile

#: What is ever pushed.
TYPES: Final = frozenset({"Email", "Mailbox", "ContactCard"})
#: What a client may ask to hear of, whether it ever happens here or not.
_KNOWN_TYPES: Final = TYPES | {
    "AddressBook",
    "EmailDelivery",
    "EmailSubmission",
    "Identity",
    "Thread",
}


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a client has asked the event source for; ``ping`` 0 means no pings."""

    types: frozenset[str]
    closes_after_state: bool
    ping_seconds: int


class Feed:
    """One client's event stream about one account."""

    def __init__(
        self,
        subscription: Subscription,
        account_id: str,
        clock: Callable[[], float],
        profile: Profile,
    ) -> None:
        self._subscription = subscription
        self._account_id = account_id
        self._clock = clock
        self._profile = profile
        self._buffer = bytearray()
        self._listener: Callable[[], None] = lambda: None
        life = profile.stream_seconds
        self._ends = None if life is None else clock() + life
        asked = subscription.ping_seconds if profile.ping_unit else 0
        self._ping_seconds = max(asked, profile.least_ping_seconds) if asked else 0
        self._next_ping = clock() + self._ping_seconds
        self._next_look = clock() + profile.push_look_seconds
        self._next_event = clock()
        #: States that the server has not looked at, or not told yet, and the id of their event.
        self._unseen: dict[str, str] = {}
        self._unseen_id = 0
        self.closed = False
        #: True: it is closed, but its connection does not say so.
        self.is_broken_off = False
        #: True: nothing arrives any more, and nobody is told; the path is dead.
        self.is_cut_off = False

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

    def break_off(self) -> None:
        """End the connection in the middle of the stream."""
        self.is_broken_off = True
        self.close()

    @property
    def deadline(self) -> float | None:
        """The instant of the next ping, look at the states, or end; None if there is none."""
        ping = self._next_ping if self._ping_seconds else None
        look = self._next_look if self._profile.push_look_seconds else None
        pause = self._next_event if self._unseen and self._profile.push_pause_seconds else None
        instants = [each for each in (ping, look, pause, self._ends) if each is not None]
        return min(instants) if instants and not self.closed else None

    def tick(self) -> None:
        """Write the events that are due, end when it is time."""
        now = self._clock()
        if self._ends is not None and now >= self._ends:
            self.close()
        self._look(now)
        self._end_pause(now)
        if self._ping_seconds and now >= self._next_ping:
            unit = 1000 if self._profile.ping_unit == "milliseconds" else 1
            ping = {"interval": self._ping_seconds * unit}
            self.write(f"event: ping\ndata: {_json(ping)}".encode())

    def greet(self, event_id: int, states: Mapping[str, str]) -> None:
        """Write the current states at once, to a client that has just connected."""
        self._write_states(event_id, states, "connect")

    def show_states(self, event_id: int, states: Mapping[str, str]) -> None:
        """Write new states; later, where the server looks for them only now and then."""
        if self._profile.push_look_seconds or self._profile.push_pause_seconds:
            self._unseen.update(states)
            self._unseen_id = event_id
            self._end_pause(self._clock())
        else:
            self._write_states(event_id, states, "change")

    def write(self, event: bytes) -> None:
        """Write one event, given without the empty line that ends it; it puts off the ping."""
        self._next_ping = self._clock() + self._ping_seconds
        if not (self.closed or self.is_cut_off):
            self._buffer += event + b"\n\n"
            self._listener()

    def _look(self, now: float) -> None:
        """Tell what has changed since the last look, all of it in one event."""
        seconds = self._profile.push_look_seconds
        if seconds and now >= self._next_look:
            self._next_look += seconds * (1 + (now - self._next_look) // seconds)
            states, self._unseen = self._unseen, {}
            self._write_states(self._unseen_id, states, "change")

    def _end_pause(self, now: float) -> None:
        """Tell what has changed since the last event, once that was long enough ago."""
        seconds = self._profile.push_pause_seconds
        if not (seconds and self._unseen):
            return
        if now >= self._next_event:
            self._next_event = now + seconds
            states, self._unseen = self._unseen, {}
            self._write_states(self._unseen_id, states, "change")
        else:
            self._listener()  # there is a deadline now that was not there

    def _write_states(
        self, event_id: int, states: Mapping[str, str], why: Literal["connect", "change"]
    ) -> None:
        """Write the states of the types that this client wants to hear of."""
        wanted = {type_: s for type_, s in states.items() if type_ in self._subscription.types}
        if not wanted:
            return
        changed = {"changed": {self._account_id: wanted}}
        data = (
            {"@type": "StateChange", **changed}
            if self._profile.event_type_key == "@type"
            else {**changed, "type": why}
        )
        id_line = f"id: {event_id}\n" if self._profile.has_event_ids else ""
        self.write(f"{id_line}event: state\ndata: {_json(data)}".encode())
        if self._subscription.closes_after_state:
            self.close()


def _json(content: object) -> str:
    return json.dumps(content, separators=(",", ":"))


def read_subscription(request: Request, *, is_strict: bool) -> Subscription | Response:
    """Read the query of an event source URL, or answer why there is no stream.

    Cyrus answers 204, "no push here", to one that names no types; it hears of types that there
    are not and takes whatever is no number for no pings. A strict server does neither.
    """
    query = {name: values[-1] for name, values in parse_qs(request.query).items()}
    types = query.get("types", "")
    if not types:
        return Response(400 if is_strict else 204)
    named = TYPES if types == "*" else frozenset(types.split(","))
    closeafter, ping = query.get("closeafter", "no"), query.get("ping", "0")
    is_odd = not (named <= _KNOWN_TYPES and ping.isdecimal())
    if closeafter not in ("no", "state") or (is_strict and is_odd):
        return Response(400)
    seconds = int(ping) if ping.isdecimal() else 0
    return Subscription(TYPES & named, closeafter == "state", seconds)
