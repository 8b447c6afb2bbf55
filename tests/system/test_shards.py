"""Shards as units: they make their sockets themselves, and what was stopped stays stopped."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailroom.rules.configuration.shard import Shard
from tests.system.claims import Claims
from tests.system.cyrus import PASSWORD, Cyrus, mail
from tests.system.host import Host
from tests.system.scene import furnish
from tests.system.unit import Unit

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

TEMPLATE = "mailroom-shard@.service"
# Nothing listens there: accounts are up and back off.
CONFIGURATION = "jmap: {url: 'http://127.0.0.1:9', username: '{account}%master'}\n"
NAMES = ("anna", "otto", "zoe", "bob")
GROUPS = {"status": "mailroom-status", "control": "mailroom-control"}


class Shards:
    """Mailroom installed on a host, with accounts, none of its units started."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.unit = Unit(host)
        self.unit.add(TEMPLATE)
        self.unit.configure(CONFIGURATION)
        self.unit.give_secret("jmap-password", "secret")
        for name in NAMES:
            self.write(name)

    def write(self, name: str, text: str = "") -> None:
        self.host.write(f"/etc/mailroom/accounts.d/{name}.yaml", text)

    def systemctl(self, verb: str, *shards: str, check: bool = True) -> None:
        self.host.run("systemctl", "reset-failed", check=False)
        self.host.run("systemctl", verb, *map(service, shards), check=check)

    def show(self, shard: str, name: str) -> str:
        return self.host.property(service(shard), name)

    def ask(self, shard: str, path: str) -> dict[str, Any]:
        curl = ("curl", "--silent", "--show-error", "--max-time", "10")
        asked = self.host.run(*curl, *at(shard, "status"), f"http://mailroom{path}")
        answer: dict[str, Any] = json.loads(asked.stdout)
        return answer

    def run(self, command: str, stdin: str = "") -> tuple[int, str]:
        """The exit code, and all that is said."""
        done = self.host.run("sh", "-c", f"{command} 2>&1", check=False, stdin=stdin)
        return done.returncode, done.stdout

    def await_waiting(self, account: str, senders: int, seconds: float = 20) -> None:
        """Wait until mail of so many senders waits."""
        deadline = time.monotonic() + seconds
        count = f"mailroom waiting --account {account} --count"
        while (told := self.run(count)) != (0, f"{senders}\n"):
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds} s; the last answer: {told}")

    def accounts(self, shard: str) -> set[str]:
        return {each["account"] for each in self.ask(shard, "/accounts")["accounts"]}


def service(shard: str) -> str:
    return f"mailroom-shard@{shard}.service"


def at(shard: str, name: str) -> tuple[str, str]:
    """Where curl is to ask."""
    return "--unix-socket", f"/run/mailroom-shard/{shard}/{name}.sock"


def having(number: int, count: int) -> set[str]:
    return {name for name in NAMES if Shard(count, number).has(name)}


@pytest.fixture(scope="module")
def booted(each_tree: Path) -> Iterator[Shards]:
    with Host.boot(each_tree) as host:
        yield Shards(host)


@pytest.fixture
def shards(booted: Shards) -> Iterator[Shards]:
    yield booted
    booted.systemctl("stop", "*")


def test_systemd_finds_nothing_wrong_with_the_unit(booted: Shards, claims: Claims) -> None:
    host, release = booted.host, booted.unit.release
    found = host.run("systemd-analyze", "verify", "--man=no", f"/etc/systemd/system/{TEMPLATE}")
    said = [line.split(": ", 1)[1] for line in (found.stdout + found.stderr).splitlines()]
    newer = ["Failed to parse boolean value, ignoring: identity"]
    assert said == (newer if release == "bookworm" else [])
    exposed = host.run("systemd-analyze", "security", service("1-2")).stdout
    exposure = float(exposed.rsplit("level for mailroom-shard@1-2.service: ", 1)[1].split()[0])
    # The service's own, and its groups; on 252, that its users are the host's.
    limit = 1.4 if release == "bookworm" else 1.2
    claims.at_most(limit, exposure, release, "exposure of a shard")


