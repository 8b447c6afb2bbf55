"""JMAP mail (RFC 8620, 8621) as the sandbox and Cyrus both speak it."""

from typing import Any

import pytest

from tests.contract.peers import CORE, MAIL, SUBMISSION, Client, eventually, unique

NO_MAIL = "M" + "0" * 24

# Session


def test_the_well_known_address_leads_to_the_session(client: Client) -> None:
    answer = client.request("GET", "/.well-known/jmap")
    assert answer.status == 301
    path = answer.headers["Location"].removeprefix(client.server.url)
    assert client.request("GET", path).json()["primaryAccounts"][MAIL] == client.account_id


def test_the_session_has_relative_urls_and_all_limits(client: Client) -> None:
    assert client.session["apiUrl"] == "/jmap/"
    assert (
        client.session["eventSourceUrl"]
        == "/jmap/eventsource/?types={types}&closeafter={closeafter}&ping={ping}"
    )
    limits = client.session["capabilities"][CORE]
    assert limits["maxCallsInRequest"] == 50
    assert limits["maxObjectsInGet"] == limits["maxObjectsInSet"] == 4096
    assert limits["maxConcurrentRequests"] == 5
    assert limits["maxSizeRequest"] == 10485760
    account = client.session["accounts"][client.account_id]
    assert not account["isReadOnly"]
    assert account["accountCapabilities"][MAIL]["maxMailboxesPerEmail"] == 20


@pytest.mark.parametrize("authorization", [None, "Basic YWxpY2U6d3Jvbmc=", "Bearer token"])
def test_whoever_is_not_the_user_is_asked_for_a_password(
    client: Client, authorization: str | None
) -> None:
    answer = client.request("GET", "/jmap/", Authorization=authorization)
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic")


# Requests


def test_echo_gives_back_what_it_was_given(client: Client) -> None:
    answer = client.post({"using": [CORE], "methodCalls": [["Core/echo", {"a": [1, None]}, "x"]]})
    assert answer.json()["methodResponses"] == [["Core/echo", {"a": [1, None]}, "x"]]
    assert answer.json()["sessionState"] == client.session["state"]


def test_a_body_that_is_not_declared_as_json_is_refused(client: Client) -> None:
    body = '{"using":[],"methodCalls":[]}'
    assert client.request("POST", "/jmap/", body, Content_Type="text/plain").status == 415


@pytest.mark.parametrize(
    ("body", "type_"),
    [
        ("{", "notJSON"),
        ("[]", "notRequest"),
        ('{"using":["urn:ietf:params:jmap:core"]}', "notRequest"),
        ('{"using":["urn:example:nothing"],"methodCalls":[]}', "unknownCapability"),
    ],
)
def test_a_request_that_is_none_is_a_problem(client: Client, body: str, type_: str) -> None:
    answer = client.request("POST", "/jmap/", body, Content_Type="application/json")
    assert answer.status == 400
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.json()["type"] == f"urn:ietf:params:jmap:error:{type_}"


@pytest.mark.parametrize(
    ("calls", "limit"),
    [
        ([["Core/echo", {}, "x"]] * 51, "maxCallsInRequest"),
        ([["Email/get", {"ids": [f"M{n:024}" for n in range(4097)]}, "x"]], "maxObjectsInGet"),
        (
            [["Email/set", {"update": {f"M{n:024}": {} for n in range(4097)}}, "x"]],
            "maxObjectsInSet",
        ),
    ],
)
def test_a_request_over_a_limit_fails_as_a_whole(client: Client, calls: Any, limit: str) -> None:
    for call in calls:
        call[1]["accountId"] = client.account_id
    answer = client.post({"using": [CORE, MAIL], "methodCalls": calls})
    assert answer.status == 400
    assert answer.json()["type"] == "urn:ietf:params:jmap:error:limit"
    assert answer.json()["limit"] == limit


def test_a_request_over_the_limit_of_bytes_is_413(client: Client) -> None:
    size = client.session["capabilities"][CORE]["maxSizeRequest"]
    call = ["Core/echo", {"text": "x" * size}, "x"]
    answer = client.post({"using": [CORE], "methodCalls": [call]})
    assert answer.status == 413
    assert answer.json()["limit"] == "maxSizeRequest"


