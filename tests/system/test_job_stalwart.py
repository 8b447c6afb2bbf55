"""The main job as a unit, and the commands of a user, with a real Stalwart. Run on 0.15.5.

``STALWART=PROGRAM`` starts the one at that path, in the network of a booted Debian host.
"""

import base64
import contextlib
import http.client
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.relay import Relay
from tests.chaos.stalwart import cases_by
from tests.servers import SERVER
from tests.system.cyrus import LOOPBACK, PASSWORD, mail
from tests.system.host import Host
from tests.system.scene import Scene, at_work, is_triaged, quiet, value
from tests.system.stalwart import Stalwart
from tests.system.test_setup import Evening, Home
from tests.system.unit import SERVICE, Unit

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(900),
    pytest.mark.skipif("STALWART" not in os.environ, reason="STALWART names no server"),
]

BOB = "Bob <bob@example.org>"
EMPTIED = "JSPROP;JSPTR=members:{}"
# An address that has tried five passwords in vain is out.
BANS = """
[server.auto-ban]
auth.rate = "5/1d"
[http]
use-x-forwarded = true
"""
DORA = (
    "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:dora-uid\r\nFN:Dora\r\nN:;Dora;;;\r\n"
    "EMAIL:dora@example.org\r\nNOTE:met in Oslo\r\nX-FOREIGN:kept\r\nEND:VCARD\r\n"
)


@pytest.fixture(scope="module")
def evening(tree: Path) -> Iterator[Evening]:
    with Host.boot(tree) as host, Stalwart.run(host) as stalwart:
        yield Evening(host, stalwart, Unit(host))


@pytest.fixture(params=["carddav", "jmap"], ids="by {}".format)
def way(request: pytest.FixtureRequest, evening: Evening) -> str:
    assert isinstance(evening.server, Stalwart)
    request.node.user_properties.append((SERVER, evening.server.program.version))
    found: str = request.param
    return found


def newcomer(request: pytest.FixtureRequest) -> str:
    """The name of a user of this test alone."""
    return re.sub(r"[\W_]", "", request.node.name.removeprefix("test_"))[-40:]


def contacts(way: str) -> str:
    return f"contacts:\n  by: {way}\n"


@pytest.fixture
def scene(evening: Evening, way: str, request: pytest.FixtureRequest) -> Scene:
    """Push works, and a poll that push does not cause is an hour away."""
    evening.unit.systemctl("stop", check=False)
    name = newcomer(request)
    user = evening.server.user(name)
    scene = at_work(evening.unit, user, evening.server.url, 3600, contacts(way))
    scene.unit.await_status(lambda status: status["eventsource"]["connected"])
    return scene


def test_one_tap_is_one_pushed_poll_that_files_the_sender(scene: Scene) -> None:
    scene.screen(*[BOB] * 3, "eve@example.org")
    before = quiet(scene)
    seconds = scene.tap("@ToFeed", "Screener", "bob@example.org")
    after = quiet(scene)

    assert scene.subjects("Feed") == {f"{n}: {BOB}" for n in range(3)}
    assert scene.subjects("Screener") == {"3: eve@example.org"}
    card = scene.card_of("bob@example.org")
    assert value(card, "FN") == "Bob"
    assert "Created by Mailroom\\nTriaged to Feed on " in value(card, "NOTE")
    assert scene.groups_of(card) == {"Feed", "Mailroom"}
    assert seconds < 20  # it is a debug build, on a machine that does other things
    # One poll for the tap and none for what it wrote itself, although that was heard of.
    assert after["poll_count"] == before["poll_count"] + 1
    assert after["last_poll_trigger"] == "push"


def test_a_second_label_takes_the_sender_elsewhere_and_the_third_back(scene: Scene) -> None:
    scene.screen("Dan <dan@example.org>")
    scene.tap("@ToFeed", "Screener", "dan@example.org")
    scene.tap("@ToTruck", "Feed", "dan@example.org")
    card = scene.card_of("dan@example.org")
    assert scene.groups_of(card) == {"Truck", "Paper Trail", "Mailroom"}
    assert "\\nRe-triaged to Truck on " in value(card, "NOTE")
    scene.tap("@ToScreener", "Truck", "dan@example.org")
    scene.unit.await_status(lambda status: status["phase"] == "idle")
    assert scene.subjects("Screener") == {"0: Dan <dan@example.org>"}
    assert not [each for each in scene.unfolded_cards() if "dan@example.org" in each]


