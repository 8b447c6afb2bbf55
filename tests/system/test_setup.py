"""From an empty account to a working screener and back: on Cyrus, by the commands of a user."""

import json
import re
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from mailroom.rules.triage.drags import PLACED, WAITING
from tests.system.cyrus import PASSWORD, Cyrus, User, mail
from tests.system.host import Host
from tests.system.unit import Unit

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

ALICE = (
    "BEGIN:VCARD\r\nVERSION:3.0\r\nPRODID:-//test//EN\r\nUID:dora-uid\r\nFN:Dora\r\nN:;Dora;;;\r\n"
    "ORG:Dora\r\nEMAIL:dora@example.org\r\nNOTE:met in Oslo\r\nX-FOREIGN:kept\r\nEND:VCARD\r\n"
)
SIEVE = "https://cyrusimap.org/ns/jmap/sieve"


class Server(Protocol):
    """A mail server of that host's."""

    @property
    def url(self) -> str: ...

    def user(self, name: str) -> User: ...


@dataclass(frozen=True)
class Evening:
    """A host with a mail server and Mailroom installed; nothing is set up."""

    host: Host
    server: Server
    unit: Unit

    def newcomer(self, name: str, more: str = "") -> "Home":
        """A new user, for whom Mailroom is configured now, with ``more``."""
        self.unit.systemctl("stop", check=False)
        home = Home(self, self.server.user(name))
        home.configure(more)
        return home


