"""ContactCard and AddressBook (RFC 9610) over the cards that CardDAV has, as strict as Cyrus 3.13.

A card that is created or patched is written anew as vCard 4, whatever it was; one state is for all
cards of the account.
"""

import copy
import functools
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from tests.sandbox.book import Book, BookStorage, Record
from tests.sandbox.cards import (
    property_of,
    with_grouped_organizations,
    with_lines,
    with_ordered_name,
)
from tests.sandbox.filters import Selector, show_date
from tests.sandbox.jscontact import Card, InvalidCard, card_of, is_property, look_at, vcard_of
from tests.sandbox.profile import Profile
from tests.sandbox.requests import Arguments, Calls, MethodError
from tests.sandbox.standard import (
    PatchPath,
    SetError,
    SetHandler,
    check_ids,
    checked,
    get_objects,
    read_patch,
    set_objects,
)

_PRODID: Final = "-//sandbox//EN"
#: UIDs that the card's href can end with.
_FILE_NAME: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z@._-]{15,199}")
#: What Stalwart writes into a group whose members JMAP has taken away, and believes.
_EMPTY: Final = "JSPROP;JSPTR=members:{}"
_WORD: Final = re.compile(r"\w+")
#: What a client may send back but never change.
_IMMUTABLE: Final = ("id", "uid", "kind")
#: Those of RFC 9610 §3.3.1 that Mailroom has no use for.
_UNSUPPORTED_CONDITIONS: Final = frozenset(
    [
        "createdBefore",
        "createdAfter",
        "updatedBefore",
        "updatedAfter",
        "text",
        "name",
        "name/given",
        "name/surname",
        "name/surname2",
        "nickname",
        "organization",
        "phone",
        "onlineService",
        "address",
        "note",
    ]
)
_QUERY_ARGUMENTS: Final[Mapping[str, Any]] = {
    "filter": dict,
    "sort": list,
    "position": int,
    "limit": int,
    "calculateTotal": bool,
}
_RIGHTS: Final = {"mayRead": True, "mayWrite": True, "mayShare": True, "mayDelete": True}


#: How a query can be sorted → what of a card is compared.
_SORTS: Final[Mapping[str, Callable[[Book, str], Any]]] = {
    "created": lambda book, name: book.records[name].created,
    "updated": lambda book, name: book.records[name].changed,
    "uid": lambda book, name: property_of(book.cards[name], "UID") or "",
}