@pytest.mark.parametrize("name", GROUPS)
def test_a_socket_is_for_its_group_alone(shards: Shards, name: str) -> None:
    shards.systemctl("start", "1-2")
    asking = ("curl", "--silent", *at("1-2", name), "http://mailroom/healthz")
    for group in ("nogroup", *GROUPS.values()):
        become = ("setpriv", "--reuid=nobody", f"--regid={group}", "--clear-groups")
        told = shards.host.run(*become, *asking, check=False)
        if group == GROUPS[name]:
            assert json.loads(told.stdout)["status"] == "ok"
        else:
            assert told.returncode == 7  # curl(1): failed to connect


def test_two_on_one_host_do_not_meet(shards: Shards) -> None:
    shards.systemctl("start", "1-2", "2-2")
    found = [shards.accounts("1-2"), shards.accounts("2-2")]
    assert found == [having(1, 2), having(2, 2)]
    assert all(found)
    pids = [shards.show(each, "MainPID") for each in ("1-2", "2-2")]
    users = {shards.host.run("stat", "-c", "%u", f"/proc/{pid}").stdout for pid in pids}
    assert len(users) == 2
    shards.systemctl("restart", "1-2")
    shards.systemctl("stop", "1-2")
    assert shards.host.run("ls", "/run/mailroom-shard").stdout == "2-2\n"
    assert str(shards.ask("2-2", "/status")["pid"]) == pids[1]


def test_nothing_starts_again_what_was_stopped(shards: Shards) -> None:
    shards.systemctl("start", "1-2")
    shards.systemctl("stop", "1-2")
    asking = ("curl", "--silent", *at("1-2", "status"), "http://mailroom/healthz")
    assert shards.host.run(*asking, check=False).returncode == 7
    assert shards.show("1-2", "ActiveState") == "inactive"
    assert shards.show("1-2", "Result") == "success"


def test_one_that_is_killed_is_back_with_its_sockets(shards: Shards) -> None:
    shards.systemctl("start", "1-2")
    before = shards.show("1-2", "MainPID")
    shards.host.run("systemctl", "kill", "--signal=KILL", service("1-2"))
    wait = f"until systemctl is-active -q {service('1-2')}; do sleep 0.05; done"
    shards.host.run("sh", "-c", f"sleep 0.1; {wait}")
    assert shards.show("1-2", "MainPID") != before
    assert shards.accounts("1-2") == having(1, 2)
    told = shards.host.run("stat", "-c", "%G", *(at("1-2", each)[1] for each in GROUPS)).stdout
    assert told.split() == list(GROUPS.values())


def test_one_without_accounts_is_up_and_takes_what_comes_with_a_reload(shards: Shards) -> None:
    [empty] = [n for n in (1, 2, 3, 4, 5, 6) if not having(n, 6)][:1]
    shards.systemctl("start", f"{empty}-6")
    assert shards.ask(f"{empty}-6", "/healthz")["status"] == "ok"
    assert shards.accounts(f"{empty}-6") == set()
    new = next(f"new{n}" for n in range(99) if Shard(6, empty).has(f"new{n}"))
    shards.write(new)
    shards.systemctl("reload", f"{empty}-6")  # which 252 does not wait for
    for _ in range(200):
        if shards.accounts(f"{empty}-6") == {new}:
            break
    else:
        raise AssertionError(f"{new} was not taken")
    shards.host.run("rm", f"/etc/mailroom/accounts.d/{new}.yaml")


