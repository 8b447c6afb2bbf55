"""JMAP as values: what is read from a server's JSON, and what is refused."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailroom.errors import LastingTrouble, MailroomError, ProtocolError
from mailroom.wire.jmap import (
    CORE,
    MAIL,
    Address,
    Answers,
    Call,
    Mail,
    Mailbox,
    MethodError,
    Page,
    encode_request,
    read_mailboxes,
    read_mails,
    read_page,
    read_refusals,
    read_state,
)
from mailroom.wire.jmap_session import SessionLimits, blob_url, read_session
from tests.hostile import EVERY, texts
from tests.sandbox import Request, Sandbox

URL = "https://mail.example.org/jmap"
SANDBOX = Sandbox()
HEADERS = {"Authorization": SANDBOX.authorization}
SESSION = SANDBOX.handle(Request("GET", "/jmap", "", HEADERS)).json() | {"state": "s1"}
ACCOUNT = SESSION["accounts"]["alice"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def session_with(**changes: Any) -> bytes:
    return json.dumps(SESSION | changes).encode()


def account_with(**changes: Any) -> bytes:
    return session_with(accounts={"alice": ACCOUNT | changes})


def core_with(**changes: Any) -> bytes:
    capabilities = SESSION["capabilities"]
    return session_with(capabilities=capabilities | {CORE: capabilities[CORE] | changes})


@pytest.mark.parametrize(
    ("url", "extension", "is_cyrus"),
    [
        ("/jmap/", None, True),
        ("https://mail.example.org/jmap/", None, False),
        ("https://mail.example.org/jmap/", "https://cyrusimap.org/ns/jmap/sieve", True),
        ("https://api.example.org/jmap/", "https://www.fastmail.com/dev/maskedemail", True),
        ("https://api.fastmail.com/jmap/api/", None, True),
        ("https://notfastmail.com/jmap/api/", None, False),
    ],
)
def test_cyrus_is_known_by_its_session(url: str, extension: str | None, is_cyrus: bool) -> None:
    extended = {**SESSION["capabilities"], **({extension: {}} if extension else {})}
    assert read_session(session_with(apiUrl=url, capabilities=extended), URL).is_cyrus is is_cyrus


def test_where_files_are_is_filled_in_for_the_account() -> None:
    session = read_session(session_with(), URL)
    place = blob_url("/files/{accountId}/{blobId}?accept={type}", session, blobId="b 1", type="x/y")
    assert place == "https://mail.example.org/files/alice/b%201?accept=x%2Fy"
    with pytest.raises(ProtocolError, match="names no place for files"):
        blob_url(None, session)


def test_a_session_is_read() -> None:
    session = read_session(session_with(), URL)
    assert session.api_url == "https://mail.example.org/jmap/"
    assert session.url == URL
    assert session.event_source_template == SESSION["eventSourceUrl"]
    assert (session.account_id, session.username, session.state) == ("alice", "alice", "s1")
    assert session.limits == SessionLimits(50, 4096, 4096, 10 * 1024 * 1024, 5)
    assert MAIL in session.capabilities


@pytest.mark.parametrize(
    ("body", "limits"),
    [
        (session_with(capabilities={MAIL: {}}), SessionLimits(16, 500, 500, 10_000_000, 4)),
        (core_with(maxCallsInRequest=0), SessionLimits(16, 4096, 4096, 10 * 1024 * 1024, 5)),
        (core_with(maxCallsInRequest=-1), SessionLimits(16, 4096, 4096, 10 * 1024 * 1024, 5)),
        (core_with(maxCallsInRequest="many"), SessionLimits(16, 4096, 4096, 10 * 1024 * 1024, 5)),
        (
            core_with(maxCallsInRequest=float("inf")),
            SessionLimits(16, 4096, 4096, 10 * 1024 * 1024, 5),
        ),
        (core_with(maxCallsInRequest=1), SessionLimits(1, 4096, 4096, 10 * 1024 * 1024, 5)),
        (core_with(maxObjectsInGet=10**18), SessionLimits(50, 4096, 4096, 10 * 1024 * 1024, 5)),
        (
            core_with(maxConcurrentRequests=10**18),
            SessionLimits(50, 4096, 4096, 10 * 1024 * 1024, 16),
        ),
        (core_with(maxObjectsInGet=None), SessionLimits(50, 500, 4096, 10 * 1024 * 1024, 5)),
    ],
)
def test_limits_that_are_not_told_are_those_that_the_rfc_suggests(
    body: bytes, limits: SessionLimits
) -> None:
    assert read_session(body, URL).limits == limits


def test_a_session_may_be_without_state_and_user_name() -> None:
    session = read_session(session_with(state=None, username=None), URL)
    assert (session.state, session.username) == ("", "")


@pytest.mark.parametrize("nothing", ["", None])
def test_a_session_may_be_without_a_place_for_files(nothing: str | None) -> None:
    session = read_session(session_with(uploadUrl=nothing, downloadUrl=nothing), URL)
    assert (session.upload_template, session.download_template) == (None, None)


@pytest.mark.parametrize("missing", [{"eventSourceUrl": None}, {"eventSourceUrl": ""}])
def test_a_session_may_be_without_push(missing: dict[str, Any]) -> None:
    assert read_session(session_with(**missing), URL).event_source_template is None


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (session_with(primaryAccounts={}), "offers no mail"),
        (session_with(primaryAccounts=None), "offers no mail"),
        (account_with(accountCapabilities={}), "offers no mail"),
        (account_with(isReadOnly=True), "read-only"),
        (account_with(accountCapabilities={MAIL: {"maxMailboxesPerEmail": 1}}), "labels"),
    ],
)
def test_an_account_that_cannot_work_is_refused_in_one_line(body: bytes, reason: str) -> None:
    with pytest.raises(LastingTrouble, match=reason) as error:
        read_session(body, URL)
    assert URL in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b"[" * 100_000,
        session_with(apiUrl=None),
        session_with(apiUrl="http://[bad"),
        session_with(eventSourceUrl=7),
        session_with(primaryAccounts={MAIL: "somebody else"}),
        session_with(primaryAccounts={MAIL: ["alice"]}),
        session_with(accounts=None),
    ],
)
def test_a_session_that_is_none_is_an_error_that_names_the_url(body: bytes) -> None:
    with pytest.raises(ProtocolError, match=URL):
        read_session(body, URL)


def paths_of(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    keys = data if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ()
    inner = [found for key in keys for found in paths_of(data[key], (*path, key))]
    return [*([path] if path else []), *inner]


def spoilt(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    data = copy.deepcopy(data)
    target = data
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    return data


def complaint(read: Callable[[], object]) -> str:
    """What Mailroom says of it, or nothing; any other exception is a bug."""
    try:
        read()
    except MailroomError as error:
        return str(error)
    return ""


@given(st.sampled_from(paths_of(SESSION)), JSON)
def test_whatever_stands_in_a_session_is_no_bug(path: tuple[Any, ...], value: Any) -> None:
    body = json.dumps(spoilt(SESSION, path, value)).encode()
    assert complaint(lambda: read_session(body, URL)).isprintable()


CALLS = [Call("Email/query", {}, "a"), Call("Email/get", {}, "b")]
ANSWERS = {
    "methodResponses": [
        ["Email/query", {"ids": ["m1"], "total": 3, "queryState": "q"}, "a"],
        [
            "Email/get",
            {
                "state": "s",
                "list": [
                    {
                        "id": "m1",
                        "from": [{"name": "Bob", "email": "bob@example.org"}],
                        "mailboxIds": {"box": True},
                    }
                ],
                "notUpdated": {"m2": {"type": "forbidden", "description": "no"}},
                "updated": {"m1": None},
            },
            "b",
        ],
    ],
    "sessionState": "s1",
}


def answered(data: Any) -> Answers:
    answers = Answers()
    answers.add(json.dumps(data).encode(), CALLS, URL)
    return answers


@given(st.sampled_from(paths_of(ANSWERS)), JSON)
@example(("methodResponses", 0, 0), EVERY)
@example(("methodResponses", 0), ["error", {"type": EVERY, "description": EVERY}, "a"])
def test_whatever_stands_in_an_answer_is_no_bug(path: tuple[Any, ...], value: Any) -> None:
    def read() -> None:
        answers = answered(spoilt(ANSWERS, path, value))
        read_page(answers["a"])
        read_mails(answers["b"])
        read_state(answers["b"])
        read_refusals(answers["b"], ["m1", "m3"])

    assert complaint(read).isprintable()


BOX = {"id": "2", "name": "B"}


@given(JSON, st.just("1") | texts)
@example(7, EVERY)
def test_whatever_stands_in_a_list_of_mailboxes_is_no_bug(value: Any, id_: str) -> None:
    for name in ("id", "name", "parentId", "role"):
        try:
            found = read_mailboxes({"list": [{"id": id_, "name": "A", name: value}, BOX]})
        except ProtocolError:
            continue
        assert [box.id for box in found.entries][-1] == "2"
        assert len(found.entries) + len(found.unreadable) == 2
        assert all(text.isprintable() for pair in found.unreadable.items() for text in pair)


def test_answers_are_found_by_their_tags_whatever_their_order() -> None:
    answers = answered({"methodResponses": ANSWERS["methodResponses"][::-1]})
    assert read_page(answers["a"]) == Page(("m1",), 3, "q")
    bob = Address("Bob", "bob@example.org")
    assert read_mails(answers["b"]).entries == (Mail("m1", (bob,), frozenset({"box"})),)


BAD_MAILS = [
    {"id": "m1"},
    {"id": "m2", "mailboxIds": None},
    {"id": "m3", "mailboxIds": ["a"]},
    {"id": "m4", "mailboxIds": {"a": True}, "from": "bob@example.org"},
    {"id": "m5", "mailboxIds": {"a": True}, "from": [None]},
    {"id": 6, "mailboxIds": {"a": True}},
    {"mailboxIds": {"a": True}},
    None,
]


@pytest.mark.parametrize("bad", BAD_MAILS)
def test_one_mail_that_cannot_be_read_is_named_and_the_others_are_there(bad: Any) -> None:
    good = {"id": "good", "mailboxIds": {"a": True}, "from": None}
    found = read_mails({"list": [bad, good]})
    assert found.entries == (Mail("good", (), frozenset({"a"})),)
    [(name, reason)] = found.unreadable.items()
    assert name in (f"mail {(bad or {}).get('id')}", "mail without an id")
    assert reason


def test_an_error_of_the_protocol_names_the_url() -> None:
    response = ["Email/query", {"ids": "m"}, "a"]
    with pytest.raises(ProtocolError, match=f"a query's answer from {URL} is not what"):
        read_page(answered({"methodResponses": [response]})["a"])


@pytest.mark.parametrize(("total", "told"), [(3, 3), (None, None), ("3", None), (-1, None),
                                            (1e400, None), ([], None), (2.0, None)])  # fmt: skip
def test_a_total_that_is_no_number_is_none(total: Any, told: int | None) -> None:
    assert read_page({"ids": [], "total": total}).total == told


def test_answers_of_several_requests_are_found_alike() -> None:
    answers = Answers()
    for call, response in zip(CALLS, ANSWERS["methodResponses"], strict=True):
        body = json.dumps({"methodResponses": [response], "sessionState": "s9"}).encode()
        assert answers.add(body, [call], URL) == "s9"
    assert read_page(answers["a"]).ids == ("m1",)
    assert read_state(answers["b"]) == "s"


def test_a_call_that_was_left_without_an_answer_is_named_also_by_its_other_tag() -> None:
    answers = Answers()
    answers.add(b'{"methodResponses": []}', CALLS, URL)
    part = answers.part({"mine": CALLS[0].tag})
    with pytest.raises(ProtocolError, match=f"left {CALLS[0].method} without an answer"):
        part["mine"]


def test_of_several_answers_with_one_tag_the_first_is_the_calls_own() -> None:
    """What a method does besides is answered after it, under the same tag (RFC 8621 §7.5)."""
    first, other = ANSWERS["methodResponses"]
    answers = answered({"methodResponses": [first, ["Mailbox/set", {}, "a"], other]})
    assert read_page(answers["a"]) == Page(("m1",), 3, "q")


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'{"methodResponses":[["a"]]}', b'"\xff"'])
def test_an_answer_that_is_none_is_an_error_that_names_the_url(body: bytes) -> None:
    with pytest.raises(ProtocolError, match=URL):
        Answers().add(body, CALLS, URL)


@pytest.mark.parametrize(
    ("response", "error", "message"),
    [
        (["error", {"type": "serverFail"}, "a"], MethodError, "Email/query failed: serverFail"),
        (
            ["error", {"type": "x", "description": "a\nb" + "c" * 900}, "a"],
            MethodError,
            "Email/query failed: x (a b" + "c" * 196 + "…)",
        ),
        (["error", {}, "a"], MethodError, "Email/query failed: unknown"),
        (
            ["Email/query", {}, "z"],
            ProtocolError,
            f"POST {URL}: the server left Email/query without an answer",
        ),
        (
            ["Email/\n", {}, "a"],
            ProtocolError,
            f"POST {URL}: the server answered Email/query with Email/",
        ),
    ],
)
def test_a_call_that_failed_raises_when_its_answer_is_looked_at(
    response: Any, error: type[MailroomError], message: str
) -> None:
    answers = answered({"methodResponses": [response]})
    with pytest.raises(error) as raised:
        answers["a"]
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        ({"updated": {"m1": None, "m2": {}}}, {}),
        ({"updated": {"m1": None, "m2": None}, "notUpdated": None}, {}),
        ({"updated": {"m1": None}, "notUpdated": {"m2": {"type": "notFound"}}}, {"m2": "notFound"}),
        (
            {"updated": None, "notUpdated": {"m1": {"type": "forbidden"}, "m2": {"type": "x"}}},
            {"m1": "forbidden", "m2": "x"},
        ),
        ({"updated": {"m1": None}}, {"m2": "serverPartialFail"}),
        ({}, {"m1": "serverPartialFail", "m2": "serverPartialFail"}),
    ],
)
def test_mail_counts_as_updated_only_where_the_server_says_so(
    answer: dict[str, Any], refused: dict[str, str]
) -> None:
    found = read_refusals(answer, ["m1", "m2"])
    assert {mail_id: error.type for mail_id, error in found.items()} == refused


@pytest.mark.parametrize(
    ("given_from", "senders"),
    [
        (None, ()),
        ([], ()),
        ([{"name": None, "email": "bob@example.org"}], (Address("", "bob@example.org"),)),
        ([{"name": "Bob", "email": None}, {}], (Address("Bob", ""), Address("", ""))),
    ],
)
def test_from_comes_in_all_forms(given_from: Any, senders: tuple[Address, ...]) -> None:
    mail = {"id": "m", "from": given_from, "mailboxIds": {"a": True, "b": False}}
    assert read_mails({"list": [mail]}).entries == (Mail("m", senders, frozenset({"a"})),)


def test_mailboxes_are_read() -> None:
    boxes = [{"id": "1", "name": "A", "role": "inbox"}, {"id": "2", "name": "B", "parentId": "1"}]
    assert read_mailboxes({"list": boxes}).entries == (
        Mailbox("1", "A", None, "inbox"),
        Mailbox("2", "B", "1", None),
    )


@pytest.mark.parametrize(("total", "read"), [(None, None), (0, 0), (7, 7)])
def test_a_query_may_come_without_total(total: int | None, read: int | None) -> None:
    assert read_page({"ids": [], "total": total, "queryState": None}) == Page((), read, "")


def test_a_request_names_the_account_in_every_call() -> None:
    query = Call("Email/query", {"limit": 1}, "q")
    get = Call("Email/get", {"#ids": query.ref("/ids")}, "g")
    assert json.loads(encode_request([query, get], "alice")) == {
        "using": [CORE, MAIL],
        "methodCalls": [
            ["Email/query", {"accountId": "alice", "limit": 1}, "q"],
            [
                "Email/get",
                {
                    "accountId": "alice",
                    "#ids": {"resultOf": "q", "name": "Email/query", "path": "/ids"},
                },
                "g",
            ],
        ],
    }
