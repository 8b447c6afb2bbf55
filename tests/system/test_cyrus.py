"""What Mailroom's design takes from Cyrus: facts of the real server, each held by a test."""

import base64
import contextlib
import http.client
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailroom.rules.contacts.groups import bare_uid, new_group, with_members
from tests.servers import SERVER
from tests.system.cyrus import MAIL, Cyrus, CyrusError, User, authorization, mail
from tests.system.host import Host

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def cyrus(tree: Path) -> Iterator[Cyrus]:
    with Host.boot(tree) as host:
        yield Cyrus.start(host)


@pytest.fixture
def user(cyrus: Cyrus, request: pytest.FixtureRequest) -> User:
    """A user of this test alone."""
    request.node.user_properties.append((SERVER, cyrus.version))
    name = re.sub(r"\W", "", request.node.name.removeprefix("test_"))
    return cyrus.user(name[:40])


def test_the_session_offers_mail_and_push_by_relative_urls(user: User) -> None:
    status, headers, _ = user.request("GET", "/.well-known/jmap")
    assert (status, headers["Location"]) == (301, "http://127.0.0.1:8008/jmap")
    session = json.loads(user.request("GET", "/jmap")[2])
    assert session["primaryAccounts"][MAIL] == user.name
    assert session["apiUrl"] == "/jmap/"
    assert session["eventSourceUrl"].startswith("/jmap/eventsource/?types={types}&")


def test_a_delivered_mail_is_in_the_inbox_at_once(user: User) -> None:
    inbox = user.mailboxes()["Inbox"]
    user.receive(mail("Bob <bob@example.org>", "one"), mail("eve@example.org", "two"))
    found = user.mails(inbox)
    assert {entry["subject"] for entry in found} == {"one", "two"}
    assert {"name": "Bob", "email": "bob@example.org"} in [entry["from"][0] for entry in found]


FROM_AS_JMAP_SHOWS_IT: dict[str, list[str] | None] = {
    "": None,
    "undisclosed:;": [],
    "Friends: bob@example.org;": ["bob@example.org"],
    "Bob Smith": [],
    "Bob <bob>": ["bob"],
    '"a b"@example.org': ["a b@example.org"],
    "a@example.org, b@example.org": ["a@example.org", "b@example.org"],
}


def test_from_as_jmap_shows_it(user: User) -> None:
    headers = list(FROM_AS_JMAP_SHOWS_IT)
    user.receive(
        *(
            f"From: {header}\r\nSubject: {n}\r\n\r\nx\r\n".encode()
            for n, header in enumerate(headers)
        )
    )
    shown = {
        headers[int(entry["subject"])]: entry["from"] and [each["email"] for each in entry["from"]]
        for entry in user.mails(user.mailboxes()["Inbox"])
    }
    assert shown == FROM_AS_JMAP_SHOWS_IT


def test_one_query_finds_fifty_senders_in_two_mailboxes(user: User) -> None:
    boxes = user.make_mailboxes("Screener", "Feed")
    user.receive(*(mail(f"s{n}@example.org", f"{n}") for n in range(52)))
    arrived = user.mails(boxes["Inbox"])
    for entry, box in zip(arrived, ["Screener", "Feed", "Screener"], strict=False):
        user.patch(entry["id"], {boxes[box]: True, boxes["Inbox"]: False})
    expected = {entry["id"] for entry in arrived[:3] if entry["subject"] not in {"50", "51"}}
    where = [{"inMailbox": boxes["Screener"]}, {"inMailbox": boxes["Feed"]}]
    who = [{"from": f"s{n}@example.org"} for n in range(50)]
    both = [{"operator": "OR", "conditions": each} for each in (who, where)]
    for _ in deadline(10):  # until the indexer has seen them
        found = user.call("Email/query", filter={"operator": "AND", "conditions": both})["ids"]
        if set(found) == expected:
            return
    pytest.fail(f"found {found}, not {expected}")


def test_a_mail_that_was_moved_once_is_destroyed_when_taken_out_of_its_last_mailbox(
    user: User,
) -> None:
    boxes = user.make_mailboxes("Feed")
    user.receive(mail("bob@example.org"))
    [lost] = user.mails(boxes["Inbox"])
    user.patch(lost["id"], {boxes["Feed"]: True, boxes["Inbox"]: False})
    user.patch(lost["id"], {boxes["Feed"]: False})
    assert user.call("Email/get", ids=[lost["id"]])["notFound"] == [lost["id"]]


def test_a_mail_that_never_moved_is_not_taken_out_of_its_last_mailbox(user: User) -> None:
    inbox = user.mailboxes()["Inbox"]
    user.receive(mail("bob@example.org"))
    [kept] = user.mails(inbox)
    with pytest.raises(CyrusError, match="invalidProperties"):
        user.patch(kept["id"], {inbox: False})
    assert user.mails(inbox) == [kept]


def test_a_patch_that_names_an_unknown_mailbox_changes_nothing(user: User) -> None:
    inbox = user.mailboxes()["Inbox"]
    user.receive(mail("bob@example.org"))
    [kept] = user.mails(inbox)
    with pytest.raises(CyrusError, match="invalidProperties"):
        user.patch(kept["id"], {"no-such-box": True, inbox: False})
    assert user.mails(inbox) == [kept]


