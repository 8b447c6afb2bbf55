"""A whole account in a bottle: the service's parts, a sandbox, and time that passes for free."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from mailroom.engine.credentials import Basic, Bearer, Logins
from mailroom.engine.journal import Fields, Level, Log
from mailroom.engine.loop import Loop, Owner
from mailroom.engine.transfer import Http
from mailroom.errors import MailroomError
from mailroom.rules.configuration.categories import category_from
from mailroom.rules.configuration.config import Config, from_data
from mailroom.rules.status.health import healthz, status
from mailroom.work.account.account import Account, Common
from mailroom.work.account.history import History
from mailroom.work.session.gate import Servers
from tests.direct import DirectHttp
from tests.sandbox import CYRUS_3_10, Entry, Profile, Sandbox
from tests.sandbox.account import DEFAULT_CATEGORIES
from tests.virtual import VirtualClock

T = TypeVar("T")

URL = "http://127.0.0.1"
# For those who start hundreds of worlds: the discovery takes longer than a triage.
BOOK = {"carddav": {"url": f"{URL}/dav/addressbooks/user/alice/Default/"}}


class Place(Protocol):
    """One account, its server, and the loop of its process; see :class:`World`."""

    mails: list[str]
    sandbox: Sandbox
    clock: VirtualClock

    @property
    def loop(self) -> Loop: ...

    @property
    def config(self) -> Config: ...

    def deliver(self, sender: str, mailbox: str = "Screener", count: int = 1) -> list[str]: ...


class World:
    """One account against one sandbox, on a virtual clock.

    ``events`` are the log lines of all processes so far: level, name, fields. ``mails`` are the
    ids of the mails that were delivered, in their order.
    """

    history: History
    account: Account

    def __init__(
        self, profile: Profile = CYRUS_3_10, configuration: dict[str, Any] | None = None
    ) -> None:
        self.clock = VirtualClock()
        self.loop = Loop(self.clock)
        self.sandbox = Sandbox(profile, clock=self.clock.wall)
        self.configure(configuration or {})
        self.sandbox.standard_account(self._categories())
        if self.knows_new_groups_alone:
            for href, card in self.sandbox.cards().items():
                self.sandbox.put_card(as_new_group(card), href.rpartition("/")[2])
        self.events: list[tuple[Level, str, Fields]] = []
        self.mails: list[str] = []
        self.boot()

    def _categories(self) -> Sequence[str]:
        """The account has the default categories' mailboxes and groups, and these too where they
        are called after their category."""
        own = [
            each.name
            for each in self.config.triage.categories
            if each == category_from(each.name) and each.name not in DEFAULT_CATEGORIES
        ]
        return (*DEFAULT_CATEGORIES, *own)

    @property
    def knows_new_groups_alone(self) -> bool:
        """By JMAP, Stalwart shows no groups of vCard 3."""
        return self.config.contacts.by == "jmap" and not self.sandbox.profile.shows_apple_groups

    def configure(self, configuration: dict[str, Any], url: str = URL) -> None:
        """The configuration file of the processes to come."""
        servers = {"jmap": {"url": url, "username": "alice"}, "carddav": {"url": url}}
        self.config: Config = from_data(servers | configuration)

    def boot(self) -> None:
        """A process that knows nothing; what a former one had in flight is gone."""
        self.sandbox.close_feeds()
        self.loop.close()
        self.loop = Loop(self.clock)
        self.history = History(self.clock.wall(), self.clock.now())
        self.servers = Servers()
        self.account = self.new_account()

    def new_account(self) -> Account:
        """The account as after a start of the process, or a reload."""
        password = Basic("alice", "secret")
        takes_token = self.sandbox.profile.jmap_authentication == "Bearer"
        logins = Logins(Bearer("alice-token") if takes_token else password, password)
        log = Log(self._note, Level.DEBUG)
        http = self.new_http()
        owner = Owner(self.loop)
        return Account(
            owner, http, self.config, logins, log, self.history, Common(self.servers, lambda: 0.0)
        )

    def new_http(self) -> Http:
        """How a process reaches the server."""
        return DirectHttp(self.loop, self.sandbox)

    def start(self) -> "World":
        """Start, and run until the first poll is over."""
        self.account.start()
        self.run_until(lambda: self.polls > 0)
        return self

    def run_until(self, reached: Callable[[], bool], turns: int = 100_000) -> None:
        for _ in range(turns):
            if reached():
                return
            self.loop.turn()
        raise AssertionError("it never came to that")

    def run_for(self, seconds: float) -> None:
        end = self.clock.now() + seconds
        reached: list[bool] = []
        self.loop.call_at(end, lambda: reached.append(True))
        self.run_until(lambda: bool(reached))

    def settle(self) -> None:
        """Until nothing is left to do but to wait for the next minute."""
        self.run_for(10.0)

    @property
    def polls(self) -> int:
        return self.history.totals.poll_count

    @property
    def healthz(self) -> tuple[int, dict[str, Any]]:
        """What ``GET /healthz`` answers: the status and the document."""
        return healthz(self.account.snapshot())

    @property
    def status(self) -> dict[str, Any]:
        """What ``GET /status`` answers."""
        return status(self.account.snapshot())

    @property
    def request_count(self) -> int:
        return len(self.sandbox.log.entries)

    def requests_since(self, number: int) -> list[Entry]:
        """The requests after number, the stream left out."""
        return [entry for entry in self.sandbox.log.since(number) if not entry.is_stream]

    def named(self, event: str) -> list[Fields]:
        """The fields of every log line of that name."""
        return [fields for _, name, fields in self.events if name == event]

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
        """What a phone does."""
        self.sandbox.label(mail_id, label)

    def _note(self, level: Level, event: str, fields: Fields) -> bool:
        self.events.append((level, event, dict(fields)))
        return True


def as_new_group(card: str) -> str:
    """The card, if it is an Apple group as JMAP would have made it."""
    if "X-ADDRESSBOOKSERVER-KIND:group" not in card:
        return card
    card = card.replace("VERSION:3.0", "VERSION:4.0").replace("MEMBER:urn:uuid:", "MEMBER:")
    return card.replace("X-ADDRESSBOOKSERVER-", "")


def failure_of(world: World) -> MailroomError | None:
    """What comes out of the loop when the service is to end."""
    try:
        world.start()
    except MailroomError as error:
        return error
    return None
