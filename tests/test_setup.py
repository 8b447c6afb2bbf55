"""Setup: what is missing, what is in the way, and that anything can happen in between."""

import gc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mailroom.engine.journal import Level, Log
from mailroom.errors import LastingTrouble, SenderFailed
from mailroom.rules.account.questions import Taken
from mailroom.rules.account.setup import Item, ItemKind, ItemStatus, plan_mailboxes
from mailroom.rules.configuration.config import Config, from_data
from mailroom.wire.jmap import Mailbox
from mailroom.work.polling.poll import Poller
from mailroom.work.setup.abilities import taken
from mailroom.work.setup.check import Check
from mailroom.work.setup.setup import Setup
from tests.command import Shell, Site, killed_anywhere
from tests.sandbox import (
    CYRUS_3_10,
    CYRUS_3_13,
    SMALL_LIMITS,
    Entry,
    Fault,
    Profile,
    Sandbox,
    serve,
)

CHILDREN = {
    "triage": {
        "screener_mailbox": "Mail/Screener",
        "categories": [
            "Feed",
            {"name": "Shops", "parent": "Feed", "destination_mailbox": "Feed/Shops"},
            {"name": "Bills", "parent": "Shops", "label": "Labels/To/Bills",
             "destination_mailbox": "Money/Bills"},
        ],
    }
}  # fmt: skip


def plan(site: Site) -> tuple[Item, ...]:
    context = site.context()
    return context.run(Setup(context.loop, context.config, context.clients).plan())


def apply(site: Site) -> tuple[Item, ...]:
    context = site.context()
    told: list[Item] = []
    items = context.run(Setup(context.loop, context.config, context.clients).apply(told.append))
    assert told == list(items)
    return items


def outcomes(items: tuple[Item, ...]) -> dict[str, ItemStatus]:
    return {f"{item.kind} {item.name}": item.status for item in items}


def paths(sandbox: Sandbox) -> list[str]:
    store = sandbox._store
    return sorted(store.path_of(box) for box in store.mailboxes.values())


def is_ready(site: Site) -> bool:
    """Whether ``mailroom check`` finds nothing missing."""
    context = site.context()
    check = Check(context.loop, context.config, context.clients)
    return not any(each.error for each in context.run(check.run(lambda _: None)))


@pytest.mark.parametrize("configuration", [{}, CHILDREN], ids=["default", "children"])
@pytest.mark.parametrize("profile", [CYRUS_3_10, SMALL_LIMITS], ids=lambda each: each.name)
def test_an_empty_account_becomes_ready_and_setup_has_nothing_more_to_do(
    profile: Profile, configuration: dict[str, Any]
) -> None:
    site = Site(profile, configuration)
    planned = plan(site)
    assert {item.status for item in planned} == {ItemStatus.MISSING}
    applied = apply(site)
    assert {item.status for item in applied} == {ItemStatus.CREATED}
    assert {item.name for item in applied} == {item.name for item in planned}
    assert is_ready(site)
    after, cards = paths(site.sandbox), site.sandbox.cards()
    assert {item.status for item in apply(site)} == {ItemStatus.EXISTS}
    assert (paths(site.sandbox), site.sandbox.cards()) == (after, cards)


def test_the_dry_run_writes_nothing() -> None:
    site = Site()
    before = paths(site.sandbox)
    plan(site)
    assert (paths(site.sandbox), site.sandbox.cards()) == (before, {})


def test_a_category_and_its_children_get_their_own_of_everything() -> None:
    expected = {
        "mailbox Mail", "mailbox Mail/Screener", "label @ToFeed", "label @ToShops",
        "mailbox Labels", "mailbox Labels/To", "label Labels/To/Bills", "label @ToScreener",
            "label @WholeDomain", "label @WholeList",
        "label @MailroomError", "label @MailroomWarning", "mailbox Feed", "mailbox Feed/Shops",
        "mailbox Money", "mailbox Money/Bills", "contact group Feed", "contact group Shops",
        "contact group Bills", "contact group Mailroom", "contact group Mailroom screened",
    }  # fmt: skip
    assert set(outcomes(plan(Site(configuration=CHILDREN)))) == expected


def in_the_way(site: Site) -> tuple[Taken, ...]:
    context = site.context()
    return context.run(taken(context.loop, context.config, context.clients))


