"""Setup, the live check and reset where contacts go by JMAP."""

import gc
import re
from collections.abc import Iterator
from typing import Any

import pytest

from mailroom.rules.account.setup import ItemStatus
from tests.command import Site, killed_anywhere
from tests.sandbox import CYRUS_3_13, FASTMAIL, STALWART, Profile
from tests.test_live import STEPS, everything, live, run
from tests.test_reset import plan, reset, triage
from tests.test_setup import apply, is_ready, paths
from tests.world import World

BY_JMAP = {"contacts": {"by": "jmap"}}
PROFILES = pytest.mark.parametrize(
    "profile", [CYRUS_3_13, FASTMAIL, STALWART], ids=lambda profile: profile.name
)
_STAMPS = re.compile(r"^(?:CREATED|REV):.*\r\n", re.MULTILINE)


@pytest.fixture(autouse=True)
def _graveyard() -> Iterator[None]:
    """What the killed processes had begun is over with the test."""
    yield
    gc.collect()


def state(site: Site) -> Any:
    """All that has to be the same in the end."""
    sandbox = site.sandbox
    cards = {href: _STAMPS.sub("", text) for href, text in sandbox.cards().items()}
    mails = {mail_id: sandbox.mailboxes_of(mail_id) for mail_id in sandbox._store.mails}
    return paths(sandbox), cards, mails


def lived_in(profile: Profile) -> Site:
    """Set up from nothing; then one sender was created, and one of the user's adopted."""
    site = Site(profile, BY_JMAP)
    lines = ("VERSION:3.0", "UID:ann", "FN:Ann", "N:;;;;", "EMAIL:ann@example.org", "X-A:kept")
    card = "".join(f"{line}\r\n" for line in ("BEGIN:VCARD", *lines, "END:VCARD"))
    site.sandbox.put_card(card, "ann.vcf")
    apply(site)
    triage(site, "Bob <bob@example.org>", "@ToFeed", 3)
    triage(site, "Ann <ann@example.org>", "@ToTruck", 2)
    return site


@PROFILES
def test_an_empty_account_becomes_ready_and_setup_has_nothing_more_to_do(profile: Profile) -> None:
    site = Site(profile, BY_JMAP)
    assert {item.status for item in apply(site)} <= {ItemStatus.CREATED, ItemStatus.EXISTS}
    assert is_ready(site)
    before = state(site)
    assert {item.status for item in apply(site)} == {ItemStatus.EXISTS}
    assert state(site) == before
    assert not any(entry.path.startswith("/dav") for entry in site.sandbox.log.entries)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_setup_killed_anywhere_and_run_again_ends_in_the_same_state() -> None:
    expected = Site(CYRUS_3_13, BY_JMAP)
    apply(expected)
    for site, when in killed_anywhere(lambda: Site(CYRUS_3_13, BY_JMAP), apply):
        assert state(site) == state(expected), when


def test_a_group_that_was_deleted_is_rebuilt_with_its_members() -> None:
    site = lived_in(CYRUS_3_13)
    [uid] = site.sandbox.group_members("Feed")
    [href] = [href for href, text in site.sandbox.cards().items() if "FN:Feed\r" in text]
    site.sandbox.delete_card(href)
    apply(site)
    assert site.sandbox.group_members("Feed") == {uid}


def test_the_live_check_leaves_no_trace() -> None:
    world = World(CYRUS_3_13, BY_JMAP)
    world.start().settle()
    mails, cards = everything(world)
    findings = run(world, live(world), within=2)
    assert [each.what for each in findings] == STEPS
    assert [each.error for each in findings] == [None] * len(STEPS)
    after, left = everything(world)
    assert after == mails
    assert left.keys() == cards.keys()
    assert not world.sandbox.group_members("Mailroom")


@PROFILES
def test_reset_leaves_what_was_there_before(profile: Profile) -> None:
    site = lived_in(profile)
    texts = [step.text for step in plan(site, removes=True)]
    assert "contact Bob: made by Mailroom and not edited: deleted" in texts
    assert reset(site, removes=True) == ()
    [(href, card)] = site.sandbox.cards().items()
    assert href.endswith("/ann.vcf")
    assert "X-A:kept" in card
    assert "ailroom" not in card
    assert not [path for path in paths(site.sandbox) if path.startswith(("@", "Screener"))]
    assert all(site.sandbox.mailboxes_of(mail_id) for mail_id in site.sandbox._store.mails)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_reset_killed_anywhere_and_run_again_ends_in_the_same_state() -> None:
    expected = lived_in(CYRUS_3_13)
    assert reset(expected, removes=True) == ()

    def leave(site: Site) -> None:
        assert reset(site, removes=True) == ()

    for site, when in killed_anywhere(lambda: lived_in(CYRUS_3_13), leave):
        assert state(site) == state(expected), when
