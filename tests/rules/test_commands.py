"""The rules a second time, with the command as the user's hand: where a case puts a category's
label on a mail, ``mailroom triage`` decides about its sender, and the end is the same.

Not those that no command could do, nor those without a label; what is said to the command itself is
for ``tests/test_orders.py``.
"""

import pytest

from tests.rules.servers import on_servers, try_on
from tests.rules.table import Case, cases
from tests.rules.user import Commander
from tests.sandbox import Profile


def _is_by_label(case: Case) -> bool:
    return case.only_by_label is None and any(
        action.startswith("label ")
        for step in case.given.get("when") or ()
        for action in ([step] if isinstance(step, str) else step)
    )


_BY_LABEL = list(filter(_is_by_label, cases()))


@pytest.mark.parametrize(("case", "profile", "way"), list(on_servers(_BY_LABEL)))
def test_rule_by_command(case: Case, profile: Profile, way: str) -> None:
    try_on(case, profile, way, Commander)


def test_most_rules_can_be_tried_by_command() -> None:
    assert len(_BY_LABEL) > 70