def test_what_the_journal_tells_has_no_secret(scene: Scene) -> None:
    scene.screen("Carol <carol@example.org>")
    scene.tap("@ToPaperTrail", "Screener", "carol@example.org")
    scene.unit.await_status(is_triaged("carol@example.org"))
    triaged = scene.unit.events("sender_triaged")[-1]
    assert (triaged["MAILROOM_CATEGORY"], triaged["MAILROOM_FILED"]) == ("Paper Trail", "1")
    scene.unit.await_told("push connected; last poll ")
    # As a word: systemd names the credential account-secrets.
    assert not re.search(rf"\b{PASSWORD}\b", json.dumps(scene.unit.host.journal(SERVICE)))


@pytest.fixture
def home(evening: Evening, way: str, request: pytest.FixtureRequest) -> Home:
    """Nobody but the user moves what waits."""
    name = newcomer(request)
    return evening.newcomer(name, contacts(way) + "screening:\n  by: off\n")


def screen(home: Home, *senders: str) -> None:
    """Have mail arrive, and put it into Screener: there are no rules."""
    home.user.receive(*(mail(sender, f"{n}: {sender}") for n, sender in enumerate(senders)))
    boxes = home.user.mailboxes()
    arrived = [entry["id"] for entry in home.user.mails(boxes["Inbox"])]
    home.user.patch_all(arrived, {boxes["Screener"]: True, boxes["Inbox"]: False})


def lines(home: Home) -> dict[str, list[str]]:
    """The cards, their lines in an order of ours: what JMAP has changed and changed back comes in
    another, and a group that had a member says that it has none."""
    cards = home.user.cards().items()
    return {href: sorted(set(text.splitlines()) - {EMPTIED}) for href, text in cards}


def test_from_nothing_to_a_triage_and_back(home: Home) -> None:
    before = home.user.mailboxes()
    home.user.put_card("dora.vcf", DORA)
    cards = home.user.cards()
    assert "to create: mailroom setup --apply" in home.type("setup")
    assert (home.user.mailboxes(), home.user.cards()) == (before, cards)
    made = re.search(r"(\d+) created, 0 there already\n\Z", home.type("setup", "--apply"))
    assert made
    assert home.type("setup", "--apply").endswith(f"0 created, {made[1]} there already\n")
    assert "All is well." in home.type("check")
    home.serve()
    screen(home, *[BOB] * 30, "Dora <dora@example.org>", "eve@example.org")
    home.tap("bob@example.org", "@ToTruck")
    home.tap("dora@example.org", "@ToFeed")
    places = home.places()
    assert places[f"7: {BOB}"] == ["Paper Trail", "Truck"]
    assert places["30: Dora <dora@example.org>"] == ["Feed"]
    assert f"a service answers for {home.user.name}" in home.type("reset", "--apply", code=1)

    home.evening.host.run("systemctl", "stop", "mailroom.socket", "mailroom.service")
    shown = home.type("reset").splitlines()
    assert "32 mails: to Inbox" in shown
    assert "contact Bob: made by Mailroom and not edited: deleted" in shown
    home.type("reset", "--apply", "--yes", "--remove", "--rules-are-off")
    assert set(map(tuple, home.places().values())) == {("Inbox",)}
    assert home.user.cards() == cards
    assert home.user.mailboxes() == before
    assert "There is nothing to undo." in home.type("reset")


def test_the_live_check_times_the_tap_and_leaves_nothing(home: Home) -> None:
    home.type("setup", "--apply")
    home.user.put_card("dora.vcf", DORA)
    home.serve()
    screen(home, "eve@example.org")
    before = home.places(), lines(home)
    told = home.type("check", "--live", "--within", "5")
    found = re.search(r"by push, (\d+\.\d+) s from the label to done", told)
    assert found, told
    assert float(found[1]) < 3
    assert "traces: all removed" in told
    assert (home.places(), lines(home)) == before


