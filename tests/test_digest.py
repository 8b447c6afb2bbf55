"""The daily mail: when it is due, what it says, and that there is one."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from mailroom.engine.journal import Level
from mailroom.engine.loop import Loop
from mailroom.rules.status import digest
from mailroom.rules.status.digest import DueDigest, FormerDigest, News, WaitingEntry, next_due
from mailroom.rules.status.health import ConflictView, FailingSender, TriageView
from mailroom.rules.triage.drags import DIGEST
from tests.command import Killed
from tests.sandbox import CYRUS_3_10, FASTMAIL, JAMES, STALWART, Fault, Profile, Response
from tests.world import World

BERLIN = ZoneInfo("Europe/Berlin")
BOB = "Bob <bob@example.org>"


def instant(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


# When it is due


@pytest.mark.parametrize(
    ("now", "done", "day", "due"),
    [
        ("2026-11-26T05:59:00Z", None, "2026-11-26", "2026-11-26T06:00:00Z"),
        ("2026-11-26T06:00:00Z", None, "2026-11-26", "2026-11-26T06:00:00Z"),
        ("2026-11-26T22:30:00Z", None, "2026-11-26", "2026-11-26T06:00:00Z"),  # late, and today's
        ("2026-11-26T23:30:00Z", None, "2026-11-27", "2026-11-27T06:00:00Z"),  # tomorrow, there
        ("2026-11-26T06:00:00Z", "2026-11-26", "2026-11-27", "2026-11-27T06:00:00Z"),
        ("2026-10-24T12:00:00Z", "2026-10-24", "2026-10-25", "2026-10-25T06:00:00Z"),  # clocks back
        ("2026-03-28T12:00:00Z", "2026-03-28", "2026-03-29", "2026-03-29T05:00:00Z"),  # and forward
        ("2026-11-25T12:00:00Z", "2026-11-26", "2026-11-27", "2026-11-27T06:00:00Z"),  # clock set
    ],
)
def test_it_is_due_once_a_day_by_the_hosts_clock(
    now: str, done: str | None, day: str, due: str
) -> None:
    done_day = date.fromisoformat(done) if done else None
    found = next_due(instant(now), "07:00", BERLIN, done_day)
    assert found == DueDigest(date.fromisoformat(day), instant(due))


@pytest.mark.parametrize(
    ("day", "due"),
    [
        ("2026-03-29", "2026-03-29T01:30:00Z"),  # 02:30 is not there: it is 03:30
        ("2026-10-25", "2026-10-25T00:30:00Z"),  # 02:30 is there twice: the first
    ],
)
def test_on_days_when_clocks_are_set_it_is_due_once(day: str, due: str) -> None:
    morning = instant(f"{day}T00:00:00Z")
    found = next_due(morning, "02:30", BERLIN, None)
    assert found == DueDigest(date.fromisoformat(day), instant(due))
    after = next_due(found.at, "02:30", BERLIN, found.day)
    assert after.at - found.at in (23 * 3600, 24 * 3600, 25 * 3600)


# What it says

DUE = DueDigest(date(2026, 11, 26), instant("2026-11-26T07:00:00Z"))
SINCE = instant("2026-11-25T07:00:00Z")
WAITER = WaitingEntry("bob@example.org", "Bob", 3, "One & <two>", DUE.at - 60)
FILED = TriageView(1, DUE.at - 60, "eve@example.org", "Feed", "Jail", 2, "command", "anna")


def news(**more: Any) -> News:
    return News(DUE, SINCE, **more)


@pytest.mark.parametrize(
    ("told", "is_any"),
    [
        (news(), False),
        (news(waiting=(WAITER,)), True),
        (news(waiting=(WaitingEntry("a@b", "", 1, "Old", SINCE),)), False),
        (news(waiting=(WaitingEntry("a@b", "", 1, "Later", DUE.at + 1),)), False),
        (news(filed=(FILED,)), True),
        (news(conflicts=(ConflictView("a@b", ("Feed", "Jail"), SINCE - 1),)), False),
        (news(conflicts=(ConflictView("a@b", ("Feed", "Jail"), SINCE + 1),)), True),
        (news(failing=(FailingSender("a@b", "no UID", 3, None),)), False),
    ],
)
def test_only_what_is_new_makes_one(told: News, is_any: bool) -> None:
    assert told.is_any is is_any


def test_it_says_who_waits_what_was_filed_and_what_needs_the_user() -> None:
    told = news(
        waiting=(WAITER, WaitingEntry("", "", 1, "", DUE.at)),
        filed=(FILED,),
        conflicts=(ConflictView("joe@example.org", ("Feed", "Jail"), DUE.at),),
        failing=(FailingSender("mia@example.org", "its contact has no UID", 3, None),),
    )
    assert digest.subject(told) == "Mailroom: 1 sender waiting, 1 sender filed, 2 need you"
    assert digest.text(told, UTC) == (
        "Needs you\n\n"
        "* joe@example.org\n"
        "  asked for Feed and Jail at once: take one off, or move one back\n\n"
        "* mia@example.org\n"
        "  could not be filed: its contact has no UID\n\n"
        "Waiting: 1 sender, 4 mails\n\n"
        "* Bob <bob@example.org>\n"
        "  One & <two>\n"
        "  3 mails, the newest of Thu 26 Nov, 06:59\n\n"
        "* (no usable sender)\n"
        "  (no subject)\n"
        "  Thu 26 Nov, 07:00\n\n"
        "Filed since Wed 25 Nov, 07:00\n\n"
        "* eve@example.org\n"
        "  Feed, 2 mails, before Jail, by anna\n\n"
        "To decide: label a mail, move it, or type mailroom screen.\n"
    )


def test_mail_without_a_usable_sender_is_no_sender() -> None:
    told = news(waiting=(WaitingEntry("", "", 2, "", DUE.at),))
    assert digest.subject(told) == "Mailroom: 2 mails without a usable sender waiting"
    assert digest.text(told, UTC).startswith("Waiting: 2 mails without a usable sender\n")


def test_in_text_lines_have_72_characters_where_words_allow_it() -> None:
    long = WaitingEntry(f"{'a' * 80}@example.org", "Bob " * 30, 1, "One-two three " * 20, DUE.at)
    lines = digest.text(news(waiting=(long,)), UTC).splitlines()
    too_long = [line for line in lines if len(line) > 72]
    assert too_long == [f"  <{'a' * 80}@example.org>"]
    assert "  One-two three One-two three One-two three One-two three One-two three" in lines


def test_of_what_was_filed_it_says_how_far_back_it_knows() -> None:
    told = digest.text(news(filed=(FILED,), started_at=SINCE + 7200), UTC)
    assert "Filed since the service was started, Wed 25 Nov, 09:00\n" in told
    told = digest.text(news(filed=(FILED,), started_at=SINCE - 7200), UTC)
    assert "Filed since Wed 25 Nov, 07:00\n" in told


def test_in_html_nothing_can_be_clicked_and_nothing_breaks_out() -> None:
    shown = digest.html(news(waiting=(WAITER,)), UTC)
    assert "One &amp; &lt;two&gt;" in shown
    assert "<a" not in shown
    assert "href" not in shown
    assert "src" not in shown


def test_a_long_list_is_cut() -> None:
    many = tuple(WaitingEntry(f"p{number}@b", "", 1, "", DUE.at) for number in range(60))
    assert "and 10 more" in digest.text(news(waiting=many), UTC)


@pytest.mark.parametrize(
    ("former", "since"),
    [
        ([], DUE.at - 86_400),
        (["mailroom-digest.20261120.u1@digest.invalid"], instant("2026-11-20T07:00:00Z")),
        (["mailroom-digest.20261126.u1@digest.invalid"], DUE.at - 86_400),  # that is today's
        (["mailroom-digest.99999999.x@digest.invalid", "other@x"], DUE.at - 86_400),
    ],
)
def test_what_is_new_is_since_the_former_one(former: list[str], since: float) -> None:
    found = [FormerDigest("M1", message_id, True, False) for message_id in former]
    assert digest.since_when(found, DUE, "07:00", UTC) == since


def test_account_and_day_make_the_message_id() -> None:
    day = date(2026, 11, 26)
    assert (
        digest.message_id("u 1/ü", day) == "mailroom-digest.20261126.u%201%2F%C3%BC@digest.invalid"
    )


# That there is one

Hook = Callable[[], None]


class Morning(World):
    """A world whose digests are due at ten past midnight, UTC."""

    def __init__(self, profile: Profile = CYRUS_3_10, **screening: Any) -> None:
        super().__init__(profile, {"digest": {"at": "00:10"}, **screening})
        self._hooks: tuple[Hook, Hook] = (_nothing, _nothing)
        self.sandbox.before(lambda *_: self._hooks[0]())
        self.sandbox.after(lambda *_: self._hooks[1]())

    def second(self) -> "Morning":
        """Another process for the same account, on a machine of its own."""
        other = object.__new__(Morning)
        other.clock = self.clock
        other.loop = Loop(other.clock)
        other.sandbox, other.config = self.sandbox, self.config
        other.events, other.mails = [], []
        other.boot()
        return other

    def hook(self, before: Hook, after: Hook) -> None:
        """What is to happen before and after each request from now on."""
        self._hooks = (before, after)

    def until_midnight(self, minutes: float = 0) -> None:
        """It is so many minutes after midnight."""
        self.sleep_for(-self.clock.wall() % 86_400 + minutes * 60)

    def sleep_for(self, seconds: float) -> None:
        """The machine sleeps, and wakes up a few minutes before."""
        self.clock.advance(max(0.0, seconds - 600))
        self.run_for(min(seconds, 600))

    @property
    def digests(self) -> list[str]:
        """The ids of all that there are, the oldest first."""
        places = ("Inbox", "Trash", "Archive", "Jail", "Screener")
        everywhere = set().union(*map(self.sandbox.mails_in, places))
        found = [self.sandbox.mail(mail_id) for mail_id in everywhere]
        ours = [mail for mail in found if mail.message_id.startswith("mailroom-digest.")]
        return [mail.id for mail in sorted(ours, key=lambda mail: mail.message_id)]


@pytest.mark.parametrize(
    "profile", [CYRUS_3_10, STALWART, FASTMAIL, JAMES], ids=lambda profile: profile.name
)
def test_there_is_one_mail_a_day_where_anything_is_new(profile: Profile) -> None:
    world = Morning(profile)
    world.start()
    world.sandbox.deliver(BOB, subject="Hello")
    world.until_midnight(9)
    assert world.digests == []
    world.run_for(300)
    [first] = world.digests
    assert world.sandbox.mailboxes_of(first) == {"Inbox"}
    made = world.sandbox.mail(first)
    assert made.subject == "Mailroom: 1 sender waiting"
    assert "Bob <bob@example.org>" in made.text
    world.run_for(300)
    number = world.request_count
    world.run_for(3600)
    assert len(world.requests_since(number)) <= 60 + 12 + 2  # polls, the book, a count
    world.sleep_for(86_400 - 3900)
    assert world.digests == [first]
    assert len(world.named("digest_made")) == 1


@pytest.mark.parametrize(
    ("user", "to"),
    [
        ("alice@example.org", "alice@example.org"),
        ("alice", "Mailroom <mailroom@digest.invalid>"),
    ],
)
def test_it_is_from_mailroom_to_the_user(user: str, to: str) -> None:
    world = Morning(jmap={"url": "https://mail.example.org", "username": user})
    world.start()
    world.sandbox.deliver(BOB)
    world.until_midnight(20)
    made = world.sandbox.mail(world.digests[0])
    assert [str(each) for each in made.addresses("from")] == ["Mailroom <mailroom@digest.invalid>"]
    assert [str(each) for each in made.addresses("to")] == [to]


def test_where_there_is_no_inbox_there_is_none() -> None:
    world = Morning(CYRUS_3_10)

    def without_role(response: Response) -> Response:
        document = json.loads(response.body)
        for name, answer, _ in document.get("methodResponses", ()):
            if name == "Mailbox/get":
                for mailbox in answer["list"]:
                    if mailbox.get("role") == "inbox":
                        mailbox |= {"role": None, "name": "Post"}
        return replace(response, body=json.dumps(document).encode())

    world.sandbox.faults.add(Fault(call="Mailbox/get", rewrite=without_role))
    world.start()
    world.sandbox.deliver(BOB)
    world.until_midnight(20)
    assert world.digests == []
    assert not world.named("digest_failed")


def test_the_former_one_goes_to_trash_unless_it_is_flagged_or_was_put_elsewhere() -> None:
    world = Morning()
    world.start()
    for number, what in enumerate(("", "flag", "move", "")):
        world.sandbox.deliver(f"p{number}@example.org")
        world.until_midnight(20)
        newest = world.digests[-1]
        if what == "flag":
            world.sandbox.set_keywords(newest, add=["$flagged"])
        if what == "move":
            world.sandbox.move(newest, "Archive")
    places = [world.sandbox.mailboxes_of(mail) for mail in world.digests]
    assert places == [{"Trash"}, {"Inbox"}, {"Archive"}, {"Inbox"}]
    marked = [DIGEST in world.sandbox.keywords_of(mail) for mail in world.digests]
    assert marked == [False, False, False, True]


def test_by_mailrooms_own_screening_it_stays_in_inbox() -> None:
    world = Morning(screening={"by": "mailroom"})
    world.start()
    world.sandbox.deliver(BOB, mailbox="Inbox")
    world.until_midnight(60)
    [made] = world.digests
    assert world.sandbox.mailboxes_of(made) == {"Inbox"}
    world.sandbox.label(made, "@ToJail")
    world.settle()
    assert "Jail" not in world.sandbox.mailboxes_of(made)


def test_it_is_off_by_default() -> None:
    world = World()
    world.start()
    world.sandbox.deliver(BOB)
    world.clock.advance(2 * 86_400)
    world.settle()
    assert not world.named("digest_made")


def killed_at(world: Morning, number: int, *, is_handled: bool) -> bool:
    """Live through the moment of the digest, and kill the process at its request of that number;
    False where there are no more."""
    counted = [0, 0]

    def count(at: int) -> None:
        counted[at] += 1
        if counted[at] == number and is_handled == bool(at):
            raise Killed

    world.hook(lambda: count(0), lambda: count(1))
    try:
        world.run_for(120)
    except Killed:
        return True
    finally:
        world.hook(_nothing, _nothing)
    return False


def test_where_it_cannot_be_made_it_is_tried_again_and_told_once() -> None:
    world = Morning()
    world.start()
    world.sandbox.deliver(BOB)
    world.until_midnight(5)
    world.sandbox.faults.add(Fault(call="Email/set", method_error="serverFail"))
    world.run_for(1800)
    assert world.digests == []
    assert len(world.named("digest_failed")) > 1
    warned = [name for level, name, _ in world.events if level is Level.WARNING]
    assert warned.count("digest_failed") == 1
    world.sandbox.faults.clear()
    world.run_for(700)
    assert len(world.digests) == 1


@pytest.mark.parametrize("is_handled", [False, True])
def test_whatever_is_killed_there_is_one(is_handled: bool) -> None:
    number, was_killed = 0, True
    while was_killed:
        number += 1
        world = Morning()
        world.start()
        world.sandbox.deliver(BOB)
        world.until_midnight(20)
        [former] = world.digests
        world.sandbox.deliver(BOB)
        world.sleep_for(86_400 - 11 * 60)
        was_killed = killed_at(world, number, is_handled=is_handled)
        if was_killed:
            world.boot()
            world.start()
        world.run_for(1200)
        [_, newest] = world.digests
        assert world.sandbox.mailboxes_of(newest) == {"Inbox"}, f"killed at request {number}"
        assert world.sandbox.mailboxes_of(former) == {"Trash"}, f"killed at request {number}"
    assert number > 3


def meanwhile(world: Morning, number: int) -> bool:
    """Live through the moment of the digest, while another process lives through all of it just
    before the request of that number; False where there are not so many."""
    other, asked = world.second(), 0

    def before() -> None:
        nonlocal asked
        asked += 1
        if asked == number:
            other.start()
            other.run_for(120)

    world.hook(before, _nothing)
    world.run_for(120)
    world.hook(_nothing, _nothing)
    return asked >= number


def test_of_two_instances_one_makes_it_whoever_comes_first() -> None:
    number, was_there = 0, True
    while was_there:
        number += 1
        world = Morning()
        world.start()
        world.sandbox.deliver(BOB)
        world.until_midnight(9)
        was_there = meanwhile(world, number)
        world.run_for(1200)
        assert len(world.digests) == 1, f"the other at request {number}"
    assert number > 3


def test_where_the_state_is_compared_early_two_are_made_at_once_and_one_stays() -> None:
    counts, number, was_there = [], 0, True
    while was_there:
        number += 1
        world = Morning(STALWART)
        world.start()
        world.sandbox.deliver(BOB)
        world.until_midnight(9)
        was_there = meanwhile(world, number)
        world.run_for(1200)
        counts.append(len(world.digests))
        places = [world.sandbox.mailboxes_of(mail) for mail in world.digests]
        assert places.count({"Inbox"}) == 1, f"the other at request {number}"
        assert places.count({"Trash"}) == len(places) - 1
    assert set(counts) == {1, 2}


def test_whoever_is_killed_after_making_a_second_leaves_it_for_the_next() -> None:
    world = Morning()
    world.start()
    world.sandbox.deliver(BOB)
    world.until_midnight(20)
    [made] = world.digests
    day = world.sandbox.mail(made).message_id
    second = world.sandbox.deliver(
        "Mailroom <mailroom@digest.invalid>", mailbox="Inbox", message_id=day, keywords={DIGEST}
    )
    world.boot()
    world.start()
    world.run_for(60)
    kept, other = sorted([made, second])
    assert world.sandbox.mailboxes_of(kept) == {"Inbox"}
    assert world.sandbox.mailboxes_of(other) == {"Trash"}


def _nothing() -> None:
    pass
