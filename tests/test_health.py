"""The answers of the status socket, the metrics and the STATUS line, made from a snapshot."""

import json
import math
import re
from collections import Counter
from typing import Any

import jsonschema
import pytest
from hypothesis import example, given

from mailroom.rules.polling.push import PushStatus
from mailroom.rules.screening.standing import Who
from mailroom.rules.screening.waiting import Summary
from mailroom.rules.status.health import (
    RECENT_LIMIT,
    ConflictView,
    FailingSender,
    NextPoll,
    Phase,
    PollView,
    PushView,
    RefusedReload,
    Snapshot,
    Totals,
    TriageView,
    Trouble,
    Vitals,
    healthz,
    is_healthy,
    status,
    timestamp,
    unchanged_seconds,
    unhealthy_reason,
)
from mailroom.rules.status.metrics import metrics
from mailroom.rules.status.statusline import status_line
from tests.hostile import EVERY, texts
from tests.schemas import schema

NOON = 1_795_262_400.0  # 2026-11-21T12:00:00Z

REFUSED = Trouble(NOON, "credentials", "credentials refused: put a new token", is_lasting=True)
OFFLINE = Trouble(NOON, "network", "mail.example.org refused the connection", is_lasting=False)
CONNECTED = PushView(PushStatus.CONNECTED, NOON, NOON + 60, 2, "https://mail.example.org/es")


def snapshot(**changes: Any) -> Snapshot:
    """An idle service, five minutes old, that polled 3.2 s ago because of a push."""
    usual: dict[str, Any] = {
        "version": "0.1.0",
        "pid": 4711,
        "account": "alice@example.org",
        "phase": Phase.IDLE,
        "started_at": NOON,
        "uptime_seconds": 300.0,
        "poll_interval": 60.0,
        "push": CONNECTED,
        "totals": Totals(polls=Counter(startup=1, push=1)),
        "last_poll": PollView(NOON + 296.8, "push"),
        "last_poll_age_seconds": 3.2,
        "last_active_poll": PollView(NOON + 296.8, "push"),
        "next_poll": NextPoll(NOON + 356.8, 56.8, "scheduled"),
    }
    return Snapshot(**{**usual, **changes})


def never_polled(uptime_seconds: float, **changes: Any) -> Snapshot:
    return snapshot(
        uptime_seconds=uptime_seconds,
        last_poll=None,
        last_poll_age_seconds=None,
        last_active_poll=None,
        totals=Totals(),
        **changes,
    )


BUSY = snapshot(
    phase=Phase.POLLING,
    next_poll=None,
    trouble=OFFLINE,
    last_error=REFUSED,
    totals=Totals(
        polls=Counter(push=3, fallback=1, reconnect=1, manual=1, scheduled=2, startup=1),
        polls_failed=2,
        triaged=Counter({"Feed": 2, "Paper Trail": 1}),
        arrivals=Counter({Who.CONTACT: 12, Who.UNKNOWN: 5}),
        mails_filed=21,
        conflicts=1,
        errors=Counter(network=2),
        requests=40,
        bytes_received=123_456_789_012,
        bytes_sent=999,
    ),
    recent=tuple(
        TriageView(number, NOON + number, f"s{number}@example.org", "Feed", None, 7, "push")
        for number in range(1, 31)
    ),
    failing=(
        FailingSender("bob@example.org", "the card is vCard 2.1", 3, NOON + 240),
        FailingSender("eve@example.org", "412 five times", 1, None),
    ),
    conflicts=(ConflictView("dan@example.org", ("Feed", "Jail"), NOON + 120),),
    refused_reload=RefusedReload(NOON + 60, ("mailroom.yaml:3: jmap.usrname: no such key", "more")),
    waiting=Summary(senders=2, mails=7, oldest=NOON - 86_400),
)

SNAPSHOTS = {
    "idle": snapshot(),
    "starting": never_polled(0.4, phase=Phase.STARTING, push=PushView(PushStatus.CONNECTING)),
    "busy": BUSY,
    "credentials refused": snapshot(trouble=REFUSED, last_error=REFUSED),
    "no push": snapshot(push=PushView(PushStatus.UNAVAILABLE, url="https://mail.example.org/es")),
    "push down": snapshot(push=PushView(PushStatus.DISCONNECTED, error="no byte for 75 s")),
    "stopping": snapshot(phase=Phase.STOPPING, next_poll=None),
    "nobody waits": snapshot(waiting=Summary()),
    "backing off": snapshot(phase=Phase.BACKING_OFF, last_poll_age_seconds=130, trouble=OFFLINE),
}


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_every_answer_has_the_shape_of_its_schema(name: str) -> None:
    for kind, document in (
        ("healthz", healthz(SNAPSHOTS[name])[1]),
        ("status", status(SNAPSHOTS[name])),
    ):
        answer = json.loads(json.dumps(document, allow_nan=False))
        jsonschema.Draft202012Validator(schema(kind)).validate(answer)


