"""What the sandbox's switches do, and where it is stricter than Cyrus."""

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.sandbox import CYRUS_3_10, PROFILES, SMALL_LIMITS, Limits, Request, Sandbox
from tests.test_sandbox_server import CORE, MAIL, api, make, run

BOB = "Bob <bob@example.org>"


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_serves_the_label_query(name: str) -> None:
    sandbox, _ = make(PROFILES[name])
    mail_id = sandbox.deliver(BOB)
    sandbox.label(mail_id, "@ToFeed")
    reference = {"resultOf": "0", "name": "Email/query", "path": "/ids"}
    label = sandbox.mailbox_id("@ToFeed")
    _, [_, got] = run(
        sandbox,
        ("Email/query", {"filter": {"inMailbox": label}}),
        ("Email/get", {"#ids": reference, "properties": ["mailboxIds"]}),
    )
    boxes = {sandbox.mailbox_id("Screener"): True, label: True}
    assert got["list"] == [{"id": mail_id, "mailboxIds": boxes}]


def test_an_account_must_be_named() -> None:
    sandbox, _ = make()
    content = {"using": [CORE, MAIL], "methodCalls": [["Email/get", {"ids": []}, "0"]]}
    request = replace(api(sandbox), body=json.dumps(content).encode())
    [[name, error, _]] = sandbox.handle(request).json()["methodResponses"]
    assert (name, error) == ("error", {"type": "invalidArguments", "arguments": ["accountId"]})


@pytest.mark.parametrize(
    ("call", "type_"),
    [
        (("Email/query", {"filter": {"body": "words"}}), "unsupportedFilter"),
        (("Email/query", {"sort": [{"property": "size"}]}), "unsupportedSort"),
        (("Email/query", {"sort": [{"colour": "red"}]}), "invalidArguments"),
        (("Email/get", {"ids": ["a"], "#ids": {}}), "invalidArguments"),
        (("Email/get", {"#ids": {"resultOf": "0"}}), "invalidResultReference"),
    ],
)
def test_what_is_not_offered_is_an_error(call: tuple[str, dict[str, Any]], type_: str) -> None:
    [[name, error]] = run(make()[0], call)
    assert (name, error["type"]) == ("error", type_)


@pytest.mark.parametrize(
    "patch",
    [
        {"mailboxIds/a": True, "mailboxIds": {"a": True}},
        {"mailboxIds/a/b": True},
    ],
)
def test_a_patch_that_contradicts_itself_is_invalid(patch: dict[str, Any]) -> None:
    sandbox, _ = make()
    mail_id = sandbox.deliver(BOB)
    box = sandbox.mailbox_id("Feed")
    named = json.loads(json.dumps(patch).replace('"a"', f'"{box}"').replace("/a", f"/{box}"))
    [[_, answer]] = run(sandbox, ("Email/set", {"update": {mail_id: named}}))
    assert answer["notUpdated"][mail_id]["type"] == "invalidPatch"
    assert sandbox.mailboxes_of(mail_id) == {"Screener"}


def test_nothing_but_mailboxes_and_keywords_of_a_mail_can_change() -> None:
    sandbox, _ = make()
    mail_id = sandbox.deliver(BOB)
    patch = {"subject": "x", "keywords/$seen": True}
    [[_, answer]] = run(sandbox, ("Email/set", {"update": {mail_id: patch}}))
    refusal = {"type": "invalidProperties", "properties": ["subject"]}
    assert answer["notUpdated"] == {mail_id: refusal}


def test_a_mail_has_no_more_mailboxes_than_the_limit() -> None:
    sandbox, _ = make(replace(CYRUS_3_10, limits=Limits(max_mailboxes_per_email=2)))
    mail_id = sandbox.deliver(BOB)
    patch = {f"mailboxIds/{sandbox.mailbox_id(name)}": True for name in ("Feed", "Imbox")}
    [[_, answer]] = run(sandbox, ("Email/set", {"update": {mail_id: patch}}))
    assert answer["notUpdated"][mail_id]["type"] == "tooManyMailboxes"


@pytest.mark.parametrize(
    ("calls", "limit"),
    [
        ([("Email/get", {"ids": []})] * 5, "maxCallsInRequest"),
        ([("Email/get", {"ids": [f"M{n}" for n in range(21)]})], "maxObjectsInGet"),
        ([("Email/set", {"destroy": [f"M{n}" for n in range(11)]})], "maxObjectsInSet"),
        ([("Core/echo", {"x": "x" * 20_000})], "maxSizeRequest"),
    ],
)
def test_small_limits_are_kept(calls: list[tuple[str, dict[str, Any]]], limit: str) -> None:
    sandbox, _ = make(SMALL_LIMITS)
    response = sandbox.handle(api(sandbox, *calls))
    assert response.status == (413 if limit == "maxSizeRequest" else 400)
    assert response.json()["limit"] == limit


