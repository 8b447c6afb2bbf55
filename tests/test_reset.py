"""Reset: what is Mailroom's goes, and nothing else, wherever it is killed; no mail is deleted."""

import gc
import io
import json
import os
import pty
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from mailroom.engine.journal import Level, Log
from mailroom.errors import LastingTrouble
from mailroom.rules.account.reset import (
    ForgetDoor,
    LeaveGroup,
    RefileMails,
    ReleaseContact,
    Step,
    forgotten,
    kept,
    plan_removal,
)
from mailroom.rules.configuration.config import from_data
from mailroom.rules.contacts.record import Record
from mailroom.rules.contacts.roster import Group
from mailroom.rules.triage.drags import PLACED, WAITING
from mailroom.terminal.reset import progress_bars
from mailroom.wire.jmap import Mailbox, MethodError
from mailroom.work.polling.poll import Poller
from mailroom.work.setup.reset import Fault as Failed
from mailroom.work.setup.reset import Reset
from mailroom.work.setup.routing import Routing
from mailroom.work.setup.setup import Setup
from tests.command import Answering, Shell, Site, killed_anywhere
from tests.sandbox import (
    CYRUS_3_10,
    CYRUS_3_13,
    PROFILES,
    SMALL_LIMITS,
    Fault,
    Profile,
    Response,
    json_response,
    serve,
)
from tests.sandbox.sieve import SieveSandbox
from tests.world import BOOK

ALICE = (
    "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:alice\r\nFN:Alice\r\nORG:Alice\r\nN:;Alice;;;\r\n"
    "EMAIL:alice@example.org\r\nX-FOREIGN;TYPE=a:kept\r\nNOTE:met in Oslo\r\nEND:VCARD\r\n"
)


def ready(profile: Profile = CYRUS_3_10, by: str = "carddav") -> Site:
    site = Site(profile, {**BOOK, "contacts": {"by": by}})
    for name in ("Inbox", "Archive", "Trash", "Junk", "Sent", "Drafts"):
        site.sandbox.destroy_mailbox(name)
    site.sandbox.standard_account()
    site.sandbox.create_mailbox("Own")
    return site


def poll(site: Site) -> None:
    """What the service does about the labels."""
    context = site.context()
    log = Log(lambda *_: True, Level.ERROR)
    context.run(
        Poller(
            context.loop, context.config, context.clients.mail, context.clients.contacts, log
        ).poll()
    )


def triage(site: Site, sender: str, label: str, mails: int = 1) -> list[str]:
    ids = [site.sandbox.deliver(sender) for _ in range(mails)]
    site.sandbox.label(ids[0], label)
    poll(site)
    return ids


def set_up(site: Site) -> None:
    context = site.context()
    context.run(Setup(context.loop, context.config, context.clients).apply(lambda _: None))


def plan(site: Site, target: str | None = None, *, removes: bool = False) -> tuple[Step, ...]:
    context = site.context()
    work = Reset(context.loop, context.config, context.clients, target=target, removes=removes)
    return context.run(work.plan())


def reset(site: Site, target: str | None = None, *, removes: bool = False) -> tuple[Failed, ...]:
    context = site.context()
    work = Reset(context.loop, context.config, context.clients, target=target, removes=removes)
    steps = context.run(work.plan())
    told: list[Step] = []
    faults = context.run(work.apply(steps, told.append))
    assert {id(step) for step in told} <= {id(step) for step in steps}
    return faults


def mails(site: Site) -> dict[str, set[str]]:
    return {mail_id: site.sandbox.mailboxes_of(mail_id) for mail_id in site.sandbox._store.mails}


def uses_of_force(site: Site) -> list[bytes]:
    """From now on, the requests that could delete mail."""
    found: list[bytes] = []
    words = (b'"destroy"', b"onDestroyRemoveEmails", b'"mailboxIds":')

    def look(_entry: object, request: object) -> None:
        body = getattr(request, "body")  # noqa: B009
        found.extend([body] if b"/set" in body and any(word in body for word in words) else [])

    site.sandbox.before(look)
    return found


