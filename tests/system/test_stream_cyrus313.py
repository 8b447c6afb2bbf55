"""A Cyrus that answers nothing to an account while its event stream is open, as 3.13.5 to 3.13.7.

Run on 3.13.7; ``CYRUS313=FOLDER`` starts the one that was built into it, without it nothing here
runs. Real time passes: two minutes, for requests that have no answer are waited for.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailroom.rules.polling.push import BLOCKING
from tests.contract.folder import CyrusFolder
from tests.process import Process, configuration, mailroom
from tests.servers import SERVER
from tests.system.cyrus import PASSWORD
from tests.system.test_rules_cyrus313 import FolderAccount, FolderUser

pytestmark = [
    pytest.mark.system,
    pytest.mark.every,
    pytest.mark.timeout(300),
    pytest.mark.skipif("CYRUS313" not in os.environ, reason="CYRUS313 names no server"),
]

_POLL_SECONDS = 5
# Twice the 30 s without a byte after which a request is given up, and the pauses between.
_NOTICED_SECONDS = 150.0


@pytest.fixture(scope="module")
def server() -> Iterator[CyrusFolder]:
    with contextlib.closing(CyrusFolder(Path(os.environ["CYRUS313"]))) as running:
        yield running


@pytest.mark.parametrize("way", [pytest.param(way, id=f"by {way}") for way in ("carddav", "jmap")])
def test_the_stream_is_left_closed_and_polls_do_the_work(
    way: str, server: CyrusFolder, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    request.node.user_properties.append((SERVER, server.version))
    user = FolderUser(server, way)
    config = configuration(
        tmp_path,
        server.url,
        jmap={"url": server.url, "username": user.name},
        contacts={"by": way},
        polling={"poll_interval": _POLL_SECONDS},
    )
    secret = {"MAILROOM_JMAP_PASSWORD": PASSWORD}
    made = mailroom(tmp_path, "setup", "--apply", "--config", str(config), **secret)
    assert made.returncode == 0, made.stdout + made.stderr
    with Process(tmp_path, config, secret) as process:
        process.until(lambda: BLOCKING in process.log, BLOCKING, _NOTICED_SECONDS)
        process.until(lambda: BLOCKING in process.messages[-1], "a status line")
        push = process.ask("/status")[1]["eventsource"]
        assert (push["status"], push["error"]) == ("unavailable", BLOCKING)
        _triage(user, process)
        assert process.ask("/healthz")[0] == 200
        assert process.events.count("eventsource_connected") == 2
        assert process.stop()[0] == 0


def _triage(user: FolderUser, process: Process) -> None:
    """A label is acted on by a poll, and nothing else of the account is held up."""
    account = FolderAccount(user)
    mail = account.deliver("Bob <bob@example.org>", "Hello", ["Screener"], time.time())
    account.label(mail, "@ToFeed")
    process.until(lambda: account.mailboxes_of(mail) == {"Feed"}, "filed")
    assert len(account.group_members("Feed")) == 1
