"""The layers of ``make test``, as docs/testing.md has them."""

import re
from pathlib import Path

import pytest

from tests.layers import LAYERS, Result, run_command

PROJECT = Path(__file__).parents[1]
PAGE = (PROJECT / "docs/testing.md").read_text()
# Names -> whether make test runs them, and their budget.
ROWS = [
    (re.findall(r"`([\w-]+)`", names), in_all, budget)
    for names, *_, in_all, budget in (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.splitlines()
        if line.startswith("| `")
    )
]


def test_the_page_has_every_layer() -> None:
    assert sorted(name for names, *_ in ROWS for name in names) == sorted(LAYERS)


@pytest.mark.parametrize(
    ("name", "in_all", "budget"),
    [(name, in_all, budget) for names, in_all, budget in ROWS for name in names],
)
def test_the_page_has_its_budget_and_says_whether_make_test_runs_it(
    name: str, in_all: str, budget: str
) -> None:
    layer = LAYERS[name]
    assert budget == (f"{layer.budget_seconds:,} s" if layer.budget_seconds else "")
    assert (in_all == "no") == (layer.is_extra or not layer.is_ours)


def test_the_budgets_leave_something_of_the_time_that_make_test_may_take() -> None:
    total = sum(layer.budget_seconds or 0 for layer in LAYERS.values())
    assert f"add up to {round(total / 60)} minutes" in " ".join(PAGE.split())
    assert total <= 35 * 60


def test_who_takes_longer_than_its_budget_says_so() -> None:
    budget = LAYERS["lint"].budget_seconds
    assert budget
    assert "budget" not in str(Result("lint", "passed", budget, "ok"))
    assert f"(over its budget of {budget} s)" in str(Result("lint", "passed", budget + 1, "ok"))
    assert "budget" not in str(Result("test-cluster", "passed", 9999, "ok"))


def test_what_skipped_tests_lack_is_in_the_last_line(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(
        "import pytest\n"
        "@pytest.mark.skip(reason='tmux is not installed')\ndef test_one(): pass\n"
        "@pytest.mark.skip(reason='tmux is not installed')\ndef test_two(): pass\n"
        "@pytest.mark.skip(reason='no: browser')\ndef test_three(): pass\n"
        "def test_four(): pass\n"
    )
    code, line = run_command(("pytest", "-q", "-n", "0", str(tmp_path)), {})
    assert (code, line.partition(" in ")[0]) == (0, "1 passed, 3 skipped")
    assert line.endswith("(skipped: tmux is not installed, no: browser)")