@pytest.mark.parametrize("kind", ["healthz", "status"])
def test_the_schemas_are_schemas_and_closed(kind: str) -> None:
    document = schema(kind)
    jsonschema.Draft202012Validator.check_schema(document)
    answer = status(BUSY) if kind == "status" else healthz(BUSY)[1]
    with pytest.raises(jsonschema.ValidationError, match="'surprise' was unexpected"):
        jsonschema.Draft202012Validator(document).validate({**answer, "surprise": 1})


def test_status_says_all_that_healthz_says_in_the_same_shape() -> None:
    assert status(BUSY).items() >= healthz(BUSY)[1].items()
    assert schema("status")["properties"].items() >= schema("healthz")["properties"].items()
    assert schema("status")["$defs"] == schema("healthz")["$defs"]


def test_the_schema_knows_all_that_can_decide_about_new_mail() -> None:
    arrivals = schema("status")["properties"]["totals"]["properties"]["arrivals"]
    assert arrivals["propertyNames"]["enum"] == list(Who)


@pytest.mark.parametrize(
    ("waiting", "told"),
    [
        (None, None),
        (Summary(), {"senders": 0, "mails": 0, "oldest": None}),
        (Summary(1, 3, NOON), {"senders": 1, "mails": 3, "oldest": "2026-11-21T12:00:00.000Z"}),
    ],
)
def test_status_tells_who_waits_and_since_when(
    waiting: Summary | None, told: dict[str, Any] | None
) -> None:
    assert status(snapshot(waiting=waiting))["waiting"] == told


def test_healthz_of_an_idle_service() -> None:
    assert healthz(snapshot()) == (
        200,
        {
            "status": "ok",
            "reason": None,
            "last_poll_age_seconds": 3.2,
            "last_poll_at": "2026-11-21T12:04:56.800Z",
            "last_poll_trigger": "push",
            "poll_count": 2,
            "eventsource": {
                "connected": True,
                "status": "connected",
                "connected_since": "2026-11-21T12:00:00.000Z",
                "last_event": "2026-11-21T12:01:00.000Z",
                "reconnect_count": 2,
                "url": "https://mail.example.org/es",
                "error": None,
            },
        },
    )


def test_the_query_of_the_stream_is_never_shown() -> None:
    push = PushView(PushStatus.CONNECTED, url="https://mail.example.org/es?access_token=secret")
    assert "secret" not in json.dumps(status(snapshot(push=push)))


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (snapshot(last_poll_age_seconds=120), None),
        (snapshot(last_poll_age_seconds=120.1), "no successful poll for more than 120 s"),
        (never_polled(120), None),
        (never_polled(121), "no successful poll since the start for more than 120 s"),
        (
            snapshot(last_poll_age_seconds=121, trouble=OFFLINE),
            "no successful poll for more than 120 s: mail.example.org refused the connection",
        ),
        (snapshot(trouble=OFFLINE), None),
        (snapshot(trouble=REFUSED), "credentials refused: put a new token"),
        (snapshot(push=PushView(PushStatus.DISCONNECTED)), None),
        (snapshot(push=PushView(PushStatus.UNAVAILABLE)), None),
    ],
)
def test_unhealthy_is_a_lasting_trouble_or_two_missed_intervals(
    state: Snapshot, reason: str | None
) -> None:
    assert unhealthy_reason(state) == reason
    assert is_healthy(state) == (reason is None)
    assert healthz(state)[0] == (200 if reason is None else 503)
    assert healthz(state)[1]["reason"] == reason


def test_status_tells_the_newest_triages_only() -> None:
    triages: Any = status(BUSY)["recent_triages"]
    assert [triage["number"] for triage in triages] == list(range(11, 31))
    assert len(triages) == RECENT_LIMIT


@pytest.mark.parametrize(
    ("at", "text"),
    [(0.0, "1970-01-01T00:00:00.000Z"), (NOON + 0.25, "2026-11-21T12:00:00.250Z")],
)
def test_instants_are_written_in_utc_to_the_millisecond(at: float, text: str) -> None:
    assert timestamp(at) == text


HELP = re.compile(r"# HELP (\w+) \S.*\.")
TYPE = re.compile(r"# TYPE (\w+) (counter|gauge)")
SAMPLE = re.compile(
    r'(\w+)(\{\w+="(?:[^"\\\n]|\\[\\"n])*"(?:,\w+="(?:[^"\\\n]|\\[\\"n])*")*\})? (\S+)'
)