@pytest.mark.parametrize("broken", ["mailroom.yaml", "accounts.d"])
def test_one_that_cannot_start_stays_down_and_says_why(shards: Shards, broken: str) -> None:
    file = f"/etc/mailroom/{broken}"
    shards.host.run("mv", file, "/etc/mailroom/kept")
    shards.systemctl("start", "1-2", check=False)
    shards.host.run("mv", "/etc/mailroom/kept", file)
    assert shards.show("1-2", "ActiveState") == "failed"
    assert (shards.show("1-2", "ExecMainStatus"), shards.show("1-2", "NRestarts")) == ("78", "0")
    assert broken in shards.show("1-2", "StatusText")


@pytest.mark.parametrize("instance", ["7-6", "x"])
def test_an_instance_that_is_no_shard_says_so(shards: Shards, instance: str) -> None:
    shards.systemctl("start", instance, check=False)
    assert shards.show(instance, "ActiveState") == "failed"
    assert (shards.show(instance, "ExecMainStatus"), shards.show(instance, "NRestarts")) == (
        "2",
        "0",
    )
    told = [entry["MESSAGE"] for entry in shards.host.journal(service(instance))]
    assert any("is not a shard: write 2/6" in each for each in told)


def test_a_namespace_without_the_groups_keeps_the_sockets_from_them(shards: Shards) -> None:
    """Why the unit has no PrivateUsers=yes for 252 (seen: 252.39)."""
    if shards.unit.release != "bookworm":
        pytest.skip("257 has PrivateUsers=identity")
    folder = f"/etc/systemd/system/{TEMPLATE}.d"
    shards.host.write(f"{folder}/test.conf", "[Service]\nPrivateUsers=yes\n")
    shards.host.run("systemctl", "daemon-reload")
    shards.systemctl("start", "1-2")
    told = shards.host.run("stat", "-c", "%G", *(at("1-2", each)[1] for each in GROUPS)).stdout
    shards.host.run("rm", "-r", folder)
    shards.host.run("systemctl", "daemon-reload")
    assert not set(told.split()) & set(GROUPS.values())


# Commands


@pytest.fixture
def both(shards: Shards) -> Shards:
    shards.systemctl("start", "1-2", "2-2")
    return shards


# The first account of each shard of two.
FIRST, SECOND = (min(having(number, 2)) for number in (1, 2))


def test_all_accounts_of_the_host_are_one_table(both: Shards) -> None:
    code, told = both.run("mailroom status")
    assert code == 0, told
    lines = told.splitlines()
    assert [line.split()[1] for line in lines if line.startswith("shard")] == ["1/2:", "2/2:"]
    assert sorted(line.split()[0] for line in lines[-len(NAMES) :]) == sorted(NAMES)
    code, told = both.run("mailroom status --json")
    assert {shard: len(each["members"]) for shard, each in json.loads(told)["shards"].items()} == {
        "1/2": len(having(1, 2)),
        "2/2": len(having(2, 2)),
    }


def test_a_command_about_an_account_goes_to_its_shard(both: Shards) -> None:
    for name in NAMES:
        code, told = both.run(f"mailroom status --account {name}")
        assert (code, "http://127.0.0.1:9" in told) == (0, True), told
    code, told = both.run("mailroom waiting")
    assert (code, told.count("\n")) == (2, 1)
    assert f"there are 4 accounts here: name one with --account: {', '.join(sorted(NAMES))}" in told
    code, told = both.run("mailroom waiting --account eve")
    assert (code, "there is no account eve: there are " in told) == (2, True), told


def test_what_is_about_all_is_about_all_shards(both: Shards) -> None:
    assert both.run("mailroom poll") == (0, "")
    code, told = both.run("mailroom metrics")
    assert (code, told.count("# HELP mailroom_healthy ")) == (0, 1)
    assert all(f'mailroom_healthy{{account="{name}"}}' in told for name in NAMES)
    code, told = both.run("mkdir -p /tmp/prom && mailroom metrics --into /tmp/prom && ls /tmp/prom")
    assert (code, told) == (0, "mailroom-shard@1-2.prom\nmailroom-shard@2-2.prom\n")


