"""Hostile mail and cards, through triage, re-triage and being taken back.

Of a card only the lines that a triage may change are others than before; of a card that cannot be
read safely, no byte.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import date
from functools import partial

from mailroom.rules.categories import Category
from mailroom.rules.contact import Filing, addresses, file_under, without_section
from mailroom.sandbox import CYRUS_3_10
from mailroom.wire.vcard import Card, CardView, UnsafeCard
from tests.cards import SAFE, UNSAFE
from tests.chaos.table import Case
from tests.world import BOOK, World

# Cards stay as they were put, so that every difference is ours.
_AS_PUT = replace(CYRUS_3_10, card_form="as put", converts_card_versions=False)
# SPEC 10: a note gets a section; what is empty is filled.
_MAY_CHANGE = {"NOTE", "UID", "FN", "N", "ORG"}
_OTHER = "Eve <eve@example.org>"
_MANY_MEMBERS = 5000


def _fold(card: bytes, width: int) -> bytes:
    """Fold long lines anew, in the middle of characters if it comes so."""
    ending = b"\r\n" if b"\r\n" in card else b"\n"
    lines = card.split(ending)
    pieces = [
        (ending + b" ").join(line[i : i + width] for i in range(0, len(line), width) or (0,))
        for line in lines
    ]
    return ending.join(pieces)


def _with(line: bytes) -> Callable[[bytes], bytes]:
    def change(card: bytes) -> bytes:
        ending = b"\r\n" if b"\r\n" in card else b"\n"
        at = card.rindex(b"END:", 0) if b"END:" in card else len(card)
        return card[:at] + line.replace(b"\n", ending) + ending + card[at:]

    return change


def _without(name: bytes) -> Callable[[bytes], bytes]:
    def change(card: bytes) -> bytes:
        lines, gone = [], False
        for line in card.splitlines(keepends=True):
            gone = line.startswith(name) or (gone and line[:1] in b" \t")
            if not gone:
                lines.append(line)
        return b"".join(lines)

    return change


# Each is made of every safe card.
_CHANGES: Mapping[str, Callable[[bytes], bytes]] = {
    "as it is": bytes,
    "with a photo": _with(b"PHOTO;ENCODING=b;TYPE=JPEG:" + b"/9j/4AAQ" * 64),
    "with foreign lines": _with(
        'item7.X-ABLabel:_$!<مرحبا \u202e>!$_\nX-EMOJI;TYPE="a:b;c":🎉\\,\\;\nitem7.URL:x'.encode()
    ),
    "with a note like ours": _with(b"NOTE:\xe2\x80\x94 Mailroom \xe2\x80\x94\\nTriaged to Nowhere"),
    "without UID": _without(b"UID"),
    "without FN": _without(b"FN"),
}


def cards() -> dict[str, bytes]:
    """Every safe card in every form that is still a safe one."""
    found = {}
    for name, card in SAFE.items():
        for how, change in _CHANGES.items():
            found[f"{name}, {how}"] = change(card)
    folded = {
        f"{name}, folded at 20": _fold(card, 20)
        for name, card in SAFE.items()
        if not re.search(rb"\n[ \t]", card)
    }
    big = _with(b"PHOTO;ENCODING=b;TYPE=JPEG:" + b"/9j/4AAQ" * (2 << 17))(
        SAFE["apple-icloud-person"]
    )
    return {**found, **folded, "a photo of 2 MiB": big}


def cases() -> Iterator[Case]:
    for name, card in cards().items():
        if addresses(CardView.glance(card)) and CardView.glance(card).kind != "group":
            yield Case(name, partial(_adopt, card))
    for name, card in UNSAFE.items():
        if not _is_unsafe(_carried(card)):
            continue  # of text in XML neither is left to see: a bad encoding, a lone CR
        yield Case(f"{name}, unsafe", partial(_leave_alone, card))
    yield Case("a group of 5,000 members", _large_group)
    yield Case("two cards of one UID", _doubled)


def _adopt(card: bytes) -> float:
    """Triaged, triaged again and taken back, a card is what it was; or it is left alone."""
    if _is_unsafe(card):
        return _leave_alone(card)
    if _is_cut_within_characters(card):
        return _edit(card)
    world = World(_AS_PUT, BOOK)
    href = world.sandbox.put_card(card.decode(), "card.vcf")
    sender = addresses(CardView.glance(card))[0]
    mail = world.deliver(f"Somebody Else <{sender}>", count=2)
    world.start().settle()
    _see_others(world)
    for label, mailbox in (("@ToFeed", "Feed"), ("@ToTruck", "Truck"), ("@ToScreener", "Screener")):
        world.tap(mail[0], label)
        world.run_for(3.0)
        if _is_refused(card):  # by this server, which reads cards more strictly than ours
            assert world.named("sender_failed")
            assert world.sandbox.cards()[href].encode() == card
            return 0.0
        assert mailbox in world.sandbox.mailboxes_of(mail[1]), world.events[-4:]
        _compare(card, world.sandbox.cards()[href].encode())
    return 0.0


def _edit(card: bytes) -> float:
    """What the sandbox cannot keep, for it keeps text, is edited without it."""
    category = Category("Feed", "@ToFeed", "Feed", "Feed")
    address = addresses(CardView.glance(card))[0]
    filing = Filing("uid", address, "Somebody Else", category, date(2026, 11, 21))
    filed = file_under(Card.parse(card), filing)
    _compare(card, bytes(filed))
    _compare(card, bytes(without_section(filed)))
    return 0.0


def _is_cut_within_characters(card: bytes) -> bool:
    try:
        card.decode()
    except UnicodeDecodeError:
        return True
    return False


def _is_refused(card: bytes) -> bool:
    """Blank lines and control characters."""
    return b"\n\n" in card.replace(b"\r", b"") or bool(
        re.search(rb"[\x01-\x08\x0b-\x1f]", card.replace(b"\r\n", b""))
    )


def _compare(before: bytes, after: bytes) -> None:
    """Every line that is not one to change is there, byte for byte and in its order; but for the
    line endings, which XML does not carry (XML 1.0 §2.11)."""
    was, now = (Card.parse(card.replace(b"\r\n", b"\n")) for card in (before, after))
    old = [line.raw for line in was.lines if line.name not in _MAY_CHANGE]
    new = [line.raw for line in now.lines if line.name not in _MAY_CHANGE]
    assert new == old, (old, new)
    for line in was.lines:
        if line.name in _MAY_CHANGE - {"NOTE"} and line.value.strip(" ;,"):
            assert line in now.lines, f"{line.head} was overwritten"
    texts = [line.text for line in was.all("NOTE") if "Mailroom" not in line.text]
    notes = "\n".join(line.text for line in now.all("NOTE"))
    assert all(text.strip() in notes for text in texts), "the user's note is another"


def _leave_alone(card: bytes) -> float:
    world = World(_AS_PUT, BOOK)
    text = card.decode("utf-8", "replace")
    href = world.sandbox.put_card(text, "card.vcf")
    text = world.sandbox.cards()[href]
    found = addresses(CardView.glance(text.encode()))
    mail = world.deliver(found[0] if found else "nobody@example.org", count=2)
    world.start().settle()
    _see_others(world)
    world.tap(mail[0], "@ToFeed")
    world.settle()
    assert world.sandbox.cards()[href] == text, "the card has changed"
    if found:
        assert world.named("sender_failed"), "nobody is told"
        assert world.sandbox.mailboxes_of(mail[0]) == {"Screener", "@ToFeed"}
    return 0.0


def _carried(card: bytes) -> bytes:
    """The card as it comes out of an XML document."""
    text = card.decode("utf-8", "replace")
    return text.replace("\r\n", "\n").replace("\r", "\n").encode()


def _is_unsafe(card: bytes) -> bool:
    try:
        Card.parse(card)
    except UnsafeCard:
        return True
    return False


def _see_others(world: World) -> None:
    """The other senders are served, whatever is in the way of one."""
    [mail] = world.deliver(_OTHER)
    world.tap(mail, "@ToJail")
    world.run_for(3.0)
    assert world.sandbox.mailboxes_of(mail) == {"Jail"}


def _large_group() -> float:
    world = World(_AS_PUT, BOOK)
    [(href, text)] = [item for item in world.sandbox.cards().items() if "FN:Feed\r" in item[1]]
    members = "".join(
        f"X-ADDRESSBOOKSERVER-MEMBER:urn:uuid:m{number}\r\n" for number in range(_MANY_MEMBERS)
    )
    full = text.replace("END:VCARD", f"{members}END:VCARD")
    world.sandbox.put_card(full, href.rpartition("/")[2])
    [mail] = world.deliver("Bob <bob@example.org>")
    world.start().settle()
    world.tap(mail, "@ToFeed")
    world.settle()
    after = world.sandbox.cards()[href]
    assert members in after
    assert len(world.sandbox.group_members("Feed")) == _MANY_MEMBERS + 1
    return 0.0


def _doubled() -> float:
    world = World(_AS_PUT, BOOK)
    text = SAFE["fastmail-person"].decode()
    hrefs = [world.sandbox.put_card(text, f"{name}.vcf") for name in "ab"]
    [mail] = world.deliver(addresses(CardView.glance(text.encode()))[0])
    world.start().settle()
    world.tap(mail, "@ToFeed")
    world.settle()
    assert world.sandbox.mailboxes_of(mail) == {"Feed"}
    assert [world.sandbox.cards()[href] == text for href in hrefs].count(True) == 1
    return 0.0