# Where mail is; where that of a triaged sender goes, and where a stranger's, who has come to
# Screener since the first setup.
MAILS: dict[str, tuple[set[str], set[str], set[str]]] = {
    "in a destination": ({"Feed"}, {"Archive"}, {"Feed"}),
    "in the destinations of a chain": (
        {"Person", "Imbox"}, {"Archive"}, {"Person", "Imbox"}),
    "came to Inbox as well": ({"Inbox", "Imbox"}, {"Inbox"}, {"Inbox", "Imbox"}),
    "in a destination, filed elsewhere too": ({"Feed", "Own"}, {"Own"}, {"Feed", "Own"}),
    "waits with a label": ({"Screener", "@ToFeed"}, {"Inbox"}, {"Inbox"}),
    "moved to a label": ({"@ToFeed"}, {"Inbox"}, {"Inbox"}),
    "in a destination with a label": ({"Feed", "@ToJail"}, {"Archive"}, {"Feed"}),
    "only an error label": ({"@MailroomError"}, {"Inbox"}, {"Inbox"}),
    "all labels": (
        {"@ToFeed", "@ToScreener", "@MailroomError", "@MailroomWarning"}, {"Inbox"}, {"Inbox"}),
    "filed elsewhere with a label": ({"Archive", "@ToJail"}, {"Archive"}, {"Archive"}),
    "in Inbox with a warning": ({"Inbox", "@MailroomWarning"}, {"Inbox"}, {"Inbox"}),
    "everywhere": ({"Screener", "Feed", "Own", "@ToFeed"}, {"Own"}, {"Feed", "Own"}),
    "waits": ({"Screener"}, {"Inbox"}, {"Inbox"}),
    "in Inbox": ({"Inbox"}, {"Inbox"}, {"Inbox"}),
    "in Trash": ({"Trash"}, {"Trash"}, {"Trash"}),
    "the user's own folder": ({"Own"}, {"Own"}, {"Own"}),
}  # fmt: skip


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda each: each.name)
def test_where_mail_goes(profile: Profile) -> None:
    site = ready(profile)
    triage(site, "Bob <bob@example.org>", "@ToFeed")
    deliver = site.sandbox.deliver
    theirs = {case: deliver("bob@example.org", mailbox=there) for case, (there, *_) in
              MAILS.items()}  # fmt: skip
    others = {case: deliver("a@b.org", mailbox=there) for case, (there, *_) in MAILS.items()}
    site.clock.advance(3600.0)
    assert reset(site) == ()
    now = site.sandbox.mailboxes_of
    assert {case: now(mail_id) for case, mail_id in theirs.items()} == {
        case: after for case, (_, after, _) in MAILS.items()
    }
    assert {case: now(mail_id) for case, mail_id in others.items()} == {
        case: after for case, (_, _, after) in MAILS.items()
    }
    assert plan(site) == ()


def owner(
    profile: Profile = CYRUS_3_10, by: str = "carddav"
) -> tuple[Site, dict[str, str], dict[str, str]]:
    """An account that had a Feed, a Screener and a group Person of its own; then it is set up, a
    week of triage goes by. The user's own mail and cards, as they were."""
    site = Site(profile, {**BOOK, "contacts": {"by": by}})
    sandbox = site.sandbox
    for name in ("Feed", "Screener", "Own"):
        sandbox.create_mailbox(name)
    long_ago = site.clock.wall() - 86400.0
    own = {f"{place} {n}": sandbox.deliver(f"old{n}@friend.example", "old", place, long_ago)
           for place in ("Feed", "Screener", "Own", "Inbox") for n in range(3)}  # fmt: skip
    for uid, name in (("alice", "Alice"), ("otto", "Otto")):
        sandbox.put_card(ALICE.replace("alice", uid).replace("Alice", name), f"{uid}.vcf")
    person = ALICE.replace("NOTE:met in Oslo", "X-ADDRESSBOOKSERVER-KIND:group")
    person = person.replace("UID:alice", "UID:my-person").replace("Alice", "Person")
    member = "X-ADDRESSBOOKSERVER-MEMBER:urn:uuid:otto\r\nEND"
    sandbox.put_card(person.replace("END", member), "my-person.vcf")
    cards = sandbox.cards()
    set_up(site)
    site.clock.advance(86400.0)
    triage(site, "Alice <alice@example.org>", "@ToPerson", 3)
    triage(site, "Bob <bob@example.org>", "@ToFeed", 5)
    sandbox.deliver("stranger@example.org")
    return site, own, cards


@pytest.mark.parametrize("profile", [CYRUS_3_10, SMALL_LIMITS], ids=lambda each: each.name)
def test_what_was_the_users_before_comes_out_byte_for_byte(profile: Profile) -> None:
    site, own, cards = owner(profile)
    assert reset(site, removes=True) == ()
    for case, mail_id in own.items():
        assert site.sandbox.mailboxes_of(mail_id) == {case.split()[0]}
    assert site.sandbox.cards() == cards
    boxes = {site.sandbox._store.path_of(box) for box in site.sandbox._store.mailboxes.values()}
    assert boxes == {
        "Inbox",
        "Archive",
        "Drafts",
        "Junk",
        "Sent",
        "Trash",
        "Feed",
        "Screener",
        "Own",
    }
    assert plan(site, removes=True) == ()


