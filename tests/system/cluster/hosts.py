"""Three hosts that the commands of docs/fleet.md make a cluster, and a mail server beside them."""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from xml.etree import ElementTree

from tests.system import root
from tests.system.cluster.guide import EVERY, Step, steps
from tests.system.cluster.network import Network
from tests.system.cyrus import CA_FILE, HTTPS_PORT, PASSWORD, Cyrus
from tests.system.host import Host

CLUSTER = root.TRIXIE.extended(
    "corosync",
    "crmsh",
    "iproute2",
    "openssh-server",
    "pacemaker",
    "pacemaker-cli-utils",
    "rsync",
)
NUMBERS = {"n1": 1, "n2": 2, "n3": 3, "n4": 4}
FIRST = ("n1", "n2", "n3")
SHARDS = 6
# A start of Pacemaker waits for the cluster, and crm for Pacemaker.
COMMAND_SECONDS = 180.0

_MAIL = "mail"
_UNITS = "mailroom-shard@*.service"
_SECRETS = "/etc/credstore.encrypted/mailroom.account-secrets.encrypted"
_CONFIGURATION = f"""\
jmap: {{url: "https://{_MAIL}:{HTTPS_PORT}"}}
tls: {{ca_file: /etc/mailroom/ca.pem}}
"""


