"""How the two conversations of an account log in."""

import base64

import pytest

from mailroom.engine.credentials import Basic, Logins
from mailroom.engine.loop import Loop
from mailroom.rules.configuration.config import from_data
from mailroom.rules.status.health import Totals
from mailroom.work.account.clients import build_clients
from tests.direct import DirectHttp
from tests.sandbox import Sandbox
from tests.virtual import VirtualClock

URL = "http://127.0.0.1"


@pytest.mark.parametrize(("configured", "used"), [("carol", "carol"), (None, "alice")])
def test_the_address_book_is_asked_by_the_name_configured_or_that_of_the_session(
    configured: str | None, used: str
) -> None:
    loop = Loop(VirtualClock())
    sandbox = Sandbox()
    sandbox.standard_account()
    pair = base64.b64encode(f"{used}:secret".encode()).decode()
    sandbox.dav_authorization = f"Basic {pair}"
    config = from_data({"jmap": {"url": URL, "username": "alice"}, "carddav": {"url": URL}})
    logins = Logins(Basic("alice", "secret"), Basic(configured, "secret"))
    clients = build_clients(loop.root, DirectHttp(loop, sandbox), config, logins, Totals())
    task = loop.spawn(clients.contacts.describe(), "test")
    while not task.done:
        loop.turn()
    assert "/Default/" in task.result()
