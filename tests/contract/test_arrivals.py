"""What the door looks at: headers, threads, changes, keywords, and queries for them."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.peers import Client, Server, eventually, servers, unique
from tests.contract.stalwart import StalwartProgram

CYRUS = ("sandbox cyrus-3.10", "sandbox cyrus-3.13", "MAILROOM_CYRUS_URL", "CYRUS313")
STALWART = ("sandbox stalwart", "STALWART")

on_all = pytest.mark.parametrize("server", servers(*CYRUS, *STALWART), indirect=True)
on_cyrus = pytest.mark.parametrize("server", servers(*CYRUS), indirect=True)
on_stalwart = pytest.mark.parametrize("server", servers(*STALWART), indirect=True)

LIST_ID = '"News" <news.example.org>'


def one(client: Client, **headers: Any) -> str:
    [mail_id] = client.arrive(**headers)
    return mail_id


def is_stalwart(client: Client) -> bool:
    return client.server.kind == "stalwart"


# Headers

HEADERS: dict[str, object] = {
    "header:List-Id": f" {LIST_ID}",
    "header:Content-Type": " text/plain; charset=utf-8",
    "header:X-Encoded:asText": "Hé there",
    "header:X-None": None,
    "header:X-None:asText": None,
    "header:X-None:asAddresses": None,
    "header:X-None:asText:all": [],
    "header:To:asAddresses": [{"name": "Alice", "email": "alice@example.org"}],
    "header:References:asMessageIds": ["one@example.org", "two@example.org"],
    "to": [{"name": "Alice", "email": "alice@example.org"}],
    "cc": [
        {"name": None, "email": "carol@example.org"},
        {"name": None, "email": "dave@example.org"},
    ],
    "bcc": None,
    "sender": [{"name": "List", "email": "list@example.org"}],
    "inReplyTo": ["two@example.org"],
    "references": ["one@example.org", "two@example.org"],
    "keywords": {},
}
#: Stalwart has these only as they are written, and where mail comes by LMTP no Return-Path.
MORE_HEADERS: dict[str, object] = {
    "header:list-id:asText": LIST_ID,
    "header:List-Id:asRaw": f" {LIST_ID}",
    "header:List-Id:asText:all": [LIST_ID],
    "header:Return-Path": " <sender@example.org>",
    "header:Return-Path:asText": "<sender@example.org>",
    "header:Return-Path:asAddresses": [{"name": None, "email": "sender@example.org"}],
}


@on_all
def test_headers_are_shown_in_the_form_that_is_asked_for(client: Client) -> None:
    expected = HEADERS if is_stalwart(client) else HEADERS | MORE_HEADERS
    mail_id = one(
        client,
        To="Alice <alice@example.org>",
        Cc="carol@example.org, dave@example.org",
        Sender="List <list@example.org>",
        In_Reply_To="<two@example.org>",
        References="<one@example.org> <two@example.org>",
        List_Id=LIST_ID,
        Content_Type="text/plain; charset=utf-8",
        X_Encoded="=?utf-8?q?H=C3=A9?= there",
    )
    assert client.get(mail_id, *expected) == expected


@on_cyrus
@pytest.mark.parametrize(
    "name",
    [
        *("header:", "header:X:asTexts", "header:From:asText", "header:Subject:asAddresses"),
    ],
)
def test_a_header_in_a_form_that_it_has_not_is_refused(client: Client, name: str) -> None:
    assert client.error("Email/get", ids=[], properties=[name])["type"] == "invalidArguments"


@on_cyrus
def test_content_type_was_shown_only_as_it_is_written_up_to_cyrus_3_10(client: Client) -> None:
    server = client.server
    is_old = "3.10" in (server.kind if server.version == "sandbox" else server.version)
    properties = ["header:Content-Type:asText"]
    [(name, _)] = client.calls(("Email/get", {"ids": [], "properties": properties}))
    assert (name == "error") is is_old


@on_stalwart
def test_stalwart_refuses_no_form_and_has_names_of_its_own(client: Client) -> None:
    mail_id = one(client, List_Id=LIST_ID)
    names = ["List-Id:asRaw", "List-Id:asText", "From:asText", "X-None:asTexts", ""]
    properties = [f"header:{name}" for name in names]
    [mail] = client.call("Email/get", ids=[mail_id], properties=properties)["list"]
    assert mail == {
        "id": mail_id,
        "header:List-Id": f" {LIST_ID}",
        "header:List-Id:asText": None,
        "header:From:asText": None,
    }


@on_cyrus
def test_a_bounce_has_a_null_return_path(client: Client) -> None:
    mail_id = one(client, sender="")
    assert client.get(mail_id, "header:Return-Path") == {"header:Return-Path": " <>"}


# Threads

#: Subject of an answer to "Plan B now" → whether it is in the same thread.
SUBJECTS = {
    "Plan B now": True,
    "Re: Plan B now": True,
    "AW: Plan B now": True,
    "Fwd: Plan B now": True,
    "WG: Re: Plan  B now": True,
    "Re[2]: Plan B now": True,
    "[list] Plan B now": True,
    "Re: [list] Re: Plan B now": True,
    "Sv:Plan B now": True,
    "any: Plan B now": True,
    "Two words: Plan B now": False,
    "plan b now": False,
    "Plan B now (fwd)": False,
    "Plan C": False,
    "Re:": False,
}
#: What is otherwise on Stalwart, where spaces count, and only words that programs write do not.
SUBJECTS_OF_STALWART = {
    "WG: Re: Plan  B now": False,
    "WG: Re: Plan B now": True,
    "any: Plan B now": False,
    "Plan B now (fwd)": True,
}


def thread_of(client: Client, mail_id: str) -> str:
    return str(client.get(mail_id, "threadId")["threadId"])


@on_all
def test_an_answer_joins_the_thread_unless_its_subject_is_another(client: Client) -> None:
    message_id = f"<{unique('plan')}@example.org>"
    thread = thread_of(client, one(client, subject="Plan B now", Message_ID=message_id))
    expected = SUBJECTS | SUBJECTS_OF_STALWART if is_stalwart(client) else SUBJECTS
    answers = {
        subject: one(client, subject=subject, In_Reply_To=message_id) for subject in expected
    }
    joined = {subject: thread_of(client, id_) == thread for subject, id_ in answers.items()}
    assert joined == expected
    assert thread_of(client, one(client, subject="Re: Plan B now")) != thread


@on_all
def test_a_changed_subject_begins_a_thread_of_its_own(client: Client) -> None:
    old, new = (f"<{unique('id')}@example.org>" for _ in range(2))
    first = one(client, subject="Plan B", Message_ID=old)
    changed = one(client, subject="Plan C", Message_ID=new, In_Reply_To=old)
    on_new = one(client, subject="Re: Plan C", In_Reply_To=new, References=f"{old} {new}")
    on_both = one(client, subject="Re: Plan B", In_Reply_To=new)
    assert thread_of(client, changed) == thread_of(client, on_new) != thread_of(client, first)
    assert thread_of(client, on_both) not in (thread_of(client, first), thread_of(client, changed))


@on_all
def test_mails_are_tied_by_a_mail_that_is_not_there_or_comes_later(client: Client) -> None:
    absent = f"<{unique('id')}@example.org>"
    first = one(client, subject="Plan", In_Reply_To=absent)
    second = one(client, subject="Re: Plan", References=absent)
    late = one(client, subject="Plan", Message_ID=absent)
    thread = thread_of(client, first)
    assert thread_of(client, second) == thread_of(client, late) == thread
    shown = client.call("Thread/get", ids=[thread, "tnone"])
    assert shown["notFound"] == ["tnone"]
    [listed] = shown["list"]
    assert (listed["id"], set(listed["emailIds"])) == (thread, {first, second, late})


# Changes


def fates(client: Client, since: str) -> tuple[list[str], list[str], list[str]]:
    answer = client.changes(since)
    assert not answer["hasMoreChanges"]
    assert answer["newState"] == client.state()
    return answer["created"], answer["updated"], answer["destroyed"]


@on_all
def test_every_change_shows_as_what_it_is(client: Client) -> None:
    box, inbox = client.new_mailbox(), client.inbox()
    since = client.state()
    assert fates(client, since) == ([], [], [])
    mail_id = one(client)
    assert fates(client, since) == ([mail_id], [], [])
    client.relabel(mail_id, {box: True, inbox: None})
    assert fates(client, since) == ([mail_id], [], [])  # moved since, created once
    for patch, is_change in (
        ({"keywords/$seen": True}, True),
        ({"keywords/$seen": True}, not is_stalwart(client)),  # which changes nothing
        ({f"mailboxIds/{inbox}": True}, True),
        ({f"mailboxIds/{inbox}": True}, False),
        ({f"mailboxIds/{box}": None}, True),
    ):
        since = client.state()
        answer = client.call("Email/set", update={mail_id: patch})
        assert (answer["newState"] != since) is is_change, patch
        assert fates(client, since) == ([], [mail_id] * is_change, [])
    since = client.state()
    client.call("Email/set", destroy=[mail_id])
    assert fates(client, since) == ([], [], [mail_id])
    since = client.state()
    client.call("Email/set", destroy=[one(client)])
    assert fates(client, since) == ([], [], [])  # came and went


@on_all
def test_changes_come_in_pages_the_oldest_first(client: Client) -> None:
    gone, first, second = (one(client) for _ in range(3))
    since = client.state()
    for mail_id in (gone, first, second):
        client.patch(mail_id, **{"keywords/$flagged": True})
    client.call("Email/set", destroy=[gone])
    new = one(client)
    pages = [client.changes(since, 1)]
    while pages[-1]["hasMoreChanges"]:
        pages.append(client.changes(pages[-1]["newState"], 1))
    shown = [(page["created"], page["updated"], page["destroyed"]) for page in pages]
    assert shown == [([], [first], []), ([], [second], []), ([], [], [gone]), ([new], [], [])]
    assert pages[-1]["newState"] == client.state()


@on_cyrus
@pytest.mark.parametrize("state", ["garbage", "", "1x", "-1"])
def test_changes_since_what_is_no_state_cannot_be_told(client: Client, state: str) -> None:
    error = client.error("Email/changes", sinceState=state)
    assert error["type"] == "cannotCalculateChanges"


@on_cyrus
def test_changes_without_a_state_or_a_limit_are_refused(client: Client) -> None:
    assert client.error("Email/changes")["type"] == "cannotCalculateChanges"
    error = client.error("Email/changes", sinceState=client.state(), maxChanges=0)
    assert error["type"] == "invalidArguments"


@on_cyrus
def test_since_a_state_to_come_nothing_has_changed(client: Client) -> None:
    answer = client.changes("99999999")
    assert (answer["oldState"], answer["newState"]) == ("99999999", client.state())
    assert not answer["hasMoreChanges"]
    assert answer["created"] == answer["updated"] == answer["destroyed"] == []


@on_stalwart
def test_stalwart_tells_what_is_no_state_from_one_to_come(client: Client) -> None:
    mail_id = one(client)
    for state, type_ in (("garbage", "invalidArguments"), ("", "invalidArguments")):
        assert client.error("Email/changes", sinceState=state)["type"] == type_
    to_come = "99999999" if client.state().isdecimal() else "szzzzzzzz"
    error = client.error("Email/changes", sinceState=to_come)
    assert error["type"] == "cannotCalculateChanges"
    assert mail_id in client.call("Email/changes")["created"]


@on_cyrus
def test_a_mail_that_is_dragged_by_imap_is_never_in_no_mailbox(client: Client) -> None:
    subject, name = unique("drag"), unique("box")
    box, inbox = client.new_mailbox(name=name, parentId=None), client.inbox()
    mail_id = one(client, subject=subject)
    client.patch(mail_id, **{"keywords/mailroom-waiting": True})
    since, seen = client.state(), []
    for step in client.server.drag(subject, "Inbox", name):
        assert fates(client, since) == ([], [mail_id], [])
        since = client.state()
        seen.append((step, client.mailboxes_of(mail_id)))
    assert seen == [("copied", {box, inbox}), ("deleted", {box}), ("expunged", {box})]
    assert client.get(mail_id, "keywords") == {"keywords": {"mailroom-waiting": True}}


# Keywords


@on_cyrus
def test_a_keyword_is_one_word_and_its_case_does_not_count(client: Client) -> None:
    mail_id = one(client)
    client.patch(mail_id, **{"keywords/Mailroom-Test": True})
    assert client.get(mail_id, "keywords") == {"keywords": {"mailroom-test": True}}
    assert client.query({"hasKeyword": "MAILROOM-test"}) == [mail_id]
    assert mail_id not in client.query({"notKeyword": "mailroom-test"})
    refused = client.patch(mail_id, **{"keywords/a b": True})["notUpdated"][mail_id]
    assert refused == {"type": "invalidProperties", "properties": ["keywords/a b"]}
    client.patch(mail_id, **{"keywords/mailroom-test": None})
    assert client.query({"hasKeyword": "mailroom-test"}) == []


@on_all
def test_mail_with_a_keyword_is_found_outside_of_a_mailbox(client: Client) -> None:
    box = client.new_mailbox()
    inside, outside, without = client.mail_in(box), one(client), one(client)
    for mail_id in (inside, outside):
        client.patch(mail_id, **{"keywords/mailroom-test": True})
    not_inside = {"operator": "NOT", "conditions": [{"inMailbox": box}]}
    conditions = [{"hasKeyword": "mailroom-test"}, not_inside]
    assert client.query({"operator": "AND", "conditions": conditions}) == [outside]
    assert without in client.query({"notKeyword": "mailroom-test"})
    for mail_id in (inside, outside):
        client.patch(mail_id, **{"keywords/mailroom-test": None})


@on_cyrus
def test_a_mailbox_that_is_full_of_keywords_leaves_a_patch_half_done(client: Client) -> None:
    box, inbox = client.new_mailbox(), client.inbox()
    full = client.mail_in(box)
    client.patch(full, keywords={f"mailroom-test-{number}": True for number in range(100)})
    client.patch(full, keywords={})  # which makes no room
    mail_id = one(client)
    move = {f"mailboxIds/{box}": True, f"mailboxIds/{inbox}": None, "keywords/mailroom-new": True}
    refused = {"type": "serverFail", "description": "Too many user flags in mailbox"}
    for _ in range(2):
        assert client.call("Email/set", update={mail_id: move})["notUpdated"] == {mail_id: refused}
        assert client.mailboxes_of(mail_id) == {box, inbox}
        assert client.get(mail_id, "keywords") == {"keywords": {}}
    known = {f"mailboxIds/{inbox}": None, "keywords/mailroom-test-7": True, "keywords/$seen": True}
    assert client.call("Email/set", update={mail_id: known})["notUpdated"] is None
    assert client.mailboxes_of(mail_id) == {box}


@pytest.fixture
def spoilt(server: Server) -> Iterator[Client]:
    """Of a real server's account the next test would have to do with what this one leaves."""
    former = server.user
    if isinstance(server, StalwartProgram):
        server.user = unique("spoilt")
        server.create_account(server.user)
    client = Client(server)
    yield client
    client.close()
    server.user = former


