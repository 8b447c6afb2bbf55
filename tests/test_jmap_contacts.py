"""Contacts by JMAP within polls: what they cost, and what nobody does on purpose meanwhile."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from mailroom.rules.contacts.contact import contact_uid
from tests.sandbox import (
    CYRUS_3_13,
    FASTMAIL,
    STALWART,
    Entry,
    Fault,
    Limits,
    Profile,
    Response,
    longest_chain,
)
from tests.sandbox import Request as Asked
from tests.world import World

BOB = "Bob <bob@example.org>"
UID = contact_uid("alice", "bob@example.org", 0)
NEXT_UID = contact_uid("alice", "bob@example.org", 1)
BOOK = "/dav/addressbooks/user/alice/Default/"
DELAY = 0.05
#: As Stalwart has them: few calls, and 500 objects at a time.
FEW_CALLS = replace(CYRUS_3_13, name="few calls", limits=Limits(
    max_calls_in_request=16, max_objects_in_get=500, max_objects_in_set=500,
    max_concurrent_requests=4))  # fmt: skip
TIGHT = replace(CYRUS_3_13, name="tight", limits=Limits(
    max_size_request=20_000, max_calls_in_request=4, max_objects_in_get=20,
    max_objects_in_set=10, max_concurrent_requests=4))  # fmt: skip


def by_jmap(profile: Profile = CYRUS_3_13) -> World:
    return World(profile, {"contacts": {"by": "jmap"}})


@pytest.fixture
def world() -> World:
    return by_jmap().start()


def after_first_poll(world: World) -> int:
    world.settle()
    world.sandbox.controls.delay_seconds = DELAY
    return world.request_count


def vcard(uid: str, *lines: str) -> str:
    whole = ("BEGIN:VCARD", "VERSION:3.0", f"UID:{uid}", "FN:Carol", "N:;;;;", *lines, "END:VCARD")
    return "".join(f"{line}\r\n" for line in whole)


def tap(world: World, label: str, sender: str = BOB) -> str:
    mail_id = world.sandbox.deliver(sender)
    world.tap(mail_id, label)
    world.settle()
    return mail_id


def before_first(world: World, method: str, act: Callable[[], object], times: int = 1) -> None:
    """Somebody does something just before the first requests with a call of this method."""
    done: list[Entry] = []

    def hook(entry: Entry, _: Asked) -> None:
        if method in entry.calls and len(done) < times:
            done.append(entry)
            act()

    world.sandbox.before(hook)


def rename(world: World, uid: str, name: str) -> None:
    [(href, text)] = [
        item for item in world.sandbox.cards().items() if re.search(f"UID[^:]*:{uid}", item[1])
    ]
    lines = [f"FN:{name}" if line.startswith("FN") else line for line in text.splitlines()]
    whole = "".join(f"{line}\r\n" for line in lines)
    world.sandbox.put_card(whole, href.rpartition("/")[2])


# What it costs


@pytest.mark.parametrize("is_old", [False, True])
@pytest.mark.parametrize("profile", [CYRUS_3_13, FASTMAIL, FEW_CALLS], ids=lambda p: p.name)
def test_a_new_sender_takes_four_requests_one_after_the_other(
    profile: Profile, is_old: bool
) -> None:
    """Also in an account that was set up before there was a screened group."""
    world = by_jmap(profile)
    if is_old:
        world.sandbox.delete_card("/x/group-mailroom-screened.vcf")
    mails = world.deliver(BOB, count=20)
    world.start()
    number = after_first_poll(world)
    world.tap(mails[7], "@ToTruck")
    world.run_until(lambda: bool(world.named("sender_triaged")))
    entries = world.requests_since(number)
    assert (len(entries), len(longest_chain(entries))) == (4, 4)
    assert not any(entry.path.startswith("/dav") for entry in world.requests_since(0))
    # What leaves Screener is looked at again: the user may have moved it meanwhile.
    assert entries[2].calls == ("ContactCard/set", "Email/set", "Email/get")
    assert world.sandbox.mails_in("Truck") == set(mails)
    assert world.sandbox.group_members("Truck") == {UID}


@pytest.mark.parametrize("profile", [CYRUS_3_13, FASTMAIL, FEW_CALLS], ids=lambda p: p.name)
def test_fifty_new_senders_take_four_requests_as_well(profile: Profile) -> None:
    world = by_jmap(profile)
    senders = [f"Sender {n} <s{n}@x{n % 9}.example>" for n in range(50)]
    mails = [mail for sender in senders for mail in world.deliver(sender, count=2)]
    world.start()
    number = after_first_poll(world)
    for mail in mails[::2]:
        world.tap(mail, "@ToBillboard")
    world.run_until(lambda: len(world.named("sender_triaged")) == 50)
    entries = world.requests_since(number)
    assert (len(entries), len(longest_chain(entries))) == (4, 4)
    assert world.sandbox.mails_in("Billboard") == set(mails)
    assert len(world.sandbox.group_members("Mailroom")) == 50


def test_a_slow_machine_takes_no_more_requests() -> None:
    """What is written together is worked out before any of it is asked for: long computing lets
    others have their turn, and whoever gives way misses the batch."""
    world = by_jmap()
    senders = [f"Sender {n} <s{n}@x{n % 9}.example>" for n in range(50)]
    mails = [mail for sender in senders for mail in world.deliver(sender, count=2)]
    world.start()
    number = after_first_poll(world)
    world.clock.seconds_a_look = 0.006
    for mail in mails[::2]:
        world.tap(mail, "@ToFeed")
    world.run_until(lambda: len(world.named("sender_triaged")) == 50)
    calls = [entry.calls for entry in world.requests_since(number)]
    assert (len(calls), calls[2]) == (4, ("ContactCard/set", "Email/set", "Email/get"))
    assert world.sandbox.mails_in("Feed") == set(mails)


def test_further_addresses_of_a_contact_cost_nothing_more() -> None:
    world = by_jmap()
    world.sandbox.put_card(vcard("carol", "EMAIL:bob@example.org", "EMAIL:rob@example.net"))
    one, two = world.deliver(BOB)[0], world.deliver("Rob <rob@example.net>")[0]
    world.start()
    number = after_first_poll(world)
    world.tap(one, "@ToFeed")
    world.run_until(lambda: bool(world.named("sender_triaged")))
    entries = world.requests_since(number)
    assert (len(entries), len(longest_chain(entries))) == (4, 4)
    assert world.sandbox.mails_in("Feed") == {one, two}


def test_changing_ones_mind_costs_no_more_and_taking_back_one_to_ask_sent() -> None:
    world = by_jmap()
    mails = world.deliver(BOB, count=3)
    world.start()
    for label, requests in (("@ToFeed", 4), ("@ToJail", 4), ("@ToScreener", 5)):
        number = after_first_poll(world)
        world.tap(mails[0], label)
        world.run_for(2.0)
        assert len(world.requests_since(number)) == requests, label
    assert world.sandbox.mails_in("Screener") == set(mails)
    assert len(world.sandbox.cards()) == 9


@pytest.mark.parametrize("profile", [CYRUS_3_13, FASTMAIL], ids=lambda p: p.name)
def test_a_poll_that_finds_nothing_is_one_request_also_after_our_own_writes(
    profile: Profile,
) -> None:
    world = by_jmap(profile).start()
    tap(world, "@ToFeed")
    number, polls = after_first_poll(world), world.polls
    world.run_for(600.0)
    assert len(world.requests_since(number)) == world.polls - polls


def test_where_limits_are_tight_everything_is_done_all_the_same() -> None:
    world = by_jmap(TIGHT)
    senders = [f"Sender {n} <s{n}@x{n % 9}.example>" for n in range(60)]
    mails = [mail for sender in senders for mail in world.deliver(sender)]
    world.start().settle()
    for label in ("@ToFeed", "@ToJail"):
        for mail in mails:
            world.tap(mail, label)
        world.run_for(60.0)
    assert world.sandbox.mails_in("Jail") == set(mails)
    assert len(world.sandbox.group_members("Jail")) == 60
    assert not world.sandbox.group_members("Feed")
    noted = [card for card in world.sandbox.cards().values() if "Re-triaged to Jail" in card]
    assert len(noted) == 60


# What others do


def test_a_change_of_groups_is_seen_by_the_next_poll_and_makes_none(world: World) -> None:
    world.settle()
    polls = world.polls
    world.sandbox.delete_card(f"{BOOK}group-feed.vcf")
    world.run_for(5.0)
    assert world.polls == polls
    world.run_for(60.0)
    for _ in range(3):
        assert "contact groups missing" in world.healthz[1]["reason"]
        assert "Feed" in world.healthz[1]["reason"]
        world.run_for(60.0)


def test_a_change_of_groups_is_seen_although_the_first_look_at_them_fails(world: World) -> None:
    world.settle()
    fault = Fault(call="ContactCard/query", times=1, answer=Response(503))
    world.sandbox.faults.add(fault)
    world.sandbox.delete_card(f"{BOOK}group-feed.vcf")
    world.run_for(60.0)
    assert world.healthz[0] == 200
    world.run_for(60.0)
    assert "contact groups missing" in world.healthz[1]["reason"]


def test_without_push_a_change_of_groups_is_seen_within_minutes() -> None:
    world = by_jmap(replace(CYRUS_3_13, name="without push", push="absent")).start()
    world.settle()
    world.sandbox.delete_card(f"{BOOK}group-feed.vcf")
    world.run_for(370.0)
    assert "contact groups missing" in world.healthz[1]["reason"]


def test_a_change_of_groups_is_seen_that_came_while_the_stream_was_away() -> None:
    world = by_jmap(STALWART).start()
    world.run_for(400.0)
    world.sandbox.close_feeds()
    group = next(href for href in world.sandbox.cards() if "group-feed" in href)
    world.sandbox.delete_card(group)
    world.run_for(70.0)
    assert "contact groups missing" in world.healthz[1]["reason"]


def test_without_push_what_another_instance_has_decided_is_known_within_minutes() -> None:
    world = by_jmap(replace(CYRUS_3_13, name="without push", push="absent")).start()
    mail = world.sandbox.deliver(BOB)
    first, world.account = world.account, world.new_account()
    world.account.start()
    world.settle()
    world.tap(mail, "@ToFeed")
    world.tap(mail, "@WholeDomain")
    first.poll_now()
    world.run_for(370.0)
    first.close()
    later = world.sandbox.deliver("Carol <carol@example.org>")
    world.run_for(70.0)
    assert world.sandbox.mailboxes_of(later) == {"Feed"}


def test_a_group_that_somebody_fills_meanwhile_keeps_its_members(world: World) -> None:
    def join() -> None:
        text = world.sandbox.cards()[f"{BOOK}group-feed.vcf"]
        line = "X-ADDRESSBOOKSERVER-MEMBER:urn:uuid:carol\r\nEND:VCARD"
        world.sandbox.put_card(text.replace("END:VCARD", line), "group-feed.vcf")

    before_first(world, "ContactCard/set", join)
    tap(world, "@ToFeed")
    assert world.sandbox.group_members("Feed") == {UID, "carol"}


def test_a_card_that_the_user_gave_to_somebody_else_is_left_to_them(world: World) -> None:
    href = world.sandbox.put_card(vcard(UID, "EMAIL:carol@example.org"))
    card = world.sandbox.cards()[href]
    assert world.sandbox.mailboxes_of(tap(world, "@ToFeed")) == {"Feed"}
    assert world.sandbox.cards()[href] == card
    assert world.sandbox.group_members("Feed") == {NEXT_UID}


def test_somebody_elses_card_in_our_place_is_out_of_the_groups_again(world: World) -> None:
    """It was not there when contacts were looked for, and came before ours."""
    stranger = vcard(UID, "EMAIL:carol@example.org")
    before_first(world, "ContactCard/set", lambda: world.sandbox.put_card(stranger))
    assert world.sandbox.mailboxes_of(tap(world, "@ToFeed")) == {"Feed"}
    assert world.sandbox.group_members("Feed") == {NEXT_UID}
    assert world.sandbox.group_members("Mailroom") == {NEXT_UID}


def test_a_contact_that_somebody_made_a_moment_ago_is_the_contact(world: World) -> None:
    own = vcard(UID, "EMAIL:Bob@Example.org")
    before_first(world, "ContactCard/set", lambda: world.sandbox.put_card(own))
    assert world.sandbox.mailboxes_of(tap(world, "@ToFeed")) == {"Feed"}
    assert world.sandbox.group_members("Feed") == {UID}
    assert "FN:Carol" in world.sandbox.cards()[f"{BOOK}{UID}.vcf"]


@pytest.mark.parametrize("profile", [CYRUS_3_13, STALWART], ids=lambda p: p.name)
def test_a_contact_that_changes_while_it_is_deleted_is_kept(profile: Profile) -> None:
    world = by_jmap(profile).start()
    tap(world, "@ToFeed")
    before_first(world, "ContactCard/set", lambda: rename(world, UID, "Bobby"))
    assert world.sandbox.mailboxes_of(tap(world, "@ToScreener")) == {"Screener"}
    [card] = [text for text in world.sandbox.cards().values() if "Bobby" in text]
    assert "— Mailroom —" not in card
    assert "mailroom.example" not in card
    assert not world.sandbox.group_members("Feed")


def test_other_changes_delay_a_note_and_lose_nothing(world: World) -> None:
    tap(world, "@ToFeed")
    others = iter(f"other{number}" for number in range(9))
    before_first(
        world, "ContactCard/set", lambda: world.sandbox.put_card(vcard(next(others))), times=3
    )
    tap(world, "@ToJail")
    assert world.sandbox.group_members("Jail") == {UID}
    assert "Re-triaged to Jail" in world.sandbox.cards()[f"{BOOK}{UID}.vcf"]
    assert not world.named("sender_failed")


def test_a_book_that_never_holds_still_fails_the_sender_with_the_reason(world: World) -> None:
    tap(world, "@ToFeed")
    others = iter(f"other{number}" for number in range(99))
    before_first(
        world, "ContactCard/set", lambda: world.sandbox.put_card(vcard(next(others))), times=5
    )
    mail_id = tap(world, "@ToJail")
    (failed,) = world.named("sender_failed")
    assert "somebody else changed the contacts 5 times" in str(failed["error"])
    assert "@ToJail" in world.sandbox.mailboxes_of(mail_id)


def test_a_member_goes_in_the_spelling_that_the_group_has(world: World) -> None:
    world.sandbox.put_card(vcard("carol", "EMAIL:bob@example.org"))
    group = ("KIND:group", "MEMBER:urn:uuid:carol", "MEMBER:urn:uuid:dora")
    lines = ("BEGIN:VCARD", "VERSION:4.0", "UID:group-feed", "FN:Feed", *group, "END:VCARD")
    world.sandbox.put_card("".join(f"{line}\r\n" for line in lines), "group-feed.vcf")
    tap(world, "@ToJail")
    assert "carol" not in str(world.sandbox.group_members("Feed"))
    assert "dora" in str(world.sandbox.group_members("Feed"))
    assert world.sandbox.group_members("Jail") == {"carol"}


# What a server refuses


def refused(part: str) -> Fault:
    """The server says of the next set that it has refused all of this part."""

    def rewrite(response: Response) -> Response:
        data = json.loads(response.body)
        for name, arguments, _ in data["methodResponses"]:
            if name == "ContactCard/set" and (done := arguments.get(part)):
                errors = {key: {"type": "forbidden"} for key in done}
                arguments |= {"not" + part.capitalize(): errors, part: None}
        return replace(response, body=json.dumps(data).encode())

    return Fault(call="ContactCard/set", rewrite=rewrite, times=1)


def test_a_refused_contact_keeps_its_senders_label_and_leaves_no_member(world: World) -> None:
    world.sandbox.faults.add(refused("created"))
    bob = world.deliver(BOB)[0]
    world.tap(bob, "@ToFeed")
    world.run_until(lambda: len(world.sandbox.cards()) == 10)
    world.sandbox.delete_card(f"{BOOK}{UID}.vcf")
    world.run_for(5.0)
    assert "@ToFeed" in world.sandbox.mailboxes_of(bob)
    (failed,) = world.named("sender_failed")
    assert "the contact cannot be created: ContactCard/set failed: forbidden" in str(
        failed["error"]
    )
    assert not world.sandbox.group_members("Feed")
    assert not world.sandbox.group_members("Mailroom")


def test_a_refused_card_of_decisions_keeps_the_labels_and_leaves_none(world: World) -> None:
    world.settle()
    before = set(world.sandbox.cards())
    answered_so = refused("created").rewrite
    assert answered_so is not None

    def refuse(response: Response) -> Response:
        for href in set(world.sandbox.cards()) - before:
            world.sandbox.delete_card(href)
        return answered_so(response)

    world.sandbox.faults.add(Fault(call="ContactCard/set", rewrite=refuse, times=1))
    mail_id = world.deliver("News <news@shop.example>")[0]
    with world.sandbox.lock:
        world.sandbox.label(mail_id, "@ToFeed")
        world.sandbox.label(mail_id, "@WholeDomain")
    world.run_for(5.0)
    assert {"@ToFeed", "@WholeDomain"} <= world.sandbox.mailboxes_of(mail_id)
    (failed,) = world.named("sender_failed")
    assert "a card that keeps decisions cannot be changed" in str(failed["error"])
    assert "forbidden" in str(failed["error"])
    assert set(world.sandbox.cards()) == before


def test_a_refused_group_fails_its_senders_and_no_others(world: World) -> None:
    bob, carol = world.deliver(BOB)[0], world.deliver("Carol <carol@example.org>")[0]
    world.sandbox.put_card(vcard("carol", "EMAIL:carol@example.org"))
    world.sandbox.faults.add(refused("updated"))
    world.tap(bob, "@ToFeed")
    world.tap(carol, "@ToJail")
    world.run_for(5.0)
    assert {each["sender"] for each in world.named("sender_failed")} == {
        "bob@example.org",
        "carol@example.org",
    }
    assert "@ToFeed" in world.sandbox.mailboxes_of(bob)
    world.run_for(200.0)
    assert world.sandbox.mailboxes_of(bob) == {"Feed"}
    assert world.sandbox.mailboxes_of(carol) == {"Jail"}


def test_who_cannot_be_taken_out_of_a_group_keeps_the_label(world: World) -> None:
    tap(world, "@ToFeed")
    left: set[str] = set()

    def look(name: str, arguments: Mapping[str, Any]) -> None:
        if name == "ContactCard/set":
            patches = (arguments.get("update") or {}).items()
            left.update(key for key, patch in patches if patch.get(f"members/{UID}", True) is None)

    def refuse(response: Response) -> Response:
        """Out of Feed, not into Jail."""
        data = json.loads(response.body)
        for name, arguments, _ in data["methodResponses"]:
            if name == "ContactCard/set":
                done = arguments["updated"] or {}
                arguments["notUpdated"] = {key: {"type": "forbidden"} for key in done.keys() & left}
                arguments["updated"] = dict.fromkeys(done.keys() - left)
        return replace(response, body=json.dumps(data).encode())

    world.sandbox.before_call(look)
    world.sandbox.faults.add(Fault(call="ContactCard/set", rewrite=refuse, times=1))
    mail_id = world.deliver(BOB)[0]
    world.tap(mail_id, "@ToJail")
    world.run_for(5.0)
    assert "@ToJail" in world.sandbox.mailboxes_of(mail_id)
    (failed,) = world.named("sender_failed")
    assert "the contact group Feed cannot be changed" in str(failed["error"])


def test_what_another_writes_into_a_card_of_decisions_meanwhile_stays(world: World) -> None:
    decide(world, "News <news@shop.example>")
    [(href, text)] = [each for each in world.sandbox.cards().items() if "shop.example" in each[1]]
    more = text.replace("domain shop.example", "domain bank.example\\ndomain shop.example")
    before_first(
        world, "ContactCard/set", lambda: world.sandbox.put_card(more, href.rpartition("/")[2])
    )
    decide(world, "Post <post@mail.example>")
    kept = world.sandbox.cards()[href].replace("\r\n ", "")
    domains = ("shop.example", "bank.example", "mail.example")
    assert [each for each in domains if f"domain {each}" not in kept] == []


def decide(world: World, sender: str) -> None:
    """The whole domain of a sender goes to Feed."""
    mail_id = world.deliver(sender)[0]
    with world.sandbox.lock:
        world.sandbox.label(mail_id, "@ToFeed")
        world.sandbox.label(mail_id, "@WholeDomain")
    world.settle()


def test_an_error_of_the_whole_method_fails_the_poll_and_the_next_one_does_it(
    world: World,
) -> None:
    error = Fault(call="ContactCard/set", method_error="serverFail", times=1)
    world.sandbox.faults.add(error)
    mail_id = world.deliver(BOB)[0]
    world.tap(mail_id, "@ToFeed")
    world.run_for(10.0)
    assert world.named("poll_failed")
    assert world.sandbox.mailboxes_of(mail_id) == {"Feed"}
    assert world.sandbox.group_members("Feed") == {UID}


def test_a_lost_answer_makes_no_second_contact(world: World) -> None:
    cards = len(world.sandbox.cards())
    world.sandbox.faults.add(Fault(call="ContactCard/set", breaks="after", times=1))
    assert world.sandbox.mailboxes_of(tap(world, "@ToFeed")) == {"Feed"}
    assert len(world.sandbox.cards()) == cards + 1


def test_what_a_deleted_contact_has_left_in_groups_is_not_its_successors(world: World) -> None:
    tap(world, "@ToFeed")
    world.sandbox.delete_card(f"{BOOK}{UID}.vcf")
    tap(world, "@ToJail")
    assert not world.sandbox.group_members("Feed")
    assert world.sandbox.group_members("Jail") == {UID}


def test_a_server_that_shows_few_ids_at_a_time_is_asked_until_there_are_no_more() -> None:
    few = Limits(max_ids_in_query=2, max_objects_in_get=3)
    world = by_jmap(replace(CYRUS_3_13, name="few", limits=few))
    senders = [f"Sender {n} <s{n}@example.org>" for n in range(12)]
    mails = [mail for sender in senders for mail in world.deliver(sender)]
    world.start().settle()
    for label in ("@ToFeed", "@ToJail"):
        for mail in mails:
            world.tap(mail, label)
        world.run_for(60.0)
    assert world.sandbox.mails_in("Jail") == set(mails)
    assert len(world.sandbox.group_members("Jail")) == 12
    assert not world.sandbox.group_members("Feed")
    assert len(world.sandbox.cards()) == 9 + 12


def test_a_card_that_is_somebody_elses_by_now_is_seen_before_anything_is_written(
    world: World,
) -> None:
    world.sandbox.put_card(vcard(UID, "EMAIL:carol@example.org"))
    number = after_first_poll(world)
    tap(world, "@ToFeed")
    sets = [entry for entry in world.requests_since(number) if "ContactCard/set" in entry.calls]
    assert len(sets) == 1
    assert world.sandbox.group_members("Feed") == {NEXT_UID}


def test_a_group_that_was_made_anew_a_moment_ago_is_the_group(world: World) -> None:
    def make_anew() -> None:
        world.sandbox.delete_card(f"{BOOK}group-feed.vcf")
        text = vcard("another", "X-ADDRESSBOOKSERVER-KIND:group").replace("FN:Carol", "FN:Feed")
        world.sandbox.put_card(text)

    before_first(world, "ContactCard/query", make_anew)
    assert world.sandbox.mailboxes_of(tap(world, "@ToFeed")) == {"Feed"}
    assert world.sandbox.group_members("Feed") == {UID}
    assert not world.named("sender_failed")


def test_a_group_that_was_renamed_a_moment_ago_is_none_of_ours(world: World) -> None:
    before_first(world, "ContactCard/query", lambda: rename(world, "group-feed", "Food"))
    mail_id = tap(world, "@ToFeed")
    assert "@ToFeed" in world.sandbox.mailboxes_of(mail_id)
    assert not world.sandbox.group_members("Food")


def test_who_is_created_beside_a_note_is_so_when_others_delay_it(world: World) -> None:
    tap(world, "@ToFeed")
    bob, carol = world.deliver(BOB)[0], world.deliver("Carol <carol@example.org>")[0]
    before_first(world, "ContactCard/set", lambda: world.sandbox.put_card(vcard("other")))
    world.tap(bob, "@ToJail")
    world.tap(carol, "@ToJail")
    world.settle()
    carols = contact_uid("alice", "carol@example.org", 0)
    assert world.sandbox.group_members("Jail") == {UID, carols}
    assert not world.named("sender_failed")
