"""Every test of this folder runs against the sandbox and against real servers.

By default that is Cyrus 3.10: one that somebody has booted (``tests/system/test_contract.py``
does). A module on what it does not have names its servers itself: those that a variable names the
place of (``CYRUS313=/opt/cyrus``, ``STALWART=/opt/stalwart``) are started by the tests.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.contract.folder import CyrusFolder
from tests.contract.peers import Client, CyrusServer, EventStream, SandboxServer, Server
from tests.contract.stalwart import StalwartProgram
from tests.sandbox import PROFILES
from tests.servers import SERVER

#: Variables that name a real server's place → the server, which lives as long as the session.
_FOLDERS: dict[str, Callable[[Path], Server]] = {
    "CYRUS313": CyrusFolder,
    "STALWART": StalwartProgram,
}


@pytest.fixture(scope="session")
def folder_server() -> Iterator[Callable[[str], Server]]:
    """Start the server that a variable names, once."""
    running: dict[str, Server] = {}

    def start(variable: str) -> Server:
        if variable not in running:
            running[variable] = _FOLDERS[variable](Path(os.environ[variable]))
        return running[variable]

    yield start
    for server in running.values():
        server.close()


@pytest.fixture(
    params=[
        pytest.param("sandbox cyrus-3.10", marks=pytest.mark.sandbox),
        pytest.param("MAILROOM_CYRUS_URL", marks=pytest.mark.system),
    ]
)
def server(
    request: pytest.FixtureRequest, folder_server: Callable[[str], Server]
) -> Iterator[Server]:
    """A server: ``sandbox PROFILE``, or the variable that names a real one."""
    place, _, profile = request.param.partition(" ")
    if not profile and place not in os.environ:
        pytest.skip(f"{place} names no server")
    if profile:
        server: Server = SandboxServer(PROFILES[profile])
        yield server
        server.close()
    else:
        real = folder_server(place) if place in _FOLDERS else CyrusServer()
        request.node.user_properties.append((SERVER, real.version))
        yield real


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    client = Client(server)
    yield client
    client.close()


@pytest.fixture
def listen(client: Client) -> Iterator[Callable[..., EventStream]]:
    """Open event streams that are closed at the end."""
    streams: list[EventStream] = []

    def listen(query: str = "types=*&closeafter=no&ping=0", **headers: str) -> EventStream:
        streams.append(EventStream(client, query, **headers))
        return streams[-1]

    yield listen
    for stream in streams:
        stream.close()
