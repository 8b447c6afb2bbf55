"""What a command asks of the running service, and what it is told where that does not work."""

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailroom.engine.client import NobodyAnswers, NotAllowed
from mailroom.errors import MailroomError, UsageError
from mailroom.rules.triage.subject import SubjectKind
from mailroom.terminal.remote import Decision, Refused, Remote, Whom, is_about
from mailroom.wire.sse import Event
from tests.scripted import HangUp, Scripted
from tests.users import somebody_else

BOB = Whom(SubjectKind.ADDRESS, "bob+x@example.org")
DONE = {"address": "bob@example.org", "category": "Feed", "previous": None, "filed": 3, "by": "a"}


def refuse(code: int, **document: Any) -> tuple[int, Any]:
    return code, {"error": f"no, {code}", **document}


def hang_up(_target: str, _document: Any) -> tuple[int, Any]:
    raise HangUp


@pytest.fixture
def control(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


@pytest.fixture
def remote(control: Path) -> Remote:
    return Remote(control.with_name("status.sock"), control)


@pytest.fixture
def service(control: Path, request: pytest.FixtureRequest) -> Iterator[Scripted]:
    with Scripted(control, request.param) as running:
        yield running


EVERYTHING = {
    f"{request}": (200, {"here": request})
    for request in (
        "GET /categories", "GET /waiting", "GET /mail", "GET /senders", "GET /sender", "GET /plan",
        "POST /triage", "POST /undo",
    )
}  # fmt: skip


@pytest.mark.parametrize("service", [EVERYTHING], indirect=True)
def test_every_request_is_said_as_the_service_understands_it(
    service: Scripted, remote: Remote
) -> None:
    remote.categories()
    remote.waiting()
    remote.waiting(limit=5)
    remote.mail("M&1")
    remote.senders()
    remote.senders("Paper Trail")
    remote.sender("bob+x@example.org")
    remote.plan()
    remote.triage(Decision(BOB, "Feed"))
    remote.triage(Decision(Whom(SubjectKind.LIST, "l.example.org"), None))
    remote.undo(Whom(SubjectKind.DOMAIN, "example.org"))
    assert service.asked == [
        ("GET /categories", None),
        ("GET /waiting", None),
        ("GET /waiting?limit=5", None),
        ("GET /mail?id=M%261", None),
        ("GET /senders", None),
        ("GET /senders?category=Paper+Trail", None),
        ("GET /sender?address=bob%2Bx%40example.org", None),
        ("GET /plan", None),
        ("POST /triage", {"address": "bob+x@example.org", "category": "Feed"}),
        ("POST /triage", {"list": "l.example.org", "category": None}),
        ("POST /undo", {"domain": "example.org"}),
    ]


@pytest.mark.parametrize(
    "service",
    [{"POST /triage": refuse(409, categories=["Feed", "Jail"]),
      "POST /undo": refuse(404, is_unknown=True),
      "GET /waiting": refuse(503), "GET /senders": refuse(403)}],
    indirect=True,
)  # fmt: skip
def test_a_refusal_is_told_in_the_words_of_the_service(service: Scripted, remote: Remote) -> None:
    with pytest.raises(Refused, match=r"^no, 409$") as conflict:
        remote.triage(Decision(BOB, "Feed"))
    assert (conflict.value.status, conflict.value.is_unknown) == (409, False)
    assert conflict.value.document["categories"] == ["Feed", "Jail"]
    with pytest.raises(Refused, match=r"^no, 404$") as unknown:
        remote.undo(BOB)
    assert unknown.value.is_unknown
    with pytest.raises(Refused, match=r"^no, 503$"):
        remote.waiting()
    with pytest.raises(Refused, match=r"^no, 403$"):
        remote.senders()


@pytest.mark.parametrize(
    "service", [{"GET /waiting": (409, {"error": "\x1b[2Jbob\nand carol"})}], indirect=True
)
def test_what_is_refused_does_not_steer_the_terminal(service: Scripted, remote: Remote) -> None:
    with pytest.raises(Refused) as refused:
        remote.waiting()
    assert str(refused.value) == "�[2Jbob and carol"


@pytest.mark.parametrize(
    ("service", "told"),
    [
        ({"GET /waiting": (200, b"<html>")}, "is not a mailroom service: .* --socket"),
        ({"GET /waiting": (200, b"[]")}, "is not a mailroom service: .* --socket"),
        ({"GET /waiting": (502, b"bad gateway")}, "is not a mailroom service: .* --socket"),
        ({"GET /waiting": hang_up}, "ended without an answer"),
    ],
    indirect=["service"],
)
def test_strange_answers_are_told_in_words(service: Scripted, remote: Remote, told: str) -> None:
    with pytest.raises(MailroomError, match=told) as error:
        remote.waiting()
    assert "\n" not in str(error.value)


def test_where_nobody_listens_it_is_asked_whether_the_service_runs(remote: Remote) -> None:
    with pytest.raises(NobodyAnswers, match="is the service running"):
        remote.waiting()
    with pytest.raises(NobodyAnswers, match=r"status\.sock: is the service running"):
        remote.status()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("service", [EVERYTHING], indirect=True)
def test_who_may_not_decide_is_told_who_may(
    service: Scripted, remote: Remote, control: Path, tmp_path: Path
) -> None:
    control.chmod(0o600)
    with somebody_else(tmp_path), pytest.raises(NotAllowed, match="ask as root, or as the user"):
        remote.waiting()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize(
    "service", [{"GET /status": (200, {"status": "ok"}), "POST /poll": (202, {})}], indirect=True
)
def test_who_may_decide_may_look_as_well(
    service: Scripted, remote: Remote, control: Path, tmp_path: Path
) -> None:
    with Scripted(control.with_name("status.sock"), {}):
        control.with_name("status.sock").chmod(0o600)
        control.chmod(0o666)
        with somebody_else(tmp_path):
            assert remote.status() == {"status": "ok"}
            remote.poll()
    assert [request for request, _ in service.asked] == ["GET /status", "POST /poll"]


# Many at once


def one_by_one(_target: str, document: Any) -> tuple[int, Any]:
    if document["address"].startswith("7"):
        return refuse(400)
    return 200, {**document, "previous": None, "filed": 1, "by": "anna"}


@pytest.mark.parametrize("service", [{"POST /triage": one_by_one}], indirect=True)
def test_many_decisions_go_on_few_connections(service: Scripted, remote: Remote) -> None:
    decisions = [Decision(Whom(SubjectKind.ADDRESS, f"{n}@x.example"), "Feed") for n in range(100)]
    answers = dict(remote.triage_all(iter(decisions), at_once=8))
    assert answers.keys() == set(decisions)
    assert service.connections == 8
    refused = {str(each.whom) for each, answer in answers.items() if isinstance(answer, Refused)}
    assert refused == {f"{n}@x.example" for n in range(100) if str(n)[0] == "7"}


@pytest.mark.parametrize("service", [{"POST /triage": one_by_one}], indirect=True)
def test_no_more_is_asked_at_once_than_there_is_room_for(service: Scripted, remote: Remote) -> None:
    taken: list[int] = []

    def decisions() -> Iterator[Decision]:
        for number in range(20):
            taken.append(number)
            yield Decision(Whom(SubjectKind.ADDRESS, f"{number}@x.example"), "Feed")

    for done, _ in enumerate(remote.triage_all(decisions(), at_once=4), 1):
        assert len(taken) <= done + 4


@pytest.mark.parametrize("service", [{"POST /triage": hang_up}], indirect=True)
def test_a_service_that_ends_among_many_is_told_once(service: Scripted, remote: Remote) -> None:
    decisions = [Decision(Whom(SubjectKind.ADDRESS, f"{n}@x.example"), "Feed") for n in range(20)]
    with pytest.raises(MailroomError, match="ended without an answer"):
        list(remote.triage_all(decisions, at_once=4))


def test_a_connection_that_was_closed_while_it_was_kept_is_opened_anew(
    remote: Remote, control: Path
) -> None:
    """The service hangs up on who is idle: every connection that it has answered once."""
    answered: set[threading.Thread] = set()  # one for each connection

    def once_each(_target: str, document: Any) -> tuple[int, Any]:
        if threading.current_thread() in answered:
            raise HangUp
        answered.add(threading.current_thread())
        return one_by_one("", document)

    decisions = [Decision(Whom(SubjectKind.ADDRESS, f"{n}@x.example"), "Feed") for n in range(6)]
    with Scripted(control, {"POST /triage": once_each}) as service:
        answers = dict(remote.triage_all(decisions, at_once=2))
    assert answers.keys() == set(decisions)
    assert service.connections == 6


# One account of many


@pytest.mark.parametrize(
    "service",
    [
        {
            f"{request.replace(' /', ' /accounts/eve%40x.org/')}": (200, {"here": 1})
            for request in EVERYTHING
        }
    ],
    indirect=True,
)
def test_one_account_of_many_has_answers_of_its_own(service: Scripted, control: Path) -> None:
    remote = Remote(control.with_name("status.sock"), control, "eve@x.org")
    remote.categories()
    remote.waiting(limit=5)
    remote.undo(BOB)
    answers: list[Any] = list(remote.triage_all([Decision(BOB, "Feed")]))
    assert [done for _, done in answers] == [{"here": 1}]
    assert [asked for asked, _ in service.asked] == [
        "GET /accounts/eve%40x.org/categories",
        "GET /accounts/eve%40x.org/waiting?limit=5",
        "POST /accounts/eve%40x.org/undo",
        "POST /accounts/eve%40x.org/triage",
    ]


SEVERAL = {"error": "which", "accounts": list("abcdefg"), "account_count": 1000}


@pytest.mark.parametrize("service", [{"GET /waiting": (404, SEVERAL)}], indirect=True)
def test_without_a_name_it_is_said_which_there_are(service: Scripted, remote: Remote) -> None:
    del service
    with pytest.raises(UsageError) as raised:
        remote.waiting()
    assert str(raised.value) == (
        "there are 1000 accounts here: name one with --account: a, b, c, d, e and 995 more: "
        "mailroom status --all shows them"
    )


@pytest.mark.parametrize("service", [{"GET /accounts/eve/waiting": (404, SEVERAL)}], indirect=True)
def test_a_name_that_is_not_there_is_said(service: Scripted, control: Path) -> None:
    del service
    with pytest.raises(UsageError, match="there is no account eve: there are a, b, c"):
        Remote(control, control, "eve").waiting()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_an_owner_asks_at_the_status_socket(tmp_path: Path) -> None:
    """Who may not open the control socket; whoever owns nothing is told there."""
    status, control = tmp_path / "status.sock", tmp_path / "control.sock"
    done = {"POST /accounts/anna/triage": (200, DONE), "GET /accounts/anna/waiting": refuse(403)}
    with Scripted(status, done), Scripted(control, {}):
        status.chmod(0o666)
        control.chmod(0o600)
        with somebody_else(tmp_path):
            remote = Remote(status, control, "anna")
            assert remote.triage(Decision(BOB, "Feed")) == DONE
            with pytest.raises(Refused, match="no, 403"):
                remote.waiting()
            with pytest.raises(NotAllowed, match="ask as root"):
                Remote(status, control).waiting()


def test_of_the_events_those_of_the_account_are_told(tmp_path: Path) -> None:
    told = [
        Event("poll", json.dumps({"account": "anna"}), "1"),
        Event("poll", json.dumps({"account": "otto"}), "2"),
        Event("reload", json.dumps({"problems": []}), "3"),
    ]
    assert [each.id for each in told if is_about(each, "anna")] == ["1", "3"]
    assert [each.id for each in told if is_about(each, None)] == ["1", "2", "3"]
