"""The stream's address in every form that servers give it, and their events."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailroom.errors import ProtocolError
from mailroom.wire.jmap_push import changed_states, event_source_url, ping_interval
from mailroom.wire.sse import Event

SESSION = "https://mail.example.org/jmap/session"
FILLED = "types=Email%2CMailbox&closeafter=no&ping=30"


@pytest.mark.parametrize(
    ("rule", "template", "url"),
    [
        (
            "Cyrus: a relative template",
            "/jmap/eventsource/?types={types}&closeafter={closeafter}&ping={ping}",
            f"https://mail.example.org/jmap/eventsource/?{FILLED}",
        ),
        (
            "Fastmail: a plain URL",
            "https://api.example.com/jmap/event/",
            f"https://api.example.com/jmap/event/?{FILLED}",
        ),
        (
            "a plain URL with a query keeps it",
            "https://api.example.com/event?user=a%2Cb",
            f"https://api.example.com/event?user=a%2Cb&{FILLED}",
        ),
        ("an empty query", "/event?", f"https://mail.example.org/event?{FILLED}"),
        ("a fragment is no part of a request", "/e#top", f"https://mail.example.org/e?{FILLED}"),
        ("relative to the session", "events", f"https://mail.example.org/jmap/events?{FILLED}"),
        ("without a scheme", "//push.example.org/e", f"https://push.example.org/e?{FILLED}"),
        (
            "variables in the path",
            "/es/{ping}/{closeafter}/{types}",
            "https://mail.example.org/es/30/no/Email%2CMailbox",
        ),
        (
            "unknown variables are empty",
            "/es?types={types}&x={x}",
            "https://mail.example.org/es?types=Email%2CMailbox&x=",
        ),
    ],
)
def test_url(rule: str, template: str, url: str) -> None:
    assert event_source_url(template, SESSION) == url, rule


def test_values_are_percent_encoded_in_both_forms() -> None:
    odd = ("A&b", "c d/é")
    assert event_source_url("/e?t={types}", SESSION, odd, "state", 5).endswith(
        "/e?t=A%26b%2Cc%20d%2F%C3%A9"
    )
    assert event_source_url("/e", SESSION, odd, "state", 5).endswith(
        "/e?types=A%26b%2Cc+d%2F%C3%A9&closeafter=state&ping=5"
    )


@pytest.mark.parametrize("template", ["https://[::1/", "/es{?types,ping}", "mailto:bob", "/es/{"])
def test_what_gives_no_url_is_refused_by_name(template: str) -> None:
    with pytest.raises(ProtocolError, match="eventSourceUrl"):
        event_source_url(template, SESSION)


def state_event(value: object, kind: str = "state") -> Event:
    return Event(kind, json.dumps(value), "")


STATES = {"Email": "12", "Mailbox": "9"}


@pytest.mark.parametrize(
    ("rule", "event", "states"),
    [
        (
            "RFC 8620, Cyrus",
            state_event({"@type": "StateChange", "changed": {"alice": STATES}}),
            STATES,
        ),
        ("Fastmail", state_event({"changed": {"alice": STATES}, "type": "connect"}), STATES),
        ("unnamed", state_event({"changed": {"alice": {"Email": "1"}}}, "message"), {"Email": "1"}),
        ("another account", state_event({"changed": {"bob": STATES}}), {}),
        (
            "both accounts",
            state_event({"changed": {"bob": {"Email": "x"}, "alice": STATES}}),
            STATES,
        ),
        ("rubbish of another account", state_event({"changed": {"bob": 7}}), {}),
        (
            "types that were not asked for",
            state_event({"changed": {"alice": {"Email": "1", "Thread": "2", "Quota": 3}}}),
            {"Email": "1"},
        ),
        ("nothing changed", state_event({"changed": {"alice": {}}}), {}),
        ("another object", state_event({"@type": "PushVerification"}), {}),
        ("a ping", Event("ping", '{"interval": 30}', ""), {}),
        ("an unknown event is not even read", Event("hello", "}{", ""), {}),
    ],
)
def test_changed_states(rule: str, event: Event, states: dict[str, str]) -> None:
    assert changed_states(event, "alice") == states, rule


@pytest.mark.parametrize(
    "data",
    [
        "",
        "}{",
        "[]",
        "null",
        "{}",
        '{"changed": null}',
        '{"changed": []}',
        '{"changed": {"alice": null}}',
        '{"changed": {"alice": ["Email"]}}',
        '{"changed": {"alice": {"Email": 12}}}',
        '{"changed": {"alice": {"Email": null}}}',
        "[" * 100_000,
        "9" * 5000,
    ],
)
def test_an_unreadable_state_event_is_the_servers_error(data: str) -> None:
    with pytest.raises(ProtocolError, match="pushed"):
        changed_states(Event("state", data, ""), "alice")


WORDS = st.sampled_from(["changed", "alice", "Email", "Mailbox", "@type", "StateChange", "bob"])
JSON = st.recursive(
    st.none() | st.integers() | WORDS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=10,
)
CHANGES = st.fixed_dictionaries(
    {"changed": JSON | st.fixed_dictionaries({"alice": JSON | st.dictionaries(WORDS, JSON)})},
    optional={"@type": st.just("StateChange") | JSON},
)


@given(st.text() | (JSON | CHANGES).map(json.dumps))
@example('{"changed": {"alice": {"Email": "1"}}}')
@example('{"changed": {"alice": ["Email"]}}')
@example('{"changed": ["alice"]}')
@example('{"changed": {"alice": {"Email": null}}}')
@example('{"@type": {}, "changed": null}')
def test_any_event_gives_states_or_a_protocol_error(data: str) -> None:
    try:
        states = changed_states(Event("state", data, ""), "alice")
    except ProtocolError:
        return
    given_states = json.loads(data)["changed"].get("alice", {}) if states else {}
    assert states.items() <= given_states.items()
    assert all(isinstance(state, str) for state in states.values())


@pytest.mark.parametrize(
    ("kind", "data", "seconds"),
    [
        ("ping", '{"interval":30}', 30.0),
        ("ping", '{"interval":0.5}', 0.5),
        ("ping", '{"interval":999}', 999.0),
        ("ping", '{"interval":1000}', 1.0),
        ("ping", '{"interval":30000}', 30.0),
        ("ping", '{"interval":"30"}', None),
        ("ping", '{"interval":true}', None),
        ("ping", '{"interval":0}', None),
        ("ping", '{"interval":-3}', None),
        ("ping", '{"interval":NaN}', None),
        ("ping", '{"interval":1e999}', None),
        ("ping", '{"interval":' + "9" * 4000 + "}", None),
        ("ping", "{}", None),
        ("ping", "30", None),
        ("ping", "}{", None),
        ("state", '{"interval":30}', None),
    ],
)
def test_ping_interval(kind: str, data: str, seconds: float | None) -> None:
    assert ping_interval(Event(kind, data, "")) == seconds
