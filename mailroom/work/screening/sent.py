"""Whom the user has written to, and in which conversations, by the Sent mailbox.

A few addresses are searched for. A search compares words, so it finds candidates: an address was
written to if it is exactly one of a mail's recipients. Many addresses, or addresses that the server
cannot search for, are looked up in all of Sent. It is read once and kept for an hour; mail that has
come to Sent since is read before each use.

Who was written to is also remembered for an hour, from the moment a mail comes to Sent: a search
may find that mail only later.
"""

from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import inf

from mailroom.engine.loop import Loop, give_way, together
from mailroom.rules.addresses import canonical, spellings
from mailroom.wire.filters import Filter, all_of, any_of
from mailroom.wire.jmap import Answers, Call, MethodError, read_page
from mailroom.wire.letters import (
    PLACE_PROPERTIES,
    PROPERTIES,
    Letter,
    read_letters,
)
from mailroom.work.mail.ids import all_ids
from mailroom.work.mail.mail import MailClient
from mailroom.work.mail.pages import nothing_follows
from mailroom.work.session.portions import portions

# An address, or the ids of threads.
_Question = str | tuple[str, ...]

# More addresses than this are looked up in all of Sent: on Cyrus 3.10.2 fifty searches take 0.2 s,
# and to read 20,000 mails takes 0.9 to 1.6 s (seen), which then serves thousands of strangers.
_MOST_SEARCHED = 50
# More threads than this would take many requests as well: one holds some ten questions of fifty.
_MOST_THREADS = 500
_THREADS_PER_QUESTION = 50
# Nearly always the first mail found is the right one; others have the words in a name or in two
# headers.
_CANDIDATES = 20
_KEPT_SECONDS = 3600.0
# How much of Sent is read at once: a few milliseconds of computing.
_LETTERS_AT_ONCE = 500
# If more mails than this come to Sent between two uses, all of it is read again.
_NEWEST = 100
# Addresses or threads: some hundred KiB.
_MOST_REMEMBERED = 2000
_NEWEST_FIRST = [{"property": "receivedAt", "isAscending": False}]


@dataclass(frozen=True, slots=True)
class Answered:
    """Which of the addresses the user has written to, and which of the threads the user has written
    in."""

    written: frozenset[str]
    conversations: frozenset[str]


