"""Fixtures of the browser's tests: one host with Cockpit for all tests of a module."""

from collections.abc import Iterator

import pytest

from tests.browser.cockpit import WITH_BROWSER, Cockpit
from tests.browser.scene import Visitor
from tests.system import root
from tests.system.conftest import bootable
from tests.system.host import Host

__all__ = ["bootable"]


@pytest.fixture(scope="module")
def cockpit(bootable: None) -> Iterator[Cockpit]:
    """A host with Cockpit and a browser, and nobody who has logged in."""
    with Host.boot(root.ensure(WITH_BROWSER)) as host:
        yield Cockpit.start(host)


@pytest.fixture(scope="module")
def visitor(bootable: None) -> Iterator[Visitor]:
    """The same with the real service on a real mail server, and Anna, who may decide."""
    with Host.boot(root.ensure(WITH_BROWSER)) as host:
        yield Visitor.on(host)
