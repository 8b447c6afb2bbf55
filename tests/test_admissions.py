"""What the log tells of new mail: whose it was, what decided, and only where something was done."""

import json
from typing import Any

from tests.sandbox import Fault, Response, json_response
from tests.test_door import ANNA, EVE, comes, house
from tests.world import World


def told(world: World) -> list[dict[str, Any]]:
    events = ("mail_admitted", "mail_screened")
    return [{"event": name, **fields} for _, name, fields in world.events if name in events]


def test_a_friend_is_admitted_and_a_stranger_is_screened() -> None:
    world = house("mailroom")
    comes(world, EVE)
    assert told(world) == [
        {"event": "mail_screened", "sender": "eve@strangers.example", "outcome": "unknown",
         "mails": 1}
    ]  # fmt: skip
    world = house("server")
    comes(world, ANNA)
    assert told(world) == [
        {"event": "mail_admitted", "sender": "anna@friends.example", "outcome": "contact",
         "mails": 1}
    ]  # fmt: skip


def test_mail_that_is_where_it_belongs_is_not_told() -> None:
    world = house("mailroom")
    comes(world, ANNA)
    assert told(world) == []


def test_of_one_sender_in_one_poll_there_is_one_line() -> None:
    world = house("mailroom")
    with world.sandbox.lock:
        for sender in (EVE, EVE, "Mallory <mallory@strangers.example>", EVE):
            world.sandbox.deliver(sender, mailbox="Inbox")
    world.settle()
    assert sorted((each["sender"], each["mails"]) for each in told(world)) == [
        ("eve@strangers.example", 3),
        ("mallory@strangers.example", 1),
    ]


def test_mail_of_a_triaged_sender_is_told_with_its_category() -> None:
    world = house("mailroom")
    world.tap(comes(world, EVE), "@ToFeed")
    world.settle()
    number = len(world.events)
    comes(world, EVE)
    world.events = world.events[number:]
    assert [(each["outcome"], each["category"]) for each in told(world)] == [("category", "Feed")]


def test_a_stranger_whose_mail_was_moved_although_the_server_denies_it_is_counted() -> None:
    world = house("mailroom")

    def deny(response: Response) -> Response:
        document = json.loads(response.body)
        for name, answer, _ in document["methodResponses"]:
            if name == "Email/set":
                error = {"type": "serverFail"}
                answer["notUpdated"] = dict.fromkeys(answer["updated"] or {}, error)
                answer["updated"] = None
        return json_response(document)

    world.sandbox.faults.add(Fault(call="Email/set", rewrite=deny, times=1))
    mail_id = comes(world, "eve@example.org")
    assert world.sandbox.mailboxes_of(mail_id) == {"Screener"}
    world.run_for(15.0)  # long before the next poll
    assert world.status["waiting"]["mails"] == 1


def test_mail_that_cannot_be_moved_waits_until_it_can_and_only_the_refusal_is_told() -> None:
    world = house("server")

    def refuse(response: Response) -> Response:
        """The mail is put back as it was, and the answer says that it cannot be changed."""
        document = json.loads(response.body)
        for name, answer, _ in document["methodResponses"]:
            if name == "Email/set":
                error = {"type": "forbidden"}
                answer["notUpdated"] = dict.fromkeys(answer["updated"] or {}, error)
                for mail_id in answer["updated"] or {}:
                    world.sandbox.move(mail_id, "Screener")
                answer["updated"] = None
        return json_response(document)

    world.sandbox.faults.add(Fault(call="Email/set", rewrite=refuse))
    mail_id = comes(world, ANNA)
    world.run_for(60.0)
    assert world.sandbox.mailboxes_of(mail_id) == {"Screener"}
    assert world.status["waiting"]["mails"] == 1
    assert told(world) == []
    [refusal] = world.named("arrival_refused")
    assert refusal["mail"] == mail_id
    assert "forbidden" in str(refusal["error"])
    world.sandbox.faults.clear()
    world.run_for(120.0)
    assert world.sandbox.mailboxes_of(mail_id) == {"Inbox"}
    assert len(told(world)) == len(world.named("arrival_refused")) == 1
