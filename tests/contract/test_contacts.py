"""``Contacts``, whichever way they go: one suite for all implementations, on all servers.

Run on Cyrus 3.10.2 (CardDAV), and both ways on Cyrus 3.13.7 and Stalwart 0.15.5. An account may
change over from one way to the other, so each also reads what the other has written.
"""

import os
import re
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from datetime import date
from typing import Any, TypeVar

import pytest
from _pytest.mark.structures import ParameterSet

from mailroom.engine.credentials import Basic, Logins
from mailroom.errors import SenderFailed
from mailroom.rules.configuration.config import Config, from_data
from mailroom.rules.contacts.contact import contact_uid
from mailroom.rules.contacts.groups import bare_uid
from mailroom.rules.contacts.kept import kept_uid
from mailroom.rules.contacts.record import Record
from mailroom.rules.contacts.roster import (
    Acquaintance,
    Change,
    Filing,
    Found,
    Plan,
    Provenance,
    managed_groups,
    taken_back,
    triaged,
)
from mailroom.rules.screening.wide import Decisions
from mailroom.terminal.context import context_for
from mailroom.wire.vcard import Card
from mailroom.work.contacts.contacts import Contacts, Failures, Intention
from tests.contract.peers import Client, Server, eventually, unique
from tests.contract.test_carddav import Book

T = TypeVar("T")

TODAY = date(2026, 11, 21)
LATER = date(2026, 12, 2)
#: Servers, each with the ways that it has.
WAYS = {
    "sandbox cyrus-3.10": ("carddav",),
    "sandbox cyrus-3.13": ("carddav", "jmap"),
    "sandbox stalwart": ("carddav", "jmap"),
    "sandbox sabre": ("carddav",),
    "MAILROOM_CYRUS_URL": ("carddav",),
    "CYRUS313": ("carddav", "jmap"),
    "STALWART": ("carddav", "jmap"),
}


def places(*, with_both: bool = False) -> list[ParameterSet]:
    """Return parameters ``server, way``; a variable that names no server is left out."""
    return [
        pytest.param(
            name,
            way,
            id=f"{name} by {way}",
            marks=pytest.mark.sandbox if name.startswith("sandbox ") else pytest.mark.system,
        )
        for name, ways in WAYS.items()
        if name.startswith("sandbox ") or name in os.environ
        for way in ways
        if len(ways) > 1 or not with_both
    ]


everywhere = pytest.mark.parametrize(("server", "way"), places(), indirect=["server"])


