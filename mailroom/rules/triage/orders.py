"""Decisions by command: what they ask for, together with the mail that asks for something.

A poll treats an order like a label: it becomes a tap, or a decision for a domain or a list. It
yields to the user's labels and moves: if those ask for something else at that moment, the order is
refused and they are carried out.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

from mailroom.errors import OrderRefused
from mailroom.rules.addresses import canonical, is_usable, without_spaces
from mailroom.rules.configuration.categories import Category
from mailroom.rules.configuration.config import Config
from mailroom.rules.contacts.roster import Found
from mailroom.rules.names import normal_name
from mailroom.rules.screening.wide import list_id, refusal
from mailroom.rules.triage.places import Places
from mailroom.rules.triage.subject import SCREENER, Subject, SubjectKind
from mailroom.rules.triage.verdicts import Tap, Verdicts, sender_of
from mailroom.rules.triage.whole import Whole


@dataclass(frozen=True, slots=True)
class Order:
    """A decision about somebody; ``category`` None takes it back. ``by`` is the user's name."""

    subject: Subject
    category: Category | None
    by: str

    @property
    def name(self) -> str:
        return self.subject.name

    @property
    def wish(self) -> str:
        """What it asks for, by name."""
        return self.category.name if self.category else SCREENER


#: The refused orders, by name, and why.
Refused = Mapping[str, OrderRefused]


def read_subject(document: Mapping[str, Any], config: Config) -> Subject:
    """The subject of a request. Raises OrderRefused."""
    named = [kind for kind in SubjectKind if kind in document]
    if len(named) != 1:
        raise _bad("exactly one of address, domain and list is needed")
    kind, text = named[0], document[named[0]]
    if not isinstance(text, str):
        raise _bad(f"{kind} must be text")
    match kind:
        case SubjectKind.ADDRESS:
            return Subject(kind, read_address(text))
        case SubjectKind.DOMAIN:
            domain = canonical(f"@{text.strip().removeprefix('@')}")[1:]
            if reason := refusal(domain, config.screening.providers):
                raise _bad(reason)
            return Subject(kind, domain)
        case SubjectKind.LIST:
            key = list_id(text)
            if key is None:
                raise _bad(f"{text!r} is not a list id (RFC 2919): write one like news.example.org")
            return Subject(kind, key)


def read_address(text: str) -> str:
    """The canonical form of an address as somebody typed it. Raises OrderRefused."""
    address = canonical(without_spaces(text))
    if not is_usable(address):
        raise _bad(f"{text!r} is not an address that a contact can have")
    return address


def read_category(name: object, config: Config) -> Category | None:
    """The category of that name, None for null. Raises OrderRefused."""
    if name is None:
        return None
    if isinstance(name, str):
        wanted = normal_name(name).casefold()
        for category in config.triage.categories:
            if normal_name(category.name).casefold() == wanted:
                return category
    names = ", ".join(category.name for category in config.triage.categories)
    raise _bad(f"there is no category {name!r}: there are {names}, and null for back to Screener")


def with_taps(
    verdicts: Verdicts, orders: Sequence[Order], places: Places, own: Container[str]
) -> tuple[Verdicts, Refused]:
    """The verdicts with a tap for each order about an address, unless mail asks for it already."""
    taps = {tap.sender: tap for tap in verdicts.taps}
    contested = in_conflict(verdicts, orders, places)
    refused: dict[str, OrderRefused] = {}
    for order in orders:
        sender = order.subject.key
        if order.subject.kind is not SubjectKind.ADDRESS:
            continue
        if sender in own:
            refused[order.name] = _bad(f"{sender} is your own address: your mail is not triaged")
        elif sender in contested:
            refused[sender] = contested[sender]
        elif sender not in taps:
            label_id = next(key for key, each in places.labels.items() if each == order.category)
            taps[sender] = Tap(sender, order.category, label_id, ())
        elif taps[sender].category != order.category:
            refused[order.name] = conflict_of(order, {taps[sender].category})
    return replace(verdicts, taps=tuple(taps.values())), refused


def without_contested(
    verdicts: Verdicts, orders: Iterable[Order], found: Mapping[str, Found], places: Places
) -> tuple[Verdicts, Refused]:
    """The verdicts without the orders that contradict another address of the same contact, now that
    the contacts are known."""
    by_name = {order.name: order for order in orders}
    refused: dict[str, OrderRefused] = {}
    kept: list[Tap] = []
    # Mail that asks for something comes first, then the orders in their sequence.
    for tap in sorted(verdicts.taps, key=lambda tap: not tap.mails):
        wishes = {
            other.category for other in kept if _is_same(found.get(tap.sender), other.sender)
        } - {tap.category}
        for conflict in verdicts.conflicts:
            if _is_same(found.get(tap.sender), conflict.sender):
                wishes |= {places.asks[each] for each in conflict.label_ids}
        if tap.mails or not wishes:
            kept.append(tap)
        else:
            refused[tap.sender] = conflict_of(by_name[tap.sender], wishes)
    return replace(verdicts, taps=tuple(kept)), refused


def in_conflict(verdicts: Verdicts, orders: Iterable[Order], places: Places) -> Refused:
    """The orders about senders whose mail asks for different things."""
    wishes = {
        sender_of(mail): {places.asks[each] for each in conflict.label_ids}
        for conflict in verdicts.conflicts
        for mail in conflict.mails
    }
    return {
        order.name: conflict_of(order, wishes[order.name])
        for order in orders
        if order.name in wishes
    }


def with_wholes(
    wholes: Iterable[Whole], orders: Iterable[Order], places: Places
) -> tuple[tuple[Whole, ...], Refused]:
    """The decisions for domains and lists, including the ordered ones."""
    there = {whole.name: whole for whole in wholes}
    refused: dict[str, OrderRefused] = {}
    for order in orders:
        kind, key = order.subject.kind, order.subject.key
        if kind is SubjectKind.ADDRESS:
            continue
        if order.name not in there:
            label_id = next(key for key, each in places.labels.items() if each == order.category)
            is_list = kind is SubjectKind.LIST
            there[order.name] = Whole(key, is_list, order.category, label_id, ())
        elif there[order.name].category != order.category:
            refused[order.name] = conflict_of(order, {there[order.name].category})
    return tuple(there.values()), refused


def conflict_of(order: Order, wishes: Iterable[Category | None]) -> OrderRefused:
    """The refusal of an order while others ask for something else."""
    names = sorted({each.name if each else SCREENER for each in wishes} | {order.wish})
    others = " and ".join(name for name in names if name != order.wish)
    return OrderRefused(
        HTTPStatus.CONFLICT,
        f"{order.name} is being triaged to {others} at this moment: {order.wish} is not done, "
        "repeat it afterwards",
        categories=names,
    )


def _is_same(contact: Found | None, address: str) -> bool:
    return contact is not None and address in contact.addresses


def _bad(message: str) -> OrderRefused:
    return OrderRefused(HTTPStatus.BAD_REQUEST, message)
