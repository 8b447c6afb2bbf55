"""The door, as its users see it: who waits, who does not, and what moving a mail does."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from mailroom.engine.journal import Level
from tests.sandbox import (
    CYRUS_3_10,
    CYRUS_3_13,
    CYRUS_WITHOUT_PUSH,
    FASTMAIL,
    SMALL_LIMITS,
    STALWART,
    Entry,
    Fault,
    Profile,
    Response,
    json_response,
    longest_chain,
)
from tests.world import World

ANNA = "Anna <anna@friends.example>"
BOB = "Bob <bob@example.org>"
EVE = "Eve <eve@strangers.example>"
WAITING, PLACED = "mailroom-waiting", "mailroom-placed"
GLANCE = ("Mailbox/get", "Email/get", "Email/query")
CARD = """BEGIN:VCARD
VERSION:3.0
UID:anna
FN:Anna
N:;Anna;;;
EMAIL:anna@friends.example
END:VCARD
""".replace("\n", "\r\n")
BOTH = pytest.mark.parametrize("by", ["server", "mailroom"])
WAYS = pytest.mark.parametrize(
    ("profile", "contacts"),
    [(CYRUS_3_10, "carddav"), (CYRUS_3_13, "jmap"), (FASTMAIL, "jmap"), (FASTMAIL, "carddav")],
    ids=lambda each: each if isinstance(each, str) else each.name,
)


def house(by: str = "server", profile: Profile = CYRUS_3_10, contacts: str = "auto") -> World:
    """An account with a friend in its address book, at rest."""
    configuration: dict[str, Any] = {"screening": {"by": by}, "contacts": {"by": contacts}}
    world = World(profile, configuration)
    world.sandbox.put_card(CARD)
    world.start().settle()
    return world


def gate(world: World) -> str:
    """Where the server puts mail that no rule of its own has decided about."""
    return "Inbox" if world.config.screening.by == "mailroom" else "Screener"


def comes(world: World, sender: str, **head: Any) -> str:
    """Mail comes in, and the service has dealt with it."""
    mail_id = world.sandbox.deliver(sender, mailbox=gate(world), **head)
    world.settle()
    return mail_id


def at(world: World, mail_id: str) -> tuple[set[str], set[str]]:
    """Where a mail is, and what of ours is on it."""
    sandbox = world.sandbox
    return sandbox.mailboxes_of(mail_id), sandbox.keywords_of(mail_id) & {WAITING, PLACED}


# Who waits


@BOTH
@WAYS
def test_a_friend_does_not_wait_and_a_stranger_does(
    by: str, profile: Profile, contacts: str
) -> None:
    world = house(by, profile, contacts)
    friend, stranger = comes(world, ANNA), comes(world, EVE)
    assert at(world, friend) == ({"Inbox"}, set())
    assert at(world, stranger) == ({"Screener"}, {WAITING})


@BOTH
@WAYS
def test_as_long_as_a_group_is_missing_its_members_do_not_become_strangers(
    by: str, profile: Profile, contacts: str
) -> None:
    world = house(by, profile, contacts)
    world.tap(comes(world, BOB), "@ToFeed")
    world.settle()
    [(href, group)] = [each for each in world.sandbox.cards().items() if "group-feed" in each[0]]
    world.sandbox.delete_card(href)
    comes(world, EVE)  # for a stranger, the address book is read again
    mail = comes(world, BOB)
    world.run_for(200.0)
    assert world.healthz[0] == 503
    assert at(world, mail) == ({gate(world)}, set())
    world.sandbox.put_card(group, "group-feed.vcf")
    world.run_for(61.0)
    assert world.healthz[0] == 200
    assert at(world, mail) == ({"Feed"}, set())


@BOTH
@WAYS
@pytest.mark.parametrize("known", [["contacts"], ["contacts", "written"]])
def test_a_contact_made_a_moment_ago_does_not_wait(
    known: list[str], by: str, profile: Profile, contacts: str
) -> None:
    screening = {"by": by, "known": known}
    world = World(profile, {"screening": screening, "contacts": {"by": contacts}})
    world.start().settle()
    world.sandbox.put_card(CARD)
    assert at(world, comes(world, ANNA)) == ({"Inbox"}, set())


@BOTH
@WAYS
def test_whom_the_user_has_written_to_is_known(by: str, profile: Profile, contacts: str) -> None:
    world = house(by, profile, contacts)
    world.sandbox.send("Bob <bob@example.org>", "a question")
    assert at(world, comes(world, BOB)) == ({"Inbox"}, set())


def test_whom_the_user_has_written_to_is_known_before_a_search_can_tell() -> None:
    world = house("mailroom", STALWART)
    world.sandbox.send("Bob <bob@example.org>", "a question")
    assert at(world, comes(world, BOB)) == ({"Inbox"}, set())


@BOTH
def test_an_answer_in_a_conversation_of_the_users_own_does_not_wait(by: str) -> None:
    world = house(by)
    world.sandbox.send(ANNA, "a trip")
    sent = max(world.sandbox.mails_in("Sent"))
    head = {"in_reply_to": world.sandbox.mail(sent).message_id}
    answer = comes(world, EVE, subject="Re: a trip", **head)
    assert at(world, answer) == ({"Inbox"}, set())


@BOTH
@WAYS
def test_mail_of_a_triaged_sender_goes_where_it_belongs(
    by: str, profile: Profile, contacts: str
) -> None:
    world = house(by, profile, contacts)
    first = comes(world, BOB)
    world.tap(first, "@ToPerson")
    world.settle()
    assert at(world, first) == ({"Person", "Imbox", "Inbox"}, set())
    assert at(world, comes(world, BOB)) == ({"Person", "Imbox", "Inbox"}, set())


@BOTH
def test_what_is_known_is_for_the_user_to_say(by: str) -> None:
    world = house(by)
    world.configure({"screening": {"by": by, "known": []}})
    world.boot()
    world.start().settle()
    assert at(world, comes(world, ANNA)) == ({"Screener"}, {WAITING})


def test_mail_that_was_there_before_the_door_is_left_alone() -> None:
    world = World(configuration={"screening": {"by": "mailroom"}})
    world.sandbox.put_card(CARD)
    waiting = world.deliver(ANNA)[0]
    arrived = world.deliver(EVE, mailbox="Inbox")[0]
    world.start().settle()
    assert at(world, waiting) == ({"Screener"}, set())
    assert at(world, arrived) == ({"Inbox"}, set())


@pytest.mark.parametrize(("seconds", "place"), [(0.0, "Screener"), (-1.0, "Inbox")])
def test_the_door_begins_with_the_second_in_which_it_is_first_used(
    seconds: float, place: str
) -> None:
    world = World(configuration={"screening": {"by": "mailroom"}})
    since = float(int(world.clock.wall()))
    world.start().settle()
    mail = comes(world, EVE, received_at=since + seconds)
    assert world.sandbox.mailboxes_of(mail) == {place}


def test_mail_that_the_servers_rules_have_let_into_inbox_stays_there() -> None:
    world = house("server")
    mail = world.sandbox.deliver(EVE, mailbox="Inbox")
    world.settle()
    assert at(world, mail) == ({"Inbox"}, set())


def test_without_a_door_nothing_of_it_happens() -> None:
    world = house("off")
    assert at(world, comes(world, ANNA)) == ({"Screener"}, set())
    stranger = comes(world, EVE)
    world.sandbox.move(stranger, "Feed")
    world.settle()
    assert at(world, stranger) == ({"Feed"}, set())
    assert not world.named("sender_triaged")


def test_without_a_door_nobody_has_to_be_kept_waiting_by_a_group() -> None:
    world = house("off")
    world.sandbox.send(BOB, "a question")
    mail = comes(world, BOB)
    for label in ("@ToFeed", "@ToScreener"):
        world.tap(mail, label)
        world.settle()
    assert at(world, mail) == ({"Screener"}, set())
    assert world.sandbox.group_members("Mailroom screened") == set()


@pytest.mark.parametrize("keyword", ["$seen", "$flagged", "$answered", "$draft", "$junk", PLACED])
def test_mail_in_inbox_that_somebody_has_touched_stays(keyword: str) -> None:
    world = house("mailroom")
    mail = comes(world, EVE, keywords=[keyword])
    assert world.sandbox.mailboxes_of(mail) == {"Inbox"}
    assert world.history.totals.arrivals == {}


@BOTH
@WAYS
def test_a_friend_who_is_taken_back_waits_from_then_on(
    by: str, profile: Profile, contacts: str
) -> None:
    world = house(by, profile, contacts)
    world.sandbox.send(BOB, "a question")
    for sender in (ANNA, BOB):
        mail = comes(world, sender)
        assert at(world, mail) == ({"Inbox"}, set())
        world.tap(mail, "@ToScreener")
        world.settle()
        assert "Screener" in world.sandbox.mailboxes_of(mail)
        later = comes(world, sender)
        assert at(world, later) == ({"Screener"}, {WAITING})
        world.tap(later, "@ToFeed")
        world.settle()
        assert at(world, comes(world, sender)) == ({"Feed"}, set())


def test_mail_with_which_the_servers_rules_have_failed_is_screened_and_told() -> None:
    world = house("server")
    mail = world.sandbox.deliver(EVE, mailbox="Inbox", keywords=["$sievefailed"])
    world.settle()
    assert at(world, mail) == ({"Screener"}, {WAITING})
    assert world.status["rules_failed_at"] is not None
    assert len(world.named("rules_failed")) == 1
    world.sandbox.deliver(BOB, keywords=[WAITING])
    world.settle()
    assert world.status["rules_failed_at"] is None


def test_who_is_taken_back_from_a_whole_domain_waits_from_then_on() -> None:
    world = house()
    one = comes(world, "News <news@shop.example>")
    with world.sandbox.lock:
        world.sandbox.label(one, "@ToFeed")
        world.sandbox.label(one, "@WholeDomain")
    world.settle()
    bob = comes(world, "Bob <bob@shop.example>")
    assert at(world, bob) == ({"Feed"}, set())
    world.tap(bob, "@ToScreener")
    world.settle()
    assert at(world, bob) == ({"Screener"}, {WAITING})
    assert at(world, comes(world, "Bob <bob@shop.example>")) == ({"Screener"}, {WAITING})
    assert at(world, comes(world, "Carol <carol@shop.example>")) == ({"Feed"}, set())


def test_mail_that_comes_while_its_domain_is_decided_about_goes_where_the_domain_does() -> None:
    """It is in Inbox still, where the mail of the domain is not looked for."""
    world = house("mailroom")
    one = comes(world, "News <news@shop.example>")
    with world.sandbox.lock:
        world.sandbox.label(one, "@ToFeed")
        world.sandbox.label(one, "@WholeDomain")
        late = world.sandbox.deliver("Bob <bob@shop.example>", mailbox="Inbox")
    world.settle()
    assert at(world, one) == at(world, late) == ({"Feed"}, set())
    assert not [each for each in world.named("mail_screened") if "bob" in str(each["sender"])]


def test_who_is_in_a_second_card_is_taken_back_all_the_same() -> None:
    world = house()
    bob = comes(world, BOB)
    world.tap(bob, "@ToFeed")
    world.settle()
    own = CARD.replace("UID:anna", "UID:own").replace("anna@friends.example", "bob@example.org")
    world.sandbox.put_card(own)
    world.tap(bob, "@ToScreener")
    world.settle()
    assert at(world, comes(world, BOB)) == ({"Screener"}, {WAITING})


def test_a_label_and_a_whole_domain_for_one_sender_at_once_are_two_decisions() -> None:
    world = house()
    one, two = comes(world, "Bob <bob@shop.example>"), comes(world, "Bob <bob@shop.example>")
    with world.sandbox.lock:
        world.sandbox.label(one, "@ToFeed")
        world.sandbox.label(two, "@ToJail")
        world.sandbox.label(two, "@WholeDomain")
    world.settle()
    assert len(world.named("sender_triaged")) == len(world.named("domain_triaged")) == 1
    assert at(world, one) == ({"Feed"}, set())
    assert at(world, two) == ({"Jail"}, set())


@pytest.mark.parametrize("place", ["Archive", "Trash"])
def test_what_is_filed_elsewhere_between_our_look_and_our_patch_stays_there(place: str) -> None:
    world = house("mailroom")
    moved: list[str] = []

    def move(entry: Any, _request: object) -> None:
        if "Email/set" in entry.calls and not moved:
            moved.extend(world.sandbox.mails_in("Inbox"))
            world.sandbox.move(moved[0], place)

    world.sandbox.before(move)
    mail = comes(world, EVE)
    world.run_for(30.0)
    assert moved == [mail]
    assert at(world, mail) == ({place}, set())


# Where Sent cannot be searched


def without_sent(response: Response) -> Response:
    """The answer of a server that does not search Sent just now."""
    document = json.loads(response.body)
    document["methodResponses"] = [
        ["error", {"type": "serverFail"}, tag] if "letters" in tag else [name, found, tag]
        for name, found, tag in document["methodResponses"]
    ]
    return json_response(document)


@BOTH
@WAYS
def test_who_is_taken_back_waits_for_sent_to_be_searched_and_holds_up_nobody(
    by: str, profile: Profile, contacts: str
) -> None:
    world = house(by, profile, contacts)
    world.sandbox.send(BOB, "a question")
    mail, other = comes(world, BOB), comes(world, EVE)
    world.tap(mail, "@ToFeed")
    world.run_for(3700.0)  # that he was written to is known for an hour
    world.sandbox.faults.add(Fault(path="/jmap/", method="POST", rewrite=without_sent))
    with world.sandbox.lock:
        world.tap(mail, "@ToScreener")
        world.tap(other, "@ToJail")
    world.run_for(600.0)
    assert at(world, other) == ({"Jail"}, set())
    assert "@ToScreener" in world.sandbox.mailboxes_of(mail)
    assert "Sent cannot be searched" in world.status["failing_senders"][0]["reason"]
    assert len(world.named("sent_not_searched")) >= 2
    told = [level for level, name, _ in world.events if name == "sent_not_searched"]
    assert told.count(Level.WARNING) == 1
    asking = world.loop.spawn(world.account.commands.plan(), "a dry run")
    world.run_until(lambda: asking.done)
    [row] = asking.result()["rows"]
    assert row["action"] == "nothing; the label stays"
    assert "Sent cannot be searched" in row["reason"]
    world.sandbox.faults.clear()
    world.run_for(1800.0)
    assert at(world, mail) == ({"Inbox", "Screener"}, {WAITING})
    assert world.sandbox.group_members("Mailroom screened")
    assert at(world, comes(world, BOB))[0] == {"Screener"}


@pytest.mark.parametrize(
    ("known", "searches"), [([], False), (["contacts"], False), (["written"], True)]
)
def test_sent_is_searched_only_where_what_it_shows_counts(known: list[str], searches: bool) -> None:
    world = World(configuration={"screening": {"by": "mailroom", "known": known}})
    world.start().settle()
    world.sandbox.faults.add(Fault(path="/jmap/", method="POST", rewrite=without_sent))
    comes(world, EVE)
    assert bool(world.named("sent_not_searched")) is searches


def test_new_mail_is_given_up_when_sent_was_not_searched_for_an_hour() -> None:
    world = house("mailroom")
    world.sandbox.faults.add(Fault(path="/jmap/", method="POST", rewrite=without_sent))
    mail = comes(world, EVE)
    world.run_for(3500.0)
    assert not world.named("arrival_given_up")
    world.run_for(200.0)
    assert [each["mail"] for each in world.named("arrival_given_up")] == [mail]
    assert at(world, mail) == ({"Inbox"}, set())


# What was missed


@BOTH
def test_what_came_while_nobody_was_there_is_found(by: str) -> None:
    world = house(by)
    world.sandbox.close_feeds()
    world.loop.close()
    friend = world.sandbox.deliver(ANNA, mailbox=gate(world), keywords=[])
    stranger = world.sandbox.deliver(EVE, mailbox=gate(world))
    marked = [WAITING] if by == "server" else []
    by_rule = world.sandbox.deliver(ANNA, mailbox=gate(world), keywords=marked)
    world.boot()
    world.start().settle()
    assert at(world, friend) == at(world, by_rule) == ({"Inbox"}, set())
    assert at(world, stranger) == ({"Screener"}, {WAITING})


@BOTH
@pytest.mark.parametrize("more", [False, True])
def test_what_comes_in_while_it_is_looked_for_is_decided_about_once(by: str, more: bool) -> None:
    """The states are read first: what comes between them and the look is told again as a change."""
    world = house(by)
    world.account.close()
    world.boot()
    mails: list[str] = []

    def come(entry: Entry, _request: object) -> None:
        is_look = entry.calls == ("Email/query",)
        if (is_look and not mails) or (more and "Email/set" in entry.calls and len(mails) == 1):
            mails.append(world.sandbox.deliver(EVE, mailbox=gate(world)))

    world.sandbox.before(come)
    world.start().settle()
    assert len(mails) == 1 + more
    assert all(at(world, each) == ({"Screener"}, {WAITING}) for each in mails)
    assert world.history.totals.arrivals == {"unknown": len(mails)}


@BOTH
def test_a_server_that_cannot_tell_what_has_changed_is_looked_through(by: str) -> None:
    world = house(by)
    world.sandbox.forget_changes()
    assert at(world, comes(world, ANNA)) == ({"Inbox"}, set())
    assert at(world, comes(world, EVE)) == ({"Screener"}, {WAITING})


@BOTH
def test_a_server_that_was_put_back_to_an_earlier_day_misses_nothing(by: str) -> None:
    world = house(by)
    backup = world.sandbox.backup()
    for _ in range(20):
        comes(world, EVE)
    world.sandbox.restore(backup)
    friend = world.sandbox.deliver(ANNA, mailbox=gate(world))
    stranger = world.sandbox.deliver(EVE, mailbox=gate(world))
    world.run_for(120.0)
    assert at(world, friend) == ({"Inbox"}, set())
    assert at(world, stranger) == ({"Screener"}, {WAITING})


def test_many_arrivals_are_read_page_by_page() -> None:
    world = house("mailroom")
    with world.sandbox.lock:
        mails = [
            world.sandbox.deliver(f"s{number}@strangers.example", mailbox="Inbox")
            for number in range(1300)
        ]
    world.run_for(60.0)
    assert {each for each in mails if at(world, each) != ({"Screener"}, {WAITING})} == set()


@BOTH
def test_who_waits_is_counted_and_what_decided_as_well(by: str) -> None:
    world = house(by)
    comes(world, ANNA)
    first = comes(world, EVE)
    comes(world, EVE)
    comes(world, BOB)
    waiting = world.status["waiting"]
    assert (waiting["senders"], waiting["mails"]) == (2, 3)
    assert world.status["totals"]["arrivals"] == {"contact": 1, "unknown": 3}
    world.sandbox.move(first, "Feed")
    world.settle()
    assert world.status["waiting"]["mails"] == 1
    world.sandbox.move(max(world.sandbox.mails_in("Screener")), "Archive")
    world.run_for(30.0)
    assert world.status["waiting"] == {"senders": 0, "mails": 0, "oldest": None}


def test_what_we_have_moved_ourselves_is_not_read_again_to_be_counted() -> None:
    world = house()
    mails = [comes(world, EVE) for _ in range(3)]
    comes(world, BOB)
    number = world.request_count
    world.tap(mails[0], "@ToFeed")
    world.settle()
    assert world.status["waiting"]["mails"] == 1
    assert [e for e in world.requests_since(number) if e.calls == ("Email/get",)] == []


def test_a_closing_look_that_cannot_tell_what_has_changed_is_no_reason_for_another_poll() -> None:
    world = house("mailroom")

    def forget(response: Response) -> Response:
        document = json.loads(response.body)
        document["methodResponses"] = [
            ["error", {"type": "cannotCalculateChanges"}, tag]
            if name == "Email/changes"
            else [name, found, tag]
            for name, found, tag in document["methodResponses"]
        ]
        return json_response(document)

    world.sandbox.faults.add(Fault(call="Email/set", rewrite=forget))
    polls = world.polls
    mail = comes(world, EVE)
    assert at(world, mail) == ({"Screener"}, {WAITING})
    assert world.polls == polls + 1


# Moving is tapping


@BOTH
@WAYS
def test_a_mail_that_is_moved_to_a_destination_triages_its_sender(
    by: str, profile: Profile, contacts: str
) -> None:
    world = house(by, profile, contacts)
    one, two = comes(world, EVE), comes(world, EVE)
    world.sandbox.move(one, "Feed")
    world.settle()
    assert at(world, one) == at(world, two) == ({"Feed"}, set())
    assert len(world.sandbox.group_members("Feed")) == 1
    [told] = world.named("sender_triaged")
    assert (told["sender"], told["category"]) == ("eve@strangers.example", "Feed")


def test_a_move_counts_as_waiting_for_what_comes_to_inbox_too() -> None:
    world = house()
    mail = comes(world, EVE)
    world.sandbox.move(mail, "Person")
    world.settle()
    assert at(world, mail) == ({"Person", "Imbox", "Inbox"}, set())


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_mail_program_that_moves_in_steps_moves_all_the_same(steps: int) -> None:
    world = house()
    mail = comes(world, EVE)
    for number, _ in enumerate(world.sandbox.drag(mail, "Screener", "Feed"), 1):
        if number >= steps:
            world.settle()
    world.settle()
    assert at(world, mail) == ({"Feed"}, set())
    assert len(world.named("sender_triaged")) == 1


def test_back_in_inbox_a_mail_stays_for_good() -> None:
    world = house("mailroom")
    mail = comes(world, EVE)
    world.sandbox.move(mail, "Inbox")
    world.settle()
    assert at(world, mail) == ({"Inbox"}, {PLACED})
    world.boot()
    world.start().settle()
    assert at(world, mail) == ({"Inbox"}, {PLACED})


def test_mail_that_is_filed_elsewhere_says_nothing() -> None:
    world = house()
    mail = comes(world, EVE)
    world.sandbox.move(mail, "Archive")
    world.settle()
    assert at(world, mail) == ({"Archive"}, set())
    assert not world.named("sender_triaged")


def test_mail_that_is_put_into_screener_by_hand_waits_and_stays() -> None:
    world = house("mailroom")
    mail = comes(world, ANNA)
    world.sandbox.move(mail, "Screener")
    world.settle()
    assert at(world, mail) == ({"Screener"}, {WAITING, PLACED})
    world.sandbox.move(mail, "Feed")
    world.settle()
    assert at(world, mail) == ({"Feed"}, set())
    assert world.named("sender_triaged")


def test_mail_from_before_the_door_is_not_taken_for_put_there_whatever_finds_it() -> None:
    """The error label finds it as well, as long as that is on."""
    world = World()
    one, two = world.deliver(BOB, count=2)
    world.start().settle()
    world.tap(one, "@ToFeed")
    world.tap(two, "@ToJail")
    world.settle()
    assert at(world, one) == ({"Screener", "@ToFeed", "@MailroomError"}, set())
    with world.sandbox.lock:
        world.sandbox.unlabel(one, "@ToFeed")
        world.sandbox.unlabel(two, "@ToJail")
    world.settle()
    assert at(world, one) == at(world, two) == ({"Screener"}, set())


def test_mail_that_was_let_in_by_hand_and_put_back_waits_again_and_can_be_moved() -> None:
    world = house()
    mail = comes(world, EVE)
    world.sandbox.move(mail, "Inbox")
    world.settle()
    assert at(world, mail) == ({"Inbox"}, {PLACED})
    world.sandbox.move(mail, "Screener")
    world.settle()
    assert at(world, mail) == ({"Screener"}, {WAITING, PLACED})
    world.sandbox.move(mail, "Feed")
    world.settle()
    assert at(world, mail) == ({"Feed"}, set())
    assert world.named("sender_triaged")


def test_a_label_outranks_a_move() -> None:
    world = house()
    mail = comes(world, EVE)
    with world.sandbox.lock:
        world.sandbox.move(mail, "Feed", "@ToJail")
    world.settle()
    assert at(world, mail) == ({"Jail"}, set())


def test_moves_to_different_places_are_a_conflict_until_one_is_moved_back() -> None:
    world = house()
    one, two = comes(world, EVE), comes(world, EVE)
    with world.sandbox.lock:
        world.sandbox.move(one, "Feed")
        world.sandbox.move(two, "Jail")
    world.settle()
    assert at(world, one) == ({"Feed", "@MailroomError"}, {WAITING})
    assert at(world, two) == ({"Jail", "@MailroomError"}, {WAITING})
    with world.sandbox.lock:
        world.sandbox.move(two, "Screener", "@MailroomError")
    world.settle()
    assert at(world, one) == at(world, two) == ({"Feed"}, set())


def test_a_move_that_comes_between_our_look_and_our_patch_is_the_users() -> None:
    """A patch that is made from an older look puts the mail into both places."""
    world = house()
    one, two = comes(world, EVE), comes(world, EVE)
    done: list[str] = []

    def move(entry: Any, _request: object) -> None:
        if "Email/set" in entry.calls and not done:
            done.append(two)
            world.sandbox.move(two, "Jail")

    world.tap(one, "@ToFeed")
    world.sandbox.before(move)
    world.run_for(30.0)
    assert done
    assert at(world, one) == at(world, two) == ({"Jail"}, set())
    assert [each["category"] for each in world.named("sender_triaged")] == ["Feed"]
    assert [each["category"] for each in world.named("sender_retriaged")] == ["Jail"]


@WAYS
@pytest.mark.parametrize(
    ("chosen", "kept"),
    [
        ("Archive", ({"Archive"}, set())),
        ("Inbox", ({"Inbox"}, {PLACED})),
        ("Jail", ({"Jail", "@MailroomError"}, {WAITING})),  # the label asks for something else
    ],
)
def test_such_a_move_stays_the_users_even_if_the_next_request_fails(
    chosen: str, kept: tuple[set[str], set[str]], profile: Profile, contacts: str
) -> None:
    world = house("server", profile, contacts)
    one, two = comes(world, EVE), comes(world, EVE)
    done: list[str] = []

    def move(entry: Entry, _request: object) -> None:
        if "Email/set" in entry.calls and not done:
            done.append(two)
            world.sandbox.move(two, chosen)

    world.sandbox.faults.add(Fault(call="Email/set", nth=2, answer=Response(503)))
    world.tap(one, "@ToFeed")
    world.sandbox.before(move)
    world.run_for(30.0)
    assert at(world, two) == kept
    assert (at(world, one) == ({"Feed"}, set())) == (chosen != "Jail")


@pytest.mark.parametrize(
    ("chosen", "kept"),
    [("Archive", ({"Archive"}, set())), ("Inbox", ({"Inbox"}, {PLACED}))],
)
def test_such_a_move_stays_the_users_even_if_the_next_batch_fails(
    chosen: str, kept: tuple[set[str], set[str]]
) -> None:
    world = house("server", SMALL_LIMITS)
    one, *others = [comes(world, EVE) for _ in range(15)]
    world.tap(one, "@ToFeed")
    moved: list[str] = []

    def move(entry: Entry, _request: object) -> None:
        if "Email/set" in entry.calls and not moved:
            moved.append(others[0])
            world.sandbox.move(moved[0], chosen)

    world.sandbox.faults.add(Fault(call="Email/set", nth=2, answer=Response(503)))
    world.sandbox.before(move)
    world.run_for(60.0)
    assert at(world, others[0]) == kept
    assert all(at(world, each) == ({"Feed"}, set()) for each in (one, *others[1:]))


def test_such_a_move_stays_the_users_even_if_the_closing_look_fails() -> None:
    """It is read in the same request as what the patches of labelled mail have left."""
    world = house()
    one = comes(world, EVE)
    moved: list[str] = []

    def move(entry: Entry, _request: object) -> None:
        if "Email/set" in entry.calls and not moved:
            moved.append(one)
            world.sandbox.move(one, "Archive", "@ToFeed")

    def without_query(response: Response) -> Response:
        document = json.loads(response.body)
        if "set" in [tag for _, _, tag in document["methodResponses"]] and not spoiled:
            spoiled.append(one)
            document["methodResponses"] = [
                ["error", {"type": "serverFail"}, tag]
                if name == "Email/query"
                else [name, each, tag]
                for name, each, tag in document["methodResponses"]
            ]
        return json_response(document)

    spoiled: list[str] = []
    world.sandbox.faults.add(Fault(call="Email/set", rewrite=without_query))
    world.tap(one, "@ToFeed")
    world.sandbox.before(move)
    world.run_for(60.0)
    assert (moved, spoiled) == ([one], [one])
    assert at(world, one) == ({"Archive"}, set())


@pytest.mark.parametrize("label", ["@ToFeed", None])
def test_what_a_poll_has_done_is_told_even_if_the_look_after_it_fails(label: str | None) -> None:
    world = house("mailroom")
    other = comes(world, BOB)
    before = world.status["totals"]
    spoiled: list[int] = []

    def change(entry: Entry, _request: object) -> None:
        if "Email/set" in entry.calls and not spoiled:
            world.sandbox.set_keywords(other, add=["$seen"])

    def spoil(entry: Entry, *_: object) -> None:
        if "Email/set" in entry.calls and not spoiled:
            spoiled.append(entry.number)
            world.sandbox.faults.add(Fault(method="POST", times=1, answer=Response(503)))

    if label:
        mail = comes(world, EVE)
        world.tap(mail, label)
    else:
        mail = world.sandbox.deliver(EVE, mailbox="Inbox")
    world.sandbox.before(change)
    world.sandbox.after(spoil)
    world.run_for(60.0)
    assert len(spoiled) == 1
    now = world.status["totals"]
    assert now["polls_failed"] == before["polls_failed"] + 1
    if label:
        assert at(world, mail) == ({"Feed"}, set())
        assert [each["sender"] for each in world.status["recent_triages"]] == [
            "eve@strangers.example"
        ]
        assert now["mails_filed"] == before["mails_filed"] + 1
    else:
        assert at(world, mail) == ({"Screener"}, {WAITING})
        assert sum(now["arrivals"].values()) == sum(before["arrivals"].values()) + 1
        told = [each["sender"] for each in world.named("mail_screened")]
        assert told == ["bob@example.org", "eve@strangers.example"]


def test_a_move_that_is_given_back_is_not_if_the_user_has_moved_the_mail_once_more() -> None:
    world = house()
    one, two = comes(world, EVE), comes(world, EVE)
    moves = ["Archive", "Trash"]

    def move(entry: Entry, _request: object) -> None:
        if "Email/set" in entry.calls and moves:
            world.sandbox.move(two, moves.pop(0))

    world.sandbox.faults.add(Fault(call="Email/set", nth=2, answer=Response(503)))
    world.tap(one, "@ToFeed")
    world.sandbox.before(move)
    world.run_for(30.0)
    assert at(world, one) == ({"Feed"}, set())
    assert at(world, two) == ({"Trash"}, set())


def test_what_was_in_conflict_and_is_known_by_now_comes_to_inbox_after_a_restart() -> None:
    """Its error label comes off in the same patch."""
    world = house()
    mails = [comes(world, EVE), comes(world, EVE)]
    for mail, label in zip(mails, ("@ToFeed", "@ToJail"), strict=True):
        world.tap(mail, label)
    world.settle()
    world.account.close()
    for mail, label in zip(mails, ("@ToFeed", "@ToJail"), strict=True):
        assert "@MailroomError" in world.sandbox.mailboxes_of(mail)
        world.sandbox.unlabel(mail, label)
    world.sandbox.put_card(CARD.replace("anna@friends", "eve@strangers"), "eve.vcf")
    world.boot()
    world.start().settle()
    assert [at(world, mail) for mail in mails] == [({"Inbox"}, set())] * 2


@BOTH
@WAYS
def test_mail_that_comes_while_its_sender_is_triaged_follows_at_once(
    by: str, profile: Profile, contacts: str
) -> None:
    world = house(by, profile, contacts)
    first = comes(world, EVE)
    with world.sandbox.lock:
        world.sandbox.move(first, "Feed")
        later = world.sandbox.deliver(EVE, mailbox=gate(world))
    world.settle()
    assert at(world, first) == at(world, later) == ({"Feed"}, set())


def test_who_is_taken_back_though_nobody_has_decided_can_be_moved_all_the_same() -> None:
    world = house()
    labelled, other = comes(world, EVE), comes(world, EVE)
    world.tap(labelled, "@ToScreener")
    world.settle()
    assert at(world, labelled) == at(world, other) == ({"Screener"}, {WAITING})
    world.sandbox.move(other, "Feed")
    world.settle()
    assert at(world, labelled) == at(world, other) == ({"Feed"}, set())


def test_a_mail_in_conflict_that_is_moved_back_to_inbox_is_marked_at_once() -> None:
    world = house()
    one, two = comes(world, EVE), comes(world, EVE)
    with world.sandbox.lock:
        world.sandbox.move(one, "Feed")
        world.sandbox.move(two, "Jail")
    world.settle()
    polls = world.polls
    with world.sandbox.lock:
        world.sandbox.move(two, "Inbox", "@MailroomError")
        world.sandbox.move(one, "Archive", "@MailroomError")
    world.run_until(lambda: world.polls > polls)
    assert at(world, two) == ({"Inbox"}, {PLACED})
    assert at(world, one) == ({"Archive"}, set())


def test_senders_moved_to_several_places_at_once_are_no_decisions_either() -> None:
    world = house()
    mails = [world.sandbox.deliver(f"s{n % 52}@strangers.example") for n in range(104)]
    world.settle()
    with world.sandbox.lock:
        for number, mail in enumerate(mails):
            world.sandbox.move(mail, "Jail" if 52 <= number < 62 else "Feed")
    world.settle()
    assert not world.named("sender_triaged")
    assert not world.named("conflict_detected")
    assert world.status["moved_at_once"] == 52


def test_many_senders_moved_at_once_are_no_decisions() -> None:
    world = house()
    mails = [world.sandbox.deliver(f"s{n}@strangers.example") for n in range(60)]
    world.settle()
    with world.sandbox.lock:
        for mail in mails:
            world.sandbox.move(mail, "Feed")
    world.settle()
    assert not world.named("sender_triaged")
    assert at(world, mails[0]) == ({"Feed"}, {WAITING})
    assert world.status["moved_at_once"] == 60
    world.run_for(150.0)
    assert world.status["moved_at_once"] == 60
    polls = world.polls
    world.tap(comes(world, BOB), "@ToJail")
    world.settle()
    assert world.polls - polls == 2  # for the mail and for the label: what was moved is no news
    assert world.status["moved_at_once"] == 60
    with world.sandbox.lock:
        for mail in mails[10:]:
            world.sandbox.move(mail, "Screener")
    world.settle()
    assert len(world.named("sender_triaged")) == 11
    assert world.status["moved_at_once"] == 0


# Whole domains and lists


def decide(world: World, mail_id: str, label: str, scope: str, *, settles: bool = True) -> None:
    with world.sandbox.lock:
        world.sandbox.label(mail_id, label)
        world.sandbox.label(mail_id, scope)
    if settles:
        world.settle()


@BOTH
@WAYS
def test_a_whole_domain_is_decided_for_at_once(by: str, profile: Profile, contacts: str) -> None:
    world = house(by, profile, contacts)
    one = comes(world, "News <news@shop.example>")
    two = comes(world, "Orders <orders@mail.shop.example>")
    other = comes(world, EVE)
    decide(world, one, "@ToFeed", "@WholeDomain")
    assert at(world, one) == at(world, two) == ({"Feed"}, set())
    assert at(world, other) == ({"Screener"}, {WAITING})
    assert at(world, comes(world, "Help <help@shop.example>")) == ({"Feed"}, set())
    assert not world.sandbox.group_members("Feed")
    [told] = world.named("domain_triaged")
    assert (told["domain"], told["category"]) == ("shop.example", "Feed")


@BOTH
@WAYS
@pytest.mark.parametrize("is_list", [False, True])
def test_mail_that_comes_while_all_of_its_kind_is_decided_about_follows_at_once(
    is_list: bool, by: str, profile: Profile, contacts: str
) -> None:
    world = house(by, profile, contacts)
    sender = "News <news@shop.example>"
    head: dict[str, Any] = {"headers": {"List-Id": "<news.lists.example>"}} if is_list else {}
    scope = "@WholeList" if is_list else "@WholeDomain"
    one = comes(world, sender, **head)
    with world.sandbox.lock:
        decide(world, one, "@ToFeed", scope, settles=False)
        two = world.sandbox.deliver(sender, mailbox=gate(world), **head)
        other = world.sandbox.deliver(EVE, mailbox=gate(world))
    world.settle()
    assert at(world, one) == at(world, two) == ({"Feed"}, set())
    assert at(world, other) == ({"Screener"}, {WAITING})
    with world.sandbox.lock:
        decide(world, one, "@ToScreener", scope, settles=False)
        three = world.sandbox.deliver(sender, mailbox=gate(world), **head)
    world.settle()
    assert at(world, two) == at(world, three) == ({"Screener"}, {WAITING})


def test_the_labels_of_a_whole_domain_come_off_last() -> None:
    """A server that does half of what it is asked for leaves a label that says what is missing."""
    world = house()
    one = comes(world, "News <news@shop.example>")
    two = comes(world, "Orders <orders@mail.shop.example>")
    others: list[set[str]] = []

    def look(name: str, arguments: Mapping[str, Any]) -> None:
        if name == "Email/set" and one in arguments["update"]:
            others.append(world.sandbox.mailboxes_of(two))

    world.sandbox.before_call(look)
    decide(world, one, "@ToFeed", "@WholeDomain")
    assert others == [{"Feed"}]
    assert at(world, one) == ({"Feed"}, set())


@BOTH
@WAYS
def test_a_whole_domain_once_more_leaves_what_the_user_has_put_elsewhere(
    by: str, profile: Profile, contacts: str
) -> None:
    world = house(by, profile, contacts)
    one, two, three = (comes(world, "News <news@shop.example>") for _ in range(3))
    decide(world, one, "@ToFeed", "@WholeDomain")
    world.sandbox.move(two, "Jail")
    world.sandbox.move(three, "Screener")
    world.settle()
    assert at(world, three) == ({"Screener"}, {WAITING, PLACED})
    decide(world, one, "@ToFeed", "@WholeDomain")
    assert at(world, one) == ({"Feed"}, set())
    assert at(world, two) == ({"Jail"}, set())
    assert at(world, three) == ({"Screener"}, {WAITING, PLACED})


def test_what_came_while_nobody_screened_is_left_alone_when_somebody_does_again() -> None:
    world = house("mailroom")
    for by in ("off", "mailroom"):
        world.configure({"screening": {"by": by}})
        world.boot()
        world.start().settle()
        if by == "off":
            missed = world.sandbox.deliver(EVE, mailbox="Inbox")
            world.run_for(3600.0)
    assert at(world, missed) == ({"Inbox"}, set())
    assert at(world, comes(world, EVE)) == ({"Screener"}, {WAITING})


def test_who_was_decided_about_by_name_is_not_touched_by_a_whole_domain() -> None:
    world = house()
    named = comes(world, "Boss <boss@shop.example>")
    world.tap(named, "@ToImbox")
    world.settle()
    decide(world, comes(world, "News <news@shop.example>"), "@ToJail", "@WholeDomain")
    assert at(world, named) == ({"Imbox", "Inbox"}, set())
    assert at(world, comes(world, "Boss <boss@shop.example>")) == ({"Imbox", "Inbox"}, set())


def test_mail_of_a_whole_domain_comes_to_inbox_where_its_category_says_so() -> None:
    world = house()
    one = comes(world, "News <news@shop.example>")
    decide(world, one, "@ToImbox", "@WholeDomain")
    assert at(world, one) == ({"Imbox", "Inbox"}, set())
    assert at(world, comes(world, "Help <help@shop.example>")) == ({"Imbox", "Inbox"}, set())


def test_a_whole_domain_that_is_decided_anew_takes_its_mail_along() -> None:
    world = house()
    one = comes(world, "News <news@shop.example>")
    decide(world, one, "@ToFeed", "@WholeDomain")
    two = comes(world, "Orders <orders@shop.example>")
    decide(world, two, "@ToJail", "@WholeDomain")
    assert at(world, one) == at(world, two) == ({"Jail"}, set())


def test_a_whole_domain_is_taken_back() -> None:
    world = house()
    one = comes(world, "News <news@shop.example>")
    decide(world, one, "@ToFeed", "@WholeDomain")
    two = comes(world, "Orders <orders@shop.example>")
    decide(world, two, "@ToScreener", "@WholeDomain")
    assert at(world, one) == at(world, two) == ({"Screener"}, {WAITING})
    assert at(world, comes(world, "Help <help@shop.example>")) == ({"Screener"}, {WAITING})


@WAYS
def test_a_whole_domain_is_taken_back_and_others_stay(profile: Profile, contacts: str) -> None:
    world = house("server", profile, contacts)
    one = comes(world, "News <news@shop.example>")
    two = comes(world, "News <news@bank.example>")
    decide(world, one, "@ToFeed", "@WholeDomain")
    decide(world, two, "@ToFeed", "@WholeDomain")
    decide(world, one, "@ToScreener", "@WholeDomain")
    assert at(world, comes(world, "Help <help@shop.example>")) == ({"Screener"}, {WAITING})
    assert at(world, comes(world, "Help <help@bank.example>")) == ({"Feed"}, set())


@WAYS
def test_a_card_of_decisions_that_the_user_has_used_outlives_them(
    profile: Profile, contacts: str
) -> None:
    world = house("server", profile, contacts)
    one = comes(world, "News <news@shop.example>")
    decide(world, one, "@ToFeed", "@WholeDomain")
    [(href, text)] = [each for each in world.sandbox.cards().items() if "shop.example" in each[1]]
    used = text.replace("END:VCARD", "TEL:+49 30 1\r\nEND:VCARD")
    world.sandbox.put_card(used, href.rpartition("/")[2])
    world.settle()
    decide(world, one, "@ToScreener", "@WholeDomain")
    text = world.sandbox.cards()[href]
    assert "+49 30 1" in text
    assert "shop.example" not in text


@BOTH
@WAYS
def test_a_whole_list_is_decided_for_at_once(by: str, profile: Profile, contacts: str) -> None:
    world = house(by, profile, contacts)
    head = {"headers": {"List-Id": "The News <news.lists.example>"}}
    one, two = comes(world, EVE, **head), comes(world, BOB, **head)
    decide(world, one, "@ToImbox", "@WholeList")
    assert at(world, one) == at(world, two) == ({"Imbox"}, set())
    assert at(world, comes(world, "carl@example.net", **head)) == ({"Imbox"}, set())
    assert at(world, comes(world, EVE)) == ({"Screener"}, {WAITING})


@pytest.mark.parametrize(
    ("sender", "scope", "reason"),
    [
        ("x@gmail.com", "@WholeDomain", "mail provider"),
        ("x@co.uk", "@WholeDomain", "no domain that somebody has registered"),
        ("x@shop.example", "@WholeList", "names no mailing list"),
    ],
)
def test_what_stands_for_strangers_is_refused(sender: str, scope: str, reason: str) -> None:
    world = house()
    mail = comes(world, sender)
    decide(world, mail, "@ToFeed", scope)
    assert at(world, mail) == ({"Screener", "@ToFeed", scope, "@MailroomError"}, {WAITING})
    [told] = world.named("decision_refused")
    assert reason in str(told["reason"])
    world.sandbox.unlabel(mail, scope)
    world.settle()
    assert at(world, mail) == ({"Feed"}, set())
    assert world.named("sender_triaged")


# What it costs


def test_an_idle_poll_is_one_request_and_a_move_at_the_door_two() -> None:
    world = house("server")
    number = world.request_count
    world.run_for(240.0)
    assert len(world.requests_since(number)) == 4
    world.tap(comes(world, BOB), "@ToFeed")
    world.settle()
    number, polls = world.request_count, world.polls
    comes(world, BOB)
    assert len(world.requests_since(number)) == 2
    assert world.polls == polls + 1


def test_as_long_as_nothing_has_changed_only_labels_are_looked_for() -> None:
    world = house()
    number, told = world.request_count, list[str]()
    world.account.on_change = lambda: told.append("change")
    world.account.on_same = lambda: told.append("same")
    world.run_for(120.0)
    entries = world.requests_since(number)
    assert [each.calls for each in entries] == [GLANCE] * 2
    assert all(each.bytes_out < 600 for each in entries), "no names of mailboxes"
    assert told == ["same"] * 2
    friend = world.sandbox.deliver(ANNA, mailbox="Inbox")
    world.settle()
    assert at(world, friend) == ({"Inbox"}, set())
    assert told[-1] == "change"


def test_a_stream_that_the_server_has_ended_costs_a_look_at_the_labels() -> None:
    """As Cyrus does every five minutes; what has changed meanwhile is seen."""
    world = house()
    number, told = world.request_count, list[str]()
    world.account.on_same = lambda: told.append("same")
    world.sandbox.close_feeds()
    world.run_for(5.0)
    assert [each.calls for each in world.requests_since(number)] == [GLANCE]
    assert told == [], "it is another poll than those that only the time calls for"
    world.sandbox.close_feeds()
    friend = world.sandbox.deliver(ANNA, mailbox=gate(world))
    world.run_for(5.0)
    assert at(world, friend) == ({"Inbox"}, set())


def test_a_mailbox_that_has_gone_is_missed_by_the_next_poll() -> None:
    world = house(profile=CYRUS_WITHOUT_PUSH)
    world.run_for(120.0)
    world.sandbox.destroy_mailbox("Feed")
    world.run_for(61.0)
    assert world.named("mailboxes_missing")


def test_what_others_have_changed_is_read_and_nothing_else_that_waits() -> None:
    """Of three hundred mails that waited unseen by anybody but the user, none bears a keyword."""
    world = house()
    world.account.close()
    with world.sandbox.lock:
        friends = world.sandbox.deliver(ANNA, mailbox="Inbox", keywords=["$seen"])
        for _ in range(300):
            world.sandbox.deliver(EVE, keywords=["$seen"])
    world.boot()
    world.start().settle()
    number = world.request_count
    world.sandbox.set_keywords(friends, add=["$flagged"])
    world.settle()
    entries = world.requests_since(number)
    assert [len(each.calls) for each in entries] == [6, 1]
    assert all(each.bytes_out < 6000 for each in entries)


@BOTH
def test_without_push_each_regular_poll_sees_what_has_changed(by: str) -> None:
    world = house(by, CYRUS_WITHOUT_PUSH)
    world.run_for(120.0)
    friend, stranger = (world.sandbox.deliver(each, mailbox=gate(world)) for each in (ANNA, EVE))
    world.run_for(61.0)
    assert at(world, friend) == ({"Inbox"}, set())
    assert at(world, stranger) == ({"Screener"}, {WAITING})
    world.run_for(120.0)
    world.sandbox.move(friend, "Screener")
    world.sandbox.move(stranger, "Feed")
    world.run_for(61.0)
    assert at(world, friend) == ({"Screener"}, {WAITING, PLACED})
    assert at(world, stranger) == ({"Feed"}, set())


@pytest.mark.parametrize(
    ("profile", "contacts", "trips"),
    [(CYRUS_3_10, "carddav", (2, 2, 3, 3)), (CYRUS_3_13, "jmap", (3, 3, 3, 3))],
    ids=["carddav", "jmap"],
)
def test_from_a_mails_arrival_to_its_place_it_takes_two_or_three_round_trips(
    profile: Profile, contacts: str, trips: tuple[int, ...]
) -> None:
    """Two where the index knows; by JMAP contacts and Sent are asked at once."""
    world = house("server", profile, contacts)
    world.tap(comes(world, "Cat <cat@example.org>"), "@ToFeed")
    world.settle()
    world.sandbox.send(BOB, "a question")
    world.run_for(60.0)
    world.sandbox.controls.delay_seconds = 0.05
    counted = []
    for sender in ("Cat <cat@example.org>", ANNA, BOB, EVE):
        number, polls, came_at = world.request_count, world.polls, world.clock.now()
        world.sandbox.deliver(sender)
        world.run_until(lambda polls=polls: world.polls > polls)  # type: ignore[misc]
        chain = longest_chain(world.requests_since(number))
        counted.append(len(chain))
        assert world.clock.now() - came_at <= 0.25 + 0.05 * (len(chain) + 1)
        world.settle()
    assert tuple(counted) == trips


@pytest.mark.parametrize(
    ("profile", "contacts", "most"),
    [(CYRUS_3_10, "carddav", 2), (CYRUS_3_13, "jmap", 6)],
    ids=["carddav", "jmap"],
)
def test_five_hundred_mails_of_known_people_at_once_cost_a_few_requests(
    profile: Profile, contacts: str, most: int
) -> None:
    world = house("server", profile, contacts)
    for name in (f"s{number}" for number in range(500)):
        world.sandbox.put_card(CARD.replace("anna", name).replace("Anna", name))
    world.run_for(400.0)
    number = world.request_count
    with world.sandbox.lock:
        for each in range(500):
            world.sandbox.deliver(f"s{each}@friends.example")
    world.settle()
    assert len(world.sandbox.mails_in("Inbox")) == 500
    assert len(world.requests_since(number)) <= most


@BOTH
@WAYS
def test_what_a_domains_decision_has_moved_is_no_decision_of_its_own_where_it_then_fails(
    by: str, profile: Profile, contacts: str
) -> None:
    """New mail of the domain has come in the same moment; the decision cannot be kept at first."""
    world = house(by, profile, contacts)
    shop, orders = comes(world, "shop@shop.example"), "orders@mail.shop.example"
    failing = Fault(method="PUT", times=1, answer=Response(409))
    if contacts == "jmap":
        failing = Fault(call="ContactCard/set", times=1, method_error="serverFail")
    world.sandbox.faults.add(failing)
    with world.sandbox.lock:
        world.sandbox.label(shop, "@ToFeed")
        world.sandbox.label(shop, "@WholeDomain")
        new = world.sandbox.deliver(orders, mailbox=gate(world))
    world.run_for(300.0)
    assert at(world, new) == ({"Feed"}, set())
    assert at(world, shop) == ({"Feed"}, set())
    assert orders not in "".join(world.sandbox.cards().values())
