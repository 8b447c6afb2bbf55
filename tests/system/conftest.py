"""Fixtures of the tests on a booted host. Where none can be booted they are skipped, saying why."""

import fcntl
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system import prepare, root
from tests.system.cyrus import Cyrus
from tests.system.host import Host
from tests.system.unit import PROJECT


@pytest.fixture(scope="session")
def bootable() -> None:
    """Skip what boots a host where that cannot be done."""
    if obstacle := prepare.obstacle():
        if os.environ.get("REQUIRE_ALL") == "1":
            pytest.fail(obstacle)
        pytest.skip(obstacle)


@pytest.fixture(scope="session")
def tree(bootable: None) -> Path:
    """The root to boot, built when the cache has none (that takes a minute)."""
    return root.ensure(root.chosen())


@pytest.fixture(scope="module", params=root.RELEASES, ids=lambda recipe: recipe.release)
def each_tree(bootable: None, request: pytest.FixtureRequest) -> Path:
    """The root of every Debian release that Mailroom works on, one after the other."""
    return root.ensure(request.param)


@pytest.fixture(scope="module")
def host(tree: Path) -> Iterator[Host]:
    """A freshly booted host, shared by the tests of one module."""
    with Host.boot(tree) as booted:
        yield booted


@pytest.fixture(scope="module")
def cyrus(tree: Path) -> Iterator[Cyrus]:
    """Cyrus on a host of its own, shared by the tests of one module."""
    with Host.boot(tree) as host, host.network():
        yield Cyrus.start(host)


@pytest.fixture(scope="session")
def packages(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that ``make deb`` fills, once for all workers. (``tree`` skips where no host can
    be booted.)"""
    assert tree.is_dir()
    place = tmp_path_factory.getbasetemp()
    folder = (place.parent if "PYTEST_XDIST_WORKER" in os.environ else place) / "dist"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            command = [str(PROJECT / "packaging/build-deb.sh"), str(folder)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=600)
    return folder
