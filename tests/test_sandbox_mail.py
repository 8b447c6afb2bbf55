"""Mail in the sandbox: headers, threads, changes, keywords, and what queries find by them."""

import time
from typing import Any

import pytest

from tests.sandbox import CYRUS_3_10, FASTMAIL, NO_SEARCH, STALWART, Profile, Sandbox
from tests.test_sandbox_server import make, run

LIST_ID = '"News" <news.example.org>'


def get(sandbox: Sandbox, mail_id: str, *properties: str) -> Any:
    [[_, answer]] = run(sandbox, ("Email/get", {"ids": [mail_id], "properties": properties}))
    return {name: value for name, value in answer["list"][0].items() if name != "id"}


def changes(sandbox: Sandbox, since: str, most: int | None = None) -> Any:
    [[_, answer]] = run(sandbox, ("Email/changes", {"sinceState": since, "maxChanges": most}))
    return answer


def fates(sandbox: Sandbox, since: str) -> tuple[list[str], list[str], list[str]]:
    answer = changes(sandbox, since)
    assert not answer["hasMoreChanges"]
    return answer["created"], answer["updated"], answer["destroyed"]


def state(sandbox: Sandbox) -> str:
    [[_, answer]] = run(sandbox, ("Email/get", {"ids": []}))
    return str(answer["state"])


def query(sandbox: Sandbox, filter_: Any) -> set[str]:
    [[_, answer]] = run(sandbox, ("Email/query", {"filter": filter_}))
    return set(answer["ids"])


def update(sandbox: Sandbox, mail_id: str, patch: dict[str, Any]) -> Any:
    [[_, answer]] = run(sandbox, ("Email/set", {"update": {mail_id: patch}}))
    return answer


# Headers


def test_a_mail_shows_all_its_headers() -> None:
    sandbox, _ = make()
    mail_id = sandbox.deliver(
        "Bob <bob@example.org>",
        to="Alice <alice@home.example>, carol@example.org",
        cc="dave@example.org",
        bcc=[(None, "odd one")],
        headers={"Sender": "list@example.org", "List-Id": LIST_ID},
        message_id="one@example.org",
        in_reply_to="none@example.org",
        references=["a@example.org", "none@example.org"],
        keywords=["$Seen"],
    )
    names = ("to", "cc", "bcc", "sender", "messageId", "inReplyTo", "references", "keywords")
    assert get(sandbox, mail_id, *names) == {
        "to": [
            {"name": "Alice", "email": "alice@home.example"},
            {"name": None, "email": "carol@example.org"},
        ],
        "cc": [{"name": None, "email": "dave@example.org"}],
        "bcc": [{"name": None, "email": "odd one"}],
        "sender": [{"name": None, "email": "list@example.org"}],
        "messageId": ["one@example.org"],
        "inReplyTo": ["none@example.org"],
        "references": ["a@example.org", "none@example.org"],
        "keywords": {"$seen": True},
    }


def test_a_mail_without_them_shows_null() -> None:
    sandbox, _ = make()
    mail_id = sandbox.deliver("Bob <bob@example.org>")
    names = ("to", "cc", "bcc", "sender", "replyTo", "inReplyTo", "references")
    assert get(sandbox, mail_id, *names) == dict.fromkeys(names)


HEADERS: dict[str, object] = {
    "header:List-Id": f" {LIST_ID}",
    "header:list-id:asRaw": f" {LIST_ID}",
    "header:List-Id:asText": LIST_ID,
    "header:List-Id:asText:all": [LIST_ID],
    "header:Return-Path:asRaw": " <>",
    "header:Content-Type": " multipart/report; report-type=delivery-status",
    "header:X-None": None,
    "header:X-None:asText": None,
    "header:X-None:asAddresses": None,
    "header:X-None:asText:all": [],
    "header:From:asAddresses": [{"name": "Bob", "email": "bob@example.org"}],
    "header:Message-ID:asMessageIds": ["one@example.org"],
    "header:Subject:asText": "Report",
}