def test_the_timer_for_prometheus_may_ask_them(both: Shards) -> None:
    folder = "/var/lib/prometheus/node-exporter"
    both.host.run("mkdir", "--parents", folder)
    both.unit.add("mailroom-textfile.service")
    both.host.run("systemctl", "start", "mailroom-textfile")
    for instance in ("1-2", "2-2"):
        told = both.host.read(f"{folder}/mailroom-shard@{instance}.prom")
        assert f'mailroom_up{{unit="mailroom-shard@{instance}"}} 1\n' in told


def test_watch_hears_all_shards_and_those_that_come(both: Shards) -> None:
    both.systemctl("stop", "2-2")
    background = "mailroom watch --json >/tmp/told 2>&1 & echo $!"
    pid = both.host.run("sh", "-c", background).stdout.strip()
    for new in (FIRST, SECOND):
        if new == SECOND:
            both.systemctl("start", "2-2")
        for _ in range(100):
            both.host.run("mailroom", "poll")
            told = both.host.read("/tmp/told")
            if f'"account": "{new}"' in told:
                break
        else:
            raise AssertionError(told)
    both.host.run("kill", pid)


def test_an_account_on_another_host_is_said_to_be_there(both: Shards) -> None:
    both.systemctl("stop", "2-2")
    code, told = both.run(f"mailroom waiting --account {SECOND}")
    assert (code, told.count("\n")) == (1, 1)
    assert f"{SECOND} is an account of shard 2/2, which does not run on this host: look for" in told
    code, told = both.run(f"mailroom status --socket {at('2-2', 'status')[1]}")
    assert (code, "shard 2/2 does not run on this host" in told) == (1, True), told
    code, told = both.run("mailroom status")
    assert (code, SECOND in told, FIRST in told) == (0, False, True)
    both.systemctl("stop", "1-2")
    for command in ("status", f"waiting --account {FIRST}", "poll", "watch"):
        code, told = both.run(f"mailroom {command}")
        assert (code, told.count("\n")) == (1, 1)
        assert told.startswith("mailroom: no shard runs on this host any more: look for")


def test_root_has_the_secrets_of_a_shard_wherever_it_runs(both: Shards) -> None:
    both.systemctl("stop", "2-2")
    for name in (FIRST, SECOND):
        code, told = both.run(f"mailroom config --account {name}")
        assert (code, "jmap-password: set (from the cred" in told) == (0, True), told
        code, told = both.run(f"mailroom check --account {name}")
        assert (code, "nobody answers there" in told) == (1, True), told
    # The command was run as the shard is, and left its sockets where they are.
    assert both.accounts("1-2") == having(1, 2)


def test_an_owner_decides_by_the_status_socket_of_a_shard(both: Shards) -> None:
    """On 252 as well, where the service sees who asks."""
    both.write(FIRST, f"owners: [{FIRST}]\n")
    both.host.run("useradd", "--groups", "mailroom-status", FIRST)
    both.systemctl("reload", "1-2")  # which may be over before the service has read the file
    waiting = f"runuser -u {FIRST} -- mailroom waiting --count --account"
    for _ in range(50):
        code, told = both.run(f"{waiting} {FIRST}")
        if "mailroom-control" not in told:  # it is let in, and there is no mail server
            break
    else:
        raise AssertionError(told)
    code, told = both.run(f"{waiting} {SECOND}")
    assert (code, "group mailroom-control" in told) == (1, True), told


def test_plain_service_or_not_it_is_the_shards_that_are_asked(both: Shards) -> None:
    both.unit.systemctl("start")
    code, told = both.run("mailroom status")
    both.host.run("systemctl", "stop", "mailroom.socket", "mailroom.service")
    assert (code, told.count("\nshard ")) == (0, 1), told