class Side:
    """One account's contacts as Mailroom sees them, with groups of this test's own."""

    def __init__(self, server: Server, way: str, config: Config | None = None) -> None:
        self.server = server
        self.config = config or _config(server)
        login = Basic(server.user, server.password)
        by = from_data({"contacts": {"by": way}}).contacts
        self._context = context_for(replace(self.config, contacts=by), Logins(login, login))
        self.contacts: Contacts = self._context.clients.contacts
        self.account_id: str = self.run(self._account_id())

    async def _account_id(self) -> str:
        return (await self._context.clients.mail.session()).account_id

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._context.run(coroutine)

    def other(self, way: str) -> "Side":
        """The same account by another process, which knows nothing."""
        return Side(self.server, way, self.config)

    def make_groups(self) -> None:
        for name in managed_groups(self.config):
            assert self.run(self.contacts.create_group(name))

    @property
    def feed(self) -> str:
        return self.config.triage.categories[0].contact_group

    @property
    def jail(self) -> str:
        return self.config.triage.categories[1].contact_group

    @property
    def screened(self) -> str:
        return self.config.triage.screened_group

    @property
    def mailroom(self) -> str:
        return self.config.mailroom.provenance_group

    def look(self, *addresses: str) -> dict[str, Found]:
        return dict(self.run(self.contacts.find(addresses)))

    def find(self, address: str) -> Found:
        """The contact with an address; a server's index may run behind."""
        return eventually(lambda: self.look(address).get(address))

    def acquaintance(self, address: str) -> Acquaintance:
        return self.run(self.contacts.acquainted([address]))[address]

    def eventually_acquainted(self, address: str) -> Acquaintance:
        """As above, once a card with the address is seen."""

        def look() -> Acquaintance | None:
            self.run(self.contacts.refresh())
            found = self.acquaintance(address)
            return None if found == Acquaintance() else found

        return eventually(look)

    def decide(self, key: str, category: str | None, *, is_list: bool = False) -> None:
        self.run(self.contacts.decide(key, category, is_list=is_list))

    def decisions(self) -> Decisions:
        self.run(self.contacts.refresh())
        return self.contacts.decisions

    def filing(self, address: str, category: int = 0, today: date = TODAY) -> Filing:
        return Filing(address, "Bob Bobson", self.config.triage.categories[category], today)

    def change(
        self, address: str, category: int = 0, today: date = TODAY, contact: Found | None = None
    ) -> Change:
        """What a triage asks for."""
        return triaged(self.config, address, contact, self.filing(address, category, today))

    def triage(self, address: str, category: int = 0, today: date = TODAY) -> Failures:
        """Find and apply, as a poll does."""
        contact = self.look(address).get(address)
        return self.apply(self.change(address, category, today, contact))

    def take_back(self, address: str) -> Failures:
        """Find and apply, as a poll does: whether a contact was edited is looked at on the way."""

        def intend(found: Mapping[str, Found]) -> Plan:
            contact = found.get(address)
            return Plan((taken_back(self.config, address, contact),) if contact else ())

        return self.run(self._taken_back([address], intend))

    async def _taken_back(self, addresses: list[str], intend: Intention) -> Failures:
        found = await self.contacts.find(addresses, intend)
        return await self.contacts.apply(intend(found))

    def release(self, address: str) -> Failures:
        """Leave it, as a reset does."""
        return self.apply(Change(address, self.find(address), frozenset(), is_released=True))

    def apply(self, *changes: Change) -> Failures:
        return self.run(self.contacts.apply(Plan(changes)))

    def members(self, name: str) -> frozenset[str]:
        self.run(self.contacts.refresh())
        groups = self.run(self.contacts.groups())
        return next(group.members for group in groups if group.name == name)

    def uid_for(self, address: str, counter: int = 0) -> str:
        return contact_uid(self.account_id, address, counter)


def _config(server: Server) -> Config:
    groups = (unique("Feed"), unique("Jail"))
    categories = [
        {"name": name, "contact_group": group, "contact_type": type_}
        for name, group, type_ in zip(("Feed", "Jail"), groups, ("company", "person"), strict=True)
    ]
    return from_data(
        {
            "jmap": {"url": f"{server.url}{server.session_path}", "username": server.user},
            "carddav": {"url": f"{server.url}{server.book_path}"},
            "triage": {"categories": categories, "screened_group": unique("screened")},
            "mailroom": {"provenance_group": unique("Mailroom")},
        }
    )


class User:
    """Somebody at an address book program, which speaks CardDAV."""

    def __init__(self, client: Client) -> None:
        self.book = Book(client)

    def add(self, *lines: str, uid: str | None = None) -> tuple[str, str]:
        """Put a new card; its UID and href."""
        uid = uid or unique("card")
        href = f"{self.book.path}{uid}.vcf"
        frame = ("BEGIN:VCARD", "VERSION:3.0", f"UID:{uid}", "FN:Bob", "N:;Bob;;;")
        text = "".join(f"{line}\r\n" for line in (*frame, *lines, "END:VCARD"))
        answer = self.book.put(href, text, If_None_Match="*")
        assert answer.status == 201, answer
        return uid, href

    def text(self, uid: str) -> str | None:
        """The card of this UID as the program sees it, unfolded; None where there is none."""
        found = self._found(uid)
        return None if found is None else re.sub("\r?\n ", "", found[1])

    def edit(self, uid: str, old: str, new: str) -> None:
        found = self._found(uid)
        assert found is not None
        assert old in found[1]
        answer = self.book.put(found[0], found[1].replace(old, new))
        assert answer.status in (201, 204), answer

    def _found(self, uid: str) -> tuple[str, str] | None:
        every = self.book.sync().found
        texts = self.book.multiget(*(href for href in every if not href.endswith("/")))
        for href in texts.found:
            text = texts.text(href)
            line = Card.parse(text.encode()).first("UID")
            if line is not None and bare_uid(line.text) == uid:
                return href, text
        return None


