"""What is logged, where it goes, and that hostile mail cannot write the log."""

import contextlib
import json
import os
import re
import select
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailroom.engine.journal import (
    MESSAGE_IDS,
    Fields,
    JournalSink,
    Level,
    LineSink,
    Log,
    choose_sink,
    is_journal,
    json_line,
    text_line,
)
from tests.hostile import EVERY, texts


class Collected:
    """A sink that remembers, and that can be told to lose what comes."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, dict[str, object]]] = []
        self.is_broken = False

    def __call__(self, level: Level, event: str, fields: Fields) -> bool:
        if not self.is_broken:
            self.seen.append((level.name, event, dict(fields)))
        return not self.is_broken


def log_all(log: Log) -> None:
    log.debug("d")
    log.info("i")
    log.warning("w")
    log.error("e")


@pytest.mark.parametrize(
    ("threshold", "events"),
    [(Level.DEBUG, "diwe"), (Level.INFO, "iwe"), (Level.WARNING, "we"), (Level.ERROR, "e")],
)
def test_the_threshold_decides_what_is_told(threshold: Level, events: str) -> None:
    sink = Collected()
    log_all(Log(sink, threshold))
    assert [event for _level, event, _fields in sink.seen] == list(events)


def test_fields_without_a_value_are_left_out() -> None:
    sink = Collected()
    Log(sink).info("poll_failed", retry_after=None, senders=0)
    assert sink.seen == [("INFO", "poll_failed", {"senders": 0})]


def test_lost_lines_are_counted_and_told_when_writing_works_again() -> None:
    sink = Collected()
    log = Log(sink)
    sink.is_broken = True
    log_all(log)
    sink.is_broken = False
    log.info("i")
    log.info("i")
    assert sink.seen == [
        ("WARNING", "log_lines_lost", {"count": 3}),
        ("INFO", "i", {}),
        ("INFO", "i", {}),
    ]


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({}, "happened"),
        (
            {"trigger": "push", "senders": 1, "filed": 21, "requests": 6, "seconds": 0.3141},
            "happened trigger=push senders=1 filed=21 requests=6 seconds=0.314",
        ),
        ({"seconds": 2.0, "bytes": 123456789.0}, "happened seconds=2 bytes=123456789"),
        ({"dry": True, "wet": False}, "happened dry=true wet=false"),
        ({"category": "Paper Trail"}, 'happened category="Paper Trail"'),
        ({"missing": ["@ToFeed", "Feed"]}, 'happened missing="@ToFeed, Feed"'),
        ({"reason": ""}, 'happened reason=""'),
        ({"reason": 'a="b\\c"'}, r'happened reason="a=\"b\\c\""'),
        (
            {"name": "Bob\nshutdown_signal_received"},
            r'happened name="Bob\nshutdown_signal_received"',
        ),
        ({"name": "\x1b[2J\x9b2J\x7f"}, r'happened name="\x1b[2J\x9b2J\x7f"'),
        ({"name": "\u202egnp.exe\u2066\u200b"}, r'happened name="\u202egnp.exe\u2066\u200b"'),
        ({"name": "a\u2028b\u0085c"}, r'happened name="a\u2028b\x85c"'),
        ({"name": "\ud800"}, r'happened name="\ud800"'),
        ({"name": "Büro Ærø 📬"}, 'happened name="Büro Ærø 📬"'),
        ({"reason": ValueError("no such card")}, 'happened reason="no such card"'),
        ({"reason": TimeoutError()}, "happened reason=TimeoutError"),
    ],
)
def test_a_line_is_readable_and_cannot_be_forged(fields: dict[str, Any], line: str) -> None:
    assert text_line(Level.INFO, "happened", fields) == line


def test_a_line_that_is_worth_attention_says_so() -> None:
    assert text_line(Level.DEBUG, "e", {"a": 1}) == "e a=1"
    assert text_line(Level.WARNING, "e", {"a": 1}) == "e a=1 level=warning"
    assert text_line(Level.ERROR, "e", {}) == "e level=error"


VALUES = texts | st.floats(allow_nan=False, allow_infinity=False) | st.integers()


@given(VALUES, VALUES)
@example(EVERY, "\\")
@example("a b", 'a"b')
def test_every_line_is_one_printable_line_of_the_same_words(one: object, two: object) -> None:
    line = text_line(Level.INFO, "e", {"one": one, "two": two})
    assert line.isprintable()
    line.encode("utf-8")
    word = r'(?:[^ "]+|"(?:[^"\\]|\\.)*")'
    assert re.fullmatch(rf"e one={word} two={word}", line)


@given(VALUES)
@example(EVERY)
@example(1.0004)
def test_every_json_line_is_one_object_in_ascii(value: object) -> None:
    line = json_line(Level.INFO, "e", {"value": value}, 1.0)
    assert line.isascii()
    assert line.isprintable()
    told = json.loads(line)["value"]
    assert told == (pytest.approx(value, abs=1e-3) if isinstance(value, float) else value)


def test_a_json_line_keeps_numbers_and_tells_the_time() -> None:
    fields = {"senders": 1, "seconds": 0.31415, "dry": True, "missing": ("a", "b")}
    assert json.loads(json_line(Level.WARNING, "e", fields, 1795262400.12345)) == {
        "time": 1795262400.123,
        "level": "warning",
        "event": "e",
        "senders": 1,
        "seconds": 0.314,
        "dry": True,
        "missing": "a, b",
    }


def test_of_a_huge_value_beginning_and_end_are_told() -> None:
    line = text_line(Level.INFO, "e", {"name": "<" + "x" * 100_000 + ">"})
    assert line.startswith('e name="<xxx')
    assert " ... xxx" in line
    assert line.endswith('x>"')
    assert len(line) < 10_000


class Journald:
    """The other end of the journal's socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)

    def entry(self) -> dict[str, str]:
        """The next datagram, parsed as the Native Journal Protocol says."""
        data = self._socket.recv(1 << 20)
        entry = {}
        while data:
            line, _, data = data.partition(b"\n")
            name, equals, value = line.partition(b"=")
            if not equals:
                (length,) = struct.unpack("<Q", data[:8])
                value, data = data[8 : 8 + length], data[8 + length :]
                assert data[:1] == b"\n"
                data = data[1:]
            assert re.fullmatch(rb"[A-Z][A-Z0-9_]{0,63}", name)
            assert name.decode() not in entry
            entry[name.decode()] = value.decode()
        return entry

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[Journald]:
    listening = Journald(tmp_path / "journal")
    yield listening
    listening.close()


