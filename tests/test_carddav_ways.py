"""What other people's CardDAV servers do, each as the rule that the service keeps all the same."""

import re
from dataclasses import replace

import pytest

from mailroom.engine.loop import together
from mailroom.errors import (
    Crowded,
    Forbidden,
    LastingTrouble,
    NoAnswer,
    SenderFailed,
    TransientError,
)
from mailroom.rules.contacts.addressbook import Indexed
from mailroom.rules.contacts.contact import summarise
from mailroom.rules.status.statusline import status_line
from mailroom.wire.vcard import Card, UnsafeCard
from mailroom.work.contacts.cards import usable
from tests.command import Site
from tests.sandbox import (
    CYRUS_3_10,
    CYRUS_3_13,
    PLAIN_CARDDAV,
    SABRE,
    STALWART,
    WAYWARD_CARDDAV,
    Delivery,
    Fault,
    Profile,
)
from tests.sandbox import Response as Answer
from tests.virtual_clients import ORIGIN, VirtualClients
from tests.world import World

BOB = "Bob <bob@example.org>"
BOOK = "/dav/addressbooks/user/alice/Default/"
MIB = 1 << 20
CROWDED = Answer(
    400,
    {"Content-Type": "application/problem+json"},
    b'{"type":"urn:ietf:params:jmap:error:limit","status":400,"limit":"maxConcurrentRequests"}',
)


def card(*lines: str) -> str:
    return "".join(f"{line}\r\n" for line in ("BEGIN:VCARD", "VERSION:3.0", *lines, "END:VCARD"))


def contact(name: str, *lines: str) -> str:
    return card(f"UID:{name}", f"FN:{name}", "N:;;;;", f"EMAIL:{name}@example.org", *lines)


def started(profile: Profile = CYRUS_3_10) -> World:
    world = World(profile).start()
    world.settle()
    return world


def tap(world: World, label: str = "@ToFeed", seconds: float = 10.0) -> None:
    """Bob's mail comes and is labelled; so long after a poll has seen it, it is filed."""
    [mail_id] = world.deliver(BOB)
    polls = world.polls
    world.tap(mail_id, label)
    world.run_until(lambda: world.polls > polls)
    world.run_for(seconds)
    assert label.removeprefix("@To") in world.sandbox.mailboxes_of(mail_id), world.status


def knows(clients: VirtualClients, name: str) -> bool:
    return clients.contacts.book.contact(f"{name}@example.org", []) is not None


def sync(clients: VirtualClients) -> list[str]:
    """The requests of one sync."""
    number = len(clients.requests)
    clients.run(clients.contacts.sync())
    return clients.requests[number:]


# Cards


def test_a_card_whose_lines_have_names_that_are_none_is_kept_and_its_sender_triaged() -> None:
    """Servers take such lines: Cyrus 3.6.1 and 3.10.2 do (seen, tests/contract)."""
    world = started()
    odd = ("X-messaging/xmpp-All:bob", "X A+B@Ü:x", "item1.Ärger;X=1:y")
    world.sandbox.put_card(contact("bob", *odd))
    tap(world)
    assert world.sandbox.group_members("Feed") == {"bob"}
    [kept] = [text for text in world.sandbox.cards().values() if "bob@example.org" in text]
    assert [line for line in odd if f"\r\n{line}\r\n" not in kept] == []


def test_a_contact_that_was_deleted_and_comes_again_leaves_the_group_that_kept_it() -> None:
    """Who deletes a card leaves it in its group, and Mailroom makes it with the same UID again."""
    world = started()
    tap(world, "@ToJail")
    [uid] = world.sandbox.group_members("Jail")
    [made] = [href for href, card in world.sandbox.cards().items() if f"UID:{uid}\r" in card]
    world.sandbox.delete_card(made)
    assert world.sandbox.group_members("Jail") == {uid}
    world.boot()
    world.start().settle()
    tap(world)
    assert world.sandbox.group_members("Feed") == {uid}
    assert world.sandbox.group_members("Jail") == set()
    assert not world.named("sender_failed")


