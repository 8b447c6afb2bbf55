"""Decisions by command, as whoever types them sees it: the same as a label, and told at once."""

import json
from collections.abc import Coroutine
from typing import Any

import pytest

from mailroom.engine.loop import Task
from mailroom.engine.tasks import Cancelled
from mailroom.errors import MailroomError, OrderRefused
from mailroom.rules.triage.orders import Order
from mailroom.rules.triage.subject import Subject, SubjectKind
from mailroom.wire.vcard import CardView
from mailroom.work.polling.orders import Orders
from tests.sandbox import (
    CYRUS_3_10,
    CYRUS_3_13,
    FASTMAIL,
    SMALL_LIMITS,
    Delivery,
    Entry,
    Fault,
    Profile,
    Response,
    json_response,
)
from tests.test_door import without_sent
from tests.world import World

BOB = "Bob <bob@example.org>"
EVE = "Eve <eve@news.example.com>"
CARD = """BEGIN:VCARD
VERSION:3.0
UID:anna
FN:Anna
N:;Anna;;;
EMAIL:anna@friends.example
EMAIL:anna@work.example
END:VCARD
""".replace("\n", "\r\n")
WAYS = pytest.mark.parametrize(
    ("profile", "contacts"),
    [(CYRUS_3_10, "carddav"), (CYRUS_3_13, "jmap"), (FASTMAIL, "jmap"), (FASTMAIL, "carddav")],
    ids=lambda each: each if isinstance(each, str) else each.name,
)


def house(profile: Profile = CYRUS_3_10, contacts: str = "auto", **more: Any) -> World:
    world = World(profile, {"contacts": {"by": contacts}, **more})
    world.sandbox.put_card(CARD)
    world.start().settle()
    return world


def begin(world: World, work: Coroutine[Any, Any, Any]) -> Task[Any]:
    return world.loop.spawn(work, "a command")


def end(world: World, task: Task[Any]) -> Any:
    world.run_until(lambda: task.done)
    return task.result()


def ask(world: World, work: Coroutine[Any, Any, Any]) -> Any:
    """What the command is answered."""
    return end(world, begin(world, work))


def triage(world: World, address: str, category: str | None, by: str = "anna") -> Any:
    document = {"address": address, "category": category}
    return ask(world, world.account.commands.triage(document, by))


def undo(world: World, address: str) -> Any:
    return ask(world, world.account.commands.undo({"address": address}, "anna"))


def groups_of(world: World, address: str) -> set[str]:
    views = [CardView.glance(text.encode()) for text in world.sandbox.cards().values()]
    uids = [v.first("UID") for v in views if any(e.text == address for e in v.all("EMAIL"))]
    names = ("Imbox", "Feed", "Paper Trail", "Jail", "Billboard", "Mailroom", "Mailroom screened")
    there = {uid.text for uid in uids if uid}
    return {n for n in names if any(there & world.sandbox.group_members(n))} if there else set()


# A decision


@WAYS
def test_a_command_files_what_waits_and_tells_what_was_done(
    profile: Profile, contacts: str
) -> None:
    world = house(profile, contacts)
    one, two = world.deliver(BOB, count=2)
    answer = triage(world, "Bob@Example.ORG", "Feed")
    assert answer == {
        "address": "bob@example.org",
        "category": "Feed",
        "previous": None,
        "filed": 2,
        "by": "anna",
    }
    assert [world.sandbox.mailboxes_of(each) for each in (one, two)] == [{"Feed"}, {"Feed"}]
    assert groups_of(world, "bob@example.org") == {"Feed", "Mailroom"}
    [told] = world.named("sender_triaged")
    assert (told["by"], told["trigger"]) == ("anna", "command")
    assert world.status["recent_triages"][-1]["by"] == "anna"


@WAYS
def test_a_sender_of_whom_nothing_waits_is_decided_about_for_the_mail_to_come(
    profile: Profile, contacts: str
) -> None:
    world = house(profile, contacts)
    assert triage(world, "bob@example.org", "Billboard")["filed"] == 0
    assert groups_of(world, "bob@example.org") == {"Billboard", "Paper Trail", "Mailroom"}


