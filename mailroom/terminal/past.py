"""What was done, according to the journal, read with the user's own rights, or to contacts' notes.

The journal has every decision with its instant, its author and its trigger. The notes of contacts
that Mailroom made have only categories and days.
"""

import contextlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mailroom.engine.journalctl import Entry, Journal, NoJournal
from mailroom.errors import MailroomError
from mailroom.rules.triage.subject import SCREENER, Earlier, SubjectKind
from mailroom.rules.words import count
from mailroom.terminal.columns import Time, show
from mailroom.terminal.lists import write_json
from mailroom.terminal.moving import decided
from mailroom.terminal.naming import canonical_key
from mailroom.terminal.remote import Remote, Whom

_DECISIONS = (
    *("sender_triaged", "sender_retriaged", "sender_unscreened"),
    *("domain_triaged", "list_triaged"),
)
_TROUBLES = {
    "conflict_detected": "MAILROOM_CATEGORIES",
    "decision_refused": "MAILROOM_REASON",
    "sender_failed": "MAILROOM_ERROR",
}
_FIELDS = {
    SubjectKind.ADDRESS: "MAILROOM_SENDER",
    SubjectKind.DOMAIN: "MAILROOM_DOMAIN",
    SubjectKind.LIST: "MAILROOM_LIST",
}
_ACCOUNT = "MAILROOM_ACCOUNT"

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Past:
    """What is known of the service's past. ``journal`` is None if it was started by hand;
    ``account`` is one of many."""

    remote: Remote
    journal: Journal | None
    account: str | None = None

    def before(self, whom: Whom) -> Earlier | None:
        """Where somebody was before the current category; None if the journal does not tell."""
        current = self._current(whom)
        # An address without a former category may be that of a contact of the user's own.
        first = None if whom.kind is SubjectKind.ADDRESS else Earlier(None)
        is_told = False
        everywhere = _and_other_addresses(self.remote, whom)
        try:
            for event in self._told(everywhere, _DECISIONS, newest_first=True):
                if event["category"] != current:
                    # If it lacks the current category, somebody has changed groups by hand.
                    was_screened = event["category"] is None
                    return (Earlier(None) if was_screened else first) if is_told else None
                if event["previous"]:
                    return Earlier(event["previous"])
                is_told = True  # a stranger's, or a repeated one: an earlier entry may tell more
        except NoJournal:
            return None
        return first if is_told and current else None

    def events(self, whom: Sequence[Whom], since: float | None) -> Iterator[Event]:
        """What was done, and what failed, oldest first. Raises :class:`NoJournal`."""
        return self._told(whom, (*_DECISIONS, *_TROUBLES), since)

    def noted(self, whom: Whom | None, since: float | None) -> Iterator[Event]:
        """What the notes tell, oldest first."""
        if whom is not None and whom.kind is SubjectKind.ADDRESS:
            sender = self.remote.sender(whom.name)
            named = Whom(SubjectKind.ADDRESS, sender["address"])
            steps = [(named, step["category"], step["on"]) for step in sender["history"]]
        else:
            told = decided(self.remote.senders())
            steps = [(who, name, day or "") for who, name, day in told if whom in (None, who)]
        first_day = (
            "" if since is None else datetime.fromtimestamp(since).astimezone().date().isoformat()
        )
        for who, category, day in sorted(steps, key=lambda step: step[2]):
            if day >= first_day:
                yield _event(day, who, "noted", category=category)

    def _current(self, whom: Whom) -> str | None:
        if whom.kind is SubjectKind.ADDRESS:
            return self.remote.sender(whom.name)["category"]
        there = {who: category for who, category, _ in decided(self.remote.senders())}
        return there.get(Whom(whom.kind, canonical_key(whom)))

    def _told(
        self,
        whom: Sequence[Whom],
        events: Iterable[str],
        since: float | None = None,
        *,
        newest_first: bool = False,
    ) -> Iterator[Event]:
        if self.journal is None:
            raise NoJournal(
                "this service was not started by a unit, so the journal has no record of it"
            )
        matches = [f"MAILROOM_EVENT={event}" for event in events]
        matches += [f"{_FIELDS[each.kind]}={canonical_key(each)}" for each in whom]
        if self.account is not None:
            matches.append(f"MAILROOM_ACCOUNT={self.account}")
        for entry in self.journal.entries(matches, since, newest_first=newest_first):
            yield _read(entry)