@pytest.fixture
def side(server: Server, way: str) -> Side:
    side = Side(server, way)
    side.make_groups()
    return side


@pytest.fixture
def undecided(side: Side) -> None:
    """Nothing is left of what other tests have decided."""
    side.run(side.contacts.forget_decisions())


@pytest.fixture
def user(client: Client) -> User:
    return User(client)


def an_address(name: str = "bob") -> str:
    return f"{unique(name)}@example.org"


# Finding


@everywhere
def test_a_contact_is_found_by_any_of_its_addresses_and_without_case(
    side: Side, user: User
) -> None:
    one, two = an_address(), an_address("robert")
    uid, _ = user.add(f"EMAIL:{one.upper()}", f"EMAIL;TYPE=HOME:{two}")
    found = side.find(two)
    assert (found.uid, found.name, set(found.addresses)) == (uid, "Bob", {one, two})
    assert (found.provenance, found.groups) == (Provenance.NONE, frozenset())
    assert side.find(one).reference == found.reference


@everywhere
def test_who_has_no_contact_is_left_out(side: Side, user: User) -> None:
    """A server finds words: the whole address decides."""
    address = an_address()
    user.add(f"EMAIL:x.{address}")
    side.find(f"x.{address}")
    assert side.look(address, f"{address}.au") == {}


@everywhere
def test_of_several_contacts_the_one_in_a_managed_group_counts(side: Side, user: User) -> None:
    address = an_address()
    member, _ = user.add(f"EMAIL:{address}", uid=unique("z"))
    side.find(address)
    assert not side.triage(address)
    for prefix in ("a", "zz"):
        other, further = an_address(), unique(prefix)
        user.add(f"EMAIL:{address}", f"EMAIL:{other}", uid=further)
        assert side.find(other).uid == further
    assert side.find(address).uid == member


# Who is known


@everywhere
def test_what_the_book_says_of_an_address_is_what_all_of_its_cards_say(
    side: Side, user: User
) -> None:
    """Mailroom's own contact, and one of the user's with the same address, in another group."""
    address, other = an_address(), an_address("robert")
    assert not side.triage(address)
    side.find(address)
    assert side.acquaintance(address) == Acquaintance(frozenset({side.feed, side.mailroom}))
    uid, _ = user.add(f"EMAIL:{address.upper()}", f"EMAIL:{other}")
    assert side.eventually_acquainted(other) == Acquaintance(frozenset(), is_in_book=True)
    jailed = Change(other, side.find(other), frozenset(), frozenset({side.jail}))
    assert side.find(other).uid == uid
    assert not side.apply(jailed)
    groups = frozenset({side.feed, side.jail, side.mailroom})
    assert side.acquaintance(address) == Acquaintance(groups, is_in_book=True)
    assert side.acquaintance(other) == Acquaintance(frozenset({side.jail}), is_in_book=True)


@everywhere
def test_who_has_no_card_is_not_known_and_a_pattern_is_nobody(side: Side, user: User) -> None:
    """A server's rules would take the address of a card for everybody's of its domain."""
    stranger, known = an_address(), an_address()
    domain = known.partition("@")[2]
    user.add(f"EMAIL:*@{domain}", f"EMAIL:{known}")
    side.eventually_acquainted(known)
    asked = [stranger, f"*@{domain}", f"x.{known}"]
    assert side.run(side.contacts.acquainted(asked)) == dict.fromkeys(asked, Acquaintance())
    assert side.run(side.contacts.acquainted([])) == {}