def test_by_jmap_a_group_of_the_users_own_is_written_anew_and_its_members_are_the_same() -> None:
    """But for that all comes out as it was, likewise."""
    site, own, cards = owner(CYRUS_3_13, "jmap")
    assert reset(site, removes=True) == ()
    for case, mail_id in own.items():
        assert site.sandbox.mailboxes_of(mail_id) == {case.split()[0]}
    after = site.sandbox.cards()
    assert [href.rpartition("/")[2] for href in cards if after[href] != cards[href]] == [
        "my-person.vcf"
    ]
    assert after.keys() == cards.keys()
    assert site.sandbox.group_members("Person") == {"otto"}
    assert plan(site, removes=True) == ()


def test_mail_that_the_user_moves_before_saying_yes_stays_there() -> None:
    """As long as the question is open, a phone may be used."""
    site = ready()
    filed = triage(site, "bob@example.org", "@ToFeed", mails=4)
    context = site.context()
    work = Reset(context.loop, context.config, context.clients)
    steps = context.run(work.plan())
    site.sandbox.move(filed[0], "Trash")
    site.sandbox.move(filed[1], "Own")
    site.sandbox.move(filed[2], "Own", "Feed")
    assert context.run(work.apply(steps, lambda _: None)) == ()
    places = [site.sandbox.mailboxes_of(mail) for mail in filed]
    assert places == [{"Trash"}, {"Own"}, {"Own"}, {"Archive"}]


def test_screener_and_destinations_can_be_deleted_afterwards_without_losing_mail() -> None:
    site, own, _ = owner()
    known = mails(site)
    reset(site)
    left = {mail_id for mail_id in known if mail_id not in own.values()}
    assert all(not mails(site)[each] & {"Screener", "Feed", "Person", "Imbox"} for each in left)


def test_mail_that_is_filed_goes_where_the_user_says() -> None:
    site, _, _ = owner()
    with pytest.raises(LastingTrouble, match="no mailbox Nowhere"):
        plan(site, "Nowhere")
    with pytest.raises(LastingTrouble, match="name another with --to"):
        plan(site, "Jail")
    filed = site.sandbox.mails_in("Imbox")
    assert reset(site, "Own") == ()
    assert site.sandbox.mails_in("Own") >= {each for each in filed if "Inbox" not in
                                             mails(site)[each]}  # fmt: skip


def test_what_is_in_use_again_is_not_removed() -> None:
    site, _, _ = owner()
    site.sandbox.deliver("later@example.org", mailbox="Jail")
    site.sandbox.create_mailbox("Truck/Mine")
    names = [step.text for step in plan(site, removes=True)]
    assert "mailbox Jail: removed, if nothing is in it" in names
    assert not any(name.startswith(("mailbox Feed", "mailbox Screener")) for name in names)
    context = site.context()
    work = Reset(context.loop, context.config, context.clients, removes=True)
    steps = context.run(work.plan())
    before = ["mailbox Feed", "mailbox Screener", "group Person"]
    assert sorted(work.stays) == sorted(f"{what}: setup did not make it: stays" for what in before)
    work.stays.clear()
    assert context.run(work.apply(steps, lambda _: None)) == ()
    assert sorted(work.stays) == [
        f"mailbox {name}: it is not empty: stays" for name in ("Jail", "Truck")
    ]
    boxes = {site.sandbox._store.path_of(box) for box in site.sandbox._store.mailboxes.values()}
    assert {"Jail", "Truck", "Truck/Mine"} <= boxes
    assert "Billboard" not in boxes


def test_a_group_is_removed_although_somebody_has_changed_a_card_since_it_was_read() -> None:
    site = ready(CYRUS_3_13, "jmap")
    context = site.context()
    context.run(context.clients.contacts.refresh())
    site.sandbox.put_card(ALICE, "alice.vcf")
    assert context.run(context.clients.contacts.remove_group("Feed"))
    assert not [card for card in site.sandbox.cards().values() if "FN:Feed" in card]


def test_mailboxes_that_the_configuration_names_no_more_are_told() -> None:
    site, _, _ = owner()
    site.config = from_data(
        {"jmap": {"url": site.config.jmap.url, "username": "alice"}, **BOOK,
         "triage": {"screener_mailbox": "Waiting", "categories": ["Imbox", "Jail"]}}
    )  # fmt: skip
    context = site.context()
    work = Reset(context.loop, context.config, context.clients)
    context.run(work.plan())
    words = "setup made it, but the configuration no longer names it: its mail stays in it"
    assert f"mailbox Paper Trail: {words}" in work.stays
    assert not [text for text in work.stays if text.startswith(("mailbox Feed", "mailbox Jail"))]


