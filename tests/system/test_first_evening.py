"""The first evening on fresh hosts: from `apt install` to the first triaged sender by two commands.

What a person at the terminal sees as root on Debian 13 is kept in docs/first-evening.txt;
``make evening`` writes it anew.
"""

import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.system import package, root
from tests.system.claims import Claims
from tests.system.cyrus import CA_FILE, HTTPS_PORT, LOOPBACK, PASSWORD, Cyrus, User, mail
from tests.system.host import Host
from tests.system.names import udp_socket
from tests.system.unit import PROJECT
from tests.terminal import Terminal
from tests.zone import Zone

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

PAGE = (PROJECT / "docs/first-evening.md").read_text()
SESSION = PROJECT / "docs/first-evening.txt"
FRESH = {
    "trixie": package.BUILDER,
    "bookworm": root.BOOKWORM.extended("libpam-systemd", "openssl"),
}
SERVER = "mail.example.org"
ZONE = {
    ("example.org", "MX"): [f"10 {SERVER}."],
    ("_jmap._tcp.example.org", "SRV"): [f"0 1 {HTTPS_PORT} {SERVER}."],
    (SERVER, "A"): [LOOPBACK],
}
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
}
# Of a person who reads: what is typed takes a few seconds.
SECONDS = 180.0
# Debian 12's Cyrus has no push: whoever waits for a poll waits a minute.
PATIENCE_SECONDS = 100.0


@dataclass
class Evening:
    """A fresh host of one release, a mail server known by its name, and the package at hand."""

    release: str
    host: Host
    cyrus: Cyrus


@pytest.fixture(scope="module", params=list(FRESH))
def evening(bootable: None, packages: Path, request: pytest.FixtureRequest) -> Iterator[Evening]:
    with Host.boot(root.ensure(FRESH[request.param])) as host:
        host.copy(packages, "/root/dist")
        host.run("sh", "-c", ": >/etc/apt/sources.list; rm -f /etc/apt/sources.list.d/*")
        host.write("/etc/resolv.conf", f"nameserver {LOOPBACK}\n")
        host.write("/etc/hosts", f"127.0.1.1 {host.read('/proc/sys/kernel/hostname')}")
        with host.network():
            socket = udp_socket()
        socket.bind((LOOPBACK, 53))
        with Zone(ZONE, socket):
            cyrus = Cyrus.start(host)
            cyrus.certify(SERVER)
            cyrus = Cyrus.start(host)
            host.run("cp", CA_FILE, "/usr/local/share/ca-certificates/test.crt")
            host.run("update-ca-certificates")
            yield Evening(request.param, host, cyrus)