@everywhere
def test_many_are_asked_for_at_once(side: Side) -> None:
    known = [an_address() for _ in range(3)]
    assert not side.apply(*(side.change(address) for address in known))
    side.eventually_acquainted(known[-1])
    strangers = [an_address() for _ in range(120)]
    found = side.run(side.contacts.acquainted([*known, *strangers]))
    triaged_ = Acquaintance(frozenset({side.feed, side.mailroom}))
    assert found == {**dict.fromkeys(known, triaged_), **dict.fromkeys(strangers, Acquaintance())}


# Creating


@everywhere
def test_a_contact_is_created_and_in_its_groups(side: Side, user: User) -> None:
    address = an_address()
    assert not side.triage(address)
    found = side.find(address)
    assert found.uid == side.uid_for(address)
    assert found.groups == {side.feed, side.mailroom}
    assert (found.provenance, found.noted) == (Provenance.CREATED, "Feed")
    assert found.name == "Bob Bobson"
    text = user.text(found.uid)
    assert text is not None
    assert "Triaged to Feed on 2026-11-21" in text


@everywhere
def test_a_lost_answer_makes_no_second_contact(side: Side, way: str) -> None:
    """Whoever comes next finds it; and who does not, for the index is late, does not make one."""
    address = an_address()
    change = side.change(address)
    assert not side.apply(change)
    again = side.other(way)
    again.find(address)
    assert not again.apply(change)
    assert side.find(address).uid == side.uid_for(address)
    assert side.members(side.feed) == {side.uid_for(address)}


@everywhere
def test_a_card_that_the_user_gave_to_somebody_else_is_left_to_them(side: Side, user: User) -> None:
    address = an_address()
    assert not side.triage(address)
    side.find(address)
    user.edit(side.uid_for(address), address, an_address("carol"))
    eventually(lambda: None if side.look(address) else True)
    before = user.text(side.uid_for(address))
    assert not side.triage(address)
    assert side.find(address).uid == side.uid_for(address, 1)
    assert user.text(side.uid_for(address)) == before


@everywhere
def test_fifty_are_created_at_once(side: Side) -> None:
    addresses = [an_address() for _ in range(50)]
    assert not side.apply(*(side.change(address) for address in addresses))
    assert side.members(side.feed) == {side.uid_for(address) for address in addresses}


# Changing


@everywhere
def test_a_change_of_mind_is_noted_once(side: Side, user: User) -> None:
    address = an_address()
    for category, today in ((0, TODAY), (1, LATER), (1, LATER)):
        assert not side.triage(address, category, today)
    found = side.find(address)
    assert found.groups == {side.jail, side.mailroom}
    assert (found.noted, found.is_edited) in [("Jail", False), ("Jail", None)]
    text = user.text(found.uid)
    assert text is not None
    assert text.count("Triaged to Feed on 2026-11-21") == 1
    assert text.count("Re-triaged to Jail on 2026-12-02") == 1


@everywhere
def test_what_is_so_already_is_not_written(side: Side, user: User) -> None:
    address = an_address()
    assert not side.triage(address)
    side.find(address)
    before = user.book.sync().token
    assert not side.triage(address)
    assert user.book.sync(before).found == {}


@everywhere
def test_a_card_of_the_users_is_never_written(side: Side, user: User) -> None:
    address = an_address()
    uid, href = user.add(
        f"EMAIL;TYPE=HOME:{address}", "NICKNAME:one,two", "NOTE:met in Oslo", "X-FOREIGN;A=b:kept"
    )
    before = user.book.get(href)
    side.find(address)
    assert not side.triage(address)
    assert side.find(address).groups == {side.feed, side.mailroom}
    assert not side.triage(address, 1)
    assert side.members(side.jail) == {uid}
    assert not side.take_back(address)
    assert not side.members(side.jail)
    assert side.members(side.screened) == side.members(side.mailroom) == {uid}
    assert not side.triage(address)
    assert not side.members(side.screened)
    after = user.book.get(href)
    assert (after.body, after.headers["ETag"]) == (before.body, before.headers["ETag"])


# Releasing


