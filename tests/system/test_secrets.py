"""Secrets find themselves, on the oldest and the newest systemd that Mailroom works on: root's
commands run as the service is run, ``mailroom login`` stores what they need, and nothing shows it.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.claims import Claims
from tests.system.cyrus import Cyrus
from tests.system.host import Host
from tests.system.unit import SERVICE, Unit
from tests.terminal import Terminal

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

SESAME, OTHER = "hunter2-sesame", "hunter3-sesame"
CONFIGURATION = "jmap:\n  url: {url}\n  username: alice\n"
PLAIN = "/etc/credstore/mailroom.jmap-password"
ENCRYPTED = "/etc/credstore.encrypted/mailroom.jmap-password.encrypted"
COMMANDS = ("config", "setup", "triage --dry-run", "check", "reset")


class Stage:
    """Mailroom installed, and alice at a Cyrus beside it, whose mailbox it has set up."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.unit = Unit(host)
        cyrus = Cyrus.start(host, push=self.unit.release != "bookworm")
        cyrus.user("alice")
        self.change_password(SESAME)
        self.configuration = CONFIGURATION.format(url=cyrus.url)
        self.unit.configure(self.configuration)
        self.give(SESAME)
        self.run("setup --apply")

    def change_password(self, password: str) -> None:
        """At the mail server."""
        self.host.run("saslpasswd2", "-p", "-c", "alice", stdin=password)

    def give(self, password: str) -> None:
        """As an administrator writes a file."""
        self.host.run("rm", "-rf", "/etc/credstore", "/etc/credstore.encrypted")
        self.unit.give_secret("jmap-password", password)

    def run(self, command: str, stdin: str = "") -> tuple[int, str, str]:
        """A command of root's: its exit code, what it prints, what it complains of."""
        done = self.host.run("bash", "-c", f"mailroom {command}", check=False, stdin=stdin)
        return done.returncode, done.stdout, done.stderr

    def typed(self, command: str) -> Terminal:
        """The same at a terminal of its own, so that Ctrl+C is for it alone."""
        words = ("setsid", "--ctty", "--wait", "bash", "-c", f"exec mailroom {command}")
        environ = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}
        return Terminal(self.host.command(*words), environ)

    def running(self) -> str:
        """The unit of the command that runs now."""
        listed = ("systemctl", "list-units", "--plain", "--no-legend", "mailroom-command-*")
        return self.host.run(*listed).stdout.partition(" ")[0]

    def files(self) -> list[str]:
        """The secrets that are stored, with their modes."""
        find = "find /etc/credstore /etc/credstore.encrypted -type f -printf '%m %p\\n' 2>/dev/null"
        return self.host.run("sh", "-c", f"{find} | sort", check=False).stdout.splitlines()


@pytest.fixture(scope="module")
def installed(each_tree: Path) -> Iterator[Stage]:
    with Host.boot(each_tree) as host:
        yield Stage(host)


@pytest.fixture
def stage(installed: Stage) -> Iterator[Stage]:
    """A right secret, plain, and the service not running."""
    installed.change_password(SESAME)
    installed.give(SESAME)
    yield installed
    installed.host.run("systemctl", "stop", "mailroom.socket", SERVICE)
    installed.host.run("rm", "-rf", f"/etc/systemd/system/{SERVICE}.d")
    installed.host.run("systemctl", "daemon-reload")
    installed.unit.configure(installed.configuration)
    assert installed.running() == ""


@pytest.mark.parametrize("form", ["plain", "encrypted"])
def test_roots_commands_find_the_secrets(stage: Stage, claims: Claims, form: str) -> None:
    if form == "encrypted":
        assert stage.run("login", SESAME)[0] == 0
        assert stage.files() == [f"600 {ENCRYPTED}"]
    failed = [command for command in COMMANDS if stage.run(command)[0] != 0]
    claim = f"commands of root's that lack the secret ({form})"
    claims.at_most(0, len(failed), stage.unit.release, claim)
    assert stage.run("check")[1].endswith("All is well.\n")
    told = stage.run("config")[1]
    assert "jmap-password: set (from the credentials directory)" in told