@pytest.mark.parametrize("name", HEADERS)
def test_any_header_can_be_asked_for_by_its_name(name: str) -> None:
    sandbox, _ = make()
    report = "multipart/report; report-type=delivery-status"
    headers = {"List-Id": LIST_ID, "Return-Path": "<>", "Content-Type": report}
    mail_id = sandbox.deliver(
        "Bob <bob@example.org>", "Report", headers=headers, message_id="one@example.org"
    )
    assert get(sandbox, mail_id, name) == {name: HEADERS[name]}


@pytest.mark.parametrize(
    "name",
    [
        *("header:", "header:X:asTexts", "header:X:asText:some", "header"),
        *("header:Content-Type:asText", "header:From:asText", "header:Subject:asAddresses"),
    ],
)
def test_a_header_in_no_known_form_is_refused(name: str) -> None:
    [[error, answer]] = run(make()[0], ("Email/get", {"ids": [], "properties": [name]}))
    assert (error, answer["type"]) == ("error", "invalidArguments")


# Queries


@pytest.mark.parametrize("header", ["to", "cc", "bcc"])
def test_addresses_are_found_by_words_and_addresses(header: str) -> None:
    sandbox, _ = make()
    named: dict[str, Any] = {header: "Carl Friend <carl@some.example>"}
    found = sandbox.deliver("Bob <bob@example.org>", **named)
    assert query(sandbox, {header: "friend"}) == {found}
    later = sandbox.deliver("Bob <bob@example.org>", **named)  # after the index was made
    assert query(sandbox, {header: "CARL@some.example"}) == {found, later}
    assert query(sandbox, {header: "arl"}) == query(sandbox, {"from": "carl"}) == set()
    sandbox.destroy_mailbox("Screener")
    assert query(sandbox, {header: "friend"}) == set()


def test_a_search_by_to_runs_behind_as_one_by_from_does() -> None:
    sandbox, clock = make(STALWART)
    mail_id = sandbox.deliver("bob@example.org", to="carl@some.example")
    assert query(sandbox, {"to": "carl@some.example"}) == set()
    clock.now += 1
    assert query(sandbox, {"to": "carl@some.example"}) == {mail_id}
    no_search, _ = make(NO_SEARCH)
    [[name, error]] = run(no_search, ("Email/query", {"filter": {"to": "carl"}}))
    assert (name, error["type"]) == ("error", "serverFail")


def test_keywords_are_found_with_or_without_regard_to_mailboxes() -> None:
    sandbox, _ = make()
    waits = sandbox.deliver("bob@example.org", keywords=["mailroom-waiting"])
    moved = sandbox.deliver("bob@example.org", keywords=["mailroom-waiting"])
    other = sandbox.deliver("bob@example.org")
    sandbox.move(moved, "Feed")
    waiting = {"hasKeyword": "mailroom-waiting"}
    not_screener = {"inMailbox": sandbox.mailbox_id("Screener")}
    assert query(sandbox, waiting) == {waits, moved}
    assert query(sandbox, {"notKeyword": "mailroom-waiting"}) == {other}
    outside = {"operator": "NOT", "conditions": [not_screener]}
    assert query(sandbox, {"operator": "AND", "conditions": [waiting, outside]}) == {moved}
    sandbox.set_keywords(moved, remove=["mailroom-waiting"])
    assert query(sandbox, waiting) == {waits}


def test_mail_of_a_list_is_found_by_its_header() -> None:
    sandbox, _ = make()
    mail_id = sandbox.deliver("bob@example.org", headers={"List-Id": LIST_ID})
    sandbox.deliver("bob@example.org")
    assert query(sandbox, {"header": ["list-id"]}) == {mail_id}
    assert query(sandbox, {"header": ["List-Id", "news.example.org"]}) == {mail_id}
    assert query(sandbox, {"header": ["List-Id", "other"]}) == set()


# Threads

#: Subject of an answer to "Plan B" → whether it is in the same thread.
SUBJECTS = {
    "Re: Plan B": True,
    "AW: Plan B": True,
    "Fwd: Plan B": True,
    "WG: Re: Plan  B": True,
    "Re[2]: [list] Plan B": True,
    "Plan C": False,
    "Re: Plan C": False,
}


