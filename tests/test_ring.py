"""The events of late: what fits, where a reader goes on, and what it is told that it has missed."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailroom.rules.status.events import EventKind, ServiceEvent
from mailroom.rules.status.ring import RING_BYTES, Ring
from mailroom.wire import sse
from tests.schemas import validate

MOST = 16_384


def event(number: int, more: dict[str, Any] | None = None, size: int = 0) -> ServiceEvent:
    return ServiceEvent(EventKind.RELOAD, {"number": number, "padding": "x" * size}, more)


def ring_of(count: int, size: int = 0, most_bytes: int = RING_BYTES) -> Ring:
    ring = Ring("e", most_bytes)
    for number in range(1, count + 1):
        ring.add(event(number, size=size))
    return ring


def heard(data: bytes) -> list[tuple[str, str, Any]]:
    """The events of a stream: kind, id and document."""
    return [(each.type, each.id, json.loads(each.data)) for each in sse.Parser().feed(data)]


def read_all(ring: Ring, last_event_id: str, *, is_whole: bool = False) -> list[Any]:
    """All that a reader gets that has had this event last: numbers, and what is lost."""
    place = ring.enter(last_event_id)
    stream, after = place.greeting, place.after
    while after < ring.newest:
        piece, after = ring.read(after, MOST, is_whole=is_whole)
        assert len(piece) <= MOST
        stream += piece
    found = heard(stream)
    for kind, _, document in found:
        if kind == "lost":
            validate("event-lost", document)
    return [
        ("lost", document["count"]) if kind == "lost" else document["number"]
        for kind, _, document in found
    ]


def test_an_event_has_its_kind_its_id_and_its_document_on_one_line() -> None:
    ring = Ring("3f")
    ring.add(ServiceEvent(EventKind.TRIAGE, {"sender": "a\r\nb\u2028\ud800é"}))
    data, after = ring.read(0, MOST, is_whole=False)
    assert heard(data) == [("triage", "3f-1", {"sender": "a\r\nb\u2028?é"})]
    assert (data.count(b"\n"), after) == (4, 1)


def test_who_is_new_hears_what_is_to_come_and_has_an_id_to_go_on_from() -> None:
    ring = ring_of(3)
    parser = sse.Parser()
    assert parser.feed(ring.enter("").greeting) == []
    assert parser.last_event_id == "e-3"
    assert read_all(ring, "") == []
    assert read_all(ring, "e-3") == []


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_who_comes_back_goes_on_where_it_was(number: int) -> None:
    assert read_all(ring_of(3), f"e-{number}") == list(range(number + 1, 4))


@pytest.mark.parametrize("last", ["d-2", "e-4", "e-", "2", "e-2-3", "E-2", "e-²", "é" * 9000])
def test_who_was_with_another_process_has_missed_nobody_knows_how_much(last: str) -> None:
    assert read_all(ring_of(3), last) == [("lost", None), 1, 2, 3]


def test_who_was_away_for_too_long_is_told_how_much_is_gone() -> None:
    ring = ring_of(100, size=1000, most_bytes=10_500)
    kept = read_all(ring, "e-95")
    assert kept == [96, 97, 98, 99, 100]
    lost, *rest = read_all(ring, "e-10")
    assert rest == list(range(rest[0], 101))
    assert lost == ("lost", rest[0] - 11)
    assert 5 < len(rest) < 11
    # The loss has an id, too: who goes on from there is not told twice.
    [(_, at, _), *_] = heard(ring.read(10, MOST, is_whole=False)[0])
    assert read_all(ring, at) == rest


def test_names_are_for_the_control_socket_alone() -> None:
    ring = Ring("e")
    ring.add(event(1, {"name": "Bob"}))
    ring.add(event(2))
    told, whole = (heard(ring.read(0, MOST, is_whole=is_whole)[0]) for is_whole in (False, True))
    assert [document.get("name") for _, _, document in told] == [None, None]
    assert [document.get("name") for _, _, document in whole] == ["Bob", None]
    assert [at for _, at, _ in told] == [at for _, at, _ in whole] == ["e-1", "e-2"]


def test_an_event_that_is_too_large_for_one_piece_comes_alone() -> None:
    ring = Ring("e")
    ring.add(event(1))
    ring.add(event(2, size=MOST))
    ring.add(event(3))
    pieces, after = [], 0
    while after < 3:
        piece, after = ring.read(after, MOST, is_whole=False)
        pieces.append(len(heard(piece)))
    assert pieces == [1, 1, 1]


@given(
    st.lists(st.tuples(st.integers(0, 3000), st.booleans()), max_size=60),
    st.integers(0, 60),
    st.integers(200, 20_000),
)
def test_nothing_is_told_twice_nothing_is_missed_unsaid_and_the_ring_keeps_its_bound(
    sizes: list[tuple[int, bool]], last: int, most_bytes: int
) -> None:
    ring = Ring("e", most_bytes)
    for number, (size, has_more) in enumerate(sizes, 1):
        ring.add(event(number, {"name": "Bob"} if has_more else None, size))
        assert ring.size_bytes <= most_bytes
    last = min(last, len(sizes))
    found = read_all(ring, f"e-{last}", is_whole=True)
    lost = 0
    if found and isinstance(found[0], tuple):
        lost = found.pop(0)[1]
    assert found == list(range(last + lost + 1, len(sizes) + 1))
    assert len(found) + lost == len(sizes) - last
