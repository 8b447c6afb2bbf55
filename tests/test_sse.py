"""The WHATWG rules for event streams, and that no cut into reads changes what is read."""

import itertools
import time
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailroom.errors import ProtocolError
from mailroom.wire.sse import MAX_DATA_BYTES, MAX_LINE_BYTES, Event, Parser, StreamError


def message(data: str, identity: str = "") -> Event:
    return Event("message", data, identity)


X, Y = message("x"), message("y")

# The rule, the stream, and the events that come of it.
EVENTS: list[tuple[str, bytes, list[Event]]] = [
    ("nothing", b"", []),
    ("one event", b"data: x\n\n", [X]),
    ("named event", b"event: state\ndata: x\n\n", [Event("state", "x", "")]),
    ("no space after the colon", b"data:x\n\n", [X]),
    ("one space goes, the second stays", b"data:  x \n\n", [message(" x ")]),
    ("a tab stays", b"data:\tx\n\n", [message("\tx")]),
    ("CR ends lines", b"data: x\r\rdata: y\r\r", [X, Y]),
    ("CRLF ends lines", b"data: x\r\n\r\ndata: y\r\n\r\n", [X, Y]),
    ("mixed ends", b"data: x\r\ndata: y\rdata: z\n\r\n", [message("x\ny\nz")]),
    ("CR CR LF is two line ends", b"data: x\r\r\ndata: y\n\n", [X, Y]),
    ("other separators are data", b"data: \x0b\x0c\x1e\n\n", [message("\x0b\x0c\x1e")]),
    ("Unicode line ends are data", "data: \x85\u2028\n\n".encode(), [message("\x85\u2028")]),
    ("several data lines", b"data: x\ndata\ndata: y\n\n", [message("x\n\ny")]),
    ("one empty data line is an event", b"data\n\n", [message("")]),
    ("two empty data lines", b"data\ndata:\n\n", [message("\n")]),
    ("no data, no event", b"event: state\n\ndata: x\n\n", [X]),
    ("the type does not last", b"event: a\ndata: x\n\ndata: y\n\n", [Event("a", "x", ""), Y]),
    ("the last type counts", b"event: a\nevent: b\ndata: x\n\n", [Event("b", "x", "")]),
    ("an empty type is message", b"event: a\nevent\ndata: x\n\n", [X]),
    ("comments", b": hello\n:\ndata: x\n: bye\n\n", [X]),
    ("only comments", b":ping\n\n:ping\n\n", []),
    ("unknown fields", b"datum: 1\nDATA: 2\n data: 3\ndata: x\n\n", [X]),
    ("a colon in the value", b"data: a: b\n\n", [message("a: b")]),
    ("an unfinished event is dropped", b"data: x\n\ndata: y\n", [X]),
    ("an unfinished line is dropped", b"data: x\n\ndata: y", [X]),
    ("a BOM is skipped", b"\xef\xbb\xbfdata: x\n\n", [X]),
    ("one BOM only", b"\xef\xbb\xbf\xef\xbb\xbfdata: x\n\ndata: y\n\n", [Y]),
    ("a BOM only at the start", b"\n\xef\xbb\xbfdata: x\ndata: y\n\n", [Y]),
    ("a BOM before an empty line", b"\xef\xbb\xbf\ndata: x\n\n", [X]),
    ("a BOM in a value stays", b"data: \xef\xbb\xbfx\n\n", [message("\ufeffx")]),
    ("UTF-8", "data: Åsa ✉\n\n".encode(), [message("Åsa ✉")]),
    ("invalid UTF-8 is replaced", b"data: \xff\xe2\x82\ndata: \xc3\n\n", [message("��\n�")]),
    ("NUL is data", b"data: a\0b\n\n", [message("a\0b")]),
    ("the id lasts", b"id: 1\ndata: x\n\ndata: y\n\n", [message("x", "1"), message("y", "1")]),
    ("an empty id resets", b"id: 1\ndata: x\n\nid\ndata: y\n\n", [message("x", "1"), Y]),
    (
        "what Cyrus sends",
        b'id: 12\r\nevent: state\r\ndata: {"changed":{"alice":{"Email":"12"}}}\r\n\r\n'
        b'event: ping\r\ndata: {"interval":3}\r\n\r\n',
        [
            Event("state", '{"changed":{"alice":{"Email":"12"}}}', "12"),
            Event("ping", '{"interval":3}', "12"),
        ],
    ),
]