@pytest.mark.parametrize("subject", SUBJECTS)
def test_an_answer_joins_the_thread_unless_its_subject_is_another(subject: str) -> None:
    sandbox, _ = make()
    first = sandbox.deliver("bob@example.org", "Plan B", message_id="b@example.org")
    answer = sandbox.deliver("carl@example.org", subject, in_reply_to="b@example.org")
    is_joined = get(sandbox, answer, "threadId") == get(sandbox, first, "threadId")
    assert is_joined is SUBJECTS[subject]


def test_the_same_subject_alone_makes_no_thread() -> None:
    sandbox, _ = make()
    first, second = (sandbox.deliver("bob@example.org", "Plan B") for _ in range(2))
    assert get(sandbox, first, "threadId") != get(sandbox, second, "threadId")


def test_the_answer_to_ones_own_mail_is_in_its_thread() -> None:
    sandbox, clock = make()
    sent = sandbox.send("Carl <carl@some.example>", "Plan B", cc="dave@example.org")
    clock.now += 10
    answer = sandbox.deliver(
        "x@other.example", "Re: Plan B", in_reply_to=sandbox.mail(sent).message_id
    )
    clock.now += 10
    back = sandbox.send("x@other.example", "Re: Plan B", in_reply_to=answer)
    [thread_id] = {get(sandbox, each, "threadId")["threadId"] for each in (sent, answer, back)}
    [[_, threads]] = run(sandbox, ("Thread/get", {"ids": [thread_id, "T0"]}))
    assert threads["list"] == [{"id": thread_id, "emailIds": [sent, answer, back]}]
    assert threads["notFound"] == ["T0"]
    assert sandbox.mailboxes_of(sent) == {"Sent"}
    assert sandbox.keywords_of(sent) == {"$seen"}
    assert sandbox.keywords_of(answer) == {"$answered"}
    assert query(sandbox, {"to": "carl@some.example"}) == {sent}


# Changes


def test_every_change_shows_as_what_it_is() -> None:
    sandbox, _ = make()
    feed = sandbox.mailbox_id("Feed")
    old = sandbox.deliver("bob@example.org")
    since = state(sandbox)
    assert fates(sandbox, since) == ([], [], [])
    new = sandbox.deliver("bob@example.org")
    sandbox.label(old, "Feed")
    assert fates(sandbox, since) == ([new], [old], [])
    since_new = state(sandbox)
    update(sandbox, new, {"keywords/$seen": True, f"mailboxIds/{feed}": True})
    assert fates(sandbox, since_new) == ([], [new], [])
    assert fates(sandbox, since) == ([new], [old], [])  # moved since, created once
    sandbox.move(old, "Archive")
    run(sandbox, ("Email/set", {"destroy": [new]}))
    assert fates(sandbox, since) == ([], [old], [])  # came and went
    assert fates(sandbox, since_new) == ([], [old], [new])


def test_changes_come_in_pages_of_which_none_is_missed() -> None:
    sandbox, _ = make()
    since = state(sandbox)
    mails = [sandbox.deliver("bob@example.org") for _ in range(5)]
    seen: list[str] = []
    while (page := changes(sandbox, since, 2))["hasMoreChanges"]:
        assert len(page["created"]) == 2
        seen += page["created"]
        since = page["newState"]
    assert seen + page["created"] == mails
    assert page["newState"] == state(sandbox)


@pytest.mark.parametrize("wrong", ["garbage", "", "-1"])
def test_changes_since_a_state_that_is_none_cannot_be_told(wrong: str) -> None:
    sandbox, _ = make()
    assert changes(sandbox, wrong)["type"] == "cannotCalculateChanges"
    assert changes(sandbox, state(sandbox), 0)["type"] == "invalidArguments"


def test_since_a_state_to_come_nothing_has_changed() -> None:
    sandbox, _ = make()
    answer = changes(sandbox, "999999")
    assert (answer["newState"], answer["hasMoreChanges"]) == (state(sandbox), False)
    assert answer["created"] == answer["updated"] == answer["destroyed"] == []


