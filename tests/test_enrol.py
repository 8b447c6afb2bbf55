"""Contacts of senders, in the cases that no server and no user has on purpose."""

from collections.abc import Callable

import pytest

from mailroom.rules.contacts.contact import contact_uid
from tests.sandbox import Entry, Fault
from tests.sandbox import Request as Asked
from tests.sandbox import Response as Answer
from tests.world import World

BOOK = "/dav/addressbooks/user/alice/Default/"
BOB = "Bob <bob@example.org>"
UID = contact_uid("alice", "bob@example.org", 0)
NEXT_UID = contact_uid("alice", "bob@example.org", 1)


@pytest.fixture
def world() -> World:
    return World().start()


def vcard(uid: str, address: str) -> str:
    lines = ("BEGIN:VCARD", "VERSION:3.0", f"UID:{uid}", "FN:Carol", "N:;;;;", f"EMAIL:{address}")
    return "".join(f"{line}\r\n" for line in (*lines, "END:VCARD"))


def tap(world: World, label: str, sender: str = BOB) -> str:
    mail_id = world.sandbox.deliver(sender)
    world.tap(mail_id, label)
    world.settle()
    return mail_id


def before_first(world: World, method: str, act: Callable[[], object]) -> None:
    """Somebody does something just before the first request of a method."""
    done: list[Entry] = []

    def hook(entry: Entry, _: Asked) -> None:
        if entry.method == method and not done:
            done.append(entry)
            act()

    world.sandbox.before(hook)


def test_a_card_that_the_user_gave_to_somebody_else_is_left_to_them(world: World) -> None:
    href = world.sandbox.put_card(vcard(UID, "carol@example.org"))
    card = world.sandbox.cards()[href]
    assert world.sandbox.mailboxes_of(tap(world, "@ToFeed")) == {"Feed"}
    assert world.sandbox.cards()[href] == card
    assert world.sandbox.group_members("Feed") == {NEXT_UID}


def test_a_uid_that_stands_at_another_place_leads_to_the_next_one(world: World) -> None:
    body = b'<error xmlns="DAV:"><no-uid-conflict xmlns="urn:ietf:params:xml:ns:carddav"/></error>'
    taken = Answer(403, {"Content-Type": "application/xml"}, body)
    world.sandbox.faults.add(Fault(method="PUT", path=f"{BOOK}{UID}.vcf", answer=taken))
    assert world.sandbox.mailboxes_of(tap(world, "@ToFeed")) == {"Feed"}
    assert world.sandbox.group_members("Feed") == {NEXT_UID}


def test_a_contact_that_somebody_made_a_moment_ago_is_the_contact(world: World) -> None:
    before_first(world, "PUT", lambda: world.sandbox.put_card(vcard(UID, "Bob@Example.org")))
    assert world.sandbox.mailboxes_of(tap(world, "@ToFeed")) == {"Feed"}
    assert world.sandbox.group_members("Feed") == {UID}
    assert "FN:Carol" in world.sandbox.cards()[f"{BOOK}{UID}.vcf"]


def test_a_lost_answer_makes_no_second_contact(world: World) -> None:
    cards = len(world.sandbox.cards())
    world.sandbox.faults.add(Fault(method="PUT", breaks="after", times=1))
    mail_id = tap(world, "@ToFeed")
    assert world.sandbox.mailboxes_of(mail_id) == {"Feed"}
    assert len(world.sandbox.cards()) == cards + 1


def test_a_contact_that_changes_while_it_is_deleted_is_kept(world: World) -> None:
    tap(world, "@ToFeed")
    href = f"{BOOK}{UID}.vcf"

    def edit() -> None:
        text = world.sandbox.cards()[href]
        world.sandbox.put_card(text.replace("END:VCARD", "TITLE:friend\r\nEND:VCARD"))

    before_first(world, "DELETE", edit)
    assert world.sandbox.mailboxes_of(tap(world, "@ToScreener")) == {"Screener"}
    assert "TITLE:friend" in world.sandbox.cards()[href]
    assert "Mailroom" not in world.sandbox.cards()[href].replace("-//Mailroom//EN", "")


def test_a_contact_that_a_server_touches_while_it_is_deleted_is_deleted(world: World) -> None:
    tap(world, "@ToFeed")
    href = f"{BOOK}{UID}.vcf"

    def touch() -> None:
        text = world.sandbox.cards()[href]
        world.sandbox.put_card(text.replace("END:VCARD", "REV:20261121T000000Z\r\nEND:VCARD"))

    before_first(world, "DELETE", touch)
    tap(world, "@ToScreener")
    assert href not in world.sandbox.cards()


def test_a_book_that_may_not_be_written_is_the_senders_failure_and_not_the_end(
    world: World,
) -> None:
    world.sandbox.faults.add(Fault(method="PUT", answer=Answer(403)))
    assert "@ToFeed" in world.sandbox.mailboxes_of(tap(world, "@ToFeed"))
    (failed,) = world.named("sender_failed")
    assert "does this user have the right to write to the address book?" in str(failed["error"])


@pytest.mark.parametrize(
    "address", ["b\ud800b@example.org", "b\u202eb@example.org", "b\0b@example.org", "bob@exa\nmple"]
)
def test_an_address_that_no_card_can_carry_is_marked_and_no_bug(world: World, address: str) -> None:
    mail_id = world.sandbox.deliver([("Bob", address)])
    world.tap(mail_id, "@ToFeed")
    other = tap(world, "@ToFeed")
    assert world.sandbox.mailboxes_of(mail_id) == {"Screener", "@MailroomError"}
    assert world.sandbox.mailboxes_of(other) == {"Feed"}