def test_what_runs_is_behind_the_walls_of_the_unit(stage: Stage, claims: Claims) -> None:
    stage.run("setup --apply --rules")
    stage.unit.override(Environment="BY_ITS_DROP_IN=1", ProtectHome="tmpfs")
    with stage.typed("reset --apply") as terminal:
        terminal.until(r"Undo all this\? \[y/N\] ")
        unit = stage.running()
        pid = stage.host.property(unit, "MainPID")
        status = stage.host.read(f"/proc/{pid}/status")
        has = dict(line.split(":\t", 1) for line in status.splitlines())
        kept = [
            name
            for name in ("DynamicUser", "ProtectSystem", "ProtectHome", "PrivateDevices", "UMask")
            if stage.host.property(unit, name) != stage.unit.show(name)
        ]
        exposure = stage.host.run("systemd-analyze", "security", unit).stdout
        environ = stage.host.read(f"/proc/{pid}/environ").split("\0")
        arguments = stage.host.read(f"/proc/{pid}/cmdline").split("\0")
        terminal.type("n")
        assert terminal.end() == 1
    assert terminal.told.endswith("Nothing was changed.\n")
    assert kept == []
    assert has["Uid"].split()[0] != "0"
    assert (has["CapBnd"], has["NoNewPrivs"], has["Seccomp"]) == ("0" * 16, "1", "2")
    assert "BY_ITS_DROP_IN=1" in environ
    assert arguments[-2] == "as-unit"
    measured = float(exposure.rsplit("exposure level for ", 1)[1].split(": ")[1].split()[0])
    claims.at_most(1.2, measured, stage.unit.release, "exposure of root's commands")


def test_a_question_is_answered_at_the_terminal_and_files_are_the_callers(stage: Stage) -> None:
    stage.run("setup --apply --rules")
    stage.host.run("rm", "-f", "/root/out.jsonl")
    with stage.typed("reset --apply --export /root/out.jsonl") as terminal:
        terminal.until(r"Undo all this\? \[y/N\] ")
        terminal.type("y")
        assert terminal.end() == 0
    assert "0 decisions written to /root/out.jsonl" in terminal.told
    assert stage.host.run("stat", "--format=%U", "/root/out.jsonl").stdout == "root\n"
    stage.run("setup --apply --rules")
    stage.host.run("sh", "-c", "echo mine > /root/out.jsonl")
    code, _, err = stage.run("reset --apply --yes --export /root/out.jsonl")
    told = "mailroom: cannot export to /root/out.jsonl: File exists; name another file\n"
    assert (code, err) == (1, told)


def test_ctrl_c_ends_what_runs_and_leaves_nothing(stage: Stage) -> None:
    stage.run("setup --apply --rules")
    with stage.typed("reset --apply") as terminal:
        terminal.until(r"Undo all this\? \[y/N\] ")
        terminal.interrupt()
        assert terminal.end() == 130
    assert stage.running() == ""


def test_a_configuration_that_root_alone_can_read_is_tried(stage: Stage) -> None:
    stage.host.write("/root/new.yaml", f"{stage.configuration}jmpa: 1\n", mode=0o600)
    code, out, err = stage.run("--version >/dev/null; cd /root && mailroom check --config new.yaml")
    assert (code, out) == (78, "")
    assert err == "mailroom: new.yaml:4: jmpa: is not a known key; did you mean jmap?\n"
    code, out, _ = stage.run("check --config <(grep -v jmpa /root/new.yaml)")
    assert (code, out.splitlines()[-1]) == (0, "All is well.")
    code, _, err = stage.run("setup --config /root/none.yaml")
    assert code == 78
    assert err.startswith("mailroom: /root/none.yaml: cannot be read: No such file or directory")


def test_exit_codes_come_through(stage: Stage) -> None:
    stage.give(OTHER)
    code, out, _ = stage.run("check")
    assert code == 77
    assert "mailroom login stores a new one" in out
    stage.unit.configure("nonsense: true\n")
    assert stage.run("setup")[0] == 78


def test_whoever_is_not_root_is_told_in_one_line(stage: Stage) -> None:
    for command in ("check", "login"):
        told = stage.host.run("runuser", "-u", "nobody", "--", "mailroom", command, check=False)
        assert (told.returncode, told.stdout) == (78, "")
        assert told.stderr == (
            "mailroom: the secrets of mailroom.service are root's: run it with sudo\n"
        )


def test_login_changes_nothing_for_a_wrong_secret(stage: Stage, claims: Claims) -> None:
    stage.unit.systemctl("start")
    before = (stage.files(), stage.host.read(PLAIN), stage.unit.show("MainPID"))
    code, out, err = stage.run("login", OTHER)
    assert (code, out) == (77, "")
    assert err.endswith(" refuses this password of alice: nothing is stored\n")
    assert err.count("\n") == 1
    after = (stage.files(), stage.host.read(PLAIN), stage.unit.show("MainPID"))
    changed = sum(one != other for one, other in zip(before, after, strict=True))
    claims.at_most(0, changed, stage.unit.release, "login with a wrong secret: things changed")


