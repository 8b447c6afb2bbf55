"""The client for cards by JMAP (RFC 9610): reads and writes within the server's limits.

The first request of each read or write is gathered: it goes out with the calls that others make in
the same turn of the loop.
"""

from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from mailroom.engine.loop import Loop, give_way
from mailroom.wire import jmap
from mailroom.wire.jmap import CONTACTS, Answers, Arguments, Call, MethodError
from mailroom.wire.jmap_session import Session
from mailroom.wire.jscontact import CardPage, JsCard, read_card_page, read_cards
from mailroom.work.session.portions import json_bytes, portions

_GET, _SET, _QUERY = "ContactCard/get", "ContactCard/set", "ContactCard/query"
# The error of a set when somebody else has changed something since (RFC 8620 §5.3).
_MISMATCH = "stateMismatch"
#: What is read of a group to know its members.
GROUP_PROPERTIES = ("id", "kind", "uid", "name", "members", "notes")
# How many sets a request has at most; together they leave a part of it to others.
_BATCHES = 3
_STATES = 64  # an event may name the state of an earlier write

Filter = Mapping[str, Any]
Properties = Sequence[str] | None


class Calling(Protocol):
    """:meth:`mailroom.work.session.api.Api.call`."""

    async def __call__(self, calls: Sequence[Call], *, gathers: bool = False) -> Answers: ...


@dataclass(frozen=True, slots=True)
class CardReading:
    """Cards, each once, as they were in this state or later, and the answers to other calls."""

    state: str
    cards: tuple[JsCard, ...]
    answers: Answers


@dataclass(frozen=True, slots=True)
class CardWrite:
    """One change: ``verb`` is ``create``, ``update`` or ``destroy``; ``key`` is the card's id, or
    for ``create`` a key that the caller chooses."""

    verb: str
    key: str
    value: Arguments | None = None


@dataclass(slots=True)
class CardsWritten:
    """The outcome of writes: new ids, and why others were refused, by key. ``is_stale``: the rest
    was not done, because somebody else has changed a card."""

    created: dict[str, str] = field(default_factory=dict)
    refused: dict[str, MethodError] = field(default_factory=dict)
    is_stale: bool = False


class CardBook:
    """The cards of one account. ``states`` are the latest that our own requests have seen;
    ``default_id`` is the address book for new cards, which Stalwart 0.15.5 requires (seen)."""

    def __init__(
        self, loop: Loop, session: Callable[[], Coroutine[Any, Any, Session]], call: Calling
    ) -> None:
        self.session = session
        self.default_id: str | None = None
        self.states: deque[str] = deque(maxlen=_STATES)
        self._loop = loop
        self._call = call

    async def look(
        self,
        filters: Sequence[Filter] = (),
        ids: Iterable[str] = (),
        properties: Properties = None,
        group_ids: Iterable[str] = (),
        others: Sequence[Call] = (),
    ) -> CardReading:
        """The cards that the filters match, and those of these ids that exist. One request is
        enough unless a result has several pages. Of groups only :data:`GROUP_PROPERTIES` are read.
        """
        limit = (await self.session()).limits.get
        gets = [
            *_gets(ids, properties, limit, "card"),
            *_gets(group_ids, GROUP_PROPERTIES, limit, "g"),
        ]
        pairs = [_pair(query, limit, 0, properties, number) for number, query in enumerate(filters)]
        calls = [*others, *gets, *(call for pair in pairs for call in pair)]
        answers = await self._call(calls, gathers=True)
        cards: dict[str, JsCard] = {}
        states = []
        for get in gets:
            state, found = read_cards(answers[get.tag])
            states.append(state)
            cards |= {card.id: card for card in found}
        for query, (search, get) in zip(filters, pairs, strict=True):
            page = read_card_page(answers[search.tag], answers[get.tag])
            states.append(page.state)
            cards |= {card.id: card for card in await self._whole(page, query, limit, properties)}
        self.states += states
        return CardReading(states[0] if states else "", tuple(cards.values()), answers)

    async def set(self, orders: Sequence[CardWrite], state: str | None = None) -> CardsWritten:
        """Write the cards; with a ``state`` only if nobody else has changed a card since then.

        With a ``state`` each request has one call. Several in one request would depend on each
        other, and Stalwart 0.15.5 carries out the later one although it refused the first (seen).
        """
        limits = (await self.session()).limits
        most_bytes = limits.request_bytes // (_BATCHES + 1)
        batches = [
            self._placed(part) for part in portions(orders, limits.set, most_bytes, _bytes_of)
        ]
        most_calls = min(limits.calls, _BATCHES) if state is None else 1
        outcome, newest = CardsWritten(), state or ""
        for start in range(0, len(batches), most_calls):
            some = batches[start : start + most_calls]
            calls = [_set_call(batch, state and newest, n) for n, batch in enumerate(some)]
            answers = await self._call(calls, gathers=not start)
            for call, batch in zip(calls, some, strict=True):
                try:
                    answer = answers[call.tag]
                except MethodError as error:
                    if state is None or error.type != _MISMATCH:
                        raise
                    outcome.is_stale = True
                    return outcome
                _note(batch, answer, outcome)
                newest = str(answer.get("newState") or newest)
                self.states.append(newest)
        return outcome

    async def count(self) -> int | None:
        """How many cards there are; None if the server does not say."""
        query = Call(_QUERY, {"limit": 1, "calculateTotal": True}, "query", CONTACTS)
        return jmap.read_page((await self._call([query]))[query.tag]).total

    def _placed(self, batch: Sequence[CardWrite]) -> list[CardWrite]:
        if self.default_id is None:
            return list(batch)
        place = {"addressBookIds": {self.default_id: True}}
        return [
            replace(each, value={**(each.value or {}), **place}) if each.verb == "create" else each
            for each in batch
        ]

    async def _whole(
        self, page: CardPage, query: Filter, limit: int, properties: Properties
    ) -> list[JsCard]:
        """The cards of this page and of all further ones. A page that brings nothing new is the
        last, whatever total the server announces."""
        seen, cards = set(page.ids), list(page.cards)
        while not _is_last(page, limit, len(seen)):
            await give_way(self._loop)
            search, get = _pair(query, limit, len(seen), properties)
            answers = await self._call([search, get])
            page = read_card_page(answers[search.tag], answers[get.tag])
            if seen.issuperset(page.ids):
                break
            seen |= set(page.ids)
            cards += page.cards
        return cards


