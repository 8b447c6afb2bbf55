"""What a process with many accounts says of them all, in the shapes that it promises."""

import random
from dataclasses import replace
from typing import Any

import jsonschema
import pytest

from mailroom.rules.polling.push import PushStatus
from mailroom.rules.screening.waiting import Summary
from mailroom.rules.status.fleethealth import (
    Fleet,
    Member,
    Sum,
    accounts,
    healthz,
    status,
    status_line,
)
from mailroom.rules.status.health import PushView, RefusedReload, Snapshot, Vitals
from tests.schemas import is_valid, schema, validate
from tests.test_health import BUSY, NOON, REFUSED, never_polled, snapshot

ILL = snapshot(trouble=REFUSED, last_error=REFUSED)
DOWN = snapshot(push=PushView(PushStatus.DISCONNECTED, error="no byte for 75 s"))
NEVER = Member("otto", None, ("otto.yaml:1: jmap.url: must be text",))


def fleet(*members: Member, refused: RefusedReload | None = None) -> Fleet:
    return Fleet("1.2.3", 4711, NOON, 61.0, members, refused)


def member(name: str, found: Snapshot, *problems: str) -> Member:
    vitals = Vitals(
        phase=found.phase,
        push=found.push.status,
        poll_interval=found.poll_interval,
        uptime_seconds=found.uptime_seconds,
        poll_count=found.totals.poll_count,
        last_poll=found.last_poll,
        last_poll_age_seconds=found.last_poll_age_seconds,
        trouble=found.trouble,
        waiting=found.waiting,
    )
    return Member(name, vitals, problems)


def well(name: str, found: Snapshot = BUSY) -> Member:
    return member(name, found)


FLEETS = {
    "one that never ran": fleet(well("anna"), NEVER),
    "starting": fleet(well("anna", never_polled(0.4))),
    "none is well": fleet(member("anna", ILL), NEVER),
    "nobody waits": fleet(well("anna", snapshot(waiting=Summary())), well("zoe", DOWN)),
    "refused": fleet(well("anna"), refused=RefusedReload(NOON, ("mailroom.yaml:1: no",))),
    "none": fleet(),
}


@pytest.mark.parametrize("name", FLEETS)
def test_every_answer_has_the_shape_of_its_schema(name: str) -> None:
    validate("fleet-healthz", healthz(Sum(FLEETS[name].members))[1])
    validate("fleet-status", status(FLEETS[name]))
    validate("accounts", accounts(FLEETS[name].members))


@pytest.mark.parametrize("kind", ["fleet-healthz", "fleet-status", "accounts"])
def test_the_schemas_are_schemas_and_closed(kind: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema(kind))
    sums: dict[str, Any] = {
        "fleet-healthz": healthz(Sum(FLEETS["starting"].members))[1],
        "fleet-status": status(FLEETS["starting"]),
        "accounts": accounts(FLEETS["starting"].members),
    }
    assert is_valid(kind, sums[kind])
    assert not is_valid(kind, {**sums[kind], "surprise": 1})


def test_the_process_is_well_while_any_account_is() -> None:
    code, document = healthz(Sum((well("anna"), member("zoe", ILL), NEVER)))
    assert (code, document["status"], document["reason"]) == (200, "ok", None)
    assert document["accounts"] == {"ok": 1, "unhealthy": 2}
    code, document = healthz(Sum((member("zoe", ILL), NEVER)))
    assert (code, document["status"]) == (503, "unhealthy")
    assert str(document["reason"]).startswith("no account is well; zoe: ")


def test_a_file_that_is_refused_while_the_former_is_in_effect_is_no_ill_health() -> None:
    document: dict[str, Any] = status(fleet(member("anna", BUSY, "anna.yaml:1: no")))
    [row] = document["members"]
    assert (row["status"], row["reason"]) == ("ok", "anna.yaml:1: no")


def test_the_status_line_sums_up_trouble_first_and_fits() -> None:
    line = status_line(Sum((well("anna"), member("zoe", ILL))), None)
    assert line.startswith("1 account not well (zoe: ")
    assert line.endswith("; 2 accounts, 2 with push; 2 senders waiting")
    assert len(status_line(Sum(member(f"{i}", ILL) for i in range(1000)), None)) <= 240
    refused = RefusedReload(NOON, ("mailroom.yaml:1: no",))
    assert status_line(Sum([well("anna")]), refused).startswith(
        "reload refused: mailroom.yaml:1: no"
    )


def test_a_sum_that_is_kept_is_the_one_that_is_made_anew() -> None:
    chance = random.Random(1)
    states = [BUSY, ILL, DOWN, snapshot(waiting=Summary()), never_polled(0.4)]
    kept, members = Sum(), dict[str, Member]()
    for _ in range(500):
        name = chance.choice("abcdef")
        if chance.random() < 0.3:
            members.pop(name, None)
            kept.drop(name)
        else:
            problems = ["x.yaml:1: no"] if chance.random() < 0.3 else []
            members[name] = chance.choice([NEVER, member(name, chance.choice(states), *problems)])
            members[name] = replace(members[name], name=name)
            kept.put(members[name])
        made = Sum(members.values())
        assert len(kept) == len(members)
        assert kept.reasons == made.reasons
        assert healthz(kept)[1]["accounts"] == healthz(made)[1]["accounts"]
        assert kept.waiting_senders == made.waiting_senders
        assert (kept.polls, kept.connected, kept.running) == (
            made.polls, made.connected, made.running,
        )  # fmt: skip
