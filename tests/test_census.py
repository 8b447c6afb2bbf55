"""The count of who waits: all of Screener once, then only what nobody knows."""

from collections.abc import Callable

import pytest

from mailroom.engine.journal import Fields, Level, Log
from mailroom.rules.screening.waiting import Summary, WaitingMail
from mailroom.work.screening.census import Census
from tests.sandbox import (
    CYRUS_3_10,
    FASTMAIL,
    SHORT_PAGES,
    SMALL_LIMITS,
    STALWART,
    Entry,
    Fault,
    Profile,
    Request,
)
from tests.virtual_clients import VirtualClients

BOB, EVE = "Bob <bob@example.org>", "eve@example.org"
DAY = 86_400.0
SERVERS = [CYRUS_3_10, FASTMAIL, STALWART, SMALL_LIMITS, SHORT_PAGES]


def named(profile: Profile) -> str:
    return profile.name


class Office(VirtualClients):
    """An account whose waiting mail is counted."""

    def __init__(self, profile: Profile = CYRUS_3_10) -> None:
        super().__init__(profile)
        self.events: list[str] = []
        self.census = Census(self.loop, self.mail, Log(self._note, Level.DEBUG))
        self.run(self.mail.session())

    def _note(self, _level: Level, event: str, _fields: Fields) -> bool:
        self.events.append(event)
        return True

    def catch_up(self) -> Summary | None:
        self.run(self.census.catch_up(self.sandbox.mailbox_id("Screener")))
        return self.census.summary

    def requests_of(self, work: Callable[[], object]) -> list[Entry]:
        number = len(self.sandbox.log.entries)
        work()
        return self.sandbox.log.since(number)

    def truth(self, *mail_ids: str) -> Summary:
        """What these mails, the only ones that there are, amount to."""
        mails = [self.sandbox.mail(each) for each in mail_ids]
        there = [mail for mail in mails if self.sandbox.mailbox_id("Screener") in mail.mailbox_ids]
        senders = {mail.addresses("from")[0].email for mail in there if mail.senders}
        return Summary(
            len(senders), len(there), min((mail.received_at for mail in there), default=None)
        )


@pytest.mark.parametrize("profile", SERVERS, ids=named)
def test_all_of_screener_is_counted_and_nothing_else(profile: Profile) -> None:
    office = Office(profile)
    ids = [office.sandbox.deliver(sender) for sender in (BOB, EVE, "Eve <Eve@Example.org>", None)]
    ids += [office.sandbox.deliver(f"s{number}@example.org") for number in range(30)]
    for mailbox in ("Inbox", "Feed", "Archive"):
        office.sandbox.deliver("other@example.org", mailbox=mailbox)
    assert office.census.summary is None
    assert office.catch_up() == Summary(32, 34, office.sandbox.mail(ids[0]).received_at)


def test_an_empty_screener_costs_one_request() -> None:
    office = Office()
    assert [entry.calls for entry in office.requests_of(office.catch_up)] == [("Email/query",)]
    assert office.census.summary == Summary(0, 0, None)


def test_pages_of_ids_are_read_one_at_a_time() -> None:
    office = Office(SHORT_PAGES)
    for number in range(30):
        office.sandbox.deliver(f"s{number}@example.org")
    office.sandbox.controls.delay_seconds = 1.0
    asked = office.requests_of(office.catch_up)
    assert len({entry.started for entry in asked}) == len(asked) > 15


def test_it_is_read_in_portions_one_request_at_a_time() -> None:
    office = Office()
    for number in range(1200):
        office.sandbox.deliver(f"s{number}@example.org")
    office.sandbox.controls.delay_seconds = 1.0
    asked = office.requests_of(office.catch_up)
    assert [entry.calls for entry in asked] == [("Email/query",), *[("Email/get",)] * 3]
    assert len({entry.started for entry in asked}) == 4


def test_what_comes_and_goes_is_counted_without_a_request() -> None:
    office = Office()
    office.catch_up()

    def news() -> None:
        office.census.seen([WaitingMail("M1", "a@x.example", 2.0), WaitingMail("M2", "", 1.0)])
        office.census.left(["M2", "M3"])
        assert not office.census.is_behind
        office.catch_up()

    assert office.requests_of(news) == []
    assert office.census.summary == Summary(1, 1, 2.0)


def test_what_is_told_meanwhile_is_not_read() -> None:
    office = Office()
    office.catch_up()
    office.census.look_at(["M1"])
    office.census.seen([WaitingMail("M1", "a@x.example", 2.0)])
    assert not office.census.is_behind


def test_what_waits_is_read_again_when_somebody_has_changed_it() -> None:
    office = Office()
    ids = [office.sandbox.deliver(sender) for sender in (BOB, EVE, EVE)]
    other = office.sandbox.deliver(EVE, mailbox="Feed")
    office.catch_up()
    office.sandbox.move(ids[0], "Feed")
    office.census.changed([ids[0], ids[1], other])
    assert office.census.is_behind
    assert [entry.calls for entry in office.requests_of(office.catch_up)] == [("Email/get",)]
    assert office.census.summary == office.truth(*ids)
    assert not office.census.is_behind


