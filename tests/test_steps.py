"""What is left of setting an installation up, whatever is there already."""

import itertools

import pytest

from mailroom.rules.account.steps import Inventory, Step, agreed, remaining

WHOLE = Inventory(
    has_configuration=True,
    has_secret=True,
    is_enabled=True,
    is_active=True,
    missing=(),
    has_rules=True,
)
NOTHING = Inventory(has_configuration=False, has_secret=False, is_enabled=False, is_active=False)


def test_a_whole_installation_has_nothing_left() -> None:
    assert remaining(WHOLE) == ()


def test_of_nothing_all_is_left_in_this_order() -> None:
    assert remaining(NOTHING) == tuple(Step)


@pytest.mark.parametrize("there", list(itertools.product([False, True], repeat=6)))
def test_what_is_left_is_what_is_not_there(there: tuple[bool, ...]) -> None:
    configuration, secret, missing, rules, enabled, active = there
    progress = Inventory(
        has_configuration=configuration,
        has_secret=secret,
        is_enabled=enabled,
        is_active=active,
        missing=() if missing else ("Feed",),
        has_rules=rules,
    )
    left = [
        *([] if configuration else [Step.CONFIGURATION]),
        *([] if secret else [Step.SECRET]),
        *([] if missing else [Step.ACCOUNT]),
        *([] if rules else [Step.RULES]),
        *([] if enabled and active else [Step.SERVICE]),
    ]
    assert list(remaining(progress)) == left


def test_rules_are_the_servers() -> None:
    left = remaining(NOTHING)
    assert agreed(left, "server") == left
    for by in ("mailroom", "off"):
        assert set(left) - set(agreed(left, by)) == {Step.RULES}


def test_what_stands_in_the_way_is_left_as_well() -> None:
    blocked = Inventory(
        has_configuration=True,
        has_secret=True,
        is_enabled=True,
        is_active=True,
        missing=(),
        obstacles=("the label @ToFeed is the account's archive",),
        has_rules=True,
    )
    assert remaining(blocked) == (Step.ACCOUNT,)
