"""The table on the pure decision, and what a patch of the door never does."""

from collections.abc import Mapping
from dataclasses import replace
from email.utils import parseaddr
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailroom.rules.addresses import canonical
from mailroom.rules.configuration.categories import Triage
from mailroom.rules.configuration.config import Config
from mailroom.rules.screening.own import OwnAddresses
from mailroom.rules.screening.standing import (
    Facts,
    Standing,
    Who,
    admitted,
    deciding,
    standing,
)
from mailroom.rules.triage.drags import PLACED, WAITING
from mailroom.rules.triage.places import Places, find_places
from mailroom.wire.jmap import Address, Mail, Mailbox
from tests.screening.table import Case, cases

ROLES = ("Inbox", "Archive", "Sent", "Junk", "Trash", "Drafts")


def places_of(config: Config, without: str = "") -> Places:
    """Every mailbox of the account; ids are names."""
    boxes = [Mailbox(name, name, None, name.lower()) for name in ROLES if name != without]
    boxes += [Mailbox(name, name, None, None) for name in config.managed_mailboxes]
    return find_places(config, boxes)


def facts_of(case: Case, places: Places) -> Facts:
    """What the case tells, before anybody has asked Sent."""
    account, config, header = case.account, case.config, case.header
    address = canonical(parseaddr(header.get("From", ""))[1])
    cards = [card for card in case.cards if address in map(canonical, card.addresses)]
    return Facts(
        is_own=address in OwnAddresses(config.triage.own_addresses),
        is_bounce=case.mail.get("bounce", False),
        is_spam=places.junk is not None and is_spam(header, config.screening.spam_header),
        groups=frozenset().union(*(card.groups for card in cards)),
        is_in_book=any(not card.is_made for card in cards),
        by_list=account.get("lists", {}).get(list_id(header.get("List-Id", ""))),
        by_domain=of_domain(account.get("domains", {}), address),
    )


def is_spam(header: Mapping[str, str], mark: str | None) -> bool:
    name, _, value = (mark or "").partition(":")
    return bool(name) and header.get(name, "").lower().startswith(value.strip().lower())


def list_id(header: str) -> str:
    return header.rpartition("<")[2].rstrip(">").lower()


def of_domain(domains: Mapping[str, str], address: str) -> str | None:
    domain = address.rpartition("@")[2]
    while domain and domain not in domains:
        domain = domain.partition(".")[2]
    return domains.get(domain)


def decided(case: Case, places: Places) -> Standing:
    """The decision, after Sent has been asked if that is wanted."""
    facts = facts_of(case, places)
    found = standing(facts, case.config)
    if found is None:
        written = map(canonical, case.account.get("written", ()))
        address = canonical(parseaddr(case.header.get("From", ""))[1])
        answers = bool(case.mail.get("answers"))
        facts = replace(facts, is_written=address in written, is_conversation=answers)
        found = standing(facts, case.config)
    assert found is not None
    return found


def after(mail: Mail, patch: Mapping[str, Any]) -> Mail:
    """The mail as a patch leaves it."""
    boxes, keywords = set(mail.mailbox_ids), set(mail.keywords)
    for key, value in patch.items():
        kind, _, name = key.partition("/")
        place = boxes if kind == "mailboxIds" else keywords
        (place.add if value else place.discard)(name)
    return replace(mail, mailbox_ids=frozenset(boxes), keywords=frozenset(keywords))


def mail_in(*names: str, keywords: frozenset[str] = frozenset()) -> Mail:
    return Mail("M1", (Address("", "bob@example.org"),), frozenset(names), keywords)


@pytest.mark.parametrize("came_to", ["Screener", "Inbox"])
@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_where_new_mail_goes(case: Case, came_to: str) -> None:
    places = places_of(case.config, case.account.get("without", ""))
    found = decided(case, places)
    assert found.who == case.who
    is_marked = came_to == "Screener"
    mail = mail_in(came_to, keywords=frozenset({WAITING}) if is_marked else frozenset())
    result = after(mail, admitted(mail, found, places))
    expected = case.goes or {came_to, "@MailroomWarning"}
    assert result.mailbox_ids == expected
    assert (WAITING in result.keywords) is ("Screener" in expected)


def test_sent_is_asked_only_about_whom_nothing_else_decides() -> None:
    config = Config()
    assert standing(Facts(), config) is None
    assert standing(Facts(is_written=False), config) is None
    assert standing(Facts(is_conversation=False), config) is None
    assert standing(Facts(is_conversation=True), config) == Standing(Who.CONVERSATION)
    assert standing(Facts(is_in_book=True), config) == Standing(Who.CONTACT)
    nothing = replace(config.screening, known=("contacts",))
    assert standing(Facts(), replace(config, screening=nothing)) == Standing(Who.UNKNOWN)


def test_of_a_group_that_a_chain_shares_the_parent_counts() -> None:
    chain = {"triage": {"categories": [
        "Feed", {"name": "Shops", "parent": "Feed", "contact_group": "Feed"}]}}  # fmt: skip
    config = Case({"configuration": chain}).config
    assert {name: each.name for name, each in deciding(config.triage).items()} == {"Feed": "Feed"}