@everywhere
@pytest.mark.parametrize("category", [0, 1], ids=["company", "person"])
def test_an_unedited_contact_is_deleted_and_out_of_its_groups(
    side: Side, user: User, category: int
) -> None:
    address = an_address()
    assert not side.triage(address, category)
    assert not side.triage(address, 1 - category)
    assert not side.take_back(address)
    assert user.text(side.uid_for(address)) is None
    assert side.members(side.jail) == side.members(side.mailroom) == set()
    assert not side.members(side.screened)


@everywhere
def test_who_would_be_known_otherwise_is_in_the_screened_group_from_then_on(
    side: Side, user: User
) -> None:
    """Somebody whom the user has written to: whether Mailroom has made a contact or not."""
    triaged_, new = an_address(), an_address("carol")
    assert not side.triage(triaged_)
    filing = replace(side.filing(new), category=None)
    changes = [
        taken_back(side.config, triaged_, side.find(triaged_), is_known=True),
        taken_back(side.config, new, None, filing, is_known=True),
    ]
    for _ in range(2):  # done again it changes nothing
        assert not side.apply(*changes)
    uids = {side.uid_for(triaged_), side.uid_for(new)}
    assert side.members(side.screened) == side.members(side.mailroom) == uids
    assert not side.members(side.feed)
    found = side.find(new)
    assert (found.provenance, found.noted) == (Provenance.CREATED, None)
    assert found.is_edited in (False, None)
    assert not side.triage(new)
    assert side.find(new).noted == "Feed"
    assert side.members(side.screened) == {side.uid_for(triaged_)}


@everywhere
def test_an_edited_contact_is_kept_and_its_sender_is_screened(side: Side, user: User) -> None:
    address = an_address()
    assert not side.triage(address)
    side.find(address)
    user.edit(side.uid_for(address), "FN:Bob Bobson", "FN:Bobby")
    eventually(lambda: True if side.find(address).name == "Bobby" else None)
    assert not side.take_back(address)
    text = user.text(side.uid_for(address))
    assert text is not None
    assert "Bobby" in text
    uid = side.uid_for(address)
    assert side.members(side.screened) == side.members(side.mailroom) == {uid}
    assert not side.members(side.feed)


@everywhere
def test_a_missing_screened_group_fails_who_should_join_it_and_nobody_else(
    side: Side, user: User, way: str
) -> None:
    """An account that was set up before there was one; as soon as it is made it is used."""
    known, stranger = an_address(), an_address()
    user.add(f"EMAIL:{known}")
    side.find(known)
    assert not side.triage(known)
    assert not side.triage(stranger)
    assert side.run(side.contacts.remove_group(side.screened))
    changes = [
        taken_back(side.config, known, side.find(known)),
        taken_back(side.config, stranger, replace(side.find(stranger), is_edited=False)),
    ]
    failed = side.apply(*changes)
    assert [str(failed[known])] == [
        f"the contact group {side.screened} is missing: run mailroom setup --apply"
    ]
    assert failed.keys() == {known}
    assert user.text(side.uid_for(stranger)) is None
    assert side.find(known).groups == {side.feed, side.mailroom}
    setup = side.other(way)
    assert setup.run(setup.contacts.create_group(side.screened))
    assert not side.take_back(known)
    assert side.find(known).groups == {side.screened, side.mailroom}


@everywhere
def test_an_edited_contact_stays_without_what_mailroom_wrote(side: Side, user: User) -> None:
    address = an_address()
    assert not side.triage(address)
    side.find(address)
    user.edit(side.uid_for(address), "FN:Bob Bobson", "FN:Bobby")
    eventually(lambda: True if side.find(address).name == "Bobby" else None)
    assert not side.release(address)
    text = user.text(side.uid_for(address))
    assert text is not None
    assert "Bobby" in text
    assert "— Mailroom —" not in text
    assert "X-MAILROOM" not in text
    assert "mailroom.example" not in text
    assert side.find(address).provenance is Provenance.NONE


# Failing


@everywhere
def test_a_failure_is_its_senders_alone(side: Side) -> None:
    good, bad = an_address(), "*@example.org"
    failures = side.apply(side.change(good), side.change(bad))
    assert set(failures) == {bad}
    assert side.find(good).groups == {side.feed, side.mailroom}


