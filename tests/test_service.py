"""The process as its supervisor sees it: messages, signals, exit codes, and how fast it is gone."""

import contextlib
import json
import os
import pwd
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mailroom.engine.client import ask
from mailroom.engine.sockets import control_path
from tests.process import ROOT, SECRET, Process, configuration, environment, mailroom
from tests.sandbox import Delivery, Entry, Fault, Request, Sandbox, serve

pytestmark = pytest.mark.sandbox

BOB = "Bob <bob@example.org>"
# What it could wait for takes 10 s and longer. That it is gone within 50 ms, make bench shows.
GENEROUS_SECONDS = 5.0


@pytest.fixture
def sandbox() -> Sandbox:
    found = Sandbox(password=SECRET)
    found.standard_account()
    return found


@pytest.fixture
def url(sandbox: Sandbox) -> Iterator[str]:
    with serve(sandbox) as running:
        yield running.url


def test_a_stream_that_ends_and_returns_is_one_status_line_and_one_poll(
    sandbox: Sandbox, url: str, tmp_path: Path
) -> None:
    config = configuration(tmp_path, url, polling={"poll_interval": 3600})
    with Process(tmp_path, config) as service:
        service.until_told("STATUS=push connected; last poll ")
        told, asked = len(service.messages), len(sandbox.log.entries)
        sandbox.close_feeds()
        service.until(lambda: "trigger=reconnect" in service.log, "a poll")
        service.until(lambda: len(service.messages) > told, "a status line")
        assert "; last poll" in service.messages[-1]
        assert "(reconnect)" in service.messages[-1]
        assert len(service.messages) == told + 1, service.messages[told:]
        asked_since = [(entry.method, entry.path) for entry in sandbox.log.since(asked)]
        assert asked_since == [("GET", "/jmap/eventsource/"), ("POST", "/jmap/")]


def test_the_life_of_a_service(sandbox: Sandbox, url: str, tmp_path: Path) -> None:
    config = configuration(tmp_path, url, logging={"format": "json"})
    mail = sandbox.deliver(BOB)
    with Process(tmp_path, config, {"WATCHDOG_USEC": "400000"}) as service:
        service.until_told("READY=1").until_told("STATUS=push connected; last poll ")
        assert service.messages.index("READY=1") < service.messages.index("WATCHDOG=1")

        sandbox.label(mail, "@ToFeed")
        service.until_told("STATUS=push connected; last poll ", 2)
        assert sandbox.mailboxes_of(mail) == {"Feed"}
        *_, told = (message for message in service.messages if message.startswith("STATUS="))
        assert "1 sender triaged since start" in told

        count = service.ask("/healthz")[1]["poll_count"]
        assert service.ask("/poll", "POST")[0] == 202
        service.until(lambda: service.ask("/healthz")[1]["poll_count"] == count + 1)
        service.send(signal.SIGUSR1)
        service.until(lambda: service.ask("/healthz")[1]["poll_count"] == count + 2)
        assert service.ask("/healthz")[1]["last_poll_trigger"] == "manual"
        assert "mailroom_polls_total" in service.ask("/metrics")[1]

        service.send(signal.SIGHUP)
        service.until_told("RELOADING=1\nMONOTONIC_USEC=").until_told("READY=1", 2)
        assert service.ask("/status")[1]["totals"]["senders_triaged"] == {"Feed": 1}
        service.until(lambda: service.ask("/healthz")[1]["eventsource"]["connected"])

        config.write_text("polling: {poll_interval: soon}\nnonsense: 1\n")
        service.send(signal.SIGHUP)
        service.until_told("READY=1", 3)
        assert service.ask("/healthz")[0] == 200
        service.until_told("WATCHDOG=1", 3)
        outputs = [str(service.ask(path)) for path in ("/healthz", "/status", "/metrics")]
        outputs.append(Path(f"/proc/{service.child.pid}/cmdline").read_text())

        code, _ = service.stop()
        assert code == 0
        assert service.messages.index("STOPPING=1") > service.messages.index("WATCHDOG=1")
        lines = [json.loads(line) for line in service.log.splitlines()]
        events = [line["event"] for line in lines]
        assert events[0] == "service_started"
        assert events[-2:] == ["shutdown_signal_received", "service_stopped"]
        assert "config_reloaded" in events
        refused = [line for line in lines if line["event"] == "config_refused"]
        assert len(refused) == 2
        assert all(line["kept"] for line in refused)
        assert not service.socket.exists()
        assert not control_path(service.socket).exists()
        assert SECRET not in "".join([service.log, *service.messages, *outputs])


