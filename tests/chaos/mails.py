"""Hostile senders: whatever a From says, it is data."""

from collections.abc import Iterator
from functools import partial

from mailroom.engine.journal import json_line, text_line
from mailroom.wire.vcard import Card
from tests.chaos.table import Case
from tests.sandbox import CYRUS_3_10, CYRUS_3_13
from tests.world import BOOK, World

_LINES = {"BEGIN", "VERSION", "PRODID", "UID", "FN", "ORG", "N", "EMAIL", "NOTE", "END"}
# By the way of contacts: the mark, and what else a server makes of a card by JMAP.
_OURS = {
    "carddav": _LINES | {"X-MAILROOM-CREATED"},
    "jmap": _LINES | {"JSPROP", "KIND", "CREATED", "REV"},
}
_PROFILES = {"carddav": CYRUS_3_10, "jmap": CYRUS_3_13}
_NAMES = {
    "control characters": "Bob\x00\x07\x1b[31m\x7f",
    "line breaks": "Bob\r\nEMAIL:eve@example.org\nEND:VCARD",
    "Unicode line breaks": "Bob\u2028END:VCARD\u2029\x85\x0b\x0c",
    "bidi overrides": "Bob \u202egro.elpmaxe@eve\u202c \u2066x\u2069",
    "10 KB": "Bob " * 2500,
    "10 KB without a space": "B" * 10_000,
    "vCard": "BEGIN:VCARD\\nEND:VCARD;X=Y,Z\\",
    "Sieve": '"; stop; } redirect "eve@example.org"; #',
    "emoji": "👩‍👩‍👧‍👦 Bob 🎉",
    "RTL": "مرحبا بوب",
    "combining": "Z̷̢̛͔͕̀a̷l̴g̵o̶" * 50,
    "lone surrogates": "Bob \ud800",
    "the section's own words": "— Mailroom —\nCreated by Mailroom\nTriaged to Jail",
    "nothing": "   \t ",
    "a number format": "%s%n{0}${HOME}",
}
_ADDRESSES = {
    "plus": "bob+tag@example.org",
    "quotes": '"bob ross"@example.org',
    "quotes with an at": '"a@b"@example.org',
    "IDN": "bob@bücher.example",
    "punycode": "bob@xn--bcher-kva.example",
    "long": "b" * 300 + "@example.org",
    "upper case": "BOB@EXAMPLE.ORG",
    "vCard": "bob;x,y\\n@example.org",
    "a line break": "bob\r\n@example.org",
    "a quote of XML": "bob&<>]]>\"'@example.org",
    "no domain": "bob",
    "no local part": "@example.org",
    "nothing": "",
    "spaces": " bob @ example.org ",
    "bidi": "bob\u202e@example.org",
}
_FROMS = {
    "none": None,
    "empty": "",
    "a group": "undisclosed-recipients:;",
    "several": "Bob <bob@example.org>, Eve <eve@example.org>",
    "unclosed": "Bob <bob@example.org",
    "encoded line break": "=?utf-8?Q?Bob=0D=0AEMAIL:eve=40example.org?= <bob@example.org>",
    "encoded NUL": "=?utf-8?Q?Bob=00=1B?= <bob@example.org>",
    "bad encoding": "=?utf-9?X?Bob=ZZ?= <bob@example.org>",
    "comments": "(a(b)c)Bob(d) <bob@(e)example.org>",
}


def cases() -> Iterator[Case]:
    for by, how in (("carddav", ""), ("jmap", ", by JMAP")):
        for what, name in _NAMES.items():
            sender = [(name, "bob@example.org")]
            yield Case(f"a name with {what}{how}", partial(_triage, sender, by))
        for what, address in _ADDRESSES.items():
            yield Case(f"an address with {what}{how}", partial(_triage, [("Bob", address)], by))
        for what, raw in _FROMS.items():
            yield Case(f"From: {what}{how}", partial(_triage, raw, by))


def _triage(sender: str | list[tuple[str, str]] | None, by: str) -> float:
    """The card has our lines only, the log is clean, and others are served as ever."""
    world = World(_PROFILES[by], {**BOOK, "contacts": {"by": by}})
    deliver = world.sandbox.deliver
    mail, other = deliver(sender), deliver("Carol <carol@example.org>")
    waiting = deliver("Dora <dora@example.org>")
    before = world.sandbox.cards()
    world.start().settle()
    for label in ("@ToPerson", "@ToFeed"):
        world.tap(mail, label)
        world.settle()
    world.tap(other, "@ToFeed")
    world.settle()
    assert world.sandbox.mailboxes_of(other) == {"Feed"}
    assert world.sandbox.mailboxes_of(waiting) == {"Screener"}
    _check_end(world, mail)
    _check_cards(world, before)
    _check_log(world)
    return 0.0


def _check_end(world: World, mail: str) -> None:
    """Filed, marked as unusable, or told as failing; never silently left."""
    places = world.sandbox.mailboxes_of(mail)
    failing = world.named("sender_failed")
    # To Inbox it came as a person's, and Inbox is never taken away.
    assert places == {"Feed", "Inbox"} or "@MailroomError" in places or failing, places


def _check_cards(world: World, before: dict[str, str]) -> None:
    cards = world.sandbox.cards()
    new = [text for href, text in cards.items() if href not in before]
    assert len(new) <= 2
    for text in new:
        card = Card.parse(text.encode())
        names = [line.name for line in card.lines]
        assert set(names) <= _OURS[world.config.contacts.by], names
        assert len(names) == len(set(names)), names
        assert "eve@example.org" not in [line.text for line in card.all("EMAIL")]
        # A zero-width joiner is part of many an emoji.
        assert all(line.text.replace("\u200d", "").isprintable() for line in card.all("FN"))
    assert cards.keys() >= before.keys()


def _check_log(world: World) -> None:
    """Each event is one printable line, in either form."""
    for level, event, fields in world.events:
        assert text_line(level, event, fields).strip().isprintable()
        assert json_line(level, event, fields, world.clock.wall()).strip().isprintable()
