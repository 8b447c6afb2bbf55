"""Every test of this folder runs against the sandbox and, where one is booted, against Cyrus."""

import os
from collections.abc import Callable, Iterator

import pytest

from tests.contract.peers import Client, CyrusServer, EventStream, SandboxServer, Server


@pytest.fixture(
    params=[
        pytest.param("sandbox", marks=pytest.mark.sandbox),
        pytest.param("cyrus", marks=pytest.mark.system),
    ]
)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    if request.param == "cyrus" and "MAILROOM_CYRUS_URL" not in os.environ:
        pytest.skip("MAILROOM_CYRUS_URL names no Cyrus")
    server: Server = SandboxServer() if request.param == "sandbox" else CyrusServer()
    yield server
    server.close()


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