def test_a_reload_of_an_equal_file_sends_nothing_and_keeps_everything(
    sandbox: Sandbox, url: str, tmp_path: Path
) -> None:
    config = configuration(tmp_path, url)
    with Process(tmp_path, config) as service:
        service.until_told("STATUS=push connected; last poll ")
        service.until(lambda: service.ask("/status")[1]["waiting"] is not None)
        before, sent = service.ask("/status")[1], len(sandbox.log.entries)
        config.write_text(config.read_text() + "\n# says the same\n")
        service.send(signal.SIGHUP)
        service.until(lambda: "config_reloaded" in service.events)
        after = service.ask("/status")[1]
        assert len(sandbox.log.entries) == sent
        assert after["eventsource"]["connected_since"] == before["eventsource"]["connected_since"]
        assert after["poll_count"] == before["poll_count"]

        # What concerns the log alone takes effect, and touches no connection either.
        configuration(tmp_path, url, logging={"format": "json"})
        service.send(signal.SIGHUP)
        service.until(lambda: '"event": "config_reloaded"' in service.log)
        assert len(sandbox.log.entries) == sent

        configuration(tmp_path, url, polling={"poll_interval": 30})
        service.send(signal.SIGHUP)
        service.until(lambda: service.ask("/status")[1]["poll_interval_seconds"] == 30)
        service.until(lambda: len(sandbox.log.entries) > sent)
        assert service.stop()[0] == 0


def test_a_refused_reload_stays_in_the_status_until_it_is_mended(url: str, tmp_path: Path) -> None:
    config = configuration(tmp_path, url)
    good = config.read_text()
    with Process(tmp_path, config) as service:
        service.until_told("STATUS=push connected; last poll ")
        config.write_text("polling: {poll_interval: soon}\nnonsense: 1\n")
        service.send(signal.SIGHUP)
        service.until_told("STATUS=reload refused, the old configuration is in effect: ")
        refused = service.ask("/status")[1]["refused_reload"]
        assert len(refused["problems"]) == 2
        assert service.ask("/healthz")[0] == 200
        service.send(signal.SIGUSR1)  # whatever else changes the line
        service.until(lambda: service.ask("/healthz")[1]["last_poll_trigger"] == "manual")
        service.until_told("STATUS=reload refused", 2)
        assert service.ask("/status")[1]["refused_reload"] == refused
        shown = mailroom(tmp_path, "status", "--socket", str(service.socket))
        assert "poll_interval" in shown.stdout
        assert "nonsense" in shown.stdout
        assert shown.stdout.count("correct it and reload") == 1
        assert shown.returncode == 0

        config.write_text(good)
        service.send(signal.SIGHUP)
        service.until(lambda: service.ask("/status")[1]["refused_reload"] is None)
        service.until(lambda: service.messages[-1].startswith("STATUS=push connected"))
        assert service.stop()[0] == 0


def test_a_refused_reload_changes_nothing_at_all(url: str, tmp_path: Path) -> None:
    """Also if only the secrets show that it cannot be used: a password needs a user name."""
    config = configuration(tmp_path, url)
    given = json.loads(config.read_text())
    with Process(tmp_path, config) as service:
        service.until_told("STATUS=push connected; last poll ")
        del given["jmap"]["username"]
        config.write_text(json.dumps(given | {"logging": {"format": "json", "level": "debug"}}))
        service.send(signal.SIGHUP)
        service.until_told("STATUS=reload refused, the old configuration is in effect: ")
        assert service.stop()[0] == 0
        assert {"config_refused", "service_stopped"} <= {*service.events}


