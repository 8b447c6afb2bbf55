"""A town: so many accounts on one server, behind one port and TLS. A process of its own, so that
its work is not that of who measures.

``python -m tests.bench.town COUNT WAY CERTIFICATE``: it prints its port, then answers each line of
JSON on stdin (``{"do": "tap", "users": [...]}``, see :meth:`Town.do`) with one.
"""

import base64
import json
import ssl
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

from mailroom.sandbox import CYRUS_3_10, CYRUS_3_13, Entry, Profile, Request, Response, Sandbox
from mailroom.sandbox.front import _Connection, _Server
from tests.bench.address_book import card

PASSWORD = "secret"
CARDS = 300
SWEPT = 10_000
_PROFILES: Mapping[str, Profile] = {"carddav": CYRUS_3_10, "jmap": CYRUS_3_13}
_LABEL = "@ToFeed"
_FRIEND = "sender7@example.org"  # of the address book: lets in at once


def name_of(number: int) -> str:
    """The user's, and the account's, name."""
    return f"u{number:05}"


class House:
    """One account: what is asked of it, and when it was done."""

    def __init__(self, name: str, profile: Profile, lock: Any) -> None:
        self.sandbox = Sandbox(profile, user=name, password=PASSWORD)
        self.sandbox.lock = lock
        self.sandbox.standard_account()
        for number in range(CARDS):
            self.sandbox.put_card(card(number))
        self.mail = self.sandbox.deliver("Tom <tom@example.net>", received_at=time.time() - 86400)
        self.since: float | None = None
        self.seconds: float | None = None
        self._mail, self._goal = self.mail, {""}
        self.sandbox.after(self._look)

    def tap(self) -> None:
        self.sandbox.label(self.mail, _LABEL)
        self._expect(self.mail, {"Feed"})

    def deliver(self) -> None:
        """A mail of somebody in the address book."""
        self._expect(self.sandbox.deliver(_FRIEND), {"Inbox"})

    def sweep(self) -> None:
        """One tap, and so many mails to follow."""
        mails = [self.sandbox.deliver("Huge <huge@example.net>") for _ in range(SWEPT)]
        self.sandbox.label(mails[0], _LABEL)
        self._expect(mails[0], {"Feed"})

    def _expect(self, mail: str, goal: set[str]) -> None:
        self.since, self.seconds, self._mail, self._goal = time.time(), None, mail, goal

    def _look(self, entry: Entry, _request: Request, _response: Response) -> None:
        if self.since is None or self.seconds is not None or "Email/set" not in entry.calls:
            return
        if self.sandbox.mailboxes_of(self._mail) == self._goal:
            self.seconds = time.time() - self.since


class Town:
    """What the front needs of a sandbox; each request goes to the account of who asks."""

    def __init__(self, count: int, way: str) -> None:
        self.lock = threading.RLock()
        self.profile = _PROFILES[way]
        self.clock = time.time
        self.houses = {name_of(n): House(name_of(n), self.profile, self.lock) for n in range(count)}

    def handle(self, request: Request) -> Response:
        _, _, coded = (request.header("Authorization") or "Basic Og==").partition(" ")
        user = base64.b64decode(coded).decode().partition(":")[0]
        house = self.houses.get(user)
        return house.sandbox.handle(request) if house else Response(401)

    def _spread(self, houses: list[House], what: str) -> None:
        """Evenly over a second."""
        began = time.monotonic()
        for number, house in enumerate(houses):
            time.sleep(max(0.0, began + number / len(houses) - time.monotonic()))
            with self.lock:
                getattr(house, what)()

    def do(self, what: str, users: list[str]) -> object:
        houses = [self.houses[user] for user in users]
        match what:
            case "tap" | "deliver" | "sweep":
                self._spread(houses, what)
                return True
            case "seconds":
                return [house.seconds for house in houses]
            case "streams":
                return sum(len(house.sandbox._feeds) for house in self.houses.values())
            case "requests":
                return sum(len(house.sandbox.log.entries) for house in self.houses.values())
            case _:
                return time.process_time()


class _TlsServer(_Server):
    """TLS is spoken in the connection's own thread."""

    request_queue_size = 1024

    def __init__(self, town: Any, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__(town, "127.0.0.1", 0)

    def finish_request(self, request: Any, client_address: Any) -> None:
        try:
            wrapped = self._context.wrap_socket(request, server_side=True)
        except (OSError, ssl.SSLError):
            return
        with wrapped:
            super().finish_request(wrapped, client_address)


class _Neighbour(_Connection):
    """What is raised when a client goes away is nothing to speak of."""

    def handle(self) -> None:
        try:
            super().handle()
        except (OSError, ssl.SSLError):
            self.close_connection = True


def main(count: int, way: str, certificate: str) -> None:
    threading.stack_size(256 * 1024)
    sys.setswitchinterval(0.001)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    town = Town(count, way)
    server = _TlsServer(town, context)
    server.RequestHandlerClass = _Neighbour
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    _say(server.server_address[1])
    for line in sys.stdin:
        asked = json.loads(line)
        _say(town.do(asked["do"], asked.get("users", [])))


def _say(what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
