"""Who upgrades from 0.1.0 finds everything as it was, and what CHANGELOG.md says has changed.

The package of 0.1.0 is built from the commit that it was, used for a while with a real Cyrus, and
today's is installed over it: on Debian 13, with the secret encrypted as 0.1.0's documents said, and
on Debian 12, where it is a plain file.
"""

import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from mailroom import __version__
from mailroom.rules.triage.drags import WAITING
from tests.system import package, root
from tests.system.cyrus import PASSWORD, Cyrus, mail
from tests.system.host import Host
from tests.system.scene import value
from tests.system.test_package import ask, forget_mirrors, install
from tests.system.unit import CONTROL, PROJECT, SERVICE, SOCKET, SOCKETS

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

# The last commit before contacts were left alone, people who are known let in, and so on.
FORMER, FORMER_VERSION = "fb1959c2d18c3acdd10068bf9ded801489d60e22", "0.1.0"
NEVERMORE = (
    f"the history here lacks {FORMER[:7]}, of which {FORMER_VERSION} was built: fetch all of it"
)
# Every section that 0.1.0 had, and keys of each.
CONFIGURATION = """\
jmap:
  url: {url}
  username: anna
carddav:
  username: anna
polling:
  poll_interval: 2
  debounce_seconds: 2
  quiet_seconds: 0.2
triage:
  screener_mailbox: Screener
  own_addresses: [anna@example.org]
mailroom:
  warnings_enabled: false
  provenance_group: Mailroom
logging:
  level: debug
  format: text
"""
ENCRYPTED = "/etc/credstore.encrypted/mailroom.jmap-password"
DROP_IN = f"[Service]\nLoadCredentialEncrypted=jmap-password:{ENCRYPTED}\n"
CARD = (
    "BEGIN:VCARD\r\nVERSION:3.0\r\nPRODID:-//test//EN\r\nUID:{name}-uid\r\nFN:{name}\r\n"
    "N:;{name};;;\r\nORG:{name}\r\nEMAIL:{name}@friends.example\r\nNOTE:met in Oslo\r\n"
    "X-FOREIGN:kept\r\nEND:VCARD\r\n"
)
GROUP = "KIND:group"
# In the address book, by Anna's own doing.
FRIENDS = ("dora", "fay")
SECONDS = 30.0