def test_killed_at_chosen_requests_it_ends_where_it_would_have_ended(way: str) -> None:
    """``make chaos ROWS=stalwart`` has more of them."""
    kills = {"a new sender": 2, "a change of mind": 2, "taken back": 2}
    assert [case.run() for case in cases_by(way, kills)] == [0.0] * 6


def test_the_door_has_strangers_wait(evening: Evening, way: str) -> None:
    home = evening.newcomer(f"door{way}", contacts(way) + "screening:\n  by: mailroom\n")
    home.type("setup", "--apply")
    home.user.put_card("dora.vcf", DORA)
    home.serve()
    home.user.receive(mail("Dora <dora@example.org>", "dora"), mail("eve@example.org", "eve"))
    deadline = time.monotonic() + 30
    while (places := home.places()) != {"dora": ["Inbox"], "eve": ["Screener"]}:
        assert time.monotonic() < deadline, (places, evening.unit.status())


# Refusals


@pytest.fixture
def anna(evening: Evening) -> str:
    """An account with a second factor."""
    assert isinstance(evening.server, Stalwart)
    factor = "otpauth://totp/x?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    evening.server.program.create_account("anna", factor)
    return "anna"


def test_where_a_second_factor_is_needed_it_says_so_and_stays_down(
    evening: Evening, anna: str
) -> None:
    unit = evening.unit
    unit.systemctl("stop", check=False)
    unit.configure(f"jmap:\n  url: {evening.server.url}\n  username: {anna}\n")
    unit.give_secret("jmap-password", PASSWORD)
    unit.systemctl("start", check=False)
    unit.await_property("ActiveState", "failed")
    assert unit.show("ExecMainStatus") == "77"
    for said in (unit.events("credentials_refused")[-1]["MESSAGE"], unit.show("StatusText")):
        assert "402" in said
        assert "app password" in said


@pytest.mark.parametrize("is_proxied", [False, True], ids=["directly", "behind a proxy"])
def test_a_ban_is_told_and_over_when_it_is_lifted(tree: Path, is_proxied: bool) -> None:
    """Somebody else at the address has tried too many passwords. It answers 403 where a proxy tells
    whose address it is, else it closes each new connection."""
    address = "192.0.2.7" if is_proxied else "127.0.0.9"
    header = f"X-Forwarded-For: {address}\r\n".encode() if is_proxied else b""
    source = LOOPBACK if is_proxied else address
    with Host.boot(tree) as host, Relay(host, source=source, header=header) as relay:
        url = f"http://{LOOPBACK}:{relay.port}"
        with Stalwart.run(host, known_as=url, more=BANS) as stalwart:
            relay.target = stalwart.program.port
            scene = at_work(Unit(host), stalwart.user("anna"), url, 3600)
            scene.unit.await_status(lambda status: status["eventsource"]["connected"])
            try_passwords(host, relay.port)
            relay.cut(streams_only=False, resets=False)  # whoever is in stays in
            host.run("mailroom", "poll", check=False)
            status = scene.unit.await_status(lambda status: status["trouble"] is not None)
            said = status["trouble"]["reason"]
            assert ("this may be a temporary ban" if is_proxied else "may have banned") in said
            stalwart.program.lift_ban(address)
            host.run("mailroom", "poll", check=False)
            scene.unit.await_status(lambda status: status["trouble"] is None, 120)
            assert scene.unit.show("NRestarts") == "0"


def try_passwords(host: Host, port: int) -> None:
    """Until there is no answer."""
    wrong = {"Authorization": f"Basic {base64.b64encode(b'anna:wrong').decode()}"}
    with contextlib.suppress(OSError, http.client.HTTPException):
        for _ in range(8):
            connection = http.client.HTTPConnection(LOOPBACK, port, timeout=10)
            with host.network():
                connection.connect()
            with contextlib.closing(connection):
                connection.request("GET", "/jmap/session", headers=wrong)
                connection.getresponse()
