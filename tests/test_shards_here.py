"""The shards of a host: which are here, whom a command is about, and what all together say."""

import contextlib
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mailroom.engine.client import NobodyAnswers, ask
from mailroom.engine.loop import Loop
from mailroom.engine.shards import is_drained, is_elsewhere, placed, services_here, shards_here
from mailroom.engine.transfer import Transfer
from mailroom.engine.unit import Installation, find
from mailroom.rules.configuration.shard import Shard
from mailroom.terminal.followall import Following
from mailroom.terminal.manystatus import show_shards
from mailroom.terminal.remote import which_account
from mailroom.terminal.several import Several
from tests.scripted import Scripted
from tests.test_manystatus import document, member
from tests.virtual import VirtualClock

# Of six shards the 1st has zoe, the 2nd anna, the 6th otto.


class Place:
    """A host in a folder, with accounts of the system's and their shards as far as they run."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "etc/mailroom/accounts.d").mkdir(parents=True)
        for file in ("mailroom.yaml", "office.yaml", "accounts.d/anna.yaml"):
            (root / "etc/mailroom" / file).touch()

    def run(self, *instances: str) -> None:
        for instance in instances:
            folder = self.root / "run/mailroom-shard" / instance
            folder.mkdir(parents=True)
            (folder / "status.sock").touch()

    def asked(self, **named: str) -> Installation:
        """Whom a command is about that says no more than this."""
        account, config = named.get("account"), named.get("config")
        found = find({}, account=account, config=config, euid=0, root=self.root)
        return placed(found, self.root)


@pytest.fixture
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose path leaves room for those of sockets."""
    return tmp_path_factory.mktemp("h")


@pytest.fixture
def place(root: Path) -> Place:
    return Place(root)


def test_those_are_here_whose_sockets_are(place: Place) -> None:
    assert shards_here(place.root) == []
    place.run("10-12", "6-6", "2-6", "7-6", "x")
    (place.root / "run/mailroom-shard/3-6").mkdir()
    assert [str(shard) for shard in shards_here(place.root)] == ["2/6", "6/6", "10/12"]
    found = services_here(place.root)
    assert [each.unit for each in found[:2]] == ["mailroom-shard@2-6", "mailroom-shard@6-6"]
    folder = place.root / "run/mailroom-shard/2-6"
    assert found[0].status_socket == folder / "status.sock"
    assert found[0].control_socket == folder / "control.sock"
    assert found[0].config == place.root / "etc/mailroom/mailroom.yaml"


@pytest.mark.parametrize(
    ("run", "account", "unit", "elsewhere"),
    [
        ("", "anna", "mailroom", False),
        ("2-6 6-6", "anna", "mailroom-shard@2-6", False),
        ("1-6 6-6", "anna", "mailroom-shard@2-6", True),
        # While one more is added: where it is, or would be.
        ("1-5 2-6", "anna", "mailroom-shard@2-6", False),
        ("1-5 1-6", "otto", "mailroom-shard@6-6", True),
        ("1-6 6-6", None, "mailroom-shard@1-6", False),
        # An instance is no account of a shard.
        ("2-6", "office", "mailroom@office", False),
    ],
)
def test_an_account_leads_to_its_shard_wherever_that_runs(
    place: Place, run: str, account: str | None, unit: str, elsewhere: bool
) -> None:
    place.run(*run.split())
    asked = place.asked(**({"account": account} if account else {}))
    assert (asked.unit, is_elsewhere(asked)) == (unit, elsewhere)
    # The secrets are those of mailroom.service, whichever shard it is.
    assert asked.credential("jmap-token").startswith("mailroom.")
    assert "shard" not in asked.credential("jmap-token")


def test_what_is_named_is_meant_and_no_shard(place: Place) -> None:
    place.run("1-6", "2-6")
    office = place.asked(config=str(place.root / "etc/mailroom/office.yaml"))
    assert office.unit == "mailroom@office"
    other = place.asked(config="/elsewhere.yaml", account="anna")
    assert other.shard is None


