"""What happens while a triage is being worked on: before, between and after its requests."""

from collections.abc import Callable, Iterator

import pytest

from tests.sandbox import CYRUS_3_6, CYRUS_3_10, Entry, Profile
from tests.world import BOOK, World

BOB = "Bob <bob@example.org>"
Act = Callable[[World], None]

# Of a triage of several mails of a new sender (tests/test_poll.py).
_REQUESTS = 9


def _moments(
    user: Act,
    profile: Profile = CYRUS_3_10,
    *,
    by: str = "server",
    was_triaged: bool = False,
) -> Iterator[World]:
    """A triage of three mails, disturbed by the user at one moment after the other; each world
    when it has come to rest. ``by``: who screens; ``was_triaged``: it is not the first triage of
    their sender."""
    # Between two requests is after the one: the server does nothing until the other.
    for moment, at in [("before", 1), *(("after", each) for each in range(1, _REQUESTS + 1))]:
        world = World(profile, {**BOOK, "screening": {"by": by}})
        world.deliver(BOB, count=3)
        world.start().settle()
        if was_triaged:
            world.tap(world.mails[0], "@ToJail")
            world.settle()
        number = world.request_count + at
        done: list[int] = []

        def disturb(entry: Entry, *_: object, number: int = number, done: list[int] = done,
                    world: World = world) -> None:  # fmt: skip
            if entry.number == number and not entry.is_stream:
                done.append(number)
                user(world)

        getattr(world.sandbox, moment)(disturb)
        world.tap(world.mails[0], "@ToFeed")
        world.run_for(70.0 if profile is CYRUS_3_10 else 130.0)
        assert done
        yield world


def _places(world: World) -> list[set[str]]:
    return [world.sandbox.mailboxes_of(mail) for mail in world.mails]


def test_a_second_tap_on_the_same_mail_is_the_next_triage() -> None:
    for world in _moments(lambda world: world.tap(world.mails[0], "@ToJail")):
        # Seen together, the two labels are a conflict: neither has been worked on.
        if world.named("conflict_detected"):
            first, *others = _places(world)
            assert first == {"Screener", "@ToFeed", "@ToJail", "@MailroomError"}
            assert others == [{"Screener"}, {"Screener"}]
        else:
            assert _places(world) == [{"Jail"}] * 3
            assert len(world.sandbox.group_members("Jail")) == 1
            assert not world.sandbox.group_members("Feed")


def test_a_second_tap_on_another_mail_is_the_next_triage() -> None:
    for world in _moments(lambda world: world.tap(world.mails[1], "@ToJail")):
        if world.named("conflict_detected"):
            assert _places(world)[2] == {"Screener"}
        else:
            assert _places(world) == [{"Jail"}] * 3
            assert not world.sandbox.group_members("Feed")


def test_a_tap_taken_back_leaves_a_whole_triage_or_none() -> None:
    def user(world: World) -> None:
        if "@ToFeed" in world.sandbox.mailboxes_of(world.mails[0]):
            world.sandbox.unlabel(world.mails[0], "@ToFeed")

    for world in _moments(user):
        assert _places(world) in ([{"Feed"}] * 3, [{"Screener"}] * 3)


@pytest.mark.parametrize("by", ["server", "off"])
@pytest.mark.parametrize("profile", [CYRUS_3_10, CYRUS_3_6], ids=lambda each: each.name)
def test_mail_that_arrives_meanwhile_is_filed_as_well(profile: Profile, by: str) -> None:
    """By the door; or, where there is none, because its sender was triaged a moment ago."""

    def user(world: World) -> None:
        world.mails.append(world.sandbox.deliver(BOB))
        world.sandbox.deliver("Carol <carol@example.org>")

    for world in _moments(user, profile, by=by):
        assert _places(world) == [{"Feed"}] * 4
        assert len(world.sandbox.mails_in("Screener")) == 1


def test_mail_that_the_user_moves_away_meanwhile_is_not_lost() -> None:
    for world in _moments(lambda world: world.sandbox.move(world.mails[1], "Archive")):
        assert "Archive" in world.sandbox.mailboxes_of(world.mails[1])
        assert _places(world)[0] == {"Feed"}


@pytest.mark.parametrize("was_triaged", [False, True])
def test_a_card_that_the_user_edits_meanwhile_keeps_the_edit(was_triaged: bool) -> None:
    """The card of a new sender is only written once, that of a triaged one is written again."""
    edited: list[World] = []

    def user(world: World) -> None:
        for href, card in world.sandbox.cards().items():
            if "EMAIL" in card:
                edited.append(world)
                new = card.replace("END:VCARD", "TEL:+47 12345\r\nEND:VCARD")
                world.sandbox.put_card(new, href.rpartition("/")[2])

    for world in _moments(user, was_triaged=was_triaged):
        (card,) = (card for card in world.sandbox.cards().values() if "EMAIL" in card)
        assert ("TEL:+47 12345" in card) is (world in edited)
        assert card.count("riaged to Feed") == 1
        assert _places(world) == [{"Feed"}] * 3
    assert edited


def test_a_group_that_somebody_else_fills_meanwhile_keeps_its_members() -> None:
    def user(world: World) -> None:
        for href, card in world.sandbox.cards().items():
            if "FN:Feed" in card:
                line = "X-ADDRESSBOOKSERVER-MEMBER:urn:uuid:carol\r\nEND:VCARD"
                filled = card.replace("END:VCARD", line)
                world.sandbox.put_card(filled, href.rpartition("/")[2])

    for world in _moments(user):
        assert "carol" in world.sandbox.group_members("Feed")
        assert len(world.sandbox.group_members("Feed")) == 2