def test_the_users_own_mailboxes_are_noticed_before_anything_is_made() -> None:
    site = Site(configuration={"triage": {"screener_mailbox": "Archive"}})
    site.sandbox.create_mailbox("Feed")
    site.sandbox.create_mailbox("Jail")
    site.sandbox.deliver("Bob <bob@example.org>", mailbox="Feed")
    screener, feed = sorted(in_the_way(site), key=lambda each: each.name)
    assert (screener.name, screener.is_usable) == ("Archive", False)
    assert screener.reason.startswith("is the account's archive")
    assert feed == Taken("Feed", "holds 1 mail, which stays yours", is_usable=True)


def test_a_label_that_is_another_mailbox_of_the_account_ends_it() -> None:
    category = {"name": "Feed", "label": "Archive"}
    site = Site(configuration={"triage": {"categories": [category]}})
    with pytest.raises(LastingTrouble, match="the label Archive is the account's archive"):
        in_the_way(site)


def test_only_what_is_missing_is_created() -> None:
    site = Site()
    site.sandbox.create_mailbox("Feed")
    site.sandbox.create_mailbox("@ToJail")
    statuses = outcomes(apply(site))
    exist = {name for name, status in statuses.items() if status is ItemStatus.EXISTS}
    assert exist == {"mailbox Feed", "label @ToJail"}


@pytest.mark.parametrize("error", ["alreadyExists", "invalidProperties"])
def test_a_mailbox_that_somebody_else_makes_meanwhile_is_as_good(error: str) -> None:
    site = Site()

    def refuse(response: Any) -> Any:
        return response.__class__(
            response.status,
            response.headers,
            response.body.replace(b'"invalidProperties"', f'"{error}"'.encode()),
        )

    def slip_in(entry: Any, _request: Any) -> None:
        if "Mailbox/set" in entry.calls and "Feed" not in paths(site.sandbox):
            site.sandbox.create_mailbox("Feed")

    site.sandbox.before(slip_in)
    site.sandbox.faults.add(Fault(call="Mailbox/set", rewrite=refuse))
    assert outcomes(apply(site))["mailbox Feed"] is ItemStatus.EXISTS
    assert is_ready(site)


def test_one_failure_does_not_keep_the_others_from_being_created() -> None:
    site = Site()
    site.sandbox.faults.add(Fault(method="PUT", nth=2, breaks="before"))
    faults = [item for item in apply(site) if item.is_fault]
    assert [(item.kind, item.status) for item in faults] == [(ItemKind.GROUP, ItemStatus.FAILED)]
    assert "the connection broke" in faults[0].reason
    assert [item.status for item in apply(site) if item.name == faults[0].name].count(
        ItemStatus.CREATED
    ) == 1
    assert is_ready(site)


def test_when_the_server_refuses_mailboxes_the_groups_are_made_all_the_same() -> None:
    site = Site(configuration=CHILDREN)
    site.sandbox.faults.add(Fault(call="Mailbox/set", method_error="forbidden"))
    items = apply(site)
    by_kind = {kind: {item.status for item in items if item.kind is kind} for kind in ItemKind}
    assert by_kind[ItemKind.GROUP] == {ItemStatus.CREATED}
    assert by_kind[ItemKind.LABEL] == by_kind[ItemKind.MAILBOX] == {ItemStatus.FAILED}
    reasons = {item.name: item.reason for item in items}
    assert reasons["@ToFeed"] == "Mailbox/set failed: forbidden"
    assert reasons["Money/Bills"] == "the mailbox above it could not be created"


def test_a_group_card_that_became_something_else_gets_a_neighbour() -> None:
    site = Site()
    apply(site)
    [href] = [href for href, text in site.sandbox.cards().items() if "FN:Feed\r" in text]
    renamed = site.sandbox.cards()[href].replace("FN:Feed", "FN:News")
    site.sandbox.put_card(renamed, href.rpartition("/")[2])
    assert outcomes(apply(site))["contact group Feed"] is ItemStatus.CREATED
    assert site.sandbox.cards()[href] == renamed
    assert site.sandbox.group_members("Feed") == set()


def mailbox(id_: str, name: str, parent: str | None = None, role: str | None = None) -> Mailbox:
    return Mailbox(id_, name, parent, role)


