"""The event source (RFC 8620 §7.3) as the sandbox and Cyrus both serve it."""

import json
from collections.abc import Callable

import pytest

from tests.contract.peers import Client, EventStream

Listen = Callable[..., EventStream]


def test_a_stream_is_an_event_stream(listen: Listen) -> None:
    stream = listen()
    assert stream.status == 200
    assert stream.headers["Content-Type"] == "text/event-stream"


def test_a_change_of_mail_is_an_event_with_the_new_state(client: Client, listen: Listen) -> None:
    mail_id, box = client.mail(), client.new_mailbox()
    stream = listen("types=Email,Mailbox&closeafter=no&ping=0")
    new_state = client.relabel(mail_id, {box: True})["newState"]
    event = stream.event()
    assert event["event"] == "state"
    assert json.loads(event["data"]) == {
        "@type": "StateChange",
        "changed": {client.account_id: {"Email": new_state}},
    }
    assert event["id"]


def test_nothing_is_said_of_a_change_that_changes_nothing(client: Client, listen: Listen) -> None:
    mail_id, box, other = client.mail(), client.new_mailbox(), client.new_mailbox()
    client.relabel(mail_id, {box: True})
    stream = listen()
    client.relabel(mail_id, {box: True})
    new_state = client.relabel(mail_id, {other: True})["newState"]
    assert stream.changed(client)["Email"] == new_state


def test_a_new_mailbox_is_an_event_of_both_types(client: Client, listen: Listen) -> None:
    stream = listen("types=Email,Mailbox&closeafter=no&ping=0")
    client.new_mailbox()
    state = client.state()
    assert stream.changed(client) == {"Email": state, "Mailbox": state}


def test_only_the_types_asked_for_are_told(client: Client, listen: Listen) -> None:
    stream = listen("types=Mailbox,Nonsense&closeafter=no&ping=0")
    client.mail()
    client.new_mailbox()
    assert stream.changed(client) == {"Mailbox": client.state()}


def test_one_set_of_twenty_mails_is_one_event(client: Client, listen: Listen) -> None:
    mails, box = [client.mail() for _ in range(20)], client.new_mailbox()
    stream = listen()
    patch = {f"mailboxIds/{box}": True}
    new_state = client.call("Email/set", update=dict.fromkeys(mails, patch))["newState"]
    assert stream.changed(client)["Email"] == new_state


def test_with_a_last_event_id_the_states_come_at_once(client: Client, listen: Listen) -> None:
    client.mail()
    stream = listen(Last_Event_ID="3")
    assert stream.changed(client)["Email"] == client.state()


def test_a_silent_stream_is_pinged(listen: Listen) -> None:
    stream = listen("types=*&closeafter=no&ping=1")
    ping = {"event": "ping", "data": '{"interval":1}'}
    assert [stream.event(), stream.event()] == [ping, ping]


def test_closeafter_state_ends_the_stream_after_one_event(client: Client, listen: Listen) -> None:
    stream = listen("types=*&closeafter=state&ping=0")
    client.mail()
    assert stream.changed(client)["Email"] == client.state()
    assert stream.event() == {}


def test_without_types_there_is_nothing_to_hear(listen: Listen) -> None:
    assert listen("closeafter=no&ping=0").status == 204


@pytest.mark.parametrize("types", ["*", "Email%2CMailbox", "Email,Nonsense"])
def test_types_come_in_any_form(client: Client, listen: Listen, types: str) -> None:
    stream = listen(f"types={types}&closeafter=no&ping=no")
    client.mail()
    assert stream.changed(client)["Email"] == client.state()


def test_a_contact_is_no_event(client: Client, listen: Listen) -> None:
    stream = listen("types=Email,Mailbox&closeafter=no&ping=0")
    state = client.state()
    home = f"/dav/addressbooks/user/{client.server.user}/Default"
    card = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:quiet\r\nFN:Q\r\nN:;;;;\r\nEND:VCARD\r\n"
    client.request("PUT", f"{home}/quiet.vcf", card, Content_Type="text/vcard")
    assert client.state() == state
    client.mail()
    assert stream.changed(client)["Email"] == client.state()
