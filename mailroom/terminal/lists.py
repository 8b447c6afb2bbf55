"""The lists: who waits, who is in which category, which categories there are, and one sender."""

import json
import sys
from collections.abc import Iterator
from typing import Any

from mailroom.rules.words import count
from mailroom.terminal.answers import NextDocument, SenderDocument, SendersDocument
from mailroom.terminal.columns import Time, show
from mailroom.terminal.harmless import harmless
from mailroom.terminal.naming import CategoryNames
from mailroom.terminal.remote import Remote

# What decides where the next mail goes (rules/screening/standing.Who), in words.
_REASONS = {
    "own": "the address is your own",
    "screened": "must wait, although otherwise known",
    "category": "was decided about",
    "disputed": "is in contact groups that contradict each other",
    "list": "the mailing list was decided about",
    "contact": "is in your address book",
    "domain": "the domain was decided about",
    "written": "you have written to this address",
    "conversation": "answers in a conversation of yours",
    "unknown": "unknown to you, and not decided about",
}


def show_waiting(remote: Remote, *, as_json: bool, counts: bool) -> int:
    """Who waits, the newest mail first."""
    document = remote.waiting(limit=1 if counts else None)
    if counts:
        sys.stdout.write(f"{document['senders']}\n")
    elif as_json:
        write_json(document)
    else:
        show(
            (
                each["address"] or "(nobody)",
                each["mails"],
                Time(each["since"]),
                each["name"],
                each["newest"]["subject"],
            )
            for each in document["waiting"]
        )
    return 0


def show_categories(remote: Remote, *, as_json: bool) -> int:
    """The categories to which senders can be triaged."""
    document = remote.categories()
    if as_json:
        write_json(document)
    else:
        show((each["name"], each["label"], each["parent"] or "") for each in document["categories"])
    return 0


def show_senders(remote: Remote, category: str | None, *, as_json: bool, counts: bool) -> int:
    """Who is in a category, or in any."""
    name = CategoryNames(remote.categories()).find(category) if category else None
    if category and name is None:
        return show_waiting(remote, as_json=as_json, counts=counts)
    document = remote.senders(name)
    if counts:
        number = sum(len(document[kind]) for kind in ("senders", "domains", "lists"))
        sys.stdout.write(f"{number}\n")
    elif as_json:
        write_json(document)
    else:
        show(_places(document))
    return 0


def _places(document: SendersDocument) -> Iterator[tuple[str, str, str, str]]:
    """Who is where, since when, and further notes; who, in the form that commands accept."""
    for each in document["senders"]:
        others = len(each["addresses"]) - 1
        also = f" (and {others} more)" if others > 0 else ""
        yield each["address"], each["category"], each["since"] or "", f"{each['name']}{also}"
    for domain in document["domains"]:
        day = domain["since"] or ""
        yield f"@{domain['domain']}", domain["category"], day, "the whole domain"
    for listed in document["lists"]:
        day = listed["since"] or ""
        yield f"<{listed['list']}>", listed["category"], day, "the mailing list"


def show_sender(remote: Remote, address: str, *, as_json: bool) -> int:
    """Who that is, what was decided, and where the next mail will go."""
    document = remote.sender(address)
    if as_json:
        write_json(document)
        return 0
    for heading, text in _about(document):
        sys.stdout.write(f"{heading:<9} {harmless(text)}\n")
    return 0


def _about(sender: SenderDocument) -> Iterator[tuple[str, str]]:
    yield "sender", f"{sender['address']}  {sender['name']}".rstrip()
    others = [each for each in sender["addresses"] if each != sender["address"]]
    if others:
        yield "also", ", ".join(others)
    yield "category", sender["category"] or "none"
    for step in reversed(sender["history"]):
        yield "", f"{step['on']} {step['category']}"
    waits = sender["waiting"]
    yield "waiting", count(waits, "mail") if waits else "nothing"
    yield "next mail", _next(sender["next"])


def _next(upcoming: NextDocument | None) -> str:
    if upcoming is None:
        return "is not placed by Mailroom (screening.by: off)"
    reason = _REASONS.get(upcoming["outcome"], upcoming["outcome"])
    return f"to {upcoming['mailbox']}: {reason}"


def write_json(document: Any) -> None:
    """A document for other programs; control characters and all beyond ASCII are escaped."""
    json.dump(document, sys.stdout, indent=2)
    sys.stdout.write("\n")
