"""The units under a real systemd, without any mail server: what the administrator gets.

On the oldest and the newest systemd that Mailroom works on.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.claims import Claims
from tests.system.host import Host
from tests.system.names import name_server
from tests.system.unit import CONTROL, SERVICE, SOCKET, SOCKETS, Unit

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

# Nothing listens there: the service is up and backs off.
CONFIGURATION = "jmap:\n  url: http://127.0.0.1:9\n  username: alice\n"


@pytest.fixture(scope="module")
def installed(each_tree: Path) -> Iterator[Unit]:
    with Host.boot(each_tree) as host:
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
    files = [f"/etc/systemd/system/{name}" for name in (SERVICE, *SOCKETS)]
    found = installed.host.run("systemd-analyze", "verify", "--man=no", *files)
    # It exits 0 whatever it finds. Of what only the newer one knows, the older says it ignores it.
    said = [line.split(": ", 1)[1] for line in (found.stdout + found.stderr).splitlines()]
    newer = ["Failed to parse boolean value, ignoring: identity"]
    assert said == (newer if installed.release == "bookworm" else [])


def test_the_exposure_is_at_most_1_1(installed: Unit, claims: Claims) -> None:
    said = installed.host.run("systemd-analyze", "security", SERVICE).stdout
    exposure = float(said.rsplit("level for mailroom.service: ", 1)[1].split()[0])
    claims.at_most(1.1, exposure, installed.release, "exposure")


def test_unconfigured_it_is_not_started_and_not_failed(installed: Unit) -> None:
    installed.host.run("rm", "-f", "/etc/mailroom/mailroom.yaml")
    installed.systemctl("start")
    assert installed.show("ActiveState") == "inactive"
    assert installed.show("ConditionResult") == "no"
    assert [installed.host.property(each, "ActiveState") for each in SOCKETS] == ["inactive"] * 2


def test_it_is_up_without_a_network(running: Unit) -> None:
    assert running.show("ActiveState") == "active"
    status = running.await_status(lambda status: status["last_error"] is not None)
    assert status["poll_count"] == 0 or status["last_poll_at"] is None


GROUPS = {SOCKET: "mailroom-status", CONTROL: "mailroom-control"}


@pytest.mark.parametrize("path", GROUPS)
def test_a_socket_is_for_its_group_alone(running: Unit, path: str) -> None:
    asking = ("curl", "--silent", "--unix-socket", path, "http://mailroom/healthz")
    for group in ("nogroup", *GROUPS.values()):
        become = ("setpriv", "--reuid=nobody", f"--regid={group}", "--clear-groups")
        told = running.host.run(*become, *asking, check=False)
        if group == GROUPS[path]:
            assert json.loads(told.stdout)["status"] == "ok"
        else:
            assert told.returncode == 7  # curl(1): failed to connect


def test_whoever_wants_no_decisions_masks_the_control_socket(unit: Unit) -> None:
    file = f"/etc/systemd/system/{SOCKETS[1]}"
    shipped = unit.host.read(file)
    unit.host.run(
        "ln", "--symbolic", "--force", "/dev/null", file
    )  # systemctl mask, of a package's
    unit.host.run("systemctl", "daemon-reload")
    unit.systemctl("start")
    assert unit.status()["phase"]
    assert unit.host.run("ls", "/run/mailroom").stdout == "status.sock\n"
    unit.host.run("rm", file)
    unit.host.write(file, shipped)


def test_a_question_on_either_socket_starts_it_and_one_word_keeps_it_down(running: Unit) -> None:
    host = running.host
    for path in GROUPS:
        host.run("systemctl", "stop", SERVICE)
        curl = ("curl", "--silent", "--unix-socket", path, "http://mailroom/status")
        assert json.loads(host.run(*curl).stdout)["phase"]
    host.run("systemctl", "stop", "mailroom.socket", SERVICE)
    assert [host.property(each, "ActiveState") for each in SOCKETS] == ["inactive"] * 2
    assert host.run("ls", "/run/mailroom").stdout == ""


@pytest.mark.parametrize("name", ["jmap-token", "jmap-password", "carddav-password"])
def test_a_secret_is_handed_over_and_the_others_may_be_missing(unit: Unit, name: str) -> None:
    unit.host.run("rm", "-rf", "/etc/credstore")
    unit.give_secret(name, "secret")
    unit.override(Type="exec", ExecStart="\nExecStart=sleep infinity")
    unit.systemctl("start")
    assert unit.host.run("ls", f"/run/credentials/{SERVICE}").stdout == f"{name}\n"


def test_an_encrypted_secret_comes_in_without_a_drop_in(unit: Unit) -> None:
    sealed = "/etc/credstore.encrypted/mailroom.jmap-token.encrypted"
    unit.host.run("install", "-d", "-m", "700", "/etc/credstore.encrypted")
    command = ("systemd-creds", "encrypt", "--with-key=host", "--name=jmap-token.encrypted")
    unit.host.run(*command, "-", sealed, stdin="sealed")
    unit.systemctl("start")
    assert unit.host.read(f"/run/credentials/{SERVICE}/jmap-token.encrypted") == "sealed"
    assert unit.show("ActiveState") == "active"


REFUSED = {
    "78": "config refused: /etc/mailroom/mailroom.yaml:2: jmap.urll",
    "243": "status=243/CREDENTIALS",
}


@pytest.mark.parametrize("code", REFUSED)
def test_what_trying_again_does_not_mend_stays_down_however_often_it_is_asked(
    running: Unit, claims: Claims, code: str
) -> None:
    starts = len(running.host.journal(SERVICE))
    with running.asked_on_and_on() as answers:
        if code == "78":
            running.configure("jmap:\n  urll: http://127.0.0.1:9\n")
        else:
            running.override(LoadCredential="jmap-token:/no/such/file")
        running.systemctl("restart", check=False)
        running.await_property("ActiveState", "failed")
        asked = len(answers)
        while len(answers) < asked + 100:  # all in vain, and none has woken it
            assert running.show("ActiveState") == "failed"
    assert [running.host.property(each, "ActiveState") for each in SOCKETS] == ["inactive"] * 2
    assert running.show("ExecMainStatus") == code
    assert REFUSED[code] in running.host.run("systemctl", "status", SERVICE, check=False).stdout
    said = [entry["MESSAGE"] for entry in running.host.journal(SERVICE)[starts:]]
    # The start has failed, it was not cancelled by the socket's going: so says systemctl as well.
    assert any(message.startswith("Failed to start ") for message in said)
    begun = [message for message in said if message.startswith("Starting ")]
    claims.at_most(1, len(begun), running.release, f"exit {code}, asked on and on", "start")

    running.configure(CONFIGURATION)
    running.override()
    running.systemctl("restart")
    assert running.status()["phase"]


def test_a_bad_configuration_is_told_whole(unit: Unit) -> None:
    unit.configure("jmap:\n  urll: http://127.0.0.1:9\n")
    unit.systemctl("start", check=False)
    *_, problem = unit.events("config_refused")
    assert "urll" in problem["MESSAGE"]
    assert problem["PRIORITY"] == "3"


def test_reload_takes_a_good_configuration_and_refuses_a_bad_one(
    running: Unit, claims: Claims
) -> None:
    pid = running.status()["pid"]
    running.configure(CONFIGURATION + "polling:\n  poll_interval: 7\n")
    begun = time.monotonic()
    running.systemctl("reload")
    # Of a service that is signalled systemd may think that it is done before it has said RELOADING.
    running.await_status(lambda status: status["poll_interval_seconds"] == 7)
    seconds = time.monotonic() - begun
    running.configure("nonsense: true\n")
    earlier = len(running.events("config_refused"))
    running.systemctl("reload")
    running.await_status(lambda _: len(running.events("config_refused")) > earlier)
    answer = running.status()
    assert (answer["poll_interval_seconds"], answer["pid"]) == (7, pid)
    assert running.show("ActiveState") == "active"
    # To systemctl it looked like success, so it stays where people look, until it is mended.
    assert answer["refused_reload"]["problems"]
    running.await_told("reload refused, the old configuration is in effect: ")
    running.configure(CONFIGURATION)
    running.systemctl("reload")
    running.await_status(lambda status: status["refused_reload"] is None)
    running.await_status(lambda _: "reload refused" not in running.show("StatusText"))
    claims.at_most(1, seconds, running.release, "reload, until it is done", "s")


def test_stop_is_at_once(running: Unit, claims: Claims) -> None:
    running.await_status(lambda status: status["last_error"] is not None)
    running.systemctl("stop")
    assert (running.show("Result"), running.show("ExecMainStatus")) == ("success", "0")
    process = running.seconds_between("ActiveExit", "ExecMainExit")
    claims.at_most(0.1, process, running.release, "stop, until the process is gone", "s")
    whole = running.seconds_between("ActiveExit", "InactiveEnter")
    claims.at_most(0.5, whole, running.release, "stop, until systemd has tidied up", "s")


def test_a_killed_service_is_back_within_a_second(running: Unit, claims: Claims) -> None:
    seconds = [float("inf")]
    while min(seconds) > 1 and len(seconds) < 5:  # what else the machine does now is not ours
        before = running.status()["pid"]
        running.host.run("systemctl", "kill", "--signal=KILL", SERVICE)
        assert running.status()["pid"] != before  # the question waited for the new one
        running.await_property("ActiveState", "active")
        seconds.append(running.seconds_between("ActiveExit", "ActiveEnter"))
    assert running.show("NRestarts") == str(len(seconds) - 1)
    claims.at_most(1, min(seconds), running.release, "SIGKILL, until it is up again", "s")


def test_a_service_that_stands_still_is_restarted_by_the_watchdog(
    unit: Unit, claims: Claims
) -> None:
    unit.override(WatchdogSec="2s")
    unit.systemctl("start")
    before = unit.show("MainPID")
    begun = time.monotonic()
    unit.host.run("kill", "-STOP", before)
    assert unit.status()["pid"] != int(before)
    claims.at_most(
        5, time.monotonic() - begun, unit.release, "SIGSTOP, until it answers (WatchdogSec=2)", "s"
    )
    journal = unit.host.journal(SERVICE)
    assert any("Watchdog timeout" in entry["MESSAGE"] for entry in journal)


def test_a_blocked_loop_is_restarted_by_the_watchdog(unit: Unit, claims: Claims) -> None:
    unit.override(WatchdogSec="2s")
    unit.systemctl("start")
    before, path = unit.show("MainPID"), "/etc/mailroom/mailroom.yaml"
    unit.host.run("rm", path)
    unit.host.run("mkfifo", path)
    unit.host.run("systemctl", "reload", "--no-block", SERVICE)
    # It opens once the service reads it; and as nothing is written, the service reads on and on.
    with open(f"/proc/{unit.host.leader}/root{path}", "w"):
        begun = time.monotonic()
        unit.host.run("rm", path)
        unit.configure(CONFIGURATION)
        assert unit.status()["pid"] != int(before)
    seconds = time.monotonic() - begun
    claim = "blocked, until it answers (WatchdogSec=2)"
    claims.at_most(5, seconds, unit.release, claim, "s")


def test_a_running_service_feeds_its_watchdog(unit: Unit) -> None:
    unit.override(WatchdogSec="2s")
    unit.systemctl("start")
    before = unit.status()["pid"]
    assert unit.await_status(lambda status: status["uptime_seconds"] > 4.5)["pid"] == before


def test_a_frozen_service_is_not_taken_for_a_dead_one(unit: Unit, claims: Claims) -> None:
    if unit.release != "bookworm":  # whose systemd watches on: there, 3 min is the longest
        unit.override(WatchdogSec="3s")
    unit.systemctl("start")
    before = unit.status()
    unit.host.run("systemctl", "freeze", SERVICE)
    unit.host.run("sleep", "4")
    unit.host.run("systemctl", "thaw", SERVICE)
    begun = time.monotonic()
    after = unit.status()
    claims.at_most(1, time.monotonic() - begun, unit.release, "thaw, until it answers", "s")
    asleep = after["uptime_seconds"] - before["uptime_seconds"]
    assert asleep > 4
    later = unit.await_status(lambda status: status["uptime_seconds"] > asleep + 3.5)
    assert before["pid"] == after["pid"] == later["pid"]


def test_a_silent_name_server_stops_nothing(unit: Unit, claims: Claims) -> None:
    unit.configure("jmap:\n  url: https://mail.example.test\n  username: alice\n")
    unit.override(WatchdogSec="2s")
    with name_server(unit.host, silent=True):
        unit.systemctl("start")
        before, slowest = unit.status()["pid"], 0.0
        end = time.monotonic() + 5
        while (begun := time.monotonic()) < end:
            assert unit.status()["poll_count"] == 0  # it still waits for the name
            slowest = max(slowest, time.monotonic() - begun)
        assert unit.status()["pid"] == before
        unit.systemctl("stop")
    claims.at_most(0.5, slowest, unit.release, "silent name server, slowest of the answers", "s")
    seconds = unit.seconds_between("ActiveExit", "ExecMainExit")
    claims.at_most(0.1, seconds, unit.release, "silent name server, stop", "s")


def test_nothing_secret_is_to_be_seen(unit: Unit, claims: Claims) -> None:
    secret = "correct horse battery staple"
    unit.give_secret("jmap-password", secret)
    unit.systemctl("start")
    unit.await_status(lambda status: status["last_error"] is not None)
    pid, host = unit.show("MainPID"), unit.host
    seen = {
        "environment": host.read(f"/proc/{pid}/environ"),
        "arguments": host.read(f"/proc/{pid}/cmdline"),
        "properties": host.run("systemctl", "show", SERVICE).stdout,
        "status": host.run("systemctl", "status", SERVICE).stdout,
        "journal": json.dumps(host.journal(SERVICE)),
        "effective configuration": host.run("mailroom", "config").stdout,
        **{path: unit.ask(path) for path in ("/healthz", "/status", "/metrics")},
    }
    assert all(seen.values())
    showing = [where for where, text in seen.items() if secret in text]
    claims.at_most(0, len(showing), unit.release, f"of {len(seen)} places, that show a secret")
    # Its own memory has it, but is not written to disk.
    [limit] = [line for line in host.read(f"/proc/{pid}/limits").splitlines() if "core" in line]
    *_, hard, unit_of_it = limit.split()
    claims.at_most(0, int(hard), unit.release, "size of a core dump", unit_of_it)


def test_every_question_is_answered_over_restarts(running: Unit, claims: Claims) -> None:
    with running.asked_on_and_on() as answers:
        for _ in range(5):
            running.systemctl("restart")
    assert len(answers) > 50
    failed = answers.count(False)
    claims.at_most(0, failed, running.release, "five restarts, questions without an answer")


def test_a_kill_costs_at_most_the_answer_that_was_on_its_way(running: Unit, claims: Claims) -> None:
    with running.asked_on_and_on() as answers:
        before = running.show("MainPID")
        running.host.run("systemctl", "kill", "--signal=KILL", SERVICE)
        running.await_property("ActiveState", "active")
        assert running.show("MainPID") != before
        asked = len(answers)
        while len(answers) < asked + 10:
            running.show("MainPID")
    failed = answers.count(False)
    claims.at_most(1, failed, running.release, "SIGKILL, answers that were cut off")