class ContactMethods(SetHandler):
    """The methods on the address books and cards of one account."""

    def __init__(
        self,
        storage: BookStorage,
        account_id: str,
        profile: Profile,
        clock: Callable[[], float],
    ) -> None:
        self._storage = storage
        self._account_id = account_id
        self._profile = profile
        self._clock = clock
        self.created: dict[str, str] = {}
        self.answers_nulls = profile.answers_nulls
        self.order = profile.card_set_order
        # Nobody's creation ids: not Cyrus 3.13's, nor Stalwart's 0.15, nor Fastmail's.
        self.resolves = frozenset()

    # Address books

    def get_books(self, arguments: Arguments, calls: Calls) -> Arguments:
        """AddressBook/get (RFC 9610 §2.1)."""
        args = checked(arguments, self._account_id, ids=list, properties=list)
        books = {_book_id(book): book for book in self._storage.address_books}
        default = next(iter(books), None)
        renderers: dict[str, Callable[[Book], object]] = {
            "id": _book_id,
            "name": lambda book: book.get_meta("D:displayname"),
            "description": lambda book: None,
            "sortOrder": lambda book: 0,
            "isDefault": lambda book: _book_id(book) == default,
            "isSubscribed": lambda book: True,
            "shareWith": lambda book: None,
            "myRights": lambda book: _RIGHTS,
        }
        answer = get_objects(args, books, renderers)
        return {"accountId": self._account_id, "state": self._storage.state, **answer}

    # Cards

    def get(self, arguments: Arguments, calls: Calls) -> Arguments:
        """ContactCard/get (RFC 9610 §3.1)."""
        args = checked(arguments, self._account_id, ids=list, properties=list)
        by_id, limits = self._storage.by_id, self._profile.limits
        ids = list(by_id) if args["ids"] is None else list(dict.fromkeys(args["ids"]))
        if args["ids"] is None and self._profile.cuts_all:
            ids = ids[: limits.max_objects_in_get]
        check_ids(ids, "ids")
        if self._profile.checks_card_properties:
            _check_names(args["properties"] or ())
        if self._profile.limits_references and len(ids) > limits.max_objects_in_get:
            raise MethodError("requestTooLarge")
        return {
            "accountId": self._account_id,
            "state": self._storage.state,
            "list": [self._shown(id_, args["properties"]) for id_ in ids if id_ in by_id],
            "notFound": [id_ for id_ in ids if id_ not in by_id],
        }

    def query(self, arguments: Arguments, calls: Calls) -> Arguments:
        """ContactCard/query (RFC 9610 §3.3)."""
        args = checked(arguments, self._account_id, **_QUERY_ARGUMENTS)
        limit, position = args["limit"], args["position"] or 0
        if limit is not None and limit < 0:
            raise MethodError("invalidArguments", arguments=["limit"])
        most = self._profile.limits.max_ids_in_query
        is_capped = most is not None and (limit is None or limit > most)
        selector = CardSelector(self._storage, functools.partial(self._card, read=look_at))
        found = selector.select(args["filter"], set(self._storage.by_id))
        ids = self._sorted(found, args["sort"] or [{"property": "updated", "isAscending": False}])
        return {
            "accountId": self._account_id,
            "queryState": self._storage.state,
            "canCalculateChanges": False,
            "position": min(position, len(ids)),
            "ids": ids[position:][: most if is_capped else limit],
            **({"limit": most} if is_capped else {}),
            "total": len(ids),
        }

    def changes(self, arguments: Arguments, calls: Calls) -> Arguments:
        """ContactCard/changes (RFC 9610 §3.2); since a state to come there are none."""
        args = checked(arguments, self._account_id, sinceState=str, maxChanges=int)
        since, most = args["sinceState"], args["maxChanges"]
        if since is None or (most is not None and most < 1):
            wrong = "sinceState" if since is None else "maxChanges"
            raise MethodError("invalidArguments", arguments=[wrong])
        if not since.isdecimal():
            raise MethodError("cannotCalculateChanges")
        changed = sorted(self._changed_since(int(since)), key=lambda record: record.changed)
        page = changed[:most]
        is_all = len(page) == len(changed)
        fates: dict[str, list[str]] = {"created": [], "updated": [], "destroyed": []}
        for record in page:
            is_new, is_there = record.created > int(since), record.id in self._storage.by_id
            if is_there or not is_new:
                verb = ("created" if is_new else "updated") if is_there else "destroyed"
                fates[verb].append(record.id)
        return {
            "accountId": self._account_id,
            "oldState": since,
            "newState": self._storage.state if is_all else str(page[-1].changed),
            "hasMoreChanges": not is_all,
            **fates,
        }

    def set_(self, arguments: Arguments, calls: Calls) -> Arguments:
        """ContactCard/set (RFC 9610 §3.5)."""
        args = checked(
            arguments, self._account_id, ifInState=str, create=dict, update=dict, destroy=list
        )
        return set_objects(args, self, self._storage, calls)

    def create(self, properties: Arguments) -> Arguments:
        """Create a card under its own UID; nothing tells whose the UID is already."""
        properties = dict(properties)
        self._check_vendors(properties)
        if self._profile.needs_address_book and "addressBookIds" not in properties:
            raise SetError("invalidProperties", properties=["addressBookIds"])
        book = self._book(properties.pop("addressBookIds", None))
        made: Card = {"addressBookIds": {_book_id(book): True}}
        if "uid" not in properties:
            made["uid"] = self._storage.new_id()
        elif self._has_uid(properties["uid"]):
            raise SetError("invalidProperties", properties=["uid"])
        for name, value in (("created", self._now()), ("prodId", _PRODID)):
            if name not in properties:
                made[name] = value
        if properties.get("members", ...) is None:
            del properties["members"]
        whole = {
            name: value for name, value in (properties | made).items() if name != "addressBookIds"
        }
        text, uid = self._with_emptiness(self._vcard(whole), whole), str(whole["uid"])
        name = f"{uid if _FILE_NAME.fullmatch(uid) else self._storage.new_id()}.vcf"
        book.put(name, text)
        if properties.get("kind") == "group" and "members" not in properties:
            made["members"] = {}
        return {"id": book.records[name].id, **made}

    def update(self, id_: str, patch: Arguments) -> Arguments | None:
        """Patch a card: it is written anew even where nothing changes, but for an empty patch."""
        book, name = self._existing(id_)
        if not patch:
            book.put(name, book.cards[name])
            return None
        self._check_vendors(patch)
        old, paths = self._whole(id_), read_patch(patch)
        new = patched(old, paths, self._profile.bad_patch)
        if wrong := [key for key in _IMMUTABLE if new.get(key) != old.get(key)]:
            raise SetError("invalidProperties", properties=wrong)
        if self._book(new.pop("addressBookIds", {})) is not book:
            raise SetError("invalidProperties", properties=["addressBookIds"])
        del new["id"]
        if patch.get("updated") is None:
            new["updated"] = self._now()
        if not self._profile.empty_groups_have_members and "members" in old:
            new.setdefault("members", {})
        text = self._with_emptiness(self._vcard(new), new)
        if self._profile.empties_notes:
            text = with_lines(text, [f"NOTE;PROP-ID={gone}:" for gone in _notes_gone(paths)])
        book.put(name, text)
        return {"updated": new["updated"]}

    def destroy(self, id_: str) -> None:
        """Delete a card."""
        book, name = self._existing(id_)
        book.delete(name)

    # One card

    def _existing(self, id_: str) -> tuple[Book, str]:
        if found := self._storage.by_id.get(id_):
            return found
        raise SetError("notFound")

    def _card(self, id_: str, read: Callable[..., Card] = card_of) -> Card:
        book, name = self._storage.by_id[id_]
        card = read(book.cards[name], knows_apple_groups=self._profile.shows_apple_groups)
        has_members = self._profile.empty_groups_have_members or _EMPTY in book.cards[name]
        if not (card.get("members") or has_members):
            card.pop("members", None)
        if self._profile.empties_notes and "notes" in card:
            notes = {note_id: note for note_id, note in card.pop("notes").items() if note["note"]}
            card |= {"notes": notes} if notes else {}
        return card

    def _whole(self, id_: str) -> Card:
        book, _ = self._storage.by_id[id_]
        return {"id": id_, "addressBookIds": {_book_id(book): True}, **self._card(id_)}

    def _shown(self, id_: str, properties: list[str] | None) -> Card:
        """Return what a client is to see; a vendor's properties only if it has named them."""
        card = self._whole(id_)
        if (unmapped := card.pop("vCardProps", None)) and self._profile.unmapped_in == "vCard":
            card["vCard"] = {"properties": unmapped}
        if properties is None:
            return {n: value for n, value in card.items() if ":" not in n and n != "vCard"}
        return {name: value for name, value in card.items() if name in {"id", *properties}}

    def _check_vendors(self, properties: Arguments) -> None:
        """Refuse a vendor's properties where the server takes them inside of others only."""
        wrong = [name for name in properties if ":" in name.partition("/")[0]]
        if wrong and not self._profile.takes_vendor_properties:
            raise SetError("invalidProperties", properties=wrong)

    def _vcard(self, card: Card) -> str:
        if (unmapped := card.pop("vCard", None)) and self._profile.unmapped_in == "vCard":
            card["vCardProps"] = unmapped["properties"]
        try:
            text = vcard_of(card)
        except InvalidCard as error:
            raise SetError("invalidProperties", properties=error.properties) from error
        if self._profile.groups_organizations:
            text = with_grouped_organizations(text)
        return with_ordered_name(text) if self._profile.orders_names else text

    def _with_emptiness(self, text: str, card: Card) -> str:
        """Have a group say that it has no members, where it cannot do so by having none."""
        is_said = not self._profile.empty_groups_have_members and card.get("members") == {}
        return with_lines(text, [_EMPTY]) if is_said else text

    def _book(self, ids: object) -> Book:
        """Return the one address book that a card is to be in; by default the first."""
        books = {_book_id(book): book for book in self._storage.address_books}
        if ids is None:
            return next(iter(books.values()))
        if isinstance(ids, dict) and [*ids.values()] == [True] and ids.keys() <= books.keys():
            return books[next(iter(ids))]
        raise SetError("invalidProperties", properties=["addressBookIds"])

    def _has_uid(self, uid: object) -> bool:
        return any(property_of(text, "UID") == uid for text in self._texts())

    def _sorted(self, ids: set[str], comparators: list[dict[str, Any]]) -> list[str]:
        """Return the ids in the order asked for; those of equals by id."""
        ordered = sorted(ids)
        for comparator in reversed(comparators):
            name = comparator.get("property")
            if name not in _SORTS:
                raise MethodError("unsupportedSort", description=f"{name} is not offered")
            key = _SORTS[name]
            is_descending = comparator.get("isAscending", True) is False
            ordered.sort(key=lambda id_: key(*self._storage.by_id[id_]), reverse=is_descending)
        return ordered

    def _texts(self) -> Iterable[str]:
        return (book.cards[name] for book, name in self._storage.by_id.values())

    def _changed_since(self, state: int) -> Iterable[Record]:
        for book in self._storage.address_books:
            for record in (*book.records.values(), *book.gone):
                if record.changed > state:
                    yield record

    def _now(self) -> str:
        return show_date(self._clock())


