"""Who may decide, on a booted host with a real mail server: by groups, and told apart by name.

On the oldest and the newest systemd that Mailroom works on.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailroom.engine.client import follow
from mailroom.wire.sse import Event, Parser
from tests.schemas import validate
from tests.system.claims import Claims
from tests.system.cyrus import Cyrus, mail
from tests.system.host import Host
from tests.system.scene import Scene, at_work, quiet, set_up
from tests.system.unit import CONTROL, SOCKET, Unit

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

USERS = {"watcher": "mailroom-status", "decider": "mailroom-control", "stranger": "nogroup"}
FEED = {"address": "bob@example.org", "category": "Feed"}


@pytest.fixture(scope="module")
def scene(each_tree: Path) -> Iterator[Scene]:
    with Host.boot(each_tree) as host:
        made = set_up(host, push=True, poll_interval=3600)
        for user, group in USERS.items():
            host.run("useradd", "--groups", group, user)
        made.unit.await_status(lambda status: status["poll_count"] > 0)
        yield made


def ask(
    scene: Scene, user: str, path: str, target: str, body: object = None
) -> tuple[int, dict[str, Any]]:
    """Status and document of the answer; 0 where the socket may not be opened."""
    curl = ["curl", "--silent", "--max-time", "60", "--write-out", "%{stderr}%{http_code}"]
    if body is not None:
        curl += ["--data-binary", json.dumps(body)]
    command = (*curl, "--unix-socket", path, f"http://mailroom{target}")
    done = scene.unit.host.run("runuser", "-u", user, "--", *command, check=False)
    return int(done.stderr), json.loads(done.stdout or "{}")


def test_who_may_look_is_told_what_it_takes_to_decide(scene: Scene) -> None:
    scene.screen("Bob <bob@example.org>")
    quiet(scene)
    assert ask(scene, "watcher", SOCKET, "/status")[0] == 200
    for target, body in (("/waiting", None), ("/triage", FEED)):
        status, document = ask(scene, "watcher", SOCKET, target, body)
        assert status == 403
        validate("error", document)
        assert document["error"].endswith(": group mailroom-control")
        assert ask(scene, "watcher", CONTROL, target, body)[0] == 0
    assert scene.subjects("Screener") == {"0: Bob <bob@example.org>"}


@pytest.mark.parametrize(("path", "group"), [(SOCKET, "status"), (CONTROL, "control")])
def test_who_is_in_no_group_is_told_which_one_to_join(scene: Scene, path: str, group: str) -> None:
    asking = ("runuser", "-u", "stranger", "--", "mailroom", "status", "--socket", path)
    told = scene.unit.host.run(*asking, check=False)
    assert told.returncode == 1
    assert f"no permission to ask at {path}" in told.stderr
    assert f"join the group mailroom-{group} " in told.stderr
    assert told.stderr.endswith("log in again\n")


def test_who_is_in_the_group_decides_and_the_journal_says_who_it_was(scene: Scene) -> None:
    name = {"trixie": "decider", "bookworm": "unknown"}[scene.unit.release]
    scene.screen("Bob <bob@example.org>")
    quiet(scene)
    status, waiting = ask(scene, "decider", CONTROL, "/waiting")
    validate("waiting", waiting)
    assert (status, [each["address"] for each in waiting["waiting"]]) == (200, ["bob@example.org"])

    status, decided = ask(scene, "decider", CONTROL, "/triage", FEED)
    validate("decision", decided)
    assert (status, decided["category"], decided["by"]) == (200, "Feed", name)
    assert scene.subjects("Screener") == set()
    assert "0: Bob <bob@example.org>" in scene.subjects("Feed")
    [triaged] = scene.unit.events("sender_triaged")
    assert (triaged["MAILROOM_BY"], triaged["MAILROOM_TRIGGER"]) == (name, "command")

    status, undone = ask(scene, "root", CONTROL, "/undo", {"address": "bob@example.org"})
    validate("decision", undone)
    # Root is root in every user namespace.
    assert (status, undone["category"], undone["by"]) == (200, None, "root")


OWN = """BEGIN:VCARD
VERSION:3.0
UID:own-friend
FN:Own Friend
N:Friend;Own;;;
EMAIL:own@friend.example
END:VCARD
""".replace("\n", "\r\n")


def typed(scene: Scene, user: str, *words: str) -> str:
    """What a command of this user prints."""
    return scene.unit.host.run("runuser", "-u", user, "--", "mailroom", *words).stdout


def logged(scene: Scene, user: str, address: str) -> tuple[str, list[dict[str, Any]]]:
    """The source of the log, and the sender's entries in it."""
    document = json.loads(typed(scene, user, "log", address, "--since", "7d", "--json"))
    validate("log", document)
    return document["source"], document["entries"]


