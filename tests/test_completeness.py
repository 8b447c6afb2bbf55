"""How far an account is set up, which decides where ``mailroom init`` goes on."""

import pytest

from mailroom.work.setup.completeness import Completeness, completeness
from tests.command import Site
from tests.sandbox import Sandbox
from tests.sandbox.sieve import SieveSandbox
from tests.test_sieve import apply, own_script, ready


def found(site: Site, by: str = "server") -> Completeness:
    """What a new process finds, whose configuration has ``by`` decide about new mail."""
    now = Site(configuration={"screening": {"by": by}})
    now.sandbox = site.sandbox
    context = now.context()
    return context.run(completeness(context.loop, context.config, context.clients))


def test_of_a_new_account_everything_is_missing() -> None:
    missing = found(Site(sandbox=SieveSandbox))
    assert {"Screener", "@ToFeed", "Feed", "Mailroom"} <= set(missing.missing)
    assert (missing.obstacles, missing.has_rules) == ((), False)


def test_what_is_in_the_way_is_named() -> None:
    site = ready()
    site.sandbox.destroy_mailbox("Feed")
    site.sandbox.create_mailbox("FEED")
    named = found(site)
    [obstacle] = named.obstacles
    assert obstacle.startswith("the mailbox Feed there is FEED, which differs only in upper")
    assert (named.missing, named.has_rules) == ((), False)


@pytest.mark.parametrize(
    ("by", "has_ours", "has_rules"),
    [
        ("server", True, True),
        ("server", False, False),
        ("mailroom", True, False),
        ("mailroom", False, True),
        ("off", True, False),
        ("off", False, True),
    ],
)
def test_the_rules_are_as_the_configuration_asks(by: str, has_ours: bool, has_rules: bool) -> None:
    site = ready()
    if has_ours:
        apply(site)
    assert found(site, by) == Completeness((), (), has_rules)


def test_a_script_of_ours_that_is_not_active_is_not_enough() -> None:
    site = ready()
    apply(site)
    site.sandbox.activate("")  # type: ignore[attr-defined]
    assert not found(site).has_rules


def test_a_script_of_the_users_that_is_active_is_theirs_to_change() -> None:
    site = ready()
    own_script(site, "keep;", is_active=True)
    apply(site)
    assert found(site).has_rules


@pytest.mark.parametrize("by", ["server", "mailroom"])
def test_where_there_is_no_sieve_rules_are_not_ours_to_make(by: str) -> None:
    assert found(ready(Sandbox), by).has_rules
