"""What ``mailroom check`` finds, step by step."""

import json
from typing import Any

import pytest

from mailroom.errors import LastingTrouble
from mailroom.rules.configuration.config import from_data
from mailroom.rules.contacts.roster import Change, Plan, managed_groups
from mailroom.work.setup.check import Check, Finding, worst
from mailroom.work.setup.setup import Setup
from tests.command import Site
from tests.sandbox import (
    CYRUS_3_10,
    FASTMAIL,
    JAMES,
    NO_SEARCH,
    PROFILES,
    STALWART,
    Entry,
    Fault,
    Profile,
    Request,
    Sandbox,
)
from tests.world import World


def findings(site: Site) -> dict[str, Finding]:
    context = site.context()
    found = context.run(Check(context.loop, context.config, context.clients).run(lambda _: None))
    return {each.what: each for each in found}


def ready(profile: Profile = CYRUS_3_10, configuration: dict[str, Any] | None = None) -> Site:
    site = Site(profile, configuration=configuration or {})
    site.sandbox.standard_account()
    return site


def set_up(configuration: dict[str, Any]) -> Site:
    site = Site(configuration=configuration)
    context = site.context()
    context.run(Setup(context.loop, context.config, context.clients).apply(lambda _: None))
    return site


@pytest.mark.parametrize(
    ("profile", "configured", "told"),
    [
        (CYRUS_3_10, ["Me@Example.org"], "me@example.org"),
        (CYRUS_3_10, ["*@example.org"], "*@example.org"),
        (FASTMAIL, [], "*@alice.example, alice@home.example"),
        (FASTMAIL, ["me@example.org"], "*@alice.example, alice@home.example, me@example.org"),
    ],
)
def test_the_own_addresses_that_are_known_are_told(
    profile: Profile, configured: list[str], told: str
) -> None:
    site = ready(profile, {"triage": {"own_addresses": configured}})
    found = findings(site)["own addresses"]
    assert (found.detail, found.is_doubtful) == (told, False)


def test_what_is_there_is_told() -> None:
    found = findings(ready())
    count = len(from_data({}).managed_mailboxes)
    assert found["mailboxes"].detail == f"all {count} are there"
    assert found["address book"].detail.endswith(
        "/Default/, 9 cards; because there is a password for it"
    )


def test_what_is_missing_is_named() -> None:
    site = ready()
    site.sandbox.destroy_mailbox("@ToFeed")
    site.sandbox.delete_card("/x/group-jail.vcf")
    found = findings(site)
    assert "@ToFeed" in str(found["mailboxes"].error)
    assert "Jail" in str(found["contact groups"].error)
    assert isinstance(worst(list(found.values())), LastingTrouble)


def test_labels_that_an_earlier_version_did_not_make_are_a_doubt_and_no_error() -> None:
    site = ready()
    site.sandbox.destroy_mailbox("@WholeList")
    found = findings(site)["mailboxes"]
    assert found.is_doubtful
    assert found.detail == "no @WholeList yet: mailroom setup --apply makes what is missing"


def test_so_is_the_screened_group() -> None:
    site = ready()
    assert findings(site)["contact groups"].detail == "all 9 are there"
    site.sandbox.delete_card("/x/group-mailroom-screened.vcf")
    found = findings(site)["contact groups"]
    assert found.is_doubtful
    assert found.detail == "no Mailroom screened yet: mailroom setup --apply makes it"


@pytest.mark.parametrize(
    ("screening", "told"),
    [
        ({}, "the server's rules decide, and mailroom corrects what they cannot know, from the "
             "first start on; known: your contacts, whom you have written to, who answers in your "
             "conversations"),
        ({"by": "mailroom", "known": ["contacts"]},
         "mailroom decides, no rules are needed, from the first start on; known: your contacts"),
        ({"by": "mailroom", "known": []},
         "mailroom decides, no rules are needed, from the first start on; nobody is known without "
         "a decision"),
        ({"by": "off"}, "nobody decides about it (screening.by: off)"),
    ],
)  # fmt: skip
def test_who_decides_about_new_mail_is_told(screening: dict[str, Any], told: str) -> None:
    found = findings(ready(configuration={"screening": screening}))["new mail"]
    assert (found.detail, found.is_doubtful) == (told, False)


def test_since_when_it_is_decided_is_told() -> None:
    site = ready()
    context = site.context()
    context.run(context.clients.contacts.refresh())
    context.run(
        context.clients.contacts.amend_record(
            lambda record: record.with_door("2026-11-21T10:00:00Z")
        )
    )
    assert "cannot know, since 2026-11-21T10:00:00Z; known" in findings(site)["new mail"].detail


def test_that_sent_cannot_be_asked_is_a_doubt_where_it_would_count() -> None:
    doubt = "; but the account has no mailbox for sent mail, so nobody counts as written to"
    for known, is_told in ((["written"], True), (["conversations"], True), (["contacts"], False)):
        site = set_up({"screening": {"known": known}})
        site.sandbox.destroy_mailbox("Sent")
        found = findings(site)["new mail"]
        assert (found.is_doubtful, found.detail.endswith(doubt)) == (is_told, is_told)


def test_that_sent_cannot_be_searched_is_a_doubt() -> None:
    site = ready()

    def refuse(entry: Entry, request: Request) -> None:
        if "inMailbox" in str(request.body) and "bcc" in str(request.body):
            site.sandbox.faults.add(Fault(call="Email/query", method_error="serverFail"))

    site.sandbox.before(refuse)
    found = findings(site)["new mail"]
    assert found.is_doubtful
    assert "the server cannot search Sent, so new mail from strangers stays" in found.detail