def test_the_contact_has_the_name_that_stands_on_the_mail() -> None:
    world = house()
    world.deliver(BOB)
    triage(world, "bob@example.org", "Feed")
    names = [CardView.glance(each.encode()).first("FN") for each in world.sandbox.cards().values()]
    assert "Bob" in [name.text for name in names if name]


def test_the_label_is_on_before_anything_else_is_written() -> None:
    world = house()
    [mail] = world.deliver(BOB)
    seen: list[tuple[set[str], set[str]]] = []
    world.sandbox.before_call(
        lambda *_: seen.append(
            (world.sandbox.mailboxes_of(mail), groups_of(world, "bob@example.org"))
        )
    )
    triage(world, "bob@example.org", "Feed")
    assert seen[0] == ({"Screener"}, set())
    assert ({"Screener", "@ToFeed"}, {"Feed", "Mailroom"}) in seen
    assert all(where in ({"Screener", "@ToFeed"}, {"Feed"}) for where, groups in seen if groups)


def test_another_category_later_is_a_change_of_mind() -> None:
    world = house()
    [mail] = world.deliver(BOB)
    triage(world, "bob@example.org", "Feed")
    assert triage(world, "bob@example.org", "Jail")["previous"] == "Feed"
    assert world.sandbox.mailboxes_of(mail) == {"Jail"}


def test_back_to_screener() -> None:
    world = house()
    [mail] = world.deliver(BOB)
    triage(world, "bob@example.org", "Feed")
    assert triage(world, "bob@example.org", None)["category"] is None
    assert world.sandbox.mailboxes_of(mail) == {"Screener"}
    assert groups_of(world, "bob@example.org") == set()


@WAYS
def test_a_friend_who_is_taken_back_is_screened_though_no_mail_is_there(
    profile: Profile, contacts: str
) -> None:
    world = house(profile, contacts)
    triage(world, "anna@work.example", None)
    assert groups_of(world, "anna@friends.example") == {"Mailroom screened", "Mailroom"}
    assert world.history.totals.triaged == {"Screener": 1}


def test_somebody_whom_the_user_has_written_to_is_screened_when_taken_back() -> None:
    world = house()
    world.sandbox.send(BOB, "hello")
    world.settle()
    triage(world, "bob@example.org", None)
    assert groups_of(world, "bob@example.org") == {"Mailroom screened", "Mailroom"}


def test_who_cannot_be_taken_back_as_long_as_sent_is_not_searched_is_told_so() -> None:
    world = house()
    world.sandbox.faults.add(Fault(path="/jmap/", method="POST", rewrite=without_sent))
    document = {"address": "bob@example.org", "category": None}
    refused = refusal(world, world.account.commands.triage(document, "anna"))
    assert refused.status == 502
    assert "Sent cannot be searched" in str(refused)


@WAYS
def test_many_commands_at_once_share_a_poll(profile: Profile, contacts: str) -> None:
    world = house(profile, contacts)
    senders = [f"s{number}@example.org" for number in range(50)]
    for sender in senders:
        world.deliver(sender)
    before = world.request_count
    documents = [{"address": sender, "category": "Feed"} for sender in senders]
    tasks = [begin(world, world.account.commands.triage(each, "anna")) for each in documents]
    answers = [end(world, task) for task in tasks]
    assert [each["filed"] for each in answers] == [1] * 50
    assert world.history.totals.polls["command"] == 1
    if contacts == "jmap":
        assert len(world.requests_since(before)) <= 6


# Two hands at once


def test_the_same_command_twice_is_carried_out_once() -> None:
    world = house()
    world.deliver(BOB)
    document = {"address": "bob@example.org", "category": "Feed"}
    one = begin(world, world.account.commands.triage(document, "anna"))
    two = begin(world, world.account.commands.triage(document, "otto"))
    assert end(world, one)["filed"] == end(world, two)["filed"] == 1
    assert world.history.totals.triaged["Feed"] == 1


def refusal(world: World, work: Coroutine[Any, Any, Any]) -> OrderRefused:
    with pytest.raises(OrderRefused) as caught:
        ask(world, work)
    return caught.value