def test_shards_come_before_the_service_that_has_no_business_beside_them(place: Place) -> None:
    place.run("2-6")
    (place.root / "run/mailroom").mkdir()
    (place.root / "run/mailroom/status.sock").touch()
    assert place.asked(account="anna").unit == "mailroom-shard@2-6"


def test_a_host_that_has_had_shards_knows_that_all_are_elsewhere(place: Place) -> None:
    assert not is_drained(place.asked(account="anna"), place.root)
    place.run("2-6")
    assert not is_drained(place.asked(account="anna"), place.root)
    shutil.rmtree(place.root / "run/mailroom-shard/2-6")  # as systemd does it
    assert is_drained(place.asked(account="anna"), place.root)
    assert is_drained(place.asked(), place.root)
    assert not is_drained(place.asked(account="office"), place.root)
    (place.root / "run/mailroom").mkdir()
    (place.root / "run/mailroom/status.sock").touch()
    assert not is_drained(place.asked(account="anna"), place.root)


def test_the_socket_of_a_shard_tells_its_unit_and_that_it_may_be_elsewhere(place: Place) -> None:
    socket = place.root / "run/mailroom-shard/2-6/control.sock"
    found = find({}, socket=socket, root=place.root)
    assert found.shard == Shard(6, 2)
    assert found.look_up() == "see systemctl status mailroom-shard@2-6"
    assert found.stop_command() == "systemctl stop mailroom-shard@2-6"
    with pytest.raises(NobodyAnswers, match="shard 2/6 does not run on this host, look for it on"):
        ask(Path("/run/mailroom-shard/2-6/status.sock"), "GET", "/status")


# All of them together

METRICS = """# HELP mailroom_healthy 1 when healthy.
# TYPE mailroom_healthy gauge
mailroom_healthy{{account="{0}"}} 1
# HELP mailroom_errors_total Errors, by kind.
# TYPE mailroom_errors_total counter
mailroom_errors_total{{account="{0}",kind="a"}} 2
"""


@pytest.fixture
def running(place: Place) -> Iterator[dict[str, Scripted]]:
    """Two shards that answer, and one that does not."""
    place.run("3-6")
    answers: dict[str, dict[str, Any]] = {
        "2-6": {"GET /status": (200, document(member("anna"), member("ben", "away")))},
        "6-6": {"GET /status": (200, document(member("otto", waiting_senders=2)))},
    }
    with ExitStack() as stack:
        found = {}
        for instance, told in answers.items():
            place.run(instance)
            path = place.root / "run/mailroom-shard" / instance / "status.sock"
            path.unlink()
            told["POST /poll"] = (202, {"status": "ok"})
            found[instance] = stack.enter_context(Scripted(path, told))
        yield found


def several(place: Place, *, without: str = "") -> Several:
    return Several([each for each in services_here(place.root) if str(each.shard) != without])


def test_how_all_are_is_one_table_and_who_does_not_answer_is_told(
    place: Place, running: dict[str, Scripted], capsys: pytest.CaptureFixture[str]
) -> None:
    answers = several(place).status()
    assert not show_shards(answers)
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith(
        "shard     2/6: 1.2.3, pid 4711, up 1 min 0 s; accounts 2: 1 ok, 1 un"
    )
    assert told[1].startswith("shard     3/6: nobody answers at ")
    assert told[2].startswith("shard     6/6: 1.2.3")
    assert told[3] == "waiting   2 senders in 1 account"
    assert [line.split()[:2] for line in told[5:]] == [
        ["account", "shard"],
        ["ben", "2/6"],
        ["anna", "2/6"],
        ["otto", "6/6"],
    ]


def test_all_are_well_where_each_is(
    place: Place, running: dict[str, Scripted], capsys: pytest.CaptureFixture[str]
) -> None:
    answers = several(place, without="3/6").status()
    assert show_shards(answers)
    ill = {**answers, "6/6": {**answers["6/6"], "status": "unhealthy", "reason": "no account"}}
    assert not show_shards(ill)
    assert "health    6/6 unhealthy: no account\n" in capsys.readouterr().out


