"""docs/first-evening.md to the letter: its commands, in its order, as root on a fresh Debian 13."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system import package, root
from tests.system.cyrus import HTTP_PORT, LOOPBACK, PASSWORD, Cyrus, User, mail
from tests.system.host import Host
from tests.system.unit import PROJECT

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

PAGE = (PROJECT / "docs/first-evening.md").read_text()
FASTMAIL = "MAILROOM_JMAP_TOKEN"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(kind: str) -> list[str]:
    return [text for found, text in FENCE.findall(PAGE) if found == kind]


def commands() -> list[str]:
    """What a reader types whose server is not Fastmail, as the page says for root."""
    found = []
    for kind, text in FENCE.findall(PAGE):
        if kind == "console":
            found += [line.removeprefix("$ ") for line in text.splitlines() if line[:2] == "$ "]
        elif kind == "sh" and FASTMAIL not in text:
            found += re.sub(r"\|\n +", "| ", text).splitlines()
    typed = [line.replace("sudo ", "") for line in found if "adduser" not in line]
    end = next(number for number, line in enumerate(typed) if line.startswith("systemctl stop"))
    return [line for line in typed[:end] if "--watch" not in line]


@pytest.fixture(scope="module")
def host(packages: Path) -> Iterator[Host]:
    with Host.boot(root.ensure(package.BUILDER)) as booted:
        booted.copy(packages, "/root/mailroom/dist")
        booted.run("sh", "-c", ": >/etc/apt/sources.list; rm -f /etc/apt/sources.list.d/*")
        yield booted


@pytest.fixture(scope="module")
def alice(host: Host) -> User:
    return Cyrus.start(host).user("alice")


def test_the_page_from_nothing_to_the_first_triage(host: Host, alice: User) -> None:
    """One shell types it all; what it would read from a terminal, it reads from a pipe."""
    typed = commands()
    secret = next(number for number, line in enumerate(typed) if line.startswith("read "))
    told = shell(host, [*typed[:secret], edited(host), *typed[secret:]])
    assert told.returncode == 0, told.stdout[-3000:] + told.stderr[-3000:]
    assert told.stdout.count("All is well.") == 2
    assert "29 to create: mailroom setup --apply" in told.stdout
    assert "29 created, 0 there already" in told.stdout
    assert "traces: all removed" in told.stdout
    assert PASSWORD not in told.stdout + told.stderr
    assert "! own addresses" not in told.stdout  # the page has the reader name them
    assert len(typed) <= 16

    alice.receive(mail("news@example.org", "news"))
    waiting = alice.mails(alice.mailboxes()["Screener"])
    assert [each["subject"] for each in waiting] == ["news"]


def edited(host: Host) -> str:
    """A command in place of the editor: the configuration says what the page says."""
    [example] = blocks("yaml")
    host.write("/root/said", example.replace("mail.example.org", f"http://{LOOPBACK}:{HTTP_PORT}"))
    return "cp /root/said /etc/mailroom/mailroom.yaml"


def shell(host: Host, lines: list[str]) -> subprocess.CompletedProcess[str]:
    """The lines in a bash of root's, which stops at the first that fails."""
    script = "\n".join(["set -eu", "cd /root/mailroom", *lines])
    script = script.replace("apt-get install", "apt-get install --yes")
    return host.run("bash", "-c", script, check=False, stdin=f"{PASSWORD}\n", timeout=300)