def test_changes_that_are_forgotten_cannot_be_told() -> None:
    sandbox, _ = make()
    since = state(sandbox)
    sandbox.forget_changes()
    assert changes(sandbox, since)["type"] == "cannotCalculateChanges"
    since = state(sandbox)
    mail_id = sandbox.deliver("bob@example.org")
    assert fates(sandbox, since) == ([mail_id], [], [])


def test_a_restored_server_is_behind_and_goes_another_way() -> None:
    sandbox, _ = make()
    kept = sandbox.deliver("bob@example.org", to="carl@some.example", keywords=["mine"])
    backup = sandbox.backup()
    sandbox.move(kept, "Feed")
    sandbox.set_keywords(kept, remove=["mine"])
    lost = sandbox.deliver("bob@example.org")
    ahead = state(sandbox)
    sandbox.restore(backup)
    assert int(state(sandbox)) < int(ahead)
    assert query(sandbox, None) == {kept}
    assert query(sandbox, {"hasKeyword": "mine"}) == query(sandbox, {"to": "carl"}) == {kept}
    assert sandbox.mailboxes_of(kept) == {"Screener"}
    assert fates(sandbox, ahead) == ([], [], [])
    assert sandbox.deliver("bob@example.org") not in (kept, lost)
    sandbox.restore(backup)
    assert query(sandbox, None) == {kept}


def test_a_change_slips_in_between_two_calls_of_one_request() -> None:
    sandbox, _ = make()
    arrived: list[str] = []

    def slip_in(name: str, _: object) -> None:
        if name == "Email/changes" and not arrived:
            arrived.append(sandbox.deliver("bob@example.org"))

    sandbox.before_call(slip_in)
    since = state(sandbox)
    (_, read), (_, changed) = run(
        sandbox, ("Email/get", {"ids": []}), ("Email/changes", {"sinceState": since})
    )
    assert changed["created"] == arrived
    assert changed["newState"] != read["state"] == since


def test_changes_cost_what_has_changed_and_not_what_there_is() -> None:
    sandbox, _ = make()
    for _ in range(2000):
        sandbox.deliver("bob@example.org")
    since = state(sandbox)
    sandbox.deliver("bob@example.org")
    began = time.process_time()
    for _ in range(200):
        changes(sandbox, since)
    few = time.process_time() - began
    for _ in range(20_000):
        sandbox.deliver("bob@example.org")
    since = state(sandbox)
    sandbox.deliver("bob@example.org")
    began = time.process_time()
    for _ in range(200):
        changes(sandbox, since)
    assert time.process_time() - began < 3 * few + 0.05


# Keywords


@pytest.mark.parametrize(
    ("profile", "is_change"), [(CYRUS_3_10, True), (FASTMAIL, True), (STALWART, False)]
)
def test_a_keyword_that_is_there_already_is_a_change_on_cyrus(
    profile: Profile, is_change: bool
) -> None:
    sandbox, _ = make(profile)
    mail_id = sandbox.deliver("bob@example.org", keywords=["$seen"])
    feed, since = sandbox.subscribe("Email"), state(sandbox)
    feed.take()
    update(sandbox, mail_id, {"keywords/$seen": True})
    assert (state(sandbox) != since) is is_change
    assert fates(sandbox, since)[1] == [mail_id] * is_change
    assert bool(feed.take()) is is_change


def test_a_mailbox_that_is_full_of_keywords_leaves_a_patch_half_done() -> None:
    sandbox, _ = make()
    mail_id = sandbox.deliver("bob@example.org")
    full = sandbox.deliver("bob@example.org", mailbox="Feed")
    sandbox.set_keywords(full, add=[f"k{number}" for number in range(100)])
    feed, screener = sandbox.mailbox_id("Feed"), sandbox.mailbox_id("Screener")
    move = {f"mailboxIds/{feed}": True, f"mailboxIds/{screener}": None, "keywords/another": True}
    refused = {"type": "serverFail", "description": "Too many user flags in mailbox"}
    for _ in range(2):
        assert update(sandbox, mail_id, move)["notUpdated"] == {mail_id: refused}
        assert sandbox.mailboxes_of(mail_id) == {"Screener", "Feed"}
        assert sandbox.keywords_of(mail_id) == set()
    sandbox.set_keywords(full, remove=["k7"])  # which makes no room
    known = {"keywords/k7": True, "keywords/$seen": True}
    assert update(sandbox, mail_id, known)["updated"] == {mail_id: None}
    assert sandbox.keywords_of(mail_id) == {"k7", "$seen"}