def config(**destination: str) -> Config:
    categories = [{"name": name, "destination_mailbox": box} for name, box in destination.items()]
    return from_data({"triage": {"categories": categories}})


CLASHES = {
    "a role": (
        config(Feed="Later"),
        [mailbox("1", "Later", role="archive")],
        ("Later", "is the account's archive: write another name"),
    ),
    "case": (
        config(Feed="Feed"),
        [mailbox("1", "FEED")],
        ("Feed", "there is FEED, which differs only in upper and lower case: rename it, or write "
                 "its name in the configuration"),
    ),
    "case below": (
        config(Feed="Mail/Feed"),
        [mailbox("1", "Mail"), mailbox("2", "feed", "1")],
        ("Mail/Feed", "there is Mail/feed, which differs only in upper and lower case: rename it, "
                      "or write its name in the configuration"),
    ),
    "several": (
        config(Feed="Feed"),
        [mailbox("1", "A"), mailbox("2", "B"), mailbox("3", "Feed", "1"),
         mailbox("4", "Feed", "2")],
        ("Feed", "there are several (A/Feed, B/Feed): write the whole path of one"),
    ),
    "case and Unicode": (
        config(Feed="Caf\u00e9"),
        [mailbox("1", "CAFE\u0301")],
        ("Caf\u00e9", "there is CAFE\u0301, which differs only in upper and lower case: rename it, "
                    "or write its name in the configuration"),
    ),
    "twins": (
        config(Feed="Caf\u00e9"),
        [mailbox("1", "Cafe\u0301"), mailbox("2", "Caf\u00e9")],
        ("Caf\u00e9", "there are 2 of this name, spelled with different characters that look the "
                    "same: rename or delete the others"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CLASHES)
def test_a_clash_is_refused_by_name(case: str) -> None:
    wanted, mailboxes, clash = CLASHES[case]
    refused = [item for item in plan_mailboxes(wanted, mailboxes) if item.is_fault]
    assert [(item.name, item.reason) for item in refused] == [clash]


def test_a_name_that_is_elsewhere_alone_is_that_one() -> None:
    boxes = [mailbox("1", "A"), mailbox("2", "Feed", "1")]
    items = {item.name: item for item in plan_mailboxes(config(Feed="Feed"), boxes)}
    assert (items["Feed"].status, items["Feed"].reason) == (ItemStatus.EXISTS, "is A/Feed")
    deeper = [*boxes[:1], mailbox("3", "B", "1"), mailbox("2", "Feed", "3")]
    items = {item.name: item for item in plan_mailboxes(config(Feed="Feed"), deeper)}
    assert items["Feed"].reason == "is A/B/Feed"


def test_a_name_alone_is_not_the_mailbox_that_another_path_names() -> None:
    boxes = [mailbox("1", "A"), mailbox("2", "Feed", "1")]
    items = plan_mailboxes(config(Feed="Feed", Shops="A/Feed"), boxes)
    statuses = {item.name: item.status for item in items}
    assert (statuses["A/Feed"], statuses["Feed"]) == (ItemStatus.EXISTS, ItemStatus.MISSING)


def test_no_lookalike_is_made_of_what_is_there_in_another_unicode_form() -> None:
    cafe = {"triage": {"categories": [{"name": "Caf\u00e9", "destination_mailbox": "B/Caf\u00e9"}]}}
    site = Site(configuration=cafe)
    for name in ("@ToCafe\u0301", "B", "B/Cafe\u0301"):
        site.sandbox.create_mailbox(name)
    group = "FN:Cafe\u0301\r\nX-ADDRESSBOOKSERVER-KIND:group\r\n"
    site.sandbox.put_card(f"BEGIN:VCARD\r\nVERSION:3.0\r\nUID:g\r\n{group}END:VCARD\r\n")
    items = outcomes(apply(site))
    assert {each: items[each] for each in items if "Caf" in each} == {
        "label @ToCaf\u00e9": ItemStatus.EXISTS,
        "mailbox B/Caf\u00e9": ItemStatus.EXISTS,
        "contact group Caf\u00e9": ItemStatus.EXISTS,
    }
    assert is_ready(site)


def test_two_groups_of_one_name_are_refused() -> None:
    site = Site()
    apply(site)
    [text] = [text for text in site.sandbox.cards().values() if "FN:Feed\r" in text]
    site.sandbox.put_card(text.replace("UID:", "UID:2"))
    [refused] = [item for item in apply(site) if item.is_fault]
    assert refused.name == "Feed"
    assert refused.reason == "there are 2 groups of this name: rename or delete the others"


@pytest.fixture
def _graveyard() -> Iterator[None]:
    """What the killed processes had begun is over with the test."""
    yield
    gc.collect()


@pytest.mark.usefixtures("_graveyard")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_killed_anywhere_and_run_again_it_ends_in_the_same_state() -> None:
    expected = Site(configuration=CHILDREN)
    apply(expected)
    states = paths(expected.sandbox), expected.sandbox.cards()
    for site, when in killed_anywhere(lambda: Site(configuration=CHILDREN), apply):
        assert (paths(site.sandbox), site.sandbox.cards()) == states, when


@pytest.mark.sandbox
def test_the_command_shows_first_and_creates_only_when_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MAILROOM_JMAP_PASSWORD", "secret")
    monkeypatch.setenv("MAILROOM_CARDDAV_PASSWORD", "secret")
    site = Site()
    with serve(site.sandbox) as running:
        shell = Shell(site, running.url, tmp_path)
        before = paths(site.sandbox)
        assert shell.run("setup") == 0
        assert "29 to create: mailroom setup --apply" in capsys.readouterr().out
        assert paths(site.sandbox) == before
        assert shell.run("setup", "--apply") == 0
        assert capsys.readouterr().out.endswith("29 created, 0 there already\n")
        assert shell.run("setup") == 0
        assert "Everything is there." in capsys.readouterr().out
        site.sandbox.destroy_mailbox("Feed")
        site.sandbox.create_mailbox("FEED")
        assert shell.run("setup", "--apply") == 1
        assert "mailbox       Feed: refused: there is FEED" in capsys.readouterr().out


def triaged(site: Site) -> None:
    """Bob and Carol were strangers; Ann is a friend, whose card is her own."""
    apply(site)
    site.sandbox.put_card(ANN, "ann.vcf")
    for sender, label in (("Bob <bob@b.example>", "@ToFeed"), ("Ann <ann@a.example>", "@ToTruck"),
                          ("Carol <carol@c.example>", "@ToTruck")):  # fmt: skip
        site.sandbox.label(site.sandbox.deliver(sender), label)
    poll(site)


def poll(site: Site) -> None:
    context = site.context()
    log = Log(lambda *_: True, Level.ERROR)
    context.run(
        Poller(
            context.loop, context.config, context.clients.mail, context.clients.contacts, log
        ).poll()
    )


ANN = (
    "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:ann\r\nFN:Ann\r\nN:;Ann;;;\r\nEMAIL:ann@a.example\r\n"
    "END:VCARD\r\n"
)


def delete_group(site: Site, name: str) -> None:
    [href] = [href for href, text in site.sandbox.cards().items() if f"FN:{name}\r" in text]
    site.sandbox.delete_card(href)


def members(site: Site) -> dict[str, set[str]]:
    return {name: site.sandbox.group_members(name) for name in ("Truck", "Paper Trail", "Feed")}


@pytest.mark.parametrize("name", ["Truck", "Paper Trail", "Feed"])
def test_a_group_that_was_deleted_is_rebuilt_with_its_members(name: str) -> None:
    site = Site()
    triaged(site)
    before = members(site)
    delete_group(site, name)
    [item] = [item for item in plan(site) if item.name == name and item.kind is ItemKind.GROUP]
    reasons = {"Feed": "with Bob (by the note)"}.get(
        name, "with Ann (by where the mail lies), Carol (by the note)"
    )
    assert (item.status, set(item.reason.removeprefix("with ").split(", "))) == (
        ItemStatus.MISSING,
        set(reasons.removeprefix("with ").split(", ")),
    )
    apply(site)
    assert members(site) == before


def test_a_provenance_group_that_was_deleted_has_those_again_who_tell_by_themselves() -> None:
    site = Site()
    triaged(site)
    made = site.sandbox.group_members("Mailroom") - {"ann"}
    delete_group(site, "Mailroom")
    apply(site)
    assert site.sandbox.group_members("Mailroom") == made


def test_after_a_provenance_group_was_deleted_nobody_knows_since_when() -> None:
    """All that waits is Mailroom's then, or it would be lost with Screener after leaving."""
    site = Site()
    triaged(site)
    delete_group(site, "Mailroom")
    apply(site)
    context = site.context()
    record = context.run(context.clients.contacts.record())
    assert record is not None
    assert record.since is None
    assert record.groups == {"Mailroom"}


@pytest.mark.parametrize("label", ["@ToFeed", "@ToJail"])
def test_whom_the_user_has_put_elsewhere_is_not_put_back(label: str) -> None:
    """Groups are edited by hand as well, and the note does not tell of that."""
    site = Site()
    apply(site)
    site.sandbox.label(site.sandbox.deliver("Bob <bob@b.example>"), label)
    poll(site)
    [bob] = site.sandbox.group_members("Mailroom")
    name = label.removeprefix("@To")
    delete_group(site, name)
    apply(site)
    assert site.sandbox.group_members(name) == {bob}
    move(site, bob, name, "Truck")
    move(site, bob, None, "Paper Trail")
    delete_group(site, name)
    assert not any(item.reason for item in plan(site))
    apply(site)
    assert site.sandbox.group_members(name) == set()
    delete_group(site, "Paper Trail")
    [reason] = [item.reason for item in plan(site) if item.reason]
    assert reason == "with Bob (by its other groups)"
    apply(site)
    assert site.sandbox.group_members("Paper Trail") == {bob}


def move(site: Site, uid: str, source: str | None, target: str) -> None:
    """Out of a group and into another, as an address book program does it."""
    member = f"X-ADDRESSBOOKSERVER-MEMBER:urn:uuid:{uid}\r\n"
    for href, text in site.sandbox.cards().items():
        changed = text.replace(member, "") if f"FN:{source}\r" in text else text
        if f"FN:{target}\r" in text:
            changed = text.replace("END:VCARD", f"{member}END:VCARD")
        if changed != text:
            site.sandbox.put_card(changed, href.rpartition("/")[2])


def test_what_setup_makes_is_recorded_before_it_is_made() -> None:
    site = Site()
    site.sandbox.create_mailbox("Feed")
    recorded: list[bool] = []

    def look(entry: Any, _request: Any) -> None:
        if "Mailbox/set" in entry.calls:
            cards = site.sandbox.cards().values()
            recorded.append(any("X-MAILROOM-SETUP" in text for text in cards))

    site.sandbox.before(look)
    apply(site)
    assert recorded
    assert all(recorded)
    context = site.context()
    record = context.run(context.clients.contacts.record())
    assert record is not None
    assert "Jail" in record.mailboxes
    assert "Feed" not in record.mailboxes
    assert {"Feed", "Mailroom"} <= record.groups
    assert record.since is not None


@pytest.mark.parametrize(("profile", "by"), [(CYRUS_3_10, "carddav"), (CYRUS_3_13, "jmap")])
def test_what_another_process_has_recorded_is_known_at_once(profile: Profile, by: str) -> None:
    site = Site(profile, {"contacts": {"by": by}})
    apply(site)
    [(href, before)] = [each for each in site.sandbox.cards().items() if "FN:Mailroom\r" in each[1]]
    other, door = site.context(), "2026-11-27T12:00:00Z"
    other.run(other.clients.contacts.refresh())
    other.run(other.clients.contacts.amend_record(lambda record: replace(record, door=door)))
    after = site.sandbox.cards()[href]
    site.sandbox.put_card(before, href.rpartition("/")[2])
    context = site.context()
    context.run(context.clients.contacts.refresh())
    site.sandbox.put_card(after, href.rpartition("/")[2])
    record = context.run(context.clients.contacts.record())
    assert record is not None
    assert record.door == door


def test_a_book_that_never_holds_still_fails_the_record_with_the_reason() -> None:
    site = Site(CYRUS_3_13, {"contacts": {"by": "jmap"}})
    apply(site)
    others = iter(range(99))

    def disturb(entry: Entry, _: object) -> None:
        if "ContactCard/set" in entry.calls:
            site.sandbox.put_card(ANN.replace("UID:ann", f"UID:other{next(others)}"))

    site.sandbox.before(disturb)
    context, door = site.context(), "2026-11-27T12:00:00Z"
    with pytest.raises(SenderFailed, match="changed the contacts 5 times"):
        context.run(
            context.clients.contacts.amend_record(lambda record: replace(record, door=door))
        )


@pytest.mark.parametrize(("profile", "by"), [(CYRUS_3_10, "carddav"), (CYRUS_3_13, "jmap")])
def test_a_group_that_is_there_is_not_made_again(profile: Profile, by: str) -> None:
    site = Site(profile, {"contacts": {"by": by}})
    apply(site)
    before = site.sandbox.cards()
    context = site.context()
    context.run(context.clients.contacts.refresh())
    assert not context.run(context.clients.contacts.create_group("Feed"))
    assert site.sandbox.cards() == before


@pytest.mark.parametrize(
    ("profile", "by", "write", "said"),
    [
        (CYRUS_3_10, "carddav", "DELETE", "the group Feed was changed 5 times"),
        (CYRUS_3_13, "jmap", "ContactCard/set", "changed the contacts 5 times"),
    ],
)
def test_a_group_that_never_holds_still_stays(
    profile: Profile, by: str, write: str, said: str
) -> None:
    site = Site(profile, {"contacts": {"by": by}})
    apply(site)
    [(href, text)] = [each for each in site.sandbox.cards().items() if "FN:Feed\r" in each[1]]
    others = iter(range(99))

    def disturb(entry: Entry, _: object) -> None:
        if write in (entry.method, *entry.calls):
            changed = text.replace("END:VCARD", f"NOTE:{next(others)}\r\nEND:VCARD")
            site.sandbox.put_card(changed, href.rpartition("/")[2])

    site.sandbox.before(disturb)
    context = site.context()
    with pytest.raises(SenderFailed, match=said):
        context.run(context.clients.contacts.remove_group("Feed"))
    assert href in site.sandbox.cards()


def test_what_is_there_and_not_empty_stays_the_users_and_setup_says_so() -> None:
    site = Site()
    site.sandbox.create_mailbox("Feed")
    site.sandbox.deliver("bob@b.example", mailbox="Feed")
    group = ANN.replace("UID:ann", "UID:g").replace("FN:Ann", "FN:Person")
    group = group.replace("END", "X-ADDRESSBOOKSERVER-KIND:group\r\nEND")
    member = "X-ADDRESSBOOKSERVER-MEMBER:urn:uuid:ann\r\nEND"
    site.sandbox.put_card(group.replace("END", member), "g.vcf")
    reasons = {f"{item.kind} {item.name}": item.reason for item in plan(site)}
    assert reasons["mailbox Feed"] == "holds 1 mail, which stays yours"
    assert reasons["contact group Person"] == "has 1 member, who stays in it"
    apply(site)
    assert not any(item.reason for item in plan(site))


def test_a_group_of_the_users_with_the_name_of_ours_is_refused_and_nothing_is_made() -> None:
    """Its members would count as triaged, and leaving would take them out of it."""
    site = Site()
    site.sandbox.put_card(ANN, "ann.vcf")
    group = ANN.replace("UID:ann", "UID:g").replace("FN:Ann", "FN:Mailroom")
    lines = "X-ADDRESSBOOKSERVER-KIND:group\r\nX-ADDRESSBOOKSERVER-MEMBER:urn:uuid:ann\r\nEND"
    site.sandbox.put_card(group.replace("END", lines), "g.vcf")
    before = paths(site.sandbox), site.sandbox.cards()
    statuses = outcomes(apply(site))
    assert statuses.pop("contact group Mailroom") is ItemStatus.CLASH
    assert set(statuses.values()) == {ItemStatus.FAILED}
    assert (paths(site.sandbox), site.sandbox.cards()) == before


def test_an_empty_group_made_by_hand_gets_the_record_and_since_when() -> None:
    site = Site()
    group = ANN.replace("UID:ann", "UID:g").replace("FN:Ann", "FN:Mailroom")
    site.sandbox.put_card(group.replace("END", "X-ADDRESSBOOKSERVER-KIND:group\r\nEND"), "g.vcf")
    apply(site)
    context = site.context()
    record = context.run(context.clients.contacts.record())
    assert record is not None
    assert record.since is not None
    assert "Mailroom" not in record.groups
