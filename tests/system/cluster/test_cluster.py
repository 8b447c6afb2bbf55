"""Sixty accounts in six shards on three hosts, while everybody taps without a pause: one host dies,
one is drained, and the network between them is cut."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.claims import Claims
from tests.system.cluster.hosts import FIRST, SHARDS, Cluster
from tests.system.cluster.taps import Person, Tapping, faults

pytestmark = [pytest.mark.system, pytest.mark.timeout(1800)]

ACCOUNTS = [f"a{number:02}" for number in range(1, 61)]
INSTANCES = {f"{number}-{SHARDS}" for number in range(1, SHARDS + 1)}
HOST = "Debian 13"


@pytest.fixture(scope="module")
def cluster(bootable: None, packages: Path) -> Iterator[Cluster]:
    """Made by the guide, from fresh hosts to six shards that run."""
    with contextlib.ExitStack() as stack:
        made = Cluster(packages, stack)
        for name in FIRST:
            made.add(name)
        made.configure(ACCOUNTS)
        made.follow("The hosts")
        made.await_that(lambda: made.online() == set(FIRST), "all hosts are online")
        yield made


@pytest.fixture(scope="module")
def tapping(cluster: Cluster) -> Tapping:
    return Tapping([Person.of(cluster.cyrus, name) for name in ACCOUNTS])


def is_whole(cluster: Cluster) -> bool:
    """Each shard runs on one host."""
    running = cluster.running()
    return set(running) == INSTANCES and all(len(places) == 1 for places in running.values())


def test_the_guide_makes_the_cluster(cluster: Cluster, tapping: Tapping) -> None:
    cluster.follow("Configuration and secrets")
    cluster.follow("The shards")
    cluster.await_that(lambda: is_whole(cluster), "six shards run")


def test_every_tap_is_done_once_whatever_happens_to_the_hosts(
    cluster: Cluster, tapping: Tapping, claims: Claims
) -> None:
    with tapping.going_on():
        cluster.await_that(
            lambda: tapping.has_everybody_tapped_since(0), "everybody has tapped", 120
        )
        begun = time.monotonic()
        cluster.kill("n3")
        seconds = cluster.await_that(lambda: is_whole(cluster), "six shards run on two hosts")
        claims.at_most(30, seconds, HOST, "a host dies: all shards run again", "s")
        cluster.await_that(
            lambda: tapping.has_everybody_tapped_since(begun), "everybody has tapped", 120
        )
    tapping.finish(60)
    late = max(tap.seconds for person in tapping.people for tap in person.taps)
    claims.at_most(30, late, HOST, "longest tap", "s")
    assert [fault for person in tapping.people for fault in faults(person)] == []
