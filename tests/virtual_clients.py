"""Both clients of one account with a sandbox, in process and on a virtual clock."""

from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from mailroom.engine.credentials import Basic, Bearer
from mailroom.engine.loop import Loop, Promise
from mailroom.errors import MailroomError
from mailroom.rules.status.health import Totals
from mailroom.work.contacts.cards import CardDavClient
from mailroom.work.mail.mail import MailClient
from mailroom.work.session.web import Web
from tests.direct import DirectHttp
from tests.sandbox import CYRUS_3_10, Fault, Profile, Sandbox
from tests.sandbox import Response as Answer
from tests.virtual import VirtualClock

T = TypeVar("T")

ORIGIN = "https://mail.example.org"


class VirtualClients:
    """``book_name`` and ``carddav`` are what a user configures."""

    def __init__(
        self,
        profile: Profile = CYRUS_3_10,
        book_name: str | None = None,
        carddav: str = f"{ORIGIN}/.well-known/carddav",
        user: str = "alice",
    ) -> None:
        self.clock = VirtualClock()
        self.loop = Loop(self.clock)
        self.user = user
        self.sandbox = Sandbox(profile, clock=self.clock.wall, user=user)
        self.sandbox.standard_account()
        self.totals = Totals()
        self.web = self._web("the credential jmap-password")
        self.mail = MailClient(self.loop.root, self.web, f"{ORIGIN}/.well-known/jmap")
        dav_web = self._web("the credential carddav-password")
        self.contacts = CardDavClient(self.loop, dav_web, carddav, book_name)

    def run(self, coroutine: Coroutine[Promise[Any], None, T]) -> T:
        """What comes of it, in no time."""
        task = self.loop.spawn(coroutine, "test")
        while not task.done:
            self.loop.turn()
        return task.result()

    def fails(
        self, error: type[MailroomError], coroutine: Coroutine[Promise[Any], None, Any]
    ) -> str:
        """The message of the error that comes of it: one printable line."""
        with pytest.raises(error) as raised:
            self.run(coroutine)
        assert type(raised.value) is error
        assert str(raised.value).isprintable()
        return str(raised.value)

    def answers(
        self,
        answer: Answer,
        method: str | None = None,
        path: str | None = None,
        times: int | None = 1,
    ) -> None:
        """The server answers this instead of its own answer."""
        self.sandbox.faults.add(Fault(method=method, path=path, times=times, answer=answer))

    @property
    def requests(self) -> list[str]:
        """All requests so far, as "PUT /dav/…"."""
        return [f"{entry.method} {entry.path}" for entry in self.sandbox.log.entries]

    def _web(self, secret: str) -> Web:
        takes_token = self.sandbox.profile.jmap_authentication == "Bearer"

        async def login() -> Basic | Bearer:
            return Bearer("alice-token") if takes_token else Basic(self.user, "secret")

        http = DirectHttp(self.loop, self.sandbox)
        return Web(self.loop, http, login, secret, self.totals)
