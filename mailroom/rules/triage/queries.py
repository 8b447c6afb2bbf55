"""What the service asks of the mail server: for each purpose the filter, in one place.

``mailroom check`` asks the same, so that what it finds to work is what the service lives by.
"""

from collections.abc import Collection
from datetime import UTC, datetime

from mailroom.rules.addresses import spellings
from mailroom.rules.triage.drags import PLACED, WAITING
from mailroom.rules.triage.places import Places
from mailroom.wire.filters import Filter, all_of, any_of, in_any

# A search may run behind what was delivered (the index), so the last hour is looked through. On
# Cyrus that is by no index; of others, see :mod:`mailroom.work.unindexed`.
_UNINDEXED_SECONDS = 3600.0
_ADDRESSES_PER_QUERY = 50


def labelled(places: Places) -> Filter:
    """What a poll looks for: mail with a label on it."""
    return in_any(places.queried)


def asking(places: Places) -> Filter:
    """What a poll looks for where there is a door: mail with a label on it, and mail that was moved
    out of Screener. One query, since a second would take the server longer."""
    return any_of([*(within(each) for each in places.queried), moved(places)])


def moved(places: Places) -> Filter:
    """Mail that bears our keyword, and is not in Screener any more."""
    not_there = {"operator": "NOT", "conditions": [within(places.screener)]}
    return all_of({"hasKeyword": WAITING}, not_there)


def unseen(places: Places, since: float, *, by: str, is_dated: bool) -> list[Filter]:
    """What may have come in while nobody listened. The server's rules mark what they put into
    Screener; what Mailroom itself has marked is decided. Where a fresh mail may have no date yet
    (``is_dated`` is False), its date is asked of the mail."""
    dated = _after(since) if is_dated else {}
    waiting = {**within(places.screener), "notKeyword": PLACED if by == "server" else WAITING}
    inbox = [within(places.inbox)] if by == "mailroom" and places.inbox else []
    unread = {"notKeyword": "$seen"}
    return [all_of(each, unread, dated) for each in (waiting, *inbox)]


def waiting(screener_id: str) -> Filter:
    """All mail that waits."""
    return {"inMailbox": screener_id}


def newcomers(places: Places, wall: float, *, is_dated: bool) -> Filter:
    """Mail that has come to Screener of late; ``wall`` is the time of day, in Unix seconds. Where
    a fresh mail may have no date yet (``is_dated`` is False), all mail that waits."""
    all_of_it = waiting(places.screener)
    return all_of(all_of_it, _last_hour(wall)) if is_dated else all_of_it


def sweeps(places: Places, addresses: Collection[str], wall: float) -> list[Filter]:
    """What finds the senders' mail: by the search, and by what no index can be late for."""
    searched = everything(places)
    wanted = [spelling for each in sorted(addresses) for spelling in spellings(each)]
    by_sender = [
        all_of(any_of({"from": spelling} for spelling in batch), searched)
        for start in range(0, len(wanted), _ADDRESSES_PER_QUERY)
        if (batch := wanted[start : start + _ADDRESSES_PER_QUERY])
    ]
    return [*by_sender, all_of(searched, _last_hour(wall))]


def everything(places: Places) -> Filter:
    """All mail among which a sender's can be, for a server whose search fails."""
    return in_any(sorted(places.searched))


def _last_hour(wall: float) -> Filter:
    return _after(wall - _UNINDEXED_SECONDS)


def _after(instant: float) -> Filter:
    return {"after": datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}


def within(mailbox_id: str) -> Filter:
    """All mail in one mailbox."""
    return {"inMailbox": mailbox_id}