def test_two_commands_that_want_different_things_are_a_conflict() -> None:
    world = house()
    world.deliver(BOB)
    commands = world.account.commands
    one = begin(world, commands.triage({"address": "bob@example.org", "category": "Feed"}, "anna"))
    world.loop.turn()
    other = commands.triage({"address": "bob@example.org", "category": "Jail"}, "otto")
    refused = refusal(world, other)
    assert (refused.status, refused.further) == (409, {"categories": ["Feed", "Jail"]})
    assert end(world, one)["category"] == "Feed"


@pytest.mark.parametrize("address", ["bob@example.org", "anna@work.example"])
def test_a_label_that_wants_something_else_is_carried_out_and_the_command_is_not(
    address: str,
) -> None:
    world = house()
    sender = "anna@friends.example" if "anna" in address else BOB
    [mail] = world.deliver(sender)
    world.tap(mail, "@ToFeed")
    work = world.account.commands.triage({"address": address, "category": "Jail"}, "anna")
    refused = refusal(world, work)
    assert (refused.status, refused.further) == (409, {"categories": ["Feed", "Jail"]})
    world.settle()
    assert world.sandbox.mailboxes_of(mail) == {"Feed"}


def test_labels_that_contradict_each_other_are_a_conflict_for_a_command_as_well() -> None:
    world = house()
    one, two = world.deliver(BOB, count=2)
    world.tap(one, "@ToFeed")
    world.tap(two, "@ToJail")
    document = {"address": "bob@example.org", "category": "Feed"}
    assert refusal(world, world.account.commands.triage(document, "anna")).status == 409


def test_a_label_that_wants_the_same_answers_the_command() -> None:
    world = house()
    [mail] = world.deliver(BOB)
    world.tap(mail, "@ToFeed")
    assert triage(world, "bob@example.org", "Feed")["filed"] == 1


# What is refused


@pytest.mark.parametrize(
    ("document", "status", "says"),
    [
        ({}, 400, "exactly one of address, domain and list is needed"),
        ({"address": "a@b.example", "domain": "b.example"}, 400, "exactly one"),
        ({"address": 1, "category": "Feed"}, 400, "address must be text"),
        ({"address": "nobody", "category": "Feed"}, 400, "'nobody' is not an address"),
        ({"address": "*@example.org", "category": "Feed"}, 400, "is not an address"),
        ({"address": "bob@example.org"}, 400, "a category is needed, or null"),
        ({"address": "bob@example.org", "category": "Fed"}, 400, "there is no category 'Fed'"),
        ({"address": "bob@example.org", "category": ["Feed"]}, 400, "there is no category"),
        ({"address": "alice@example.com", "category": "Feed"}, 400, "is your own address"),
        ({"domain": "co.uk", "category": "Feed"}, 400, "co.uk is a public suffix"),
        ({"domain": "gmail.com", "category": "Feed"}, 400, "is a mail provider"),
        ({"list": "a b", "category": "Feed"}, 400, "is not a list id"),
    ],
)
def test_bad_orders_are_told_what_is_wrong_with_them(
    document: dict[str, Any], status: int, says: str
) -> None:
    world = house(triage={"own_addresses": ["alice@example.com"]})
    refused = refusal(world, world.account.commands.triage(document, "anna"))
    assert refused.status == status
    assert says in str(refused)


def test_a_mail_server_that_is_away_is_told_at_once_and_nothing_is_done_later() -> None:
    world = house()
    world.sandbox.faults.add(Fault(path="/jmap/", answer=Response(503), times=None))
    document = {"address": "bob@example.org", "category": "Feed"}
    refused = refusal(world, world.account.commands.triage(document, "anna"))
    assert refused.status == 502
    assert "503" in str(refused)
    world.sandbox.faults.clear()
    world.run_for(120.0)
    assert groups_of(world, "bob@example.org") == set()


def test_what_has_the_label_already_goes_on_by_itself() -> None:
    world = house()
    [mail] = world.deliver(BOB)
    world.sandbox.faults.add(Fault(path="/dav/", method="PUT", answer=Response(403), times=1))
    document = {"address": "bob@example.org", "category": "Feed"}
    refused = refusal(world, world.account.commands.triage(document, "anna"))
    assert refused.status == 502
    assert "tries again by itself" in str(refused)
    world.run_for(120.0)
    assert world.sandbox.mailboxes_of(mail) == {"Feed"}


