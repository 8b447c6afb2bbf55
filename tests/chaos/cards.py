"""Cards of real programs and bent ones, through triage, re-triage, being taken back and reset.

A card that Mailroom did not make is never written: no byte of it is another afterwards, whether it
could be edited or not. But for the section that an earlier version wrote into it, which comes out
line by line.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial

from mailroom.engine.credentials import Basic, Logins
from mailroom.rules.configuration.config import Config
from mailroom.rules.contacts.contact import addresses, provenance, without_section
from mailroom.rules.contacts.groups import bare_uid
from mailroom.rules.contacts.roster import Provenance, managed_groups
from mailroom.rules.status.health import Totals
from mailroom.wire.vcard import Card, CardView
from mailroom.work.account.clients import build_clients
from mailroom.work.setup.reset import Reset
from tests.cards import SAFE, UNSAFE
from tests.chaos.table import Case
from tests.sandbox import CYRUS_3_10
from tests.sandbox.jscontact import card_of
from tests.world import BOOK, World

# Cards stay as they were put, so that every difference is ours.
_AS_PUT = replace(CYRUS_3_10, card_form="as put", card_conversion=None)
_AS_PUT_BY = {"carddav": _AS_PUT, "jmap": replace(_AS_PUT, has_jmap_contacts=True)}
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
    for name, card in {**cards(), **UNSAFE}.items():
        for by, how in (("carddav", ""), ("jmap", ", by JMAP")):
            if not _is_managed_group(card, by):  # whose members change
                yield Case(name + how, partial(_live_through, card, by))
    yield Case("a group of 5,000 members", _large_group)
    yield Case("two cards of one UID", _doubled)


def _is_managed_group(card: bytes, by: str) -> bool:
    """By JMAP a card without FN is called after its N."""
    view = CardView.glance(card)
    name = view.first("FN") or (view.first("N") if by == "jmap" else None)
    names = managed_groups(Config())
    return view.kind == "group" and name is not None and name.text.rstrip(";") in names


def _live_through(card: bytes, by: str) -> float:
    """Triaged, triaged again, taken back and triaged, then reset, a card is what it was."""
    world = World(_AS_PUT_BY[by], {**BOOK, "contacts": {"by": by}})
    href = world.sandbox.put_card(card.decode("utf-8", "replace"), "card.vcf")
    before = world.sandbox.cards()[href]
    senders = addresses(CardView.glance(before.encode()))
    sender = senders[0] if senders else "nobody@example.org"
    mail = world.deliver(f"Somebody Else <{sender}>", count=2)
    world.start().settle()
    _see_others(world)
    needs_uid = _is_contact_without_uid(before, by)
    for label, mailbox in (("@ToFeed", "Feed"), ("@ToTruck", "Truck"), ("@ToScreener", "Screener")):
        world.tap(mail[0], label)
        world.run_for(3.0)
        if needs_uid:  # no group can name it, and the user is told
            assert world.named("sender_failed")
            assert world.sandbox.cards()[href] == before
            return 0.0
        assert mailbox in world.sandbox.mailboxes_of(mail[1]), world.events[-4:]
        assert world.sandbox.cards()[href] == before, "a card of the user's was written"
    world.tap(mail[0], "@ToFeed")
    world.run_for(3.0)
    world.account.close()
    _reset(world)
    after = world.sandbox.cards()[href]
    if after != before:
        was = Card.parse(before.encode())
        assert provenance(was) is Provenance.ADOPTED, "a card of the user's was written"
        left = bytes(without_section(was)).decode()
        # XML does not carry line endings (XML 1.0 §2.11).
        assert left.replace("\r\n", "\n") == after.replace("\r\n", "\n")
    return 0.0


def _is_contact_without_uid(card: str, by: str) -> bool:
    """By JMAP a server shows no more of it than it understands."""
    if by == "jmap":
        shown = card_of(card)
        is_contact = shown["kind"] != "group" and bool(shown.get("emails"))
        return is_contact and not shown.get("uid")
    view = CardView.glance(card.encode())
    uid = view.first("UID")
    has_uid = uid is not None and bool(bare_uid(uid.text))
    return bool(addresses(view)) and view.kind != "group" and not has_uid


def _reset(world: World) -> None:
    who = Basic("alice", "secret")
    clients = build_clients(
        world.loop.root, world.new_http(), world.config, Logins(who, who), Totals()
    )
    work = Reset(world.loop, world.config, clients)
    planning = world.loop.spawn(work.plan(), "plan")
    world.run_until(lambda: planning.done)
    undoing = world.loop.spawn(work.apply(planning.result(), lambda _: None), "reset")
    world.run_until(lambda: undoing.done)
    first, *others = undoing.result() or (None,)
    if first:  # a note in a card that this server or we do not understand
        assert "the note of an earlier version" in first.step.text, first
        assert re.search("refuses the card|is left alone", first.reason), first.reason
    for each in others:
        assert each.reason.startswith("waits for earlier steps"), each


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
    assert [world.sandbox.cards()[href] for href in hrefs] == [text, text]
    return 0.0