def test_a_reload_reads_no_secret(url: str, tmp_path: Path) -> None:
    """As under systemd, whose credentials are fixed at the start: one rule for all."""
    secret = tmp_path / "jmap-password"
    secret.write_text(SECRET)
    config = configuration(tmp_path, url)
    with Process(tmp_path, config, {"CREDENTIALS_DIRECTORY": str(tmp_path)}) as service:
        service.until_told("STATUS=push connected; last poll ")
        secret.write_text("another")
        configuration(tmp_path, url, polling={"poll_interval": 30})
        service.send(signal.SIGHUP)
        service.until(lambda: service.ask("/status")[1]["poll_interval_seconds"] == 30)
        polls = service.ask("/status")[1]["poll_count"]
        service.until(lambda: service.ask("/status")[1]["poll_count"] > polls)
        assert service.ask("/status")[1]["trouble"] is None
        assert service.stop()[0] == 0


def test_a_reload_in_the_middle_of_a_poll_begins_anew(
    sandbox: Sandbox, url: str, tmp_path: Path
) -> None:
    mails = [sandbox.deliver(f"s{n}@example.org") for n in range(30)]
    reached = threading.Event()

    def hold(entry: Entry, _request: Request) -> None:
        """The first PUT is not answered as long as the test lasts."""
        is_held = entry.method == "PUT" and not reached.is_set()
        sandbox.controls.delay_seconds = 30.0 if is_held else 0.0
        if is_held:
            reached.set()

    sandbox.before(hold)
    with Process(tmp_path, configuration(tmp_path, url)) as service:
        service.until_told("STATUS=push connected; last poll ")
        for mail in mails:
            sandbox.label(mail, "@ToFeed")
        service.until(reached.is_set)
        configuration(tmp_path, url, polling={"poll_interval": 59})
        service.send(signal.SIGHUP)
        service.until(lambda: sandbox.mails_in("Feed") == set(mails))
        assert service.stop()[0] == 0
        assert "never awaited" not in service.log
        assert "Exception ignored" not in service.log
        assert len(sandbox.cards()) == 9 + 30


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_while_idle(signal_number: signal.Signals, url: str, tmp_path: Path) -> None:
    with Process(tmp_path, configuration(tmp_path, url)) as service:
        service.until_told("STATUS=push connected; last poll ")
        _stops_at_once(service, f"idle, {signal_number.name}", signal_number)


def test_stopped_by_both_signals_at_once(url: str, tmp_path: Path) -> None:
    with Process(tmp_path, configuration(tmp_path, url)) as service:
        service.until_told("STATUS=push connected; last poll ")
        for number in (signal.SIGSTOP, signal.SIGINT, signal.SIGTERM):
            service.send(number)
        _stops_at_once(service, "by both signals", signal.SIGCONT)
        assert service.events.count("shutdown_signal_received") == 1


