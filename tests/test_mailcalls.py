"""The calls about mail."""

import pytest

from mailroom.wire.jmap import Mail, PatchObject
from mailroom.wire.mailcalls import is_elsewhere, update_calls

FILED: PatchObject = {"mailboxIds/feed": True, "mailboxIds/screener": None}


@pytest.mark.parametrize(
    ("mailboxes", "elsewhere"),
    [({"feed"}, False), ({"feed", "screener"}, False), ({"feed", "jail"}, True), ({"jail"}, True)],
)
def test_a_mail_is_elsewhere_where_no_patch_has_put_it(
    mailboxes: set[str], elsewhere: bool
) -> None:
    assert is_elsewhere(Mail("m", (), frozenset(mailboxes)), FILED) == elsewhere


def test_only_what_is_watched_is_read_again_and_only_where_it_is() -> None:
    update, get = update_calls({"m": FILED, "n": FILED}, {"n"})
    assert update.arguments == {"update": {"m": FILED, "n": FILED}}
    assert get.arguments == {"ids": ["n"], "properties": ("id", "mailboxIds", "keywords")}
    assert len(update_calls({"m": FILED}, ())) == 1
