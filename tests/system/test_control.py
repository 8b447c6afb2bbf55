"""Who may decide, on a booted host with a real mail server: by groups, and told apart by name.

On the oldest and the newest systemd that Mailroom works on.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.schemas import validate
from tests.system.host import Host
from tests.system.scene import Scene, quiet, set_up
from tests.system.unit import CONTROL, SOCKET

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