@pytest.mark.parametrize("tapped", ["anna@work.example", "anna@friends.example"])
@pytest.mark.parametrize("ordered", ["anna@work.example", "anna@friends.example"])
def test_an_order_for_a_sender_that_is_failing_is_tried_at_once(tapped: str, ordered: str) -> None:
    world = house()
    [mail] = world.deliver(f"Anna <{tapped}>")
    world.settle()
    world.sandbox.faults.add(Fault(path="/dav/", method="PUT", answer=Response(403)))
    world.tap(mail, "@ToFeed")
    world.settle()
    assert [each["sender"] for each in world.status["failing_senders"]] == [tapped]
    world.sandbox.faults.clear()
    assert triage(world, ordered, "Feed")["filed"] == 1
    assert world.sandbox.mailboxes_of(mail) == {"Feed"}
    assert world.status["failing_senders"] == []


def test_a_failure_of_an_order_without_mail_is_told_and_forgotten() -> None:
    world = house()
    world.sandbox.faults.add(Fault(path="/dav/", method="PUT", answer=Response(403), times=1))
    document = {"address": "bob@example.org", "category": "Feed"}
    refused = refusal(world, world.account.commands.triage(document, "anna"))
    assert refused.status == 502
    assert "403" in str(refused)
    assert "tries again" not in str(refused)
    world.settle()
    assert world.status["failing_senders"] == []
    assert triage(world, "bob@example.org", "Feed")["category"] == "Feed"


def refusing(world: World, mail: str) -> Fault:
    """Once, the server leaves the mail as it is now, and says so."""
    places = world.sandbox.mailboxes_of(mail)

    def rewrite(response: Response) -> Response:
        world.sandbox.move(mail, *places)
        document = json.loads(response.body)
        for name, answer, _ in document["methodResponses"]:
            if name == "Email/set":
                answer["updated"] = {}
                answer["notUpdated"] = {mail: {"type": "forbidden", "description": "not today"}}
        return json_response(document)

    return Fault(call="Email/set", rewrite=rewrite, times=1)


def test_mail_that_could_not_be_labelled_is_not_tried_again() -> None:
    world = house()
    [mail] = world.deliver(BOB)
    world.sandbox.faults.add(refusing(world, mail))
    world.sandbox.faults.add(Fault(path="/dav/", method="PUT", answer=Response(403), times=1))
    document = {"address": "bob@example.org", "category": "Feed"}
    refused = refusal(world, world.account.commands.triage(document, "anna"))
    assert "tries again" not in str(refused)
    world.run_for(120.0)
    assert world.sandbox.mailboxes_of(mail) == {"Screener"}
    assert groups_of(world, "bob@example.org") == set()


# Whole domains, and lists


def test_a_whole_domain() -> None:
    world = house()
    mails = world.deliver(EVE, count=3)
    document = {"domain": "Example.com", "category": "Feed"}
    answer = ask(world, world.account.commands.triage(document, "anna"))
    assert answer == {
        "domain": "example.com",
        "category": "Feed",
        "previous": None,
        "filed": 3,
        "by": "anna",
    }
    assert world.sandbox.mails_in("Feed") == set(mails)
    [told] = world.named("domain_triaged")
    assert told["by"] == "anna"
    back = ask(world, world.account.commands.undo({"domain": "example.com"}, "anna"))
    assert (back["category"], back["previous"], back["by"]) == (None, "Feed", "anna")
    assert world.sandbox.mails_in("Screener") == set(mails)


def test_a_whole_domain_is_decided_about_where_no_label_says_so() -> None:
    world = house()
    world.sandbox.destroy_mailbox("@WholeDomain")
    mails = world.deliver(EVE, count=2)
    document = {"domain": "example.com", "category": "Feed"}
    assert ask(world, world.account.commands.triage(document, "anna"))["filed"] == 2
    assert world.sandbox.mails_in("Feed") == set(mails)


