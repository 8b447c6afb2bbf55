"""autopkgtest: the installed package does its main job, against Cyrus on this machine."""

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.system.cyrus import PASSWORD, Cyrus, mail
from tests.system.host import Host

SENDER = "bob@example.org"
SECONDS = 30.0


class ThisMachine(Host):
    """The machine that this runs on, for those who expect a test host."""

    def __init__(self) -> None:
        self.name = "localhost"

    @contextlib.contextmanager
    def network(self) -> Iterator[None]:
        """Its network is where we are."""
        yield

    def _enter(self) -> list[str]:
        return []


def main() -> None:
    """Screen a mail, put a label on it, and wait until Mailroom has filed it."""
    machine = ThisMachine()
    user = Cyrus.start(machine).user("alice")
    machine.write(
        "/etc/mailroom/mailroom.yaml",
        f"jmap:\n  url: http://127.0.0.1:8008\n  username: {user.name}\n"
        "polling:\n  poll_interval: 3600\n",
    )
    machine.write("/etc/credstore/mailroom.jmap-password", PASSWORD, mode=0o600)
    command = ("env", f"MAILROOM_JMAP_PASSWORD={PASSWORD}", "mailroom")
    machine.run(*command, "setup", "--apply")
    machine.run(*command, "check")
    boxes = user.mailboxes()
    user.receive(mail(f"Bob <{SENDER}>"))
    [arrived] = user.mails(boxes["Inbox"])
    user.patch(arrived["id"], {boxes["Inbox"]: False, boxes["Screener"]: True})

    machine.run("systemctl", "start", "mailroom")
    await_push(machine)
    user.patch(arrived["id"], {boxes["@ToFeed"]: True})
    began = time.monotonic()
    while user.mails(boxes["@ToFeed"]):
        if time.monotonic() - began > SECONDS:
            raise SystemExit(machine.run("journalctl", "-u", "mailroom").stdout)
        time.sleep(0.05)

    [filed] = user.mails(boxes["Feed"])
    assert set(filed["mailboxIds"]) == {boxes["Feed"]}, filed
    assert any(SENDER in card for card in user.cards().values())
    [told] = [
        entry
        for entry in machine.journal("mailroom.service")
        if entry.get("MAILROOM_EVENT") == "sender_triaged"
    ]
    assert told["MAILROOM_SENDER"] == SENDER, told
    status = json.loads(machine.run("mailroom", "status", "--json").stdout)
    assert [each["trigger"] for each in status["recent_triages"]] == ["push"], status
    print(f"filed {time.monotonic() - began:.2f} s after the tap")  # noqa: T201
    print(machine.run("mailroom", "status").stdout)  # noqa: T201 - exits 0: healthy


def await_push(machine: Host) -> None:
    """Wait until the service has looked for the first time, and hears of what changes."""
    deadline = time.monotonic() + SECONDS
    while True:
        status = json.loads(machine.run("mailroom", "status", "--json").stdout)
        if (
            status["poll_count"]
            and status["phase"] == "idle"
            and status["eventsource"]["connected"]
        ):
            return
        if time.monotonic() > deadline:
            raise SystemExit(machine.run("systemctl", "status", "mailroom", check=False).stdout)
        time.sleep(0.05)


if __name__ == "__main__":
    main()
