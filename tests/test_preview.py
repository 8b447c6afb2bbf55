"""``triage --dry-run`` says what the next poll then does, and does nothing itself."""

import random
import re
from collections.abc import Iterable

import pytest

from mailroom.engine.credentials import Basic, Logins
from mailroom.engine.journal import Level, Log
from mailroom.rules.status.health import Totals
from mailroom.work.account.clients import Clients, build_clients
from mailroom.work.polling.outcome import PollOutcome
from mailroom.work.polling.poll import Poller
from mailroom.work.polling.preview import Row, preview
from mailroom.work.polling.surveyor import Surveyor
from mailroom.work.screening.door import Door
from tests.rules.life import GROUPS, LABELS, Life, Step, address_of, at_random
from tests.sandbox import CYRUS_3_10, SMALL_LIMITS, Fault
from tests.world import World

BOB = "Bob <bob@example.org>"
# What a poll that is made by hand would stumble over.
_NOT_HERE = ("rename", "restart", "break")
_GROUPS = sorted({*GROUPS, "Person", "Paper Trail"})


def clients(world: World) -> Clients:
    """Those of a process that knows nothing yet."""
    who = Basic("alice", "secret")
    return build_clients(
        world.loop.root, world.new_http(), world.config, Logins(who, who), Totals()
    )


def rows_of(world: World, failing: dict[str, str] | None = None) -> list[Row]:
    own = clients(world)
    log = Log(lambda *_: True)
    door = Door(world.loop, world.config, own.mail, own.contacts, log, may_write=False)
    surveyor = Surveyor(world.loop, world.config, own.mail, own.contacts, door)
    looking = world.loop.spawn(surveyor.survey(), "survey")
    world.run_until(lambda: looking.done)
    survey = looking.result()
    asking = world.loop.spawn(own.contacts.obstacles(survey.plan), "obstacles")
    world.run_until(lambda: asking.done)
    return preview(survey, world.config, asking.result(), failing or {})


def poll(world: World) -> PollOutcome:
    own, log = clients(world), Log(lambda *_: True, Level.DEBUG)
    task = world.loop.spawn(
        Poller(world.loop, world.config, own.mail, own.contacts, log).poll(), "poll"
    )
    world.run_until(lambda: task.done)
    return task.result()


class Picture:
    """What there is: mailboxes by mail, members by group, contacts."""

    def __init__(self, life: Life) -> None:
        self.mails = {mail: life.sandbox.mailboxes_of(mail) for mail in life.mails}
        self.groups = {name: life.sandbox.group_members(name) for name in _GROUPS}
        self.hrefs = life.contacts().keys()
        self.all = life.sandbox.cards()


def check(life: Life) -> None:
    """Compare what is said with what is done."""
    before = Picture(life)
    rows = {row.mail_id: row for row in rows_of(life.world)}
    assert Picture(life).all == before.all
    assert Picture(life).mails == before.mails
    assert rows.keys() == {mail for mail in life.mails if _is_told(life, before.mails[mail], mail)}
    outcome, after = poll(life.world), Picture(life)
    _check_mails(rows, outcome, before, after)
    told = {(_who(row.sender), row.action) for row in rows.values()}
    actions = [action for _, action in sorted(told)]
    made = sum("create the contact" in action for action in actions)
    assert made == len(after.hrefs - before.hrefs)
    for name in _GROUPS:
        was, now = before.groups[name], after.groups[name]
        assert _moves(actions, "into the group ", name) == len(now - was), (name, rows)
        assert _moves(actions, "out of the group ", name) == len(was - now), (name, rows)


def _is_told(life: Life, places: set[str], mail: str) -> bool:
    """What is labelled; and an error label, where it may have lost its reason."""
    return bool(places.intersection(LABELS)) or (
        "@MailroomError" in places and address_of(life.mails[mail]) is not None
    )