def domain_labelled(world: World) -> str:
    """A mail whose labels decide about its whole domain."""
    [mail] = world.deliver(EVE)
    world.sandbox.label(mail, "@WholeDomain")
    world.tap(mail, "@ToFeed")
    return mail


def test_a_command_yields_to_labels_that_decide_otherwise_about_the_domain() -> None:
    world = house()
    mail = domain_labelled(world)
    document = {"domain": "example.com", "category": "Jail"}
    refused = refusal(world, world.account.commands.triage(document, "anna"))
    assert (refused.status, refused.further) == (409, {"categories": ["Feed", "Jail"]})
    world.settle()
    assert world.sandbox.mailboxes_of(mail) == {"Feed"}


def test_labels_that_decide_the_same_about_the_domain_answer_the_command() -> None:
    world = house()
    mail = domain_labelled(world)
    document = {"domain": "example.com", "category": "Feed"}
    assert ask(world, world.account.commands.triage(document, "anna"))["filed"] == 1
    assert world.sandbox.mailboxes_of(mail) == {"Feed"}


def test_that_labelled_mail_of_the_domain_could_not_be_filed_is_answered() -> None:
    world = house()
    mail = domain_labelled(world)
    world.sandbox.faults.add(refusing(world, mail))
    document = {"domain": "example.com", "category": "Feed"}
    refused = refusal(world, world.account.commands.triage(document, "anna"))
    assert "not today" in str(refused)


@pytest.mark.parametrize("waiting", [0, 1])
def test_that_the_decision_about_the_domain_could_not_be_kept_is_answered(waiting: int) -> None:
    world = house()
    world.deliver(EVE, count=waiting)
    world.sandbox.faults.add(Fault(path="/dav/", method="PUT", answer=Response(403), times=1))
    document = {"domain": "example.com", "category": "Feed"}
    refused = refusal(world, world.account.commands.triage(document, "anna"))
    assert refused.status == 502
    assert "403" in str(refused)
    assert ("tries again" in str(refused)) is bool(waiting)


def test_mail_of_a_whole_domain_is_labelled_before_it_is_decided() -> None:
    world = house()
    [mail] = world.deliver(EVE)
    seen: list[tuple[set[str], bool]] = []

    def look(*_: object) -> None:
        kept = any(
            "Feed" in card and "example.com" in card for card in world.sandbox.cards().values()
        )
        seen.append((world.sandbox.mailboxes_of(mail), kept))

    world.sandbox.before_call(look)
    ask(world, world.account.commands.triage({"domain": "example.com", "category": "Feed"}, "a"))
    assert ({"Screener", "@WholeDomain", "@ToFeed"}, True) in seen
    assert all("@WholeDomain" in where or where == {"Feed"} for where, kept in seen if kept)
    world.settle()
    assert world.sandbox.mailboxes_of(mail) == {"Feed"}


def test_a_mailing_list() -> None:
    world = house()
    document = {"list": "Dev <dev.lists.example.org>", "category": "Paper Trail"}
    answer = ask(world, world.account.commands.triage(document, "anna"))
    assert (answer["list"], answer["category"]) == ("dev.lists.example.org", "Paper Trail")
    assert ask(world, world.account.commands.senders())["lists"] == [
        {"list": "dev.lists.example.org", "category": "Paper Trail", "since": "2026-11-18"}
    ]


# Back again


@WAYS
def test_undo_goes_back_and_undo_again_returns(profile: Profile, contacts: str) -> None:
    world = house(profile, contacts)
    [mail] = world.deliver(BOB)
    triage(world, "bob@example.org", "Feed")
    triage(world, "bob@example.org", "Jail")
    assert undo(world, "bob@example.org")["category"] == "Feed"
    assert world.sandbox.mailboxes_of(mail) == {"Feed"}
    assert undo(world, "bob@example.org")["category"] == "Jail"


@WAYS
def test_whoever_was_a_stranger_is_one_again(profile: Profile, contacts: str) -> None:
    world = house(profile, contacts)
    [mail] = world.deliver(BOB)
    triage(world, "bob@example.org", "Feed")
    assert undo(world, "bob@example.org")["category"] is None
    assert world.sandbox.mailboxes_of(mail) == {"Screener"}
    assert groups_of(world, "bob@example.org") == set()
    assert undo(world, "bob@example.org")["category"] == "Feed"
    assert world.sandbox.mailboxes_of(mail) == {"Feed"}


