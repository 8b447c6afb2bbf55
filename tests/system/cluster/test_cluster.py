"""Sixty accounts in six shards on three hosts, while everybody taps without a pause: one host dies,
one is drained, the network between them is cut; a host is added, and a shard. In this order."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailroom.rules.configuration.shard import Shard
from tests.system.claims import Claims
from tests.system.cluster import guide
from tests.system.cluster.hosts import FIRST, SHARDS, Cluster
from tests.system.cluster.network import cut, heal
from tests.system.cluster.taps import Person, Tapping, faults

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

ACCOUNTS = [f"a{number:02}" for number in range(1, 61)]
HOST = "Debian 13"
# What is promised of a tap, and of shards whose host is gone.
LIMIT_SECONDS = 30.0
# Cyrus and Pacemaker on a busy machine.
PATIENCE_SECONDS = 120.0


class Street:
    """The cluster, and everybody who taps meanwhile."""

    def __init__(self, cluster: Cluster, tapping: Tapping, claims: Claims) -> None:
        self.cluster = cluster
        self.tapping = tapping
        self._claims = claims

    def claim(self, claim: str, measured: float, limit: float = 0, unit: str = "") -> None:
        """Note it, and fail unless it keeps to the limit."""
        self._claims.at_most(limit, measured, HOST, claim, unit)

    def await_tap_of_all(self, since: float) -> None:
        """Wait until everybody has had a tap done that they have made since."""
        self.cluster.await_that(
            lambda: self.tapping.has_everybody_tapped_since(since),
            "everybody has tapped",
            PATIENCE_SECONDS,
        )

    def await_whole(self, shards: int = SHARDS) -> float:
        """Wait until each shard runs on one host; returns the seconds it took."""
        what = f"{shards} shards run, each on one host"
        return self.cluster.await_that(lambda: self.is_whole(shards), what, PATIENCE_SECONDS)

    def is_whole(self, shards: int = SHARDS) -> bool:
        """Whether each shard runs on one host."""
        running = self.cluster.running()
        places = [where for where in running.values() if len(where) == 1]
        return set(running) == instances(shards) and len(places) == shards

    def accounts_on(self, host: str) -> set[str]:
        """Those of the shards that run on this host."""
        running = self.cluster.running()
        return {
            account
            for account in ACCOUNTS
            if host in running[Shard.having(account, SHARDS).instance]
        }


def instances(shards: int) -> set[str]:
    return {f"{number}-{shards}" for number in range(1, shards + 1)}


@pytest.fixture(scope="module")
def cluster(bootable: None, packages: Path) -> Iterator[Cluster]:
    """Made by the guide from fresh hosts, without shards."""
    with contextlib.ExitStack() as stack:
        made = Cluster(packages, stack)
        for name in FIRST:
            made.add(name)
        made.configure(ACCOUNTS)
        made.follow("The hosts")
        made.await_that(lambda: made.online() == set(FIRST), "all hosts are online")
        made.follow("Configuration and secrets")
        yield made


@pytest.fixture(scope="module")
def street(cluster: Cluster, claims: Claims) -> Iterator[Street]:
    """People who tap, from the first shard on."""
    people = [Person.of(cluster.cyrus, name) for name in ACCOUNTS]
    with Tapping(people).going_on() as tapping:
        cluster.follow("The shards")
        street = Street(cluster, tapping, claims)
        street.await_whole()
        street.await_tap_of_all(0)
        yield street


def test_shards_are_spread_evenly(street: Street) -> None:
    street.cluster.follow("Where an account is")
    places = sorted(host for hosts in street.cluster.running().values() for host in hosts)
    assert places == ["n1", "n1", "n2", "n2", "n3", "n3"]
    assert street.cluster.placed() == {
        f"shard-{instance}": hosts for instance, hosts in street.cluster.running().items()
    }


def test_a_host_without_the_shard_says_which_has_the_account(street: Street) -> None:
    shard = Shard.having(ACCOUNTS[0], SHARDS)
    [its] = street.cluster.running()[shard.instance]
    for name, host in street.cluster.hosts.items():
        told = host.run("mailroom", "status", "--account", ACCOUNTS[0], check=False)
        assert (told.returncode == 0) == (name == its), told
        elsewhere = f"{ACCOUNTS[0]} is an account of shard {shard}, which does not run on this host"
        assert (elsewhere in told.stderr) == (name != its), told


def test_corosync_says_nothing_that_can_be_read(street: Street) -> None:
    shown = street.cluster.hosts["n1"].run("corosync-cmapctl").stdout
    assert "totem.crypto_cipher (str) = aes256" in shown
    assert street.cluster.hosts["n2"].run("stat", "-c%a", "/etc/corosync/authkey").stdout == "400\n"


def test_a_shard_that_crashes_is_started_again(street: Street) -> None:
    [(instance, [name]), *_] = street.cluster.running().items()
    host, unit = street.cluster.hosts[name], f"mailroom-shard@{instance}.service"
    before = host.property(unit, "MainPID")
    accounts = {each for each in ACCOUNTS if Shard.having(each, SHARDS).instance == instance}
    begun = time.monotonic()
    host.run("systemctl", "kill", "--kill-whom=main", "--signal=SIGKILL", unit)
    seconds = street.cluster.await_that(
        lambda: host.property(unit, "MainPID") not in {before, "0"} and street.is_whole(),
        "it runs again",
    )
    street.claim("a process is killed: it runs again after", seconds, LIMIT_SECONDS, "s")
    street.await_tap_of_all(begun)
    longest = street.tapping.longest(accounts, begun)
    street.claim("a process is killed: longest tap on it", longest, LIMIT_SECONDS, "s")


def test_a_host_dies(street: Street) -> None:
    lost = street.accounts_on("n3")
    begun = time.monotonic()
    street.cluster.kill("n3")
    seconds = street.await_whole()
    street.claim("a host dies: all shards run again after", seconds, LIMIT_SECONDS, "s")
    street.await_tap_of_all(begun)
    longest = street.tapping.longest(lost, begun)
    street.claim("a host dies: longest tap on it", longest, LIMIT_SECONDS, "s")
    longest = street.tapping.longest(set(ACCOUNTS) - lost, begun)
    street.claim("a host dies: longest tap on the others", longest, LIMIT_SECONDS, "s")
    assert len(lost) in range(1, len(ACCOUNTS))


def test_a_lost_host_is_replaced(street: Street) -> None:
    street.cluster.add("n3")
    street.cluster.follow("A host is replaced")
    street.cluster.await_that(lambda: street.cluster.online() == set(FIRST), "it has joined")
    assert street.accounts_on("n3") == set()
    begun = time.monotonic()
    street.cluster.follow("When a host dies")
    street.await_whole()
    assert street.accounts_on("n3")
    street.await_tap_of_all(begun)


def test_a_host_is_drained(street: Street) -> None:
    moved = street.accounts_on("n2")
    begun = time.monotonic()
    street.cluster.follow("A host is drained")
    assert street.accounts_on("n2") == set()
    street.await_whole()
    street.claim(
        "a host is drained: it is empty after", time.monotonic() - begun, LIMIT_SECONDS, "s"
    )
    street.await_tap_of_all(begun)
    longest = street.tapping.longest(moved, begun)
    street.claim("a host is drained: longest tap on it", longest, LIMIT_SECONDS, "s")
    assert moved


def test_a_drained_host_comes_back(street: Street) -> None:
    street.cluster.follow("A drained host comes back")
    street.await_whole()
    assert street.accounts_on("n2")


def test_the_network_is_cut_in_two_and_both_halves_serve_everybody(street: Street) -> None:
    n1, n2, n3 = (street.cluster.hosts[name] for name in FIRST)
    begun = time.monotonic()
    cut([n1], [n2, n3])

    def all_run_twice() -> bool:
        running = street.cluster.running()
        twice = [where for where in running.values() if "n1" in where and len(where) == 2]
        return len(twice) == SHARDS

    seconds = street.cluster.await_that(all_run_twice, "both halves run all shards")
    claim = "the network is cut: either half serves everybody after"
    street.claim(claim, seconds, LIMIT_SECONDS, "s")
    street.await_tap_of_all(time.monotonic())
    longest = street.tapping.longest(set(ACCOUNTS), begun)
    street.claim("the network is cut: longest tap", longest, LIMIT_SECONDS, "s")

    begun = time.monotonic()
    heal([n1], [n2, n3])
    seconds = street.await_whole()
    street.claim("the network is healed: each shard runs once after", seconds, LIMIT_SECONDS, "s")
    street.await_tap_of_all(begun)
    longest = street.tapping.longest(set(ACCOUNTS), begun)
    street.claim("the network is healed: longest tap", longest, LIMIT_SECONDS, "s")
    street.cluster.await_that(lambda: street.cluster.online() == set(FIRST), "all are online")


def test_a_change_reaches_all_accounts(street: Street) -> None:
    street.cluster.follow("When accounts change")
    street.await_whole()


def test_a_host_is_added(street: Street) -> None:
    street.cluster.add("n4")
    street.cluster.follow("A host is added")
    street.cluster.await_that(lambda: "n4" in street.cluster.online(), "it has joined")


def test_a_further_shard_moves_only_its_share(street: Street) -> None:
    before = street.cluster.members()
    begun = time.monotonic()
    street.cluster.follow("A shard is added")
    street.await_whole(SHARDS + 1)
    after = street.cluster.members()
    moved = {
        account
        for instance, accounts in after.items()
        for account in accounts - before.get(instance.replace("-7", "-6"), set())
    }
    street.claim("a shard is added: accounts that move beside its own", len(moved - after["7-7"]))
    assert after["7-7"]
    street.await_tap_of_all(begun)
    longest = street.tapping.longest(set(ACCOUNTS), begun)
    street.claim("a shard is added: longest tap", longest, LIMIT_SECONDS, "s")


def test_every_tap_was_done_once(street: Street) -> None:
    street.tapping.finish(PATIENCE_SECONDS)
    taps = sum(len(person.taps) for person in street.tapping.people)
    found = [fault for person in street.tapping.people for fault in faults(person)]
    assert found == []
    claim = "taps that are not done, done twice, or done otherwise"
    street.claim(claim, len(found), unit=f"of {taps}")


def test_all_of_the_guide_was_followed(street: Street) -> None:
    assert street.cluster.followed == set(guide.sections())