def _check_mails(
    rows: dict[str, Row], outcome: PollOutcome, before: Picture, after: Picture
) -> None:
    """Of a triage the number of mails is told, of other mail the labels that go on and off."""
    triaged = {each.sender: each for each in outcome.triaged}
    as_one = {_who(each.sender): each for each in outcome.triaged}
    for mail, row in rows.items():
        said = {name for name, _ in re.findall(r"(@\w+) (on|off)", row.action)}
        if done := triaged.get(row.sender.lower(), as_one.get(_who(row.sender))):
            assert re.findall(r"(\d+) mails?\b", row.action)[0] == str(done.filed), (row, done)
        else:
            changed = before.mails[mail] ^ after.mails[mail]
            assert changed - {"Screener"} == said, (row, before.mails[mail])
    assert triaged.keys() <= {row.sender.lower() for row in rows.values()}


def _who(sender: str) -> str:
    """Ann and Annie are one sender, as long as they have one contact."""
    return sender.lower().replace("annie", "ann")


def _moves(actions: Iterable[str], what: str, group: str) -> int:
    parts = [part for action in actions for part in action.split("; ") if part.startswith(what)]
    return sum(group in part.removeprefix(what).split(" and ") for part in parts)


@pytest.mark.parametrize("seed", range(8))
def test_what_is_said_is_done(seed: int) -> None:
    chance = random.Random(seed)
    life = Life((CYRUS_3_10, SMALL_LIMITS)[seed % 2])
    life.world.start()
    steps = [step for step in at_random(chance.randint, 8) if step.verb not in _NOT_HERE]
    life.act(steps)
    life.world.run_for(20.0)
    life.world.account.close()
    life.act([Step("label", chance.randint(0, 99), chance.randint(0, 99)) for _ in range(4)])
    check(life)


@pytest.mark.parametrize("may_warn", [True, False])
def test_another_name_is_told_and_the_warning_where_there_is_one(may_warn: bool) -> None:
    world = World(configuration={"mailroom": {"warnings_enabled": may_warn}})
    world.sandbox.put_card(
        "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:bob\r\nFN:Robert\r\nN:;;;;\r\n"
        "EMAIL:bob@example.org\r\nEND:VCARD\r\n"
    )
    world.tap(world.deliver(BOB)[0], "@ToFeed")
    (row,) = rows_of(world)
    assert row.reason == "@ToFeed asks for Feed; the contact is called Robert"
    assert row.action.endswith("; @MailroomWarning on") is may_warn


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        ("@ToFeed", "@ToFeed asks for Feed"),
        ("@ToJail", "@ToJail asks for Jail, was Feed"),
        ("@ToScreener", "@ToScreener takes the sender back"),
    ],
)
def test_the_reason_is_the_label_and_what_the_sender_was(label: str, reason: str) -> None:
    world = World()
    first, second = world.deliver(BOB, count=2)
    world.tap(first, "@ToFeed")
    world.start().settle()
    world.account.close()
    world.tap(second, label)
    (row,) = rows_of(world)
    assert row.reason == reason
    (row,) = rows_of(world, {"bob@example.org": "the card is broken"})
    assert row.reason == f"{reason}; the service holds this sender back: the card is broken"


@pytest.mark.parametrize(
    ("is_edited", "step"),
    [(False, "delete the contact"), (True, "into the group Mailroom screened")],
)
def test_what_becomes_of_the_contact_that_was_made_is_told(is_edited: bool, step: str) -> None:
    world = World()
    first, second = world.deliver(BOB, count=2)
    world.tap(first, "@ToFeed")
    world.start().settle()
    world.account.close()
    [(href, text)] = [(h, t) for h, t in world.sandbox.cards().items() if "bob@example.org" in t]
    if is_edited:
        edited = text.replace("END:VCARD", "TEL:+49 30 1\r\nEND:VCARD")
        world.sandbox.put_card(edited, href.rpartition("/")[2])
    world.tap(second, "@ToScreener")
    (row,) = rows_of(world)
    assert step in row.action.split("; ")
    poll(world)
    assert (href in world.sandbox.cards()) is is_edited


