"""Mail by whom it went to, out of whatever a server answers."""

from typing import Any

import pytest

from mailroom.wire.letters import Letter, read_letters

BOB = {"name": "Bob", "email": "bob@example.org"}
EVE = {"name": None, "email": "eve@example.org"}


def entry(**properties: Any) -> dict[str, Any]:
    return {"id": "M1", "threadId": "T1", "to": None, "cc": None, "bcc": None, **properties}


@pytest.mark.parametrize(
    ("properties", "recipients"),
    [
        ({}, ()),
        ({"to": [BOB, EVE]}, ("bob@example.org", "eve@example.org")),
        (
            {"to": [BOB], "cc": [EVE], "bcc": [BOB]},
            (*("bob@example.org", "eve@example.org"), BOB["email"]),
        ),
        ({"to": [{"name": "Friends", "email": None}, BOB]}, ("bob@example.org",)),
        ({"to": []}, ()),
    ],
)
def test_whoever_a_letter_went_to_is_in_one_of_three_headers(
    properties: dict[str, Any], recipients: tuple[str, ...]
) -> None:
    [letter] = read_letters({"list": [entry(**properties)]})
    assert letter == Letter("M1", "T1", recipients, frozenset())


def test_of_a_threads_mail_only_its_places_are_asked() -> None:
    mail = {"id": "M1", "threadId": "T1", "mailboxIds": {"sent": True, "archive": False}}
    assert read_letters({"list": [mail]}) == (Letter("M1", "T1", (), frozenset(["sent"])),)


@pytest.mark.parametrize(
    "broken",
    [
        entry(to="bob@example.org"),
        entry(cc=[["bob@example.org"]]),
        entry(bcc=[{"email": 7}]),
        {"id": "M1"},
        entry(mailboxIds=["sent"]),
        "M1",
    ],
)
def test_an_entry_that_makes_no_sense_keeps_nobody_from_the_others(broken: Any) -> None:
    found = read_letters({"list": [broken, entry(id="M2", to=[BOB])]})
    assert [letter.id for letter in found] == ["M2"]