def test_who_may_not_ask_is_told_which_group_it_takes(both: Shards) -> None:
    become = "setpriv --reuid=nobody --regid={} --clear-groups"
    code, told = both.run(f"{become.format('nogroup')} mailroom status")
    assert (code, "join the group mailroom-status" in told) == (1, True), told
    code, told = both.run(f"{become.format('mailroom-status')} mailroom waiting --account {FIRST}")
    assert (code, "group mailroom-control" in told) == (1, True), told


# With a mail server


class Household:
    """Two shards on a host that has a mail server, one account in each."""

    def __init__(self, host: Host) -> None:
        self.shards = Shards(host)
        self.cyrus = Cyrus.start(host)
        host.run("sh", "-c", "rm /etc/credstore/* /etc/mailroom/accounts.d/*")
        self.shards.unit.configure(
            f"screening: {{by: mailroom}}\njmap: {{url: '{self.cyrus.url}'}}\n"
        )
        self.users = {name: self.cyrus.user(name) for name in (FIRST, SECOND)}
        for name, user in self.users.items():
            furnish(user)
            self.shards.write(name, f"jmap: {{username: {name}}}\n")
            code, told = self.shards.run(f"mailroom login --account {name}", PASSWORD)
            assert code == 0, told
        self.shards.systemctl("start", "1-2", "2-2")


@pytest.fixture(scope="module")
def household(tree: Path) -> Iterator[Household]:
    with Host.boot(tree) as host:
        yield Household(host)


def test_a_decision_is_made_by_the_shard_that_has_the_account(household: Household) -> None:
    shards = household.shards
    for name, user in household.users.items():
        user.receive(mail("bob@example.net", "hello"))
        shards.await_waiting(name, senders=1)  # what still stands in Inbox is filed a poll later
        code, told = shards.run(f"mailroom triage --account {name} bob@example.net feed")
        assert code == 0, told
        [found] = user.mails(user.mailboxes()["Feed"])
        assert found["subject"] == "hello"
        code, told = shards.run(f"mailroom log --account {name}")
        assert (code, told.count("bob@example.net")) == (0, 1), told
    code, told = shards.run("mailroom log")
    assert (code, told.count("bob@example.net")) == (0, 2), told
    code, told = shards.run(f"mailroom setup --account {SECOND} --apply")
    assert code == 0, told


def test_login_starts_the_shard_anew_and_names_the_other_hosts(household: Household) -> None:
    shards = household.shards
    before = {each: shards.show(each, "MainPID") for each in ("1-2", "2-2")}
    code, told = shards.run(f"mailroom login --account {FIRST}", PASSWORD)
    assert (code, "mailroom-shard@1-2 was restarted and uses it" in told) == (0, True), told
    assert "only on this host: repeat this on every other host that may run shard 1/2" in told
    after = {each: shards.show(each, "MainPID") for each in ("1-2", "2-2")}
    assert (after["1-2"] == before["1-2"], after["2-2"] == before["2-2"]) == (False, True)
    shards.systemctl("stop", "2-2")
    code, told = shards.run(f"mailroom login --account {SECOND}", PASSWORD)
    assert (code, "was restarted" in told) == (0, False), told
    assert shards.show("2-2", "ActiveState") == "inactive"


def test_reset_is_refused_while_a_shard_may_serve_the_account(household: Household) -> None:
    shards = household.shards
    shards.systemctl("start", "2-2")
    shards.systemctl("stop", "1-2")
    reset = "mailroom reset --apply --yes --account"
    code, told = shards.run(f"{reset} {FIRST}")
    assert (code, "shard 1/2 may serve" in told) == (1, True), told
    code, told = shards.run(f"{reset} {SECOND}")
    file = "/etc/mailroom/accounts.d/{}" + f"{SECOND}.yaml"
    switch = f"mv {file.format('')} {file.format('.')} && systemctl reload mailroom-shard@2-2"
    assert (code, f"stop it first ({switch})" in told) == (1, True), told
    shards.host.run("sh", "-c", switch)
    code, told = shards.run(f"{reset} {SECOND}")
    assert code == 0, told