# The rule, the stream, and what a reconnection sends as Last-Event-ID.
IDS: list[tuple[str, bytes, str]] = [
    ("no id", b"data: x\n\n", ""),
    ("an id", b"id: 1\ndata: x\n\n", "1"),
    ("the last one counts", b"id: 1\n\nid: 2\n\n", "2"),
    ("an empty id resets", b"id: 1\ndata: x\n\nid\n\n", ""),
    ("an id without data counts", b"id: 7\n\n", "7"),
    ("an id with NUL is ignored", b"id: 1\n\nid: 2\x003\ndata: x\n\n", "1"),
    ("the id of an unfinished event does not count", b"id: 1\n\nid: 2\ndata: y\n", "1"),
]

# The rule, the stream, and the reconnection time it asks for.
RETRIES: list[tuple[str, bytes, float | None]] = [
    ("no retry", b"data: x\n\n", None),
    ("milliseconds", b"retry: 2500\n", 2.5),
    ("zero", b"retry:0\n", 0.0),
    ("the last one counts", b"retry: 1000\nretry: 3000\n\n", 3.0),
    ("beyond every integer", b"retry: " + b"9" * 5000 + b"\n", float("inf")),
    ("not a number", b"retry: 1s\n", None),
    ("negative", b"retry: -1\n", None),
    ("a fraction", b"retry: 1.5\n", None),
    ("digits, but not ASCII", "retry: ١\n".encode(), None),
    ("empty", b"retry\nretry:\n", None),
    ("a second space", b"retry:  5\n", None),
]

Outcome = tuple[list[Event], str, float | None]


def read(*chunks: bytes) -> Outcome:
    parser = Parser()
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    return events, parser.last_event_id, parser.retry_seconds


def by_byte(stream: bytes) -> list[bytes]:
    return [stream[i : i + 1] for i in range(len(stream))]


@pytest.mark.parametrize(("rule", "stream", "events"), EVENTS)
def test_events(rule: str, stream: bytes, events: list[Event]) -> None:
    assert read(stream)[0] == events, rule


@pytest.mark.parametrize(("rule", "stream", "last_event_id"), IDS)
def test_last_event_id(rule: str, stream: bytes, last_event_id: str) -> None:
    assert read(stream)[1] == last_event_id, rule


@pytest.mark.parametrize(("rule", "stream", "seconds"), RETRIES)
def test_retry(rule: str, stream: bytes, seconds: float | None) -> None:
    assert read(stream)[2] == seconds, rule


@pytest.mark.parametrize("stream", [case[1] for case in (*EVENTS, *IDS, *RETRIES)])
def test_a_stream_reads_the_same_at_every_split(stream: bytes) -> None:
    whole = read(stream)
    assert read(*by_byte(stream)) == whole
    for cut in range(min(len(stream), 200)):
        assert read(stream[:cut], b"", stream[cut:]) == whole


@pytest.mark.parametrize("stream", [case[1] for case in EVENTS])
def test_what_follows_an_event_does_not_hold_it_back(stream: bytes) -> None:
    assert read(stream + b"unfinished")[0] == read(stream)[0]


def test_a_cr_dispatches_without_waiting_for_a_lf() -> None:
    parser = Parser()
    assert parser.feed(b"data: x\r\r") == [message("x")]
    assert parser.feed(b"\ndata: y\r\n\r") == [message("y")]
    assert parser.feed(b"\n") == []


def test_the_id_of_the_connection_before_holds_until_a_new_one() -> None:
    parser = Parser("41")
    assert parser.feed(b"data: x\n\n") == [message("x", "41")]
    assert parser.feed(b"id: 42\ndata: y\n\n") == [message("y", "42")]
    assert parser.last_event_id == "42"


def reference(stream: bytes) -> Outcome:
    """The standard's text, step by step, on a whole stream at once."""
    text = stream.decode("utf-8", "replace").removeprefix("\ufeff")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")[:-1]
    events, data, kind, identity, last, retry = [], "", "", "", "", None
    for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if line == "":
            last = identity
            if data:
                events.append(Event(kind or "message", data.removesuffix("\n"), last))
            data = kind = ""
        elif name == "data":
            data += value + "\n"
        elif name == "event":
            kind = value
        elif name == "id" and "\0" not in value:
            identity = value
        elif name == "retry" and value.isascii() and value.isdigit():
            retry = int(value) / 1000
    return events, last, retry


PIECES = st.sampled_from(
    [b"data", b"event", b"id", b"retry", b":", b" ", b"\r", b"\n", b"\r\n", b"\n\n", b"x", b"12",
     b"\0", b"\xef\xbb\xbf", b"\xc3", b"\xa9", b"\xff", b"state", b"data: x\n", b"id: 1\n"]
)  # fmt: skip