def test_what_stays_is_what_is_there_and_children_go_before_their_parents() -> None:
    config = from_data({"jmap": {"url": "http://127.0.0.1"}, "triage": {"categories": ["Feed"]}})
    boxes = [
        Mailbox("1", "Old", None, None),
        Mailbox("2", "A", "1", None),
        Mailbox("3", "Feed", None, None),
        Mailbox("4", "Archive", None, "archive"),
    ]
    record = Record(None, frozenset({"Old", "Old/A", "Archive"}))
    groups = [Group("g", "g", "Feed")]
    assert [step.text for step in plan_removal(record, boxes, groups, config)] == [
        "mailbox Old/A: removed, if nothing is in it",
        "mailbox Old: removed, if nothing is in it",
    ]
    assert list(kept(record, boxes, groups, config)) == [
        "mailbox Feed: setup did not make it: stays",
        "group Feed: setup did not make it: stays",
    ]
    told = [text.partition(":")[0] for text in forgotten(record, boxes, config)]
    assert told == ["mailbox Archive", "mailbox Old/A"]


def test_what_could_not_be_removed_is_removed_by_the_next_run() -> None:
    """The record of what setup made is there for as long as anything is left to remove."""
    site, _, cards = owner()
    site.sandbox.faults.add(Fault(call="Mailbox/set", method_error="serverFail", times=3))
    faults = reset(site, removes=True)
    assert [type(fault.step).__name__ for fault in faults] == [
        *["RemoveMailbox"] * 3,
        "RemoveGroup",
    ]
    assert reset(site, removes=True) == ()
    boxes = {site.sandbox._store.path_of(box) for box in site.sandbox._store.mailboxes.values()}
    assert not [name for name in boxes if name.startswith("@") or name in ("Jail", "Truck")]
    assert site.sandbox.cards() == cards


def test_mail_that_comes_while_the_rules_still_work_is_refiled_as_well() -> None:
    site = ready()
    triage(site, "Bob <bob@example.org>", "@ToFeed")
    late: list[str] = []

    def slip_in(entry: object, _request: object) -> None:
        if "Email/set" in getattr(entry, "calls") and not late:  # noqa: B009
            late.append(site.sandbox.deliver("bob@example.org", mailbox="Feed"))

    site.sandbox.before(slip_in)
    assert reset(site) == ()
    assert site.sandbox.mailboxes_of(late[0]) == {"Archive"}


def everything_happened(profile: Profile = CYRUS_3_10, by: str = "carddav") -> Site:
    """Contacts that were made, edited, adopted, marked by half; mail everywhere; labels left."""
    site = ready(profile, by)
    sandbox = site.sandbox
    sandbox.put_card(ALICE, "alice.vcf")
    for there, *_ in MAILS.values():
        sandbox.deliver("zoe@example.org", mailbox=there & {"Inbox", "Own", "Trash"} or "Archive")
    triage(site, "Alice <alice@example.org>", "@ToPerson", 3)
    triage(site, "Bob <bob@example.org>", "@ToFeed", 25)
    triage(site, "Carl <carl@example.org>", "@ToTruck", 2)
    triage(site, "Dora <dora@example.org>", "@ToImbox", 2)
    edit(site, "Carl", lambda text: text.replace("FN:Carl", "FN:Carl\r\nTEL:+47 1"))
    edit(site, "Dora", lambda text: re.sub("(NOTE[^:]*:)", r"\1mine\\n", text, count=1))
    sandbox.label(sandbox.deliver("eve@example.org"), "@ToJail")
    return site


def edit(site: Site, name: str, change: Callable[[str], str]) -> None:
    [(href, text)] = [item for item in site.sandbox.cards().items() if f"FN:{name}\r" in item[1]]
    site.sandbox.put_card(change(text), href.rpartition("/")[2])


def _without_lines(text: str, *starts: str) -> str:
    unfolded = text.replace("\r\n ", "")
    return "".join(line for line in unfolded.splitlines(True) if not line.startswith(starts))


def contacts(site: Site) -> dict[str, str]:
    cards = site.sandbox.cards().values()
    return {
        text.split("FN:")[1].split("\r")[0]: text for text in cards if ":group" not in text.lower()
    }


@pytest.mark.parametrize(("profile", "by"), [(CYRUS_3_10, "carddav"), (CYRUS_3_13, "jmap")])
def test_contacts_go_or_stay_by_whose_they_are(profile: Profile, by: str) -> None:
    site = everything_happened(profile, by)
    texts = [step.text for step in plan(site)]
    assert reset(site) == ()
    left = contacts(site)
    assert set(left) == {"Alice", "Carl", "Dora"}
    assert left["Alice"] == ALICE
    assert ":+47 1" in left["Carl"]
    assert "ailroom" not in left["Carl"].replace("PRODID:-//Mailroom//EN", "").lower()
    assert "contact Bob: made by Mailroom and not edited: deleted" in texts
    for edited in ("Carl", "Dora"):
        assert f"contact {edited}: made by Mailroom, but edited: stays, without the note" in texts
    for group in (*(each.contact_group for each in site.config.triage.categories), "Mailroom"):
        assert site.sandbox.group_members(group) == set()


