"""The main job, end to end: a label is put on a mail, and the unit files its sender, on Cyrus."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

from tests.system.cyrus import PASSWORD
from tests.system.host import Host
from tests.system.scene import CATEGORIES, Scene, is_triaged, quiet, set_up, value
from tests.system.unit import PROJECT, SERVICE

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def pushed(tree: Path) -> Iterator[Scene]:
    """Push works, and a poll that push does not cause is an hour away."""
    with Host.boot(tree) as host:
        scene = set_up(host, push=True, poll_interval=3600)
        scene.unit.await_status(lambda status: status["eventsource"]["connected"])
        yield scene


@pytest.fixture(scope="module")
def unpushed(tree: Path) -> Iterator[Scene]:
    with Host.boot(tree) as host:
        yield set_up(host, push=False, poll_interval=1)


def test_one_tap_is_one_pushed_poll_that_files_the_sender(pushed: Scene) -> None:
    pushed.screen(*["Bob <bob@example.org>"] * 3, "eve@example.org")
    before = quiet(pushed)
    seconds = pushed.tap("@ToFeed", "Screener", "bob@example.org")
    after = quiet(pushed)

    assert pushed.subjects("Feed") == {f"{n}: Bob <bob@example.org>" for n in range(3)}
    assert pushed.subjects("Screener") == {"3: eve@example.org"}
    card = pushed.card_of("bob@example.org")
    assert value(card, "FN") == "Bob"
    assert "Created by Mailroom\\nTriaged to Feed on " in value(card, "NOTE")
    assert pushed.groups_of(card) == {"Feed", "Mailroom"}
    # The server tells of its own accord once a second at most; the rest is Mailroom.
    assert seconds < 3
    # One poll for the tap and none for what it wrote itself, although that was heard of.
    assert after["poll_count"] == before["poll_count"] + 1
    assert after["last_poll_trigger"] == "push"
    assert after["eventsource"]["last_event"] > after["last_poll_at"]


def test_the_journal_and_systemctl_tell_the_story(pushed: Scene) -> None:
    pushed.screen("Carol <carol@example.org>")
    pushed.tap("@ToPaperTrail", "Screener", "carol@example.org")
    pushed.unit.await_status(is_triaged("carol@example.org"))

    [triaged] = [
        entry
        for entry in pushed.unit.events("sender_triaged")
        if entry["MAILROOM_SENDER"] == "carol@example.org"
    ]
    assert (triaged["MAILROOM_CATEGORY"], triaged["MAILROOM_FILED"]) == ("Paper Trail", "1")
    assert triaged["_SYSTEMD_UNIT"] == SERVICE
    polls = pushed.unit.events("poll_completed")
    assert [each["MAILROOM_TRIGGER"] for each in polls if each["MAILROOM_SENDERS"] == "1"][
        -1
    ] == "push"
    pushed.unit.await_told("push connected; last poll ")
    # As a word: systemd names the credential account-secrets.
    assert not re.search(rf"\b{PASSWORD}\b", json.dumps(pushed.unit.host.journal(SERVICE)))


def test_the_answers_of_the_status_socket_keep_their_schemas(pushed: Scene) -> None:
    for name in ("healthz", "status"):
        schema = json.loads((PROJECT / f"mailroom/schema/{name}.schema.json").read_text())
        jsonschema.validate(json.loads(pushed.unit.ask(f"/{name}")), schema)
    assert json.loads(pushed.unit.ask("/healthz"))["status"] == "ok"
    assert "mailroom_" in pushed.unit.ask("/metrics")


def test_a_second_label_takes_the_sender_elsewhere(pushed: Scene) -> None:
    pushed.screen("Dan <dan@example.org>")
    pushed.tap("@ToFeed", "Screener", "dan@example.org")
    pushed.tap("@ToTruck", "Feed", "dan@example.org")

    subject = "0: Dan <dan@example.org>"
    there = {name for name in CATEGORIES if subject in pushed.subjects(name)}
    assert there == {"Truck", "Paper Trail"}
    card = pushed.card_of("dan@example.org")
    assert pushed.groups_of(card) == {"Truck", "Paper Trail", "Mailroom"}
    assert "\\nTriaged to Feed on " in value(card, "NOTE")
    assert "\\nRe-triaged to Truck on " in value(card, "NOTE")


def test_a_user_asks_with_the_command_line(pushed: Scene) -> None:
    assert "push" in pushed.unit.host.run("mailroom", "status").stdout
    before = pushed.unit.status()["poll_count"]
    pushed.unit.host.run("mailroom", "poll")
    after = pushed.unit.await_status(lambda status: status["poll_count"] > before)
    assert after["last_poll_trigger"] == "manual"


def test_without_push_fallback_polls_do_the_work_and_say_so(unpushed: Scene) -> None:
    unpushed.unit.await_status(lambda status: status["poll_count"] > 0)  # the one at the start
    unpushed.screen("Fay <fay@example.org>")
    unpushed.tap("@ToFeed", "Screener", "fay@example.org")
    done = unpushed.unit.await_status(is_triaged("fay@example.org"))

    assert unpushed.subjects("Feed") == {"0: Fay <fay@example.org>"}
    assert done["recent_triages"][0]["trigger"] == "fallback"
    assert done["eventsource"]["status"] == "unavailable"
    assert done["status"] == "ok"
    polls = unpushed.unit.events("poll_completed")
    assert "fallback" in {entry["MAILROOM_TRIGGER"] for entry in polls}
    assert "push" not in unpushed.unit.status()["totals"]["polls"]
    unpushed.unit.await_told("no push")


def test_refused_credentials_end_it_for_good_and_it_says_so(unpushed: Scene) -> None:
    unit = unpushed.unit
    unit.give_secret("jmap-password", "not the password")
    unit.systemctl("restart")
    unit.await_property("ActiveState", "failed")
    assert (unit.show("ExecMainStatus"), unit.show("NRestarts")) == ("77", "0")
    [refusal] = unit.events("credentials_refused")
    assert refusal["PRIORITY"] == "3"
    assert "refused" in unit.show("StatusText")
    assert "not the password" not in json.dumps(unit.host.journal(SERVICE))