def test_a_keyword_is_one_word_and_its_case_does_not_count() -> None:
    sandbox, _ = make()
    mail_id = sandbox.deliver("bob@example.org")
    update(sandbox, mail_id, {"keywords/FooBar": True})
    assert sandbox.keywords_of(mail_id) == {"foobar"}
    assert query(sandbox, {"hasKeyword": "FOOBAR"}) == {mail_id}
    refused = update(sandbox, mail_id, {"keywords/a b": True})["notUpdated"][mail_id]
    assert refused == {"type": "invalidProperties", "properties": ["keywords/a b"]}


# What mail programs do


def test_a_mail_that_is_dragged_in_steps_is_never_in_no_mailbox() -> None:
    sandbox, _ = make()
    mail_id = sandbox.deliver("bob@example.org", keywords=["mailroom-waiting"])
    seen = []
    for step in sandbox.drag(mail_id, "Screener", "Feed"):
        since = state(sandbox)
        seen.append((step, sorted(sandbox.mailboxes_of(mail_id))))
        assert fates(sandbox, str(int(since) - 1)) == ([], [mail_id], [])
    assert seen == [("copied", ["Feed", "Screener"]), ("deleted", ["Feed"]), ("expunged", ["Feed"])]
    assert sandbox.keywords_of(mail_id) == {"mailroom-waiting"}


def test_a_mail_that_is_marked_deleted_in_its_only_mailbox_is_gone() -> None:
    sandbox, _ = make()
    mail_id = sandbox.deliver("bob@example.org")
    since = state(sandbox)
    sandbox.mark_deleted(mail_id, "Screener")
    assert fates(sandbox, since) == ([], [], [mail_id])
    since = state(sandbox)
    sandbox.expunge("Screener")
    assert fates(sandbox, since) == ([], [], [mail_id])
    since = state(sandbox)
    sandbox.expunge("Screener")
    assert fates(sandbox, since) == ([], [], [])


def test_a_mail_that_is_moved_by_appending_is_another_one_without_keywords() -> None:
    sandbox, clock = make()
    old = sandbox.deliver(
        "bob@example.org", to="carl@some.example", keywords=["mailroom-waiting", "$flagged"]
    )
    before = get(sandbox, old, "receivedAt", "threadId", "to", "messageId")
    since = state(sandbox)
    clock.now += 100
    new = sandbox.drag_by_append(old, "Screener", "Feed")
    assert fates(sandbox, since) == ([new], [], [old])
    assert sandbox.mailboxes_of(new) == {"Feed"}
    assert sandbox.keywords_of(new) == {"$seen"}
    assert get(sandbox, new, "receivedAt", "threadId", "to", "messageId") == before


def test_a_draft_is_another_mail_each_time_it_is_saved() -> None:
    sandbox, _ = make()
    first = sandbox.save_draft("carl@some.example", "Plan")
    since = state(sandbox)
    second = sandbox.save_draft("carl@some.example", "Plan B", replaces=first)
    assert fates(sandbox, since) == ([second], [], [first])
    assert sandbox.mails_in("Drafts") == {second}
    assert sandbox.keywords_of(second) == {"$draft", "$seen"}


def test_spam_goes_to_junk_with_the_keyword_that_says_so() -> None:
    sandbox, _ = make()
    mail_id = sandbox.deliver("bob@example.org")
    sandbox.mark_junk(mail_id)
    assert sandbox.mailboxes_of(mail_id) == {"Junk"}
    assert sandbox.keywords_of(mail_id) == {"$junk"}
