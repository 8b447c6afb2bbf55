"""What ``mailroom check`` finds, step by step."""

from typing import Any

import pytest

from mailroom.errors import LastingTrouble
from mailroom.rules.config import from_data
from mailroom.sandbox import CYRUS_3_10, FASTMAIL, Profile
from mailroom.work.check import Check, Finding, worst
from tests.command import Site


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
    assert found["address book"].detail.endswith("/Default/, 8 cards")


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