@on_stalwart
def test_stalwart_drops_the_keywords_that_the_account_has_no_room_for(spoilt: Client) -> None:
    client = spoilt
    first, second = one(client), one(client)
    client.patch(second, **{"keywords/mailroom-test": True})
    client.patch(first, keywords={f"Test-{number}": True for number in range(90)})
    refused = client.patch(second, keywords={f"test {number}": True for number in range(20)})
    assert "notUpdated" not in refused
    assert len(client.get(first, "keywords")["keywords"]) == 90
    assert len(client.get(second, "keywords")["keywords"]) == 8
    assert client.query({"hasKeyword": "Test-1"}) == [first]
    assert client.query({"hasKeyword": "test-1"}) == []
    client.call("Email/set", destroy=[first])  # which makes no room
    client.patch(second, **{"keywords/another": True, "keywords/Test-1": True})
    assert "another" not in client.get(second, "keywords")["keywords"]
    assert "Test-1" in client.get(second, "keywords")["keywords"]


# Queries


@on_all
def test_to_cc_and_bcc_are_found_by_words(client: Client) -> None:
    word = unique("w").replace("-", "")
    address = f"carl.{word}@some-where.example"
    found = one(client, To=f"Carl Friend{word} <{address}>, x@y.example", Cc=f"{word}c@z.example")
    eventually(lambda: client.query({"to": address}) or None)
    hits = [
        *({"to": each} for each in (address, address.upper(), f"carl.{word}", f"friend{word}")),
        {"to": f"carl friend{word} x"},
        {"cc": f"{word}c@z.example"},
    ]
    assert [each for each in hits if client.query(each) != [found]] == []
    misses = [
        *({"to": each} for each in (f"{word}c@z.example", address[1:], f"friend{word[:-1]}")),
        {"cc": address},
        {"bcc": address},
        {"from": f"friend{word}"},
    ]
    assert [each for each in misses if client.query(each)] == []