@WAYS
def test_after_a_restart_the_note_tells_where_a_sender_was(profile: Profile, contacts: str) -> None:
    world = house(profile, contacts)
    world.deliver(BOB)
    triage(world, "bob@example.org", "Feed")
    triage(world, "bob@example.org", "Jail")
    world.boot()
    world.start().settle()
    assert undo(world, "bob@example.org")["category"] == "Feed"
    world.boot()
    world.start().settle()
    assert undo(world, "bob@example.org")["category"] == "Jail"


def test_undo_of_a_label() -> None:
    world = house()
    [mail] = world.deliver(BOB)
    world.tap(mail, "@ToFeed")
    world.settle()
    assert undo(world, "bob@example.org")["category"] is None


@pytest.mark.parametrize("address", ["nobody@example.org", "anna@friends.example"])
def test_where_nothing_tells_undo_refuses(address: str) -> None:
    world = house()
    if "anna" in address:
        triage(world, address, "Feed")  # a contact of the user's: nobody tells what came before
    work = world.account.commands.undo({"address": address}, "anna")
    refused = refusal(world, work)
    assert (refused.status, refused.further) == (404, {"is_unknown": True})


# What there is to see


def test_who_waits() -> None:
    world = house()
    world.deliver(BOB, count=2)
    newest = world.sandbox.deliver(BOB, "Planes\x1b[31m, one \u202eprice", mailbox="Screener")
    world.sandbox.deliver("no address", "?", mailbox="Screener")
    world.deliver(EVE)
    found = ask(world, world.account.commands.waiting())
    assert (found["senders"], found["mails"]) == (2, 5)
    bob = next(each for each in found["waiting"] if each["address"] == "bob@example.org")
    assert (bob["name"], bob["mails"]) == ("Bob", 3)
    assert (bob["newest"]["id"], bob["newest"]["subject"]) == (newest, "Planes[31m, one price")
    assert [each["address"] for each in found["waiting"]][-1] == "eve@news.example.com"
    assert len(ask(world, world.account.commands.waiting(limit=1))["waiting"]) == 1


def test_whoever_looks_again_sees_what_has_changed_for_few_requests() -> None:
    world = house()
    world.deliver(BOB, count=30)
    ask(world, world.account.commands.waiting())
    before = world.request_count
    assert ask(world, world.account.commands.waiting())["mails"] == 30
    assert len(world.requests_since(before)) == 1
    triage(world, "bob@example.org", "Feed")
    world.deliver(EVE)
    found = ask(world, world.account.commands.waiting())
    assert [each["address"] for each in found["waiting"]] == ["eve@news.example.com"]


@pytest.mark.parametrize("trouble", ["forgotten", "restored"])
def test_a_server_that_cannot_tell_what_has_changed_is_read_anew(trouble: str) -> None:
    world = house()
    backup = world.sandbox.backup()
    world.deliver(BOB, count=2)
    assert ask(world, world.account.commands.waiting())["mails"] == 2
    if trouble == "forgotten":
        world.sandbox.forget_changes()
        world.deliver(EVE)
    else:
        world.sandbox.restore(backup)
    found = ask(world, world.account.commands.waiting())
    assert found["mails"] == (3 if trouble == "forgotten" else 0)


def test_names_and_subjects_are_forgotten_when_nobody_looks() -> None:
    world = house()
    world.deliver(BOB)
    ask(world, world.account.commands.waiting())
    assert world.account.commands.listing.lines
    world.run_for(400.0)
    assert not world.account.commands.listing.lines


def test_the_text_of_a_mail_that_waits_and_of_no_other() -> None:
    world = house()
    mail = world.sandbox.deliver(BOB, "Hello", mailbox="Screener", text="How are\x07 you?\r\nBob")
    found = ask(world, world.account.commands.mail(mail))
    assert (found["subject"], found["text"]) == ("Hello", "How are you?\nBob")
    assert found["from"] == [{"name": "Bob", "email": "bob@example.org"}]
    elsewhere = world.sandbox.deliver(BOB, mailbox="Inbox")
    assert refusal(world, world.account.commands.mail(elsewhere)).status == 404
    assert refusal(world, world.account.commands.mail("none")).status == 404