def test_a_card_that_is_stored_elsewhere_is_known_there() -> None:
    world = started(replace(WAYWARD_CARDDAV, locks_the_book=False))
    tap(world)
    tap(world, "@ToJail")
    assert world.named("sender_failed") == []
    [href] = [href for href, text in world.sandbox.cards().items() if "bob@example.org" in text]
    assert not href.endswith(".vcf")


@pytest.mark.parametrize(
    ("location", "place"),
    [
        ("/dav/addressbooks/user/alice/Default/x", f"{BOOK}x"),
        ("x%40y.vcf", f"{BOOK}x@y.vcf"),
        (f"{ORIGIN}:8443{BOOK}x?y#z", f"{BOOK}x"),
        ("", f"{BOOK}new.vcf"),
        (BOOK, f"{BOOK}new.vcf"),
        ("/elsewhere/x", f"{BOOK}new.vcf"),
        (f"{BOOK}../../bob/Default/x", f"{BOOK}new.vcf"),
        ("https://[bad", f"{BOOK}new.vcf"),
    ],
)
def test_a_location_is_believed_within_the_book(location: str, place: str) -> None:
    clients = VirtualClients()
    href = clients.run(clients.contacts.href_of("new"))
    clients.answers(Answer(201, {"Location": location, "ETag": '"1"'}), "PUT")
    created = clients.run(clients.contacts.create(href, Card.parse(contact("new").encode())))
    assert created is not None
    assert (created.href, knows(clients, "new")) == (place, True)


def test_a_card_that_the_server_has_and_does_not_show_costs_the_others_nothing() -> None:
    """The status stands inside of the multistatus."""
    clients = VirtualClients(SABRE)
    hrefs = [clients.sandbox.put_card(contact(name)) for name in ("bob", "ann")]

    def hide(told: Answer) -> Answer:
        text = told.body.decode()
        # Which prefix Radicale gives DAV: depends on who was imported first.
        parts = re.split(r"(?=<(?:D:)?response>)|(?<=</D:response>)|(?<=</response>)", text)
        hidden = (
            f'<response xmlns="DAV:"><href>{hrefs[0]}</href>'
            "<status>HTTP/1.1 500 Internal Server Error</status></response>"
        )
        is_card = [b"address-data" in part.encode() and hrefs[0] in part for part in parts]
        kept = [hidden if bad else part for part, bad in zip(parts, is_card, strict=True)]
        return replace(told, body="".join(kept).encode())

    clients.sandbox.faults.add(Fault(method="REPORT", rewrite=hide))
    sync(clients)
    assert (knows(clients, "bob"), knows(clients, "ann")) == (False, True)
    assert sync(clients) == [f"REPORT {BOOK}"]
    found = clients.run(clients.contacts.fetch(hrefs))
    assert str(found[hrefs[0]]) == "the server does not show it (500)"
    assert not isinstance(found[hrefs[1]], UnsafeCard)


@pytest.mark.parametrize("profile", [WAYWARD_CARDDAV, replace(CYRUS_3_10, tells_deletions=False)])
def test_a_deletion_that_no_sync_tells_costs_one_try(profile: Profile) -> None:
    """It was denied 13 times in 8 hours, until a restart."""
    world = started(profile)
    tap(world)
    for href, text in world.sandbox.cards().items():
        if "bob@example.org" in text:
            world.sandbox.delete_card(href)
    tap(world, "@ToJail", seconds=125.0)
    assert len(world.named("sender_failed")) <= 1
    assert len(world.sandbox.group_members("Jail")) >= 1
    assert any("bob@example.org" in text for text in world.sandbox.cards().values())


def test_what_a_server_denies_is_no_longer_in_the_index() -> None:
    clients = VirtualClients(replace(CYRUS_3_10, tells_deletions=False))
    href = clients.sandbox.put_card(contact("bob"))
    sync(clients)
    stored = clients.run(clients.contacts.read(href))
    clients.sandbox.delete_card(href)
    sync(clients)
    assert knows(clients, "bob")
    assert clients.run(clients.contacts.fetch([href])) == {}
    assert not knows(clients, "bob")
    clients.contacts.book.put(Indexed(href, stored.etag, summarise(stored.card)))
    clients.answers(Answer(404), "PUT")
    with pytest.raises(SenderFailed, match="deleted meanwhile"):
        clients.run(clients.contacts.edit(stored, lambda card: card.with_lines([("NOTE", "x")])))
    assert not knows(clients, "bob")


