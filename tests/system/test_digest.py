"""The daily mail on real servers: there is one, whatever is killed and however many make it.

Run on Cyrus 3.10.2, on Cyrus 3.13.7 and on Stalwart 0.15.5, which variables name the places of
(``CYRUS313=FOLDER``, ``STALWART=PROGRAM``). The same on the sandbox: tests/test_digest.py.
"""

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timezone, tzinfo
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark.structures import ParameterSet

from mailroom.engine.loop import Loop, Promise
from mailroom.engine.transfer import Http, Stream
from mailroom.rules.triage.drags import DIGEST
from mailroom.wire.http import Request, Response
from tests.command import Killed
from tests.contract.folder import CyrusFolder
from tests.contract.stalwart import StalwartProgram
from tests.servers import SERVER
from tests.system.cyrus import Cyrus, User
from tests.system.stalwart import StalwartUser
from tests.system.test_rules import CyrusAccount, CyrusWorld, SkippingClock
from tests.system.test_rules_cyrus313 import FolderAccount, FolderUser
from tests.system.test_rules_stalwart import StalwartAccount

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

_DAY_SECONDS = 86_400.0
_PATIENCE_SECONDS = 30.0
_AT = "00:10"
BOB = "Bob <bob@example.org>"
Hook = Callable[[Request], None]


class MorningClock(SkippingClock):
    """In whose zone it is the time of the digest when it is made. The server does not sleep with
    it: it stays days behind."""

    def __init__(self) -> None:
        super().__init__()
        self._slept = 0.0
        begun = datetime.fromtimestamp(time.time(), UTC)
        self._zone = timezone(begun.replace(hour=0, minute=10, second=0, microsecond=0) - begun)

    def wall(self) -> float:
        return super().wall() + self._slept

    def zone(self) -> tzinfo:
        return self._zone

    def sleep(self, seconds: float) -> None:
        self._slept += seconds
        self.skip(seconds)


class HookedHttp:
    """The transfer, with something to happen before a request is sent, or when it is answered."""

    def __init__(self, http: Http, before: Hook, after: Hook) -> None:
        self._http = http
        self._before = before
        self._after = after

    def send(self, request: Request) -> Promise[Response]:
        self._before(request)
        promise = self._http.send(request)
        promise.on_done(lambda: self._after(request))
        return promise

    def stream(self, request: Request) -> Stream:
        return self._http.stream(request)


class Morning(CyrusWorld):
    """One account, its service in this process, whose digest is due."""

    clock_of = MorningClock

    def __init__(self, user: User, url: str, account_of: type[CyrusAccount], **more: Any) -> None:
        self.account_of = account_of
        self.user = user
        self._hooks: tuple[Hook, Hook] = (_nothing, _nothing)
        super().__init__(user, url, {"digest": {"at": _AT}, **more})

    def new_http(self) -> Http:
        return HookedHttp(super().new_http(), self._before, self._after)

    def _before(self, request: Request) -> None:
        self._hooks[0](request)

    def _after(self, request: Request) -> None:
        self._hooks[1](request)

    def second(self) -> "Morning":
        """Another process for the same account, on a machine of its own."""
        other = object.__new__(Morning)
        other.clock, other.loop = self.clock, Loop(self.clock)
        other.sandbox, other.config, other.user = self.sandbox, self.config, self.user
        other.account_of, other._name = self.account_of, self._name
        other.events, other.mails, other._sent = [], [], []
        other._transfers, other._hooks = [], (_nothing, _nothing)
        other.boot()
        return other

    def hook(self, before: Hook, after: Hook) -> None:
        """What is to happen before and after each request from now on."""
        self._hooks = (before, after)

    def receive(self, sender: str = BOB, in_seconds: float = -60) -> None:
        """A mail came a minute ago; ``in_seconds`` of more: it is news for the day after."""
        received_at = self.clock.wall() + in_seconds
        self.sandbox.deliver(sender, "Hello", ["Screener"], received_at)

    def next_day(self) -> None:
        """The machine sleeps until the next digest is due, and polls."""
        self.clock.sleep(_DAY_SECONDS)  # type: ignore[attr-defined]
        self.account.poll_now()

    def digests(self) -> dict[str, set[str]]:
        """The places of all that there are, the oldest first."""
        ids = self.user.call("Email/query", filter={})["ids"]
        mails = self.user.call("Email/get", ids=ids, properties=["messageId"])["list"]
        ours = sorted(
            (mail["messageId"][0], mail["id"])
            for mail in mails
            if (mail["messageId"] or [""])[0].startswith("mailroom-digest.")
        )
        return {mail_id: self.sandbox.mailboxes_of(mail_id) for _, mail_id in ours}

    def until_made(self, count: int) -> list[set[str]]:
        """Run until so many digests were made in all, and there is nothing left to do: where they
        are, the oldest first."""
        self._wait(lambda: len(self.named("digest_made")) >= count)
        return self.places()

    def until_there(self, count: int) -> list[set[str]]:
        """The same, by whomever they were made."""
        self._wait(lambda: len(self.digests()) >= count)
        return self.places()

    def places(self) -> list[set[str]]:
        """Where they are once there is nothing left to do."""
        self.run_for(0)
        return list(self.digests().values())

    def _wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, self.events[-10:]
            self.loop.turn()