def test_all_mails_at_once_are_too_many(client: Client) -> None:
    assert client.error("Email/get", ids=None)["type"] == "requestTooLarge"


def test_a_method_outside_of_using_is_unknown(client: Client) -> None:
    assert client.error("Identity/get", ids=None)["type"] == "unknownMethod"
    assert client.error("Email/fetch", ids=None)["type"] == "unknownMethod"


def test_an_identity_has_no_address(client: Client) -> None:
    call = ["Identity/get", {"accountId": client.account_id}, "x"]
    answer = client.post({"using": [CORE, MAIL, SUBMISSION], "methodCalls": [call]})
    assert answer.json()["methodResponses"][0][1]["list"][0]["email"] == ""


def test_another_account_is_not_found(client: Client) -> None:
    assert client.error("Email/get", accountId="nobody", ids=[])["type"] == "accountNotFound"


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("Email/get", {"ids": [], "properties": ["sender", "colour"]}),
        ("Mailbox/get", {"ids": [], "properties": ["colour"]}),
        ("Email/get", {"ids": "M1"}),
        ("Email/get", {"ids": [], "colour": "red"}),
        ("Email/query", {"filter": {"colour": "red"}}),
        ("Email/query", {"filter": {"operator": "XOR", "conditions": []}}),
        ("Email/query", {"filter": {"after": "yesterday"}}),
        ("Email/query", {"limit": -1}),
    ],
)
def test_wrong_arguments_are_refused(client: Client, method: str, arguments: Any) -> None:
    assert client.error(method, **arguments)["type"] == "invalidArguments"


def test_an_error_does_not_stop_the_calls_after_it(client: Client) -> None:
    reference = {"resultOf": "0", "name": "Email/query", "path": "/ids"}
    names = client.calls(
        ("Email/query", {"filter": {"inMailbox": "nowhere"}}),
        ("Email/get", {"#ids": reference}),
        ("Email/get", {"ids": []}),
    )
    assert [(name, answer.get("type")) for name, answer in names] == [
        ("error", "invalidArguments"),
        ("error", "invalidResultReference"),
        ("Email/get", None),
    ]


def test_back_references_map_a_path_over_lists(client: Client) -> None:
    parent = client.new_mailbox()
    child = client.new_mailbox(parentId=parent)
    (_, boxes), (_, parents) = client.calls(
        ("Mailbox/get", {"ids": [child, parent], "properties": ["parentId", "name"]}),
        (
            "Mailbox/get",
            {
                "#ids": {"resultOf": "0", "name": "Mailbox/get", "path": "/list/*/id"},
                "properties": ["id"],
            },
        ),
    )
    assert {box["id"] for box in boxes["list"]} == {child, parent}
    assert {box["id"] for box in parents["list"]} == {child, parent}


# Mailboxes


def test_a_mailbox_keeps_its_id_when_renamed_and_moved(client: Client) -> None:
    box, parent, name = client.new_mailbox(), client.new_mailbox(), unique("new")
    client.call("Mailbox/set", update={box: {"name": name}})
    client.call("Mailbox/set", update={box: {"parentId": parent}})
    [shown] = client.call("Mailbox/get", ids=[box], properties=["name", "parentId"])["list"]
    assert shown == {"id": box, "name": name, "parentId": parent}


def test_all_mailboxes_are_found_page_by_page(client: Client) -> None:
    made = {client.new_mailbox() for _ in range(3)}
    found: list[str] = []
    while page := client.call("Mailbox/query", position=len(found), limit=2)["ids"]:
        assert len(page) <= 2
        found += page
    everything = client.call("Mailbox/get", ids=None, properties=["id"])["list"]
    assert sorted(found) == sorted(box["id"] for box in everything)
    assert made <= set(found)


def test_a_child_names_its_parent_by_creation_id(client: Client) -> None:
    answer = client.call(
        "Mailbox/set",
        create={
            "p": {"name": unique("parent")},
            "c": {"name": unique("child"), "parentId": "#p"},
        },
    )
    created = answer["created"]
    [child] = client.call("Mailbox/get", ids=[created["c"]["id"]])["list"]
    assert child["parentId"] == created["p"]["id"]


