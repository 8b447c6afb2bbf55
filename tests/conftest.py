"""How Hypothesis works here; ``--hypothesis-profile=default`` tries twice as much. And what real
servers have done is noted."""

import pytest
from hypothesis import HealthCheck, settings

from tests import servers

# A busy machine is slow, not wrong.
settings.register_profile(
    "quick", max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("quick")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not hasattr(terminalreporter.config, "workerinput"):  # xdist's workers tell it as well
        servers.note(terminalreporter.stats)
