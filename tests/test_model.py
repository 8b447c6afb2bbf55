"""The table of docs/fleet.md is what the command prints, reckoned from what was measured."""

import pytest

from tests.bench import model
from tests.bench.model import Costs, Need

COSTS = Costs(
    process_mib=32.0,
    account_kib=100.0,
    rest_ms_an_hour=200.0,
    tap_ms=20.0,
    arrival_ms=10.0,
    idle_requests=1.0,
)


def test_the_document_has_what_the_command_prints() -> None:
    is_there = model.block() in model.DOCUMENT.read_text()
    assert is_there, "make bench FIGURES=model draws it anew"


def test_what_is_reckoned() -> None:
    need = Need(100_000, COSTS)
    assert need.processes == 100
    assert need.gib == pytest.approx((100 * 32 + 100_000 * 100 / 1024) / 1024)
    assert need.cores_at_rest == pytest.approx(100_000 * 0.2 / 3600)
    assert need.cores == pytest.approx(100_000 * (0.2 + 10 * 0.01 + 0.2 * 0.02) / 3600)
    assert need.connections == 100_000 + 100 * 16
    assert need.polls_a_second(60.0) == pytest.approx(1666.7, abs=0.1)
    assert need.requests_a_second == pytest.approx(1666.7 + 100_000 * 30.8 / 3600, abs=0.1)
    assert need.requests_at_start == pytest.approx(100 * 10 * 12 + 1666.7, abs=0.1)


@pytest.mark.parametrize(
    ("cores", "gib", "hosts"),
    [(1.0, 1.0, 2), (8.0, 64.0, 2), (8.1, 1.0, 3), (1.0, 65.0, 3)],
    ids=["one may be away", "just one and another", "by cores", "by memory"],
)
def test_hosts_are_those_that_are_needed_and_one_more(cores: float, gib: float, hosts: int) -> None:
    costs = Costs(0.0, gib * 1024**2, cores * 3_600_000, 0.0, 0.0, 1.0)
    assert Need(1, costs).hosts == hosts