def samples(text: str, account: str = "alice@example.org") -> dict[str, float]:
    """Parse the text format strictly: HELP, TYPE, then that metric's samples, all of one account,
    which is left out of what comes back."""
    found: dict[str, float] = {}
    lines = text.removesuffix("\n").split("\n")
    name = kind = ""
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if help_line := HELP.fullmatch(line):
            name = help_line[1]
            assert following.startswith(f"# TYPE {name} ")
        elif type_line := TYPE.fullmatch(line):
            kind = type_line[2]
            assert type_line[1] == name
            assert (kind == "counter") == name.endswith("_total")
        else:
            sample = SAMPLE.fullmatch(line)
            assert sample is not None, line
            assert sample[1] == name
            labels = sample[2].removeprefix(f'{{account="{account}"')
            assert labels != sample[2]
            key = name if labels == "}" else f"{name}{{{labels.removeprefix(',')}"
            assert key not in found
            found[key] = float(sample[3])
    return found


def test_metrics_tell_the_same_numbers() -> None:
    found = samples(metrics(BUSY))
    assert found['mailroom_polls_total{trigger="push"}'] == 3
    assert found['mailroom_senders_triaged_total{category="Paper Trail"}'] == 1
    assert found['mailroom_errors_total{kind="network"}'] == 2
    assert found["mailroom_http_received_bytes_total"] == 123_456_789_012
    assert found["mailroom_senders_failing"] == 2
    assert found['mailroom_arrivals_total{outcome="contact"}'] == 12
    assert found["mailroom_waiting_senders"] == 2
    assert found["mailroom_waiting_mails"] == 7
    assert found["mailroom_waiting_oldest_timestamp_seconds"] == NOON - 86_400
    assert found["mailroom_healthy"] == 1
    assert found["mailroom_last_poll_timestamp_seconds"] == pytest.approx(NOON + 296.8)
    assert samples(metrics(snapshot(trouble=REFUSED)))["mailroom_healthy"] == 0
    assert found["mailroom_senders_conflicting"] == len(BUSY.conflicts)


def test_metrics_tell_since_when_push_is_down_while_it_is() -> None:
    name = "mailroom_push_down_since_timestamp_seconds"
    down = PushView(PushStatus.DISCONNECTED, error="refused", down_since=NOON)
    assert samples(metrics(snapshot(push=down)))[name] == NOON
    assert name not in samples(metrics(snapshot()))


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_metrics_are_well_formed_in_every_state(name: str) -> None:
    assert samples(metrics(SNAPSHOTS[name]))["mailroom_start_time_seconds"] == NOON


def test_a_metric_without_a_value_yet_has_no_sample() -> None:
    found = samples(metrics(never_polled(1)))
    assert "mailroom_last_poll_timestamp_seconds" not in found
    assert not [name for name in found if name.startswith("mailroom_waiting")]


def test_of_an_empty_screener_only_the_age_is_left_out() -> None:
    found = samples(metrics(snapshot(waiting=Summary())))
    waiting = {name: value for name, value in found.items() if name.startswith("mailroom_waiting")}
    assert waiting == {"mailroom_waiting_senders": 0, "mailroom_waiting_mails": 0}


@given(texts)
@example(EVERY)
def test_label_values_come_through_whatever_they_contain(category: str) -> None:
    text = metrics(snapshot(totals=Totals(triaged=Counter({category: 1}))))
    escaped = category.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    assert samples(text)[f'mailroom_senders_triaged_total{{category="{escaped}"}}'] == 1


