"""Whom the user has written to, and where: by exact comparison, in few requests, on all servers."""

import gc
import tracemalloc
from collections.abc import Collection
from dataclasses import replace

import pytest

from mailroom.engine.loop import both
from mailroom.wire.filters import in_any
from mailroom.wire.jmap import MethodError
from mailroom.work.screening.sent import Answered, Sent
from tests.sandbox import (
    CYRUS_3_10,
    FASTMAIL,
    JAMES,
    NO_SEARCH,
    SHORT_PAGES,
    SMALL_LIMITS,
    STALWART,
    Entry,
    Fault,
    Profile,
)
from tests.virtual_clients import VirtualClients

BOB = "bob@example.org"
HOUR = 3600.0
SERVERS = [CYRUS_3_10, FASTMAIL, STALWART]
WORDS = replace(SMALL_LIMITS, name="words", searches_by_words=True)
ALL = [*SERVERS, JAMES, NO_SEARCH, SMALL_LIMITS, SHORT_PAGES, WORDS]


def named(profile: Profile) -> str:
    return profile.name


class SentClients(VirtualClients):
    """Asks Sent, of a server whose index has seen all that ``index`` was called after."""

    def __init__(self, profile: Profile = CYRUS_3_10) -> None:
        super().__init__(profile)
        self.sent = Sent(self.loop, self.mail)
        self.run(self.mail.session())

    def index(self) -> None:
        self.clock.advance(1.0)

    def ask(
        self, addresses: Collection[str], threads: Collection[str] = (), *, whole: bool = False
    ) -> Answered:
        return self.run(self.sent.ask(self.sent_id, addresses, threads, whole=whole))

    @property
    def sent_id(self) -> str:
        return self.sandbox.mailbox_id("Sent")

    def has_written(self, address: str) -> bool:
        return self.ask([address]).written == {address}

    def requests_of(self, addresses: Collection[str], threads: Collection[str] = ()) -> list[Entry]:
        """What is asked of the server for that."""
        number = len(self.sandbox.log.entries)
        self.ask(addresses, threads)
        return self.sandbox.log.since(number)

    def thread_of(self, mail_id: str) -> str:
        return self.sandbox.mail(mail_id).thread_id


def strangers(count: int) -> list[str]:
    return [f"s{number}@example.org" for number in range(count)]


# Who was written to


@pytest.mark.parametrize("profile", ALL, ids=named)
@pytest.mark.parametrize("header", ["to", "cc", "bcc"])
def test_whoever_is_in_to_cc_or_bcc_was_written_to(profile: Profile, header: str) -> None:
    context = SentClients(profile)
    context.sandbox.send(**{"to": "eve@example.org", header: f"Eve <eve@example.org>, Bob <{BOB}>"})
    context.index()
    assert context.ask([BOB, "mallory@example.org"]) == Answered(frozenset([BOB]), frozenset())


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("Bob@Example.ORG", BOB),
        ("bob@bücher.example", "bob@xn--bcher-kva.example"),
        ("bob@xn--bcher-kva.example", "bob@xn--bcher-kva.example"),
    ],
)
@pytest.mark.parametrize("whole", [False, True])
def test_spelling_does_not_matter(written: str, asked: str, whole: bool) -> None:
    context = SentClients()
    context.sandbox.send([(None, written)])
    assert context.ask([asked], whole=whole).written == {asked}


@pytest.mark.parametrize(
    "to",
    [
        f'"{BOB}" <mallory@example.net>',
        "bob.example@example.org, org@example.org",
        "bob@example.org.example",
        "not-bob@example.org",
        "bob@mail.example.org",
    ],
)
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("profile", SERVERS, ids=named)
def test_who_only_has_the_words_of_an_address_is_somebody_else(
    profile: Profile, to: str, whole: bool
) -> None:
    context = SentClients(profile)
    context.sandbox.send(to)
    context.index()
    assert context.ask([BOB], whole=whole).written == frozenset()