CONTACT = (
    "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:bob\r\nFN:Bob\r\nEMAIL:bob@example.org\r\nEND:VCARD\r\n"
)


def closed(by: str = "server") -> World:
    """An account whose door has been used, and whose service is down."""
    world = World(configuration={"screening": {"by": by}})
    world.start().settle()
    world.account.close()
    return world


def meet(world: World, who: str) -> str:
    """Bob becomes who he is to be; returns the Message-ID of what his mail answers."""
    if who == "contact":
        world.sandbox.put_card(CONTACT)
    if who in ("written", "screened"):
        world.sandbox.send(BOB)
    if who == "domain":
        decision = clients(world).contacts.decide("example.org", "Feed", is_list=False)
        deciding = world.loop.spawn(decision, "decision")
        world.run_until(lambda: deciding.done)
    if who == "screened":
        world.tap(world.deliver(BOB)[0], "@ToScreener")
        poll(world)
    is_answer = who == "thread"
    return world.sandbox.mail(world.sandbox.send("eve@example.net")).message_id if is_answer else ""


@pytest.mark.parametrize(
    ("by", "came_to", "who", "action", "reason"),
    [
        ("server", "Screener", "contact", "move it to Inbox", "its sender is in your address book"),
        ("server", "Screener", "written", "move it to Inbox", "you have written to its sender"),
        (
            "server",
            "Screener",
            "thread",
            "move it to Inbox",
            "you have written in its conversation",
        ),
        ("server", "Screener", "domain", "move it to Feed", "its sender's domain is in Feed"),
        ("server", "Screener", "unknown", "", ""),
        ("mailroom", "Inbox", "unknown", "move it to Screener", "its sender is unknown"),
        ("mailroom", "Inbox", "screened", "move it to Screener", "its sender is screened"),
        ("mailroom", "Inbox", "contact", "", ""),
    ],
)
def test_what_becomes_of_new_mail_is_told_and_done(
    by: str, came_to: str, who: str, action: str, reason: str
) -> None:
    world = closed(by)
    references = meet(world, who)
    mail = world.sandbox.deliver(BOB, mailbox=came_to, references=references)
    rows = rows_of(world)
    assert [(row.action, row.reason, row.labels) for row in rows] == (
        [(action, reason, ())] if action else []
    )
    poll(world)
    expected = action.removeprefix("move it to ") or came_to
    assert world.sandbox.mailboxes_of(mail) == {expected}


def test_a_dispute_is_told() -> None:
    world = closed()
    world.sandbox.put_card(CONTACT)
    for href, text in world.sandbox.cards().items():
        if "FN:Feed\r" in text or "FN:Jail\r" in text:
            member = text.replace(
                "END:VCARD", "X-ADDRESSBOOKSERVER-MEMBER:urn:uuid:bob\r\nEND:VCARD"
            )
            world.sandbox.put_card(member, href.rpartition("/")[2])
    mail = world.sandbox.deliver(BOB)
    (row,) = rows_of(world)
    assert row.action == "@MailroomWarning on"
    assert "several categories" in row.reason
    poll(world)
    assert world.sandbox.mailboxes_of(mail) == {"Screener", "@MailroomWarning"}


def test_a_move_is_told_as_what_it_asks_for() -> None:
    world = closed()
    mail, other = (world.sandbox.deliver(BOB, keywords=["mailroom-waiting"]) for _ in range(2))
    world.sandbox.move(mail, "Feed")
    (row,) = rows_of(world)
    assert row.reason == "the move to Feed asks for Feed"
    world.sandbox.move(other, "Jail")
    first, second = rows_of(world)
    assert first.reason == second.reason
    assert (
        first.reason
        == "one sender with the move to Feed and the move to Jail: move one of them back"
    )


