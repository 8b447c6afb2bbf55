"""The filters of the service's queries to the mail server, one for each purpose, in one place.

``mailroom check`` uses the same filters, so it tests what the service relies on.
"""

from collections.abc import Collection
from datetime import UTC, datetime

from mailroom.rules.addresses import spellings
from mailroom.rules.triage.drags import PLACED, WAITING
from mailroom.rules.triage.places import Places
from mailroom.wire.filters import Filter, all_of, any_of, in_any

# The search index may lag behind delivery, so the last hour is looked through as well. Cyrus does
# that without the index; for others, see :mod:`mailroom.work.mail.unindexed`.
_UNINDEXED_SECONDS = 3600.0
# An OR of fifty addresses takes 68 ms in a mailbox of 20,000 mails (Cyrus 3.10.2, seen).
_ADDRESSES_PER_QUERY = 50


def labelled(places: Places) -> Filter:
    """What a poll looks for: mail with a label."""
    return in_any(places.queried)


def asking(places: Places) -> Filter:
    """What a poll looks for if there is a door: mail with a label, and mail that was moved out of
    Screener. It is one query, since two would take the server longer."""
    return any_of([*(within(each) for each in places.queried), moved(places)])


def moved(places: Places) -> Filter:
    """Mail that bears our keyword and is no longer in Screener."""
    not_there = {"operator": "NOT", "conditions": [within(places.screener)]}
    return all_of({"hasKeyword": WAITING}, not_there)


def unseen(places: Places, since: float, *, by: str, is_dated: bool) -> list[Filter]:
    """Mail that may have come while nobody listened. The server's rules mark what they put into
    Screener; what Mailroom has marked is decided. If fresh mail may have no date in the index yet
    (``is_dated`` is False), the date is not part of the query, and the caller reads it from the
    mail."""
    dated = _after(since) if is_dated else {}
    waiting = {**within(places.screener), "notKeyword": PLACED if by == "server" else WAITING}
    inbox = [within(places.inbox)] if by == "mailroom" and places.inbox else []
    unread = {"notKeyword": "$seen"}
    return [all_of(each, unread, dated) for each in (waiting, *inbox)]


def waiting(screener_id: str) -> Filter:
    """All mail that waits."""
    return {"inMailbox": screener_id}


def newcomers(places: Places, wall: float, *, is_dated: bool) -> Filter:
    """Mail that has come to Screener lately; ``wall`` is the time of day, in Unix seconds. If fresh
    mail may have no date in the index yet (``is_dated`` is False), all mail that waits."""
    all_of_it = waiting(places.screener)
    return all_of(all_of_it, _last_hour(wall)) if is_dated else all_of_it


def sweeps(places: Places, addresses: Collection[str], wall: float) -> list[Filter]:
    """The filters that find the senders' mail: the search, and the last hour, which it may lack."""
    searched = everything(places)
    wanted = [spelling for each in sorted(addresses) for spelling in spellings(each)]
    by_sender = [
        all_of(any_of({"from": spelling} for spelling in batch), searched)
        for start in range(0, len(wanted), _ADDRESSES_PER_QUERY)
        if (batch := wanted[start : start + _ADDRESSES_PER_QUERY])
    ]
    return [*by_sender, all_of(searched, _last_hour(wall))]


def everything(places: Places) -> Filter:
    """All mail that may be a sender's, for a server whose search fails."""
    return in_any(sorted(places.searched))


def _last_hour(wall: float) -> Filter:
    return _after(wall - _UNINDEXED_SECONDS)


def _after(instant: float) -> Filter:
    return {"after": datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}


def within(mailbox_id: str) -> Filter:
    """All mail in one mailbox."""
    return {"inMailbox": mailbox_id}