@pytest.mark.parametrize(("profile", "by"), [(CYRUS_3_10, "carddav"), (CYRUS_3_13, "jmap")])
def test_the_note_of_an_earlier_version_is_removed_but_by_jmap(profile: Profile, by: str) -> None:
    site = ready(profile, by)
    section = "\\n— Mailroom —\\nAdopted by Mailroom\\nTriaged to Feed on 2025-11-21"
    old = ALICE.replace("met in Oslo", f"met in Oslo{section}")
    site.sandbox.put_card(old, "alice.vcf")
    triage(site, "Alice <alice@example.org>", "@ToFeed")
    assert reset(site) == ()
    left = contacts(site)["Alice"].replace("\r\n ", "")
    assert left == (ALICE if by == "carddav" else old)
    assert site.sandbox.group_members("Mailroom") == set()


def test_the_dry_run_says_exactly_what_is_done_and_writes_nothing() -> None:
    site = everything_happened()
    before = mails(site), site.sandbox.cards()
    steps = plan(site)
    assert (mails(site), site.sandbox.cards()) == before
    assert plan(site) == steps
    context = site.context()
    work = Reset(context.loop, context.config, context.clients)
    told: list[Step] = []
    assert context.run(work.apply(context.run(work.plan()), told.append)) == ()
    assert sorted(step.text for step in told) == sorted(step.text for step in steps)


# What the door has left


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda each: each.name)
def test_keywords_come_off_wherever_they_are_and_nothing_else_does(profile: Profile) -> None:
    site = ready(profile)
    sandbox = site.sandbox
    triage(site, "Bob <bob@example.org>", "@ToFeed")
    places = ("Inbox", "Archive", "Own", "Trash", "Feed", "Screener", "@ToJail")
    marks: list[list[str]] = [[], [WAITING], [PLACED], [WAITING, PLACED]]
    found = {
        sandbox.deliver("Eve <eve@example.org>", mailbox=place, keywords=["$seen", *each]): place
        for place in places
        for each in marks
    }
    assert reset(site) == ()
    left = {mail: sandbox.mailboxes_of(mail) for mail in found}
    stays = {place: {place} for place in places} | {"Screener": {"Inbox"}, "@ToJail": {"Inbox"}}
    assert left == {mail: stays[place] for mail, place in found.items()}
    assert {frozenset(sandbox.keywords_of(mail)) for mail in found} == {frozenset({"$seen"})}
    assert plan(site) == ()


def test_what_waits_by_mailrooms_doing_is_its_matter_and_what_waited_before_is_not() -> None:
    site = Site(CYRUS_3_10, BOOK)
    site.sandbox.create_mailbox("Screener")
    long_ago = site.clock.wall() - 86400.0
    before, marked = (
        site.sandbox.deliver("Eve <eve@example.org>", received_at=long_ago, keywords=keywords)
        for keywords in ([], [WAITING])
    )
    set_up(site)
    assert reset(site) == ()
    assert site.sandbox.mailboxes_of(before) == {"Screener"}
    assert site.sandbox.mailboxes_of(marked) == {"Inbox"}


@pytest.mark.parametrize(("profile", "by"), [(CYRUS_3_10, "carddav"), (CYRUS_3_13, "jmap")])
def test_mail_of_lists_and_domains_that_were_decided_about_is_mailrooms_matter(
    profile: Profile, by: str
) -> None:
    site = ready(profile, by)
    sandbox = site.sandbox
    head = {"List-Id": "Gardeners <gardeners.lists.example>"}
    post = sandbox.deliver("Fay <fay@example.org>", headers=head)
    other = sandbox.deliver("Gus <gus@example.net>", headers=head)
    shop = sandbox.deliver("Shop <offers@shop.example>")
    own = sandbox.deliver("Hal <hal@example.com>", mailbox="Feed")
    cooks = {"List-Id": "Cooks <cooks.lists.example>"}
    undecided = sandbox.deliver("Ian <ian@example.com>", mailbox="Feed", headers=cooks)
    for mail, label in ((post, "@WholeList"), (shop, "@WholeDomain")):
        sandbox.label(mail, label)
        sandbox.label(mail, "@ToFeed")
    poll(site)
    assert sandbox.mails_in("Feed") == {post, other, shop, own, undecided}
    assert reset(site) == ()
    assert sandbox.mails_in("Feed") == {own, undecided}
    assert sandbox.mails_in("Archive") == {post, other, shop}
    assert plan(site) == ()


def test_whoever_begins_again_begins_from_that_day_on() -> None:
    """What has come to Inbox since the door was first used, and nobody has read, stays there."""
    site = ready()
    site.config = replace(site.config, screening=replace(site.config.screening, by="mailroom"))
    poll(site)
    mail = site.sandbox.deliver("Eve <eve@example.org>", mailbox="Inbox")
    poll(site)
    assert site.sandbox.mailboxes_of(mail) == {"Screener"}
    assert reset(site) == ()
    site.clock.advance(60.0)
    poll(site)
    poll(site)
    assert site.sandbox.mailboxes_of(mail) == {"Inbox"}


