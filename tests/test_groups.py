"""Contact groups keep their form, their order and everything else in them."""

import time
from typing import Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailroom.rules.contacts.groups import (
    bare_uid,
    member_uids,
    new_group,
    prefixed_members,
    with_members,
)
from mailroom.wire.vcard import Card
from tests.cards import SAFE

MAJA = "5A1C8F0E-3C39-4B4B-8E6F-6A8E5E0E2B11"
NORDLYS = "0F0C6A5E-0B4E-44D0-9A59-3C9A47B5F001"


@pytest.mark.parametrize(
    ("uid", "bare"),
    [
        ("abc", "abc"),
        ("urn:uuid:abc", "abc"),
        ("URN:UUID:ABC", "ABC"),
        (" abc ", "abc"),
        ("urn:uuid:", ""),
        ("urn:oid:1.2", "urn:oid:1.2"),
    ],
)
def test_a_bare_uid_has_no_prefix(uid: str, bare: str) -> None:
    assert bare_uid(uid) == bare


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("apple-icloud-group", b"X-ADDRESSBOOKSERVER-MEMBER:urn:uuid:new\r\n"),
        ("fastmail-group", b"X-ADDRESSBOOKSERVER-MEMBER:urn:uuid:new\r\n"),
        ("sabre-group-4", b"MEMBER:urn:uuid:new\r\n"),
        ("group-mixed-forms", b"MEMBER:urn:uuid:new\r\n"),
    ],
)
def test_a_member_is_added_in_the_form_found(name: str, line: bytes) -> None:
    card = Card.parse(SAFE[name])
    added = bytes(with_members(card, ["new"], []))
    assert added.count(line) == 1
    assert added.replace(line, b"") == SAFE[name]


def test_a_new_member_follows_the_last_one() -> None:
    group = Card.parse(SAFE["apple-icloud-group"])
    assert member_uids(with_members(group, ["new"], [])) == [MAJA, NORDLYS, "new"]
    assert b"001\r\nX-ADDRESSBOOKSERVER-MEMBER:urn:uuid:new\r\nREV:" in bytes(
        with_members(group, ["new"], [])
    )


@pytest.mark.parametrize("version", ["3.0", "4.0"])
def test_an_empty_group_gets_its_first_member_in_its_own_form(version: str) -> None:
    group = new_group("g-1", "Paper, Trail", "4.0" if version == "4.0" else "3.0")
    assert group.kind == "group"
    assert (group.version, member_uids(group)) == (version, [])
    prefix = b"\r\nMEMBER:" if version == "4.0" else b"\r\nX-ADDRESSBOOKSERVER-MEMBER:"
    assert prefix + b"urn:uuid:a\r\n" in bytes(with_members(group, ["a"], []))
    assert b"\r\nFN:Paper\\, Trail\r\n" in bytes(group)


def test_who_is_in_already_is_not_put_in_twice() -> None:
    group = Card.parse(SAFE["apple-icloud-group"])
    assert with_members(group, [MAJA, MAJA], []) == group


@pytest.mark.parametrize(
    ("version", "uid", "member"),
    [
        ("3.0", "a", "X-ADDRESSBOOKSERVER-MEMBER:urn:uuid:a"),
        ("3.0", "urn:uuid:a", "X-ADDRESSBOOKSERVER-MEMBER:urn:uuid:urn:uuid:a"),
        ("3.0", "URN:UUID:a", "X-ADDRESSBOOKSERVER-MEMBER:urn:uuid:URN:UUID:a"),
        ("4.0", "a", "MEMBER:urn:uuid:a"),
        ("4.0", "urn:uuid:a", "MEMBER:urn:uuid:a"),
    ],
)
def test_a_member_is_written_as_the_rules_of_servers_compare_it(
    version: Literal["3.0", "4.0"], uid: str, member: str
) -> None:
    """tests/system/test_cyrus.py has what they compare."""
    group = with_members(new_group("g", "Feed", version), [uid, uid], [])
    assert [line for line in bytes(group).decode().splitlines() if "MEMBER" in line] == [member]
    assert member_uids(group) == ["a"]
    assert with_members(group, [uid], []) == group
    assert member_uids(with_members(group, [], ["a"])) == []