@dataclass(frozen=True)
class Home:
    """One user, and the commands that the user types."""

    evening: Evening
    user: User

    def configure(self, more: str = "") -> None:
        jmap = f"jmap:\n  url: {self.evening.server.url}\n  username: {self.user.name}\n"
        self.evening.unit.configure(jmap + more)

    def type(self, *words: str, code: int = 0) -> str:
        """Run a command of Mailroom's; returns what it prints."""
        done = self.evening.host.run(*self.line(*words), check=False)
        assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def type_and_kill(self, seconds: float, *words: str) -> bool:
        """Run a command and kill it after so long; returns whether it was still running."""
        line = ["timeout", "--signal=KILL", f"{seconds}", *self.line(*words)]
        return self.evening.host.run(*line, check=False).returncode != 0

    def line(self, *words: str) -> list[str]:
        """The whole command line, with the secrets where a shell would have them."""
        secret = f"MAILROOM_JMAP_PASSWORD={PASSWORD}"
        return ["env", "COLUMNS=120", secret, f"MAILROOM_CARDDAV_PASSWORD={PASSWORD}", "mailroom",
                *words]  # fmt: skip

    def serve(self) -> None:
        """Start the service, and wait until it hears, and has looked at what was there before."""
        self.evening.unit.give_secret("jmap-password", PASSWORD)
        self.evening.unit.give_secret("carddav-password", PASSWORD)
        self.evening.unit.systemctl("restart")
        self.evening.unit.await_status(
            lambda status: status["eventsource"]["connected"] and status["poll_count"] > 0
        )

    def tap(self, sender: str, label: str) -> None:
        """Label the newest mail of a sender in Screener, and wait until the label is off."""
        boxes = self.user.mailboxes()
        found = [entry for entry in self.user.mails(boxes["Screener"])
                 if entry["from"][0]["email"] == sender]  # fmt: skip
        self.user.patch(found[-1]["id"], {boxes[label]: True})
        deadline = time.monotonic() + 30
        while self.user.mails(boxes[label]):
            assert time.monotonic() < deadline, self.evening.unit.status()

    def places(self) -> dict[str, list[str]]:
        """Subject -> names of the mailboxes."""
        boxes = self.user.mailboxes()
        names = {mailbox_id: name for name, mailbox_id in boxes.items()}
        mails = {entry["id"]: entry for box in boxes.values() for entry in self.user.mails(box)}
        return {
            entry["subject"]: sorted(names[box] for box in entry["mailboxIds"])
            for entry in mails.values()
        }

    def marked(self) -> set[str]:
        """The subjects of the mails that bear a keyword of ours, wherever they are."""
        ids = [
            mail_id
            for keyword in (WAITING, PLACED)
            for mail_id in self.user.call("Email/query", filter={"hasKeyword": keyword})["ids"]
        ]
        properties = ["subject"]
        mails = self.user.call("Email/get", ids=ids, properties=properties)["list"] if ids else []
        return {each["subject"] for each in mails}

    def script(self, name: str, text: str) -> None:
        """Write a script and make it active, as another program does."""
        upload = self.user.request("POST", f"/jmap/upload/{self.user.name}/", text.encode(),
                                   {"Content-Type": "application/sieve"})[2]  # fmt: skip
        create = {"s": {"name": name, "blobId": json.loads(upload)["blobId"]}}
        destroy = [each["id"] for each in self.scripts() if each["name"] == name]
        if destroy:
            self.sieve("SieveScript/set", update={destroy[0]: {"blobId": create["s"]["blobId"]}})
        else:
            self.sieve("SieveScript/set", create=create, onSuccessActivateScript="#s")

    def scripts(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.sieve("SieveScript/get", ids=None)["list"]
        return found

    def sieve(self, method: str, **arguments: object) -> dict[str, list[dict[str, Any]]]:
        call = [method, {"accountId": self.user.name, **arguments}, "0"]
        body = {"using": ["urn:ietf:params:jmap:core", SIEVE], "methodCalls": [call]}
        headers = {"Content-Type": "application/json"}
        answer = json.loads(
            self.user.request("POST", "/jmap/", json.dumps(body).encode(), headers)[2]
        )
        name, content, _ = answer["methodResponses"][0]
        assert name == method, content
        assert content.get("notCreated") is content.get("notUpdated") is None, content
        result: dict[str, list[dict[str, Any]]] = content
        return result


@pytest.fixture(scope="module")
def evening(tree: Path) -> Iterator[Evening]:
    with Host.boot(tree) as host:
        yield Evening(host, Cyrus.start(host), Unit(host))


def test_from_nothing_to_the_first_triaged_sender(evening: Evening) -> None:
    home = evening.newcomer("alice")
    before = home.user.mailboxes()
    assert "29 to create: mailroom setup --apply" in home.type("setup")
    assert home.user.mailboxes() == before
    assert home.user.cards() == {}
    assert home.type("setup", "--apply").endswith("29 created, 0 there already\n")
    assert home.type("setup", "--apply").endswith("0 created, 29 there already\n")
    assert {"INBOX/@ToFeed", "INBOX/Screener", "INBOX/Feed"} <= home.user.subscribed()
    assert "All is well." in home.type("check")
    assert "mailroom setup --apply --rules" in home.type("check", "--rules", code=1)
    told = home.type("setup", "--apply", "--rules")
    assert "the script mailroom: written" in told
    assert "the script mailroom: exists" in home.type("setup", "--apply", "--rules")
    assert "is active and up to date" in home.type("check", "--rules")

    home.serve()
    bob, kid = "Bob <bob@example.org>", "Kid <kid@example.org>"
    home.user.receive(mail(bob, "bob 1"), mail(kid, "kid 1"), mail("eve@example.org", "eve 1"))
    assert set(map(tuple, home.places().values())) == {("Screener",)}
    home.tap("bob@example.org", "@ToFeed")
    home.tap("kid@example.org", "@ToPerson")
    script = home.scripts()
    # The address in another case, the script as it was: groups are all that has changed.
    home.user.receive(
        mail("B <BOB@example.org>", "bob 2"), mail(kid, "kid 2"), mail("e@x.org", "e")
    )
    assert home.scripts() == script
    assert home.places() == {
        "bob 1": ["Feed"], "bob 2": ["Feed"], "eve 1": ["Screener"], "e": ["Screener"],
        "kid 1": ["Imbox", "Inbox", "Person"], "kid 2": ["Imbox", "Inbox", "Person"],
    }  # fmt: skip
    home.user.receive(mail("imp@example.org", "imp 1"))
    home.tap("imp@example.org", "@ToImbox")
    home.user.receive(mail("imp@example.org", "imp 2"))
    assert home.places()["imp 2"] == ["Imbox", "Inbox"]


@pytest.mark.parametrize("by", ["server", "mailroom"])
def test_the_live_check_times_the_tap_and_leaves_nothing(evening: Evening, by: str) -> None:
    home = evening.newcomer(f"lena{by}", f"screening: {{by: {by}}}\n")
    home.type("setup", "--apply", "--rules")
    home.user.put_card("dora.vcf", ALICE)
    home.serve()
    home.user.receive(mail("eve@example.org", "eve"))
    deadline = time.monotonic() + 30
    while home.marked() != {"eve"}:
        assert time.monotonic() < deadline, home.evening.unit.status()
    before = home.places(), home.user.cards()
    told = home.type("check", "--live", "--within", "5")
    found = re.search(r"by push, (\d+\.\d+) s from the label to done", told)
    assert found, told
    assert float(found[1]) < 3
    assert "traces: all removed" in told
    assert "more than 0.001 s" in home.type("check", "--live", "--within", "0.001", code=1)
    assert (home.places(), home.user.cards()) == before
    assert home.marked() == {"eve"}
    assert home.evening.unit.status()["totals"]["arrivals"] == {"unknown": 1}


def test_the_live_check_cleans_up_after_ctrl_c(evening: Evening) -> None:
    home = evening.newcomer("rita")
    home.type("setup", "--apply")
    home.serve()
    before = home.places(), home.user.cards()
    interrupted = 0
    for seconds in ("0.9", "1.5", "2.1", "2.7"):
        line = ["timeout", "--signal=INT", seconds, *home.line("check", "--live")]
        interrupted += "interrupted" in evening.host.run(*line, check=False).stdout
        assert (home.places(), home.user.cards()) == before
    assert interrupted


def test_a_users_own_script_stays_at_work(evening: Evening) -> None:
    home = evening.newcomer("otto")
    home.type("setup", "--apply")
    own = 'if header :contains "subject" "list" { keep; stop; }\n'
    home.script("own", own)
    told = home.type("setup", "--apply", "--rules", code=1)
    assert "Your own script 'own' is active and stays so." in told
    assert 'include :personal "mailroom";' in told
    assert {each["name"]: each["isActive"] for each in home.scripts()} == {
        "own": True, "mailroom": False,
    }  # fmt: skip
    home.script("own", f'require "include";\n{own}include :personal "mailroom";\n')
    assert "the script mailroom: exists" in home.type("setup", "--apply", "--rules")
    assert "is active and up to date" in home.type("check", "--rules")
    home.user.receive(mail("eve@example.org", "eve"), mail("eve@example.org", "a list"))
    assert home.places() == {"eve": ["Screener"], "a list": ["Inbox"]}


def test_a_script_of_an_earlier_version_is_written_anew_and_goes_when_none_is_needed(
    evening: Evening,
) -> None:
    home = evening.newcomer("olga")
    home.type("setup", "--apply")
    screener = home.user.mailboxes()["Screener"]
    extensions = 'require ["fileinto", "mailboxid"];\n'
    home.script("mailroom", f'{extensions}fileinto :mailboxid "{screener}" "Screener";\n')
    home.user.put_card("dora.vcf", ALICE)
    home.user.receive(mail("Dora <dora@example.org>", "before"))
    assert "is from an earlier version" in home.type("check", "--rules", code=1)
    assert "the script mailroom: written" in home.type("setup", "--apply", "--rules")
    home.user.receive(mail("Dora <dora@example.org>", "after"), mail("eve@example.org", "eve"))
    assert home.places() == {"before": ["Screener"], "after": ["Inbox"], "eve": ["Screener"]}
    home.configure("screening: {by: mailroom}\n")
    assert "is still there" in home.type("check", "--rules")
    assert "the script mailroom: removed" in home.type("setup", "--apply", "--rules")
    assert home.scripts() == []
    assert "none are needed" in home.type("setup", "--rules")


def test_reset_takes_what_is_mailrooms_and_leaves_what_is_the_users(evening: Evening) -> None:
    home = evening.newcomer("carl")
    own = home.user.make_mailboxes("Feed")["Feed"]
    home.user.receive(mail("old@friend.example", "mine"))
    [mine] = home.user.mails(home.user.mailboxes()["Inbox"])
    places = {f"mailboxIds/{own}": True, f"mailboxIds/{home.user.mailboxes()['Inbox']}": None}
    home.user.call("Email/set", update={mine["id"]: places})
    assert "holds 1 mail, which stays yours" in home.type("setup", "--apply", "--rules")
    home.user.receive(*(mail("Bob <bob@example.org>", f"bob {n}") for n in range(30)))
    home.user.receive(mail("Dora <dora@example.org>", "dora"), mail("eve@example.org", "eve"))
    home.serve()
    home.user.put_card("dora.vcf", ALICE)  # afterwards: a friend's mail would not wait
    dora = home.user.cards()[home.user.address_book + "dora.vcf"]
    home.tap("bob@example.org", "@ToTruck")
    home.tap("dora@example.org", "@ToFeed")
    assert home.places()["bob 7"] == ["Paper Trail", "Truck"]
    assert "a service answers for carl" in home.type("reset", "--apply", "--yes", code=1)
    evening.unit.host.run("systemctl", "stop", "mailroom.socket", "mailroom.service")
    assert "add --yes" in home.type("reset", "--apply", code=1)
    home.user.call("Email/set", update={mine["id"]: {f"keywords/{PLACED}": True}})
    home.user.receive(mail("fay@example.org", "late"))
    shown = home.type("reset").splitlines()
    assert shown[0] == "routing rules: the script mailroom is switched off and removed"
    assert shown[1] == "33 mails: to Inbox"  # the account has no Archive
    assert shown[2] == "1 mail: kept in other mailboxes, out of Mailroom's"
    assert home.marked() == {"eve", "late", "mine"}
    assert "contact Bob: made by Mailroom and not edited: deleted" in shown
    done = home.type("reset", "--apply", "--yes", "--remove").splitlines()
    assert done[: len(shown) - 1] == shown[:-1]
    places_now = home.places()
    assert places_now.pop("mine") == ["Feed"]
    assert set(map(tuple, places_now.values())) == {("Inbox",)}
    assert home.user.cards() == {home.user.address_book + "dora.vcf": dora}
    assert home.user.mailboxes().keys() == {"Inbox", "Feed"}
    assert home.marked() == set()
    assert "There is nothing to undo." in home.type("reset")


def test_mail_that_comes_in_during_a_reset_is_not_left_behind(evening: Evening) -> None:
    home = evening.newcomer("nora")
    home.type("setup", "--apply", "--rules")
    home.user.receive(*(mail(f"s{n}@example.org", f"before {n}") for n in range(300)))
    assert len(home.marked()) == 300
    line = shlex.join(home.line("reset", "--apply", "--yes"))
    log = "/tmp/reset.log"
    evening.host.run("sh", "-c", f"({line}; echo code $?) >{log} 2>&1 </dev/null &")
    number, deadline = 0, time.monotonic() + 60
    while "code" not in evening.host.read(log):
        home.user.receive(mail("eve@example.org", f"meanwhile {number}"))
        number += 1
        assert time.monotonic() < deadline
    assert "code 0" in evening.host.read(log)
    assert number > 5
    assert home.marked() == set()
    assert set(map(tuple, home.places().values())) == {("Inbox",)}
    assert len(home.places()) == 300 + number


def test_2500_mails_survive_a_reset_that_is_killed_again_and_again(evening: Evening) -> None:
    home = evening.newcomer("mona")
    home.type("setup", "--apply")
    boxes = home.user.mailboxes()
    home.user.receive(*(mail(f"s{n % 9}@example.org", f"{n}") for n in range(2500)))
    ids = [entry["id"] for entry in home.user.mails(boxes["Inbox"])]
    places = {f"mailboxIds/{boxes['Screener']}": True, f"mailboxIds/{boxes['Inbox']}": None}
    home.user.call("Email/set", update=dict.fromkeys(ids, places))
    evening.unit.host.run("systemctl", "stop", "mailroom.socket", "mailroom.service")
    sure = ("reset", "--apply", "--yes", "--rules-are-off")
    killed = [home.type_and_kill(0.6 + n / 5, *sure) for n in range(4)]
    assert any(killed)
    home.type(*sure)
    assert {entry["id"] for entry in home.user.mails(boxes["Inbox"])} == set(ids)
    assert home.user.mails(boxes["Screener"]) == []