@pytest.mark.parametrize("profile", SERVERS, ids=named)
def test_mail_that_is_elsewhere_was_not_sent(profile: Profile) -> None:
    context = SentClients(profile)
    for mailbox in ("Inbox", "Archive", "Drafts", "Trash"):
        context.sandbox.deliver("eve@example.org", mailbox=mailbox, to=BOB)
    context.index()
    assert not context.has_written(BOB)


@pytest.mark.parametrize("profile", ALL, ids=named)
@pytest.mark.parametrize("place", [0, 30, 60, None])
def test_one_mail_is_found_behind_many_with_the_same_words(
    profile: Profile, place: int | None
) -> None:
    context = SentClients(profile)
    for number in range(90):
        context.sandbox.send(BOB if number == place else f'"{BOB}" <mallory{number}@example.net>')
    context.index()
    assert context.has_written(BOB) is (place is not None)


def test_of_many_mails_to_somebody_a_few_are_read() -> None:
    context = SentClients()
    for _ in range(200):
        context.sandbox.send(BOB)
    [request] = context.requests_of([BOB])
    assert request.bytes_out < 5000


@pytest.mark.parametrize("profile", SERVERS, ids=named)
def test_where_all_the_mails_to_somebody_were_read_they_are_not_searched_for_again(
    profile: Profile,
) -> None:
    context = SentClients(profile)
    for number in range(10):
        context.sandbox.send(f'"{BOB}" <mallory{number}@example.net>')
    context.index()
    assert len(context.requests_of([BOB])) == 1


# Conversations


@pytest.mark.parametrize("profile", ALL, ids=named)
@pytest.mark.parametrize("whole", [False, True])
def test_a_thread_with_a_mail_in_sent_is_a_conversation(profile: Profile, whole: bool) -> None:
    context = SentClients(profile)
    begun = context.sandbox.deliver("eve@example.org", "Lunch", "Archive")
    context.sandbox.send("eve@example.org", "Re: Lunch", in_reply_to=begun)
    answer = context.sandbox.deliver(
        "eve@private.example",
        "Re: Lunch",
        references=context.sandbox.mail(begun).message_id,
    )
    other = context.sandbox.deliver("eve@example.org", "Lunch tomorrow")
    context.index()
    threads = [context.thread_of(answer), context.thread_of(other), "Tno-such-thread"]
    answered = context.ask(["eve@private.example"], threads, whole=whole)
    assert answered == Answered(frozenset(), frozenset([context.thread_of(begun)]))


@pytest.mark.parametrize("profile", [STALWART, SMALL_LIMITS], ids=named)
def test_threads_may_have_more_mail_than_one_answer_holds(
    profile: Profile,
) -> None:
    context = SentClients(profile)
    begun = context.sandbox.send("list@example.org", "Plans")
    reference = context.sandbox.mail(begun).message_id
    for _ in range(510):
        context.sandbox.deliver("list@example.org", "Re: Plans", references=reference)
    other = context.sandbox.deliver("list@example.org", "Other plans")
    threads = [context.thread_of(begun), context.thread_of(other)]
    assert context.ask([], threads).conversations == {context.thread_of(begun)}


# Requests


@pytest.mark.parametrize(
    ("profile", "count", "requests", "round_trips"),
    [(CYRUS_3_10, 24, 1, 1), (CYRUS_3_10, 50, 3, 1), (STALWART, 7, 1, 1), (STALWART, 50, 7, 2)],
)
def test_up_to_fifty_are_asked_for_side_by_side(
    profile: Profile, count: int, requests: int, round_trips: int
) -> None:
    context = SentClients(profile)
    threads = [context.thread_of(context.sandbox.deliver(each)) for each in strangers(count)]
    context.sandbox.controls.delay_seconds = 1.0
    began = context.clock.wall()
    asked = context.requests_of(strangers(count), threads)
    assert len(asked) == requests
    assert context.clock.wall() - began == round_trips
    assert max(len(entry.calls) for entry in asked) <= profile.limits.max_calls_in_request


