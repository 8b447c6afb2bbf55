"""Many accounts of one process on one server, over real sockets and on a virtual clock.

Each has a sandbox of its own behind the one port: who asks is told by the credentials.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from mailroom.engine.journal import Fields, Level, Log
from mailroom.engine.loop import Loop
from mailroom.rules.configuration.config import Config, Limits, Tls, from_data
from mailroom.rules.configuration.fleet import merged, sharing
from mailroom.tenants import Shared, Tenants
from mailroom.work.account.account import Common
from mailroom.work.account.reporter import Audience
from mailroom.work.session.gate import Servers
from tests.chaos.wire import Meeting, Spoil, rendered, streamed
from tests.peer import Asked, Peer, Step, Wait
from tests.sandbox import CYRUS_3_13, Profile, Sandbox
from tests.virtual import VirtualClock

PASSWORD = "secret-of-all"
# What a server takes to answer, whatever it is asked.
ANSWER_SECONDS = 0.01

Own = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """One that an account has sent, and when."""

    at: float
    method: str
    target: str
    body: bytes

    @property
    def said(self) -> tuple[str, str, bytes]:
        """All but when that was."""
        return self.method, self.target, self.body


class Resident:
    """One account: its server, what the server was asked, and what its user does.

    ``spoil`` is shown every request of the account, as in :class:`tests.chaos.wire.WireWorld`.
    ``problem`` is what is wrong with its file; ``is_there`` says whether it has one.
    """

    def __init__(self, world: "FleetWorld", name: str, own: Own, profile: Profile) -> None:
        self.name = name
        self.own = own
        self.mails: list[str] = []
        self.asked: list[Request] = []
        self.spoil: Spoil = lambda _: None
        self.problem: str | None = None
        self.is_there = True
        self.clock = world.clock
        self.sandbox = Sandbox(profile, clock=world.clock.wall, user=name, password=PASSWORD)
        self.sandbox.standard_account()
        self._world = world

    @property
    def loop(self) -> Loop:
        return self._world.loop

    @property
    def config(self) -> Config:
        return self._world.config_of(self.own, self.name)

    def deliver(self, sender: str, mailbox: str = "Screener", count: int = 1) -> list[str]:
        """Mails that have waited since yesterday; their ids."""
        received_at = self.clock.wall() - 86400.0
        found = [
            self.sandbox.deliver(sender, mailbox=mailbox, received_at=received_at)
            for _ in range(count)
        ]
        self.mails += found
        return found

    def tap(self, mail_id: str, label: str) -> None:
        self.sandbox.label(mail_id, label)

    def _while_wrong(self, steps: Iterable[Step]) -> Iterator[Step]:
        """Once nothing is wrong any more, what was answered slowly comes at once."""
        spoil = self.spoil
        for step in steps:
            if not isinstance(step, Wait) or self.spoil is spoil:
                yield step

    def recover(self) -> None:
        """Nothing is wrong any more."""
        self.spoil = lambda _: None
        self.problem, self.is_there = None, True

    def answer(self, asked: Asked) -> Iterable[Step] | None:
        """What becomes of a request; None: its stream is open, and goes on."""
        self.asked.append(Request(self.clock.now(), asked.method, asked.target, asked.body))
        meeting = Meeting(asked, self.sandbox)
        steps = self.spoil(meeting)
        if steps is not None:
            return self._while_wrong(steps)
        response = meeting.handled()
        if response.feed is not None:
            connection = self._world.peer.asking
            assert connection is not None
            return streamed(response.feed, self.loop, connection)
        return [Wait(ANSWER_SECONDS), rendered(response)]


class FleetWorld:
    """A process of several accounts. ``events`` are its log lines: level, name, fields."""

    peer: Peer
    tenants: Tenants

    def __init__(self, profile: Profile = CYRUS_3_13, clock: VirtualClock | None = None) -> None:
        self.clock = clock or VirtualClock()
        self.began = self.clock.now()
        self.residents: dict[str, Resident] = {}
        self.events: list[tuple[Level, str, Fields]] = []
        self._plan: list[tuple[float, Callable[[], None]]] = []
        self._profile = profile
        self.boot()

    def add(self, name: str, **own: Any) -> Resident:
        """One more, whom the process does not know yet; ``own`` is what the account's file says."""
        resident = Resident(self, name, own, self._profile)
        self.residents[name] = resident
        return resident

    def boot(self) -> None:
        """A process that knows nothing; what a former one had in flight is gone."""
        self.close()
        for resident in self.residents.values():
            resident.sandbox.close_feeds()
        self.loop = Loop(self.clock)
        for when, act in self._plan:
            if when > self.clock.now():
                self.loop.call_at(when, act)
        self.peer = Peer(self.loop, self._script)
        self.servers = Servers()
        common = Common(self.servers, lambda: 0.0)
        log = Log(self._note, Level.DEBUG)
        environ = {"MAILROOM_JMAP_PASSWORD": PASSWORD}
        audience = Audience(_ignore, lambda: False)
        self.tenants = Tenants(
            Shared(self.loop, environ, log, "test", common, lambda _: audience, _nothing, _nothing)
        )
        self.tenants.limit(Limits())

    def at(self, when: float, act: Callable[[], None]) -> None:
        """What is to happen then, whichever process there is by then."""
        self._plan.append((when, act))
        self.loop.call_at(when, act)

    def hup(self) -> None:
        """The files are read."""
        self.tenants.trust(Tls())
        there = [each for each in self.residents.values() if each.is_there]
        for each in there:
            if each.problem:
                self.tenants.refuse(each.name, (each.problem,))
            else:
                self.tenants.put_to_work(each.name, each.config, self._defaults)
        self.tenants.keep_only({each.name for each in there})

    def config_of(self, own: Own, name: str) -> Config:
        return sharing(from_data(merged(self._data, own, name)), self._defaults)

    def run_until(self, when: float) -> None:
        """Turn until that instant."""
        reached: list[bool] = []
        self.loop.call_at(when, lambda: reached.append(True))
        while not reached:
            self.loop.turn()

    def run_for(self, seconds: float) -> None:
        self.run_until(self.clock.now() + seconds)

    def healthy(self) -> set[str]:
        """The accounts with which nothing is wrong."""
        members = [each.member() for each in self.tenants]
        return {member.name for member in members if member.reason is None}

    def named(self, event: str) -> list[Fields]:
        """The fields of every log line of that name."""
        return [fields for _, name, fields in self.events if name == event]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        type_: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the sockets back."""
        if hasattr(self, "peer"):
            self.tenants.close()
            self.peer.__exit__(None, None, None)
            self.loop.close()

    @property
    def _data(self) -> dict[str, Any]:
        return {
            "jmap": {"url": f"{self.peer.url}/jmap/", "username": "{account}"},
            "carddav": {"url": self.peer.url},
        }

    @property
    def _defaults(self) -> Config:
        return from_data(self._data)

    def _script(self, asked: Asked) -> Iterable[Step]:
        authorization = asked.headers.get("authorization")
        for resident in self.residents.values():
            if resident.sandbox.authorization == authorization:
                return resident.answer(asked) or ()
        raise AssertionError(f"{asked.method} {asked.target} by nobody: {authorization}")

    def _note(self, level: Level, event: str, fields: Fields) -> bool:
        self.events.append((level, event, dict(fields)))
        return True


def _ignore(_event: object) -> None:
    pass


def _nothing() -> None:
    pass
