"""Address books in memory, as a storage of Radicale.

Radicale's own storages write a card as their parser understood it: properties in another order,
names in capitals. Servers keep what they are given, and Mailroom's promise to leave foreign lines
alone can only be tested on one that does. So this storage keeps the text; and it counts changes,
so that a sync costs what has changed and not what there is (RFC 6578). JMAP (RFC 9610) looks at
the same cards; what it needs beyond their text, ids and states, is kept beside it.
"""

import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Final

from radicale.config import Configuration
from radicale.item import Item, get_etag
from radicale.storage import BaseCollection, BaseStorage

from tests.sandbox import etags
from tests.sandbox.cards import partial_card, plain_uid, property_of
from tests.sandbox.cardversions import Version, in_version
from tests.sandbox.profile import Profile

_LAST_MODIFIED: Final = "Sat, 01 Jan 2000 00:00:00 GMT"
# As Cyrus has them: UIDVALIDITY and MODSEQ.
_TOKEN: Final = re.compile(r"data:,(\d+)-(\d+)")
_UIDVALIDITY: Final = 1_795_719_816


@dataclass(slots=True)
class Record:
    """What JMAP tells of a card beyond its text: its id, and at what states it came and changed.

    The id says nothing of the UID: in Cyrus it is the UID at first and another one after the
    index was made anew.
    """

    id: str
    created: int
    changed: int


class Book(BaseCollection):
    """One collection: the root, a principal, or an address book with its cards."""

    def __init__(self, storage: "BookStorage", path: str, props: Mapping[str, str]) -> None:
        self.cards: dict[str, str] = {}
        self.records: dict[str, Record] = {}
        #: Those of cards that were deleted; changed is when.
        self.gone: list[Record] = []
        self._storage = storage
        self._path = path
        self._props = dict(props)
        self._revision = 0
        #: Name of a card → revision of its last change, the newest last; gone ones too.
        self._changes: dict[str, int] = {}
        self._token_series = _UIDVALIDITY
        self._token_uses = 0

    @property
    def path(self) -> str:
        """The path without slashes around it."""
        return self._path

    @property
    def last_modified(self) -> str:
        """An instant in the past: nobody asks the sandbox for it in earnest."""
        return _LAST_MODIFIED

    def put(self, name: str, text: str) -> None:
        """Keep a card as it is."""
        self.cards[name] = text
        revision = self._changed(name)
        if record := self.records.get(name):
            record.changed = revision
        else:
            record = self.records[name] = Record(self._storage.new_id(), revision, revision)
            self._storage.by_id[record.id] = (self, name)

    def delete(self, href: str | None = None) -> None:
        """Delete a card, or the whole collection."""
        if href is None:
            del self._storage.books[self._path]
        else:
            del self.cards[href]
            record = self.records.pop(href)
            record.changed = self._changed(href)
            self.gone.append(record)
            del self._storage.by_id[record.id]

    def sync(self, old_token: str = "") -> tuple[str, list[str]]:
        """Return the new token and the names that have changed since the old one, oldest first.

        Where a page does not hold them all, the token is that of its last one.

        Raises:
            ValueError: the token is not one of ours, or no longer.
        """
        since, is_first = self._since(old_token)
        changed = [
            name
            for name, _ in takewhile(lambda item: item[1] > since, reversed(self._changes.items()))
            if name in self.cards or not is_first
        ]
        page = changed[::-1][: self._storage.sync_page]
        self._storage.is_truncated = len(page) < len(changed)
        goes_on = self._storage.is_truncated and not self._storage.profile.sync_loses_rest
        revision = self._changes[page[-1]] if goes_on else self._revision
        return f"data:,{self._token_series}-{revision}", page

    def forget_tokens(self) -> None:
        """Make every token that was handed out invalid."""
        self._token_series += 1

    def get_multi(self, hrefs: Iterable[str]) -> Iterator[tuple[str, Item | None]]:
        """Yield the cards of these names, None for those that are not there."""
        for href in hrefs:
            yield href, self._item(href) if href in self.cards else None

    def get_all(self) -> Iterator[Item]:
        """Yield every card."""
        return (self._item(href) for href in list(self.cards))

    def has_uid(self, uid: str) -> bool:
        """Let one UID stand at two hrefs, as Cyrus 3.10 does, unless a UID is one card's alone."""
        if not self._storage.profile.uids_are_exact:
            return False
        return any(property_of(text, "UID") == uid for text in self.cards.values())

    def upload(self, href: str, item: Item) -> tuple[Item, Item | None]:
        """Keep the text that is to be kept and not Radicale's reading of what was sent."""
        old = self._item(href) if href in self.cards else None
        self.put(href, self._storage.incoming)
        return self._item(href), old

    def get_meta(self, key: str | None = None) -> Any:
        """Return one property of the collection, or all."""
        return self._props if key is None else self._props.get(key)

    def set_meta(self, props: Mapping[str, str]) -> None:
        """Set all properties of the collection."""
        self._props = dict(props)

    def _since(self, token: str) -> tuple[int, bool]:
        """Return the revision after which changes are asked for, and whether all cards are."""
        if not token:
            return 0, True
        try:
            return self._revision_of(token), False
        except ValueError:
            if self._storage.profile.refuses_tokens:
                raise
            return 0, True

    def _revision_of(self, token: str) -> int:
        """Return the revision that a token stands for, unless it is one time that it is lost."""
        self._token_uses += 1
        uses = self._storage.profile.sync_token_uses
        is_lost = uses is not None and self._token_uses % uses == 0
        match = _TOKEN.fullmatch(token)
        if is_lost or match is None or int(match[1]) != self._token_series:
            raise ValueError(f"no such token: {token}")
        if (revision := int(match[2])) > self._revision:
            raise ValueError(f"no such token yet: {token}")
        return revision

    def _changed(self, name: str) -> int:
        """Count a change and return its number, which no other book of the account has."""
        self._storage.revision += 1
        self._revision = self._storage.revision
        self._changes.pop(name, None)
        self._changes[name] = self._revision
        return self._revision

    def _item(self, name: str) -> Item:
        """Show a card to Radicale: its ETag is of the whole text, whatever is shown of it."""
        text = self.cards[name]
        return Item(
            collection=self,
            href=name,
            text=self._storage.shown(text),
            etag=etags.shown(get_etag(text), self._storage.profile.etag_form),
            uid=self._storage.uid(text) or name,
            name="VCARD",
            last_modified=_LAST_MODIFIED,
        )


