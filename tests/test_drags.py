"""Moving is tapping: what becomes of a move that a patch of ours has undone."""

import pytest

from mailroom.rules.triage.drags import PLACED, WAITING, recovered
from mailroom.wire.jmap import Mail
from tests.test_triage import PLACES, mail

BEFORE = mail("Screener")
TO_FEED = {"mailboxIds/Screener": None, "mailboxIds/Feed": True}


def seen(where: str, *keywords: str) -> Mail:
    return Mail("m", BEFORE.senders, frozenset(where.split(", ")), frozenset(keywords))


@pytest.mark.parametrize(
    ("where", "patch"),
    [
        # a destination asks for its category
        (
            "Feed, Jail",
            {"mailboxIds/Jail": True, "mailboxIds/Feed": None, f"keywords/{WAITING}": True},
        ),
        ("Feed, Inbox", {"mailboxIds/Inbox": True, "mailboxIds/Feed": None,
                         f"keywords/{PLACED}": True}),
        # a place elsewhere says nothing
        ("Feed, Holidays", {"mailboxIds/Holidays": True, "mailboxIds/Feed": None}),
        # somebody has taken it out of ours since
        ("Jail", {"mailboxIds/Jail": True, f"keywords/{WAITING}": True}),
        # nobody has moved it
        ("Feed", {}),
    ],
)  # fmt: skip
def test_a_move_that_came_between_is_made_again(where: str, patch: dict[str, bool | None]) -> None:
    assert recovered(BEFORE, TO_FEED, seen(where), PLACES) == patch


@pytest.mark.parametrize(
    "label", ["@ToJail", "@ToScreener", "@WholeDomain", "@WholeList", "@MailroomError",
              "@MailroomWarning"],
)  # fmt: skip
def test_a_label_that_came_between_is_no_move(label: str) -> None:
    assert recovered(BEFORE, TO_FEED, seen(f"Feed, {label}"), PLACES) == {}


def test_its_keywords_are_those_of_a_move_made_a_moment_later() -> None:
    after = seen("Feed, Inbox", WAITING)
    assert recovered(BEFORE, TO_FEED, after, PLACES) == {
        "mailboxIds/Inbox": True,
        "mailboxIds/Feed": None,
        f"keywords/{PLACED}": True,
        f"keywords/{WAITING}": None,
    }
