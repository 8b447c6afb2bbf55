"""A mail server for the demo and the tests: JMAP over memory, CardDAV by Radicale.

Nothing of the service imports it.
"""

from mailroom.sandbox.account import DEFAULT_CATEGORIES
from mailroom.sandbox.cards import without_stamp
from mailroom.sandbox.events import Feed
from mailroom.sandbox.exchange import ConnectionBroken, Delivery, Request, Response, json_response
from mailroom.sandbox.faults import Fault
from mailroom.sandbox.front import Running, serve, serve_users
from mailroom.sandbox.log import Entry, longest_chain
from mailroom.sandbox.profile import Limits, Profile
from mailroom.sandbox.profiles import (
    CYRUS_3_6,
    CYRUS_3_10,
    CYRUS_3_13,
    CYRUS_3_13_BLOCKING,
    CYRUS_WITHOUT_PUSH,
    FASTMAIL,
    JAMES,
    LAGGING_SEARCH,
    LATE_PUSH,
    LOST_TOKEN,
    NO_SEARCH,
    PLAIN_CARDDAV,
    PROFILES,
    SABRE,
    SHORT_PAGES,
    SMALL_LIMITS,
    STALWART,
    TRUNCATED_SYNC,
    WAYWARD_CARDDAV,
)
from mailroom.sandbox.server import Sandbox

__all__ = [
    "CYRUS_3_6",
    "CYRUS_3_10",
    "CYRUS_3_13",
    "CYRUS_3_13_BLOCKING",
    "CYRUS_WITHOUT_PUSH",
    "DEFAULT_CATEGORIES",
    "FASTMAIL",
    "JAMES",
    "LAGGING_SEARCH",
    "LATE_PUSH",
    "LOST_TOKEN",
    "NO_SEARCH",
    "PLAIN_CARDDAV",
    "PROFILES",
    "SABRE",
    "SHORT_PAGES",
    "SMALL_LIMITS",
    "STALWART",
    "TRUNCATED_SYNC",
    "WAYWARD_CARDDAV",
    "ConnectionBroken",
    "Delivery",
    "Entry",
    "Fault",
    "Feed",
    "Limits",
    "Profile",
    "Request",
    "Response",
    "Running",
    "Sandbox",
    "json_response",
    "longest_chain",
    "serve",
    "serve_users",
    "without_stamp",
]
