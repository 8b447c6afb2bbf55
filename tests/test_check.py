"""What ``mailroom check`` finds, step by step."""

import json
from typing import Any

import pytest

from mailroom.errors import LastingTrouble
from mailroom.rules.config import from_data
from mailroom.sandbox import (
    CYRUS_3_10,
    FASTMAIL,
    NO_SEARCH,
    PROFILES,
    Entry,
    Fault,
    Profile,
    Request,
    Sandbox,
)
from mailroom.work.check import Check, Finding, worst
from tests.command import Site
from tests.world import World


def findings(site: Site) -> dict[str, Finding]:
    desk = site.desk()
    found = desk.run(Check(desk.loop, desk.config, desk.talks).run(lambda _: None))
    return {each.what: each for each in found}


def ready(profile: Profile = CYRUS_3_10, configuration: dict[str, Any] | None = None) -> Site:
    site = Site(profile, configuration=configuration or {})
    site.sandbox.standard_account()
    return site


@pytest.mark.parametrize(
    ("profile", "configured", "told"),
    [
        (CYRUS_3_10, ["Me@Example.org"], "me@example.org"),
        (CYRUS_3_10, ["*@example.org"], "*@example.org"),
        (FASTMAIL, [], "*@alice.example, alice@home.example"),
        (FASTMAIL, ["me@example.org"], "*@alice.example, alice@home.example, me@example.org"),
    ],
)
def test_the_own_addresses_that_are_known_are_told(
    profile: Profile, configured: list[str], told: str
) -> None:
    site = ready(profile, {"triage": {"own_addresses": configured}})
    found = findings(site)["own addresses"]
    assert (found.detail, found.is_doubtful) == (told, False)


def test_what_is_there_is_told() -> None:
    found = findings(ready())
    count = len(from_data({}).managed_mailboxes)
    assert found["mailboxes"].detail == f"all {count} are there"
    assert found["address book"].detail.endswith(
        "/Default/, 8 cards; because there is a password for it"
    )


def test_what_is_missing_is_named() -> None:
    site = ready()
    site.sandbox.destroy_mailbox("@ToFeed")
    site.sandbox.delete_card("/x/group-jail.vcf")
    found = findings(site)
    assert "@ToFeed" in str(found["mailboxes"].error)
    assert "Jail" in str(found["contact groups"].error)
    assert isinstance(worst(list(found.values())), LastingTrouble)


def test_where_no_own_address_is_known_it_warns_and_is_no_error() -> None:
    found = findings(ready())
    assert found["own addresses"].is_doubtful
    assert "triage.own_addresses" in found["own addresses"].detail
    assert worst(list(found.values())) is None


def shape(value: Any) -> Any:
    """What is asked, whoever it is about: names of properties and operators, each once."""
    if isinstance(value, dict):
        return tuple(sorted((key, shape(each)) for key, each in value.items()))
    if isinstance(value, list):
        return tuple(sorted({repr(shape(each)) for each in value}))
    return value if value in ("AND", "OR") else type(value).__name__


def questions(sandbox: Sandbox) -> set[Any]:
    """The shapes of all reading calls from now on."""
    asked: set[Any] = set()

    def note(_entry: Entry, request: Request) -> None:
        if request.method == "POST":
            for name, arguments, _ in json.loads(request.body)["methodCalls"]:
                if not name.endswith("/set"):
                    asked.add((name, shape({**arguments, "position": 0, "limit": 1})))

    sandbox.before(note)
    return asked


@pytest.mark.parametrize("name", PROFILES)
def test_check_asks_all_that_the_service_lives_by(name: str) -> None:
    world = World(PROFILES[name])
    lived = questions(world.sandbox)
    mails = world.deliver("Bob <bob@example.org>", count=2)
    world.start()
    world.tap(mails[0], "@ToFeed")
    world.run_for(130.0)
    assert world.sandbox.mails_in("Feed") == set(mails)
    site = ready(PROFILES[name])
    checked = questions(site.sandbox)
    findings(site)
    assert lived
    assert lived <= checked


@pytest.mark.parametrize(
    ("call", "error"),
    [("Email/query", "unsupportedFilter"), ("Email/get", "serverFail"),
     ("Mailbox/get", "forbidden")],
)  # fmt: skip
def test_what_the_service_cannot_live_without_is_an_error(call: str, error: str) -> None:
    site = ready()
    site.sandbox.faults.add(Fault(call=call, method_error=error))
    found = findings(site)
    assert worst(list(found.values())) is not None
    assert error in "".join(each.detail for each in found.values() if each.error)


def test_a_search_that_fails_is_told_and_no_error() -> None:
    found = findings(ready(NO_SEARCH))
    assert found["searches"].is_doubtful
    assert "serverFail" in found["searches"].detail
    assert worst(list(found.values())) is None


def test_a_failure_is_told_once() -> None:
    site = ready()
    site.sandbox.destroy_mailbox("Feed")
    found = findings(site)
    assert [each.what for each in found.values() if each.error] == ["mailboxes"]
    assert "searches" not in found