def test_a_destination_that_says_nothing_is_told() -> None:
    shared = [
        {"name": "Feed", "destination_mailbox": "Read later"},
        {"name": "News", "destination_mailbox": "Read later"},
        "Jail",
    ]
    for triage, is_told in (({}, True), ({"by_moving": False}, False)):
        site = set_up({"triage": {"categories": shared, **triage}})
        detail = findings(site)["new mail"].detail
        assert ("moving mail to Read later decides nothing" in detail) is is_told


def test_where_no_own_address_is_known_it_warns_and_is_no_error() -> None:
    found = findings(ready())
    assert found["own addresses"].is_doubtful
    assert "triage.own_addresses" in found["own addresses"].detail
    assert worst(list(found.values())) is None


def shape(value: Any) -> Any:
    """What is asked, whoever it is about: names of properties and operators, each once."""
    if isinstance(value, dict):
        return tuple(sorted((key, shape(each)) for key, each in value.items()))
    if isinstance(value, list):
        return tuple(sorted({repr(shape(each)) for each in value}))
    return value if value in ("AND", "OR") else type(value).__name__


def questions(sandbox: Sandbox) -> set[Any]:
    """The shapes of all reading calls from now on."""
    asked: set[Any] = set()

    def note(_entry: Entry, request: Request) -> None:
        if request.method == "POST":
            for name, arguments, _ in json.loads(request.body)["methodCalls"]:
                if not name.endswith("/set"):
                    asked.add((name, shape({**arguments, "position": 0, "limit": 1})))

    sandbox.before(note)
    return asked


CARD = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{0}\r\nFN:{0}\r\nEMAIL:{1}\r\n{2}END:VCARD\r\n"


def test_a_pattern_that_an_earlier_version_has_made_is_to_be_deleted() -> None:
    site = ready()
    mark = "X-MAILROOM-CREATED:0\r\n"
    site.sandbox.put_card(CARD.format("Eve", "*@x.example", mark), "eve.vcf")
    site.sandbox.put_card(CARD.format("Ann", "*@a.example", ""), "ann.vcf")
    found = findings(site)["contacts"]
    assert isinstance(found.error, LastingTrouble)
    assert found.detail.endswith("file other people's mail: delete Eve (*@x.example)")


@pytest.mark.parametrize("is_triaged", [True, False])
def test_a_pattern_of_the_users_own_is_told_and_no_error(is_triaged: bool) -> None:
    """Nobody is told to delete a contact of one's own."""
    site = ready()
    further = "EMAIL:*@shop.example\r\n"
    site.sandbox.put_card(CARD.format("Shop", "news@shop.example", further), "shop.vcf")
    if is_triaged:
        context = site.context()
        contacts = context.clients.contacts
        [found] = context.run(contacts.find(["news@shop.example"])).values()
        change = Change("news@shop.example", found, managed_groups(site.config),
                        frozenset({"Feed", "Mailroom"}))  # fmt: skip
        assert context.run(contacts.apply(Plan((change,)))) == {}
    found_out = findings(site)["contacts"]
    assert found_out.error is None
    assert found_out.is_doubtful is is_triaged
    told = (
        "from everyone that it fits: Shop (*@shop.example)" if is_triaged else "0 triaged senders"
    )
    assert found_out.detail.endswith(told)


def lived_and_checked(
    profile: Profile, configuration: dict[str, Any] | None = None
) -> tuple[set[Any], set[Any]]:
    """What a service at work asks, and what ``mailroom check`` does."""
    world = World(profile, configuration)
    lived = questions(world.sandbox)
    mails = world.deliver("Bob <bob@example.org>", count=2)
    world.start()
    world.tap(mails[0], "@ToFeed")
    world.run_for(130.0)
    assert world.sandbox.mails_in("Feed") == set(mails)
    site = ready(profile, configuration)
    checked = questions(site.sandbox)
    findings(site)
    assert lived
    return lived, checked


@pytest.mark.parametrize("name", PROFILES)
def test_check_asks_all_that_the_service_lives_by(name: str) -> None:
    lived, checked = lived_and_checked(PROFILES[name])
    assert lived <= checked


@pytest.mark.parametrize("profile", [CYRUS_3_10, STALWART, JAMES], ids=lambda each: each.name)
def test_where_nobody_decides_it_asks_what_the_service_searches_for(profile: Profile) -> None:
    lived, checked = lived_and_checked(profile, {"screening": {"by": "off"}})
    assert lived <= checked


@pytest.mark.parametrize(
    ("call", "error"),
    [("Email/query", "unsupportedFilter"), ("Email/get", "serverFail"),
     ("Mailbox/get", "forbidden")],
)  # fmt: skip
def test_what_the_service_cannot_live_without_is_an_error(call: str, error: str) -> None:
    site = ready()
    site.sandbox.faults.add(Fault(call=call, method_error=error))
    found = findings(site)
    assert worst(list(found.values())) is not None
    assert error in "".join(each.detail for each in found.values() if each.error)


def test_a_search_that_fails_is_told_and_no_error() -> None:
    found = findings(ready(NO_SEARCH))
    assert found["searches"].is_doubtful
    assert "serverFail" in found["searches"].detail
    assert worst(list(found.values())) is None


def test_a_failure_is_told_once() -> None:
    site = ready()
    site.sandbox.destroy_mailbox("Feed")
    found = findings(site)
    assert [each.what for each in found.values() if each.error] == ["mailboxes"]
    assert "searches" not in found