@pytest.fixture
def sink(journald: Journald) -> Iterator[JournalSink]:
    sending = JournalSink(str(journald.path))
    yield sending
    sending.close()


def test_an_entry_has_a_message_and_a_field_for_each_value(
    journald: Journald, sink: JournalSink
) -> None:
    Log(sink).info(
        "sender_triaged", sender="bob@example.org", category="Paper Trail", filed=21, trigger="push"
    )
    assert journald.entry() == {
        "MESSAGE": "sender_triaged sender=bob@example.org"
        ' category="Paper Trail" filed=21 trigger=push',
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "mailroom",
        "MAILROOM_EVENT": "sender_triaged",
        "MAILROOM_SENDER": "bob@example.org",
        "MAILROOM_CATEGORY": "Paper Trail",
        "MAILROOM_FILED": "21",
        "MAILROOM_TRIGGER": "push",
    }


@pytest.mark.parametrize("event", MESSAGE_IDS)
def test_what_an_administrator_can_look_up_has_its_id(
    journald: Journald, sink: JournalSink, event: str
) -> None:
    Log(sink).error(event)
    entry = journald.entry()
    assert entry["MESSAGE_ID"] == MESSAGE_IDS[event]
    assert entry["PRIORITY"] == "3"


def test_the_ids_are_128_bits_and_differ() -> None:
    assert all(re.fullmatch("[0-9a-f]{32}", message_id) for message_id in MESSAGE_IDS.values())
    assert len(set(MESSAGE_IDS.values())) == len(MESSAGE_IDS)


def test_a_value_of_several_lines_stays_one_field(journald: Journald, sink: JournalSink) -> None:
    Log(sink).error("bug", traceback="line 1\nPRIORITY=0\n", name="\x1b[2J\u202e")
    entry = journald.entry()
    assert entry["MAILROOM_TRACEBACK"] == "line 1\nPRIORITY=0\n"
    assert entry["MAILROOM_NAME"] == r"\x1b[2J\u202e"
    assert entry["PRIORITY"] == "3"
    assert "\n" not in entry["MESSAGE"]


