"""Very much mail at once: the door takes it in portions, decides about each once, and rests."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from tests.sandbox import Fault
from tests.test_door import BOB, WAITING, at, house
from tests.world import World

# A quarter of what `make bench FIGURES=storm` sends to a real process: more than one poll takes on
# at a time, and strangers enough for all of Sent to be read.
_MAILS, _SENDERS, _SECONDS = 2_500, 500, 60.0
_AT_ONCE = 5


class Watch:
    """What the service asks for meanwhile: how often each mail is patched, and Sent read whole."""

    def __init__(self, world: World) -> None:
        self.patches: Counter[str] = Counter()
        self.sent_read = 0
        self._sent = world.sandbox.mailbox_id("Sent")
        world.sandbox.before_call(self._note)

    def _note(self, name: str, arguments: Mapping[str, Any]) -> None:
        if name == "Email/set":
            self.patches.update([*arguments["update"]])
        elif name == "Email/query" and arguments.get("filter") == {"inMailbox": self._sent}:
            is_whole = "sort" not in arguments  # else it is whether something has come since
            self.sent_read += is_whole and not arguments.get("position")


def test_a_storm_of_strangers_is_screened_in_few_polls() -> None:
    world = house("mailroom")
    world.sandbox.send(BOB, "a question")
    world.settle()
    watch, polls = Watch(world), world.polls
    mails: list[str] = []
    for number in range(_MAILS):
        sender = f"s{number % _SENDERS}@strangers.example"
        mails.append(world.sandbox.deliver(sender, mailbox="Inbox"))
        if number % _AT_ONCE == 0:
            world.run_for(_SECONDS * _AT_ONCE / _MAILS)
    world.run_for(10.0)
    assert world.sandbox.mails_in("Screener") == set(mails)
    assert set(watch.patches.values()) == {1}
    assert all(WAITING in world.sandbox.keywords_of(mail) for mail in mails)
    assert world.polls - polls <= _SECONDS / 3 + 2
    assert watch.sent_read == 1
    assert world.status["waiting"]["senders"] == _SENDERS


@pytest.mark.parametrize("by", ["server", "mailroom"])
def test_a_server_that_never_tells_what_has_changed_is_not_hurried(by: str) -> None:
    world = house(by)
    fault = Fault(call="Email/changes", method_error="cannotCalculateChanges")
    world.sandbox.faults.add(fault)
    gate = "Inbox" if by == "mailroom" else "Screener"
    with world.sandbox.lock:
        mails = [
            world.sandbox.deliver(f"s{number % 7}@strangers.example", mailbox=gate)
            for number in range(1100)
        ]
    world.run_for(60.0)
    assert {mail for mail in mails if at(world, mail) != ({"Screener"}, {WAITING})} == set()
    polls = world.polls
    world.run_for(600.0)
    assert world.polls - polls <= 2 * 10 + 2


@pytest.mark.parametrize("by", ["server", "mailroom"])
def test_after_a_start_what_waits_is_looked_through_one_request_after_the_other(by: str) -> None:
    world = house(by)
    world.sandbox.close_feeds()
    world.loop.close()
    gate = "Inbox" if by == "mailroom" else "Screener"
    with world.sandbox.lock:
        mails = [
            world.sandbox.deliver(f"s{number % _SENDERS}@strangers.example", mailbox=gate)
            for number in range(_MAILS)
        ]
    number = world.request_count
    world.sandbox.controls.delay_seconds = 0.05
    world.boot()
    world.start().run_for(120.0)
    assert world.sandbox.mails_in("Screener") == set(mails)
    assert all(WAITING in world.sandbox.keywords_of(mail) for mail in mails)
    asked = [each for each in world.requests_since(number) if "Email/get" in each.calls]
    assert len(asked) >= _MAILS / 250
    # One for what waits, and one for how much of it there is: that is counted meanwhile.
    for one, third in zip(asked, asked[2:], strict=False):
        assert one.ended is not None
        assert one.ended <= third.started, (one, third)