Make = Callable[..., Morning]
_PLACES = ("cyrus", "CYRUS313", "STALWART")


def servers() -> list[ParameterSet]:
    """Those that are at hand; a variable that is not set names none."""
    marks = {"cyrus": ()}
    return [
        pytest.param(name, marks=marks.get(name, pytest.mark.every))
        for name in _PLACES
        if name == "cyrus" or name in os.environ
    ]


@pytest.fixture(scope="module")
def folder() -> Iterator[CyrusFolder]:
    # No push: in 3.13.5 to 3.13.7 an open stream would hold up what the user does.
    with contextlib.closing(CyrusFolder(Path(os.environ["CYRUS313"]), push=False)) as running:
        yield running


@pytest.fixture(scope="module")
def stalwart() -> Iterator[StalwartProgram]:
    with contextlib.closing(StalwartProgram(Path(os.environ["STALWART"]))) as program:
        yield program


@pytest.fixture(params=servers())
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Make a world with a user of this test alone."""
    name = re.sub(r"[\W_]", "", request.node.name.removeprefix("test_"))[-40:].lower()
    user, url, account_of, version = _place(request, name)
    request.node.user_properties.append((SERVER, version))
    with contextlib.ExitStack() as stack:

        def made(**more: Any) -> Morning:
            return stack.enter_context(contextlib.closing(Morning(user, url, account_of, **more)))

        yield made


def _place(request: pytest.FixtureRequest, name: str) -> tuple[User, str, type[CyrusAccount], str]:
    if request.param == "cyrus":
        cyrus: Cyrus = request.getfixturevalue("cyrus")
        return cyrus.user(name), cyrus.url, CyrusAccount, cyrus.version
    if request.param == "CYRUS313":
        folder: CyrusFolder = request.getfixturevalue("folder")
        return FolderUser(folder, name), folder.url, FolderAccount, folder.version
    stalwart: StalwartProgram = request.getfixturevalue("stalwart")
    return StalwartUser(stalwart, name), stalwart.url, StalwartAccount, stalwart.version


def test_it_is_made_once_and_found_again_by_another_process(make: Make) -> None:
    world = make()
    world.receive()
    world.start()
    assert world.until_made(1) == [{"Inbox"}]
    world.boot()
    world.start()
    world.run_for(0)
    assert list(world.digests().values()) == [{"Inbox"}]
    assert len(world.named("digest_made")) == 1
    [mail_id] = world.digests()
    told = world.user.call(
        "Email/get", ids=[mail_id], fetchAllBodyValues=True,
        properties=["subject", "textBody", "htmlBody", "bodyValues", "keywords"],
    )["list"][0]  # fmt: skip
    assert told["subject"] == "Mailroom: 1 sender waiting"
    assert told["keywords"] == {DIGEST: True}
    for body in ("textBody", "htmlBody"):
        [part] = told[body]
        assert "bob@example.org" in told["bodyValues"][part["partId"]]["value"]


def test_the_former_one_goes_to_trash_unless_it_is_flagged(make: Make) -> None:
    world = make()
    world.receive()
    world.start()
    world.until_made(1)
    for number in (2, 3):
        newest = list(world.digests())[-1]
        if number == 3:
            world.user.call("Email/set", update={newest: {"keywords/$flagged": True}})
        world.receive(f"p{number}@example.org", 3600)
        world.next_day()
        world.until_made(number)
    assert list(world.digests().values()) == [{"Trash"}, {"Inbox"}, {"Inbox"}]
    assert len(world.user.call("Email/query", filter={"hasKeyword": DIGEST})["ids"]) == 1


def test_where_the_mail_changes_meanwhile_it_is_made_from_what_is_there_then(make: Make) -> None:
    world = make()
    world.receive()
    writes = 0

    def before(request: Request) -> None:
        nonlocal writes
        if b'"ifInState"' in (request.body or b""):
            writes += 1
            if writes == 1:
                world.receive("eve@example.org")

    world.hook(before, _nothing)
    world.start()
    assert world.until_made(1) == [{"Inbox"}]
    assert world.named("digest_made")[0]["subject"] == "Mailroom: 2 senders waiting"
    assert writes == 2


def test_it_is_never_screened_and_never_triaged(make: Make) -> None:
    world = make(screening={"by": "mailroom"})
    world.receive()
    world.start()
    world.until_made(1)
    [mail_id] = world.digests()
    for _ in range(2):
        world.account.poll_now()
        world.run_for(0)
    assert world.sandbox.mailboxes_of(mail_id) == {"Inbox"}
    world.tap(mail_id, "@ToJail")
    world.account.poll_now()
    world.run_for(0)
    assert world.sandbox.mailboxes_of(mail_id) == {"Inbox", "@MailroomError"}
    assert not world.named("sender_triaged")


@pytest.mark.parametrize("is_answered", [False, True], ids=["sent", "answered"])
def test_whatever_is_killed_there_is_one(make: Make, is_answered: bool) -> None:
    world = make()
    world.receive()
    world.start()
    world.until_made(1)
    for number in range(1, 20):
        world.receive(f"p{number}@example.org", 3600)
        was_killed = killed_at(world, number, is_answered=is_answered)
        if was_killed:
            world.boot()
            world.start()
        places = world.until_there(number + 1)
        assert places == [{"Trash"}] * number + [{"Inbox"}], f"killed at request {number}"
        if not was_killed:
            break
    assert number > 3


def killed_at(world: Morning, number: int, *, is_answered: bool) -> bool:
    """Live through the moment of the next digest, and kill the process at its request of that
    number; False where there are no more."""
    counted = [0, 0]

    def count(at: int) -> None:
        counted[at] += 1
        if counted[at] == number and is_answered == bool(at):
            raise Killed

    made = len(world.named("digest_made"))
    world.hook(lambda _: count(0), lambda _: count(1))
    try:
        world.next_day()
        world.until_made(made + 1)
    except Killed:
        return True
    finally:
        world.hook(_nothing, _nothing)
    return False


def test_a_second_instance_makes_none_whenever_it_comes(make: Make) -> None:
    world = make()
    world.receive()
    world.start()
    world.until_made(1)
    for number in range(1, 20):
        world.receive(f"p{number}@example.org", 3600)
        was_there = meanwhile(world, number)
        assert world.until_there(number + 1) == [{"Trash"}] * number + [{"Inbox"}]
        if not was_there:
            break
    assert number > 3


def meanwhile(world: Morning, number: int) -> bool:
    """Live through the moment of the next digest, while another process lives through all of it
    just before the request of that number; False where there are not so many."""
    asked = 0

    def before(_: Request) -> None:
        nonlocal asked
        asked += 1
        if asked == number:
            with contextlib.closing(world.second()) as other:
                other.start()
                other.run_for(0)

    world.hook(before, _nothing)
    world.next_day()
    world.run_for(0)
    world.hook(_nothing, _nothing)
    return asked >= number


def _nothing(_: Request) -> None:
    pass
