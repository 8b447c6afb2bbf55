"""What Mailroom keeps on the provenance group's card."""

import pytest

from mailroom.rules.contacts.record import Record, encode_record, read_record

SINCE, DOOR = "2026-11-21T10:00:00Z", "2026-11-26T22:00:00Z"


@pytest.mark.parametrize(
    "record",
    [
        Record(),
        Record(SINCE, frozenset({"Feed"}), frozenset({'J"ail, \u00e9'})),
        Record(SINCE, frozenset({"Feed"}), frozenset(), DOOR),
        Record(None, frozenset(), frozenset(), DOOR),
    ],
)
def test_what_is_kept_is_read(record: Record) -> None:
    assert read_record(encode_record(record)) == record


def test_what_an_earlier_version_kept_tells_of_no_door() -> None:
    text = '{"since": "2026-11-21T10:00:00Z", "mailboxes": ["Feed"], "groups": []}'
    assert read_record(text) == Record(SINCE, frozenset({"Feed"}))


@pytest.mark.parametrize("text", ["", "[]", "7", "{}", '{"since": 1, "mailboxes": 2}', "[" * 99999])
def test_what_makes_no_sense_is_an_empty_one(text: str) -> None:
    assert read_record(text) == Record()


def test_the_first_use_of_the_door_counts_and_setup_leaves_it() -> None:
    record = Record(SINCE).with_door(DOOR).with_door("2026-12-01T00:00:00Z")
    assert record.door == DOOR
    made = record.with_made(frozenset({"Jail"}), frozenset({"Jail"}), "2026-12-01T00:00:00Z")
    assert made == Record(SINCE, frozenset({"Jail"}), frozenset({"Jail"}), DOOR)