# Of loose pieces alone, chance makes hardly a line that says anything.
NAMES = [b"data", b"event", b"id", b"retry", b"x", b"", b"\xef\xbb\xbfdata"]
SEPARATORS = [b":", b": ", b":  ", b""]
CONTENTS = [b"x", b"", b"12", b"1\0", b"\xc3\xa9", b"\xff", b"\xd9\xa3", b"1.5", b":"]
ENDS = [b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n"]
LINES = st.tuples(*map(st.sampled_from, (NAMES, SEPARATORS, CONTENTS, ENDS))).map(b"".join)
#: Each line once, and an event after each: it shows what the line has changed.
EVERY = [
    b"".join((*line, b"\ndata: y\n\n")) for line in itertools.product(NAMES, SEPARATORS, CONTENTS)
]


@given(
    st.lists(LINES | PIECES | st.binary(max_size=3), max_size=40),
    st.lists(st.floats(0, 1)).map(sorted),
)
@example([b"\xef\xbb\xbf", *EVERY], [0.001, 0.5])
def test_any_bytes_in_any_cut_read_as_the_standard_says(
    pieces: list[bytes], cuts: list[float]
) -> None:
    stream = b"".join(pieces)
    edges = [0, *(int(cut * len(stream)) for cut in cuts), len(stream)]
    chunks = [stream[a:b] for a, b in itertools.pairwise(edges)]
    assert read(*chunks) == reference(stream)
    assert read(*by_byte(stream)) == reference(stream)


def test_a_line_of_the_greatest_length_passes_and_one_byte_more_does_not() -> None:
    comment = b":" * MAX_LINE_BYTES
    assert read(comment + b"\ndata: x\n\n")[0] == [message("x")]
    with pytest.raises(StreamError, match=r"a line of more than 1048576 bytes"):
        read(comment, b":")
    with pytest.raises(ProtocolError):
        read(b"data: x\n" + comment + b":\n")


def test_two_lines_of_half_the_bound_are_too_much_together() -> None:
    half = b"data:" + b"x" * (MAX_DATA_BYTES // 2) + b"\n"
    parser = Parser()
    parser.feed(half)
    with pytest.raises(StreamError, match="an event of more than"):
        parser.feed(half)


@pytest.mark.parametrize(
    ("line", "bytes_each"),
    [(b"data: " + b"x" * 1023 + b"\n", 1024), (b"data: " + b"x" * 31 + b"\n", 32)],
)
def test_the_data_of_one_event_is_bounded(line: bytes, bytes_each: int) -> None:
    most = MAX_DATA_BYTES // bytes_each
    assert len(read(line * most + b"\n")[0][0].data) == most * bytes_each - 1
    with pytest.raises(StreamError, match=r"an event of more than 1048576 bytes"):
        read(line * most + b"data\n")


def fill(parser: Parser, chunk: bytes, total_bytes: int) -> int:
    """Feed ``chunk`` over and over; the bytes that were taken before the parser refused."""
    for taken in range(0, total_bytes, len(chunk)):
        try:
            parser.feed(chunk)
        except StreamError:
            return taken
    return total_bytes


@pytest.mark.parametrize("chunk_bytes", [64, 16384, 10 << 20])
def test_ten_mebibytes_without_a_newline_end_the_stream_in_bounded_memory(chunk_bytes: int) -> None:
    parser, chunk = Parser(), b"x" * chunk_bytes
    tracemalloc.start()
    taken = fill(parser, chunk, 10 << 20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken <= MAX_LINE_BYTES
    assert peak < 2 * chunk_bytes + (5 << 20)


def test_an_endless_stream_of_comments_and_unnamed_fields_is_held_in_bounded_memory() -> None:
    parser, chunk = Parser(), b": ping\nfoo: bar\nid: 1\n\nevent: x\n" * 100
    parser.feed(chunk)
    tracemalloc.start()
    taken = fill(parser, chunk, 256 << 10)
    current, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken >= 256 << 10
    assert current < 64 << 10


def test_reading_byte_by_byte_takes_time_in_proportion() -> None:
    def seconds(length: int) -> float:
        parser = Parser()
        begin = time.process_time()
        for _ in range(length):
            parser.feed(b"x")
        return time.process_time() - begin

    # The least of three: what else the machine does at that moment only adds to it.
    short, long = (min(seconds(length) for _ in range(3)) for length in (20_000, 160_000))
    assert long < 8 * short * 4
