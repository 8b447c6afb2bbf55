"""How Hypothesis works here; ``--hypothesis-profile=default`` tries twice as much. What was done on
real servers is noted, and what was measured on booted hosts is shown."""

import resource
import signal
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests import servers
from tests.system.claims import Claims

# Crowds of clients are more than a shell's 1,024 files.
_SOFT, _HARD = resource.getrlimit(resource.RLIMIT_NOFILE)
if 0 <= _SOFT < 8192:
    _MORE = min(8192, _HARD) if _HARD != resource.RLIM_INFINITY else 8192
    resource.setrlimit(resource.RLIMIT_NOFILE, (_MORE, _HARD))

# A shell's background job ignores Ctrl+C, and all that it starts would as well.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_CLAIMS = pytest.StashKey[Claims]()

# A busy machine is slow, not wrong.
settings.register_profile(
    "quick", max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("quick")


@pytest.fixture(scope="session")
def claims(pytestconfig: pytest.Config) -> Claims:
    """Where tests note what they measured; it is shown at the end."""
    return pytestconfig.stash.setdefault(_CLAIMS, Claims())


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of xdist hands over what its tests measured."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["claims"] = session.config.stash.get(_CLAIMS, Claims()).rows


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Whoever has started the workers gathers it. (One that has crashed hands over nothing.)"""
    rows = getattr(node, "workeroutput", {}).get("claims", [])
    node.config.stash.setdefault(_CLAIMS, Claims()).extend(rows)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if hasattr(config, "workerinput"):  # xdist's workers tell it as well
        return
    servers.note(terminalreporter.stats)
    if table := config.stash.get(_CLAIMS, Claims()).table():
        terminalreporter.section("measured on Debian 13 (systemd 257) and Debian 12 (systemd 252)")
        for line in table:
            terminalreporter.write_line(line)