@given(value=texts)
@example(value=EVERY)
def test_no_value_becomes_another_field(
    value: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    journald = Journald(tmp_path_factory.mktemp("journal") / "socket")
    sink = JournalSink(str(journald.path))
    assert sink(Level.INFO, "e", {"value": value})
    assert set(journald.entry()) == {
        "MESSAGE",
        "PRIORITY",
        "SYSLOG_IDENTIFIER",
        "MAILROOM_EVENT",
        "MAILROOM_VALUE",
    }
    sink.close()
    journald.close()


def test_an_entry_too_large_for_a_datagram_is_sent_without_its_fields(
    journald: Journald, sink: JournalSink
) -> None:
    Log(sink).error("sender_failed", **{f"f{number}": "x" * 8000 for number in range(100)})
    entry = journald.entry()
    assert entry["MAILROOM_EVENT"] == "sender_failed"
    assert entry["MESSAGE"].startswith("sender_failed f0=xxx")
    assert "MAILROOM_F0" not in entry


def test_a_journal_that_is_not_there_loses_lines_and_nothing_else(tmp_path: Path) -> None:
    sink = JournalSink(str(tmp_path / "nobody"))
    assert not sink(Level.INFO, "e", {})
    journald = Journald(tmp_path / "nobody")
    assert sink(Level.INFO, "e", {})
    assert journald.entry()["MAILROOM_EVENT"] == "e"
    journald.close()
    sink.close()


def test_a_journal_that_does_not_read_holds_nobody_up(
    journald: Journald, sink: JournalSink
) -> None:
    while sink(Level.INFO, "e", {}):
        pass
    assert journald.entry()["MAILROOM_EVENT"] == "e"
    assert sink(Level.INFO, "e", {})


class Pipe:
    """A stderr with nobody in a hurry to read it."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()

    def read(self) -> bytes:
        return os.read(self.reader, 1 << 20)

    def close(self) -> None:
        os.close(self.reader)
        os.close(self.writer)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    ends = Pipe()
    yield ends
    ends.close()


def test_events_are_lines_on_stderr(pipe: Pipe) -> None:
    log = Log(LineSink(pipe.writer, text_line))
    log.info("poll_completed", trigger="push", senders=1)
    log.error("poll_failed", reason="no network")
    assert pipe.read().decode() == (
        'poll_completed trigger=push senders=1\npoll_failed reason="no network" level=error\n'
    )


def test_a_reader_that_does_not_read_holds_nobody_up(pipe: Pipe) -> None:
    log = Log(LineSink(pipe.writer, text_line))
    for number in range(100):
        # Of different lengths, so that the pipe is full in the middle of one.
        log.info("e", number=number, text="x" * (5000 if number else 1))
    first = pipe.read().decode()
    log.info("e", number=100)
    *whole, cut, lost, last, end = (first + pipe.read().decode()).split("\n")
    assert [line.split()[1] for line in whole] == [f"number={n}" for n in range(len(whole))]
    assert cut.startswith(f"e number={len(whole)} text=xxx")
    assert lost == f"log_lines_lost count={100 - len(whole)} level=warning"
    assert (last, end) == ("e number=100", "")


def test_a_terminal_that_nobody_reads_holds_nobody_up() -> None:
    """The kernel carries bytes from one end to the other when it comes to that: what was written
    cannot be read at once, and what was read leaves no room at once."""
    screen, terminal = os.openpty()
    os.set_blocking(screen, False)
    log = Log(LineSink(terminal, text_line))
    for number in range(100):
        log.info("e", number=number, text="x" * 5000)
    something = select.poll()
    something.register(screen, select.POLLIN)
    something.register(terminal, select.POLLOUT)
    shown = b""
    # The first of the two lines may find room for its beginning, and the other for the whole.
    told = re.compile(rb"\r\nlog_lines_lost count=[0-9]+ level.*\r\ne number=100\r\n", re.DOTALL)
    while not told.search(shown):
        log.info("e", number=100)
        something.poll()
        with contextlib.suppress(BlockingIOError):
            shown += os.read(screen, 1 << 20)
    assert shown.startswith(b"e number=0 text=xxx")
    assert os.get_blocking(terminal)
    os.close(screen)
    os.close(terminal)


def test_a_stderr_that_is_gone_disturbs_nobody() -> None:
    reader, writer = os.pipe()
    sink = LineSink(writer, text_line)
    os.close(reader)
    assert not sink(Level.INFO, "e", {})
    os.close(writer)
    assert not sink(Level.INFO, "e", {})


def stream_of(fd: int) -> dict[str, str]:
    stat = os.fstat(fd)
    return {"JOURNAL_STREAM": f"{stat.st_dev}:{stat.st_ino}"}


def test_stderr_is_the_journal_when_it_is_the_stream_that_the_variable_names(pipe: Pipe) -> None:
    assert is_journal(stream_of(pipe.writer), pipe.writer)
    other = Pipe()
    assert not is_journal(stream_of(pipe.writer), other.writer)
    other.close()
    for variable in ("", ":", "8:1", "stderr"):
        assert not is_journal({"JOURNAL_STREAM": variable}, pipe.writer)
    assert not is_journal({}, pipe.writer)
    assert not is_journal({"JOURNAL_STREAM": "8:1"}, 987)


def test_the_journal_is_chosen_before_any_form_of_lines(pipe: Pipe) -> None:
    chosen = choose_sink(stream_of(pipe.writer), "json", pipe.writer)
    assert isinstance(chosen, JournalSink)
    chosen.close()


def test_the_form_of_the_lines_is_chosen_elsewhere(pipe: Pipe) -> None:
    Log(choose_sink({}, "text", pipe.writer)).info("e", a=1)
    assert pipe.read() == b"e a=1\n"
    Log(choose_sink({}, "json", pipe.writer, lambda: 7.0)).info("e", a=1)
    assert json.loads(pipe.read()) == {"time": 7.0, "level": "info", "event": "e", "a": 1}