def test_a_group_that_cannot_be_written_fails_its_senders_before_anything_is_done() -> None:
    world = World()
    href, text = next((h, t) for h, t in world.sandbox.cards().items() if "FN:Feed" in t)
    world.sandbox.put_card(text.replace("VERSION:3.0", "VERSION:2.1"), href.rpartition("/")[2])
    mails = world.deliver(BOB, count=2)
    world.tap(mails[0], "@ToFeed")
    (row,) = rows_of(world)
    assert row.action == "nothing; the label stays"
    assert "2.1" in row.reason
    world.start().settle()
    assert world.sandbox.mails_in("Screener") == set(mails)
    assert not [card for card in world.sandbox.cards().values() if "bob@example.org" in card]


def evening() -> World:
    """An account whose door is used."""
    world = World()
    world.start().settle()
    return world


def comes(world: World, sender: str) -> str:
    mail_id = world.sandbox.deliver(sender)
    world.settle()
    return mail_id


def test_of_a_sender_who_is_triaged_now_only_the_triage_is_told() -> None:
    world = evening()
    one = comes(world, "Eve <eve@strangers.example>")
    world.account.close()
    world.tap(one, "@ToJail")
    comes(world, "Eve <eve@strangers.example>")
    world.sandbox.send("Eve <eve@strangers.example>")
    (row,) = rows_of(world)
    assert row.mail_id == one
    assert "file 2 mails into Jail" in row.action
    poll(world)
    assert len(world.sandbox.mails_in("Jail")) == 2


def test_where_nobody_has_used_the_door_nothing_is_new() -> None:
    world = World(configuration={"screening": {"by": "mailroom"}})
    world.deliver("Eve <eve@strangers.example>", mailbox="Inbox")
    assert rows_of(world) == []


def test_new_mail_is_told_that_cannot_be_decided_about_now() -> None:
    world = evening()
    world.account.close()
    comes(world, "Eve <eve@strangers.example>")
    for number in (3, 4):  # after the labels and the look: the search, then all of Sent
        world.sandbox.faults.add(Fault(call="Email/query", nth=number, method_error="serverFail"))
    (row,) = rows_of(world)
    assert (row.action, row.reason) == ("nothing", "the server cannot search Sent")


@pytest.mark.parametrize(
    ("labels", "action", "reason"),
    [
        (["@ToFeed", "@WholeDomain"],
         "decide for the domain example.org; file its mail into Feed",
         "@ToFeed with @WholeDomain asks for Feed"),
        (["@ToTruck", "@WholeList"],
         "decide for the list x.lists.example; file its mail into Truck and Paper Trail",
         "@ToTruck with @WholeList asks for Truck"),
        (["@ToScreener", "@WholeDomain"],
         "stop deciding for the domain example.org; move its mail back to Screener",
         "@ToScreener with @WholeDomain takes the decision back"),
        (["@ToFeed", "@WholeDomain", "@WholeList"], "@MailroomError on",
         "it can be for a whole domain or for a list: take one label off"),
    ],
)  # fmt: skip
def test_a_decision_for_many_is_told(labels: list[str], action: str, reason: str) -> None:
    world = closed()
    head = {"List-Id": "<x.lists.example>"}
    mail = world.sandbox.deliver(BOB, keywords=["mailroom-waiting"], headers=head)
    for label in labels:
        world.tap(mail, label)
    (row,) = rows_of(world)
    assert (row.action, row.reason, set(row.labels)) == (action, reason, set(labels))
    before = world.sandbox.mailboxes_of(mail)
    poll(world)
    after = world.sandbox.mailboxes_of(mail)
    files = "file its mail into "
    expected = set(action.partition(files)[2].split(" and ")) if files in action else {"Screener"}
    assert after == (before | {"@MailroomError"} if "Error" in action else expected)