@WAYS
def test_who_is_where(profile: Profile, contacts: str) -> None:
    world = house(profile, contacts)
    triage(world, "bob@example.org", "Feed")
    triage(world, "anna@friends.example", "Billboard")
    found = ask(world, world.account.commands.senders())
    rows = {each["address"]: each for each in found["senders"]}
    assert rows["bob@example.org"]["category"] == "Feed"
    assert rows["bob@example.org"]["since"] is not None
    assert rows["anna@friends.example"]["category"] == "Billboard"
    assert rows["anna@friends.example"]["addresses"] == [
        "anna@friends.example",
        "anna@work.example",
    ]
    [only] = ask(world, world.account.commands.senders("Feed"))["senders"]
    assert only["address"] == "bob@example.org"


def test_of_two_who_ask_at_once_who_waits_the_second_needs_no_reading() -> None:
    world = house()
    world.deliver(BOB)
    before = world.request_count
    both = [begin(world, world.account.commands.waiting()) for _ in range(2)]
    first, second = (end(world, task) for task in both)
    assert first == second
    calls = [call for entry in world.requests_since(before) for call in entry.calls]
    assert calls.count("Email/query") == 1


def test_who_waits_is_read_within_the_limits_of_the_server() -> None:
    world = house(SMALL_LIMITS)
    for number in range(2 * SMALL_LIMITS.limits.max_objects_in_get):
        world.deliver(f"s{number}@example.org")
    told = ask(world, world.account.commands.waiting())
    assert told["senders"] == 2 * SMALL_LIMITS.limits.max_objects_in_get


@WAYS
def test_what_is_known_of_a_sender(profile: Profile, contacts: str) -> None:
    world = house(profile, contacts)
    stranger = ask(world, world.account.commands.sender("bob@example.org"))
    assert (stranger["category"], stranger["next"]["mailbox"]) == (None, "Screener")
    assert (stranger["addresses"], stranger["name"]) == (["bob@example.org"], "")
    assert not stranger["is_ours"]
    friend = ask(world, world.account.commands.sender("anna@work.example"))
    assert friend["next"] == {"outcome": "contact", "category": None, "mailbox": "Inbox"}
    world.deliver(BOB)
    assert ask(world, world.account.commands.sender("bob@example.org"))["waiting"] == 1
    triage(world, "bob@example.org", "Feed")
    triage(world, "bob@example.org", "Jail")
    told = ask(world, world.account.commands.sender("bob@example.org"))
    assert [each["category"] for each in told["history"]] == ["Feed", "Jail"]
    assert (told["category"], told["next"]["mailbox"]) == ("Jail", "Jail")


def test_what_the_next_poll_would_do() -> None:
    world = house()
    [mail] = world.deliver(BOB)
    assert ask(world, world.account.commands.plan()) == {"rows": [], "moved_at_once": 0}
    world.tap(mail, "@ToFeed")
    [row] = ask(world, world.account.commands.plan())["rows"]
    assert (row["mail"], row["labels"]) == (mail, ["@ToFeed"])
    assert "file 1 mail into Feed" in row["action"]


@WAYS
def test_who_looks_at_a_sender_disturbs_no_decision_that_is_under_way(
    profile: Profile, contacts: str
) -> None:
    world = house(profile, contacts)
    for address in ("bob@example.org", "eve@news.example.com"):
        triage(world, address, "Feed")
    looks: list[Task[Any]] = []

    def look(entry: Entry, _request: object) -> None:
        is_write = entry.method == "PUT" or "ContactCard/set" in entry.calls
        if is_write and not looks:
            looks.append(begin(world, world.account.commands.sender("eve@news.example.com")))

    world.sandbox.before(look)
    assert triage(world, "bob@example.org", None)["previous"] == "Feed"
    assert end(world, looks[0])["category"] == "Feed"
    assert groups_of(world, "bob@example.org") == set()