@pytest.mark.parametrize(("profile", "by"), [(CYRUS_3_10, "carddav"), (CYRUS_3_13, "jmap")])
def test_mail_that_comes_in_meanwhile_is_not_left_behind(profile: Profile, by: str) -> None:
    site = Site(profile, {**BOOK, "contacts": {"by": by}}, SieveSandbox)
    set_up(site)
    context = site.context()
    context.run(Routing(context.loop, context.config, context.clients).apply())
    triage(site, "Bob <bob@example.org>", "@ToFeed")
    arrived: list[str] = []

    def come(_entry: object, request: object) -> None:
        if getattr(request, "method") == "POST":  # noqa: B009
            arrived.extend(map(site.sandbox.arrive, ("eve@example.org", "bob@example.org")))

    come(None, SimpleNamespace(method="POST"))
    assert site.sandbox.mailboxes_of(arrived[0]) == {"Screener"}
    assert site.sandbox.keywords_of(arrived[0]) == {WAITING}
    site.sandbox.before(come)
    assert reset(site) == ()
    assert len(arrived) > 10
    kept = [(site.sandbox.mailboxes_of(each), site.sandbox.keywords_of(each)) for each in arrived]
    assert all(keywords == set() for _, keywords in kept)
    assert {frozenset(places) for places, _ in kept} <= {
        frozenset({"Inbox"}),
        frozenset({"Archive"}),
    }


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    monkeypatch.setenv("MAILROOM_JMAP_PASSWORD", "secret")
    monkeypatch.setenv("MAILROOM_CARDDAV_PASSWORD", "secret")
    site = ready()
    triage(site, "Bob <bob@example.org>", "@ToFeed", 3)
    with serve(site.sandbox) as running:
        yield Shell(site, running.url, tmp_path)


@pytest.fixture
def _graveyard() -> Iterator[None]:
    """What the killed processes had begun is over with the test."""
    yield
    gc.collect()


@pytest.mark.usefixtures("_graveyard")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_killed_anywhere_and_run_again_it_ends_in_the_same_state() -> None:
    """Small limits make the most requests; `make chaos` kills it without them as well."""
    expected = everything_happened(SMALL_LIMITS)
    reset(expected)
    states = mails(expected), expected.sandbox.cards()
    for site, when in killed_anywhere(lambda: everything_happened(SMALL_LIMITS), reset):
        assert (mails(site), site.sandbox.cards()) == states, when


@pytest.mark.parametrize("profile", [CYRUS_3_10, SMALL_LIMITS], ids=lambda each: each.name)
def test_2500_mails_within_the_limits_and_never_by_force(profile: Profile) -> None:
    site = ready(profile)
    triage(site, "Bob <bob@example.org>", "@ToFeed")
    ids = {site.sandbox.deliver("bob@example.org", mailbox="Feed") for _ in range(2500)}
    force, before = uses_of_force(site), len(site.sandbox.log.entries)
    assert reset(site) == ()
    assert site.sandbox.mails_in("Archive") > ids
    assert site.sandbox.mails_in("Feed") == set()
    assert force == []
    requests = site.sandbox.log.since(before)
    assert {entry.status for entry in requests} <= {200, 201, 204, 207, 301}


def test_other_groups_and_cards_are_not_touched() -> None:
    site = everything_happened()
    own = ALICE.replace("NOTE:met in Oslo", "KIND:group").replace("alice", "choir")
    site.sandbox.put_card(own.replace("END", "MEMBER:urn:uuid:alice\r\nEND"), "choir.vcf")
    site.sandbox.put_card(ALICE.replace("alice", "otto").replace("Alice", "Otto"), "otto.vcf")
    site.sandbox.put_card("BEGIN:VCARD\r\nVERSION:2.1\r\nEND:VCARD\r\n", "old.vcf")
    names = ("choir.vcf", "otto.vcf", "old.vcf")
    kept = {href: text for href, text in site.sandbox.cards().items() if href.endswith(names)}
    reset(site)
    assert kept.items() <= site.sandbox.cards().items()
    assert len(kept) == 3


def test_a_contact_that_is_edited_while_it_is_to_be_deleted_stays() -> None:
    site = ready()
    triage(site, "Bob <bob@example.org>", "@ToFeed")
    edits: list[str] = []

    def slip_in(entry: object, _request: object) -> None:
        if getattr(entry, "method") == "DELETE" and not edits:  # noqa: B009
            edits.append("once")
            edit(site, "Bob", lambda text: text.replace("FN:Bob", "FN:Bob\r\nTEL:+47 1"))

    site.sandbox.before(slip_in)
    assert reset(site) == ()
    assert "TEL:+47 1" in contacts(site)["Bob"]
    assert "— Mailroom —" not in contacts(site)["Bob"]