def test_states_read_after_a_write_in_one_request_are_those_of_its_event(user: User) -> None:
    boxes = user.make_mailboxes("Screener")
    user.receive(mail("bob@example.org"))
    [entry] = user.mails(boxes["Inbox"])
    patch = {f"mailboxIds/{boxes['Screener']}": True, f"mailboxIds/{boxes['Inbox']}": None}
    with user.events() as events:
        (_, change, _), (_, emails, _), _ = user.jmap(
            ("Email/set", {"accountId": user.name, "update": {entry["id"]: patch}}, "0"),
            ("Email/get", {"accountId": user.name, "ids": []}, "1"),
            ("Mailbox/get", {"accountId": user.name, "ids": []}, "2"),
        )
        assert change["newState"] == emails["state"]
        assert next(events)["changed"][user.name] == {"Email": emails["state"]}


def test_a_card_is_refolded_and_served_as_version_3(user: User) -> None:
    lines = ["BEGIN:VCARD", "VERSION:4.0", "UID:urn:uuid:u-4", "FN:Four", "KIND:group"]
    etag = user.put_card("four.vcf", "\r\n".join([*lines, "NOTE:" + "é" * 60, "END:VCARD", ""]))
    [(path, card)] = user.cards().items()
    assert path == user.address_book + "four.vcf"
    assert card.split("\n")[1:5] == [
        "VERSION:3.0",
        "UID:u-4",
        "FN:Four",
        "x-addressbookserver-kind:group",
    ]
    assert "é" * 35 + "\n " in card
    assert user.request("GET", path)[1]["ETag"] == etag


def test_groups_are_cards_with_their_names(user: User) -> None:
    uids = user.make_groups("Feed", "Paper Trail")
    cards = "".join(user.cards().values())
    for name, uid in uids.items():
        assert f"UID:{uid}\nFN:{name}\n" in cards


RULE = """\
require ["fileinto", "vnd.cyrus.jmapquery", "mailboxid"];
if jmapquery text:
{{"fromContactGroupId":"{group}"}}
.
{{ fileinto :mailboxid "{box}" "Feed"; }}
"""


@pytest.mark.parametrize("prefix", ["", "urn:uuid:"])
def test_a_rule_compares_spellings(user: User, prefix: str) -> None:
    """A member is the UID as the card has it, after one urn:uuid:; a group is named by the UID as
    its own card has it. (rules/contacts/groups.with_members, work/routing)"""
    box = user.make_mailboxes("Feed")["Feed"]
    group = new_group(f"{prefix}group", "Feed")
    for name in ("bare", "urn:uuid:prefixed"):
        address = f"{bare_uid(name)}@example.org"
        head = ["BEGIN:VCARD", "VERSION:3.0", f"UID:{name}", f"FN:{address}", f"N:{address};;;;"]
        card = "\r\n".join([*head, f"EMAIL:{address}", "END:VCARD", ""])
        user.put_card(f"{bare_uid(name)}.vcf", card)
        group = with_members(group, [name], [])
    user.put_card("group.vcf", bytes(group).decode())
    user.activate(RULE.format(group=f"{prefix}group", box=box))
    user.receive(*(mail(f"{name}@example.org", name) for name in ("bare", "prefixed", "stranger")))
    assert {entry["subject"] for entry in user.mails(box)} == {"bare", "prefixed"}


def test_without_search_a_from_filter_fails_and_without_push_there_is_no_url(tree: Path) -> None:
    with Host.boot(tree) as host:
        user = Cyrus.start(host, push=False, search=False).user("alice")
        with pytest.raises(CyrusError, match="serverFail"):
            user.call("Email/query", filter={"from": "bob@example.org"})
        session = json.loads(user.request("GET", "/jmap")[2])
        assert "eventSourceUrl" not in session
        assert user.request("GET", "/jmap/eventsource/?types=Email")[0] == http.client.NOT_FOUND


def deadline(seconds: float) -> Iterator[None]:
    """Tries until `seconds` have gone by."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield


def test_a_connection_that_several_users_share_serves_each_their_own(cyrus: Cyrus) -> None:
    """The accounts of a process share their connections to a server. A wrong password is refused
    whoever has logged in on it before."""
    anna, otto = cyrus.user("sharinganna"), cyrus.user("sharingotto")
    with contextlib.closing(anna.connection()) as connection:
        first = connection.sock
        for user, login, expected in (
            (anna, authorization(anna.name), 200),
            (otto, authorization(otto.name), 200),
            (anna, authorization(anna.name), 200),
            (otto, "Basic " + base64.b64encode(f"{otto.name}:wrong".encode()).decode(), 401),
            (otto, authorization(otto.name), 200),
        ):
            connection.request("GET", "/jmap/", headers={"Authorization": login})
            answer = connection.getresponse()
            body = answer.read()
            assert answer.status == expected
            if expected == 200:
                assert json.loads(body)["primaryAccounts"][MAIL] == user.name
            path = f"/dav/principals/user/{user.name}/"
            connection.request("PROPFIND", path, headers={"Authorization": login, "Depth": "0"})
            answer = connection.getresponse()
            answer.read()
            assert answer.status == (207 if expected == 200 else 401)
        assert connection.sock is first
