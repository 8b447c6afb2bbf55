"""The numbers on their way to Prometheus: by the timer, node_exporter and promtool of Debian.

(Here and not beside the other tests of the host, because only this host has these tools.)
"""

import re
from collections.abc import Iterator

import pytest

from tests.browser.cockpit import WITH_BROWSER
from tests.system import root
from tests.system.cyrus import PASSWORD
from tests.system.host import Host
from tests.system.unit import PROJECT, Unit

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

RULES = PROJECT / "packaging/prometheus/mailroom.rules.yml"
FOLDER = "/var/lib/prometheus/node-exporter"
TEXTFILE = ("mailroom-textfile.service", "mailroom-textfile.timer")
# Nothing listens there: the service is up and backs off.
CONFIGURATION = "jmap:\n  url: http://127.0.0.1:9\n  username: alice\n"

# What each alert waits for: a series, its values from the start of 1970, one a step, the step, and
# when the alert has to have come.
CASES = {
    "MailroomDown": ('mailroom_up{unit="mailroom"}', "0x20", "1m", "10m"),
    "MailroomUnhealthy": ('mailroom_healthy{account="a"}', "0x20", "1m", "15m"),
    "MailroomPushDown": (
        'mailroom_push_down_since_timestamp_seconds{account="a"}', "0x120", "1m", "90m",
    ),
    "MailroomSendersFailing": ('mailroom_senders_failing{account="a"}', "2x120", "1m", "90m"),
    "MailroomConflict": ('mailroom_senders_conflicting{account="a"}', "1x400", "5m", "30h"),
    "MailroomPollsFailing": ('mailroom_polls_failed_total{account="a"}', "0+1x120", "1m", "90m"),
    "MailroomWaitingLong": (
        'mailroom_waiting_oldest_timestamp_seconds{account="a"}', "0x6000", "5m", "400h",
    ),
    "MailroomMetricsStale": (
        f'node_textfile_mtime_seconds{{file="{FOLDER}/mailroom@office.prom"}}', "0x60", "1m", "30m",
    ),
    "MailroomAbsent": ("mailroom_other", "0x60", "1m", "30m"),
}  # fmt: skip


@pytest.fixture(scope="module")
def host(bootable: None) -> Iterator[Host]:
    with Host.boot(root.ensure(WITH_BROWSER)) as host:
        yield host


@pytest.fixture(scope="module")
def unit(host: Host) -> Unit:
    """Mailroom at work, and the timer."""
    unit = Unit(host)
    unit.configure(CONFIGURATION)
    unit.give_secret("jmap-password", PASSWORD)
    for name in TEXTFILE:
        host.write(f"/etc/systemd/system/{name}", (PROJECT / "systemd" / name).read_text())
    host.run("systemctl", "daemon-reload")
    unit.systemctl("start")
    return unit


def test_promtool_accepts_the_rules(host: Host) -> None:
    host.write("/srv/mailroom.rules.yml", RULES.read_text())
    told = host.run("promtool", "check", "rules", "--lint-fatal", "/srv/mailroom.rules.yml").stdout
    assert f"SUCCESS: {RULES.read_text().count('- alert:')} rules found" in told


@pytest.mark.parametrize("alert", CASES)
def test_every_alert_comes_when_it_has_to_and_not_before(host: Host, alert: str) -> None:
    host.write("/srv/mailroom.rules.yml", RULES.read_text())
    for when, is_firing in ((CASES[alert][3], True), ("0m", False)):
        host.write("/srv/test.yml", promtool_test(alert, when))
        result = host.run("promtool", "test", "rules", "/srv/test.yml", check=False)
        # Nothing is expected, so what fires is told as a failure, by its name.
        assert (result.returncode != 0) is is_firing, result.stdout + result.stderr
        assert (f'alertname="{alert}"' in result.stdout + result.stderr) is is_firing


def promtool_test(alert: str, when: str) -> str:
    series, values, step, _ = CASES[alert]
    return (
        f"rule_files: [mailroom.rules.yml]\nevaluation_interval: {step}\ntests:\n"
        f"  - interval: {step}\n    input_series:\n"
        f"      - series: '{series}'\n        values: '{values}'\n"
        f"    alert_rule_test:\n      - eval_time: {when}\n        alertname: {alert}\n"
        "        exp_alerts: []\n"
    )


def test_every_metric_of_the_rules_is_one_that_there_is(unit: Unit) -> None:
    there = unit.ask("/metrics") + "# TYPE mailroom_up gauge\n"
    expressions = [line for line in RULES.read_text().splitlines() if "expr:" in line]
    named = set(re.findall(r"\bmailroom_\w+", "\n".join(expressions)))
    assert len(named) > len(expressions) / 2
    assert not [name for name in named if f"# TYPE {name} " not in there]


def test_promtool_finds_nothing_to_better_in_the_metrics(unit: Unit) -> None:
    told = unit.host.run("promtool", "check", "metrics", stdin=unit.ask("/metrics"), check=False)
    assert told.stdout + told.stderr == ""


def test_node_exporter_tells_what_the_timer_has_written(unit: Unit) -> None:
    host = unit.host
    host.run("systemctl", "start", "mailroom-textfile.service")
    assert host.property("mailroom-textfile.service", "Result") == "success"
    written = host.read(f"{FOLDER}/mailroom.prom")
    assert 'mailroom_up{unit="mailroom"} 1' in written
    assert 'mailroom_healthy{unit="mailroom",account="alice"}' in written
    host.run("systemctl", "start", "prometheus-node-exporter.service")
    get = "curl -s --retry 20 --retry-connrefused http://127.0.0.1:9100/metrics"
    told = host.run("sh", "-c", f"{get} | grep -E '^(mailroom|node_textfile)'").stdout
    assert 'mailroom_up{unit="mailroom"} 1' in told
    assert "node_textfile_scrape_error 0" in told


def test_the_timer_does_it_by_itself(unit: Unit) -> None:
    host = unit.host
    host.run("rm", "--force", f"{FOLDER}/mailroom.prom")
    host.run("systemctl", "start", "mailroom-textfile.timer")
    path = f"{FOLDER}/mailroom.prom"
    host.run("sh", "-c", f"until [ -s {path} ]; do sleep 0.2; done", timeout=30)
    assert host.property("mailroom-textfile.timer", "ActiveState") == "active"


def test_a_service_that_hangs_is_down(unit: Unit) -> None:
    host = unit.host
    host.run("systemctl", "kill", "--signal=STOP", "mailroom.service")
    try:
        host.run("systemctl", "start", "mailroom-textfile.service")
        written = host.read(f"{FOLDER}/mailroom.prom")
    finally:
        host.run("systemctl", "kill", "--signal=CONT", "mailroom.service")
    assert [line for line in written.splitlines() if line[0] != "#"] == [
        'mailroom_up{unit="mailroom"} 0'
    ]


def test_systemd_finds_nothing_to_say_of_the_units(unit: Unit) -> None:
    for name in TEXTFILE:
        told = unit.host.run("systemd-analyze", "verify", "--man=no", f"/etc/systemd/system/{name}")
        assert told.stdout + told.stderr == ""
    confined = ("systemd-analyze", "security", "--no-pager", "--threshold=20")
    unit.host.run(*confined, "mailroom-textfile.service")
