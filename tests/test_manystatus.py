"""What ``mailroom status`` prints of many accounts."""

import re
from typing import Any

import pytest

from mailroom.terminal.manystatus import show_accounts


def member(name: str, reason: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "account": name,
        "status": "unhealthy" if reason else "ok",
        "reason": reason,
        "phase": "idle",
        "push": "connected",
        "waiting_senders": 0,
        "last_poll_at": "2026-11-01T12:00:00.000Z",
        **more,
    }


def document(*members: dict[str, Any], **more: Any) -> dict[str, Any]:
    ill = sum(each["status"] != "ok" for each in members)
    return {
        "status": "ok",
        "reason": None,
        "accounts": {"ok": len(members) - ill, "unhealthy": ill},
        "poll_count": 7,
        "eventsource": {"connected": len(members), "accounts": len(members)},
        "version": "1.2.3",
        "pid": 4711,
        "started_at": "2026-11-01T12:00:00.000Z",
        "uptime_seconds": 60.0,
        "refused_reload": None,
        "members": list(members),
        **more,
    }


def shown(
    capsys: pytest.CaptureFixture[str], told: dict[str, Any], *, shows_all: bool = False
) -> list[str]:
    """The lines, clock faces as T."""
    show_accounts(told, shows_all=shows_all)
    return re.sub(r"([-\d]{10} )?\d\d:\d\d:\d\d", "T", capsys.readouterr().out).splitlines()


def test_a_few_accounts_are_a_table_with_the_worst_first(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = shown(
        capsys,
        document(
            member("anna", waiting_senders=3),
            member("ben", push="connecting"),
            member("otto", "no secret", push=None, waiting_senders=None, last_poll_at=None),
            member("zoe", "otto.yaml:1: \x1b[31mjmap", status="ok"),
        ),
    )
    assert lines == [
        "mailroom  1.2.3, pid 4711, up 1 min 0 s",
        "accounts  4: 3 ok, 1 unhealthy",
        "push      4 connected",
        "waiting   3 senders in 1 account",
        "",
        "account  health     push        waiting  last poll",
        "otto     unhealthy  -           -        -                    no secret",
        "zoe      ok         connected   0        T  otto.yaml:1: �[31mjmap",
        "ben      ok         connecting  0        T",
        "anna     ok         connected   3        T",
    ]


def test_of_a_thousand_those_with_trouble_are_shown_and_the_others_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    members = [member(f"a{i:03}") for i in range(1000)]
    members[500] = member("sick", "the server refuses")
    members[501] = member("late", push="backing_off")
    told = document(*members)
    lines = shown(capsys, told)
    assert [line.split()[0] for line in lines[5:]] == ["account", "sick", "and"]
    assert lines[-1] == (
        "and 1 ok, push backing_off; 998 ok, push connected (--all shows them, --account NAME one)"
    )
    assert len(shown(capsys, told, shows_all=True)) == 6 + 1000


def test_a_server_that_is_away_fills_no_more_than_a_screen(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = shown(capsys, document(*(member(f"a{i:03}", "away") for i in range(1000))))
    assert len(lines) == 6 + 40 + 1
    assert lines[-1].startswith("and 960 with trouble")


def test_what_all_accounts_have_in_common_is_told_above(
    capsys: pytest.CaptureFixture[str],
) -> None:
    refused = {"at": "2026-11-01T12:00:00.000Z", "problems": ["one", "two"]}
    reason = "no account is well; anna: away"
    told = document(
        member("anna", "away"), status="unhealthy", reason=reason, refused_reload=refused
    )
    assert not show_accounts(told)
    text = re.sub(r"([-\d]{10} )?\d\d:\d\d:\d\d", "T", capsys.readouterr().out)
    assert f"health    unhealthy: {reason}\n" in text
    assert "refused   the reload of T: one\n          two\n" in text