def test_a_name_that_is_taken_or_has_a_slash_is_refused(client: Client) -> None:
    name = unique("twice")
    client.new_mailbox(name=name)
    answer = client.call("Mailbox/set", create={"a": {"name": name}, "b": {"name": "A/B"}})
    assert answer["notCreated"]["a"]["type"] == "invalidProperties"
    assert answer["notCreated"]["a"]["properties"] == ["name"]
    assert answer["notCreated"]["b"]["type"] == "serverFail"


def test_a_mailbox_with_mail_or_children_is_not_destroyed(client: Client) -> None:
    full, parent = client.new_mailbox(), client.new_mailbox()
    client.mail_in(full)
    client.new_mailbox(parentId=parent)
    refused = client.call("Mailbox/set", destroy=[full, parent])["notDestroyed"]
    assert refused[full]["type"] == "mailboxHasEmail"
    assert refused[parent]["type"] == "mailboxHasChild"


def test_a_mailbox_that_is_emptied_takes_the_mail_that_is_only_there(client: Client) -> None:
    box, other = client.new_mailbox(), client.new_mailbox()
    only, both = client.mail_in(box), client.mail_in(box, other)
    client.call("Mailbox/set", destroy=[box], onDestroyRemoveEmails=True)
    assert client.is_gone(only)
    assert client.mailboxes_of(both) == {other}


def test_the_inbox_is_never_destroyed(client: Client) -> None:
    inbox = client.inbox()
    refused = client.call("Mailbox/set", destroy=[inbox])["notDestroyed"]
    assert refused == {inbox: {"type": "forbidden"}}


def test_a_mailbox_made_anew_is_another_one(client: Client) -> None:
    name = unique("again")
    old = client.new_mailbox(name=name)
    assert client.call("Mailbox/set", destroy=[old])["destroyed"] == [old]
    assert client.new_mailbox(name=name) != old
    assert client.call("Mailbox/get", ids=[old])["notFound"] == [old]


def test_the_inbox_is_known_by_its_role(client: Client) -> None:
    [box] = client.call("Mailbox/get", ids=[client.inbox()])["list"]
    assert (box["name"], box["parentId"], box["role"]) == ("Inbox", None, "inbox")


# From

SENDERS: dict[str, tuple[str | None, list[tuple[str | None, str]] | None]] = {
    "plain": ("bob@example.org", [(None, "bob@example.org")]),
    "named": ("Bob Smith <bob@example.org>", [("Bob Smith", "bob@example.org")]),
    "absent": (None, None),
    "empty": ("", None),
    "empty group": ("undisclosed-recipients:;", []),
    "group": (
        "Friends: Bob <bob@example.org>, carol@example.org;",
        [("Bob", "bob@example.org"), (None, "carol@example.org")],
    ),
    "word": ("bob", []),
    "words": ("Bob Smith", []),
    "no domain": ("bob@", []),
    "nothing in brackets": ("<>", []),
    "no domain in brackets": ("Bob <bob>", [("Bob", "bob")]),
    "newline in encoded word": (
        "=?utf-8?q?B=C3=B6b_=0AEvil?= <Bob@Example.ORG>",
        [("Böb \nEvil", "Bob@Example.ORG")],
    ),
    "encoded word in quotes": (
        '"=?utf-8?q?quoted=C3=B6?=" <q@example.org>',
        [("quotedö", "q@example.org")],
    ),
    "NUL in encoded word": ("=?utf-8?q?N=00UL?= <n@example.org>", [("N", "n@example.org")]),
    "several": (
        "Bob <bob@example.org>, carol@example.org",
        [("Bob", "bob@example.org"), (None, "carol@example.org")],
    ),
    "quoted local part": ('"quoted local"@example.org', [(None, "quoted local@example.org")]),
    "quote in local part": ('"a\\"b"@example.org', [(None, 'a"b@example.org')]),
    "comment": ("bob+tag@example.org (A comment)", [("A comment", "bob+tag@example.org")]),
    "raw 8-bit": ("Jörg <jörg@exämple.org>", [("JXXrg", "jXXrg@exXXmple.org")]),
    "route": ("@route.org:bob@example.org", [(None, "@route.org:bob@example.org")]),
    "spaces": ("bob @ example.org", [(None, "bob@example.org")]),
    "literal": ("bob@[192.0.2.1]", [(None, "bob@[192.0.2.1]")]),
    "comma first": (", bob@example.org", [(None, "bob@example.org")]),
    "comma last": ("bob@example.org, ", [(None, "bob@example.org")]),
    "after an empty group": ("undisclosed:;, bob@example.org", [(None, "bob@example.org")]),
    "empty name": ('"" <bob@example.org>', [(None, "bob@example.org")]),
}