def test_two_groups_are_written_though_the_book_is_locked_for_each() -> None:
    world = started(WAYWARD_CARDDAV)
    world.sandbox.controls.delay_seconds = 0.05
    number = world.request_count
    tap(world, "@ToTruck")
    assert 423 in {entry.status for entry in world.requests_since(number)}
    sandbox = world.sandbox
    assert len(sandbox.group_members("Truck")) == len(sandbox.group_members("Paper Trail")) == 1
    assert world.named("sender_failed") == world.named("poll_failed") == []


def test_whoever_meets_a_lock_waits_until_no_other_write_is_on_its_way() -> None:
    clients = VirtualClients(replace(WAYWARD_CARDDAV, puts_elsewhere=False))
    hrefs = [clients.sandbox.put_card(contact(name)) for name in ("ann", "bob", "eve", "joe")]
    stored = clients.run(clients.contacts.fetch(hrefs))
    clients.sandbox.controls.delay_seconds = 0.05
    writes = [
        clients.contacts.edit(usable(card, href), lambda card: card.with_lines([("NOTE", "x")]))
        for href, card in stored.items()
    ]
    number = len(clients.requests)
    clients.run(together(clients.loop, writes))
    # All at once, three of them refused; then those three one after the other.
    assert len(clients.requests) - number == 4 + 3


def test_two_syncs_at_once_are_one_after_the_other() -> None:
    clients = VirtualClients()
    clients.run(clients.contacts.sync())
    clients.sandbox.put_card(contact("ann"))
    clients.sandbox.controls.delay_seconds = 1.0
    began, number = clients.clock.now(), len(clients.requests)
    clients.run(together(clients.loop, [clients.contacts.sync(), clients.contacts.sync()]))
    assert len(clients.requests) - number == 2
    assert clients.clock.now() - began == pytest.approx(2.0)
    assert knows(clients, "ann")


def test_an_etag_goes_back_as_the_server_spells_it() -> None:
    world = started(PLAIN_CARDDAV)
    tap(world)
    tap(world, "@ToJail")
    assert not {400, 412} & {entry.status for entry in world.sandbox.log.entries}
    assert world.named("sender_failed") == []


def test_digest_works_where_it_is_all_that_is_offered() -> None:
    world = started(replace(CYRUS_3_10, dav_authentication="Digest"))
    tap(world)
    dav = [entry for entry in world.sandbox.log.entries if entry.path.startswith("/dav/")]
    refused = [entry for entry in dav if entry.status == 401]
    # Basic was tried once; after that libcurl asks and answers.
    assert len(refused) == 1 + len(dav) - len(refused)


# Reading the book

NO_SYNC: list[Answer] = [
    Answer(403),
    Answer(
        403, {"Content-Type": "application/xml"}, b'<error xmlns="DAV:"><supported-report/></error>'
    ),
    *map(Answer, (400, 405, 409, 412, 415, 422, 501, 507)),
]


def refusing_sync(answer: Answer) -> Fault:
    return Fault(
        method="REPORT", rewrite=lambda told: answer if b"sync-token" in told.body else told
    )


@pytest.mark.parametrize("answer", NO_SYNC, ids=lambda each: str(each.status))
def test_without_sync_etags_and_multiget_are_enough(answer: Answer) -> None:
    clients = VirtualClients()
    clients.sandbox.put_card(contact("bob"), "bob.vcf")
    clients.sandbox.put_card(contact("ann"), "ann.vcf")
    clients.sandbox.faults.add(refusing_sync(answer))
    sync(clients)
    assert (knows(clients, "bob"), knows(clients, "ann")) == (True, True)
    assert sync(clients) == [f"PROPFIND {BOOK}"]
    clients.sandbox.put_card(contact("eve"), "eve.vcf")
    clients.sandbox.put_card(contact("bobby"), "bob.vcf")
    clients.sandbox.delete_card(f"{BOOK}ann.vcf")
    assert sync(clients) == [f"PROPFIND {BOOK}", f"REPORT {BOOK}"]
    names = ("bob", "bobby", "ann", "eve")
    assert [name for name in names if knows(clients, name)] == ["bobby", "eve"]


