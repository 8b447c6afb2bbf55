"""A town: so many accounts on one server, behind one port and TLS. A process of its own, so that
its work is not that of who measures.

``python -m tests.bench.town COUNT WAY CERTIFICATE``: it prints its port, then answers each line of
JSON on stdin (``{"do": "tap", "users": [...]}``, see :meth:`Town.do`) with one.
"""

import json
import ssl
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from mailroom.sandbox import (
    CYRUS_3_10,
    CYRUS_3_13,
    Entry,
    Profile,
    Request,
    Response,
    Sandbox,
    serve_users,
)
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
    """The accounts, by name. One lock for all: they share a processor anyway."""

    def __init__(self, count: int, way: str) -> None:
        self.lock = threading.RLock()
        profile = _PROFILES[way]
        self.houses = {name_of(n): House(name_of(n), profile, self.lock) for n in range(count)}

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


def main(count: int, way: str, certificate: str) -> None:
    threading.stack_size(256 * 1024)
    sys.setswitchinterval(0.001)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    town = Town(count, way)
    with serve_users([house.sandbox for house in town.houses.values()], context) as running:
        _say(urlsplit(running.url).port)
        for line in sys.stdin:
            asked = json.loads(line)
            _say(town.do(asked["do"], asked.get("users", [])))


def _say(what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