@pytest.mark.parametrize("case", SENDERS)
def test_from_is_shown_as_a_list_of_addresses(client: Client, case: str) -> None:
    header, expected = SENDERS[case]
    mail_id = client.mail(header)
    [mail] = client.call("Email/get", ids=[mail_id], properties=["from"])["list"]
    shown = mail["from"] and [(sender["name"], sender["email"]) for sender in mail["from"]]
    assert shown == expected


def test_a_from_filter_finds_words_addresses_and_domains(client: Client) -> None:
    word, host = unique("w").replace("-", ""), unique("h").replace("-", "")
    mail_id = client.mail(f"Robert {word} <{word}x@{host}.org>")
    inbox = client.inbox()

    def found(text: str) -> bool:
        return mail_id in client.query({"inMailbox": inbox, "from": text})

    eventually(lambda: found(word) or None)
    hits = [word.upper(), f"Robert {word}", f"{word}x", f"{word}X@{host}.ORG", f"{host}.org"]
    assert [text for text in (*hits, f"@{host}.org") if not found(text)] == []
    misses = [f"x@{host}.org", f"{word}x@{host}", word[1:], f'"{word}x@{host}.org"', "", "*", "("]
    assert [text for text in misses if found(text)] == []


# Email/query


def test_an_unknown_mailbox_fails_the_whole_query(client: Client) -> None:
    box = client.new_mailbox()
    either = {"operator": "OR", "conditions": [{"inMailbox": box}, {"inMailbox": "nowhere"}]}
    assert client.error("Email/query", filter={"inMailbox": "nowhere"}) == {
        "type": "invalidArguments",
        "arguments": ["filter/inMailbox"],
    }
    assert client.error("Email/query", filter=either) == {
        "type": "invalidArguments",
        "arguments": ["filter/conditions[1]/inMailbox"],
    }


def test_operators_combine_what_their_conditions_find(client: Client) -> None:
    a, b = client.new_mailbox(), client.new_mailbox()
    in_a, in_b, in_both = client.mail_in(a), client.mail_in(b), client.mail_in(a, b)
    conditions = [{"inMailbox": a}, {"inMailbox": b}]

    def combined(operator: str) -> set[str]:
        return set(client.query({"operator": operator, "conditions": conditions}))

    assert combined("OR") == {in_a, in_b, in_both}
    assert combined("AND") == {in_both}
    assert client.query({"operator": "AND", "conditions": []}) == []
    assert client.query({"operator": "OR", "conditions": []}) == []
    not_b = {"operator": "NOT", "conditions": [{"inMailbox": b}]}
    assert client.query({"operator": "AND", "conditions": [{"inMailbox": a}, not_b]}) == [in_a]


def test_after_and_before_look_at_when_a_mail_was_received(client: Client) -> None:
    box = client.new_mailbox()
    mail_id = client.mail_in(box)
    [mail] = client.call("Email/get", ids=[mail_id], properties=["receivedAt"])["list"]
    received = mail["receivedAt"]
    assert client.query({"inMailbox": box, "after": received}) == [mail_id]
    assert client.query({"inMailbox": box, "before": "2999-01-01T00:00:00Z"}) == [mail_id]
    assert client.query({"inMailbox": box, "after": "2999-01-01T00:00:00Z"}) == []
    assert client.query({"inMailbox": box, "before": "2000-01-01T00:00:00Z"}) == []