@everywhere
def test_a_missing_group_is_an_obstacle_and_nothing_is_written(side: Side) -> None:
    address = an_address()
    plan = Plan(
        (Change(address, None, frozenset(), frozenset({unique("none")}), side.filing(address)),)
    )
    assert isinstance(side.run(side.contacts.obstacles(plan))[address], SenderFailed)
    assert set(side.apply(*plan.changes)) == {address}
    assert side.look(address) == {}


@everywhere
def test_what_goes_on_beside_is_told_who_has_failed(side: Side) -> None:
    address, told = an_address(), list[set[str]]()

    async def meanwhile(failed: Failures) -> None:
        told.append(set(failed))

    wanted = frozenset({unique("none")})
    lost = Change("lost@example.org", None, frozenset(), wanted, side.filing("lost@example.org"))
    side.run(side.contacts.apply(Plan((side.change(address), lost)), meanwhile))
    assert told == [{"lost@example.org"}]


# Groups and all


@everywhere
def test_a_group_is_made_once(side: Side, way: str) -> None:
    assert not side.run(side.contacts.create_group(side.feed))
    again = side.other(way)
    assert not again.run(again.contacts.create_group(side.feed))
    names = [group.name for group in side.run(side.contacts.groups())]
    assert names.count(side.feed) == 1


@everywhere
def test_a_group_is_removed_when_it_is_empty(side: Side) -> None:
    name = unique("Old")
    assert side.run(side.contacts.create_group(name, ["0b9a6f4e-5d0b-4c3a-8d8b-0d5f1f9f7a11"]))
    assert len(side.members(name)) == 1
    assert not side.run(side.contacts.remove_group(name))
    assert side.run(side.contacts.remove_group(side.jail))
    names = [group.name for group in side.run(side.contacts.groups())]
    assert name in names
    assert side.jail not in names
    assert not side.run(side.contacts.remove_group(side.jail))


@everywhere
def test_what_setup_keeps_is_kept(side: Side, way: str) -> None:
    record = side.run(side.contacts.record())
    assert record == Record()
    made = record.with_made(frozenset({"Feed, or not"}), frozenset({'Jail "x"; \\ é'}))
    side.run(side.contacts.amend_record(lambda _: made))
    assert not side.triage(an_address())
    again = side.other(way)
    assert again.run(again.contacts.record()) == made
    assert side.run(side.contacts.remove_group(side.mailroom)) is False
    missing = Side(side.server, way)
    assert missing.run(missing.contacts.record()) is None
    with pytest.raises(SenderFailed):
        missing.run(missing.contacts.amend_record(lambda _: made))


@everywhere
def test_a_record_can_be_there_from_the_start(side: Side, way: str) -> None:
    other = Side(side.server, way)
    first = Record("2026-11-21T10:00:00Z", frozenset({"Feed"}))
    assert other.run(other.contacts.create_group(other.mailroom, record=first))
    assert other.run(other.contacts.record()) == first


@everywhere
def test_ours_are_those_created_and_those_in_the_provenance_group(side: Side, user: User) -> None:
    created, adopted, foreign = an_address(), an_address("ann"), an_address("fred")
    user.add(f"EMAIL:{adopted}")
    user.add(f"EMAIL:{foreign}")
    side.find(adopted)
    assert not side.triage(created)
    assert not side.triage(adopted)
    side.find(created)
    ours = {address: each for each in side.run(side.contacts.ours()) for address in each.addresses}
    assert foreign not in ours
    assert ours[adopted].provenance is Provenance.NONE
    assert ours[created].provenance is Provenance.CREATED
    assert ours[created].is_edited is False
    assert (ours[created].noted, ours[created].noted_on) == ("Feed", TODAY.isoformat())


