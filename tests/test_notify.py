"""The datagrams that systemd receives, read from a real notify socket."""

import contextlib
import os
import re
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings

from mailroom.engine.loop import Loop
from mailroom.engine.notify import Notify, Watchdog, watchdog_interval
from tests.hostile import EVERY, texts
from tests.virtual import VirtualClock


class Systemd:
    """The other end of ``$NOTIFY_SOCKET``."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.setblocking(False)

    def heard(self) -> list[bytes]:
        messages = []
        try:
            while True:
                messages.append(self._socket.recv(1 << 16))
        except BlockingIOError:
            return messages

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def systemd(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Systemd]:
    if request.param == "path":
        address = variable = str(tmp_path / "notify")
    else:
        name = f"mailroom-test-{os.getpid()}-{tmp_path.name}"
        address, variable = f"\0{name}", f"@{name}"
    monkeypatch.setenv("NOTIFY_SOCKET", variable)
    listening = Systemd(address)
    yield listening
    listening.close()


@pytest.fixture
def notify(systemd: Systemd) -> Iterator[Notify]:
    """Depends on systemd being there first."""
    assert systemd.heard() == []
    notifying = Notify()
    yield notifying
    notifying.close()


def test_every_message_is_one_datagram(systemd: Systemd, notify: Notify) -> None:
    notify.ready()
    notify.status("push connected")
    notify.watchdog()
    notify.stopping()
    assert systemd.heard() == [b"READY=1", b"STATUS=push connected", b"WATCHDOG=1", b"STOPPING=1"]


def test_a_reload_carries_its_instant_in_the_same_datagram(
    systemd: Systemd, notify: Notify
) -> None:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notify.reloading()
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    (message,) = systemd.heard()
    found = re.fullmatch(rb"RELOADING=1\nMONOTONIC_USEC=(\d+)", message)
    assert found is not None
    assert before <= int(found[1]) <= after


def test_a_status_line_is_sent_when_it_differs_from_the_last(
    systemd: Systemd, notify: Notify
) -> None:
    for line in ("idle", "idle", "busy", "busy", "idle"):
        notify.status(line)
    assert systemd.heard() == [b"STATUS=idle", b"STATUS=busy", b"STATUS=idle"]


@given(texts.filter(bool))
@example(EVERY)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_no_line_is_lost_or_becomes_an_assignment(
    systemd: Systemd, notify: Notify, text: str
) -> None:
    notify.status("")
    notify.status(text)
    before, heard = systemd.heard()
    assert before == b"STATUS="
    assert heard.startswith(b"STATUS=")
    assert len(heard) >= len(b"STATUS=") + len(text)
    assert b"\n" not in heard
    assert heard.isascii()


@pytest.mark.parametrize("variable", [None, ""])
def test_without_a_socket_nothing_happens(
    monkeypatch: pytest.MonkeyPatch, variable: str | None
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if variable is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", variable)
    notify = Notify()
    notify.ready()
    notify.status("idle")
    notify.close()


def test_a_systemd_that_is_gone_disturbs_nobody(systemd: Systemd, notify: Notify) -> None:
    systemd.close()
    notify.ready()
    notify.watchdog()


def _waits() -> int:
    """How often this thread has waited for something: unlike the time, it does not depend on what
    else the machine does."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw


def test_a_systemd_that_does_not_listen_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    systemd, notify = Systemd(str(tmp_path / "notify")), Notify()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as others:
        others.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                others.sendto(b"WATCHDOG=1", str(tmp_path / "notify"))
        waits = _waits()
        notify.status("idle")
        was_behind = notify.is_behind
        assert was_behind
        assert _waits() == waits
        notify.ready()
        assert _waits() > waits
        waits = _waits()
        notify.stopping()
        notify.status("stopping")
        assert _waits() == waits
    assert set(systemd.heard()) == {b"WATCHDOG=1"}
    notify.status("stopping")
    assert systemd.heard() == [b"STATUS=stopping"], "what was not taken is said again"
    assert not notify.is_behind
    notify.close()
    systemd.close()


def test_a_systemd_that_was_not_listening_hears_later_that_the_service_is_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise it would end the service when the time for its start is over."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    systemd, notify = Systemd(str(tmp_path / "notify")), Notify()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as others:
        others.setblocking(False)
        notify.status("idle")
        with contextlib.suppress(BlockingIOError):
            while True:
                others.sendto(b"WATCHDOG=1", str(tmp_path / "notify"))
        notify.ready()
        notify.status("idle")
        assert notify.is_behind
    assert b"READY=1" not in systemd.heard()
    notify.status("idle")
    notify.status("idle")
    assert systemd.heard() == [b"READY=1\nSTATUS=idle"]
    notify.close()
    systemd.close()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # sdnotify lets go of its socket
def test_an_address_where_nobody_is_disturbs_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    notify = Notify()
    notify.ready()
    notify.close()


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "180000000"}, 90.0),
        ({"WATCHDOG_USEC": "180000000", "WATCHDOG_PID": "42"}, 90.0),
        ({"WATCHDOG_USEC": "180000000", "WATCHDOG_PID": "41"}, None),
        ({"WATCHDOG_PID": "42"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
    ],
)
def test_the_watchdog_is_fed_at_half_its_time_if_it_watches_us(
    environ: dict[str, str], seconds: float | None
) -> None:
    assert watchdog_interval(environ, 42) == seconds


def test_the_loop_feeds_by_a_deadline(systemd: Systemd, notify: Notify) -> None:
    clock = VirtualClock()
    loop = Loop(clock)
    begin = clock.now()
    watchdog = Watchdog(loop, notify, 90.0)
    heard = systemd.heard()
    while clock.now() < begin + 3600:
        loop.turn()
        heard += systemd.heard()
    assert heard == [b"WATCHDOG=1"] * 41
    watchdog.stop()
    loop.call_at(clock.now() + 3600, lambda: None)
    loop.turn()
    assert systemd.heard() == []
    loop.close()


def test_a_loop_that_is_awake_anyhow_need_not_be_woken_up_to_feed(
    systemd: Systemd, notify: Notify
) -> None:
    clock = VirtualClock()
    loop = Loop(clock)
    begin = clock.now()
    Watchdog(loop, notify, 90.0)
    instants = [begin + 61.0 * number for number in range(1, 11)]
    for instant in instants:
        loop.call_at(instant - 30.5, lambda: None)
        loop.call_at(instant, lambda: None)
    woken = []
    while clock.now() < instants[-1]:
        loop.turn()
        woken.append(clock.now())
    assert len(woken) == 20, "for the callbacks alone"
    assert systemd.heard() == [b"WATCHDOG=1"] * 10, "the loop has yet to rest after the last"
    loop.close()


def test_a_resume_feeds_at_once_and_counts_anew(systemd: Systemd, notify: Notify) -> None:
    clock = VirtualClock()
    loop = Loop(clock)
    watchdog = Watchdog(loop, notify, 90.0)
    clock.advance(80)
    watchdog.feed()
    resumed = clock.now()
    assert systemd.heard() == [b"WATCHDOG=1"] * 2
    loop.turn()
    assert clock.now() == resumed + 90
    assert systemd.heard() == [b"WATCHDOG=1"]
    clock.advance(8 * 3600)
    loop.turn()
    assert systemd.heard() == [b"WATCHDOG=1"]
    loop.close()
