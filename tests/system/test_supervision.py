"""What becomes of the work when service or server fail: systemd and Mailroom together, on Cyrus."""

import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.system.claims import Claims
from tests.system.cyrus import PASSWORD, Cyrus
from tests.system.host import Host
from tests.system.scene import Scene, set_up, value
from tests.system.unit import SERVICE

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

POLL_INTERVAL = 60
BOB = "bob@example.org"
MANY = 2000


@pytest.fixture(scope="module")
def scene(tree: Path) -> Iterator[Scene]:
    with Host.boot(tree) as host:
        yield set_up(host, push=True, poll_interval=POLL_INTERVAL)


@pytest.fixture(scope="module")
def crowded(scene: Scene) -> Scene:
    """Bob has written two thousand times, and waits in Screener."""
    scene.screen(*[f"Bob <{BOB}>"] * MANY)
    return scene


def has_polled(status: dict[str, Any]) -> bool:
    return status["last_poll_at"] is not None and status["phase"] == "idle"


def is_back(status: dict[str, Any]) -> bool:
    return has_polled(status) and status["eventsource"]["connected"]


def count(scene: Scene, mailbox: str) -> int:
    wanted = {"ids": [scene.mailboxes[mailbox]], "properties": ["totalEmails"]}
    [found] = scene.user.call("Mailbox/get", **wanted)["list"]
    return int(found["totalEmails"])


def test_a_service_that_stood_still_polls_again(scene: Scene, claims: Claims) -> None:
    unit = scene.unit
    unit.override(WatchdogSec="2s")
    unit.systemctl("restart")
    unit.await_status(is_back)
    begun = time.monotonic()
    unit.host.run("kill", "-STOP", before := unit.show("MainPID"))
    status = unit.await_status(is_back)
    seconds = time.monotonic() - begun
    assert status["pid"] != int(before)
    claims.at_most(6, seconds, unit.release, "SIGSTOP, until it has polled (WatchdogSec=2)", "s")
    unit.override()
    unit.systemctl("restart")


def test_a_crash_in_the_middle_of_a_triage_is_finished_by_the_next_start(
    crowded: Scene, claims: Claims
) -> None:
    unit, before = crowded.unit, crowded.unit.await_status(is_back)
    crowded.put_on("@ToFeed", "Screener", BOB)
    while not any(BOB in card for card in crowded.unfolded_cards()):
        pass  # until it has made the contact
    unit.host.run("systemctl", "kill", "--signal=KILL", SERVICE)
    begun = time.monotonic()
    assert crowded.mails("@ToFeed")  # it had not come to the end
    crowded.await_off("@ToFeed", 60)
    seconds = time.monotonic() - begun

    assert unit.status()["pid"] != before["pid"]
    assert (count(crowded, "Feed"), count(crowded, "Screener")) == (MANY, 0)
    card = crowded.card_of(BOB)  # there is one
    assert value(card, "NOTE").count("Triaged to") == 1
    assert crowded.groups_of(card) == {"Feed", "Mailroom"}
    claim = f"SIGKILL in a triage of {MANY} mails, until it is done"
    claims.at_most(30, seconds, unit.release, claim, "s")


def test_a_stop_in_the_middle_of_a_poll_is_at_once(crowded: Scene, claims: Claims) -> None:
    unit = crowded.unit
    before = unit.await_status(is_back)
    crowded.put_on("@ToJail", "Feed", BOB)
    unit.await_status(
        lambda status: status["totals"]["requests"] > before["totals"]["requests"] + 2
    )
    unit.systemctl("stop")
    seconds = unit.seconds_between("ActiveExit", "ExecMainExit")
    assert crowded.mails("@ToJail")  # it had not come to the end
    assert unit.show("Result") == "success"
    claim = f"stop in a poll of {MANY} mails"
    claims.at_most(0.1, seconds, unit.release, claim, "s")

    unit.systemctl("start")
    crowded.await_off("@ToJail", 60)
    assert (count(crowded, "Jail"), count(crowded, "Feed")) == (MANY, 0)


def test_a_server_that_is_down_is_waited_for(scene: Scene, claims: Claims) -> None:
    unit = scene.unit
    before = unit.await_status(is_back)
    unit.host.run("systemctl", "stop", "cyrus-imapd.service")
    unit.host.run("mailroom", "poll")
    unit.await_status(lambda status: status["totals"]["polls_failed"] >= 3)
    down = unit.await_status(lambda status: status["phase"] == "backing-off")
    assert down["pid"] == before["pid"]
    assert not down["eventsource"]["connected"]
    unit.await_told("polls fail, trying again: ")
    assert unit.show("ActiveState") == "active"

    Cyrus.start(unit.host)
    begun = time.monotonic()
    after = unit.await_status(is_back, POLL_INTERVAL)
    seconds = time.monotonic() - begun
    assert after["pid"] == before["pid"]
    assert datetime.fromisoformat(after["last_poll_at"]) > datetime.fromisoformat(
        before["last_poll_at"]
    )
    assert after["status"] == "ok"
    claims.at_most(POLL_INTERVAL, seconds, unit.release, "server back, until it has polled", "s")


def test_refused_credentials_are_not_tried_again_for_whoever_asks(
    scene: Scene, claims: Claims
) -> None:
    unit = scene.unit
    unit.give_secret("jmap-password", "not the password")
    earlier = len(unit.events("credentials_refused"))
    with unit.asked_on_and_on() as answers:
        unit.systemctl("restart")
        unit.await_property("ActiveState", "failed")
        asked = len(answers)
        while len(answers) < asked + 100:  # all in vain, and none has woken it
            assert unit.show("ActiveState") == "failed"
    assert (unit.show("ExecMainStatus"), unit.show("NRestarts")) == ("77", "0")
    assert "refused" in unit.show("StatusText")
    refused = len(unit.events("credentials_refused")) - earlier
    claims.at_most(1, refused, unit.release, "exit 77, asked on and on", "log-in")

    unit.give_secret("jmap-password", PASSWORD)
    unit.systemctl("restart")  # brings the socket back as well
    unit.await_status(is_back)