def test_before_the_first_poll_nobody_knows() -> None:
    world = World()
    assert refusal(world, world.account.commands.waiting()).status == 503
    assert refusal(world, world.account.commands.plan()).status == 503


def test_a_mail_that_is_moved_while_the_label_is_put_on_stays_moved() -> None:
    world = house()
    mails = world.deliver(BOB, count=2)
    world.settle()
    moved: list[str] = []
    places: list[set[str]] = []

    def move(name: str, arguments: dict[str, Any]) -> None:
        if name == "Email/set" and not moved:
            moved.extend(arguments["update"])  # what the label is put on
            world.sandbox.move(moved[0], "Archive")
        elif name == "Email/set":
            places.append(world.sandbox.mailboxes_of(moved[0]))

    world.sandbox.before_call(move)
    triage(world, "bob@example.org", "Feed")
    world.settle()
    [kept] = moved
    assert places[0] == {"Archive", "@ToFeed"}  # it does not come back for a moment
    assert world.sandbox.mailboxes_of(kept) == {"Archive"}
    assert world.sandbox.mails_in("Feed") == set(mails) - {kept}
    assert not world.sandbox.mails_in("Screener") | world.sandbox.mails_in("@ToFeed")


def test_mail_of_a_domain_that_is_moved_while_the_labels_are_put_on_stays_moved() -> None:
    world = house()
    [mail] = world.deliver(EVE)
    world.settle()
    moved: list[str] = []
    places: list[set[str]] = []

    def move(name: str, _: dict[str, Any]) -> None:
        if name == "Email/set" and not moved:
            world.sandbox.move(mail, "Archive")
            moved.append(mail)
        elif moved:
            places.append(world.sandbox.mailboxes_of(mail))

    world.sandbox.before_call(move)
    ask(world, world.account.commands.triage({"domain": "example.com", "category": "Feed"}, "a"))
    world.settle()
    assert moved
    assert places[0] == {"Archive", "@WholeDomain", "@ToFeed"}  # not in Screener for a moment
    assert world.sandbox.mailboxes_of(mail) == {"Archive"}


def test_orders_that_no_poll_will_carry_out_are_answered() -> None:
    orders = Orders()
    bob, eve = (Subject(SubjectKind.ADDRESS, each) for each in ("bob@x.example", "eve@x.example"))
    under_way = orders.place(Order(bob, None, "anna"))
    orders.take()
    placed = orders.place(Order(eve, None, "anna"))
    orders.close()
    for answer in (under_way, placed):
        with pytest.raises(OrderRefused, match="repeat it"):
            answer.result()


@pytest.mark.parametrize("command", ["triage", "undo", "waiting", "senders", "sender", "plan"])
def test_who_asks_while_the_account_is_replaced_is_told_to_repeat(command: str) -> None:
    """Whatever the command was waiting for at that moment."""
    moments = 0
    while moments < 100:
        world = house(CYRUS_3_13, "jmap")
        world.deliver(BOB)
        world.sandbox.faults.add(Fault(delivery=Delivery(delay_seconds=0.1)))
        before = world.request_count
        task = begin(world, _error_of(_work(world, command)))
        for _ in range(moments):
            world.loop.turn()
        was_in_time = task.done
        if was_in_time:
            break
        world.account.close()
        sent = world.request_count - before
        world.run_for(3600)
        assert task.done, f"{command} waits for ever after {moments} turns"
        assert isinstance(task.result(), Cancelled)
        assert world.request_count - before == sent
        moments += 1
    assert 2 <= moments < 100


async def _error_of(work: Coroutine[Any, Any, Any]) -> Exception | None:
    error: Exception | None = None
    try:
        await work
    except (MailroomError, Cancelled) as its:
        error = its
    return error


def _work(world: World, command: str) -> Coroutine[Any, Any, Any]:
    commands = world.account.commands
    match command:
        case "triage":
            return commands.triage({"address": "bob@example.org", "category": "Feed"}, "anna")
        case "undo":
            return commands.undo({"address": "anna@friends.example"}, "anna")
        case "waiting":
            return commands.waiting()
        case "senders":
            return commands.senders()
        case "sender":
            return commands.sender("bob@example.org")
        case _:
            return commands.plan()
