"""Fixtures of the tests on a booted host. Where none can be booted they are skipped, saying why."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system import prepare, root
from tests.system.host import Host


@pytest.fixture(scope="session")
def tree() -> Path:
    """The root to boot, built when the cache has none (that takes a minute)."""
    if obstacle := prepare.obstacle():
        if os.environ.get("REQUIRE_ALL") == "1":
            pytest.fail(obstacle)
        pytest.skip(obstacle)
    return root.ensure()


@pytest.fixture(scope="module")
def host(tree: Path) -> Iterator[Host]:
    """A freshly booted host, shared by the tests of one module."""
    with Host.boot(tree) as booted:
        yield booted