def test_a_query_is_read_page_by_page(client: Client) -> None:
    box = client.new_mailbox()
    mails = {client.mail_in(box) for _ in range(3)}
    options = {"filter": {"inMailbox": box}, "sort": [{"property": "receivedAt"}]}
    first = client.call("Email/query", limit=2, calculateTotal=True, **options)
    rest = client.call("Email/query", limit=2, position=2, calculateTotal=True, **options)
    beyond = client.call("Email/query", position=7, **options)
    assert (first["total"], first["position"], len(first["ids"])) == (3, 0, 2)
    assert (rest["total"], rest["position"], len(rest["ids"])) == (3, 2, 1)
    assert {*first["ids"], *rest["ids"]} == mails
    assert beyond["ids"] == []
    anchor = first["ids"][1]
    assert client.query(anchor=anchor, filter_=options["filter"], sort=options["sort"]) == [
        anchor,
        *rest["ids"],
    ]
    assert client.error("Email/query", anchor=NO_MAIL, **options)["type"] == "anchorNotFound"


def test_get_keeps_the_order_of_the_ids_and_names_those_not_found(client: Client) -> None:
    one, two = client.mail(), client.mail()
    answer = client.call("Email/get", ids=[two, NO_MAIL, one], properties=["id"])
    assert [mail["id"] for mail in answer["list"]] == [two, one]
    assert answer["notFound"] == [NO_MAIL]


def test_a_sort_that_is_unknown_is_unsupported(client: Client) -> None:
    assert client.error("Email/query", sort=[{"property": "colour"}])["type"] == "unsupportedSort"


# Email/set


def test_a_patch_moves_a_mail_and_moves_the_states(client: Client) -> None:
    a, b = client.new_mailbox(), client.new_mailbox()
    mail_id = client.mail_in(a)
    before = client.state()
    answer = client.relabel(mail_id, {a: None, b: True})
    assert answer["updated"] == {mail_id: None}
    assert client.mailboxes_of(mail_id) == {b}
    assert answer["oldState"] == before
    assert answer["newState"] == client.state() != before
    assert client.call("Mailbox/get", ids=[])["state"] == answer["newState"]


def test_an_empty_set_says_null_for_everything(client: Client) -> None:
    state = client.state()
    assert client.call("Email/set") == {
        "accountId": client.account_id,
        "oldState": state,
        "newState": state,
        "created": None,
        "updated": None,
        "destroyed": None,
        "notCreated": None,
        "notUpdated": None,
        "notDestroyed": None,
    }


def test_a_patch_that_changes_nothing_leaves_the_state(client: Client) -> None:
    a, b = client.new_mailbox(), client.new_mailbox()
    mail_id = client.mail_in(a)
    state = client.state()
    answer = client.relabel(mail_id, {a: True, b: None})
    assert answer["updated"] == {mail_id: None}
    assert answer["newState"] == state == client.state()


@pytest.mark.parametrize("value", [True, None])
def test_a_patch_that_names_an_unknown_mailbox_is_refused(
    client: Client, value: bool | None
) -> None:
    a, b = client.new_mailbox(), client.new_mailbox()
    bad, good = client.mail_in(a), client.mail_in(a)
    answer = client.call(
        "Email/set",
        update={
            bad: {f"mailboxIds/{b}": True, "mailboxIds/nowhere": value},
            good: {f"mailboxIds/{b}": True},
        },
    )
    assert answer["notUpdated"][bad]["type"] == "invalidProperties"
    assert answer["notUpdated"][bad]["properties"] == ["mailboxIds"]
    assert client.mailboxes_of(bad) == {a}
    assert client.mailboxes_of(good) == {a, b}


def test_false_takes_nothing_off(client: Client) -> None:
    box = client.new_mailbox()
    mail_id = client.mail_in(box)
    refused = client.relabel(mail_id, {box: False})["notUpdated"][mail_id]
    assert refused["type"] == "invalidProperties"
    assert client.mailboxes_of(mail_id) == {box}


