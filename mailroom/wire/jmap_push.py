"""JMAP push over an event stream: the address to ask, and what its events mean.

RFC 8620, 7.1 (StateChange) and 7.3 (event source). A state event that cannot be read raises:
the connection ends, and the poll that follows every reconnection sees what was missed.
"""

import json
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit, urlunsplit

from mailroom.errors import ProtocolError
from mailroom.wire.sse import Event
from mailroom.wire.urls import expand, is_template

# The types whose changes can mean that a label was put on a mail.
TYPES = ("Email", "Mailbox")
# One more if contacts go by JMAP: groups may have changed.
CONTACTS_TYPE = "ContactCard"
PING_SECONDS = 30  # Stalwart pings no more often (by its source)

# RFC 8620 says "state"; a server that does not name its events is understood as well.
_STATE_EVENTS = ("state", "message")
# Stalwart announces its ping interval in milliseconds; no server pings every quarter of an hour.
_LEAST_MILLISECONDS = 1000
# A day. A longer interval is a mistake, and may be too large for a float.
_MOST_MILLISECONDS = 86_400_000


@lru_cache(maxsize=64)  # called for each connection, with the same few sessions
def event_source_url(
    template: str,
    session_url: str,
    types: tuple[str, ...] = TYPES,
    closeafter: str = "no",
    ping: int = PING_SECONDS,
) -> str:
    """The absolute URL of the event stream.

    ``template`` is the session's ``eventSourceUrl``: a URI template of level 1 (RFC 6570), in
    which unknown variables are empty, or (Fastmail) a plain URL to which the three values are added
    as query parameters. A relative one is resolved against ``session_url``, from which the session
    was finally read. ``ping`` is in seconds.

    Raises ProtocolError if the result is no URL.
    """
    values = {"types": ",".join(types), "closeafter": closeafter, "ping": str(ping)}
    expanded = expand(template, values)
    try:
        parts = urlsplit(urljoin(session_url, expanded))
    except ValueError as error:
        raise _unusable(template) from error
    if not parts.netloc or "{" in expanded:
        raise _unusable(template)
    query = parts.query
    if not is_template(template):
        query = "&".join(filter(None, [query, urlencode(values)]))
    return urlunsplit(parts._replace(query=query, fragment=""))


def changed_states(event: Event, account_id: str) -> dict[str, str]:
    """The account's new states in ``event``, by type; only ``TYPES`` and contacts.

    Empty for pings, other accounts and objects that are no StateChange. Both forms are
    read: with ``@type`` (RFC 8620) and with ``type: connect|change`` (Fastmail).

    Raises ProtocolError if a state event cannot be read.
    """
    if event.type not in _STATE_EVENTS:
        return {}
    value = _object(event)
    if value.get("@type", "StateChange") != "StateChange":
        return {}
    changed = value.get("changed")
    if not isinstance(changed, dict):
        raise ProtocolError("the server pushed a state event without an object named changed")
    states = changed.get(account_id, {})
    if not isinstance(states, dict):
        raise ProtocolError("the server pushed a state event whose states are not an object")
    wanted = {kind: states[kind] for kind in (*TYPES, CONTACTS_TYPE) if kind in states}
    if not all(isinstance(state, str) for state in wanted.values()):
        raise ProtocolError("the server pushed a state that is not a string")
    return wanted


def ping_interval(event: Event) -> float | None:
    """The seconds between pings that a ping announces; None for other events and odd pings."""
    if event.type != "ping":
        return None
    try:
        interval = _object(event).get("interval")
    except ProtocolError:
        return None
    if isinstance(interval, bool) or not isinstance(interval, int | float):
        return None
    if not 0 < interval <= _MOST_MILLISECONDS:
        return None
    return interval / 1000 if interval >= _LEAST_MILLISECONDS else float(interval)


def _object(event: Event) -> dict[str, Any]:
    try:
        value = json.loads(event.data)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"the server pushed a {event.type} event that is not JSON") from error
    if not isinstance(value, dict):
        raise ProtocolError(f"the server pushed a {event.type} event that is not a JSON object")
    return value


def _unusable(template: str) -> ProtocolError:
    return ProtocolError(f"the session's eventSourceUrl is no usable URL: {template[:200]!r}")