def test_of_what_does_not_wait_nothing_is_read() -> None:
    office = Office()
    other = office.sandbox.deliver(EVE, mailbox="Feed")
    office.catch_up()
    office.census.changed([other])
    assert not office.census.is_behind


def test_what_was_put_into_screener_by_hand_is_read() -> None:
    office = Office()
    mail_id = office.sandbox.deliver(BOB, mailbox="Inbox")
    office.catch_up()
    office.sandbox.move(mail_id, "Screener")
    office.census.look_at([mail_id, "Mgone"])
    assert office.catch_up() == office.truth(mail_id)


def test_many_doubts_are_cleared_in_portions() -> None:
    office = Office()
    ids = [office.sandbox.deliver(f"s{number}@example.org") for number in range(1200)]
    office.catch_up()
    office.census.changed(ids)
    assert len(office.requests_of(office.catch_up)) == 3
    assert office.census.summary == office.truth(*ids)


def test_until_all_is_read_again_the_count_is_that_of_before() -> None:
    office = Office()
    ids = [office.sandbox.deliver(BOB)]
    office.catch_up()
    before = office.census.summary
    ids.append(office.sandbox.deliver(EVE))
    office.census.start_over()
    assert office.census.is_behind
    assert office.census.summary == before
    assert office.catch_up() == office.truth(*ids)


def test_once_a_day_all_is_counted_whatever_was_told() -> None:
    office = Office()
    office.catch_up()
    mail_id = office.sandbox.deliver(BOB)
    states = []
    for seconds in (DAY - 1.0, 1.0):
        office.clock.advance(seconds)
        states.append(office.census.is_behind)
    assert states == [False, True]
    assert office.catch_up() == office.truth(mail_id)


def test_another_screener_is_counted_anew() -> None:
    office = Office()
    office.sandbox.deliver(BOB)
    office.catch_up()
    other = office.sandbox.create_mailbox("Vestibule")
    office.run(office.census.catch_up(other))
    assert office.census.summary == Summary(0, 0, None)


@pytest.mark.parametrize("act", ["seen", "left", "changed", "start over"])
@pytest.mark.parametrize("after", [1, 2, 3, 4])
def test_what_happens_while_it_is_read_is_not_missed(act: str, after: int) -> None:
    """``after`` so many requests, their answers being on the way."""
    office = Office(SMALL_LIMITS)
    ids = [office.sandbox.deliver(f"s{number}@example.org") for number in range(50)]
    started = len(office.sandbox.log.entries)

    def happen(entry: Entry, _request: Request, _response: object) -> None:
        if entry.number != started + after:
            return
        if act == "seen":
            ids.append(office.sandbox.deliver("late@example.org"))
            late = office.sandbox.mail(ids[-1])
            office.census.seen([WaitingMail(ids[-1], "late@example.org", late.received_at)])
        else:
            for mail_id in ids:
                office.sandbox.move(mail_id, "Feed")
            if act == "start over":
                office.census.start_over()
            else:
                (office.census.left if act == "left" else office.census.changed)(ids)

    office.sandbox.after(happen)
    office.catch_up()
    assert len(office.sandbox.log.entries) > started + after
    assert office.census.summary == office.truth(*ids)


@pytest.mark.parametrize("error", [{"method_error": "serverFail"}, {"breaks": "before"}])
@pytest.mark.parametrize("call", ["Email/query", "Email/get"])
def test_what_fails_is_tried_again_by_the_next_call(error: dict[str, str], call: str) -> None:
    office = Office()
    ids = [office.sandbox.deliver(sender) for sender in (BOB, EVE)]
    office.sandbox.faults.add(Fault(call=call, times=1, **error))  # type: ignore[arg-type]
    assert office.catch_up() is None
    assert office.census.is_behind
    assert office.events == ["waiting_not_counted"]
    assert office.catch_up() == office.truth(*ids)
    office.census.changed(ids)
    office.sandbox.move(ids[0], "Feed")
    office.sandbox.faults.add(Fault(call="Email/get", times=1, **error))  # type: ignore[arg-type]
    office.catch_up()
    assert office.census.is_behind
    assert office.catch_up() == office.truth(*ids)


def test_two_do_not_read_at_once() -> None:
    office = Office()
    office.sandbox.deliver(BOB)
    screener = office.sandbox.mailbox_id("Screener")

    def twice() -> None:
        tasks = [office.loop.spawn(office.census.catch_up(screener), "test") for _ in range(2)]
        while not all(task.done for task in tasks):
            office.loop.turn()

    assert len(office.requests_of(twice)) == 2