def typed() -> list[str]:
    """The commands that the page begins with, as root types them."""
    found = re.search(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found
    lines = [line.partition("#")[0].strip() for line in found[1].splitlines()]
    return [line.removeprefix("sudo ") for line in lines if line]


def answered(terminal: Terminal, address: str) -> None:
    """The questions in their order, as somebody answers them who reads the defaults."""
    answers = {
        "Mail address": address,
        "Mail server": "",
        "User name": address.partition("@")[0],
        "Password": PASSWORD,
        "Categories": "",
        "New mail is sorted by": "",
        "Go on": "",
    }
    for prompt, answer in answers.items():
        terminal.answer(prompt, answer)


def until(is_so: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < end, what


def subjects(user: User, mailbox: str) -> list[str]:
    return [each["subject"] for each in user.mails(user.mailboxes()[mailbox])]


def first_sender(user: User) -> None:
    """A stranger's mail waits; a tap, and it is filed."""
    user.receive(mail("news@example.net", "news"))
    until(lambda: subjects(user, "Screener") == ["news"], "a stranger waits")
    boxes = user.mailboxes()
    [waiting] = user.mails(boxes["Screener"])
    user.patch(waiting["id"], {boxes["@ToFeed"]: True})
    until(lambda: subjects(user, "Feed") == ["news"], "the tap is acted on")
    until(lambda: not subjects(user, "@ToFeed"), "the label is off")


def test_root_has_the_first_sender_after_two_commands(evening: Evening, claims: Claims) -> None:
    alice = evening.cyrus.user("alice")
    install, init = typed()
    assert init == "mailroom init"
    install = install.replace(
        "apt-get install", "DEBIAN_FRONTEND=noninteractive apt-get -y install"
    )
    evening.host.run("sh", "-c", f"cd /root && {install}", timeout=300)
    began = time.monotonic()
    with Terminal(
        evening.host.command(*init.split()), {**ENVIRONMENT, "HOME": "/root"}
    ) as terminal:
        answered(terminal, alice.address)
        assert terminal.end(PATIENCE_SECONDS) == 0, terminal.told
    claims.at_most(SECONDS, time.monotonic() - began, evening.release, "first evening: init, s")
    assert terminal.told.count("All is well.") == 1, terminal.told
    assert "\nPassword: \n" in terminal.told  # and nothing of what was typed
    if evening.release == "trixie":
        recorded(terminal.told)
    first_sender(alice)
    check = evening.host.run("mailroom", "init", "--check")
    assert check.stdout == "Everything is set up and running: nothing to do.\n"


def recorded(told: str) -> None:
    """It is what the documentation shows; or it becomes that."""
    shown = f"# mailroom init\n{normal(told)}"
    if os.environ.get("EVENING") == "docs":
        SESSION.write_text(shown)
    assert SESSION.read_text() == shown, "make evening writes it anew"


def normal(told: str) -> str:
    """What is another each time is always the same."""
    told = re.sub(r"mailroom-check-[0-9a-f]{16}", "mailroom-check-5595afda9f482f60", told)
    told = re.sub(r"\bpid \d+, \w+,", "pid 321, idle,", told)
    told = re.sub(r"\b\d+\.\d\d s from", "0.54 s from", told)
    return re.sub(r"[ \t]+$", "", told, flags=re.MULTILINE)


def test_a_user_has_it_as_well(evening: Evening) -> None:
    """After root, on the same host: another account, another unit."""
    host, carol = evening.host, evening.cyrus.user("carol")
    host.run("useradd", "--create-home", "carol")
    uid = host.run("id", "-u", "carol").stdout.strip()
    host.run("systemctl", "start", f"user@{uid}.service")
    variables = {"HOME": "/home/carol", "XDG_RUNTIME_DIR": f"/run/user/{uid}"}
    as_carol = ("runuser", "-u", "carol", "--")
    with Terminal(
        host.command(*as_carol, "mailroom", "init"), {**ENVIRONMENT, **variables}
    ) as terminal:
        answered(terminal, carol.address)
        assert terminal.end(PATIENCE_SECONDS) == 0, terminal.told
    assert "loginctl enable-linger" in terminal.told
    first_sender(carol)
    own = "/home/carol/.config/mailroom/jmap-password"
    assert host.run("stat", "-c", "%a %U", own).stdout.strip() == "600 carol"


def test_who_has_no_manager_is_told(evening: Evening) -> None:
    evening.host.run("useradd", "--create-home", "dave")
    environ = ("env", "--unset=XDG_RUNTIME_DIR", "HOME=/home/dave")
    as_dave = ("runuser", "-u", "dave", "--", *environ)
    told = evening.host.run(*as_dave, "mailroom", "init", check=False)
    assert told.returncode == 1
    assert "your own service manager does not answer (systemctl --user)" in told.stderr


def test_a_silent_name_server_costs_five_seconds_once(evening: Evening) -> None:
    host = evening.host
    host.write("/etc/resolv.conf", "nameserver 127.0.0.7\n")
    host.write("/root/password", PASSWORD)
    options = ("--account", "silent", "--address", "anna@example.com")
    command = ("mailroom", "init", *options, "--password-file", "/root/password")
    seconds = []
    for is_silent in (False, True):
        with host.network():
            socket = udp_socket()
        socket.bind(("127.0.0.7", 53))
        with Zone({("example.com", "A"): [LOOPBACK]}, socket, is_silent=is_silent) as zone:
            began = time.monotonic()
            told = host.run(*command, check=False)
            seconds.append(time.monotonic() - began)
        assert told.returncode == 2
        assert "give --server" in told.stderr
    host.write("/etc/resolv.conf", f"nameserver {LOOPBACK}\n")
    assert "the name server has not answered within 5 s" in told.stderr
    assert {question.split()[0] for question in zone.questions} == {"example.com."}
    assert 4 < seconds[1] - seconds[0] < 7