class Cluster:
    """The hosts by their names, as they are added; all go with `stack`."""

    def __init__(self, packages: Path, stack: contextlib.ExitStack) -> None:
        self._packages = packages
        self._stack = stack
        self._keys = _key_pair()
        self.mail = self._boot(_MAIL)
        self.network = Network(self.mail)
        self.cyrus = _mail_server(self.mail)
        self.hosts: dict[str, Host] = {}
        self.followed: set[str] = set()

    def add(self, name: str) -> None:
        """A fresh host, on the network, where root may log in from the others."""
        host = self._boot(name)
        self.network.join(host, NUMBERS[name])
        host.write("/root/.ssh/id_ed25519", self._keys[0], 0o600)
        host.write("/root/.ssh/authorized_keys", self._keys[1], 0o600)
        # The keys of the hosts are those of their root: they are one another's.
        known = f"{','.join(NUMBERS)} {host.read('/etc/ssh/ssh_host_ed25519_key.pub')}"
        host.write("/root/.ssh/known_hosts", known, 0o600)
        for path in self._packages.glob("mailroom_*_all.deb"):
            there = Path(f"/proc/{host.leader}/root/root") / path.name
            there.write_bytes(path.read_bytes())
        self.hosts[name] = host

    def configure(self, accounts: Sequence[str]) -> None:
        """On n1 alone, as somebody does who has followed the chapters before."""
        first = self.hosts["n1"]
        first.write("/etc/mailroom/mailroom.yaml", _CONFIGURATION)
        first.write("/etc/mailroom/ca.pem", self.mail.read(CA_FILE))
        for account in accounts:
            first.write(
                f"/etc/mailroom/accounts.d/{account}.yaml", f"jmap: {{username: {account}}}\n"
            )
        secrets = "".join(f"{account}.jmap-password: {PASSWORD}\n" for account in accounts)
        encrypt = (
            "systemd-creds",
            "encrypt",
            "--with-key=host",
            "--name=account-secrets.encrypted",
        )
        first.run(*encrypt, "-", _SECRETS, stdin=secrets)

    def follow(self, section: str) -> None:
        """Type what that section of the guide says, where it says so."""
        for step in steps(section):
            self.type(step)
        self.followed.add(section)

    def type(self, step: Step) -> str:
        """Type commands of the guide; returns what they print."""
        places = list(self.hosts) if step.place == EVERY else [step.place]
        command = ("sh", "-ec", f"cd /root\n{step.commands}")
        printed = [
            self.hosts[name].run(*command, timeout=COMMAND_SECONDS).stdout for name in places
        ]
        return "".join(printed)

    def kill(self, name: str) -> None:
        """As if its plug were pulled."""
        host = self.hosts.pop(name)
        os.kill(host.leader, signal.SIGKILL)

    def running(self) -> dict[str, list[str]]:
        """Instance of a shard -> the hosts that run it, as their systemd says."""
        found: dict[str, list[str]] = {}
        shown = ("systemctl", "list-units", "--plain", "--no-legend", "--state=active", _UNITS)
        for name, host in self.hosts.items():
            for line in host.run(*shown).stdout.splitlines():
                unit = line.split()[0]
                found.setdefault(unit.partition("@")[2].removesuffix(".service"), []).append(name)
        return found

    def members(self) -> dict[str, set[str]]:
        """Instance of a shard -> the accounts that it says it has."""
        found: dict[str, set[str]] = {}
        for instance, names in self.running().items():
            socket = f"/run/mailroom-shard/{instance}/status.sock"
            ask = ("curl", "--silent", "--show-error", "--unix-socket", socket)
            told = self.hosts[names[0]].run(*ask, "http://mailroom/status").stdout
            found[instance] = {member["account"] for member in json.loads(told)["members"]}
        return found

    def placed(self, seen_by: str = "n1") -> dict[str, list[str]]:
        """Shard -> where Pacemaker says that it is started."""
        told = self.hosts[seen_by].run("crm_mon", "-1", "--output-as=xml").stdout
        return {
            resource.get("id", ""): [node.get("name", "") for node in resource.iter("node")]
            for resource in ElementTree.fromstring(told).iter("resource")
            if resource.get("role") == "Started" and not resource.get("pending")
        }

    def online(self, seen_by: str = "n1") -> set[str]:
        """The hosts that this one hears of, itself included."""
        told = self.hosts[seen_by].run("crm_mon", "-1", "--output-as=xml", check=False).stdout
        if not told:
            return set()
        nodes = ElementTree.fromstring(told).iterfind("./nodes/node")
        return {node.get("name", "") for node in nodes if node.get("online") == "true"}

    def await_that(self, holds: Callable[[], bool], what: str, seconds: float = 60) -> float:
        """Wait until it is so; returns the seconds it took."""
        begun = time.monotonic()
        while not holds():
            if time.monotonic() - begun > seconds:
                raise AssertionError(f"not within {seconds} s: {what}\n{self._told()}")
        return time.monotonic() - begun

    def _told(self) -> str:
        seen = [host.run("crm_mon", "-1", check=False).stdout for host in self.hosts.values()]
        return "\n".join([str(self.running()), *seen])

    def _boot(self, name: str) -> Host:
        host = self._stack.enter_context(Host.boot(root.ensure(CLUSTER)))
        host.run("hostname", name)
        names = "".join(f"{Network.address(number)} {each}\n" for each, number in NUMBERS.items())
        host.write("/etc/hosts", f"127.0.0.1 localhost\n{Network.HUB} {_MAIL}\n{names}")
        host.run("sh", "-c", ": >/etc/apt/sources.list; rm -f /etc/apt/sources.list.d/*")
        return host


def _mail_server(host: Host) -> Cyrus:
    """Cyrus, for whoever comes by HTTPS: for 60 accounts, which two hosts may serve at a time."""
    cyrus = Cyrus.start(host)
    cyrus.certify(_MAIL)
    settings = host.read("/etc/cyrus.conf")
    there = f'listen="127.0.0.1:{HTTPS_PORT}" maxchild=50'
    assert there in settings
    host.write("/etc/cyrus.conf", settings.replace(there, f'listen="{HTTPS_PORT}" maxchild=400'))
    host.run("systemctl", "restart", "cyrus-imapd.service")
    return cyrus


def _key_pair() -> tuple[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "key"
        command = f"ssh-keygen -q -t ed25519 -N '' -C cluster -f {shlex.quote(str(file))}"
        subprocess.run(shlex.split(command), check=True)
        return file.read_text(), file.with_suffix(".pub").read_text()