class Sent:
    """The Sent mailbox of one account."""

    def __init__(self, loop: Loop, mail: MailClient) -> None:
        self._loop = loop
        self._mail = mail
        self._written = _Memory(loop)
        self._conversations = _Memory(loop)
        self._whole: _Whole | None = None

    def note(self, recipients: Iterable[str], thread_id: str) -> None:
        """Note a mail that has come to Sent: its recipients are known at once."""
        self._written.add(map(canonical, recipients))
        self._conversations.add([thread_id])

    async def ask(
        self,
        sent_id: str,
        addresses: Collection[str],
        threads: Collection[str],
        *,
        whole: bool = False,
    ) -> Answered:
        """Which of the (canonical) addresses the user has written to, and which threads the user
        has written in. With ``whole`` all of Sent is read, because many more will be asked about.

        Raises MethodError if the server cannot tell.
        """
        strangers = frozenset(addresses) - (written := self._written.among(addresses))
        others = frozenset(threads) - (known := self._conversations.among(threads))
        if not strangers and not others:
            return Answered(written, known)
        if whole or len(strangers) > _MOST_SEARCHED or len(others) > _MOST_THREADS:
            found = (await self._read_whole(sent_id)).among(strangers, others)
        else:
            try:
                found = await self._search(sent_id, sorted(strangers), sorted(others))
            except MethodError:  # no search, or threads with more mails than an answer may hold
                found = (await self._read_whole(sent_id)).among(strangers, others)
        self._written.add(found.written)
        self._conversations.add(found.conversations)
        return Answered(written | found.written, known | found.conversations)

    # A few

    async def _search(
        self, sent_id: str, addresses: Sequence[str], threads: Sequence[str]
    ) -> Answered:
        written: set[str] = set()
        conversations: set[str] = set()

        async def ask(questions: Sequence[_Question]) -> None:
            pairs = [_calls(sent_id, *numbered) for numbered in enumerate(questions)]
            calls = [call for pair in pairs for call in pair]
            answers = await self._mail.call(calls, gathers=len(requests) == 1)
            for number, question in enumerate(questions):
                if isinstance(question, tuple):
                    letters = read_letters(answers[f"letters{number}"])
                    conversations.update(
                        each.thread_id for each in letters if sent_id in each.mailbox_ids
                    )
                elif await self._is_written(answers, number, sent_id, question):
                    written.add(question)

        limits = (await self._mail.session()).limits
        batches = portions(threads, min(_THREADS_PER_QUESTION, limits.get))
        questions: list[_Question] = [*addresses, *map(tuple, batches)]
        requests = list(portions(questions, max(1, limits.calls // 2)))
        await together(self._loop, [ask(request) for request in requests], limits.concurrent)
        return Answered(frozenset(written), frozenset(conversations))

    async def _is_written(self, answers: Answers, number: int, sent_id: str, address: str) -> bool:
        """Whether any of the mails found, also on later pages, went to the address."""
        page = read_page(answers[f"found{number}"])
        if _went_to(address, read_letters(answers[f"letters{number}"])):
            return True
        if nothing_follows(page, _CANDIDATES, len(page.ids)):
            return False
        query = _to(sent_id, address)
        [ids] = await all_ids(self._loop, self._mail, [query], concurrent=1)
        for portion in portions(ids.difference(page.ids), await self._letters_at_once()):
            if _went_to(address, await self._letters(portion)):
                return True
        return False

    # All of it

    async def _read_whole(self, sent_id: str) -> "_Whole":
        self._forget_old()
        newest, letters = await self._newest(sent_id)
        whole = self._whole
        if whole is not None and whole.sent_id == sent_id and whole.is_continued_by(newest):
            self._whole = whole.with_newer(newest, letters)
        else:
            self._whole = await self._read_anew(sent_id, newest)
            self._loop.call_at(self._whole.until, self._forget_old)
        return self._whole

    async def _newest(self, sent_id: str) -> tuple[frozenset[str], tuple[Letter, ...]]:
        """The newest mails in Sent: their ids, and their recipients and threads."""
        page = {"sort": _NEWEST_FIRST, "limit": _NEWEST}
        query = Call("Email/query", {"filter": _in(sent_id), **page}, "newest")
        get = Call("Email/get", {"#ids": query.ref("/ids"), "properties": PROPERTIES}, "letters")
        answers = await self._mail.call([query, get])
        return frozenset(read_page(answers["newest"]).ids), read_letters(answers["letters"])

    async def _read_anew(self, sent_id: str, newest: frozenset[str]) -> "_Whole":
        """Read all of Sent, one request at a time, so that polls need not wait."""
        until = self._loop.now() + _KEPT_SECONDS
        [ids] = await all_ids(self._loop, self._mail, [_in(sent_id)], concurrent=1)
        addresses: set[int] = set()
        threads: set[int] = set()
        for portion in portions(ids, await self._letters_at_once()):
            more_addresses, more_threads = _hashes(await self._letters(portion))
            addresses |= more_addresses
            threads |= more_threads
            await give_way(self._loop)
        return _Whole(sent_id, until, newest, _packed(addresses), _packed(threads))

    def _forget_old(self) -> None:
        if self._whole is not None and self._loop.now() >= self._whole.until:
            self._whole = None

    async def _letters(self, ids: Sequence[str]) -> tuple[Letter, ...]:
        get = Call("Email/get", {"ids": ids, "properties": PROPERTIES}, "letters")
        return read_letters((await self._mail.call([get]))["letters"])

    async def _letters_at_once(self) -> int:
        return min((await self._mail.session()).limits.get, _LETTERS_AT_ONCE)


class _Memory:
    """The values noted within the last hour, as many as there is room for."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._seen: dict[str, float] = {}

    def add(self, values: Iterable[str]) -> None:
        now = self._loop.now()
        for value in values:
            self._seen[value] = now
        while len(self._seen) > _MOST_REMEMBERED:
            del self._seen[next(iter(self._seen))]

    def among(self, values: Iterable[str]) -> frozenset[str]:
        """Those of the values that were noted within the last hour."""
        since = self._loop.now() - _KEPT_SECONDS
        return frozenset(each for each in values if self._seen.get(each, -inf) > since)


@dataclass(frozen=True, slots=True)
class _Whole:
    """All of Sent, packed as sorted hashes of 64 bits, keyed for this process. 20,000 mails take at
    most some 300 KiB; strings would take ten times that. The chance that any of a thousand
    strangers has the hash of somebody else is about one in 10^12."""

    sent_id: str
    until: float
    newest: frozenset[str]
    addresses: "array[int]"
    threads: "array[int]"

    def among(self, addresses: Iterable[str], threads: Iterable[str]) -> Answered:
        return Answered(
            frozenset(each for each in addresses if _has(self.addresses, each)),
            frozenset(each for each in threads if _has(self.threads, each)),
        )

    def is_continued_by(self, newest: frozenset[str]) -> bool:
        """Whether the newest mails include all that has come since: one of them is known."""
        return newest == self.newest or not newest.isdisjoint(self.newest)

    def with_newer(self, newest: frozenset[str], letters: Iterable[Letter]) -> "_Whole":
        if newest == self.newest:
            return self
        addresses, threads = _hashes(letters)
        return replace(
            self,
            newest=newest,
            addresses=_packed(addresses.union(self.addresses)),
            threads=_packed(threads.union(self.threads)),
        )


def _hashes(letters: Iterable[Letter]) -> tuple[set[int], set[int]]:
    addresses = {hash(canonical(each)) for letter in letters for each in letter.recipients}
    return addresses, {hash(letter.thread_id) for letter in letters}


def _packed(hashes: Iterable[int]) -> "array[int]":
    return array("q", sorted(hashes))


def _has(packed: "array[int]", value: str) -> bool:
    wanted = hash(value)
    place = bisect_left(packed, wanted)
    return place < len(packed) and packed[place] == wanted


def _calls(sent_id: str, number: int, question: _Question) -> tuple[Call, Call]:
    """The calls that answer a question: a search or a thread, and its mails by back-reference."""
    properties: Sequence[str] = PROPERTIES
    if isinstance(question, tuple):
        found = Call("Thread/get", {"ids": question}, f"found{number}")
        path, properties = "/list/*/emailIds", PLACE_PROPERTIES
    else:
        page = {"limit": _CANDIDATES, "calculateTotal": True}
        found = Call("Email/query", {"filter": _to(sent_id, question), **page}, f"found{number}")
        path = "/ids"
    get = {"#ids": found.ref(path), "properties": properties}
    return found, Call("Email/get", get, f"letters{number}")


def _in(sent_id: str) -> Filter:
    return {"inMailbox": sent_id}


def _to(sent_id: str, address: str) -> Filter:
    """The filter for mail in Sent to an address, or with its words."""
    headers = product(("to", "cc", "bcc"), spellings(address))
    return all_of(_in(sent_id), any_of({header: spelling} for header, spelling in headers))


def _went_to(address: str, letters: Iterable[Letter]) -> bool:
    return any(canonical(each) == address for letter in letters for each in letter.recipients)