def test_all_are_asked_to_poll_and_name_their_accounts(
    place: Place, running: dict[str, Scripted]
) -> None:
    several(place, without="3/6").poll()
    assert all(("POST /poll", None) in each.asked for each in running.values())
    told = str(several(place, without="3/6").which_account())
    assert told == "there are 3 accounts here: name one with --account: anna, ben, otto"


def test_a_metric_of_all_has_one_head(place: Place) -> None:
    with ExitStack() as stack:
        for instance, account in ("2-6", "anna"), ("6-6", "otto"):
            place.run(instance)
            path = place.root / "run/mailroom-shard" / instance / "status.sock"
            path.unlink()
            answer = METRICS.format(account).encode()
            stack.enter_context(Scripted(path, {"GET /metrics": (200, answer)}))
        text = several(place).metrics()
    assert text.splitlines() == [
        "# HELP mailroom_healthy 1 when healthy.",
        "# TYPE mailroom_healthy gauge",
        'mailroom_healthy{account="anna"} 1',
        'mailroom_healthy{account="otto"} 1',
        "# HELP mailroom_errors_total Errors, by kind.",
        "# TYPE mailroom_errors_total counter",
        'mailroom_errors_total{account="anna",kind="a"} 2',
        'mailroom_errors_total{account="otto",kind="a"} 2',
    ]


def test_where_there_is_no_account_none_is_to_be_named() -> None:
    assert str(which_account(None, [], 0)) == "there is no account here"
    assert str(which_account("eve", [], 0)) == "there is no account eve, nor any other here"


# What happens


class Telling:
    """A service that tells what it is told to tell."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._path = folder / "status.sock"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._path))
        self._listener.listen()
        self._listener.setblocking(False)
        self._connection: socket.socket | None = None
        self.asked = ""

    def is_asked(self) -> bool:
        """Whether somebody listens by now."""
        with contextlib.suppress(BlockingIOError):
            if self._connection is None:
                self._connection, _ = self._listener.accept()
                self._connection.setblocking(False)
            self.asked = self._connection.recv(65536).decode()
            self._connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
            return True
        return False

    def tell(self, event_id: str) -> None:
        assert self._connection
        self._connection.sendall(f"event: poll\nid: {event_id}\ndata: {{}}\n\n".encode())

    def hang_up(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None

    def close(self) -> None:
        self.hang_up()
        self._listener.close()
        self._path.unlink()


def test_shards_are_heard_as_they_come_and_from_where_they_were(root: Path) -> None:
    told: list[str] = []
    complaints: list[str] = []
    loop = Loop(VirtualClock())
    transfer = Transfer(loop, "test")

    def until(reached: Callable[[], object]) -> None:
        for _ in range(10_000):
            if reached():
                return
            loop.turn()
        raise AssertionError(f"{told} {complaints}")

    def here() -> list[Installation]:
        return services_here(root)

    Following(loop, transfer, here, lambda event: told.append(event.id), complaints.append).look()
    folder = root / "run/mailroom-shard"
    first, second = Telling(folder / "1-2"), Telling(folder / "2-2")
    until(first.is_asked)
    until(second.is_asked)
    for service, event_id in (first, "a-1"), (second, "b-1"), (first, "a-2"):
        service.tell(event_id)
        until(partial(told.__contains__, event_id))
    assert (told, complaints) == (["a-1", "b-1", "a-2"], [])
    second.hang_up()
    until(second.is_asked)
    assert "Last-Event-ID: b-1\r\n" in second.asked
    assert complaints == ["mailroom-shard@2-2: it has hung up; waiting for it"]
    first.close()
    until(lambda: len(complaints) == 2)
    second.tell("b-2")
    until(lambda: told[-1] == "b-2")
    second.close()
    transfer.close()
    loop.close()