@everywhere
def test_what_an_earlier_version_noted_in_a_card_of_the_users_is_read(
    side: Side, user: User
) -> None:
    address = an_address()
    lines = ("— Mailroom —", "Adopted by Mailroom", "Triaged to Feed on 2026-01-02")
    user.add(f"EMAIL:{address}", "NOTE:" + r"\n".join(lines))
    side.find(address)
    ours = {address: each for each in side.run(side.contacts.ours()) for address in each.addresses}
    assert ours[address].provenance is Provenance.ADOPTED
    assert (ours[address].noted, ours[address].noted_on) == ("Feed", "2026-01-02")


@everywhere
def test_whether_what_is_to_be_undone_was_edited_is_known_when_it_is_found(
    side: Side, user: User, way: str
) -> None:
    address = an_address()
    assert not side.triage(address)
    side.find(address)

    def take_back(found: Mapping[str, Found]) -> Plan:
        return Plan(tuple(taken_back(side.config, each, found[each]) for each in found))

    def look() -> Found:
        fresh = side.other(way)
        return fresh.run(fresh.contacts.find([address], take_back))[address]

    assert look().is_edited is False
    user.edit(side.uid_for(address), "FN:Bob Bobson", "FN:Bobby")
    assert eventually(lambda: look() if look().name == "Bobby" else None).is_edited is True


@everywhere
def test_it_says_where_the_contacts_are(side: Side, way: str) -> None:
    words = side.run(side.contacts.describe())
    assert words.endswith("; as contacts.by says")
    assert side.server.url in words


# Decisions for whole domains and lists


@everywhere
@pytest.mark.usefixtures("undecided")
def test_decisions_for_many_are_kept_and_read_by_whoever_comes_next(side: Side, way: str) -> None:
    side.decide("shop.example", "Feed")
    side.decide("news.example.org", "Feed", is_list=True)
    side.decide("bank.example", "Jail")
    for each in (side, side.other(way)):
        decisions = each.decisions()
        assert decisions.domains == {"shop.example": "Feed", "bank.example": "Jail"}
        assert decisions.lists == {"news.example.org": "Feed"}
        assert decisions.domain_days.keys() == decisions.domains.keys()


@everywhere
@pytest.mark.usefixtures("undecided")
def test_a_decision_for_many_is_in_one_category_and_can_be_taken_back(
    side: Side, user: User
) -> None:
    side.decide("shop.example", "Feed")
    side.decide("shop.example", "Jail")
    assert side.decisions().domains == {"shop.example": "Jail"}
    side.decide("shop.example", "Jail")
    side.decide("shop.example", None, is_list=True)  # which is another thing
    assert side.decisions().domains == {"shop.example": "Jail"}
    side.decide("shop.example", None)
    assert side.decisions() == Decisions()


@everywhere
@pytest.mark.usefixtures("undecided")
def test_the_card_that_keeps_decisions_is_nobody_and_goes_with_the_last(
    side: Side, user: User
) -> None:
    before = set(user.book.sync().found)
    side.decide("shop.example", "Feed")
    [href] = set(user.book.sync().found) - before
    text = user.book.multiget(href).text(href)
    assert "EMAIL" not in text
    assert "— Mailroom: whole domains and lists in Feed —" in re.sub("\r?\n ", "", text)
    assert side.run(side.contacts.acquainted(["x@shop.example"]))["x@shop.example"] == (
        Acquaintance()
    )
    assert not [each for each in side.run(side.contacts.ours()) if "Feed" in each.name]
    side.decide("shop.example", None)
    assert set(user.book.sync().found) == before


@everywhere
@pytest.mark.usefixtures("undecided")
def test_what_the_user_writes_beside_decisions_stays(side: Side, user: User) -> None:
    before = set(user.book.sync().found)
    side.decide("shop.example", "Feed")
    [href] = set(user.book.sync().found) - before
    text = re.sub("\r?\n ", "", user.book.multiget(href).text(href))
    changed = text.replace(
        "domain shop.example", "domain bank.example\\nmy bank\\ndomain shop.example"
    )
    changed = changed.replace("END:VCARD", "TEL:+49 30 1\r\nEND:VCARD")
    assert user.book.put(href, changed).status in (201, 204)
    eventually(lambda: True if "bank.example" in side.decisions().domains else None)
    side.decide("shop.example", None)
    assert side.decisions().domains == {"bank.example": "Feed"}
    side.decide("bank.example", None)
    assert side.decisions() == Decisions()
    text = user.book.multiget(href).text(href)
    assert "my bank" in text
    assert "+49" in text
    assert "Mailroom: whole" not in text
    user.book.delete(href)