def test_a_book_that_a_listing_does_not_call_one_is_not_taken_for_a_card() -> None:
    clients = VirtualClients()
    clients.sandbox.put_card(contact("bob"), "bob.vcf")

    def untyped(told: Answer) -> Answer:
        return replace(told, body=re.sub(rb"<[^<>]*collection */>", b"", told.body))

    clients.sandbox.faults.add(refusing_sync(Answer(403)))
    clients.sandbox.faults.add(Fault(method="PROPFIND", path=BOOK, rewrite=untyped))
    asked: list[bytes] = []
    clients.sandbox.before(lambda _, request: asked.append(request.body))
    sync(clients)
    assert knows(clients, "bob")
    assert not [body for body in asked if f"{BOOK}<".encode() in body]


def test_a_book_that_is_empty_and_stays_so_costs_one_request() -> None:
    clients = VirtualClients(STALWART)
    for href in clients.sandbox.cards():
        clients.sandbox.delete_card(href)
    sync(clients)
    assert sync(clients) == [f"REPORT {BOOK}"]


def test_a_server_without_sync_does_the_whole_job_and_no_403_ends_it() -> None:
    world = World()
    world.sandbox.faults.add(refusing_sync(Answer(403)))
    world.start()
    tap(world)
    assert world.healthz[1]["status"] == "ok"


def test_a_ban_is_not_taken_for_a_server_without_sync() -> None:
    clients = VirtualClients()
    sync(clients)
    clients.sandbox.faults.add(Fault(answer=Answer(403)))
    clients.fails(Forbidden, clients.contacts.sync())
    clients.sandbox.faults.clear()
    assert f"REPORT {BOOK}" in sync(clients)


def test_a_sync_with_a_token_that_is_none_of_cyrus_is_not_asked_for_parts_of_cards() -> None:
    """Stalwart drops what has a group from them."""
    clients = VirtualClients(STALWART)
    clients.sandbox.put_card(
        card("UID:bob", "FN:Bob", "N:;;;;", "item1.EMAIL:bob@example.org"), "bob.vcf"
    )
    sync(clients)
    assert knows(clients, "bob")
    clients.sandbox.put_card(
        card("UID:eve", "FN:Eve", "N:;;;;", "item1.EMAIL:eve@example.org"), "eve.vcf"
    )
    assert sync(clients) == [f"REPORT {BOOK}"] * 2
    assert knows(clients, "eve")


def most_bytes(clients: VirtualClients) -> int:
    return max(entry.bytes_out for entry in clients.sandbox.log.entries)


def test_a_large_book_is_read_in_portions() -> None:
    """700 cards with photos were one answer larger than 64 MiB, and never read."""
    clients = VirtualClients(replace(SABRE, card_form="as put"))
    clients.run(clients.contacts.sync())
    photo = f"PHOTO;ENCODING=b:{'x' * 100_000}"
    for number in range(120):
        clients.sandbox.put_card(contact(f"n{number}", photo))
    received = clients.totals.bytes_received
    sync(clients)
    assert [n for n in range(120) if not knows(clients, f"n{n}")] == []
    assert most_bytes(clients) < 6 * MIB
    assert clients.totals.bytes_received - received < 14 * MIB