def test_the_past_is_in_the_journal_and_undo_knows_by_it(scene: Scene) -> None:
    """Of a contact of the user's own nothing but the journal knows where it was before."""
    scene.user.put_card("own-friend.vcf", OWN)
    scene.screen("Own Friend <own@friend.example>", "Ann <ann@new.example>")
    typed(scene, "root", "poll")
    scene.unit.await_status(lambda _: bool(scene.subjects("Inbox")))  # a contact does not wait
    for sender, where in (("own@friend.example", "Inbox"), ("ann@new.example", "Screener")):
        scene.put_on("@ToFeed", where, sender)
        typed(scene, "root", "poll")  # Debian 12's Cyrus has no push
        scene.await_off("@ToFeed")
        typed(scene, "decider", "triage", sender, "Jail")
    scene.unit.systemctl("restart")
    scene.unit.await_status(lambda status: status["poll_count"] > 0)

    name = {"trixie": "decider", "bookworm": "unknown"}[scene.unit.release]
    source, entries = logged(scene, "root", "own@friend.example")
    told = [(each["event"], each["category"], each["by"]) for each in entries]
    assert (source, entries[-1]["trigger"]) == ("journal", "command")
    assert told == [("sender_triaged", "Feed", None), ("sender_retriaged", "Jail", name)]
    assert "own@friend.example" in typed(scene, "root", "log")
    # Who may not read the journal is shown the notes, which contacts of Mailroom's own have.
    source, entries = logged(scene, "decider", "ann@new.example")
    assert (source, [each["category"] for each in entries]) == ("notes", ["Feed", "Jail"])

    assert "Feed" in typed(scene, "root", "undo", "own@friend.example")
    assert scene.groups_of(scene.card_of("own@friend.example")) >= {"Feed"}


@pytest.fixture(scope="module")
def screened(tree: Path) -> Iterator[Scene]:
    """Mailroom itself sorts what comes into Inbox, as soon as it is told."""
    with Host.boot(tree) as host:
        cyrus = Cyrus.start(host, push=True)
        by_mailroom = "screening:\n  by: mailroom\n"
        made = at_work(Unit(host), cyrus.user("alice"), cyrus.url, 3600, by_mailroom)
        made.unit.await_status(lambda status: status["eventsource"]["connected"])
        made.unit.await_status(lambda status: status["waiting"] is not None)
        yield made


def until(events: Iterator[list[Event]], kind: str) -> dict[str, Any]:
    """The next event of that kind; all on the way are checked."""
    for batch in events:
        for event in batch:
            document: dict[str, Any] = json.loads(event.data)
            validate(f"event-{event.type}", document)
            if event.type == kind:
                return document
    raise AssertionError(f"the stream ended before an event {kind}")


def test_mail_that_comes_in_is_told_at_once_by_name_to_who_may_decide(
    screened: Scene, claims: Claims
) -> None:
    def stream(path: str) -> Iterator[list[Event]]:
        events = follow(Path(f"/proc/{screened.unit.host.leader}/root{path}"), Parser())
        assert next(events) == []
        return events

    watching, counting = stream(CONTROL), stream(SOCKET)
    seconds = []
    for number in range(3):
        sender = f"Stranger <{number}@example.org>"
        begun = time.monotonic()
        screened.user.receive(mail(sender, f"Good day {number}"))
        waiting = until(watching, "waiting")
        seconds.append(time.monotonic() - begun)
        [row] = waiting["changed"]
        assert (row["address"], row["name"]) == (f"{number}@example.org", "Stranger")
        assert row["newest"]["subject"] == f"Good day {number}"
        told = until(counting, "waiting")
        assert told["mails"] == waiting["mails"] == number + 1
        assert told.keys() & {"changed", "gone"} == set()
    claims.at_most(5, max(seconds), screened.unit.release, "mail by LMTP, until it is told", "s")