@pytest.mark.parametrize("member", ["a", "urn:uuid:a", "URN:UUID:a"])
def test_a_member_in_a_spelling_that_no_rule_finds_is_written_anew(member: str) -> None:
    frame = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:g\r\nFN:Feed\r\nX-ADDRESSBOOKSERVER-KIND:group\r\n"
    lines = f"X-ADDRESSBOOKSERVER-MEMBER:{member}\r\nX-ADDRESSBOOKSERVER-MEMBER:urn:uuid:b\r\n"
    group = Card.parse(f"{frame}{lines}END:VCARD\r\n".encode())
    mended = bytes(with_members(group, ["urn:uuid:a"], [])).decode()
    assert mended.count("MEMBER") == 2
    assert "\r\nX-ADDRESSBOOKSERVER-MEMBER:urn:uuid:urn:uuid:a\r\n" in mended
    assert with_members(group, ["a"], []) == group


@pytest.mark.parametrize(
    "member",
    [
        "X-ADDRESSBOOKSERVER-MEMBER:urn:uuid:urn:uuid:a",
        'X-ADDRESSBOOKSERVER-MEMBER:urn:uuid:"urn:uuid:a"',
        "MEMBER:urn:uuid:a",
    ],
)
def test_a_member_that_names_a_uid_with_the_prefix_is_left_as_it_is(member: str) -> None:
    text = (
        f"BEGIN:VCARD\r\nVERSION:3.0\r\nUID:g\r\nFN:Feed\r\nKIND:group\r\n{member}\r\nEND:VCARD\r\n"
    )
    group = Card.parse(text.encode())
    assert prefixed_members(group) == ["a"]
    assert with_members(group, ["urn:uuid:a"], []) == group


def test_a_member_is_taken_out_in_every_form_and_nothing_else_is() -> None:
    mixed = Card.parse(SAFE["group-mixed-forms"])
    assert member_uids(with_members(mixed, [], ["urn:uuid:aaaa-1"])) == []
    sabre = Card.parse(SAFE["sabre-group-4"])
    emptied = with_members(sabre, [], ["77b7a3c0-2f5e-43e7-9d3a-2d6c5f5b1003"])
    assert member_uids(emptied) == ["mailto:someone@else.example"]


def test_who_is_not_in_is_not_taken_out() -> None:
    group = Card.parse(SAFE["apple-icloud-group"])
    assert with_members(group, [], ["stranger"]) == group


def test_additions_and_removals_go_together_and_an_addition_wins() -> None:
    group = Card.parse(SAFE["apple-icloud-group"])
    changed = with_members(group, add=["new", MAJA], remove=[MAJA, NORDLYS])
    assert member_uids(changed) == [MAJA, "new"]


def test_a_group_of_five_thousand_is_quick() -> None:
    began = time.process_time()
    uids = [f"uid-{number}" for number in range(5_000)]
    group = Card.parse(bytes(with_members(new_group("g", "Feed"), uids, [])))
    assert member_uids(with_members(group, ["new"], uids[1::2])) == [*uids[::2], "new"]
    assert time.process_time() - began < 10


#: The same ones time and again, in either spelling; and what has to be escaped.
UIDS = st.lists(
    st.sampled_from(["a", "urn:uuid:a", "b", "URN:UUID:b", "a,b", "a;b", "a\\nb", "a\\", '"'])
    | st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1),
    max_size=5,
)


@given(UIDS, UIDS, UIDS)
@example([], [chr(34)], [])
def test_any_uids_end_up_where_they_are_wanted(
    before: list[str], add: list[str], remove: list[str]
) -> None:
    group = with_members(new_group("g", "Feed"), before, [])
    changed = with_members(group, add, remove)
    wanted = {*map(bare_uid, before)} - {*map(bare_uid, remove)} | {*map(bare_uid, add)}
    members = member_uids(Card.parse(bytes(changed)))
    assert set(members) == wanted
    assert len(members) == len(wanted)
    assert with_members(changed, add, remove) == changed


def test_a_group_that_jmap_has_emptied_does_not_say_so_any_more() -> None:
    """As Stalwart 0.15.5 keeps it; what else it has from there stays."""
    text = (
        "BEGIN:VCARD\r\nVERSION:4.0\r\nUID:g\r\nFN:Feed\r\nKIND:GROUP\r\n"
        'JSPROP;JSPTR=members:{}\r\nJSPROP;JSPTR="example.org:x":1\r\nEND:VCARD\r\n'
    )
    group = Card.parse(text.encode())
    assert with_members(group, [], ["a"]) == group
    after = bytes(with_members(group, ["a"], [])).decode()
    assert "JSPTR=members" not in after
    assert 'JSPTR="example.org:x":1' in after
    assert "MEMBER:urn:uuid:a" in after


def test_a_member_with_the_prefix_twice_is_that_member() -> None:
    """As Cyrus 3.13.7 shows a member of a vCard 4 in vCard 3."""
    assert bare_uid('urn:uuid:"urn:uuid:X"') == "X"
