"""New mail as servers tell of it."""

from typing import Any

import pytest

from mailroom.errors import ProtocolError
from mailroom.wire.arrivals import Arrival, changes_calls, read_arrivals, read_changes
from mailroom.wire.jmap import Address, Mail, MethodError

ENTRY: dict[str, Any] = {
    "id": "m",
    "from": [{"name": "Bob", "email": "bob@example.org"}],
    "mailboxIds": {"s": True},
    "keywords": {"$Seen": True},
    "receivedAt": "2026-11-26T12:00:00Z",
    "threadId": "t",
    "to": [{"name": None, "email": "alice@home.example"}],
    "cc": None,
    "bcc": [{"email": "carol@example.net"}],
    "header:List-Id": " The News\r\n <news.example.org>",
    "header:X-Spam-Flag": " YES",
}


class Told(dict[str, Any]):
    """Answers by tag, of which some are errors."""

    def __getitem__(self, tag: str) -> Any:
        answer = super().__getitem__(tag)
        if isinstance(answer, MethodError):
            raise answer
        return answer


def test_an_arrival_is_read_with_all_that_decides_about_it() -> None:
    [arrival] = read_arrivals({"list": [ENTRY]}).entries
    mail = Mail("m", (Address("Bob", "bob@example.org"),), frozenset({"s"}), frozenset({"$seen"}))
    assert arrival == Arrival(
        mail,
        received_at=1_795_694_400.0,
        thread_id="t",
        list_id="The News\r\n <news.example.org>",
        recipients=("alice@home.example", "carol@example.net"),
        marks=(("list-id", "The News\r\n <news.example.org>"), ("x-spam-flag", "YES")),
    )


@pytest.mark.parametrize(
    ("content_type", "path", "is_bounce"),
    [
        (" multipart/report; report-type=delivery-status", " <>", True),
        (" Multipart/Report", None, True),  # a server that keeps no path
        (" multipart/report", " <bob@example.org>", False),
        (" text/plain", " <>", False),
        (None, None, False),
    ],
)
def test_a_report_without_a_return_path_is_a_bounce(
    content_type: str | None, path: str | None, is_bounce: bool
) -> None:
    headers = {"header:Content-Type": content_type, "header:Return-Path": path}
    [arrival] = read_arrivals({"list": [{**ENTRY, **headers}]}).entries
    assert arrival.is_bounce is is_bounce


@pytest.mark.parametrize("spoiled", [{"receivedAt": "soon"}, {"mailboxIds": None}, {"to": "bob"}])
def test_one_mail_that_makes_no_sense_keeps_nobody_from_the_others(spoiled: object) -> None:
    assert isinstance(spoiled, dict)
    told = read_arrivals({"list": [{**ENTRY, **spoiled, "id": "bad"}, ENTRY]})
    assert [each.id for each in told.entries] == ["m"]
    assert list(told.unreadable) == ["mail bad"]


def test_changes_are_told_page_by_page() -> None:
    told = {"newState": "9", "hasMoreChanges": True, "updated": ["u"], "destroyed": ["d"]}
    changes, unreadable = read_changes(Told(changes=told, created={"list": [ENTRY]}))
    assert changes is not None
    assert (changes.new_state, changes.has_more, changes.is_empty) == ("9", True, False)
    assert ([each.id for each in changes.arrivals], changes.updated) == (["m"], frozenset({"u"}))
    assert unreadable == {}


@pytest.mark.parametrize("error", ["cannotCalculateChanges", "invalidArguments", "serverFail"])
def test_a_server_that_cannot_tell_says_nothing_of_changes(error: str) -> None:
    failed = MethodError("Email/changes", error, "")
    assert read_changes(Told(changes=failed, created=failed)) == (None, {})


def test_changes_that_make_no_sense_are_an_error() -> None:
    with pytest.raises(ProtocolError, match="a list of changes"):
        read_changes(Told(changes={"newState": "9"}, created={"list": []}))


@pytest.mark.parametrize(
    ("limit", "own", "most"),
    [(4096, 0, 500), (300, 0, 300), (4096, 900, 1400), (500, 9_999, 10_499)],
)
def test_no_more_new_mail_is_asked_for_than_a_get_may_have(limit: int, own: int, most: int) -> None:
    changes, get = changes_calls("5", limit, own, ["X-Spam-Flag"])
    assert changes.arguments == {"sinceState": "5", "maxChanges": most}
    assert get.arguments["#ids"] == changes.ref("/created")
    assert "header:X-Spam-Flag" in get.arguments["properties"]
