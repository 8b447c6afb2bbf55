"""Three accounts of one process, as the system service, on a real Cyrus beside it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.claims import Claims
from tests.system.cyrus import PASSWORD, Cyrus, User, mail
from tests.system.host import Host
from tests.system.scene import furnish
from tests.system.unit import Unit

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

NAMES = ("anna", "otto", "zoe")
SECRETS = "mailroom.account-secrets"


class Household:
    """Mailroom installed, and three users whose mailboxes are ready."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.unit = Unit(host)
        self.cyrus = Cyrus.start(host, push=self.has_identity)
        self.users: dict[str, User] = {name: self.cyrus.user(name) for name in NAMES}
        for user in self.users.values():
            furnish(user)
        host.run("useradd", "--groups", "mailroom-status", "anna")
        self.configure(f"jmap: {{url: '{self.cyrus.url}'}}\n")
        for name in NAMES:
            self.write(name)

    @property
    def has_identity(self) -> bool:
        """systemd 257, where the service sees who asks; there, Cyrus has push, too."""
        return self.unit.release != "bookworm"

    def configure(self, text: str) -> None:
        self.unit.configure(f"screening: {{by: mailroom}}\n{text}")

    def write(self, name: str, more: str = "") -> None:
        text = f"jmap: {{username: {name}}}\nowners: [{name}]\n{more}"
        self.host.write(f"/etc/mailroom/accounts.d/{name}.yaml", text)

    def run(self, command: str, stdin: str = "") -> tuple[int, str]:
        """The exit code, and all that is said."""
        done = self.host.run("sh", "-c", f"{command} 2>&1", check=False, stdin=stdin)
        return done.returncode, done.stdout

    def await_well(self, *names: str) -> None:
        """Wait until these have polled, and are well."""
        self.unit.await_status(
            lambda status: (
                {
                    each["account"]
                    for each in status["members"]
                    if each["status"] == "ok" and each["last_poll_at"]
                }
                >= set(names)
            )
        )

    def connected(self) -> dict[str, int]:
        """How often each account has opened its stream, or without push has begun."""
        kind = "eventsource_connected" if self.has_identity else "eventsource_unavailable"
        whose = [entry["MAILROOM_ACCOUNT"] for entry in self.unit.events(kind)]
        return {name: whose.count(name) for name in NAMES}


@pytest.fixture(scope="module")
def household(each_tree: Path) -> Iterator[Household]:
    with Host.boot(each_tree) as host:
        yield Household(host)


def test_without_any_secret_no_account_is_good_and_it_is_said_why(household: Household) -> None:
    """And not that systemd lacks a credential (243)."""
    unit = household.unit
    assert unit.show("LimitNOFILE") == "65536"
    unit.systemctl("start", check=False)
    unit.await_property("ActiveState", "failed")
    assert unit.show("ExecMainStatus") == "78"
    problems = [entry["MAILROOM_PROBLEM"] for entry in unit.events("config_refused")]
    assert any("mailroom login --account zoe stores one" in each for each in problems)


def test_login_stores_what_each_account_needs(household: Household) -> None:
    household.host.run("systemctl", "reset-failed", "mailroom.service")  # login starts none
    code, told = household.run("mailroom login --account anna", "wrong")
    assert (code, "refuses this password of anna" in told) == (77, True), told
    for name in NAMES:
        code, told = household.run(f"mailroom login --account {name}", PASSWORD)
        assert code == 0, told
        assert "encrypted for this host" in told
    found = household.run("find /etc/credstore /etc/credstore.encrypted -type f -printf '%m %f\n'")
    assert found[1].split("\n")[-2:] == [f"600 {SECRETS}.encrypted", ""]
    household.unit.systemctl("start")
    household.await_well(*NAMES)


def test_the_accounts_are_a_table_and_a_decision_is_about_one(household: Household) -> None:
    code, told = household.run("mailroom status")
    assert code == 0, told
    assert [line.split()[:2] for line in told.splitlines()[-3:]] == [[n, "ok"] for n in NAMES]
    for user in household.users.values():
        user.receive(mail("bob@example.net", "hello"))
    household.run("mailroom poll")
    household.unit.await_status(
        lambda status: all(each["waiting_senders"] == 1 for each in status["members"])
    )
    code, told = household.run("mailroom waiting --account anna --count")
    assert (code, told) == (0, "1\n")
    code, told = household.run("mailroom triage --account anna bob@example.net feed")
    assert code == 0, told
    code, told = household.run("mailroom waiting")
    assert (code, "name one with --account: anna, otto, zoe" in told) == (2, True), told
    code, told = household.run("mailroom log --account anna")
    assert (code, told.count("bob@example.net")) == (0, 1), told
    assert household.run("mailroom log --account zoe") == (0, "")