def test_cards_too_large_for_a_portion_are_read_in_smaller_ones() -> None:
    clients = VirtualClients(replace(SABRE, card_form="as put"))
    clients.run(clients.contacts.sync())
    photo = f"PHOTO;ENCODING=b:{'x' * 1_500_000}"
    for number in range(9):
        clients.sandbox.put_card(contact(f"n{number}", photo))
    sync(clients)
    assert [n for n in range(9) if not knows(clients, f"n{n}")] == []
    sizes = [entry.bytes_out for entry in clients.sandbox.log.entries]
    # One is cut off, the next is within the limit, all others are as large as they are meant to.
    assert [size // MIB for size in sorted(sizes)[-3:]] == [1, 5, 12]


def test_a_book_whose_first_sync_is_cut_is_read_whole() -> None:
    """Stalwart's is, at 2,000, with the final token: the rest never comes."""
    clients = VirtualClients(replace(STALWART, sync_page=5))
    for number in range(12):
        clients.sandbox.put_card(contact(f"n{number}"))
    sync(clients)
    assert len(clients.contacts.book) == len(clients.sandbox.cards())
    assert sync(clients) == [f"REPORT {BOOK}"]


def test_a_listing_that_is_cut_as_well_is_refused_loudly() -> None:
    clients = VirtualClients(replace(STALWART, sync_page=2))

    def cut(told: Answer) -> Answer:
        if b"getetag" not in told.body or b"sync-token" in told.body:
            return told
        more = b"<response xmlns='DAV:'><href>/</href><status>HTTP/1.1 507 Full</status></response>"
        head, end, tail = told.body.rpartition(b"</")
        return replace(told, body=head + more + end + tail)

    clients.sandbox.faults.add(Fault(method="PROPFIND", path=BOOK, rewrite=cut))
    assert "too large for it" in clients.fails(LastingTrouble, clients.contacts.sync())


def test_a_token_that_means_nothing_any_more_hides_no_deletion() -> None:
    """Stalwart refuses none: it lists everything that there is, and says nothing of what is not."""
    clients = VirtualClients(STALWART)
    clients.sandbox.put_card(contact("bob"), "bob.vcf")
    clients.sandbox.put_card(contact("ann"), "ann.vcf")
    sync(clients)
    clients.sandbox.delete_card(f"{BOOK}bob.vcf")
    clients.sandbox.put_card(contact("eve"), "eve.vcf")
    clients.sandbox.forget_sync_tokens()
    sync(clients)
    assert [name for name in ("bob", "ann", "eve") if knows(clients, name)] == ["ann", "eve"]


def test_where_tokens_cannot_be_trusted_the_book_is_looked_through_once_a_day() -> None:
    clients = VirtualClients(WAYWARD_CARDDAV)
    clients.sandbox.put_card(contact("bob"), "bob.vcf")
    sync(clients)
    clients.sandbox.delete_card(f"{BOOK}bob.vcf")
    clients.clock.advance(86_000.0)
    assert sync(clients) == [f"REPORT {BOOK}"]
    assert knows(clients, "bob")
    clients.clock.advance(500.0)
    assert sync(clients) == [f"REPORT {BOOK}", f"PROPFIND {BOOK}"]
    assert not knows(clients, "bob")
    clients.clock.advance(80_000.0)
    assert sync(clients) == [f"REPORT {BOOK}"]


def test_too_much_at_once_is_tried_again_and_costs_no_token() -> None:
    """Stalwart says so with 400, as others do to a token."""
    clients = VirtualClients(STALWART)
    clients.sandbox.put_card(contact("bob"), "bob.vcf")
    sync(clients)
    for name, times in (("eve", 2), ("joe", None)):
        clients.sandbox.put_card(contact(name), f"{name}.vcf")
        clients.answers(CROWDED, method="REPORT", times=times)
        if times is None:
            assert "maxConcurrentRequests" in clients.fails(Crowded, clients.contacts.sync())
            clients.sandbox.faults.clear()
        # Twice in vain, once for what has changed, once for the new card.
        assert len(sync(clients)) == (4 if times else 2)
        assert knows(clients, name)


def test_too_much_at_once_is_nobodys_failure() -> None:
    world = World(STALWART).start()
    mail_id = world.sandbox.deliver(BOB)
    world.sandbox.faults.add(Fault(method="PUT", answer=CROWDED))
    world.settle()
    world.sandbox.label(mail_id, "@ToFeed")
    world.run_for(60.0)
    assert world.sandbox.mailboxes_of(mail_id) == {"Screener", "@ToFeed"}
    world.sandbox.faults.clear()
    world.run_for(61.0)
    assert world.sandbox.mailboxes_of(mail_id) == {"Feed"}
    assert world.named("sender_failed") == []


def test_cyrus_is_trusted() -> None:
    clients = VirtualClients()
    sync(clients)
    clients.clock.advance(864_000.0)
    assert sync(clients) == [f"REPORT {BOOK}"]


def test_an_href_goes_back_as_the_server_spells_it() -> None:
    """Stalwart compares them as strings."""
    world = World(STALWART)
    href = world.sandbox.put_card(contact("bob"), "b@b +ü.vcf")
    world.start().settle()
    tap(world)
    tap(world, "@ToJail")
    assert world.named("sender_failed") == []
    assert world.sandbox.group_members("Jail") == {"bob"}
    assert href in world.sandbox.cards()


def test_hrefs_of_a_book_whose_path_is_spelt_otherwise_are_told_apart_and_sent_back() -> None:
    """A user name with an @ is enough."""
    clients = VirtualClients(STALWART, user="alice@example.org")
    href = clients.sandbox.put_card(contact("bob"), "bob.vcf")
    sync(clients)
    assert "alice%40example.org" in clients.run(clients.contacts.url())
    stored = clients.run(
        clients.contacts.read("/dav/addressbooks/user/alice@example.org/Default/bob.vcf")
    )
    clients.run(clients.contacts.edit(stored, lambda card: card.with_lines([("NOTE", "x")])))
    assert "NOTE:x" in clients.sandbox.cards()[href]
    new = clients.run(clients.contacts.href_of("new"))
    assert (
        clients.run(clients.contacts.create(new, Card.parse(contact("new").encode()))) is not None
    )


def test_the_book_of_another_account_in_ones_home_is_not_taken() -> None:
    """Stalwart lists it, and all of them are called "default"."""
    clients = VirtualClients(STALWART, user="zora")
    assert clients.run(clients.contacts.url()) == ORIGIN + BOOK.replace("alice", "zora")


def test_a_book_of_another_account_can_be_named_by_its_path() -> None:
    foreign = BOOK.replace("alice", "zoe")
    clients = VirtualClients(STALWART, book_name=foreign)
    assert clients.run(clients.contacts.url()) == ORIGIN + foreign


# The first time


def thinking(seconds: float, times: int | None = 1) -> Fault:
    return Fault(method="REPORT", times=times, delivery=Delivery(delay_seconds=seconds))


def line(world: World) -> str:
    return status_line(world.account.snapshot())


def test_a_first_sync_may_take_the_server_minutes_and_the_status_says_so() -> None:
    """33 s before the first byte were seen."""
    world = World()
    told: list[str] = []
    world.account.on_change = lambda: told.append(line(world))
    world.sandbox.faults.add(thinking(280.0))
    world.account.start()
    world.run_for(200.0)
    assert "reading the address book for the first time" in line(world)
    assert "reading the address book for the first time" in told[-1]
    world.run_for(100.0)
    assert (world.named("poll_failed"), world.polls > 0) == ([], True)
    assert "reading the address book" not in line(world)
    tap(world)


def test_a_first_sync_that_takes_too_long_is_not_asked_again_at_once() -> None:
    world = World()
    world.sandbox.faults.add(thinking(1e9, times=None))
    world.account.start()
    world.run_for(3600.0)
    asked = [e.started for e in world.sandbox.log.entries if e.method == "REPORT"]
    assert len(asked) <= 8
    world.sandbox.faults.clear()
    world.run_for(3600.0)
    assert world.healthz[1]["status"] == "ok"


def test_a_later_sync_has_no_such_patience() -> None:
    clients = VirtualClients()
    sync(clients)
    clients.sandbox.faults.add(thinking(60.0))
    assert "nothing for 30 s" in clients.fails(NoAnswer, clients.contacts.sync())


def test_a_first_sync_that_cannot_even_begin_is_tried_again_soon() -> None:
    """A laptop that boots without a network does not wait a minute for it afterwards."""
    world = World()
    world.sandbox.faults.add(Fault(breaks="before"))
    world.account.start()
    world.run_for(20.0)
    world.sandbox.faults.clear()
    world.run_for(20.0)
    assert world.healthz[1]["status"] == "ok"


@pytest.mark.parametrize(
    ("profile", "kind"),
    [
        (STALWART, "KIND:group"),
        (CYRUS_3_13, "X-ADDRESSBOOKSERVER-KIND:group"),
        (CYRUS_3_10, "X-ADDRESSBOOKSERVER-KIND:group"),
    ],
    ids=lambda each: getattr(each, "name", None),
)
def test_a_new_group_is_one_to_all_who_use_the_server(profile: Profile, kind: str) -> None:
    """To contacts by JMAP on Stalwart those of vCard 3 are persons."""
    site = Site(profile, {"contacts": {"by": "carddav"}})
    context = site.context()
    context.run(context.clients.contacts.refresh())
    assert context.run(context.clients.contacts.create_group("Feed"))
    [text] = site.sandbox.cards().values()
    assert f"\n{kind}\r\n".lower() in text.lower()


@pytest.mark.parametrize("profile", [CYRUS_3_10, SABRE, WAYWARD_CARDDAV])
def test_a_card_that_was_denied_for_a_moment_is_found_again(profile: Profile) -> None:
    """No sync tells of it: it has not changed."""
    clients = VirtualClients(profile)
    href = clients.sandbox.put_card(contact("bob"))
    sync(clients)
    clients.answers(Answer(404), "PUT")
    stored = clients.run(clients.contacts.read(href))
    clients.fails(
        SenderFailed, clients.contacts.edit(stored, lambda card: card.with_lines([("X-A", "b")]))
    )
    assert not knows(clients, "bob")
    sync(clients)
    assert knows(clients, "bob")


@pytest.mark.parametrize("profile", [SABRE, PLAIN_CARDDAV])
def test_a_card_that_is_told_of_and_denied_is_asked_for_again(profile: Profile) -> None:
    clients = VirtualClients(profile)
    sync(clients)
    href = clients.sandbox.put_card(contact("bob"))

    def deny(told: Answer) -> Answer:
        """Listed, and not among the cards: a server in trouble."""
        parts = re.split(r"(?=<(?:D:)?response>)|(?<=</D:response>)|(?<=</response>)",
                         told.body.decode())  # fmt: skip
        kept = [part for part in parts if "address-data" not in part or href not in part]
        return replace(told, body="".join(kept).encode())

    fault = Fault(method="REPORT", rewrite=deny, times=4)
    clients.sandbox.faults.add(fault)
    sync(clients)
    assert not knows(clients, "bob")
    clients.sandbox.faults.clear()
    sync(clients)
    assert knows(clients, "bob")


def test_a_look_that_was_broken_off_is_made_again() -> None:
    """The list comes, and the cards do not."""
    clients = VirtualClients()
    href = clients.sandbox.put_card(contact("bob"))
    sync(clients)
    clients.answers(Answer(404), "PUT")
    stored = clients.run(clients.contacts.read(href))
    changed = clients.contacts.edit(stored, lambda card: card.with_lines([("X-A", "b")]))
    clients.fails(SenderFailed, changed)
    clients.sandbox.faults.add(Fault(method="REPORT", nth=2, breaks="after", times=1))
    clients.fails(TransientError, clients.contacts.sync())
    assert not knows(clients, "bob")
    sync(clients)
    assert knows(clients, "bob")


def test_whom_the_index_knows_costs_no_request() -> None:
    """And it is brought up to date where it is five minutes old; an outage leaves it as it was."""
    site = Site(CYRUS_3_10)
    site.sandbox.put_card(contact("bob"))
    context, log = site.context(), site.sandbox.log
    contacts = context.clients.contacts
    who = ["bob@example.org", "eve@example.org"]

    def known() -> list[str]:
        found = context.run(contacts.acquainted(who))
        return [address for address in who if found[address].is_in_book]

    assert known() == who[:1]
    number = len(log.entries)
    site.sandbox.put_card(contact("eve"))
    assert known() == who[:1]
    assert len(log.entries) == number
    site.clock.advance(299.0)
    early = contacts.has_news
    site.clock.advance(1.0)
    late = contacts.has_news
    context.run(contacts.refresh())
    assert known() == who
    assert (early, late, contacts.has_news) == (False, True, False)