def test_a_few_travel_with_what_others_ask_in_the_same_turn() -> None:
    context = SentClients()
    context.sandbox.send(BOB)
    number = len(context.sandbox.log.entries)
    search = context.mail.search([in_any([context.sandbox.mailbox_id("Screener")])])
    ask = context.sent.ask(context.sent_id, [BOB], [])
    found, answered = context.run(both(context.loop, search, ask))
    assert found == [()]
    assert answered.written == {BOB}
    assert len(context.sandbox.log.since(number)) == 1


def test_nobody_is_asked_for_twice_within_an_hour_who_was_written_to() -> None:
    context = SentClients()
    sent = context.sandbox.send(BOB)
    assert len(context.requests_of([BOB], [context.thread_of(sent)])) == 1
    assert context.requests_of([BOB], [context.thread_of(sent)]) == []
    context.clock.advance(HOUR)
    assert len(context.requests_of([BOB], [context.thread_of(sent)])) == 1


def test_for_nobody_nothing_is_asked() -> None:
    assert SentClients().requests_of([], []) == []


# All of Sent


@pytest.mark.parametrize("profile", SERVERS, ids=named)
def test_more_than_fifty_are_looked_up_in_all_of_sent(profile: Profile) -> None:
    context = SentClients(profile)
    for each in strangers(120)[::2]:
        context.sandbox.send(each)
    assert context.ask(strangers(120)).written == set(strangers(120)[::2])


def test_so_are_more_than_five_hundred_threads() -> None:
    context = SentClients()
    sent = [context.thread_of(context.sandbox.send(BOB, f"{number}")) for number in range(3)]
    threads = [*(f"T{number}" for number in range(600)), *sent]
    asked = context.requests_of([], threads)
    assert [entry.calls for entry in asked].count(("Thread/get", "Email/get")) == 0
    assert context.ask([], threads).conversations == set(sent)


def test_of_the_mails_in_sent_little_more_than_the_recipients_is_read() -> None:
    context = SentClients()
    for each in strangers(60):
        context.sandbox.send(each, "A long subject " * 20)
    asked = context.requests_of([f"x{number}@example.org" for number in range(60)])
    reads = [entry for entry in asked if "Email/get" in entry.calls]
    assert [entry.calls for entry in reads] == [("Email/query", "Email/get"), ("Email/get",)]
    assert max(entry.bytes_out for entry in reads) < 60 * 300


def test_all_of_sent_is_read_once_an_hour_with_a_glance_at_what_is_new_each_time() -> None:
    context = SentClients()
    for each in strangers(1200):
        context.sandbox.send(each)
    glance, ids, read = ("Email/query", "Email/get"), ("Email/query",), ("Email/get",)
    others = [f"x{number}@example.org" for number in range(60)]
    assert [entry.calls for entry in context.requests_of(others)] == [glance, ids, read, read, read]
    context.clock.advance(1.0)
    context.sandbox.send(others[0])
    assert [entry.calls for entry in context.requests_of(others)] == [glance]
    assert context.ask(others).written == {others[0]}
    context.clock.advance(HOUR)
    assert [entry.calls for entry in context.requests_of(others)].count(read) == 3


def test_when_more_has_come_to_sent_than_a_glance_shows_it_is_read_anew() -> None:
    context = SentClients()
    others = [f"x{number}@example.org" for number in range(200)]
    for known in (0, 150):
        context.clock.advance(1.0)
        for each in others[:known]:
            context.sandbox.send(each)
        assert context.ask(others).written == set(others[:known])