class BookStorage(BaseStorage):
    """All collections of one sandbox. Whoever calls Radicale holds the sandbox's lock."""

    _is_collision_free = True
    _supports_unicode = True
    _supports_trailing_whitespace = True
    _supports_problematic_chars = True

    def __init__(self, configuration: Configuration, profile: Profile) -> None:
        super().__init__(configuration)
        self.profile = profile
        self.books: dict[str, Book] = {}
        #: The card of the PUT that is being handled, as it is to be kept.
        self.incoming = ""
        #: What the request that is being handled wants to see of each card; None is all of it.
        self.properties: frozenset[str] | None = None
        #: In which version; None is the one that it is kept in.
        self.version: Version | None = None
        #: How many changes a sync shows at a time; None is all.
        self.sync_page: int | None = profile.sync_page
        #: Whether the request that is being handled is a sync that has not shown them all.
        self.is_truncated = False
        #: The number of the last change of a card: to JMAP the state of all of them.
        self.revision = 1
        #: A card's id → where it is.
        self.by_id: dict[str, tuple[Book, str]] = {}
        self.books[""] = Book(self, "", {})
        self._random = random.Random(0)
        self._published = self.revision
        self._listeners: list[Callable[[str], None]] = []

    @property
    def state(self) -> str:
        """The state of all cards, as JMAP shows it."""
        return str(self.revision)

    @property
    def address_books(self) -> list[Book]:
        """The collections that are address books."""
        return [b for b in self.books.values() if b.get_meta("tag") == "VADDRESSBOOK"]

    def new_id(self) -> str:
        """Return an id that no test can guess but every run repeats."""
        return f"D{self._random.getrandbits(64):016x}"

    def on_publish(self, listener: Callable[[str], None]) -> None:
        """Have ``listener`` called with the new state of the cards."""
        self._listeners.append(listener)

    def publish(self) -> None:
        """Tell the listeners if a card has changed since the last time."""
        if self._published != self.revision:
            self._published = self.revision
            for listener in self._listeners:
                listener(self.state)

    def shown(self, text: str) -> str:
        """Return what the request that is being handled is to see of a card."""
        if self.version is not None:
            text = in_version(text, self.version, self.profile.card_conversion)
        if self.properties is None:
            return text
        shows_groups = self.profile.shows_grouped_properties
        return partial_card(text, self.properties, shows_groups=shows_groups)

    def uid(self, text: str) -> str:
        """Return a card's UID in the form of the card that is being put, if it is the same one.

        A client that has seen the card in another version has seen another form of it, and one
        that has seen none may give it one.
        """
        if self.profile.uids_are_exact:
            return property_of(text, "UID") or ""
        is_same = plain_uid(text) in ("", plain_uid(self.incoming))
        return property_of(self.incoming if is_same else text, "UID") or ""

    def discover(
        self, path: str, depth: str = "0", *unused: object, **unused_too: object
    ) -> Iterator[Book | Item]:
        """Yield what is at a path and, unless the depth is 0, its direct children."""
        path = path.strip("/")
        parent, _, name = path.rpartition("/")
        if path in self.books:
            book = self.books[path]
            yield book
            if depth != "0":
                yield from (b for p, b in self.books.items() if p and _parent(p) == path)
                yield from book.get_all()
        elif parent in self.books and name in self.books[parent].cards:
            yield next(item for _, item in self.books[parent].get_multi([name]) if item)

    def create_collection(
        self,
        href: str,
        items: Iterable[Item] | None = None,
        props: Mapping[str, str] | None = None,
    ) -> tuple[Book, dict[str, Item], list[str]]:
        """Create a collection, or return the one that is there."""
        path = href.strip("/")
        if path not in self.books or props is not None:
            self.books[path] = Book(self, path, props or {})
        return self.books[path], {}, []

    def move(self, item: Item, to_collection: BaseCollection, to_href: str) -> None:
        """Move a card."""
        assert isinstance(to_collection, Book)
        assert isinstance(item.collection, Book)
        to_collection.put(to_href, item.serialize())
        item.collection.delete(item.href)

    @contextmanager
    def acquire_lock(self, mode: str, user: str = "", *_: object, **__: object) -> Iterator[None]:
        """Lock nothing."""
        yield

    def verify(self) -> bool:
        """Find no fault."""
        return True


def _parent(path: str) -> str:
    return path.rpartition("/")[0]
