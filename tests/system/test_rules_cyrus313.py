"""The tables of rules on a Cyrus with contacts by JMAP, both ways of contacts. Run on 3.13.7.

``CYRUS313=FOLDER`` starts the one that was built into it; without it nothing here runs. Real time
passes. It has no push here: in 3.13.5 to 3.13.7 an open stream would hold up what the user does
(tests/system/test_stream_cyrus313.py).
"""

import contextlib
import http.client
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.contract.folder import CyrusFolder
from tests.rules.table import Case, Trial, cases
from tests.sandbox import CYRUS_3_13
from tests.servers import SERVER
from tests.system.cyrus import READY_SECONDS, CyrusError, User, authorization
from tests.system.test_rules import CyrusAccount, CyrusWorld

pytestmark = [
    pytest.mark.system,
    pytest.mark.every,
    pytest.mark.timeout(300),
    pytest.mark.skipif("CYRUS313" not in os.environ, reason="CYRUS313 names no server"),
]

# Without push it takes a poll_interval until the poll.
_PATIENCE_SECONDS = 65.0


class FolderUser(User):
    """A user of a Cyrus from a folder."""

    def __init__(self, server: CyrusFolder, name: str) -> None:
        server.create_account(name)
        self._place = urlsplit(server.url).netloc
        self.name = self.account_id = name
        self._authorization = authorization(name)

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self._place, timeout=READY_SECONDS)


class FolderAccount(CyrusAccount):
    """What the tables ask of a sandbox, asked of this Cyrus."""

    profile = CYRUS_3_13

    def put_card(self, text: str, name: str) -> None:
        """Also a vCard 4, which 3.13.7 shows with its UID as it is."""
        try:
            self._user.put_card(name, text)
        except CyrusError as error:
            pytest.skip(f"this Cyrus does not take such a card: {error}")


class FolderWorld(CyrusWorld):
    """One account there, its service in this process, in real time."""

    account_of = FolderAccount


@pytest.fixture(scope="module")
def server() -> Iterator[CyrusFolder]:
    with contextlib.closing(CyrusFolder(Path(os.environ["CYRUS313"]), push=False)) as running:
        yield running


@pytest.mark.parametrize("way", [pytest.param(way, id=f"by {way}") for way in ("carddav", "jmap")])
@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in cases()])
def test_rule(
    case: Case, way: str, server: CyrusFolder, record_property: Callable[[str, object], None]
) -> None:
    record_property(SERVER, server.version)
    if not case.concerns(CYRUS_3_13.name):
        pytest.skip("it speaks of another server")
    user = FolderUser(server, way[0] + re.sub(r"\W", "", case.name)[-30:].lower())
    configuration = {"contacts": {"by": way}, **case.section("configuration")}
    world = FolderWorld(user, server.url, configuration)
    with contextlib.closing(world):
        Trial(case, world, _PATIENCE_SECONDS).run()


@pytest.mark.parametrize("count", [pytest.param(n, id=f"{n} by jmap") for n in (1, 50)])
def test_by_jmap_new_senders_cost_four_requests_and_an_idle_poll_one(
    count: int, server: CyrusFolder, record_property: Callable[[str, object], None]
) -> None:
    record_property(SERVER, server.version)
    user = FolderUser(server, f"requests{count}")
    with contextlib.closing(FolderWorld(user, server.url, {"contacts": {"by": "jmap"}})) as world:
        deliver, yesterday = world.sandbox.deliver, world.clock.wall() - 86400.0
        senders = [f"Sender {n} <s{n}@x{n % 9}.example>" for n in range(count)]
        mails = [deliver(sender, "Hello", ["Screener"], yesterday) for sender in senders]
        world.start().run_for(_PATIENCE_SECONDS)
        assert _requests_of_a_poll(world) == 1
        for mail in mails:
            world.tap(mail, "@ToFeed")
        assert _requests_of_a_poll(world) == 4
        assert len(world.named("sender_triaged")) == count
        assert {place for mail in mails for place in world.sandbox.mailboxes_of(mail)} == {"Feed"}
        assert len(world.sandbox.group_members("Feed")) == count


def _requests_of_a_poll(world: FolderWorld) -> int:
    number = world.request_count
    world.account.poll_now()
    world.run_for(1.0)
    return len(world.requests_since(number))