@everywhere
@pytest.mark.usefixtures("undecided")
def test_a_card_that_the_user_gave_to_something_else_is_left_to_it(side: Side, user: User) -> None:
    uid = kept_uid(side.account_id, "Feed", 0)
    _, href = user.add("NOTE:mine", uid=uid)
    side.decide("shop.example", "Feed")
    assert side.decisions().domains == {"shop.example": "Feed"}
    assert "NOTE" in str(user.text(uid))
    assert "shop.example" not in str(user.text(uid))
    side.decide("shop.example", None)
    assert user.text(uid) is not None
    user.book.delete(href)


@everywhere
@pytest.mark.usefixtures("undecided")
def test_all_decisions_for_many_are_forgotten(side: Side, user: User, way: str) -> None:
    """Also those of a category that the configuration has no more; they decide nothing."""
    before = set(user.book.sync().found)
    user.add("NOTE:— Mailroom: whole domains and lists in Gone —\\ndomain gone.example")
    side.decide("shop.example", "Feed")
    side.decide("news.example.org", "Jail", is_list=True)
    eventually(lambda: True if side.decisions().domains == {"shop.example": "Feed"} else None)
    side.run(side.contacts.forget_decisions())
    assert side.other(way).decisions() == side.decisions() == Decisions()
    assert set(user.book.sync().found) == before


# Changing over

OTHER = {"jmap": "carddav", "carddav": "jmap"}

over = pytest.mark.parametrize(("server", "way"), places(with_both=True), indirect=["server"])


@over
def test_the_other_way_knows_contacts_and_groups(side: Side, way: str) -> None:
    address = an_address()
    assert not side.triage(address)
    other = side.other(OTHER[way])
    found = other.find(address)
    assert (found.provenance, found.noted) == (Provenance.CREATED, "Feed")
    assert found.groups == {side.feed, side.mailroom}
    assert not other.triage(address, 1, LATER)
    back = side.find(address)
    assert back.groups == {side.jail, side.mailroom}
    assert back.noted == "Jail"
    assert not other.run(other.contacts.create_group(side.feed))


@over
def test_the_other_way_reads_what_jmap_keeps_of_setup(side: Side, way: str) -> None:
    """Not the reverse on Cyrus 3.13.7, which shows no X- property by JMAP: then there is none."""
    made = Record("2026-11-21T10:00:00Z", frozenset({'Feed, "x"; \\ é'}), frozenset({"Jail"}))
    made = made.with_door("2026-11-26T22:00:00Z")
    side.run(side.contacts.amend_record(lambda _: made))
    other = side.other(OTHER[way])
    found = other.run(other.contacts.record())
    assert found == made if way == "jmap" else found in (made, Record())
    other.run(other.contacts.amend_record(lambda _: made.with_made(frozenset({"A"}), frozenset())))
    assert "A" in (side.run(side.contacts.record()) or Record()).mailboxes or way == "carddav"


@over
@pytest.mark.parametrize("category", [0, 1], ids=["company", "person"])
def test_the_other_way_releases(side: Side, user: User, way: str, category: int) -> None:
    """By JMAP the mark of a card made by CardDAV may be out of sight: then it is taken for edited,
    and kept."""
    address = an_address()
    assert not side.triage(address, category)
    other = side.other(OTHER[way])
    other.find(address)
    assert not other.take_back(address)
    assert other.members(side.feed) == set()
    if user.text(side.uid_for(address)) is not None:
        assert way == "carddav"
        assert other.members(side.screened) == {side.uid_for(address)}
        assert not other.release(address)
        assert "Triaged to" not in str(user.text(side.uid_for(address)))
