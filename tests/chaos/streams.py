"""Hostile event streams: bounded memory, a poll per 3 s at most, clean reconnects."""

import gc
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain, repeat

from tests.chaos.table import Case
from tests.chaos.wire import Meeting, WireWorld
from tests.peer import End, Step, Wait

MIB = 1 << 20
# How long the server is at it, and how often it may be asked for a stream meanwhile.
HOSTILE_SECONDS = 120.0
_POLL_SECONDS = 3.0
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"

Steps = Callable[[], Iterable[Step]]


def _event(data: str, kind: str = "state") -> bytes:
    return f"event: {kind}\ndata: {data}\n\n".encode()


def _change(number: int, account: str = "alice", kind: str = "Email", pad: int = 0) -> bytes:
    state = f"x{number:0{pad}}"
    return _event(f'{{"@type":"StateChange","changed":{{"{account}":{{"{kind}":"{state}"}}}}}}')


def _flood(event: Callable[[int], bytes], per_second: int, seconds: float = 60.0) -> Iterator[Step]:
    """So many events a second, in ten portions."""
    portion = per_second // 10
    for start in range(0, int(seconds * per_second), portion):
        yield b"".join(map(event, range(start, start + portion)))
        yield Wait(0.1)


def _with_head(body: Steps) -> Iterable[Step]:
    return chain([_HEAD], body())


_NO_PINGS = ("-1", "1e400", '"x"', "null", "[]", "NaN", "1" * 5000)
_NO_CHANGES = (
    *("[]", "{}", '{"changed":[]}', '{"changed":{"alice":[]}}', "[" * 100_000, "{" * 900, "\0"),
    *('{"changed":{"alice":{"Email":{}}}}', '{"changed":{"alice":{"Email":1}}}'),
    '"' + "z" * 100_000 + '"',
)

# What comes after the head; the stream stays open if nothing ends it.
_BODIES: Mapping[str, Steps] = {
    "closes at once": lambda: [End.CLOSE],
    "is reset at once": lambda: [End.RESET],
    "says nothing": lambda: [],
    "10 MiB without a newline": lambda: repeat(b"x" * 65536, 160),
    "10 MiB of one event": lambda: repeat(b"data: " + b"y" * 1000 + b"\n", 10_000),
    "10 MiB of one id": lambda: chain([b"id: "], repeat(b"7" * 65536, 160)),
    "a long id, then the end": lambda: [b"id: " + b"7" * 9000 + b"\n\n", End.CLOSE],
    "a strange id, then the end": lambda: ["id: a\u2028\x85\n\n".encode(), End.CLOSE],
    "invalid UTF-8": lambda: repeat(b"data: \xff\xfe\xc3\n\n\x80\n", 5000),
    "retry: 0, and closes": lambda: [b"retry: 0\n\n", End.CLOSE],
    "retry: for ever, and closes": lambda: [b"retry: 9" + b"9" * 400 + b"\n\n", End.CLOSE],
    "a storm of pings": lambda: _flood(lambda _: _event('{"interval":0}', "ping"), 10_000, 10.0),
    "pings of no sense": lambda: (_event(f'{{"interval":{each}}}', "ping") for each in _NO_PINGS),
    "events for other accounts": lambda: _flood(lambda number: _change(number, "bob"), 1000),
    "events of other types": lambda: _flood(
        lambda number: _change(number, kind=f"T{number}"), 1000
    ),
    "data of another shape": lambda: map(_event, _NO_CHANGES),
    "states of 100 KiB": lambda: _flood(lambda number: _change(number, pad=100_000), 10, 20.0),
    "10,000 events a second": lambda: _flood(_change, 10_000),
}
_STREAMS: Mapping[str, Steps] = {
    "never answers": lambda: [],
    "has no end of head": lambda: [_HEAD[:-2]],
    **{name: partial(_with_head, body) for name, body in _BODIES.items()},
}


def cases() -> Iterator[Case]:
    for name, steps in _STREAMS.items():
        yield Case(name, partial(_suffer, steps))


def _suffer(steps: Steps) -> float:
    """MiB that it took; the user's taps are worked on meanwhile and afterwards."""
    with WireWorld() as world:
        mails = [world.deliver(f"s{number}@example.org")[0] for number in range(2)]
        world.start().settle()
        gc.collect()
        tracemalloc.start()
        try:
            _be_hostile(world, steps)
            world.tap(mails[0], "@ToFeed")
            world.run_for(HOSTILE_SECONDS)
            grown = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        _check_calm(world)
        assert world.sandbox.mailboxes_of(mails[0]) == {"Feed"}
        _recover(world)
        world.tap(mails[1], "@ToFeed")
        world.run_for(2.0)
        assert world.sandbox.mailboxes_of(mails[1]) == {"Feed"}, "push does not work any more"
        return grown / MIB


def _be_hostile(world: WireWorld, steps: Steps) -> None:
    def spoil(meeting: Meeting) -> Iterable[Step] | None:
        return steps() if "eventsource" in meeting.asked.target else None

    world.spoil = spoil
    world.sandbox.close_feeds()


def _recover(world: WireWorld) -> None:
    """The server has come to its senses: within two minutes there is a stream again."""
    world.spoil = lambda _: None
    for connection in world.peer.connections:
        connection.end(End.CLOSE)
    world.run_for(HOSTILE_SECONDS)
    code, health = world.healthz
    assert (code, health["eventsource"]["status"]) == (200, "connected"), health


def _check_calm(world: WireWorld) -> None:
    """No poll has failed, and neither polls nor attempts came too often."""
    assert not world.named("poll_failed")
    assert world.healthz[0] == 200
    attempts = sum("eventsource" in entry.path for entry in world.sandbox.log.entries)
    assert attempts <= HOSTILE_SECONDS
    assert world.polls <= HOSTILE_SECONDS / _POLL_SECONDS + 5, f"{world.polls} polls"
