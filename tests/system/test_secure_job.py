"""The whole job as it is done out there: a name is looked up, HTTPS, every wall is up."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.servers import SERVER
from tests.system.claims import Claims
from tests.system.cyrus import Cyrus
from tests.system.host import Host
from tests.system.names import name_server
from tests.system.scene import Scene, is_triaged, set_up, value

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

NAME = "mail.example.test"


@pytest.fixture(scope="module")
def scene(each_tree: Path) -> Iterator[Scene]:
    """Push where the release's Cyrus has it: 3.6 answers 204."""
    with Host.boot(each_tree) as host, name_server(host):
        yield set_up(host, push=True, poll_interval=2, name=NAME)


def test_a_tap_files_the_sender(
    scene: Scene, claims: Claims, record_property: Callable[[str, object], None]
) -> None:
    record_property(SERVER, Cyrus(scene.unit.host).version)
    scene.unit.await_status(lambda status: status["last_poll_at"] is not None)
    scene.screen("Bob <bob@example.org>", "Bob <bob@example.org>", "eve@example.org")
    seconds = scene.tap("@ToFeed", "Screener", "bob@example.org")
    status = scene.unit.await_status(is_triaged("bob@example.org"))

    assert scene.subjects("Feed") == {f"{n}: Bob <bob@example.org>" for n in range(2)}
    assert scene.subjects("Screener") == {"2: eve@example.org"}
    card = scene.card_of("bob@example.org")
    assert "\\nTriaged to Feed on " in value(card, "NOTE")
    assert scene.groups_of(card) == {"Feed", "Mailroom"}
    assert status["status"] == "ok"
    has_push = scene.unit.release != "bookworm"
    assert status["eventsource"]["status"] == ("connected" if has_push else "unavailable")
    assert (status["eventsource"]["url"] or NAME).count(NAME) == 1
    how = "by push" if has_push else "by polling"
    claims.at_most(5, seconds, scene.unit.release, f"DNS, HTTPS: a tap is done {how}", "s")


def test_nobody_else_is_trusted(scene: Scene) -> None:
    text = scene.unit.host.read("/etc/mailroom/mailroom.yaml")
    scene.unit.configure(text.partition("tls:")[0])
    scene.unit.systemctl("reload")
    refused = scene.unit.await_status(lambda status: status["last_error"] is not None)
    assert "certificate" in refused["last_error"]["reason"]