def test_a_member_of_the_users_own_stays_in_the_group() -> None:
    site = ready()
    triage(site, "Bob <bob@example.org>", "@ToFeed")
    joined: list[str] = []

    def slip_in(entry: object, _request: object) -> None:
        if getattr(entry, "method") == "PUT" and not joined:  # noqa: B009
            joined.append("once")
            member = "X-ADDRESSBOOKSERVER-MEMBER:urn:uuid:late\r\nEND"
            edit(site, "Feed", lambda text: text.replace("END", member))

    site.sandbox.before(slip_in)
    assert reset(site) == ()
    assert site.sandbox.group_members("Feed") == {"late"}


def test_one_failure_does_not_keep_the_others_and_the_next_run_does_the_rest() -> None:
    site = everything_happened()
    site.sandbox.faults.add(Fault(method="DELETE", breaks="before", times=1))
    faults = reset(site)
    told = [fault.step.text.partition(":")[0] for fault in faults]
    assert told == ["contact Bob", "new mail"]
    assert set(contacts(site)) == {"Alice", "Bob", "Carl", "Dora"}
    assert site.sandbox.mails_in("Feed") == set()
    assert reset(site) == ()
    assert plan(site) == ()


def test_mails_that_are_refused_are_told_and_hold_up_what_would_forget_them() -> None:
    site = ready()
    first, second = triage(site, "Bob <bob@example.org>", "@ToFeed", 2)

    def refuse(response: Response) -> Response:
        document = json.loads(response.body)
        for name, answer, _ in document["methodResponses"]:
            if name == "Email/set":
                answer["updated"] = {}
                error = {"type": "forbidden", "description": "not today"}
                answer["notUpdated"] = {first: error, second: error}
        return json_response(document)

    site.sandbox.faults.add(Fault(call="Email/set", rewrite=refuse))
    faults = reset(site)
    assert faults[0].reason.startswith("the server refused 2 mails; mail ")
    assert faults[0].reason.endswith(": Email/set failed: forbidden (not today)")
    assert {fault.reason for fault in faults[1:]} == {"waits for earlier steps: run it again"}
    assert len(site.sandbox.group_members("Mailroom")) == 1


def test_mail_that_could_not_be_refiled_is_not_tried_again_in_the_same_run() -> None:
    site = ready()
    triage(site, "Bob <bob@example.org>", "@ToFeed")
    site.sandbox.faults.add(Fault(call="Email/set", method_error="forbidden"))
    failed, *waiting = reset(site)
    assert isinstance(failed.step, RefileMails)
    assert {fault.reason for fault in waiting} == {"waits for earlier steps: run it again"}


def test_without_a_search_for_what_to_refile_nothing_is_undone() -> None:
    site = ready()
    triage(site, "Bob <bob@example.org>", "@ToFeed")
    site.sandbox.faults.add(Fault(call="Email/query", method_error="unsupportedFilter"))
    before = len(site.sandbox.log.entries)
    with pytest.raises(MethodError, match="unsupportedFilter"):
        reset(site)
    calls = {call for entry in site.sandbox.log.since(before) for call in entry.calls}
    assert "Email/set" not in calls
    assert len(site.sandbox.group_members("Mailroom")) == 1


def test_without_an_archive_what_was_filed_goes_to_inbox() -> None:
    site = ready()
    [mail_id] = triage(site, "Bob <bob@example.org>", "@ToFeed")
    site.sandbox.destroy_mailbox("Archive")
    assert reset(site) == ()
    assert site.sandbox.mailboxes_of(mail_id) == {"Inbox"}


def test_an_account_that_lacks_mailboxes_and_groups_is_reset_as_far_as_it_goes() -> None:
    site = ready()
    triage(site, "Bob <bob@example.org>", "@ToFeed")
    for name in ("@ToJail", "@MailroomError", "Jail"):
        site.sandbox.destroy_mailbox(name)
    for href, text in site.sandbox.cards().items():
        if "FN:Jail" in text or "FN:Mailroom" in text:
            site.sandbox.delete_card(href)
    assert reset(site) == ()
    assert plan(site) == ()
    assert contacts(site) == {}


def test_an_account_that_was_never_set_up_has_nothing_to_undo() -> None:
    assert plan(Site()) == ()


def test_steps_are_in_the_order_that_lets_another_run_go_on() -> None:
    kinds = [type(step) for step in plan(everything_happened())]
    order = [RefileMails, LeaveGroup, ReleaseContact, ForgetDoor]
    assert set(kinds) == set(order)
    assert kinds == sorted(kinds, key=order.index)