def test_a_mail_that_has_left_a_mailbox_is_destroyed_with_its_last(client: Client) -> None:
    box = client.new_mailbox()
    mail_id = client.mail_in(box)
    assert client.relabel(mail_id, {box: None})["updated"] == {mail_id: None}
    assert client.is_gone(mail_id)


@pytest.mark.parametrize("adds_one_first", [False, True])
def test_a_mail_that_has_left_none_stays_in_its_last(client: Client, adds_one_first: bool) -> None:
    inbox, box, mail_id = client.inbox(), client.new_mailbox(), client.mail()
    if adds_one_first:
        client.relabel(mail_id, {box: True})
    before = client.mailboxes_of(mail_id)
    refusal = {"type": "invalidProperties", "properties": ["mailboxIds"]}
    off = dict.fromkeys(before, None)
    for answer in (client.relabel(mail_id, off), client.patch(mail_id, mailboxIds={})):
        assert answer["notUpdated"] == {mail_id: refusal}
    assert inbox in client.mailboxes_of(mail_id) == before


def test_a_mail_is_in_no_more_mailboxes_than_the_limit(client: Client) -> None:
    boxes = [client.new_mailbox() for _ in range(21)]
    mail_id = client.mail()
    refused = client.relabel(mail_id, dict.fromkeys(boxes, True))["notUpdated"]
    assert refused == {mail_id: {"type": "tooManyMailboxes"}}


def test_a_mail_that_is_not_there_is_not_updated(client: Client) -> None:
    refused = client.relabel(NO_MAIL, {client.inbox(): True})["notUpdated"]
    assert refused == {NO_MAIL: {"type": "notFound"}}


def test_a_mail_can_be_updated_and_destroyed_in_one_call(client: Client) -> None:
    box, mail_id = client.new_mailbox(), client.mail()
    patch = {f"mailboxIds/{box}": True}
    answer = client.call("Email/set", update={mail_id: patch}, destroy=[mail_id])
    assert mail_id in answer["updated"]
    assert answer["destroyed"] == [mail_id]
    assert client.is_gone(mail_id)


def test_a_set_against_another_state_is_refused(client: Client) -> None:
    assert client.error("Email/set", ifInState="long-ago", update={})["type"] == "stateMismatch"


def test_a_mail_can_be_made_by_its_parts(client: Client) -> None:
    box = client.new_mailbox()
    answer = client.call(
        "Email/set",
        create={
            "new": {
                "mailboxIds": {box: True},
                "from": [{"name": "Bob", "email": "bob@example.org"}],
                "subject": "Made",
                "receivedAt": "2026-01-02T03:04:05Z",
                "textBody": [{"partId": "1", "type": "text/plain"}],
                "bodyValues": {"1": {"value": "Hello"}},
            }
        },
    )
    mail_id = answer["created"]["new"]["id"]
    properties = ["from", "subject", "receivedAt", "mailboxIds"]
    [mail] = client.call("Email/get", ids=[mail_id], properties=properties)["list"]
    assert mail == {
        "id": mail_id,
        "from": [{"name": "Bob", "email": "bob@example.org"}],
        "subject": "Made",
        "receivedAt": "2026-01-02T03:04:05Z",
        "mailboxIds": {box: True},
    }


def test_a_mail_in_no_mailbox_is_not_made(client: Client) -> None:
    refused = client.call("Email/set", create={"new": {"mailboxIds": {}}})["notCreated"]["new"]
    assert refused["type"] == "invalidProperties"


def test_set_get_and_query_of_one_request_agree_on_the_state(client: Client) -> None:
    box = client.new_mailbox()
    mail_id = client.mail()
    (_, changed), (_, emails), (_, boxes), (_, labelled) = client.calls(
        ("Email/set", {"update": {mail_id: {f"mailboxIds/{box}": True}}}),
        ("Email/get", {"ids": []}),
        ("Mailbox/get", {"ids": []}),
        ("Email/query", {"filter": {"inMailbox": box}}),
    )
    assert changed["newState"] == emails["state"] == boxes["state"]
    assert emails["list"] == emails["notFound"] == []
    assert labelled["ids"] == [mail_id]