@pytest.mark.parametrize(
    ("state", "line"),
    [
        (
            snapshot(totals=Totals(triaged=Counter(Feed=3))),
            "push connected; last poll 12:04:56 (push); 3 senders triaged since start;"
            " also polls every 60 s",
        ),
        (SNAPSHOTS["starting"], "push connecting; no sender triaged since start"),
        (
            never_polled(0, phase=Phase.STARTING, push=PushView(PushStatus.DISCONNECTED)),
            "push connecting; no sender triaged since start",
        ),
        (
            never_polled(1, push=PushView(PushStatus.CONNECTING)),
            "push connecting; no sender triaged since start",
        ),
        (
            never_polled(1, push=PushView(PushStatus.CONNECTING, reconnect_count=1)),
            "push down, polling every 60 s; no sender triaged since start",
        ),
        (
            SNAPSHOTS["no push"],
            "no push here, polling every 60 s; last poll 12:04:56 (push);"
            " no sender triaged since start",
        ),
        (
            SNAPSHOTS["backing off"],
            "polls fail, trying again: mail.example.org refused the connection; push connected;"
            " last poll 12:04:56 (push); no sender triaged since start; also polls every 60 s",
        ),
        (
            never_polled(1, trouble=REFUSED, push=PushView(PushStatus.DISCONNECTED)),
            "credentials refused: put a new token; push down, polling every 60 s;"
            " no sender triaged since start",
        ),
        (
            never_polled(1, failing=BUSY.failing[:1]),
            "1 sender failing, see mailroom status; push connected;"
            " no sender triaged since start; also polls every 60 s",
        ),
        (
            never_polled(1, conflicts=BUSY.conflicts),
            "1 conflict, see mailroom status; push connected;"
            " no sender triaged since start; also polls every 60 s",
        ),
        (
            never_polled(1, refused_reload=BUSY.refused_reload),
            "reload refused, the old configuration is in effect: mailroom.yaml:3: jmap.usrname: no"
            " such key; push connected; no sender triaged since start; also polls every 60 s",
        ),
        (
            never_polled(9, phase=Phase.STOPPING),
            "stopping; push connected; no sender triaged since start; also polls every 60 s",
        ),
    ],
)
def test_the_status_line_is_what_a_person_wants_to_read(state: Snapshot, line: str) -> None:
    assert status_line(state) == line


def test_the_status_line_tells_the_time_of_the_readers_own_clock() -> None:
    assert "last poll 13h (push)" in status_line(snapshot(), lambda _at: "13h")


def test_an_idle_hour_leaves_the_status_line_as_it_was() -> None:
    def after(minutes: int) -> str:
        """As it was, but for ``minutes`` of idle scheduled polls."""
        last = PollView(NOON + 300 + 60 * minutes, "scheduled")
        return status_line(
            snapshot(
                uptime_seconds=300.0 + 60 * minutes,
                totals=Totals(polls=Counter(push=1, scheduled=minutes), requests=minutes),
                last_poll=last,
                last_poll_age_seconds=minutes % 7,
                next_poll=NextPoll(last.at + 60, 60, "scheduled"),
                phase=Phase.POLLING if minutes % 2 else Phase.IDLE,
            )
        )

    assert {after(minutes) for minutes in range(60)} == {status_line(snapshot())}


@pytest.mark.parametrize(
    ("reason", "written"),
    [
        ("mailboxes missing: Büro, Ærø", "mailboxes missing: Buro, \\xc6r\\xf8"),
        ("a\nREADY=1", "a\\nREADY=1"),
        ("no “Feed” — run setup…", 'no "Feed" - run setup...'),
        ("3–5 of ‘Feed’", "3-5 of 'Feed'"),
        ("\u202egro.elpmaxe", "\\u202egro.elpmaxe"),
        ("📬", "\\U0001f4ec"),
        ("/home/a~/x y\x7f", "/home/a~/x y\\x7f"),
    ],
)
def test_the_status_line_is_ascii_of_one_line(reason: str, written: str) -> None:
    trouble = Trouble(NOON, "mailboxes", reason, is_lasting=True)
    assert status_line(snapshot(trouble=trouble)).startswith(f"{written}; push connected")


@given(texts, texts)
@example(EVERY, EVERY)
def test_the_status_line_is_printable_and_bounded(reason: str, trigger: str) -> None:
    line = status_line(
        snapshot(
            trouble=Trouble(NOON, "x", reason, is_lasting=False),
            last_active_poll=PollView(NOON, trigger),
        )
    )
    assert re.fullmatch(r"[ -~]{1,240}", line)


def test_a_long_reason_leaves_room_for_the_rest() -> None:
    trouble = Trouble(NOON, "mailboxes", "missing: " + "@ToFütter, 📬" * 100, is_lasting=True)
    assert "...; push connected; last poll" in status_line(snapshot(trouble=trouble))


@pytest.mark.parametrize("age", [10.0, None])
def test_health_stays_for_as_long_as_is_told(age: float | None) -> None:
    def later(seconds: float) -> Vitals:
        return Vitals(
            phase=Phase.IDLE,
            push=PushStatus.CONNECTED,
            poll_interval=60.0,
            uptime_seconds=30.0 + seconds,
            poll_count=1,
            last_poll_age_seconds=None if age is None else age + seconds,
        )

    left = unchanged_seconds(later(0.0))
    assert unhealthy_reason(later(left)) is None
    assert unhealthy_reason(later(left + 0.1)) is not None
    assert unchanged_seconds(later(left + 0.1)) == math.inf