@pytest.mark.sandbox
def test_the_command_shows_first_and_undoes_only_when_told(
    shell: Shell, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    at = ("--socket", str(shell.socket))
    before = mails(shell.site)
    assert shell.run("reset", *at) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "3 mails: to Archive"
    assert shown[-1].startswith("This would be undone. To do it: mailroom reset --apply --config ")
    assert shell.run("reset", *at, "--remove", "--to", "Archive", "--export", "a b") == 0
    told = capsys.readouterr().out.splitlines()
    assert "mailbox Feed: setup did not make it: stays" in told
    assert " reset --apply --to Archive --remove --export 'a b' --config " in told[-1]
    assert mails(shell.site) == before
    assert shell.run("reset", *at, "--apply", "--yes") == 1
    assert "--rules-are-off" in capsys.readouterr().err
    assert mails(shell.site) == before
    sure = (*at, "--apply", "--yes", "--rules-are-off")
    export = tmp_path / "decisions.jsonl"
    assert shell.run("reset", *sure, "--export", str(export)) == 0
    done = capsys.readouterr().out.splitlines()
    assert done[: len(shown) - 2] == shown[:-2]
    [line] = [json.loads(text) for text in export.read_text().splitlines()]
    assert (line["address"], line["category"]) == ("bob@example.org", "Feed")
    assert date.fromisoformat(line["since"])
    assert set(map(frozenset, mails(shell.site).values())) == {frozenset({"Archive"})}
    assert shell.run("reset", *sure, "--export", str(export)) == 0
    assert capsys.readouterr().out == "There is nothing to undo.\n"


@pytest.mark.parametrize("by", ["carddav", "jmap"])
def test_whole_domains_and_lists_are_forgotten_and_their_mail_is_left(by: str) -> None:
    site = ready(CYRUS_3_13, by)
    before = set(site.sandbox.cards())
    context = site.context()
    context.run(context.clients.contacts.decide("shop.example", "Feed", is_list=False))
    context.run(context.clients.contacts.decide("news.example.org", "Jail", is_list=True))
    theirs = site.sandbox.deliver("x@mail.shop.example", mailbox={"Feed"})
    other = site.sandbox.deliver("a@b.example", mailbox={"Feed"})
    assert "decisions for whole domains and lists: forgotten" in [step.text for step in plan(site)]
    assert reset(site) == ()
    assert site.sandbox.mailboxes_of(theirs) == {"Archive"}
    assert site.sandbox.mailboxes_of(other) == {"Feed"}
    assert set(site.sandbox.cards()) == before
    assert plan(site) == ()


@pytest.mark.sandbox
def test_without_a_terminal_and_without_yes_it_is_refused(
    shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    before = mails(shell.site)
    assert shell.run("reset", "--apply", "--rules-are-off", "--socket", str(shell.socket)) == 1
    assert "add --yes" in capsys.readouterr().err
    assert mails(shell.site) == before


@pytest.mark.sandbox
@pytest.mark.parametrize("typed", [b"\n", b"n\n", b"\x04"], ids=["Enter", "n", "Ctrl+D"])
def test_whoever_does_not_say_yes_means_no(
    shell: Shell,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    typed: bytes,
) -> None:
    before = mails(shell.site)
    keyboard, terminal = pty.openpty()
    with os.fdopen(terminal) as standard_input, os.fdopen(keyboard, "wb", 0) as keys:
        monkeypatch.setattr(sys, "stdin", standard_input)
        keys.write(typed)
        assert shell.run("reset", "--apply", "--socket", str(shell.socket)) == 1
    assert capsys.readouterr().out.endswith("Nothing was changed.\n")
    assert mails(shell.site) == before


@pytest.mark.sandbox
@pytest.mark.parametrize(("account", "code"), [("alice", 1), ("bob", 0)])
def test_beside_a_service_for_this_account_it_is_refused(
    shell: Shell, capsys: pytest.CaptureFixture[str], account: str, code: int
) -> None:
    with Answering(shell.socket, account):
        arguments = ("--apply", "--yes", "--rules-are-off", "--socket", str(shell.socket))
        assert shell.run("reset", *arguments) == code
    refused = "a service answers for alice" in capsys.readouterr().err
    assert refused is (account == "alice")
    assert (shell.site.sandbox.mails_in("Feed") == set()) is not refused


@pytest.mark.parametrize(("is_terminal", "words"), [(True, ["mail", "contacts"]), (False, [])])
def test_progress_is_shown_on_a_terminal_only(is_terminal: bool, words: list[str]) -> None:
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=is_terminal, width=80)
    steps = [step for step in plan(everything_happened()) if not isinstance(step, LeaveGroup)]
    with progress_bars(console, steps) as advance:
        for step in steps:
            advance(step)
    assert [word for word in ("mail", "groups", "contacts") if word in shown.getvalue()] == words