def _gets(ids: Iterable[str], properties: Properties, most: int, tag: str) -> list[Call]:
    wanted = list(ids)
    return [
        Call(
            _GET,
            {"ids": wanted[start : start + most], "properties": properties},
            f"{tag}{start}",
            CONTACTS,
        )
        for start in range(0, len(wanted), most)
    ]


def _pair(
    query: Filter, limit: int, position: int, properties: Properties, number: int = 0
) -> tuple[Call, Call]:
    arguments: dict[str, Any] = {"position": position, "limit": limit, "calculateTotal": True}
    if query:  # Stalwart 0.15.5 refuses the whole request if the filter is null (seen)
        arguments["filter"] = query
    search = Call(_QUERY, arguments, f"found{number}", CONTACTS)
    get = {"#ids": search.ref("/ids"), "properties": properties}
    return search, Call(_GET, get, f"shown{number}", CONTACTS)


def _is_last(page: CardPage, limit: int, seen: int) -> bool:
    """Whether this is the last page: some servers send fewer than asked for, and do not say so."""
    is_all_told = page.total is not None and page.total <= seen
    is_below_limit = page.total is None and page.limit is not None and len(page.ids) < page.limit
    return not page.ids or (len(page.ids) < limit and (is_all_told or is_below_limit))


def _bytes_of(order: CardWrite) -> int:
    return len(order.key) + json_bytes(order.value)


def _set_call(batch: Sequence[CardWrite], state: str | None, number: int) -> Call:
    arguments: dict[str, Any] = {} if state is None else {"ifInState": state}
    for verb in ("create", "update"):
        if parts := {order.key: order.value for order in batch if order.verb == verb}:
            arguments[verb] = parts
    if keys := [order.key for order in batch if order.verb == "destroy"]:
        arguments["destroy"] = keys
    return Call(_SET, arguments, f"cards{number}", CONTACTS)


def _note(batch: Sequence[CardWrite], answer: Arguments, outcome: CardsWritten) -> None:
    created = [order.key for order in batch if order.verb == "create"]
    updated = [order.key for order in batch if order.verb == "update"]
    made = jmap.read_created(answer, _SET, created)
    outcome.created |= made.ids
    outcome.refused |= made.refused
    outcome.refused |= jmap.read_refusals(answer, updated, _SET)
    gone = jmap.read_undestroyed(answer, _SET).items()
    outcome.refused |= {key: error for key, error in gone if error.type != "notFound"}
