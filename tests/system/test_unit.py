"""The units under a real systemd, without any mail server: what the administrator gets."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.system.host import Host
from tests.system.unit import SERVICE, SOCKET, Unit

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

# Nothing listens there: the service is up and backs off.
CONFIGURATION = "jmap:\n  url: http://127.0.0.1:9\n  username: alice\n"


@pytest.fixture(scope="module")
def installed(tree: Path) -> Iterator[Unit]:
    with Host.boot(tree) as host:
        yield Unit(host)


@pytest.fixture
def unit(installed: Unit) -> Iterator[Unit]:
    """Configured, with a secret, as shipped, and not running."""
    installed.configure(CONFIGURATION)
    installed.give_secret("jmap-password", "secret")
    yield installed
    installed.host.run("systemctl", "stop", "mailroom.socket", SERVICE)
    made = ("/etc/credstore", "/etc/credstore.encrypted", f"/etc/systemd/system/{SERVICE}.d")
    installed.host.run("rm", "-rf", *made)
    installed.host.run("systemctl", "daemon-reload")


@pytest.fixture
def running(unit: Unit) -> Unit:
    unit.systemctl("start")
    return unit


def test_systemd_finds_nothing_wrong_with_the_units(installed: Unit) -> None:
    files = [f"/etc/systemd/system/{name}" for name in (SERVICE, "mailroom.socket")]
    found = installed.host.run("systemd-analyze", "verify", "--man=no", *files)
    assert found.stdout + found.stderr == ""  # it exits 0 whatever it finds


def test_the_exposure_is_at_most_1_1(installed: Unit) -> None:
    installed.host.run("systemd-analyze", "security", "--threshold=11", SERVICE)


def test_unconfigured_it_is_not_started_and_not_failed(installed: Unit) -> None:
    installed.host.run("rm", "-f", "/etc/mailroom/mailroom.yaml")
    installed.systemctl("start")
    assert installed.show("ActiveState") == "inactive"
    assert installed.show("ConditionResult") == "no"
    assert installed.host.property("mailroom.socket", "ActiveState") == "inactive"


def test_it_is_up_without_a_network(running: Unit) -> None:
    assert running.show("ActiveState") == "active"
    status = running.await_status(lambda status: status["last_error"] is not None)
    assert status["poll_count"] == 0 or status["last_poll_at"] is None


def test_the_socket_is_for_its_group_alone(running: Unit) -> None:
    asking = ("curl", "--silent", "--unix-socket", SOCKET, "http://mailroom/healthz")
    host = running.host
    answer = host.run(
        "setpriv", "--reuid=nobody", "--regid=mailroom-status", "--clear-groups", *asking
    )
    assert json.loads(answer.stdout)["status"] == "ok"
    refused = host.run("runuser", "-u", "nobody", "--", *asking, check=False)
    assert refused.returncode == 7  # curl(1): failed to connect


@pytest.mark.parametrize("name", ["jmap-token", "jmap-password", "carddav-password"])
def test_a_secret_is_handed_over_and_the_others_may_be_missing(unit: Unit, name: str) -> None:
    unit.host.run("rm", "-rf", "/etc/credstore")
    unit.give_secret(name, "secret")
    unit.override(Type="exec", ExecStart="\nExecStart=sleep infinity")
    unit.systemctl("start")
    assert unit.host.run("ls", f"/run/credentials/{SERVICE}").stdout == f"{name}\n"


def test_an_encrypted_secret_comes_in_by_a_drop_in(unit: Unit) -> None:
    sealed = "/etc/credstore.encrypted/mailroom.jmap-token"
    unit.host.run("install", "-d", "-m", "700", "/etc/credstore.encrypted")
    unit.host.run("systemd-creds", "setup")
    unit.host.run("systemd-creds", "encrypt", "--name=jmap-token", "-", sealed, stdin="sealed")
    unit.override(LoadCredentialEncrypted=f"jmap-token:{sealed}")
    unit.systemctl("start")
    assert unit.host.read(f"/run/credentials/{SERVICE}/jmap-token") == "sealed"


def test_a_bad_configuration_stays_down_and_says_why(unit: Unit) -> None:
    unit.configure("jmap:\n  urll: http://127.0.0.1:9\n")
    unit.systemctl("start", check=False)
    assert unit.show("ActiveState") == "failed"
    assert (unit.show("ExecMainStatus"), unit.show("NRestarts")) == ("78", "0")
    [problem] = unit.events("config_refused")
    assert "urll" in problem["MESSAGE"]
    assert "urll" in unit.show("StatusText")


def test_reload_takes_a_good_configuration_and_refuses_a_bad_one(running: Unit) -> None:
    running.configure(CONFIGURATION + "polling:\n  poll_interval: 7\n")
    running.systemctl("reload")
    assert running.status()["poll_interval_seconds"] == 7
    running.configure("nonsense: true\n")
    running.systemctl("reload")
    assert running.status()["poll_interval_seconds"] == 7
    assert running.show("ActiveState") == "active"


def test_stop_is_at_once(running: Unit) -> None:
    running.await_status(lambda status: status["last_error"] is not None)
    assert running.systemctl("stop") < 0.5
    assert (running.show("Result"), running.show("ExecMainStatus")) == ("success", "0")


def test_a_killed_service_is_back_within_a_second_and_a_half(running: Unit) -> None:
    before = running.status()["pid"]
    begun = time.monotonic()
    running.host.run("systemctl", "kill", "--signal=KILL", SERVICE)
    assert running.status()["pid"] != before  # the question waited for the new one
    assert time.monotonic() - begun < 1.5
    assert running.show("NRestarts") == "1"


def test_a_service_that_stands_still_is_restarted_by_the_watchdog(unit: Unit) -> None:
    unit.override(WatchdogSec="2s")
    unit.systemctl("start")
    before = unit.show("MainPID")
    unit.host.run("kill", "-STOP", before)
    assert unit.status()["pid"] != int(before)
    journal = unit.host.journal(SERVICE)
    assert any("Watchdog timeout" in entry["MESSAGE"] for entry in journal)


def test_a_running_service_feeds_its_watchdog(unit: Unit) -> None:
    unit.override(WatchdogSec="1s")
    unit.systemctl("start")
    before = unit.show("MainPID")
    unit.await_status(lambda status: status["uptime_seconds"] > 2.5)
    assert unit.show("MainPID") == before


def test_every_question_is_answered_over_restarts(running: Unit) -> None:
    done = threading.Event()
    with ThreadPoolExecutor() as pool:
        answers = pool.submit(ask_until, done, running.host)
        for _ in range(5):
            running.systemctl("restart")
        done.set()
        answered = answers.result()
    assert len(answered) > 50
    assert set(answered) == {b"HTTP/1.1 "}


def ask_until(done: threading.Event, host: Host) -> list[bytes]:
    """Ask /healthz as often as possible; the first bytes of every answer."""
    path = f"/proc/{host.leader}/root{SOCKET}"
    answered = []
    while not done.is_set():
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(path)
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: mailroom\r\nConnection: close\r\n\r\n")
            answered.append(client.recv(9))
    return answered
