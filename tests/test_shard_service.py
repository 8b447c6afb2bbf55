"""A service that has a shard of the accounts: these and no others, also where these are none."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.process import ROOT, Process, environment
from tests.schemas import validate
from tests.test_fleet_service import Household, are_connected, rows

pytestmark = pytest.mark.sandbox

# Of six shards the 1st has zoe, the 2nd anna, the 6th otto; the 3rd would have karl.
ANNAS, NOBODYS, NEW = "2/6", "3/6", "karl"


@pytest.fixture
def household(tmp_path: Path) -> Iterator[Household]:
    with ExitStack() as stack:
        yield Household(tmp_path, stack)


def test_a_shard_has_its_accounts_and_reads_no_file_of_others(household: Household) -> None:
    household.file("zoe").write_text("nonsense: 1\n")
    with household.start("--shard", "2/2") as service:
        service.until_told("READY=1")
        service.until(lambda: are_connected(service, 2), "push")
        assert set(rows(service)) == {"anna", "otto"}
        assert "zoe" not in service.log
    assert household.authorizations["zoe"] == set()


def test_a_shard_without_accounts_is_well_and_takes_what_comes_with_a_reload(
    household: Household,
) -> None:
    with household.start("--shard", NOBODYS) as service:
        service.until_told("READY=1")
        service.until_told("STATUS=0 accounts, 0 with push; 0 senders waiting")
        status, document = service.ask("/healthz")
        assert (status, document["accounts"]) == (200, {"ok": 0, "unhealthy": 0})
        validate("fleet-healthz", document)
        validate("fleet-status", service.ask("/status")[1])
        assert service.ask("/poll", "POST")[0] == 202
        household.file(NEW).write_text(household.file("anna").read_text())
        (household.folder / "credentials" / f"{NEW}.jmap-password").write_text("secret-of-anna")
        service.send(signal.SIGHUP)
        service.until(lambda: are_connected(service, 1), "push")
        assert set(rows(service)) == {NEW}
        household.file(NEW).unlink()
        service.send(signal.SIGHUP)
        service.until(lambda: not rows(service), "the reload")
        assert service.ask("/healthz")[0] == 200
        assert "config_refused" not in service.events
        assert service.stop()[0] == 0


def until_refused(service: Process) -> list[str]:
    """The lines that say why it has ended with 78."""
    service.until(lambda: service.child.poll() is not None, "exit")
    assert service.end() == 78
    return [line for line in service.log.splitlines() if line.startswith("config_refused")]


def test_one_good_file_of_its_own_is_enough(household: Household) -> None:
    for name in ("anna", "zoe"):
        household.file(name).write_text("nonsense: 1\n")
    with household.start("--shard", "2/2") as service:
        service.until_told("READY=1")


def test_where_all_of_its_files_are_bad_a_shard_does_not_start(household: Household) -> None:
    for name in ("anna", "zoe"):
        household.file(name).write_text("nonsense: 1\n")
    with household.start("--shard", ANNAS) as service:
        assert all("anna.yaml:1: nonsense" in line for line in until_refused(service))


def test_without_its_configuration_no_shard_starts(household: Household) -> None:
    household.config.write_text("nonsense: 1\n")
    with household.start("--shard", NOBODYS) as service:
        [told] = until_refused(service)
        assert "mailroom.yaml:1: nonsense" in told


def test_a_folder_of_accounts_that_has_gone_leaves_them(household: Household) -> None:
    with household.start("--shard", ANNAS) as service:
        service.until_told("READY=1")
        shutil.move(household.folder / "accounts.d", household.folder / "kept")
        service.send(signal.SIGHUP)
        service.until(lambda: "config_refused" in service.events, "the refusal")
        assert set(rows(service)) == {"anna"}


def test_where_there_are_no_accounts_there_is_no_shard(household: Household) -> None:
    shutil.rmtree(household.folder / "accounts.d")
    with household.start("--shard", ANNAS) as service:
        [told] = until_refused(service)
        assert "shard 2/6 has no accounts to take: there is no folder accounts.d" in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--shard", "7/6"], "'7/6' is not a shard: write 2/6 for the second of six"),
        (["--shard", "2-6"], "'2-6' is not a shard"),
        (["--shard", "2/6", "--account", "anna"], "--shard is for many accounts"),
    ],
)
def test_what_means_nothing_is_told_in_one_line(
    arguments: list[str], told: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mailroom", "run", *arguments],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith(f"mailroom: {told}")