CONTACT, UNKNOWN = Standing(Who.CONTACT), Standing(Who.UNKNOWN)
FEED = Standing(Who.CATEGORY, Triage().category("Feed"))
NOT_AT_THE_DOOR: dict[str, tuple[str, ...]] = {
    "in Archive": ("Archive",),
    "in a folder of the user's": ("Holidays",),
    "in a folder of the user's and in Inbox": ("Holidays", "Inbox"),
    "in a destination": ("Jail",),
    "in a destination and in Inbox": ("Imbox", "Inbox"),
    "labelled": ("Screener", "@ToJail"),
    "labelled in Inbox": ("Inbox", "@ToJail"),
    "to be taken back": ("Screener", "@ToScreener"),
    "labelled by half": ("Screener", "@WholeDomain"),
    "in Junk": ("Junk", "Screener"),
    "in Trash": ("Trash", "Screener"),
    "in Drafts": ("Drafts", "Screener"),
}


@pytest.mark.parametrize("who", [CONTACT, UNKNOWN, FEED])
@pytest.mark.parametrize("where", NOT_AT_THE_DOOR)
def test_what_is_not_at_the_door_is_left_alone(where: str, who: Standing) -> None:
    mail = mail_in(*NOT_AT_THE_DOOR[where])
    assert admitted(mail, who, places_of(Config())) == {}


@pytest.mark.parametrize("who", [CONTACT, UNKNOWN, FEED])
@pytest.mark.parametrize("keyword", [PLACED, "$junk", "$draft"])
@pytest.mark.parametrize("where", ["Screener", "Inbox"])
def test_what_the_user_has_placed_is_left_alone(where: str, keyword: str, who: Standing) -> None:
    mail = mail_in(where, keywords=frozenset({keyword}))
    assert admitted(mail, who, places_of(Config())) == {}


@pytest.mark.parametrize("who", [CONTACT, UNKNOWN, FEED])
def test_what_waited_and_is_in_inbox_was_put_there_by_the_user(who: Standing) -> None:
    mail = mail_in("Inbox", keywords=frozenset({WAITING}))
    assert admitted(mail, who, places_of(Config())) == {}


@pytest.mark.parametrize(
    ("where", "who", "expected"),
    [
        (("Screener", "Inbox"), UNKNOWN, {"Screener", "Inbox"}),
        (("Screener", "Inbox"), FEED, {"Feed", "Inbox"}),
        (("Screener", "Holidays"), CONTACT, {"Inbox", "Holidays"}),
        (("Screener", "Holidays"), FEED, {"Feed", "Holidays"}),
        (("Screener", "Jail"), FEED, {"Feed"}),
        (("Screener", "Jail"), CONTACT, {"Inbox", "Jail"}),
        (("Inbox", "@MailroomWarning"), UNKNOWN, {"Screener", "@MailroomWarning"}),
    ],
)
def test_mail_that_is_elsewhere_as_well_stays_there(
    where: tuple[str, ...], who: Standing, expected: set[str]
) -> None:
    mail = mail_in(*where)
    assert after(mail, admitted(mail, who, places_of(Config()))).mailbox_ids == expected


def test_without_an_inbox_known_people_wait() -> None:
    mail = mail_in("Screener")
    assert admitted(mail, CONTACT, places_of(Config(), without="Inbox")) == {
        "keywords/mailroom-waiting": True
    }


def test_a_dispute_is_told_only_where_warnings_are_wanted() -> None:
    mail = mail_in("Screener", keywords=frozenset({WAITING}))
    disputed = Standing(Who.DISPUTED)
    assert admitted(mail, disputed, places_of(Config()), may_warn=False) == {}
    told = admitted(mail, disputed, places_of(Config()))
    assert told == {"mailboxIds/@MailroomWarning": True}


STANDINGS = st.builds(
    Standing, st.sampled_from(Who), st.none() | st.sampled_from(Triage().categories)
)
#: Of mail that is anywhere hardly any is at the door.
AT_THE_DOOR = st.sampled_from(["Screener", "Inbox"]).flatmap(
    lambda gate: st.frozensets(
        st.sampled_from([gate, "Holidays", "Archive", "@MailroomWarning"])
    ).map(lambda others: others | {gate})
)
ANYWHERE = st.frozensets(
    st.sampled_from([*ROLES, "Holidays", *Config().managed_mailboxes]), min_size=1, max_size=4
)
MAILBOXES = AT_THE_DOOR | ANYWHERE
KEYWORDS = st.frozensets(st.sampled_from([WAITING, "$seen"])) | st.frozensets(
    st.sampled_from([WAITING, PLACED, "$seen", "$junk", "$draft"])
)


@given(MAILBOXES, KEYWORDS, STANDINGS, st.sampled_from(["", "Inbox", "Junk"]))
def test_no_patch_loses_a_mail_and_none_is_made_twice(
    boxes: frozenset[str], keywords: frozenset[str], who: Standing, without: str
) -> None:
    mail, places = Mail("M1", (), boxes, keywords), places_of(Config(), without)
    patch = admitted(mail, who, places)
    result = after(mail, patch)
    assert result.mailbox_ids
    gone = {key for key, value in patch.items() if value is None}
    assert {key.partition("/")[2] for key in gone} <= boxes | keywords
    is_taken = any(key.startswith("mailboxIds/") for key in gone)
    assert not is_taken or any(patch[key] for key in patch if key.startswith("mailboxIds/"))
    assert (result != mail) is bool(patch)
    assert admitted(result, who, places) == {}
