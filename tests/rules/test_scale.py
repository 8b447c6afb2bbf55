"""More than one page of anything."""

import pytest

from tests.sandbox import CYRUS_3_10, SMALL_LIMITS, Limits, Profile
from tests.world import World

BOB = "Bob <bob@example.org>"
PAGED = Profile("paged", limits=Limits(max_objects_in_get=100, max_objects_in_set=100))


@pytest.mark.parametrize("profile", [CYRUS_3_10, PAGED, SMALL_LIMITS], ids=lambda each: each.name)
def test_250_labelled_mails_of_one_sender(profile: Profile) -> None:
    world = World(profile)
    mails = world.deliver(BOB, count=250)
    world.start().settle()
    for mail in mails:
        world.tap(mail, "@ToFeed")
    world.settle()
    assert world.sandbox.mails_in("Feed") == set(mails)
    assert not world.sandbox.mails_in("@ToFeed")
    assert world.history.totals.mails_filed == 250


def test_250_senders() -> None:
    world = World(PAGED)
    mails = [world.deliver(f"Sender {n} <s{n}@example.org>")[0] for n in range(250)]
    world.start().settle()
    number = world.request_count
    for mail in mails:
        world.tap(mail, "@ToFeed")
    world.settle()
    assert world.sandbox.mails_in("Feed") == set(mails)
    assert len(world.sandbox.group_members("Feed")) == 250
    assert len(world.sandbox.cards()) == 250 + 9
    assert len(world.requests_since(number)) <= 250 + 40


def test_10_000_mails_of_one_sender() -> None:
    """With small limits: twenty pages to find, twenty batches to file, and our own changes are
    told in one."""
    world = World(Profile("500", limits=Limits(max_objects_in_get=500, max_objects_in_set=500)))
    mails = world.deliver(BOB, count=10_000)
    world.start().settle()
    number = world.request_count
    world.tap(mails[5_000], "@ToFeed")
    world.settle()
    assert world.sandbox.mails_in("Feed") == set(mails)
    assert not world.sandbox.mails_in("Screener")
    assert len(world.requests_since(number)) <= 2 * 10_000 / 500 + 10
