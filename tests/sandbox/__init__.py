"""A mail server for the demo and the tests: JMAP over memory, CardDAV by Radicale."""

from tests.sandbox.account import DEFAULT_CATEGORIES
from tests.sandbox.cards import without_stamp
from tests.sandbox.events import Feed
from tests.sandbox.exchange import ConnectionBroken, Delivery, Request, Response, json_response
from tests.sandbox.faults import Fault
from tests.sandbox.front import Running, serve, serve_users
from tests.sandbox.log import Entry, longest_chain
from tests.sandbox.profile import Limits, Profile
from tests.sandbox.profiles import (
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
from tests.sandbox.server import Sandbox

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