class CardSelector(Selector):
    """Evaluates filters over the cards of an account.

    A mail address and a member are found by words: what the filter names must be among the words
    of one address, of one member. A UID is compared whole.
    """

    def __init__(self, storage: BookStorage, read: Callable[[str], Card]) -> None:
        # One query may have a condition for each of a hundred senders.
        card = functools.cache(read)
        addresses = _WordIndex(storage.by_id, lambda id_: _addresses_of(card(id_)))
        members = _WordIndex(storage.by_id, lambda id_: card(id_).get("members", ()))
        conditions: dict[str, Callable[[Any, set[str]], set[str]]] = {
            "uid": lambda uid, ids: {id_ for id_ in ids if card(id_).get("uid") == uid},
            "kind": lambda kind, ids: {id_ for id_ in ids if card(id_)["kind"] == kind},
            "inAddressBook": lambda book_id, ids: {
                id_ for id_ in ids if _book_id(storage.by_id[id_][0]) == book_id
            },
            "email": lambda text, ids: ids & addresses.with_words(text),
            "hasMember": lambda text, ids: ids & members.with_words(text),
        }
        super().__init__(conditions, _UNSUPPORTED_CONDITIONS)

    def select(self, filter_: object, within: set[str], path: str = "filter") -> set[str]:
        """Return what the filter lets through; NOT with a kind in it is nothing (Cyrus 3.13.7)."""
        match filter_:
            case {"operator": "NOT", "conditions": [*conditions]} if any(
                isinstance(condition, dict) and "kind" in condition for condition in conditions
            ):
                return set()
        return super().select(filter_, within, path)


