"""What other people's CardDAV servers do, each as the rule that the service keeps all the same."""

from dataclasses import replace

from mailroom.sandbox import CYRUS_3_10, Profile
from tests.world import World

BOB = "Bob <bob@example.org>"


def card(*lines: str) -> str:
    return "".join(f"{line}\r\n" for line in ("BEGIN:VCARD", "VERSION:3.0", *lines, "END:VCARD"))


def triaged(world: World, sender: str = BOB) -> set[str]:
    """Tap one mail of the sender; who is in the group afterwards."""
    [mail_id] = world.deliver(sender)
    world.tap(mail_id, "@ToFeed")
    world.settle()
    assert world.sandbox.mailboxes_of(mail_id) == {"Feed"}, world.status["failing_senders"]
    return world.sandbox.group_members("Feed")


def started(profile: Profile = CYRUS_3_10) -> World:
    world = World(profile).start()
    world.settle()
    return world


def test_a_card_whose_lines_have_names_that_are_none_is_kept_and_its_sender_triaged() -> None:
    """Servers take such lines: Cyrus 3.6.1 and 3.10.2 do (seen, tests/contract)."""
    world = started()
    odd = ("X-messaging/xmpp-All:bob", "X A+B@Ü:x", "item1.Ärger;X=1:y")
    world.sandbox.put_card(card("UID:bob", "FN:Bob", "N:;;;;", "EMAIL:bob@example.org", *odd))
    assert triaged(world) == {"bob"}
    [kept] = [text for text in world.sandbox.cards().values() if "bob@example.org" in text]
    assert [line for line in odd if f"\r\n{line}\r\n" not in kept] == []


def test_digest_works_where_it_is_all_that_is_offered() -> None:
    world = started(replace(CYRUS_3_10, dav_authentication="Digest"))
    assert len(triaged(world)) == 1
    refused = [entry for entry in world.sandbox.log.entries if entry.status == 401]
    basic = 1  # asked once, then known
    assert len(refused) == basic + sum(
        e.status != 401 for e in world.sandbox.log.entries if e.path.startswith("/dav/")
    )