@on_cyrus
def test_mail_of_a_list_is_found_by_its_header(client: Client) -> None:
    name = f"{unique('list')}.example"
    found = one(client, List_Id=f'"List" <{name}>')
    eventually(lambda: client.query({"header": ["list-id", name]}) or None)
    assert client.query({"header": ["List-Id", f"<{name}>"]}) == [found]
    assert found in client.query({"header": ["List-Id"]})
    assert client.query({"header": ["X-None"]}) == []
    assert client.error("Email/query", filter={"header": []})["type"] == "invalidArguments"


@on_stalwart
def test_stalwart_finds_nothing_by_a_header(client: Client) -> None:
    one(client, List_Id=LIST_ID)
    assert client.query({"header": ["List-Id"]}) == []


@on_all
def test_a_created_mail_has_the_headers_that_it_was_given(client: Client) -> None:
    address = [{"name": "Carl", "email": "carl@some.example"}]
    properties = {
        "mailboxIds": {client.inbox(): True},
        "from": [{"email": "me@example.org"}],
        "to": address,
        "cc": address,
        "subject": "Made",
        "messageId": [f"{unique('id')}@example.org"],
        "inReplyTo": ["a@example.org"],
        "references": ["a@example.org"],
        "keywords": {"$Draft": True, "$seen": True},
        "textBody": [{"partId": "1", "type": "text/plain"}],
        "bodyValues": {"1": {"value": "text"}},
    }
    made = client.call("Email/set", create={"new": properties})["created"]["new"]
    names = ("to", "cc", "messageId", "inReplyTo", "references")
    shown = client.get(made["id"], *names, "keywords")
    assert shown == {
        **{name: properties[name] for name in names},
        "keywords": {"$draft": True, "$seen": True},
    }