def patched(card: Card, patch: Mapping[PatchPath, Any], refusal: str = "invalidPatch") -> Card:
    """Return a card with a patch applied (RFC 8620 §5.3).

    Raises:
        SetError: a pointer goes through something that is not there.
    """
    result = copy.deepcopy(card)
    for path, value in patch.items():
        inside = result
        for step in path[:-1]:
            if not isinstance(inside.get(step), dict):
                named = {} if refusal == "invalidPatch" else {"properties": ["/".join(path)]}
                raise SetError(refusal, **named)
            inside = inside[step]
        if value is None:
            inside.pop(path[-1], None)
        else:
            inside[path[-1]] = value
    return result


def _check_names(names: Iterable[str]) -> None:
    """Refuse a property that is neither of RFC 9553's nor of RFC 9610's nor a vendor's."""
    unknown = [
        f"properties[{index}:{name}]"
        for index, name in enumerate(names)
        if not (is_property(name) or name in ("id", "addressBookIds"))
    ]
    if unknown:
        raise MethodError("invalidArguments", arguments=unknown)


def _notes_gone(patch: Mapping[PatchPath, Any]) -> Iterable[str]:
    """Return the ids of the notes that a patch takes away, each for itself."""
    gone = (path for path, value in patch.items() if value is None)
    return [rest[0] for name, *rest in gone if name == "notes" and len(rest) == 1]


def _addresses_of(card: Card) -> list[str]:
    return [email["address"] for email in card.get("emails", {}).values()]


class _WordIndex:
    """Which of the ids have a word in one of their values; made when it is first asked."""

    def __init__(self, ids: Iterable[str], values: Callable[[str], Iterable[str]]) -> None:
        self._all = ids
        self._values = values
        self._ids: dict[str, set[str]] | None = None

    def with_words(self, text: object) -> set[str]:
        """Return those one of whose values has all the words. Raises ValueError for no text."""
        if not isinstance(text, str):
            raise ValueError("no text")
        words = _words(text)
        if self._ids is None:
            self._ids = self._made()
        found = [self._ids.get(word, set()) for word in words] or [set(self._all)]
        return {id_ for id_ in set.intersection(*found) if self._has(id_, words)}

    def _has(self, id_: str, words: frozenset[str]) -> bool:
        return any(words <= _words(value) for value in self._values(id_))

    def _made(self) -> dict[str, set[str]]:
        made: dict[str, set[str]] = {}
        for id_ in self._all:
            for value in self._values(id_):
                for word in _words(value):
                    made.setdefault(word, set()).add(id_)
        return made


@functools.lru_cache(maxsize=65536)  # the same addresses and members with every query
def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.lower()))


def _book_id(book: Book) -> str:
    return book.path.rpartition("/")[2]