@pytest.mark.parametrize("command", ["check", "config", "setup", "triage --dry-run", "reset"])
def test_roots_commands_have_the_accounts_secret(household: Household, command: str) -> None:
    code, told = household.run(f"mailroom {command} --account otto")
    assert code == 0, told


def test_root_tries_other_files_of_an_account_with_its_secret(household: Household) -> None:
    """Before they are put to work; the service could not read them."""
    host, there = household.host, "/root/new"
    host.write(f"{there}/mailroom.yaml", f"jmap: {{url: '{household.cyrus.url}'}}\n", mode=0o600)
    host.write(f"{there}/accounts.d/otto.yaml", "jmap: {username: otto}\n", mode=0o600)
    host.run("chmod", "700", there)
    named = f"--config {there}/mailroom.yaml --account otto"
    code, told = household.run(f"mailroom check {named}")
    assert (code, f"configuration: {there}/accounts.d/otto.yaml" in told) == (0, True), told
    host.write(f"{there}/accounts.d/otto.yaml", "jmap: {username: oto}\n", mode=0o600)
    code, told = household.run(f"mailroom check {named}")
    assert code == 77, told


def test_an_owner_decides_where_the_service_sees_who_asks(
    household: Household, claims: Claims
) -> None:
    as_anna = "runuser -u anna -- mailroom waiting --count"
    code, told = household.run(f"{as_anna} --account anna")
    if household.has_identity:
        assert (code, told) == (0, "0\n")
    else:
        assert (code, "needs the control socket" in told) == (1, True), told
    code, told = household.run(f"{as_anna} --account otto")
    assert (code, "group mailroom-control" in told) == (1, True), told
    is_let_in = int(code == 0)
    claims.at_most(0, is_let_in, household.unit.release, "owners who see another's account")


def test_a_reload_touches_the_one_that_has_changed(household: Household, claims: Claims) -> None:
    before = household.connected()
    household.write("zoe", "polling: {poll_interval: 90}\n")
    household.unit.systemctl("reload")
    household.await_well(*NAMES)
    household.unit.await_status(lambda _: household.connected()["zoe"] > before["zoe"])
    after = household.connected()
    others = sum(after[name] - before[name] for name in ("anna", "otto"))
    claim = "accounts that a reload touches beside the one that has changed"
    claims.at_most(0, others, household.unit.release, claim)


def test_a_bad_file_leaves_its_account_as_it_was(household: Household) -> None:
    household.write("otto", "nonsense: 1\n")
    assert household.run("mailroom check")[0] == 78
    household.unit.systemctl("reload")
    # 252 counts it as done a moment before.
    household.unit.await_status(lambda _: "nonsense" in household.run("mailroom status")[1])
    code, told = household.run("mailroom status")
    assert code == 0
    [first, *_] = told.partition("account ")[2].splitlines()[1:]
    assert first.split()[:2] == ["otto", "ok"]
    assert "otto.yaml:3: nonsense: is not a known key" in first
    code, told = household.run("mailroom waiting --account otto --count")
    assert (code, told) == (0, "1\n")
    household.write("otto")


def test_an_administrator_acts_on_behalf_of_all(household: Household) -> None:
    """A Cyrus that is no backend of a Murder refuses it."""
    if not household.has_identity:
        pytest.skip("run on Cyrus 3.10 alone")
    host, unit = household.host, household.unit
    unit.systemctl("stop")
    host.run("rm", "/etc/credstore.encrypted/" + SECRETS + ".encrypted")
    login = "username: admin, authorize_as: '{account}'"
    household.configure(f"jmap: {{url: '{household.cyrus.url}', {login}}}\n")
    for name in NAMES:
        host.write(f"/etc/mailroom/accounts.d/{name}.yaml", "")
    code, told = household.run("mailroom login --password", PASSWORD)
    assert (code, "refuses this password of admin" in told) == (77, True), told
    household.cyrus.act_for_others()
    code, told = household.run("mailroom login --password", PASSWORD)
    assert (code, "account anna" in told) == (0, True), told
    unit.systemctl("restart")
    household.await_well(*NAMES)
    code, told = household.run("mailroom triage --account zoe bob@example.net jail")
    assert code == 0, told
    zoe = household.users["zoe"]
    assert [entry["subject"] for entry in zoe.mails(zoe.mailboxes()["Jail"])] == ["hello"]