def test_an_older_reading_does_not_end_a_newer_one() -> None:
    context = SentClients()
    others = [f"x{number}@example.org" for number in range(300)]
    context.sandbox.send(others[0])
    context.ask(others)
    context.clock.advance(HOUR / 2)
    for each in others[:150]:
        context.sandbox.send(each)
    context.ask(others)
    context.clock.advance(HOUR / 2)
    context.loop.turn()
    assert len(context.requests_of(others)) == 1


def test_another_sent_mailbox_is_read_anew() -> None:
    context = SentClients()
    other = context.sandbox.create_mailbox("Sent elsewhere")
    context.sandbox.deliver("alice@home.example", mailbox="Sent elsewhere", to=BOB)
    context.clock.advance(1.0)
    both_have = ["Sent", "Sent elsewhere"]
    for each in strangers(100):
        context.sandbox.deliver("alice@home.example", mailbox=both_have, to=each)
    assert context.ask([BOB], whole=True).written == frozenset()
    assert context.run(context.sent.ask(other, [BOB], [], whole=True)).written == {BOB}


def test_reading_all_of_sent_is_one_request_at_a_time() -> None:
    context = SentClients(STALWART)
    for number in range(1200):
        context.sandbox.send(f"s{number}@example.org")
    context.sandbox.controls.delay_seconds = 1.0
    asked = context.requests_of(strangers(60))
    assert len(asked) == 5
    assert [entry.started for entry in asked] == sorted({entry.started for entry in asked})


def test_so_are_the_pages_of_its_ids() -> None:
    context = SentClients(SHORT_PAGES)
    for number in range(60):
        context.sandbox.send(f"s{number}@example.org")
    context.sandbox.controls.delay_seconds = 1.0
    asked = context.requests_of([f"x{number}@example.org" for number in range(60)])
    assert sum(entry.calls == ("Email/query",) for entry in asked) > 5
    assert len({entry.started for entry in asked}) == len(asked)


def test_what_is_kept_of_a_mail_is_less_than_twenty_five_bytes() -> None:
    context = SentClients()
    for number in range(4000):
        context.sandbox.send(f"s{number}@example.org", f"{number}")
    SentClients().ask([BOB], whole=True)  # what is loaded and kept at the first time is not its own
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        assert context.ask(["s3999@example.org"], whole=True).written
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 25 * 4000 + 60_000  # and a hundred ids, and what the sandbox notes


# Where the server cannot search


def test_what_cannot_be_searched_for_is_looked_up_in_all_of_sent() -> None:
    context = SentClients()
    context.sandbox.send(BOB)
    context.sandbox.faults.add(Fault(call="Email/query", method_error="serverFail", times=1))
    assert context.has_written(BOB)


def test_a_server_that_cannot_tell_at_all_says_so() -> None:
    context = SentClients()
    context.sandbox.faults.add(Fault(call="Email/query", method_error="serverFail"))
    context.fails(MethodError, context.sent.ask(context.sent_id, [BOB], []))


def test_a_sent_mailbox_that_is_gone_is_an_error() -> None:
    context = SentClients()
    gone = context.sent_id
    context.sandbox.destroy_mailbox("Sent")
    context.fails(MethodError, context.sent.ask(gone, [BOB], []))


# What comes to Sent


def test_who_is_written_to_is_known_at_once() -> None:
    context = SentClients(STALWART)
    sent = context.sandbox.send(BOB)
    assert not context.has_written(BOB)  # no index has seen it
    context.sent.note(["Bob@Example.org", "eve@example.org"], context.thread_of(sent))
    assert context.requests_of([BOB], [context.thread_of(sent)]) == []
    answered = context.ask([BOB, "eve@example.org"], [context.thread_of(sent)])
    assert answered == Answered(
        frozenset([BOB, "eve@example.org"]), frozenset([context.thread_of(sent)])
    )


def test_a_mail_to_thousands_does_not_fill_the_memory() -> None:
    context = SentClients()
    context.sent.note(strangers(10_000), "T1")
    assert context.ask(strangers(10_000)[-1:]).written
    assert not context.ask(strangers(10_000)[:1]).written