def test_stopped_while_connecting(tmp_path: Path) -> None:
    """The port's queue is full, so that nobody ever answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf:
        port = deaf.getsockname()[1]
        callers = [socket.socket() for _ in range(4)]
        for caller in callers:
            caller.setblocking(False)
            caller.connect_ex(("127.0.0.1", port))
        with Process(tmp_path, configuration(tmp_path, f"http://127.0.0.1:{port}")) as service:
            service.until_told("READY=1").until_told("STATUS=")
            _stops_at_once(service, "connecting")
        for caller in callers:
            caller.close()


def test_stopped_while_a_server_is_away(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    with Process(tmp_path, configuration(tmp_path, f"http://127.0.0.1:{port}")) as service:
        service.until_told("STATUS=polls fail, trying again: ")
        _stops_at_once(service, "backing off")


def test_stopped_while_it_starts(url: str, tmp_path: Path) -> None:
    with Process(tmp_path, _endless(configuration(tmp_path, url))) as service:
        service.until(lambda: _handles_signals(service))
        _stops_at_once(service, "starting")
        assert "READY=1" not in service.messages


def test_stopped_while_it_reads_its_configuration_again(url: str, tmp_path: Path) -> None:
    config = configuration(tmp_path, url)
    with Process(tmp_path, config) as service:
        service.until_told("STATUS=push connected; last poll ")
        _endless(config)
        service.send(signal.SIGHUP)
        service.until(lambda: bool(_children(service)))
        assert service.ask("/healthz")[0] == 200
        _stops_at_once(service, "reloading")
        assert service.messages[-1].startswith("STATUS=stopping")


def test_a_storm_of_signals_costs_two_reloads_and_hides_no_other(url: str, tmp_path: Path) -> None:
    with Process(tmp_path, configuration(tmp_path, url)) as service:
        service.until_told("STATUS=push connected; last poll ")
        service.send(signal.SIGHUP)
        service.until(lambda: bool(_children(service)))
        for _ in range(1000):
            service.send(signal.SIGHUP)
            service.send(signal.SIGUSR1)
        service.until_told("READY=1", 2)
        assert service.events.count("config_reloaded") == 2
        assert sum(message.startswith("RELOADING=1") for message in service.messages) == 1
        _stops_at_once(service, "after a storm of signals")


def test_a_reload_that_is_asked_for_while_it_starts_is_done(url: str, tmp_path: Path) -> None:
    with Process(tmp_path, configuration(tmp_path, url)) as service:
        service.until(lambda: _handles_signals(service))
        service.send(signal.SIGUSR1)
        service.send(signal.SIGHUP)
        service.until_told("READY=1", 2)
        assert "config_reloaded" in service.events
        assert service.stop()[0] == 0


def _endless(config: Path) -> Path:
    """A configuration that it takes seconds to refuse."""
    config.write_text("triage: {categories: [" + "A, " * 80_000 + "]}")
    return config


def _handles_signals(service: Process) -> bool:
    status = Path(f"/proc/{service.child.pid}/status").read_text()
    [caught] = re.findall(r"SigCgt:\s*(\w+)", status)
    return bool(int(caught, 16) >> (signal.SIGUSR1 - 1) & 1)  # the last to be


def _children(service: Process) -> str:
    pid = service.child.pid
    return Path(f"/proc/{pid}/task/{pid}/children").read_text()


@pytest.mark.parametrize("method", ["GET", "PROPFIND", "POST", "REPORT", "PUT"])
def test_stopped_in_the_middle_of_a_poll(
    method: str, sandbox: Sandbox, url: str, tmp_path: Path
) -> None:
    """While the answer to a request of this method is awaited."""
    mail = sandbox.deliver(BOB)
    sandbox.label(mail, "@ToFeed")
    sandbox.controls.delay_seconds = 0.03
    reached = threading.Event()
    number = {"GET": 2, "POST": 2, "REPORT": 2}.get(method, 1)
    seen: list[str] = []

    def hold(entry: Entry, _request: Request) -> None:
        seen.append(entry.method)
        if seen.count(method) >= number:
            sandbox.controls.delay_seconds = 30.0
            reached.set()

    sandbox.before(hold)
    with Process(tmp_path, configuration(tmp_path, url)) as service:
        service.until(reached.is_set)
        _stops_at_once(service, f"in {method}")
    assert sandbox.mailboxes_of(mail)


def _stops_at_once(
    service: Process, when: str, signal_number: signal.Signals = signal.SIGTERM
) -> None:
    code, seconds = service.stop(signal_number)
    sys.stdout.write(f"stopped {when}: {seconds * 1000:.0f} ms\n")
    assert code == 0, service.log
    assert seconds < GENEROUS_SECONDS
    assert "STOPPING=1" in service.messages
    assert "Traceback" not in service.log


def test_a_bad_configuration_ends_with_78_and_every_problem(tmp_path: Path) -> None:
    config = tmp_path / "mailroom.yaml"
    config.write_text("polling: {poll_interval: soon}\nnonsense: 1\n")
    with Process(tmp_path, config) as service:
        assert service.end() == 78
        assert service.log.count("config_refused") == 2
        assert any(message.startswith("STATUS=config refused: ") for message in service.messages)
        assert "READY=1" not in service.messages
        assert "Traceback" not in service.log


def test_refused_credentials_end_with_77(url: str, tmp_path: Path) -> None:
    variables = {"MAILROOM_JMAP_PASSWORD": "wrong-sesame"}
    with Process(tmp_path, configuration(tmp_path, url), variables) as service:
        assert service.end() == 77
        assert "credentials_refused" in service.events
        assert any("credentials refused" in message for message in service.messages)
        assert "wrong-sesame" not in service.log + "".join(service.messages)
        assert "Traceback" not in service.log


def test_a_bug_ends_with_70_and_a_traceback(url: str, tmp_path: Path) -> None:
    """A socket that is no path is a mistake that only a programmer can make."""
    config = configuration(tmp_path, url)
    script = (
        "import os; from mailroom.service import Options, Service;"
        f"os._exit(Service(Options({str(config)!r}, 42), os.environ).run())"
    )
    with Process(tmp_path, config, wrapper=[sys.executable, "-c", script]) as service:
        assert service.end() == 70
        assert "Traceback" in service.log
        assert "bug" in service.events


def test_a_decision_on_the_control_socket_is_told_with_who_has_taken_it(
    sandbox: Sandbox, url: str, tmp_path: Path
) -> None:
    mail = sandbox.deliver(BOB)
    body = json.dumps({"address": "bob@example.org", "category": "Feed"}).encode()
    with Process(tmp_path, configuration(tmp_path, url)) as service:
        service.until_told("STATUS=push connected; last poll ")
        code, refusal = ask(service.socket, "POST", "/triage", body=body)
        assert code == 403
        assert "group mailroom-control" in json.loads(refusal)["error"]
        assert sandbox.mailboxes_of(mail) == {"Screener"}

        who = pwd.getpwuid(os.getuid()).pw_name
        code, answer = ask(control_path(service.socket), "POST", "/triage", 20, body)
        assert (code, json.loads(answer)["by"]) == (200, who)
        assert sandbox.mailboxes_of(mail) == {"Feed"}
        assert service.stop()[0] == 0
    [told] = [line for line in service.log.splitlines() if line.startswith("sender_triaged ")]
    assert f" by={who}" in told
    assert " trigger=command" in told


def test_a_decision_in_flight_at_a_stop_is_to_be_repeated(
    sandbox: Sandbox, url: str, tmp_path: Path
) -> None:
    sandbox.deliver(BOB)
    body = json.dumps({"address": "bob@example.org", "category": "Feed"}).encode()
    with Process(tmp_path, configuration(tmp_path, url)) as service:
        service.until_told("STATUS=push connected; last poll ")
        slow = Fault(path="/jmap/", method="POST", delivery=Delivery(delay_seconds=30.0))
        sandbox.faults.add(slow)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(control_path(service.socket)))
            head = f"POST /triage HTTP/1.1\r\nHost: m\r\nContent-Length: {len(body)}\r\n\r\n"
            client.sendall(head.encode() + body)
            service.until(lambda: service.ask("/status")[1]["phase"] == "polling")
            assert service.stop()[0] == 0
            answer = client.recv(65536)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"repeat" in answer.rpartition(b"\r\n")[2]


@contextlib.contextmanager
def watching(folder: Path, service: Process, *options: str) -> Iterator[Callable[[str], str]]:
    """``mailroom`` with these options; gives the next line of it that has this in it."""
    command = [sys.executable, "-u", "-m", "mailroom", *options, "--socket", str(service.socket)]
    child = subprocess.Popen(
        command, env=environment(folder), cwd=folder, text=True, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    lines = child.stdout

    def line_with(text: str) -> str:
        while text not in (line := lines.readline()):
            assert line, f"it has ended before it told of {text}"
        return line

    try:
        yield line_with
    finally:
        child.terminate()
        child.communicate()


def poll_until(service: Process, path: Path) -> None:
    """Poll until somebody has heard of it, who may be on the way still."""
    while not path.exists():
        assert service.ask("/poll", "POST")[0] == 202
        service.hear(0.05)


def test_whoever_watches_hears_of_it_by_name_over_a_restart(
    sandbox: Sandbox, url: str, tmp_path: Path
) -> None:
    config = configuration(tmp_path, url)
    mark = tmp_path / "heard"
    command = f"cat >>{tmp_path}/given; touch {mark}"
    with Process(tmp_path, config) as service:
        service.until_told("STATUS=push connected; last poll ")
        with watching(tmp_path, service, "watch", "--json", "--run", command) as line_with:
            poll_until(service, mark)
            sandbox.deliver(BOB, subject="Good day")
            arrival = json.loads(line_with('"arrival"'))
            assert [each["subject"] for each in arrival["mails"]] == ["Good day"]
            waiting = json.loads(line_with('"waiting"'))
            assert [each["name"] for each in waiting["changed"]] == ["Bob"]
            assert service.stop()[0] == 0
            with Process(tmp_path / "again", config, socket_folder=tmp_path) as anew:
                anew.until_told("READY=1")
                assert json.loads(line_with('"lost"'))["count"] is None
    given = [json.loads(line) for line in (tmp_path / "given").read_text().splitlines()]
    assert {"poll", "arrival", "waiting"} <= {each["event"] for each in given}


def test_status_watch_tells_what_happens(sandbox: Sandbox, url: str, tmp_path: Path) -> None:
    mail = sandbox.deliver(BOB)
    with Process(tmp_path, configuration(tmp_path, url)) as service:
        service.until_told("STATUS=push connected; last poll ")
        with watching(tmp_path, service, "status", "--watch") as line_with:
            line_with("triaged")
            sandbox.label(mail, "@ToFeed")
            assert "bob@example.org → Feed, 1 mail (push)" in line_with("→")
            line_with("poll (push)")


def test_a_second_instance_is_refused(url: str, tmp_path: Path) -> None:
    config = configuration(tmp_path, url)
    with Process(tmp_path, config) as service:
        service.until_told("READY=1")
        second = mailroom(tmp_path, "run", "--config", str(config), "--socket", str(service.socket))
        assert second.returncode == 1
        assert "another instance answers there" in second.stderr
        assert "Traceback" not in second.stderr
        assert service.ask("/healthz")[0] in (200, 503)


def test_a_socket_path_that_is_too_long_is_refused(url: str, tmp_path: Path) -> None:
    config = configuration(tmp_path, url)
    path = str(tmp_path / ("long" * 40))
    ended = mailroom(tmp_path, "run", "--config", str(config), "--socket", path)
    assert ended.returncode == 1
    assert "107 bytes" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_without_stderr_it_works_all_the_same(sandbox: Sandbox, url: str, tmp_path: Path) -> None:
    mail = sandbox.deliver(BOB)
    wrapper = ["sh", "-c", 'exec "$@" 2>&-', "sh"]
    with Process(tmp_path, configuration(tmp_path, url), wrapper=wrapper) as service:
        service.until_told("STATUS=push connected; last poll ")
        sandbox.label(mail, "@ToFeed")
        service.until_told("STATUS=push connected; last poll ", 2)
        assert service.stop()[0] == 0


@pytest.mark.parametrize("name", ["status", "control"])
def test_the_socket_that_systemd_hands_over_is_served_and_left_alone(
    url: str, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "handed.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        service = Process(
            tmp_path,
            configuration(tmp_path, url),
            {"LISTEN_FDS": "1", "LISTEN_FDNAMES": name},
            wrapper=["sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh"],
            listener=listener,
        )
        with service:
            service.until_told("READY=1")
            assert not service.socket.exists()
            assert not control_path(service.socket).exists()
            service.socket = path
            assert service.ask("/healthz")[0] in (200, 503)
            assert service.stop()[0] == 0
        assert path.exists()


def test_the_launcher_and_the_module_are_the_same(tmp_path: Path) -> None:
    assert mailroom(tmp_path, "version").stdout.startswith("mailroom ")
    assert (ROOT / "mailroom.py").read_text().startswith("#!")
