"""What users of services like this one have complained of, as tests."""

import json
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.process import SECRET, Process, configuration, mailroom
from tests.sandbox import Entry, Request, Sandbox, serve

pytestmark = pytest.mark.sandbox

BOB = "Bob <bob@example.org>"


@pytest.fixture
def sandbox() -> Sandbox:
    found = Sandbox(password=SECRET)
    found.standard_account()
    return found


@pytest.fixture
def url(sandbox: Sandbox) -> Iterator[str]:
    with serve(sandbox) as running:
        yield running.url


@pytest.mark.parametrize("moment", ["connecting", "polling", "idle"])
def test_control_c_stops_at_once(moment: str, sandbox: Sandbox, url: str, tmp_path: Path) -> None:
    """Complaint: It took half a minute, so I killed it."""
    reached = threading.Event()

    def hold(entry: Entry, _request: Request) -> None:
        if moment == ("polling" if "Email/query" in entry.calls else "connecting"):
            sandbox.controls.delay_seconds = 30.0
            reached.set()

    sandbox.before(hold)
    with Process(tmp_path, configuration(tmp_path, url)) as service:
        if moment == "idle":
            service.until_told("STATUS=push connected; last poll ")
        else:
            service.until(reached.is_set)
        code, seconds = service.stop(signal.SIGINT)
    assert code == 0
    assert seconds < 5.0  # what it could wait for takes 30 s


def test_one_poll_can_be_told_from_the_next_and_what_caused_it(
    sandbox: Sandbox, url: str, tmp_path: Path
) -> None:
    """Complaint: I could not see whether push works at all."""
    mail = sandbox.deliver(BOB)
    with Process(tmp_path, configuration(tmp_path, url)) as service:
        service.until_told("STATUS=push connected; last poll ")
        before = service.ask("/healthz")[1]
        sandbox.label(mail, "@ToFeed")
        service.until(lambda: bool(service.ask("/status")[1]["recent_triages"]))
        after = service.ask("/healthz")[1]
        assert (before["last_poll_trigger"], after["last_poll_trigger"]) == ("startup", "push")
        assert after["poll_count"] == before["poll_count"] + 1
        assert service.stop()[0] == 0


def test_the_configuration_shows_how_often_it_polls(url: str, tmp_path: Path) -> None:
    """Complaint: The documents said one thing, the program did another."""
    shown = mailroom(tmp_path, "config", "--config", str(configuration(tmp_path, url)))
    assert shown.returncode == 0
    assert "debounce_seconds: 3\n" in shown.stdout
    assert "poll_interval: 60\n" in shown.stdout
    assert yaml.safe_load(shown.stdout)["polling"]["quiet_seconds"] == 0.25
    assert SECRET not in shown.stdout + shown.stderr


def test_a_sweep_of_10_000_mails_holds_nobody_up(
    sandbox: Sandbox, url: str, tmp_path: Path
) -> None:
    """Complaint: The health check failed because it was busy."""
    mails = [sandbox.deliver(BOB) for _ in range(10_000)]
    with Process(tmp_path, configuration(tmp_path, url), {"WATCHDOG_USEC": "100000"}) as service:
        service.until_told("STATUS=push connected; last poll ")
        service.hear()
        fed = service.messages.count("WATCHDOG=1")
        sandbox.label(mails[0], "@ToFeed")
        began = service.processor_seconds
        waits: list[float] = []
        while sandbox.mails_in("@ToFeed"):  # a poll that was on its way already is not the sweep
            asked = service.processor_seconds
            assert service.ask("/healthz")[0] == 200
            waits.append(service.processor_seconds - asked)
            service.hear()
        seconds = service.processor_seconds - began
        service.hear()
        feeds = service.messages.count("WATCHDOG=1") - fed
        _tell(len(waits), max(waits), feeds, seconds)
        assert sandbox.mails_in("Feed") == set(mails)
        assert len(waits) >= 5
        assert max(waits) < 1.0
        # Every 50 ms; one that was late by a little is followed by one 50 ms later.
        assert feeds >= seconds / 0.05 / 4
        assert service.stop()[0] == 0


def _tell(answers: int, longest: float, feeds: int, seconds: float) -> None:
    figures = {"answers": answers, "longest_ms": round(longest * 1000), "feeds": feeds}
    sys.stdout.write(json.dumps(figures | {"sweep_seconds": round(seconds, 2)}) + "\n")