def test_a_new_password_takes_one_command(stage: Stage, claims: Claims) -> None:
    """The service has failed with the old one; with the new one it runs."""
    stage.give(OTHER)
    stage.unit.systemctl("start", check=False)
    stage.unit.await_property("ActiveState", "failed")
    assert stage.unit.show("ExecMainStatus") == "77"
    begun = time.monotonic()
    with stage.typed("login") as terminal:
        terminal.answer("Password of alice at ", SESAME)
        assert terminal.end() == 0
    seconds = time.monotonic() - begun
    assert "✓ secret: stored, encrypted for this host: " in terminal.told
    assert terminal.told.endswith("✓ service: mailroom was restarted and uses it\n")
    assert stage.files() == [f"600 {ENCRYPTED}"]
    stage.unit.await_status(lambda status: status["last_poll_at"] is not None)
    claims.at_most(20, seconds, stage.unit.release, "login, until the service uses it", "s")


def test_what_another_host_encrypted_is_mended_by_login(stage: Stage) -> None:
    stage.run("login", SESAME)
    stage.host.write(ENCRYPTED, "another host's", mode=0o600)
    code, out, err = stage.run("check")
    assert (code, out) == (1, "")
    assert "cannot run this as mailroom.service is run (status 243): see journalctl -u " in err
    assert stage.run("login --password", SESAME)[0] == 0
    assert stage.run("check")[0] == 0


def test_an_instance_has_its_own(stage: Stage) -> None:
    stage.host.write("/etc/mailroom/office.yaml", stage.configuration)
    for name in ("mailroom@.service", "mailroom@.socket", "mailroom-control@.socket"):
        stage.unit.add(name)
    assert stage.run("check --account office")[0] == 78
    assert stage.run("login --account office", SESAME)[0] == 0
    assert f"600 {ENCRYPTED.replace('mailroom.', 'mailroom.office.')}" in stage.files()
    assert stage.run("check --account office")[1].endswith("All is well.\n")
    stage.host.run("systemctl", "start", "mailroom@office")
    assert stage.run("status --account office")[0] == 0
    stage.host.run("systemctl", "stop", "mailroom@office.socket", "mailroom@office")


def test_a_user_needs_neither_root_nor_a_variable(stage: Stage) -> None:
    stage.host.run("sh", "-c", "id carol || useradd --create-home carol")
    folder = "/home/carol/.config/mailroom"
    stage.host.write(f"{folder}/mailroom.yaml", stage.configuration)
    stage.host.run("chown", "-R", "carol:", "/home/carol")
    as_carol = ("runuser", "-u", "carol", "--", "env", "HOME=/home/carol", "mailroom")
    done = stage.host.run(*as_carol, "login", stdin=SESAME)
    assert f"✓ secret: stored, readable by its owner alone: {folder}/jmap-password\n" in done.stdout
    found = stage.host.run("stat", "--format=%a %U", f"{folder}/jmap-password").stdout
    assert found == "600 carol\n"
    assert stage.host.run(*as_carol, "check").stdout.endswith("All is well.\n")


def test_no_secret_is_shown_anywhere(stage: Stage, claims: Claims) -> None:
    """After all of the above: the journal of the whole host, and what systemd keeps of units."""
    stage.run("login", OTHER)
    with stage.typed("login") as terminal:
        terminal.answer("Password of alice at ", SESAME)
        assert terminal.end() == 0
    stage.host.run("journalctl", "--sync")
    decoded = "python3 -c 'import base64, sys; print(base64.b64decode(open(sys.argv[1]).read()))'"
    places = {
        "terminal": terminal.told,
        "journal": stage.host.run("journalctl", "--output=export").stdout,
        "properties": stage.host.run("systemctl", "show", "*").stdout,
        "transient units": stage.host.run("sh", "-c", "cat /run/systemd/transient/* || :").stdout,
        "encrypted file": stage.host.run("sh", "-c", f"{decoded} {ENCRYPTED}").stdout,
    }
    showing = [name for name, text in places.items() if SESAME in text or OTHER in text]
    claim = f"of {len(places)} places, that show a secret after log-ins"
    claims.at_most(0, len(showing), stage.unit.release, claim)
