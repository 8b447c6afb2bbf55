"""All rows of the table."""

from collections.abc import Iterator, Mapping

from tests.chaos import crash, faults
from tests.chaos.commands import COMMANDS
from tests.chaos.table import Case, Row


def _jobs() -> Iterator[Case]:
    scenarios = {**crash.SCENARIOS, **crash.LARGE_SCENARIOS}
    return crash.cases([(name, each.begin) for name, each in scenarios.items()])


ROWS: Mapping[str, Row] = {
    row.name: row
    for row in (
        Row("kill", "killed before, in and after every request, then started again", _jobs),
        Row(
            "kill-command",
            "setup and reset, killed likewise and run again",
            lambda: crash.cases(COMMANDS.items()),
        ),
        Row(
            "fault",
            "every fault at every request, once and for 5 min, then no more",
            faults.cases,
            "requests in a minute",
            60,
        ),
        Row(
            "random",
            "a third of the requests fail at random for 5 min, then no more",
            faults.random_cases,
            "requests in a minute",
            60,
        ),
    )
}