def test_a_limit_may_count_for_ids_that_come_by_reference() -> None:
    sandbox, _ = make(SMALL_LIMITS)
    for _ in range(21):
        sandbox.deliver(BOB)
    reference = {"resultOf": "0", "name": "Email/query", "path": "/ids"}
    get = ("Email/get", {"#ids": reference, "properties": ["id"]})
    assert run(sandbox, ("Email/query", {"limit": 20}), get)[1][0] == "Email/get"
    assert run(sandbox, ("Email/query", {}), get)[1] == ["error", {"type": "requestTooLarge"}]


def test_no_more_requests_are_under_way_than_the_limit() -> None:
    sandbox, clock = make(SMALL_LIMITS)
    sandbox.controls.delay_seconds = 1.0
    request = api(sandbox, ("Email/get", {"ids": []}))
    assert [sandbox.handle(request).status for _ in range(5)] == [200, 200, 200, 200, 400]
    clock.now += 1.0
    assert sandbox.handle(request).status == 200


def found(sandbox: Sandbox) -> Any:
    """The ids, the oldest mail first; or the error."""
    by_date = {"sort": [{"property": "receivedAt"}], "filter": {"from": "bob@example.org"}}
    [[_, answer]] = run(sandbox, ("Email/query", by_date))
    return answer.get("ids", answer.get("type"))


def test_the_search_may_run_behind() -> None:
    sandbox, clock = make(replace(CYRUS_3_10, search_lag_seconds=2.0))
    old = sandbox.deliver(BOB, received_at=clock.now - 2.0)
    new = sandbox.deliver(BOB)
    assert found(sandbox) == [old]
    clock.now += 2.0
    assert found(sandbox) == [old, new]


def test_the_search_may_be_missing() -> None:
    sandbox, _ = make(replace(CYRUS_3_10, has_search=False))
    assert found(sandbox) == "serverFail"


@pytest.mark.parametrize(
    ("way", "moved_before", "survives"),
    [
        ("refused", True, True),
        ("destroys", False, False),
        ("by past", False, True),
        ("by past", True, False),
    ],
)
def test_a_mail_without_mailbox_is_what_the_server_makes_of_it(
    way: Any, moved_before: bool, survives: bool
) -> None:
    sandbox, _ = make(replace(CYRUS_3_10, patch_to_no_mailbox=way))
    mail_id = sandbox.deliver(BOB, mailbox="Inbox" if moved_before else "Feed")
    sandbox.move(mail_id, "Feed")
    patch = {f"mailboxIds/{sandbox.mailbox_id('Feed')}": None}
    [[_, answer]] = run(sandbox, ("Email/set", {"update": {mail_id: patch}}))
    assert (mail_id in (answer["notUpdated"] or {})) is survives
    assert (mail_id in sandbox.mails_in("Feed")) is survives


def test_bearer_tokens_are_for_jmap_and_passwords_for_carddav() -> None:
    sandbox, _ = make(replace(CYRUS_3_10, jmap_authentication="Bearer"))

    def status(path: str, authorization: str) -> int:
        headers = {"Authorization": authorization, "Depth": "0"}
        return sandbox.handle(Request("GET", path, "", headers)).status

    basic = sandbox.dav_authorization
    href = next(iter(sandbox.cards()))
    assert sandbox.authorization == "Bearer alice-token"
    assert (status("/jmap/", sandbox.authorization), status("/jmap/", basic)) == (200, 401)
    assert (status(href, basic), status(href, sandbox.authorization)) == (200, 401)


def test_versions_of_cards_may_be_left_alone() -> None:
    sandbox, _ = make(replace(CYRUS_3_10, card_conversion=None))
    text = "BEGIN:VCARD\r\nVERSION:4.0\r\nUID:u\r\nFN:x\r\nEND:VCARD\r\n"
    href = sandbox.put_card(text)
    headers = {"Authorization": sandbox.dav_authorization}
    assert sandbox.handle(Request("GET", href, "", headers)).body.decode() == text


def test_ten_thousand_mails_are_found_moved_and_counted() -> None:
    sandbox, _ = make()
    for number in range(10_000):
        sandbox.deliver(f"Bob <bob{number % 2}@example.org>")
    [[_, answer]] = run(sandbox, ("Email/query", {"filter": {"from": "bob1@example.org"}}))
    ids = answer["ids"]
    assert len(ids) == 5_000
    patch = {
        f"mailboxIds/{sandbox.mailbox_id('Feed')}": True,
        f"mailboxIds/{sandbox.mailbox_id('Screener')}": None,
    }
    run(sandbox, ("Email/set", {"update": dict.fromkeys(ids[:4096], patch)}))
    assert len(sandbox.mails_in("Feed")) == 4096
    assert len(sandbox.mails_in("Screener")) == 10_000 - 4096