@pytest.fixture(scope="module")
def former(bootable: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package of 0.1.0."""
    archived = ["git", "-C", str(PROJECT), "archive", FORMER]
    made = subprocess.run(archived, capture_output=True, check=False)
    if made.returncode:
        pytest.fail(f"{NEVERMORE} ({made.stderr.decode().strip()})")
    source = tmp_path_factory.mktemp("former") / "mailroom"
    with tarfile.open(fileobj=BytesIO(made.stdout)) as tree:
        tree.extractall(source, filter="data")
    (source / "packaging/debian").rename(source / "debian")
    folder = tmp_path_factory.mktemp("dist-former")
    package.build(source, folder)
    return folder


class Household:
    """Anna's mail on a host of hers, and Mailroom there."""

    def __init__(self, host: Host, cyrus: Cyrus) -> None:
        self.host = host
        self.configuration = CONFIGURATION.format(url=cyrus.url)
        self.user = cyrus.user("anna")
        create = {name: {"name": name, "role": name.lower()} for name in ("Archive", "Sent")}
        assert not self.user.call("Mailbox/set", create=create)["notCreated"]

    def use_former(self, packages: Path, is_encrypted: bool) -> None:
        """Install 0.1.0 and live with it; all by its documents."""
        self.host.copy(packages, "/root/former")
        install(self.host, f"/root/former/mailroom_{FORMER_VERSION}_all.deb")
        self.host.write("/etc/mailroom/mailroom.yaml", self.configuration)
        if is_encrypted:
            self.host.run("install", "-d", "-m", "700", "/etc/credstore.encrypted")
            encrypt = ("systemd-creds", "encrypt", "--name=jmap-password", "-", ENCRYPTED)
            self.host.run(*encrypt, stdin=PASSWORD)
            self.host.write(f"/etc/systemd/system/{SERVICE}.d/override.conf", DROP_IN)
            self.host.run("systemctl", "daemon-reload")
        else:
            self.host.write("/etc/credstore/mailroom.jmap-password", PASSWORD, mode=0o600)
        secret = f"MAILROOM_JMAP_PASSWORD={PASSWORD}"
        self.host.run("env", secret, "mailroom", "setup", "--apply", "--rules")
        for name in FRIENDS:
            self.user.put_card(f"{name}.vcf", CARD.format(name=name))
        self.host.run("systemctl", "restart", "mailroom.socket", SERVICE)
        for name in ("bob", "dora", "pat", "fay", "eve"):
            self.receive(name, f"{name} 1")
        for name, label in (("bob", "@ToFeed"), ("dora", "@ToPaperTrail"), ("pat", "@ToPerson")):
            self.tap(label, f"{name} 1")
        self.await_polls()

    def receive(self, name: str, subject: str) -> None:
        """A mail of somebody's comes in, and goes where the server's rules say."""
        self.user.receive(mail(f"{name} <{name}@friends.example>", subject))

    def mails(self) -> dict[str, set[str]]:
        """Where each mail is, by its subject."""
        names = {identifier: name for name, identifier in self.user.mailboxes().items()}
        return {
            subject: {names[box] for box in found["mailboxIds"]}
            for subject, found in self._found("mailboxIds").items()
        }

    def keywords(self, subject: str) -> set[str]:
        return set(self._found("keywords")[subject]["keywords"])

    def patch(self, subject: str, **mailboxes: bool) -> None:
        """Put a mail into these mailboxes, or take it out of them."""
        there = self.user.mailboxes()
        change = {there[name]: is_in for name, is_in in mailboxes.items()}
        self.user.patch(self._found()[subject]["id"], change)

    def tap(self, label: str, subject: str) -> None:
        """A label, until it is off."""
        self.patch(subject, **{label: True})
        self.until(lambda: label not in self.mails()[subject], f"{label} is off")

    def until(self, holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + SECONDS
        while not holds():
            if time.monotonic() > deadline:
                log = self.host.run("journalctl", "-u", SERVICE, "-n", "20", "--no-pager").stdout
                raise AssertionError(f"not within {SECONDS:.0f} s: {what}\n{self.mails()}\n{log}")

    def until_in(self, subject: str, *mailboxes: str) -> None:
        """Until a mail is in these mailboxes, and in no other."""
        self.until(
            lambda: self.mails().get(subject) == set(mailboxes), f"{subject} is in {mailboxes}"
        )

    def await_polls(self) -> None:
        """Two polls more have ended: all that there was to do is done."""
        before = self.poll_count()
        self.until(lambda: self.poll_count() > before + 1, "two polls")

    def poll_count(self) -> int:
        found = ask(self.host, SOCKET)["poll_count"]
        assert isinstance(found, int)
        return found

    def contacts(self) -> dict[str, str]:
        """The card of each contact, as it is on the server."""
        return {href: text for href, text in self.user.cards().items() if GROUP not in text}

    def card(self, name: str) -> str:
        [card] = [text for text in self.contacts().values() if f":{name}@friends.example" in text]
        return card

    def members(self) -> dict[str, int]:
        """How many are in each contact group."""
        groups = [text for text in self.user.cards().values() if GROUP in text]
        return {value(text.replace("\r", ""), "FN"): text.count("-MEMBER:") for text in groups}

    def _found(self, *properties: str) -> dict[str, dict[str, Any]]:
        """All mails, by their subjects."""
        ids = self.user.call("Email/query")["ids"]
        wanted = ["id", "subject", *properties]
        return {
            each["subject"]: each
            for each in self.user.call("Email/get", ids=ids, properties=wanted)["list"]
        }


@dataclass(frozen=True)
class Upgrade:
    """What was there before, of an account that 0.1.0 was used for and today's package is now."""

    home: Household
    pid: str
    mails: dict[str, set[str]]
    contacts: dict[str, str]
    members: dict[str, int]


@pytest.fixture(scope="module")
def upgrade(each_tree: Path, former: Path, packages: Path) -> Iterator[Upgrade]:
    with Host.boot(each_tree) as host:
        is_trixie = each_tree == root.ensure(root.TRIXIE)
        forget_mirrors(host)
        home = Household(host, Cyrus.start(host, push=is_trixie))
        home.use_former(former, is_encrypted=is_trixie)
        pid = host.property(SERVICE, "MainPID")
        assert ask(host, SOCKET)["version"] == FORMER_VERSION
        before = Upgrade(home, pid, home.mails(), home.contacts(), home.members())
        host.copy(packages, "/root/packages")
        install(host, f"/root/packages/mailroom_{__version__}_all.deb")
        yield before


def test_the_service_runs_on_with_configuration_and_secret_as_they_were(upgrade: Upgrade) -> None:
    host = upgrade.home.host
    for unit in (SERVICE, *SOCKETS):
        assert host.property(unit, "ActiveState") == "active"
        assert host.property(unit, "UnitFileState") == "enabled"
    assert host.property(SERVICE, "MainPID") != upgrade.pid
    upgrade.home.await_polls()
    assert host.read("/etc/mailroom/mailroom.yaml") == upgrade.home.configuration
    assert ask(host, CONTROL)["version"] == __version__
    assert ask(host, SOCKET, "/healthz")["status"] == "ok"


def test_nothing_that_was_there_is_touched(upgrade: Upgrade) -> None:
    """What has come before the upgrade waits on, also of people who are known."""
    assert upgrade.mails == {
        "bob 1": {"Feed"},
        "dora 1": {"Paper Trail"},
        "pat 1": {"Person", "Imbox"},
        "fay 1": {"Screener"},
        "eve 1": {"Screener"},
    }
    assert upgrade.home.mails() == upgrade.mails
    assert upgrade.home.contacts() == upgrade.contacts
    assert upgrade.home.members() == upgrade.members


def test_people_who_are_known_are_let_in_and_strangers_wait(upgrade: Upgrade) -> None:
    """The rules are still those of 0.1.0, which put both into Screener."""
    upgrade.home.receive("fay", "fay 2")
    upgrade.home.until_in("fay 2", "Inbox")
    upgrade.home.receive("eve", "eve 2")
    upgrade.home.until(
        lambda: "eve 2" in upgrade.home.mails() and WAITING in upgrade.home.keywords("eve 2"),
        "eve waits",
    )
    assert upgrade.home.mails()["eve 2"] == {"Screener"}


def test_moving_is_tapping(upgrade: Upgrade) -> None:
    upgrade.home.patch("eve 2", Screener=False, Feed=True)
    upgrade.home.until_in("eve 1", "Feed")
    assert "Triaged to Feed on " in upgrade.home.card("eve")


def test_who_changes_their_mind_leaves_a_contact_of_their_own_as_it_is(upgrade: Upgrade) -> None:
    before = upgrade.home.card("dora")
    assert "Adopted by Mailroom" in before  # 0.1.0 wrote that
    upgrade.home.tap("@ToFeed", "dora 1")
    assert upgrade.home.mails()["dora 1"] == {"Feed"}
    assert upgrade.home.card("dora") == before


def test_person_comes_to_inbox(upgrade: Upgrade) -> None:
    upgrade.home.receive("ida", "ida 1")
    upgrade.home.tap("@ToPerson", "ida 1")
    assert upgrade.home.mails()["ida 1"] == {"Person", "Imbox", "Inbox"}


def test_what_the_account_lacks_is_told_and_made(upgrade: Upgrade) -> None:
    host = upgrade.home.host
    told = host.run("mailroom", "check", "--rules", check=False)
    assert told.returncode == 1
    for lack in ("Mailroom screened", "@WholeDomain", "@WholeList"):
        assert lack in told.stdout
    host.run("mailroom", "setup", "--apply", "--rules")
    assert "All is well." in host.run("mailroom", "check", "--rules").stdout


def test_leaving_takes_out_what_0_1_0_wrote_into_contacts(upgrade: Upgrade) -> None:
    host = upgrade.home.host
    host.run("systemctl", "stop", *SOCKETS, SERVICE)
    host.run("mailroom", "reset", "--apply", "--yes")
    for name in FRIENDS:
        assert upgrade.home.card(name) == CARD.format(name=name).replace("\r\n", "\n")
    places = upgrade.home.mails()
    assert places["bob 1"] == places["dora 1"] == {"Archive"}
    assert places["ida 1"] == {"Inbox"}


def test_purged_it_leaves_nothing(upgrade: Upgrade) -> None:
    host = upgrade.home.host
    host.run("rm", "-rf", f"/etc/systemd/system/{SERVICE}.d")  # which is the administrator's
    host.run("apt-get", "purge", "--yes", "mailroom")
    left = host.run("find", "/etc", "/usr", "/var/lib", "/run", "-name", "*mailroom*").stdout
    assert left == ""
    assert "mailroom" not in host.run("getent", "group").stdout