def show_log(past: Past, whom: Whom | None, since: float | None, *, as_json: bool) -> int:
    """Print what was done; if the journal cannot be read, say so and print what the notes tell."""
    source = "journal"
    try:
        events = list(past.events(_and_other_addresses(past.remote, whom), since))
    except NoJournal as error:
        sys.stderr.write(f"mailroom: {error}; the notes of contacts tell categories and days\n")
        events, source = list(past.noted(whom, since)), "notes"
    if as_json:
        write_json({"source": source, "entries": events})
    else:
        # If there are many accounts and none was named.
        has_names = past.account is None and any("account" in event for event in events)
        show(_row(event, has_names=has_names) for event in events)
    return 0


def _and_other_addresses(remote: Remote, whom: Whom | None) -> list[Whom]:
    """All addresses of the contact, if a running service tells them."""
    if whom is None:
        return []
    addresses = [canonical_key(whom)]
    if whom.kind is SubjectKind.ADDRESS:
        with contextlib.suppress(MailroomError):  # without a service, look for this one alone
            addresses += remote.sender(whom.name)["addresses"]
    return [Whom(whom.kind, address) for address in dict.fromkeys(addresses)]


def _read(entry: Entry) -> Event:
    name = entry["MAILROOM_EVENT"]
    kind = next(kind for kind, field in _FIELDS.items() if field in entry)
    category = entry.get("MAILROOM_CATEGORY")
    at = datetime.fromtimestamp(int(entry["__REALTIME_TIMESTAMP"]) / 1e6, UTC)
    return _event(
        at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        Whom(kind, entry[_FIELDS[kind]]),
        name,
        category=None if category == SCREENER else category,
        previous=entry.get("MAILROOM_PREVIOUS"),
        filed=int(entry["MAILROOM_FILED"]) if "MAILROOM_FILED" in entry else None,
        by=entry.get("MAILROOM_BY"),
        trigger=entry.get("MAILROOM_TRIGGER"),
        reason=entry.get(_TROUBLES.get(name, "")),
        **({"account": entry[_ACCOUNT]} if _ACCOUNT in entry else {}),
    )


def _event(at: str, whom: Whom, name: str, **told: object) -> Event:
    nothing = dict.fromkeys(("category", "previous", "filed", "by", "trigger", "reason"))
    return {"at": at, "event": name, whom.kind: whom.name, **nothing, **told}


def _row(event: Event, *, has_names: bool) -> tuple[object, ...]:
    kind = next(kind for kind in SubjectKind if kind in event)
    who = {SubjectKind.ADDRESS: "{}", SubjectKind.DOMAIN: "@{}", SubjectKind.LIST: "<{}>"}[
        kind
    ].format(event[kind])
    at = Time(event["at"]) if event["trigger"] or event["reason"] else event["at"]
    filed = "" if event["filed"] is None else count(event["filed"], "mail")
    whose = (event.get("account", ""),) if has_names else ()
    return at, *whose, who, _done(event), filed, event["by"] or "", event["trigger"] or ""


def _done(event: Event) -> str:
    match event["event"]:
        case "conflict_detected":
            return f"conflict: {event['reason']}"
        case "sender_failed":
            return f"failed: {event['reason']}"
        case "decision_refused":
            return f"refused: {event['reason']}"
        case _:
            was = f" (was {event['previous']})" if event["previous"] else ""
            return f"→ {event['category'] or SCREENER}{was}"
