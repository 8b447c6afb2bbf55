"""What a further reading of a thousand accounts changes."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mailroom.engine.journal import Log
from mailroom.engine.loop import Loop
from mailroom.rules.configuration.config import Config, Tls, from_data
from mailroom.rules.configuration.fleet import merged, sharing
from mailroom.tenants import Shared, Tenants
from mailroom.work.account.account import Common
from mailroom.work.account.reporter import Audience
from tests.fleetworld import FleetWorld
from tests.virtual import VirtualClock

DEFAULTS = {"jmap": {"url": "https://mail.example.org", "username": "{account}%master"}}
NAMES = [f"a{number}" for number in range(1000)]


def reading(defaults: Config) -> dict[str, Config]:
    """As the files are read anew: equal, and not the same."""
    return {name: sharing(from_data(merged(DEFAULTS, {}, name)), defaults) for name in NAMES}


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def tenants(tmp_path: Path, clock: VirtualClock) -> Iterator[Tenants]:
    (tmp_path / "jmap-password").write_text("secret-of-all")
    loop = Loop(clock)
    shared = Shared(
        loop,
        {"CREDENTIALS_DIRECTORY": str(tmp_path)},
        Log(lambda *_: True),
        "test",
        Common(),
        lambda _name: Audience(lambda _event: None, lambda: False),
        lambda: None,
        lambda: None,
    )
    made = Tenants(shared)
    made.trust(Tls())
    yield made
    made.close()
    loop.close()


def test_of_a_thousand_accounts_the_one_that_has_changed_is_touched(tenants: Tenants) -> None:
    defaults = from_data(DEFAULTS)
    first = reading(defaults)
    assert all([tenants.put_to_work(name, first[name], defaults) for name in NAMES])
    before = {each.name: each.account for each in tenants}
    second = reading(defaults)
    second["a500"] = replace(second["a500"], owners=("anna",))
    tenants.trust(Tls())
    touched = [name for name in NAMES if tenants.put_to_work(name, second[name], defaults)]
    assert tenants.keep_only(set(NAMES)) == []
    assert touched == ["a500"]
    assert [each.name for each in tenants if each.account is not before[each.name]] == ["a500"]


def test_what_concerns_the_whole_process_touches_no_account(tenants: Tenants) -> None:
    defaults = from_data(DEFAULTS)
    config = reading(defaults)["a0"]
    assert tenants.put_to_work("a0", config, defaults)
    other = from_data(
        {**DEFAULTS, "logging": {"level": "debug"}, "limits": {"starts_per_second": 1}}
    )
    assert other.limits != config.limits
    changed = replace(config, logging=other.logging, limits=other.limits)
    assert not tenants.put_to_work("a0", changed, defaults)
    assert tenants.put_to_work("a0", replace(changed, owners=("anna",)), defaults)


def test_a_sum_follows_what_changes_what_goes_and_what_grows_old(
    tenants: Tenants, clock: VirtualClock
) -> None:
    defaults = from_data(DEFAULTS)
    for name in ("anna", "zoe"):
        tenants.put_to_work(name, from_data(merged(DEFAULTS, {}, name)), defaults)
    found = tenants.sum()
    assert (len(found), found.well, found.reasons) == (2, 2, {})
    tenants.refuse("anna", ("anna.yaml:1: no",))
    assert (tenants.sum().well, tenants.sum().reasons) == (2, {"anna": "anna.yaml:1: no"})
    tenants.put_to_work("anna", from_data(merged(DEFAULTS, {}, "anna")), defaults)
    assert tenants.sum().reasons == {}
    # Nothing happens, and twice the interval goes by; until then all is well, and at that instant.
    clock.advance(120.0)
    assert tenants.sum().well == 2
    clock.advance(5.0)
    assert tenants.sum().well == 0
    assert "no successful poll since the start" in tenants.sum().reasons["zoe"]
    tenants.keep_only({"zoe"})
    assert (len(tenants.sum()), [*tenants.sum().reasons]) == (1, ["zoe"])


class Bug(Exception):
    pass


def test_a_late_error_of_a_former_account_ends_no_other(tenants: Tenants) -> None:
    """What is raised while it is closed comes when another is at work, or none at all."""
    defaults = from_data(DEFAULTS)
    config = from_data(merged(DEFAULTS, {}, "anna"))
    tenants.put_to_work("anna", config, defaults)
    [anna] = tenants
    former = anna.account
    assert former is not None
    tenants.put_to_work("anna", replace(config, owners=("otto",)), defaults)
    successor = anna.account
    former._owner.fail(Bug())
    assert (anna.account, anna.member().reason) == (successor, None)
    tenants.keep_only(set())
    assert successor is not None
    successor._owner.fail(Bug())
    assert anna.account is successor  # nobody begins it again
    assert anna._restart is None or not anna._restart.is_pending


def test_bugs_that_are_days_apart_do_not_make_the_pauses_longer(
    tenants: Tenants, clock: VirtualClock
) -> None:
    defaults = from_data(DEFAULTS)
    tenants.put_to_work("anna", from_data(merged(DEFAULTS, {}, "anna")), defaults)
    [anna] = tenants
    for _ in range(12):
        assert anna.account is not None
        anna.account._owner.fail(Bug())
        anna._open_again()
        clock.advance(86_400.0)
    assert anna._restarts.failures == 1


def test_a_reading_that_failed_costs_no_connection(tenants: Tenants) -> None:
    """Nor do connections end that accounts have by it: their files come before the fault."""
    defaults = from_data(DEFAULTS)
    configs = {name: from_data(merged(DEFAULTS, {}, name)) for name in ("anna", "otto")}
    for name, config in configs.items():
        tenants.put_to_work(name, config, defaults)
    anna, otto = tenants
    before = otto.account
    tenants.trust(Tls(ca_file="/first.pem"))
    tenants.put_to_work("anna", configs["anna"], defaults)
    tenants.trust(Tls(ca_file="/second.pem"))
    assert anna._transfer is not None
    assert not anna._transfer._is_closed
    tenants.trust(Tls())
    assert tenants.put_to_work("anna", configs["anna"], defaults)
    assert not tenants.put_to_work("otto", configs["otto"], defaults)
    tenants.keep_only({"anna", "otto"})
    assert otto.account is before
    assert len(tenants._transfers) == 1


def test_one_of_many_speaks_of_few_mails_at_a_time() -> None:
    """Whoever sweeps thousands holds neither the loop nor the server for long."""
    with FleetWorld() as world:
        anna, _zoe = world.add("anna"), world.add("zoe")
        mails = anna.deliver("eve@example.net", count=1_200)
        world.hup()
        world.run_for(5)
        anna.tap(mails[0], "@ToFeed")
        world.run_for(30)
        assert anna.sandbox.mails_in("Feed") == set(mails)
        bodies = [json.loads(each.body) for each in anna.asked if each.method == "POST"]
        calls = [call for body in bodies for call in body.get("methodCalls", ())]
        changed = [len(call[1].get("update") or ()) for call in calls]
        assert max(changed) == 500
